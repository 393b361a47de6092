#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""PREVIEW (RFC 8970) of random texts in several charsets and encodings is what a simple model makes of them,
wherever lines and characters are cut: the server looks at no more of a message than it takes."""
import base64
import quopri
import random

from pillar import ImapDialogue, Instance, expect, main, starts

COUNT, CHARS = 400, 200
suite = Instance(users=("bob",))


def model(text):
    """Blanks run together, quoted lines left out, so many characters."""
    out, chars, gap = "", 0, False
    lines = [line for line in text.split("\n") if not line.startswith(">")]
    for c in "\n".join(lines):
        if c <= " " or c == "\x7f":
            gap = chars > 0
            continue
        if chars >= CHARS:
            break
        if gap:
            chars += 1
            if chars < CHARS:
                out += " "
        gap = False
        chars += 1
        out += c
    return out


def random_text(rng, letters):
    """Long lines and short ones, quoted ones, runs of blanks; often more than is looked at first."""
    lines = []
    for _ in range(rng.choice((1, 3, 10, 60))):
        line = rng.choice(("> ", "", "", "", "\t", " " * rng.randrange(200)))
        line += rng.choice((" ", "", "  ")).join(rng.choice(letters) * rng.randrange(1, 4) for _ in range(rng.choice((0, 2, 12, 40, 300))))
        lines.append(line)
    return "\r\n".join(lines) + "\r\n"


def message(text, charset, encoding):
    raw = text.encode(charset)
    if encoding == "base64":
        raw = base64.encodebytes(raw).replace(b"\n", b"\r\n")
    elif encoding == "quoted-printable":
        raw = quopri.encodestring(raw.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
    return ("Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=%s\r\nContent-Transfer-Encoding: %s\r\n\r\n" % (charset, encoding)).encode() + raw


def test_of_random_texts():
    seed = random.randrange(1 << 30)
    print("# seed %d" % seed)
    rng, wanted = random.Random(seed), []
    c = ImapDialogue(suite, "bob")
    for _ in range(COUNT):
        charset = rng.choice(("utf-8", "utf-8", "iso-8859-1", "utf-16le", "shift_jis"))
        encoding = "base64" if charset.startswith("utf-16") else rng.choice(("8bit", "quoted-printable", "base64"))
        letters = "ab\u3042\u3044" if charset == "shift_jis" else "abc\u00e4\u00f6" if charset == "iso-8859-1" else "ab\u00e4\u20ac\U0001f600"
        text = random_text(rng, letters)
        wanted.append(model(text.replace("\r\n", "\n")))
        whole = message(text, charset, encoding)
        c.sock.sendall(b"a APPEND INBOX {%d+}\r\n%s\r\n" % (len(whole), whole))
        starts(c.answer()[-1], "a OK")
    c.ask("SELECT INBOX")
    for n, preview in enumerate(wanted, 1):
        c.say("a FETCH %d (PREVIEW)" % n)
        line = c.line()
        while not line.startswith("* %d FETCH" % n):
            line = c.line()
        got = line.partition("PREVIEW ")[2]
        if got.startswith("{"):
            expect(got.endswith("}"), True)
            got = c.line()
        while not c.line().startswith("a "):
            pass
        got = got.rstrip(")").strip('"')
        expect(got, preview, "message %d" % n)
    c.close()


main(globals())
