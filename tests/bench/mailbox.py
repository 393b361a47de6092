#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Mailboxes side by side with Debian's dovecot (Maildir), in one run, alternating.

    mailbox.py [--quick] [--runs 5] [--messages 2000] [--folder 20000] [--only ROW,...] [--json FILE]

Rates (LMTP, APPEND, logins, POP3) come from bench_load, which is the same for both; a folder of
--folder messages is asked by one client, milliseconds a command.  Dovecot is tuned as its documentation
has it (high-performance login, very dirty syncs), its fsyncs as by default.  See bench.py for
what is common.  Ratios above 1 are in our favour.
"""
import argparse
import glob
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import peers  # noqa: E402
import pillar  # noqa: E402

TOOLS = os.environ.get("TOOLS", ".")
USERS = 50

# name: protocol, sessions, users, messages a connection, share of --messages, goal, what it is
RATES = {
    "lmtp": ("lmtp", 20, 50, 1000, 1, 4, "LMTP, 20 connections, 50 users, 4 KiB"),
    "lmtp-1": ("lmtp", 1, 50, 1000, 0.25, 1.5, "LMTP, 1 connection, 50 users, 4 KiB"),
    "append": ("imap-append", 20, 20, 100000, 1, 2.5, "APPEND, 20 connections, 4 KiB"),
    "append-1": ("imap-append", 1, 1, 100000, 0.25, 1.5, "APPEND, 1 connection, 4 KiB"),
    "login": ("imap-login", 20, 20, 1, 1, 2, "login + SELECT + LOGOUT, 20 at a time"),
    "pop3": ("pop3", 20, 20, 1, 1, 2.5, "POP3 login + STAT + UIDL + QUIT, 20 at a time"),
}

# What one client asks of a large folder: name, command, goal, whether it may be repeated, what it is
FOLDER = (
    ("select-cold", None, 4, False, "SELECT without an index"),
    ("select", "SELECT INBOX", 3, True, "SELECT, warm"),
    ("fetch-flags", "FETCH 1:* (UID FLAGS)", 3, True, "FETCH 1:* (UID FLAGS)"),
    ("fetch-envelope-first", "FETCH 1:* (ENVELOPE BODYSTRUCTURE INTERNALDATE RFC822.SIZE)", 4, False, "FETCH 1:* (ENVELOPE BODYSTRUCTURE INTERNALDATE RFC822.SIZE), first"),
    ("fetch-envelope", "FETCH 1:* (ENVELOPE BODYSTRUCTURE INTERNALDATE RFC822.SIZE)", 2, True, "the same again"),
    ("search-subject", 'SEARCH SUBJECT "needle"', 5, True, 'SEARCH SUBJECT "needle"'),
    ("search-unseen", "SEARCH SINCE 1-Jan-2020 UNSEEN", 5, True, "SEARCH SINCE UNSEEN"),
    ("search-body", 'SEARCH BODY "haystack"', 4, False, 'SEARCH BODY "haystack"'),
    ("sort", "SORT (DATE) UTF-8 ALL", 5, True, "SORT (DATE)"),
    ("thread", "THREAD REFERENCES UTF-8 ALL", 4, True, "THREAD=REFERENCES"),
    ("store", "STORE 1:* +FLAGS.SILENT (\\Flagged)", 2, False, "STORE 1:* +FLAGS"),
    ("copy", None, 1, False, "COPY of a tenth"),
    ("expunge", None, 1, False, "EXPUNGE of half"),
)


class Dovecot(peers.Server):
    """Tuning: doc.dovecot.org, login processes in high-performance mode, LoginProcess; Maildir: maildir_very_dirty_syncs."""

    name = "dovecot"
    packages, libraries = ["dovecot-core", "dovecot-imapd", "dovecot-pop3d", "dovecot-lmtpd"], ["libtirpc3", "libsodium23", "libunwind8"]
    users = {"dovecot": 64131, "dovenull": 64132, "vmail": 64133}
    to, login, password = "user%@bench.test", "user%", "secret"

    def start(self):
        self.prepare()
        self.ports = {"lmtp": self.base + 53, "imap": self.base + 143, "pop3": self.base + 110}
        self.port = self.ports["imap"]
        os.chown(self.dir + "/mail", self.users["vmail"], self.users["vmail"])
        self.etc("dovecot/dovecot.conf", """protocols = imap pop3 lmtp
listen = 127.0.0.1
base_dir = {d}/run
state_dir = {d}/run
log_path = {d}/log
ssl = no
disable_plaintext_auth = no
mail_location = maildir:{d}/mail/%n
maildir_very_dirty_syncs = yes
first_valid_uid = 1
mail_max_userip_connections = 1000
auth_username_format = %n
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid={u} gid={u} home={d}/mail/%n allow_all_users=yes
}}
service imap-login {{
  service_count = 0
  process_min_avail = 2
  inet_listener imap {{
    port = {i}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service pop3-login {{
  service_count = 0
  process_min_avail = 2
  inet_listener pop3 {{
    port = {p}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service imap {{
  service_count = 1000
  process_min_avail = 4
}}
service pop3 {{
  service_count = 1000
  process_min_avail = 4
}}
service lmtp {{
  process_min_avail = 4
  service_count = 1000
  inet_listener lmtp {{
    port = {l}
  }}
}}
service auth {{
  client_limit = 4000
}}
service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
""".format(d=self.dir, u=self.users["vmail"], i=self.ports["imap"], p=self.ports["pop3"], l=self.ports["lmtp"]))
        os.makedirs(self.dir + "/run")
        self.process = self.run(["/usr/sbin/dovecot", "-F", "-c", "/etc/dovecot/dovecot.conf"])
        self.wait()

    def maildir(self, number):
        return "%s/mail/user%d" % (self.dir, number)

    def forget(self, target):
        """Nothing is known of the mailbox any more: no index, no process that remembers it."""
        for entry in glob.glob(target + "/dovecot*"):
            os.remove(entry)


class Pillarpost(peers.Pillarpost):
    to, login, password = "user%@example.test", "user%@example.test", "secret"

    def start(self):
        self.instance = pillar.Instance(extra="smtpd_client_connection_count_limit = 10000\n", start=False, users=())
        self.claim = pillar.CLAIMS.pop()
        self.dir = self.instance.dir
        self.ports = {"lmtp": self.instance.base + 53, "imap": self.instance.port("IMAP"), "pop3": self.instance.port("POP3")}
        with open(self.instance.env["CONFIG"], "a") as f:
            f.write('listener bench-lmtp { service = lmtp; address = "127.0.0.1:%d"; }\n' % self.ports["lmtp"])
        os.makedirs(self.dir + "/ns-etc")
        if self.run([pillar.MAILCTL, "-c", self.instance.env["CONFIG"], "start"], etc_upper=self.dir + "/ns-etc").wait() != 0:
            raise RuntimeError("pillarpost does not start")
        self.instance.running = True
        for number in range(USERS if self.kind == "mailboxes" else 1):
            self.instance.mailctl("user", "add", "user%d@example.test" % number, "--password-stdin", input="secret\n")
        self.port = self.ports["imap"]
        self.wait()

    def maildir(self, number):
        return self.instance.maildir("user%d" % number)

    def forget(self, target):
        for pid in self.pids():
            with open("/proc/%d/comm" % pid) as f:
                if f.read() == "mailboxd\n":
                    os.kill(pid, signal.SIGTERM)
        time.sleep(0.5)
        for entry in os.scandir(target):
            if entry.name not in ("cur", "new", "tmp"):
                shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else os.remove(entry.path)


class Imap:
    def __init__(self, server, number):
        self.sock = socket.create_connection(("127.0.0.1", server.ports["imap"]))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.settimeout(120)
        self.space = bytearray(1 << 20)
        self.sock.recv(4096)
        self.ask("LOGIN %s %s" % (server.login.replace("%", str(number)), server.password))

    def ask(self, command):
        """(milliseconds, bytes of the answer)"""
        begun, tail, total = time.monotonic(), b"", 0
        self.sock.sendall(b"t " + command.encode() + b"\r\n")
        while True:
            n = self.sock.recv_into(self.space)
            if n == 0:
                raise RuntimeError("the server hung up on " + command)
            total += n
            tail = (tail + bytes(self.space[max(0, n - 8192):n]))[-8192:]
            self.last = tail
            if tail.endswith(b"\r\n"):
                last = tail[:-2].rpartition(b"\n")[2]
                if last.startswith(b"t "):
                    if not last.startswith(b"t OK"):
                        raise RuntimeError("%s: %s" % (command, last.decode()))
                    return (time.monotonic() - begun) * 1000, total

    def close(self):
        self.ask("LOGOUT")
        self.sock.close()


def make_folder(count):
    """A Maildir's worth of files, made once, copied for each server."""
    at = tempfile.mkdtemp(prefix="bench-folder-", dir="/var/tmp")
    peers.remove_later(at)
    line = b"The quick brown fox jumps over the lazy dog, again and again and again.\r\n"
    for i in range(count):
        head = ("Received: from a.test by b.test; Sat, 21 Nov 2026 12:00:00 +0000\r\nFrom: \"Sender %d\" <sender%d@else.test>\r\nTo: <user0@bench.test>, <list%d@bench.test>\r\n"
                "Date: Sat, %d Nov 2025 %02d:%02d:%02d +0000\r\nMessage-ID: <%d@else.test>\r\n%sSubject: %s number %d\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n") % (
            i % 100, i % 100, i % 7, 1 + i * 7 % 28, i // 3600 % 24, i // 60 % 60, i % 60, i, "References: <%d@else.test>\r\nIn-Reply-To: <%d@else.test>\r\n" % (i - 1, i - 1) if i % 5 else "",
            "needle" if i % 1000 == 7 else "a message", i)
        text = head.encode() + line * 12 + (b"haystack\r\n" if i % 1000 == 9 else b"")
        with open("%s/%d.M%06dP77.bench.test,S=%d,W=%d:2,%s" % (at, 1700000000 + i // 10, i, len(text), len(text), "S" if i % 3 else ""), "wb") as f:
            f.write(text)
    return at


def delivered(server):
    """Messages in all Maildirs."""
    return sum(len(os.listdir(server.maildir(u) + sub)) for u in range(USERS) for sub in ("/new", "/cur") if os.path.isdir(server.maildir(u) + sub))


def load(server, row, args):
    protocol, sessions, users, per_connection, share = row[:5]
    count = max(int(args.messages * share), sessions)
    result = {}
    for measured in (False, True):
        n = count if measured else max(count // 5, sessions, users)
        command = [TOOLS + "/bench_load", protocol, "-p", str(server.ports[protocol.split("-")[0]]), "-s", str(sessions), "-m", str(n), "-c", str(per_connection), "-u", str(users),
                   "-t", server.to if protocol == "lmtp" else server.login, "-w", server.password]
        counter = server.count_calls() if measured else None
        cpu, there, begun = server.cpu(), delivered(server) if protocol == "lmtp" else 0, time.monotonic()
        r = subprocess.run(command, capture_output=True, text=True, timeout=900)
        if r.returncode == 0 and protocol == "lmtp":  # our 250 says that it is durable; what counts is when it is in the Maildir
            while delivered(server) < there + n and time.monotonic() < begun + 300:
                time.sleep(0.02)
        took = time.monotonic() - begun
        if counter:
            counted = server.counted(counter)
        if r.returncode:
            raise RuntimeError("%s: %s" % (server.name, r.stderr.strip()))
        told = json.loads(r.stdout)
        result = {"rate": n / (took if protocol == "lmtp" else told["seconds"]), "cpu": (server.cpu() - cpu) * 1000 / n, "p50_us": told["p50_us"], "p99_us": told["p99_us"]}
    if counted:
        result["calls"], result["syncs"] = counted[0] / n, counted[1] / n
    return result


def ask_folder(server, files, args):
    """{name: [ms, ...]} of one large folder; None where the server does not know the command."""
    imap = Imap(server, 0)
    imap.ask("SELECT INBOX")
    imap.close()
    target = server.maildir(0)
    owner = os.stat(target)
    server.forget(target)
    for entry in os.scandir(files):
        to = "%s/cur/%s" % (target, entry.name)
        shutil.copyfile(entry.path, to)
        os.chown(to, owner.st_uid, owner.st_gid)
    os.sync()
    time.sleep(2.5)  # so that the directory's time can be trusted
    results, count = {}, args.folder
    imap = Imap(server, 0)
    results["select-cold"] = [imap.ask("SELECT INBOX")[0]]
    imap.ask("STATUS INBOX (MESSAGES)")
    if b"MESSAGES %d)" % count not in imap.last:
        raise RuntimeError("%s: not %d messages: %s" % (server.name, count, imap.last.decode()))
    for name, command, _, again, _ in FOLDER:
        times = []
        try:
            if name == "copy":
                imap.ask("CREATE Copied")
                times.append(imap.ask("COPY 1:%d Copied" % (count // 10))[0])
            elif name == "expunge":
                imap.ask("STORE %d:* +FLAGS.SILENT (\\Deleted)" % (count // 2))
                times.append(imap.ask("EXPUNGE")[0])
                imap.ask("STATUS INBOX (MESSAGES)")
                if b"MESSAGES %d)" % (count // 2 - 1) not in imap.last:
                    raise RuntimeError("EXPUNGE left " + imap.last.decode())
            elif command:
                for _ in range(args.runs if again else 1):
                    if name == "select":
                        imap.close()
                        imap = Imap(server, 0)
                    times.append(imap.ask(command)[0])
        except RuntimeError as e:
            print("  %s: %s" % (server.name, e), flush=True)
            imap = Imap(server, 0)
            imap.ask("SELECT INBOX")
        if times:
            results[name] = times
    return results


def show(what, ours, theirs, goal, record, unit, better):
    """better: +1 when more is better, -1 when less is."""
    if ours is None or theirs is None:
        print("  %-60s  %s" % (what, "no figure"), flush=True)
        return
    ratio = ours / theirs if better > 0 else theirs / ours
    record.update(ours=ours, theirs=theirs, ratio=ratio, goal=goal, met=ratio >= goal)
    print("  %-60s  pillarpost %9.1f  dovecot %9.1f %-5s  ratio %6.2f  goal %.1f %s" % (what, ours, theirs, unit, ratio, goal, "met" if ratio >= goal else "MISSED"), flush=True)


def middle(runs, key):
    values = [r[key] for r in runs if key in r]
    return statistics.median(values) if values else None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--runs", type=int, default=int(os.environ.get("RUNS", 5)))
    parser.add_argument("--messages", type=int, default=int(os.environ.get("MESSAGES", 2000)))
    parser.add_argument("--folder", type=int, default=int(os.environ.get("FOLDER", 20000)))
    parser.add_argument("--only", default=",".join(RATES) + ",folder")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    if args.quick:
        args.runs, args.messages, args.folder = 1, 200, 1000
    both = (Pillarpost, Dovecot)
    print("beside dovecot %s; %d cores, load %.1f; %d runs, alternating" % (Dovecot.version(), os.cpu_count(), os.getloadavg()[0], args.runs), flush=True)
    records, names = {}, args.only.split(",")
    rates = {cls: {name: [] for name in names if name in RATES} for cls in both}
    for _ in range(args.runs if any(n in RATES for n in names) else 0):
        for cls in both:
            server = cls("mailboxes")
            try:
                for name in rates[cls]:
                    try:
                        rates[cls][name].append(load(server, RATES[name], args))
                    except (RuntimeError, subprocess.TimeoutExpired) as e:
                        print("  %s: %s" % (name, e), flush=True)
            finally:
                server.stop()
    for name in rates[both[0]]:
        row, mine, theirs = RATES[name], rates[both[0]][name], rates[both[1]][name]
        records[name] = {"runs": {"pillarpost": mine, "dovecot": theirs}}
        show(row[6], middle(mine, "rate"), middle(theirs, "rate"), row[5], records[name], "/s", 1)
        for cls, runs in zip(both, (mine, theirs)):
            if runs:
                print("      %-11s %7.3f s CPU/1,000  p50 %7.0f us  p99 %8.0f us  %6.1f calls  %5.2f syncs" % tuple([cls.name] + [middle(runs, k) or 0 for k in ("cpu", "p50_us", "p99_us", "calls", "syncs")]), flush=True)
    if "folder" in names:
        files = make_folder(args.folder)
        asked = {}
        for cls in both:
            server = cls("mailbox")
            try:
                asked[cls] = ask_folder(server, files, args)
            finally:
                server.stop()
        print("  one folder of %d messages, one client:" % args.folder)
        for name, _, goal, _, what in FOLDER:
            mid = [statistics.median(asked[cls][name]) if name in asked[cls] else None for cls in both]
            records[name] = {"runs": {cls.name: asked[cls].get(name) for cls in both}}
            show(what, mid[0], mid[1], goal, records[name], "ms", -1)
    if args.json:
        with open(args.json, "w") as f:
            json.dump({"dovecot": Dovecot.version(), "messages": args.messages, "folder": args.folder, "rows": records}, f, indent=1)
    print("goals missed: %s" % (", ".join(n for n, r in records.items() if not r.get("met", True)) or "none"))


main()
