# SPDX-License-Identifier: ISC
"""Searches for texts in a folder of words as a language has them, for mailbox.py: without an index in
each server, then with ours, which is measured against what Xapian took for the same (issue 5)."""
import json
import os
import random
import statistics
import tempfile
import time

import peers

SEARCH, RARE = 'SEARCH BODY "haystack"', 1000
WITH_INDEX = (SEARCH, 'SEARCH TEXT "not there"', 'SEARCH BODY "hay"')
INDEXED_GOAL_MS, PACE_GOAL, SHARE_GOAL = 100, 10, 0.5
XAPIAN_MB_S = 115 / 602  # Dovecot with Xapian: 602 s for 10,000 messages of 115 MB


def make_texts(count):
    """A Maildir's worth of files of 11 KiB: few words that are everywhere, many that are rare."""
    at = tempfile.mkdtemp(prefix="bench-texts-", dir="/var/tmp")
    peers.remove_later(at)
    dice = random.Random(5)
    parts = ("st", "r", "th", "n", "l", "tr", "m", "ch", "p", "d", "s", "br", "c", "f", "g", "w", "v", "b"), ("a", "e", "i", "o", "u", "ea", "ou", "io"), ("", "n", "r", "ng", "s", "t", "l", "ck", "rd")
    words = ["".join(dice.choice(p) for _ in range(1 + i * 3 // 20000 + dice.randrange(2)) for p in parts) for i in range(20000)]
    weights, total = [], 0
    for i in range(len(words)):
        total += 1 / (i + 3)
        weights.append(total)
    for i in range(count):
        head = ("Received: from a.test by b.test with ESMTPS id %032x; Sat, 21 Nov 2026 12:00:00 +0000\r\nFrom: Sender <sender%d@else.test>\r\nTo: <user0@bench.test>\r\n"
                "Date: Sat, 21 Nov 2025 10:00:00 +0000\r\nMessage-ID: <%032x@else.test>\r\nSubject: %s\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n") % (
            dice.getrandbits(128), i % 100, dice.getrandbits(128), " ".join(dice.choices(words, cum_weights=weights, k=5)))
        body = dice.choices(words, cum_weights=weights, k=1700)
        if i % RARE == 9:
            body[dice.randrange(1700)] = "haystack"
        text = head + "\r\n".join(" ".join(body[k:k + 11]) for k in range(0, 1700, 11)) + "\r\n"
        with open("%s/%d.M%06dP77.bench.test,S=%d,W=%d:2,S" % (at, 1700000000 + i // 10, i, len(text), len(text)), "w", newline="") as f:
            f.write(text)
    return at


def ask(asker, command, hits=None):
    answer = asker.ask(command)
    if hits is not None and len(answer["untagged"].split()) != 2 + hits:
        raise RuntimeError("%s: %s found %s" % (asker.server.name, command, answer["untagged"]))
    return answer["ms"]


def make_index(server, count):
    """After the first search: (seconds until it is whole, its share of the mail's size)"""
    begun = time.monotonic()
    while True:
        told = json.loads(server.instance.mailctl("mailbox", "stat", "user0@example.test", "INBOX", "--json").stdout)
        took = time.monotonic() - begun
        if told["search_messages"] == count:
            return took, told["search_size"] / told["size"]
        if took > 600:
            raise RuntimeError("no search index: %s" % told)
        time.sleep(0.05)


def measure(asker_of, show, stores, servers, args, tls, records):
    count, hits = args.texts, len(range(9, args.texts, RARE))
    files, plain, index, times = make_texts(count), {}, None, []
    size = sum(e.stat().st_size for e in os.scandir(files)) / 1e6
    for s in servers:
        server = stores[s]("mailbox", tls=tls)
        try:
            server.fill(files)
            asker = asker_of(server)
            asker.ask("SELECT INBOX")
            plain[s] = ask(asker, SEARCH, hits)
            if s == "pillarpost":
                index = make_index(server, count)
                times = [ask(asker, command) for _ in range(args.runs) for command in WITH_INDEX]
                ask(asker, SEARCH, hits)
        finally:
            server.stop()
    print("  one folder of %d messages, %.0f MB of words:" % (count, size))
    show(records, "texts", "SEARCH BODY, no index", plain, 4, "best", "ms", -1)
    if not index:
        return
    middle, pace, share = statistics.median(times), size / index[0], index[1]
    for name, what, value, goal, met in (
            ("texts-indexed", "SEARCH for a text with the index, ms (slowest %.1f)" % max(times), middle, INDEXED_GOAL_MS, middle < INDEXED_GOAL_MS),
            ("texts-pace", "the index made, MB/s", pace, PACE_GOAL * XAPIAN_MB_S, pace >= PACE_GOAL * XAPIAN_MB_S),
            ("texts-share", "its size, share of the mail's", share, SHARE_GOAL, share <= SHARE_GOAL)):
        records[name] = {"ours": value, "goal": goal, "met": met, "runs": times if name == "texts-indexed" else index}
        print("  %-48s %.2f; goal %.2f: %s" % (what, value, goal, "met" if met else "MISSED"), flush=True)
