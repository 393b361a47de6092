#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Logins with SCRAM-SHA-256 and -PLUS: Debian's clients, a client of our own that
lies, and remoted at another host of ours."""
import base64
import hashlib
import hmac
import os
import re
import subprocess

import pillar
from pillar import Dialogue, Instance, SLOW, expect, has, main, starts, wait_for

MECHANISMS = "scram-sha-256-plus, scram-sha-256, plain, login"
suite = Instance("auth_mechanisms = %s\nauth_failure_delay = 50ms\n" % MECHANISMS)
ALICE = "alice@example.test"
CA = suite.env["CA_FILE"]
HOME = suite.dir + "/clients"
os.mkdir(HOME)
ENV = {"HOME": HOME, "PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8"}


def run(*args, stdin=b"", good=True):
    r = subprocess.run(args, input=stdin, capture_output=True, timeout=60 * SLOW, env=ENV, cwd=HOME)
    if (r.returncode == 0) != good:
        raise AssertionError("%s: %d\n%s\n%s" % (" ".join(args), r.returncode, r.stdout.decode("utf-8", "replace"), r.stderr.decode("utf-8", "replace")))
    return r.stdout


def logged(service, mechanism, outcome="ok", user=ALICE):
    suite.wait_log("authd", "auth %s user=%s service=%s mechanism=%s " % (outcome, user, service, mechanism))


def b64(data):
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode()


def mac(key, text):
    return hmac.new(key, text if isinstance(text, bytes) else text.encode(), "sha256").digest()


class Scram:
    """A client's half of RFC 5802 that can be told to do wrong."""

    def __init__(self, user, password, header="n,,", binding=b""):
        self.user, self.password, self.header, self.binding = user, password, header, binding

    def first(self):
        self.bare = "n=%s,r=%s" % (self.user.replace("=", "=3D").replace(",", "=2C"), b64(os.urandom(12)))
        return b64(self.header + self.bare)

    def final(self, challenge):
        challenge = base64.b64decode(challenge).decode()
        self.asked = dict(a.split("=", 1) for a in challenge.split(","))
        without = "c=%s,r=%s" % (b64(self.header.encode() + self.binding), self.asked["r"])
        salted = hashlib.pbkdf2_hmac("sha256", self.password.encode(), base64.b64decode(self.asked["s"]), int(self.asked["i"]))
        key = mac(salted, "Client Key")
        self.message = ",".join((self.bare, challenge, without))
        self.wanted = b64("v=" + b64(mac(mac(salted, "Server Key"), self.message)))
        proof = bytes(x ^ y for x, y in zip(key, mac(hashlib.sha256(key).digest(), self.message)))
        return b64(without + ",p=" + b64(proof))

    def by_pop3(self, d, mechanism="SCRAM-SHA-256"):
        """The server's last word."""
        answer = self.exchange(d, "AUTH %s %s" % (mechanism, self.first()), "+ ")
        return answer if answer else d.line()

    def exchange(self, d, command, prompt):
        d.say(command)
        answer = d.line()
        if not answer.startswith(prompt):
            return answer
        d.say(self.final(answer[len(prompt):]))
        answer = d.line()
        if not answer.startswith(prompt):
            return answer
        expect(answer[len(prompt):], self.wanted, "the server's proof")
        d.say("")
        return None


def pop3(tls=True):
    d = Dialogue(("127.0.0.1", suite.port("POP3S" if tls else "POP3")), suite.context() if tls else None)
    starts(d.line(), "+OK")
    return d


def end_point(d):
    return hashlib.sha256(d.sock.getpeercert(True)).digest()


def try_pop3(user, password, header="n,,", binding=b"", mechanism="SCRAM-SHA-256"):
    d = pop3()
    c = Scram(user, password, header, end_point(d) if binding is None else binding)
    answer = c.by_pop3(d, mechanism)
    d.close()
    return answer, c


def test_gsasl_bound_and_not_bound():
    login = ["-a", ALICE, "-p", suite.password("alice"), "--x509-ca-file=" + CA, "--hostname=localhost", "--starttls"]
    for service, port in (("smtp", "SUBMISSION"), ("imap", "IMAP")):
        where = ["--" + service, "--connect=127.0.0.1:%d" % suite.port(port)]
        run("gsasl", "-m", "SCRAM-SHA-256-PLUS", *where, *login)
        logged(service, "SCRAM-SHA-256-PLUS")
        run("gsasl", "-m", "SCRAM-SHA-256", "--no-cb", *where, *login)
        logged(service, "SCRAM-SHA-256")
        wrong = [a if a != suite.password("alice") else "wrong" for a in login]
        run("gsasl", "-m", "SCRAM-SHA-256-PLUS", *where, *wrong, good=False)
        logged(service, "SCRAM-SHA-256-PLUS", "failed")


def test_msmtp():
    rc = HOME + "/msmtprc"
    with open(rc, "w", opener=lambda p, flags: os.open(p, flags, 0o600)) as f:
        f.write("account default\nhost 127.0.0.1\nport %d\nfrom %s\ntls on\ntls_trust_file %s\nauth scram-sha-256\nuser %s\npassword %s\n" %
                (suite.port("SUBMISSION"), ALICE, CA, ALICE, suite.password("alice")))
    run("msmtp", "-C", rc, "--", "bob@example.test", stdin=b"Subject: by msmtp\n\nhello\n")
    suite.wait_mail(1)
    has(suite.log(), "mechanism=SCRAM-SHA-256 client=127.0.0.1")


def test_mbsync():
    os.mkdir(HOME + "/near")
    rc = HOME + "/mbsyncrc"
    with open(rc, "w", opener=lambda p, flags: os.open(p, flags, 0o600)) as f:
        f.write("IMAPStore far\nHost localhost\nPort %d\nUser bob@example.test\nPass %s\nSSLType IMAPS\nSystemCertificates no\nCertificateFile %s\n"
                "AuthMechs SCRAM-SHA-256\n\nMaildirStore near\nPath %s/near/\nInbox %s/near/INBOX\n\nChannel all\nFar :far:\nNear :near:\nCreate Near\n" %
                (suite.port("IMAPS"), suite.password("bob"), CA, HOME, HOME))
    wait_for(lambda: suite.mailbox_files(), 20, "the message")
    run("mbsync", "-c", rc, "all")
    logged("imap", "SCRAM-SHA-256", user="bob@example.test")
    expect(len(os.listdir(HOME + "/near/INBOX/new") + os.listdir(HOME + "/near/INBOX/cur")), len(suite.mailbox_files()))


def test_pop3_and_the_session_behind_it():
    d = pop3()
    c = Scram(ALICE, suite.password("alice"), "p=tls-server-end-point,,", end_point(d))
    starts(c.by_pop3(d, "SCRAM-SHA-256-PLUS"), "+OK")
    d.say("STAT")
    starts(d.line(), "+OK")
    d.say("QUIT")
    starts(d.line(), "+OK")
    d.close()


def test_a_name_with_comma_and_equals_sign():
    answer, c = try_pop3("a,b=c@example.test", "x")
    starts(answer, "-ERR [AUTH]")
    suite.wait_log("authd", "auth failed user=- service=pop3")  # no user can have this name


def submission(user, password):
    """The reply to AUTH PLAIN."""
    with suite.smtp("SUBMISSION") as s:
        s.starttls(context=suite.context())
        s.ehlo("client.test")
        return s.docmd("AUTH", "PLAIN " + b64("\0%s\0%s" % (user, password)))[0]


def imap_login(user, password):
    """The tagged reply to LOGIN."""
    d = Dialogue(("127.0.0.1", suite.port("IMAPS")), suite.context())
    d.line()
    for i, word in enumerate((user, password)):
        d.sock.sendall(b"%s{%d}\r\n" % (b" " if i else b"a LOGIN ", len(word.encode())))
        starts(d.line(), "+")
        d.sock.sendall(word.encode())
    d.say("")
    answer = d.line()
    while not answer.startswith("a "):
        answer = d.line()
    d.sock.close()
    return answer.split()[1]


def test_a_name_and_a_password_have_one_form():
    """RFC 4013 2: full width, ligatures, Roman numerals, accents that are letters of their own or follow one, other spaces,
    and what is not seen, over real sessions."""
    suite.mailctl("user", "add", "felicia@example.test", "--password-stdin", input="Cafe\u0301 \u2168-\ufb01sh\n")
    names = ("felicia@example.test", "\uff46\uff45\uff4c\uff49\uff43\uff49\uff41@example.test", "feli\u00adcia@example.test")
    passwords = ("Caf\u00e9 IX-fish", "Cafe\u0301 \u2168-\ufb01sh", "\uff23\uff41\uff46\u00e9\u00a0IX\uff0dfi\u00adsh")
    for name in names:
        for password in passwords:
            expect(submission(name, password), 235, ascii((name, password)))
            expect(imap_login(name, password), "OK", ascii((name, password)))
    for name, password in ((names[0], "Cafe IX-fish"), (names[1], "caf\u00e9 IX-fish"), ("\uff47" + names[0], passwords[0])):
        expect(submission(name, password), 535, ascii((name, password)))
        expect(imap_login(name, password), "NO", ascii((name, password)))
    starts(try_pop3(names[0], passwords[0])[0], "+OK")


def test_whoever_sits_in_between_gets_nowhere():
    password = suite.password("alice")
    # What is bound to another channel is of no use here.
    starts(try_pop3(ALICE, password, "p=tls-server-end-point,,", b"\0" * 32, "SCRAM-SHA-256-PLUS")[0], "-ERR")
    starts(try_pop3(ALICE, password, "p=tls-unique,,", b"\0" * 12, "SCRAM-SHA-256-PLUS")[0], "-ERR")
    starts(try_pop3(ALICE, password, "n,,", b"", "SCRAM-SHA-256-PLUS")[0], "-ERR")
    # A client that was not told of -PLUS was lied to (RFC 5802 6).
    starts(try_pop3(ALICE, password, "y,,")[0], "-ERR")
    starts(try_pop3(ALICE, password, "p=tls-server-end-point,,", None, "SCRAM-SHA-256-PLUS")[0], "+OK")
    d = pop3(tls=False)
    starts(Scram(ALICE, password, "y,,").by_pop3(d), "+OK")  # no TLS, so it was none


def test_a_proof_cannot_be_used_again():
    d = pop3()
    c = Scram(ALICE, suite.password("alice"))
    first = c.first()
    d.say("AUTH SCRAM-SHA-256 " + first)
    final = c.final(d.line()[2:])
    d.say(final)
    starts(d.line(), "+ ")
    d.close()
    for same_nonce in (first, c.first()):
        d = pop3()
        d.say("AUTH SCRAM-SHA-256 " + same_nonce)
        starts(d.line(), "+ ")
        d.say(final)
        starts(d.line(), "-ERR")
        d.close()


def test_nobody_is_asked_like_anybody():
    seen = {}
    for turn in range(2):
        for user in (ALICE, "nobody@example.test", "bob@example.test", "NoBody@Example.test"):
            answer, c = try_pop3(user, "guess")
            starts(answer, "-ERR [AUTH]")
            asked = (c.asked["s"], c.asked["i"])
            expect(seen.setdefault(user.lower(), asked), asked, user)
        if turn == 0:
            suite.stop()
            suite.start()
    expect(len({salt for salt, _ in seen.values()}), 3)
    expect(len({iterations for _, iterations in seen.values()}), 1)


def reconfigure(old, new):
    path = suite.env["CONFIG"]
    with open(path) as f:
        text = f.read()
    assert old in text, text
    with open(path, "w") as f:
        f.write(text.replace(old, new))
    suite.mailctl("reload")


def test_a_user_without_keys_gets_them_with_a_password():
    reconfigure("auth_mechanisms = " + MECHANISMS, "auth_mechanisms = plain")
    suite.user_add("old")
    d = wait_for(lambda: plain_alone(), 20, "the mechanisms to be gone")
    d.say("AUTH SCRAM-SHA-256 " + Scram(ALICE, "x").first())
    starts(d.line(), "-ERR Unsupported")
    d.close()
    reconfigure("auth_mechanisms = plain", "auth_mechanisms = " + MECHANISMS)
    wait_for(lambda: not plain_alone(), 20, "the mechanisms to be back")
    starts(try_pop3("old@example.test", suite.password("old"))[0], "-ERR [AUTH]")
    suite.wait_log("auth failed", "user=old@example.test", "no SCRAM keys")
    has(suite.mailctl("user", "list", "old@example.test").stdout, " login ")
    suite.pop3("old").quit()
    has(suite.mailctl("user", "list", "old@example.test").stdout, " scram ")
    starts(try_pop3("old@example.test", suite.password("old"))[0], "+OK")


def plain_alone():
    d = pop3()
    d.say("AUTH")
    lines = [d.line()]
    while lines[-1] != ".":
        lines.append(d.line())
    return d if lines == ["+OK", "PLAIN", "."] else None


def test_a_new_password_and_a_deleted_user():
    suite.user_add("change")
    starts(try_pop3("change@example.test", suite.password("change"))[0], "+OK")
    suite.mailctl("user", "passwd", "change@example.test", "--password-stdin", input="another\n")
    starts(try_pop3("change@example.test", suite.password("change"))[0], "-ERR [AUTH]")
    starts(try_pop3("change@example.test", "another")[0], "+OK")
    suite.mailctl("user", "delete", "change@example.test")
    starts(try_pop3("change@example.test", "another")[0], "-ERR [AUTH]")


def test_many_begin_and_few_go_on():
    open_ones = []
    for _ in range(100):  # more than one client may have under way
        d = pop3(tls=False)
        d.say("AUTH SCRAM-SHA-256 " + Scram(ALICE, "x").first())
        open_ones.append(d)
    for d in open_ones:
        starts(d.line(), "+ ")
    starts(try_pop3(ALICE, suite.password("alice"))[0], "+OK")
    for d in open_ones:
        d.close()


def test_remoted_logs_in_at_a_smart_host():
    for name, mechanisms, wanted in (("plus", "scram-sha-256-plus, scram-sha-256", "SCRAM-SHA-256-PLUS"), ("no", "scram-sha-256, plain", "SCRAM-SHA-256")):
        port = suite.port("SUBMISSION")
        other = Instance("relayhost = [127.0.0.1]:%d\nvirtual_mailbox_domains =\nmynetworks = 127.0.0.0/8\nsmtp_tls_security_level = encrypt\n"
                         "smtp_sasl_password_maps = inline:{[127.0.0.1]:%d=%s:%s}\nsmtp_sasl_mechanism_filter = %s\n" %
                         (port, port, ALICE, suite.password("alice"), mechanisms), users=())
        s = other.smtp()
        s.sendmail(ALICE, ["bob@example.test"], "From: %s\r\nSubject: by smart host %s\r\n\r\nhello\r\n" % (ALICE, name))
        s.quit()
        wait_for(lambda: any(("by smart host " + name).encode() in t for t in suite.messages()), 20, "the message " + name)
        logged("smtp", wanted)
        other.stop()


def test_remoted_logs_in_at_a_fallback_relay():
    port, dead = suite.port("SUBMISSION"), pillar.free_base()
    other = Instance("transport_maps = inline:{ far.test=smtp:[127.0.0.1]:%d }\nmynetworks = 127.0.0.0/8\nsmtp_fallback_relay = [127.0.0.1]:%d\n"
                     "smtp_tls_security_level = encrypt\nsmtp_sasl_password_maps = inline:{[127.0.0.1]:%d=%s:%s}\n" %
                     (dead, port, port, ALICE, suite.password("alice")), users=())
    with other.smtp() as s:
        s.sendmail(ALICE, ["x@far.test"], "From: %s\r\nSubject: by fallback relay\r\n\r\nhello\r\n" % ALICE)
    line = wait_for(lambda: re.search(r" to=<x@far.test> relay=\S+:%d .*" % port, other.log()), 20, "what became of it")[0]
    has(line, "status=sent")
    assert suite.password("alice") not in other.log()
    other.stop()


def test_zz_no_password_is_in_the_log():
    text = suite.log()
    for user in ("alice", "bob", "old"):
        assert suite.password(user) not in text
    assert not re.search(r"violation|assert|Sanitizer", text), text[-2000:]


if __name__ == "__main__":
    main(globals())
