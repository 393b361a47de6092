#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Three IMAP sessions of one user do random things in two folders while
another program changes the Maildir and mailboxd is killed now and then.  Every
response is checked against a simple model of the folders, and what each
session was told must be the whole truth behind every command.

STEPS (3000; `make` and ./check use fewer under sanitizers) and SEED may be set;
KILLS is how many steps lie between two kills on average."""
import os
import random
import re
import signal
import socket
import time
import zlib

from pillar import SLOW, Instance, main, wait_for

STEPS = int(os.environ.get("STEPS", 3000 // SLOW))
SEED = int(os.environ.get("SEED", 1))
KILLS = int(os.environ.get("KILLS", 300))
FOLDERS = ("INBOX", "other")
FLAGS = ("\\Seen", "\\Flagged", "\\Answered", "\\Draft", "\\Deleted", "work", "$Later")
LETTERS = {"S": "\\Seen", "F": "\\Flagged", "R": "\\Answered", "D": "\\Draft", "T": "\\Deleted"}

suite = Instance(extra="disable_plaintext_auth = no\n", users=("bob",))


class Deflated:
    """A connection behind COMPRESS=DEFLATE, as socket and file at once."""

    def __init__(self, sock):
        self.sock, self.buffer = sock, b""
        self.out, self.back = zlib.compressobj(wbits=-15), zlib.decompressobj(-15)

    def sendall(self, data):
        self.sock.sendall(self.out.compress(data) + self.out.flush(zlib.Z_SYNC_FLUSH))

    def more(self):
        data = self.sock.recv(65536)
        self.buffer += self.back.decompress(data)
        return data

    def readline(self):
        while b"\n" not in self.buffer and self.more():
            pass
        line, end, rest = self.buffer.partition(b"\n")
        self.buffer = rest
        return line + end if end else b""

    def read(self, n):
        while len(self.buffer) < n and self.more():
            pass
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def close(self):
        self.sock.close()


class Message:
    def __init__(self, body, flags):
        self.body = body
        self.flags = set(flags)
        self.history = []  # (time until which it was so, flags)

    def change(self, flags):
        if flags != self.flags:
            self.history = self.history[-20:] + [(time.monotonic(), self.flags)]
            self.flags = flags


class Folder:
    def __init__(self, name):
        self.name = name
        self.messages = {}   # uid: Message
        self.ever = {}       # uid: body, of all that there ever were
        self.gone = {}       # uid: (when, Message)
        self.validity = None

    def order(self):
        return sorted(self.messages)

    def add(self, uid, body, flags):
        assert uid > max(self.ever, default=0), ("a UID is used again", self.name, uid)
        self.messages[uid] = Message(body, flags)
        self.ever[uid] = body

    def remove(self, uid):
        self.gone[uid] = (time.monotonic(), self.messages.pop(uid))


class Model:
    def __init__(self):
        self.folders = {name: Folder(name) for name in FOLDERS}


class Session:
    """One connection: what it was told, and that it is true."""

    def __init__(self, model, number):
        self.model, self.number = model, number
        self.qresync = number == 2
        self.snapshots = {}  # folder: (modseq, {uid: flags}), what a client would have kept
        self.tag = 0
        self.folder = None
        self.connect()

    def connect(self):
        def one():
            try:
                self.sock = socket.create_connection(("127.0.0.1", suite.port("IMAP")), timeout=60 * SLOW)
                self.file = self.sock.makefile("rb")
                self.file.readline()
                self.folder = None
                return self.say("LOGIN bob@example.test " + suite.password("bob"), ok=None) == "OK"
            except (OSError, EOFError):
                return False
        wait_for(one, 30, "a login")
        if self.qresync:
            self.say("ENABLE QRESYNC")
        if self.number == 1:
            self.say("COMPRESS DEFLATE")
            self.sock = self.file = Deflated(self.sock)

    # ---- the wire ----

    def response(self):
        parts = []
        while True:
            line = self.file.readline()
            if not line:
                raise EOFError
            parts.append(line)
            m = re.search(rb"\{(\d+)\}\r\n$", line)
            if not m:
                return b"".join(parts)
            parts.append(self.file.read(int(m.group(1))))

    def say(self, text, ok="OK", extra=b""):
        self.tag += 1
        self.lines = []
        self.command = text
        self.code = ""
        tag = b"s%d.%d " % (self.number, self.tag)
        self.sock.sendall(tag + text.encode() + b"\r\n" + extra)
        while True:
            line = self.response()
            if line.startswith(tag):
                status, _, rest = line[len(tag):].decode("utf-8", "replace").partition(" ")
                self.code = rest
                assert ok is None or status == ok, (text, line)
                return status
            self.lines.append(line)
            if self.folder:
                self.take(line)

    # ---- what is told ----

    def take(self, line):
        f = self.folder
        m = re.match(rb"\* (\d+) (EXISTS|EXPUNGE|FETCH)", line)
        if line.startswith(b"* VANISHED "):
            assert self.qresync
            for uid in expand(line.split()[-1]):
                if b"(EARLIER)" in line:
                    assert uid not in f.messages, ("vanished, but there", line)
                    self.told.pop(uid, None)
                else:
                    assert uid in self.known, ("VANISHED what was never told", self.command, line)
                    self.known.remove(uid)
                    self.told.pop(uid, None)
                    if uid in f.messages:
                        self.surprise_gone.append(uid)
        if not m:
            return
        n, word = int(m.group(1)), m.group(2)
        if word == b"EXISTS":
            if not self.fresh:
                new = [u for u in f.order() if u > self.highest]
                if n != len(self.known) + len(new):
                    self.surprise = n - len(self.known) - len(new)
                    return
                self.known += new
                self.highest = max([self.highest] + new)
            else:
                self.exists = n
            return
        if word == b"EXPUNGE":
            assert not self.qresync and 1 <= n <= len(self.known), (self.command, line, len(self.known))
            assert self.command.split()[0] not in ("FETCH", "STORE", "SEARCH", "SORT"), (self.command, line)
            uid = self.known.pop(n - 1)
            self.told.pop(uid, None)
            if uid in f.messages:
                self.surprise_gone.append(uid)
            return
        assert 1 <= n <= len(self.known), (self.command, line, len(self.known))
        uid = self.known[n - 1]
        m = re.search(rb"UID (\d+)", line)
        assert not m or int(m.group(1)) == uid, (self.command, line, uid)
        m = re.search(rb"FLAGS \(([^)]*)\)", line)
        if m:
            self.told[uid] = set(m.group(1).decode().split()) - {"\\Recent"}
        m = re.search(rb"BODY\[\] \{(\d+)\}\r\n", line)
        if m:
            assert line[m.end():m.end() + int(m.group(1))] == f.ever[uid], ("another message", uid)

    def check(self):
        """Behind every command: nothing is missing but expunges that may not be told."""
        f = self.folder
        if not f:
            return
        assert not self.surprise and not self.surprise_gone, (self.command, self.surprise, self.surprise_gone)
        if self.command.split()[0] in ("FETCH", "STORE", "SEARCH", "SORT"):
            there = [u for u in self.known if u in f.messages]
        else:
            there = self.known
        assert there == f.order(), (self.command, there, f.order())
        for uid in there:
            if uid in self.told:
                assert self.told[uid] == f.messages[uid].flags, (self.command, uid, self.told[uid], f.messages[uid].flags)

    def run(self, text, **kw):
        status = self.say(text, **kw)
        self.check()
        return status

    # ---- commands ----

    def select(self, name, readonly=False):
        f = self.model.folders[name]
        word = "EXAMINE " if readonly else "SELECT "
        old = self.folder
        self.known, self.told, self.highest, self.exists = f.order(), {}, max(f.order(), default=0), None
        self.surprise, self.surprise_gone, self.fresh = 0, [], True
        self.folder, self.readonly = f, readonly
        extra = ""
        if self.qresync and name in self.snapshots and f.validity:
            modseq, told = self.snapshots[name]
            self.told = dict(told)
            extra = " (QRESYNC (%d %d))" % (f.validity, modseq)
        self.say(word + name + extra)
        self.fresh = False
        text = b"".join(self.lines).decode()
        validity = int(re.search(r"UIDVALIDITY (\d+)", text).group(1))
        assert f.validity in (None, validity), "another UIDVALIDITY"
        f.validity = validity
        assert self.exists == len(self.known), (word, name, self.exists, len(self.known), bool(old))
        assert int(re.search(r"UIDNEXT (\d+)", text).group(1)) > max(f.ever, default=0)
        for uid in list(self.told):
            assert uid in f.messages, ("QRESYNC keeps what is gone", uid)
        for uid, flags in self.told.items():
            assert flags == f.messages[uid].flags, ("QRESYNC leaves old flags", uid, flags, f.messages[uid].flags)

    def snapshot(self):
        """What a client keeps for the next time."""
        if not self.qresync or not self.folder:
            return
        self.run("NOOP")
        if self.folder.messages:
            self.run("UID FETCH 1:* (FLAGS)")
        self.say("STATUS %s (HIGHESTMODSEQ)" % self.folder.name)
        m = re.search(r"HIGHESTMODSEQ (\d+)", b"".join(self.lines).decode())
        self.snapshots[self.folder.name] = (int(m.group(1)), {u: set(s) for u, s in self.told.items()})

    def numbers(self):
        n = len(self.known)
        a, b = random.randint(1, n), random.randint(1, n)
        chosen = range(min(a, b), max(a, b) + 1) if random.random() < 0.4 else [a]
        return [self.known[i - 1] for i in chosen], "%d:%d" % (a, b) if len(chosen) > 1 else str(a)

    def some(self):
        """(uids that are there, whether by UID, the set as written)"""
        uids, text = self.numbers()
        by_uid = random.random() < 0.5
        if by_uid:
            text = "%d:%d" % (uids[-1], uids[0]) if len(uids) > 1 else str(uids[0])
        return [u for u in uids if u in self.folder.messages], len(uids), by_uid, text

    def append(self, name=None):
        f = self.model.folders[name or random.choice(FOLDERS)]
        many = [(new_body(), random_flags()) for _ in range(random.choice((1, 1, 1, 2)))]
        text, extra = "APPEND " + f.name, b""
        for body, flags in many:
            extra += b" (%s) {%d+}\r\n" % (" ".join(sorted(flags)).encode(), len(body)) + body
        self.expected = (f, many)
        head, _, rest = extra.partition(b"\r\n")
        status = self.say_append(text + head.decode(), rest + b"\r\n")
        return status

    def say_append(self, text, rest):
        f, many = self.expected
        self.tag += 1
        self.lines, self.command = [], text
        tag = b"s%d.%d " % (self.number, self.tag)
        self.sock.sendall(tag + text.encode() + b"\r\n" + rest)
        while True:
            line = self.response()
            if line.startswith(tag):
                break
            self.lines.append(line)
        m = re.match(rb"OK \[APPENDUID (\d+) ([\d:,]+)\]", line[len(tag):])
        assert m, (text, line)
        assert f.validity in (None, int(m.group(1)))
        uids = expand(m.group(2))
        assert len(uids) == len(many), line
        for uid, (body, flags) in zip(uids, many):
            f.add(uid, body, flags)
        for untagged in self.lines:  # they stand before the tagged response that tells the UIDs
            if self.folder:
                self.take(untagged)
        self.check()
        return "OK"

    def store(self):
        uids, asked, by_uid, text = self.some()
        flags, sign, silent = random_flags(), random.choice(("+", "-", "")), random.random() < 0.3
        if self.readonly:
            self.run("STORE %s FLAGS ()" % self.numbers()[1], ok="NO")
            return
        for uid in uids:
            m = self.folder.messages[uid]
            m.change(m.flags | flags if sign == "+" else m.flags - flags if sign == "-" else set(flags))
            if silent:
                self.told[uid] = set(m.flags)
        words = "%sSTORE %s %sFLAGS%s (%s)" % ("UID " if by_uid else "", text, sign, ".SILENT" if silent else "", " ".join(sorted(flags)))
        self.run(words, ok="OK" if len(uids) == asked or by_uid else "NO")

    def fetch(self):
        uids, asked, by_uid, text = self.some()
        self.run("%sFETCH %s (FLAGS UID%s)" % ("UID " if by_uid else "", text, " BODY.PEEK[]" if random.random() < 0.3 else ""),
                 ok=None)
        lines = [x for x in self.lines if b" FETCH (" in x]
        assert len(lines) >= len(uids), (self.command, len(lines), len(uids))

    def expunge(self):
        if self.readonly:
            return
        f = self.folder
        uids = [u for u in f.order() if "\\Deleted" in f.messages[u].flags]
        for uid in uids:
            f.remove(uid)
        self.run("EXPUNGE")

    def copy(self, move):
        f = self.folder
        if move and self.readonly:
            return
        uids, asked, by_uid, text = self.some()
        target = self.model.folders[random.choice(FOLDERS)]
        if not uids:
            return
        taken = [(u, f.messages[u].body, set(f.messages[u].flags)) for u in uids]
        words = "%s%s %s %s" % ("UID " if by_uid else "", "MOVE" if move else "COPY", text, target.name)
        self.tag += 1
        self.lines, self.command = [], words
        tag = b"s%d.%d " % (self.number, self.tag)
        self.sock.sendall(tag + words.encode() + b"\r\n")
        while True:
            line = self.response()
            if line.startswith(tag):
                break
            self.lines.append(line)
        everything = b"".join(self.lines) + line
        assert line[len(tag):].startswith(b"OK"), (words, line)
        m = re.search(rb"\[COPYUID (\d+) ([\d:,]+) ([\d:,]+)\]", everything)
        assert m, (words, everything)
        assert expand(m.group(2)) == uids, (words, uids, m.group(2))
        for (uid, body, flags), new in zip(taken, expand(m.group(3))):
            target.add(new, body, flags)
        if move:
            for uid in uids:
                f.remove(uid)
        for untagged in self.lines:
            self.take(untagged)
        self.check()

    def search(self):
        f = self.folder
        flag = random.choice(FLAGS)
        key, test = random.choice((
            ("UNSEEN", lambda u: "\\Seen" not in f.messages[u].flags),
            ("DELETED", lambda u: "\\Deleted" in f.messages[u].flags),
            ("KEYWORD work NOT FLAGGED", lambda u: "work" in f.messages[u].flags and "\\Flagged" not in f.messages[u].flags),
            ("SUBJECT even", lambda u: b"Subject: even" in f.ever[u]),
            ("BODY 7", lambda u: b"7" in f.ever[u].split(b"\r\n\r\n", 1)[1]),
            ("LARGER 100", lambda u: len(f.ever[u]) > 100),
            ("OR ANSWERED DRAFT", lambda u: f.messages[u].flags & {"\\Answered", "\\Draft"}),
        ))
        before = list(self.known)
        uids = [u for u in before if u in f.messages]
        wanted = [u for u in uids if test(u)]
        if random.random() < 0.3:
            by_size = sorted(wanted, key=lambda u: (-len(f.ever[u]), u))
            self.run("UID SORT (REVERSE SIZE) UTF-8 " + key)
            got = [x for x in self.lines if x.startswith(b"* SORT")][0].split()[2:]
            assert [int(x) for x in got] == by_size, (self.command, got, by_size)
            return
        self.run("SEARCH " + key)
        got = [x for x in self.lines if x.startswith(b"* SEARCH")][0].split()[2:]
        assert [before[int(x) - 1] for x in got] == wanted, (self.command, got, wanted, flag)

    def step(self):
        r = random.random()
        if r < 0.06:
            self.snapshot()
            self.select(random.choice(FOLDERS), random.random() < 0.15)
        elif r < 0.22:
            self.append()
        elif not self.known or r < 0.3:
            self.run("NOOP")
        elif r < 0.5:
            self.store()
        elif r < 0.6:
            self.fetch()
        elif r < 0.68 or len(self.known) > 120:
            self.expunge()
            if len(self.known) > 120 and not self.readonly:
                for m in list(self.folder.messages.values())[::2]:
                    m.change(m.flags | {"\\Deleted"})
                self.told.clear()
                self.say("STORE 1:* +FLAGS.SILENT ()")
                self.say("UID STORE %s +FLAGS.SILENT (\\Deleted)" % ",".join(map(str, list(self.folder.messages)[::2])))
        elif r < 0.76:
            self.copy(move=False)
        elif r < 0.84:
            self.copy(move=True)
        else:
            self.search()


def expand(text):
    out = []
    for part in text.decode().split(","):
        a, _, b = part.partition(":")
        out += range(int(a), int(b or a) + 1)
    return out


counter = iter(range(1, 10 ** 9))


def new_body():
    n = next(counter)
    return ("Subject: %s %d\r\nX-Id: %d\r\n\r\n" % ("even" if n % 2 == 0 else "odd", n, n) + "text %d\r\n" % n * random.randint(1, 20)).encode()


def random_flags():
    return set(random.sample(FLAGS, random.choice((0, 1, 1, 2))))


# ---- another program ----

def folder_dir(folder):
    return suite.maildir() + ("" if folder.name == "INBOX" else "/." + folder.name)


def deliver(sessions):
    """A file into new/, and some session hears of it."""
    folder = sessions[0].model.folders[random.choice(FOLDERS)]
    body, name = new_body(), "%d.ext%d.host" % (time.time(), next(counter))
    where = folder_dir(folder)
    watch = sessions[0]
    if watch.folder is folder:
        watch.run("NOOP")
    else:
        watch.select(folder.name)
    with open(where + "/tmp/" + name, "wb") as f:
        f.write(body)
    os.rename(where + "/tmp/" + name, where + "/new/" + name)

    def heard():
        return watch.hears_arrival(body)
    wait_for(heard, 20, "a delivery by another program")


def hears_arrival(self, body):
    f = self.folder
    self.surprise = 0
    self.say("NOOP")
    if not self.surprise:
        return False
    assert self.surprise == 1, self.surprise
    self.surprise = 0
    number = len(self.known) + 1
    folder, self.folder = self.folder, None  # nothing is known of it
    self.say("FETCH %d (UID BODY.PEEK[] FLAGS)" % number)
    self.folder = folder
    line = [x for x in self.lines if b"FETCH (" in x][0]
    assert body in line, "another message arrived"
    uid = int(re.search(rb"UID (\d+)", line).group(1))
    f.add(uid, body, ())
    self.known.append(uid)
    self.highest = uid
    self.told[uid] = set()
    self.check()
    return True


Session.hears_arrival = hears_arrival


def file_of(folder, message):
    """Its file in cur/ when no other message has the same text."""
    if sum(m.body == message.body for m in folder.messages.values()) != 1:
        return None
    mark = re.search(rb"X-Id: \d+\r\n", message.body).group(0)
    found = []
    for sub in ("cur", "new"):
        path = folder_dir(folder) + "/" + sub
        for name in os.listdir(path):
            try:
                with open(path + "/" + name, "rb") as f:
                    if mark in f.read():
                        found.append(path + "/" + name)
            except FileNotFoundError:
                return None
    return found[0] if len(found) == 1 and "/cur/" in found[0] else None


def change_from_outside(sessions):
    """Renames or removes a file as another mail program would."""
    watch = sessions[0]
    folder = watch.folder
    if not folder.messages:
        return
    watch.run("NOOP")
    uid = random.choice(folder.order())
    m = folder.messages[uid]
    path = file_of(folder, m)
    if not path:
        return
    if random.random() < 0.4:
        os.unlink(path)

        def told():
            watch.say("NOOP")
            return uid not in watch.known
        wait_for(told, 20, "the removal of a file")
        watch.surprise_gone = []
        folder.remove(uid)
        watch.check()
        return
    wanted = {k for k, v in LETTERS.items() if v in m.flags}

    def followed():
        p = file_of(folder, m)
        return p and {c for c in p.rpartition(":2,")[2] if c in LETTERS} == wanted and p
    path = wait_for(followed, 20, "file names to follow the flags")
    letter = random.choice("SFR")
    base, _, letters = path.rpartition(":2,")
    letters = set(letters) ^ {letter}
    try:
        os.rename(path, base + ":2," + "".join(sorted(letters)))
    except FileNotFoundError:
        return
    flags = m.flags ^ {LETTERS[letter]}
    watch.told[uid] = set(m.flags)

    def heard():
        watch.say("NOOP")
        return watch.told[uid] == flags
    wait_for(heard, 20, "a renamed file's flags")
    m.change(flags)
    watch.check()


# ---- kills ----

def kill(model, sessions):
    """Exactly what was acknowledged is there if it had a moment; what is younger may be older in flags, never lost."""
    exact = random.random() < 0.5
    inflight = None
    if exact:
        for s in sessions:
            s.snapshot()
        time.sleep(0.3 * SLOW)
    else:
        s = random.choice(sessions)
        inflight = (model.folders[random.choice(FOLDERS)], new_body())
        s.sock.sendall(b"kk APPEND %s {%d+}\r\n" % (inflight[0].name.encode(), len(inflight[1])) + inflight[1] + b"\r\n")
        time.sleep(random.choice((0, 0.001, 0.005, 0.02)))
    now = time.monotonic()
    for pid in mailboxds():
        os.kill(pid, signal.SIGKILL)
    acknowledged = False
    for s in sessions:
        try:
            while True:
                acknowledged = s.response().startswith(b"kk OK") or acknowledged
        except (OSError, EOFError):
            pass
        s.sock.close()
    for s in sessions:
        s.connect()
    for folder in model.folders.values():
        look_again(sessions[0], folder, exact, now, inflight, acknowledged)
    if not exact:
        for s in sessions:
            s.snapshots.clear()
    for s in sessions:
        s.select(random.choice(FOLDERS))


def look_again(s, f, exact, now, inflight, acknowledged):
    s.folder = None
    s.say("SELECT " + f.name)
    text = b"".join(s.lines).decode()
    assert int(re.search(r"UIDVALIDITY (\d+)", text).group(1)) == (f.validity or int(re.search(r"UIDVALIDITY (\d+)", text).group(1)))
    found = {}
    if " 0 EXISTS" not in text.replace("* 0 EXISTS", "*  0 EXISTS"):
        s.say("UID FETCH 1:* (FLAGS BODY.PEEK[])")
        for line in s.lines:
            m = re.match(rb"\* \d+ FETCH \(", line)
            if not m:
                continue
            uid = int(re.search(rb"UID (\d+)", line).group(1))
            n = re.search(rb"BODY\[\] \{(\d+)\}\r\n", line)
            found[uid] = (set(re.search(rb"FLAGS \(([^)]*)\)", line).group(1).decode().split()) - {"\\Recent"},
                          line[n.end():n.end() + int(n.group(1))])
    highest = max(f.ever, default=0)
    for uid, (flags, body) in found.items():
        if uid > highest:
            assert not exact and inflight and inflight[0] is f and body == inflight[1], ("a message from nowhere", f.name, uid)
            f.add(uid, body, flags)
            continue
        assert body == f.ever[uid], ("the UID names another message", f.name, uid)
        if uid not in f.messages:
            when, m = f.gone[uid]
            assert not exact and now - when < 2 * SLOW, ("it is back", f.name, uid, now - when)
            f.messages[uid] = m
        m = f.messages[uid]
        if flags != m.flags:
            young = [old for until, old in m.history if now - until < 2 * SLOW]
            assert not exact and flags in young, ("flags", f.name, uid, flags, m.flags, young)
            m.flags = flags
    lost = set(f.messages) - set(found)
    assert not lost, ("acknowledged and lost", f.name, lost)
    if acknowledged and inflight[0] is f:
        assert any(body == inflight[1] for _, body in found.values()), "acknowledged in flight and lost"


def mailboxds():
    found = []
    for pid in os.listdir("/proc"):
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as f:
                words = f.read().split(b"\0")
            log = os.readlink("/proc/%s/fd/2" % pid)
        except OSError:
            continue
        if words[0] == b"mailboxd" and log == suite.dir + "/log":
            found.append(int(pid))
    return found


def test_random_commands_against_a_model():
    random.seed(SEED)
    model = Model()
    sessions = [Session(model, n) for n in range(3)]
    sessions[0].say("CREATE other")
    for s in sessions:
        s.select("INBOX")
    kills = outside = 0
    for i in range(STEPS):
        try:
            r = random.random()
            if r < 1 / KILLS:
                kill(model, sessions)
                kills += 1
            elif r < 1 / KILLS + 0.01:
                (deliver if random.random() < 0.5 else change_from_outside)([random.choice(sessions)])
                outside += 1
            else:
                random.choice(sessions).step()
        except BaseException:
            print("# step %d of seed %d" % (i, SEED))
            raise
    print("# %d steps, %d kills, %d changes from outside" % (STEPS, kills, outside))


main(globals())
