#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Peers whose sessions crash a program: after the second time they are not served, what they sent is there to be
replayed, and everybody else goes on.  A shim makes the crash: whoever says CRASHME brings the program down
while it works for him."""
import atexit
import json
import os
import shutil
import signal
import smtplib
import socket
import subprocess
import tempfile
import threading
import time

import pillar
from pillar import SLOW, Instance, expect, family, has, main, wait_for

SHIM = r"""
#define _GNU_SOURCE
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
static int armed;
ssize_t read(int fd, void *p, size_t n)
{
	ssize_t got = syscall(SYS_read, fd, p, n);
	if (got > 0 && fd > 2 && memmem(p, (size_t)got, "CRASHME", 7)) armed = 1;
	return got;
}
ssize_t send(int fd, const void *p, size_t n, int flags)
{
	if (armed) *(volatile int *)8 = 1;
	return syscall(SYS_sendto, fd, p, n, flags, 0, 0);
}
"""
FRONTS = ("smtpd", "imapd", "pop3d", "remoted")

work = tempfile.mkdtemp(prefix="pp-peers-", dir="/tmp")
atexit.register(subprocess.run, ["rm", "-rf", work])
os.chmod(work, 0o755)
with open(work + "/shim.c", "w") as f:
    f.write(SHIM)
subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", work + "/shim.so", work + "/shim.c"], check=True)
shutil.copytree(os.path.join(pillar.ROOT, "usr/libexec/pillarpost"), work + "/libexec")
os.mkdir(work + "/real")
for name in FRONTS: # the daemons have a clean environment: these get it by a script
    os.rename(work + "/libexec/" + name, work + "/real/" + name)
    with open(work + "/libexec/" + name, "w") as f:
        f.write('#!/bin/sh\nLD_PRELOAD=%s/shim.so exec %s/real/%s "$@"\n' % (work, work, name))
    os.chmod(work + "/libexec/" + name, 0o755)
os.rename(work + "/libexec/userd", work + "/real/userd")
with open(work + "/libexec/userd", "w") as f: # it does not come while the gate is shut
    f.write('#!/bin/sh\n[ ! -e %s/gate ] || exit 1\nexec %s/real/userd "$@"\n' % (work, work))
os.chmod(work + "/libexec/userd", 0o755)


class Host(threading.Thread):
    """A next hop; what it says to EHLO brings remoted down, while armed."""

    def __init__(self, address):
        super().__init__(daemon=True)
        self.socket = socket.socket()
        self.socket.bind((address, 0))
        self.socket.listen(64)
        self.port, self.armed, self.taken = self.socket.getsockname()[1], False, []
        self.start()

    def run(self):
        while True:
            threading.Thread(target=self.serve, args=(self.socket.accept()[0],), daemon=True).start()

    def serve(self, c):
        try:
            with c, c.makefile("rb") as f:
                c.sendall(b"220 peer\r\n")
                for line in f:
                    word = line[:4].upper()
                    if word == b"DATA":
                        c.sendall(b"354 go on\r\n")
                        while f.readline() not in (b".\r\n", b""):
                            pass
                        self.taken.append(word)
                    c.sendall(b"221 bye\r\n" if word == b"QUIT" else b"250 %s\r\n" % (b"CRASHME" if self.armed and word == b"EHLO" else b"ok"))
        except OSError:
            pass


bad, good = Host("127.0.0.8"), Host("127.0.0.7")
suite = Instance(start=False, extra="daemon_directory = %s/libexec\ndaemon_processes = 1\nminimal_backoff_time = 1s\nmaximal_backoff_time = 2s\nqueue_run_delay = 1s\n"
                 "mynetworks = 127.0.0.0/8\ntransport_maps = inline:{bad.test=smtp:[127.0.0.8]:%d, good.test=smtp:[127.0.0.7]:%d}\n" % (work, bad.port, good.port))
suite.start()
suite.user_add("bob")


def rows():
    """(name, program, crashes, held), sorted; None while userd is away."""
    r = suite.mailctl("quarantine", "list", "--json", check=False)
    return None if r.returncode else sorted((m["user"], m["program"], m["crashes"], m["held"]) for m in map(json.loads, r.stdout.splitlines()) if "user" in m)


def talk(address, port, *lines):
    """What the server says, until it closes; from that address, a line after each reply."""
    said = b""
    with socket.create_connection(("127.0.0.1", suite.base + port), timeout=60 * SLOW, source_address=(address, 0)) as c:
        try:
            lines = list(lines)
            while True:
                more = c.recv(4096)
                if not more:
                    return said
                said += more
                if lines and more.endswith(b"\r\n"):
                    c.sendall(lines.pop(0))
        except ConnectionError:
            return said


def crash_twice(program, address, port, first, second):
    talk(address, port, *first)
    wait_for(lambda: (address, program, 1, False) in (rows() or []), 60, "the first crash to be known")
    talk(address, port, *second)
    wait_for(lambda: (address, program, 2, True) in (rows() or []), 60, "the second")


def test_a_client_that_crashes_smtpd_twice_is_turned_away_and_nobody_else():
    crash_twice("smtpd", "127.0.0.9", 25, (b"EHLO once\r\n", b"NOOP CRASHME\r\n"),
                (b"EHLO twice\r\n", b"AUTH PLAIN AGJvYgBzZWNyZXQ=\r\n", b"NOOP CRASHME\r\n"))
    expect(talk("127.0.0.9", 25)[:10], b"421 4.7.0 ")
    has(talk("127.0.0.10", 25, b"QUIT\r\n").decode(), "221")
    with suite.smtp() as s:
        s.sendmail("x@example.test", ["bob@example.test"], "Subject: x\r\n\r\nx\r\n")
    suite.wait_mail(1)


def test_what_it_sent_is_kept_without_its_secret():
    shown = suite.mailctl("quarantine", "show", "127.0.0.9").stdout
    has(shown, "peer 127.0.0.9: smtpd crashed 2 times")
    has(shown, "1> EHLO twice\\r\\n")
    has(shown, "NOOP CRASHME")
    assert "AGJvYgBzZWNyZXQ" not in shown and "once" not in shown, shown # the first time it was no suspect
    content = suite.mailctl("quarantine", "show", "127.0.0.9", "--content").stdout
    assert content.startswith("EHLO twice") and content.rstrip().endswith("NOOP CRASHME"), content


def test_a_release_lets_it_back_and_a_quarantine_outlives_the_suite():
    suite.stop()
    suite.start()
    wait_for(lambda: talk("127.0.0.9", 25, b"QUIT\r\n")[:4] == b"421 ", 60, "what was kept")
    expect(rows(), [("127.0.0.9", "smtpd", 2, True)])
    has(suite.mailctl("quarantine", "show", "127.0.0.9").stdout, "EHLO twice")
    suite.mailctl("quarantine", "release", "127.0.0.9")
    wait_for(lambda: talk("127.0.0.9", 25, b"QUIT\r\n")[:4] == b"220 ", 60, "to be let in")
    expect(rows(), [])
    expect(suite.mailctl("quarantine", "release", "127.0.0.9", check=False).returncode, 1)


def test_clients_of_imapd_and_pop3d_too():
    crash_twice("imapd", "127.0.0.9", 143, (b"a NOOP CRASHME\r\n",), (b"a LOGIN bob@example.test secret\r\n", b"b NOOP CRASHME\r\n"))
    crash_twice("pop3d", "127.0.0.9", 110, (b"NOOP CRASHME\r\n",), (b"CAPA CRASHME\r\n",))
    has(talk("127.0.0.9", 143).decode(), "* BYE [UNAVAILABLE]")
    has(talk("127.0.0.9", 110).decode(), "-ERR [SYS/TEMP]")
    expect(talk("127.0.0.9", 25, b"QUIT\r\n")[:4], b"220 ", "another program's crash")
    suite.imap("bob").logout()
    assert "secret" not in suite.mailctl("quarantine", "show", "127.0.0.9").stdout
    suite.mailctl("quarantine", "release", "127.0.0.9")
    expect(rows(), [])


def userds():
    """How many have served; who asks one that is away waits for long."""
    return sum(" userd[" in line and "]: start " in line for line in suite.lines())


def crash_without_userd(program, address, port, *lines):
    open(work + "/gate", "w").close()
    try:
        for name, pid in family(suite.maild()):
            if name == "userd":
                os.kill(pid, signal.SIGKILL)
        suite.wait_log(" suited[", " userd 0 ", "ended: exit status 1") # and so on
        served = userds()
        ended = suite.log().count(program + " 0 crashed while it worked for " + address)
        talk(address, port, *lines)
        wait_for(lambda: suite.log().count(program + " 0 crashed while it worked for " + address) > ended, 20, "the crash")
    finally:
        os.unlink(work + "/gate")
    wait_for(lambda: userds() > served, 60, "another userd")


def test_crashes_while_userd_is_away_are_counted_when_it_comes():
    crash_without_userd("smtpd", "127.0.0.11", 25, b"EHLO once\r\n", b"NOOP CRASHME\r\n")
    wait_for(lambda: rows() == [("127.0.0.11", "smtpd", 1, False)], 60, "the first")
    crash_without_userd("smtpd", "127.0.0.11", 25, b"EHLO twice\r\n", b"NOOP CRASHME\r\n")
    wait_for(lambda: rows() == [("127.0.0.11", "smtpd", 2, True)], 60, "the second, by a userd that knows of the first from authd")
    has(suite.mailctl("quarantine", "show", "127.0.0.11").stdout, "EHLO twice")
    expect(talk("127.0.0.11", 25)[:10], b"421 4.7.0 ")
    suite.mailctl("quarantine", "release", "127.0.0.11")
    wait_for(lambda: rows() == [], 20, "the release")


def submit(sender, to):
    with suite.smtp() as s:
        s.sendmail(sender, [to], "Subject: from %s\r\n\r\nthe case\r\n" % sender)


def reasons():
    return suite.mailctl("queue", "list", "--json").stdout


def test_a_next_hop_that_crashes_remoted_with_two_messages_is_left_alone():
    bad.armed = True
    submit("first@example.test", "x@bad.test")
    wait_for(lambda: "quarantine: remoted crashed twice" in reasons(), 120, "the first message to be held")
    expect([(r[0], r[3]) for r in rows()], [("127.0.0.8", False)], "the message is blamed first")
    submit("second@example.test", "x@bad.test")
    wait_for(lambda: [(r[0], r[3]) for r in rows() or []] == [("127.0.0.8", True)], 120, "the host to be blamed")
    submit("other@example.test", "x@good.test")
    wait_for(lambda: good.taken, 60, "other mail")
    wait_for(lambda: "in quarantine" in reasons(), 60, "the second message to be deferred")
    has(suite.mailctl("quarantine", "show", "127.0.0.8").stdout, "250 CRASHME")
    bad.armed = False
    suite.mailctl("quarantine", "release", "127.0.0.8")
    wait_for(lambda: bad.taken, 120, "the second message")


def pid_of_mailboxd():
    with open(suite.dir + "/sock/maild.pid") as f:
        found = [pid for name, pid in family(int(f.read())) if name == "mailboxd"]
    return found[0] if len(found) == 1 else None


def test_of_a_mailbox_that_crashed_once_the_commands_are_kept():
    for n in (1, 2):
        c = suite.imap("bob")
        c.select("INBOX")
        c.fetch("1:*", "(FLAGS)")
        pid = wait_for(pid_of_mailboxd, 60, "bob's mailboxd alone")
        os.kill(pid, signal.SIGSEGV)
        wait_for(lambda: ("bob@example.test", "mailboxd", n, n == 2) in (rows() or []), 60, "crash %d to be known" % n)
    shown = suite.mailctl("quarantine", "show", "bob@example.test").stdout
    has(shown, "mailboxd crashed 2 times")
    has(shown, "SELECT INBOX")
    has(shown, "FETCH 1:* (FLAGS)")
    has(suite.mailctl("quarantine", "show", "bob@example.test", "--content").stdout, "FETCH 1:* (FLAGS)")
    suite.mailctl("quarantine", "release", "bob@example.test")


main(globals(), crashes=True)
