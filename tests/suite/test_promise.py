#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""A large COPY or MOVE is acknowledged when a promise of it is durable (common/store/promise.h), and the links are
made behind it: kill -9 of mailboxd right behind the OK, and everything is there, once, under the UIDs that were told."""
import os
import re
import signal

from pillar import ImapDialogue, Instance, expect, main, starts, wait_for

COUNT = 1500
suite = Instance(users=("alice",))
TOP = suite.maildir("alice")
PROMISE = TOP + "/pillarpost-promise"
SENT = {b"Subject: number %d\r\n\r\n%s\r\n" % (n, b"x" * (n % 97)) for n in range(COUNT)}


class Session(ImapDialogue):
    def texts(self, folder):
        """{UID: message}"""
        self.ask("SELECT " + folder)
        self.say("b UID FETCH 1:* BODY.PEEK[]")
        found = {}
        while True:
            line = self.line()
            if line.startswith("b "):
                starts(line, "b OK")
                return found
            m = re.match(r"\* \d+ FETCH \(UID (\d+) BODY\[\] \{(\d+)\}", line)
            if m:
                while len(self.buffer) < int(m[2]):
                    self.buffer += self.sock.recv(65536)
                expect(int(m[1]) in found, False, "a UID that is there twice")
                found[int(m[1])], self.buffer = self.buffer[:int(m[2])], self.buffer[int(m[2]):]


def same(got, wanted, what):
    """As expect(), without printing thousands of messages."""
    if got != wanted:
        odd = sorted(k for k in set(got) | set(wanted) if got.get(k) != wanted.get(k))
        raise AssertionError("%s: %d messages in place of %d; UIDs %s" % (what, len(got), len(wanted), odd[:20]))


def files(folder=""):
    """How many messages another reader of the Maildir finds."""
    top = TOP + ("/." + folder if folder else "")
    return sum(len(os.listdir("%s/%s" % (top, sub))) for sub in ("new", "cur"))


def numbers(text):
    found = []
    for part in text.split(","):
        low, _, high = part.partition(":")
        found += range(int(low), int(high or low) + 1)
    return found


def fill(folder):
    c = Session(suite, "alice")
    c.ask("CREATE " + folder)
    c.ask("SELECT " + folder)
    owner = os.stat(TOP)
    for n, text in enumerate(sorted(SENT)):
        path = "%s/.%s/tmp/1234.%d.other" % (TOP, folder, n)
        with open(path, "wb") as f:
            f.write(text)
        os.chown(path, owner.st_uid, owner.st_gid)
        os.rename(path, "%s/.%s/cur/1234.%d.other:2,S" % (TOP, folder, n))
    wait_for(lambda: c.ask("STATUS %s (MESSAGES)" % folder)[0].endswith("(MESSAGES %d)" % COUNT), 20, "the messages")
    return c


def kill_behind(c, command):
    """Its COPYUID, as a map; and whether links were still to be made."""
    pid = suite.mailboxd("alice")
    c.say("k " + command)
    said = ""
    while True:
        line = c.line()
        said += line
        if line.startswith("k "):
            break
    os.kill(pid, signal.SIGKILL)
    starts(line, "k OK")
    wait_for(lambda: not os.path.exists("/proc/%d" % pid), 20, "its end")
    c.close()
    m = re.search(r"\[COPYUID \d+ (\S+) (\S+)\]", said)
    return dict(zip(numbers(m[1]), numbers(m[2]))), os.path.exists(PROMISE)


def check(target, source, told, before):
    """What was told is so: each message once, byte for byte, beside what was there before."""
    c = Session(suite, "alice")
    found = c.texts(target)
    expect(os.path.exists(PROMISE), False, "a promise that was kept")
    same(found, {told[uid]: source[uid] for uid in told} | before, "the target")
    expect(len(told), COUNT)
    wait_for(lambda: files(target) == len(found), 20, "each file once: %d of %d" % (files(target), len(found)))
    return c


def test_copies_and_moves():
    c, middle = fill("From"), 0
    source = c.texts("From")
    assert set(source.values()) == SENT
    c.ask("CREATE Copies")
    copies = {}
    for _ in range(3):
        c.ask("SELECT From")
        told, left = kill_behind(c, "UID COPY 1:* Copies")
        middle += left
        c = check("Copies", source, told, copies)
        copies = c.texts("Copies")
        same(c.texts("From"), source, "the source")
    for n in range(4):
        there, here = ("From", "To%d" % n) if n == 0 else ("To%d" % (n - 1), "To%d" % n)
        c.ask("CREATE " + here)
        source = c.texts(there)
        told, left = kill_behind(c, "UID MOVE 1:* " + here)
        middle += left
        c = check(here, source, told, {})
        same(c.texts(there), {}, "the source")
        wait_for(lambda: files(there) == 0, 20, "the end of the source's files")
    assert set(c.texts(here).values()) == SENT
    c.close()
    print("# %d of 7 kills came before all links were made" % middle)


main(globals())
