#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Corners of SMTP that a reader of the code found, each wrong once: a kept connection to a fallback relay, a TLS handshake
that never ends, a header that is too much, a list's replies in LMTP, a long list's header."""
import atexit
import os
import re
import socket
import subprocess
import tempfile
import time

import pillar
from peer import Peer
from pillar import Instance, expect, has, main, wait_for

PORT = pillar.free_base() + 25
zone = tempfile.NamedTemporaryFile("w", suffix=".zone")
zone.write("dead.test MX 10 dead.peer.test\ndead.peer.test A 127.0.9.1\ndead.peer.test A 127.0.9.2\ngone.test MX 10 gone.peer.test\ngone.peer.test A 127.0.9.3\n")
zone.flush()
dns = subprocess.Popen(["/usr/bin/python3", os.path.join(pillar.HERE, "dnsserver.py"), "--zone", zone.name], stdout=subprocess.PIPE, text=True)
atexit.register(dns.terminate)
relay = Peer(("127.0.9.90", PORT))
silent = Peer(("127.0.9.91", PORT), extensions=("STARTTLS",))
suite = Instance("""dns_servers = 127.0.0.1@%d
dns_trust_anchor =
smtp_tcp_port = %d
mynetworks = 127.0.0.0/8
smtp_fallback_relay = [127.0.9.90]:%d
smtp_connection_cache_time_limit = 60s
smtp_starttls_timeout = 2s
transport_maps = inline:{ silent.test=smtp:[127.0.9.91]:%d }
""" % (int(dns.stdout.readline()), PORT, PORT, PORT))


def send(to):
    with suite.smtp() as c:
        c.sendmail("alice@example.test", [to], "Subject: x\r\n\r\nx\r\n")


def fate(to, status):
    """The line of the log that says where it went."""
    return wait_for(lambda: re.search(r" to=<%s> relay=(\S+) .*status=%s" % (re.escape(to), status), suite.log()), 30, "%s to be %s" % (to, status))[1]


def test_a_kept_connection_to_a_fallback_relay_is_that():
    """What it puts off, or a new connection where it was stale, is never asked of the hosts that were tried first."""
    send("first@dead.test")
    has(fate("first@dead.test", "sent"), "127.0.9.90")
    late = []

    def not_now(_): # the others are there from now on, and not asked any more
        late.extend(Peer((address, PORT)) for address in ("127.0.9.1", "127.0.9.2") if not late)
        return "451 4.2.1 not now"
    relay.replies[("RCPT", "second")] = not_now
    send("second@dead.test")
    has(fate("second@dead.test", "deferred"), "127.0.9.90")
    send("third@gone.test")
    has(fate("third@gone.test", "sent"), "127.0.9.90")
    assert late
    expect([m.rcpts for peer in late for m in peer.messages], [])


def test_a_stale_connection_to_a_fallback_relay_is_made_anew():
    send("fourth@gone.test")
    fate("fourth@gone.test", "sent")
    before = relay.connections

    def enough(session):
        del relay.replies["MAIL"]
        session.say("421 4.7.0 too many messages on this connection")
        raise OSError
    relay.replies["MAIL"] = enough
    send("fifth@gone.test")
    has(fate("fifth@gone.test", "sent"), "127.0.9.90")
    expect(relay.connections, before + 1)


def test_a_handshake_that_never_ends_is_one_that_failed():
    def say_no_more(session):
        session.say("220 go")
        time.sleep(30)
        raise OSError
    silent.replies["STARTTLS"] = say_no_more
    send("x@silent.test")
    has(fate("x@silent.test", "sent"), "127.0.9.91")
    has(suite.log(), "TLS handshake failed: timeout")


def submit(header):
    with suite.submission() as c:
        c.ehlo("x")
        c.mail("alice@example.test")
        c.rcpt("bob@example.test")
        return c.data(header + "\r\nbody\r\n")


def test_a_header_that_is_too_much_to_look_through_is_refused():
    """Not cut: what stands behind would be gone."""
    expect(submit("From: <alice@example.test>\r\n" + "A: x\r\n" * 10001 + "Subject: lost\r\n")[0], 552)


def test_a_name_that_is_too_long_ends_the_header():
    expect(submit("From: <alice@example.test>\r\n" + "A" * 256 + ": x\r\nSubject: kept\r\n")[0], 250)
    text = wait_for(lambda: [m for m in suite.messages("bob") if b"AAAA" in m], 20, "the message")[0]
    has(text.decode(), "\r\n\r\n" + "A" * 256 + ": x\r\nSubject: kept\r\n")


def test_each_recipient_has_its_reply_in_lmtp():
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(suite.env["LMTP_SOCKET"])
        s.settimeout(30 * pillar.SLOW)
        f = s.makefile("rb")

        def ask(line):
            s.sendall(line.encode() + b"\r\n")
            reply = f.readline()
            while reply[3:4] == b"-":
                reply = f.readline()
            return reply
        f.readline()
        ask("LHLO x")
        ask("MAIL FROM:<>")
        expect([ask("RCPT TO:<bob+%d@example.test>" % i)[:3] for i in range(30)], [b"250"] * 30)
        expect(ask("DATA")[:3], b"354")
        s.sendall(b"Subject: x\r\n\r\n" + b"y" * 200000 + b"\r\n.\r\nQUIT\r\n")
        expect([line[:3] for line in f.read().splitlines()], [b"550"] * 30 + [b"221"])


def test_mail_is_put_off_where_the_configuration_has_an_error():
    path = suite.dir + "/broken.conf"
    with open(suite.env["CONFIG"]) as f, open(path, "w") as g:
        g.write(f.read() + "bogus = 1\nmore = 2\n")
    sendmail = os.path.join(pillar.ROOT, "usr/sbin/sendmail")
    r = subprocess.run([sendmail, "-C", path, "bob@example.test"], input="Subject: x\n\nfrom cron\n", capture_output=True, text=True)
    expect(r.returncode, os.EX_TEMPFAIL)
    has(r.stderr, path + ":")
    has(r.stderr, "more")
    expect(subprocess.run([sendmail, "-C", path, "-bi"], capture_output=True).returncode, os.EX_CONFIG)
    expect(subprocess.run([sendmail, "-C", path, "-bp"], capture_output=True).returncode, os.EX_OK)


def test_the_header_of_what_goes_to_a_long_list_is_read():
    with suite.smtp() as c:
        c.sendmail("alice@example.test", ["bob+%d@example.test" % i for i in range(260)], "Message-ID: <long@list.test>\r\nSubject: x\r\n\r\nz\r\n")
    wait_for(lambda: re.search(r"nrcpt=260 .*message-id=<long@list\.test>", suite.log()), 30, "its Message-ID in the log")


main(globals())
