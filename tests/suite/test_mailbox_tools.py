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


def test_errors():
    expect(suite.mailctl("mailbox", "list", "nobody@example.test", check=False).returncode, 1)
    expect(suite.mailctl("mailbox", "stat", "bob", check=False).returncode, 64)
    expect(suite.mailctl("mailbox", "stat", "bob@example.test", "../x", check=False).returncode, 1)


main(globals())
