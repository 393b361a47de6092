#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""While messages flow, each daemon in turn is killed with SIGKILL at random
moments.  Every message that was acknowledged with 250 arrives whole;
duplicates are those of deliveries in flight at a kill, counted.

MESSAGES (5000), SESSIONS (50), KILLS (30) may be set; ./check uses fewer."""
import hashlib
import os
import random
import re
import signal
import smtplib
import subprocess
import sys
import threading
import time

from pillar import Instance, main, wait_for

SMALL = bool(os.environ.get("SANITIZED"))
MESSAGES = int(os.environ.get("MESSAGES", "600" if SMALL else "5000"))
SESSIONS = int(os.environ.get("SESSIONS", "10" if SMALL else "50"))
KILLS = int(os.environ.get("KILLS", "15" if SMALL else "30"))
VICTIMS = ("smtpd", "queued", "routed", "locald", "deliverd", "dnsd", "stsd", "tokend", "authd", "keyd", "userd", "remoted", "verifyd", "imapd", "pop3d", "suited")

suite = Instance(extra="minimal_backoff_time = 1s\nmaximal_backoff_time = 2s\nqueue_run_delay = 1s\n", users=("bob",))
random.seed(int(os.environ.get("SEED", "1")))
acknowledged = {}
lock = threading.Lock()
counter = iter(range(1, MESSAGES + 1))


def body_of(number):
    rng = random.Random(number)
    lines = ["%d %s" % (number, "".join(rng.choice("abcdefghij .") for _ in range(70))) for _ in range(rng.randint(5, 100))]
    return "\r\n".join(lines) + "\r\n"


def send_one(number):
    """Until it is acknowledged, over as many connections as it takes."""
    body = body_of(number)
    while True:
        try:
            s = suite.smtp()
            s.sendmail("x@else.test", ["bob@example.test"], "Subject: kill\r\nX-Number: %d\r\n\r\n%s" % (number, body))
            with lock:
                acknowledged[number] = hashlib.sha256(body.encode()).hexdigest()
            try:
                s.quit()
            except (OSError, smtplib.SMTPException):
                pass
            return
        except (OSError, smtplib.SMTPException):
            time.sleep(0.05)


def session():
    while True:
        with lock:
            number = next(counter, None)
        if number is None:
            return
        send_one(number)


def pids_of(name):
    if name in ("deliverd", "mailboxd", "suited"):
        found = []
        for pid in os.listdir("/proc"):
            try:
                with open("/proc/%s/cmdline" % pid, "rb") as f:
                    words = f.read().split(b"\0")
                log = os.readlink("/proc/%s/fd/2" % pid)
            except OSError:
                continue
            if words[0].decode() == name and (log == suite.dir + "/log" or words[1].decode().startswith(suite.dir + "/")):
                found.append(int(pid))
        return found
    return [pid for n, _, pid in suite.processes() if n == name and pid]


def arrived():
    found, damaged = {}, []
    for text in suite.messages():
        head, _, body = text.partition(b"\r\n\r\n")
        number = re.search(rb"X-Number: (\d+)", head)
        if not number:
            damaged.append(head)
            continue
        digest = hashlib.sha256(body).hexdigest()
        found.setdefault(int(number.group(1)), []).append(digest)
    return found, damaged


def test_every_acknowledged_message_arrives_though_every_daemon_is_killed():
    threads = [threading.Thread(target=session) for _ in range(SESSIONS)]
    for t in threads:
        t.start()
    kills, slowest = [], 0.0
    for n in range(KILLS):
        time.sleep(random.uniform(0.05, 0.4))
        name = VICTIMS[n % len(VICTIMS)]
        pids = pids_of(name)
        if not pids:
            continue
        victim = random.choice(pids)
        os.kill(victim, signal.SIGKILL)
        begun = time.monotonic()
        kills.append(name)
        if name != "deliverd":
            wait_for(lambda: (lambda p: len(p) >= len(pids) and victim not in p)(pids_of(name)), 5, name + " to come back")
            slowest = max(slowest, time.monotonic() - begun)
    for t in threads:
        t.join()
    assert len(acknowledged) == MESSAGES
    wait_for(lambda: len(arrived()[0]) >= MESSAGES, 60, "all messages")
    wait_for(lambda: "kill" in suite.mailctl("queue", "list").stdout or not suite.mailctl("queue", "list", "--json").stdout.strip(), 60, "an empty queue")
    found, damaged = arrived()
    lost = [n for n in acknowledged if n not in found]
    wrong = [n for n, digests in found.items() if any(d != acknowledged[n] for d in digests)]
    doubles = sum(len(d) - 1 for d in found.values())
    print("# %d messages, %d sessions, %d kills (%s): lost %d, damaged %d, duplicates %d, slowest repair %.2f s" % (
        MESSAGES, SESSIONS, len(kills), ", ".join(sorted(set(kills))), len(lost), len(damaged) + len(wrong), doubles, slowest))
    assert not lost, lost[:20]
    assert not damaged and not wrong, (damaged[:5], wrong[:5])
    assert slowest < (5 if SMALL else 1), slowest


def test_channels_that_there_were_no_descriptors_for_are_made_later():
    def pid_of(name):
        return [pid for n, _, pid in suite.processes() if n == name][0]

    def channels():
        try:
            return sum(os.readlink("/proc/%d/fd/%s" % (pid_of("dnsd"), fd)).startswith("socket:") for fd in os.listdir("/proc/%d/fd" % pid_of("dnsd")))
        except (OSError, IndexError):
            return 0

    def allow(n):
        subprocess.run((["setpriv", "--reuid", str(who.st_uid), "--regid", str(who.st_gid), "--clear-groups"] if os.getuid() == 0 else []) +
                       ["prlimit", "--pid", str(suited), "--nofile=%s:" % n], check=True)

    with open("/proc/%d/task/%d/children" % (suite.maild(), suite.maild())) as f:
        suited, = [pid for pid in map(int, f.read().split()) if os.readlink("/proc/%d/exe" % pid).endswith("/suited")]
    before = channels()
    who = os.stat("/proc/%d" % suited)
    with open("/proc/%d/limits" % suited) as f:
        usual = re.search(r"Max open files +(\d+)", f.read())[1]
    allow(len(os.listdir("/proc/%d/fd" % suited)) + 8)
    os.kill(pid_of("dnsd"), signal.SIGKILL)
    suite.wait_log("suited", "socketpair: Too many open files")
    allow(usual)
    wait_for(lambda: channels() == before, 30, "all channels of dnsd")


main(globals())
