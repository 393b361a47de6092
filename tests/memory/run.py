#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""run.py DAEMON [ONE_IN] [SECONDS]: in one daemon now and then an allocation fails, while mail goes in and out.

Of ONE_IN allocations (240; of mailboxd 480 and more, or hardly one session comes up) one fails, for SECONDS (8).
What was acknowledged must be there afterwards, as it was said: deliveries, APPENDs, flags, UIDs; nobody may wait
in vain, no program may break.  ROOT: an installed build without sanitizers, which have an allocator of their own.
No part of ./check: what fails is another at each run."""
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "suite"))
import pillar  # noqa: E402
from pillar import Instance, wait_for  # noqa: E402

SHIM = r"""
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>
static const volatile unsigned *flag; /* 0: none fails; n: one in n */
static void __attribute__((constructor)) begin(void)
{
	int fd = open(FLAG, O_RDONLY | O_CLOEXEC);
	void *p = fd < 0 ? MAP_FAILED : mmap(0, 4096, PROT_READ, MAP_SHARED, fd, 0);
	if (fd >= 0) close(fd);
	flag = p == MAP_FAILED ? 0 : p;
}
void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
static int fails(void)
{
	static unsigned n = SEED;
	unsigned one_in = flag ? *flag : 0, x;
	if (!one_in) return 0;
	x = __atomic_add_fetch(&n, 1, __ATOMIC_RELAXED) + (unsigned)getpid() * 7919u;
	x ^= x >> 16; x *= 0x7feb352du; x ^= x >> 15; x *= 0x846ca68bu; x ^= x >> 16;
	if (x % one_in) return 0;
	errno = ENOMEM;
	return 1;
}
void *malloc(size_t n) { return fails() ? 0 : __libc_malloc(n); }
void *calloc(size_t m, size_t n) { return fails() ? 0 : __libc_calloc(m, n); }
void *realloc(void *p, size_t n) { return fails() ? 0 : __libc_realloc(p, n); }
"""

if len(sys.argv) < 2:
    raise SystemExit(__doc__)
daemon = sys.argv[1]
one_in = int(sys.argv[2]) if len(sys.argv) > 2 else 480 if daemon == "mailboxd" else 240
end = float(sys.argv[3]) if len(sys.argv) > 3 else 8
work = tempfile.mkdtemp(prefix="pp-memory-", dir="/tmp")
os.chmod(work, 0o755)


def fail(n):
    with open(work + "/flag", "r+b", buffering=0) as f:
        f.write(n.to_bytes(4, sys.byteorder))


with open(work + "/flag", "wb") as f:
    f.write(bytes(4096))
with open(work + "/shim.c", "w") as f:
    f.write('#define FLAG "%s/flag"\n#define SEED %du\n%s' % (work, random.randrange(1 << 30), SHIM))
subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", work + "/shim.so", work + "/shim.c"], check=True)
shutil.copytree(os.path.join(pillar.ROOT, "usr/libexec/pillarpost"), work + "/libexec")
os.mkdir(work + "/real")
os.rename(work + "/libexec/" + daemon, work + "/real/" + daemon)
with open(work + "/libexec/" + daemon, "w") as f: # the daemons have a clean environment: this one gets it by a script
    f.write('#!/bin/sh\nLD_PRELOAD=%s/shim.so exec %s/real/%s "$@"\n' % (work, work, daemon))
os.chmod(work + "/libexec/" + daemon, 0o755)
suite = Instance(extra="daemon_directory = %s/libexec\nmynetworks = 127.0.0.0/8\nminimal_backoff_time = 1s\nmaximal_backoff_time = 2s\nqueue_run_delay = 1s\n" % work)

lock, counter = threading.Lock(), iter(range(1, 1 << 30))
sent, appended, flagged = {}, {}, {} # number: text; (folder, text); (folder, UID)
refused, waited = [], []             # what failed, and of it what waited in vain


def text(number, lines):
    return "Subject: n-%d\r\nFrom: a@b.test\r\n\r\n%s" % (number, ("%08d some text here\r\n" % number) * lines)


def send(r):
    number = next_number()
    mail = text(number, r.choice([1, 50, 3000]))
    with suite.submission() if r.random() < 0.3 else suite.smtp() as s:
        s.sendmail("alice@example.test", ["bob@example.test"], mail)
    sent[number] = mail


def next_number():
    with lock:
        return next(counter)


def flag_one(c, folder, r):
    uids = c.uid("SEARCH", "SUBJECT", "n-%d" % r.choice(list(appended) or [1]))[1]
    if not uids or not uids[0]:
        return
    uid = uids[0].split()[0].decode()
    data = c.uid("FETCH", uid, "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
    found = re.search(rb"n-(\d+)", data[0][1]) if data and isinstance(data[0], tuple) else None
    if found and c.uid("STORE", uid, "+FLAGS", "(\\Flagged)")[0] == "OK":
        flagged[int(found[1])] = (folder, uid)


def use_imap(r):
    c, folder = suite.imap(tls=r.random() < 0.3), r.choice(["INBOX", "INBOX", "Other"])
    c.select(folder)
    for _ in range(8):
        what = r.random()
        if what < 0.4:
            number = next_number()
            mail = text(number, r.choice([1, 50, 2000]))
            if c.append(folder, "(\\Seen k%d)" % number if r.random() < 0.3 else None, None, mail.encode())[0] == "OK":
                appended[number] = (folder, mail)
        elif what < 0.65:
            c.fetch("1:*", "(UID FLAGS ENVELOPE)")
            c.search(None, 'BODY "0001"')
        elif what < 0.8:
            flag_one(c, folder, r)
        elif what < 0.9:
            c.status("Other", "(MESSAGES UIDNEXT UIDVALIDITY)")
            c.list()
        else:
            c.copy("1:3", "Other")
    c.logout()


def use_pop3(_):
    p = suite.pop3(tls=False)
    p.list()
    p.uidl()
    p.retr(1)
    p.quit()
    time.sleep(0.05)


def go_on(what, seed):
    r = random.Random(seed)
    while time.monotonic() < until:
        try:
            what(r)
        except Exception as why: # a refusal, or an end of the connection
            refused.append(repr(why)) # itself it would keep the connection
            if "timed out" in str(why):
                waited.append("%s: %r" % (what.__name__, why))


def messages(folder):
    """[(what FETCH said, octets)] by number."""
    c, found = suite.imap(), {}
    if c.select(folder, readonly=True)[0] != "OK":
        raise AssertionError("%s cannot be opened" % folder)
    for row in c.uid("FETCH", "1:*", "(FLAGS BODY.PEEK[])")[1]:
        number = re.search(rb"Subject: n-(\d+)", row[1]) if isinstance(row, tuple) else None
        if number:
            found.setdefault(int(number[1]), []).append((row[0] + b" ", row[1]))
    c.logout()
    return found


def missing():
    """What is not as it was acknowledged."""
    there = {folder: messages(folder) for folder in ("INBOX", "Other")}
    bad = ["delivery %d is lost or changed" % n for n, mail in sent.items()
           if not any(octets.endswith(mail.encode().split(b"\r\n\r\n", 1)[1]) for _, octets in there["INBOX"].get(n, []))]
    bad += ["APPEND %d to %s is lost or changed" % (n, folder) for n, (folder, mail) in appended.items()
            if not any(octets == mail.encode() for _, octets in there[folder].get(n, []))]
    bad += ["flag of %d, UID %s of %s, is lost" % (n, uid, folder) for n, (folder, uid) in flagged.items()
            if not any(b"UID %s " % uid.encode() in said and b"\\Flagged" in said for said, _ in there[folder].get(n, []))]
    return bad


c = suite.imap()
c.create("Other")
c.logout()
until = time.monotonic() + end
fail(one_in)
threads = [threading.Thread(target=go_on, args=(what, n)) for n, what in enumerate([send, send, use_imap, use_imap, use_pop3])]
for t in threads:
    t.start()
for t in threads:
    t.join()
fail(0)
print("%s: %d sent, %d appended, %d flagged, %d refused" % (daemon, len(sent), len(appended), len(flagged), len(refused)))
time.sleep(2)
if suite.mailboxd():
    os.kill(suite.mailboxd(), signal.SIGKILL) # what is known is what is on the disk
bad = []


def settled():
    global bad
    try:
        bad = missing()
    except Exception as why:
        bad = [repr(why)]
    return not bad


try:
    wait_for(settled, 60, "what was acknowledged")
except AssertionError:
    pass
bad += waited + suite.faults()
print("\n".join(bad[:20]) or "good")
if bad:
    os.environ["KEEP"] = "1"
shutil.rmtree(work)
sys.exit(1 if bad else 0)
