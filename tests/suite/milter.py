# SPDX-License-Identifier: ISC
"""A milter and a policy service that do as they are told, for the suite tests.

The protocol is written down here once more, from its description, so that both
sides of it are not the same misunderstanding."""
import os
import socket
import socketserver
import struct
import threading

STAGES = {b"C": "connect", b"H": "helo", b"M": "mail", b"R": "rcpt", b"T": "data", b"L": "header", b"N": "eoh", b"B": "body", b"E": "end"}
HANG, CRASH, GARBAGE = object(), object(), object()


def strings(data):
    return [s.decode("utf-8", "surrogateescape") for s in data.split(b"\0")[:-1]]


def packet(command, data=b""):
    return struct.pack(">I", len(data) + 1) + command + data


def z(*texts):
    return b"".join(t.encode() + b"\0" for t in texts)


def of_text(command):
    return staticmethod(lambda text: packet(command, z(text)))


class Changes:
    """Replies at the end of a message."""
    @staticmethod
    def add(name, value):
        return packet(b"h", z(name, value))

    @staticmethod
    def insert(index, name, value):
        return packet(b"i", struct.pack(">I", index) + z(name, value))

    @staticmethod
    def change(index, name, value):
        return packet(b"m", struct.pack(">I", index) + z(name, value))

    @staticmethod
    def body(text):
        return packet(b"b", text)

    rcpt, unrcpt, sender = of_text(b"+"), of_text(b"-"), of_text(b"e")
    quarantine, code = of_text(b"q"), of_text(b"y")
    PROGRESS = packet(b"p")


WORDS = {"accept": packet(b"a"), "continue": packet(b"c"), "discard": packet(b"d"), "reject": packet(b"r"), "tempfail": packet(b"t"),
         "skip": packet(b"s"), "shutdown": packet(b"4")}


class Milter:
    """plan: stage -> what to answer: a word, packets, HANG, CRASH, GARBAGE, or a function of
    the event's strings that gives one of them. Everything it was told is in `seen`: lists of (stage, strings or
    bytes, macros), one a connection."""

    def __init__(self, plan=None, protocol=0, actions=0x1ff, macros=b"", unix=None):
        self.plan = plan or {}
        self.protocol, self.actions, self.macros = protocol, actions, macros
        self.seen = []
        self.stopping = threading.Event()
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                outer.serve(self.request)

        class Tcp(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            request_queue_size = 200

        class Unix(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True

        if unix:
            self.server = Unix(unix, Handler)
            os.chmod(unix, 0o666)
            self.address = "unix:" + unix
        else:
            self.server = Tcp(("127.0.0.1", 0), Handler)
            self.address = "inet:127.0.0.1:%d" % self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self):
        self.stopping.set()
        self.server.shutdown()
        self.server.server_close()

    def events(self, connection=-1):
        return [stage for stage, _, _ in self.seen[connection]]

    def told(self, stage, connection=-1):
        return [data for s, data, _ in self.seen[connection] if s == stage]

    def macro(self, stage, name, connection=-1):
        for s, _, macros in self.seen[connection]:
            if s == stage:
                return macros.get(name)
        return None

    def serve(self, sock):
        log = []
        self.seen.append(log)
        macros = {}
        try:
            while True:
                head = self.read(sock, 4)
                size, = struct.unpack(">I", head)
                data = self.read(sock, size)
                command, data = data[:1], data[1:]
                if command == b"O":
                    self.offer = struct.unpack(">III", data)
                    sock.sendall(packet(b"O", struct.pack(">III", 6, self.actions, self.protocol) + self.macros))
                elif command == b"D":
                    words = strings(data[1:])
                    macros = dict(zip(words[::2], words[1::2]))
                elif command == b"A":
                    log.append(("abort", None, {}))
                elif command in (b"Q", b"K"):
                    log.append(("quit", None, {}))
                    return
                else:
                    stage = STAGES[command]
                    what = data if command in (b"B", b"C") else strings(data)
                    log.append((stage, what, macros))
                    macros = {}
                    if not self.answer(sock, stage, what):
                        return
        except (ConnectionError, struct.error, OSError):
            log.append(("gone", None, {}))

    NO_REPLY = {"connect": 0x1000, "helo": 0x2000, "mail": 0x4000, "rcpt": 0x8000, "data": 0x10000, "header": 0x80, "eoh": 0x40000, "body": 0x80000}

    def answer(self, sock, stage, what):
        if self.protocol & self.NO_REPLY.get(stage, 0):
            return True
        reply = self.plan.get(stage, "continue")
        if callable(reply):
            reply = reply(what)
        if reply is HANG:
            self.stopping.wait(120)
            return False
        if reply is CRASH:
            return False
        if reply is GARBAGE:
            sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            return True
        for part in reply if isinstance(reply, list) else [reply]:
            sock.sendall(WORDS[part] if isinstance(part, str) else part)
        return True

    @staticmethod
    def read(sock, n):
        data = b""
        while len(data) < n:
            piece = sock.recv(n - len(data))
            if not piece:
                raise ConnectionError
            data += piece
        return data


class Policy:
    """plan: a function of the attributes that gives the action, HANG or CRASH. `seen`: the attributes."""

    def __init__(self, plan):
        self.plan = plan
        self.seen = []
        self.stopping = threading.Event()
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                request = {}
                for line in self.rfile:
                    line = line.decode("utf-8", "replace").rstrip("\n")
                    if line:
                        name, _, value = line.partition("=")
                        request[name] = value
                        continue
                    outer.seen.append(request)
                    action = outer.plan(request)
                    request = {}
                    if action is HANG:
                        outer.stopping.wait(120)
                        return
                    if action is CRASH:
                        return
                    self.wfile.write(b"action=" + action.encode() + b"\n\n")

        class Tcp(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        self.server = Tcp(("127.0.0.1", 0), Handler)
        self.address = "inet:localhost:%d" % self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self):
        self.stopping.set()
        self.server.shutdown()
        self.server.server_close()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]
