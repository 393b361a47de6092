# SPDX-License-Identifier: ISC
"""Rows of the bench that are about sessions and not about messages.

tls-*   EHLO, STARTTLS, a full handshake, EHLO, QUIT: sessions a second, CPU of all the server's processes for one, beside
        bench_handshake, which does the same handshake and nothing else (over TCP; in memory as information).
idle    10,000 sessions that have said EHLO: memory of one, and how long others wait for their greeting meanwhile;
        idle-tls with TLS on.  Ours alone: of the others a process a session, or a limit below, says enough.
"""
import json
import os
import statistics
import subprocess
import tempfile
import time

import peers
import pillar

IDLE_LIMITS = "smtpd_session_limit = 10000\n"


def median(values):
    values = [v for v in values if v is not None]
    return statistics.median(values) if values else None


def make_certificate(kind):
    """A directory with key.pem and cert.pem."""
    at = tempfile.mkdtemp(prefix="bench-tls-", dir="/var/tmp")
    peers.remove_later(at)
    os.chmod(at, 0o755)
    algorithm = ["rsa:2048"] if kind == "rsa" else ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    subprocess.run(["openssl", "req", "-x509", "-newkey"] + algorithm + ["-nodes", "-days", "30", "-subj", "/CN=bench.test", "-keyout", at + "/key.pem", "-out", at + "/cert.pem"],
                   check=True, capture_output=True)
    return at


class Bare:
    """OpenSSL alone, measured like a server."""

    name = "bare"

    @staticmethod
    def version():
        return subprocess.run(["openssl", "version"], capture_output=True, text=True).stdout.split()[1]


class Tls:
    """A row of TLS sessions: rate, CPU a session."""

    def __init__(self, tools, key, what, rate_goal, cpu_goal):
        self.tools, self.key, self.what, self.rate_goal, self.cpu_goal = tools, key, what, rate_goal, cpu_goal
        self.certificate = None

    def servers(self, servers):
        return ["bare"] + [s for s in servers if s in ("pillarpost", "postfix")]

    def load(self, protocol, port, count, sessions=20):
        """A load client a core: one alone cannot keep a server busy that does half of each handshake."""
        clients = os.cpu_count()
        share = [count // clients + (i < count % clients) for i in range(clients)]
        begun = time.monotonic()
        all_clients = [subprocess.Popen([self.tools + "/bench_load", protocol, "-p", str(port), "-s", str(min(n, sessions)), "-m", str(n)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                       for n in share if n]
        told = []
        for p in all_clients:
            out, err = p.communicate(timeout=600)
            if p.returncode:
                raise RuntimeError(err.strip())
            told.append(json.loads(out))
        return {"seconds": time.monotonic() - begun, "p50_us": median(t["p50_us"] for t in told), "p99_us": max(t["p99_us"] for t in told)}

    def bare(self, warm, count):
        files = ["-C", self.certificate + "/cert.pem", "-K", self.certificate + "/key.pem"]
        port = pillar.free_base() + 98
        claim = pillar.CLAIMS.pop()
        # the connection that shows that it listens is none of those counted
        p = subprocess.Popen([self.tools + "/bench_handshake", "-p", str(port), "-m", str(warm), "-m", str(warm + count)] + files, stdout=subprocess.PIPE, text=True)
        try:
            pillar.wait_for(lambda: peers.can_connect(port), 10, "bench_handshake")
            self.load("handshake", port, warm)
            before = json.loads(p.stdout.readline())
            told = self.load("handshake", port, count)
            after = json.loads(p.stdout.readline())
        finally:
            p.kill()
            p.wait()
            claim.close()
        inside = json.loads(subprocess.run([self.tools + "/bench_handshake", "-n", str(count)] + files, capture_output=True, text=True, check=True).stdout)
        return {"rate": count / told["seconds"], "cpu": (after["cpu"] - before["cpu"]) / count, "inside": inside["cpu"] / count, "p50_us": told["p50_us"], "p99_us": told["p99_us"]}

    def measure(self, name, args):
        self.certificate = self.certificate or make_certificate(self.key)
        count = max(args.messages // 2, 200)
        warm = count // 5
        if name == "bare":
            return self.bare(warm, count)
        server = peers.SERVERS[name]("accept", tls=self.certificate)
        try:
            self.load("smtp-tls", server.port, warm)
            cpu = server.cpu()
            told = self.load("smtp-tls", server.port, count)
            return {"rate": count / told["seconds"], "cpu": (server.cpu() - cpu) / count, "inside": None, "p50_us": told["p50_us"], "p99_us": told["p99_us"]}
        finally:
            server.stop()

    def show(self, name, runs):
        mid = {s: {k: median(r[k] for r in runs[s]) for k in runs[s][0]} for s in runs if runs[s]}
        record = {"row": name, "what": self.what, "medians": mid, "runs": runs, "goals": {}}
        print("\n%s: %s" % (name, self.what))
        for s, m in mid.items():
            print("  %-11s %8.1f sessions/s  %6.0f us CPU a session  p50 %6.0f us  p99 %7.0f us%s" % (
                s, m["rate"], m["cpu"] * 1e6, m["p50_us"], m["p99_us"], "   (%.0f us in memory, without sockets)" % (m["inside"] * 1e6) if m["inside"] else ""))
        ours = mid.get("pillarpost")
        if ours and "postfix" in mid:
            self.goal(record, "rate", self.rate_goal, ours["rate"] / mid["postfix"]["rate"], True, "times postfix's rate")
            print("  CPU: 1/%.2f of postfix's" % (mid["postfix"]["cpu"] / ours["cpu"]))
        if ours and "bare" in mid:
            # of the same round, as what else the machine does comes and goes
            self.goal(record, "CPU", self.cpu_goal, median(a["cpu"] / b["cpu"] for a, b in zip(runs["pillarpost"], runs["bare"])), False, "times the bare handshake's CPU")
        return record

    @staticmethod
    def goal(record, what, goal, got, more, words):
        met = got >= goal if more else got <= goal
        record["goals"][what] = {"goal": goal, "got": got, "met": met}
        print("  %s goal %s %.2f %s (%s %s)" % (what, "met, " if met else "MISSED,", got, words, "at least" if more else "at most", goal), flush=True)


class Idle:
    """Sessions that are open and silent: KiB of one, greetings beside them."""

    def __init__(self, tools, tls, what, kib_goal):
        self.tools, self.tls, self.what, self.kib_goal = tools, tls, what, kib_goal
        self.certificate = None

    def servers(self, servers):
        return ["pillarpost"]

    def measure(self, name, args):
        count, greetings = (1000, 100) if args.quick else (10000, 500)
        if self.tls:
            self.certificate = self.certificate or make_certificate("ec")
        server = peers.Pillarpost("accept", tls=self.certificate, more=IDLE_LIMITS)
        client = None
        try:
            before = server.pss()
            client = subprocess.Popen([self.tools + "/bench_idle", "-p", str(server.port), "-n", str(count)] + (["-T"] if self.tls else []),
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            opened = json.loads(client.stdout.readline())
            if opened["open"] != count:
                raise RuntimeError("%d of %d sessions are open" % (opened["open"], count))
            cpu = server.cpu()
            kib = (server.pss() - before) / count
            greeted = self.tell(client, "greet %d" % greetings)
            alive = self.tell(client, "alive")
            if alive["alive"] != count:
                raise RuntimeError("%d of %d sessions answer" % (alive["alive"], count))
            return {"kib": kib, "open": count, "seconds": opened["seconds"], "cpu": server.cpu() - cpu, **greeted}
        finally:
            if client:
                client.kill()
                client.wait()
            server.stop()

    @staticmethod
    def tell(client, what):
        client.stdin.write(what + "\n")
        client.stdin.flush()
        return json.loads(client.stdout.readline())

    def show(self, name, runs):
        runs = runs["pillarpost"]
        if not runs:
            return {"row": name, "goals": {"open": {"met": False}}}
        mid = {k: median(r[k] for r in runs) for k in runs[0]}
        record = {"row": name, "what": self.what, "medians": mid, "runs": runs, "goals": {}}
        print("\n%s: %s" % (name, self.what))
        print("  %d open after %.1f s, each answers; %.1f KiB a session (proportional set, all processes)" % (mid["open"], mid["seconds"], mid["kib"]))
        print("  greetings beside them: p50 %.0f us, p99 %.0f us, worst %.0f us" % (mid["p50_us"], mid["p99_us"], max(r["max_us"] for r in runs)))
        if self.kib_goal:
            Tls.goal(record, "memory", self.kib_goal, mid["kib"], False, "KiB")
        Tls.goal(record, "greeting", 100, max(r["p99_us"] for r in runs) / 1000, False, "ms, the worst p99")
        return record


def rows(tools):
    return {
        "tls-ecdsa": Tls(tools, "ec", "TLS sessions (EHLO, STARTTLS, full handshake, EHLO, QUIT), ECDSA P-256, 20 at once a core", 1.5, 1.25),
        "tls-rsa": Tls(tools, "rsa", "the same, RSA 2048", 1.5, 1.25),
        "idle": Idle(tools, False, "10,000 idle sessions that have said EHLO", 16),
        "idle-tls": Idle(tools, True, "the same within TLS", None),
    }
