#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Extensions of SMTP through the whole suite: what comes in by one goes out by it,
or as it can to a peer that lacks it."""
import atexit
import base64
import email
import os
import re
import shutil
import socket
import tempfile

from pillar import Dialogue, Instance, expect, has, main, starts, wait_for
from peer import Peer

with socket.socket() as s:
    s.bind(("127.0.0.11", 0))
    PORT = s.getsockname()[1]
while True:  # two in a row
    with socket.socket() as s, socket.socket() as t:
        s.bind(("127.0.0.1", 0))
        PROXY_PORT = s.getsockname()[1]
        try:
            t.bind(("127.0.0.1", PROXY_PORT + 1))
            break
        except OSError:
            pass
work = tempfile.mkdtemp(prefix="pp-ext-", dir="/tmp")
os.chmod(work, 0o755)
atexit.register(shutil.rmtree, work, True)
with open(work + "/passwords", "w") as f:
    f.write("bob@example.test bob:b:ob\n127.0.0.13 alice:pencil\n[127.0.0.14] wrong:wrong\n")
suite = Instance("""
smtp_tcp_port = %d
mynetworks = 127.0.0.0/8
inet_protocols = ipv4
smtpd_authorized_etrn_hosts = 127.0.0.1
route sub.dial.test { nexthop = "[127.0.0.15]"; }
route all.test { nexthop = "[127.0.0.11]"; }
sender_dependent_relayhost_maps = inline:{alice@example.test=[127.0.0.13], bob@example.test=[127.0.0.13], carol@example.test=[127.0.0.14]}
relayhost = [127.0.0.12]
smtp_sasl_password_maps = file:%s/passwords
smtp_sender_dependent_authentication = yes
route none.test { nexthop = "[127.0.0.12]"; }
""" % (PORT, work), start=False)
with open(suite.env["CONFIG"], "a") as f:
    f.write("""listener proxied { service = smtp; address = 127.0.0.1:%d; proxy_hosts = 127.0.0.1; }
listener proxied-tls { service = submissions; address = 127.0.0.1:%d; proxy_hosts = 127.0.0.1; }
""" % (PROXY_PORT, PROXY_PORT + 1))
suite.start()
suite.user_add("alice")
suite.user_add("bob")
suite.user_add("binny")
ADDRESS = ("127.0.0.1", suite.port("SMTP"))
rich = Peer(("127.0.0.11", PORT), ("PIPELINING", "8BITMIME", "DSN", "CHUNKING", "BINARYMIME", "SMTPUTF8", "SIZE 1000000000"))
def login(mechanism, initial, ask):
    if mechanism == "PLAIN":
        return base64.b64decode(initial) in (b"\0alice\0pencil", b"\0bob\0b:ob")
    return False


smart = Peer(("127.0.0.13", PORT), ("PIPELINING", "8BITMIME", "AUTH PLAIN LOGIN"), auth=login)
strict = Peer(("127.0.0.14", PORT), ("PIPELINING", "8BITMIME", "AUTH PLAIN LOGIN"), auth=login)
poor = Peer(("127.0.0.12", PORT), ("PIPELINING",))


def talk(*commands, hello="EHLO client.test"):
    """Says them one by one; each has to succeed. The open dialogue."""
    d = Dialogue(ADDRESS)
    starts(d.reply(), "220")
    for c in (hello,) + commands:
        starts(d.ask(c), "2")
    return d


def took(peer, subject):
    return wait_for(lambda: [m for m in peer.messages if b"Subject: %s\r\n" % subject.encode() in m.data], 20, subject)[0]


def test_chunks_in_and_out():
    body = b"Subject: chunks\r\n\r\n" + b".dots and more\r\n" * 20000
    d = talk("MAIL FROM:<alice@example.test>", "RCPT TO:<x@all.test>", "RCPT TO:<y@none.test>", "RCPT TO:<bob@example.test>")
    for at in range(0, len(body), 70001):
        chunk = body[at:at + 70001]
        d.raw(b"BDAT %d\r\n" % len(chunk) + chunk)
        starts(d.reply(), "250")
    starts(d.ask("BDAT 0 LAST"), "250")
    d.close()
    for peer, how in ((rich, "BDAT"), (poor, "DATA")):
        m = took(peer, "chunks")
        expect((m.how, m.data.endswith(body)), (how, True))
    assert suite.wait_messages(1)[0].replace(b"\r\n", b"\n").endswith(body.replace(b"\r\n", b"\n"))


def test_binary_in_and_out():
    """As it is where it is taken; in lines, by base64, where it is not and in our own mailboxes; back where that would break it."""
    part = bytes(range(256)) * 300
    body = (b"MIME-Version: 1.0\r\nSubject: binary\r\nContent-Type: multipart/mixed; boundary=xx\r\nContent-Transfer-Encoding: binary\r\n\r\n"
            b"--xx\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n" + part + b"\r\n--xx--\r\n")
    d = talk("MAIL FROM:<alice@example.test> BODY=BINARYMIME", "RCPT TO:<x@all.test>", "RCPT TO:<y@none.test>", "RCPT TO:<binny@example.test>")
    d.raw(b"BDAT %d LAST\r\n" % len(body) + body)
    starts(d.reply(), "250")
    d.close()
    m = took(rich, "binary")
    has(m.mail, "BODY=BINARYMIME")
    expect(m.data.endswith(body), True)
    m = took(poor, "binary")
    assert "BODY" not in m.mail, m.mail
    copies = [m.data, suite.wait_messages(1, "binny")[0]]
    for copy in copies:
        assert copy.isascii() and b"\0" not in copy
        leaf = email.message_from_bytes(copy).get_payload()[0]
        expect(leaf["Content-Transfer-Encoding"], "base64")
        expect(leaf.get_payload(decode=True), part)
    signed = body.replace(b"Subject: binary", b"Subject: signed").replace(b"multipart/mixed", b"multipart/signed")
    d = talk("MAIL FROM:<binny@example.test> BODY=BINARYMIME", "RCPT TO:<x@all.test>", "RCPT TO:<signed@none.test>")
    d.raw(b"BDAT %d LAST\r\n" % len(signed) + signed)
    starts(d.reply(), "250")
    d.close()
    expect(took(rich, "signed").data.endswith(signed), True)
    has(suite.wait_log("delivery", "to=<signed@none.test>"), "dsn=5.6.3 status=bounced")
    report = [m for m in map(email.message_from_bytes, suite.wait_messages(2, "binny")) if m.get_content_type() == "multipart/report"][0]
    expect(report.get_payload()[2].get_content_type(), "text/rfc822-headers")


def test_utf8_everywhere_and_back():
    suite.user_add("jürgen")
    d = talk("MAIL FROM:<jürgen@example.test> SMTPUTF8", "RCPT TO:<jürgen@example.test>", "RCPT TO:<josé@all.test>", "RCPT TO:<josé@none.test> NOTIFY=FAILURE ORCPT=utf-8;josé@old.test")
    d.ask("DATA")
    starts(d.ask("From: Jürgen <jürgen@example.test>\r\nSubject: Grüße\r\n\r\nhallo\r\n."), "250")
    d.close()
    m = took(rich, "Grüße")
    has(m.mail, "SMTPUTF8")
    expect(m.rcpts[0].split(" ")[1], "TO:<josé@all.test>")
    has(suite.wait_log("delivery", "josé@none.test"), "dsn=5.6.7 status=bounced")
    messages = list(map(email.message_from_bytes, suite.wait_messages(2, "jürgen")))
    report = [m for m in messages if m.get_content_type() == "multipart/report"][0]
    expect(report.get_param("report-type"), "global-delivery-status")
    expect([p.get_content_type() for p in report.get_payload()], ["text/plain", "message/global-delivery-status", "message/global"])
    text = report.as_bytes().decode("utf-8", "surrogateescape")
    has(text, "Original-Recipient: utf-8;josé@old.test")
    has(text, "Final-Recipient: utf-8; josé@none.test")


def test_utf8_of_an_ascii_sender_comes_back_in_ascii():
    d = talk("MAIL FROM:<alice@example.test> SMTPUTF8", "RCPT TO:<bob@none.test>")
    d.ask("DATA")
    starts(d.ask("Subject: Grüße 2\r\n\r\nhallo\r\n."), "250")
    d.close()
    report = email.message_from_bytes(suite.wait_messages(1, "alice")[0])
    expect([p.get_content_type() for p in report.get_payload()], ["text/plain", "message/delivery-status", "message/global"])
    assert report.as_bytes().isascii()
    d = talk("MAIL FROM:<alice@example.test> SMTPUTF8", "RCPT TO:<bob@none.test>")
    d.ask("DATA")
    starts(d.ask("Subject: ascii after all\r\n\r\nhallo\r\n."), "250")
    d.close()
    took(poor, "ascii after all")


def send(subject, sender, rcpt):
    with suite.smtp() as s:
        s.sendmail(sender, [rcpt], "Subject: %s\r\n\r\nx\r\n" % subject)


def test_smart_host_by_sender_with_login():
    send("for alice", "alice@example.test", "x@far.test")
    send("for bob", "bob@example.test", "x@far.test")
    send("for dave", "dave@example.test", "x@far.test")
    took(smart, "for alice")
    took(smart, "for bob")
    took(poor, "for dave")
    logins = [base64.b64decode(c.split(" ")[2]) for c in smart.commands if c.startswith("AUTH ")]
    expect(sorted(set(logins)), [b"\0alice\0pencil", b"\0bob\0b:ob"])
    send("for alice 2", "alice@example.test", "x@far.test")
    took(smart, "for alice 2")
    assert "pencil" not in suite.log() and "b:ob" not in suite.log(), "a password in the log"
    has(suite.mailctl("route", "--sender", "alice@example.test", "x@far.test").stdout, "logs in as alice")


def test_a_login_that_fails_keeps_the_mail():
    send("for carol", "carol@example.test", "x@far.test")
    has(suite.wait_log("delivery", "to=<x@far.test>", "status=deferred"), "535 5.7.8 no")
    assert not strict.messages


def test_etrn_has_what_waits_tried():
    d = talk()
    late = ("127.0.0.15", PORT)
    with suite.smtp() as s:
        for n in range(3):
            s.sendmail("eva@example.test", ["x@sub.dial.test"], "Subject: etrn %d\r\n\r\nx\r\n" % n)
    wait_for(lambda: suite.log().count("to=<x@sub.dial.test>") >= 3, 20, "three deferrals")
    peer = Peer(late, ("PIPELINING", "8BITMIME"))
    starts(d.ask("ETRN dial.test"), "251 ")
    starts(d.ask("ETRN @dial.test"), "253 2.0.0 3 ")
    for n in range(3):
        took(peer, "etrn %d" % n)
    starts(d.ask("ETRN #sub"), "459 4.7.1 ")
    d.close()


def test_times_and_priorities_of_submitted_mail():
    """FUTURERELEASE, DELIVERBY, MT-PRIORITY, in and out."""
    rich.extensions += ["DELIVERBY", "MT-PRIORITY"]
    with suite.submission("alice") as s:
        has(s.ehlo_resp.decode(), "FUTURERELEASE ")
        for subject, options, rcpts in (("released", ["HOLDFOR=2", "MT-PRIORITY=3", "BY=1000;RT"], ["x@all.test"]), ("far", ["HOLDFOR=3600"], ["x@all.test"]),
                                        ("in time", ["BY=1000;R"], ["in-time@none.test"]), ("told", ["BY=1000;N"], ["told@none.test"])):
            s.sendmail("alice@example.test", rcpts, "Subject: %s\r\n\r\nx\r\n" % subject, mail_options=options)
    has(suite.wait_log("delivery", "to=<in-time@none.test>"), "dsn=5.3.3 status=bounced")
    has(suite.wait_log("delivery", "to=<told@none.test>"), "status=sent")
    listing = suite.mailctl("queue", "list").stdout
    has(listing, "as its sender asked")
    m = took(rich, "released")
    assert re.search(r" BY=99[0-9];RT", m.mail) and " MT-PRIORITY=0" in m.mail, m.mail  # nobody has allowed more than 0
    has(m.data.decode(), " PRIORITY 0;")
    suite.wait_log("queue", "released: its time has come")
    expect([m for m in rich.messages if b"Subject: far" in m.data], [])
    for words in (("Action: relayed", "told@none.test"), ("Action: failed", "in-time@none.test"), ("Action: relayed", "x@all.test")):
        wait_for(lambda: [t for t in suite.wait_messages(1, "alice") if all(w.encode() in t for w in words)], 20, words)


def test_proxy_header_names_the_client():
    def connect(port, header):
        s = socket.create_connection(("127.0.0.1", port), 30)
        s.sendall(header)
        return s

    v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c" + bytes((192, 0, 2, 78, 127, 0, 0, 1, 18, 103, 0, 25))
    for header, client in ((b"PROXY TCP4 192.0.2.77 127.0.0.1 4711 25\r\n", "192.0.2.77"), (v2, "192.0.2.78")):
        with connect(PROXY_PORT, header) as s:
            f = s.makefile("rwb")
            starts(f.readline().decode(), "220 ")
            f.write(b"EHLO x\r\n")
            f.flush()
            has(f.readline().decode(), "250-")
        suite.wait_log("connect", "unknown[%s]" % client)
        # TLS begins right behind the header
        with suite.context().wrap_socket(connect(PROXY_PORT + 1, header), server_hostname="127.0.0.1") as s:
            starts(s.recv(1000).decode(), "220 ")
    with connect(PROXY_PORT, b"EHLO x\r\n") as s:
        expect(s.recv(100), b"")
    with connect(suite.port("SMTP"), b"PROXY TCP4 192.0.2.79 127.0.0.1 4711 25\r\n") as s:
        f = s.makefile("rb")
        starts(f.readline().decode(), "220 ")
        starts(f.readline().decode(), "500 ")


def test_rates_over_all_processes():
    """Last: it changes what the others go by."""
    with open(suite.env["CONFIG"]) as f:
        text = f.read().replace("mynetworks = 127.0.0.0/8\n", "")
    with open(suite.env["CONFIG"], "w") as f:
        f.write(text + "smtpd_login_message_rate_limit = 3\nanvil_rate_time_unit = 1h\nmynetworks = 192.0.2.0/24\n"
                "smtpd_client_connection_rate_limit = 12\nreject_authenticated_sender_login_mismatch = yes\n")
    suite.mailctl("reload")
    replies = []
    for n in range(5):
        with suite.submission("alice") as s:
            if n == 0:
                s.mail("bob@example.test")
                expect(s.rcpt("bob@example.test")[0], 553)
                s.rset()
            s.mail("alice@example.test")
            replies.append(s.rcpt("bob@example.test"))
    codes = [r[0] for r in replies]
    expect(codes, [250, 250, 451, 451, 451])  # the refused one counts
    has(replies[-1][1].decode(), "4.7.28")

    def refused():
        d = Dialogue(ADDRESS)
        reply = d.reply()
        d.close()
        return reply.startswith("421 4.7.0")
    assert any(refused() for _ in range(12))


main(globals())
