#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""What a client was told is removed stays so: kill -9 of mailboxd right behind the answer to EXPUNGE, CLOSE, REPLACE and
POP3's QUIT, again and again; what was not removed is there under the UID it had."""
import os
import re
import signal

from pillar import Dialogue, ImapDialogue, Instance, expect, main, starts, wait_for

COUNT, TIMES = 400, 12
suite = Instance(users=("alice",), extra="mailbox_idle_time = 0\n")


class Session(ImapDialogue):
    def __init__(self):
        super().__init__(suite, "alice")
        self.ask("SELECT INBOX")

    def ask(self, command, kill=False):
        """A kill is right behind the good answer."""
        if not kill:
            return super().ask(command)
        pid = suite.mailboxd("alice")
        self.say("a " + command)
        lines = self.answer()
        die(self, pid)
        starts(lines[-1], "a OK")
        return lines

    def uids(self):
        found = re.findall(r"\d+", " ".join(line for line in self.ask("UID SEARCH ALL") if line.startswith("* SEARCH")))
        return [int(n) for n in found]

    def append(self, text):
        self.ask("APPEND INBOX {%d+}\r\n%s" % (len(text), text))


def die(session, pid):
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not os.path.exists("/proc/%d" % pid), 20, "its end")
    session.close()


def text(n):
    return "Subject: number %d\r\n\r\n%s\r\n" % (n, "x" * (n % 97))


def still(wanted, what):
    """A new process finds these, and goes on."""
    c = Session()
    there = c.uids()
    expect((sorted(set(there) - set(wanted)), sorted(set(wanted) - set(there))), ([], []), what + ": what came back, and what is lost")
    return c


def test_what_was_removed_stays_so():
    c = Session()
    for n in range(COUNT):
        c.append(text(n))
    there = c.uids()
    expect(len(there), COUNT)
    for turn in range(TIMES):
        gone = there[turn % 5::7]
        c.ask("UID STORE %s +FLAGS.SILENT (\\Deleted)" % ",".join(map(str, gone)))
        c.ask(("EXPUNGE", "CLOSE", "UID EXPUNGE %d:%d" % (gone[0], gone[-1]))[turn % 3], kill=True)
        there = [uid for uid in there if uid not in gone]
        c = still(there, "behind turn %d" % turn)
        for n in range(40):
            c.append(text(n))
        there = c.uids()
    c.close()


def test_what_was_replaced_is_gone():
    c = Session()
    for turn in range(TIMES):
        there = c.uids()
        lines = c.ask("UID REPLACE %d INBOX {%d+}\r\n%s" % (there[0], len(text(turn)), text(turn)), kill=True)
        new = int(re.search(r"\[APPENDUID \d+ (\d+)\]", " ".join(lines))[1])
        c = still(there[1:] + [new], "behind turn %d" % turn)
    c.close()


def test_what_pop3_deleted_is_gone():
    for turn in range(TIMES):
        c = Session()
        there = c.uids()
        p = Dialogue(("127.0.0.1", suite.port("POP3S")), suite.context())
        p.line()
        for command in ["USER alice@example.test", "PASS " + suite.password("alice")] + ["DELE %d" % (i + 1) for i in range(0, len(there), 9)]:
            p.say(command)
            starts(p.line(), "+OK")
        pid = suite.mailboxd("alice")
        p.say("QUIT")
        answer = p.line()
        die(p, pid)
        starts(answer, "+OK")
        c.close()
        still([uid for i, uid in enumerate(there) if i % 9], "behind turn %d" % turn).close()


main(globals())
