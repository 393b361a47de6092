#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Filters as Debian ships them: opendkim signs what local users send and verifies
it when it comes back; rspamd (its proxy worker) marks and refuses; clamav-milter
refuses what clamd, which has a signature of ours, finds infected; postgrey, a policy
service, puts strangers off."""
import atexit
import email
import getpass
import grp
import os
import shutil
import socket
import subprocess
import sys
import tempfile

import pillar
from milter import free_port
from pillar import Dialogue, Instance, expect, has, main, starts, wait_for

PROGRAMS = [shutil.which(name, path="/usr/sbin:/usr/bin") for name in ("opendkim", "rspamd", "clamd", "clamav-milter", "postgrey")]
OPENDKIM, RSPAMD, CLAMD, CLAMAV_MILTER, POSTGREY = PROGRAMS
if not all(PROGRAMS):
    print("1..0 # skip: needs opendkim, rspamd, clamd, clamav-milter and postgrey")
    sys.exit(0)

work = tempfile.mkdtemp(prefix="pp-filters-")
atexit.register(shutil.rmtree, work, True)
GTUBE = "%s*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"


def run(port, *argv):
    with open(work + "/" + os.path.basename(argv[0]) + ".log", "ab") as log:
        p = subprocess.Popen(argv, stdout=log, stderr=log, cwd=work, start_new_session=True)
    atexit.register(lambda: (p.kill(), p.wait()) if p.poll() is None else None)

    def answers():
        assert p.poll() is None, "%s has ended: see %s" % (argv[0], work)
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", port)) == 0
    wait_for(answers, 60, argv[0])
    return p


def openssl(*argv):
    return subprocess.run(["openssl", *argv], cwd=work, check=True, capture_output=True).stdout


def start_opendkim():
    port = free_port()
    openssl("genrsa", "-out", "key.pem", "2048")
    os.chmod(work + "/key.pem", 0o600)
    public = "".join(openssl("rsa", "-in", "key.pem", "-pubout").decode().splitlines()[1:-1])
    with open(work + "/keys", "w") as f:
        f.write("s._domainkey.example.test v=DKIM1; k=rsa; p=%s\n" % public)
    with open(work + "/opendkim.conf", "w") as f:
        f.write("""Socket inet:%d@127.0.0.1
Mode sv
Domain example.test
Selector s
KeyFile %s/key.pem
TestPublicKeys %s/keys
AlwaysAddARHeader yes
AuthservID mail.example.test
InternalHosts 192.0.2.254
RequireSafeKeys no
Background no
Syslog no
PidFile %s/opendkim.pid
""" % (port, work, work, work))
    run(port, OPENDKIM, "-f", "-x", work + "/opendkim.conf")
    return port


def start_rspamd():
    port = free_port()
    with open(work + "/tld", "w") as f:
        f.write("com\norg\ntest\n")
    os.mkdir(work + "/rspamd", 0o700)
    with open(work + "/rspamd.conf", "w") as f:
        f.write("""options { pidfile = "%(d)s/pid"; tempdir = "%(d)s"; filters = ""; enable_test_patterns = true;
  dns { nameserver = ["127.0.0.1:9"]; timeout = 1s; retransmits = 1; } url_tld = "%(w)s/tld"; disable_hyperscan = true;
  control_socket = "%(d)s/sock mode=0600"; cache_file = ""; hs_cache_dir = "%(d)s"; history_file = ""; }
logging { type = "console"; level = "info"; }
actions { reject = 15; add_header = 6; }
worker "rspamd_proxy" { bind_socket = "127.0.0.1:%(p)d"; milter = yes; timeout = 30s; count = 1; upstream "local" { self_scan = yes; default = yes; } }
""" % {"d": work + "/rspamd", "w": work, "p": port})
    main_process = run(port, RSPAMD, "-c", work + "/rspamd.conf", "-f", "--insecure")
    atexit.register(lambda: (main_process.terminate(), main_process.wait(10)))
    return port


VIRUS = "this harmless line is a virus to the test"


def start_clamav():
    port, clamd_port = free_port(), free_port()
    os.mkdir(work + "/signatures")
    with open(work + "/signatures/test.ndb", "w") as f:
        f.write("Pillarpost.Test:0:*:%s\n" % VIRUS.encode().hex())
    with open(work + "/clamd.conf", "w") as f:
        f.write("""Foreground yes
DatabaseDirectory %s/signatures
TemporaryDirectory %s
TCPSocket %d
TCPAddr 127.0.0.1
""" % (work, work, clamd_port))
    with open(work + "/clamav-milter.conf", "w") as f:
        f.write("""Foreground yes
MilterSocket inet:%d@127.0.0.1
ClamdSocket tcp:127.0.0.1:%d
TemporaryDirectory %s
OnInfected Reject
RejectMsg Found %%v
AddHeader Replace
""" % (port, clamd_port, work))
    run(clamd_port, CLAMD, "--config-file=" + work + "/clamd.conf")
    run(port, CLAMAV_MILTER, "--config-file=" + work + "/clamav-milter.conf")
    return port


def start_postgrey():
    """Alice and Bob are not greylisted: the other tests are theirs."""
    port = free_port()
    os.mkdir(work + "/postgrey")
    with open(work + "/clients", "w"), open(work + "/recipients", "w") as f:
        f.write("alice@example.test\nbob@example.test\n")
    run(port, POSTGREY, "--inet=127.0.0.1:%d" % port, "--dbdir=" + work + "/postgrey", "--pidfile=" + work + "/postgrey.pid", "--delay=1",
        "--user=" + getpass.getuser(), "--group=" + grp.getgrgid(os.getgid()).gr_name, "--whitelist-clients=" + work + "/clients",
        "--whitelist-recipients=" + work + "/recipients")
    return port


suite = Instance("""smtpd_milters = inet:127.0.0.1:%d, inet:localhost:%d, inet:127.0.0.1:%d
smtpd_recipient_policy_service = inet:127.0.0.1:%d
milter_command_timeout = 2m
milter_connect_timeout = 1m
""" % (start_rspamd(), start_opendkim(), start_clamav(), start_postgrey()), users=("alice", "bob", "carol"))


def send(raw, sender="x@else.test", to="alice@example.test"):
    d = Dialogue(("127.0.0.1", suite.port("SMTP")))
    d.reply()
    starts(d.ask("EHLO client.test"), "250")
    starts(d.ask("MAIL FROM:<%s>" % sender), "250")
    starts(d.ask("RCPT TO:<%s>" % to), "250")
    starts(d.ask("DATA"), "354")
    d.raw(raw + b"\r\n.\r\n")
    reply = d.reply()
    d.close()
    return reply


def letter(subject, text):
    return ("From: <x@else.test>\r\nSubject: %s\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\nMessage-ID: <%s@else.test>\r\n\r\n%s" % (subject, subject, text)).encode()


def arrived(subject, user, more=lambda m: True):
    def find():
        for raw in suite.messages(user):
            message = email.message_from_bytes(raw)
            if message["Subject"] == subject and more(message):
                return message, raw
    return wait_for(find, 20, "a message with the subject " + subject)


def test_opendkim_signs_and_verifies():
    s = suite.submission()
    s.sendmail("alice@example.test", ["bob@example.test"],
               "From: Alice <alice@example.test>\r\nTo: bob@example.test\r\nSubject: signed\r\n\r\nLine one \r\n..dots\r\n\r\n\r\n")
    s.quit()
    message, raw = arrived("signed", "bob")
    has(message["DKIM-Signature"], "d=example.test")
    # its own signature holds, when the message comes back from outside
    raw = raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    raw = raw[raw.index(b"DKIM-Signature:"):]
    starts(send(raw.replace(b"\r\n.", b"\r\n..").rstrip(b"\r\n"), sender="alice@example.test"), "250")
    message, _ = arrived("signed", "alice", lambda m: m["Authentication-Results"])
    has(message["Authentication-Results"], "dkim=pass")
    # and does not, when a byte has changed
    starts(send(raw.replace(b"Line one", b"Line two").rstrip(b"\r\n"), sender="alice@example.test", to="bob@example.test"), "250")
    message, _ = arrived("signed", "bob", lambda m: m["Authentication-Results"])
    has(message["Authentication-Results"], "dkim=fail")


def test_rspamd_lets_pass_marks_and_refuses():
    starts(send(letter("clean", "hello")), "250")
    expect(arrived("clean", "alice")[0]["X-Spam"], None)
    starts(send(letter("marked", GTUBE % "YJS")), "250")
    expect(arrived("marked", "alice")[0]["X-Spam"], "Yes")
    starts(send(letter("refused", GTUBE % "XJS")), "554 5.7.1 Gtube pattern")
    has(suite.wait_log(" reject ", "content refused"), "rule=inet:127.0.0.1:")


def test_clamav_refuses_what_is_infected():
    starts(send(letter("healthy", "hello")), "250")
    message, _ = arrived("healthy", "alice")
    has(message["X-Virus-Scanned"], "clamav-milter")
    expect(message["X-Virus-Status"], "Clean")
    starts(send(letter("infected", "Look:\r\n" + VIRUS)), "550 5.7.1 Found Pillarpost.Test.UNOFFICIAL")
    has(suite.wait_log(" reject ", "Pillarpost.Test"), "rule=inet:127.0.0.1:")


def test_postgrey_puts_off_who_comes_for_the_first_time():
    d = Dialogue(("127.0.0.1", suite.port("SMTP")))
    d.reply()
    starts(d.ask("EHLO client.test"), "250")
    starts(d.ask("MAIL FROM:<stranger@else.test>"), "250")
    reply = d.ask("RCPT TO:<carol@example.test>")
    starts(reply, "450 4.2.0")
    has(reply, "Greylisted")
    wait_for(lambda: d.ask("RCPT TO:<carol@example.test>").startswith("250"), 20, "the delay")
    starts(d.ask("DATA"), "354")
    d.raw(letter("greylisted", "hello") + b"\r\n.\r\n")
    starts(d.reply(), "250")
    d.close()
    has(arrived("greylisted", "carol")[0]["X-Greylist"], "seconds by postgrey")


main(globals())
