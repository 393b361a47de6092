# SPDX-License-Identifier: ISC
"""A scripted SMTP or LMTP server on a loopback address: says what it is told
to offer, notes what it was asked, keeps what it took."""
import base64
import os
import socket
import threading


class Message:
    def __init__(self, mail, rcpts, data, how):
        self.mail, self.rcpts, self.data, self.how = mail, rcpts, data, how

    def __repr__(self):
        return "Message(%r, %r, %d bytes by %s)" % (self.mail, self.rcpts, len(self.data), self.how)


class Peer:
    """replies: {word or (word, part of the line): reply, or what makes one of the session}, asked before the defaults."""

    def __init__(self, address, extensions=("PIPELINING", "8BITMIME"), replies=None, lmtp=False, auth=None, tls=None):
        self.tls = tls
        self.extensions, self.replies, self.lmtp, self.auth = list(extensions), dict(replies or {}), lmtp, auth
        self.messages, self.commands, self.connections, self.logins = [], [], 0, []
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.socket = socket.socket(family)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(address)
        if isinstance(address, str):
            os.chmod(address, 0o777)
        self.socket.listen(128)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            c, _ = self.socket.accept()
            self.connections += 1
            threading.Thread(target=self.serve, args=(c,), daemon=True).start()

    def serve(self, c):
        try:
            Session(self, c).talk()
        except OSError:
            pass
        finally:
            c.close()


class Session:
    def __init__(self, peer, c):
        self.peer, self.c, self.f = peer, c, c.makefile("rb")
        self.mail, self.rcpts, self.chunks, self.user, self.secure = "", [], b"", None, False

    def say(self, *lines):
        self.c.sendall("".join(line + "\r\n" for line in lines).encode())

    def scripted(self, word, line):
        for key, reply in list(self.peer.replies.items()):
            if key == word or (isinstance(key, tuple) and key[0] == word and key[1] in line):
                return reply(self) if callable(reply) else reply
        return None

    def take(self, data, how):
        self.peer.messages.append(Message(self.mail, self.rcpts, data, how))
        self.say(*["250 2.0.0 taken"] * (len(self.rcpts) if self.peer.lmtp else 1))
        self.rcpts, self.chunks = [], b""

    def talk(self):
        self.say("220 peer ready")
        while True:
            line = self.f.readline()
            if not line:
                return
            line = line.decode("utf-8", "replace").rstrip("\r\n")
            self.peer.commands.append(line)
            word = line.split(" ")[0].upper()
            reply = self.scripted(word, line)
            if reply and word not in ("RCPT", "BDAT"):
                self.say(reply)
                continue
            if not getattr(self, "on_" + word.lower(), self.on_other)(line, reply):
                return

    def on_ehlo(self, line, reply):
        words = ["peer"] + self.peer.extensions + (["STARTTLS"] if self.peer.tls and not self.secure else [])
        self.say(*["250-" + w for w in words[:-1]], "250 " + words[-1])
        return True

    on_lhlo = on_ehlo

    def on_starttls(self, line, reply):
        self.say("220 go")
        self.c = self.peer.tls.wrap_socket(self.c, server_side=True)
        self.f, self.secure = self.c.makefile("rb"), True
        return True

    def on_auth(self, line, reply):
        words = line.split(" ")
        mechanism, initial = words[1].upper(), words[2] if len(words) > 2 else None
        done = self.peer.auth(mechanism, initial, self.challenge) if self.peer.auth else False
        self.peer.logins.append((mechanism, done))
        self.say("235 2.7.0 in" if done else "535 5.7.8 no")
        return True

    def challenge(self, text):
        """Sends one and gives the decoded answer."""
        self.say("334 " + base64.b64encode(text).decode())
        answer = self.f.readline().strip()
        self.peer.commands.append(answer.decode())
        return base64.b64decode(answer) if answer != b"*" else None

    def on_mail(self, line, reply):
        self.mail, self.rcpts, self.chunks = line, [], b""
        self.say("250 2.1.0 ok")
        return True

    def on_rcpt(self, line, reply):
        if not reply or reply.startswith("2"):
            self.rcpts.append(line)
        self.say(reply or "250 2.1.5 ok")
        return True

    def on_data(self, line, reply):
        if not self.rcpts:
            self.say("554 5.5.1 nobody")
            return True
        self.say("354 go")
        text = b""
        while not text.endswith(b"\r\n.\r\n") and text != b".\r\n":
            line = self.f.readline()
            if not line:
                return False
            text += line[1:] if line.startswith(b"..") else line
        self.take(text[:-3], "DATA")
        return True

    def on_bdat(self, line, reply):
        words = line.split(" ")
        self.chunks += self.f.read(int(words[1]))
        last = len(words) > 2 and words[2].upper() == "LAST"
        if reply:
            self.say(reply)
        elif not self.rcpts:
            self.say("554 5.5.1 nobody")
        elif last:
            self.take(self.chunks, "BDAT")
        else:
            self.say("250 2.0.0 chunk taken")
        return True

    def on_quit(self, line, reply):
        self.say("221 bye")
        return False

    def on_other(self, line, reply):
        self.say("250 ok")
        return True
