#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""TLS to other hosts: DANE by a DNS zone that knot signs, MTA-STS from an HTTPS
server, policy tables, and domains whose DNS is odd in every way.  All on loopback addresses."""
import atexit
import hashlib
import http.server
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

import pillar
from peer import Peer
from pillar import Instance, SLOW, expect, has, main, wait_for

os.environ["PATH"] += ":/usr/sbin"
if not shutil.which("knotd"):
    print("1..0 # skip: knot is not installed")
    sys.exit(0)

work = tempfile.mkdtemp(prefix="pp-tlspolicy-", dir="/tmp")
os.chmod(work, 0o755)
atexit.register(shutil.rmtree, work, True)


def free_port(kind=socket.SOCK_STREAM, address="127.0.3.1"):
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind((address, 0))
        return s.getsockname()[1]


PORT, WEB_PORT = free_port(), free_port(address="127.0.3.99")

# --- certificates ---------------------------------------------------------------


def openssl(*args, **kw):
    return subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=work, **kw).stdout


EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30")
openssl("req", "-x509", *EC, "-subj", "/CN=authority", "-addext", "keyUsage=critical,keyCertSign", "-keyout", "ca-key.pem", "-out", "ca.pem")


class Certificate:
    def __init__(self, name, trusted=True):
        self.file, key = name + (".pem" if trusted else ".self.pem"), name + "-key.pem"
        if trusted:
            openssl("req", *EC, "-subj", "/CN=" + name, "-keyout", key, "-out", "x.csr")
            with open(work + "/x.ext", "w") as f:
                f.write("subjectAltName=DNS:%s\nbasicConstraints=CA:FALSE\n" % name)
            openssl("x509", "-req", "-in", "x.csr", "-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial", "-days", "30", "-extfile", "x.ext", "-out", self.file)
            with open(work + "/ca.pem") as ca, open(work + "/" + self.file, "a") as f:
                f.write(ca.read())
        else:
            openssl("req", "-x509", *EC, "-subj", "/CN=" + name, "-addext", "subjectAltName=DNS:" + name, "-keyout", key, "-out", self.file)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(work + "/" + self.file, work + "/" + key)

    def key_digest(self):
        public = openssl("x509", "-in", self.file, "-noout", "-pubkey")
        return hashlib.sha256(openssl("pkey", "-pubin", "-outform", "DER", input=public)).hexdigest()


def certificate_digest(file):
    return hashlib.sha512(openssl("x509", "-in", file, "-outform", "DER")).hexdigest()


# --- hosts -----------------------------------------------------------------------

OTHER = "00" * 32
peers, zone, insecure, forged = {}, [], [], []


def host(name, number, certificate="self", zone_of=None):
    """A mail server with a signed address; certificate: self, trusted, another name, None: no TLS."""
    address, cert = "127.0.3.%d" % number, None
    if certificate == "self":
        cert = Certificate(name, trusted=False)
    elif certificate == "trusted":
        cert = Certificate(name)
    elif certificate:
        cert = Certificate(certificate)
    peers[name] = Peer((address, PORT), tls=cert.context if cert else None)
    peers[name].certificate = cert
    (zone if zone_of is None else zone_of).append("%s. A %s" % (name, address))
    return cert


def mx(domain, *hosts, zone_of=None):
    for n, h in enumerate(hosts):
        (zone if zone_of is None else zone_of).append("%s. MX %d %s." % (domain, 10 * (n + 1), h))


def tlsa(name, record, zone_of=None):
    (zone if zone_of is None else zone_of).append("_%d._tcp.%s. TLSA %s" % (PORT, name, record))


# DANE (RFC 7672)
good = host("mx.good.test", 1)
mx("good.test", "mx.good.test")
tlsa("mx.good.test", "3 1 1 " + good.key_digest())
mx("bad.test", "mx.bad.test")
host("mx.bad.test", 2)
tlsa("mx.bad.test", "3 1 1 " + OTHER)
mx("fallback.test", "mx.bad.test", "mx.good.test")
mx("ta.test", "mx.ta.test")
host("mx.ta.test", 3, "trusted")
tlsa("mx.ta.test", "2 0 2 " + certificate_digest("ca.pem"))
mx("taname.test", "mx.taname.test")
host("mx.taname.test", 4, "elsewhere.test")
tlsa("mx.taname.test", "2 0 2 " + certificate_digest("ca.pem"))
mx("useless.test", "mx.useless.test")
host("mx.useless.test", 5)
tlsa("mx.useless.test", "1 1 1 " + OTHER)
mx("plain.test", "mx.plain.test")
host("mx.plain.test", 6, None)
mx("stripped.test", "mx.stripped.test")
host("mx.stripped.test", 7, None)
tlsa("mx.stripped.test", "3 1 1 " + OTHER)
zone.append("mx.alias.test. CNAME mx.good.test.")
mx("alias.test", "mx.alias.test")
mx("tlsaforged.test", "mx.tlsaforged.test")
host("mx.tlsaforged.test", 8)
mx("tlsafails.test", "mx.tlsafails.test")
host("mx.tlsafails.test", 9)
# An unsigned zone with records that would not fit.
mx("insecure.test", "mx.insecure.test", zone_of=insecure)
host("mx.insecure.test", 10, zone_of=insecure)
tlsa("mx.insecure.test", "3 1 1 " + OTHER, zone_of=insecure)
# A signed name that leads there: its own records count.
zone.append("mx.half.test. CNAME mx.insecure.test.")
mx("half.test", "mx.half.test")
tlsa("mx.half.test", "3 1 1 " + peers["mx.insecure.test"].certificate.key_digest())
zone.append("mx.halfbad.test. CNAME mx.insecure.test.")
mx("halfbad.test", "mx.halfbad.test")
tlsa("mx.halfbad.test", "3 1 1 " + OTHER)
zone.append("mx.halfnone.test. CNAME mx.insecure.test.")
mx("halfnone.test", "mx.halfnone.test")
# Unsigned MX records that name signed hosts (RFC 7672 2.2.1): the hosts' records count.
mx("lent.insecure.test", "mx.good.test", zone_of=insecure)
mx("lentbad.insecure.test", "mx.bad.test", zone_of=insecure)
# A zone that its parent says is signed, and is not.
mx("forged.test", "mx.forged.test", zone_of=forged)
host("mx.forged.test", 11, zone_of=forged)
# Odd ones.
zone.append("null.test. MX 0 .")
mx("wrong.test", "mx.plain.test")
mx("dangling.test", "nowhere.good.test")
zone.append("literal.test. MX 10 127.0.3.1.")
zone.extend("many.test. MX %d m%d.many.test." % (10 + n // 4, n) for n in range(40))
zone.extend("m%d.many.test. A 127.0.3.6" % n for n in range(40))
try:
    peers["mx.six.test"] = Peer(("::1", PORT))
except OSError:  # no IPv6 here
    pass
else:
    zone.append("mx.six.test. AAAA ::1")
    mx("six.test", "mx.six.test")
# MTA-STS (RFC 8461)
POLICIES, fetched = {}, []


def sts(domain, policy, id="1", web="127.0.3.99"):
    zone.append("_mta-sts.%s. TXT \"v=STSv1; id=%s;\"" % (domain, id))
    zone.append("mta-sts.%s. A %s" % (domain, web))
    POLICIES["mta-sts." + domain] = policy


def policy(mode, *patterns, max_age=86400):
    return "version: STSv1\r\nmode: %s\r\n%smax_age: %d\r\n" % (mode, "".join("mx: %s\r\n" % p for p in patterns), max_age)


for domain, number, certificate in (("enforced.test", 20, "trusted"), ("enforcedself.test", 21, "self"), ("unlisted.test", 22, "trusted"),
                                    ("testing.test", 23, "self"), ("brief.test", 24, "self"), ("nopolicy.test", 25, "self"),
                                    ("both.test", 26, "self"), ("badpolicy.test", 27, "self"), ("redirect.test", 28, "self")):
    host("mx." + domain, number, certificate)
    mx(domain, "mx." + domain)
sts("enforced.test", policy("enforce", "*.enforced.test"))
sts("enforcedself.test", policy("enforce", "mx.enforcedself.test"))
sts("unlisted.test", policy("enforce", "other.unlisted.test"))
sts("testing.test", policy("testing", "mx.testing.test"))
sts("brief.test", policy("enforce", "mx.brief.test", max_age=2))
sts("nopolicy.test", None)
sts("both.test", policy("enforce", "mx.both.test"))
tlsa("mx.both.test", "3 1 1 " + peers["mx.both.test"].certificate.key_digest())
sts("badpolicy.test", "mode: enforce\r\n")
sts("redirect.test", "redirect")


class Web(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.headers["Host"].split(":")[0]
        body = POLICIES.get(name)
        fetched.append((name, self.path))
        if body == "redirect":
            self.send_response(301)
            self.send_header("Location", "https://mta-sts.enforcedself.test:%d/.well-known/mta-sts.txt" % WEB_PORT)
            self.end_headers()
            return
        if body is None or self.path != "/.well-known/mta-sts.txt":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args):
        pass


contexts = {name: Certificate(name).context for name in POLICIES}


def choose(sock, name, context):
    if name in contexts:
        sock.context = contexts[name]


class WebServer(http.server.ThreadingHTTPServer):
    def get_request(self):
        c, address = self.socket.accept()
        return front.wrap_socket(c, server_side=True, do_handshake_on_connect=False), address


front = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
front.load_cert_chain(work + "/mx.good.test.self.pem", work + "/mx.good.test-key.pem")
front.sni_callback = choose
web = WebServer(("127.0.3.99", WEB_PORT), Web)
threading.Thread(target=web.serve_forever, daemon=True).start()

# --- DNS ---------------------------------------------------------------------------

SOA = "%s. SOA ns.test. admin.test. 1 3600 600 86400 1\n%s. NS ns.test.\n"
# Delegations: without DS, with one that fits nothing, and to a zone that is not there.
zone.extend(["ns.test. A 127.0.0.1", "insecure.test. NS ns.test.", "forged.test. NS ns.test.", "forged.test. DS 12345 13 2 " + "ab" * 32])
for name, ds in (("_tcp.mx.tlsaforged.test", True), ("_tcp.mx.tlsafails.test", False)):
    zone.append("%s. NS ns.test." % name)
    if ds:
        zone.append("%s. DS 12345 13 2 %s" % (name, "ab" * 32))
ZONES = {"test": zone, "insecure.test": insecure, "forged.test": forged,
         "_tcp.mx.tlsaforged.test": ["_%d._tcp.mx.tlsaforged.test. TLSA 3 1 1 %s" % (PORT, OTHER)], "_tcp.mx.tlsafails.test": None}


def write_zone(name):
    with open("%s/%s.zone" % (work, name), "w") as f:
        f.write("$TTL 1\n" + SOA % (name, name) + "\n".join(ZONES[name]) + "\n")


for name, records in ZONES.items():
    if records is not None:
        write_zone(name)
DNS = "127.0.3.53"
dns_port = free_port(socket.SOCK_DGRAM, DNS)
with open(work + "/knot.conf", "w") as f:
    f.write("""server:
    listen: %s@%d
    rundir: %s
database:
    storage: %s/db
log:
  - target: %s/knot.log
    any: info
policy:
  - id: signed
    algorithm: ecdsap256sha256
    single-type-signing: on
    manual: on
template:
  - id: default
    storage: %s
    file: %%s.zone
    zonefile-sync: -1
    zonefile-load: whole
    journal-content: none
zone:
""" % (DNS, dns_port, work, work, work, work))
    for name in ZONES:
        f.write("  - domain: %s.\n" % name)
        if name == "test":
            f.write("    dnssec-signing: on\n    dnssec-policy: signed\n")
os.mkdir(work + "/db")


def keymgr(*args):
    return subprocess.run(["keymgr", "-c", work + "/knot.conf", "test.", *args], check=True, capture_output=True, text=True).stdout


keymgr("generate", "algorithm=ecdsap256sha256", "ksk=yes", "zsk=yes")
with open(work + "/anchor", "w") as f:
    f.write("".join(line + "\n" for line in keymgr("ds").splitlines() if " DS " in line))
with open(work + "/knot.out", "w") as out:
    knot = subprocess.Popen(["knotd", "-c", work + "/knot.conf"], stdout=out, stderr=out)
atexit.register(lambda: (knot.kill(), knot.wait()))


def knot_serves():
    if knot.poll() is not None:
        raise AssertionError("knotd ended: %d %s %s" % (knot.returncode, open(work + "/knot.out").read(), open(work + "/knot.log").read()))
    query = bytes.fromhex("123400000001000000000000") + b"\4test\0" + bytes.fromhex("00060001")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(1)
        s.sendto(query, (DNS, dns_port))
        try:
            return s.recv(4096)[7] == 1
        except OSError:
            return False


def knot_log():
    with open(work + "/knot.log") as log:
        return log.read()


wait_for(lambda: knot_serves() and "test.] DNSSEC, " in knot_log(), 30, "knotd")

# --- the suite ----------------------------------------------------------------------

suite = Instance(start=False)
with open(suite.dir + "/etc/local.conf", "w") as conf:
    conf.write("""dns_servers = %s@%d
dns_trust_anchor = %s/anchor
mynetworks = 127.0.0.0/8
smtp_tcp_port = %d
smtp_tls_CAfile = %s/ca.pem
smtp_tls_security_level = dane
smtp_tls_mta_sts = yes
smtp_tls_mta_sts_port = %d
smtp_tls_policy_maps = file:%s/policies
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
maximal_queue_lifetime = 1h
route hop.test { nexthop = "[mx.good.test]:%d"; }
""" % (DNS, dns_port, work, PORT, work, WEB_PORT, work, PORT))
with open(work + "/policies", "w") as f:
    f.write("""plain.test none
stripped.test may
[mx.good.test]:%d verify
only.test dane-only
.below.test verify match=nexthop:mx.ta.test protocols=>=TLSv1.3
wrong.test encrypt nonsense=1
""" % PORT)
suite.make()
suite.start()
suite.user_add("alice")


def send(to):
    with suite.smtp() as s:
        s.sendmail("alice@example.test", [to], "Subject: %s\r\n\r\nhello\r\n" % to)


def outcome(to):
    """The first delivery line about a message to this address."""
    send(to)
    return suite.wait_log("delivery", "to=<%s>" % to)


def result(domain, *words):
    return suite.wait_log("tlsresult", "domain=%s " % domain, *words)


def explained(to):
    return suite.mailctl("route", to, check=False).stdout


def test_matching_records_verify():
    has(outcome("a@good.test"), "verified by TLSA")
    result("good.test", "policy=tlsa", "result=successful")
    has(outcome("a@ta.test"), "verified by TLSA")
    has(outcome("a@alias.test"), "verified by TLSA")
    has(explained("a@good.test"), "mx.good.test[127.0.3.1]:%d (by DNSSEC), TLS required, certificate by TLSA records for mx.good.test" % PORT)
    has(explained("a@alias.test"), "TLSA records of mx.good.test decide")


def test_records_that_do_not_fit_stop_mail():
    for to, words in (("a@bad.test", "validation-failure"), ("a@taname.test", "certificate-host-mismatch")):
        has(outcome(to), "dsn=4.7.5 status=deferred")
        result(to[2:], "policy=tlsa", "result=" + words)
    expect(peers["mx.bad.test"].messages + peers["mx.taname.test"].messages, [])


def test_the_next_host_may_do():
    has(outcome("a@fallback.test"), "relay=mx.good.test")
    suite.wait_log("attempt", "relay=mx.bad.test")


def test_useless_records_ask_for_encryption_alone():
    line = outcome("a@useless.test")
    has(line, "status=sent")
    has(line, "unverified")
    has(explained("a@useless.test"), "no usable one among the TLSA records")


def test_records_that_cannot_be_known_stop_mail():
    has(outcome("a@tlsaforged.test"), "status=deferred")
    result("tlsaforged.test", "policy=tlsa", "result=dnssec-invalid")
    has(explained("a@tlsaforged.test"), "forged or badly signed")
    has(outcome("a@tlsafails.test"), "status=deferred")
    result("tlsafails.test", "policy=tlsa", "result=tlsa-invalid")
    expect(peers["mx.tlsaforged.test"].connections + peers["mx.tlsafails.test"].connections, 0)


def test_an_unsigned_zone_is_opportunistic():
    line = outcome("a@insecure.test")
    has(line, "status=sent")
    has(line, "unverified")
    has(explained("a@insecure.test"), "found without DNSSEC")


def test_a_signed_alias_into_an_unsigned_zone():
    has(outcome("a@half.test"), "verified by TLSA")
    has(outcome("a@halfbad.test"), "dsn=4.7.5 status=deferred")
    has(outcome("a@halfnone.test"), "status=sent")


def test_an_unsigned_mx_record_that_names_a_signed_host():
    has(outcome("a@lent.insecure.test"), "verified by TLSA")
    has(outcome("a@lentbad.insecure.test"), "dsn=4.7.5 status=deferred")


def test_a_forged_zone_stops_mail():
    has(outcome("a@forged.test"), "dsn=4.4.3 status=deferred")
    has(suite.wait_log("delivery", "to=<a@forged.test>"), "forged or badly signed")
    expect(peers["mx.forged.test"].connections, 0)


def test_odd_domains():
    for to, words in (("a@null.test", "dsn=5.1.10 status=bounced"), ("a@dangling.test", "dsn=5.4.4 status=bounced"),
                      ("a@literal.test", "dsn=5.4.4 status=bounced"), ("a@nosuch.test", "dsn=5.1.2 status=bounced")):
        has(outcome(to), words)
    has(outcome("a@many.test"), "status=sent")
    if "mx.six.test" in peers:
        has(outcome("a@six.test"), "relay=mx.six.test[::1]")


def test_a_table_decides_by_next_hop():
    has(outcome("a@plain.test"), "status=sent")
    has(explained("a@plain.test"), "TLS level none by smtp_tls_policy_maps")
    has(outcome("a@stripped.test"), "status=sent")
    has(outcome("a@hop.test"), "dsn=4.7.5 status=deferred")  # self-signed
    has(explained("a@hop.test"), "certificate trusted and for its name for mx.good.test")
    has(explained("a@wrong.test"), "not known in a TLS policy: nonsense")


def test_dane_only_and_parents_and_names():
    with open(work + "/policies", "a") as f:
        f.write("insecure.test dane-only\nenforcedself.test may\n")
    wait_for(lambda: "not used" in explained("a@insecure.test"), 20, "the changed table")
    for name in ("x.below.test", "below.test"):
        zone.append("%s. MX 10 mx.ta.test." % name)
    reload_zone()
    words = explained("a@x.below.test")
    has(words, "TLSv1.3 for x.below.test or mx.ta.test")
    has(outcome("a@x.below.test"), "verified")
    has(explained("a@below.test"), "by smtp_tls_security_level")


def test_stripped_tls_is_not_fallen_for():
    zone.append("strip2.test. MX 10 mx.stripped.test.")
    reload_zone()
    has(outcome("a@strip2.test"), "dsn=4.7.5 status=deferred")
    result("strip2.test", "policy=tlsa", "result=starttls-not-supported")


def reload_zone():
    """Asked for nothing that was cached: negative answers live a second."""
    before = knot_log().count("DNSSEC, ")
    write_zone("test")
    subprocess.run(["knotc", "-s", work + "/knot.sock", "-b", "zone-reload", "test."], capture_output=True, check=True)
    wait_for(lambda: knot_log().count("DNSSEC, ") > before, 20, "the zone")
    time.sleep(1.1)


def test_an_enforced_policy():
    has(outcome("a@enforced.test"), "status=sent")
    line = suite.wait_log("delivery", "to=<a@enforced.test>")
    assert "unverified" not in line and "verified" in line, line
    result("enforced.test", "policy=sts", "result=successful")
    suite.wait_log("mtasts", "domain=enforced.test", "mode=enforce")
    expect([path for name, path in fetched if name == "mta-sts.enforced.test"], ["/.well-known/mta-sts.txt"])
    has(explained("a@enforced.test"), "the MTA-STS policy is enforced")
    has(outcome("a@unlisted.test"), "does not list mx.unlisted.test")
    expect(peers["mx.unlisted.test"].connections, 0)


def test_an_enforced_policy_and_a_bad_certificate():
    zone.append("_mta-sts.self2.test. TXT \"v=STSv1; id=1;\"")
    zone.append("mta-sts.self2.test. A 127.0.3.99")
    zone.append("self2.test. MX 10 mx.enforcedself.test.")
    POLICIES["mta-sts.self2.test"] = policy("enforce", "mx.enforcedself.test")
    contexts["mta-sts.self2.test"] = Certificate("mta-sts.self2.test").context
    reload_zone()
    has(outcome("a@self2.test"), "dsn=4.7.5 status=deferred")
    result("self2.test", "policy=sts", "result=certificate-not-trusted")
    expect(peers["mx.enforcedself.test"].messages, [])


def test_a_policy_in_testing_is_reported_only():
    has(outcome("a@testing.test"), "status=sent")
    result("testing.test", "policy=sts testing=yes", "result=certificate-not-trusted")


def test_tlsa_records_stand_above_a_policy():
    has(outcome("a@both.test"), "verified by TLSA")


def test_what_cannot_be_fetched_is_no_policy():
    for domain, words in (("nopolicy.test", "sts-policy-fetch-error"), ("badpolicy.test", "sts-policy-invalid"), ("redirect.test", "sts-policy-fetch-error")):
        has(outcome("a@" + domain), "status=sent")
        result(domain, "policy=sts", "result=" + words)


def test_a_policy_expires():
    has(outcome("a@brief.test"), "dsn=4.7.5 status=deferred")
    POLICIES["mta-sts.brief.test"] = None
    suite.wait_log("delivery", "to=<a@brief.test>", "status=sent", timeout=40)


def test_policies_outlive_their_process():
    pid = [p for name, _, p in suite.processes() if name == "stsd"][0]
    before = len(fetched)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: [p for name, _, p in suite.processes() if name == "stsd" and p not in (0, None, pid)], 20, "stsd")
    has(explained("a@enforced.test"), "the MTA-STS policy is enforced")
    has(outcome("b@enforced.test"), "status=sent")
    expect([name for name, _ in fetched[before:] if name == "mta-sts.enforced.test"], [])


def send_by(to, option=None, header="", words=()):
    """Over TLS, with an option of MAIL or a header field; the delivery line of it that has these words."""
    with suite.smtp() as s:
        s.starttls(context=suite.context())
        s.ehlo()
        has(s.ehlo_resp.decode(), "REQUIRETLS")
        code, text = s.mail("alice@example.test", [option] if option else [])
        expect(code, 250)
        expect(s.rcpt(to)[0], 250)
        code, text = s.data("%sSubject: %s\r\n\r\nhello\r\n" % (header, to))
        expect(code, 250)
    name = text.decode().split()[-1]
    return suite.wait_log("delivery", "id=" + name, "to=<%s>" % to, *words)


def test_requiretls_goes_to_proven_hosts_alone():
    """RFC 8689 4.2.1"""
    good = peers["mx.good.test"]
    has(send_by("required@ta.test", "REQUIRETLS"), "dsn=5.7.30 status=bounced")
    good.extensions.append("REQUIRETLS")
    line = send_by("required@good.test", "REQUIRETLS")
    has(line, "verified by TLSA")
    has(line, "status=sent")
    has([m for m in good.messages if "required@good.test" in str(m.rcpts)][-1].mail, " REQUIRETLS")
    # a host that cannot be proven gives way to the next; where there is none, mail goes back
    has(send_by("required@fallback.test", "REQUIRETLS"), "relay=mx.good.test")
    for to in ("required@useless.test", "required@plain.test"):
        has(send_by(to, "REQUIRETLS"), "dsn=5.7.10 status=bounced")
    report = [t.decode(errors="replace") for t in suite.wait_messages(4, "alice") if b"required@ta.test" in t][0]
    has(report, "text/rfc822-headers")


def test_tls_required_no_puts_the_recipients_policy_aside():
    """RFC 8689 4.2.2"""
    send_by("optional@bad.test", header="TLS-Required: No\r\n", words=("status=sent",))  # after its turn behind the others
    expect([m.rcpts for m in peers["mx.bad.test"].messages], [["RCPT TO:<optional@bad.test>"]])
    has(send_by("optional@hop.test", header="TLS-Required: No\r\n"), "status=deferred")  # our own table wants verify


if __name__ == "__main__":
    main(globals())
