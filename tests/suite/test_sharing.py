#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Shared folders (RFC 4314) with real users: what is given, what is taken away in
the middle of a session, who cannot get in, and that nobody but its owner's
mailboxd touches a Maildir. Row I16."""
import os
import signal
import subprocess
import time

from pillar import Dialogue, Instance, SLOW, expect, has, main, wait_for

suite = Instance(users=("alice", "bob", "carol"))
PROJECTS = '"Other Users/alice/Projects"'
MESSAGE = b"Subject: shared\r\n\r\nfor all to see\r\n"


def lines(reply):
    expect(reply[0], "OK")
    return [r.decode() if isinstance(r, bytes) else r[0].decode() + r[1].decode() for r in reply[1] if r]


def no(reply, code=""):
    expect(reply[0], "NO")
    has(reply[1][0].decode(), code)


def make_projects():
    a = suite.imap("alice")
    expect(a.create("Projects")[0], "OK")
    for _ in range(3):
        expect(a.append("Projects", None, None, MESSAGE)[0], "OK")
    return a


def test_I16_shared_folders_with_rights():
    a = make_projects()
    b = suite.imap("bob")
    has(lines(b.namespace())[0], '(("Other Users/" "/"))')
    assert not any("Other Users" in row for row in lines(b.list()))
    no(b.select(PROJECTS), "[NONEXISTENT]")
    expect(a.setacl("Projects", "bob", "lr")[0], "OK")
    expect(lines(a.getacl("Projects")), ["Projects alice lrswipkxteacd bob lr"])
    names = [row for row in lines(b.list()) if "Other" in row]
    expect(names, ['(\\Noselect \\HasChildren) "/" "Other Users"', '(\\Noselect \\HasChildren) "/" "Other Users/alice"',
                   '(\\HasNoChildren) "/" "Other Users/alice/Projects"'])
    expect(lines(b.myrights(PROJECTS)), [PROJECTS + " lr"])
    expect(lines(b.status(PROJECTS, "(MESSAGES UNSEEN)")), [PROJECTS + " (MESSAGES 3 UNSEEN 3)"])
    # to read: READ-ONLY, and nothing changes
    try:
        b.select(PROJECTS)
        raise AssertionError("not READ-ONLY")
    except b.readonly:
        pass
    expect(lines(b.select(PROJECTS, True)), ["3"])
    typ, data = b.fetch("1:*", "(BODY[])")
    expect([d[1] for d in data if isinstance(d, tuple)], [MESSAGE] * 3)
    no(b.store("1", "+FLAGS", "\\Seen"))
    no(b.append(PROJECTS, None, None, MESSAGE), "[NOPERM]")
    no(b.delete(PROJECTS), "[NOPERM]")
    no(b.getacl(PROJECTS), "[NOPERM]")
    # to write: what bob does alice sees at once, and the flags are the same for both
    expect(a.setacl("Projects", "bob", "+swite")[0], "OK")
    expect(b.select(PROJECTS)[0], "OK")
    expect(a.select("Projects")[0], "OK")
    expect(b.store("1", "+FLAGS", "(\\Seen \\Flagged $work)")[0], "OK")
    expect(b.append(PROJECTS, "\\Answered", None, b"Subject: from bob\r\n\r\nhello alice\r\n" * 3000)[0], "OK")
    a.noop()
    expect(lines(a.fetch("1", "(FLAGS)"))[-1:], ["1 (FLAGS (\\Flagged \\Seen $work))"])
    typ, data = a.fetch("4", "(FLAGS BODY.PEEK[])")
    expect(data[0][1], b"Subject: from bob\r\n\r\nhello alice\r\n" * 3000)
    b.store("2", "+FLAGS", "\\Deleted")
    expect(lines(b.expunge()), ["2"])
    a.noop()
    expect(lines(a.status("Projects", "(MESSAGES)")), ["Projects (MESSAGES 3)"])
    expect(b.copy("1", PROJECTS)[0], "OK")
    expect(b.copy("1:*", "INBOX")[0], "OK")
    expect(b.select("INBOX")[0], "OK")
    typ, data = b.fetch("3", "(FLAGS BODY.PEEK[])")
    expect(data[0][1], b"Subject: from bob\r\n\r\nhello alice\r\n" * 3000)
    has(data[0][0].decode(), "\\Answered")
    expect(b.uid("MOVE", "1:*", PROJECTS)[0], "OK")
    expect(lines(b.status("INBOX", "(MESSAGES)")), ["INBOX (MESSAGES 0)"])
    expect(lines(b.status(PROJECTS, "(MESSAGES)")), [PROJECTS + " (MESSAGES 8)"])
    # carol has nothing of it
    c = suite.imap("carol")
    assert not any("Other" in row for row in lines(c.list()))
    no(c.select(PROJECTS), "[NONEXISTENT]")
    expect(lines(a.logout() and b.list('"Other Users/"', "*")), ['(\\Noselect \\HasChildren) "/" "Other Users/alice"',
                                                                 '(\\HasNoChildren) "/" "Other Users/alice/Projects"'])
    b.logout()
    c.logout()


def test_rights_go_in_the_middle_of_a_session():
    a, b = suite.imap("alice"), suite.imap("bob")
    expect(a.setacl("Projects", "bob", "lrswite")[0], "OK")
    expect(b.select(PROJECTS)[0], "OK")
    expect(b.fetch("1", "(UID)")[0], "OK")
    expect(a.deleteacl("Projects", "bob")[0], "OK")
    no(b.fetch("1", "(UID)"), "[NOPERM]")
    no(b.store("1", "+FLAGS", "\\Deleted"), "[NOPERM]")
    before = b.untagged_responses.get("EXISTS")
    expect(a.append("Projects", None, None, MESSAGE)[0], "OK")
    expect(b.noop()[0], "OK")
    expect(b.untagged_responses.get("EXISTS"), before)  # what happens there is no longer told
    expect(b.close()[0], "OK")
    no(b.select(PROJECTS), "[NONEXISTENT]")
    assert not any("Other" in row for row in lines(b.list()))
    no(b.status("Projects", "(MESSAGES)"))  # alice's name for it is not bob's
    expect(b.noop()[0], "OK")


def test_anyone_and_a_restart():
    a = suite.imap("alice")
    expect(a.setacl("Projects", "anyone", "lr")[0], "OK")
    a.logout()
    suite.stop()
    suite.start()
    c = suite.imap("carol")
    expect([row for row in lines(c.list()) if row.endswith("Projects\"")], ['(\\HasNoChildren) "/" "Other Users/alice/Projects"'])
    expect(c.select(PROJECTS, True)[0], "OK")
    expect(c.subscribe(PROJECTS)[0], "OK")
    has("\n".join(lines(c.lsub())), PROJECTS)
    typ, data = c.search(None, "SUBJECT", "shared")
    expect(typ, "OK")
    assert len(data[0].split()) >= 2
    a = suite.imap("alice")
    expect(a.setacl("Projects", "anyone", '""')[0], "OK")
    expect(a.rename("Projects", "Works")[0], "OK")
    expect(a.setacl("Works", "bob", "lrswikxte")[0], "OK")
    b = suite.imap("bob")
    expect(b.create('"Other Users/alice/Works/2025"')[0], "OK")
    expect(lines(a.getacl("Works.2025")), ["Works.2025 alice lrswipkxteacd bob lrswikxtecd"])
    expect(b.rename('"Other Users/alice/Works/2025"', '"Other Users/alice/Works/2026"')[0], "OK")
    expect(b.select('"Other Users/alice/Works/2026"')[0], "OK")
    expect(a.delete("Works.2026")[0], "OK")  # a guest in it is no hindrance, and is told
    try:
        expect(b.noop()[0], "NO")
    except b.abort:
        pass
    expect(a.rename("Works", "Projects")[0], "OK")
    a.logout()
    try:
        c.noop()  # what it had selected was renamed
        raise AssertionError("still there")
    except c.abort:
        pass


def test_law4_the_guests_process_has_nothing_of_the_owner():
    a = suite.imap("alice")
    expect(a.setacl("Projects", "bob", "lrswite")[0], "OK")
    b = suite.imap("bob")
    expect(b.select(PROJECTS)[0], "OK")
    typ, data = b.fetch("1", "(BODY.PEEK[])")
    expect(data[0][1], MESSAGE)
    pid = suite.mailboxd("bob")
    assert pid, "no mailboxd of bob's"
    paths = []
    for fd in os.listdir("/proc/%d/fd" % pid):
        try:
            paths.append(os.readlink("/proc/%d/fd/%s" % (pid, fd)))
        except OSError:
            pass
    assert any(suite.maildir("bob") in p for p in paths), paths
    assert not any(suite.maildir("alice") in p for p in paths), paths
    with open("/proc/%d/maps" % pid) as f:
        assert suite.maildir("alice") not in f.read()
    # alice's process dies: bob is told, and comes again
    victim = suite.mailboxd("alice")
    os.kill(victim, signal.SIGKILL)
    try:
        typ, data = b.fetch("1", "(UID)")
        expect(typ, "NO")
    except b.abort:
        pass
    b = suite.imap("bob")
    wait_for(lambda: b.select(PROJECTS)[0] == "OK", 20, "alice's mailboxd to be back")
    expect(b.fetch("1", "(UID)")[0], "OK")
    b.logout()


def test_curl_reads_a_shared_folder():
    r = subprocess.run(["curl", "-sS", "--cacert", suite.env["CA_FILE"], "--user", "bob@example.test:" + suite.password("bob"),
                        "imaps://localhost:%d/Other%%20Users%%2Falice%%2FProjects;MAILINDEX=1" % suite.port("IMAPS")],
                       capture_output=True, timeout=60 * SLOW)
    if r.returncode == 60:  # the certificate names 127.0.0.1
        r = subprocess.run(["curl", "-sS", "-k", "--user", "bob@example.test:" + suite.password("bob"),
                            "imaps://127.0.0.1:%d/Other%%20Users%%2Falice%%2FProjects;MAILINDEX=1" % suite.port("IMAPS")],
                           capture_output=True, timeout=60 * SLOW)
    expect(r.stdout, MESSAGE, r.stderr.decode())


def test_rfc8437_one_tls_connection_for_one_user_after_another():
    d = Dialogue(("127.0.0.1", suite.port("IMAPS")), context=suite.context())
    has(d.line(), "* OK")
    for n in range(20):
        user = ("alice", "bob", "carol")[n % 3]
        has(d.ask("a%d LOGIN %s@example.test %s" % (n, user, suite.password(user))), "a%d OK" % n)
        d.raw(b"b%d STATUS INBOX (MESSAGES)\r\nc%d UNAUTHENTICATE\r\nd%d NOOP\r\ne%d STATUS INBOX (MESSAGES)\r\n" % (n, n, n, n))
        has(d.line(), "* STATUS INBOX")
        has(d.line(), "b%d OK" % n)
        has(d.line(), "c%d OK" % n)
        has(d.line(), "d%d OK" % n)
        has(d.line(), "e%d BAD" % n)
    # much to say, and the client slow to listen
    has(d.ask("f LOGIN carol@example.test " + suite.password("carol")), "f OK")
    big = b"Subject: big\r\n\r\n" + b"x" * 70 + b"\r\n"
    big = big + (b"y" * 76 + b"\r\n") * 8000
    d.raw(b"g APPEND INBOX {%d+}\r\n" % len(big) + big + b"\r\nh SELECT INBOX\r\n")
    while not d.line().startswith("h OK"):
        pass
    d.raw(b"i FETCH 1 BODY.PEEK[]\r\nj UNAUTHENTICATE\r\nk NOOP\r\n")
    time.sleep(0.3)
    n = 0
    while True:
        line = d.line()
        n += line.startswith("yyyy")
        if line.startswith("k OK"):
            break
    expect(n, 8000)
    d.close()


def test_a_user_who_goes_takes_the_shares_along():
    suite.mailctl("user", "delete", "alice@example.test")
    b = suite.imap("bob")
    no(b.select(PROJECTS), "[NONEXISTENT]")
    assert not any("Other" in row for row in lines(b.list()))
    b.logout()


def shown(c, owner):
    return any('"Other Users/%s' % owner in row for row in lines(c.list()))


def test_what_is_given_or_taken_shows_in_the_next_list():
    """bob's mailboxd remembers who shares with him; what alice has been told is done, his next LIST knows."""
    suite.user_add("erin")
    a, b = suite.imap("erin"), suite.imap("bob")
    expect(a.create("Shared")[0], "OK")
    for _ in range(40):
        assert not shown(b, "erin")
        expect(a.setacl("Shared", "bob", "lr")[0], "OK")
        assert shown(b, "erin")
        assert shown(b, "erin")
        expect(a.deleteacl("Shared", "bob")[0], "OK")
    for _ in range(5):
        assert not shown(b, "erin")
        expect(a.setacl("Shared", "anyone", "lr")[0], "OK")
        assert shown(b, "erin")
        expect(a.setacl("Shared", "anyone", '""')[0], "OK")
    # the next authd may know what the one before did not tell
    expect(a.setacl("Shared", "bob", "lr")[0], "OK")
    assert shown(b, "erin")
    pid = next(pid for name, _, pid in suite.processes() if name == "authd")
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: any(name == "authd" and p != pid for name, _, p in suite.processes()), 20, "another authd")
    wait_for(lambda: shown(b, "erin"), 20, "erin's folder")
    suite.mailctl("user", "delete", "erin@example.test")
    wait_for(lambda: not shown(b, "erin"), 20, "nothing of erin")
    for c in (a, b):
        c.logout()


main(globals())
