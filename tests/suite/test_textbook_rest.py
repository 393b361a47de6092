#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Rows of the textbook acceptance list that need a peer of their own: a server
with habits, a server that is unavailable, a user agent without a server."""
import socket
import subprocess
import threading
import time

from pillar import Dialogue, Instance, SENDMAIL, expect, has, main, starts, wait_for


class Peer(threading.Thread):
    """A mail host that greets as told, answers with many-line replies and any phrase, and keeps what it got."""

    def __init__(self):
        super().__init__(daemon=True)
        self.sock = socket.socket()
        self.sock.bind(("127.0.0.1", 0))
        self.sock.listen(20)
        self.port = self.sock.getsockname()[1]
        self.greeting = b"220 peer ready\r\n"
        self.sessions, self.messages, self.commands = 0, [], []
        self.start()

    def run(self):
        while True:
            c, _ = self.sock.accept()
            self.sessions += 1
            threading.Thread(target=self.serve, args=(c,), daemon=True).start()

    def serve(self, c):
        c.sendall(self.greeting)
        if not self.greeting.startswith(b"220"):
            c.close()
            return
        f = c.makefile("rb")
        for line in f:
            verb = line[:4].upper()
            self.commands.append(line.strip().decode())
            if verb == b"EHLO":
                c.sendall(b"250-peer at your service, \"friend\"\r\n250-SIZE\r\n250-X-ODD thing=1\r\n250 8BITMIME\r\n")
            elif verb == b"DATA":
                c.sendall(b"354 \r\n")
                text = b""
                for part in f:
                    if part == b".\r\n":
                        break
                    text += part
                self.messages.append(text)
                c.sendall(b"250-2.0.0 yes\r\n250-2.0.0 indeed\r\n250 2.0.0 taken, at last\r\n")
            elif verb == b"QUIT":
                c.sendall(b"221 bye\r\n")
                break
            else:
                c.sendall(b"250-whatever phrase\r\n250 250 is a number\r\n")
        c.close()


peer = Peer()
suite = Instance(extra="mynetworks = 127.0.0.0/8\nminimal_backoff_time = 1s\nmaximal_backoff_time = 2s\nsmtpd_client_connection_count_limit = 2\n"
                       "smtp_tls_security_level = none\ntransport_maps = inline:{peer.test=smtp:[127.0.0.1]:%d}\n" % peer.port)


def send(to, subject, sender="alice@example.test"):
    subprocess.run([SENDMAIL, "-C", suite.env["CONFIG"], "-f", sender, to], input=("From: %s\nTo: %s\nSubject: %s\n\nbody\n" % (sender, to, subject)).encode(), check=True, timeout=60)


def test_A10_the_sender_starts_when_the_queue_has_something():
    before = peer.sessions
    time.sleep(0.5)
    expect(peer.sessions, before, "nobody calls while there is nothing to send")
    send("x@peer.test", "A10")
    wait_for(lambda: any(b"Subject: A10" in m for m in peer.messages), 20, "A10 at the peer")


def test_A14_send_one_plain_file_to_a_local_user():
    subprocess.run([SENDMAIL, "-C", suite.env["CONFIG"], "-f", "alice@example.test", "bob@example.test"], input=b"just text, no header at all\n", check=True, timeout=60)

    def look():
        return any(b"just text, no header at all" in t for t in suite.messages())
    wait_for(look, 20, "A14")


def test_A16_the_mailbox_authenticates_before_any_access():
    d = Dialogue(("127.0.0.1", suite.port("IMAPS")), suite.context())
    d.line()
    d.say("a SELECT INBOX")
    starts(d.line(), "a BAD")
    d.close()
    d = Dialogue(("127.0.0.1", suite.port("POP3S")), suite.context())
    d.line()
    for command in ("STAT", "LIST", "RETR 1", "DELE 1"):
        d.say(command)
        starts(d.line(), "-ERR")
    d.close()


def test_A19_long_lines_and_vendor_headers_of_the_big_providers_pass():
    s = suite.smtp()
    text = "Thread-Topic: x\r\nX-MS-Exchange-Organization-SCL: -1\r\nAuthentication-Results: mx.google.com; spf=pass\r\nSubject: A19\r\n\r\n" + "x" * 998 + "\r\n"
    s.sendmail("x@outlook.test", ["bob@example.test"], text)
    s.quit()
    wait_for(lambda: any(text.encode() in t for t in suite.messages()), 20, "A19")


def test_S08_not_available_is_421_and_the_client_comes_again():
    held = [Dialogue(("127.0.0.1", suite.port("SMTP"))) for _ in range(2 * 4)]
    greetings = [d.reply() for d in held]
    for d in held:
        d.close()
    assert any(g.startswith("220") for g in greetings), greetings
    time.sleep(3)  # the kept connection is closed by now
    peer.greeting = b"421 peer not available\r\n"
    before = peer.sessions
    send("x@peer.test", "S08")
    wait_for(lambda: peer.sessions > before, 20, "the first try")
    wait_for(lambda: "421" in suite.mailctl("queue", "list", "--json").stdout, 20, "the reason in the queue")
    peer.greeting = b"220 peer ready\r\n"
    wait_for(lambda: any(b"Subject: S08" in m for m in peer.messages), 20, "the second try")


def test_S14_any_phrase_on_many_lines():
    send("x@peer.test", "S14")
    wait_for(lambda: any(b"Subject: S14" in m for m in peer.messages), 20, "S14 at the peer")
    has(suite.wait_log("delivery", "x@peer.test", "taken, at last"), "status=sent")


def test_S25_bcc_never_leaks_to_the_peer():
    subprocess.run([SENDMAIL, "-C", suite.env["CONFIG"], "-t", "-f", "alice@example.test"], input=b"To: x@peer.test\nBcc: hidden@peer.test\nSubject: S25\n\nb\n", check=True, timeout=60)
    got = wait_for(lambda: [m for m in peer.messages if b"Subject: S25" in m], 20, "S25 at the peer")
    assert b"hidden" not in got[0], got[0]


def test_P11_pop3_is_the_inbox_alone():
    c = suite.imap()
    c.create("Other")
    c.append("Other", None, None, b"Subject: elsewhere\r\n\r\nx\r\n")
    c.logout()
    p = suite.pop3()
    count = p.stat()[0]
    texts = [b"\r\n".join(p.retr(n + 1)[1]) for n in range(count)]
    p.quit()
    assert not any(b"Subject: elsewhere" in t for t in texts)


def test_I15_each_way_of_reading_suits_its_user():
    """Several machines: IMAP, the mail stays; one place: POP3 takes it home."""
    suite.user_add("seller")
    s = suite.smtp()
    s.sendmail("x@else.test", ["seller@example.test"], "Subject: I15\r\n\r\nx\r\n")
    s.quit()
    suite.wait_mail(1, "seller")
    for _ in range(2):
        c = suite.imap("seller")
        c.select("INBOX")
        expect(len(c.search(None, "ALL")[1][0].split()), 1)
        c.logout()
    p = suite.pop3("seller")
    p.dele(1)
    p.quit()
    c = suite.imap("seller")
    c.select("INBOX")
    expect(c.search(None, "ALL")[1][0], b"")
    c.logout()


def test_S21_a_user_agent_without_its_server_is_told():
    suite.stop()
    r = subprocess.run([SENDMAIL, "-C", suite.env["CONFIG"], "-f", "alice@example.test", "bob@example.test"], input=b"Subject: S21\n\nx\n", capture_output=True, timeout=60)
    expect(r.returncode, 75, r.stderr)
    assert r.stderr, "and why"


main(globals())
