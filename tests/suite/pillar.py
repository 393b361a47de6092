# SPDX-License-Identifier: ISC
"""What the suite tests share: instances of the real programs, clients, TAP.

An instance lives in a directory of its own on its own ports, is made by
tools/setup/instance.sh, and is stopped through mailctl.  ROOT names where
`make install DESTDIR=ROOT` put the programs.
"""
import atexit
import imaplib
import os
import poplib
import re
import shutil
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
ROOT = os.environ.get("ROOT", os.path.join(TOP, "run", "root"))
SLOW = 5 if os.environ.get("SANITIZED") else 1
MAILCTL = os.path.join(ROOT, "usr/sbin/mailctl")
SENDMAIL = os.path.join(ROOT, "usr/sbin/sendmail")


CLAIMS = []


def free_base():
    """A port base that no other test has claimed and whose well-known offsets are free.

    The claim, an abstract socket, is held until the program ends: the ports
    alone look free while an instance of another test is between stop and start."""
    for base in range(20000, 60000, 1100):
        claim = socket.socket(socket.AF_UNIX)
        taken = [claim]
        try:
            claim.bind("\0pillarpost-test-%d" % base)
            for offset in (25, 110, 143, 465, 587, 993, 995, 53, 99):
                s = socket.socket()
                taken.append(s)
                s.bind(("127.0.0.1", base + offset))
            taken.remove(claim)
            CLAIMS.append(claim)
            return base
        except OSError:
            continue
        finally:
            for s in taken:
                s.close()
    raise RuntimeError("no free ports")


INSTANCES = []
# What the log holds of a program that broke; 9, 15 and their like end one that works.
FAULT = re.compile(r"Sanitizer|runtime error|\bbug:|ended: signal (4|6|7|8|11)\b")


class Instance:
    def __init__(self, extra="", start=True, users=("alice", "bob")):
        self.dir = tempfile.mkdtemp(prefix="pp-", dir=os.environ.get("PILLAR_ROOM", "/tmp"))
        os.chmod(self.dir, 0o755)
        self.base = free_base()
        os.makedirs(self.dir + "/etc")
        if extra:
            with open(self.dir + "/etc/local.conf", "w") as f:
                f.write(extra)
        self.make()
        self.running = False
        atexit.register(self.cleanup)
        INSTANCES.append(self)
        if start:
            self.start()
            for user in users:
                self.user_add(user)

    def make(self):
        subprocess.run([TOP + "/tools/setup/instance.sh", self.dir, str(self.base), ROOT], check=True)
        self.env = {}
        with open(self.dir + "/instance.env") as f:
            for line in f:
                key, _, value = line.strip().partition("=")
                self.env[key] = value

    def mailctl(self, *args, check=True, **kw):
        r = subprocess.run([MAILCTL, "-c", self.env["CONFIG"], *args], capture_output=True, text=True, timeout=120, **kw)
        if check and r.returncode:
            raise AssertionError("mailctl %s: %d\n%s%s" % (" ".join(args), r.returncode, r.stdout, r.stderr))
        return r

    def for_everybody(self, program, name=None):
        """The program at a place that every user may look at, as an installed one is: a clone may be in a closed home."""
        where = self.dir + "/tools"
        if not os.path.isdir(where):
            os.mkdir(where)
            os.chmod(where, 0o755)
        copy = os.path.join(where, os.path.basename(program))
        if not os.path.exists(copy):
            shutil.copy(program, copy)
        if name and not os.path.lexists(os.path.join(where, name)):
            os.symlink(os.path.basename(program), os.path.join(where, name))
        return os.path.join(where, name) if name else copy

    def start(self):
        self.mailctl("start")
        self.running = True

    def stop(self):
        if self.running:
            self.running = False
            self.mailctl("stop")

    def user_add(self, name):
        self.mailctl("user", "add", name + "@example.test", "--password-stdin", input=self.password(name) + "\n")

    def password(self, name):
        return self.env.get(name.upper() + "_PASSWORD", "secret-" + name)

    def cleanup(self):
        try:
            self.stop()
        except Exception as e:
            print("# stop: %s" % e)
        if os.environ.get("KEEP") or sys.exc_info()[0]:
            print("# kept: " + self.dir)
        else:
            shutil.rmtree(self.dir, ignore_errors=True)

    def port(self, name):
        return int(self.env[name + "_PORT"])

    def log(self):
        with open(self.dir + "/log", errors="replace") as f:
            return f.read()

    def faults(self):
        """The lines of the log that tell of a program that broke."""
        return [line for line in self.lines() if FAULT.search(line)]

    def lines(self):
        return self.log().splitlines() if os.path.exists(self.dir + "/log") else []

    def wait_log(self, *words, timeout=20):
        def seen():
            for line in reversed(self.log().splitlines()):
                if all(w in line for w in words):
                    return line
        return wait_for(seen, timeout, "log line with %s" % (words,))

    def processes(self):
        """[(name, instance, pid)] as maild tells."""
        import json
        rows = [json.loads(line) for line in self.mailctl("status", "--json", check=False).stdout.splitlines()]
        return [(r["name"], r["instance"], r["pid"]) for r in rows]

    def context(self):
        return ssl.create_default_context(cafile=self.env["CA_FILE"])

    def smtp(self, port="SMTP", **kw):
        return smtplib.SMTP("127.0.0.1", self.port(port), timeout=30 * SLOW, **kw)

    def submission(self, user="alice"):
        s = self.smtp("SUBMISSION")
        s.starttls(context=self.context())
        s.login(user + "@example.test", self.password(user))
        return s

    def imap(self, user="bob", tls=True):
        if tls:
            c = imaplib.IMAP4_SSL("127.0.0.1", self.port("IMAPS"), ssl_context=self.context(), timeout=30 * SLOW)
        else:
            c = imaplib.IMAP4("127.0.0.1", self.port("IMAP"), timeout=30 * SLOW)
        c.login(user + "@example.test", self.password(user))
        return c

    def pop3(self, user="bob", tls=True):
        if tls:
            c = poplib.POP3_SSL("127.0.0.1", self.port("POP3S"), context=self.context(), timeout=30 * SLOW)
        else:
            c = poplib.POP3("127.0.0.1", self.port("POP3"), timeout=30 * SLOW)
        c.user(user + "@example.test")
        c.pass_(self.password(user))
        return c

    def maild(self):
        with open(self.dir + "/sock/maild.pid") as f:
            return int(f.read())

    def mailboxd(self, user="bob"):
        """The user's process, or None."""
        for name, pid in family(self.maild()):
            try:
                with open("/proc/%d/cmdline" % pid) as f:
                    if name == "mailboxd" and f.read().split("\0")[1:2] == [user + "@example.test"]:
                        return pid
            except OSError:  # it has just ended
                continue
        return None

    def maildir(self, user="bob"):
        return os.path.join(self.dir, "mail/example.test", user)

    def mailbox_files(self, user="bob"):
        found = {}
        for sub in ("new", "cur"):
            path = os.path.join(self.maildir(user), sub)
            if os.path.isdir(path):
                found.update((f.partition(":2,")[0], os.path.join(path, f)) for f in sorted(os.listdir(path)))
        return list(found.values())

    def messages(self, user="bob"):
        """The octets of each message; mailboxd gives files new names at its leisure: then all are read anew."""
        while True:
            try:
                return [read_file(path) for path in self.mailbox_files(user)]
            except FileNotFoundError:
                continue

    def wait_messages(self, count, user="bob", timeout=20):
        self.wait_mail(count, user, timeout)
        return self.messages(user)

    def wait_mail(self, count, user="bob", timeout=20):
        wait_for(lambda: len(self.mailbox_files(user)) >= count, timeout, "%d messages for %s" % (count, user))
        return self.mailbox_files(user)


def read_file(path):
    with open(path, "rb") as f:
        return f.read()


def family(parent):
    """[(name, pid)] of the children of maild, and of the copies that a template has made."""
    found, children = [], {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/status" % pid) as f:
                st = dict(line.strip().split(":", 1) for line in f)
        except (OSError, ValueError):
            continue
        if not st["State"].strip().startswith("Z"):
            children.setdefault(int(st["PPid"]), []).append((st["Name"].strip(), int(pid)))
    for name, pid in children.get(parent, []):
        found += [(name, pid)] + (children.get(pid, []) if name == "template" else [])
    return found


def wait_for(what, timeout, doing):
    end = time.monotonic() + timeout * SLOW
    while True:
        value = what()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("timed out waiting for " + doing)
        time.sleep(0.02)


class Dialogue:
    """A raw connection on which lines are said and awaited."""

    def __init__(self, address, context=None):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.settimeout(30 * SLOW)
        self.sock.connect(address)
        if context:
            self.sock = context.wrap_socket(self.sock, server_hostname="127.0.0.1")
        self.buffer = b""

    def line(self):
        while b"\r\n" not in self.buffer:
            data = self.sock.recv(65536)
            if not data:
                raise AssertionError("closed; unread: %r" % self.buffer)
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line.decode("utf-8", "replace")

    def reply(self):
        """A whole SMTP reply, its lines joined by newlines."""
        lines = [self.line()]
        while lines[-1][3:4] == "-":
            lines.append(self.line())
        return "\n".join(lines)

    def say(self, text):
        self.sock.sendall(text.encode() + b"\r\n")

    def ask(self, text):
        self.say(text)
        return self.reply()

    def raw(self, data):
        self.sock.sendall(data)

    def close(self):
        self.sock.close()

    def at_end(self):
        return self.buffer == b"" and self.sock.recv(1) == b""


class ImapDialogue(Dialogue):
    """An IMAP session of a user who is logged in."""

    def __init__(self, suite, user):
        super().__init__(("127.0.0.1", suite.port("IMAPS")), suite.context())
        self.line()
        self.ask("LOGIN %s@example.test %s" % (user, suite.password(user)))

    def answer(self):
        """Everything that is said to a command, to its tagged line."""
        lines = [self.line()]
        while not lines[-1].startswith("a "):
            lines.append(self.line())
        return lines

    def ask(self, command):
        self.say("a " + command)
        lines = self.answer()
        starts(lines[-1], "a OK")
        return lines


def expect(got, wanted, what=""):
    if got != wanted:
        raise AssertionError("%s\n  got:    %r\n  wanted: %r" % (what, got, wanted))


def starts(got, wanted):
    if not got.startswith(wanted):
        raise AssertionError("got %r, wanted it to begin with %r" % (got, wanted))


def has(got, wanted):
    if wanted not in got:
        raise AssertionError("no %r in %r" % (wanted, got))


def no_program_broke():
    for instance in INSTANCES:
        instance.stop()
        expect(instance.faults()[:5], [])


def main(scope, crashes=False):
    """Runs every test_* of the module, printing TAP; at last looks whether a program broke, unless the tests mean to make one."""
    tests = [(n, f) for n, f in scope.items() if n.startswith("test_") and callable(f)]
    only = sys.argv[1:]
    if not crashes and not only:
        tests.append(("no_program_broke", no_program_broke))
    failed = 0
    print("1..%d" % len(tests), flush=True)
    for number, (name, test) in enumerate(tests, 1):
        if only and name not in only:
            continue
        begun = time.monotonic()
        try:
            test()
            print("ok %d - %s # %.1f s" % (number, name, time.monotonic() - begun), flush=True)
        except Exception as why:
            failed += 1
            print("not ok %d - %s # %s" % (number, name, " ".join(repr(why).split())[:300]))
            print("".join("# " + line + "\n" for line in traceback.format_exc().splitlines()), flush=True)
            for instance in INSTANCES:
                print("".join("# log: " + line + "\n" for line in instance.faults()[:5] + instance.lines()[-25:]), flush=True)
    sys.exit(1 if failed else 0)
