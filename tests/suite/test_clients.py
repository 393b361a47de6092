#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Debian's mail clients against the running suite; what they send and what
they fetch is compared with the mailbox byte by byte."""
import email
import fcntl
import os
import pty
import random
import re
import select
import struct
import subprocess
import termios
import time

from clients import (ALICE, BOB, CA, COPY, ENV, HOME, LMTP, MANY, append, arrived, by_subject, check_ends, compose, config, filled, folder_of, place, read, run, same,
                     subject_of, suite, texts_of, without, write)
from pillar import SLOW, expect, has, main, wait_for

# --- sending


def swaks(subject, *args, number=0, to=BOB, port=None):
    sent = compose(subject, number, to=to)
    path = write(os.path.join(place("swaks"), "message"), sent[:-2])  # swaks adds the last line end
    server = ["--server", "127.0.0.1", "--port", str(suite.port(port))] if port else []
    out = run("swaks", *server, "--ehlo", "client.test", "--from", ALICE if "-a" in args else "someone@else.test", "--to", to,
              "--data", "@" + path, "--timeout", str(30 * SLOW), "--suppress-data", *args)
    return out.decode("utf-8", "replace"), sent


TLS = ["--tls-verify", "--tls-ca-path", CA]


def login(kind):
    return ["-a", kind, "-au", ALICE, "-ap", suite.password("alice")]


def test_swaks_plain_on_port_25():
    for number in (0, 1, 3, 4):
        _, sent = swaks("swaks plain %d" % number, number=number, port="SMTP")
        arrived("swaks plain %d" % number, sent)


def test_swaks_sends_data_as_it_is():
    for number in (1, 2):
        subject = "swaks raw %d" % number
        sent = compose(subject, number)
        path = write(os.path.join(place("swaks"), "message"), re.sub(rb"(?m)^\.", b"..", sent) + b".")  # the last line end is swaks's
        run("swaks", "--server", "127.0.0.1", "--port", str(suite.port("SMTP")), "--ehlo", "client.test", "--from", "someone@else.test", "--to", BOB,
            "--no-data-fixup", "--data", "@" + path, "--timeout", str(30 * SLOW))
        arrived(subject, sent)


def test_swaks_starttls_on_port_25():
    out, sent = swaks("swaks starttls", "--tls", *TLS, port="SMTP")
    has(out, "TLS started")
    has(arrived("swaks starttls", sent), b"with ESMTPS")


def test_swaks_pipelining():
    out, sent = swaks("swaks pipeline", "--pipeline", number=1, port="SMTP")
    has(out, "250-PIPELINING" if "250-PIPELINING" in out else "250 PIPELINING")
    arrived("swaks pipeline", sent)


def test_swaks_submission_with_starttls_and_auth():
    for kind in ("PLAIN", "LOGIN"):
        out, sent = swaks("swaks " + kind, "--tls", *TLS, *login(kind), port="SUBMISSION")
        has(out, "235 ")
        has(arrived("swaks " + kind, sent), b"with ESMTPSA")


def test_swaks_submissions():
    out, sent = swaks("swaks tlsc", "--tls-on-connect", *TLS, "--pipeline", *login("PLAIN"), number=3, port="SUBMISSIONS")
    has(out, "235 ")
    arrived("swaks tlsc", sent)


def test_swaks_is_told_no():
    path = write(os.path.join(place("swaks"), "message"), compose("swaks no"))
    common = ["swaks", "--server", "127.0.0.1", "--from", ALICE, "--data", "@" + path, "--timeout", str(30 * SLOW)]
    run(*common, "--port", str(suite.port("SMTP")), "--to", "nobody@example.test", status=24)
    run(*common, "--port", str(suite.port("SMTP")), "--to", "x@elsewhere.test", status=24)
    run(*common, "--port", str(suite.port("SUBMISSION")), "--to", BOB, "--tls", "-a", "PLAIN", "-au", ALICE, "-ap", "wrong", status=28)


def test_swaks_lmtp_over_the_unix_socket():
    sent = compose("swaks lmtp", 1, to="bob, alice")
    path = write(os.path.join(place("swaks"), "message"), sent[:-2])
    out = run("swaks", "--protocol", "LMTP", "--socket", LMTP, "--ehlo", "client.test", "--from", "someone@else.test",
              "--to", BOB + "," + ALICE, "--data", "@" + path, "--timeout", str(30 * SLOW), "--suppress-data").decode()
    has(out, "LHLO")
    for user in ("bob", "alice"):
        arrived("swaks lmtp", sent, user)


def msmtp(subject, lines, number=0, sender=ALICE):
    where = place("msmtp")
    rc = config(where + "/msmtprc", "account default\nfrom %s\ntimeout %d\nlogfile %s/log\ndomain client.test\n%s\n" %
                (sender, 30 * SLOW, where, "\n".join(lines)))
    sent = compose(subject, number)
    run("msmtp", "-C", rc, "--", BOB, stdin=sent.replace(b"\r\n", b"\n"))
    has(read(where + "/log"), b"exitcode=EX_OK")
    return arrived(subject, sent)


def msmtp_login(port, starttls, kind):
    return ["host 127.0.0.1", "port %d" % suite.port(port), "tls on", "tls_starttls " + starttls, "tls_trust_file " + CA,
            "auth " + kind, "user " + ALICE, "password " + suite.password("alice")]


def test_msmtp_plain_on_port_25():
    msmtp("msmtp plain", ["host 127.0.0.1", "port %d" % suite.port("SMTP")], 1, "someone@else.test")


def test_msmtp_submission():
    for number, kind in enumerate(("plain", "login", "on")):
        msmtp("msmtp submission " + kind, msmtp_login("SUBMISSION", "on", kind), number)


def test_msmtp_submissions():
    msmtp("msmtp submissions", msmtp_login("SUBMISSIONS", "off", "on"), 3)


def test_msmtp_lmtp_over_the_unix_socket():
    msmtp("msmtp lmtp", ["protocol lmtp", "socket " + LMTP, "host localhost", "port 24"], 1, "someone@else.test")


def curl(*args, user="alice", login=True, **kw):
    who = ["--user", "%s@example.test:%s" % (user, suite.password(user))] if login else []
    return run("curl", "-sS", "--max-time", str(30 * SLOW), "--cacert", CA, *who, *args, **kw)


def url(scheme, port, path=""):
    return "%s://127.0.0.1:%d/%s" % (scheme, suite.port(port), path)


def test_curl_smtp():
    ways = [("smtp", "SUBMISSION", ["--ssl-reqd"]), ("smtps", "SUBMISSIONS", []), ("smtp", "SUBMISSION", ["--ssl-reqd", "--login-options", "AUTH=PLAIN"]),
            ("smtp", "SUBMISSION", ["--ssl-reqd", "--login-options", "AUTH=LOGIN"])]
    for number, (scheme, port, more) in enumerate(ways):
        subject = "curl smtp %d" % number
        sent = compose(subject, number)
        path = write(os.path.join(place("curl"), "message"), sent)
        curl("--mail-from", ALICE, "--mail-rcpt", BOB, "--mail-rcpt", ALICE, "--upload-file", path, *more, url(scheme, port))
        for user in ("bob", "alice"):
            arrived(subject, sent, user)
    path = write(os.path.join(place("curl"), "message"), compose("curl plain", 1))
    curl("--mail-from", "someone@else.test", "--mail-rcpt", BOB, "--upload-file", path, url("smtp", "SMTP"), login=False)
    arrived("curl plain", read(path))


def test_curl_imap():
    wanted = filled("curlimap", 10)
    ways = [("imap", "IMAP", ["--ssl-reqd"]), ("imaps", "IMAPS", []), ("imaps", "IMAPS", ["--login-options", "AUTH=PLAIN"]),
            ("imap", "IMAP", ["--ssl-reqd", "--login-options", "AUTH=LOGIN"])]
    for scheme, port, more in ways:
        uids = curl(*more, "-X", "UID SEARCH ALL", url(scheme, port, "INBOX"), user="curlimap").decode().replace("* SEARCH", "").split()
        expect(len(uids), len(wanted))
        got = curl(*more, *[url(scheme, port, "INBOX;UID=" + uid) for uid in uids[:2]], user="curlimap")
        expect(got, b"".join(list(wanted.values())[:2]), "two by one connection")
    got = [curl(url("imaps", "IMAPS", "INBOX;UID=" + uid), user="curlimap") for uid in uids]
    same({subject_of(t): t for t in got}, wanted, "curl imap")
    has(curl(url("imaps", "IMAPS"), user="curlimap"), b"INBOX")
    more = compose("curl append", 1)
    path = write(os.path.join(place("curl"), "message"), more)
    curl("--upload-file", path, url("imaps", "IMAPS", "INBOX"), user="curlimap")
    wanted["curl append"] = more
    same({s: t for s, (_, t) in folder_of("curlimap").items()}, wanted, "after APPEND")


def test_curl_pop3():
    wanted = filled("curlpop", 10)
    for scheme, port, more in (("pop3", "POP3", ["--ssl-reqd"]), ("pop3s", "POP3S", []), ("pop3s", "POP3S", ["--login-options", "AUTH=PLAIN"]),
                               ("pop3", "POP3", ["--ssl-reqd", "--login-options", "AUTH=LOGIN"])):
        sizes = curl(*more, url(scheme, port), user="curlpop").decode().split("\r\n")[:-1]
        expect(sizes, ["%d %d" % (i, len(t)) for i, t in enumerate(wanted.values(), 1)])
        got = curl(*more, *[url(scheme, port, str(i)) for i in range(1, 11)], user="curlpop")
        expect(got, b"".join(wanted.values()), "all by one connection")
    uids = curl("-X", "UIDL", url("pop3s", "POP3S"), user="curlpop").split()
    expect(len(set(uids[1::2])), 10)
    curl("-X", "DELE", "--head", url("pop3s", "POP3S", "1"), user="curlpop")
    del wanted["curlpop 0"]
    wait_for(lambda: len(folder_of("curlpop")) == 9, 10, "the deletion")
    same({s: t for s, (_, t) in folder_of("curlpop").items()}, wanted, "after DELE")


# --- fetching


class Fetched:
    """A directory into which an MDA of one line writes what it is given, one file a message."""

    def __init__(self, name):
        self.dir = place(name)
        os.mkdir(self.dir + "/mail")
        # whole ones only: who looks meanwhile must not find half a message
        config(self.dir + "/mda", "t=$(mktemp %s/XXXXXXXX) && cat >\"$t\" && mv \"$t\" %s/mail/\n" % (self.dir, self.dir))

    def texts(self):
        return [read(os.path.join(self.dir, "mail", f)) for f in os.listdir(self.dir + "/mail")]

    def check(self, wanted, what):
        same(by_subject(self.texts()), wanted, what)

    def clear(self):
        for f in os.listdir(self.dir + "/mail"):
            os.unlink(os.path.join(self.dir, "mail", f))


def fetchmail_words(box, user, server, options):
    rc = config(box.dir + "/fetchmailrc", "set no bouncemail\npoll localhost\n%s timeout %d\nuser \"%s@example.test\" password \"%s\"\n"
                "sslcertfile %s sslcertck no rewrite mda \"/bin/sh -e %s/mda\"\n%s\n" %
                (server, 30 * SLOW, user, suite.password(user), CA, box.dir, options))
    return ["fetchmail", "-v", "--invisible", "--nosyslog", "-f", rc, "--idfile", box.dir + "/ids", "--pidfile", box.dir + "/pid"]


def fetchmail(box, user, lines, status=0):
    run(*fetchmail_words(box, user, *lines), status=status)


FETCHED, NOTHING = 0, 1


def test_fetchmail_pop3():
    wanted = filled("fmpop", MANY or 12)
    box = Fetched("fetchmail")
    server = "protocol pop3 service %d uidl" % suite.port("POP3S")
    fetchmail(box, "fmpop", (server, "ssl keep"), FETCHED)
    box.check(wanted, "kept")
    fetchmail(box, "fmpop", (server, "ssl keep"), NOTHING)
    box.check(wanted, "nothing twice")
    more = compose("fmpop more", 3)
    append("fmpop", [more])
    box.clear()
    fetchmail(box, "fmpop", (server, "ssl keep"), FETCHED)
    box.check({"fmpop more": more}, "only the new one")
    same(texts_of("fmpop"), {**wanted, "fmpop more": more}, "all kept on the server")
    box.clear()
    fetchmail(box, "fmpop", ("protocol pop3 service %d" % suite.port("POP3"), "sslproto tls1+ fetchall no keep"), FETCHED)
    box.check({**wanted, "fmpop more": more}, "deleting")
    expect(folder_of("fmpop"), {}, "the mailbox after the deletion")
    fetchmail(box, "fmpop", (server, "ssl no keep"), NOTHING)


def test_fetchmail_imap():
    wanted = filled("fmimap", MANY or 12)
    box = Fetched("fetchmail")
    server = "protocol imap service %d" % suite.port("IMAPS")
    fetchmail(box, "fmimap", (server, "ssl keep"), FETCHED)
    box.check(wanted, "kept")
    expect({f for f, _ in folder_of("fmimap").values()}, {frozenset(["\\Seen"])}, "flags")
    fetchmail(box, "fmimap", (server, "ssl keep"), NOTHING)
    more = compose("fmimap more", 3)
    append("fmimap", [more])
    box.clear()
    fetchmail(box, "fmimap", ("protocol imap service %d auth password" % suite.port("IMAP"), "sslproto tls1+ keep"), FETCHED)
    box.check({"fmimap more": more}, "only the new one")
    box.clear()
    fetchmail(box, "fmimap", (server, "ssl fetchall no keep expunge 5"), FETCHED)
    box.check({**wanted, "fmimap more": more}, "deleting")
    expect(folder_of("fmimap"), {}, "the mailbox after the deletion")


def test_fetchmail_waits_with_idle():
    suite.user_add("fmidle")
    box = Fetched("fetchmail")
    server = "protocol imap service %d" % suite.port("IMAPS")
    with open(box.dir + "/said", "wb") as said:
        child = subprocess.Popen(fetchmail_words(box, "fmidle", server, "ssl keep idle") + ["--nodetach"], stdin=subprocess.DEVNULL,
                                 stdout=said, stderr=said, env=ENV, cwd=HOME)
    try:
        wait_for(lambda: b"IDLE\n" in read(box.dir + "/said").replace(b"\r", b""), 20, "fetchmail to idle")
        for number in range(3):
            sent = compose("fmidle %d" % number, number, to="fmidle@example.test")
            s = suite.submission()
            s.sendmail(ALICE, ["fmidle@example.test"], sent, mail_options=["BODY=8BITMIME"])
            s.quit()
            got = wait_for(lambda: [t for t in box.texts() if subject_of(t) == "fmidle %d" % number and t.endswith(b"\n")], 20, "the message")
            expect(without(got[0], COPY), sent)
    except AssertionError as e:
        raise AssertionError("%s\n%s" % (e, read(box.dir + "/said").decode("utf-8", "replace")[-3000:]))
    finally:
        child.terminate()
        child.wait(20)


def getmail(box, user, kind, port, delete=False, more=""):
    rc = config(box.dir + "/getmailrc", """[retriever]
type = %s
server = localhost
port = %d
username = %s@example.test
password = %s
ca_certs = %s
%s
[destination]
type = MDA_external
path = /bin/sh
arguments = ("-e", "%s/mda")
allow_root_commands = true
[options]
read_all = false
delete = %s
delivered_to = false
received = false
verbose = 2
""" % (kind, suite.port(port), user, suite.password(user), CA, more, box.dir, "true" if delete else "false"))
    return run("getmail", "--getmaildir", box.dir, "--rcfile", rc)


def walk_getmail(user, kind, port, more=""):
    wanted = filled(user, min(MANY, 500) or 12)  # with thousands it gives up waiting for its own MDA
    box = Fetched("getmail")
    getmail(box, user, kind, port, more=more)
    box.check(wanted, "kept")
    getmail(box, user, kind, port, more=more)
    box.check(wanted, "nothing twice")
    extra = compose(user + " more", 3)
    append(user, [extra])
    box.clear()
    getmail(box, user, kind, port, more=more)
    box.check({user + " more": extra}, "only the new one")
    getmail(box, user, kind, port, delete=True, more=more)
    expect(folder_of(user), {}, "the mailbox after the deletion")


def test_getmail_pop3():
    walk_getmail("gmpop", "SimplePOP3SSLRetriever", "POP3S")


def test_getmail_imap():
    walk_getmail("gmimap", "SimpleIMAPSSLRetriever", "IMAPS", 'mailboxes = ("INBOX",)')


# --- mutt


def muttrc(where, user):
    who = "%s%%40example.test" % user
    return config(where + "/muttrc", """set imap_user="{user}@example.test" imap_pass="{password}" smtp_pass="{password}"
set smtp_url="smtp://{who}@localhost:{submission}/" folder="imaps://{who}@localhost:{imaps}/" spoolfile="+INBOX" record="+Sent"
set from="{user}@example.test" realname="{user}" hostname="client.test" use_from=yes use_envelope_from=yes copy=yes
set ssl_starttls=yes ssl_force_tls=yes ssl_ca_certificates_file="{ca}" certificate_file="{where}/certificates"
set mbox_type=Maildir confirmcreate=no confirmappend=no delete=yes quit=yes mark_old=no wait_key=no resolve=no move=no
set timeout=5 connect_timeout={timeout} imap_check_subscribed=no imap_passive=no auto_tag=no charset="utf-8" send_charset="us-ascii:utf-8" sleep_time=0
""".format(user=user, who=who, password=suite.password(user), submission=suite.port("SUBMISSION"), imaps=suite.port("IMAPS"), ca=CA, where=where,
           timeout=30 * SLOW))


def mutt_keys(rc, folder, keys):
    """Runs mutt on a terminal of its own with keys pushed; returns what it showed."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    child = subprocess.Popen(["mutt", "-n", "-F", rc, "-f", folder, "-e", 'push "%s"' % keys], stdin=slave, stdout=slave, stderr=slave,
                             env=ENV, cwd=HOME, start_new_session=True)
    os.close(slave)
    end, shown = time.monotonic() + 30 * SLOW, b""
    try:
        while child.poll() is None:
            if time.monotonic() > end:
                raise AssertionError("mutt does not end; it shows %r" % shown[-3000:])
            if select.select([master], [], [], 0.1)[0]:
                try:
                    shown += os.read(master, 65536)
                except OSError:
                    break
        child.wait(10)
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        os.close(master)
    expect(child.returncode, 0, repr(shown[-3000:]))
    return shown


def test_mutt_sends_through_submission():
    suite.user_add("mutt")
    where = place("mutt")
    picture = write(where + "/noise.bin", random.Random(1).randbytes(50000))
    body = "first\n.\n.dot\nFrom the line\nGröße\n"
    run("mutt", "-n", "-F", muttrc(where, "mutt"), "-s", "mutt sends", "-a", picture, "--", BOB, stdin=body.encode())
    text = wait_for(lambda: [t for t in suite.messages() if b"Subject: mutt sends\r\n" in t], 20, "mutt's message")[0]
    parts = email.message_from_bytes(text).get_payload()
    expect(parts[0].get_payload(decode=True).replace(b"\r\n", b"\n"), body.encode())
    expect(parts[1].get_payload(decode=True), read(picture), "the attachment")
    kept = folder_of("mutt", "Sent")
    expect(list(kept), ["mutt sends"])
    flags, copy = kept["mutt sends"]
    expect(flags, {"\\Seen"})
    undated = COPY + (b"date",)  # mutt dates each of the two
    expect(without(copy, undated), without(text, undated), "the copy in Sent and what bob got")


def test_mutt_reads_an_imap_folder():
    wanted = filled("muttread", 12)
    where = place("mutt")
    folder = "imaps://muttread%%40example.test@localhost:%d/INBOX" % suite.port("IMAPS")
    mutt_keys(muttrc(where, "muttread"), folder,
              "<tag-pattern>~A<enter><tag-prefix><copy-message>%s/copies<enter><exit>" % where)
    copies = [read(os.path.join(where, "copies", sub, f)) for sub in ("cur", "new") for f in os.listdir(os.path.join(where, "copies", sub))]
    same(by_subject(copies), wanted, "copied")
    same(texts_of("muttread"), wanted, "left as they were")
    mutt_keys(muttrc(where, "muttread"), folder,
              "<delete-pattern>~s \\\"muttread 3$\\\"<enter><limit>~s \\\"muttread 5$\\\"<enter><first-entry><flag-message>"
              "<limit>~s \\\"muttread 7$\\\"<enter><first-entry><save-message>+Saved<enter><limit>~A<enter><quit>")
    saved = {s: wanted.pop(s) for s in ("muttread 3", "muttread 7")}
    left = folder_of("muttread")
    same({s: t for s, (_, t) in left.items()}, wanted, "after deletion and saving")
    has(left["muttread 5"][0], "\\Flagged")
    same(texts_of("muttread", "Saved"), {"muttread 7": saved["muttread 7"]}, "the other folder")


def test_zz_every_program_ended_well():
    check_ends()


main(globals())
