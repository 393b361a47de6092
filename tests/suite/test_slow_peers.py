#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Clients that are slow on purpose: a byte at a time, replies never read, sessions held open.

Each costs its timeout and nothing else.  They all run at the same time, each in a
thread of its own, while mail goes on; the tests look at what became of each."""
import os
import socket
import subprocess
import threading
import time

from pillar import SENDMAIL, SLOW, Dialogue, Instance, expect, has, main, starts, wait_for

TIMEOUT = 8
LIMIT = 30
suite = Instance(extra="""daemon_processes = 1
smtpd_timeout = %ds
smtpd_transaction_time_limit = %ds
smtpd_min_data_rate = 1000
smtpd_junk_command_limit = 1000000
smtpd_forbid_unauth_pipelining = no
smtpd_session_limit = %d
""" % (TIMEOUT, TIMEOUT + 3, LIMIT), users=("bob",))
END = 60 * SLOW


def dial():
    d = Dialogue(("127.0.0.1", suite.port("SMTP")))
    starts(d.reply(), "220")
    return d


def envelope(d):
    starts(d.ask("EHLO slow.test"), "250")
    starts(d.ask("MAIL FROM:<slow@else.test>"), "250")
    starts(d.ask("RCPT TO:<bob@example.test>"), "250")


def heard(sock):
    try:
        got = sock.recv(65536)
    except socket.timeout:
        return b""
    if not got:
        raise ConnectionResetError
    return got


def drip(d, pieces, every=0.3):
    """Says a piece now and then until the server has something to say: that, whether it hung up, and after how long."""
    begun = time.monotonic()
    said = b""
    for number, piece in enumerate(pieces):
        time.sleep(max(0, begun + number * every - time.monotonic()))
        d.sock.settimeout(0.01)
        try:
            said += heard(d.sock)  # first: what is said to a connection that is closed already takes away what it said last
            if b"421" in said:
                break
            d.sock.sendall(piece)
        except OSError:
            break
        if time.monotonic() - begun > END:
            break
    d.sock.settimeout(END)
    try:
        while True:
            got = d.sock.recv(65536)
            if not got:
                break
            said += got
    except ConnectionResetError:
        pass
    return said.decode(), time.monotonic() - begun


def endless(text):
    while True:
        for byte in text:
            yield bytes([byte])


def slow_command():
    return drip(dial(), endless(b"x" * 70))


def slow_content():
    d = dial()
    envelope(d)
    starts(d.ask("DATA"), "354")
    d.raw(b"Subject: slow\r\n\r\n")
    return drip(d, endless(b"x" * 70 + b"\r\n"))


def slow_chunk():
    d = dial()
    envelope(d)
    d.say("BDAT 100000 LAST")
    return drip(d, endless(b"x"))


def slow_chunks():
    d = dial()
    envelope(d)
    return drip(d, (b"BDAT 1\r\nx" for _ in range(10000)), 0.37)


def slow_envelope():
    d = dial()
    envelope(d)
    return drip(d, (b"RCPT TO:<bob@example.test>\r\n" for _ in range(10000)), 0.37)


def steady_content():
    """Slow, but not too slow, for longer than smtpd_timeout: it is taken."""
    d = dial()
    envelope(d)
    starts(d.ask("DATA"), "354")
    d.raw(b"Subject: steady\r\n\r\n")
    begun = time.monotonic()
    while time.monotonic() - begun < TIMEOUT + 3:
        d.raw((b"x" * 70 + b"\r\n") * 20)
        time.sleep(0.3)
    return d.ask("."), time.monotonic() - begun


def deaf():
    """Asks and never reads: how much it could say, and how the session ended."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    sock.connect(("127.0.0.1", suite.port("SMTP")))
    sock.settimeout(1)
    begun, sent = time.monotonic(), 0
    while time.monotonic() - begun < END:
        try:
            sent += sock.send(b"EHLO deaf.test\r\n" * 100)
        except socket.timeout:
            continue
        except (BrokenPipeError, ConnectionResetError):
            return sent, time.monotonic() - begun
    return sent, None


class Peer(threading.Thread):
    def __init__(self, play):
        super().__init__(daemon=True)
        self.play, self.result = play, None
        self.start()

    def run(self):
        try:
            self.result = self.play()
        except Exception as e:  # the test that asks for the result shows it
            self.result = e

    def outcome(self):
        self.join(2 * END)
        if isinstance(self.result, Exception):
            raise self.result
        assert self.result is not None, "still running"
        return self.result


peers = {play: Peer(play) for play in (slow_command, slow_content, slow_chunk, slow_chunks, slow_envelope, steady_content, deaf)}


def cut_off(play, after):
    said, took = peers[play].outcome()
    starts([line for line in said.splitlines() if "421" in line][-1], "421 ")
    has(said, "Timeout")
    assert took >= after - 0.5, "%s: ended after %.1f s already" % (play.__name__, took)


def test_mail_goes_on_beside_them():
    for i in range(5):
        with suite.smtp() as s:
            s.sendmail("someone@else.test", ["bob@example.test"], "Subject: beside %d\r\n\r\nhello\r\n" % i)
    suite.wait_mail(5)


def test_a_command_a_byte_at_a_time():
    cut_off(slow_command, TIMEOUT)


def test_content_a_byte_at_a_time():
    cut_off(slow_content, TIMEOUT)


def test_a_chunk_a_byte_at_a_time():
    cut_off(slow_chunk, TIMEOUT)


def test_chunks_of_a_byte():
    cut_off(slow_chunks, TIMEOUT)


def test_an_envelope_that_has_no_end():
    cut_off(slow_envelope, TIMEOUT + 3)


def test_content_that_comes_fast_enough_is_taken():
    reply, took = peers[steady_content].outcome()
    starts(reply, "250")
    assert took > TIMEOUT


def test_a_client_that_never_reads():
    sent, took = peers[deaf].outcome()
    assert took is not None, "the session was not ended"
    assert took >= TIMEOUT - 0.5, "ended after %.1f s already" % took
    # what the system buffers on both sides, and 64 KiB of ours
    assert sent < 32 << 20, "%d bytes of commands were taken" % sent
    suite.wait_log("disconnect", "why=timeout")


def test_of_all_these_nothing_was_queued():
    names = [f for f in suite.wait_mail(6)]
    expect(len(names), 6, "five beside them and the steady one")


def test_more_than_all_sessions_are_turned_away():
    for peer in peers.values():
        peer.outcome()
    open_ones = [dial() for _ in range(LIMIT)]
    late = Dialogue(("127.0.0.1", suite.port("SMTP")))
    starts(late.reply(), "421 4.3.2")
    assert late.at_end()
    # a program of this host waits instead
    local = subprocess.Popen([SENDMAIL, "-C", suite.env["CONFIG"], "-f", "root@else.test", "bob@example.test"], stdin=subprocess.PIPE)
    local.stdin.write(b"Subject: local\n\nhello\n")
    local.stdin.close()
    for d in open_ones:  # and those who are there go on
        starts(d.ask("NOOP"), "250")
    for d in open_ones[:5]:
        starts(d.ask("QUIT"), "221")
        d.close()
    expect(local.wait(END), 0)
    suite.wait_mail(7)

    def greeted():
        d = Dialogue(("127.0.0.1", suite.port("SMTP")))
        reply = d.reply()
        d.close()
        return reply.startswith("220")
    wait_for(greeted, 20, "a greeting")
    for d in open_ones[5:]:
        d.close()
    row, = [line for line in suite.mailctl("limits", "--json").stdout.splitlines() if '"smtpd_session_limit"' in line]
    has(row, '"bound":%d' % LIMIT if '"bound":%d' % LIMIT in row else '"bound": %d' % LIMIT)


LARGE = b"Subject: large\r\n\r\n" + b"".join(b"%09d of a message that fills every buffer\r\n" % n for n in range(400000))


def read_when_all_ends(door, commands, begins):
    """What a slow reader gets in the place of the large message whose transfer has begun when the server is stopped."""
    if not suite.running:
        suite.start()
    with suite.imap() as c:
        expect(c.append("INBOX", None, None, LARGE)[0], "OK")
        number = int(c.select()[1][0])
    d = Dialogue(("127.0.0.1", suite.port(door)))
    d.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    for command in commands:
        d.line()
        d.say(command.format(suite.password("bob"), number))
    while not d.line().startswith(begins.format("", number, len(LARGE))):
        pass
    stopping = threading.Thread(target=suite.stop)
    stopping.start()
    time.sleep(0.3)
    got = d.buffer
    try:
        while more := d.sock.recv(1 << 20):
            got += more
    except ConnectionResetError:
        pass
    stopping.join()
    at = len(os.path.commonprefix([LARGE, got]))
    return got[at:at + 60] if at < len(LARGE) else b""


def test_no_goodbye_stands_in_a_message_that_is_fetched():
    commands = ["a LOGIN bob@example.test {0}", "b SELECT INBOX", "c FETCH {1} (BODY.PEEK[])"]
    expect(read_when_all_ends("IMAP", commands, "* {1} FETCH"), b"")


def test_no_error_stands_in_a_message_that_is_retrieved():
    commands = ["USER bob@example.test", "PASS {0}", "RETR {1}"]
    expect(read_when_all_ends("POP3", commands, "+OK {2} octets"), b"")


main(globals())
