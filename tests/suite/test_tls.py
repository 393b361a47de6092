#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""TLS as a scanner sees it: versions, every suite there is, certificates by
name, tickets over processes, reload of one certificate.  RFC 9325."""
import os
import signal
import socket
import ssl
import struct
import subprocess
import time

from pillar import SLOW, Dialogue, Instance, expect, main, wait_for

AEAD = {0xC02B, 0xC02C, 0xC02F, 0xC030, 0xCCA8, 0xCCA9}      # ECDHE with AES-GCM, ChaCha20
FALLBACK = {0xC023, 0xC027}                                  # ECDHE with AES-CBC and SHA-256
ALLOWED13 = {0x1301, 0x1302, 0x1303}
EVERY = [n for block in (0x0000, 0xC000, 0xC100, 0xCC00, 0xD000, 0x1300) for n in range(block, block + 256)
         if n not in (0x00FF, 0x5600)]


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

DOORS = ("SUBMISSIONS", "IMAPS", "POP3S", "SMTP")


def connect(door):
    if door == "SMTP":
        d = Dialogue(("127.0.0.1", suite.port(door)))
        d.reply()
        d.ask("EHLO scanner.test")
        d.ask("STARTTLS")
        return d.sock
    sock = socket.create_connection(("127.0.0.1", suite.port(door)))
    sock.settimeout(30 * SLOW)
    return sock


def extension(kind, body):
    return struct.pack(">HH", kind, len(body)) + body


def hello(version, suites, groups=(29, 23, 24, 25), thirteen=False):
    vector = lambda items: struct.pack(">H", 2 * len(items)) + b"".join(struct.pack(">H", i) for i in items)
    schemes = (0x0403, 0x0503, 0x0603, 0x0807, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0203, 0x0201)
    more = extension(10, vector(groups)) + extension(11, b"\x01\x00") + extension(13, vector(schemes)) + extension(23, b"") + extension(35, b"")
    if thirteen:
        more += extension(43, b"\x02\x03\x04") + extension(51, struct.pack(">H", 36) + struct.pack(">HH", 29, 32) + os.urandom(32))
    body = struct.pack(">H", version) + os.urandom(32) + b"\x00" + vector(suites) + b"\x01\x00" + struct.pack(">H", len(more)) + more
    message = b"\x01" + struct.pack(">I", len(body))[1:] + body
    return b"\x16" + struct.pack(">HH", min(version, 0x0301), len(message)) + message


def offer(door, data):
    """(version, suite, extensions) that the server chose; None: it refused."""
    sock = connect(door)
    try:
        sock.sendall(data)
        got = b""
        while len(got) < 5 or len(got) < 5 + struct.unpack(">H", got[3:5])[0]:
            more = sock.recv(65536)
            if not more:
                return None
            got += more
    except ConnectionResetError:
        return None
    finally:
        sock.close()
    if got[0] != 0x16 or got[5] != 2:
        expect(got[0], 0x15, "neither a hello nor an alert")
        return None
    version = struct.unpack(">H", got[9:11])[0]
    at = 44 + got[43]
    chosen, compression = struct.unpack(">HB", got[at:at + 3])
    expect(compression, 0, "compression")
    found, at = {}, at + 5
    end = 9 + struct.unpack(">I", b"\x00" + got[6:9])[0]
    while at + 4 <= end:
        kind, length = struct.unpack(">HH", got[at:at + 4])
        found[kind] = got[at + 4:at + 4 + length]
        at += 4 + length
    return version, chosen, found


def accepted(door, **kw):
    """Every suite of all that are numbered which the server takes."""
    taken, left = set(), list(EVERY)
    while left:
        answer = offer(door, hello(0x0303, left, **kw))
        if not answer:
            return taken
        assert answer[1] in left, "%04x was not offered" % answer[1]
        taken.add(answer[1])
        left.remove(answer[1])
    return taken


def test_nothing_older_than_tls_1_2_is_spoken():
    for door in DOORS:
        for version in (0x0300, 0x0301, 0x0302):
            expect(offer(door, hello(version, EVERY)), None, "%s %04x" % (door, version))
        assert offer(door, hello(0x0303, EVERY)), door
    ssl2 = b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + bytes.fromhex("0700c0050080030080010080080080060040040080020080")[:21] + os.urandom(16)
    expect(offer("IMAPS", ssl2), None, "SSL 2")


def test_every_suite_taken_has_forward_secrecy_and_none_is_weak():
    for door in DOORS:
        taken = accepted(door)
        assert taken & AEAD, door
        expect({"%04x" % n for n in taken - AEAD - FALLBACK}, set(), door)
    expect(accepted("IMAPS", thirteen=True) - AEAD - FALLBACK, ALLOWED13, "TLS 1.3")


def test_authenticated_encryption_is_preferred():
    answer = offer("SUBMISSIONS", hello(0x0303, list(FALLBACK) + list(AEAD)))
    assert answer[1] in AEAD, "%04x" % answer[1]
    expect(offer("SUBMISSIONS", hello(0x0303, EVERY, thirteen=True))[2].get(43), b"\x03\x04", "TLS 1.3 where the client has it")


def test_weak_groups_are_refused():
    # sect163k1, secp160k1, secp192r1, secp224r1, and none at all that we have
    expect(offer("IMAPS", hello(0x0303, EVERY, groups=(1, 15, 19, 21))), None)


def test_renegotiation_is_safe_and_the_master_secret_extended():
    found = offer("IMAPS", hello(0x0303, EVERY + [0x00FF]))[2]
    assert 0xFF01 in found and 23 in found, found


def peer_names(door, name, context=None):
    context = context or suite.context()
    context.check_hostname = False
    with context.wrap_socket(connect(door), server_hostname=name) as s:
        return [value for _, value in s.getpeercert()["subjectAltName"] if _ == "DNS"], s.getpeercert()["serialNumber"]


def test_the_name_asked_for_chooses_the_certificate():
    for door in DOORS:
        for asked, first in (("one.test", "one.test"), ("WWW.One.Test", "one.test"), ("a.two.test", "*.two.test"), ("three.test", "three.test"),
                             ("a.b.two.test", "mail.example.test"), ("two.test", "mail.example.test"), ("unknown.test", "mail.example.test"),
                             (None, "mail.example.test")):
            expect(peer_names(door, asked)[0][0], first, "%s asked for %s" % (door, asked))


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


def reloaded(generation):
    suite.mailctl("reload")
    wait_for(lambda: suite.log().count("keyd[") and len([l for l in suite.log().splitlines() if " keyd[" in l and " reload " in l]) >= generation, 20, "keyd to reload")


def reloads():
    return len([l for l in suite.log().splitlines() if " keyd[" in l and " reload " in l])


def test_a_changed_certificate_is_taken_up_and_a_bad_one_harms_nobody():
    before = {name: peer_names("IMAPS", name)[1] for name in ("one.test", "x.two.test", "three.test", None)}
    under_way = suite.imap()
    certificate("one", "one.test", "www.one.test")
    with open(FILES[2], "w") as f:
        f.write("-----BEGIN PRIVATE KEY-----\nthis is none\n-----END PRIVATE KEY-----\n")
    reloaded(reloads() + 1)
    for door in DOORS:
        # The process that answers hears of new keys with its next signature at the latest.
        for _ in range(12):
            peer_names(door, "one.test")
        now = {name: peer_names(door, name)[1] for name in before}
        assert now["one.test"] != before["one.test"], door + ": the old certificate still"
        expect({n: now[n] for n in now if n != "one.test"}, {n: before[n] for n in before if n != "one.test"}, door)
    expect(under_way.noop()[0], "OK", "a session under way")
    under_way.logout()
    assert "what it held before stays in use" in suite.log()


def test_a_missing_file_harms_nobody():
    before = peer_names("IMAPS", "x.two.test")
    os.unlink(FILES[1])
    reloaded(reloads() + 1)
    for _ in range(12):
        peer_names("IMAPS", "one.test")
    expect(peer_names("IMAPS", "one.test")[0][0], "one.test")
    expect(peer_names("IMAPS", None)[0][0], "mail.example.test")
    expect(peer_names("IMAPS", "x.two.test"), before)
    assert suite.imap().noop()[0] == "OK"


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


main(globals())
