#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The configuration of a suite that runs: errors in it, and what a reload makes of a change."""
import errno
import glob
import os
import re
import shutil
import signal
import smtplib
import socket
import subprocess
import textwrap

from pillar import MAILCTL, ROOT, SENDMAIL, SLOW, TOP, Dialogue, Instance, expect, family, has, main, starts, wait_for

suite = Instance()
CONFIG = suite.env["CONFIG"]
GOOD = open(CONFIG).read()
LINES = GOOD.count("\n")
WRONG = ["%s:%d:1: no option is named \"nonsense\"" % (CONFIG, LINES + 1),
         "%s:%d:17: smtpd_timeout: \"soon\" is not a time, with ms, s, m, h, d, w" % (CONFIG, LINES + 2)]
BROKEN = GOOD + "nonsense = 1\nsmtpd_timeout = soon\n"


def write(text):
    with open(CONFIG, "w") as f:
        f.write(text)


def tool(name, *args, **kw):
    return subprocess.run([os.path.join(os.path.dirname(SENDMAIL), name), *args], capture_output=True, text=True, timeout=120,
                          env={**os.environ, "PILLARPOST_CONFIG": CONFIG}, **kw)


def links(pid):
    """What a process has open."""
    found = []
    for fd in os.listdir("/proc/%d/fd" % pid):
        try:
            found.append(os.readlink("/proc/%d/fd/%s" % (pid, fd)))
        except FileNotFoundError:  # closed just now
            pass
    return found


def refused(r, status, wrong):
    expect((r.returncode, r.stdout, r.stderr.splitlines()), (status, "", wrong))


def test_each_tool_tells_all_errors():
    where = GOOD.replace("run_directory = /", "run_directory = ./")
    line = GOOD[:GOOD.index("run_directory = ")].count("\n") + 1
    write(where + "nonsense = 1\n")
    wrong = ["%s:%d:17: run_directory: " % (CONFIG, line), WRONG[0]]
    for name, *args in (("postqueue", "-p"), ("postsuper", "-h", "ALL"), ("postcat", "-q", "SGCPFYVVYE1"), ("sendmail", "-bp"), ("mailctl", "reload")):
        r = tool(name, *args)
        expect((r.returncode, r.stdout), (78, ""), name)
        expect([said[:len(w)] for said, w in zip(r.stderr.splitlines(), wrong)], wrong, name)
    write(BROKEN)
    refused(tool("sendmail", "bob@example.test", input="hello\n"), 75, WRONG)
    refused(tool("sendmail", "-bi"), 78, WRONG)
    refused(tool("mailctl", "reload"), 78, WRONG)
    expect(suite.mailctl("check", check=False).stdout.splitlines(), WRONG)
    refused(tool("postqueue", "-c", CONFIG + ".gone", "-p"), 78, [CONFIG + ".gone: cannot be opened: No such file or directory"])


NOTE = CONFIG + ": 2 errors, which mailctl check shows; the suite in %s/sock is asked all the same" % suite.dir


def test_a_file_with_errors_keeps_nobody_from_the_running_suite():
    write(BROKEN)
    for command in (["status"], ["status", "--sandbox"], ["limits"], ["route", "bob@example.test"], ["verify", "list"], ["queue", "list"], ["queue", "hold", "all"],
                    ["queue", "history"], ["quarantine", "list"]):
        r = suite.mailctl(*command)
        expect(r.stderr.splitlines()[:1], [NOTE], command)
    has(suite.mailctl("status", "--json").stdout, '"name":"smtpd"')
    expect(tool("postqueue", "-p").stdout, "Mail queue is empty\n")
    refused(tool("sendmail", "-q"), 0, [NOTE])
    refused(tool("postsuper", "-h", "ALL"), 0, [NOTE])
    for command in (["start"], ["user", "list"], ["mailbox", "list", "bob@example.test"], ["doctor", "--sandbox"]):
        refused(tool("mailctl", *command), 78, WRONG)
    refused(tool("mailctl", "stop"), 0, [NOTE])
    refused(tool("mailctl", "status"), 69, [NOTE, "mailctl: maild is not to be reached (is the suite running?): %s/sock/suite_admin: Connection refused" % suite.dir])
    write(GOOD)
    suite.start()


def test_a_reload_by_signal_logs_all_errors():
    write(BROKEN)
    os.kill(suite.maild(), signal.SIGHUP)
    suite.wait_log("reload refused")
    for line in WRONG:
        has(suite.log(), "config " + line + "\n")
    write(GOOD)
    os.kill(suite.maild(), signal.SIGHUP)
    suite.wait_log("reload", "generation=1")


def test_a_rotated_log_is_left_by_all_whatever_the_configuration_is_like():
    imap = suite.imap()
    before = {pid for _, _, pid in suite.processes()} | {pid for _, pid in family(suite.maild())} | {suite.maild()}
    os.rename(suite.dir + "/log", suite.dir + "/log.1")
    write(BROKEN)
    os.kill(suite.maild(), signal.SIGHUP)
    wait_for(lambda: os.path.exists(suite.dir + "/log"), 20, "the new log")
    suite.wait_log("suited", "reload refused")
    other = suite.imap("alice")
    logs = before | {suite.mailboxd("alice")}
    wait_for(lambda: not [pid for pid in logs if (suite.dir + "/log.1") in links(pid)], 20, "everybody to leave the old log")
    expect([suite.dir + "/log" in links(suite.mailboxd(user)) for user in ("alice", "bob")], [True, True])
    imap.logout()
    other.logout()
    write(GOOD)
    suite.mailctl("reload")


def test_a_reload_leaves_to_the_next_start_what_is_fixed():
    before = suite.processes()
    other = suite.dir + "/elsewhere"
    write(GOOD.replace("queue_directory = ", "queue_directory = %s\n#" % other) + "daemon_processes = 5\nsmtpd_timeout = 4m\n")
    r = suite.mailctl("reload")
    expect(r.stderr, "mailctl: not changed until the next start: queue_directory, daemon_processes\n")
    suite.wait_log("suited", "reload generation=3; at the next start: queue_directory, daemon_processes")
    expect(suite.processes(), before)
    expect(os.path.exists(other), False)
    os.kill(next(pid for name, _, pid in before if name == "queued"), signal.SIGKILL)
    wait_for(lambda: len([1 for p in suite.processes() if p[0] == "queued" and p[2] and p not in before]), 20, "another queued")
    expect(suite.mailctl("queue", "list").returncode, 0)
    expect(os.path.exists(other), False, "a queued that is started again uses the queue that is there")
    expect(suite.mailctl("reload").stderr, r.stderr)
    suite.stop()
    suite.start()
    expect(os.path.isdir(other), True)
    expect(len([1 for name, _, _ in suite.processes() if name == "smtpd"]), 5)
    write(GOOD)
    suite.stop()
    suite.start()


def test_listeners_come_and_go_under_sessions():
    before = suite.processes()
    smtp, imap = suite.smtp(), suite.imap()
    smtp.mail("ann@example.net")
    new = 'listener more { service = smtp; address = "127.0.0.1:%d"; }\nlistener still { service = imap; address = "127.0.0.1:%d"; tls = none; }\n'
    write(GOOD + new % (suite.base + 7, suite.base + 8))
    suite.mailctl("reload")
    with smtplib.SMTP("127.0.0.1", suite.base + 7, timeout=30 * SLOW) as more:
        expect(more.noop()[0], 250)
    Dialogue(("127.0.0.1", suite.base + 8)).close()
    # the other way round, and one of them where nobody listened
    write(GOOD + new % (suite.base + 9, suite.base + 7))
    suite.mailctl("reload")
    wait_for(lambda: socket.socket().connect_ex(("127.0.0.1", suite.base + 8)) == errno.ECONNREFUSED, 20, "the old door to close")
    starts(Dialogue(("127.0.0.1", suite.base + 7)).line(), "* OK")
    starts(Dialogue(("127.0.0.1", suite.base + 9)).line(), "220 ")
    # a port that is taken: what there was stays
    with socket.create_server(("127.0.0.1", suite.base + 10)):
        write(GOOD + new % (suite.base + 7, suite.base + 10))
        has(suite.mailctl("reload", check=False).stderr, "127.0.0.1:%d: Address already in use" % (suite.base + 10))
    starts(Dialogue(("127.0.0.1", suite.base + 7)).line(), "* OK")
    starts(Dialogue(("127.0.0.1", suite.base + 9)).line(), "220 ")
    write(GOOD)
    suite.mailctl("reload")
    wait_for(lambda: socket.socket().connect_ex(("127.0.0.1", suite.base + 7)) == errno.ECONNREFUSED, 20, "the new door to close")
    expect(smtp.rcpt("bob@example.test")[0], 250)
    expect(imap.noop()[0], "OK")
    smtp.quit()
    imap.logout()
    expect(suite.processes(), before)


def test_a_session_whose_listener_goes_ends_as_what_it_was():
    before = suite.processes()
    more = 'listener more { service = smtp; address = "127.0.0.1:%d"; %%s}\n' % (suite.base + 7)
    for first in ("submit", "lmtp"):  # whoever comes there may relay; each recipient has a reply
        line = next(line for line in GOOD.splitlines(True) if line.startswith("listener %s " % first))
        others = line + "".join(GOOD.split(line))
        write(others + more % "")
        suite.mailctl("reload")
        idle, busy = (Dialogue(("127.0.0.1", suite.base + 7)) for _ in range(2))
        starts(idle.reply(), "220 ")
        starts(busy.reply(), "220 ")
        for said, answer in (("EHLO client.example", "250-"), ("MAIL FROM:<ann@example.net>", "250 "), ("RCPT TO:<bob@example.test>", "250 "),
                             ("RCPT TO:<alice@example.test>", "250 ")):
            starts(busy.ask(said), answer)
        write(others)
        suite.mailctl("reload")
        starts(idle.reply(), "421 ")
        starts(busy.ask("RCPT TO:<ann@elsewhere.example>"), "554 5.7.1 ")
        # another one has its name
        write(others + 'listener more { service = lmtp; address = "127.0.0.1:%d"; }\n' % (suite.base + 8))
        suite.mailctl("reload")
        starts(Dialogue(("127.0.0.1", suite.base + 8)).reply(), "220 ")
        starts(busy.ask("DATA"), "354 ")
        starts(busy.ask("Subject: hello\r\n\r\nhello\r\n."), "250 2.0.0 ")
        starts(busy.reply(), "421 ")
        expect(busy.at_end(), True)
        write(GOOD)  # one name's change of service, which the next round would be, starts all daemons anew
        suite.mailctl("reload")
    expect(suite.processes(), before)


def test_a_connection_whose_listener_goes_before_its_proxy_has_said_a_word_is_closed():
    write(GOOD + 'listener more { service = smtp; address = "127.0.0.1:%d"; proxy_hosts = 127.0.0.1; }\n' % (suite.base + 7))
    suite.mailctl("reload")
    proxied = Dialogue(("127.0.0.1", suite.base + 7))
    suite.smtp().quit()
    write(GOOD)
    suite.mailctl("reload")
    wait_for(lambda: socket.socket().connect_ex(("127.0.0.1", suite.base + 7)) == errno.ECONNREFUSED, 20, "the door to close")
    try:
        proxied.raw(b"PROXY TCP4 192.0.2.77 127.0.0.1 4711 25\r\n")
        expect(proxied.at_end(), True)
    except (BrokenPipeError, ConnectionResetError):
        pass


def openssl(*args):
    subprocess.run(["openssl", *args], cwd=suite.dir + "/tls", check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_certificates_and_keys_that_keyd_cannot_use_are_told_with_their_place():
    tls = suite.dir + "/tls/"
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", "/CN=other.test",
            "-addext", "subjectAltName=DNS:other.test", "-keyout", "other.key", "-out", "other.pem")
    with open(tls + "dud.pem", "w") as f:
        f.write("-----BEGIN CERTIFICATE-----\nMIIBdud\n-----END CERTIFICATE-----\n")
    with open(tls + "text.pem", "w") as f:
        f.write("nothing\n")
    with open(tls + "both.pem", "w") as f:
        f.write(open(tls + "other.key").read() + open(tls + "other.pem").read())
    lines = GOOD.splitlines()
    at = {name: next(i for i, line in enumerate(lines, 1) if line.startswith("smtpd_tls_%s_file = " % name)) for name in ("cert", "key")}

    def found(text):
        write(text)
        r = suite.mailctl("check", check=False)
        return r.returncode, [line[len(CONFIG):] for line in r.stdout.splitlines() if line.startswith(CONFIG + ":")]

    def place(name, file):
        return ":%d:%d: smtpd_tls_%s_file = %s: " % (at[name], len("smtpd_tls_%s_file = " % name) + 1, name, tls + file)
    none = "neither a key nor a certificate is in it"
    broken = "the certificates cannot be read"
    unfit = "the key of the certificate in %s is not there"
    expect(found(GOOD), (0, [": no errors"]))
    expect(found(GOOD.replace("tls/key.pem", "tls/other.key")), (1, [place("key", "other.key") + unfit % (tls + "cert.pem")]))
    expect(found(GOOD.replace("tls/key.pem", "tls/cert.pem")), (1, [place("key", "cert.pem") + unfit % (tls + "cert.pem")]))
    expect(found(GOOD.replace("tls/key.pem", "tls/ca.pem")), (1, [place("key", "ca.pem") + "no private key is in it", place("key", "ca.pem") + unfit % (tls + "cert.pem")]))
    expect(found(GOOD.replace("tls/cert.pem", "tls/key.pem")), (1, [place("cert", "key.pem") + "no certificate is in it"]))
    expect(found(GOOD.replace("tls/cert.pem", "tls/text.pem")), (1, [place("cert", "text.pem") + none]))
    expect(found(GOOD.replace("tls/cert.pem", "tls/dud.pem")), (1, [place("cert", "dud.pem") + broken]))
    expect(found(GOOD.replace("tls/key.pem", "tls/gone.pem")), (1, [place("key", "gone.pem") + "No such file or directory", place("key", "gone.pem") + unfit % (tls + "cert.pem")]))
    expect(found(GOOD + "smtpd_tls_chain_files = %sboth.pem, %sother.pem\nsmtpd_tls_CAfile = %sdud.pem\n" % (tls, tls, tls)),
           (1, [":%d:20: smtpd_tls_CAfile = %sdud.pem: no certificate, or one that cannot be read, is in it" % (LINES + 2, tls)]))
    expect(found(GOOD + "smtp_tls_cert_file = %sother.pem\nroute a.test { cert_file = %sboth.pem; key_file = %sdud.pem }\n" % (tls, tls, tls)),
           (1, [":%d:%d: key_file = %sdud.pem: %s" % (LINES + 2, len("route a.test { cert_file = %sboth.pem; key_file = " % tls) + 1, tls, broken)]))
    expect(found(GOOD + "smtp_tls_cert_file = %sother.pem\n" % tls), (1, [":%d:22: smtp_tls_cert_file = %sother.pem: " % (LINES + 1, tls) + unfit % (tls + "other.pem")]))

    other = next(i for i, line in enumerate(lines, 1) if line.startswith("listener imaps "))
    write(GOOD.replace(lines[other - 1], lines[other - 1].replace("{", "{ cert_file = %sother.pem;" % tls, 1)))
    r = suite.mailctl("reload")
    has(r.stderr, "%s:%d:%d: cert_file = %sother.pem: " % (CONFIG, other, lines[other - 1].index("{") + 15, tls) + unfit % (tls + "other.pem"))
    suite.wait_log("keyd", "certificate without key", "names=other.test")
    suite.submission().quit()

    write(GOOD)
    suite.mailctl("reload")


def test_next_hops_that_are_none_are_told_with_their_place():
    write(GOOD + "relayhost = foo..bar\nsmtp_fallback_relay = [a.test]:26, [b.test]:0\nroute c.test { transport = lmtp; nexthop = unix:lmtp }\n"
          "route d.test { nexthop = d.test:smtp-port }\nroute e.test { nexthop = smtp:[192.0.2.1]:26 }\nroute f.test { transport = lmtp; nexthop = inet:f.test }\n")
    why = "no next hop: that is a domain, [host], either with :port"
    expect([line[len(CONFIG):] for line in suite.mailctl("check", check=False).stdout.splitlines() if "no next hop" in line],
           [":%d:13: relayhost = foo..bar: %s" % (LINES + 1, why), ":%d:23: smtp_fallback_relay = [b.test]:0: %s" % (LINES + 2, why),
            ":%d:44: nexthop = unix:lmtp: %s, or unix:/path" % (LINES + 3, why), ":%d:26: nexthop = d.test:smtp-port: %s" % (LINES + 4, why)])
    write(GOOD)


def test_tables_that_cannot_be_used_are_told_with_their_place():
    table, secret = suite.dir + "/etc/table", suite.dir + "/etc/passwords"
    with open(table, "w") as f:
        f.write("example.net REJECT\nexample.org\n")
    for name in ("relay_domains", "virtual_alias_domains", "alias_database", "smtpd_client_access_maps", "smtpd_recipient_access_maps", "smtpd_sender_login_maps",
                 "smtp_tls_policy_maps", "smtp_sasl_password_maps", "sender_dependent_relayhost_maps", "relay_clientcerts", "auth_certificate_maps"):
        write(GOOD + "%s = file:%s.gone\n" % (name, table))
        r = suite.mailctl("check", check=False)
        expect((r.returncode, r.stdout.splitlines()),
               (1, ["%s:%d:%d: %s = file:%s.gone: open %s.gone: No such file or directory" % (CONFIG, LINES + 1, len(name) + 4, name, table, table), "1 problem"]))
    write(GOOD + "smtpd_sender_access_maps = static:DUNNO, hash:%s, inline:{a=b}\n" % table)
    expect(suite.mailctl("check", check=False).stdout.splitlines()[0],
           "%s:%d:28: smtpd_sender_access_maps = hash:%s: line 2: the entry has no value; the line does not count" % (CONFIG, LINES + 1, table))
    with open(secret, "w") as f:
        f.write("[smtp.example]:587 user:password\n")
    os.chmod(secret, 0o600)  # as Postfix has it, which reads it as root
    for name, user in (("smtp_sasl_password_maps", "pp-routed"), ("auth_certificate_maps", "pp-authd")):
        write(GOOD + "%s = file:%s\n" % (name, secret))
        r = suite.mailctl("check", check=False)
        if os.geteuid() == 0:
            starts(r.stdout, "%s:%d:%d: %s = file:%s: %s, who reads it, may not" % (CONFIG, LINES + 1, len(name) + 4, name, secret, user))
            shutil.chown(secret, group=user)
            os.chmod(secret, 0o640)
            r = suite.mailctl("check")
        expect((r.returncode, r.stdout.splitlines()[0]), (0, CONFIG + ": no errors"))
    write(GOOD)


def test_other_files_and_transports_are_looked_at():
    for name in ("smtp_tls_CAfile", "smtp_tls_mta_sts_CAfile", "auth_oauth2_CAfile", "auth_oauth2_client_secret_file", "dns_trust_anchor"):
        write(GOOD + "%s = %s/gone\n" % (name, suite.dir))
        expect(suite.mailctl("check", check=False).stdout.splitlines()[0],
               "%s:%d:%d: %s = %s/gone: No such file or directory" % (CONFIG, LINES + 1, len(name) + 4, name, suite.dir))
    write(GOOD + "mailbox_transport = lmtp:unix:private/dovecot-lmtp\nvirtual_transport = dovecot\n")
    expect([line[len(CONFIG):] for line in suite.mailctl("check", check=False).stdout.splitlines()[:2]],
           [':%d:21: mailbox_transport = lmtp:unix:private/dovecot-lmtp: "unix:private/dovecot-lmtp" is not a next hop' % (LINES + 1),
            ':%d:21: virtual_transport = dovecot: "dovecot" is not transport:nexthop' % (LINES + 2)])
    write(GOOD + "smtp_tls_CAfile = %s/gone\n" % suite.dir)
    suite.mailctl("reload")
    suite.wait_log("degraded smtp_tls_CAfile: %s/gone: No such file or directory: no peer's certificate will be good" % suite.dir)
    write(GOOD)
    suite.mailctl("reload")


def test_addresses_that_are_none_are_errors():
    options = [("dns_servers", "192.0.2.53 foo", '"foo" is not the address of a name server'), ("dns_servers", "192.0.2.53@", '"192.0.2.53@" is not'),
               ("smtp_bind_address", "2001:db8::1", '"2001:db8::1" is not an IPv4 address'), ("inet_interfaces", "127.0.0.1, localhost", '"localhost" is neither all, loopback-only nor an address'), ("smtp_bind_address6", "lo", '"lo" is not an IPv6 address')]
    for name, value, why in options:
        write(GOOD + "%s = %s\n" % (name, value))
        r = suite.mailctl("reload", check=False)
        expect(r.returncode, 78)
        starts(r.stderr, "%s:%d:%d: %s: %s" % (CONFIG, LINES + 1, len(name) + 4, name, why))
    write(GOOD + "route a.test { bind_address = any }\ndns_servers = 192.0.2.53, 192.0.2.53@5353, 2001:db8::53@53, fe80::53%eth0@5353\n")
    expect(suite.mailctl("check", check=False).stdout, "%s:%d:31: bind_address: \"any\" is not an IPv4 address, such as 192.0.2.1\n" % (CONFIG, LINES + 1))
    write(GOOD)


def examples():
    """[(where, text)] of the configurations in README and the manual pages."""
    found = []
    for path in [TOP + "/README.md"] + sorted(glob.glob(ROOT + "/usr/share/man/man[58]/*")):
        with open(path) as f:
            text = f.read()
        blocks = re.findall(r"(?:^    .*\n)+", text, re.M) if path.endswith(".md") else re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", text, re.M | re.S)
        for block in blocks:
            block = textwrap.dedent(block).replace("\\&", "").replace("\\e", "\\")
            if re.search(r"^[a-z0-9_]+ = |^(route|listener) [a-z*]", block, re.M) and "option = value" not in block and "$ mailctl" not in block:
                found.append((os.path.basename(path), re.sub(r"^/etc/.*: .*\n", "", block, flags=re.M)))
    return found


def test_the_examples_of_the_pages_are_understood():
    names = [name for name, _ in examples()]
    expect([n in names for n in ("README.md", "pillarpost.conf.5", "authd.8", "remoted.8", "verifyd.8", "tokend.8", "stsd.8")], [True] * 7)
    for name, text in examples():
        own = {re.split("[ =]", line)[0] for line in text.splitlines()}
        write("".join(line for line in GOOD.splitlines(True) if re.split("[ =]", line)[0] not in own) + text)
        r = suite.mailctl("check", check=False)  # files that it names need not be there
        if r.returncode == 78:
            raise AssertionError("%s: %s\n%s" % (name, text, r.stdout))
    write(GOOD)


def test_a_key_that_the_user_may_not_read_could_not_be_checked():
    if os.geteuid() != 0:
        return  # its owner runs this
    tls = suite.dir + "/tls/"
    at = {name: "%s:%d:%d" % (CONFIG, GOOD[:GOOD.index("smtpd_tls_%s_file = " % name)].count("\n") + 1, len("smtpd_tls_%s_file = " % name) + 1) for name in ("cert", "key")}

    def as_nobody():
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    os.chmod(tls, 0o755)
    r = subprocess.run([shutil.copy(MAILCTL, suite.dir), "-c", CONFIG, "check"], capture_output=True, text=True, timeout=120, preexec_fn=as_nobody)
    expect([line for line in r.stdout.splitlines() if "tls/" in line],
           ["note: %s: smtpd_tls_key_file = %skey.pem: could not be checked: this user may not read it" % (at["key"], tls),
            "note: %s: smtpd_tls_cert_file = %scert.pem: could not be checked: its key may be in a file that this user may not read" % (at["cert"], tls)])


def test_who_may_not_ask_is_told_that():
    if os.geteuid() != 0:
        return
    for command, server in (("status", "maild"), ("user list", "authd"), ("queue list", "queued"), ("route bob@example.test", "routed")):
        r = subprocess.run([shutil.copy(MAILCTL, suite.dir), "-c", CONFIG, *command.split()], capture_output=True, text=True, timeout=120, user=65534, group=65534, extra_groups=[])
        expect(r.returncode, 69, command)
        starts(r.stderr, "mailctl: %s may be asked by root alone, or by the user that the suite was started as: " % server)


def limit_files(pid, n):
    """Of a process, as its own user, who needs no right for that."""
    who = os.stat("/proc/%d" % pid)
    as_it = {"user": who.st_uid, "group": who.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    subprocess.run(["prlimit", "--pid", str(pid), "--nofile=%d:" % n], check=True, **as_it)


def test_a_suite_of_another_build_is_stopped_all_the_same():
    """Its programs were replaced while it ran: to the new mailctl a field of a message has another name."""
    other = suite.dir + "/mailctl"
    with open(MAILCTL, "rb") as f:
        program = f.read()
    has(program, b"\0orcpt\0")
    with open(other, "wb") as f:
        f.write(program.replace(b"\0orcpt\0", b"\0orcpu\0"))
    os.chmod(other, 0o755)
    unlike = "mailctl: the peer is from another build: the suite has to be stopped and started\n"
    for command, status, more in (("status", 69, ""), ("reload", 1, ""), ("stop", 0, "mailctl: maild, process %d, was sent SIGTERM\n" % suite.maild())):
        r = subprocess.run([other, "-c", CONFIG, command], capture_output=True, text=True, timeout=120)
        expect((r.returncode, r.stderr), (status, unlike + more), command)
    expect(suite.mailctl("status", check=False).returncode, 69)
    suite.start()


def test_a_reload_that_does_not_reach_all_says_so():
    [suited] = [pid for name, pid in family(suite.maild()) if name == "suited"]
    processes = len(suite.mailctl("status").stdout.splitlines()) - 1
    limit_files(suited, len(os.listdir("/proc/%d/fd" % suited)) + 1 + processes + 2) # mailctl's connection, a log for each, two more
    r = suite.mailctl("reload", check=False)
    limit_files(suited, 1024)
    expect(r.returncode, 1, r.stderr)
    has(r.stderr, "processes go on as they were configured: the log says why")
    suite.wait_log(" suited[", " failure ", " goes on as it was configured: hand over the configuration: Too many open files")
    suite.mailctl("reload")


if __name__ == "__main__":
    main(globals())
