#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Rows A and S of the textbook acceptance list, against the running suite."""
import os
import smtplib
import socket
import subprocess
import threading
import time

from pillar import (Dialogue, Instance, MAILCTL, ROOT, SENDMAIL, expect, has, main, starts, wait_for)

suite = Instance(extra="smtpd_helo_brackets = yes\nsmtpd_recipient_limit = 5000\ntransport_maps = inline:{later.test=smtp:[127.0.0.1]:1}\n")
ADDRESS = ("127.0.0.1", suite.port("SMTP"))


def message(subject, sender="alice@example.test", to="bob@example.test", body="text\r\n"):
    return "From: %s\r\nTo: %s\r\nSubject: %s\r\n\r\n%s" % (sender, to, subject, body)


def delivered(subject, user="bob"):
    def look():
        for text in suite.messages(user):
            if ("Subject: %s\r\n" % subject).encode() in text:
                return text
    return wait_for(look, 20, "delivery of " + subject)


def test_A03_A04_queue_and_mailbox_are_visible_to_the_tools():
    suite.mailctl("queue", "list")
    has(suite.mailctl("user", "list").stdout, "bob@example.test")


def test_A05_programs_are_separate_and_local_mail_needs_no_mta_hop():
    names = {p[0] for p in suite.processes()}
    for name in ("smtpd", "queued", "routed", "remoted", "locald", "dnsd", "authd", "keyd", "imapd", "pop3d", "userd"):
        assert name in names, name
    subprocess.run([SENDMAIL, "-C", suite.env["CONFIG"], "-f", "alice@example.test", "bob@example.test"],
                   input=message("A05").encode(), check=True, timeout=60)
    text = delivered("A05")
    expect(text.count(b"\r\nReceived:") + text.startswith(b"Received:"), 1, "one hop: the submission itself")


def test_A06_S24_submission_needs_a_login_and_port_25_does_not_relay():
    d = Dialogue(ADDRESS)
    starts(d.reply(), "220 ")
    starts(d.ask("EHLO client.test"), "250")
    starts(d.ask("MAIL FROM:<x@else.test>"), "250")
    starts(d.ask("RCPT TO:<y@elsewhere.test>"), "554 5.7.1")
    d.close()
    d = Dialogue(("127.0.0.1", suite.port("SUBMISSION")))
    d.reply()
    has(d.ask("EHLO client.test"), "STARTTLS")
    starts(d.ask("MAIL FROM:<alice@example.test>"), "530 ")
    d.close()


def test_A06_submission_relays_for_a_login():
    s = suite.submission()
    code, _ = s.mail("alice@example.test")
    expect(code, 250)
    code, _ = s.rcpt("someone@elsewhere.test")
    expect(code, 250)
    s.rset()
    s.quit()


def test_A09_A11_alice_to_bob_in_six_steps():
    """compose, submit, queue, transfer, mailbox, read: each with its log line."""
    s = suite.submission()
    s.sendmail("alice@example.test", ["bob@example.test"], message("A11 walk"))
    s.quit()
    delivered("A11 walk")
    line = suite.wait_log("received", "alice@example.test", "bob@example.test")
    queue_id = line.split("id=")[1].split()[0]
    suite.wait_log("queued", queue_id)
    suite.wait_log("delivery", queue_id, "status=sent")
    suite.wait_log("removed", queue_id)
    imap = suite.imap()
    imap.select("INBOX")
    expect(len(imap.search(None, "SUBJECT", '"A11 walk"')[1][0].split()), 1)
    imap.logout()


def test_A12_several_recipients_and_an_attachment_arrive_byte_exact():
    body = ("--b\r\nContent-Type: text/html\r\n\r\n<img src=cid:x>\r\n--b\r\nContent-Type: image/gif\r\n"
            "Content-Transfer-Encoding: base64\r\nContent-ID: <x>\r\n\r\nR0lGODlhAQABAAAAACw=\r\n--b--\r\n")
    text = ("From: alice@example.test\r\nTo: bob@example.test, alice@example.test\r\nSubject: A12\r\nMIME-Version: 1.0\r\n"
            "Content-Type: multipart/related; boundary=b\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\nMessage-ID: <a12@x>\r\n\r\n" + body)
    s = suite.submission()
    s.sendmail("alice@example.test", ["bob@example.test", "alice@example.test"], text)
    s.quit()
    for user in ("bob", "alice"):
        assert delivered("A12", user).endswith(text.encode()), user


def test_A17_many_accounts_and_domains():
    names = [line.split()[0] for line in suite.mailctl("user", "list").stdout.splitlines() if line.strip()]
    assert "alice@example.test" in names and "bob@example.test" in names


def test_A15_A18_sendmail_takes_recipients_from_the_text():
    r = subprocess.run([SENDMAIL, "-C", suite.env["CONFIG"], "-t", "-i", "-f", "alice@example.test"],
                       input=b"To: bob@example.test\nBcc: alice@example.test\nSubject: A15\n\nhello\n.\nmore\n", timeout=60)
    expect(r.returncode, 0)
    for user in ("bob", "alice"):
        text = delivered("A15", user)
        assert b"Bcc" not in text
        has(text, b"hello\r\n.\r\nmore\r\n")


def test_A18_sendmail_speaks_smtp_and_prints_the_queue():
    r = subprocess.run([SENDMAIL, "-C", suite.env["CONFIG"], "-bs"], input=b"EHLO local\r\nQUIT\r\n", capture_output=True, timeout=60)
    has(r.stdout, b"250")
    r = subprocess.run([SENDMAIL, "-C", suite.env["CONFIG"], "-bp"], capture_output=True, text=True, timeout=60)
    expect(r.returncode, 0, r.stderr)


def test_S01_S02_S12_many_messages_on_one_connection():
    s = suite.smtp()
    for n in range(5):
        s.sendmail("x@else.test", ["bob@example.test"], message("S02 %d" % n))
    s.quit()
    for n in range(5):
        delivered("S02 %d" % n)


def test_S03_space_after_the_colon_literally():
    d = Dialogue(ADDRESS)
    starts(d.reply(), "220 ")
    for line, code in (("HELO crepes.fr", "250"), ("MAIL FROM: <alice@crepes.fr>", "250"), ("RCPT TO: <bob@example.test>", "250"), ("DATA", "354"),
                       ("Subject: S03\r\n\r\nDo you like ketchup?\r\nHow about pickles?\r\n.", "250"), ("QUIT", "221")):
        starts(d.ask(line), code + " ")
    assert d.at_end()
    has(delivered("S03"), b"\r\nDo you like ketchup?\r\nHow about pickles?\r\n")


def test_S05_unknown_recipient_fails_while_others_succeed():
    d = Dialogue(ADDRESS)
    d.reply()
    d.ask("HELO beta.gov")
    starts(d.ask("MAIL FROM:<smith@alpha.edu>"), "250")
    starts(d.ask("RCPT TO:<bob@example.test>"), "250")
    starts(d.ask("RCPT TO:<green@example.test>"), "550 ")
    starts(d.ask("RCPT TO:<alice@example.test>"), "250")
    starts(d.ask("DATA"), "354")
    starts(d.ask("Subject: S05\r\n\r\nBlah blah\r\n."), "250")
    starts(d.ask("QUIT"), "221")
    delivered("S05")
    delivered("S05", "alice")


def test_S06_S07_typed_by_hand_over_telnet():
    """One byte at a time, lower case, with a mistake in between."""
    d = Dialogue(ADDRESS)
    starts(d.reply(), "220 ")
    for line, code in (("helo me", "250"), ("mial from:<a@b.test>", "500"), ("mail from:<a@b.test>", "250"), ("rcpt to:<bob@example.test>", "250")):
        for byte in line + "\r\n":
            d.raw(byte.encode())
            time.sleep(0.001)
        starts(d.reply(), code)
    d.close()


def test_S09_helo_only_peers_get_no_extensions():
    d = Dialogue(ADDRESS)
    d.reply()
    assert "\n" not in d.ask("HELO old.test")
    starts(d.ask("EHLO new.test"), "250-")
    d.close()


def test_a_very_long_list_is_read_to_its_end_from_a_client_that_has_said_all():
    """It is taken at a pace: what is still unread when the client has closed its side is no less said."""
    d = Dialogue(ADDRESS)
    d.reply()
    starts(d.ask("EHLO x.test"), "250-")
    d.raw(b"MAIL FROM:<x@else.test>\r\n" + b"RCPT TO:<bob@example.test>\r\n" * 3000 + b"RSET\r\nNOOP\r\nQUIT\r\n")
    d.sock.shutdown(socket.SHUT_WR)
    replies = [d.reply() for _ in range(3004)]
    assert all(r.startswith("250") for r in replies[:-1]), [r for r in replies[:-1] if not r.startswith("250")][:3]
    starts(replies[-1], "221")


def test_S10_order_errors_are_503():
    d = Dialogue(ADDRESS)
    d.reply()
    d.ask("EHLO x.test")
    starts(d.ask("RCPT TO:<bob@example.test>"), "503")
    starts(d.ask("DATA"), "503")
    starts(d.ask("MAIL FROM:<>"), "250")
    starts(d.ask("DATA"), "5")
    starts(d.ask("MAIL FROM:<>"), "503")
    d.close()


def test_S11_only_crlf_dot_crlf_ends_data():
    d = Dialogue(ADDRESS)
    d.reply()
    d.ask("EHLO x.test")
    d.ask("MAIL FROM:<a@b.test>")
    d.ask("RCPT TO:<bob@example.test>")
    d.ask("DATA")
    d.raw(b"Subject: S11\r\n\r\n..stuffed\r\n...\r\n.x\r\nend\r\n.\r\n")
    starts(d.reply(), "250")
    has(delivered("S11"), b"\r\n.stuffed\r\n..\r\nx\r\nend\r\n")
    for trick in (b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n"):
        d.ask("MAIL FROM:<a@b.test>")
        d.ask("RCPT TO:<bob@example.test>")
        d.ask("DATA")
        d.raw(b"Subject: S11 smuggled\r\n\r\nbody" + trick + b"MAIL FROM:<evil@b.test>\r\n.\r\n")
        starts(d.reply(), "5")
    starts(d.ask("NOOP"), "250")
    d.close()


def test_S13_quit_is_answered_then_the_server_closes():
    d = Dialogue(ADDRESS)
    d.reply()
    starts(d.ask("QUIT"), "221 ")
    assert d.at_end()


def test_S15_eight_bit_bodies_arrive_unchanged():
    body = bytes(range(0x80, 0x100)) + b"\r\n" + "Grüße, привет, 你好\r\n".encode()
    s = suite.smtp()
    s.sendmail("x@else.test", ["bob@example.test"], message("S15").encode() + body, mail_options=["BODY=8BITMIME"])
    s.quit()
    assert delivered("S15").endswith(body)


def test_S17_the_envelope_routes_not_the_header():
    s = suite.smtp()
    s.sendmail("x@else.test", ["bob@example.test"], message("S17", to="alice@example.test"))
    s.quit()
    delivered("S17")
    time.sleep(0.2)
    assert not any(b"Subject: S17\r\n" in t for t in suite.messages("alice"))


def test_S23_starttls_and_implicit_tls():
    s = suite.smtp()
    s.starttls(context=suite.context())
    s.ehlo()
    s.sendmail("x@else.test", ["bob@example.test"], message("S23"))
    s.quit()
    has(delivered("S23"), b"with ESMTPS")
    s = smtplib.SMTP_SSL("127.0.0.1", suite.port("SUBMISSIONS"), context=suite.context(), timeout=30)
    s.login("alice@example.test", suite.password("alice"))
    s.sendmail("alice@example.test", ["bob@example.test"], message("S23 wrapped"))
    s.quit()
    has(delivered("S23 wrapped"), b"with ESMTPSA")


def test_S24_wrong_password_is_535():
    s = suite.smtp("SUBMISSION")
    s.starttls(context=suite.context())
    try:
        s.login("alice@example.test", "wrong")
        raise AssertionError("logged in")
    except smtplib.SMTPAuthenticationError as e:
        expect(e.smtp_code, 535)
    s.close()


def test_S26_final_delivery_adds_return_path_received_and_delivered_to():
    s = suite.smtp()
    s.sendmail("x@else.test", ["bob@example.test"], message("S26"))
    s.quit()
    text = delivered("S26")
    starts(text, b"Return-Path: <x@else.test>\r\n")
    has(text, b"Delivered-To: bob@example.test\r\n")
    has(text, b"Received: from ")


def test_S29_S30_aliases_nested_with_include_and_loops_cut():
    with open(suite.dir + "/etc/list", "w") as f:
        f.write("# members\nbob@example.test\nalice@example.test\n")
    with open(suite.dir + "/etc/aliases", "a") as f:
        f.write("team: nested\nnested: :include:%s/etc/list\nloop: loop2\nloop2: loop, bob@example.test\n" % suite.dir)
    wait_for(lambda: suite.mailctl("route", "loop@localhost", check=False).returncode == 0, 10, "the changed file to be seen")
    s = suite.smtp()
    s.sendmail("x@else.test", ["team@localhost"], message("S30"))
    s.sendmail("x@else.test", ["loop@localhost"], message("S30 loop"))
    s.quit()
    delivered("S30")
    delivered("S30", "alice")
    delivered("S30 loop")
    has(suite.mailctl("route", "team@localhost").stdout, "alice@example.test")


def test_S29_subaddress():
    s = suite.smtp()
    s.sendmail("x@else.test", ["bob+shop@example.test"], message("S29 sub"))
    s.quit()
    delivered("S29 sub")


def test_S31_a_minimal_client_program_can_send():
    sock = socket.create_connection(ADDRESS, timeout=30)
    sock.recv(1024)
    for line in (b"HELO alice\r\n", b"MAIL FROM: <alice@crepes.fr>\r\n", b"RCPT TO: <bob@example.test>\r\n", b"DATA\r\n", b"SUBJECT: S31\r\n\r\n I love networks!\r\n.\r\n", b"QUIT\r\n"):
        sock.sendall(line)
        assert sock.recv(1024)[:1] in b"23", line
    sock.close()
    wait_for(lambda: any(b"SUBJECT: S31" in t for t in suite.messages()), 20, "S31")


def test_limits_size_and_lines():
    s = suite.smtp()
    s.ehlo()
    code, text = s.docmd("MAIL FROM:<x@else.test> SIZE=99999999999")
    expect(code, 552, text)
    s.rset()
    s.mail("x@else.test")
    s.rcpt("bob@example.test")
    s.docmd("DATA")
    s.send(b"Subject: long\r\n\r\n" + b"x" * 100000 + b"\r\n.\r\n")
    code, text = s.getreply()
    expect(code // 100, 5, text)
    expect(s.noop()[0], 250)
    s.quit()


def test_fifty_sessions_at_once():
    failures = []

    def one(n):
        try:
            s = suite.smtp()
            s.sendmail("x@else.test", ["bob@example.test"], message("fifty %d" % n))
            s.quit()
        except Exception as e:
            failures.append(e)

    before = len(suite.mailbox_files())
    threads = [threading.Thread(target=one, args=(n,)) for n in range(50)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures, failures
    suite.wait_mail(before + 50)


def test_reload_drops_no_session():
    d = Dialogue(ADDRESS)
    d.reply()
    starts(d.ask("EHLO x.test"), "250")
    suite.mailctl("reload")
    time.sleep(0.5)
    starts(d.ask("MAIL FROM:<a@b.test>"), "250")
    starts(d.ask("RCPT TO:<bob@example.test>"), "250")
    starts(d.ask("DATA"), "354")
    starts(d.ask("Subject: over reload\r\n\r\n."), "250")
    d.close()
    delivered("over reload")
    s = suite.smtp()
    expect(s.noop()[0], 250)
    s.quit()


def test_a_rotated_log_is_opened_anew_at_reload():
    os.rename(suite.dir + "/log", suite.dir + "/log.1")
    suite.mailctl("reload")
    s = suite.smtp()
    s.sendmail("x@else.test", ["bob@example.test"], message("rotated"))
    s.quit()
    delivered("rotated")
    suite.wait_log("delivery", "status=sent")


def test_A07_stop_and_start_keep_the_queue():
    s = suite.submission()
    s.sendmail("alice@example.test", ["someone@later.test"], message("A07 queued"))
    s.quit()
    wait_for(lambda: '"state":"deferred"' in suite.mailctl("queue", "list", "--json").stdout, 10, "the deferral")
    suite.stop()
    suite.start()
    has(suite.mailctl("queue", "list", "--json").stdout, "later.test")


def test_no_setuid_or_setgid_file_is_installed():
    found = subprocess.run(["find", ROOT, "-type", "f", "-perm", "/6000"], capture_output=True, text=True).stdout
    expect(found, "")


main(globals())
