#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""mailctl limits: every bound that a process counts, its use, its peak, and
the last one who reached it."""
import json
import re
import socket
import ssl

from pillar import TOP, Dialogue, Instance, expect, has, main, wait_for

with open(TOP + "/common/sys/limits.def") as table:
    ROWS = set(re.findall(r"^LIMIT\((\w+),", table.read(), re.M))
suite = Instance(extra="daemon_processes = 1\nsmtpd_client_connection_count_limit = 3\n", users=("bob",))


def limits(name):
    return [r for r in map(json.loads, suite.mailctl("limits", "--json").stdout.splitlines()) if r["limit"] == name]


def counters():
    rows = [json.loads(line) for line in suite.mailctl("status", "--counters", "--json").stdout.splitlines()]
    return {(r["process"], r["instance"]): dict(word.split("=") for word in r["text"].split()) for r in rows}


def test_each_process_tells_what_it_counts():
    before = counters()
    expect(sorted(before), sorted((name, instance) for name, instance, _ in suite.processes()))
    with suite.smtp() as smtp:
        smtp.sendmail("ann@example.net", ["bob@example.test"], "Subject: one\r\n\r\none\r\n")
    suite.wait_mail(1)
    wait_for(lambda: int(counters()["queued", 0]["delivered"]) == int(before["queued", 0]["delivered"]) + 1, 20, "the delivery to be counted")
    expect(int(counters()["queued", 0]["accepted"]), int(before["queued", 0]["accepted"]) + 1)
    has(suite.mailctl("status", "--counters").stdout, "queued            0  messages=0 ")


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


def hellos(port, n):
    """So many handshakes begun at once; how many came to an end."""
    open_ones = []
    for _ in range(n):
        s = socket.create_connection(("127.0.0.1", port), timeout=30)
        there, here = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(there, here, server_hostname="127.0.0.1")
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            s.sendall(here.read())
        open_ones.append((s, there, tls))
    return sum(ended(*one) for one in open_ones)


def ended(s, there, tls):
    try:
        while True:
            there.write(s.recv(65536) or bytes(0))
            if there.pending == 0:
                return False
            try:
                tls.do_handshake()
                return True
            except ssl.SSLWantReadError:
                continue
    except (OSError, ssl.SSLError):
        return False
    finally:
        s.close()


def test_keyd_signs_so_often_a_second_for_one_process():
    global suite, context
    suite.stop()
    suite = Instance(extra="daemon_processes = 1\ntls_signature_rate_limit = 1\n", users=())
    context = suite.context()
    row, = limits("tls_signature_rate_limit")
    expect((row["program"], row["bound"], row["hits"]), ("keyd", 1, 0))

    def too_many():
        hellos(suite.port("IMAPS"), 6)
        return limits("tls_signature_rate_limit")[0]["hits"] > 0
    wait_for(too_many, 60, "more than one in one second")
    expect(limits("tls_signature_rate_limit")[0]["who"], "imapd/0")
    has(suite.wait_log(" keyd[", " limit "), "tls_signature_rate_limit=1 front=imapd/0")
    wait_for(lambda: hellos(suite.port("IMAPS"), 1) == 1, 60, "the next second")


main(globals())
