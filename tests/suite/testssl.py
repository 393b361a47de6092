#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""testssl.sh (package testssl.sh of Debian 12) at every door of an instance: `make check-tls`.
What it finds is wrong unless it stands in KNOWN with the reason.  Minutes a door; not in ./check,
where test_tls.py does the same with a scanner of our own."""
import json
import os
import shutil
import subprocess
import sys

from pillar import Instance, expect, main

# id: why it is so
KNOWN = {
    "LUCKY13": "two suites with CBC and SHA-256 stay for old peers, last in order; OpenSSL has had constant time for them since 2013",
    "cipherlist_OBSOLETED": "the same suites",
    "cipherlist_AVERAGE": "the same suites",
    "engine_problem": "of the openssl program that testssl.sh uses",
    "cipher_order": "ECDHE-ChaCha20 comes first for clients that put it first, as it is faster for them (SSL_OP_PRIORITIZE_CHACHA)",
    "cert_trust": "of the test's own authority",
    "cert_chain_of_trust": "of the test's own authority",
    "cert_caIssuers": "of the test's own authority",
    "cert_revocation": "of the test's own authority",
    "cert_crlDistributionPoints": "of the test's own authority",
    "cert_ocspURL": "of the test's own authority",
    "cert_extlifeSpan": "of the test's own authority",
    "cert_validityPeriod": "of the test's own authority",
    "OCSP_stapling": "of the test's own authority",
    "DNS_CAArecord": "localhost",
    "certificate_transparency": "of the test's own authority",
    "overall_grade": "by the above",
}
DOORS = {"SMTP": "smtp", "SUBMISSION": "smtp", "SUBMISSIONS": None, "IMAP": "imap", "IMAPS": None, "POP3": "pop3", "POP3S": None}

if not shutil.which("testssl"):
    print("1..0 # SKIP testssl.sh is not installed: apt-get install testssl.sh")
    sys.exit(0)
suite = Instance()


def findings(name):
    out = suite.dir + "/testssl.json"
    if os.path.exists(out):
        os.unlink(out)
    starttls = ["-t", DOORS[name]] if DOORS[name] else []
    r = subprocess.run(["testssl", "--quiet", "--color", "0", "--warnings", "off", "-p", "-s", "-f", "-P", "-S", "-U", # all but how browsers would fare
                        "--add-ca", suite.env["CA_FILE"], "--jsonfile", out, "--ip", "127.0.0.1",
                        *starttls, "localhost:%d" % suite.port(name)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=1800)
    with open(out) as f:
        rows = json.load(f)
    assert len(rows) > 60, r.stdout.decode("utf-8", "replace")[-2000:]
    return rows


def at(name):
    bad = ["%(id)s (%(severity)s): %(finding)s" % row for row in findings(name)
           if row["severity"] in ("LOW", "MEDIUM", "HIGH", "CRITICAL", "WARN", "FATAL") and row["id"].split(" ")[0] not in KNOWN]
    expect(bad, [], name)


for door in DOORS:
    globals()["test_" + door.lower()] = lambda door=door: at(door)

main(globals())
