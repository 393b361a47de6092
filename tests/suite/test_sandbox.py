#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The walls: mailctl doctor tries what is forbidden from inside each program,
and would find a hole; mailctl status says which walls stand; the installed
programs are hardened.  Needs root for separate users."""
import ctypes
import errno
import imaplib
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile

from pillar import MAILCTL, ROOT, TOP, Instance, expect, has, main, wait_for

if os.geteuid() != 0:
    print("1..0 # skip: separate users need root")
    sys.exit(0)

with open(TOP + "/daemons/maild/processes.def") as table:
    PROGRAMS = set(re.findall(r"^(?:PROCESS|OWNED)\((\w+), ", table.read(), re.M)) | {"maild"}
with open(TOP + "/common/service/probe.def") as table:
    ATTEMPTS = re.findall(r"^ATTEMPT\((\w+), .*, \"([^\"]*)\", \"([^\"]*)\"\)$", table.read(), re.M)
# Root's: what is denied to it no table would say better.
DENIED_TO_ROOT = {"open the memory of another process", "make a raw socket", "make a packet socket", "make a netlink socket", "make a kernel crypto socket", "type into a terminal", "name the host", "set the clock", "trace another process",
                  "read another process's memory", "set capabilities", "mount", "change the root directory", "make a user namespace", "enter a namespace",
                  "load a BPF program", "open a performance counter", "make an io_uring", "use a kernel keyring", "handle page faults", "load a kernel module",
                  "load a kernel", "make a device", "open a file by handle", "change the personality"}
# What is a daemon's job; everything else is denied.
JOBS = {("dnsd", "connect to a TCP port"), ("dnsd", "make a UDP socket"), ("stsd", "make a UDP socket"), ("tokend", "connect to a TCP port"), ("tokend", "make a UDP socket"), ("remoted", "connect to a TCP port"), ("remoted", "make a UDP socket"),
        ("verifyd", "connect to a TCP port"), ("verifyd", "make a UDP socket"), ("verifyd", "make a UNIX socket"),
        ("remoted", "make a UNIX socket"), ("authd", "open the user database"), ("queued", "open the queue"), ("deliverd", "open all mailboxes"),
        ("deliverd", "open another user's mailbox")}

LANDLOCK = ctypes.CDLL(None).syscall(444, None, 0, 1) # to a port that is not its one port

suite = Instance()
s = suite.submission()
s.sendmail("alice@example.test", ["bob@example.test"], "Subject: x\r\n\r\nx\r\n")
s.quit()
suite.wait_mail(1)


def doctor(*more):
    r = suite.mailctl("doctor", "--sandbox", "--json", *more, check=False)
    return r.returncode, [json.loads(line) for line in r.stdout.splitlines()], r.stderr


def test_every_forbidden_attempt_is_denied_in_every_program():
    code, rows, errors = doctor()
    expect([r for r in rows if r["result"] == "ALLOWED"], [], errors)
    root = [r for r in rows if r["program"] == "maild"]
    expect({(r["program"], r["attempt"]) for r in rows}, {(p, text) for p in PROGRAMS for _, _, text in ATTEMPTS} | {("maild", "run as root")}, errors)
    expect({r["attempt"] for r in root if r["result"] == "denied"}, DENIED_TO_ROOT)
    expect({r["attempt"] for r in root if r["result"] == "its job"}, {text for _, of, text in ATTEMPTS if "maild" in of.split()} - DENIED_TO_ROOT | {"run as root"})
    expect({(r["program"], r["attempt"]) for r in rows if r["result"] == "its job"} - {("maild", r["attempt"]) for r in root}, JOBS | ({("stsd", "connect to a TCP port")} if LANDLOCK < 4 else set()))
    expect(code, 0, errors)


def test_a_widened_sandbox_is_found_out():
    code, rows, errors = doctor("--widen")
    expect(code, 1, errors)
    allowed = {r["attempt"] for r in rows if r["result"] == "ALLOWED"}
    for attempt in ("make a process (fork)", "make a process (clone)", "make a UNIX socket", "make a UDP socket"):
        assert attempt in allowed, attempt
    # the other layers hold all the same
    assert not allowed & {"read /etc/passwd", "open the queue", "read the private key", "make a file in /tmp", "mount", "become root"}, allowed


def test_the_doctor_disturbs_nobody():
    expect([r["restarts"] for r in map(json.loads, suite.mailctl("status", "--json").stdout.splitlines()) if r["restarts"]], [])
    assert suite.imap().noop()[0] == "OK"


def test_status_says_which_walls_stand():
    suite.submission().sendmail("alice@example.test", ["bob@example.test"], "Subject: x\r\n\r\nx\r\n") # for a deliverd
    suite.wait_mail(1)
    mailbox = suite.imap()
    mailbox.select("INBOX")
    rows = [json.loads(line) for line in suite.mailctl("status", "--sandbox", "--json").stdout.splitlines()]
    maild = dict(w.split("=") for w in next(r["walls"] for r in rows if r["name"] == "maild").split())
    expect(maild["no_new_privs"], "yes")
    expect({r["name"] for r in rows}, PROGRAMS)
    expect([r["label"] for r in rows if r["name"] == "mailboxd"], ["bob@example.test"])
    rows = [r for r in rows if r["name"] != "maild"]
    for r in rows:
        words = dict(w.split("=") for w in r["walls"].split())
        expect(set(words), {"landlock", "file_walls", "net_walls", "scope", "seccomp"}, r["name"])
        if int(words["landlock"]) >= 6:
            expect((words["file_walls"], words["net_walls"], words["scope"]), ("yes", "yes", "yes"), r["name"])
        if not os.environ.get("SANITIZED"):
            expect(words["seccomp"], "yes", r["name"])
    expect([r["name"] for r in rows].count("suited"), 1)
    text = suite.mailctl("status", "--sandbox").stdout
    for r in rows:
        assert re.search(r"^%s +%d  landlock=" % (r["name"], r["instance"]), text, re.M), r["name"]
    mailbox.logout()


def bodies(c, folder):
    """All that can be read there; a folder or message that is not to be had is as good."""
    try:
        if c.select(folder, readonly=True)[0] != "OK":
            return b""
        return b"".join(part for _, data in ((n, c.fetch(n, "(BODY.PEEK[])")[1]) for n in c.search(None, "ALL")[1][0].split()) for item in data if isinstance(item, tuple) for part in item)
    except imaplib.IMAP4.error:
        return b""


def test_links_in_a_mailbox_lead_nowhere_else():
    """As if somebody had put them there: to another's message, folder and folder's inside."""
    for user in ("alice", "bob"):
        s = suite.submission()
        s.sendmail("alice@example.test", [user + "@example.test"], "Subject: x\r\n\r\nthe secret of %s\r\n" % user)
        s.quit()
    wait_for(lambda: [t for t in suite.messages("alice") if b"secret of alice" in t], 20, "alice's mail")
    wait_for(lambda: [t for t in suite.messages() if b"secret of bob" in t], 20, "bob's mail")
    hers, his = suite.maildir("alice"), suite.maildir("bob")
    secret = suite.mailbox_files("alice")[0]
    os.symlink(secret, his + "/cur/1000000001.link:2,S")
    os.symlink("../../alice/" + os.path.relpath(secret, hers), his + "/cur/1000000002.link:2,S")
    os.symlink(hers, his + "/.Whole")
    os.makedirs(his + "/.Inside/tmp")
    for name in ("cur", "new"):
        os.symlink(os.path.join(hers, name), his + "/.Inside/" + name)
    c = suite.imap("bob")
    has(bodies(c, "INBOX").decode(), "secret of bob")
    for folder in ("INBOX", "Whole", "Inside"):
        assert b"secret of alice" not in bodies(suite.imap("bob"), folder), folder
    os.unlink(his + "/cur/1000000001.link:2,S")
    os.unlink(his + "/cur/1000000002.link:2,S")
    os.unlink(his + "/.Whole")


def test_the_queue_may_ask_who_has_a_file_open():
    """It keeps the file of a large message for the next one, if nobody reads it any more."""
    s = suite.submission()
    s.sendmail("alice@example.test", ["bob@example.test"], "Subject: large\r\n\r\n" + ("x" * 70 + "\r\n") * 15000)
    s.quit()
    wait_for(lambda: [name for name in os.listdir(suite.dir + "/queue/blob") if name.startswith("spare.")], 20, "the file to be kept")


def other_kernel(first, last, error):
    """In a child before exec: system calls first to last give that error, to it and all that it starts."""
    code = [(0x20, 0, 0, 0), (0x35, 0, 2, first), (0x35, 1, 0, last + 1), (0x06, 0, 0, 0x50000 | error), (0x06, 0, 0, 0x7fff0000)]
    filters = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *c) for c in code))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(filters)))
    if ctypes.CDLL(None).prctl(22, 2, program, 0, 0):
        os._exit(99)


def without_landlock():
    other_kernel(444, 446, errno.ENOSYS)


def with_walls_of_paper():
    """landlock_restrict_self says that it worked."""
    other_kernel(446, 446, 0)


def test_a_kernel_without_landlock_is_spoken_of():
    other = Instance(start=False)
    other.mailctl("start", preexec_fn=without_landlock)
    other.running = True
    rows = [json.loads(line) for line in other.mailctl("status", "--sandbox", "--json").stdout.splitlines()]
    for r in (r for r in rows if r["name"] != "maild"): # of whom the kernel says nothing about Landlock
        has(r["walls"], "landlock=0 file_walls=no net_walls=no")
    has(other.wait_log(" smtpd[", " degraded ", "sandbox: "), "no Landlock" if not os.environ.get("SANITIZED") else "no system call filter and no Landlock")
    other.stop()


def test_where_a_wall_is_required_nothing_serves_without_it():
    other = Instance(extra="sandbox_required = yes\n", start=False)
    start = other.mailctl("start", check=False, preexec_fn=without_landlock)
    expect(start.returncode, 1)
    has(start.stderr, "sandbox_required: no ")
    has(start.stderr, "Landlock")
    has(other.wait_log(" suited[", " failure ", "sandbox_required: "), "Landlock")
    expect([line for line in other.log().splitlines() if " start " in line], [])


def test_walls_that_were_raised_and_do_not_hold_are_found_out():
    if LANDLOCK < 1:
        return
    other = Instance(start=False)
    start = other.mailctl("start", check=False, preexec_fn=with_walls_of_paper)
    expect(start.returncode, 1)
    has(start.stderr, "sandbox: raised, and does not hold: file walls (Landlock)")
    assert not os.path.exists(other.dir + "/log"), "it came to that"


def test_a_daemon_that_ends_at_each_start_fails_the_start_and_is_named():
    with tempfile.TemporaryDirectory(dir="/tmp") as work:
        os.chmod(work, 0o755)
        shutil.copytree(os.path.join(ROOT, "usr/libexec/pillarpost"), work + "/libexec")
        with open(work + "/libexec/routed", "w") as f:
            f.write('#!/bin/sh\necho "now routed[$$]: failure the tables are gone" >&2\necho "now routed[$$]: stop status=3" >&2\nexit 3\n')
        other = Instance(extra="daemon_directory = %s/libexec\n" % work, start=False)
        start = other.mailctl("start", check=False)
        expect(start.returncode, 1)
        has(start.stderr, "routed 0 ends at each start: exit status 3; the last it said: routed[")
        has(start.stderr, "the tables are gone")


def test_what_this_kernel_lacks_is_said():
    said = [line for line in suite.log().splitlines() if " degraded " in line and "sandbox: " in line]
    if said or os.environ.get("SANITIZED"):
        return
    other = Instance(extra="sandbox_required = yes\n", start=False) # this kernel and build have it all
    other.start()
    expect(other.mailctl("status").returncode, 0)


def elf(path, *what):
    return subprocess.run(["readelf", "-W", *what, path], capture_output=True, text=True, check=True).stdout


def programs():
    """The installed ELF files."""
    for folder in ("usr/libexec/pillarpost", "usr/sbin", "usr/bin"):
        full = os.path.join(ROOT, folder)
        for name in sorted(os.listdir(full)) if os.path.isdir(full) else ():
            path = os.path.join(full, name)
            with open(path, "rb") as f:
                if not os.path.islink(path) and f.read(4) == b"\x7fELF":
                    yield name, path


def test_the_installed_programs_are_hardened():
    """Position independent, relocations read-only from the start, no executable
    stack, no writable code, stack protector, checked libc calls, CET where the machine has it."""
    found, fortified = [], []
    for name, path in programs():
        found.append(name)
        assert re.search(r"Type:\s+DYN", elf(path, "-h")), name + ": not position independent"
        segments, dynamic, symbols = elf(path, "-l"), elf(path, "-d"), elf(path, "--dyn-syms")
        assert "GNU_RELRO" in segments, name + ": no RELRO"
        assert "BIND_NOW" in dynamic or re.search(r"FLAGS_1.*NOW", dynamic), name + ": lazy binding"
        assert "TEXTREL" not in dynamic and "RPATH" not in dynamic and "RUNPATH" not in dynamic, name
        stack = re.search(r"GNU_STACK\s+\S+ \S+ \S+ \S+ \S+ (\S+)", segments)
        expect(stack.group(1), "RW", name + ": stack")
        expect(re.findall(r"LOAD\s+\S+ \S+ \S+ \S+ \S+ RWE", segments), [], name + ": writable code")
        if not os.environ.get("SANITIZED"):
            assert "__stack_chk_fail" in symbols, name + ": no stack protector"
            if re.search(r" __\w+_chk\b", symbols.replace("__stack_chk_fail", "")):
                fortified.append(name)
            with open(path, "rb") as f: # Debian 12's start files have no mark, so that the whole program gets none
                assert os.uname().machine != "x86_64" or f.read().count(bytes.fromhex("f30f1efa")) > 20, name + ": no CET (endbr64)"
    assert {"maild", "suited", "smtpd", "mailctl", "sendmail"} <= set(found), found
    if not os.environ.get("SANITIZED"):
        assert len(fortified) > len(found) * 3 // 4, "checked libc calls only in %s" % fortified


main(globals())
