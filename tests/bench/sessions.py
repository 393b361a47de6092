# SPDX-License-Identifier: ISC
"""Rows of the bench that are about sessions and not about messages.

tls-*   EHLO, STARTTLS, a full handshake, EHLO, QUIT: sessions a second, CPU of all the server's processes for one, beside
        bench_handshake, which does the same handshake and nothing else (over TCP; in memory as information): suite and
        group are the client's, each server sends one ticket.
idle    10,000 sessions that have said EHLO: memory of one, and how long others wait for their greeting meanwhile;
        idle-tls with TLS on.  Ours alone: of the others a process a session, or a limit below, says enough.
"""
import json
import os
import random
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


def spread(values):
    """Their median, and the bounds of its 95 % interval (by drawing again from them)."""
    draw = random.Random(1)
    again = sorted(statistics.median(draw.choices(values, k=len(values))) for _ in range(1000))
    return statistics.median(values), again[25], again[974]


def make_certificate(kind):
    """A directory with key.pem and cert.pem."""
    at = tempfile.mkdtemp(prefix="bench-tls-", dir="/var/tmp")
    peers.remove_later(at)
    os.chmod(at, 0o755)
    algorithm = ["rsa:2048"] if kind == "rsa" else ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    subprocess.run(["openssl", "req", "-x509", "-newkey"] + algorithm + ["-nodes", "-days", "30", "-subj", "/CN=bench.test", "-keyout", at + "/key.pem", "-out", at + "/cert.pem"],
                   check=True, capture_output=True)
    return at


class Bare(peers.Server):
    """OpenSSL alone (bench_handshake), measured as every server is: in a control group of its own."""

    name, tools = "bare", None

    def start(self):
        self.dir = tempfile.mkdtemp(prefix="bench-bare-", dir=peers.ROOM)
        self.port = pillar.free_base() + 98
        self.claim = pillar.CLAIMS.pop()
        os.makedirs(self.dir + "/etc")
        self.run([self.tools + "/bench_handshake", "-p", str(self.port)] + self.files(self.tls), etc_upper=self.dir + "/etc")
        self.wait()

    @staticmethod
    def files(certificate):
        return ["-C", certificate + "/cert.pem", "-K", certificate + "/key.pem"]


class Tls:
    """A row of TLS sessions: rate, CPU a session.

    All servers run at once, each idle while another works, and take turns batch by batch, each of them being first in
    turn: the batches of a round share what the machine is like in that second, as in walls.py.  Several starts, since
    where programs come to lie in memory counts too.  The figures are medians over all rounds, of ratios within a round,
    with the bounds that hold them in 19 of 20 measurements.
    """

    ROUNDS = 8  # of batches, a start

    def __init__(self, tools, key, what, rate_goal, cpu_goal):
        self.tools, self.key, self.what, self.rate_goal, self.cpu_goal = tools, key, what, rate_goal, cpu_goal
        self.certificate, self.names = None, []

    def servers(self, servers):
        self.names = ["bare"] + [s for s in ("pillarpost", "postfix") if s in servers]
        return ["together"]

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

    def batch(self, server, count):
        cpu = server.cpu()
        told = self.load("handshake" if server.name == "bare" else "smtp-tls", server.port, count)
        return {"rate": count / told["seconds"], "cpu": (server.cpu() - cpu) / count, "p50_us": told["p50_us"], "p99_us": told["p99_us"]}

    def measure(self, name, args):
        """One start of all: {server: [batches]}."""
        Bare.tools = self.tools
        self.certificate = self.certificate or make_certificate(self.key)
        count = max(args.messages // 5, 100)
        servers, runs = {}, {name: [] for name in self.names}
        try:
            for name in self.names:
                servers[name] = (Bare if name == "bare" else peers.SERVERS[name])("accept", tls=self.certificate)
                self.batch(servers[name], 2 * count)
            time.sleep(0.3)
            for turn in range(self.ROUNDS):
                first = turn % len(self.names)
                for name in self.names[first:] + self.names[:first]:
                    runs[name].append(self.batch(servers[name], count))
        finally:
            for server in servers.values():
                server.stop()
        inside = json.loads(subprocess.run([self.tools + "/bench_handshake", "-n", str(count)] + Bare.files(self.certificate), capture_output=True, text=True, check=True).stdout)
        runs["inside"] = inside["cpu"] / count
        return runs

    def show(self, name, runs):
        runs = runs["together"]
        record = {"row": name, "what": self.what, "runs": runs, "goals": {}}
        print("\n%s: %s" % (name, self.what))
        if not runs:
            record["goals"]["rate"] = {"met": False}
            return record
        all_of = {s: [batch for run in runs for batch in run[s]] for s in self.names}
        record["medians"] = mid = {s: {k: median(b[k] for b in batches) for k in batches[0]} for s, batches in all_of.items()}
        for s, m in mid.items():
            print("  %-11s %8.1f sessions/s  %6.0f us CPU a session  p50 %6.0f us  p99 %7.0f us" % (s, m["rate"], m["cpu"] * 1e6, m["p50_us"], m["p99_us"]))
        print("  %.0f us of OpenSSL's for a handshake in memory, without sockets; %d rounds, %d starts" % (median(r["inside"] for r in runs) * 1e6, len(all_of["bare"]), len(runs)))
        if "pillarpost" in mid:
            self.compare(record, all_of)
        return record

    def compare(self, record, all_of):
        def ratios(of, other, key):
            return [a[key] / b[key] for a, b in zip(all_of[of], all_of[other])]

        if "postfix" in all_of:
            rate = spread(ratios("pillarpost", "postfix", "rate"))
            self.goal(record, "rate", self.rate_goal, rate[0], True, "times postfix's rate, 95 %%: %.2f to %.2f" % rate[1:])
            print("  CPU: 1/%.2f of postfix's" % spread(ratios("postfix", "pillarpost", "cpu"))[0])
        cpu = spread(ratios("pillarpost", "bare", "cpu"))
        self.goal(record, "CPU", self.cpu_goal, cpu[0], False, "times the bare handshake's CPU, 95 %%: %.2f to %.2f" % cpu[1:])

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
