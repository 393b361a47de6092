#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Debian's Postfix, Exim and OpenSMTPD as senders and as receivers, Dovecot's
LMTP as a receiver: in clear text, with STARTTLS and with a login; 8-bit content,
SMTPUTF8 where the other has it, BDAT with Exim and Postfix.  What arrives is
compared byte by byte; what was used on the way, both sides' logs tell.

The packages are unpacked, not installed (tests/bench/peers.py)."""
import atexit
import glob
import os
import random
import re
import smtplib
import sys

import pillar
from pillar import Instance, expect, has, main, wait_for

if os.geteuid() != 0:
    print("1..0 # SKIP the other servers run in mount namespaces, which takes root")
    sys.exit(0)
sys.path.insert(0, os.path.join(pillar.HERE, "../bench"))
import peers  # noqa: E402

MODES = ("plain", "tls", "auth")
suite = Instance(start=False)
US = {"smtp": suite.port("SMTP"), "submission": suite.port("SUBMISSION"), "password": suite.password("alice"), "tls": suite.dir + "/tls"}


class Other:
    """What the receivers and senders of this test add to those of the bench. It listens at
    25, 465 (no other than 25: each mode has a next hop of its own) and 587, where it takes mail
    only from who has logged in as alice with the password "secret"."""

    def __init__(self):
        super().__init__("local")
        atexit.register(self.end)
        self.ended = False

    tls_server = True

    def names(self):
        return dict(US, p=self.port, t=self.base + 465, a=self.base + 587, d=self.dir, me=self.name, domains=self.domains())

    def domains(self, separator=", "):
        return separator.join("%s.%s.test" % (mode, self.name) for mode in MODES)

    def wait(self):
        """All start at the same time: ready() waits."""

    def ready(self):
        super().wait()

    def end(self):
        if not self.ended:
            self.ended = True
            if os.environ.get("KEEP"):
                print("# %s's log:\n%s" % (self.name, self.log()))
            self.stop()

    def texts(self):
        found = []
        for path in glob.glob(self.dir + "/mail/*/new/*"):
            with open(path, "rb") as f:
                found.append(f.read().replace(b"\r\n", b"\n"))
        return found

    def log(self):
        text = ""
        for path in (self.dir + "/log", self.dir + "/log/main"):
            if os.path.isfile(path):
                with open(path, errors="replace") as f:
                    text += f.read()
        return text

    def wait_log(self, pattern):
        return wait_for(lambda: re.search(pattern, self.log(), re.M), 30, "%s's log with %s" % (self.name, pattern))


class Postfix(Other, peers.Postfix):
    def settings(self):
        os.chown(self.dir + "/mail/box", self.users["box"], self.users["box"])
        return """virtual_mailbox_domains = {domains}
virtual_mailbox_base = {d}/mail
virtual_mailbox_maps = static:box/
virtual_uid_maps = static:{u}
virtual_gid_maps = static:{u}
virtual_minimum_uid = 1
smtpd_tls_security_level = may
smtpd_tls_cert_file = {tls}/cert.pem
smtpd_tls_key_file = {tls}/key.pem
smtpd_sasl_type = dovecot
smtpd_sasl_path = inet:127.0.0.1:{dovecot}
smtp_tls_CAfile = {tls}/ca.pem
smtp_sasl_password_maps = inline:{{ {{ [localhost]:{submission} = alice@example.test:{password} }} }}
smtp_sasl_security_options = noanonymous
transport_maps = inline:{{ {{ bob+plain@example.test = plain:[127.0.0.1]:{smtp} }}, {{ bob+tls@example.test = tls:[localhost]:{smtp} }},
	{{ bob+auth@example.test = auth:[localhost]:{submission} }} }}
""".format(u=self.users["box"], dovecot=dovecot.auth, **self.names())

    def services(self):
        return ("127.0.0.1:%d inet n - n - 20 smtpd" % (self.base + 465),
                "127.0.0.1:%d inet n - n - 20 smtpd -o smtpd_tls_security_level=encrypt -o smtpd_sasl_auth_enable=yes" % (self.base + 587)
                + " -o smtpd_relay_restrictions= -o smtpd_recipient_restrictions=permit_sasl_authenticated,reject",
                "plain unix - - n - - smtp -o smtp_tls_security_level=none",
                "tls unix - - n - - smtp -o smtp_tls_security_level=secure",
                "auth unix - - n - - smtp -o smtp_tls_security_level=secure -o smtp_sasl_auth_enable=yes")

    def took(self, mode):
        """Whether it says that mail came in this way."""
        words = {"plain": "ehlo=1 mail", "tls": "ehlo=2 starttls=1 mail", "auth": "ehlo=2 starttls=1 auth=1 mail"}
        self.wait_log("disconnect from .* " + words[mode] + r"=\d+ rcpt=\d+ bdat=\d+ ")
        if mode == "auth":
            has(self.log(), "sasl_method=PLAIN, sasl_username=alice")


class Exim(Other, peers.Exim):
    def settings(self):
        with open(US["tls"] + "/key.pem") as f, open(self.dir + "/key.pem", "w", opener=lambda p, flags: os.open(p, flags, 0o600)) as to:
            to.write(f.read())
        os.chown(self.dir + "/key.pem", self.users["Debian-exim"], -1)
        names = dict(self.names(), domains=self.domains(" : "))
        routers = "".join("%s:\n  driver = manualroute\n  local_parts = bob+%s\n  route_list = * %s byname\n  self = send\n  transport = %s\n" % (
            mode, mode, "127.0.0.1" if mode == "plain" else "localhost", mode) for mode in MODES)
        transports = "".join("%s:\n  driver = smtp\n%s" % (mode, options.format(**names)) for mode, options in (
            ("plain", "  port = {smtp}\n  hosts_avoid_tls = *\n"),
            ("tls", "  port = {smtp}\n  hosts_require_tls = *\n  tls_verify_certificates = {tls}/ca.pem\n  tls_verify_hosts = *\n"),
            ("auth", "  port = {submission}\n  hosts_require_tls = *\n  hosts_require_auth = *\n")))
        return """primary_hostname = exim.test
exim_user = Debian-exim
exim_group = Debian-exim
spool_directory = /var/spool/exim4
log_file_path = {d}/log/%s
log_selector = +8bitmime
pid_file_path = {d}/spool/exim4/pid
daemon_smtp_ports = {p} : {t} : {a}
local_interfaces = 127.0.0.1
smtp_accept_max = 100
host_lookup =
rfc1413_query_timeout = 0s
never_users =
disable_ipv6
tls_advertise_hosts = *
tls_certificate = {tls}/cert.pem
tls_privatekey = {d}/key.pem
auth_advertise_hosts = ${{if eq{{$tls_in_cipher}}{{}}{{}}{{*}}}}
acl_smtp_rcpt = rcpt
acl_smtp_data = accept
begin acl
rcpt:
  deny condition = ${{if eq{{$received_port}}{{{a}}}}}
    !authenticated = *
  accept
begin routers
mine:
  driver = accept
  domains = {domains}
  transport = maildir
{routers}begin transports
maildir:
  driver = appendfile
  maildir_format
  directory = {d}/mail/bob
  user = bob
  group = bob
{transports}begin retry
* * F,1h,5s
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and{{{{eq{{$auth2}}{{alice}}}}{{eq{{$auth3}}{{secret}}}}}}}}
  server_set_id = $auth2
  client_send = ^alice@example.test^{password}
""".format(routers=routers, transports=transports, **names)

    def said(self, mode):
        """Its line on a delivery to us."""
        return self.wait_log(r".* => .*bob\+%s@example\.test.*" % mode).group(0)

    def took(self, mode):
        words = {"plain": " P=esmtp K ", "tls": " P=esmtps X=TLS.* K ", "auth": " P=esmtpsa X=TLS.* A=plain:alice K "}
        line = self.wait_log(".* <= .*" + words[mode] + ".*").group(0)
        has(line, " M8S=8 ")


class Opensmtpd(Other, peers.Opensmtpd):
    """Debian 12's cannot be a server with TLS: its keys' process and OpenSSL 3 do not go together
    (OpenSMTPD issue 1239). It offers STARTTLS, and the handshake fails."""

    tls_server = False

    def settings(self):
        self.etc("ssl/certs/ca-certificates.crt", open(US["tls"] + "/ca.pem").read())
        local = "".join('match from any for domain "%s.opensmtpd.test" action "in"\n' % mode for mode in MODES)
        out = "".join('match from any for rcpt-to "bob+%s@example.test" action "%s"\n' % (mode, mode) for mode in MODES)
        return """pki us cert "{tls}/cert.pem"
pki us key "{tls}/key.pem"
table secrets {{ us = "alice@example.test:{password}" }}
listen on 127.0.0.1 port {p} hostname opensmtpd.test
listen on 127.0.0.1 port {t} hostname opensmtpd.test tls pki us
action "in" maildir "{d}/mail/bob"
action "plain" relay host "smtp+notls://127.0.0.1:{smtp}"
action "tls" relay host "smtp+tls://localhost:{smtp}"
action "auth" relay host "smtp+tls://us@localhost:{submission}" auth <secrets>
{local}{out}""".format(local=local, out=out, **self.names())

    def took(self, mode):
        if mode == "tls":
            self.wait_log('smtp disconnected reason="io-error: .*SSL')


class Dovecot(Other, peers.Server):
    name = "dovecot"
    packages, libraries = ["dovecot-core", "dovecot-imapd", "dovecot-pop3d", "dovecot-lmtpd"], ["libtirpc3", "libsodium23", "libunwind8"]
    users = {"dovecot": 64131, "dovenull": 64132, "vmail": 64133}

    def start(self):
        self.prepare()
        self.auth = self.base + 143
        os.chown(self.dir + "/mail", self.users["vmail"], self.users["vmail"])
        os.makedirs(self.dir + "/run")
        with open(self.dir + "/users", "w") as f:
            f.write("".join("%s:{PLAIN}secret:%d:%d::%s/mail/%s::\n" % (u, self.users["vmail"], self.users["vmail"], self.dir, u) for u in ("alice", "bob", "carol")))
        os.chmod(self.dir + "/users", 0o644)
        self.etc("dovecot/dovecot.conf", """protocols = lmtp
listen = 127.0.0.1
base_dir = {d}/run
state_dir = {d}/run
log_path = {d}/log
ssl = no
disable_plaintext_auth = no
mail_location = maildir:{d}/mail/%n
first_valid_uid = 1
auth_username_format = %n
passdb {{
  driver = passwd-file
  args = {d}/users
}}
userdb {{
  driver = passwd-file
  args = {d}/users
}}
service lmtp {{
  inet_listener lmtp {{
    port = {p}
  }}
}}
service auth {{
  inet_listener {{
    port = {auth}
  }}
}}
service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
""".format(auth=self.auth, **self.names()))
        self.process = self.run(["/usr/sbin/dovecot", "-F", "-c", "/etc/dovecot/dovecot.conf"])


if why := peers.impossible(Postfix, Exim, Opensmtpd, Dovecot):
    print("1..0 # SKIP " + why)
    sys.exit(0)
dovecot = Dovecot()
OTHERS = postfix, exim, opensmtpd = Postfix(), Exim(), Opensmtpd()
with open(suite.dir + "/etc/local.conf", "w") as conf:
    conf.write("mynetworks = 127.0.0.0/8\nsmtp_tls_CAfile = %s/ca.pem\nminimal_backoff_time = 1s\nmaximal_backoff_time = 2s\n" % US["tls"])
    conf.write("smtp_sasl_password_maps = inline:{%s}\n" % ", ".join("[127.0.0.1]:%d=alice:secret" % (o.base + 587) for o in OTHERS))
    for o in OTHERS:
        for mode, port, tls in (("plain", o.port, "none"), ("tls", o.base + 465, "verify" if o.tls_server else "may"), ("auth", o.base + 587, "verify")):
            conf.write('route %s.%s.test { nexthop = "[127.0.0.1]:%d"; tls = %s; }\n' % (mode, o.name, port, tls))
    conf.write('route dovecot.test { transport = lmtp; nexthop = "inet:127.0.0.1:%d"; }\n' % dovecot.port)
suite.make()
suite.start()
for user in ("alice", "bob"):
    suite.user_add(user)
for o in OTHERS + (dovecot,):
    o.ready()


def compose(name, large=False, utf8=False):
    """8-bit content with whatever framing could get wrong."""
    chance = random.Random(name)
    words = ["pillar", "post", ".", "..", ".dot", "From here", "Größe", "=20", "--", "", " leading", "tab\tbed", "x" * 980, "trailing "]
    lines = [chance.choice(words) for _ in range(4000 if large else 40)]
    return ("From: Alice <alice@example.test>\r\nTo: <you@else.test>\r\nSubject: %s%s\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\nMessage-ID: <%s@interop.test>\r\n"
            "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" % (
                "Größe " if utf8 else "", name, name) + "\r\n".join(lines) + "\r\n").encode()


def arrived(texts, name, sent):
    """The one that has this name, whole; what stands before it are trace fields."""
    mark = ("\nMessage-ID: <%s@interop.test>\n" % name).encode()
    text = wait_for(lambda: [t for t in texts() if mark in t], 30, name)[0]
    wanted = sent.replace(b"\r\n", b"\n")
    assert text.endswith(wanted), "%s: got\n%s\nwanted\n%s" % (name, text.decode(errors="replace")[:3000], wanted.decode()[:3000])
    return text[:len(text) - len(wanted)].decode()


def ours():
    return [text.replace(b"\r\n", b"\n") for text in suite.messages()]


def other_session(other):
    return smtplib.SMTP("127.0.0.1", other.port, local_hostname="client.test", timeout=30 * pillar.SLOW)


def hand_in(session, sender, to, text, options=("BODY=8BITMIME",)):
    session.sendmail(sender, to, text, mail_options=list(options))


UTF8 = ("SMTPUTF8", "BODY=8BITMIME")
SIZES = ("small", "large")


def set_off():
    """All at once: some wait seconds before they connect."""
    sent = {}
    for o in OTHERS:
        with suite.smtp() as to, other_session(o) as away:
            for mode, size in ((mode, size) for mode in MODES for size in SIZES):
                name = "%s-%s-%s" % (o.name, mode, size)
                sent["to-" + name], sent["from-" + name] = compose("to-" + name, size == "large"), compose("from-" + name, size == "large")
                if mode != "auth" or o.tls_server:
                    hand_in(to, "alice@example.test", ["bob+%s@%s.%s.test" % (size, mode, o.name)], sent["to-" + name])
                hand_in(away, "alice@example.test", ["bob+%s@example.test" % mode], sent["from-" + name])
            name = "utf8-to-" + o.name
            sent[name] = compose(name, utf8=True)
            hand_in(to, "größe@example.test", ["grün@tls.%s.test" % o.name], sent[name], UTF8)
            if away.has_extn("smtputf8"):
                name = "utf8-from-" + o.name
                sent[name] = compose(name, utf8=True)
                hand_in(away, "größe@sender.test", ["bob+tls@example.test"], sent[name], UTF8)
    return sent


SENT = set_off()


def receives(other, mode):
    for size in SIZES:
        name = "to-%s-%s-%s" % (other.name, mode, size)
        has(arrived(other.texts, name, SENT[name]), "mail.example.test")
        line = suite.wait_log("delivery", size + "@%s.%s.test" % (mode, other.name), "status=sent")
        expect(re.findall(r'tls="(TLSv1..) \S+ verified', line), ["TLSv1.3"] if mode != "plain" and other.tls_server else [], line)
    other.took(mode)


def sends(other, mode):
    for size in SIZES:
        name = "from-%s-%s-%s" % (other.name, mode, size)
        trace = arrived(ours, name, SENT[name])
        has(re.sub(r"\s+", " ", trace), " with %s " % {"plain": "ESMTP", "tls": "ESMTPS", "auth": "ESMTPSA"}[mode])


def test_postfix_receives():
    receives(postfix, "plain")


def test_postfix_receives_with_starttls():
    receives(postfix, "tls")


def test_postfix_receives_with_login():
    receives(postfix, "auth")


def test_postfix_sends():
    sends(postfix, "plain")


def test_postfix_sends_with_starttls():
    sends(postfix, "tls")


def test_postfix_sends_with_login():
    sends(postfix, "auth")


def test_exim_receives():
    receives(exim, "plain")


def test_exim_receives_with_starttls():
    receives(exim, "tls")


def test_exim_receives_with_login():
    receives(exim, "auth")


def test_exim_sends():
    sends(exim, "plain")
    has(exim.said("plain"), " K ")  # by BDAT


def test_exim_sends_with_starttls():
    sends(exim, "tls")
    has(exim.said("tls"), " CV=yes ")
    has(exim.said("tls"), " K ")


def test_exim_sends_with_login():
    sends(exim, "auth")
    has(exim.said("auth"), " A=plain ")


def test_opensmtpd_receives():
    receives(opensmtpd, "plain")


def test_opensmtpd_receives_what_tls_is_not_required_for():
    """See its class: then without TLS."""
    receives(opensmtpd, "tls")


def test_opensmtpd_sends():
    sends(opensmtpd, "plain")


def test_opensmtpd_sends_with_starttls():
    sends(opensmtpd, "tls")


def test_opensmtpd_sends_with_login():
    sends(opensmtpd, "auth")


def test_smtputf8_both_ways():
    for other, word in ((postfix, "UTF8SMTPS"), (exim, "utf8esmtps")):
        name = "utf8-to-" + other.name
        has(arrived(other.texts, name, SENT[name]), word)
        name = "utf8-from-" + other.name
        has(arrived(ours, name, SENT[name]), "with UTF8SMTPS")


def test_smtputf8_is_not_forced_on_opensmtpd():
    has(suite.wait_log("delivery", "gr", "@tls.opensmtpd.test", "status=bounced"), "dsn=5.6.7")


def test_dovecot_takes_by_lmtp():
    """Each recipient has an answer of its own (RFC 2033 4.2)."""
    for large in (False, True):
        name = "to-dovecot-%s" % large
        text = compose(name, large)
        with suite.smtp() as s:
            hand_in(s, "alice@example.test", ["%s@dovecot.test" % u for u in ("alice", "bob", "nobody", "carol")], text)
        mark = ("\nMessage-ID: <%s@interop.test>\n" % name).encode()
        wait_for(lambda: sum(mark in t for t in dovecot.texts()) == 3, 30, name)
        for text_of in dovecot.texts():
            assert mark not in text_of or text_of.endswith(text.replace(b"\r\n", b"\n")), name
        for user, status in (("alice", "sent"), ("bob", "sent"), ("carol", "sent"), ("nobody", "bounced")):
            suite.wait_log("delivery", user + "@dovecot.test", "status=" + status)


def test_zz_every_program_ended_well():
    for other in OTHERS + (dovecot,):
        other.end()
    suite.stop()
    expect(re.findall(r"\]: child .* ended: (?!exit status 0$).*", suite.log(), re.M), [])


main(globals())
