#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Rows P and I of the textbook acceptance list, against the running suite."""
import imaplib
import os
import threading
import time

from pillar import Dialogue, Instance, expect, has, main, starts, wait_for

suite = Instance(extra="disable_plaintext_auth = no\n")
PEOPLE = {"p05": "secret-p05", "p06": "secret-p06", "many": "secret-many"}
for person in PEOPLE:
    suite.user_add(person)


def send(subject, user="bob", body="body\r\n", header=""):
    s = suite.smtp()
    s.sendmail("x@else.test", [user + "@example.test"], "From: X <x@else.test>\r\nTo: %s\r\nSubject: %s\r\n%s\r\n%s" % (user, subject, header, body))
    s.quit()


def pop3(user):
    d = Dialogue(("127.0.0.1", suite.port("POP3")))
    starts(d.line(), "+OK")
    d.say("user %s@example.test" % user)
    starts(d.line(), "+OK")
    d.say("pass " + suite.password(user))
    starts(d.line(), "+OK")
    return d


def multi(d):
    lines = []
    while True:
        line = d.line()
        if line == ".":
            return lines
        lines.append(line)


def test_P01_P03_P04_login_in_lower_case_and_a_misspelled_command():
    d = Dialogue(("127.0.0.1", suite.port("POP3")))
    starts(d.line(), "+OK")
    d.say("usre bob")
    starts(d.line(), "-ERR")
    d.say("user bob@example.test")
    starts(d.line(), "+OK")
    d.say("pass wrong")
    starts(d.line(), "-ERR")
    d.say("user bob@example.test")
    d.line()
    d.say("pass " + suite.password("bob"))
    starts(d.line(), "+OK")
    d.say("quit")
    starts(d.line(), "+OK")
    assert d.at_end()


def test_P05_P06_list_retr_dele_quit_removes_the_messages():
    for n in (1, 2):
        send("P05 %d" % n, "p05")
    suite.wait_mail(2, "p05")
    d = pop3("p05")
    d.say("list")
    starts(d.line(), "+OK")
    sizes = [line.split() for line in multi(d)]
    expect([s[0] for s in sizes], ["1", "2"])
    for n in ("1", "2"):
        d.say("retr " + n)
        starts(d.line(), "+OK")
        lines = multi(d)
        expect(sum(len(line) + 2 for line in lines), int(sizes[int(n) - 1][1]), "octets as LIST said")
        d.say("dele " + n)
        starts(d.line(), "+OK")
    d.say("quit")
    starts(d.line(), "+OK")
    d = pop3("p05")
    d.say("stat")
    expect(d.line(), "+OK 0 0")
    d.close()
    wait_for(lambda: suite.mailbox_files("p05") == [], 10, "the files to go")


def test_P02_P07_P08_a_dropped_connection_deletes_nothing_and_rset_undoes():
    send("P02", "p06")
    suite.wait_mail(1, "p06")
    d = pop3("p06")
    d.say("dele 1")
    starts(d.line(), "+OK")
    d.close()
    time.sleep(0.3)
    d = pop3("p06")
    d.say("stat")
    starts(d.line(), "+OK 1 ")
    d.say("dele 1")
    starts(d.line(), "+OK")
    d.say("rset")
    starts(d.line(), "+OK")
    d.say("uidl 1")
    first = d.line()
    starts(first, "+OK 1 ")
    d.say("quit")
    starts(d.line(), "+OK")
    d = pop3("p06")
    d.say("uidl 1")
    expect(d.line(), first, "P10: the UIDL survives the session")
    d.close()


def test_P09_every_command():
    send("P09", "p06")
    wait_for(lambda: len(suite.mailbox_files("p06")) >= 2, 20, "P09")
    d = pop3("p06")
    for line, multiline in (("stat", False), ("list", True), ("list 1", False), ("retr 1", True), ("top 1 0", True), ("uidl", True), ("noop", False), ("capa", True), ("rset", False)):
        d.say(line)
        starts(d.line(), "+OK")
        if multiline:
            multi(d)
    for line in ("list 99", "retr 99", "dele 99", "retr", "dele x"):
        d.say(line)
        starts(d.line(), "-ERR")
    d.say("quit")
    starts(d.line(), "+OK")


def test_P01_stls():
    import poplib
    c = poplib.POP3("127.0.0.1", suite.port("POP3"), timeout=30)
    c.stls(context=suite.context())
    c.user("bob@example.test")
    c.pass_(suite.password("bob"))
    c.stat()
    c.quit()
    suite.pop3().quit()


def test_P12_imap_works_during_a_pop3_session():
    send("P12")
    suite.wait_mail(1)
    p = suite.pop3()
    i = suite.imap()
    expect(i.select("INBOX")[0], "OK")
    send("P12 second")
    wait_for(lambda: i.noop() and i.search(None, "SUBJECT", '"P12 second"')[1][0], 10, "the new message in IMAP")
    p.quit()
    i.logout()


def test_I01_both_listeners_and_starttls():
    for tls in (True, False):
        suite.imap(tls=tls).logout()
    c = imaplib.IMAP4("127.0.0.1", suite.port("IMAP"), timeout=30)
    c.starttls(ssl_context=suite.context())
    c.login("bob@example.test", suite.password("bob"))
    c.logout()


def test_I02_I03_commands_and_responses():
    c = suite.imap()
    send("I02")
    wait_for(lambda: int(c.select("INBOX")[1][0]) > 0, 10, "mail")
    expect(c.close()[0], "OK")
    expect(c.select("INBOX", readonly=True)[0], "OK")
    expect(c.store("1", "+FLAGS", "(\\Seen)")[0], "NO", "EXAMINE is read-only")
    expect(c.select("NoSuchFolder")[0], "NO")
    try:
        c._simple_command("FROBNICATE")
        raise AssertionError("accepted")
    except Exception as e:
        has(str(e), "FROBNICATE")
    c.logout()


def test_I02_authenticate_plain():
    import base64
    c = imaplib.IMAP4_SSL("127.0.0.1", suite.port("IMAPS"), ssl_context=suite.context(), timeout=30)
    c.authenticate("PLAIN", lambda _: ("\0bob@example.test\0" + suite.password("bob")).encode())
    c.logout()
    d = Dialogue(("127.0.0.1", suite.port("IMAP")))
    starts(d.line(), "* OK")
    d.say("a AUTHENTICATE PLAIN " + base64.b64encode(("\0bob@example.test\0" + suite.password("bob")).encode()).decode())
    while True:
        line = d.line()
        if line.startswith("a "):
            break
    starts(line, "a OK")
    d.close()


def test_I04_I08_folders_create_move_delete_and_state():
    c = suite.imap()
    mark = c.list()[1][0].split(b'"')[1].decode()  # the hierarchy delimiter
    for name in ("Work", "Work%s2026" % mark):
        expect(c.create(name)[0], "OK")
    names = str(c.list()[1])
    has(names, "Work")
    send("I04")
    wait_for(lambda: c.select("INBOX")[0] == "OK" and c.search(None, "SUBJECT", "I04")[1][0], 10, "I04")
    number = c.search(None, "SUBJECT", "I04")[1][0].split()[0]
    expect(c.copy(number, "Work")[0], "OK")
    expect(c.store(number, "+FLAGS", "(\\Deleted)")[0], "OK")
    expect(c.expunge()[0], "OK")
    expect(c.search(None, "SUBJECT", "I04")[1][0], b"")
    expect(c.select("Work")[1][0], b"1")
    expect(c.store("1", "+FLAGS", "(\\Flagged keyword)")[0], "OK")
    uid = c.fetch("1", "(UID)")[1][0]
    validity = c.response("UIDVALIDITY")[1]
    c.logout()
    c = suite.imap()
    c.select("Work")
    expect(c.fetch("1", "(UID)")[1][0], uid, "I08: UID stable")
    expect(c.response("UIDVALIDITY")[1], validity)
    flags = str(c.fetch("1", "(FLAGS)")[1])
    has(flags, "\\Flagged")
    has(flags, "keyword")
    c.close()
    expect(c.rename("Work", "Play")[0], "OK")
    expect(c.select("Play")[1][0], b"1")
    c.close()
    expect(c.delete("Play%s2026" % mark)[0], "OK")
    expect(c.delete("Play")[0], "OK")
    c.logout()


def test_I05_delivery_raises_uidnext():
    c = suite.imap()
    before = c.status("INBOX", "(UIDNEXT MESSAGES)")[1][0]
    send("I05")
    wait_for(lambda: c.status("INBOX", "(UIDNEXT MESSAGES)")[1][0] != before, 10, "UIDNEXT")
    c.logout()


def test_I06_server_side_search():
    c = suite.imap()
    send("about networks", body="the word is xylophone\r\n")
    wait_for(lambda: c.select("INBOX")[0] == "OK" and c.search(None, "SUBJECT", "networks")[1][0], 10, "I06")
    for key in (("FROM", "else.test"), ("SUBJECT", "NETWORKS"), ("BODY", "xylophone"), ("TEXT", "xylophone"), ("UNDELETED",), ("LARGER", "10"), ("SINCE", "1-Jan-2020"), ("HEADER", "Subject", "networks"), ("OR", "SUBJECT", "networks", "SUBJECT", "zzz")):
        assert c.search(None, *key)[1][0], key
    for key in (("FROM", "nobody.invalid"), ("BODY", "absentword"), ("BEFORE", "1-Jan-2020"), ("LARGER", "100000000")):
        expect(c.search(None, *key)[1][0], b"", str(key))
    c.logout()


def test_I07_two_sessions_see_each_others_changes():
    send("I07")
    a, b = suite.imap("bob"), suite.imap("bob")
    a.select("INBOX")
    wait_for(lambda: a.noop() and a.search(None, "SUBJECT", "I07")[1][0], 10, "I07")
    b.select("INBOX")
    number = a.search(None, "SUBJECT", "I07")[1][0].split()[0]
    a.store(number, "+FLAGS", "(\\Answered)")
    b.noop()
    has(str(b.fetch(number, "(FLAGS)")), "\\Answered")
    a.store(number, "+FLAGS", "(\\Deleted)")
    a.expunge()
    b.noop()
    expect(b.search(None, "SUBJECT", "I07")[1][0], b"")
    a.logout()
    b.logout()


def idle(subject, limit):
    d = Dialogue(("127.0.0.1", suite.port("IMAP")))
    d.line()
    d.say("a LOGIN many@example.test " + suite.password("many"))
    while not d.line().startswith("a OK"):
        pass
    d.say("b SELECT INBOX")
    while not d.line().startswith("b OK"):
        pass
    d.say("c IDLE")
    starts(d.line(), "+")
    begun = time.monotonic()
    threading.Thread(target=send, args=(subject, "many")).start()
    while "EXISTS" not in d.line():
        pass
    took = time.monotonic() - begun
    d.say("DONE")
    while not d.line().startswith("c OK"):
        pass
    d.close()
    assert took < limit, took


def test_I07_idle_tells_of_new_mail_at_once():
    idle("I07 idle", 10)


def test_rfc5465_a_delivery_to_another_folder_is_told_without_a_command():
    d = Dialogue(("127.0.0.1", suite.port("IMAP")))
    d.line()

    def do(command, tag):
        d.say("%s %s" % (tag, command))
        while not (line := d.line()).startswith(tag + " "):
            pass
        starts(line, tag + " OK")

    do("LOGIN many@example.test " + suite.password("many"), "a")
    do("CREATE quiet", "b")
    do("SELECT quiet", "c")
    do("NOTIFY SET (selected (MessageNew (UID ENVELOPE) MessageExpunge)) (mailboxes INBOX (MessageNew MessageExpunge))", "d")
    send("notified", "many")
    starts(d.line(), "* STATUS INBOX (MESSAGES ")
    other = suite.imap("many")
    other.append("quiet", None, None, b"Subject: put here\r\n\r\n")
    starts(d.line(), "* 1 EXISTS")
    while not (line := d.line()).startswith("* 1 FETCH"):
        pass
    has(line, "put here")
    other.logout()
    d.close()


def test_rfc8474_ids_go_with_the_message():
    c = suite.imap("many")
    c.create("ids")
    c.append("ids", None, None, b"Message-ID: <ids@x>\r\n\r\nhi\r\n")
    c.select("ids")
    first = c.fetch("1", "(EMAILID THREADID)")[1][0].partition(b"EMAILID")[2]
    c.copy("1", "INBOX")
    c.select("INBOX")
    last = c.search(None, "HEADER", "Message-ID", "ids@x")[1][0].split()[-1]
    expect(c.fetch(last, "(EMAILID THREADID)")[1][0].partition(b"EMAILID")[2], first)
    box = c.status("ids", "(MAILBOXID)")[1][0].split(b"(")[2]
    c.rename("ids", "other")
    expect(c.status("other", "(MAILBOXID)")[1][0].split(b"(")[2], box)
    c.logout()


def test_I09_flags():
    send("I09")
    c = suite.imap()
    wait_for(lambda: c.select("INBOX")[0] == "OK" and c.search(None, "SUBJECT", "I09")[1][0], 10, "I09")
    n = c.search(None, "SUBJECT", "I09")[1][0].split()[0]
    for flag in ("\\Seen", "\\Answered", "\\Flagged", "\\Draft", "\\Deleted", "$Label1"):
        has(str(c.store(n, "+FLAGS", "(%s)" % flag)[1]), flag.replace("\\", "\\\\"))
    has(str(c.store(n, "FLAGS", "(\\Seen)")[1]), "Seen")
    assert "Deleted" not in str(c.fetch(n, "(FLAGS)"))
    c.logout()


def test_I10_I11_I12_I13_parts_sizes_and_structure():
    body = "--b\r\nContent-Type: text/plain\r\n\r\nfirst\r\n--b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\nAAECAw==\r\n--b--\r\n"
    send("I10", body=body, header="MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n")
    c = suite.imap()
    wait_for(lambda: c.select("INBOX")[0] == "OK" and c.search(None, "SUBJECT", "I10")[1][0], 10, "I10")
    n = c.search(None, "SUBJECT", "I10")[1][0].split()[0]
    whole = c.fetch(n, "(BODY.PEEK[])")[1][0][1]
    has(str(c.fetch(n, "(RFC822.SIZE)")), "RFC822.SIZE %d" % len(whole))
    header = c.fetch(n, "(BODY.PEEK[HEADER])")[1][0][1]
    assert whole.startswith(header) and header.endswith(b"\r\n\r\n")
    expect(c.fetch(n, "(BODY.PEEK[1])")[1][0][1], b"first")
    expect(c.fetch(n, "(BODY.PEEK[2])")[1][0][1], b"AAECAw==")
    expect(c.fetch(n, "(BODY.PEEK[]<0.10>)")[1][0][1], whole[:10])
    structure = str(c.fetch(n, "(BODYSTRUCTURE)"))
    for word in ('"text" "plain"', '"application" "octet-stream"', '"mixed"', '"base64"'):
        has(structure.lower(), word)
    has(str(c.fetch(n, "(ENVELOPE)")), '"I10"')
    c.logout()


def test_append_uidplus_and_byte_exact_return():
    c = suite.imap()
    text = b"From: me@example.test\r\nSubject: appended\r\n\r\n" + bytes(range(0x20, 0x7f)) + b"\r\n"
    r = c.append("INBOX", "(\\Seen)", '"21-Nov-2026 10:00:00 +0000"', text)
    expect(r[0], "OK")
    has(str(r[1]), "APPENDUID")
    c.select("INBOX")
    n = c.search(None, "SUBJECT", "appended")[1][0].split()[-1]
    expect(c.fetch(n, "(BODY.PEEK[])")[1][0][1], text)
    has(str(c.fetch(n, "(INTERNALDATE)")), "21-Nov-2026 10:00:00 +0000")
    c.logout()


def test_a_crowd_logs_in_at_once():
    """userd meets a ticket before it has read authd's word of it."""
    for _ in range(3):
        crowd = [Dialogue(("127.0.0.1", suite.port("IMAP"))) for _ in range(40)]
        for d in crowd:
            starts(d.line(), "* OK")
        for number, d in enumerate(crowd):
            user = ("bob", "alice", *PEOPLE)[number % (2 + len(PEOPLE))]
            d.say("a LOGIN %s@example.test %s" % (user, suite.password(user)))
        for d in crowd:
            starts(d.line(), "a OK")
        for d in crowd:
            d.close()


def test_one_user_cannot_see_another():
    c = suite.imap("alice")
    c.select("INBOX")
    expect(c.search(None, "SUBJECT", "I10")[1][0], b"")
    for name in ("../bob", "/etc", "../../alice", "a/../../b"):
        assert c.select('"%s"' % name)[0] != "OK", name
    c.logout()


main(globals())
