# SPDX-License-Identifier: ISC
"""What the tests with Debian's mail clients share: one instance, messages that differ, comparison byte by byte.

CLIENT_MESSAGES=5000 (make check-clients-long) is how many of them the clients that fetch or
synchronise get; otherwise isync as many, the others some.
"""
import os
import random
import re
import socket
import subprocess
import tempfile
import time

from pillar import Instance, SLOW, expect, wait_for

suite = Instance()
BOB = "bob@example.test"
ALICE = "alice@example.test"
CA = suite.env["CA_FILE"]
LMTP = suite.env["LMTP_SOCKET"]
HOME = suite.dir + "/clients"
os.mkdir(HOME)
MANY = int(os.environ.get("CLIENT_MESSAGES", 0))
PATIENCE = 60 * SLOW + MANY / 5  # seconds for one client's run
ENV = {"HOME": HOME, "PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8", "TERM": "vt100", "TMPDIR": HOME}
# What delivery puts before a message, and what clients put into their copies.
TRACE = (b"return-path", b"delivered-to", b"received", b"authentication-results", b"received-spf", b"x-original-to")
COPY = TRACE + (b"x-tuid", b"content-length", b"lines", b"status",
                b"x-getmail-retrieved-from-mailbox")


def run(*args, stdin=b"", status=0):
    r = subprocess.run(args, input=stdin, capture_output=True, timeout=PATIENCE, env=ENV, cwd=HOME)
    if r.returncode != status:
        raise AssertionError("%s: %d, not %d\n%s\n%s" % (" ".join(args), r.returncode, status, r.stdout.decode("utf-8", "replace"),
                                                       r.stderr.decode("utf-8", "replace")))
    return r.stdout


def place(name):
    return tempfile.mkdtemp(prefix=name + "-", dir=HOME)


def config(path, text):
    with open(path, "w", opener=lambda p, flags: os.open(p, flags, 0o600)) as f:
        f.write(text)
    return path


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)
    return path


def read(path):
    with open(path, "rb") as f:
        return f.read()


def compose(subject, number=0, to=BOB, sender=ALICE):
    """A message that differs with its number: dots, long lines, 8-bit text, base64, nothing at all."""
    chance = random.Random(number)
    words = ["pillar", "post", ".", "..", ".dot", "From here", "Größe", "=20", "--", "", " leading", "tab\tbed", "x" * 990, "trailing "]
    kinds = [
        "\r\n".join(chance.choice(words) for _ in range(chance.randrange(1, 40))) + "\r\n",
        ".\r\n..\r\n...\r\n.text\r\n\r\n\r\n",
        "",
        "\r\n".join("%076d" % chance.getrandbits(250) for _ in range(chance.randrange(1, 400))) + "\r\n",
        "From the beginning\r\n\r\nFrom a line\r\n>From another\r\n",
    ]
    head = ("From: Alice <%s>\r\nTo: %s\r\nSubject: %s\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\n"
            "Message-ID: <%s@clients.test>\r\nX-Folded: one\r\n two\r\n\tthree\r\nMIME-Version: 1.0\r\n"
            "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n")
    return (head % (sender, to, subject, subject.replace(" ", "-")) + kinds[number % len(kinds)]).encode()


def without(text, names):
    """The message with CRLF line ends and without header fields of these names."""
    text = re.sub(rb"\r?\n", b"\r\n", text)
    head, blank, body = text.partition(b"\r\n\r\n")
    fields = re.split(rb"\r\n(?![ \t])", head)
    return b"\r\n".join(f for f in fields if f.partition(b":")[0].lower() not in names) + blank + body


def subject_of(text):
    return re.search(rb"^Subject: (.*?)\r?$", text, re.M | re.I).group(1).decode()


def by_subject(texts):
    texts = list(texts)
    found = {subject_of(t): without(t, COPY) for t in texts}
    expect(len(found), len(texts), "copies of a message")
    return found


def same(got, wanted, what=""):
    """Both are {subject: text}; names the first that differs."""
    expect(sorted(got), sorted(wanted), what + ": the messages")
    for subject in sorted(wanted):
        if got[subject] != wanted[subject]:
            expect(got[subject][-3000:], wanted[subject][-3000:], "%s: %s" % (what, subject))


def arrived(subject, sent, user="bob"):
    """Waits for a message; what was sent must be what is stored, after the trace fields."""
    def look():
        for text in suite.messages(user):
            if ("Subject: %s\r\n" % subject).encode() in text:
                return text
    text = wait_for(look, 20, "delivery of " + subject)
    if not text.endswith(sent):
        expect(text[-3000:], sent[-3000:], "what arrived of " + subject)
    for line in re.split(rb"\r\n(?![ \t])", text[:len(text) - len(sent)])[:-1]:
        assert line.partition(b":")[0].lower() in TRACE, line
    return text


def filled(name, count, folder="INBOX"):
    """A new user with messages; returns {subject: text}."""
    suite.user_add(name)
    texts = [compose("%s %d" % (name, i), i, to=name + "@example.test") for i in range(count)]
    append(name, texts, folder)
    return {subject_of(t): t for t in texts}


def append(user, texts, folder="INBOX", flags=None):
    imap = suite.imap(user)
    imap.socket().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # imaplib writes a literal in two parts
    for text in texts:
        expect(imap.append(folder, flags, None, text)[0], "OK")
    imap.logout()


def folder_of(user, folder="INBOX"):
    """{subject: (flags, text)} as IMAP gives it."""
    imap = suite.imap(user)
    answer, count = imap.select(folder, readonly=True)
    expect(answer, "OK", folder)
    found = {}
    for part in imap.fetch("1:*", "(FLAGS BODY.PEEK[])")[1] if int(count[0]) else []:
        if isinstance(part, tuple):
            flags = re.search(rb"FLAGS \(([^)]*)\)", part[0]).group(1).decode().split()
            found[subject_of(part[1])] = (frozenset(flags) - {"\\Recent"}, part[1])
        elif part and b"FLAGS" in part:
            raise AssertionError("FLAGS after the text: %r" % part)
    imap.logout()
    return found


def texts_of(user, folder="INBOX"):
    return {s: without(text, COPY) for s, (_, text) in folder_of(user, folder).items()}


def check_ends():
    """Stops the suite: every program ends by itself and well."""
    suite.stop()
    log = suite.log()
    ends = re.findall(r"\]: stop status=(\d+)$", log, re.M)
    assert len(ends) > 20 and set(ends) == {"0"}, ends
    expect(re.findall(r"\]: child .* ended: (?!exit status 0$).*", log, re.M), [])
