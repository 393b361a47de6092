#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Recipients of relay domains are verified by callout: at a Postfix from Debian that knows some and not
others, is down and comes back; at a scripted host that is slow, puts off, refuses our sender."""
import atexit
import json
import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "bench"))
import peers
import pillar
from peer import Peer
from pillar import Dialogue, Instance, expect, has, main, starts, wait_for

suite = Instance(start=False)
base = pillar.free_base()
scripted = ("127.0.0.1", base + 25)


class Postfix(peers.Postfix):
    """Knows carol, and nobody else."""

    def __init__(self):
        super().__init__("local")
        atexit.register(self.stop)

    def settings(self):
        os.chown(self.dir + "/mail/box", self.users["box"], self.users["box"])
        return """virtual_mailbox_domains = relay.test
virtual_mailbox_base = {d}/mail
virtual_mailbox_maps = inline:{{ carol@relay.test=box/ }}
virtual_uid_maps = static:{u}
virtual_gid_maps = static:{u}
virtual_minimum_uid = 1
""".format(u=self.users["box"], d=self.dir)


CANNOT = peers.impossible(Postfix)
postfix = None if CANNOT else Postfix()
if postfix:
    postfix.wait()


def configure(more=""):
    with open(suite.dir + "/etc/local.conf", "w") as f:
        f.write("""relay_domains = relay.test, odd.test
transport_maps = inline:{{relay.test=smtp:[127.0.0.1]:{0}, odd.test=smtp:[127.0.0.1]:{1}}}
smtpd_authorized_xclient_hosts = 127.0.0.0/8
smtpd_verify_relay_recipients = yes
address_verify_wait_time = 25s
address_verify_retry_time = 1s
smtp_tls_security_level = none
""".format(postfix.port if postfix else 1, scripted[1]) + more)
    suite.make()


configure()
suite.start()
suite.user_add("alice")


def rcpt(to, sender="x@else.test", commands=()):
    """The reply to RCPT, of a stranger."""
    d = Dialogue(("127.0.0.1", suite.port("SMTP")))
    starts(d.reply(), "220 ")
    starts(d.ask("EHLO proxy.test"), "250")
    starts(d.ask("XCLIENT ADDR=198.51.100.7 NAME=[UNAVAILABLE]"), "220")
    starts(d.ask("EHLO client.test"), "250")
    starts(d.ask("MAIL FROM:<%s>" % sender), "250")
    reply = d.ask("RCPT TO:<%s>" % to)
    for command in commands:
        d.ask(command)
    d.say("QUIT")
    d.close()
    return reply


def asked(address):
    """How many callouts were made for it."""
    return len(re.findall(r" callout to=<%s> " % re.escape(address), suite.log()))


def verify(*args, status=0):
    run = suite.mailctl("verify", *args, check=False)
    expect(run.returncode, status, run.stdout + run.stderr)
    return run.stdout


def test_what_postfix_knows():
    if CANNOT:
        print("# skipped: %s" % CANNOT)
        return
    starts(rcpt("carol@relay.test"), "250")
    reply = rcpt("nobody@relay.test")
    starts(reply, "550 5.1.1 Recipient address rejected: undeliverable: 550 5.1.1 <nobody@relay.test>")
    has(suite.wait_log(": reject client=", "nobody@relay.test"), "rule=callout for nobody@relay.test: 127.0.0.1[127.0.0.1]:%d says 550 5.1.1" % postfix.port)
    starts(rcpt("carol@relay.test"), "250")
    starts(rcpt("nobody@relay.test"), "550")
    wait_for(lambda: asked("nobody@relay.test"), 10, "the log")
    expect((asked("carol@relay.test"), asked("nobody@relay.test")), (1, 1))
    # nothing was handed in, and real mail goes over
    with suite.smtp() as s:
        s.sendmail("x@else.test", ["carol@relay.test"], "Subject: real\r\n\r\nx\r\n")
    suite.wait_log("delivery", "carol@relay.test", "status=sent")
    wait_for(lambda: postfix.mailbox_count() == 1, 30, "the message")
    for number in suite.mailctl("trace", "nobody@relay.test", check=False).stdout.splitlines():
        if "callout for nobody@relay.test" in number:
            break
    else:
        raise AssertionError("the trace does not say why: " + suite.mailctl("trace", "nobody@relay.test", check=False).stdout)


def test_it_is_remembered_over_a_restart():
    if CANNOT:
        return
    before = asked("carol@relay.test"), asked("nobody@relay.test")
    suite.stop()
    suite.start()
    starts(rcpt("carol@relay.test"), "250")
    starts(rcpt("nobody@relay.test"), "550")
    expect((asked("carol@relay.test"), asked("nobody@relay.test")), before)
    has(verify("list", "@relay.test"), "carol@relay.test taken by 127.0.0.1[127.0.0.1]:")
    has(verify("show", "nobody@relay.test", status=1), "refuses it: 550 5.1.1")
    has(verify("forget", "nobody@relay.test"), "1 forgotten")
    starts(rcpt("nobody@relay.test"), "550")
    wait_for(lambda: asked("nobody@relay.test") == before[1] + 1, 10, "another callout")


def test_a_host_that_is_down_and_comes_back():
    expect(rcpt("up@odd.test"), "450 4.1.1 Recipient address cannot be verified now, try again later")
    has(suite.wait_log(": reject client=", "up@odd.test"), "Connection refused")
    peer = Peer(scripted)
    wait_for(lambda: rcpt("up@odd.test").startswith("250"), 20 * pillar.SLOW, "the host to be asked again")
    has("\n".join(peer.commands), "MAIL FROM:<>\nRCPT TO:<up@odd.test>\nRSET")
    # one that refuses our sender says nothing of the recipient
    peer.replies["MAIL"] = "550 5.7.1 no null senders"
    expect(rcpt("sender@odd.test"), "450 4.1.1 Recipient address cannot be verified now, try again later")
    has(suite.wait_log(": reject client=", "sender@odd.test"), "no null senders (in reply to MAIL)")
    configure("address_verify_sender = double-bounce@example.test\nunverified_recipient_reject_code = 450\nunverified_recipient_reject_reason = nobody of that name\n"
              "smtpd_sender_access_maps = inline:{odd.test=reject_unverified_sender}\n")
    suite.mailctl("reload")
    peer.replies = {("MAIL", "<>"): "550 5.7.1 no null senders", ("RCPT", "no@"): "550 5.1.1 no such name"}
    wait_for(lambda: rcpt("sender@odd.test").startswith("250"), 20 * pillar.SLOW, "another sender of callouts")
    expect(rcpt("no@odd.test"), "450 4.1.1 nobody of that name")
    # senders, by an access rule
    expect(rcpt("alice@example.test", sender="no@odd.test")[:9], "550 5.1.7")
    starts(rcpt("alice@example.test", sender="yes@odd.test"), "250")
    # mail for the sender of callouts exists, and goes nowhere
    starts(rcpt("double-bounce@example.test"), "250")
    expect(len(peer.messages), 0)


def test_what_is_remembered_is_listed_and_forgotten():
    rcpt("other@odd.test")
    verify("ask", "b\x9b31m@odd.test", status=1)  # the host has no SMTPUTF8
    rows = [json.loads(line) for line in verify("list", "@odd.test", "--json").splitlines()]
    expect([r["address"] for r in rows], sorted(r["address"] for r in rows))
    up = [r for r in rows if r["address"] == "up@odd.test"][0]
    expect((up["outcome"], up["host"], up["reply"][:3]), ("taken", "127.0.0.1[127.0.0.1]:%d" % scripted[1], "250"))
    expect((abs(up["said"] - time.time()) < 60, up["until"] - up["said"]), (True, 31 * 86400))
    text = verify("list", "@odd.test")
    has(text, "\nup@odd.test taken by ")
    expect([ch for ch in text if ch != "\n" and not ch.isprintable()], [])
    n = len(rows)
    expect(verify("forget", "@odd.test", "--dry-run"), "%d would be forgotten\n" % n)
    expect(verify("forget", "@odd.test"), "%d forgotten\n" % n)
    expect(verify("list", "@odd.test", "--json"), "")


def test_two_hosts_that_ask_each_other_come_to_an_end():
    one, two = Instance(start=False), Instance(start=False)
    for this, other in ((one, two), (two, one)):
        with open(this.dir + "/etc/local.conf", "w") as f:
            f.write("relay_domains = loop.test\ntransport_maps = inline:{loop.test=smtp:[127.0.0.1]:%d}\naddress_verify_wait_time = 1s\n"
                    "smtpd_recipient_access_maps = inline:{loop.test=REJECT_UNVERIFIED_RECIPIENT}\nsmtp_tls_security_level = none\n" % other.port("SMTP"))
        this.make()
        this.start()
    d = Dialogue(("127.0.0.1", one.port("SMTP")))
    starts(d.reply(), "220 ")
    starts(d.ask("EHLO client.test"), "250")
    starts(d.ask("MAIL FROM:<x@else.test>"), "250")
    starts(d.ask("RCPT TO:<bob@loop.test>"), "450 4.1.1")
    d.close()
    for this in (one, two):
        has(this.wait_log("callout to=<bob@loop.test>"), "result=unknown")
    expect([len(re.findall(" callout to=", i.log())) for i in (one, two)], [1, 1])
    one.stop()
    two.stop()


if __name__ == "__main__":
    main(globals())
