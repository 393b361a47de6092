#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Our certificates at other hosts: a real Postfix that wants one (smtpd_tls_req_ccert) and
lets in by fingerprint (check_ccert_access). The private keys are keyd's."""
import atexit
import hashlib
import os
import re
import ssl
import subprocess
import sys

import pillar
from pillar import Instance, expect, has, main, wait_for

if os.geteuid() != 0:
    print("1..0 # SKIP Postfix runs in a mount namespace, which takes root")
    sys.exit(0)
sys.path.insert(0, os.path.join(pillar.HERE, "../bench"))
import peers  # noqa: E402

reason = peers.impossible(peers.Postfix)
if reason:
    print("1..0 # SKIP " + reason)
    sys.exit(0)

suite = Instance(start=False)
TLS = suite.dir + "/tls/"


def openssl(*args):
    subprocess.run(["openssl", *args], cwd=TLS, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def certificate(name, kind):
    """NAME.key and NAME.crt of the instance's authority; the fingerprint as Postfix writes it."""
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"] if kind == "EC" else ["-newkey", "rsa:2048"]
    with open(TLS + name + ".ext", "w") as f:
        f.write("extendedKeyUsage=clientAuth\n")
    openssl("req", *new, "-nodes", "-subj", "/CN=" + name, "-keyout", name + ".key", "-out", name + ".csr")
    openssl("x509", "-req", "-in", name + ".csr", "-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial", "-days", "30", "-extfile", name + ".ext", "-out", name + ".crt")
    os.chmod(TLS + name + ".key", 0o600)
    with open(TLS + name + ".crt") as f:
        digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(f.read())).hexdigest().upper()
    return ":".join(digest[i:i + 2] for i in range(0, 64, 2))


PRINTS = {"all": certificate("all", "EC"), "one": certificate("one", "RSA")}
certificate("gone", "EC")
with open(TLS + "one.pem", "w", opener=lambda p, flags: os.open(p, flags, 0o600)) as f:
    f.write(open(TLS + "one.key").read() + open(TLS + "one.crt").read())


class Postfix(peers.Postfix):
    """Wants a certificate at all its ports, and there that of PRINTS alone."""

    def __init__(self):
        super().__init__("local")
        atexit.register(self.stop)

    def settings(self):
        os.chown(self.dir + "/mail/box", self.users["box"], self.users["box"])
        return """virtual_mailbox_domains = all.test, one.test, none.test, wrong.test, may.test, must.test
virtual_mailbox_base = {d}/mail
virtual_mailbox_maps = static:box/
virtual_uid_maps = static:{u}
virtual_gid_maps = static:{u}
virtual_minimum_uid = 1
smtpd_tls_security_level = encrypt
smtpd_tls_cert_file = {tls}cert.pem
smtpd_tls_key_file = {tls}key.pem
smtpd_tls_CAfile = {tls}ca.pem
smtpd_tls_ask_ccert = yes
smtpd_tls_req_ccert = yes
smtpd_tls_loglevel = 2
smtpd_tls_fingerprint_digest = sha256
smtpd_relay_restrictions = reject_unauth_destination
""".format(d=self.dir, u=self.users["box"], tls=TLS)

    def only(self, name):
        return "-o { smtpd_recipient_restrictions = check_ccert_access inline:{{%s = OK}}, reject }" % PRINTS[name]

    def services(self):
        return ("127.0.0.1:%d inet n - n - 20 smtpd %s" % (self.base + 465, self.only("all")),
                "127.0.0.1:%d inet n - n - 20 smtpd %s" % (self.base + 587, self.only("one")),
                "127.0.0.1:%d inet n - n - 20 smtpd -o smtpd_tls_security_level=may -o smtpd_tls_req_ccert=no" % (self.base + 26))

    def log(self):
        with open(self.dir + "/log", errors="replace") as f:
            return f.read()

    def wait_log(self, pattern):
        return wait_for(lambda: re.search(pattern, self.log(), re.M), 30, "Postfix's log with " + pattern)


postfix = Postfix()
with open(suite.dir + "/etc/local.conf", "w") as f:
    f.write("""smtp_tls_security_level = encrypt
smtp_tls_CAfile = {tls}ca.pem
smtp_tls_cert_file = {tls}all.crt
smtp_tls_key_file = {tls}all.key
relay_domains = all.test, one.test, none.test, wrong.test, may.test, must.test
transport_maps = inline:{{all.test=smtp:[localhost]:{a}, one.test=smtp:[localhost]:{o}, none.test=smtp:[127.0.0.1]:{p}, wrong.test=smtp:[127.0.0.1]:{o}, may.test=smtp:[localhost]:{m}, must.test=smtp:[127.0.0.1]:{m}}}
minimal_backoff_time = 1h
route one.test {{ nexthop = "[localhost]:{o}"; tls = verify; cert_file = "{tls}one.pem"; }}
route none.test {{ nexthop = "[127.0.0.1]:{p}"; cert_file = ""; }}
route may.test {{ nexthop = "[localhost]:{m}"; tls = may; cert_file = "{tls}gone.crt"; key_file = "{tls}gone.key"; }}
route must.test {{ nexthop = "[127.0.0.1]:{m}"; tls = encrypt; cert_file = "{tls}gone.crt"; key_file = "{tls}gone.key"; }}
""".format(tls=TLS, p=postfix.port, m=postfix.base + 26, a=postfix.base + 465, o=postfix.base + 587))
suite.make()
suite.start()
suite.user_add("bob")


def send(domain, user="bob"):
    with suite.smtp() as s:
        s.sendmail("alice@example.test", [user + "@" + domain], "Subject: to %s\r\n\r\nhello\r\n" % domain)
    return suite.wait_log("delivery", user + "@" + domain, "status=")


def test_the_certificate_of_all_routes():
    has(send("all.test"), "status=sent")
    postfix.wait_log("subject_CN=all, .*fingerprint=" + PRINTS["all"])


def test_the_certificate_of_one_route():
    line = send("one.test")
    has(line, "status=sent")
    has(line, " verified")
    postfix.wait_log("subject_CN=one, .*fingerprint=" + PRINTS["one"])
    postfix.wait_log("Trusted TLS connection established from .* client-signature RSA-PSS")


def test_without_one_mail_waits():
    has(send("none.test"), "status=deferred")


def test_another_one_is_not_let_in():
    has(send("wrong.test"), "554")


def test_a_session_is_kept_or_resumed_with_it():
    for _ in range(3):
        has(send("all.test"), "status=sent")


def test_a_renewed_certificate_is_taken_up_at_a_reload():
    fresh = certificate("all", "EC")
    suite.mailctl("reload")

    def shown():
        send("all.test")
        return "fingerprint=" + fresh in postfix.log()
    # It is no longer among those that are let in, but it is shown.
    wait_for(shown, 60, "the new certificate")


def test_the_keys_are_nobodys_but_keyds():
    loaded = [line for line in suite.log().splitlines() if " loaded " in line and TLS in line]
    assert any("file=%sone.pem" % TLS in line for line in loaded) and any("file=%sall.key" % TLS in line for line in loaded), loaded
    for name in ("one", "all"):
        der = subprocess.run(["openssl", "pkey", "-in", TLS + name + ".key", "-outform", "DER"], capture_output=True, check=True).stdout
        secret = der[-40:-8] if name == "one" else der[der.index(bytes.fromhex("0201010420")) + 5:][:32]
        for process, _, pid in suite.processes():
            if process == "remoted":
                expect(secret in memory(pid), False, "a private key in remoted")


def test_without_a_readable_one_mail_is_hidden_or_waits():
    for domain in "may.test", "must.test":
        has(send(domain), "status=sent")
    postfix.wait_log("subject_CN=gone")
    suite.stop()
    with open(TLS + "gone.key", "w") as f:
        f.write("no key\n")
    suite.start()
    line = send("may.test", "carol")
    has(line, "status=sent")
    has(line, 'tls="TLS')
    line = send("must.test", "carol")
    has(line, "status=deferred")
    has(line, "keyd has no certificate")


def memory(pid):
    found = b""
    with open("/proc/%d/maps" % pid) as maps, open("/proc/%d/mem" % pid, "rb", 0) as mem:
        for line in maps:
            span, rights = line.split()[:2]
            low, high = (int(x, 16) for x in span.split("-"))
            if rights.startswith("r") and "[v" not in line and high - low < 1 << 25:
                try:
                    mem.seek(low)
                    found += mem.read(high - low)
                except (OSError, ValueError, OverflowError):
                    continue
    return found


def test_zz_every_program_ended_well():
    suite.stop()
    expect(re.findall(r"\]: child .* ended: (?!exit status 0$).*", suite.log(), re.M), [])


main(globals())
