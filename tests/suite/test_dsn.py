#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Delivery reports of the running suite (RFC 3461, 3464, 6522), read with
Python's email package; parameters handed on to peers that offer DSN."""
import atexit
import email
import os
import shutil
import socket
import tempfile

from pillar import Dialogue, Instance, expect, has, main, starts, wait_for
from peer import Peer

with socket.socket() as s:
    s.bind(("127.0.0.11", 0))
    PORT = s.getsockname()[1]
CONF = """
smtp_tcp_port = %d
mynetworks = 127.0.0.0/8
inet_protocols = ipv4
minimal_backoff_time = 1s
maximal_backoff_time = 1s
queue_run_delay = 1s
delay_warning_time = 1s
maximal_queue_lifetime = 6s
alias_maps = file:%s/aliases
route dsn.test { nexthop = "[127.0.0.11]"; }
route plain.test { nexthop = "[127.0.0.12]"; }
route later.test { nexthop = "[127.0.0.13]"; }
route down.test { nexthop = "[127.0.0.14]"; }
"""
ALIASES = """
two: alice@example.test, bob@example.test
one: bob@example.test
list: bob@example.test, bad@dsn.test
owner-list: alice@example.test
out: carol@dsn.test, dave@plain.test
"""
work = tempfile.mkdtemp(prefix="pp-dsn-", dir="/tmp")
os.chmod(work, 0o755)
atexit.register(shutil.rmtree, work, True)
with open(work + "/aliases", "w") as f:
    f.write(ALIASES)
suite = Instance(CONF % (PORT, work))
ADDRESS = ("127.0.0.1", suite.port("SMTP"))
BAD = {("RCPT", "bad"): "550-5.1.1 no such user\r\n550 5.1.1 ask the office"}
knows = Peer(("127.0.0.11", PORT), ("PIPELINING", "8BITMIME", "DSN"), BAD)
plain = Peer(("127.0.0.12", PORT), ("PIPELINING", "8BITMIME"), BAD)
later = Peer(("127.0.0.13", PORT), replies={"RCPT": "450 4.2.1 come again"})
BODY = "x" * 60 + "\r\n"


def send(subject, mail="", rcpts=(), sender="alice@example.test", lines=1):
    """One message; rcpts: (address, parameters)."""
    d = Dialogue(ADDRESS)
    starts(d.reply(), "220")
    has(d.ask("EHLO client.test"), "DSN")
    starts(d.ask("MAIL FROM:<%s>%s" % (sender, mail)), "250")
    for address, parameters in rcpts:
        starts(d.ask("RCPT TO:<%s>%s" % (address, parameters)), "250")
    starts(d.ask("DATA"), "354")
    d.say("From: Alice <alice@example.test>\r\nTo: somebody\r\nSubject: %s\r\n\r\n%s." % (subject, BODY * lines))
    starts(d.reply(), "250")
    d.say("QUIT")
    d.close()


class Report:
    def __init__(self, message):
        self.message = message
        expect(message.get_content_type(), "multipart/report")
        expect(message.get_param("report-type"), "delivery-status")
        expect(message["Return-Path"], "<>")
        has(message["Auto-Submitted"], "auto-replied")
        self.human, self.status, self.original = message.get_payload()
        expect([p.get_content_type() for p in (self.human, self.status)], ["text/plain", "message/delivery-status"])
        blocks = self.status.get_payload()
        self.about, self.rcpts = blocks[0], blocks[1:]
        expect(self.about["Reporting-MTA"].split(";")[0], "dns")
        for r in self.rcpts:
            assert r["Final-Recipient"] and r["Action"] and r["Status"], r.as_string()

    def text(self):
        return self.human.get_payload(decode=True).decode()


def messages(user):
    return map(email.message_from_bytes, suite.messages(user))


def reports(subject, user="alice"):
    """Those about the message with that subject."""
    found = []
    for m in messages(user):
        if m.get_content_type() != "multipart/report":
            continue
        if ("Subject: %s\n" % subject) in m.get_payload()[2].as_string().replace("\r\n", "\n"):
            found.append(Report(m))
    return found


def report(subject, user="alice", timeout=20):
    return wait_for(lambda: reports(subject, user), timeout, "a report about " + subject)[0]


def settled(subject):
    """Nothing of it is queued any more, so that no report is yet to come."""
    wait_for(lambda: suite.mailctl("queue", "list").stdout.count("@") == 0, 30, "an empty queue")


def took(peer, subject):
    return wait_for(lambda: [m for m in peer.messages if b"Subject: %s\r\n" % subject.encode() in m.data], 20, subject)[0]


def test_failures_together_in_one_report():
    send("together", " ENVID=QQ+2B1", [("bad1@plain.test", " ORCPT=rfc822;Old+2Bbad@old.test"), ("bad2@plain.test", ""), ("bad3@dsn.test", " NOTIFY=FAILURE")])
    r = report("together")
    settled("together")
    expect(len(reports("together")), 1)
    expect(r.about["Original-Envelope-Id"], "QQ+1")
    assert r.about["Arrival-Date"]
    by = {b["Final-Recipient"].split("; ")[1]: b for b in r.rcpts}
    expect(sorted(by), ["bad1@plain.test", "bad2@plain.test", "bad3@dsn.test"])
    one = by["bad1@plain.test"]
    expect((one["Action"], one["Status"], one["Original-Recipient"]), ("failed", "5.1.1", "rfc822;Old+bad@old.test"))
    expect(one["Remote-MTA"], "dns; [127.0.0.12]")
    starts(one["Diagnostic-Code"], "smtp; 550")
    assert one["Last-Attempt-Date"] and not one["Will-Retry-Until"]
    expect(by["bad2@plain.test"]["Original-Recipient"], None)
    text = r.text()
    for words in ("could not be delivered", "<bad1@plain.test>", "(you wrote to Old+bad@old.test)", "Check the address", "127.0.0.12 said:", "ask the office"):
        has(text, words)
    expect(r.original.get_content_type(), "message/rfc822")
    has(r.original.as_string(), "xxxxx")


def test_ret_hdrs_returns_the_header_alone():
    send("header only", " RET=HDRS", [("bad@plain.test", "")])
    r = report("header only")
    expect(r.original.get_content_type(), "text/rfc822-headers")
    assert "xxxxx" not in r.original.as_string()
    expect(r.about["Original-Envelope-Id"], None)


def test_a_long_message_comes_back_without_its_body():
    send("long one", " RET=FULL", [("bad@plain.test", "")], lines=2000)
    expect(report("long one").original.get_content_type(), "text/rfc822-headers")


def test_success_in_a_mailbox():
    send("delivered", "", [("bob@example.test", " NOTIFY=SUCCESS ORCPT=rfc822;Bob@x.test")])
    r = report("delivered")
    expect([(b["Action"], b["Status"], b["Remote-MTA"]) for b in r.rcpts], [("delivered", "2.0.0", None)])
    expect(r.original.get_content_type(), "text/rfc822-headers")
    assert suite.dir not in r.message.as_string(), "the report tells where the mailbox is"


def test_parameters_go_on_to_a_peer_with_dsn():
    send("handed on", " RET=HDRS ENVID=a+20b", [("x@dsn.test", " NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Any+3DCase@Old.test"), ("y@dsn.test", " NOTIFY=NEVER"), ("z@dsn.test", "")])
    m = took(knows, "handed on")
    has(m.mail, " RET=HDRS ENVID=a+20b")
    expect([r.partition(">")[2] for r in m.rcpts], [" NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Any+3DCase@Old.test", " NOTIFY=NEVER", ""])
    settled("handed on")
    expect(reports("handed on"), [])


def test_relayed_to_a_peer_without():
    send("relayed", " ENVID=e", [("x@plain.test", " NOTIFY=SUCCESS"), ("y@plain.test", "")])
    m = took(plain, "relayed")
    assert "ENVID" not in m.mail and not any("NOTIFY" in r for r in m.rcpts), m
    r = report("relayed")
    expect([(b["Final-Recipient"], b["Action"], b["Remote-MTA"]) for b in r.rcpts], [("rfc822; x@plain.test", "relayed", "dns; [127.0.0.12]")])
    starts(r.rcpts[0]["Diagnostic-Code"], "smtp; 250")


def test_never_and_success_alone_keep_failures_quiet():
    send("quiet", "", [("bad@plain.test", " NOTIFY=NEVER"), ("bad@dsn.test", " NOTIFY=SUCCESS")])
    suite.wait_log("delivery", "bad@dsn.test", "bounced")
    settled("quiet")
    expect(reports("quiet"), [])


def test_no_report_to_the_null_sender():
    before = len(list(messages("alice")))
    send("null", "", [("bad@plain.test", " NOTIFY=SUCCESS,FAILURE,DELAY")], sender="")
    settled("null")
    expect(len(list(messages("alice"))), before)


def test_an_alias_with_several_addresses_is_expanded():
    send("expanded", " ENVID=x", [("two@mail.example.test", " NOTIFY=SUCCESS ORCPT=rfc822;two@old.test")])
    r = report("expanded")
    settled("expanded")
    expect([(b["Final-Recipient"], b["Original-Recipient"], b["Action"]) for b in r.rcpts], [("rfc822; two@mail.example.test", "rfc822;two@old.test", "expanded")])
    expect(len(reports("expanded")), 1)


def test_what_goes_on_from_an_expanded_alias():
    send("outward", " ENVID=x RET=FULL", [("out@mail.example.test", " NOTIFY=SUCCESS ORCPT=rfc822;out@old.test")])
    m = took(knows, "outward")
    has(m.mail, " RET=FULL ENVID=x")
    expect(m.rcpts, ["RCPT TO:<carol@dsn.test> NOTIFY=NEVER ORCPT=rfc822;out@old.test"])
    took(plain, "outward")
    settled("outward")
    expect([[b["Action"] for b in r.rcpts] for r in reports("outward")], [["expanded"]])
    send("outward 2", "", [("out@mail.example.test", " NOTIFY=SUCCESS,FAILURE")])
    expect(took(knows, "outward 2").rcpts, ["RCPT TO:<carol@dsn.test> NOTIFY=FAILURE ORCPT=rfc822;out@mail.example.test"])


def test_an_alias_with_one_address_passes_everything_on():
    send("single", "", [("one@mail.example.test", " NOTIFY=SUCCESS ORCPT=rfc822;One@old.test")])
    r = report("single")
    expect([(b["Original-Recipient"], b["Action"]) for b in r.rcpts], [("rfc822;One@old.test", "delivered")])


def test_a_list_answers_for_itself_and_its_owner_hears_of_failures():
    send("to the list", " ENVID=mine", [("list@mail.example.test", " NOTIFY=SUCCESS ORCPT=rfc822;l@old.test")], sender="bob@example.test")
    r = report("to the list", "bob")
    expect([(b["Final-Recipient"], b["Action"]) for b in r.rcpts], [("rfc822; list@mail.example.test", "delivered")])
    expect(r.about["Original-Envelope-Id"], "mine")
    failed = report("to the list", "alice")
    settled("to the list")
    expect((failed.rcpts[0]["Action"], failed.rcpts[0]["Original-Recipient"], failed.about["Original-Envelope-Id"]), ("failed", None, None))
    expect(len(reports("to the list", "bob")), 1)
    assert not any("ENVID" in c for c in knows.commands if "owner-list" in c)


def test_delay_then_expiry():
    send("late", "", [("x@later.test", ""), ("quiet@later.test", " NOTIFY=FAILURE")])
    r = wait_for(lambda: [x for x in reports("late") if x.rcpts[0]["Action"] == "delayed"], 30, "a warning")[0]
    expect([b["Final-Recipient"] for b in r.rcpts], ["rfc822; x@later.test"])
    b = r.rcpts[0]
    starts(b["Status"], "4.")
    assert b["Will-Retry-Until"] and not b["Last-Attempt-Date"]
    expect((b["Remote-MTA"], b["Diagnostic-Code"][:18]), ("dns; [127.0.0.13]", "smtp; 450 4.2.1 co"))
    has(r.text(), "do nothing")
    expect(r.original.get_content_type(), "text/rfc822-headers")
    r = wait_for(lambda: [x for x in reports("late") if x.rcpts[0]["Action"] == "failed"], 40, "the end")[0]
    expect(sorted(b["Final-Recipient"] for b in r.rcpts), ["rfc822; quiet@later.test", "rfc822; x@later.test"])
    expect(r.rcpts[0]["Remote-MTA"], "dns; [127.0.0.13]")
    has(r.text(), "within the time allowed")
    expect(len(reports("late")), 2)


def test_no_host_answers():
    send("down", "", [("x@down.test", " NOTIFY=FAILURE")])
    r = report("down", timeout=40)
    starts(r.rcpts[0]["Diagnostic-Code"], "x-pillarpost; connecting to ")
    expect(r.rcpts[0]["Remote-MTA"], None)


def test_limits_of_the_parameters():
    d = Dialogue(ADDRESS)
    d.reply()
    d.ask("EHLO client.test")
    starts(d.ask("MAIL FROM:<a@example.test> ENVID=" + "e" * 100), "250")  # RFC 3461 5.4 (a)
    starts(d.ask("RCPT TO:<bob@example.test> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;" + "o" * 493), "250")  # (b), (c)
    starts(d.ask("RCPT TO:<bob@example.test> ORCPT=rfc822;" + "o" * 494), "501")
    starts(d.ask("RSET"), "250")
    starts(d.ask("MAIL FROM:<a@example.test> ENVID=" + "e" * 101), "501")
    d.close()


def test_reports_survive_a_kill():
    """What was noted but not yet reported when queued died is reported after, once."""
    send("killed", "", [("two@mail.example.test", " NOTIFY=SUCCESS"), ("x@later.test", " NOTIFY=NEVER"), ("bad@plain.test", "")])
    report("killed")
    os.kill([pid for name, _, pid in suite.processes() if name == "queued"][0], 9)
    settled("killed")
    actions = sorted(b["Action"] for r in reports("killed") for b in r.rcpts)
    expect(actions, ["expanded", "failed"])


main(globals())
