#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Tickets of authd in the hands of an attacker who has taken a front over and knows one user's password: each lets
in once, as that user, through the front's own service, for as long as auth_ticket_lifetime says."""
import os
import time

import intruder
from intruder import Intruder, ask, channel_to, new_pair
from pillar import SLOW, Instance, expect, family, main

if intruder.possible():
    print("1..0 # SKIP " + intruder.possible())
    raise SystemExit(0)
LIFETIME = 4 * SLOW
suite = Instance(extra="daemon_processes = 1\nauth_ticket_lifetime = %ds\n" % LIFETIME)
suite.imap("alice").logout()
running = {name: pid for name, pid in family(suite.maild())}
to_authd, to_userd = channel_to(running["imapd"], running["authd"]), channel_to(running["imapd"], running["userd"])


def new_ticket(code):
    kind, answer = ask(code, to_authd, "auth", "ask", service="imap", mechanism="PLAIN", client_addr="127.0.0.1", tls=1,
                       user="alice@example.test", password=suite.password("alice"))
    expect((kind, answer["ok"], len(answer["ticket"])), ("answer", 1, 16))
    return answer["ticket"]


def let_in(code, ticket, service="imap"):
    kind, answer = ask(code, to_userd, "login", "enter", pass_on=new_pair(code)[0], ticket=ticket, service=service, client_addr="127.0.0.1")
    expect(kind, "result")
    return bool(answer["ok"])


def within_imapd(what):
    code = Intruder(running["imapd"])
    try:
        what(code)
    finally:
        code.leave()
    suite.imap("bob").logout() # it goes on


def test_a_ticket_is_good_once():
    def twice(code):
        ticket = new_ticket(code)
        expect([let_in(code, ticket), let_in(code, ticket)], [True, False])
    within_imapd(twice)


def test_a_ticket_is_good_for_its_service():
    def elsewhere(code):
        ticket = new_ticket(code)
        expect([let_in(code, ticket, "pop3"), let_in(code, ticket)], [False, False], "and spent by the try")
    within_imapd(elsewhere)


def test_a_ticket_is_good_for_a_while():
    def late(code):
        tickets = [new_ticket(code) for _ in range(2)]
        expect(let_in(code, tickets[0]), True)
        time.sleep(LIFETIME + 0.5)
        expect(let_in(code, tickets[1]), False)
    within_imapd(late)


def test_a_ticket_that_nobody_gave_is_none():
    def guessed(code):
        almost = bytearray(new_ticket(code))
        almost[15] ^= 1
        expect([let_in(code, t) for t in (bytes(almost), bytes(16), b"", os.urandom(16))], [False] * 4)
    within_imapd(guessed)


main(globals())
