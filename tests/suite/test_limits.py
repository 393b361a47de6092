#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""mailctl limits: every bound that a process counts, its use, its peak, and
the last one who reached it."""
import json
import re

from pillar import TOP, Dialogue, Instance, expect, has, main, wait_for

with open(TOP + "/common/sys/limits.def") as table:
    ROWS = set(re.findall(r"^LIMIT\((\w+),", table.read(), re.M))
suite = Instance(extra="daemon_processes = 1\nsmtpd_client_connection_count_limit = 3\n", users=("bob",))


def limits(name):
    return [r for r in map(json.loads, suite.mailctl("limits", "--json").stdout.splitlines()) if r["limit"] == name]


def test_each_row_is_of_the_table_and_says_how_much_may_be():
    rows = [json.loads(line) for line in suite.mailctl("limits", "--json").stdout.splitlines()]
    assert rows and {r["limit"] for r in rows} <= ROWS, rows
    for r in rows:
        assert r["bound"] > 0 and r["use"] <= r["peak"], r
    assert {r["program"] for r in rows} >= {"smtpd", "queued", "routed", "authd", "keyd", "userd"}, "channels are counted in all"


def test_use_and_peak_follow_the_sessions():
    open_ones = [Dialogue(("127.0.0.1", suite.port("SMTP"))) for _ in range(2)]
    for s in open_ones:
        s.reply()
    row, = limits("smtpd_session_limit")
    expect((row["program"], row["use"]), ("smtpd", 2))
    for s in open_ones:
        s.close()
    wait_for(lambda: limits("smtpd_session_limit")[0]["use"] == 0, 20, "their end")
    assert limits("smtpd_session_limit")[0]["peak"] >= 2


def test_use_falls_when_a_login_is_done():
    suite.imap().logout()
    for name in ("auth_checks", "tickets"):
        row, = limits(name)
        expect((row["use"], row["peak"] >= 1), (0, True))


def test_who_reaches_a_limit_is_named():
    expect([r["hits"] for r in limits("smtpd_client_connection_count_limit")], [0])
    open_ones = [Dialogue(("127.0.0.1", suite.port("SMTP"))) for _ in range(4)]
    replies = sorted(s.reply()[:3] for s in open_ones)
    expect(replies, ["220", "220", "220", "421"])
    row, = limits("smtpd_client_connection_count_limit")
    expect((row["bound"], row["peak"], row["hits"]), (3, 3, 1))
    has(row["who"], "127.0.0.1")
    has(suite.mailctl("limits").stdout, "1 times, last at ")
    for s in open_ones:
        s.close()


main(globals())
