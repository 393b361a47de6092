#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The takeover drill: an attacker's code in each running program (intruder.py), in its real
place: its user, its walls, its live descriptors.  What it can read, change and
reach is enumerated and must be, word for word, the table of doc/threats.md ("What
a taken-over program reaches"); what it asks of its siblings beyond that is refused; and no core
would show a private key but keyd's.  Needs root."""
import errno
import os
import pwd
import re
import signal
import socket
import struct
import subprocess
import sys
import time

import intruder
from intruder import AT_FDCWD, Intruder, Killed, ask, channel_peers, frame, frames, new_pair
from pillar import ROOT, TOP, Instance, expect, family, has, main, wait_for

LANDLOCK = intruder.libc.syscall(444, None, 0, 1) # its version
missing = intruder.possible() or (None if LANDLOCK > 0 else "this kernel has no file walls")
if missing:
    print("1..0 # skip: " + missing)
    sys.exit(0)

BUILD = os.environ.get("BUILD", os.path.join(ROOT, ".."))
SANITIZED = bool(os.environ.get("SANITIZED"))

suite = Instance(extra="daemon_processes = 1\n")


def mail_arrives():
    for user, other in (("alice", "bob"), ("bob", "alice")):
        s = suite.submission(user)
        s.sendmail(user + "@example.test", [other + "@example.test"], "Subject: x\r\n\r\nx\r\n")
        s.quit()
    for user in ("alice", "bob"):
        suite.wait_mail(1, user)
        sessions.append(suite.imap(user))
        sessions[-1].select("INBOX")


sessions = []
mail_arrives()


# ---- who runs ----

def status(pid):
    with open("/proc/%d/status" % pid) as f:
        return dict(line.strip().split(":", 1) for line in f)


def maild():
    with open(suite.dir + "/sock/maild.pid") as f:
        return int(f.read())


def everybody():
    """{program: pid}; mailboxd is bob's, the other one's name is "another mailboxd"."""
    found = {"maild": maild()}
    for name, pid in family(found["maild"]):
        try:
            label = open("/proc/%d/cmdline" % pid).read().split("\0")[1:2]
        except OSError:
            continue
        found[("another " if label == ["alice@example.test"] else "") + name] = pid
    return found


def program_names():
    with open(TOP + "/daemons/maild/processes.def") as table:
        return re.findall(r"^(?:PROCESS|OWNED)\((\w+), ", table.read(), re.M)


# ---- the table ----

COLUMNS = ["reads", "changes", "network", "listens for", "talks to", "processes"]


def documented():
    """{program: {column: set of words}}"""
    rows, head = {}, None
    with open(TOP + "/doc/threats.md") as f:
        for line in f:
            cells = [c.strip() for c in line.strip().strip("|").split("|")]
            if cells[1:] == COLUMNS:
                head = cells
            elif head and line.startswith("|") and not cells[0].startswith("-"):
                rows[cells[0]] = {c: {w for w in re.split(r", *", cell) if w not in ("", "-")} for c, cell in zip(COLUMNS, cells[1:])}
            elif head and not line.startswith("|"):
                head = None
    return rows


def told_of():
    """The programs of which doc/threats.md says what an attacker makes of them."""
    with open(TOP + "/doc/threats.md") as f:
        rows = f.read().partition("| taken over | can | cannot |\n")[2].partition("\n\n")[0].splitlines()[1:]
    return [name.strip() for row in rows for name in row.split("|")[1].split(",")]


def as_row(program, found):
    return "| %s | %s |" % (program, " | ".join(", ".join(sorted(found[c])) or "-" for c in COLUMNS))


# ---- what it reaches: files ----

def word_of(path, program):
    """What a path is in the table's words."""
    here = path[len(suite.dir) + 1:] if (path + "/").startswith(suite.dir + "/") else None
    own = {"mailboxd": "mail/example.test/bob"}.get(program)
    if here is None:
        known = (("/etc/ssl", "certificates"), ("/usr/share/ca-certificates", "certificates"), ("/etc/pillarpost", "tables and configuration"), ("/dev/urandom", "/dev/urandom"))
        return next((word for start, word in known if path == start or path.startswith(start + "/")), "the system: " + path)
    if own and (here + "/").startswith(own + "/"):
        return "its mailbox"
    if here == "tls" or here.startswith("tls/"):
        return "private keys" if here.endswith("key.pem") else "certificates"
    if here.startswith("data/"):
        return "user database" if here.startswith("data/authd") else "its data" if here.startswith("data/" + program) else "data of " + here.split("/")[1]
    words = {"etc": "tables and configuration", "queue": "queue", "mail": "mailboxes", "log": "log", "sock": "run directory"}
    return words.get(here.split("/")[0], "the instance: " + here)


def paths(others):
    """(files, directories) to be tried: all of the instance, much of the system."""
    files, folders = [], ["/", "/etc", "/tmp", "/var", "/var/tmp", "/dev/shm", "/root", "/home", "/usr", "/run"]
    for top in ("/", "/etc", "/var", "/var/log", "/run", "/root", "/home"):
        for name in sorted(os.listdir(top)) if os.path.isdir(top) else ():
            full = os.path.join(top, name)
            (folders if os.path.isdir(full) else files).append(full)
    for folder, _, names in os.walk(suite.dir):
        folders.append(folder)
        files += [os.path.join(folder, n) for n in names]
    for pid in [1] + others:
        files += ["/proc/%d/%s" % (pid, what) for what in ("mem", "environ", "maps", "fd/2", "root/etc/passwd")]
    files += ["/dev/" + n for n in ("null", "zero", "urandom", "random", "mem", "kmsg", "vda", "sda", "tty", "fuse", "kvm", "loop-control", "net/tun")]
    files += ["/proc/self/mem", "/proc/self/fd/2", "/proc/sys/kernel/core_pattern", "/usr/bin/env", "/sys/kernel/uevent_helper", "/etc/ssl/certs/ca-certificates.crt"]
    return [f for f in dict.fromkeys(files) if os.path.lexists(f)], list(dict.fromkeys(folders))


def try_files(code, program, found, others):
    files, folders = paths(others)
    if program == "maild": # root of a machine that others use, too: only what is ours
        files, folders = ([p for p in group if p.startswith(suite.dir + "/") or p in ("/etc/passwd", "/etc/shadow")] for group in (files, folders))
    for path in files:
        if code.opens(path, os.O_RDONLY):
            found["reads"].add(word_of(path, program))
        if not path.startswith(("/dev", "/proc", "/sys")) and code.opens(path, os.O_WRONLY | os.O_APPEND):
            found["changes"].add(word_of(path, program))
    for path in folders:
        if code.opens(path, os.O_RDONLY | os.O_DIRECTORY):
            found["reads"].add(word_of(path, program))
        new = os.path.join(path, "drill.%d" % os.getpid())
        if code.opens(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL):
            found["changes"].add(word_of(path, program))
            os.unlink(new)


def try_links_out(code, program):
    """A symbolic or hard link in what it may change leads nowhere else."""
    if program not in ("mailboxd", "queued", "authd", "stsd", "verifyd", "routed"):
        return
    home = {"mailboxd": "mail/example.test/bob", "queued": "queue"}.get(program, "data/" + program)
    soft, hard = ("%s/%s/drill-%s" % (suite.dir, home, kind) for kind in ("soft", "hard"))
    targets = ["/etc/passwd", suite.mailbox_files("alice")[0], suite.dir + "/tls/key.pem"]
    for target in targets:
        assert not code.works("linkat", AT_FDCWD, code.text(target), AT_FDCWD, code.text(hard), 0), "%s: a hard link to %s" % (program, target)
        os.symlink(target, soft) # as if somebody had left it there
        assert not code.opens(soft, os.O_RDONLY), "%s: by a link to %s" % (program, target)
        os.unlink(soft)
        expect(code.call("openat", AT_FDCWD, code.text(target), os.O_RDONLY) in (-errno.EACCES, -errno.EPERM), True, "%s: %s" % (program, target))


# ---- what it reaches: the network, other programs ----

def listening_names():
    names = {suite.base + port: word for port, word in ((25, "smtp"), (587, "submission"), (465, "submissions"), (143, "imap"), (993, "imaps"), (110, "pop3"), (995, "pop3s"))}
    found = {}
    for line in subprocess.run(["ss", "-tlneH"], capture_output=True, text=True, check=True).stdout.splitlines():
        port = int(line.split()[3].rpartition(":")[2])
        if port in names:
            found[re.search(r"ino:(\d+)", line).group(1)] = names[port]
    with open("/proc/net/unix") as f:
        for words in (line.split() for line in f):
            if len(words) == 8 and words[3] == "00010000" and words[7].startswith(suite.dir + "/sock/"):
                found[words[6]] = os.path.basename(words[7])
    return found


def descriptors(pid):
    try:
        open_ones = os.listdir("/proc/%d/fd" % pid)
    except OSError: # it has just ended
        return
    for fd in open_ones:
        try:
            with open("/proc/%d/fdinfo/%s" % (pid, fd)) as f:
                yield int(fd), os.readlink("/proc/%d/fd/%s" % (pid, fd)), int(re.search(r"flags:\s+(\d+)", f.read()).group(1), 8)
        except OSError:
            continue


def inode_of(target):
    m = re.match(r"socket:\[(\d+)\]", target)
    return m and m.group(1)


def held(program, pid, running, found):
    """What its open descriptors are."""
    owners = {inode_of(target): name for name, other in running.items() for _, target, _ in descriptors(other) if inode_of(target)}
    doors, peers = listening_names(), channel_peers()
    for fd, target, flags in descriptors(pid):
        inode = inode_of(target)
        if inode in doors:
            found["listens for"].add(doors[inode])
        elif inode in peers and owners.get(peers[inode], "nobody") != program:
            found["talks to"].add(owners.get(peers[inode], "nobody").replace("another ", ""))
        elif target.startswith("/") and target != "/dev/null" and not target.startswith("/memfd:"):
            if flags & os.O_ACCMODE != os.O_WRONLY:
                found["reads"].add(word_of(target, program))
            if flags & os.O_ACCMODE != os.O_RDONLY:
                found["changes"].add(word_of(target, program))


tcp, udp, stream, hidden = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
udp.bind(("127.0.0.1", 0))
stream.bind(suite.dir + "/drill.socket")
os.chmod(suite.dir + "/drill.socket", 0o777)
hidden.bind("\0pillarpost-drill-%d" % os.getpid())
stream.listen(64)
hidden.listen(64)


def inet(s):
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H", s.getsockname()[1] if s else 0) + socket.inet_aton("127.0.0.1") + bytes(8)


https = inet(None)[:2] + struct.pack("!H", 443) + inet(None)[4:]


def unix(path):
    return struct.pack("=H", socket.AF_UNIX) + os.fsencode(path)


def try_network(code, found):
    if code.connects(socket.AF_INET, socket.SOCK_STREAM, inet(tcp)):
        found["network"].add("TCP")
    elif code.connects(socket.AF_INET, socket.SOCK_STREAM, https):
        found["network"].add("TCP 443")
    if code.connects(socket.AF_INET, socket.SOCK_DGRAM, inet(udp)):
        found["network"].add("UDP")
    if code.connects(socket.AF_UNIX, socket.SOCK_STREAM, unix(suite.dir + "/drill.socket") + b"\0"):
        found["network"].add("UNIX")
    if code.connects(socket.AF_UNIX, socket.SOCK_STREAM, unix("\0pillarpost-drill-%d" % os.getpid())):
        found["network"].add("abstract UNIX")
    for name in os.listdir(suite.dir + "/sock"):
        kind = socket.SOCK_STREAM if name in ("lmtp", "submit") else socket.SOCK_SEQPACKET
        if name != "maild.pid" and code.connects(socket.AF_UNIX, kind, unix(suite.dir + "/sock/" + name) + b"\0"):
            found["network"].add(name)
    fd = code.call("socket", socket.AF_INET, socket.SOCK_STREAM, 0)
    if fd >= 0:
        if code.works("bind", fd, code.put(inet(None)), 16):
            found["network"].add("TCP port")
        code.call("close", fd)


def try_processes(code, found, others):
    """Signals of every kind, descriptors and limits of those who are not its own."""
    for pid in [1, os.getpid()] + others:
        if code.works("kill", pid, 0) or code.works("tgkill", pid, pid, 0) or code.works("rt_sigqueueinfo", pid, 0, code.put(bytes(128))):
            found["processes"].add("signals")
        if code.works("prlimit64", pid, 4, 0, code.put(bytes(16))):
            found["processes"].add("limits")
        for own in (0, 1, 2, 3):
            if code.works("fcntl", own, 8, pid): # F_SETOWN: the kernel sends signals for it
                code.call("fcntl", own, 8, 0)
                found["processes"].add("signals by descriptors")
        if code.works("pidfd_open", pid, 0):
            found["processes"].add("descriptors")


def abbreviate(program, found):
    if program != "maild": # the table is that of a kernel that has it all
        found["network"] -= ({"TCP port"} if LANDLOCK < 4 else set()) | ({"abstract UNIX"} if LANDLOCK < 6 else set())
    if program == "stsd" and LANDLOCK < 4:
        found["network"] = {"TCP 443" if w == "TCP" else w for w in found["network"]}
    if found["listens for"] == set(listening_names().values()):
        found["listens for"] = {"everything"}
    if program == "maild": # of root no list would be whole
        assert {"private keys", "user database", "queue", "mailboxes", "tables and configuration", "log", "the system: /etc/shadow"} <= found["reads"], found
        assert not found["changes"] & {"user database", "queue", "mailboxes"}, "root without a capability to do so: %s" % found
        assert {"TCP", "TCP port", "UDP", "UNIX", "abstract UNIX", "queue_admin", "suite_admin"} <= found["network"], found
        found.update({"reads": {"everything"}, "changes": {"root's files"}, "network": {"everything"}, "processes": {"everything"}})


F_SETFL, PUNCH_HOLE = 4, 3


def try_log(code):
    """What it can do to the lines that are in the log: it has its descriptor, and may have others of the same file."""
    also = code.call("dup", 2)
    try:
        done = {name for name, arguments in (("ftruncate", (2, 0)), ("ftruncate", (also, 0)), ("fallocate", (2, PUNCH_HOLE, 0, 64)), ("mmap", (0, 4096, 3, 1, 2, 0))) if code.works(name, *arguments)}
        done |= {"fcntl" for fd in (2, also) if code.works("fcntl", fd, F_SETFL, 0)}
        line = code.put(b"drill\n")
        if code.call("pwrite64", 2, line, 6, 0) != 6 or code.call("pwrite64", also, line, 6, 0) != 6:
            done.add("no line can be added")
        return done
    finally:
        code.call("close", also)


CONFINED = set() # processes; behind it there can be no second one


def break_into(program, pid):
    code = Intruder(pid)
    if SANITIZED and pid not in CONFINED:
        CONFINED.add(pid)
        code.confine(subprocess.run([BUILD + "/tests/suite/filter", program, str(pid)], stdout=subprocess.PIPE, check=True).stdout)
    return code


def test_what_is_in_the_log_nobody_can_change():
    if LANDLOCK < 3:
        return # no truncation is denied to those who have files
    before = suite.log()
    for program, pid in everybody().items():
        if program != "maild" and not program.startswith("another "): # root; what mailboxd is
            code = break_into(program, pid)
            try:
                expect(try_log(code), set(), program)
            finally:
                code.leave()
    assert suite.log().startswith(before), "the log is another"


def test_what_each_program_reaches_is_what_the_table_says():
    running, table = everybody(), documented()
    expect(sorted(set(running) - {"another mailboxd"}), sorted(program_names() + ["maild", "template"]))
    expect(sorted(table), sorted(program_names() + ["maild", "template"]), "rows of the table in doc/threats.md")
    expect(sorted(told_of()), sorted(table), "rows of what can be made of it")
    wrong = []
    for program in table:
        found = {c: set() for c in COLUMNS}
        others = [pid for name, pid in running.items() if name != program]
        held(program, running[program], running, found)
        code = break_into(program, running[program])
        try:
            try_files(code, program, found, others)
            try_links_out(code, program)
            try_network(code, found)
            try_processes(code, found, others)
        finally:
            code.leave()
        abbreviate(program, found)
        if found != table[program]:
            wrong.append(as_row(program, found))
    assert not wrong, "doc/threats.md says otherwise; what was found:\n" + "\n".join(wrong)


def test_the_drill_sees_a_hole():
    """A program without walls, of the same user."""
    who = pwd.getpwnam("pp-smtpd")
    pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setresgid(who.pw_gid, who.pw_gid, who.pw_gid)
        os.setresuid(who.pw_uid, who.pw_uid, who.pw_uid)
        while True:
            signal.pause()
    try:
        wait_for(lambda: status(pid)["Uid"].split()[0] == str(who.pw_uid), 20, "another user")
        found = {c: set() for c in COLUMNS}
        code = Intruder(pid)
        try_files(code, "smtpd", found, [everybody()["smtpd"]])
        try_network(code, found)
        try_processes(code, found, [everybody()["smtpd"]])
        code.leave()
        assert {"the system: /etc/passwd", "certificates"} <= found["reads"], found
        assert {"TCP", "UDP", "UNIX", "TCP port", "abstract UNIX"} <= found["network"], found
        expect(found["processes"], {"signals", "limits", "signals by descriptors", "descriptors"})
        assert "private keys" not in found["reads"], found
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


# ---- what it asks of others ----

def channel_fd(program, peer):
    running = everybody()
    owners = {inode_of(target): name for name, pid in running.items() for _, target, _ in descriptors(pid) if inode_of(target)}
    peers = channel_peers()
    return [fd for fd, target, _ in descriptors(running[program]) if owners.get(peers.get(inode_of(target))) == peer][0]


def refused(answer, name, why):
    expect(answer[0], name, str(answer))
    has(answer[1]["why"].decode(), why)


def uid_of(program):
    st = status(everybody()[program])
    return int(st["Uid"].split()[0]), int(st["Gid"].split()[0])


def test_maild_gives_a_taken_over_userd_mailbox_programs_and_nothing_else():
    (uid, gid), before = uid_of("queued"), everybody()["userd"]
    fd = channel_fd("userd", "maild")
    code = break_into("userd", everybody()["userd"])
    try:
        def spawn(**fields):
            return ask(code, fd, "root", "spawn", pass_on=new_pair(code)[0], label="drill", **fields)
        refused(spawn(program="mailboxd", uid=uid, gid=gid), "ended", "may not belong to queued")
        refused(spawn(program="mailboxd", uid=54321, gid=gid), "ended", "may not belong to queued")
        refused(spawn(program="deliverd", uid=54321, gid=0), "ended", "may not run as root")
        refused(spawn(program="queued"), "ended", "no such program")
        refused(spawn(program="suited"), "ended", "no such program")
        refused(spawn(program="../../../../bin/sh"), "ended", "no such program")
        expect(ask(code, fd, "root", "open", path="/etc/shadow"), "closed")
    finally:
        code.leave()
    wait_for(lambda: everybody().get("userd", before) != before and not {"mailboxd", "template", "deliverd"} & set(everybody()), 20, "another userd")


def test_maild_lets_a_taken_over_suited_write_nothing_but_the_log():
    fd, made = channel_fd("suited", "maild"), suite.dir + "/made-by-suited"
    kept = suite.dir + "/etc/kept"
    with open(kept, "w") as f:
        f.write("kept")
    code = break_into("suited", everybody()["suited"])
    try:
        for path in (made, kept):
            expect(ask(code, fd, "root", "open", path=path, log=True)[0], "given", "the log, whatever path says")
        refused(ask(code, fd, "root", "directory", path=made, user="root", mode=0o755), "done", "")
        refused(ask(code, fd, "root", "listen", path=kept, mode=0o600), "done", "")
        refused(ask(code, fd, "root", "spawn", pass_on=new_pair(code)[0], program="suited"), "ended", "no such program")
        refused(ask(code, fd, "root", "spawn", pass_on=new_pair(code)[0], program="mailboxd"), "ended", "no such program")
    finally:
        code.leave()
    assert not os.path.lexists(made)
    with open(kept) as f:
        expect(f.read(), "kept")
    expect(suite.mailctl("status").returncode, 0)


def test_userd_gives_a_taken_over_front_no_mailbox_and_locald_no_daemon():
    wait_for(lambda: (" userd[%d]: start " % everybody().get("userd", 0)) in suite.log(), 20, "userd") # it has lost maild above
    fd = channel_fd("imapd", "userd")
    code = break_into("imapd", everybody()["imapd"])
    try:
        for ticket in (bytes(16), b"", os.urandom(16)):
            answer = ask(code, fd, "login", "enter", pass_on=new_pair(code)[0], ticket=ticket, service="imap", client_addr="127.0.0.1")
            expect((answer[0], answer[1]["ok"]), ("result", 0))
    finally:
        code.leave()
    uid, gid = uid_of("queued")
    fd = channel_fd("locald", "userd")
    code = break_into("locald", everybody()["locald"])
    try:
        ask(code, fd, "owner", "ask", uid=uid, gid=gid)
    finally:
        code.leave()
    line = suite.wait_log(" userd[", "may not belong to queued")
    has(line, "%d:%d" % (uid, gid))


LIES = [("dnsd", "dns", "done", peer) for peer in ("smtpd", "verifyd", "routed", "remoted", "stsd", "tokend")] + [
    ("verifyd", "filter", "answer", "smtpd"), ("stsd", "tlspolicy", "answer", "remoted"), ("tokend", "token", "answer", "authd")]


def channel_to(program, peer):
    """Its descriptor, and the socket that it is; None while there is none."""
    try:
        fd = channel_fd(program, peer)
        return fd, os.readlink("/proc/%d/fd/%d" % (everybody()[program], fd))
    except (IndexError, OSError):
        return None


def test_a_channel_that_a_taken_over_sibling_spoils_is_closed_and_replaced():
    for liar, channel, message, peer in LIES:
        fd, socket_before = wait_for(lambda: channel_to(liar, peer), 20, "a channel")
        had = len(suite.log())
        code = break_into(liar, everybody()[liar])
        try:
            code.sends(fd, frame(channel, message, 0, {"id": (1 << 64) - 1})) # to what nobody has asked
        finally:
            code.leave()
        told = re.compile(r" %s\[\d+\]: channel %s: %s_%s was not allowed now" % (peer, liar, channel, message))
        wait_for(lambda: told.search(suite.log()[had:]), 20, "%s to name %s" % (peer, liar))
        wait_for(lambda: "channel %s between %s " % (channel, peer) in suite.log()[had:], 20, "suited to hear of it")
        wait_for(lambda: (channel_to(liar, peer) or (0, socket_before))[1] != socket_before, 20, "another channel of %s with %s" % (peer, liar))
    mail_arrives()
    suite.imap("alice").logout()


def test_a_channel_that_is_only_said_to_be_closed_the_sibling_closes():
    fd, ours = wait_for(lambda: channel_to("imapd", "authd"), 20, "a channel")
    theirs = "socket:[%s]" % channel_peers()[inode_of(ours)]
    code = break_into("imapd", everybody()["imapd"])
    try:
        assert code.call("dup", fd) > 0 # whatever the program does with its own
        code.sends(3, frame("ctl", "broken", 0, {"channel": "auth", "client": 1, "name": "authd"}))
    finally:
        code.leave()
    wait_for(lambda: theirs not in [target for _, target, _ in descriptors(everybody()["authd"])], 20, "authd to close its end")
    suite.wait_log(" authd[", "channel auth: another takes its place")
    suite.imap("alice").logout()


def holders(*secrets):
    """Whose memory, read by root, has one of them."""
    found = set()
    for program, pid in everybody().items():
        with open("/proc/%d/maps" % pid) as maps, open("/proc/%d/mem" % pid, "rb", 0) as mem:
            for line in maps:
                span, rights = line.split()[:2]
                low, high = (int(x, 16) for x in span.split("-"))
                if not rights.startswith("r") or "[v" in line or high - low > 1 << (25 if SANITIZED else 28): # of a sanitizer
                    continue
                try:
                    mem.seek(low)
                    data = mem.read(high - low)
                except (OSError, ValueError, OverflowError):
                    continue
                if any(s in data for s in secrets):
                    found.add(program)
    return found


def test_no_core_but_keyds_would_hold_a_private_key():
    with open(suite.dir + "/tls/key.pem") as f:
        pem = f.read()
    der = subprocess.run(["openssl", "pkey", "-outform", "DER"], input=pem.encode(), capture_output=True, check=True).stdout
    at = der.index(bytes.fromhex("0201010420")) + 5 # of a P-256 key: the octets of its number
    expect(holders(der[at:at + 32], der[at:at + 32][::-1], pem.split("\n")[1].encode()), {"keyd"})


def test_no_core_would_hold_a_password_of_somebody_who_has_logged_in():
    mail_arrives()
    suite.pop3("alice").quit()
    suite.pop3("bob", tls=False).quit()
    time.sleep(0.2) # what is on its way is wiped when it has gone
    fronts = {"smtpd", "imapd", "pop3d"} if SANITIZED else set() # a sanitizer keeps what they have freed
    expect(holders(suite.password("alice").encode(), suite.password("bob").encode()) - fronts, set())


def killed_for(program, name, *arguments):
    code = break_into(program, everybody()[program])
    try:
        got = code.call(name, *[code.text(a) if isinstance(a, str) else a for a in arguments])
        code.leave()
        return got
    except Killed as e:
        return str(e)


def test_who_executes_a_program_is_killed():
    """Last: it ends them all, suited too, and maild at the end."""
    mail_arrives()
    expect([killed_for(program, "execve", "/bin/sh", 0, 0) for program in ("deliverd", "mailboxd")], ["SIGSYS"] * 2)
    expect(killed_for("template", "execve", "/bin/sh", 0, 0), "SIGSYS")
    for program in sorted(set(program_names()) - {"mailboxd", "deliverd", "userd", "suited"}):
        expect(killed_for(program, "execve", "/bin/sh", 0, 0), "SIGSYS", program)
    for program in ("userd", "suited"):
        expect(killed_for(program, "execve", "/bin/sh", 0, 0), "SIGSYS", program)
    expect(killed_for("maild", "mount", "none", "/tmp", "tmpfs", 0, 0), "SIGSYS")
    suite.running = False


main(globals())
