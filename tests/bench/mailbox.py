#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Mailboxes side by side with Debian's dovecot (Maildir and mdbox) and cyrus, in one run, alternating.

    mailbox.py [--quick] [--runs 5] [--load 2000] [--messages 100000] [--octets 11500] [--texts 10000]
               [--idle 5000] [--only ROW,...] [--servers NAME,...] [--new] [--cold] [--json FILE]

Rates come from bench_load and bench_client, the same for all; a folder of --messages messages is
asked by one client, milliseconds a command; what a server does later (names of files that follow) is
waited for before the next command.  Servers are tuned as their documentation has it, their
fsyncs as by default (mailstores.py).  A row is measured against the best of the others, or
against dovecot on Maildir where it says so.  Ratios above 1 are in our favour.  See bench.py for
what is common.  ROW: a name of RATES or FOLDER below, or one of the words rates, folder, texts, notice, memory.
"""
import argparse
import imaplib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import mailstores  # noqa: E402
import peers  # noqa: E402
import texts  # noqa: E402
from mailstores import STORES, USERS  # noqa: E402

TOOLS = os.environ.get("TOOLS", ".")

# name: program and mode, sessions, users, messages a connection, share of --load, goal, unit, what it is
RATES = {
    "lmtp": ("lmtp", 20, USERS, 1000, 1, 4, "msg/s", "LMTP, 20 connections, 50 users, 4 KiB"),
    "lmtp-1": ("lmtp", 1, USERS, 1000, 0.25, 1.5, "msg/s", "LMTP, 1 connection, 50 users, 4 KiB"),
    "append": ("imap-append", 20, 20, 1000000, 1, 2.5, "msg/s", "APPEND, 20 connections, 4 KiB"),
    "append-1": ("imap-append", 1, 1, 1000000, 0.25, 1.5, "msg/s", "APPEND, 1 connection, 4 KiB"),
    "login": ("imap-login", 20, 20, 1, 1, 2, "/s", "login + SELECT + LOGOUT, 20 at a time"),
    "login-tls": ("imap-login", 20, 20, 1, 0.5, 1.7, "/s", "the same with TLS, each a whole handshake"),
    "pop3": ("pop3", 20, 20, 1, 1, 2.5, "/s", "POP3 login + STAT + UIDL + QUIT, 20 at a time"),
    "mixed": ("mixed", mailstores.MIXED, mailstores.MIXED, 0, 5, 3, "cmd/s", "mixed load of 40 users"),
    "pop3-read": ("pop3-read", 1, 1, 0, 0, 2, "MB/s", "POP3, 1,000 messages of 12 KiB, 1 connection"),
    "pop3-read-4": ("pop3-read", 4, 4, 0, 0, 2, "MB/s", "POP3, 1,000 messages of 12 KiB, 4 connections"),
}
POP_MESSAGES, POP_SIZE, MIX_MESSAGES = 1000, 12288, 200

# What one client asks of a large folder: name, command (N: messages, H: half of them, T: a tenth), repeated, goal, against, what it is
ENVELOPE = "FETCH 1:* (ENVELOPE BODYSTRUCTURE INTERNALDATE RFC822.SIZE)"
HEADERS = "FETCH 1:* (BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT DATE MESSAGE-ID REFERENCES)])"
FOLDER = (
    ("select-cold", None, True, 4, "dovecot", "SELECT without an index"),
    ("fetch-envelope-first", None, True, 4, "dovecot", "FETCH 1:* (ENVELOPE BODYSTRUCTURE ...), first"),
    ("select", "SELECT INBOX", True, 3, "best", "SELECT, warm"),
    ("fetch-flags", "FETCH 1:* (UID FLAGS)", True, 3, "best", "FETCH 1:* (UID FLAGS)"),
    ("fetch-envelope", ENVELOPE, True, 2, "best", "FETCH 1:* (ENVELOPE BODYSTRUCTURE ...), again"),
    ("fetch-headers", HEADERS, True, 2, "best", "six header fields of all, again"),
    ("bodies", "random 1000 N", True, 2, "best", "1,000 bodies, chosen by chance, one by one"),
    ("search-subject", 'SEARCH SUBJECT "needle"', True, 5, "best", 'SEARCH SUBJECT "needle"'),
    ("search-unseen", "SEARCH SINCE 1-Jan-2020 UNSEEN", True, 5, "best", "SEARCH SINCE UNSEEN"),
    ("search-body", 'SEARCH BODY "haystack"', False, 4, "best", 'SEARCH BODY "haystack"'),
    ("sort", "SORT (DATE) UTF-8 ALL", True, 5, "best", "SORT (DATE)"),
    ("thread", "THREAD REFERENCES UTF-8 ALL", True, 4, "best", "THREAD=REFERENCES"),
    ("store", "STORE 1:* +FLAGS.SILENT (\\Flagged)", True, 2, "best", "STORE 1:* +FLAGS"),
    ("copy", "COPY 1:T Copied", True, 1, "best", "COPY of a tenth"),
    ("move", "MOVE 1:T Moved", False, 1, "best", "MOVE of a tenth"),
    ("expunge", "EXPUNGE", False, 1, "best", "EXPUNGE of half"),
)
FIRST = {"fetch-headers": HEADERS, "sort": "SORT (DATE) UTF-8 ALL", "thread": "THREAD REFERENCES UTF-8 ALL"}  # not counted: the second time is
WAKE = 300  # users
NOTICE_GOAL_MS, IDLE_GOAL_KIB, HIBERNATED_GOAL_KIB, SESSION_GOAL_KIB, OPEN_GOAL_KIB = 3.7, 577 / 5, 14, 64, 8192


class Missing(Exception):
    pass


def client(server, mode, *args, name="user%", protocol="imap", **kw):
    command = [TOOLS + "/bench_client", mode, "-p", str(server.ports[protocol]), "-u", name + server.login_domain, "-w", server.password] + [str(a) for a in args]
    return subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kw)


def told(server, process):
    """What a client printed to its end."""
    out, err = process.communicate(timeout=900)
    if process.returncode:
        raise Missing("%s: %s" % (server.name, err.strip()))
    return json.loads(out)


class Asker:
    """One session of bench_client's; milliseconds a command."""

    def __init__(self, server):
        self.server, self.process = server, client(server, "ask")
        self.read()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            raise Missing("%s: %s" % (self.server.name, self.process.stderr.read().strip()))
        return json.loads(line)

    def ask(self, command, must=True):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        answer = self.read()
        if must and not answer["ok"]:
            raise Missing("%s: %s: %s" % (self.server.name, command[:60], answer["last"]))
        return answer

    def count(self):
        words = self.ask("STATUS INBOX (MESSAGES)")["untagged"].rstrip(")").split()
        return int(words[-1])

    def close(self):
        self.process.stdin.close()
        self.process.wait()


# ---- rates ----

def append(server, name, users, each, size):
    """Each of the users gets so many messages."""
    fillers = [subprocess.Popen([TOOLS + "/bench_load", "imap-append", "-p", str(server.ports["imap"]), "-m", str(each), "-c", str(each), "-l", str(size),
                                 "-t", name.replace("%", str(i)) + server.login_domain, "-w", server.password], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
               for i in range(users)]
    said = [f.communicate(timeout=900)[1] for f in fillers]
    for f, err in zip(fillers, said):
        if f.returncode:
            raise Missing("%s: %s" % (server.name, err.strip()))


def run_load(server, row, count, tls):
    protocol, sessions, users, per_connection = row[:4]
    to = "user%" + (server.domain if protocol == "lmtp" else server.login_domain)
    command = [TOOLS + "/bench_load", protocol, "-p", str(server.ports[protocol.split("-")[0]]), "-s", str(sessions), "-m", str(count), "-c", str(per_connection), "-u", str(users),
               "-t", to, "-w", server.password] + (["-T"] if tls else [])
    r = subprocess.run(command, capture_output=True, text=True, timeout=900)
    if r.returncode:
        raise Missing("%s: %s" % (server.name, r.stderr.strip()))
    return json.loads(r.stdout)


def kept(server, users):
    """How many messages are in their INBOXes."""
    total = 0
    for i in range(users):
        imap = imaplib.IMAP4("127.0.0.1", server.ports["imap"])
        imap.login("user%d" % i + server.login_domain, server.password)
        total += int(imap.status("INBOX", "(MESSAGES)")[1][0].split()[-1].rstrip(b")"))
        imap.logout()
    return total


def run_rate(server, name, row, count):
    """(rate, what the client told)"""
    if row[0] == "mixed":
        answer = told(server, client(server, "mixed", "-s", row[1], "-n", count, name="mix%"))
        return count / answer["seconds"], answer
    if row[0] == "pop3-read":  # what is there, whatever count says
        answer = told(server, client(server, "pop3", "-s", row[1], "-n", POP_MESSAGES, name="pop%", protocol="pop3"))
        return answer["bytes"] / answer["seconds"] / 1e6, answer
    there, begun = server.delivered() if row[0] == "lmtp" else 0, time.monotonic()
    answer = run_load(server, row, count, name == "login-tls")
    if row[0] == "lmtp":
        server.settled(there + count)
        answer["seconds"] = time.monotonic() - begun
    if row[0] in ("lmtp", "imap-append"):
        server.brought += count
    return count / answer["seconds"], answer


def measure_rate(server, name, row, args):
    count = POP_MESSAGES * row[1] if row[0] == "pop3-read" else max(int(args.load * row[4]), row[1])
    warm = max(count // 5, row[1], row[2])
    run_rate(server, name, row, warm)
    server.quiet(3)
    counter = server.count_calls()
    time.sleep(0.1)
    cpu = server.cpu()
    rate, answer = run_rate(server, name, row, count)
    result = {"rate": rate, "cpu": (server.cpu() - cpu) * 1000 / count}
    result.update((k, answer[k]) for k in ("p50_us", "p95_us", "p99_us", "commands") if k in answer)
    counted = server.counted(counter)
    if counted:
        result["calls"], result["syncs"] = counted[0] / count, counted[1] / count
    return result


def measure_rates(names, servers, args, tls, records):
    rates = {n: {s: [] for s in servers} for n in names}
    for _ in range(args.runs if names else 0):
        for s in servers:
            server, whole = STORES[s]("mailboxes", users=USERS, tls=tls), True
            try:
                if any(n.startswith("pop3-read") for n in names):
                    append(server, "pop%", mailstores.POP, POP_MESSAGES, POP_SIZE)
                if "mixed" in names:
                    append(server, "mix%", mailstores.MIXED, MIX_MESSAGES, 4096)
                for name in names:
                    try:
                        rates[name][s].append(measure_rate(server, name, RATES[name], args))
                    except (Missing, subprocess.TimeoutExpired) as e:
                        print("  %s: %s" % (name, e), flush=True)
                        whole = False  # who knows how much came
                there = kept(server, USERS) if whole else server.brought
                if there != server.brought:
                    raise SystemExit("mailbox.py: %s: of %d messages it kept %d" % (s, server.brought, there))
            finally:
                server.stop()
    for name in names:
        row, runs = RATES[name], rates[name]
        show(records, name, row[7], {s: middle(r, "rate") for s, r in runs.items()}, row[5], "best", row[6], 1)
        records[name]["runs"] = runs
        for s in servers:
            line = "      %-11s" % s
            for key, text in (("cpu", "%7.3f s CPU/1,000"), ("p50_us", "p50 %.0f us"), ("p95_us", "p95 %.0f us"), ("p99_us", "p99 %.0f us"), ("calls", "%.1f calls"), ("syncs", "%.2f syncs")):
                if middle(runs[s], key) is not None:
                    line += "  " + text % middle(runs[s], key)
            print(line, flush=True)
        if name == "mixed":
            show_commands(runs, servers)


def show_commands(runs, servers):
    """p50/p95/p99 of each kind of command."""
    kinds = [k for k in next((r["commands"] for s in servers for r in runs[s]), ())]
    for kind in kinds:
        cells = []
        for s in servers:
            values = [[r["commands"][kind][p] for r in runs[s] if kind in r["commands"]] for p in ("p50_us", "p95_us", "p99_us")]
            cells.append("%s %s" % (s, "/".join("%.0f" % statistics.median(v) if v else "-" for v in values)))
        print("      %-15s p50/p95/p99 us: %s" % (kind, "   ".join(cells)), flush=True)


# ---- a large folder ----

def make_folder(count, octets=0, new=False):
    """A Maildir's worth of files, made once, copied for each server; new: no session has seen them."""
    at = tempfile.mkdtemp(prefix="bench-folder-", dir="/var/tmp")
    peers.remove_later(at)
    line = b"The quick brown fox jumps over the lazy dog, again and again and again.\r\n"
    for i in range(count):
        head = ("Received: from a.test by b.test; Sat, 21 Nov 2026 12:00:00 +0000\r\nFrom: \"Sender %d\" <sender%d@else.test>\r\nTo: <user0@bench.test>, <list%d@bench.test>\r\n"
                "Date: Sat, %d Nov 2025 %02d:%02d:%02d +0000\r\nMessage-ID: <%d@else.test>\r\n%sSubject: %s number %d\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n") % (
            i % 100, i % 100, i % 7, 1 + i * 7 % 28, i // 3600 % 24, i // 60 % 60, i % 60, i, "References: <%d@else.test>\r\nIn-Reply-To: <%d@else.test>\r\n" % (i - 1, i - 1) if i % 5 else "",
            "needle" if i % 1000 == 7 else "a message", i)
        text = head.encode() + line * max((octets - len(head)) // len(line), 12) + (b"haystack\r\n" if i % 1000 == 9 else b"")
        path = "%s/%d.M%06dP77.bench.test,S=%d,W=%d%s" % (at, 1700000000 + i // 10, i, len(text), len(text), "" if new else ":2,S" if i % 3 else ":2,")
        with open(path, "wb") as f:
            f.write(text)
        os.utime(path, (1700000000 + i // 10, 1700000000 + i // 10))
    return at


def drop_caches():
    """Of the whole machine: nothing of any file is in memory any more."""
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as f:
        f.write("3\n")


def enter_cold(server, count, runs, cold, times):
    """SELECT without an index and the first ENVELOPE, more than once where the server can forget; leaves a session."""
    for again in range(min(runs, 3)):
        if again and not server.forget():
            break
        if cold:
            drop_caches()
        asker = Asker(server)
        times["select-cold"].append(asker.ask("SELECT INBOX")["ms"])
        if asker.count() != count:
            raise Missing("%s: not %d messages" % (server.name, count))
        times["fetch-envelope-first"].append(asker.ask(ENVELOPE)["ms"])
        asker.close()
        server.quiet()
    asker = Asker(server)
    asker.ask("SELECT INBOX")
    return asker


def ask_one(server, asker, name, command, count):
    """Milliseconds; the state before is made good afterwards where the command is repeated."""
    command = command.replace("T ", "%d " % (count // 10)) if name in ("copy", "move") else command.replace("N", str(count)) if name == "bodies" else command
    if name == "select":
        asker.ask("again")
    if name in ("copy", "move"):
        asker.ask("CREATE " + command.split()[-1], must=False)
    if name == "expunge":
        asker.ask("STORE 1:%d +FLAGS.SILENT (\\Deleted)" % (count // 2))
        server.quiet()
    cpu = server.cpu()
    answer = asker.ask(command)
    if name == "search-body":
        server.prepared()
    if name == "store":
        server.quiet()
        cpu = server.cpu() - cpu
        asker.ask(command.replace("+FLAGS", "-FLAGS"))
    else:
        server.quiet()
        cpu = server.cpu() - cpu
    server.quiet()
    return answer["ms"], cpu


def measure_folder(names, servers, args, tls, records):
    count = args.messages
    files, running, askers = make_folder(count, args.octets, args.new), {}, {}
    times = {s: {row[0]: [] for row in FOLDER} for s in servers}
    cpus = {s: {row[0]: [] for row in FOLDER} for s in servers}
    try:
        for s in servers:
            running[s] = STORES[s]("mailbox", tls=tls)
            running[s].fill(files)
        os.sync()
        time.sleep(2.5)  # so that the directories' times can be trusted
        for s in servers:
            askers[s] = enter_cold(running[s], count, 1 if args.new else args.runs, args.cold, times[s])
        for name, command, again, _, _, _ in FOLDER:
            if command is None or name not in names:
                continue
            for run in range(args.runs if again else 1):
                for s in servers:
                    try:
                        if run == 0 and name in FIRST:
                            askers[s].ask(FIRST[name])
                            running[s].quiet()
                        ms, cpu = ask_one(running[s], askers[s], name, command, count)
                        times[s][name].append(ms)
                        cpus[s][name].append(cpu * 1000)
                    except Missing as e:
                        print("  %s" % e, flush=True)
        for s in servers:
            left = askers[s].count()
            if "expunge" in names and left != count - count // 2 - (count // 10 if "move" in names else 0):
                print("  %s: %d messages are left" % (s, left), flush=True)
    finally:
        for server in running.values():
            server.stop()
    print("  one folder of %d messages of %d octets, one client; in brackets milliseconds of CPU, with what is done later:" % (count, args.octets))
    for name, _, _, goal, against, what in FOLDER:
        if name in names:
            show(records, name, what, {s: statistics.median(t[name]) if t[name] else None for s, t in times.items()}, goal, against, "ms", -1,
                 {s: statistics.median(c[name]) if c[name] else None for s, c in cpus.items()})
            records[name]["runs"] = {s: t[name] for s, t in times.items()}


# ---- how soon an idling client hears of a message ----

def measure_notice(servers, args, tls, records):
    values, whole = {}, {}
    for s in servers:
        server = STORES[s]("mailboxes", users=1, tls=tls)
        try:
            told(server, client(server, "notice", "-q", server.ports["lmtp"], "-t", "user%" + server.domain, "-n", 5))  # as before the rates: what a start leaves to be done is over then
            server.quiet(10)
            answer = told(server, client(server, "notice", "-q", server.ports["lmtp"], "-t", "user%" + server.domain, "-n", 20 if args.quick else 200))
            values[s], whole[s] = answer["p99_us"] / 1000, answer
        except Missing as e:
            print("  notice: %s" % e, flush=True)
        finally:
            server.stop()
    record = records["notice"] = {"values": whole}
    met = values.get("pillarpost", 1e9) < NOTICE_GOAL_MS
    record.update(goal=NOTICE_GOAL_MS, met=met)
    print("  from the answer to a delivery to EXISTS at an idling client, ms p50 (p99): %s; goal p99 < %.1f: %s" % (
        ", ".join("%s %.2f (%.2f)" % (s, a["p50_us"] / 1000, a["p99_us"] / 1000) for s, a in whole.items()), NOTICE_GOAL_MS, "met" if met else "MISSED"))
    print("    from the message's final dot: %s" % ", ".join("%s %.2f (%.2f)" % (s, a["whole"]["p50_us"] / 1000, a["whole"]["p99_us"] / 1000) for s, a in whole.items()), flush=True)


# ---- memory ----

def available():
    with open("/proc/meminfo") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("MemAvailable:"))


def idlers(server, sessions, users, options=()):
    process = client(server, "idle", "-s", sessions, "-U", users, *options)
    line = process.stdout.readline()
    if not line:
        raise Missing("%s: %s" % (server.name, process.stderr.read().strip()))
    return process


def idle_memory(s, args, tls, options, hibernate):
    """KiB of an idling connection: (proportional set of all processes, what the whole machine has less)"""
    server, process = STORES[s]("memory", users=args.idle, tls=tls, hibernate=hibernate), None
    try:
        idlers(server, 20, 20).communicate("")
        time.sleep(6)
        pss, free = server.pss(), available()
        process = idlers(server, args.idle, args.idle, options)
        if hibernate and s == "pillarpost":
            server.all_rest()
        time.sleep(8)
        return (server.pss() - pss) / args.idle, (free - available()) / args.idle
    finally:
        server.stop()  # before the clients: else each that rests would be woken to hear that its client has gone
        if process:
            process.communicate("", timeout=120)


def measure_idle(words, servers, args, tls, records):
    rows = (("idle", (), False, IDLE_GOAL_KIB, "an idling connection"), ("idle-tls", ("-T",), False, IDLE_GOAL_KIB, "an idling connection with TLS"),
            ("hibernated", (), True, HIBERNATED_GOAL_KIB, "an idling connection, hibernated"),
            ("hibernated-tls", ("-T",), True, HIBERNATED_GOAL_KIB, "an idling connection with TLS, hibernated"))
    for name, options, hibernate, goal, what in rows:
        values = {}
        if name not in words and "memory" not in words:
            continue
        for s in servers:
            if hibernate and s in ("mdbox", "cyrus"):
                continue
            try:
                values[s] = idle_memory(s, args, tls, options, hibernate)
            except (Missing, subprocess.SubprocessError) as e:
                print("  %s: %s" % (name, e), flush=True)
        ours = values.get("pillarpost", (1e9,))[0]
        records[name] = {"values": values, "goal": goal, "met": ours <= goal}
        print("  %-40s KiB, %d users: %s; goal %.0f: %s" % (what, args.idle, ", ".join("%s %.1f (machine %.1f)" % (s, v[0], v[1]) for s, v in values.items()), goal, "met" if ours <= goal else "MISSED"), flush=True)


def measure_wake(servers, args, tls, records):
    """How long hibernated users wait when all of them speak at once; also with how many more."""
    values = {}
    for s in servers:
        if s in ("mdbox", "cyrus"):
            continue
        values[s] = {}
        for users in (WAKE, WAKE * 4):
            server, process = STORES[s]("memory", users=users, tls=tls, hibernate=True), None
            try:
                process = idlers(server, users, users)
                if s == "pillarpost":
                    server.all_rest()
                time.sleep(8)
                process.stdin.write("wake\n")
                process.stdin.flush()
                line = process.stdout.readline()
                if not line:
                    raise Missing(process.stderr.read().strip())
                values[s][users] = json.loads(line)["ms"]
            except Missing as e:
                print("  wake: %s, %d users: %s" % (s, users, e), flush=True)
            finally:
                server.stop()
                if process:
                    process.communicate("", timeout=120)
    records["wake"] = {"values": values}
    for users in (WAKE, WAKE * 4):
        print("  %d hibernated users speak at once: until all are answered, ms: %s" % (
            users, ", ".join("%s %.0f" % (s, v[users]) for s, v in values.items() if users in v)), flush=True)


def measure_sessions(args, tls, records):
    """Further sessions of one user, and a large folder, in our process."""
    server = STORES["pillarpost"]("memory", users=20, tls=tls)
    try:
        first = idlers(server, 20, 20)
        time.sleep(3)
        one = server.pss()
        more = idlers(server, 180, 20)
        time.sleep(3)
        each = (server.pss() - one) / 180
        for p in (more, first):
            p.communicate("", timeout=60)
    finally:
        server.stop()
    server = STORES["pillarpost"]("mailbox", tls=tls)
    files = make_folder(args.messages)
    try:
        server.fill(files)
        asker = Asker(server)
        asker.ask("SELECT INBOX")
        asker.ask("again")
        server.end_sessions()
        asker = Asker(server)
        asker.ask("NOOP")
        before = server.pss()
        asker.ask("SELECT INBOX")
        grown = server.pss() - before
        asker.ask("FETCH 1:* (UID FLAGS)")
        fetched = server.pss() - before
    finally:
        server.stop()
    records["session"] = {"kib": each, "goal": SESSION_GOAL_KIB, "met": each <= SESSION_GOAL_KIB}
    records["open"] = {"kib": grown, "fetched": fetched, "goal": OPEN_GOAL_KIB, "met": grown <= OPEN_GOAL_KIB}
    print("  a user's second to tenth session: %.1f KiB each; goal %d: %s" % (each, SESSION_GOAL_KIB, "met" if each <= SESSION_GOAL_KIB else "MISSED"))
    print("  a folder of %d messages opens in %d KiB (%d once all flags were fetched); goal %d: %s" % (
        args.messages, grown, fetched, OPEN_GOAL_KIB, "met" if grown <= OPEN_GOAL_KIB else "MISSED"), flush=True)


# ---- the table ----

def middle(runs, key):
    values = [r[key] for r in runs if isinstance(r.get(key), (int, float))]
    return statistics.median(values) if values else None


def show(records, name, what, values, goal, against, unit, better, cpus=None):
    """A row: every server's figure, our ratio to the best of the others (or to one of them), the goal."""
    record = records[name] = {"what": what, "values": values, "unit": unit, "goal": goal, "against": against}
    others = {s: v for s, v in values.items() if s != "pillarpost" and v and (against == "best" or s == against)}
    ours = values.get("pillarpost")
    cells = "  ".join("%s %.1f%s" % (s, v, " (%.0f)" % cpus[s] if cpus and cpus.get(s) is not None else "") if v is not None else "%s -" % s for s, v in values.items())
    line = "  %-48s %s %s" % (what, cells, unit)
    if ours and others:
        best = max(others.values()) if better > 0 else min(others.values())
        ratio = ours / best if better > 0 else best / ours
        record.update(ratio=ratio, met=ratio >= goal)
        line += "   ratio %.2f, goal %.1f: %s" % (ratio, goal, "met" if ratio >= goal else "MISSED")
    print(line, flush=True)


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="one run of little: shows that it works, not how fast")
    parser.add_argument("--runs", type=int, default=int(os.environ.get("RUNS", 5)))
    parser.add_argument("--load", type=int, default=int(os.environ.get("LOAD", 2000)), help="messages, logins of a rate")
    parser.add_argument("--messages", type=int, default=int(os.environ.get("MESSAGES", os.environ.get("FOLDER", 100000))), help="in the large folder")
    parser.add_argument("--octets", type=int, default=11500, help="of each of them")
    parser.add_argument("--new", action="store_true", help="they lie in new/, as another program delivered them (a server that moves them does it once)")
    parser.add_argument("--cold", action="store_true", help="what is read without an index is not in memory (needs root; drops the caches of the whole machine)")
    parser.add_argument("--texts", type=int, default=int(os.environ.get("TEXTS", 10000)), help="in the folder that is searched for texts")
    parser.add_argument("--idle", type=int, default=int(os.environ.get("IDLE", 5000)), help="idling users")
    parser.add_argument("--only", default="rates,folder,texts,notice,memory")
    parser.add_argument("--servers", default=",".join(STORES))
    parser.add_argument("--json", metavar="FILE", help="everything measured, each run of it, as JSON")
    args = parser.parse_args()
    if args.quick:
        args.runs, args.load, args.messages, args.idle, args.texts = 1, 200, 1000, 50, 500
    return args


def main():
    args = arguments()
    servers, words = args.servers.split(","), args.only.split(",")
    versions = {s: STORES[s].version() for s in servers}
    print("%s; %d cores, load %.1f; %d runs, alternating" % (", ".join("%s %s" % v for v in versions.items()), os.cpu_count(), os.getloadavg()[0], args.runs), flush=True)
    tls, records = mailstores.make_certificate(), {}
    measure_rates([n for n in RATES if n in words or "rates" in words], servers, args, tls, records)
    rows = [r[0] for r in FOLDER if r[0] in words or "folder" in words]
    if rows:
        measure_folder(rows, servers, args, tls, records)
    if "texts" in words:
        texts.measure(Asker, show, STORES, servers, args, tls, records)
    if "notice" in words:
        measure_notice(servers, args, tls, records)
    measure_idle(words, servers, args, tls, records)
    if "memory" in words or "wake" in words:
        measure_wake(servers, args, tls, records)
    if "memory" in words or "session" in words:
        measure_sessions(args, tls, records)
    if args.json:
        with open(args.json, "w") as f:
            json.dump({"versions": versions, "cores": os.cpu_count(), "load": args.load, "messages": args.messages, "octets": args.octets, "idle": args.idle, "rows": records}, f, indent=1)
    print("\ngoals missed: %s" % (", ".join("%s (%s)" % (n, "%.2f of %.1f" % (r["ratio"], r["goal"]) if "ratio" in r else "no figure" if "values" in r and not r["values"] else "see above")
                                          for n, r in records.items() if not r.get("met", True)) or "none"))


if __name__ == "__main__":
    main()
