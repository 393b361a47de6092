#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Clients that only idle cost no process: their mailboxd ends, userd keeps the connections, and
whatever happens in the folder or on the connection brings everything back as it was."""
import os
import random
import re
import shutil
import signal
import time
import zlib

from pillar import SLOW, Dialogue, Instance, expect, has, main, starts, wait_for

suite = Instance(extra="imap_hibernate_time = 300ms\nmailbox_idle_time = 60s\nimap_idle_notify_interval = 10s\nquota_administrators = alice@example.test\n",
                 users=("alice", "bob", "carol", "dave", "erin"))


class Idler(Dialogue):
    """A client that has selected a folder and idles, or does something else."""

    def __init__(self, user="bob", folder="INBOX", idle=True, tls=True, before=(), select="SELECT "):
        super().__init__(("127.0.0.1", suite.port("IMAPS" if tls else "IMAP")), suite.context() if tls else None)
        self.line()
        self.command("LOGIN %s@example.test %s" % (user, suite.password(user)))
        for text in before:
            self.command(text)
        self.command(select + folder)
        if idle:
            self.idle()

    def command(self, text, tag="a"):
        """The untagged lines before a good answer."""
        self.say(tag + " " + text)
        return self.answer(tag)

    def answer(self, tag="a"):
        lines = []
        while True:
            line = self.line()
            if line.startswith(tag + " "):
                starts(line, tag + " OK")
                return lines
            lines.append(line)

    def idle(self, tag="wait1"):
        self.say(tag + " IDLE")
        starts(self.line(), "+")

    def done(self, tag="wait1"):
        self.say("DONE")
        return self.answer(tag)

    def ended(self):
        """Whatever it says until then."""
        try:
            while self.sock.recv(4096):
                pass
        except ConnectionError:
            pass

    def until(self, wanted):
        """The lines up to one that is it."""
        lines = []
        while True:
            lines.append(self.line())
            if re.fullmatch(wanted, lines[-1]):
                return lines


def rests(user="bob"):
    """How many processes of a user have ended."""
    return len(re.findall(r"child %s@example.test pid=\d+ ended" % user, suite.log()))


def rested(user="bob"):
    wait_for(lambda: not suite.mailboxd(user), 30, "the end of %s's mailboxd" % user)


def woken(user="bob"):
    return suite.mailboxd(user) is not None


def userd():
    return next(pid for name, _, pid in suite.processes() if name == "userd")


def watching(pid):
    """How many descriptors that watch directories a process has."""
    n = 0
    for fd in os.listdir("/proc/%d/fd" % pid):
        try:
            n += "inotify" in os.readlink("/proc/%d/fd/%s" % (pid, fd))
        except OSError:  # it has just been closed
            continue
    return n


def deliver(user, folder="", subject="other"):
    """As another program does."""
    deliver.n += 1
    top = suite.maildir(user) + ("/." + folder if folder else "")
    path, owner = "%s/tmp/1234.%d.other" % (top, deliver.n), os.stat(top)
    with open(path, "w") as f:
        f.write("Subject: %s\n\nbody\n" % subject)
    os.chown(path, owner.st_uid, owner.st_gid)
    os.rename(path, "%s/new/1234.%d.other" % (top, deliver.n))


deliver.n = 0


def send(subject, user="bob"):
    with suite.submission() as s:
        s.sendmail("alice@example.test", [user + "@example.test"], "Subject: %s\r\n\r\nbody\r\n" % subject)


def fill(user, subjects):
    imap = suite.imap(user)
    for subject in subjects:
        expect(imap.append("INBOX", None, None, ("Subject: %s\r\n\r\nbody\r\n" % subject).encode())[0], "OK")
    imap.logout()


def test_new_mail_reaches_all_who_rest():
    fill("bob", ["one", "two"])
    clients = [Idler() for _ in range(3)]
    rested()
    send("three")
    for c in clients:
        c.until(r"\* 3 EXISTS")
    for c in clients:
        c.done()
        has("\n".join(c.command("FETCH 3 (BODY.PEEK[HEADER.FIELDS (SUBJECT)])")), "Subject: three")
        c.close()


def test_a_word_of_the_client_brings_it_back():
    before = watching(userd())
    c = Idler()
    rested()
    expect(watching(userd()), before + 1)
    c.done()
    expect(c.command("NOOP"), [])
    expect(watching(userd()), before)
    wait_for(lambda: watching(suite.mailboxd("bob")) == 1, 5, "the end of what the last one watched with")
    c.idle("again")
    rested()
    c.done("again")
    c.command("STORE 1 +FLAGS (\\Flagged)")
    c.idle("third")
    rested()
    n = len(re.findall("service=imap resumed", suite.log()))
    c.close()
    wait_for(lambda: len(re.findall("service=imap resumed", suite.log())) > n, 30, "somebody to notice that the client is gone")


def test_another_session_changes_things():
    c = Idler()
    rested()
    other = Idler(idle=False)
    other.command("STORE 2 +FLAGS (\\Deleted)")
    c.until(r"\* 2 FETCH .*\\Deleted.*")
    other.command("EXPUNGE")
    c.until(r"\* 2 EXPUNGE")
    other.close()
    rested()
    c.done()
    has("\n".join(c.command("FETCH 2 (BODY.PEEK[HEADER.FIELDS (SUBJECT)])")), "Subject: three")
    c.close()


def test_another_program_changes_the_maildir():
    fill("alice", ["a%d" % i for i in range(10)])
    c = Idler("alice")
    rested("alice")
    names = sorted(suite.mailbox_files("alice"), key=lambda p: [int(n) for n in re.findall(r"\d+", os.path.basename(p))])
    os.unlink(names[4])
    c.until(r"\* 5 EXPUNGE")
    rested("alice")
    os.rename(names[0], names[0].partition(":2,")[0] + ":2,FS")
    c.until(r"\* 1 FETCH .*\\Flagged.*")
    rested("alice")
    deliver("alice")
    c.until(r"\* 10 EXISTS")
    rested("alice")
    c.done()
    got = "\n".join(c.command("UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])"))
    expect(re.findall(r"Subject: (\S+)", got), ["a%d" % i for i in range(10) if i != 4] + ["other"])
    c.close()


def test_who_is_not_idling_keeps_the_process():
    c = Idler()
    busy = Idler(idle=False)
    time.sleep(1.5)
    assert woken()
    busy.close()
    rested()
    pop = suite.pop3("bob")
    time.sleep(1.5)
    assert woken()
    pop.quit()
    rested()
    c.done()
    c.close()


def test_with_and_without_tls():
    clients = [Idler("carol"), Idler("carol", tls=False)]
    for n in (1, 2):
        rested("carol")
        send("mail", "carol")
        for c in clients:
            c.until(r"\* %d EXISTS" % n)
    rested("carol")
    for c in clients:
        c.done()
        expect(c.command("STATUS INBOX (MESSAGES)"), ["* STATUS INBOX (MESSAGES 2)"])
    c = clients[0]  # a front's connection goes back to it, also after a rest
    c.command("UNAUTHENTICATE")
    c.command("LOGIN dave@example.test " + suite.password("dave"))
    c.command("SELECT INBOX")
    c.idle()
    rested("dave")
    send("for dave", "dave")
    c.until(r"\* 1 EXISTS")
    for c in clients:
        c.close()


def test_half_a_word_and_a_literal_in_pieces():
    c = Idler("carol")
    rested("carol")
    c.raw(b"DO")
    wait_for(lambda: woken("carol"), 30, "a process")
    time.sleep(1)
    assert woken("carol")  # what has been read is nowhere else
    c.raw(b"NE\r\n")
    starts(c.line(), "wait1 OK")
    c.idle()
    rested("carol")
    c.raw(b"DONE\r\nb APPEND INBOX {25}\r\n")
    starts(c.line(), "wait1 OK")
    starts(c.line(), "+")
    c.raw(b"Subject: literal")
    time.sleep(1)
    assert woken("carol")
    c.raw(b"\r\n\r\nabc\r\n\r\n")
    c.answer("b")
    c.idle("b")
    rested("carol")
    # all at once, and the next IDLE behind it
    c.raw(b"DONE\r\nc APPEND INBOX {25+}\r\nSubject: literal\r\n\r\nabc\r\n\r\nd IDLE\r\n")
    c.answer("b")
    c.answer("c")
    starts(c.line(), "+")
    rested("carol")
    c.done("d")
    has("\n".join(c.command("STATUS INBOX (MESSAGES)")), "MESSAGES 4")
    c.close()


class Compressed:
    """A socket behind COMPRESS DEFLATE."""

    def __init__(self, sock):
        self.under, self.inflate, self.deflate = sock, zlib.decompressobj(-15), zlib.compressobj(wbits=-15)

    def recv(self, limit):
        while True:
            data = self.under.recv(limit)
            text = self.inflate.decompress(data)
            if text or not data:
                return text

    def sendall(self, data):
        self.under.sendall(self.deflate.compress(data) + self.deflate.flush(zlib.Z_SYNC_FLUSH))

    def close(self):
        self.under.close()


def test_who_has_more_than_an_idle_keeps_the_process():
    """NOTIFY, COMPRESS, a saved result: nobody else knows of these, so the user does not rest at all, and nothing is lost."""
    c = Idler("carol", idle=False)
    c.command("NOTIFY SET (selected (MessageNew MessageExpunge)) (personal (MessageNew MessageExpunge))")
    c.idle()
    other = Idler("carol")
    time.sleep(1.5)
    assert woken("carol")
    send("noted", "carol")
    deliver("carol", "Drafts")
    seen = c.until(r"\* 5 EXISTS")
    other.until(r"\* 5 EXISTS")
    if not any("STATUS Drafts" in line for line in seen):
        c.until(r"\* STATUS Drafts .*")
    c.close()
    rested("carol")
    c = Idler("carol", idle=False)
    c.command("SEARCH RETURN (SAVE) 1:3")
    c.idle()
    time.sleep(1.5)
    assert woken("carol")
    c.done()
    has("\n".join(c.command("FETCH $ (UID)")), "* 3 FETCH")
    c.command("COMPRESS DEFLATE")
    c.sock = Compressed(c.sock)
    c.idle()
    time.sleep(1.5)
    assert woken("carol")
    send("compressed", "carol")
    c.until(r"\* 6 EXISTS")
    c.close()
    other.until(r"\* 6 EXISTS")
    rested("carol")
    other.close()


def test_who_has_listed_or_left_anothers_mailboxes_rests():
    """Clients ask for all folders first; a mailbox of another user that is selected no longer holds nobody's process."""
    a = suite.imap("alice")
    expect(a.create("Shared")[0], "OK")
    expect(a.setacl("Shared", "bob", "lr")[0], "OK")
    a.logout()
    shared, owner = 'SELECT "Other Users/alice/Shared"', Idler("alice")
    for user, before in (("carol", ['LIST "" "*"']), ("bob", [shared]), ("bob", [shared, "CLOSE"])):
        c = Idler(user, before=before)
        rested(user)
        rested("alice")
        c.done()
        c.close()
    c = Idler("bob", idle=False)
    c.say('x SELECT "Other Users/alice/None"')
    starts(c.line(), "x NO")
    rested("alice")
    for client in (c, owner):
        client.close()


def test_each_goes_on_in_its_own_folder_and_mode():
    fill("dave", ["d%d" % i for i in range(8)])  # behind the one of before
    inbox = Idler("dave")
    drafts = Idler("dave", "Drafts")
    qresync = Idler("dave", before=["ENABLE QRESYNC"])
    uidonly = Idler("dave", before=["ENABLE UIDONLY"])
    reader = Idler("dave", select="EXAMINE ")
    rested("dave")
    deliver("dave", "Drafts")
    drafts.until(r"\* 1 EXISTS")
    rested("dave")
    other = Idler("dave", idle=False)
    other.command("STORE 2:3,5 +FLAGS.SILENT (\\Deleted)")
    other.command("EXPUNGE")
    other.command("STORE 1 +FLAGS.SILENT (\\Answered)")
    other.close()
    expect([re.sub(r".*\* (\d+) EXPUNGE", r"\1", x) for x in inbox.until(r"\* 1 FETCH .*Answered.*") if "EXPUNGE" in x], ["5", "3", "2"])
    assert not [x for x in reader.until(r"\* 1 FETCH .*Answered.*") if x.endswith("EXISTS")]
    has("\n".join(qresync.until(r"\* 1 FETCH .*MODSEQ.*Answered.*|\* 1 FETCH .*Answered.*MODSEQ.*")), "VANISHED 2:3,5")
    has("\n".join(uidonly.until(r"\* 1 UIDFETCH .*Answered.*")), "VANISHED")
    rested("dave")
    for c in (inbox, qresync, uidonly, reader):
        c.done()
        has("\n".join(c.command("UID SEARCH UID 1:*")), "1 4 6 7 8 9")
    drafts.done()
    expect(drafts.command("UID SEARCH ALL"), ["* SEARCH 1"])
    reader.say("b STORE 1 +FLAGS (\\Seen)")
    starts(reader.line(), "b NO")
    uidonly.say("b FETCH 1 (FLAGS)")
    starts(uidonly.line(), "b BAD")
    for c in (inbox, drafts, qresync, uidonly, reader):
        c.close()


def test_a_folder_that_goes_while_its_reader_rests():
    fill("erin", ["e1"])
    maker = Idler("erin", idle=False, before=["CREATE Gone", "CREATE Stays"])
    c, stays = Idler("erin", "Gone"), Idler("erin", "Stays")
    maker.close()
    rested("erin")
    shutil.rmtree(suite.maildir("erin") + "/.Gone")
    c.raw(b"DONE\r\nz LOGOUT\r\n")
    c.ended()
    deliver("erin", "Stays")
    stays.until(r"\* 1 EXISTS")
    rested("erin")
    stays.close()


def test_a_limit_set_while_all_rest_holds_when_they_go_on():
    c = Idler("erin")
    rested("erin")
    admin = suite.imap("alice")
    expect(admin.setquota("user/erin", "(MESSAGE 2)")[1], [b"user/erin (MESSAGE 2 2)"])
    admin.logout()
    rested("erin")
    c.done()
    c.say("b APPEND INBOX {8+}\r\nA: b\r\n\r\n")
    starts(c.line(), "b NO [OVERQUOTA]")
    suite.mailctl("user", "quota", "erin@example.test", "--messages", "none")
    wait_for(lambda: not c.say("d GETQUOTA user") and c.line().startswith("d NO"), 20, "the end of the limit")
    c.close()


def test_a_reload_disturbs_nobody():
    c = Idler("erin")
    rested("erin")
    suite.mailctl("reload")
    deliver("erin")
    c.until(r"\* 2 EXISTS")
    suite.mailctl("reload")  # while it is awake
    rested("erin")
    suite.mailctl("reload")
    c.done()
    expect(c.command("STATUS INBOX (MESSAGES)"), ["* STATUS INBOX (MESSAGES 2)"])
    c.close()


def test_the_new_process_is_killed_before_it_has_begun():
    """Its sessions are lost, nothing else: the next login finds all."""
    had = len(suite.mailbox_files("erin"))
    for n in range(3):
        c = Idler("erin")
        rested("erin")
        deliver("erin")
        wait_for(lambda: suite.mailboxd("erin"), 20, "a process to kill")
        pid = suite.mailboxd("erin")
        if pid:
            os.kill(pid, signal.SIGKILL)
        try:
            c.raw(b"DONE\r\nz LOGOUT\r\n")
        except OSError:
            pass
        c.ended()
        again = Idler("erin", idle=False)
        expect(again.command("STATUS INBOX (MESSAGES)"), ["* STATUS INBOX (MESSAGES %d)" % (had + n + 1)])
        again.close()
    assert "erin@example.test" not in suite.mailctl("quarantine", "list").stdout


early = None


def test_userd_is_killed_and_all_who_rest_log_in_again():
    clients = [Idler("erin"), Idler("erin", tls=False), Idler("bob")]
    rested("erin")
    rested("bob")
    had = len(suite.mailbox_files("erin"))
    os.kill(userd(), signal.SIGKILL)
    for c in clients:
        c.ended()

    def again():
        try:
            return Idler("erin")
        except (AssertionError, OSError): # userd is on its way
            return None
    c = wait_for(again, 30, "a login")
    deliver("erin")
    c.until(r"\* %d EXISTS" % (had + 1))
    c.close()
    global early
    early = Idler("bob")


class Follower(Idler):
    """Knows the folder by what it was told, and asks now and then whether that is so."""

    def __init__(self, *args, **kw):
        super().__init__(*args, **kw)
        self.n = None
        self.ask()

    def take(self, lines):
        for line in lines:
            m = re.fullmatch(r"\* (\d+) (EXISTS|EXPUNGE)", line)
            if m and m[2] == "EXISTS":
                assert self.n is None or int(m[1]) >= self.n, (line, self.n)
                self.n = int(m[1])
            elif m:
                assert self.n is None or 1 <= int(m[1]) <= self.n, (line, self.n)
                self.n = None if self.n is None else self.n - 1

    def ask(self):
        self.take(self.done())
        lines = self.command("UID SEARCH ALL")
        at = next(i for i, line in enumerate(lines) if line.startswith("* SEARCH"))
        uids = lines[at].split()[2:]
        self.take(lines[:at])
        assert self.n in (None, len(uids)), (self.n, uids)
        self.n = len(uids)
        self.take(lines[at:])  # what came meanwhile
        self.idle()
        return uids


def test_at_random():
    """Deliveries, other programs, other sessions and half-asleep clients, with a wait that hits
    every moment of going to rest and of waking."""
    seed = random.randrange(1 << 30)
    print("# seed %d" % seed)
    rng = random.Random(seed)
    clients = [Follower("dave", tls=i != 1) for i in range(3)]
    before, left, expunged = set(clients[0].ask()), rests("dave"), 0

    def leave_and_come():
        i = rng.randrange(3)
        clients[i].close()
        clients[i] = Follower("dave", tls=i != 1)

    def flag_or_expunge():
        other = Idler("dave", idle=False)
        other.command("STORE 1 +FLAGS (%s)" % rng.choice(["\\Seen", "\\Deleted", "$Work"]))
        lines = other.command("EXPUNGE")
        other.close()
        return len([x for x in lines if x.endswith("EXPUNGE")])

    made = 0
    until = time.time() + int(os.environ.get("RANDOM_SECONDS", 8))
    while time.time() < until:
        act = rng.randrange(6)
        if act == 0:
            send("random", "dave")
            made += 1
        elif act == 1:
            deliver("dave")
            made += 1
        elif act == 2:
            expunged += flag_or_expunge()
        elif act == 3:
            leave_and_come()
        elif act == 4:
            rng.choice(clients).ask()
        time.sleep(rng.choice([0, 0, 0.05, 0.28, 0.3, 0.32, 0.5]))
    wanted = len(before) + made - expunged
    uids = [wait_for(lambda c=c: (lambda u: u if len(u) == wanted else None)(c.ask()), 60, "%d messages at each client" % wanted) for c in clients]
    assert uids[0] == uids[1] == uids[2], uids
    rested("dave")
    assert rests("dave") - left >= 3, "hardly ever at rest"
    for c in clients:
        c.close()


def test_zy_a_word_from_time_to_time():
    early.until(r"\* OK Still here")
    deliver("bob")
    early.until(r"\* \d+ EXISTS")
    early.close()


def test_zz_resting_clients_are_told_of_the_end():
    c = Idler("alice")
    rested("alice")
    suite.stop()
    starts(c.line(), "* BYE")
    assert c.at_end()
    expect(re.findall(r"\]: child .* ended: (?!exit status 0$|signal 9 ).*", suite.log(), re.M), [])


main(globals())
