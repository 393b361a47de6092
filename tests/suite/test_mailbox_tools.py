#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""mailctl mailbox: looks at folders while they are served, finds what is
wrong, and puts it right when nobody is logged in."""
import json
import os

from pillar import Instance, expect, has, main, wait_for

suite = Instance(extra="mailbox_idle_time = 1s\n", users=("bob",))


def rows(*args, check=True):
    return [json.loads(line) for line in suite.mailctl("mailbox", *args, "--json", check=check).stdout.splitlines()]


def row(folder, *args, **kw):
    return [r for r in rows(*args, **kw) if r["folder"] == folder][0]


def test_list_and_stat_of_folders_in_use():
    c = suite.imap()
    c.create("Entw&APw-rfe")
    for n in range(3):
        c.append("INBOX", "\\Seen" if n == 0 else None, None, b"Subject: %d\r\n\r\nhello\r\n" % n)
    c.select()
    wait_for(lambda: row("INBOX", "list", "bob@example.test")["messages"] == 3, 10, "three messages")
    expect(row("INBOX", "list", "bob@example.test"), {"folder": "INBOX", "messages": 3, "unseen": 2, "size": 3 * 21})
    has([r["folder"] for r in rows("list", "bob@example.test")], "Entwürfe")
    st = row("INBOX", "stat", "bob@example.test", "INBOX")
    expect((st["uidnext"], st["deleted"]), (4, 0))
    expect(str(st["uidvalidity"]).encode(), c.response("UIDVALIDITY")[1][0])
    has(suite.mailctl("mailbox", "list", "bob@example.test").stdout, "Entwürfe")
    c.logout()


def stopped():
    return suite.mailctl("mailbox", "repair", "bob@example.test", "Entwürfe", check=False).returncode == 0


def test_check_finds_a_missing_file_and_repair_lets_it_go():
    c = suite.imap()
    c.select()
    r = suite.mailctl("mailbox", "repair", "bob@example.test", check=False)
    expect(r.returncode, 1)
    has(r.stderr, "in use")
    c.logout()
    wait_for(stopped, 20, "the user's mailboxd to end")
    expect(row("INBOX", "check", "bob@example.test", "INBOX")["missing"], 0)
    os.unlink(suite.mailbox_files()[0])
    with open(suite.maildir() + "/new/1700000000.other.host", "wb") as f:
        f.write(b"Subject: new\r\n\r\nhello\r\n")
    before = row("INBOX", "stat", "bob@example.test", "INBOX")
    r = suite.mailctl("mailbox", "check", "bob@example.test", check=False)
    expect(r.returncode, 1)
    found = row("INBOX", "check", "bob@example.test", "INBOX", check=False)
    expect((found["missing"], found["arrived"]), (1, 1))
    has(suite.mailctl("mailbox", "repair", "bob@example.test", "--dry-run").stdout, "INBOX: would be repaired")
    has(suite.mailctl("mailbox", "repair", "bob@example.test").stdout, "INBOX: 3 messages, same UIDVALIDITY")
    expect(row("INBOX", "check", "bob@example.test", "INBOX")["missing"], 0)
    after = row("INBOX", "stat", "bob@example.test", "INBOX")
    expect((after["uidvalidity"], after["uidnext"]), (before["uidvalidity"], 5))
    c = suite.imap()
    expect(c.select()[1], [b"3"])
    c.logout()


def search_index(folder):
    r = row(folder, "stat", "bob@example.test", folder)
    return r["search_messages"], r["search_size"] > 0


def test_search_index_is_shown_goes_with_its_folder_and_is_removed_by_repair():
    c = suite.imap()
    c.create("Texts")
    for n in range(30):
        c.append("Texts", None, None, b"Subject: %d\r\n\r\n%s hello\r\n" % (n, b"haystack" if n % 10 == 3 else b"hay stack"))
    c.select("Texts")
    expect(search_index("Texts"), (0, False))
    expect(c.search(None, "BODY", "haystack")[1], [b"4 14 24"])
    wait_for(lambda: search_index("Texts") == (30, True), 20, "the search index")
    expect(row("Texts", "check", "bob@example.test", "Texts")["search_index"], "good")
    expect(c.search(None, "BODY", "haystack")[1], [b"4 14 24"])
    c.append("Texts", None, None, b"\r\nanother haystack\r\n")
    wait_for(lambda: search_index("Texts") == (31, True), 20, "the search index with the new message")
    c.select("INBOX")
    expect(c.rename("Texts", "Old.Texts")[0], "OK")
    expect(search_index("Old.Texts"), (31, True))
    c.select("Old.Texts")
    expect(c.search(None, "TEXT", "haystack")[1], [b"4 14 24 31"])
    c.logout()
    wait_for(stopped, 20, "the user's mailboxd to end")
    with open(suite.maildir() + "/.Old.Texts/pillarpost/search", "r+b") as f:
        f.seek(100)
        f.write(b"damage")
    expect(row("Old.Texts", "check", "bob@example.test", "Old.Texts")["search_index"], "damaged")
    c = suite.imap()
    c.select("Old.Texts")
    expect(c.search(None, "TEXT", "haystack")[1], [b"4 14 24 31"])
    c.logout()
    wait_for(stopped, 20, "the user's mailboxd to end")
    suite.mailctl("mailbox", "repair", "bob@example.test", "Old.Texts")
    expect(search_index("Old.Texts"), (0, False))


def test_errors():
    expect(suite.mailctl("mailbox", "list", "nobody@example.test", check=False).returncode, 1)
    expect(suite.mailctl("mailbox", "stat", "bob", check=False).returncode, 64)
    expect(suite.mailctl("mailbox", "stat", "bob@example.test", "../x", check=False).returncode, 1)


main(globals())
