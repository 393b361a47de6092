#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The way out: scripted peers on loopback addresses, found by MX through the
test DNS server.  Greylisting, 8-bit content, LMTP, TLS levels, kept
connections, and remoted, dnsd and queued killed while mail flows."""
import atexit
import collections
import email
import json
import os
import random
import re
import signal
import smtplib
import socket
import ssl
import subprocess
import tempfile
import threading
import time

import pillar
from pillar import Instance, expect, has, main, wait_for

SMALL = bool(os.environ.get("SANITIZED"))
MESSAGES = 300 if SMALL else 3000
ZONE = """
plain.test MX 10 plain.peer.test
grey.test MX 10 grey.peer.test
grey.test MX 20 plain.peer.test
dot.test MX 10 dot.peer.test
dot.test MX 20 plain.peer.test
dot.peer.test A 127.0.0.15
seven.test MX 10 seven.peer.test
plain.peer.test A 127.0.0.11
grey.peer.test A 127.0.0.12
seven.peer.test A 127.0.0.13
mail.example.test A 127.0.0.14
other.peer.test A 127.0.0.14
both.test MX 10 both.peer.test
both.peer.test AAAA ::1
both.peer.test A 127.0.0.11
null.test MX 0 .
failing.test SERVFAIL
loop.test MX 10 mail.example.test
"""


class Peer:
    """An SMTP (or LMTP) server; what it took is in .messages."""

    def __init__(self, address, rcpt=b"250 ok", extensions=(b"PIPELINING", b"8BITMIME", b"SIZE 10000000"), tls=None, lmtp=False):
        self.rcpt, self.extensions, self.tls, self.lmtp = rcpt, extensions, tls, lmtp
        self.messages, self.connections, self.secure, self.sources = [], 0, 0, set()
        self.hang_up = 0  # so many times behind the final dot, without a word
        self.socket = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(address)
        if isinstance(address, str):
            os.chmod(address, 0o777)
        self.socket.listen(128)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            c, address = self.socket.accept()
            self.sources.add(address[0] if address else None)
            self.connections += 1
            threading.Thread(target=self.serve, args=(c,), daemon=True).start()

    def serve(self, c):
        try:
            self.talk(c)
        except (OSError, ssl.SSLError):
            pass
        finally:
            c.close()

    def talk(self, c):
        f, recipients, secure = c.makefile("rb"), [], False
        c.sendall(b"220 peer ready\r\n")
        while True:
            line = f.readline()
            word = line[:4].upper()
            if not line:
                return
            if word in (b"EHLO", b"LHLO"):
                words = list(self.extensions) + ([b"STARTTLS"] if self.tls and not secure else [])
                c.sendall(b"".join(b"250-%s\r\n" % w for w in [b"peer"] + words[:-1]) + b"250 %s\r\n" % words[-1])
            elif word == b"STAR":
                c.sendall(b"220 go\r\n")
                c = self.tls.wrap_socket(c, server_side=True)
                f, secure = c.makefile("rb"), True
                self.secure += 1
            elif word == b"MAIL":
                recipients = []
                c.sendall(b"250 ok\r\n")
            elif word == b"RCPT":
                reply = b"550 5.1.1 unknown" if b"unknown" in line else self.rcpt
                if reply.startswith(b"250"):
                    recipients.append(line.strip())
                c.sendall(reply + b"\r\n")
            elif word == b"DATA":
                if not recipients:
                    c.sendall(b"554 nobody\r\n")
                    continue
                c.sendall(b"354 go\r\n")
                text = b""
                while not text.endswith(b"\r\n.\r\n"):
                    line = f.readline()
                    if not line:
                        return
                    text += line
                self.messages.append((recipients, text))
                if self.hang_up:
                    self.hang_up -= 1
                    return
                c.sendall(b"250 2.0.0 taken\r\n" * (len(recipients) if self.lmtp else 1))
            elif word == b"QUIT":
                c.sendall(b"221 bye\r\n")
                return
            else:
                c.sendall(b"250 ok\r\n")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.11", 0))
        return s.getsockname()[1]


work = tempfile.mkdtemp(prefix="pp-remote-", dir="/tmp")
os.chmod(work, 0o755)
with open(work + "/zone", "w") as zone:
    zone.write(ZONE)
dns = subprocess.Popen(["/usr/bin/python3", os.path.join(pillar.HERE, "dnsserver.py"), "--zone", work + "/zone"], stdout=subprocess.PIPE, text=True)
atexit.register(lambda: (dns.kill(), dns.wait(), subprocess.run(["rm", "-rf", work])))
dns_port, port = int(dns.stdout.readline()), free_port()

suite = Instance(start=False)
with open(suite.dir + "/etc/local.conf", "w") as conf:
    conf.write("""dns_servers = 127.0.0.1@%d
dns_trust_anchor =
mynetworks = 127.0.0.0/8
smtp_tcp_port = %d
smtp_tls_CAfile = %s/tls/ca.pem
inet_protocols = all
smtp_address_preference = ipv6
smtp_connect_timeout = 10m
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
maximal_queue_lifetime = 1h
route good.test { nexthop = "[mail.example.test]"; tls = verify; }
route bad.test { nexthop = "[other.peer.test]"; tls = verify; }
route must.test { nexthop = "[plain.peer.test]"; tls = encrypt; }
route source.test { nexthop = "[127.0.0.11]"; bind_address = 127.0.0.77; }
route lmtp.test { transport = lmtp; nexthop = unix:%s/lmtp; }
""" % (dns_port, port, suite.dir, work))
suite.make()
suite.start()
suite.user_add("alice")

server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server_tls.load_cert_chain(suite.dir + "/tls/cert.pem", suite.dir + "/tls/key.pem")
names = []
server_tls.sni_callback = lambda sock, name, context: names.append(name)
plain = Peer(("127.0.0.11", port))
grey = Peer(("127.0.0.12", port), rcpt=b"450 4.7.1 greylisted")
seven = Peer(("127.0.0.13", port), extensions=(b"PIPELINING",))
secure = Peer(("127.0.0.14", port), extensions=(b"PIPELINING", b"8BITMIME", b"LIMITS MAILMAX=1"), tls=server_tls)  # a connection for each message
dot = Peer(("127.0.0.15", port))
store = Peer(work + "/lmtp", lmtp=True)


def send(to, text="hello", sender="alice@example.test", subject="t", **kw):
    with suite.smtp() as s:
        return s.sendmail(sender, to, ("Subject: %s\r\n\r\n%s\r\n" % (subject, text)).encode("utf-8"), **kw)


def took(peer, subject, timeout=20):
    return wait_for(lambda: [m for m in peer.messages if ("Subject: %s\r\n" % subject).encode() in m[1]], timeout, subject)[0]


def test_by_mx_with_dots():
    send(["a@plain.test"], ".one\r\n..two\r\n.", subject="dots")
    text = took(plain, "dots")[1]
    assert text.endswith(b"\r\n..one\r\n...two\r\n..\r\n.\r\n"), text


def test_second_mx_when_the_first_greylists():
    send(["a@grey.test"], subject="grey")
    took(plain, "grey")
    has(suite.wait_log("delivery", "a@grey.test", "status=sent"), "plain.peer.test[127.0.0.11]")


def test_partial_refusal_is_reported_and_the_rest_delivered():
    send(["a@plain.test", "unknown@plain.test"], subject="partial")
    expect(len(took(plain, "partial")[0]), 1)
    has(suite.wait_log("delivery", "unknown@plain.test"), "dsn=5.1.1 status=bounced (550 5.1.1 unknown)")


def test_8bit_content_to_a_7bit_host_is_converted():
    mime = "Subject: eight\r\nMIME-Version: 1.0\r\nContent-Type: %s\r\nContent-Transfer-Encoding: 8bit\r\n\r\n%s\r\n"
    with suite.smtp() as s:
        s.sendmail("alice@example.test", ["a@seven.test"], (mime % ("text/plain; charset=utf-8", "gr\u00fc\u00dfe")).encode(), mail_options=["BODY=8BITMIME"])
    text = took(seven, "eight")[1]
    assert max(text) < 128, text
    expect(email.message_from_bytes(text).get_payload(decode=True).decode().split("\r\n")[0], "gr\u00fc\u00dfe")
    signed = '--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\ngr\u00fc\u00dfe\r\n--b\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--b--'
    with suite.smtp() as s:
        s.sendmail("alice@example.test", ["s@seven.test"], (mime % ('multipart/signed; boundary=b; protocol="application/pgp-signature"', signed)).encode(), mail_options=["BODY=8BITMIME"])
    has(suite.wait_log("delivery", "s@seven.test"), "dsn=5.6.3 status=bounced")
    send(["b@seven.test"], "ascii", subject="declared", mail_options=["BODY=8BITMIME"])
    took(seven, "declared")


def test_lmtp_on_a_socket_replies_for_each():
    send(["a@lmtp.test", "b@lmtp.test", "unknown@lmtp.test"], subject="lmtp")
    expect(len(took(store, "lmtp")[0]), 2)
    suite.wait_log("delivery", "b@lmtp.test", "status=sent")
    suite.wait_log("delivery", "unknown@lmtp.test", "status=bounced")


def test_tls_when_offered_and_verified_where_asked():
    send(["a@good.test"], subject="verified")
    took(secure, "verified")
    expect(secure.secure, 1)
    send(["a@bad.test"], subject="wrong name")
    has(suite.wait_log("delivery", "a@bad.test"), "dsn=4.7.5 status=deferred")
    send(["a@must.test"], subject="no tls there")
    has(suite.wait_log("delivery", "a@must.test"), "dsn=4.7.5 status=deferred")
    assert not [m for m in secure.messages + plain.messages if b"wrong name" in m[1] or b"no tls there" in m[1]]


def test_the_name_of_the_host_is_asked_for():
    send(["a@good.test"], subject="by name")
    took(secure, "by name")
    expect(set(names), {"mail.example.test", "other.peer.test"})  # the latter is what was refused above


def test_sessions_are_resumed():
    def resumed():
        """There is a remoted for each processor, and each has its own sessions."""
        number = len(secure.messages)
        send(["a@good.test"], subject="again %d." % number)
        took(secure, "again %d." % number)
        return [line for line in suite.lines() if "to=<a@good.test>" in line and re.search(r'tls="TLSv1\.[23] [^"]* verified, resumed"', line)]
    wait_for(resumed, 60, "a session that is resumed")


def test_a_host_that_says_nothing_to_the_final_dot():
    """It may have the message (RFC 1047): no other host gets it, and it is counted."""
    dot.hang_up = 1
    send(["a@dot.test"], subject="lost dot")
    has(suite.wait_log("delivery", "a@dot.test", "status=deferred"), "connection lost while waiting for the reply to the end of data")
    wait_for(lambda: len(dot.messages) == 2, 20, "the second time")
    suite.wait_log("delivery", "a@dot.test", "status=sent")
    assert not [m for m in plain.messages if b"Subject: lost dot" in m[1]]
    counts, = [row for row in map(json.loads, suite.mailctl("queue", "stats", "--json").stdout.splitlines()) if "maybe_twice" in row]
    expect(counts["maybe_twice"], 1)
    has(suite.mailctl("queue", "stats").stdout, ", 1 maybe delivered twice")


def test_dns_answers_that_are_none():
    for to, words in (("a@null.test", "dsn=5.1.10 status=bounced"), ("a@failing.test", "dsn=4.4.3 status=deferred"), ("a@nosuch.test", "dsn=5.1.2 status=bounced")):
        send([to])
        has(suite.wait_log("delivery", to), words)


def test_a_route_has_its_own_source_address():
    assert "127.0.0.77" not in plain.sources, plain.sources
    send(["a@source.test"], subject="from 77")
    took(plain, "from 77")
    assert "127.0.0.77" in plain.sources, plain.sources


def test_an_address_that_drops_packets_costs_a_moment_and_then_nothing():
    hole, stuck = socket.socket(socket.AF_INET6), []
    try:
        hole.bind(("::1", port))
    except OSError:
        return  # no IPv6 here: nothing to wait for
    hole.listen(0)
    for _ in range(3):  # who waits to be accepted leaves no room for others
        stuck.append(socket.socket(socket.AF_INET6))
        stuck[-1].setblocking(False)
        stuck[-1].connect_ex(("::1", port))
    send(["a@both.test"], subject="both 1")
    took(plain, "both 1")
    silent = [line for line in suite.lines() if " attempt " in line and "both.peer.test[::1]" in line]
    expect(len(silent), 1, silent)
    has(silent[0], "timed out")
    dead = re.search(r"remoted\[\d+\]", silent[0]).group(0)
    for n in range(20):  # there is a remoted for each processor, and each finds out for itself
        send(["a@both.test"], subject="both again %d" % n)
        took(plain, "both again %d" % n)
    lines = [line for line in suite.lines() if "both.peer.test[::1]" in line and dead in line]
    expect(len(lines), 1, lines)
    assert not [line for line in suite.lines() if "@both.test" in line and "status=deferred" in line]
    for s in stuck + [hole]:
        s.close()


def test_connections_are_kept():
    before, had = plain.connections, len(plain.messages)
    with suite.smtp() as s:
        for n in range(50):
            s.sendmail("alice@example.test", ["a@plain.test"], "Subject: kept %d\r\n\r\nx\r\n" % n)
    wait_for(lambda: len(plain.messages) >= had + 50, 30, "50 messages")
    assert plain.connections - before <= 25, plain.connections - before


def test_nothing_is_lost_when_remoted_dnsd_and_queued_are_killed():
    acknowledged, lock, numbers = set(), threading.Lock(), iter(range(MESSAGES))

    def sender():
        while True:
            with lock:
                n = next(numbers, None)
            if n is None:
                return
            while True:
                try:
                    send(["k%d@plain.test" % (n % 50)], "x" * 500, subject="kill-%d." % n)
                    break
                except (OSError, smtplib.SMTPException):
                    time.sleep(0.05)
            with lock:
                acknowledged.add(n)

    threads = [threading.Thread(target=sender) for _ in range(10)]
    for t in threads:
        t.start()
    kills = collections.Counter()
    for i in range(12):
        time.sleep(random.uniform(0.1, 0.4))
        name = ("remoted", "dnsd", "remoted", "queued")[i % 4]
        pids = [pid for n, _, pid in suite.processes() if n == name and pid]
        if pids:
            os.kill(random.choice(pids), signal.SIGKILL)
            kills[name] += 1
    for t in threads:
        t.join()

    def arrived():
        found = collections.Counter()
        for _, text in list(plain.messages):
            m = re.search(rb"Subject: kill-(\d+)\.", text)
            if m:
                found[int(m.group(1))] += 1
        return found

    wait_for(lambda: len(arrived()) >= MESSAGES, 60, "all messages, of which %d came" % len(arrived()))
    found = arrived()
    print("# %d messages, kills %s, duplicates %d, connections %d" % (MESSAGES, dict(kills), sum(found.values()) - len(found), plain.connections))
    expect(sorted(acknowledged), list(range(MESSAGES)))


main(globals())
