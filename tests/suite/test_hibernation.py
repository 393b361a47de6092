#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Clients that only idle cost no process: their mailboxd ends, userd keeps the connections, and
whatever happens in the folder or on the connection brings everything back as it was."""
import os
import re
import time

from pillar import Dialogue, Instance, expect, has, main, starts, wait_for

suite = Instance(extra="imap_hibernate_time = 1s\nmailbox_idle_time = 60s\n")


class Idler(Dialogue):
    """A client that has selected a folder and idles, or does something else."""

    def __init__(self, user="bob", folder="INBOX", idle=True):
        super().__init__(("127.0.0.1", suite.port("IMAPS")), suite.context())
        self.count = 0
        self.line()
        self.command("LOGIN %s@example.test %s" % (user, suite.password(user)))
        self.command("SELECT " + folder)
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

    def until(self, wanted):
        """The lines up to one that is it."""
        lines = []
        while True:
            lines.append(self.line())
            if re.fullmatch(wanted, lines[-1]):
                return lines


def mailboxds(user="bob"):
    """How many processes were started for a user, and how many have ended."""
    log = suite.log()
    return len(re.findall(r"mailboxd %s@example.test pid=\d+ started" % user, log)), len(re.findall(r"child %s@example.test pid=\d+ ended" % user, log))


def rested(user="bob"):
    wait_for(lambda: len(set(mailboxds(user))) == 1, 30, "the end of %s's mailboxd" % user)


def woken(user="bob"):
    started, ended = mailboxds(user)
    return started > ended


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
    c = Idler()
    rested()
    c.done()
    expect(c.command("NOOP"), [])
    c.idle("again")
    rested()
    c.done("again")
    c.command("STORE 1 +FLAGS (\\Flagged)")
    c.idle("third")
    rested()
    c.close()
    wait_for(lambda: mailboxds()[0] == mailboxds()[1] or woken(), 30, "userd to notice that the client is gone")


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
    path = suite.maildir("alice") + "/tmp/1234.5678.other"
    with open(path, "w") as f:
        f.write("Subject: other\n\nbody\n")
    os.chown(path, os.stat(names[1]).st_uid, os.stat(names[1]).st_gid)
    os.rename(path, suite.maildir("alice") + "/new/1234.5678.other")
    c.until(r"\* 10 EXISTS")
    rested("alice")
    c.done()
    got = "\n".join(c.command("UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])"))
    expect(re.findall(r"Subject: (\S+)", got), ["a%d" % i for i in range(10) if i != 4] + ["other"])
    c.close()


def test_who_is_not_idling_keeps_the_process():
    c = Idler()
    busy = Idler(idle=False)
    time.sleep(3)
    assert woken()
    busy.close()
    rested()
    pop = suite.pop3("bob")
    time.sleep(3)
    assert woken()
    pop.quit()
    rested()
    c.done()
    c.close()


def test_zz_resting_clients_are_told_of_the_end():
    c = Idler("alice")
    rested("alice")
    suite.stop()
    starts(c.line(), "* BYE")
    assert c.at_end()
    expect(re.findall(r"\]: child .* ended: (?!exit status 0$).*", suite.log(), re.M), [])


main(globals())
