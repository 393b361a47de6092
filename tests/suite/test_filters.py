#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Milters and policy services: a scripted milter that does everything a
milter may do, hangs, crashes and talks nonsense; a scripted policy service."""
import concurrent.futures
import email
import os
import signal
import subprocess
import tempfile
import time

import pillar
from milter import CRASH, GARBAGE, HANG, Changes, Milter, Policy
from pillar import Dialogue, Instance, expect, has, main, starts, wait_for

first, second = Milter(), Milter()
service = Policy(lambda request: "DUNNO")
suite = Instance("""smtpd_milters = %s, %s
non_smtpd_milters = %s
milter_command_timeout = 2m
smtpd_recipient_policy_service = %s
smtpd_end_of_data_policy_service = %s
""" % (first.address, second.address, second.address, service.address, service.address))


def plan(one=None, two=None, ask=None):
    first.plan, second.plan = one or {}, two or {}
    service.plan = ask or (lambda request: "DUNNO")
    first.seen.clear(), second.seen.clear(), service.seen.clear()


def dialogue(instance=suite):
    d = Dialogue(("127.0.0.1", instance.port("SMTP")))
    starts(d.reply(), "220 ")
    starts(d.ask("EHLO client.test"), "250")
    return d


def send(subject, to=("alice@example.test",), sender="x@else.test", body="text\r\n", d=None, more=""):
    """The reply to the content; the session stays open in the dialogue that was given."""
    own = d or dialogue()
    starts(own.ask("MAIL FROM:<%s> BODY=8BITMIME" % sender), "250")
    for address in to:
        starts(own.ask("RCPT TO:<%s>" % address), "250")
    starts(own.ask("DATA"), "354")
    own.raw(("From: <x@else.test>\r\nSubject: %s\r\n%s\r\n%s.\r\n" % (subject, more, body)).encode())
    reply = own.reply()
    if not d:
        own.say("QUIT")
        own.close()
    return reply


def arrived(subject, user="alice"):
    def find():
        for raw in suite.messages(user):
            message = email.message_from_bytes(raw)
            if message["Subject"] == subject:
                return message, raw
    return wait_for(find, 20, "a message with the subject " + subject)


def names(message):
    return [n for n in message.keys() if n not in ("Return-Path", "Delivered-To")]


def test_events_and_macros():
    plan()
    d = dialogue()
    starts(send("events", to=("alice@example.test", "bob@example.test"), more="Folded: one\r\n two\r\n", d=d), "250")
    starts(d.ask("QUIT"), "221")
    d.close()
    message, raw = arrived("events")
    wait_for(lambda: first.events()[-1] == "quit", 10, "the end of the session")
    expect(first.events(), ["connect", "helo", "mail", "rcpt", "rcpt", "data", "header", "header", "header", "eoh", "body", "end", "quit"])
    expect(second.events(), first.events())
    connect = first.told("connect")[0]
    has(connect, b"\x004")
    assert connect.endswith(b"127.0.0.1\0"), connect
    expect(first.told("helo")[0], ["client.test"])
    expect(first.told("mail")[0], ["<x@else.test>", "BODY=8BITMIME"])
    expect(first.told("rcpt"), [["<alice@example.test>"], ["<bob@example.test>"]])
    expect(first.told("header"), [["From", "<x@else.test>"], ["Subject", "events"], ["Folded", "one\n two"]])
    expect(first.told("body"), [b"text\r\n"])
    expect(first.macro("connect", "j"), "mail.example.test")
    expect(first.macro("connect", "{daemon_name}"), "smtp")
    expect(first.macro("mail", "{mail_addr}"), "x@else.test")
    expect(first.macro("rcpt", "{rcpt_addr}"), "alice@example.test")
    has(raw.decode(), "id " + first.macro("end", "i"))
    expect(first.offer, (6, 0x1ff, 0x1ff7ff))
    # nothing was changed: what came is what is there
    expect(names(message), ["Received", "From", "Subject", "Folded"])


def test_every_change():
    plan({"end": [Changes.PROGRESS, Changes.add("X-Last", "one\n two"), Changes.insert(0, "X-Top", "a"), Changes.insert(1, "X-Below", "b"),
                  Changes.change(1, "Subject", "every change"), Changes.change(1, "X-Gone", ""), Changes.change(2, "X-Twice", "changed"),
                  Changes.body(b"new\nbody\r\n"), Changes.body(b".\r\nwith a dot"), Changes.rcpt("<bob@example.test>"), Changes.unrcpt("<carol@example.test>"), Changes.rcpt("no address at all"),
                  Changes.sender("<other@else.test>"), "continue"]})
    starts(send("old", more="X-Gone: 1\r\nX-Twice: 1\r\nX-Twice: 2\r\n"), "250")
    message, raw = arrived("every change")
    expect(names(message), ["X-Top", "X-Below", "Received", "From", "Subject", "X-Twice", "X-Twice", "X-Last"])
    expect(message.get_all("X-Twice"), ["1", "changed"])
    expect(message["X-Gone"], None)
    expect(message["X-Last"], "one\r\n two")
    assert raw.replace(b"\r\n", b"\n").endswith(b"\n\nnew\nbody\n.\nwith a dot\n"), raw
    expect(message["Return-Path"], "<other@else.test>")
    arrived("every change", "bob")
    # the second milter saw what the first had made of it
    has(second.told("header"), ["Subject", "every change"])
    expect(second.told("body"), [b"new\r\nbody\r\n.\r\nwith a dot\r\n"])


def test_a_recipient_is_taken_away():
    plan({"end": [Changes.unrcpt("<bob@example.test>"), "continue"]})
    starts(send("for alice alone", to=("alice@example.test", "bob@example.test")), "250")
    arrived("for alice alone")
    plan()
    starts(send("behind it", to=("bob@example.test",)), "250")
    arrived("behind it", "bob")
    assert not [t for t in suite.messages("bob") if b"for alice alone" in t]
    plan({"end": [Changes.unrcpt("<bob@example.test>"), "continue"]})
    starts(send("for nobody", to=("bob@example.test",)), "250")


def test_verdicts_at_each_stage():
    for stage, command in (("connect", "MAIL"), ("helo", "MAIL"), ("mail", "MAIL"), ("rcpt", "RCPT"), ("data", "DATA"),
                           ("header", "end"), ("eoh", "end"), ("body", "end"), ("end", "end")):
        for answer, wanted in (("reject", "550 5.7.1"), ("tempfail", "451 4.7.1"), (Changes.code("554 5.7.9 own words"), "554 5.7.9"),
                               (Changes.code("450-4.2.0 two\r\n450 4.2.0 lines"), "450 4.2.0 two lines")):
            plan({stage: answer})
            d = dialogue()
            reply, at = d.ask("MAIL FROM:<x@else.test>"), "MAIL"
            if reply.startswith("250"):
                reply, at = d.ask("RCPT TO:<alice@example.test>"), "RCPT"
            if reply.startswith("250"):
                reply, at = d.ask("DATA"), "DATA"
            if reply.startswith("354"):
                d.raw(b"Subject: refused\r\n\r\nx\r\n.\r\n")
                reply, at = d.reply(), "end"
            starts(reply, wanted)
            expect(at, command, stage)
            # the session goes on, and the next message is looked at like this one
            if stage not in ("connect", "helo"):
                plan()
                starts(d.ask("RSET"), "250")
                starts(send("after it", d=d), "250")
            else:
                plan()
                starts(d.ask("MAIL FROM:<x@else.test>"), wanted[:3])
            d.close()


def test_accept_discard_skip():
    for stage in ("connect", "helo", "mail", "rcpt", "data", "header", "eoh", "body", "end"):
        plan({stage: "accept"})
        starts(send("accepted at " + stage), "250")
        arrived("accepted at " + stage)
        expect([e for e in first.events() if e not in ("quit", "abort", "gone")][-1], stage)
        has(second.events(), "end")
    for stage in ("mail", "rcpt", "data", "header", "end"):
        plan({stage: "discard"})
        starts(send("thrown away"), "250")
    plan({"body": "skip"})
    starts(send("skipped", body="x" * 70 + "\r\n" + ("y" * 70 + "\r\n") * 5000), "250")
    expect(len(first.told("body")), 1)
    expect(len(b"".join(second.told("body"))), 72 * 5001)
    arrived("skipped")
    assert not [t for t in suite.messages("alice") if b"thrown away" in t]


def test_one_refused_recipient():
    plan({"rcpt": lambda what: "reject" if "bob" in what[0] else "continue"})
    d = dialogue()
    d.raw(b"MAIL FROM:<x@else.test>\r\nRCPT TO:<bob@example.test>\r\nRCPT TO:<nobody@example.test>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n")
    replies = [d.reply()[:3] for _ in range(5)]
    expect(replies, ["250", "550", "550", "250", "354"])
    expect(first.told("rcpt"), [["<bob@example.test>"], ["<alice@example.test>"]])
    expect(second.told("rcpt"), [["<alice@example.test>"]])
    d.raw(b"Subject: half\r\n\r\nx\r\n.\r\n")
    starts(d.reply(), "250")
    d.close()
    arrived("half")


def test_quarantine():
    plan({"end": [Changes.quarantine("looks bad"), "continue"]})
    starts(send("quarantined"), "250")
    has(suite.wait_log("action=QUARANTINE"), "text=looks bad")
    wait_for(lambda: "hold" in suite.mailctl("queue", "list", "--json").stdout.lower(), 10, "the message on hold")
    suite.mailctl("queue", "delete", "status=hold", check=False)


def test_large_content_comes_back_whole():
    body = "".join("%d %s\r\n" % (i, "z" * 60) for i in range(40000))
    plan({"end": [Changes.add("X-Seen", "yes"), "continue"]}, {"body": "continue"})
    starts(send("large", body=body), "250")
    message, raw = arrived("large")
    expect(message["X-Seen"], "yes")
    expect(raw.split(b"\r\n\r\n", 1)[1].replace(b"\r\n", b"\n") if b"\r\n\r\n" in raw else raw.split(b"\n\n", 1)[1], body.replace("\r\n", "\n").encode())
    expect(b"".join(first.told("body")), body.encode())
    assert all(len(b) <= 65535 for b in first.told("body"))


def test_bdat():
    plan({"end": [Changes.add("X-Seen", "yes"), "continue"]})
    d = dialogue()
    d.raw(b"MAIL FROM:<x@else.test>\r\nRCPT TO:<alice@example.test>\r\n")
    d.reply(), d.reply()
    d.raw(b"BDAT 15\r\nSubject: bdat\r\nBDAT 8 LAST\r\n\r\n1\r\n2\r\n")
    starts(d.reply(), "250")
    starts(d.reply(), "250")
    expect(arrived("bdat")[0]["X-Seen"], "yes")
    plan({"data": Changes.code("554 5.7.1 no data")})
    d.raw(b"MAIL FROM:<x@else.test>\r\nRCPT TO:<alice@example.test>\r\nBDAT 6 LAST\r\nA: b\r\n")
    expect([d.reply()[:3] for _ in range(3)], ["250", "250", "554"])
    plan()
    d.raw(b"MAIL FROM:<x@else.test>\r\nRCPT TO:<alice@example.test>\r\nBDAT 0 LAST\r\n")
    expect([d.reply()[:3] for _ in range(3)], ["250", "250", "250"])
    d.close()


def test_several_messages_in_a_session():
    plan()
    d = dialogue()
    for i in range(3):
        starts(send("message %d" % i, d=d), "250")
    starts(d.ask("MAIL FROM:<x@else.test>"), "250")
    starts(d.ask("RSET"), "250")
    starts(d.ask("EHLO another.test"), "250")
    starts(send("message 3", d=d), "250")
    d.say("QUIT")
    expect(len(first.seen), 1)
    expect([e for e in first.events() if e in ("connect", "helo", "mail", "end", "abort")],
           ["connect", "helo", "mail", "end", "mail", "end", "mail", "end", "mail", "abort", "helo", "mail", "end"])
    d.close()


def test_what_a_milter_does_not_want():
    quiet = Milter(protocol=0x1 | 0x2 | 0x8 | 0x80 | 0x40000 | 0x80000 | 0x4000, macros=b"\0\0\0\5{client_addr} i\0")
    other = Instance("smtpd_milters = %s\n" % quiet.address)
    d = Dialogue(("127.0.0.1", other.port("SMTP")))
    d.reply()
    d.ask("HELO x")
    starts(send("quiet", d=d), "250")
    expect(quiet.events(), ["mail", "data", "header", "header", "eoh", "body", "end"])
    expect(quiet.macro("end", "{client_addr}"), "127.0.0.1")
    d.close()
    other.wait_mail(1, "alice")
    other.stop()
    quiet.close()


def test_a_filter_that_hangs_harms_only_its_session():
    other = Instance("""smtpd_milters = %s, %s
milter_command_timeout = 3s
milter_content_timeout = 3s
smtpd_recipient_policy_service = %s
smtpd_policy_service_timeout = 3s
""" % (first.address, second.address, service.address))
    hanging = {}
    for stage in ("connect", "rcpt", "header", "end", "policy"):
        plan({stage: HANG}, ask=(lambda request: HANG) if stage == "policy" else None)
        d = hanging[stage] = dialogue(other)
        d.say("MAIL FROM:<x@else.test>")
        if stage != "connect":
            starts(d.reply(), "250")
            d.say("RCPT TO:<alice@example.test>")
        if stage in ("header", "end"):
            starts(d.reply(), "250")
            starts(d.ask("DATA"), "354")
            d.raw(b"Subject: hanging\r\n\r\nx\r\n.\r\n")
        wait_for(lambda: service.seen if stage == "policy" else first.seen and stage in first.events(0), 10, "the filter to hang")
    plan()
    for _ in range(5):
        starts(send("others go on", d=dialogue(other)), "250")
    for stage, d in hanging.items():
        starts(d.reply(), "451 4.3.5" if stage == "policy" else "451 4.7.1")
        # the next message has the filter anew
        starts(d.ask("RSET"), "250")
        starts(send("after the hang", d=d), "250")
        d.close()
    has(other.log(), "timeout")
    other.stop()


def test_a_milter_that_breaks():
    for what in (CRASH, GARBAGE, [b"\0\0\0\0"], [b"\0\0\0\1?"], Changes.add("X-Early", "x"), ["continue", "continue"]):
        plan({"mail": what})
        d = dialogue()
        reply = d.ask("MAIL FROM:<x@else.test>")
        if what == ["continue", "continue"]:
            starts(reply, "250")
        else:
            starts(reply, "451 4.7.1")
        d.close()
    plan({"end": CRASH})
    starts(send("broken at the end"), "451 4.7.1")
    plan({"rcpt": CRASH}) # what is only put off comes again, and not past it
    d = dialogue()
    starts(d.ask("MAIL FROM:<x@else.test>"), "250")
    for _ in range(3):
        starts(d.ask("RCPT TO:<alice@example.test>"), "451 4.7.1")
    starts(d.ask("DATA"), "554 5.5.1")
    d.close()


def test_half_of_another_body_is_none():
    class Dying(Milter):
        def answer(self, sock, stage, what):
            if stage != "end":
                return super().answer(sock, stage, what)
            sock.sendall(Changes.body(b"half of the new bo"))
            return False
    other = Instance("smtpd_milters = %s, %s\nmilter_default_action = accept\n" % (Dying().address, Milter().address))
    starts(send("two", d=dialogue(other), body="the body\r\nit has\r\n"), "250")
    raw = wait_for(lambda: other.messages("alice"), 20, "the message")[0]
    assert raw.endswith(b"\r\n\r\nthe body\r\nit has\r\n"), raw
    other.stop()


def test_content_behind_a_data_that_is_refused_is_no_command():
    def late(_):
        time.sleep(1)
        return "reject"
    plan({"data": late})
    d = dialogue()
    starts(d.ask("MAIL FROM:<x@else.test>"), "250")
    starts(d.ask("RCPT TO:<alice@example.test>"), "250")
    d.say("DATA")
    time.sleep(0.3)
    d.raw(b"NOOP in the content\r\nRSET\r\n")
    starts(d.reply(), "550 5.7.1")
    try:
        reply = d.reply()
    except AssertionError as why: # closed
        reply = str(why)
    has(reply, "closed")
    d.close()


def test_default_actions():
    dead = Milter()
    dead.close()
    wanted = {"accept": "250", "quarantine": "250", "tempfail": "451", "reject": "550"}
    for action, code in wanted.items():
        with open(suite.dir + "/etc/local.conf") as f:
            base = "".join(line for line in f if not line.startswith(("smtpd_milters", "milter_default_action")))
        with open(suite.dir + "/etc/local.conf", "w") as f:
            f.write(base + "smtpd_milters = %s\nmilter_default_action = %s\n" % (dead.address, action))
        suite.make()
        suite.mailctl("reload")
        plan()
        d = dialogue()

        def in_force():
            reply = d.ask("MAIL FROM:<x@else.test>")
            d.ask("RSET")
            return reply.startswith(code) and not first.seen
        if code == "250":
            starts(send("without the milter: " + action, d=d), "250")
        else:
            wait_for(in_force, 20, "the default action " + action)
        d.close()
    arrived("without the milter: accept")
    with open(suite.dir + "/etc/local.conf", "w") as f:
        f.write(base + "smtpd_milters = %s, %s\n" % (first.address, second.address))
    suite.make()
    suite.mailctl("reload")

    def back():
        d = dialogue()
        reply = d.ask("MAIL FROM:<x@else.test>")
        d.close()
        return reply.startswith("250") and first.seen and second.seen
    wait_for(back, 20, "the milters again")


def test_no_message_passes_because_its_listener_is_not_known_to_verifyd():
    plan()
    config = suite.env["CONFIG"]
    with open(config) as f:
        good = f.read()
    with open(config, "a") as f:
        f.write('listener more { service = smtp; address = "127.0.0.1:%d"; }\n' % (suite.base + 7))
    suite.mailctl("reload")
    d = Dialogue(("127.0.0.1", suite.base + 7))
    starts(d.reply(), "220 ")
    starts(d.ask("EHLO client.test"), "250")
    slow = [pid for name, _, pid in suite.processes() if name == "smtpd"]
    for pid in slow:  # verifyd has the configuration without the listener before them
        os.kill(pid, signal.SIGSTOP)
    try:
        d.say("MAIL FROM:<x@else.test>")
        with open(config, "w") as f:
            f.write(good)
        reloads = [line for line in suite.lines() if "verifyd" in line and " reload " in line]
        suite.mailctl("reload")
        wait_for(lambda: len([line for line in suite.lines() if "verifyd" in line and " reload " in line]) > len(reloads), 20, "verifyd's reload")
    finally:
        for pid in slow:
            os.kill(pid, signal.SIGCONT)
    starts(d.reply(), "451 4.3.5 ")
    starts(d.ask("NOOP"), "421 ")


def test_policy_service():
    plan()
    starts(send("policy"), "250")
    expect([r["protocol_state"] for r in service.seen], ["RCPT", "END-OF-MESSAGE"])
    asked = service.seen[0]
    expect([asked[n] for n in ("request", "protocol_name", "client_address", "helo_name", "sender", "recipient", "size", "sasl_username")],
           ["smtpd_access_policy", "ESMTP", "127.0.0.1", "client.test", "x@else.test", "alice@example.test", "0", ""])
    expect(service.seen[0]["instance"], service.seen[1]["instance"])
    assert int(service.seen[1]["size"]) > 50 and service.seen[1]["queue_id"], service.seen[1]
    for action, reply in (("REJECT not you", "550 5.7.1 not you"), ("defer_if_permit Greylisted", "450 4.7.1 Greylisted"), ("554 5.7.1 go away", "554 5.7.1 go away"),
                          ("421 4.7.0 later", "4"), ("nonsense", "451 4.3.5"), ("FILTER x:y", "451 4.3.5"), (CRASH, "451 4.3.5")):
        plan(ask=lambda request: action)
        d = dialogue()
        d.ask("MAIL FROM:<x@else.test>")
        starts(d.ask("RCPT TO:<alice@example.test>"), reply)
        expect(first.told("rcpt"), [])
        d.close()
    plan(ask=lambda r: "PREPEND X-Policy: asked" if r["protocol_state"] == "RCPT" else "PREPEND X-Policy-End: asked")
    starts(send("prepended"), "250")
    message = arrived("prepended")[0]
    expect([message["X-Policy"], message["X-Policy-End"]], ["asked", "asked"])
    plan(ask=lambda r: "REJECT too much" if r["protocol_state"] == "END-OF-MESSAGE" else "DUNNO")
    starts(send("refused"), "550 5.7.1 too much")
    has(suite.wait_log("action=REJECT too much"), " filter ")


def test_who_is_known_is_not_asked_by_policy_but_seen_by_milters():
    plan(ask=lambda request: "REJECT")
    s = suite.submission()
    s.sendmail("alice@example.test", ["bob@example.test"], "Subject: by login\r\n\r\nx\r\n")
    s.quit()
    arrived("by login", "bob")
    expect(service.seen, [])
    expect(first.macro("mail", "{auth_authen}"), "alice@example.test")
    has(("PLAIN", "LOGIN", "SCRAM-SHA-256"), first.macro("mail", "{auth_type}"))
    starts(first.macro("helo", "{tls_version}"), "TLSv1")
    has(first.told("header"), ["Subject", "by login"])
    assert [h for h in first.told("header") if h[0] == "Date"], "what submission adds is seen"


def test_local_mail():
    plan({}, {"end": [Changes.add("X-Local", "seen"), "continue"]})
    subprocess.run([pillar.SENDMAIL, "-C", suite.env["CONFIG"], "-f", "root@example.test", "alice@example.test"], input=b"Subject: local\n\nx\n", check=True,
                   timeout=60)
    expect(arrived("local")[0]["X-Local"], "seen")
    expect(first.seen, [])


def test_verifyd_dies():
    plan()
    d = dialogue()
    starts(d.ask("MAIL FROM:<x@else.test>"), "250")
    old = [pid for name, _, pid in suite.processes() if name == "verifyd"][0]
    os.kill(old, 9)
    starts(d.ask("RCPT TO:<alice@example.test>"), "4")
    starts(d.ask("RSET"), "250")

    def again():
        reply = d.ask("MAIL FROM:<x@else.test>")
        d.ask("RSET")
        return reply.startswith("250")
    wait_for(again, 20, "another verifyd")
    starts(send("after its death", d=d), "250")
    arrived("after its death")
    d.close()


def test_a_filter_whose_host_is_a_name():
    zone = tempfile.NamedTemporaryFile("w", prefix="pp-zone-")
    zone.write("filter.test A 127.0.0.1\n")
    zone.flush()
    dns = subprocess.Popen(["/usr/bin/python3", os.path.join(pillar.HERE, "dnsserver.py"), "--zone", zone.name], stdout=subprocess.PIPE, text=True)
    named = Milter({"mail": "reject"})
    other = Instance("dns_servers = 127.0.0.1@%s\ndns_trust_anchor =\nsmtpd_milters = %s\n" % (
        dns.stdout.readline().strip(), named.address.replace("127.0.0.1", "filter.test")))

    def refused():
        d = dialogue(other)
        reply = d.ask("MAIL FROM:<x@else.test>")
        d.close()
        return reply.startswith("550 5.7.1")
    try:
        wait_for(refused, 20, "the milter's word")
    finally:
        other.stop()
        dns.kill()
        dns.wait()


def test_many_sessions():
    plan({"end": [Changes.add("X-Seen", "yes"), "continue"]})

    def one(i):
        d = dialogue()
        replies = [send("many %d" % i, d=d, to=("bob@example.test",))[:3] for _ in range(5)]
        d.close()
        return replies
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        expect(set(sum(pool.map(one, range(40)), [])), {"250"})
    wait_for(lambda: sum(b"Subject: many" in t for t in suite.messages("bob")) == 200, 60, "all messages")
    assert all(b"X-Seen: yes" in t for t in suite.messages("bob") if b"Subject: many" in t)


main(globals())
