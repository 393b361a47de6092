#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""mailctl mailbox: looks at folders while they are served, finds what is
wrong, and puts it right when nobody is logged in."""
import json
import os
import select
import socket
import subprocess
import termios
import threading

from pillar import MAILCTL, Instance, expect, has, main, wait_for

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


def test_who_has_no_mail_yet_has_nothing():
    suite.user_add("carol")
    for command in (("list",), ("stat",), ("check",), ("repair",), ("repair", "--dry-run"), ("expunged", "list"), ("expunged", "purge"), ("list", "--json")):
        r = suite.mailctl("mailbox", *command, "carol@example.test")
        expect((r.stdout, r.stderr), ("", "mailctl: carol@example.test has no mail yet\n"), command)
    expect(rows("quota", "carol@example.test"), [{"size": 0, "messages": 0, "size_limit": 0, "messages_limit": 0}])
    fails(1, "mailbox", "stat", "carol@example.test", "Sent")
    fails(1, "mailbox", "export", "carol@example.test", "--to", suite.dir + "/export")


def test_what_arrived_counts():
    with suite.smtp() as s:
        s.sendmail("ann@else.test", ["carol@example.test"], "Subject: hello\r\n\r\nhello\r\n")
    suite.wait_mail(1, "carol")
    path = suite.mailbox_files("carol")[0]
    expect(rows("list", "carol@example.test"), [{"folder": "INBOX", "messages": 1, "unseen": 1, "size": os.path.getsize(path)}])
    with open(suite.maildir("carol") + "/cur/1700000000.other.host:2,ST", "wb") as f:
        f.write(b"Subject: seen\r\n\r\nhello\r\n")
    st = row("INBOX", "stat", "carol@example.test")
    expect([st[k] for k in ("messages", "unseen", "deleted", "recent", "uidnext", "size")], [2, 1, 1, 2, 3, os.path.getsize(path) + 24])
    c = suite.imap("carol")
    expect(c.status("INBOX", "(MESSAGES RECENT UIDNEXT UNSEEN DELETED SIZE)")[1][0].decode(),
           "INBOX (MESSAGES 2 RECENT 2 UIDNEXT 3 UNSEEN 1 DELETED 1 SIZE %d)" % st["size"])
    wait_for(lambda: row("INBOX", "check", "carol@example.test")["arrived"] == 0, 10, "both to be taken in")
    after = row("INBOX", "stat", "carol@example.test")
    expect({k: after[k] for k in st if k not in ("uidvalidity", "modseq")}, {k: st[k] for k in st if k not in ("uidvalidity", "modseq")}, "counted once")
    c.logout()


def fails(status, *command):
    r = suite.mailctl(*command, check=False, input="secret\n")
    expect((r.returncode, r.stdout), (status, ""), "%s: %s" % (" ".join(command), r.stderr))
    return r.stderr


def test_errors():
    fails(64, "mailbox", "stat", "bob")
    fails(1, "mailbox", "stat", "bob@example.test", "../x")


def no_such_user():
    for command in (("mailbox", "list"), ("mailbox", "quota"), ("mailbox", "repair"), ("mailbox", "expunged", "list"), ("user", "list"), ("user", "quota"),
                    ("user", "quota", "--size", "1M"), ("user", "delete"), ("user", "delete", "--dry-run"), ("user", "passwd", "--password-stdin")):
        expect(fails(67, *command, "nobody@example.test"), "mailctl: there is no user nobody@example.test\n", command)
    for domain in ("else.test", "@else.test"):
        expect(fails(67, "user", "list", domain), "mailctl: there is no user in else.test\n")
    has(suite.mailctl("user", "list", "@example.test").stdout, "bob@example.test")


def test_nobody_is_told_from_other_failures():
    no_such_user()
    expect([line for line in suite.lines() if "is gone" in line], [], "a tool that has its answer is no news")
    suite.stop()
    try:
        no_such_user()  # out of the database itself
    finally:
        suite.start()


def test_names_of_users_and_folders_control_no_terminal():
    c = suite.imap()
    c.create("&AJs-31m&AIU-")
    c.create('"a\\"b\\\\c"')
    c.logout()
    has([r["folder"] for r in rows("list", "bob@example.test")], "\x9b31m\x85")
    has([r["folder"] for r in rows("check", "bob@example.test")], 'a"b\\c')
    for verb in ("list", "stat", "check"):
        text = suite.mailctl("mailbox", verb, "bob@example.test").stdout
        expect([ch for ch in text if ch != "\n" and not ch.isprintable()], [], verb)
        has(text, "?31m?")
    name = b"\xff\xc2\x9b@example.test"
    suite.mailctl("user", "add", name, "--password-stdin", input="secret\n")
    has([json.loads(line)["user"] for line in suite.mailctl("user", "list", "--json").stdout.splitlines()], "\ufffd\x9b@example.test")
    has(suite.mailctl("user", "list", errors="surrogateescape").stdout, "?@example.test")
    suite.mailctl("user", "delete", name)


def test_wrong_usage_shows_the_right_one():
    def shown(status, *command):
        r = suite.mailctl(*command, check=False)
        expect(r.returncode, status, command)
        return {tuple(line.split()[:2]) for line in (r.stderr if status else r.stdout).splitlines() if line.startswith("  ")}

    folders = {("mailbox", verb) for verb in ("list", "stat", "check", "repair", "quota", "export", "import", "move", "expunged")}
    expect(shown(64, "mailbox", "list"), {("mailbox", "list")})
    expect(shown(64, "mailbox", "list", "--widen"), {("mailbox", "list")})
    expect(shown(0, "mailbox", "list", "--help"), {("mailbox", "list")})
    expect(shown(64, "mailbox", "lost"), folders)
    expect(shown(64, "mailbox"), folders)
    for words, why in ((("mailbox",), '"mailbox" is followed by one of these words'), (("--limit", "3"), "--limit: not an option here"), (("-c",), "-c needs the file")):
        has(subprocess.run([MAILCTL, *words], capture_output=True, text=True).stderr, why)
    expect(shown(0, "help", "mailbox"), folders)
    expect(shown(0, "mailbox", "--help"), folders)
    expect(shown(64, "mailbax", "list"), set())
    assert shown(0, "help") == shown(64) > folders


def on_terminal(keys, *command):
    """What is shown, the status, and whether the terminal shows what is typed afterwards."""
    terminal, end = os.openpty()
    p = subprocess.Popen([MAILCTL, "-c", suite.env["CONFIG"], *command], stdin=end, stdout=end, stderr=end)
    shown = b""
    for prompt, key in keys:
        while prompt not in shown:
            if not select.select([terminal], [], [], 30)[0]:
                raise AssertionError("no %r in %r" % (prompt, shown))
            shown += os.read(terminal, 4096)
        os.write(terminal, key)
    status = p.wait(30)
    shown += b"" if not select.select([terminal], [], [], 0)[0] else os.read(terminal, 65536)
    echo = bool(termios.tcgetattr(end)[3] & termios.ECHO)
    os.close(terminal)
    os.close(end)
    return shown, status, echo


def test_a_terminal_shows_no_password_and_none_is_left_mute():
    suite.user_add("gwen")  # nobody is logged in
    passwd = ("user", "passwd", "bob@example.test")
    secret = suite.password("bob").encode()
    shown, status, echo = on_terminal([(b"New password: ", secret + b"\n"), (b"Again: ", secret + b"\n")], *passwd)
    expect((secret in shown, status, echo), (False, 0, True), shown)
    shown, status, echo = on_terminal([(b"New password: ", secret + b"\x03")], *passwd)
    expect((secret in shown, status, echo), (False, 1, True), shown)
    has(shown, b"the passwords are empty or differ")
    shown, status, echo = on_terminal([(b"Password at the other server", b"not this\n")], "mailbox", "import", "gwen@example.test", "--imap", "localhost:%d" % suite.port("IMAP"),
                                      "--login", "bob@example.test", "--dry-run")
    expect((b"not this" in shown, status, echo), (False, 1, True), shown)


class Elsewhere(threading.Thread):
    """An IMAP server with these folders and what it tells of each message in any of them, for one login; who asks for what it refuses hears NO."""

    def __init__(self, exists, *messages, folders=("INBOX",), spaces=None, refuses=b"Locked"):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port, self.exists, self.messages = self.listener.getsockname()[1], exists, messages
        self.folders, self.spaces, self.refuses = folders, spaces, refuses
        self.start()

    def answer(self, command):
        if command == "LIST":
            return ['LIST () "/" "%s"' % name for name in self.folders]
        if command == "LSUB":
            return ['LSUB () "/" "%s"' % name for name in self.folders]
        if command == "NAMESPACE" and self.spaces:
            return ["NAMESPACE " + self.spaces]
        if command == "EXAMINE":
            return ["%d EXISTS" % self.exists, "OK [UIDVALIDITY 7] good", "OK [UIDNEXT 9] good"]
        return self.messages if command == "UID" else []

    def run(self):
        sock = self.listener.accept()[0]
        f = sock.makefile("rwb")
        f.write(b"* OK here\r\n")
        f.flush()
        for line in f:
            tag, command = line.decode().split()[:2]
            f.write("".join("* %s\r\n" % row for row in self.answer(command)).encode() + tag.encode() + (b" NO closed\r\n" if self.refuses in line else b" OK done\r\n"))
            f.flush()
        sock.close()


def fetched(n, body):
    return '%d FETCH (UID %d FLAGS (\\Seen) INTERNALDATE "23-Nov-2026 09:00:00 +0000" BODY[] %s)' % (n, n + 1, body)


def import_from(user, server):
    suite.user_add(user)
    return suite.mailctl("mailbox", "import", user + "@example.test", "--imap", "127.0.0.1:%d" % server.port, "--login", "x", input="x\n", check=False)


def test_what_another_server_does_not_give_is_told():
    """A message that it has but cannot read must not be missed silently: the account there may be deleted next."""
    text = "{17}\r\nSubject: x\r\n\r\nabc"
    r = import_from("frank", Elsewhere(3, fetched(1, text), fetched(2, "NIL"), fetched(3, text)))
    expect((r.returncode, r.stderr), (1, "mailctl: INBOX: 1 of its messages the other server did not give\n"))
    has(r.stdout, "INBOX: imported, 2 messages")
    expect(len(suite.mailbox_files("frank")), 2)
    # what was removed there meanwhile is not missing, and a string is a message, too
    r = import_from("grace", Elsewhere(3, fetched(1, text), "2 FETCH (FLAGS (\\Seen))", "2 EXPUNGE", fetched(2, '""')))
    expect((r.returncode, r.stderr), (0, ""))
    has(r.stdout, "INBOX: imported, 2 messages")


def test_what_another_server_refuses_keeps_nothing_else_back():
    text = "{17}\r\nSubject: x\r\n\r\nabc"
    r = import_from("heidi", Elsewhere(1, fetched(1, text), folders=("Locked", "INBOX")))
    expect((r.returncode, r.stderr), (1, "mailctl: Locked: the server refuses: closed\n"))
    has(r.stdout, "INBOX: imported, 1 messages")
    expect(os.path.exists(suite.maildir("heidi") + "/.Locked"), False)
    for n, command in enumerate((b"NAMESPACE", b"LSUB")):  # which not every server has
        r = import_from("olaf%d" % n, Elsewhere(1, fetched(1, text), refuses=command))
        expect((r.returncode, r.stderr), (0, ""), command)
        has(r.stdout, "INBOX: imported, 1 messages")


def test_of_another_server_come_the_users_own_folders_alone():
    """What others share there stays theirs, and the prefix that some servers have for all of a user's own goes (RFC 2342 5)."""
    text = "{17}\r\nSubject: x\r\n\r\nabc"
    folders = ("INBOX", "INBOX/Sent", "INBOX/Work/2026", "Other Users/bob/Work", "news")
    r = import_from("ivan", Elsewhere(1, fetched(1, text), folders=folders, spaces='(("INBOX/" "/")) (("Other Users/" "/")) (("" "/"))'))
    expect((r.returncode, r.stderr), (0, ""))
    expect(sorted(line.partition(":")[0] for line in r.stdout.splitlines() if "imported" in line), ["INBOX", "Sent", "Work.2026"])
    c = suite.imap("ivan")
    subscribed = {row.split()[-1] for row in c.lsub()[1]} - {b"Drafts", b"Junk", b"Trash"}  # everybody has these here
    expect(subscribed, {b"INBOX", b"Sent", b"Work.2026"})
    c.logout()
    r = import_from("judy", Elsewhere(1, fetched(1, text), folders=folders[:2], spaces='(("" "/")) NIL NIL'))
    expect(sorted(line.partition(":")[0] for line in r.stdout.splitlines() if "imported" in line), ["INBOX", "INBOX.Sent"])


main(globals())
