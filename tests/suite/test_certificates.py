#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Clients' certificates: who is asked, what is judged, whose login one is (EXTERNAL,
RFC 4422 A), and who may relay by one."""
import base64
import hashlib
import os
import smtplib
import ssl
import subprocess

from pillar import Dialogue, Instance, SLOW, expect, has, main, starts, wait_for

suite = Instance(start=False)
TLS = suite.dir + "/tls/"
CA = suite.env["CA_FILE"]


def openssl(*args):
    subprocess.run(["openssl", *args], cwd=TLS, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def certificate(name, subject, alt="", signed=True, days="30", usage="clientAuth"):
    """TLS/NAME.pem: key and certificate; its fingerprint."""
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", subject]
    extensions = ["extendedKeyUsage=" + usage] + (["subjectAltName=" + alt] if alt else [])
    if signed:
        with open(TLS + name + ".ext", "w") as f:
            f.write("\n".join(extensions) + "\n")
        openssl("req", *new, "-keyout", name + ".key", "-out", name + ".csr")
        openssl("x509", "-req", "-in", name + ".csr", "-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial", "-days", days,
                "-extfile", name + ".ext", "-out", name + ".crt")
    else:
        openssl("req", "-x509", *new, *[x for e in extensions for x in ("-addext", e)], "-days", days, "-keyout", name + ".key", "-out", name + ".crt")
    pem = open(TLS + name + ".crt").read()
    with open(TLS + name + ".pem", "w") as f:
        f.write(open(TLS + name + ".key").read() + pem)
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest().upper()
    return ":".join(digest[i:i + 2] for i in range(0, 64, 2))


PRINTS = {
    "alice": certificate("alice", "/CN=Alice of the tests", "email:alice@example.test"),
    "bob": certificate("bob", "/CN=Bob of the tests"),
    "own": certificate("own", "/CN=anything", signed=False),
    "liar": certificate("liar", "/CN=Bob of the tests", "email:alice@example.test", signed=False),
    "nobody": certificate("nobody", "/CN=Nobody", "email:nobody@example.test"),
    "server": certificate("server", "/CN=Bob of the tests", usage="serverAuth"),
    "relay": certificate("relay", "/CN=a branch office", signed=False),
}
with open(suite.dir + "/etc/certs", "w") as f:
    f.write("%s alice@example.test, bob@example.test\n" % PRINTS["own"])
with open(suite.dir + "/etc/certs.pcre", "w") as f:
    f.write("/^email:(.*)$/ $1\n/^cn:Bob of the tests$/ bob\n")
with open(suite.dir + "/etc/relay", "w") as f:
    f.write("%s branch\n" % PRINTS["relay"])
with open(suite.dir + "/etc/local.conf", "w") as f:
    f.write("""smtpd_tls_CAfile = %s
smtpd_tls_client_cert = ask
auth_mechanisms = external, scram-sha-256, plain, login
auth_certificate_maps = file:%s/etc/certs, pcre:%s/etc/certs.pcre
relay_clientcerts = file:%s/etc/relay
auth_failure_delay = 50ms
auth_attempt_limit = 10
pop3_folder_delimiter = #
mydomain = example.test
myorigin = example.test
daemon_processes = 2
""" % (CA, suite.dir, suite.dir, suite.dir))
suite.make()
STRICT = suite.base + 7
with open(suite.env["CONFIG"], "a") as f:
    f.write('listener strict { service = submissions; address = "127.0.0.1:%d"; client_cert = require; }\n' % STRICT)
suite.start()
for user in ("alice", "bob"):
    suite.user_add(user)


def context(name=None):
    c = suite.context()
    c.check_hostname = False
    if name:
        c.load_cert_chain(TLS + name + ".pem")
    return c


def b64(text):
    return base64.b64encode(text.encode()).decode()


def pop3(name=None):
    d = Dialogue(("127.0.0.1", suite.port("POP3S")), context(name))
    starts(d.line(), "+OK")
    return d


def login(name, authzid=""):
    """What POP3 answers, and whose mailbox it was."""
    d = pop3(name)
    d.say("AUTH EXTERNAL " + (b64(authzid) or "="))
    answer = d.line()
    d.close()
    return answer


def logged(*words):
    return suite.wait_log("authd", "mechanism=EXTERNAL", *words)


def curl(url, name, user, good=True, *more):
    r = subprocess.run(["curl", "-sS", "--cacert", CA, "--cert", TLS + name + ".pem", "--login-options", "AUTH=EXTERNAL", "--user", user + ":", url, *more],
                       capture_output=True, timeout=60 * SLOW, text=True)
    if (r.returncode == 0) != good:
        raise AssertionError("curl %s as %s: %d\n%s\n%s" % (url, name, r.returncode, r.stdout, r.stderr))
    return r.stdout


def test_curl_by_three_protocols():
    letter = suite.dir + "/letter"
    with open(letter, "w") as f:
        f.write("Subject: by certificate\r\n\r\nhello\r\n")
    curl("smtps://localhost:%d" % suite.port("SUBMISSIONS"), "alice", "alice@example.test", True, "--mail-from", "alice@example.test",
         "--mail-rcpt", "bob@example.test", "--upload-file", letter)
    logged(" ok ", "user=alice@example.test", "service=smtp")
    suite.wait_mail(1)
    has(curl("imaps://localhost:%d/INBOX?ALL" % suite.port("IMAPS"), "bob", "bob@example.test"), "SEARCH 1")
    logged(" ok ", "user=bob@example.test", "service=imap")
    has(curl("pop3s://localhost:%d/1" % suite.port("POP3S"), "bob", "bob@example.test"), "by certificate")
    logged(" ok ", "user=bob@example.test", "service=pop3")
    curl("imaps://localhost:%d/INBOX?ALL" % suite.port("IMAPS"), "alice", "bob@example.test", False)
    logged("failed", "not good for that identity")


def test_without_a_certificate_nothing_changes():
    d = pop3()
    d.say("CAPA")
    lines = []
    while not lines or lines[-1] != ".":
        lines.append(d.line())
    expect([l for l in lines if l.startswith("SASL")], ["SASL SCRAM-SHA-256 PLAIN LOGIN"])
    d.say("AUTH EXTERNAL =")
    starts(d.line(), "-ERR")
    d.close()
    suite.pop3("bob").quit()
    suite.imap("alice").logout()


def test_by_fingerprint_nobody_need_vouch():
    starts(login("own"), "+OK")
    logged(" ok ", "user=alice@example.test")
    starts(login("own", "bob@example.test"), "+OK")
    logged(" ok ", "user=bob@example.test")
    starts(login("own", "bob"), "+OK")
    starts(login("own", "carol@example.test"), "-ERR [AUTH]")
    has(suite.log(), "certificate=%s trusted=no subject=anything" % PRINTS["own"])


def test_the_identity_may_name_a_folder():
    starts(login("own", "bob#Trash@example.test"), "+OK")
    logged(" ok ", "user=bob@example.test folder=Trash service=pop3")
    starts(login("own", "bob@example.test#Sent"), "+OK")
    logged(" ok ", "user=bob@example.test folder=Sent service=pop3")
    starts(login("own", "carol#Trash@example.test"), "-ERR [AUTH]")


def test_names_count_only_when_an_authority_vouches():
    starts(login("alice"), "+OK")
    starts(login("bob"), "+OK")
    starts(login("liar"), "-ERR [AUTH]")
    starts(login("liar", "alice@example.test"), "-ERR [AUTH]")
    starts(login("server"), "-ERR [AUTH]")  # vouched for as a server
    logged("failed", "nobody is known")
    starts(login("nobody"), "-ERR [AUTH]")
    logged("failed", "user=nobody@example.test", "login is not possible")


def test_a_password_goes_on_beside_a_certificate():
    d = pop3("nobody")
    d.say("USER bob@example.test")
    starts(d.line(), "+OK")
    d.say("PASS " + suite.password("bob"))
    starts(d.line(), "+OK")
    d.close()


def strict(name, session=None, top=ssl.TLSVersion.TLSv1_2):
    """(reply to EHLO, session); None: no TLS."""
    c = context(name)
    c.maximum_version = top
    try:
        d = Dialogue(("127.0.0.1", STRICT))
        d.sock = c.wrap_socket(d.sock, server_hostname="localhost", session=session)
        starts(d.reply(), "220")
        answer = d.ask("EHLO client.test")
        result = answer, d.sock.session, d.sock.session_reused
        d.close()
        return result
    except (ssl.SSLError, OSError, AssertionError):
        return None


def test_where_a_certificate_is_required_there_is_no_tls_without_a_trusted_one():
    for top in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        for name in (None, "own", "liar", "server"):
            expect(strict(name, top=top), None, "%s by %s" % (name, top))
        has(strict("alice", top=top)[0], "AUTH EXTERNAL")
    has(suite.log(), "certificate not accepted: ")


def test_a_session_begun_elsewhere_is_no_way_round():
    c = context()
    c.maximum_version = ssl.TLSVersion.TLSv1_2
    for _ in range(6):
        d = Dialogue(("127.0.0.1", suite.port("SUBMISSIONS")))
        d.sock = c.wrap_socket(d.sock, server_hostname="localhost")
        session = d.sock.session
        d.close()
        try:
            d = Dialogue(("127.0.0.1", STRICT))
            d.sock = c.wrap_socket(d.sock, server_hostname="localhost", session=session)
            d.reply()
            raise AssertionError("got in by another listener's session")
        except (ssl.SSLError, OSError):
            pass
        except AssertionError as e:
            has(str(e), "closed")


def test_a_resumed_session_has_its_certificate_still():
    c = context("alice")
    c.maximum_version = ssl.TLSVersion.TLSv1_2
    session, reused = None, []
    for _ in range(4):
        d = Dialogue(("127.0.0.1", STRICT))
        d.sock = c.wrap_socket(d.sock, server_hostname="localhost", session=session)
        session = d.sock.session
        reused.append(d.sock.session_reused)
        starts(d.reply(), "220")
        d.ask("EHLO client.test")
        starts(d.ask("AUTH EXTERNAL ="), "235")
        d.close()
    expect(reused[1:], [True] * 3)


def rcpt(name):
    s = smtplib.SMTP("127.0.0.1", suite.port("SMTP"), timeout=30 * SLOW)
    s.starttls(context=context(name))
    s.ehlo("branch.test")
    s.mail("someone@branch.test")
    code = s.rcpt("x@elsewhere.test")[0]
    s.close()
    return code


def test_relay_by_certificate():
    expect([rcpt(name) for name in ("relay", "alice", None)], [250, 554, 554])


def test_a_name_without_a_domain_is_found_in_mydomain_too():
    with open(suite.env["CONFIG"]) as f:
        text = f.read()
    def origin(text):
        with open(suite.env["CONFIG"], "w") as f:
            f.write(text)
        suite.mailctl("reload")
    assert "myorigin = example.test" in text
    origin(text.replace("myorigin = example.test", "myorigin = other.test"))
    wait_for(lambda: login("bob", "bob@example.test").startswith("+OK"), 10, "the map's bob as bob@example.test")
    starts(login("bob"), "+OK")
    starts(login("bob", "bob"), "+OK")
    starts(login("own", "bob"), "+OK")  # the map's bob@example.test
    logged(" ok ", "user=bob@example.test")
    starts(login("own", "carol"), "-ERR [AUTH]")
    suite.mailctl("user", "add", "bob@other.test", "--password-stdin", input="another\n")
    starts(login("bob", "bob@example.test"), "-ERR [AUTH]")  # it is bob@other.test whom the map means
    starts(login("bob", "bob"), "+OK")
    logged(" ok ", "user=bob@other.test")
    suite.mailctl("user", "delete", "bob@other.test")
    origin(text)
    wait_for(lambda: login("own", "alice").startswith("+OK"), 10, "as before")


def test_a_reload_changes_what_is_trusted():
    with open(suite.env["CONFIG"]) as f:
        text = f.read()
    other = TLS + "other.pem"
    certificate("other-ca", "/CN=another authority", signed=False)
    os.rename(TLS + "other-ca.crt", other)
    with open(suite.env["CONFIG"], "w") as f:
        f.write(text.replace("smtpd_tls_CAfile = " + CA, "smtpd_tls_CAfile = " + other))
    suite.mailctl("reload")
    for _ in range(200):
        if strict("alice") is None:
            break
    else:
        raise AssertionError("still trusted")
    with open(suite.env["CONFIG"], "w") as f:
        f.write(text)
    suite.mailctl("reload")
    for _ in range(200):
        if strict("alice"):
            return
    raise AssertionError("not trusted again")


main(globals())
