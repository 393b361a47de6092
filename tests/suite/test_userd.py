#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""userd, which starts every mailbox process, is killed in the middle, crashes again and again, hangs, or
does not come for more than a minute.  Meanwhile mail is accepted and waits, logins are refused for
now, nothing is lost, bounced or held, and all goes on when it is back."""
import atexit
import imaplib
import os
import poplib
import re
import shutil
import signal
import smtplib
import subprocess
import tempfile
import threading
import time

import pillar
from pillar import SLOW, Instance, expect, family, has, main, wait_for

work = tempfile.mkdtemp(prefix="pp-userd-", dir="/tmp")
atexit.register(subprocess.run, ["rm", "-rf", work])
os.chmod(work, 0o755)
shutil.copytree(os.path.join(pillar.ROOT, "usr/libexec/pillarpost"), work + "/libexec")
os.mkdir(work + "/real")
os.rename(work + "/libexec/userd", work + "/real/userd")
with open(work + "/libexec/userd", "w") as f: # it does not come while the gate is shut
    f.write('#!/bin/sh\n[ ! -e %s/gate ] || exit 1\nexec %s/real/userd "$@"\n' % (work, work))
os.chmod(work + "/libexec/userd", 0o755)
suite = Instance(extra="daemon_directory = %s/libexec\ndaemon_processes = 1\nminimal_backoff_time = 1s\nmaximal_backoff_time = 2s\nqueue_run_delay = 1s\n" % work)
numbers = iter(range(1, 100000))
acknowledged = []


def pids(name):
    return [pid for n, pid in family(suite.maild()) if n == name]


def is_back():
    """Who asks one that is away waits for long."""
    running = pids("userd")
    return len(running) == 1 and any(" userd[%d]: start " % running[0] in line for line in suite.lines())


def kill(how=signal.SIGKILL):
    [pid] = wait_for(lambda: is_back() and pids("userd"), 60, "a userd")
    os.kill(pid, how)
    wait_for(lambda: pid not in pids("userd"), 20, "its end")


def send():
    """One message to bob, until it is acknowledged."""
    n = next(numbers)
    while True:
        try:
            with suite.smtp() as s:
                s.sendmail("x@else.test", ["bob@example.test"], "Subject: %d\r\nX-Number: %d\r\n\r\n%s\r\n" % (n, n, "line\r\n" * (n % 50)))
                acknowledged.append(n)
                return
        except (OSError, smtplib.SMTPException):
            time.sleep(0.05)


def arrived():
    return [int(re.search(rb"X-Number: (\d+)", text).group(1)) for text in suite.messages() if b"X-Number" in text]


def all_arrive(timeout=60):
    wait_for(lambda: set(arrived()) >= set(acknowledged), timeout, "%d messages" % len(acknowledged))
    wait_for(lambda: not suite.mailctl("queue", "list", "--json").stdout.strip(), 60, "an empty queue")
    log = suite.log()
    assert "status=bounced" not in log and " bounce id=" not in log, "something was bounced"
    assert "quarantine: " not in log, "a message was held"


def login(kind):
    """None, or the refusal; a session that ends meanwhile counts as one."""
    try:
        if kind == "imap":
            suite.imap("bob").logout()
        else:
            suite.pop3("bob").quit()
        return None
    except (imaplib.IMAP4.error, poplib.error_proto) as e:
        return str(e)
    except OSError as e:
        return "closed: %s" % e


def for_now(refusal):
    return refusal is None or "[UNAVAILABLE]" in refusal or "[SYS/TEMP]" in refusal or "EOF" in refusal or "BYE" in refusal or refusal.startswith("closed: [Errno")


def test_userd_crashes_again_and_again_and_nothing_is_lost():
    stop, refusals = threading.Event(), []

    def sender():
        while not stop.is_set():
            send()

    def reader(kind):
        while not stop.is_set():
            refusals.append(login(kind))
            time.sleep(0.05)

    threads = [threading.Thread(target=sender) for _ in range(4)] + [threading.Thread(target=reader, args=(k,)) for k in ("imap", "pop3")]
    for t in threads:
        t.start()
    for n in range(10): # the later ones find it away for seconds: restarts wait longer each time
        had = len(acknowledged)
        wait_for(lambda: len(acknowledged) > had + 3, 30, "mail to be accepted")
        kill(signal.SIGSEGV if n % 2 else signal.SIGKILL)
    wait_for(is_back, 60, "userd")
    wait_for(lambda: refusals and refusals[-1] is None, 60, "a login")
    stop.set()
    for t in threads:
        t.join()
    all_arrive()
    expect([r for r in refusals if not for_now(r)], [], "refused for good, or silent")
    assert any(refusals), "no login met an userd that was away"
    print("# %d messages, %d duplicates, %d logins, %d refused for now" % (
        len(acknowledged), len(arrived()) - len(set(arrived())), len(refusals), sum(r is not None for r in refusals)))


def test_what_an_open_session_was_told_is_there_after_userd_is_killed():
    wait_for(lambda: login("imap") is None, 60, "a login")
    c = suite.imap("alice")
    for n in range(5):
        expect(c.append("INBOX", None, None, b"Subject: kept %d\r\n\r\nx\r\n" % n)[0], "OK")
    kill()
    try:
        c.noop() # its end, not silence
        c.noop()
        ended = False
    except (imaplib.IMAP4.error, OSError):
        ended = True
    assert ended, "the session outlives its userd"
    wait_for(is_back, 60, "userd")
    c = suite.imap("alice")
    c.select("INBOX")
    expect(len(c.search(None, "SUBJECT", "kept")[1][0].split()), 5)
    c.logout()


def test_a_deliverd_that_no_locald_has_any_more_ends():
    send()
    all_arrive()
    [old] = pids("deliverd")
    [locald] = pids("locald")
    os.kill(locald, signal.SIGKILL)
    wait_for(lambda: old not in pids("deliverd"), 20, "the end of deliverd")
    suite.wait_log(" pid=%d ended: exit status 0" % old)
    for _ in range(5):
        send()
    all_arrive()
    expect(len(pids("deliverd")), 1)


def test_a_userd_that_hangs_holds_up_logins_and_no_delivery():
    send()
    all_arrive()
    [pid] = pids("userd")
    said = []
    os.kill(pid, signal.SIGSTOP)
    try:
        t = threading.Thread(target=lambda: said.append(login("imap")))
        t.start()
        for _ in range(5):
            send()
        all_arrive() # deliverd is there already
        [deliverd] = pids("deliverd")
        os.kill(deliverd, signal.SIGKILL) # who comes next only userd can say
        for _ in range(5):
            send()
        expect(said, [], "a login without userd")
    finally:
        os.kill(pid, signal.SIGCONT)
    t.join(60 * SLOW)
    expect(said, [None], "the login that waited")
    all_arrive()


def test_while_userd_does_not_come_mail_waits_and_says_why():
    send()
    all_arrive()
    had = len(arrived())
    open(work + "/gate", "w").close()
    kill()
    begun = time.monotonic()
    wait_for(lambda: not pids("deliverd"), 20, "the end of deliverd")
    for _ in range(20):
        send()
    suite.wait_log(" locald[", " channel userd: ")
    for kind, word in (("imap", "[UNAVAILABLE]"), ("pop3", "[SYS/TEMP]")):
        has(login(kind) or "let in", word)
    with suite.submission() as s: # this needs authd alone
        s.noop()
    r = suite.mailctl("quarantine", "list", check=False)
    assert r.returncode and r.stderr.strip(), r
    has(suite.mailctl("status", check=False).stdout, " down ")
    wait_for(lambda: "userd is away: no delivery process was to be had" in suite.mailctl("queue", "list", "--json").stdout, 90, "the mail to be deferred")
    print("# deferred after %.0f s" % (time.monotonic() - begun))
    suite.wait_log(" queued[", " delivery ", "status=deferred", "userd is away")
    expect(len(arrived()), had)
    os.unlink(work + "/gate")
    wait_for(is_back, 90, "userd")
    all_arrive()
    wait_for(lambda: login("imap") is None and login("pop3") is None, 60, "logins")


main(globals(), crashes=True)
