#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The queue's disk fills up, comes down to the reserve, fails a sync; descriptors
and memory run out.  What was acknowledged arrives, what cannot be kept is refused with
4xx, the log says why, and all is well again by itself when the cause is gone.

The spool is a small tmpfs of its own; needs root (else skipped)."""
import atexit
import os
import re
import shutil
import signal
import smtplib
import subprocess
import tempfile
import time

import pillar
from pillar import Instance, main, wait_for

SANITIZED = bool(os.environ.get("SANITIZED"))
MIB = 1 << 20
SIZE = 64 * MIB

# Into queued alone; the first byte of FLAG says what fails: x sync, f open, m some of the allocations.
SHIM = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
static volatile char *flag;
static void __attribute__((constructor)) begin(void)
{
	int fd = open(FLAG, O_RDONLY | O_CLOEXEC);
	void *p = fd < 0 ? MAP_FAILED : mmap(0, 4096, PROT_READ, MAP_SHARED, fd, 0);
	if (fd >= 0) close(fd);
	flag = p == MAP_FAILED ? 0 : p;
}
int fdatasync(int fd)
{
	if (flag && *flag == 'x') { errno = EIO; return -1; }
	return (int)syscall(SYS_fdatasync, fd);
}
int openat(int dir, const char *name, int how, ...)
{
	va_list ap;
	va_start(ap, how);
	mode_t mode = how & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	if (flag && *flag == 'f') { errno = EMFILE; return -1; }
	return (int)syscall(SYS_openat, dir, name, how, mode);
}
#ifdef MEMORY
void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
static int fails(void)
{
	static unsigned n;
	if (!flag || *flag != 'm' || __atomic_add_fetch(&n, 1, __ATOMIC_RELAXED) % 23) return 0;
	errno = ENOMEM;
	return 1;
}
void *malloc(size_t n) { return fails() ? 0 : __libc_malloc(n); }
void *calloc(size_t m, size_t n) { return fails() ? 0 : __libc_calloc(m, n); }
void *realloc(void *p, size_t n) { return fails() ? 0 : __libc_realloc(p, n); }
#endif
"""

work = tempfile.mkdtemp(prefix="pp-faults-", dir="/tmp")
os.chmod(work, 0o755)
spool = work + "/spool"
os.makedirs(spool)
mounted = os.getuid() == 0 and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%d,mode=0755" % SIZE, "pp-faults", spool], stderr=subprocess.DEVNULL).returncode == 0


def unmount():
    if mounted:
        subprocess.run(["umount", "-l", spool])
    subprocess.run(["rm", "-rf", work])


atexit.register(unmount)
with open(work + "/flag", "wb") as f:
    f.write(b"-" * 4096)
with open(work + "/shim.c", "w") as f:
    f.write('#define FLAG "%s/flag"\n%s' % (work, SHIM))
shim = subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-DMEMORY", "-o", work + "/shim.so", work + "/shim.c"], stderr=subprocess.DEVNULL).returncode == 0
daemons = os.path.join(pillar.ROOT, "usr/libexec/pillarpost")
shutil.copytree(daemons, work + "/libexec") # where everybody may look: a home directory may be closed


def plain_queued():
    """A sanitizer has an allocator of its own, which no shim gets at."""
    build, log = work + "/build", open(work + "/build.log", "w")
    os.mkdir(build)
    for command in ([pillar.TOP + "/configure", "--disable-lto", "--prefix=/usr", "--sysconfdir=/etc", "--localstatedir=/var", "--libexecdir=/usr/libexec", "CC=gcc", "CFLAGS=-O1 -g"],
                    ["make", "-s", "-j2", "daemons/queued/queued"]):
        if subprocess.run(command, cwd=build, stdout=log, stderr=log).returncode:
            raise SystemExit("%s: see %s" % (command[0], log.name))
    shutil.copy(build + "/daemons/queued/queued", work + "/real/queued")
    shutil.rmtree(build)


if shim: # the daemons have a clean environment: this one gets it by a script
    os.mkdir(work + "/real")
    os.rename(work + "/libexec/queued", work + "/real/queued")
    if SANITIZED:
        plain_queued()
    with open(work + "/libexec/queued", "w") as f:
        f.write('#!/bin/sh\nLD_PRELOAD=%s/shim.so exec %s/real/queued "$@"\n' % (work, work))
    os.chmod(work + "/libexec/queued", 0o755)
suite = Instance(start=False, extra="queue_directory = %s/queue\ndaemon_directory = %s/libexec\nqueue_minfree = 16M\nqueue_segment_size = 1M\nqueue_blob_threshold = 64k\n"
                 "smtpd_sender_access_maps = file:%s/senders\nmynetworks = 127.0.0.0/8\nminimal_backoff_time = 1s\nmaximal_backoff_time = 2s\nqueue_run_delay = 1s\n" % (spool if mounted else work, work, work))
with open(work + "/senders", "w") as f:
    f.write("held@ HOLD\n")
suite.start()
suite.user_add("bob")
accepted = {} # number: lines
known = {}    # path: number
counter = iter(range(1, 1000000))


def send(size=2000, sender="x@else.test"):
    """The number of an accepted message, or the code of the refusal."""
    number = next(counter)
    text = "Subject: fault\r\nX-Number: %d\r\n\r\n%s" % (number, ("%070d\r\n" % number) * (size // 72))
    try:
        with suite.smtp() as s:
            s.sendmail(sender, ["bob@example.test"], text)
    except smtplib.SMTPResponseException as e:
        return -e.smtp_code
    except smtplib.SMTPRecipientsRefused as e:
        return -list(e.recipients.values())[0][0]
    except (OSError, smtplib.SMTPServerDisconnected):
        return -1
    accepted[number] = size // 72
    return number


def arrived():
    found = set()
    for path in suite.mailbox_files():
        if path not in known:
            with open(path, errors="replace") as f:
                text = f.read()
            number = int(re.search(r"^X-Number: (\d+)$", text, re.M).group(1))
            assert number not in accepted or text.count("%070d\n" % number) + text.count("%070d\r\n" % number) == accepted[number], "%s is not whole" % path
            known[path] = number
        found.add(known[path])
    return found


def all_arrive():
    wait_for(lambda: accepted.keys() <= arrived(), 60, "what was acknowledged")


def accepted_again():
    wait_for(lambda: send() > 0, 60, "mail to be taken again")


def queued():
    return next(pid for name, _, pid in suite.processes() if name == "queued")


def free():
    st = os.statvfs(spool)
    return st.f_bavail * st.f_frsize


def fill(leave):
    with open(spool + "/filler", "ab") as f:
        while free() > leave:
            n = min(free() - leave, MIB)
            try:
                f.write(b"\0" * n)
                f.flush()
            except OSError:
                break


def unfill():
    os.unlink(spool + "/filler")


def log_from(since):
    with open(suite.dir + "/log", errors="replace") as f:
        f.seek(since)
        return f.read()


def said(text, since):
    return text in log_from(since)


def log_size():
    return os.path.getsize(suite.dir + "/log")


def test_the_reserve_is_kept():
    if not mounted:
        return
    assert send() > 0
    pid, since = queued(), log_size()
    fill(8 * MIB)
    wait_for(lambda: send() == -452, 10, "452")
    assert send(300000) == -452
    before = free()
    for _ in range(50):
        assert send() == -452
    assert free() >= before - MIB, "the reserve is used up by mail that is refused"
    wait_for(lambda: said("less than queue_minfree: mail is refused", since), 5, "the log")
    all_arrive()
    unfill()
    accepted_again()
    assert said("mail is taken again", since)
    assert queued() == pid, "queued was restarted"
    assert send(300000) > 0
    all_arrive()


def test_a_full_disk_refuses_and_recovers():
    """Without a reserve: the file system is full to the last block."""
    if not mounted:
        return
    with open(suite.env["CONFIG"]) as f:
        text = f.read()
    with open(suite.env["CONFIG"], "w") as f:
        f.write(text.replace("queue_minfree = 16M", "queue_minfree = 0"))
    suite.mailctl("reload")
    time.sleep(1)
    fill(0)
    codes = [send(60000 if i % 3 else 400000) for i in range(300)]
    refused = [c for c in codes if c < 0]
    assert refused, "nothing was refused though the disk is full"
    assert all(c in (-452, -451, -421, -1) for c in refused), refused
    unfill()
    accepted_again()
    assert send(400000) > 0
    all_arrive()


def fail(what):
    with open(work + "/flag", "r+b", buffering=0) as f:
        f.write(what)


def refused(codes):
    return all(c in (-451, -452, -421, -1) for c in codes)


def test_no_descriptors():
    if not shim:
        return
    since = log_size()
    fail(b"f")
    codes = [send(400000) for _ in range(5)] # each is a file of its own
    small = [send(2000) for _ in range(50)]
    fail(b"-")
    assert refused(codes), codes
    assert refused(c for c in small if c < 0), small
    assert said("Too many open files", since)
    accepted_again()
    assert send(400000) > 0
    all_arrive()


def killed():
    """What it was told and nobody else was, is in the journal alone."""
    time.sleep(1) # what is recorded last is recorded lazily
    since = log_size()
    gone = re.findall(r"removed id=(\w+)", log_from(0))
    os.kill(queued(), signal.SIGKILL)
    wait_for(lambda: said("journal replayed", since), 30, "the journal to be read")
    accepted_again()
    again = [id for id in gone if said("route id=" + id, since)]
    assert not again, "removed and there again: %s" % again
    assert not said("held:", since), "mail without its content"


def test_no_memory():
    """More than a segment of the journal, which is made known to nobody but the disk."""
    if not shim:
        return
    fail(b"m")
    codes = [send(60000 if i % 4 else 400000, "held@else.test" if i % 3 else "x@else.test") for i in range(90)]
    fail(b"-")
    assert refused(c for c in codes if c < 0), codes
    assert any(c < 0 for c in codes), "nothing failed"
    accepted_again()
    killed()
    suite.mailctl("queue", "release", "from:held@else.test", "--quiet")
    all_arrive()


def test_a_failed_sync_is_not_believed():
    if not shim:
        return
    pid, since = queued(), log_size()
    assert send() > 0
    fail(b"x")
    codes = [send() for _ in range(3)]
    fail(b"-")
    assert all(c < 0 for c in codes), "acknowledged after a failed sync: %s" % codes
    assert refused(codes), codes
    accepted_again()
    assert queued() != pid, "the same process went on after a failed sync"
    assert said("cannot sync", since)
    assert said("starting again", since)
    all_arrive()


def test_nothing_is_left_behind():
    all_arrive()
    wait_for(lambda: not suite.mailctl("queue", "list", "--json").stdout.strip(), 60, "the queue to be empty")
    if mounted:  # a file goes behind the record that its message is gone; some are kept to be written over
        wait_for(lambda: not [name for name in os.listdir(spool + "/queue/blob") if not name.startswith("spare.")], 20, "the files of messages to be gone")
    suite.stop()


main(globals())
