#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Framing tricks against Postfix, Exim and OpenSMTPD beside our own smtpd.

    make framing            or, as root:  tests/framing/framing.py [--write FILE] [NAME ...]

The tricks are the dialogs tests/dialog/smtpd/framing-*.dlg: what ours answers is
what they assert in ./check.  Here their C: lines go to the others: Debian's
packages with their default settings, unpacked, each in a chroot over this
system, in a network namespace of its own; nothing is installed and nothing stays.
"""
import argparse
import concurrent.futures
import glob
import os
import re
import socket
import ssl
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
DIALOGS = os.path.join(HERE, "../dialog/smtpd/framing-*.dlg")
CACHE = os.environ.get("FRAMING_CACHE", "/var/tmp/pillarpost-framing")
QUIET = 2.5    # seconds of silence after which a server has said what it had to say
PATIENCE = 20  # for a reply that must come

POSTFIX_MASTER = """25 inet n - n - 200 smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
proxymap unix - - n - - proxymap
discard unix - - n - - discard
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""
POSTFIX_MAIN = """compatibility_level = 3.6
myhostname = postfix.test
mydestination =
mynetworks = 127.0.0.0/8
inet_protocols = ipv4
local_recipient_maps =
alias_maps =
default_transport = discard
maillog_file = /dev/stdout
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtpd_tls_security_level = may
smtpd_tls_cert_file = /etc/framing.crt
smtpd_tls_key_file = /etc/framing.key
"""
EXIM = """primary_hostname = exim.test
tls_advertise_hosts = *
tls_certificate = /etc/framing.crt
tls_privatekey = /etc/framing.key
host_lookup =
rfc1413_query_timeout = 0s
smtp_accept_max = 0
acl_smtp_rcpt = accept
acl_smtp_data = accept
begin routers
drop:
  driver = redirect
  data = :blackhole:
"""
OPENSMTPD = """pki framing cert "/etc/framing.crt"
pki framing key "/etc/framing.key"
listen on 127.0.0.1 port 25 hostname opensmtpd.test tls pki framing
action "out" relay host "smtp://127.0.0.1:9"
match from any for any action "out"
"""
# name, packages, users, files, commands that start it
PEERS = (
    ("Postfix", ("postfix",), ("postfix",), {"/etc/postfix/main.cf": POSTFIX_MAIN, "/etc/postfix/master.cf": POSTFIX_MASTER},
     ("groupadd -f postdrop", "mkdir -p /var/lib/postfix && chown postfix /var/lib/postfix", "postfix start-fg >/var/log/postfix.log 2>&1 &")),
    ("Exim", ("exim4-base", "exim4-config", "exim4-daemon-light"), ("Debian-exim",), {"/etc/exim4/exim4.conf": EXIM},
     ("mkdir -p /var/spool/exim4 /var/log/exim4", "chown Debian-exim /etc/framing.key", "chown -R Debian-exim: /var/spool/exim4 /var/log/exim4", "exim4 -bd -oX 127.0.0.1.25")),
    ("OpenSMTPD", ("opensmtpd",), ("opensmtpd", "opensmtpq"), {"/etc/smtpd.conf": OPENSMTPD},
     ("mkdir -p -m 755 /var/lib/opensmtpd/empty", "smtpd")),
)


# --- dialogs

def unescape(text):
    out = bytearray()
    plain = {"r": 13, "n": 10, "t": 9, "0": 0, "\\": 92}
    for m in re.finditer(r"\\x(..)|\\\{(\d+) (.*?)\}|\\(.)|([^\\])", text, re.S):
        if m.group(1):
            out.append(int(m.group(1), 16))
        elif m.group(2):
            out += unescape(m.group(3)) * int(m.group(2))
        elif m.group(4):
            out.append(plain[m.group(4)])
        else:
            out += m.group(5).encode()
    return bytes(out)


class Trick:
    """steps: ("send", bytes), ("reply", code or None), ("handshake",), ("quiet",); `first` is the step that plays the trick."""

    def __init__(self, path):
        self.name = os.path.basename(path)[len("framing-"):-len(".dlg")]
        self.title = self.name
        self.steps, self.first = [], None
        self.in_data = False  # the trick begins behind 354
        for line in open(path, encoding="utf-8").read().splitlines():
            if line.startswith("# trick: "):
                self.title = line[9:]
            elif line[:3] in ("C: ", "C> "):
                if line[1] == ">" and self.first is None:
                    self.first = len(self.steps)
                    self.in_data = bool(self.steps) and self.steps[-1] == ("reply", "354")
                data = unescape(line[3:]) + (b"\r\n" if line[1] == ":" else b"")
                if self.steps and self.steps[-1][0] == "send":
                    data = self.steps.pop()[1] + data
                self.steps.append(("send", data))
            elif line[:3] in ("S: ", "S+ "):
                self.steps.append(("reply", line[3:6]))
            elif line in ("silent", "handshake", "closed"):
                self.steps.append((line,))

    def asserted(self):
        words = [{"reply": (s[1], "") if len(s) > 1 else "", "closed": "closed", "handshake": "TLS"}.get(s[0]) for s in self.steps[self.first:]]
        return [w for w in words if w]


# --- a client that takes any answer

class Talk:
    def __init__(self, address):
        self.s = socket.create_connection(address, timeout=PATIENCE)
        self.buffer, self.over = b"", False

    def reply(self, seconds):
        """(code, words) of the next reply; None after so much silence or at the end."""
        until = time.monotonic() + seconds
        while True:
            m = re.match(rb"((?:\d{3}-[^\n]*\n)*)(\d{3})(?: ([^\n]*))?\r?\n", self.buffer)
            if m:
                self.buffer = self.buffer[m.end():]
                return m.group(2).decode(), (m.group(1) + (m.group(3) or b"")).decode(errors="replace").strip()
            left = until - time.monotonic()
            if self.over or left <= 0:
                return None
            self.s.settimeout(left)
            try:
                got = self.s.recv(65536)
            except (TimeoutError, socket.timeout):
                return None
            except OSError:
                got = b""
            self.over = not got
            self.buffer += got

    def send(self, data):
        try:
            self.s.settimeout(PATIENCE)
            self.s.sendall(data)
        except OSError:
            pass  # what it said before it closed is still to be read

    def handshake(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            self.s.settimeout(PATIENCE)
            self.s = context.wrap_socket(self.s)
            return True
        except (OSError, ssl.SSLError):
            self.over = True
            return False


def play(trick, address):
    """The words of the table's cell."""
    talk, words = Talk(address), []
    steps = trick.steps
    for i, step in enumerate(steps):
        if step[0] == "send":
            talk.send(step[1])
        elif step[0] == "handshake":
            while (reply := talk.reply(0.0 if words else PATIENCE)):
                words.append(reply)
            words.append("TLS" if not talk.over and talk.handshake() else "no TLS")
        elif i < trick.first:
            reply = talk.reply(PATIENCE)
            if not reply or reply[0] != step[1]:
                raise RuntimeError("%s: before the trick: %s instead of %s" % (trick.name, reply, step[1]))
        elif step[0] == "silent" or i + 1 == len(steps) or steps[i + 1][0] in ("send", "handshake"):
            while (reply := talk.reply(QUIET)):
                words.append(reply)
    while (reply := talk.reply(QUIET)):
        words.append(reply)
    if talk.buffer:
        words.append("(unfinished line)")
    if talk.over:
        words.append("closed")
    talk.s.close()
    return words


class Notes:
    """Refusals in their own words, numbered."""

    def __init__(self):
        self.known = {}

    def number(self, server, reply):
        text = re.sub(r"\s+", " ", "%s: `%s %s`" % (server, *reply)).replace("|", "\\|")
        text = re.sub(r"x{20,}", "xxx...", text)
        return self.known.setdefault(text, len(self.known) + 1)

    def text(self):
        return "".join("%d. %s\n" % (n, t) for t, n in self.known.items())


def cell(words, in_data, server, notes):
    """words: (code, its words) of replies, plain strings for all else."""
    codes = [w if isinstance(w, str) else w[0] for w in words]
    messages = sum(1 for i, c in enumerate(codes) if c == "250" and (codes[i - 1] == "354" if i else in_data))
    text = " ".join(c + ("<sup>%d</sup>" % notes.number(server, w) if w[1] and "400" <= c < "600" else "") for c, w in zip(codes, words))
    return (text or "silent") + (" **(2 messages)**" if messages > 1 else "")


# --- the peers

def fetch():
    wanted = [p for peer in PEERS for p in peer[1]]
    os.makedirs(CACHE, exist_ok=True)
    missing = [p for p in wanted if not glob.glob("%s/%s_*.deb" % (CACHE, p))]
    if missing:
        subprocess.run(["apt-get", "update", "-q"], stdout=subprocess.DEVNULL, check=True)
        subprocess.run(["apt-get", "download", "-q"] + missing, cwd=CACHE, check=True)


def deb_of(package):
    return glob.glob("%s/%s_*.deb" % (CACHE, package))[0]


def version(name):
    return os.path.basename(deb_of(dict((p[0], p[1][-1]) for p in PEERS)[name])).split("_")[1].split("+b")[0]


def raise_peer(number, name, packages, users, files, commands, scratch):
    """Its own root over this system's, its own loopback address."""
    subprocess.run(["ip", "address", "add", "127.0.0.%d/8" % number, "dev", "lo"], check=True)
    top = "%s/%s" % (scratch, name)
    for d in ("upper", "work", "root"):
        os.makedirs("%s/%s" % (top, d))
    root = top + "/root"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", "lowerdir=/,upperdir=%s/upper,workdir=%s/work" % (top, top), root], check=True)
    for p in packages:
        subprocess.run("dpkg-deb --fsys-tarfile '%s' | tar -x --keep-directory-symlink -C '%s'" % (deb_of(p), root), shell=True, check=True)
    for special in ("/proc", "/dev"):
        subprocess.run(["mount", "--rbind", special, root + special], check=True)

    def inside(command):
        done = subprocess.run(["chroot", root, "sh", "-c", command], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError("%s: %s: %d %s" % (name, command, done.returncode, done.stdout + done.stderr + subprocess.getoutput("tail -n 5 %s/var/log/*fix.log %s/var/log/exim4/*" % (root, root))))
    for user in users:
        inside("getent passwd %s >/dev/null || useradd --system --user-group --no-create-home --home-dir /var/lib/opensmtpd/empty --shell /usr/sbin/nologin %s" % (user, user))
    for path, text in files.items():
        os.makedirs(os.path.dirname(root + path), exist_ok=True)
        with open(root + path, "w") as f:
            f.write(text.replace("127.0.0.1.25", "127.0.0.%d.25" % number).replace("on 127.0.0.1 ", "on 127.0.0.%d " % number))
            if "inet_protocols" in text:
                f.write("inet_interfaces = 127.0.0.%d\n" % number)
    inside("openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=x -keyout /etc/framing.key -out /etc/framing.crt && chmod 600 /etc/framing.key")
    for command in commands:
        inside(command.replace("127.0.0.1.25", "127.0.0.%d.25" % number))
    address = ("127.0.0.%d" % number, 25)
    for _ in range(100):
        try:
            socket.create_connection(address, timeout=1).close()
            return address
        except OSError:
            time.sleep(0.2)
    raise RuntimeError("%s does not listen: %s" % (name, subprocess.getoutput("tail -n 5 %s/var/log/*fix.log %s/var/log/exim4/*" % (root, root))))


TEXT = """# Framing tricks, and what servers answer

Made by `make framing` (`tests/framing/framing.py`); do not edit. Each row is a dialog `tests/dialog/smtpd/framing-NAME.dlg`: its
answers for ours are what `./check` asserts. The others are Debian's packages with default settings as far as
framing goes: %s. (Postfix of this version refuses bare line feeds with `smtpd_forbid_bare_newline = yes`, which is not its default.)

A cell has the codes of the replies from the trick on, `TLS` where the handshake came about, `closed` where the server ended
the connection within %.1f s; small numbers lead to the words below. "A second transaction" is
`MAIL FROM`, `RCPT TO`, `DATA`, content and CRLF.CRLF, sent at once.
**(2 messages)**: the server saw an end of data in the trick, and what followed as commands. Where the server that forwards
does not see one there, mail is smuggled through both. Exim sees such ends, too, where its first 250 is followed by others, and stops at
content that came before its 354; OpenSMTPD closes at whatever comes behind an end or a command in the same packet.

What ours does: only CRLF.CRLF ends the data; a bare CR, a bare LF, NUL and a line over `line_length_limit` are refused
with 550 and words of their own at the end of the data; in a command they are refused with 500. What else looks like a line end or a dot is
content. Content that comes before 354 ends the session with 503. What was sent in the clear behind STARTTLS is gone.
A `BDAT` that cannot be read ends the session: where its chunk ends is unknown. A server that does not offer CHUNKING takes chunks for commands.

| trick | bytes | Pillarpost | %s |
|---|---|---|%s|
"""


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--write", metavar="FILE")
    arguments.add_argument("names", nargs="*")
    options = arguments.parse_args()
    if os.geteuid() != 0:
        sys.exit("framing: needs root for namespaces")
    if os.environ.get("FRAMING_INSIDE") != "1":
        fetch()
        os.execvpe("unshare", ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, os.path.abspath(__file__)] + sys.argv[1:],
                   dict(os.environ, FRAMING_INSIDE="1"))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    scratch = CACHE + "/scratch"
    os.makedirs(scratch, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "framing", scratch], check=True)
    tricks = [t for t in map(Trick, sorted(glob.glob(DIALOGS))) if not options.names or t.name in options.names]
    addresses = [(peer[0], raise_peer(i, peer[0], *peer[1:], scratch)) for i, peer in enumerate(PEERS, 2)]
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        jobs = {(t.name, name): pool.submit(play, t, address) for t in tricks for name, address in addresses}
        wrong, rows, notes = 0, [], Notes()
        for t in tricks:
            cells = [t.name, t.title.replace("|", "\\|"), cell(t.asserted(), t.in_data, "", notes)]
            for name, _ in addresses:
                try:
                    cells.append(cell(jobs[t.name, name].result(), t.in_data, name, notes))
                except (RuntimeError, OSError) as e:
                    cells.append("?")
                    print("framing: %s: %s: %s" % (name, t.name, e), file=sys.stderr)
                    wrong += 1
            rows.append("| %s |" % " | ".join(cells))
    names = [name for name, _ in addresses]
    text = TEXT % (", ".join("%s %s" % (n, version(n)) for n in names), QUIET, " | ".join(names), "|".join("---" for _ in names)) + "\n".join(rows) + "\n\n## Their words\n\n" + notes.text()
    if options.write and not wrong:
        with open(options.write, "w") as f:
            f.write(text)
    else:
        print(text)
    print("%d tricks, %d servers besides ours" % (len(tricks), len(names)), file=sys.stderr)
    return wrong != 0


if __name__ == "__main__":
    sys.exit(main())
