#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""An attacker's code in one user's mailboxd that asks userd for more and more and reads no answer, or takes
no session: it costs that user his session, and nobody else anything. So does one in locald."""
import errno
import os
import signal
import time

import intruder
from intruder import Intruder, channel_to, frame, frames
from pillar import Instance, expect, family, main, wait_for

ROOM = 5000 # what sockets hold that nobody reads, and what comes within a turn
if intruder.possible():
    print("1..0 # SKIP " + intruder.possible())
    raise SystemExit(0)
suite = Instance(extra="daemon_processes = 1\nquota_administrators = alice@example.test\n", users=("alice", "bob", "carol"))
with suite.imap("alice") as c:
    expect(c.create("Projects")[0], "OK")
    expect(c.setacl("Projects", "bob", "lr")[0], "OK")


def the(program):
    [pid] = [pid for name, pid in family(suite.maild()) if name == program]
    return pid


def userd():
    return the("userd")


def descriptors():
    return len(os.listdir("/proc/%d/fd" % userd()))


def channel_to_userd(pid):
    return channel_to(pid, userd())


def carol_reads():
    with suite.imap("carol") as c:
        expect(c.noop()[0], "OK")


def visits(n):
    return b"".join(frame("session", "visit", 0, {"id": i, "owner": "alice@example.test"}) for i in range(n))


def test_who_asks_and_reads_no_answer():
    b, before = suite.imap("bob"), descriptors()
    code = Intruder(suite.mailboxd("bob"))
    fd, most, told = channel_to_userd(code.pid), 0, 0
    for told in range(1500):
        if code.sends(fd, visits(60)) == -errno.EPIPE:
            break
        most = max(most, descriptors())
    print("# heard %d times; %d descriptors, %d before" % (told, most, before))
    assert most < before + ROOM, most
    suite.wait_log(" userd[", " channel mailboxd bob@example.test: session_visit was not allowed now")
    code.leave()
    b.shutdown()
    carol_reads()


def test_whose_process_takes_no_visitors():
    a, before = suite.imap("alice"), descriptors()
    wait_for(lambda: not suite.mailboxd("bob"), 20, "the end of the one before")
    b = suite.imap("bob")
    alice = suite.mailboxd("alice")
    code = Intruder(suite.mailboxd("bob"))
    fd, most, refusals = channel_to_userd(code.pid), 0, 0
    os.kill(alice, signal.SIGSTOP)
    try:
        for _ in range(200):
            expect(code.sends(fd, visits(60)), len(visits(60)))
            answers = []
            while len(answers) < 60:
                answers += list(frames("session", code.receives(fd) or b""))
            refusals += sum(kind == "answered" for kind, _ in answers)
            most = max(most, descriptors())
    finally:
        os.kill(alice, signal.SIGCONT)
    print("# %d of 12000 refused; %d descriptors, %d before" % (refusals, most, before))
    code.leave()
    assert most < before + ROOM, most
    assert refusals
    b.shutdown()
    carol_reads()
    expect(a.noop()[0], "OK")


def test_whose_process_does_not_say_how_much_there_is():
    suite.mailctl("user", "quota", "bob@example.test", "--size", "1G")
    a, b = suite.imap("alice"), suite.imap("bob")
    bob = suite.mailboxd("bob")
    os.kill(bob, signal.SIGSTOP)
    try:
        a.sock.settimeout(30)
        expect(a.getquota("user/bob@example.test")[0], "NO")
    finally:
        os.kill(bob, signal.SIGCONT)
    expect(a.getquota("user/bob@example.test")[0], "OK")
    b.logout()


def test_a_locald_that_asks_and_reads_no_answer():
    before = descriptors()
    code = Intruder(the("locald"))
    fd, most, told = channel_to_userd(code.pid), 0, 0
    asks = b"".join(frame("owner", "ask", 0, {"id": n}) for n in range(500))
    for told in range(300):
        if code.sends(fd, asks) == -errno.EPIPE:
            break
        most = max(most, descriptors())
    print("# heard %d times; %d descriptors, %d before" % (told, most, before))
    code.leave()
    assert most < before + ROOM, most
    with suite.smtp() as s:
        s.sendmail("x@else.test", ["carol@example.test"], "Subject: on\r\n\r\nx\r\n")
    suite.wait_mail(1, "carol")


def lives(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def stop_all():
    there = [pid for _, pid in family(suite.maild())] + [suite.maild()]
    suite.stop()
    expect([pid for pid in there if lives(pid)], [], "live on")
    suite.start()


def test_a_stop_ends_with_whose_process_hangs():
    b = suite.imap("bob")
    os.kill(suite.mailboxd("bob"), signal.SIGSTOP)
    stop_all()
    b.shutdown()


def test_a_stop_waits_for_whose_process_hangs_and_userd_does_not_know():
    b, old = suite.imap("bob"), userd()
    os.kill(suite.mailboxd("bob"), signal.SIGSTOP)
    os.kill(old, signal.SIGKILL)
    wait_for(lambda: [pid for name, pid in family(suite.maild()) if name == "userd" and pid != old], 20, "another userd")
    stop_all()
    b.shutdown()


def test_a_signal_that_comes_when_suited_was_killed_stops_the_suite():
    b, maild = suite.imap("bob"), suite.maild()
    bob = suite.mailboxd("bob")
    os.kill(bob, signal.SIGSTOP) # so that maild has to wait for an end
    os.kill(the("suited"), signal.SIGKILL)
    wait_for(lambda: "suited" not in {name for name, _ in family(maild)}, 20, "the end of suited")
    os.kill(maild, signal.SIGTERM)
    time.sleep(0.1)
    os.kill(bob, signal.SIGCONT)
    wait_for(lambda: not lives(maild), 20, "the end of maild")
    suite.start()
    b.shutdown()


main(globals(), crashes=True)
