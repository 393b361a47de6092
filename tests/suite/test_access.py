#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Access rules through the running suite: tables that change under it, and
messages that are refused, held, thrown away, redirected, marked."""
import atexit
import json
import os
import subprocess
import tempfile

import pillar
from pillar import Dialogue, Instance, expect, has, main, starts, wait_for

zone = tempfile.NamedTemporaryFile("w", prefix="pp-zone-")
zone.write("""9.100.51.198.bad.test A 127.0.0.4
9.100.51.198.mild.test A 127.0.0.2
10.100.51.198.mild.test A 127.0.0.2
11.100.51.198.bad.test A 127.0.0.99
12.100.51.198.bad.test A 127.0.0.4
12.100.51.198.good.test A 127.0.10.1
13.100.51.198.good.test A 127.0.10.1
15.100.51.198.bad.test SERVFAIL
""")
zone.flush()
dns = subprocess.Popen(["/usr/bin/python3", os.path.join(pillar.HERE, "dnsserver.py"), "--zone", zone.name], stdout=subprocess.PIPE, text=True)
atexit.register(lambda: (dns.kill(), dns.wait()))
suite = Instance(start=False)
ETC = suite.dir + "/etc"


def write(name, text):
    with open(os.path.join(ETC, name + ".new"), "w") as f:
        f.write(text)
    os.rename(os.path.join(ETC, name + ".new"), os.path.join(ETC, name))


write("clients", "192.0.2.0/24 REJECT\n")
write("senders", "\n")
write("recipients", "/^eve@/ 553 5.1.1 Eve has left\n")
write("local.conf", """smtpd_client_access_maps = cidr:%(e)s/clients
smtpd_helo_access_maps = inline:{.spam.test=REJECT no such names here}
smtpd_login_access_maps = inline:{bob@example.test=REJECT Bob may read only}
smtpd_sender_access_maps = file:%(e)s/senders
smtpd_recipient_access_maps = pcre:%(e)s/recipients
smtpd_authorized_xclient_hosts = 127.0.0.0/8
dns_servers = 127.0.0.1@%(dns)s
dns_trust_anchor =
smtpd_dnsbl_sites = bad.test=127.0.0.[2..11]*2, mild.test, good.test=127.0.[0..255].[1;3]*-4
smtpd_dnsbl_threshold = 2
""" % {"e": ETC, "dns": dns.stdout.readline().strip()})
suite.make()
suite.start()
for user in ("alice", "bob"):
    suite.user_add(user)


def dialogue(address="198.51.100.7", name="[UNAVAILABLE]", helo="client.test"):
    d = Dialogue(("127.0.0.1", suite.port("SMTP")))
    starts(d.reply(), "220 ")
    starts(d.ask("EHLO proxy.test"), "250")
    starts(d.ask("XCLIENT ADDR=%s NAME=%s" % (address, name)), "220")
    starts(d.ask("EHLO " + helo), "250")
    return d


def rcpt(sender="x@else.test", to="alice@example.test", **kw):
    d = dialogue(**kw)
    starts(d.ask("MAIL FROM:<%s>" % sender), "250")
    reply = d.ask("RCPT TO:<%s>" % to)
    d.say("QUIT")
    d.close()
    return reply


def send(sender, subject, to="alice@example.test"):
    d = dialogue()
    starts(d.ask("MAIL FROM:<%s>" % sender), "250")
    starts(d.ask("RCPT TO:<%s>" % to), "250")
    starts(d.ask("DATA"), "354")
    d.raw(("Subject: %s\r\n\r\ntext\r\n.\r\n" % subject).encode())
    reply = d.reply()
    d.close()
    starts(reply, "250")
    return reply


def found(subject, user="alice"):
    for text in suite.messages(user):
        if "Subject: %s\n" % subject in text.decode().replace("\r\n", "\n"):
            return text.decode()
    return None


def test_a_client_by_its_network():
    expect(rcpt(address="192.0.2.9"), "550 5.7.1 Client host rejected: Access denied")
    starts(rcpt(address="192.0.3.9"), "250")
    has(suite.wait_log("reject", "192.0.2.9"), "rule=smtpd_client_access_maps cidr:%s/clients 192.0.2.9: REJECT" % ETC)


def test_helo_and_recipient():
    expect(rcpt(helo="mx.spam.test"), "550 5.7.1 no such names here")
    expect(rcpt(to="eve@example.test"), "553 5.1.1 Eve has left")
    starts(rcpt(), "250")


def test_a_login():
    with suite.submission("bob") as s:
        s.ehlo_or_helo_if_needed()
        s.mail("bob@example.test")
        code, text = s.rcpt("alice@example.test")
        expect((code, text), (550, b"5.7.1 Bob may read only"))
    with suite.submission("alice") as s:
        s.mail("alice@example.test")
        expect(s.rcpt("alice@example.test")[0], 250)


def test_a_changed_table_counts_at_once():
    starts(rcpt(sender="new@else.test"), "250")
    write("senders", "else.test 450 4.7.1 come back tomorrow\n")
    wait_for(lambda: rcpt(sender="new@else.test") == "450 4.7.1 come back tomorrow", 10, "the new table")
    write("senders", "keep@ HOLD\nnone@ DISCARD\npost@ REDIRECT bob@example.test\nmark@ PREPEND X-Seen: at the door\nwatch@ WARN\n")
    wait_for(lambda: rcpt(sender="new@else.test").startswith("250"), 10, "the table after it")


def test_hold_keeps_the_message_until_it_is_released():
    send("keep@else.test", "held")
    send("other@else.test", "not held")
    wait_for(lambda: found("not held"), 20, "the other message")

    def waiting():
        return [json.loads(line) for line in suite.mailctl("queue", "list", "--json").stdout.splitlines()]

    wait_for(lambda: len(waiting()) == 1, 20, "the end of the other message")
    rows = waiting()
    assert found("held") is None
    has(suite.wait_log("access", "keep@else.test"), "smtpd_sender_access_maps file:%s/senders keep@: HOLD" % ETC)
    suite.mailctl("queue", "release", "id:" + rows[0]["id"])
    wait_for(lambda: found("held"), 20, "the held message")


def test_discard_redirect_prepend_warn():
    send("none@else.test", "thrown away")
    has(suite.wait_log("access", "none@else.test"), "DISCARD")
    send("post@else.test", "redirected")
    wait_for(lambda: found("redirected", "bob"), 20, "the redirected message")
    send("mark@else.test", "marked")
    text = wait_for(lambda: found("marked"), 20, "the marked message")
    has(text, "\nX-Seen: at the door")
    send("watch@else.test", "watched")
    wait_for(lambda: found("watched"), 20, "the watched message")
    has(suite.wait_log("access", "watch@else.test"), "WARN")
    assert found("redirected") is None and found("thrown away") is None


def test_dns_lists_add_up():
    expect(rcpt(address="198.51.100.9"), "550 5.7.1 Client host [198.51.100.9] blocked by bad.test*2 mild.test*1")
    has(suite.wait_log("reject", "198.51.100.9"), "rule=smtpd_dnsbl_sites: bad.test*2 mild.test*1 = 3")
    starts(rcpt(address="198.51.100.10"), "250")  # 1 is not enough
    starts(rcpt(address="198.51.100.11"), "250")  # the answer is not one that counts
    starts(rcpt(address="198.51.100.12"), "250")  # the good list outweighs
    starts(rcpt(address="198.51.100.14"), "250")  # on none
    starts(rcpt(address="198.51.100.15"), "250")  # a list that fails has no say
    starts(rcpt(address="198.51.100.9", to="nobody@example.test"), "550 5.1.1")
    write("clients", "198.51.100.9 OK\n192.0.2.0/24 REJECT\n")
    wait_for(lambda: rcpt(address="198.51.100.9").startswith("250"), 10, "the exemption")


def test_T06_greylisting():
    with open(ETC + "/local.conf") as f:
        text = f.read()
    write("local.conf", text + "smtpd_greylist = yes\nsmtpd_greylist_delay = 3s\nsmtpd_greylist_auto_whitelist = 2\n")
    suite.make()
    suite.mailctl("reload")
    first = "451 4.7.1 Greylisted, try again later"
    wait_for(lambda: rcpt("grey@else.test") == first, 10, "greylisting")
    expect(rcpt("grey@else.test"), first)
    has(suite.wait_log("reject", "grey@else.test"), "rule=smtpd_greylist")
    starts(rcpt("grey@else.test", address="198.51.100.13"), "250")   # a good list speaks for it
    starts(rcpt("grey@else.test", to="nobody@example.test"), "550")  # no need to come again
    with suite.submission("alice") as s:                             # ours are not asked
        s.sendmail("alice@example.test", ["bob@example.test"], "Subject: ours\r\n\r\n")
    expect(rcpt("second@else.test", address="198.51.101.7"), first)
    wait_for(lambda: rcpt("grey@else.test").startswith("250"), 10, "the second attempt")
    send("grey@else.test", "grey")
    has(wait_for(lambda: found("grey"), 20, "the message"), "X-Greylist: whitelisted, not delayed by greylisting at ")
    expect(rcpt("another@else.test"), first)  # another sender of the same network
    wait_for(lambda: rcpt("another@else.test").startswith("250"), 10, "its second attempt")
    starts(rcpt("third@else.test"), "250")    # by now the network is known
    suite.stop()                              # and stays so
    suite.start()
    starts(rcpt("fourth@else.test"), "250")
    expect(rcpt("new@else.test", address="198.51.102.7"), first)
    write("local.conf", text)
    suite.make()
    suite.mailctl("reload")
    wait_for(lambda: rcpt("new@else.test", address="198.51.102.7").startswith("250"), 10, "greylisting switched off")


def test_a_mistake_in_a_table_puts_mail_off():
    write("senders", "else.test REJEKT\n")
    wait_for(lambda: rcpt().startswith("451 4.3.5"), 10, "the mistake to count")
    has(suite.wait_log("table", "REJEKT"), "not a value an access table can have")


if __name__ == "__main__":
    main(globals())
