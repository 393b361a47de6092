#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Two hosts, a.test and b.test, each in a network namespace of its own, with a
DNS server: mail by MX, a host that is down, unknown users, lifetime's end.
Rows A07, A08, A13, S18 to S22 of the acceptance list.  Needs root."""
import atexit
import os
import subprocess
import sys
import tempfile
import time

import pillar
from pillar import Instance, SENDMAIL, expect, has, main, starts, wait_for

if os.geteuid() != 0:
    print("1..0 # skip: network namespaces need root")
    sys.exit(0)

TAG = "pp%d" % os.getpid()
ZONE = tempfile.mkdtemp(prefix="pp-zone-") + "/zone"


def ip(*args):
    subprocess.run(["ip", *args], check=True)


class Net:
    """Two namespaces joined by a pair of virtual cables."""

    def __init__(self):
        atexit.register(self.drop)
        for side in "ab":
            ip("netns", "add", TAG + side)
            ip("-n", TAG + side, "link", "set", "lo", "up")
        ip("link", "add", "va", "netns", TAG + "a", "type", "veth", "peer", "name", "vb", "netns", TAG + "b")
        for side, address in (("a", "10.99.0.1/24"), ("b", "10.99.0.2/24")):
            ip("-n", TAG + side, "addr", "add", address, "dev", "v" + side)
            ip("-n", TAG + side, "link", "set", "v" + side, "up")

    def drop(self):
        for side in "ab":
            subprocess.run(["ip", "netns", "del", TAG + side], stderr=subprocess.DEVNULL)


class Host(Instance):
    def __init__(self, side, extra):
        self.side = side
        self.domain = side + ".test"
        common = "dns_servers = 10.99.0.1@53\ndns_trust_anchor =\nsmtp_tls_security_level = may\n"
        super().__init__(extra=common + extra, start=False)
        self.start()

    def make(self):
        self.base = 0
        os.environ["INSTANCE_ADDRESS"] = "10.99.0.1" if self.side == "a" else "10.99.0.2"
        os.environ["INSTANCE_DOMAIN"] = self.domain
        super().make()

    def mailctl(self, *args, **kw):
        if args[0] != "start":
            return super().mailctl(*args, **kw)
        r = subprocess.run(["ip", "netns", "exec", TAG + self.side, pillar.MAILCTL, "-c", self.env["CONFIG"], "start"], capture_output=True, text=True, timeout=120)
        expect(r.returncode, 0, r.stdout + r.stderr)
        return r

    def add(self, name):
        self.mailctl("user", "add", name + "@" + self.domain, "--password-stdin", input="secret-" + name + "\n")

    def maildir(self, user="bob"):
        return os.path.join(self.dir, "mail", self.domain, user)

    def send(self, to, subject, sender="alice"):
        text = "From: %s@%s\nTo: %s\nSubject: %s\n\nbody\n" % (sender, self.domain, to, subject)
        subprocess.run([SENDMAIL, "-C", self.env["CONFIG"], "-f", "%s@%s" % (sender, self.domain), to], input=text.encode(), check=True, timeout=60)

    def wait_text(self, user, *words, timeout=30):
        def look():
            for t in self.messages(user):
                if all(w.encode() in t for w in words):
                    return t
        return wait_for(look, timeout, "%s in the mailbox of %s@%s" % (words, user, self.domain))


with open(ZONE, "w") as f:
    f.write("a.test MX 10 mail.a.test\nmail.a.test A 10.99.0.1\n"
            "b.test MX 10 mail.b.test\nmail.b.test A 10.99.0.2\nspread.test MX 10 dead.test\nspread.test MX 20 mail.b.test\n"
            "dead.test A 10.99.0.77\nnull.test MX 0 .\nplain.test A 10.99.0.2\n"
            "1.0.99.10.in-addr.arpa PTR mail.a.test\n2.0.99.10.in-addr.arpa PTR mail.b.test\n")
net = Net()
dns = subprocess.Popen(["ip", "netns", "exec", TAG + "a", "/usr/bin/python3", os.path.join(pillar.HERE, "dnsserver.py"), "--zone", ZONE, "--listen", "10.99.0.1", "--port", "53"], stdout=subprocess.PIPE)
atexit.register(dns.kill)
dns.stdout.readline()
a = Host("a", "minimal_backoff_time = 2s\nmaximal_backoff_time = 4s\nqueue_run_delay = 2s\nsmtp_connect_timeout = 3s\n")
b = Host("b", "relay_domains = relayed.test\ntransport_maps = inline:{relayed.test=smtp:[10.99.0.1]}\n")
a.add("alice")
b.add("bob")


def test_A13_S22_mail_from_a_to_b_by_mx():
    a.send("bob@b.test", "A13 by mx")
    text = b.wait_text("bob", "Subject: A13 by mx")
    expect(text.count(b"Received: "), 2, "one trace line of each host")
    has(text, b"with ESMTPS")
    line = a.wait_log("delivery", "bob@b.test", "status=sent")
    has(line, "mail.b.test")


def test_S05_unknown_user_at_b_gives_a_report_to_the_sender():
    a.send("nobody@b.test", "S05 unknown")
    report = a.wait_text("alice", "multipart/report", "nobody@b.test").decode()
    has(report, "message/delivery-status")
    has(report, "Action: failed")
    has(report, "Status: 5.1.1")
    starts(report, "Return-Path: <>\r\n")
    wait_for(lambda: "nobody@b.test" not in a.mailctl("queue", "list").stdout, 10, "an empty queue")


def test_null_mx_is_refused_at_once():
    a.send("x@null.test", "null mx")
    report = a.wait_text("alice", "x@null.test", "multipart/report").decode()
    has(report, "Status: 5.")


def test_second_mx_takes_over_when_the_first_is_dead():
    b_conf = b.dir + "/etc/local.conf"
    with open(b_conf, "a") as f:
        f.write("virtual_alias_domains = spread.test, plain.test\nvirtual_alias_maps = inline:{x@spread.test=bob@b.test, x@plain.test=bob@b.test}\n")
    b.make()
    b.mailctl("reload")
    a.send("x@spread.test", "second mx")
    b.wait_text("bob", "Subject: second mx", timeout=60)


def test_a_domain_without_mx_is_reached_by_its_address():
    a.send("x@plain.test", "no mx at all")
    b.wait_text("bob", "Subject: no mx at all")


def test_A07_S18_S19_b_down_queued_retried_delivered_when_it_returns():
    b.stop()
    a.send("bob@b.test", "A07 later")
    listed = wait_for(lambda: [line for line in a.mailctl("queue", "list", "--json").stdout.splitlines() if "bob@b.test" in line and "refused" in line.lower() or "timed out" in line.lower()], 20, "a deferred message")
    has(listed[0], "deferred")
    time.sleep(3)
    b.start()
    b.running = True
    b.wait_text("bob", "Subject: A07 later", timeout=30)
    wait_for(lambda: "bob@b.test" not in a.mailctl("queue", "list").stdout, 10, "an empty queue")


def test_A08_relay_through_a_gateway_leaves_a_trace():
    with open(a.dir + "/etc/local.conf", "a") as f:
        f.write("virtual_alias_domains = relayed.test\nvirtual_alias_maps = inline:{x@relayed.test=alice@a.test}\n")
    a.make()
    a.mailctl("reload")
    subprocess.run(["ip", "netns", "exec", TAG + "a", "/usr/bin/python3", "-c",
                    "import smtplib; s = smtplib.SMTP('10.99.0.2', 25); s.sendmail('y@b.test', ['x@relayed.test'], 'Subject: A08 gateway\\r\\n\\r\\nx\\r\\n'); s.quit()"], check=True, timeout=60)
    text = a.wait_text("alice", "Subject: A08 gateway")
    expect(text.count(b"Received: "), 2)


def test_S20_lifetime_over_report_and_removal():
    with open(a.dir + "/etc/local.conf", "a") as f:
        f.write("maximal_queue_lifetime = 3s\n")
    a.make()
    a.mailctl("reload")
    b.stop()
    a.send("bob@b.test", "S20 too late")
    report = a.wait_text("alice", "S20 too late", "multipart/report", timeout=40).decode()
    has(report, "Action: failed")
    has(report, "Status: 4.")
    wait_for(lambda: "bob@b.test" not in a.mailctl("queue", "list").stdout, 10, "an empty queue")


main(globals())
