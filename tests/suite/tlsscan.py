#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""What a scanner finds wrong with the TLS of a mail server (RFC 9325): versions,
every suite that has a number, groups, compression, renegotiation, certificates by name, tickets.

Each check appends what is wrong to a list; an empty list is a good server.  As a program:

    tlsscan.py [--ca FILE] [--name SNI=WANTED]... HOST:PORT[:smtp|imap|pop3]...

The word behind the port says how STARTTLS is asked for; without it TLS begins with the first byte.
WANTED is a DNS name that the certificate must have; SNI may be empty for a client that names none."""
import argparse
import os
import select
import socket
import ssl
import struct
import subprocess
import sys
import time

AEAD = {0xC02B, 0xC02C, 0xC02F, 0xC030, 0xCCA8, 0xCCA9}      # ECDHE with AES-GCM, ChaCha20
FALLBACK = {0xC023, 0xC027}                                  # ECDHE with AES-CBC and SHA-256
ALLOWED13 = {0x1301, 0x1302, 0x1303}
EVERY = [n for block in (0x0000, 0xC000, 0xC100, 0xCC00, 0xD000, 0x1300) for n in range(block, block + 256)
         if n not in (0x00FF, 0x5600)]
OLD = {0x0300: "SSL 3", 0x0301: "TLS 1.0", 0x0302: "TLS 1.1"}
WEAK_GROUPS = (1, 15, 19, 21)                                # sect163k1, secp160k1, secp192r1, secp224r1
SSL2 = b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + bytes.fromhex("0700c0050080030080010080080080060040040080020080")[:21] + b"0123456789abcdef"


class Door:
    """Where TLS is spoken: an address, and what is said before it (smtp, imap, pop3; "": nothing)."""

    def __init__(self, host, port, before="", timeout=30):
        self.host, self.port, self.before, self.timeout = host, port, before, timeout

    def __str__(self):
        return "%s:%d%s" % (self.host, self.port, " " + self.before if self.before else "")

    def connect(self):
        sock = socket.create_connection((self.host, self.port), timeout=self.timeout)
        reader = {"": lambda s: None, "smtp": self.smtp, "imap": self.imap, "pop3": self.pop3}[self.before]
        reader(sock)
        return sock

    @staticmethod
    def line(sock):
        got = b""
        while not got.endswith(b"\n"): # not a byte of what follows
            more = sock.recv(1)
            if not more:
                raise OSError("closed behind %r" % got)
            got += more
        return got.decode("utf-8", "replace")

    def reply(self, sock):
        line = self.line(sock)
        while line[3:4] == "-":
            line = self.line(sock)
        if line[:1] != "2":
            raise OSError("no STARTTLS: " + line.strip())

    def smtp(self, sock):
        self.reply(sock)
        for command in (b"EHLO scanner.test\r\n", b"STARTTLS\r\n"):
            sock.sendall(command)
            self.reply(sock)

    def imap(self, sock):
        self.line(sock)
        sock.sendall(b"s STARTTLS\r\n")
        line = self.line(sock)
        if not line.startswith("s OK"):
            raise OSError("no STARTTLS: " + line.strip())

    def pop3(self, sock):
        for command in (None, b"STLS\r\n"):
            if command:
                sock.sendall(command)
            line = self.line(sock)
            if not line.startswith("+OK"):
                raise OSError("no STLS: " + line.strip())


def extension(kind, body):
    return struct.pack(">HH", kind, len(body)) + body


def hello(version, suites, groups=(29, 23, 24, 25), thirteen=False, compressions=b"\x00"):
    vector = lambda items: struct.pack(">H", 2 * len(items)) + b"".join(struct.pack(">H", i) for i in items)
    schemes = (0x0403, 0x0503, 0x0603, 0x0807, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0203, 0x0201)
    more = extension(10, vector(groups)) + extension(11, b"\x01\x00") + extension(13, vector(schemes)) + extension(23, b"") + extension(35, b"")
    if thirteen:
        more += extension(43, b"\x02\x03\x04") + extension(51, struct.pack(">H", 36) + struct.pack(">HH", 29, 32) + os.urandom(32))
    body = struct.pack(">H", version) + os.urandom(32) + b"\x00" + vector(suites) + struct.pack(">B", len(compressions)) + compressions + struct.pack(">H", len(more)) + more
    message = b"\x01" + struct.pack(">I", len(body))[1:] + body
    return b"\x16" + struct.pack(">HH", min(version, 0x0301), len(message)) + message


class Choice:
    """What the server chose."""

    def __init__(self, version, suite, compression, extensions):
        self.version, self.suite, self.compression, self.extensions = version, suite, compression, extensions


def offer(door, data):
    """A Choice; None: it refused."""
    sock = door.connect()
    try:
        sock.sendall(data)
        got = b""
        while len(got) < 5 or len(got) < 5 + struct.unpack(">H", got[3:5])[0]:
            more = sock.recv(65536)
            if not more:
                return None
            got += more
    except ConnectionError:
        return None
    finally:
        sock.close()
    if got[0] == 0x15:
        return None
    if got[0] != 0x16 or got[5] != 2:
        raise OSError("%s: neither a hello nor an alert: %r" % (door, got[:16]))
    version = struct.unpack(">H", got[9:11])[0]
    at = 44 + got[43]
    suite, compression = struct.unpack(">HB", got[at:at + 3])
    found, at = {}, at + 5
    end = 9 + struct.unpack(">I", b"\x00" + got[6:9])[0]
    while at + 4 <= end:
        kind, length = struct.unpack(">HH", got[at:at + 4])
        found[kind] = got[at + 4:at + 4 + length]
        at += 4 + length
    return Choice(version, suite, compression, found)


def accepted(door, version=0x0303, **kw):
    """Every suite of all that are numbered which the server takes."""
    taken, left = set(), list(EVERY)
    while left:
        answer = offer(door, hello(version, left, **kw))
        if not answer or answer.suite not in left:
            return taken
        taken.add(answer.suite)
        left.remove(answer.suite)
    return taken


def openssl_name(number):
    """As `openssl ciphers` knows it, else its number."""
    try:
        lines = subprocess.run(["openssl", "ciphers", "-V", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"], capture_output=True, text=True).stdout.splitlines()
    except OSError:
        lines = []
    wanted = "0x%02X,0x%02X" % (number >> 8, number & 255)
    return next((line.split()[2] for line in lines if line.split()[:1] == [wanted]), "%04x" % number)


# Each check: (door, wrong); what is wrong is appended to wrong.

def check_versions(door, wrong):
    for version, name in OLD.items():
        if offer(door, hello(version, EVERY)):
            wrong.append(name + " is spoken")
    try:
        if offer(door, SSL2):
            wrong.append("SSL 2 is spoken")
    except OSError:
        wrong.append("SSL 2 is answered")
    best = offer(door, hello(0x0303, EVERY, thirteen=True))
    if not best or best.extensions.get(43) != b"\x03\x04":
        wrong.append("no TLS 1.3")


def check_suites(door, wrong):
    taken = accepted(door)
    for number in sorted(taken - AEAD - FALLBACK):
        wrong.append("weak suite " + openssl_name(number))
    if not taken & AEAD:
        wrong.append("no suite with authenticated encryption in TLS 1.2")
    for number in sorted(accepted(door, thirteen=True) - AEAD - FALLBACK - ALLOWED13 - taken):
        wrong.append("weak suite %s in TLS 1.3" % openssl_name(number))
    if taken & AEAD and taken & FALLBACK:
        first = offer(door, hello(0x0303, sorted(FALLBACK & taken) + sorted(AEAD & taken)))
        if not first or first.suite not in AEAD:
            wrong.append("the client's order of suites decides, which may put weaker ones first")


def check_groups(door, wrong):
    if offer(door, hello(0x0303, EVERY, groups=WEAK_GROUPS)):
        wrong.append("a handshake with nothing but weak groups")


def check_compression(door, wrong):
    answer = offer(door, hello(0x0303, EVERY, compressions=b"\x01\x00"))
    if answer and answer.compression != 0:
        wrong.append("compression")


def check_renegotiation(door, wrong):
    answer = offer(door, hello(0x0303, EVERY + [0x00FF]))
    if answer and 0xFF01 not in answer.extensions:
        wrong.append("no secure renegotiation (RFC 5746)")
    if answer and 23 not in answer.extensions:
        wrong.append("no extended master secret (RFC 7627)")
    for attempt in range(3):
        said = ask_again(door)
        if VERIFIED in said:
            wrong.append("renegotiation at the client's wish")
        if VERIFIED in said or REFUSED in said:
            return
    wrong.append("renegotiation could not be tried: %r" % said[-200:])


VERIFIED, REFUSED = b"verify return", b"no renegotiation"


def ask_again(door):
    """What OpenSSL's client says once it has asked for a new handshake within TLS 1.2, until that is had or refused.

    It asks when the greeting has come, or nothing for a second: a greeting that crosses its hello ends the connection."""
    starttls = ["-starttls", door.before] if door.before else []
    client = subprocess.Popen(["openssl", "s_client", "-connect", "%s:%d" % (door.host, door.port), *starttls, "-tls1_2", "-legacy_renegotiation",
                               "-cipher", "ALL:@SECLEVEL=0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said, after, asked, end = b"", b"", False, time.monotonic() + 4 * door.timeout
    try:
        while time.monotonic() < end:
            silent = not select.select([client.stdout], [], [], 1)[0]
            piece = b"" if silent else os.read(client.stdout.fileno(), 65536)
            said += piece
            after = said.partition(b"RENEGOTIATING")[2]
            if not (piece or silent) or VERIFIED in after or REFUSED in after:
                return after
            ready = said.partition(b"Verify return code")[2]
            if ready and not asked and (silent or door.before or ready.partition(b"---\n")[2]):
                client.stdin.write(b"R\n")
                client.stdin.flush()
                asked = True
        return b"no answer: " + after
    finally:
        client.kill()
        client.communicate()


def peer_names(door, name, ca=None):
    """(DNS names, serial number) of the certificate for that name; None: for a client that names none."""
    context = ssl.create_default_context(cafile=ca)
    context.check_hostname = False
    with context.wrap_socket(door.connect(), server_hostname=name or None) as s:
        found = s.getpeercert()
        return [value for kind, value in found["subjectAltName"] if kind == "DNS"], found["serialNumber"]


def names_check(wanted, ca=None):
    """wanted: {name asked for or None: a DNS name of the certificate}."""
    def check_names(door, wrong):
        for asked, name in wanted.items():
            try:
                names = peer_names(door, asked, ca)[0]
            except ssl.SSLError as e:
                wrong.append("certificate for %s: %s" % (asked, e))
                continue
            if name not in names:
                wrong.append("certificate for %s is that of %s" % (asked, ", ".join(names)))
    return check_names


CHECKS = [check_versions, check_suites, check_groups, check_compression, check_renegotiation]


def scan(door, checks=None):
    wrong = []
    for check in checks or CHECKS:
        check(door, wrong)
    return wrong


def door_of(text, timeout=30):
    host, port, *before = text.rsplit(":", 2) if text.rsplit(":", 1)[1] in ("smtp", "imap", "pop3") else text.rsplit(":", 1)
    return Door(host.strip("[]"), int(port), before[0] if before else "", timeout)


def command():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--ca", help="trust anchors (PEM); default: the system's")
    p.add_argument("--name", action="append", default=[], metavar="SNI=WANTED")
    p.add_argument("door", nargs="+", metavar="HOST:PORT[:smtp|imap|pop3]")
    args = p.parse_args()
    wanted = dict((asked or None, name) for asked, _, name in (n.partition("=") for n in args.name))
    bad = 0
    for text in args.door:
        door = door_of(text)
        wrong = scan(door, CHECKS + ([names_check(wanted, args.ca)] if wanted else []))
        bad += len(wrong)
        print("%s: %s" % (door, "good" if not wrong else "%d wrong" % len(wrong)))
        for w in wrong:
            print("    " + w)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(command())
