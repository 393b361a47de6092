#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""TLS as a scanner sees it: versions, every suite there is, certificates by
name, renegotiation, tickets over processes and hours, reload of one certificate.  RFC 9325.
The scanner is tlsscan.py, which is tried on a weak server, too."""
import os
import re
import shutil
import signal
import ssl
import subprocess
import time

import tlsscan
from pillar import SLOW, Instance, expect, main, wait_for


def openssl(*args, cwd):
    subprocess.run(["openssl", *args], cwd=cwd, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def certificate(name, *names, kind="EC"):
    """DIR/tls/NAME.pem: a key and a chain signed by the instance's authority; returns the path."""
    tls = os.path.join(suite.dir, "tls")
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"] if kind == "EC" else ["-newkey", "rsa:2048"]
    openssl("req", *new, "-nodes", "-subj", "/CN=" + names[0], "-keyout", name + ".key", "-out", name + ".csr", cwd=tls)
    with open(os.path.join(tls, name + ".ext"), "w") as f:
        f.write("subjectAltName=" + ",".join("DNS:" + n for n in names) + "\nextendedKeyUsage=serverAuth\n")
    openssl("x509", "-req", "-in", name + ".csr", "-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial", "-days", "30",
            "-extfile", name + ".ext", "-out", name + ".crt", cwd=tls)
    path = os.path.join(tls, name + ".pem")
    with open(path + ".new", "w") as f:
        for part in (".key", ".crt"):
            f.write(open(os.path.join(tls, name + part)).read())
        f.write(open(os.path.join(tls, "ca.pem")).read())
    os.rename(path + ".new", path)
    return path


suite = Instance(start=False)
FILES = [certificate("one", "one.test", "www.one.test"), certificate("two", "*.two.test", kind="RSA"), certificate("three", "three.test")]
with open(suite.dir + "/etc/local.conf", "w") as f:
    f.write("smtpd_tls_chain_files = " + ", ".join(FILES) + "\ndaemon_processes = 3\n")
suite.make()
suite.start()
suite.user_add("bob")

BEFORE = {"SMTP": "smtp", "SUBMISSION": "smtp", "SUBMISSIONS": "", "IMAP": "imap", "IMAPS": "", "POP3": "pop3", "POP3S": ""}
DOORS = tuple(BEFORE)
BY_NAME = {"one.test": "one.test", "WWW.One.Test": "one.test", "a.two.test": "*.two.test", "three.test": "three.test",
           "a.b.two.test": "mail.example.test", "two.test": "mail.example.test", "unknown.test": "mail.example.test", None: "mail.example.test"}


def door(name):
    return tlsscan.Door("127.0.0.1", suite.port(name), BEFORE[name], 30 * SLOW)


def connect(name):
    return door(name).connect()


def peer_names(name, asked):
    return tlsscan.peer_names(door(name), asked, suite.env["CA_FILE"])


def test_a_scanner_finds_nothing_wrong_at_any_door():
    for name in DOORS:
        expect(tlsscan.scan(door(name)), [], name)


def test_the_scanner_finds_what_is_wrong_with_a_weak_server():
    port = suite.base + 7
    server = subprocess.Popen(["openssl", "s_server", "-accept", "127.0.0.1:%d" % port, "-cert", FILES[1], "-key", FILES[1], "-no_tls1_3",
                               "-cipher", "ALL:COMPLEMENTOFALL:@SECLEVEL=0", "-legacy_renegotiation", "-client_renegotiation", "-www"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    weak = tlsscan.Door("127.0.0.1", port, "", 30 * SLOW)

    def listens():
        try:
            weak.connect().close()
            return True
        except OSError:
            return False
    try:
        wait_for(listens, 20, "openssl s_server")
        wrong = tlsscan.scan(weak, tlsscan.CHECKS + [tlsscan.names_check({"one.test": "one.test"}, suite.env["CA_FILE"])])
    finally:
        server.kill()
        server.wait()
    for part in ("TLS 1.0 is spoken", "TLS 1.1 is spoken", "no TLS 1.3", "weak suite ADH-AES128-SHA", "weak suite AES128-SHA", "weak suite ECDHE-RSA-AES128-SHA",
                 "weak suite NULL-SHA256", "renegotiation at the client's wish", "certificate for one.test is that of *.two.test"):
        assert part in wrong, "%s is not in %s" % (part, wrong)


def test_the_name_asked_for_chooses_the_certificate():
    for name in DOORS:
        wrong = []
        tlsscan.names_check(BY_NAME, suite.env["CA_FILE"])(door(name), wrong)
        expect(wrong, [], name)


def handshakes(door, session, context, times):
    results = []
    for _ in range(times):
        with context.wrap_socket(connect(door), server_hostname="one.test", session=session) as s:
            results.append(s.session_reused)
            session = s.session
    return results, session


def test_a_session_is_resumed_by_every_process_of_the_kind():
    context = suite.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    results, session = handshakes("IMAPS", None, context, 1)
    expect(results, [False])
    results, session = handshakes("IMAPS", session, context, 12)
    expect(results, [True] * 12)
    expect(handshakes("POP3S", session, context, 1)[0], [False], "another kind of server opened the ticket")
    suite.mailctl("reload")
    expect(handshakes("IMAPS", session, context, 3)[0], [True] * 3, "after a reload")


def test_every_suite_carries_data_both_ways():
    said = b"a NOOP\r\n" * 3000
    for hashes, version in (("AES128-GCM-SHA256", 2), ("AES256-GCM-SHA384", 2), ("CHACHA20-POLY1305", 2), ("AES128-SHA256", 2), ("", 3)):
        context = suite.context()
        if version == 2:
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers("ECDHE-RSA-%s:ECDHE-ECDSA-%s" % (hashes, hashes))
        with context.wrap_socket(connect("IMAPS"), server_hostname="one.test") as s:
            expect(s.version(), "TLSv1.%d" % version)
            expect(s.cipher()[0].endswith(hashes), True, s.cipher())
            s.sendall(said + b"b LOGOUT\r\n")
            heard = b""
            while piece := s.recv(65536):
                heard += piece
            expect(heard.count(b"a OK "), 3000, hashes)
            expect(b"b OK " in heard, True, hashes)


def generation():
    return max([int(n) for n in re.findall(r"suited\[\d+\]: reload generation=(\d+)", suite.log())], default=0)


def reloaded():
    """keyd has, and all three processes of each kind that shows certificates."""
    before = generation()
    suite.mailctl("reload")
    wait_for(lambda: generation() > before, 20, "a reload")
    done = re.compile(r"((?:keyd|smtpd|imapd|pop3d)\[\d+\]): reload instance=\d+ generation=%d\b" % generation())
    wait_for(lambda: len(set(done.findall(suite.log()))) == 1 + 3 * 3, 20, "everybody to reload")


def test_a_changed_certificate_is_taken_up_and_a_bad_one_harms_nobody():
    before = {name: peer_names("IMAPS", name)[1] for name in ("one.test", "x.two.test", "three.test", None)}
    under_way = suite.imap()
    certificate("one", "one.test", "www.one.test")
    with open(FILES[2], "w") as f:
        f.write("-----BEGIN PRIVATE KEY-----\nthis is none\n-----END PRIVATE KEY-----\n")
    reloaded()
    for door in DOORS:
        serials = {peer_names(door, "one.test")[1] for _ in range(12)}  # which process answers nobody knows
        assert before["one.test"] not in serials and len(serials) == 1, door + ": a handshake with the certificate of before the reload"
        now = {name: peer_names(door, name)[1] for name in before}
        expect({n: now[n] for n in now if n != "one.test"}, {n: before[n] for n in before if n != "one.test"}, door)
    expect(under_way.noop()[0], "OK", "a session under way")
    under_way.logout()
    assert "what it held before stays in use" in suite.log()


def test_a_missing_file_harms_nobody():
    before = peer_names("IMAPS", "x.two.test")
    os.unlink(FILES[1])
    reloaded()
    expect(peer_names("IMAPS", "one.test")[0][0], "one.test")
    expect(peer_names("IMAPS", None)[0][0], "mail.example.test")
    expect(peer_names("IMAPS", "x.two.test"), before)
    assert suite.imap().noop()[0] == "OK"


def test_a_certificate_whose_key_is_not_there_yet_takes_the_place_of_none():
    """Of a renewed certificate and its key in files of their own a reload may find one."""
    tls = suite.dir + "/tls/"
    certificate("renewed", "renewed.test")
    # to the new one, and back
    for order in (("cert.pem", "renewed.crt"), ("key.pem", "renewed.key")), (("key.pem", "key.pem.old"), ("cert.pem", "cert.pem.old")):
        before = peer_names("IMAPS", None)
        for n, (name, source) in enumerate(order):
            if not os.path.exists(tls + name + ".old"):
                shutil.copy(tls + name, tls + name + ".old")
            shutil.copy(tls + source, tls + name)
            reloaded()
            expect({peer_names("IMAPS", None) == before for _ in range(12)}, {n == 0}, order[n])
        expect(before[0] == ["renewed.test"], order[0][0] == "key.pem")


def test_a_keyd_that_hangs_holds_up_handshakes_alone():
    context = suite.context()
    keyd = [pid for name, _, pid in suite.processes() if name == "keyd"][0]
    session, mail = suite.imap(), suite.smtp()
    waiting = []
    os.kill(keyd, signal.SIGSTOP)
    try:
        for door in ("IMAPS", "SUBMISSIONS", "POP3S") * 6: # several for each process
            sock = connect(door)
            sock.setblocking(False)
            tls = context.wrap_socket(sock, server_hostname="localhost", do_handshake_on_connect=False)
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                waiting.append(tls)
        expect(len(waiting), 18)
        # Longer than the two seconds a front used to wait for keyd, and then gave up TLS.
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            expect(session.noop()[0], "OK")
            expect(mail.noop()[0], 250)
            expect(mail.ehlo("client.test")[0], 250)
            assert mail.has_extn("starttls")
            time.sleep(0.05)
    finally:
        os.kill(keyd, signal.SIGCONT)
    for tls in waiting:
        tls.settimeout(30 * SLOW)
        tls.do_handshake()
        tls.close()
    session.logout()
    mail.quit()


def test_handshakes_begun_before_keyd_ends_fail_and_later_ones_do_not():
    keyd = [pid for name, _, pid in suite.processes() if name == "keyd"][0]
    os.kill(keyd, signal.SIGKILL)
    wait_for(lambda: [r for r in suite.processes() if r[0] == "keyd" and r[2] not in (0, keyd)], 20, "another keyd")

    def works():
        try:
            return all(peer_names(door, "one.test")[0][0] == "one.test" for door in DOORS for _ in range(6))
        except (OSError, AssertionError):
            return False
    wait_for(works, 20, "handshakes")


def set_options(text):
    with open(suite.dir + "/etc/local.conf", "w") as f:
        f.write("smtpd_tls_chain_files = " + ", ".join(FILES) + "\ndaemon_processes = 3\n" + text)
    suite.make()
    suite.mailctl("reload")


def test_tickets_rotate():
    """What is sealed with a key is opened until the second rotation behind it, then no more."""
    context = suite.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    before = [pid for name, _, pid in suite.processes() if name == "keyd"][0]
    set_options("smtpd_tls_session_cache_timeout = 3s\n")
    wait_for(lambda: [r for r in suite.processes() if r[0] == "keyd" and r[2] not in (0, None, before)], 20, "keyd with another secret")

    def resumed():
        try:
            session = handshakes("IMAPS", None, context, 1)[1]
            return session if handshakes("IMAPS", session, context, 1)[0] == [True] else None
        except (OSError, AssertionError): # keyd is just being restarted
            return None
    try:
        session = wait_for(resumed, 30, "a session that is resumed")
        wait_for(lambda: handshakes("IMAPS", session, context, 1)[0] == [False], 60, "the ticket to be refused")
        wait_for(resumed, 30, "a later session that is resumed")
    finally:
        set_options("")
    wait_for(resumed, 30, "keyd with its usual hours")


def test_no_private_key_is_in_a_front():
    """What a core of a front would show (issue 6): its memory, read by root, has no key's bytes."""
    if os.geteuid() != 0:
        return
    pem = open(os.path.join(suite.dir, "tls/key.pem")).read()
    der = subprocess.run(["openssl", "pkey", "-outform", "DER"], input=pem.encode(), capture_output=True, check=True).stdout
    # PKCS#8 of a P-256 key: the private number is the octet string behind 02 01 01 04 20.
    at = der.index(bytes.fromhex("0201010420")) + 5
    secret = der[at:at + 32]
    holders = set()
    for name, _, pid in suite.processes():
        with open("/proc/%d/maps" % pid) as maps, open("/proc/%d/mem" % pid, "rb", 0) as mem:
            for line in maps:
                span, rights = line.split()[:2]
                if not rights.startswith("r") or "[v" in line:
                    continue
                low, high = (int(x, 16) for x in span.split("-"))
                if high - low > 1 << (25 if SLOW > 1 else 28): # of a sanitizer
                    continue
                try:
                    mem.seek(low)
                    data = mem.read(high - low)
                except (OSError, ValueError, OverflowError):
                    continue
                if secret in data or secret[::-1] in data or pem.split("\n")[1].encode() in data:
                    holders.add(name)
    expect(holders, {"keyd"}, "who holds the private key")


def test_zz_who_had_how_much_signed_is_in_the_log():
    suite.stop()
    for front in ("smtpd", "imapd", "pop3d"):
        assert re.search(r" key used front=%s/\d+ signatures=[1-9]\d* refused=0$" % front, suite.log(), re.M), front


main(globals())
