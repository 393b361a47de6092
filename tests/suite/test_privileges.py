#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Each running process against daemons/maild/processes.def and reach.def: user, groups,
capabilities, no_new_privs, dumpable, what its open descriptors reach, and what its walls leave in reach.  Needs root."""
import os
import pwd
import re
import socket
import struct
import subprocess
import sys

import intruder
from pillar import Instance, TOP, expect, family, main

if os.geteuid() != 0:
    print("1..0 # skip: separate users need root")
    sys.exit(0)

WIRES, CONTROLS, SERVES = [], {}, {}
with open(TOP + "/daemons/maild/processes.def") as table:
    for line in table:
        m = re.match(r"(WIRE|CONTROL|SERVE)\((\w+), (\w+)(?:, (\w+))?\)", line)
        server = re.match(r"SERVER\((\w+)\)", line)
        if server:
            WIRES += [(channel, server.group(1), of) for channel, of in (("auth", "authd"), ("sign", "keyd"), ("certs", "keyd"))]
        elif m and m.group(1) == "WIRE":
            WIRES.append(m.groups()[1:])
        elif m and m.group(1) == "CONTROL":
            CONTROLS[m.group(2)] = m.group(3)
        elif m:
            SERVES[m.group(2).replace("CONF_SERVICE_", "").lower()] = m.group(3)
# Below the instance's directory: who may have what open, for good.
FILES = {"queued": ("queue",), "authd": ("data/authd",), "routed": ("data/routed", "etc"), "stsd": ("data/stsd",),
         "mailboxd": ("mail/example.test/bob",), "deliverd": ("mail",), "maild": ("sock/maild.pid", "log")}
CAPS = {"PRIV_SETUID": (1 << 6) | (1 << 7), "PRIV_SETPCAP": 1 << 8, "PRIV_BIND": 1 << 10, "PRIV_READ": 1 << 2, "PRIV_KILL": 1 << 5}
MAILD = CAPS["PRIV_SETUID"] | CAPS["PRIV_SETPCAP"] | CAPS["PRIV_BIND"] | CAPS["PRIV_READ"] | CAPS["PRIV_KILL"]
ROWS, LIMITS = {}, {}
with open(TOP + "/daemons/maild/processes.def") as table:
    for m in re.finditer(r"^(?:(PROCESS)|OWNED)\((\w+), .*, (\d+), (\d+), (\d+)(?(1), (?:PEERS|0)), \"", table.read(), re.M):
        ROWS[m.group(2)] = "pp-" + m.group(2) if m.group(1) else "pp-mail"
        LIMITS[m.group(2)] = int(m.group(3)), int(m.group(4)) << 20, int(m.group(5))
ROWS["template"] = ROWS["mailboxd"]  # that mailboxd are copies of

suite = Instance()
s = suite.submission()
s.sendmail("alice@example.test", ["bob@example.test"], "Subject: x\r\n\r\nx\r\n")
s.quit()
suite.wait_mail(1)
mailbox = suite.imap()
mailbox.select("INBOX")


def status(pid):
    with open("/proc/%d/status" % pid) as f:
        return dict(line.strip().split(":", 1) for line in f)


def maild():
    with open(suite.dir + "/sock/maild.pid") as f:
        return int(f.read())


def everybody():
    """[(program, pid, expected user, expected capabilities)]"""
    return [("maild", maild(), "root", MAILD)] + [(name, pid, ROWS[name], 0) for name, pid in family(maild())]


def descriptors(pid):
    for fd in os.listdir("/proc/%d/fd" % pid):
        try:
            yield int(fd), os.readlink("/proc/%d/fd/%s" % (pid, fd))
        except OSError:
            continue


def test_the_table_names_every_process():
    running = {name for name, _, _, _ in everybody()}
    expect(running, set(ROWS) | {"maild"})


def test_every_process_runs_as_its_own_user_without_groups():
    for name, pid, user, _ in everybody():
        st, pw = status(pid), pwd.getpwnam(user)
        expect(st["Uid"].split(), [str(pw.pw_uid)] * 4, name)
        expect(st["Gid"].split(), [str(pw.pw_gid)] * 4, name)
        if name != "maild":
            expect(st["Groups"].split(), [], name)


def test_root_is_left_in_maild_alone():
    expect({n for n, pid, _, _ in everybody() if status(pid)["Uid"].split()[0] == "0"}, {"maild"})


def test_capabilities_are_those_of_the_table():
    for name, pid, _, caps in everybody():
        st = status(pid)
        for key in ("CapEff", "CapPrm", "CapBnd"):
            expect(int(st[key], 16), caps, "%s %s" % (name, key))
        expect(int(st["CapInh"], 16), 0, name)
        expect(int(st["CapAmb"], 16), 0, name)


def test_no_new_privileges_and_not_dumpable():
    for name, pid, _, _ in everybody():
        expect(status(pid)["NoNewPrivs"].strip(), "1", name)
        if not os.environ.get("SANITIZED"):
            expect(status(pid)["Seccomp"].strip(), "2", name)
        expect(os.stat("/proc/%d/environ" % pid).st_uid, 0, name + ": a dumpable process owns its /proc files")


def test_only_queued_has_the_spool_and_only_keyd_has_keys():
    for name, pid, _, _ in everybody():
        for fd, target in descriptors(pid):
            if target.startswith(suite.dir + "/queue"):
                expect(name, "queued", "descriptor %d: %s" % (fd, target))
            if target.startswith(suite.dir + "/data/authd"):
                expect(name, "authd", "descriptor %d: %s" % (fd, target))
            if target.startswith(suite.dir + "/mail"):
                assert name in ("mailboxd", "deliverd"), (name, fd, target)
            assert not target.endswith("/key.pem"), (name, fd, target)


def count(pairs):
    counted = {}
    for pair in pairs:
        counted[pair] = counted.get(pair, 0) + 1
    return counted


def test_sockets_between_processes_are_the_wires_of_the_table():
    """Each end of each seqpacket pair, by its peer's inode, against WIRE rows, ctl and root."""
    owners, running = {}, []
    for name, pid, _, _ in everybody():
        running.append(name)
        for _, target in descriptors(pid):
            m = re.match(r"socket:\[(\d+)\]", target)
            if m:
                owners.setdefault(m.group(1), set()).add(name)
    found = []
    for line in subprocess.run(["ss", "-xnaH"], capture_output=True, text=True, check=True).stdout.splitlines():
        words = line.split()
        if words[0] == "u_seq" and words[1] == "ESTAB" and words[5] in owners and int(words[5]) < int(words[7]):
            here, there = owners[words[5]], owners.get(words[7], {"nobody"})
            assert len(here) == len(there) == 1, "a channel's end is shared: %s %s" % (here, there)
            found += [tuple(sorted((min(here), min(there))))]
    n = count(running)
    wanted = [tuple(sorted(("suited", name))) for name in running if name not in ("maild", "suited", "mailboxd", "template", "deliverd")] + [("maild", "suited")] * 2
    for _, client, server in WIRES:
        wanted += [tuple(sorted((client, server)))] * (n[client] * n[server])
    wanted += [("mailboxd", "userd")] * (2 * n["mailboxd"]) + [("deliverd", "userd")] * n["deliverd"] + [("template", "userd")] * n["template"]
    got = count(found)
    used = got.pop(("deliverd", "locald"), 0)
    assert 1 <= used <= n["locald"], used
    expect(got, count(wanted))


# ---- walls: daemons/reach.def ----

def reach_rows():
    """{program: [(rights, kind, value)]}: a path, a port, or None where the program names it or where any will do."""
    known = {"data_directory": suite.dir + "/data", "queue_directory": suite.dir + "/queue", "user_database": suite.dir + "/data/authd", "virtual_mailbox_base": suite.dir + "/mail",
             "smtp_tls_mta_sts_port": 443, **dict.fromkeys(("smtp_tls_CAfile", "smtp_tls_mta_sts_CAfile", "auth_oauth2_CAfile"), "/etc/ssl/certs/ca-certificates.crt")}
    rows = {}
    with open(TOP + "/daemons/reach.def") as table:
        for program, rights, kind, _, arguments in re.findall(r"^REACH\((\w+), ([A-Z| ]+), (\w+)(\((.*?)\))?, \".*\"\)$", table.read(), re.M):
            words = [w.strip('" ') for w in arguments.split(",")] if arguments else []
            value = words and (words[0] if kind == "AT" else known[words[0]])
            rows.setdefault(program, []).append((rights, kind, value + "/" + words[1] if kind == "BELOW" else value or None))
    return rows


def ports_reached(code):
    """Of two where nobody listens (or somebody does): whether the kernel lets it try, and take one."""
    at = lambda port: struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + socket.inet_aton("127.0.0.1") + bytes(8)
    reached = {port for port in (9, 443) if code.connects(socket.AF_INET, socket.SOCK_STREAM, at(port))}
    fd = code.call("socket", socket.AF_INET, socket.SOCK_STREAM, 0)
    if fd >= 0 and code.call("bind", fd, code.put(at(0)), 16) == 0:
        reached.add("bind")
    return reached, code.call("close", fd)


def test_what_the_walls_leave_in_reach_is_what_the_table_says():
    """From inside each running program: each path of any row, and some of none."""
    rows, why = reach_rows(), intruder.possible()
    abi = intruder.libc.syscall(444, None, 0, 1)
    if why or abi < 4 or os.environ.get("SANITIZED"):
        return
    assert set(rows) < set(ROWS), rows
    paths = sorted({v for of in rows.values() for _, _, v in of if isinstance(v, str) and os.path.exists(v)} | {"/etc/passwd", "/tmp", suite.dir + "/etc", suite.dir + "/tls"})
    for name, pid, _, _ in everybody():
        mine = rows.get(name, []) if name != "template" else [("WRITE", "SETTING", suite.dir + "/mail")] # what mailboxd's row says of it
        if name == "maild":
            continue
        code = intruder.Intruder(pid)
        try:
            readable = {p for p in paths if code.opens(p, os.O_RDONLY)}
            writable = {p for p in paths if os.path.isdir(p) and code.works("openat", intruder.AT_FDCWD, code.text(p), os.O_WRONLY | os.O_TMPFILE, 0o600)}
            ports, _ = ports_reached(code)
        finally:
            code.leave()
        below = lambda rights: {p for p in paths for r, _, v in mine if isinstance(v, str) and rights in r.split(" | ") and (p + "/").startswith(v + "/")}
        named = {r for r, kind, _ in mine if kind == "NAMED"}
        may_write = below("WRITE")
        assert may_write == writable or "WRITE" in named, (name, may_write, writable)
        assert below("READ") | may_write <= readable, (name, readable)
        assert readable == below("READ") | may_write or named, (name, readable)
        assert "/etc/passwd" not in readable and "/tmp" not in readable, (name, readable)
        connect = [v for r, _, v in mine if r == "CONNECT"]
        expect(ports, {9, 443} if None in connect else set(connect), name) # no source address is configured: nobody binds


def test_listeners_are_with_those_that_serve_them():
    """Listening sockets: with suited, who keeps them, and the program of the SERVE or CONTROL row."""
    names = dict(CONTROLS, suite_admin="suited", submit=SERVES["submit"], lmtp=SERVES["lmtp"])
    want = {("127.0.0.1:%d" % (suite.base + port)): SERVES[service] for service, port in
            (("smtp", 25), ("submission", 587), ("submissions", 465), ("imap", 143), ("imaps", 993), ("pop3", 110), ("pop3s", 995))}
    want.update({suite.dir + "/sock/" + name: program for name, program in names.items()})
    inodes = {}
    for line in subprocess.run(["ss", "-tlneH"], capture_output=True, text=True, check=True).stdout.splitlines():
        inodes[re.search(r"ino:(\d+)", line).group(1)] = line.split()[3]
    with open("/proc/net/unix") as f:
        for words in (line.split() for line in f):
            if len(words) == 8 and words[3] == "00010000" and words[7].startswith(suite.dir):
                inodes[words[6]] = words[7]
    holders = {}
    for name, pid, _, _ in everybody():
        for _, target in descriptors(pid):
            m = re.match(r"socket:\[(\d+)\]", target)
            if m and m.group(1) in inodes:
                holders.setdefault(inodes[m.group(1)], set()).add(name)
    expect(holders, {at: {"suited", program} for at, program in want.items()})


def test_every_other_descriptor_is_accounted_for():
    for name, pid, _, _ in everybody():
        mine = tuple(os.path.join(suite.dir, f) for f in FILES.get(name, ()))
        for fd, target in descriptors(pid):
            what = "%s: descriptor %d: %s" % (name, fd, target)
            if fd < 2:
                expect(target, "/dev/null", what)
            elif fd == 2 and name != "maild":
                expect(target, suite.dir + "/log", what)
            elif fd == 3 and name != "maild":
                assert target.startswith("socket:"), what
            elif target.startswith("/") and target != "/dev/null":
                assert target.startswith(mine or ("nothing",)), what
            else:
                assert re.match(r"socket:|pipe:|anon_inode:(\[eventpoll\]|\[eventfd\]|\[timerfd\]|\[signalfd\]|inotify)|/dev/null", target), what


def test_limits():
    for name, pid, _, _ in everybody():
        with open("/proc/%d/limits" % pid) as f:
            limits = {line[:26].strip(): line[26:].split()[:2] for line in list(f)[1:]}
        expect(limits["Max core file size"], ["0", "0"], name + ": no core, ever")
        expect(limits["Max open files"][0], limits["Max open files"][1], name)
        files, memory, cpu = LIMITS.get(name, (0, 0, 0))
        expect(limits["Max cpu time"], [str(cpu), str(cpu + 5)] if cpu else ["unlimited"] * 2, name + ": processor time")
        if files:
            expect(limits["Max open files"][1], str(files), name + ": files")
        if not os.environ.get("SANITIZED"):
            expect(limits["Max data size"], [str(memory or "unlimited")] * 2, name + ": memory")


def test_root_and_working_directory_are_the_hosts():
    """As the head of processes.def has it; what of them is in reach the walls decide."""
    for name, pid, _, _ in everybody():
        at = [os.readlink("/proc/%d/%s" % (pid, what)) for what in ("root", "cwd")]
        expect(at[:1] if name == "maild" else at, ["/", "/"][:1 if name == "maild" else 2], name) # maild knows the configuration by its name
        expect(os.stat("/proc/%d/root" % pid).st_ino, os.stat("/").st_ino, name)


def test_fronts_and_keyd_let_who_wakes_them_run_on():
    ours = os.sched_getscheduler(0)
    for name, pid, _, _ in everybody():
        gathers = name in ("keyd", "smtpd", "imapd", "pop3d") and ours == os.SCHED_OTHER
        expect(os.sched_getscheduler(pid), os.SCHED_BATCH if gathers else ours, name)


def test_only_those_that_talk_to_the_network_have_its_sockets():
    inodes = {}
    for table in ("tcp", "tcp6", "udp", "udp6"):
        with open("/proc/net/" + table) as f:
            for line in list(f)[1:]:
                inodes[line.split()[9]] = table
    for name, pid, _, _ in everybody():
        for fd, target in descriptors(pid):
            m = re.match(r"socket:\[(\d+)\]", target)
            if m and m.group(1) in inodes:
                assert name in ("suited", "smtpd", "imapd", "pop3d", "remoted", "verifyd", "dnsd", "stsd", "tokend", "mailboxd"), (name, fd, inodes[m.group(1)])


def test_every_daemon_says_that_its_walls_stand():
    log = suite.log()
    for name in set(ROWS) - {"suited", "template"}:
        assert re.search(r" %s\[\d+\]: start " % name, log), name
    assert "sandbox" not in "\n".join(line for line in log.splitlines() if " failure " in line), "a wall could not be raised"


def test_private_files_are_closed_to_others():
    for path in ("queue", "data/authd", "data/routed"):
        expect(os.stat(os.path.join(suite.dir, path)).st_mode & 0o077, 0, path)
    for name in ("suite_admin", "queue_admin", "user_admin", "route_admin", "mailbox_admin"):
        expect(os.stat(os.path.join(suite.dir, "sock", name)).st_mode & 0o077, 0, name)
    expect(os.stat(os.path.join(suite.dir, "instance.env")).st_mode & 0o077, 0)


def test_no_setuid_or_setgid_file_is_installed():
    from pillar import ROOT
    expect(subprocess.run(["find", ROOT, "-type", "f", "-perm", "/6000"], capture_output=True, text=True).stdout, "")


main(globals())
