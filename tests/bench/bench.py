#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Side by side with Debian's postfix, opensmtpd and exim4 on this machine, in one run, alternating.

    bench.py [--quick] [--runs 5] [--messages 5000] [--only ROW,...] [--servers NAME,...] [--json]

Every server has its documented throughput settings and its syncs (tests/bench/peers.py), the
same load client and sink (bench_load, bench_sink: cheap, so that the ratios tell of the
servers), a fresh queue for each run, and a warm-up that is not counted.  A figure is the median of its
runs.  Printed: messages (or MB) a second, CPU seconds of all the server's processes for
1,000 messages, system calls and syncs a message, memory of an open session, the ratios, and
whether the goal is met.  Needs root; all traffic stays on loopback.  ROOT as for the suite tests;
TOOLS is where bench_load and bench_sink were built.  The goals count on a quiet machine; on one that is
not, `chrt -r 1` before the command keeps others away for as long as it runs.  tests/bench/sessions.py has the rows
of TLS and of idle sessions.
"""
import argparse
import ctypes
import json
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import peers  # noqa: E402
import pillar  # noqa: E402
import sessions  # noqa: E402
import walls  # noqa: E402

TOOLS = os.environ.get("TOOLS", ".")


# name: kind, sessions, size, share of --messages, TLS, slow disk, goal against Postfix, goal for CPU, what it is
ROWS = {
    "accept": ("accept", 50, 4096, 2, False, None, 5, None, "accept only, 4 KiB, 50 sessions"),
    "accept-1": ("accept", 1, 4096, 0.5, False, None, 1.5, None, "accept only, 4 KiB, 1 session"),
    "accept-disk": ("accept", 50, 4096, 0.25, False, "slow_disk.so", 10, None, "accept only, 4 KiB, 50 sessions, a sync takes 5 ms, one at a time"),
    "accept-slow": ("accept", 50, 4096, 0.5, False, "slow_sync.so", None, None, "accept only, 4 KiB, 50 sessions, a sync takes 5 ms, any number at once"),
    "relay": ("relay", 50, 4096, 1, False, None, 5, 5, "relay end to end, 4 KiB, 50 sessions"),
    "relay-1M": ("relay", 50, 1 << 20, 0.08, False, None, 3, None, "relay end to end, 1 MiB, 50 sessions (MB/s)"),
    "relay-tls": ("relay", 50, 4096, 0.5, True, None, 4, None, "relay end to end, 4 KiB, 50 sessions, TLS on both sides, 10 messages a connection"),
    "relay-tls-new": ("relay", 50, 4096, 0.5, True, None, None, None, "the same, a message a connection: each pays a handshake, which costs the load client as much"),
    "relay-sandbox": walls.Walls(("relay", 50, 4096, 1, False, None, None, None, "relay end to end, 4 KiB, 50 sessions, with seccomp and Landlock and without"), TOOLS, globals()),
    "local": ("local", 50, 4096, 0.5, False, None, None, None, "delivery to one Maildir, 4 KiB, 50 sessions"),
    "memory": None,
    **sessions.rows(TOOLS),  # tls-ecdsa, tls-rsa, idle, idle-tls
}
KEPT_OPEN = 200


class Failed(Exception):
    pass


def load(server, row, count, args, protocol="smtp", more=()):
    kind, sessions, size = row[:3]
    to = server.address if kind == "local" else "someone@elsewhere.test"
    command = [TOOLS + "/bench_load", protocol, "-p", str(server.port), "-s", str(sessions), "-m", str(count), "-c", str(10 if row[8].endswith("10 messages a connection") else args.per_connection), "-l", str(size), "-t", to]
    command += (["-P"] if args.pipeline else []) + (["-T"] if row[4] else []) + server.load_options + list(more)
    r = subprocess.run(command, capture_output=True, text=True, timeout=900)
    if r.returncode:
        raise Failed("%s: %s" % (server.name, r.stderr.strip()))
    return json.loads(r.stdout)


def start_sink(port, marks, tls):
    command = [TOOLS + "/bench_sink", "-p", str(port)] + [x for m in marks for x in ("-m", str(m))] + (["-C", tls + "/cert.pem", "-K", tls + "/key.pem"] if tls else [])
    sink = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    pillar.wait_for(lambda: peers.can_connect(port), 10, "bench_sink")
    return sink


def await_all(server, row, sink, total):
    if row[0] == "relay":
        if not sink.stdout.readline():
            raise Failed("%s: the sink ended" % server.name)
    elif row[0] == "local":
        end = time.monotonic() + 300
        while server.mailbox_count() < total:
            if time.monotonic() > end:
                raise Failed("%s: %d of %d delivered" % (server.name, server.mailbox_count(), total))
            time.sleep(0.02)


def measure(row, cls, args, tls):
    """One run: {rate, cpu, p50, p99, calls, syncs}."""
    count = max(int(args.messages * row[3]), row[1])
    warm = max(count // 5, row[1])
    sink_port = pillar.free_base() + 99
    claim = pillar.CLAIMS.pop()
    sink = start_sink(sink_port, (warm, warm + count), tls if row[4] else None) if row[0] == "relay" else None
    if row[5]:
        peers.SLOW_SYNC = peers.preloadable(TOOLS + "/" + row[5])
        ctypes.CDLL(peers.SLOW_SYNC).slow_sync_prepare()
    server = None
    try:
        server = cls(row[0], sink_port, tls if row[4] else None)
        load(server, row, warm, args)
        await_all(server, row, sink, warm)
        time.sleep(0.3)
        counter = server.count_calls()
        time.sleep(0.1)
        cpu, begun = server.cpu(), time.monotonic()
        told = load(server, row, count, args)
        await_all(server, row, sink, warm + count)
        took = time.monotonic() - begun
        cpu = server.cpu() - cpu
        counted = server.counted(counter)
    finally:
        peers.SLOW_SYNC = None
        if sink and sink.poll() is None:
            sink.kill()
        if server:
            server.stop()
        claim.close()
    rate = count / took * (row[2] / 1e6 if row[2] > 100000 else 1)
    return {"rate": rate, "cpu": cpu * 1000 / count, "p50_us": told["p50_us"], "p99_us": told["p99_us"],
            "calls": counted and counted[0] / count, "syncs": counted and counted[1] / count}


def measure_memory(cls):
    """KiB of an open session that has said EHLO."""
    server = cls("accept")
    try:
        open_sessions, before = [], server.pss()
        for _ in range(KEPT_OPEN):
            d = pillar.Dialogue(("127.0.0.1", server.port))
            d.reply()
            d.ask("EHLO idle.test")
            open_sessions.append(d)
        time.sleep(1)
        return {"kib": (server.pss() - before) / KEPT_OPEN}
    finally:
        server.stop()


def median(runs, key):
    values = [r[key] for r in runs if r.get(key) is not None]
    return statistics.median(values) if values else None


def show_row(name, row, runs, servers):
    """The row's record, printed as a block of the table."""
    mid = {s: {k: median(runs[s], k) for k in runs[s][0]} for s in servers if runs[s]}
    record = {"row": name, "what": row[8], "medians": mid, "runs": runs}
    print("\n%s: %s" % (name, row[8]))
    ours, theirs = mid.get("pillarpost"), mid.get("postfix")
    for s, m in mid.items():
        line = "  %-11s %9.1f %s  %7.3f s CPU/1,000  p50 %7.0f us  p99 %8.0f us" % (s, m["rate"], "MB/s " if row[2] > 100000 else "msg/s", m["cpu"], m["p50_us"], m["p99_us"])
        if m["calls"] is not None:
            line += "  %6.1f calls  %5.2f syncs" % (m["calls"], m["syncs"])
        if ours and s != "pillarpost":
            line += "   we: %.2f x, CPU 1/%.1f" % (ours["rate"] / m["rate"], m["cpu"] / max(ours["cpu"], 1e-6))
        print(line)
    if ours and theirs:
        record["ratio"], record["cpu_ratio"] = ours["rate"] / theirs["rate"], theirs["cpu"] / max(ours["cpu"], 1e-6)
        for what, goal, got in (("rate", row[6], record["ratio"]), ("CPU", row[7], record["cpu_ratio"])):
            if goal:
                record.setdefault("goals", {})[what] = {"goal": goal, "got": got, "met": got >= goal}
                print("  %s goal %s %.2f: %s" % (what, "met, " if got >= goal else "MISSED,", got, "%s times postfix" % goal))
    sys.stdout.flush()
    return record


def show_memory(runs, servers):
    mid = {s: median(runs[s], "kib") for s in servers if runs[s]}
    print("\nmemory: KiB of an open session (proportional set, all processes): %s" % ", ".join("%s %.1f" % (s, m) for s, m in mid.items()), flush=True)
    return {"row": "memory", "medians": mid}


def measure_one(name, server, args, tls):
    row = ROWS[name]
    if row is None:
        return measure_memory(peers.SERVERS[server])
    return measure(row, peers.SERVERS[server], args, tls) if isinstance(row, tuple) else row.measure(server, args)


def show_one(name, runs, servers):
    row = ROWS[name]
    if row is None:
        return show_memory(runs, servers)
    return show_row(name, row, runs, servers) if isinstance(row, tuple) else row.show(name, runs)


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="one run of a few messages: shows that it works, not how fast")
    parser.add_argument("--runs", type=int, default=int(os.environ.get("RUNS", 5)))
    parser.add_argument("--messages", type=int, default=int(os.environ.get("MESSAGES", 5000)))
    parser.add_argument("--per-connection", type=int, default=1, help="messages on a connection")
    parser.add_argument("--pipeline", action="store_true", help="the load client sends envelope and DATA at once")
    parser.add_argument("--only", default=",".join(ROWS))
    parser.add_argument("--servers", default=",".join(peers.SERVERS))
    parser.add_argument("--json", metavar="FILE", help="everything measured, each run of it, as JSON")
    args = parser.parse_args()
    if args.quick:
        args.runs, args.messages = 1, 600
    return args


def main():
    args = arguments()
    servers = args.servers.split(",")
    versions = {s: peers.SERVERS[s].version() for s in servers}
    print("%s; %d cores, load %.1f; %d runs, alternating; %s message%s a connection" % (
        ", ".join("%s %s" % v for v in versions.items()), os.cpu_count(), os.getloadavg()[0], args.runs, args.per_connection, "" if args.per_connection == 1 else "s"), flush=True)
    tls = sessions.make_certificate("ec")
    records = []
    for name in args.only.split(","):
        taking_part = servers if ROWS[name] is None or isinstance(ROWS[name], tuple) else ROWS[name].servers(servers)
        runs = {s: [] for s in taking_part}
        for _ in range(args.runs):
            for s in taking_part:
                try:
                    runs[s].append(measure_one(name, s, args, tls))
                except (Failed, AssertionError, RuntimeError, subprocess.TimeoutExpired) as e:
                    print("  %s: %s: no figure: %s" % (name, s, e), flush=True)
        records.append(show_one(name, runs, servers))
    if args.json:
        with open(args.json, "w") as f:
            json.dump({"versions": versions, "cores": os.cpu_count(), "messages": args.messages, "per_connection": args.per_connection, "rows": records}, f, indent=1)
    missed = [r["row"] for r in records if not all(g["met"] for g in r.get("goals", {}).values())]
    print("\ngoals missed: %s" % (", ".join(missed) or "none"))


main()
