#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""POP3 logins that name a folder, and logins too soon: real clients, and both of pop3d's processes."""
import base64
import os
import poplib
import subprocess

from pillar import Dialogue, Instance, SLOW, expect, has, main, starts, wait_for

SETTINGS = "pop3_folder_delimiter = #+\nauth_failure_delay = 50ms\ndaemon_processes = 2\n"
suite = Instance(SETTINGS)
ALICE, BOB = "alice@example.test", "bob@example.test"
PASSWORD = suite.password("alice")
SENT = {}


def settings(text):
    with open(suite.dir + "/etc/local.conf", "w") as f:
        f.write(SETTINGS + text)
    suite.make()
    suite.mailctl("reload")


def fill():
    c = suite.imap("alice")
    for folder, count in (("INBOX", 2), ("Archive", 3), ("Old.2020", 1), ("Caf&AOk-", 1)):
        if folder != "INBOX":
            expect(c.create(folder)[0], "OK")
        SENT[folder] = [b"From: x@example.org\r\nSubject: %s %d\r\n\r\n.a line\r\n..two\r\n" % (folder.encode(), n) for n in range(count)]
        for text in SENT[folder]:
            expect(c.append(folder, None, None, text)[0], "OK")
    c.logout()


fill()


def pop3(user, password=PASSWORD):
    c = poplib.POP3_SSL("127.0.0.1", suite.port("POP3S"), context=suite.context(), timeout=30 * SLOW)
    c.encoding = "UTF-8"
    c.user(user)
    c.pass_(password)
    return c


def refused(user, password=PASSWORD):
    try:
        pop3(user, password)
    except poplib.error_proto as why:
        return why.args[0].decode()
    raise AssertionError("%s was let in" % user)


def texts(c):
    return [b"\r\n".join(c.retr(n + 1)[1]) + b"\r\n" for n in range(c.stat()[0])]


def by_imap(folder):
    c = suite.imap("alice")
    expect(c.select('"%s"' % folder)[0], "OK")
    found = [part[1] for part in c.fetch("1:*", "(BODY.PEEK[])")[1] if isinstance(part, tuple)]
    c.logout()
    return found


def folders():
    c = suite.imap("alice")
    found = sorted(line.decode().rpartition(" ")[2].strip('"') for line in c.list()[1])
    c.logout()
    return found


def test_each_way_to_name_a_folder():
    for login, folder in ((ALICE, "INBOX"), (ALICE + "#Archive", "Archive"), ("alice#Archive@example.test", "Archive"), ("alice+Archive", "Archive"),
                          ("Alice@Example.Test#Old.2020", "Old.2020"), ("alice#inbox", "INBOX"), ("alice#Caf\u00e9", "Caf&AOk-"), ("alice#Caf&AOk-", "Caf&AOk-")):
        c = pop3(login)
        expect(texts(c), SENT[folder], login)
        c.quit()
    suite.wait_log("authd", "auth ok user=%s folder=Old.2020 service=pop3" % ALICE)


def test_what_a_name_holds_is_not_taken_for_fields_of_the_log():
    refused("alice#x client=192.0.2.9 id=SGX", "wrong")
    line = suite.wait_log("authd", "auth failed", "folder=x")
    assert "folder=x?client=192.0.2.9?id=SGX service=pop3 " in line and " client=127.0.0.1 " in line, line
    line = suite.wait_log("pop3d", "failed", "user=alice#x")
    assert "user=alice#x?client=192.0.2.9?id=SGX service=pop3 " in line, line


def test_a_folder_has_its_own_uidls_and_deletions():
    c, inbox = pop3("alice#Archive"), pop3(ALICE)
    uidls = [c.uidl()[1], inbox.uidl()[1]]
    expect([len(u) for u in uidls], [3, 2])
    c.dele(2)
    c.quit()
    inbox.quit()
    del SENT["Archive"][1]
    for folder in SENT:
        expect(by_imap(folder), SENT[folder], folder)
    c = pop3("alice#Archive")
    expect([u.split()[1] for u in c.uidl()[1]], [uidls[0][0].split()[1], uidls[0][2].split()[1]])
    c.quit()


def test_a_folder_that_is_not_there_is_refused_and_not_made():
    before = folders()
    for name in ("Nothing", "../bob", "Archive/x", ".Archive", "Archive..x", "Archive.", "Other Users", "Other Users/bob", "x\u00e9"):
        starts(refused("alice#" + name), "-ERR [SYS/PERM]")
    expect(folders(), before)
    pop3(ALICE).quit()


def test_nobody_gets_into_another_users_mail():
    for user, password in (("bob#Archive", PASSWORD), ("bob@example.test#Archive", PASSWORD), ("alice#Archive", "wrong"), ("nobody#Archive", PASSWORD),
                           ("#Archive", PASSWORD), ("alice#x@example.org", PASSWORD)):
        starts(refused(user, password), "-ERR [AUTH]")
    for plain in ("bob#Archive\0alice", "bob\0alice#Archive"):
        starts(auth_plain(plain), "-ERR [AUTH]")


def auth_plain(names, password=PASSWORD):
    d = Dialogue(("127.0.0.1", suite.port("POP3S")), suite.context())
    starts(d.line(), "+OK")
    d.say("AUTH PLAIN " + base64.b64encode(("%s\0%s" % (names, password)).encode()).decode())
    line = d.line()
    if line.startswith("+OK"):
        d.say("STAT")
        line = d.line()
    d.close()
    return line


def test_sasl_with_a_folder():
    for names, count in (("\0alice#Archive", 2), ("alice#Archive\0alice", 2), ("alice\0alice#Archive", 2), ("alice\0alice", 2), ("alice#Old.2020\0alice", 1)):
        starts(auth_plain(names), "+OK %d " % count)


def client(*args, stdin=b""):
    home = suite.dir + "/clients"
    os.makedirs(home, exist_ok=True)
    r = subprocess.run(args, input=stdin, capture_output=True, timeout=60 * SLOW, cwd=home, env={"HOME": home, "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"})
    if r.returncode:
        raise AssertionError("%s: %d %r %r" % (args[0], r.returncode, r.stdout[-2000:], r.stderr[-2000:]))
    return r.stdout


def test_curl_and_fetchmail():
    """curl by SCRAM where it can, fetchmail by USER and PASS."""
    url = "pop3s://localhost:%d/1" % suite.port("POP3S")
    expect(client("curl", "-sS", "--cacert", suite.env["CA_FILE"], "--user", "alice#Old.2020:" + PASSWORD, url), SENT["Old.2020"][0])
    home = suite.dir + "/clients/"
    with open(home + "mda", "w") as f:
        f.write("cat >> %sgot\necho >> %sgot\n" % (home, home))
    with open(home + "rc", "w", opener=lambda p, flags: os.open(p, flags, 0o600)) as f:
        f.write('set no bouncemail\npoll localhost\nprotocol pop3 service %d uidl timeout %d\nuser "alice@example.test#Archive" password "%s"\n'
                'sslcertfile %s sslcertck no rewrite mda "/bin/sh -e %smda"\nssl keep\n' %
                (suite.port("POP3S"), 30 * SLOW, PASSWORD, suite.env["CA_FILE"], home))
    client("fetchmail", "--invisible", "--nosyslog", "-f", home + "rc", "--idfile", home + "ids", "--pidfile", home + "pid")
    with open(home + "got", "rb") as f:
        got = f.read()
    expect([got.count(b"Subject: Archive %d" % n) for n in range(3)], [1, 0, 1])


def test_a_login_too_soon():
    settings("pop3_login_delay = 30m\n")
    wait_for(lambda: "LOGIN-DELAY" in capabilities(), 20, "LOGIN-DELAY")
    expect(capabilities()["LOGIN-DELAY"], ["1800"])
    c = pop3(ALICE)
    expect(c.capa()["LOGIN-DELAY"], ["1800"])
    c.quit()
    for _ in range(4):  # whichever process of pop3d it comes to
        starts(refused(ALICE), "-ERR [LOGIN-DELAY]")
        starts(auth_plain("\0alice"), "-ERR [LOGIN-DELAY]")
    starts(refused(ALICE, "wrong"), "-ERR [AUTH]")
    starts(refused("bob", PASSWORD), "-ERR [AUTH]")
    expect(by_imap("INBOX"), SENT["INBOX"])
    suite.pop3("bob").quit()
    pop3("alice#Archive").quit()
    starts(refused("alice+Archive"), "-ERR [LOGIN-DELAY]")
    d = Dialogue(("127.0.0.1", suite.port("POP3S")), suite.context())  # the connection stays, up to auth_attempt_limit
    has(d.line(), "+OK")
    for name, answer in ((ALICE, "-ERR [LOGIN-DELAY]"), ("carol@example.test", "+OK")):
        if answer == "+OK":
            suite.user_add("carol")
        d.say("USER " + name)
        has(d.line(), "+OK")
        d.say("PASS " + suite.password(name.split("@")[0]))
        starts(d.line(), answer)
    d.close()
    settings("")
    wait_for(lambda: "LOGIN-DELAY" not in capabilities(), 20, "no LOGIN-DELAY")
    wait_for(lambda: auth_plain("\0alice").startswith("+OK"), 20, "the login")


def capabilities():
    c = poplib.POP3_SSL("127.0.0.1", suite.port("POP3S"), context=suite.context(), timeout=30 * SLOW)
    found = c.capa()
    c.quit()
    return found


main(globals())
