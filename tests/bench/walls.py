# SPDX-License-Identifier: ISC
"""What seccomp and Landlock cost: our server with them beside our server without (no_walls.c).

A machine's speed drifts by more in a minute than the walls cost.  So both run at once, each idle while the other
works, and take turns batch by batch, the first of a pair being now the one and now the other: the two batches of a
pair share what the machine is like in that half second.  Several starts, since where programs come to lie in memory
counts too, and now the one, now the other is started first: the first is 2 to 3 % slower for as long as it lives.
The figure is the mean of the middle half of all pairs, with the bounds that hold it in 19 of 20 measurements.
System calls are not counted meanwhile: their tracepoint sends every call the way that a filter sends it.
WALLS_TWICE=1 measures the noise: the same server, with its walls, twice.
"""
import os
import random
import statistics
import time

import peers
import pillar


def middle_half(values):
    values = sorted(values)
    return statistics.mean(values[len(values) // 4:len(values) - len(values) // 4])


def figure(values):
    """The mean of their middle half, and the bounds of its 95 % interval (by drawing again from them)."""
    draw = random.Random(1)
    again = sorted(middle_half(draw.choices(values, k=len(values))) for _ in range(1000))
    return middle_half(values), again[25], again[974]


class Walls:
    MAY_COST = 3  # %
    PAIRS = 8     # of batches, a start

    def __init__(self, row, tools, bench):
        """bench has load, start_sink and await_all, as bench.py's other rows use them."""
        self.row, self.tools, self.bench = row, tools, bench

    @staticmethod
    def servers(servers):
        return ["walls"]

    def batch(self, server, sink, count, args):
        cpu, begun = server.cpu(), time.monotonic()
        self.bench["load"](server, self.row, count, args)
        self.bench["await_all"](server, self.row, sink, None)
        return {"rate": count / (time.monotonic() - begun), "cpu": (server.cpu() - cpu) * 1000 / count}

    def measure(self, name, args):
        """Two starts, each of both: {with: [batches], without: [batches]}."""
        peers.NO_WALLS = peers.preloadable(self.tools + "/no_walls.so")
        runs = {"with": [], "without": []}
        for order in (("with", "without"), ("without", "with")):
            self.measure_start(order, runs, max(int(args.messages / 5), self.row[1]), args)
        return runs

    def measure_start(self, order, runs, count, args):
        port = pillar.free_base() + 99
        claim = pillar.CLAIMS.pop()
        sink = self.bench["start_sink"](port, [count * (i + 1) for i in range(2 * self.PAIRS + 2)], None)
        kinds = {"with": peers.Pillarpost, "without": peers.Pillarpost if os.environ.get("WALLS_TWICE") else peers.NoWalls}
        servers = {}
        try:
            for which in order:
                servers[which] = kinds[which](self.row[0], port)
                self.batch(servers[which], sink, count, args)
            time.sleep(0.3)
            for pair in range(self.PAIRS):
                for which in sorted(order, reverse=pair % 2 == 1):
                    runs[which].append(self.batch(servers[which], sink, count, args))
        finally:
            if sink.poll() is None:
                sink.kill()
            sink.wait()
            for server in servers.values():
                server.stop()
            claim.close()

    def show(self, name, runs):
        runs = runs["walls"]
        both = {which: [batch for run in runs for batch in run[which]] for which in ("with", "without")}
        record = {"row": name, "what": self.row[8], "runs": runs}
        print("\n%s: %s" % (name, self.row[8]))
        if not runs:
            return record
        for which, batches in both.items():
            print("  %-8s %9.1f msg/s  %7.3f s CPU/1,000" % (which, *(statistics.median(b[k] for b in batches) for k in ("rate", "cpu"))))
        pairs = list(zip(both["with"], both["without"]))
        rate = [(1 - x) * 100 for x in figure([a["rate"] / b["rate"] for a, b in pairs])]
        cpu = [(x - 1) * 100 for x in figure([a["cpu"] / b["cpu"] for a, b in pairs])]
        met = max(rate[0], cpu[0]) <= self.MAY_COST
        record.update(walls_cost_percent={"rate": rate, "cpu": cpu}, goals={"walls": {"goal": self.MAY_COST, "got": max(rate[0], cpu[0]), "met": met}})
        print("  the walls cost %.1f %% (%.1f to %.1f) of the messages a second and %.1f %% (%.1f to %.1f) CPU, %d pairs of batches; goal %s, at most %d %% of each" % (
            rate[0], rate[2], rate[1], cpu[0], cpu[1], cpu[2], len(pairs), "met" if met else "MISSED", self.MAY_COST), flush=True)
        return record
