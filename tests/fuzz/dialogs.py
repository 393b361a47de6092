#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Seeds for the fuzz targets of whole protocols, made of the dialogs: what the client says there (remoted's: what
the server says), with what happens in between where the target has a byte for it.

dialogs.py OUT: writes OUT/TARGET/NAME"""
import glob
import os
import re
import sys

DIALOGS = os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "dialog")
MOST = 4000  # longer ones make all inputs longer, and slower
ESCAPE = re.compile(r"\\(?:([rnt0\\])|x([0-9a-fA-F]{2})|\{(\d+) ((?:[^}\\]|\\.)*)\})")
SMTP_EVENTS = {"lost routed": 0xf8, "lost queued": 0xf9, "lost authd": 0xfa, "full": 0xfb, "room": 0xfc, "shutdown": 0xfd, "handshake": 0xfe}
SMTP_LISTENERS = {"lmtp": 1, "submit": 2, "submission": 6}


def escaped(text):
    def replace(m):
        if m[1]:
            return {"r": "\r", "n": "\n", "t": "\t", "0": "\0", "\\": "\\"}[m[1]]
        return chr(int(m[2], 16)) if m[2] else ESCAPE.sub(replace, m[4]) * min(int(m[3]), 2 * MOST)
    return ESCAPE.sub(replace, text).encode("latin-1")


def spoken(line, side):
    """The bytes of a line "C: text", "C> text", "C*50: text"; None: it is another one."""
    m = re.match(side + r"(?:(>) ?|(?:\*(\d+))?: ?)(.*)", line, re.S)
    return m and (escaped(m[3]) if m[1] else (escaped(m[3]) + b"\r\n") * int(m[2] or 1))


def smtp(lines):
    text = "\n".join(lines)
    listener = next((v for k, v in SMTP_LISTENERS.items() if f"listener {k}" in text), 0 if "auth" in text else 5)
    first = listener | (8 if "disable_plaintext_auth no" in text else 0) | (64 if "\nfilter " in "\n" + text else 0)
    if " xclient" in text:
        first = 4 | 32
    out = bytearray([first])
    for line in lines:
        said = spoken(line, "C")
        if said is not None:
            out += bytes(b if b < 0xf8 else ord("?") for b in said)
        elif line in SMTP_EVENTS:
            out.append(SMTP_EVENTS[line])
        elif line.startswith("advance "):
            out.append(0xff)
    return out


def mailbox(lines):
    out = bytearray(b"L" if "set login yes" in lines else b"")
    for line in lines:
        word, _, rest = line.partition(" ")
        said = spoken(line, "C")
        if said is not None:
            out += said
        elif word == "quietly":
            out += escaped(rest) + b"\r\n"
        elif word == "folder":
            out += b"x CREATE " + escaped(rest) + b"\r\n"
        elif word == "mail":
            folder, _, text = rest.partition(" ")
            out += b"x APPEND %s {%d+}\r\n%s\r\n" % (folder.encode(), len(escaped(text)), escaped(text))
    return out


def client(lines):
    text = "\n".join(lines)
    bits = {"lmtp": 4, "8bit": 8, "login": 0x30, "chunk": 0x40, "utf8": 0x80, "tls": 1}
    out = bytearray([sum(v for k, v in bits.items() if k in text), 0x1c, 60])
    for line in lines:
        out += spoken(line, "S") or b""
    return out


def write(out):
    for core, target, make in (("smtpd", "fuzz_smtp", smtp), ("imap", "fuzz_imap", mailbox), ("pop3", "fuzz_pop3", mailbox),
                               ("remoted", "fuzz_client", client)):
        os.makedirs(os.path.join(out, target), exist_ok=True)
        for path in glob.glob(os.path.join(DIALOGS, core, "*.dlg")):
            with open(path, encoding="latin-1") as dialog:
                seed = make(dialog.read().split("\n"))
            if len(seed) <= MOST:
                with open(os.path.join(out, target, os.path.basename(path)[:-4]), "wb") as f:
                    f.write(seed)


if __name__ == "__main__":
    write(sys.argv[1])
