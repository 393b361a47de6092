#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Access rules through the running suite: tables that change under it, and
messages that are refused, held, thrown away, redirected, marked."""
import json
import os

from pillar import Dialogue, Instance, expect, has, main, starts, wait_for

ETC = None
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
""" % {"e": ETC})
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
    for path in suite.mailbox_files(user):
        with open(path, "rb") as f:
            text = f.read().decode()
        if "Subject: %s\n" % subject in text.replace("\r\n", "\n"):
            return text
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
    rows = [json.loads(line) for line in suite.mailctl("queue", "list", "--json").stdout.splitlines()]
    expect(len(rows), 1)
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


def test_a_mistake_in_a_table_puts_mail_off():
    write("senders", "else.test REJEKT\n")
    wait_for(lambda: rcpt().startswith("451 4.3.5"), 10, "the mistake to count")
    has(suite.wait_log("table", "REJEKT"), "not a value an access table can have")


if __name__ == "__main__":
    main(globals())
