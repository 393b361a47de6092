#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Logins with OAuth tokens (OAUTHBEARER, RFC 7628; XOAUTH2) beside an issuer of the test's
own that is asked about them (RFC 7662)."""
import base64
import http.server
import json
import os
import re
import smtplib
import ssl
import subprocess
import threading
import time
import urllib.parse

from pillar import Dialogue, Instance, SLOW, expect, has, main, starts, wait_for

NOW = time.time()
TOKENS = {
    "good-alice": {"active": True, "email": "alice@example.test", "scope": "openid mail", "exp": NOW + 3600},
    "good-bob": {"active": True, "email": "BOB@example.test", "scope": "mail"},
    "old-alice": {"active": True, "email": "alice@example.test", "scope": "mail", "exp": NOW - 60},
    "no-scope": {"active": True, "email": "alice@example.test", "scope": "openid"},
    "nobody": {"active": True, "email": "carol@example.test", "scope": "mail"},
    "nameless": {"active": True, "username": "alice@example.test", "scope": "mail"},
    "revoked": {"active": False},
    "a.b-c_d~e+f/g==": {"active": True, "email": "alice@example.test", "scope": "mail"},
    "L" * 6000: {"active": True, "email": "alice@example.test", "scope": "mail"},
}
SECRET = "hidden+secret: 100%25 of/é="
ASKED, MODE = [], {"mode": "good"}


class Issuer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode(), strict_parsing=True)
        token = form["token"][0]
        ASKED.append(token)
        if MODE["mode"] == "hang":
            time.sleep(30 * SLOW)
        scheme, _, both = self.headers["Authorization"].partition(" ")
        who = [urllib.parse.unquote_plus(word) for word in base64.b64decode(both).decode().split(":")]  # RFC 6749 2.3.1
        status, body = 200, json.dumps(TOKENS.get(token, {"active": False})).encode()
        if scheme != "Basic" or who != ["urn:pillarpost", SECRET] or form["token_type_hint"] != ["access_token"]:
            status, body = 401, b"{}"
        if MODE["mode"] == "broken":
            status, body = 500, b"oops"
        if MODE["mode"] == "rubbish":
            body = b"<html>" * 20000
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


suite = Instance(start=False)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Issuer)
server.daemon_threads = True
c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
c.load_cert_chain(suite.dir + "/tls/cert.pem", suite.dir + "/tls/key.pem")
server.socket = c.wrap_socket(server.socket, server_side=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
with open(suite.dir + "/etc/secret", "w", opener=lambda p, flags: os.open(p, flags, 0o600)) as f:
    f.write(SECRET + "\n")
with open(suite.dir + "/etc/local.conf", "w") as f:
    f.write("""auth_mechanisms = oauthbearer, xoauth2, scram-sha-256, plain, login
auth_oauth2_introspection_url = https://localhost:%d/introspect
auth_oauth2_CAfile = %s
auth_oauth2_client_id = urn:pillarpost
pop3_folder_delimiter = #
auth_oauth2_client_secret_file = %s/etc/secret
auth_oauth2_username_attribute = email
auth_oauth2_scope = mail
auth_oauth2_openid_configuration_url = https://issuer.test/.well-known/openid-configuration
auth_oauth2_timeout = %ds
auth_oauth2_cache_time = %ds
auth_failure_delay = 50ms
auth_attempt_limit = 10
""" % (server.server_address[1], suite.env["CA_FILE"], suite.dir, 3 * SLOW, 2 * SLOW))
suite.make()
suite.start()
for user in ("alice", "bob"):
    suite.user_add(user)


def b64(text):
    return base64.b64encode(text.encode()).decode()


def bearer(token, user="", scheme="Bearer"):
    return b64("n,%s,\x01host=localhost\x01port=993\x01auth=%s %s\x01\x01" % ("a=" + user if user else "", scheme, token))


def xoauth2(token, user):
    return b64("user=%s\x01auth=Bearer %s\x01\x01" % (user, token))


def pop3(tls=True):
    d = Dialogue(("127.0.0.1", suite.port("POP3S" if tls else "POP3")), suite.context() if tls else None)
    starts(d.line(), "+OK")
    return d


def login(response, mechanism="OAUTHBEARER", last="AQ=="):
    """(what POP3 answers at last, the error it told before or None)"""
    d = pop3()
    d.say("AUTH %s" % mechanism)
    starts(d.line(), "+ ")
    d.say(response)
    answer, error = d.line(), None
    if answer.startswith("+ "):
        error = json.loads(base64.b64decode(answer[2:]))
        d.say(last)
        answer = d.line()
    d.close()
    return answer, error


def logged(*words):
    return suite.wait_log("authd", *words)


def run(*args, good=True):
    r = subprocess.run(args, capture_output=True, timeout=60 * SLOW, text=True)
    if (r.returncode == 0) != good:
        raise AssertionError("%s: %d\n%s\n%s" % (" ".join(args), r.returncode, r.stdout, r.stderr))
    return r.stdout


def curl(url, user, token, *more, good=True):
    return run("curl", "-sS", "--cacert", suite.env["CA_FILE"], "--user", user, "--oauth2-bearer", token, url, *more, good=good)


def offers(mechanism):
    """At all three, in any of their processes."""
    found = False
    for port, say in (("SUBMISSIONS", "EHLO x"), ("IMAPS", "a CAPABILITY"), ("POP3S", "CAPA")):
        for _ in range(4):
            d = Dialogue(("127.0.0.1", suite.port(port)), suite.context())
            d.line()
            d.say(say)
            d.say("QUIT" if port != "IMAPS" else "b LOGOUT")
            while True:
                try:
                    found |= mechanism in d.line()
                except AssertionError:
                    break
            d.close()
    return found


def by_curl(mechanism):
    letter = suite.dir + "/letter"
    with open(letter, "w") as f:
        f.write("Subject: by token\r\n\r\nhello\r\n")
    for url, more in (("smtps://localhost:%d" % suite.port("SUBMISSIONS"), []), ("smtp://localhost:%d" % suite.port("SUBMISSION"), ["--ssl-reqd", "--sasl-ir"])):
        curl(url, "alice@example.test", "good-alice", "--mail-from", "alice@example.test", "--mail-rcpt", "bob@example.test", "--upload-file", letter, *more)
    logged(" ok ", "user=alice@example.test", "service=smtp", "mechanism=" + mechanism)
    has(curl("imaps://localhost:%d/INBOX?ALL" % suite.port("IMAPS"), "bob@example.test", "good-bob"), "SEARCH")
    logged(" ok ", "user=bob@example.test", "service=imap", "mechanism=" + mechanism)
    curl("pop3s://localhost:%d/" % suite.port("POP3S"), "bob@example.test", "good-bob")
    logged(" ok ", "user=bob@example.test", "service=pop3", "mechanism=" + mechanism)
    curl("imaps://localhost:%d/INBOX?ALL" % suite.port("IMAPS"), "bob@example.test", "revoked", good=False)
    logged("failed", "service=imap", "mechanism=" + mechanism, "not active")


def test_curl_by_three_protocols():
    by_curl("OAUTHBEARER")


def test_curl_with_xoauth2():
    """Which it takes where there is no other for a token."""
    with open(suite.env["CONFIG"]) as f:
        text = f.read()
    with open(suite.env["CONFIG"], "w") as f:
        f.write(text.replace("auth_mechanisms = oauthbearer, ", "auth_mechanisms = "))
    suite.mailctl("reload")
    wait_for(lambda: not offers("OAUTHBEARER"), 20, "the reload")
    by_curl("XOAUTH2")
    with open(suite.env["CONFIG"], "w") as f:
        f.write(text)
    suite.mailctl("reload")
    wait_for(lambda: offers("OAUTHBEARER"), 20, "the reload")


def test_what_a_refused_client_is_told():
    error = {"status": "invalid_token", "scope": "mail", "openid-configuration": "https://issuer.test/.well-known/openid-configuration"}
    for token in ("revoked", "unheard-of", "old-alice", "nameless", "nobody"):
        answer, told = login(bearer(token))
        starts(answer, "-ERR [AUTH]")
        expect(told, error, token)
    answer, told = login(bearer("no-scope"))
    starts(answer, "-ERR [AUTH]")
    expect(told, dict(error, status="insufficient_scope"))
    answer, told = login(xoauth2("revoked", "alice@example.test"), "XOAUTH2", "")
    starts(answer, "-ERR [AUTH]")
    expect(told, {"status": "401", "schemes": "bearer", "scope": "mail"})
    expect(login(bearer("revoked"), last="*")[0][:11], "-ERR [AUTH]", "cancelled behind the error")


def test_the_same_by_imap_and_smtp():
    d = Dialogue(("127.0.0.1", suite.port("IMAPS")), suite.context())
    has(d.line(), "AUTH=OAUTHBEARER AUTH=XOAUTH2")
    d.say("a AUTHENTICATE OAUTHBEARER " + bearer("revoked"))
    starts(d.line(), "+ ")
    d.say("AQ==")
    starts(d.line(), "a NO [AUTHENTICATIONFAILED]")
    d.say("b AUTHENTICATE OAUTHBEARER " + bearer("good-bob", "bob@example.test"))
    starts(d.line(), "b OK")
    d.close()
    s = smtplib.SMTP("127.0.0.1", suite.port("SUBMISSION"), timeout=30 * SLOW)
    s.starttls(context=suite.context())
    s.ehlo()
    has(s.esmtp_features["auth"], "OAUTHBEARER XOAUTH2")
    expect(s.docmd("AUTH", "XOAUTH2 " + xoauth2("revoked", "alice@example.test"))[0], 334)
    expect(s.docmd("")[0], 535)
    expect(s.docmd("AUTH", "XOAUTH2 " + xoauth2("good-alice", "alice@example.test"))[0], 235)
    expect(s.mail("alice@example.test")[0], 250)
    s.close()


def test_a_token_opens_its_own_users_mailbox_alone():
    starts(login(bearer("good-alice"))[0], "+OK")
    starts(login(bearer("good-alice", "alice@example.test"))[0], "+OK")
    starts(login(bearer("good-alice", "bob@example.test"))[0], "-ERR [AUTH]")
    logged("failed", "the token is another user's")
    starts(login(xoauth2("good-alice", "bob@example.test"), "XOAUTH2")[0], "-ERR [AUTH]")


def test_without_a_token_the_client_hears_what_is_wanted():
    before = len(ASKED)
    answer, error = login(b64("n,a=alice@example.test,\x01host=localhost\x01port=993\x01auth=\x01\x01"))  # RFC 7628 4.3
    starts(answer, "-ERR [AUTH]")
    expect(error, {"status": "invalid_token", "scope": "mail", "openid-configuration": "https://issuer.test/.well-known/openid-configuration"})
    logged("failed", "without a token")
    expect(len(ASKED), before, "questions about no token")


def test_the_identity_may_name_a_folder():
    starts(login(bearer("good-alice", "alice#Trash@example.test"))[0], "+OK")
    logged("auth ok user=alice@example.test folder=Trash service=pop3", "mechanism=OAUTHBEARER")
    starts(login(xoauth2("good-alice", "alice@example.test#Sent"), "XOAUTH2")[0], "+OK")
    logged("auth ok user=alice@example.test folder=Sent service=pop3", "mechanism=XOAUTH2")
    starts(login(bearer("good-alice", "bob#Trash@example.test"))[0], "-ERR [AUTH]")


def test_any_character_of_a_token_and_any_length():
    starts(login(bearer("a.b-c_d~e+f/g=="))[0], "+OK")
    starts(login(bearer("L" * 6000))[0], "+OK")
    assert "L" * 6000 in ASKED and "a.b-c_d~e+f/g==" in ASKED
    before = len(ASKED)
    for bad in ("n,,\x01auth=Bearer a b\x01\x01", "n,,\x01auth=Bearer a&b=c\x01\x01", "n,,\x01auth=Bearer good-alice\x01", "n,,\x01auth=Basic eDp5\x01\x01", "n,,\x01\x01",
                "p=x,,\x01auth=Bearer good-alice\x01\x01", "\x01", ""):
        starts(login(b64(bad))[0], "-ERR Malformed")
    expect(len(ASKED), before, "questions about malformed tokens")


def test_never_without_tls():
    d = pop3(tls=False)
    d.say("CAPA")
    lines = []
    while not lines or lines[-1] != ".":
        lines.append(d.line())
    assert not any("OAUTH" in l for l in lines), lines
    d.say("AUTH OAUTHBEARER " + bearer("good-alice"))
    starts(d.line(), "-ERR")
    d.close()


def test_a_good_answer_is_kept_for_a_moment():
    wait_for(lambda: login(bearer("good-bob"))[0].startswith("+OK"), 10, "login")
    before = ASKED.count("good-bob")
    for _ in range(3):
        login(bearer("good-bob"))
    kept = ASKED.count("good-bob") - before
    assert kept < 3, kept

    def again():
        login(bearer("good-bob"))
        return ASKED.count("good-bob") > before + kept
    wait_for(again, 30, "the issuer to be asked again")


def test_an_issuer_that_fails_is_for_now_only():
    for mode in ("broken", "rubbish", "hang"):
        MODE["mode"] = mode
        try:
            answer, told = login(bearer("never-asked-before"))
        finally:
            MODE["mode"] = "good"
        starts(answer, "-ERR [SYS/TEMP]")
        expect(told, None)
    suite.wait_log("tokend", "HTTP status 500")
    starts(login(bearer("good-alice"))[0], "+OK")
    suite.pop3("bob").quit()


def test_limits_count_what_is_under_way():
    def tokens():
        row, = [r for r in map(json.loads, suite.mailctl("limits", "--json").stdout.splitlines()) if r["limit"] == "auth_tokens"]
        return row
    assert tokens()["peak"] > 0, tokens()
    expect(tokens()["use"], 0)


def test_nothing_secret_is_in_the_log():
    log = suite.log()
    for secret in list(TOKENS) + [SECRET, "hidden%2Bsecret", "unheard-of", b64("urn%3Apillarpost:hidden")[:-2]]:
        if len(secret) > 8 and secret not in ("revoked", "nobody", "nameless", "no-scope"):
            assert secret not in log, secret[:40]
    expect(re.findall(r"\]: child .* ended: (?!exit status 0$).*", log, re.M), [])


main(globals())
