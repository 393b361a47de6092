#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Poison: what crashes a program twice is set aside, everything else goes on.
The crashes are made: a signal at the moment when the program has the message."""
import imaplib
import json
import os
import signal
import socket
import threading
import time

from pillar import SLOW, Instance, expect, family, has, main, wait_for


class Peer(threading.Thread):
    """Takes mail; crashes remoted whenever the poison's MAIL comes, while armed.
    Until the first crash the others are kept in hand, so that they are suspects, too."""

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.socket.listen(64)
        self.port = self.socket.getsockname()[1]
        self.armed, self.crashes, self.waiting, self.taken, self.lock = True, 0, 0, [], threading.Lock()
        self.crashed = threading.Event()
        self.start()

    def run(self):
        while True:
            threading.Thread(target=self.serve, args=(self.socket.accept()[0],), daemon=True).start()

    def serve(self, c):
        try:
            self.talk(c)
        except OSError:
            pass
        finally:
            c.close()

    def mail(self, line):
        if b"poison@" in line and self.armed:
            wait_for(lambda: self.crashed.is_set() or self.waiting >= INNOCENT, 30, "innocent company")
            with self.lock:
                self.crashes += 1
                pid = pid_of("remoted")
                wait_for(lambda: sleeps(pid), 30, "remoted to wait for answers") # busy with the peer, the crash would count against that, too
                os.kill(pid, signal.SIGSEGV)
            self.crashed.set()
            time.sleep(5 * SLOW) # remoted sees no answer any more
        elif b"poison@" not in line and not self.crashed.is_set():
            with self.lock:
                self.waiting += 1
            self.crashed.wait(60 * SLOW)

    def talk(self, c):
        f, sender = c.makefile("rb"), b""
        c.sendall(b"220 peer\r\n")
        for line in f:
            word = line[:4].upper()
            if word == b"MAIL":
                sender = line
                self.mail(line)
            if word == b"DATA":
                c.sendall(b"354 go on\r\n")
                while f.readline() not in (b".\r\n", b""):
                    pass
                with self.lock:
                    self.taken.append(sender)
            c.sendall(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")


INNOCENT = 4
peer = Peer()
suite = Instance(extra="daemon_processes = 1\nquota_administrators = alice@example.test\nminimal_backoff_time = 1s\nmaximal_backoff_time = 2s\nqueue_run_delay = 1s\n"
                 "mynetworks = 127.0.0.0/8\ntransport_maps = inline:{remote.test=smtp:[127.0.0.1]:%d}\n" % peer.port)


def maild():
    with open(suite.dir + "/sock/maild.pid") as f:
        return int(f.read())


def pid_of(program):
    """Of the only process of that name that maild has started."""
    for name, pid in family(maild()):
        if name == program:
            return pid
    raise ProcessLookupError(program)


def sleeps(pid):
    with open("/proc/%d/stat" % pid) as f:
        return f.read().rpartition(")")[2].split()[0] == "S"


def submit(sender, to):
    s = suite.smtp()
    s.sendmail(sender, [to], "Subject: from %s\r\n\r\nthe case\r\n" % sender)
    s.quit()


def quarantine():
    return [json.loads(line) for line in suite.mailctl("quarantine", "list", "--json").stdout.splitlines()]


def test_a_message_that_crashes_remoted_twice_is_held_and_others_go_on():
    for i in range(INNOCENT):
        submit("good%d@example.test" % i, "x%d@remote.test" % i)
    submit("poison@example.test", "x@remote.test")
    rows = wait_for(quarantine, 120, "the quarantine")
    expect([r["sender"] for r in rows], ["poison@example.test"])
    has(rows[0]["reason"] if "reason" in rows[0] else str(rows[0]), "quarantine: remoted crashed twice")
    wait_for(lambda: len({s for s in peer.taken if b"good" in s}) == INNOCENT, 120, "the others")
    expect([r["sender"] for r in quarantine()], ["poison@example.test"], "innocent")
    expect(peer.crashes, 2)
    has(suite.mailctl("quarantine", "list").stdout, "poison@example.test")


def test_its_case_can_be_seen_and_it_can_be_released():
    row = quarantine()[0]
    has(suite.mailctl("quarantine", "show", row["id"], "--content").stdout, "the case")
    peer.armed = False
    suite.mailctl("quarantine", "release", row["id"])
    wait_for(lambda: any(b"poison@" in s for s in peer.taken), 60, "the message that was released")
    expect(quarantine(), [])


def test_a_message_that_crashes_deliverd_is_held_too():
    if os.environ.get("SANITIZED"): # a sanitizer's report takes longer than the delivery that is to be caught
        print("# passed over: built with sanitizers")
        return
    submit("first@example.test", "bob@example.test") # deliverd runs
    suite.wait_mail(1)
    os.kill(pid_of("deliverd"), signal.SIGSTOP)
    submit("poison@example.test", "bob@example.test")
    end = time.monotonic() + 60 * SLOW
    while not quarantine() and time.monotonic() < end: # a crash without it does not count
        if any(b"poison@" in t for t in suite.messages()): # it came through between two crashes
            for f in suite.mailbox_files():
                os.unlink(f)
            submit("poison@example.test", "bob@example.test")
        try:
            pid = pid_of("deliverd")
            os.kill(pid, signal.SIGSTOP)
            try:
                wait_for(lambda: "poison@" in suite.mailctl("queue", "list", "status:active").stdout, 3, "its delivery")
                time.sleep(0.2 * SLOW)
            except AssertionError:
                pass
            os.kill(pid, signal.SIGSEGV)
            os.kill(pid, signal.SIGCONT)
            wait_for(lambda: not os.path.exists("/proc/%d" % pid), 60, "its end")
        except ProcessLookupError:
            time.sleep(0.1)
    expect([r["sender"] for r in quarantine()], ["poison@example.test"])
    submit("second@example.test", "bob@example.test")
    wait_for(lambda: any(b"second@" in t for t in suite.messages()), 60, "other mail")
    suite.mailctl("quarantine", "release", quarantine()[0]["id"])
    wait_for(lambda: any(b"poison@" in t for t in suite.messages()), 60, "the message that was released")


def mailboxes():
    return [(r["user"], r["crashes"], r["held"]) for r in quarantine() if "user" in r]


def label_of(pid):
    try:
        with open("/proc/%d/cmdline" % pid) as f:
            return f.read().split("\0")[1]
    except (OSError, IndexError):
        return None


def mailboxd_of(user):
    """Its only one: one that has logged out, or whose userd is gone, may still be ending."""
    found = [pid for name, pid in family(maild()) if name == "mailboxd" and label_of(pid) == user]
    return found[0] if len(found) == 1 else None


def crash_mailboxd(said=b""):
    c = suite.imap("bob")
    c.select("INBOX")
    if said:
        c.append("INBOX", None, None, said)
    pid = wait_for(lambda: mailboxd_of("bob@example.test"), 60, "bob's mailboxd alone")
    os.kill(pid, signal.SIGSEGV)
    wait_for(lambda: not os.path.exists("/proc/%d" % pid), 60, "its end")


def test_a_mailbox_whose_process_crashes_twice_lets_nobody_in_until_released():
    crash_mailboxd()
    wait_for(lambda: mailboxes() == [("bob@example.test", 1, False)], 60, "the first crash to be known")
    suite.imap("bob").logout()
    crash_mailboxd()
    wait_for(lambda: mailboxes() == [("bob@example.test", 2, True)], 60, "the second")
    try:
        suite.imap("bob")
        raise AssertionError("bob was let in")
    except imaplib.IMAP4.error as e:
        has(str(e), "UNAVAILABLE")
    suite.imap("alice").logout()
    has(suite.mailctl("quarantine", "list").stdout, "mailbox bob@example.test: mailboxd crashed 2 times")
    suite.mailctl("quarantine", "release", "bob@example.test")
    suite.imap("bob").logout()
    for verb in ("show", "release"):
        expect(suite.mailctl("quarantine", verb, "bob@example.test", check=False).returncode, 1, verb)


def test_what_is_kept_of_a_mailbox_is_told_whole():
    crash_mailboxd()
    wait_for(lambda: mailboxes() == [("bob@example.test", 1, False)], 60, "the first crash to be known")
    crash_mailboxd(b"\x80" * 60000)
    wait_for(lambda: mailboxes() == [("bob@example.test", 2, True)], 60, "the second")
    kept = json.loads(suite.mailctl("quarantine", "show", "bob@example.test", "--json").stdout)["input"]
    assert kept.count("\ufffd") > 12000, len(kept)
    suite.mailctl("quarantine", "release", "bob@example.test")


def test_a_crash_counts_though_nobody_had_logged_in():
    suite.mailctl("user", "quota", "bob@example.test", "--size", "1G")
    a = suite.imap("alice")
    for n in (1, 2):
        wait_for(lambda: not mailboxd_of("bob@example.test"), 60, "the end of the one before")
        expect(a.getquota("user/bob@example.test")[0], "OK")
        os.kill(mailboxd_of("bob@example.test"), signal.SIGSEGV)
        wait_for(lambda: mailboxes() == [("bob@example.test", n, n > 1)], 60, "crash %d to be known" % n)
    a.logout()
    suite.mailctl("quarantine", "release", "bob@example.test")


def test_a_kill_is_no_crash():
    before = mailboxes()
    c = suite.imap("bob")
    c.select("INBOX")
    pid = pid_of("mailboxd")
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not os.path.exists("/proc/%d" % pid), 60, "its end")
    suite.imap("bob").logout()
    expect(mailboxes(), before)


def known_mailboxes():
    """While userd may be away: None."""
    r = suite.mailctl("quarantine", "list", "--json", check=False)
    return None if r.returncode else [(m["user"], m["crashes"], m["held"]) for m in map(json.loads, r.stdout.splitlines()) if "user" in m]


def another_userd():
    before = pid_of("userd")
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: any(name == "userd" and pid != before for name, pid in family(maild())) and known_mailboxes() is not None, 60, "another userd")


def lets_in(user):
    try:
        suite.imap(user).logout()
        return True
    except (imaplib.IMAP4.error, OSError):
        return False


def test_who_asks_a_program_that_does_not_answer_hears_so():
    userd = pid_of("userd")
    os.kill(userd, signal.SIGSTOP)
    later = threading.Timer(4, os.kill, (userd, signal.SIGCONT))
    later.start()
    try:
        said = suite.mailctl("quarantine", "list").stderr
    finally:
        later.join()
    has(said, "channel mailbox_admin: no answer")
    has(said, "waiting for up to 58 s more")


def test_the_count_of_a_mailbox_outlives_userd_and_the_suite():
    expect(mailboxes(), [])
    crash_mailboxd()
    wait_for(lambda: mailboxes() == [("bob@example.test", 1, False)], 60, "the first crash to be known")
    another_userd()
    wait_for(lambda: known_mailboxes() == [("bob@example.test", 1, False)], 60, "what authd has kept")
    wait_for(lambda: lets_in("bob"), 60, "bob to be let in")
    crash_mailboxd()
    wait_for(lambda: known_mailboxes() == [("bob@example.test", 2, True)], 60, "the second")
    suite.stop()
    suite.start()
    wait_for(lambda: lets_in("alice"), 60, "alice to be let in") # by tickets, which come behind what was kept
    expect(mailboxes(), [("bob@example.test", 2, True)])
    assert not lets_in("bob")
    suite.mailctl("quarantine", "release", "bob@example.test")
    suite.imap("bob").logout()
    another_userd()
    wait_for(lambda: lets_in("bob"), 60, "bob to be let in")
    expect(known_mailboxes(), [])


main(globals(), crashes=True)
