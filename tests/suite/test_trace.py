#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""mailctl trace: the story of a message by id, address, Message-ID; of mail that was refused; live; from rotated logs."""
import gzip
import json
import os
import pty
import re
import shutil
import smtplib
import socket
import subprocess
import threading
import time

import pillar
from peer import Peer
from pillar import Dialogue, Instance, expect, has, main, starts, wait_for

with socket.socket() as free:
    free.bind(("127.0.0.12", 0))
    PORT = free.getsockname()[1]
suite = Instance(extra="""mynetworks = 127.0.0.0/8
minimal_backoff_time = 1s
maximal_backoff_time = 1s
queue_run_delay = 1s
transport_maps = inline:{far.test=smtp:[127.0.0.11]:%d,later.test=smtp:[127.0.0.12]:%d}
virtual_alias_maps = inline:{team@example.test=bob@example.test}
message_size_limit = 20000
smtpd_authorized_xclient_hosts = 127.0.0.0/8
smtpd_client_access_maps = inline:{203.0.113.1=REJECT}
smtpd_sender_access_maps = inline:{spam@else.test=450 4.7.1 not today}
smtpd_client_recipient_rate_limit = 2
""" % (PORT, PORT))
far = Peer(("127.0.0.11", PORT), replies={("RCPT", "unknown"): "550 5.1.1 unknown"})


def trace(*args, check=True):
    return suite.mailctl("trace", *args, check=check).stdout


def events(*args):
    return [json.loads(line) for line in trace("--json", *args).splitlines()]


def send(to, mid, sender="alice@example.test", body="hello"):
    """The queue id."""
    with suite.smtp() as s:
        s.ehlo("client.test")
        s.mail(sender)
        for r in [to] if isinstance(to, str) else to:
            s.rcpt(r)
        time.sleep(0.005)  # stamps have milliseconds: the order of what is in one is nobody's promise
        code, text = s.data("Message-ID: <%s@client.test>\r\nSubject: t\r\n\r\n%s\r\n" % (mid, body))
        if code != 250:
            raise smtplib.SMTPDataError(code, text)
    line = suite.wait_log("received", "%s@client.test" % mid)
    return re.search(r" id=(\w+)", line).group(1)


def ended(i):
    suite.wait_log("removed", "id=" + i)
    return trace(i)


def in_order(text, *words):
    at = 0
    for word in words:
        found = text.find(word, at)
        if found < 0:
            raise AssertionError("no %r behind %r in\n%s" % (word, text[:at][-200:], text))
        at = found + len(word)


def test_delivered_locally():
    i = send("bob@example.test", "local")
    text = ended(i)
    in_order(text, "message " + i, "connected client=localhost[127.0.0.1]", "routed", "via=local/example.test", "bob@example.test is a mailbox",
             "relay=example.test/bob", "delivered to mailbox as ")
    has(text, "accepted  client=localhost[127.0.0.1] helo=client.test from=<alice@example.test> to=<bob@example.test>")
    has(text, "rule=bob@example.test: example.test is a virtual mailbox domain")
    name = re.search(r"delivered to mailbox as ([^ )]+)", text).group(1)
    assert any(name in f for f in suite.mailbox_files("bob")), name


def test_by_address_and_message_id():
    i = send("bob@example.test", "three-ways")
    ended(i)
    for key in ("<three-ways@client.test>", "three-ways@client.test", i, i.lower()):
        expect({e["id"] for e in events(key)}, {i}, key)
    mine = events("bob@example.test", "--since", "1h")
    expect(suite.mailctl("trace", "bob@example.test", "--since", "2099-01-01", check=False).returncode, 1)
    assert i in {e["id"] for e in mine}
    times = [e["time"] for e in mine if e["id"] == i]
    expect(times, sorted(times))
    expect(trace("bob@example.test", "--limit", "1").count("message S"), 1)
    has(suite.mailctl("trace", "nobody-ever@example.test", check=False).stderr, "is about nobody-ever@example.test")


def test_a_message_id_says_nothing_about_the_message():
    """What stands behind it in its header, or in place of one, is no field of the log."""
    for n, header in enumerate(("<forged%d@client.test> user=ceo@example.test as=<ceo@example.test>", "forged%d@client.test user=ceo@example.test as=<ceo@example.test>")):
        with suite.smtp() as s:
            expect(s.sendmail("alice@example.test", "bob@example.test", "Message-ID: %s\r\n\r\nhello\r\n" % (header % n)), {})
        line = suite.wait_log("received", "forged%d@client.test" % n)
        assert "user=" not in line and "as=" not in line, line
    expect(len(events("<forged0@client.test>")) > 1, True)
    assert "forged" not in trace("ceo@example.test", check=False)


def test_relayed_with_the_reply():
    text = ended(send("a@far.test", "relayed"))
    in_order(text, "routed", "via=remote/[127.0.0.11]:%d" % PORT, "sent", "relay=127.0.0.11[127.0.0.11]:%d" % PORT, "(250")


def test_deferred_and_then_delivered():
    i = send("b@later.test", "deferred")
    suite.wait_log("delivery", "id=" + i, "status=deferred")
    live = trace(i)
    in_order(live, "deferred", "Connection refused", "now: in the queue", "<b@later.test>")
    late = Peer(("127.0.0.12", PORT))
    text = ended(i)
    in_order(text, "deferred", "relay=127.0.0.12[127.0.0.12]", "sent", "done")
    assert "now:" not in text
    expect(len(late.messages), 1)


def test_bounced_with_its_report():
    i = send("unknown@far.test", "bounced", sender="bob@example.test")
    text = ended(i)
    report = re.search(r"report=(\w+) to=<bob@example.test>", text).group(1)
    suite.wait_log("removed", "id=" + report)
    text = trace(i)
    in_order(text, "bounced", "550 5.1.1", "reported", "message %s, the report about %s" % (report, i), "delivered to mailbox as ")
    expect([e["report_about"] for e in events(i) if e["id"] == report][0], i)
    in_order(trace(report), "reported", "report=" + report, "delivered to mailbox as ")


def test_refused_recipient():
    with suite.smtp() as s:
        s.ehlo("client.test")
        s.mail("someone@client.test")
        expect(s.rcpt("nobody@example.test")[0], 550)
        session = re.search(r"session=(\w+)", suite.wait_log("reject", "nobody@example.test")).group(1)
    suite.wait_log("disconnect", session)
    for key in ("nobody@example.test", "someone@client.test", session):
        in_order(trace(key), "session " + session, "connected client=localhost[127.0.0.1]", "REFUSED   client=localhost[127.0.0.1]",
                 "to=<nobody@example.test> reply=550 5.1.1", "rule=nobody@example.test: ", "left")


def test_refused_content():
    try:
        send("bob@example.test", "big", sender="big@client.test", body="0123456789\r\n" * 4000)
        raise AssertionError("taken")
    except smtplib.SMTPException:
        pass
    suite.wait_log("content refused")
    in_order(trace("big@client.test"), "connected", "REFUSED", "from=<big@client.test> content refused: ", "left")


MAIL, RCPT, GOOD = "MAIL FROM:<%s>", "RCPT TO:<%s>", "RCPT TO:<bob@example.test>"
# what a stranger says last, the answer, by what trace finds it, and what it tells
REFUSALS = [
    ("size@else.test", [MAIL + " SIZE=99999999"], "552 5.3.4", "Message exceeds the size limit"),
    ("parameter@else.test", [MAIL + " X=1"], "555 5.5.4", "Parameter not recognized"),
    ("spam@else.test", [MAIL, GOOD], "450 4.7.1", "rule=smtpd_sender_access_maps inline:{...} spam@else.test: 450 4.7.1 not today"),
    ("stranger@else.test", [MAIL, "RCPT TO:<x@far.test>"], "554 5.7.1", " rule="),
    ("third@example.test", ["MAIL FROM:<a@b.test>", GOOD, GOOD, RCPT], "451 4.7.28", "rule=smtpd_client_recipient_rate_limit"),
    ("parameter2@example.test", ["MAIL FROM:<a@b.test>", RCPT + " X=1"], "555 5.5.4", "Parameter not recognized"),
    ("early@example.test", [RCPT], "503 5.5.1", "Need MAIL first"),
    ("vrfy@example.test", ["VRFY %s"], "550 5.1.1", "rule=vrfy@example.test: "),
    ("nobody2@example.test", ["MAIL FROM:<a@b.test>", RCPT], "550 5.1.1", "rule=nobody2@example.test: "),
]


def test_every_refusal_is_told():
    for n, (address, commands, reply, words) in enumerate(REFUSALS):
        client = "203.0.113.%d" % (10 + n)
        d = Dialogue(("127.0.0.1", suite.port("SMTP")))
        d.reply()
        d.ask("EHLO proxy.test")
        starts(d.ask("XCLIENT NAME=host-%d.else.test ADDR=%s" % (n, client)), "220")
        d.ask("EHLO client.test")
        answers = [d.ask(c % address if "%s" in c else c) for c in commands]
        starts(answers[-1], reply)
        d.ask("QUIT")
        d.close()
        suite.wait_log("reject", client)
        for key in (address, client, "Host-%d.else.test" % n):
            in_order(trace(key), "session ", "REFUSED   client=host-%d.else.test[%s]" % (n, client), "reply=" + reply, words)


def test_what_a_client_came_to():
    """What was refused, what it sent, and none of its sessions in which nothing was decided."""
    def session():
        d = Dialogue(("127.0.0.1", suite.port("SMTP")))
        d.reply()
        d.ask("EHLO proxy.test")
        d.ask("XCLIENT NAME=[UNAVAILABLE] ADDR=203.0.113.100")
        d.ask("EHLO client.test")
        return d
    for commands in ([], ["MAIL FROM:<a@b.test>", GOOD, "DATA", "Subject: t\r\n\r\nx\r\n."], ["AUTH PLAIN AGEAYg=="]):
        d = session()
        for c in commands:
            d.ask(c)
        d.ask("QUIT")
        d.close()
    suite.wait_log("received", "203.0.113.100")
    suite.wait_log("reject", "203.0.113.100")
    text = trace("203.0.113.100")
    expect(text.count("\nmessage ") + text.startswith("message "), 1, text)
    expect(text.count("session "), 1, text)
    has(text, "REFUSED   client=unknown[203.0.113.100]")
    has(text, "accepted  client=unknown[203.0.113.100]")


def test_through_an_alias():
    i = send(["team@example.test", "nobody2@example.test"], "alias")
    text = ended(i)
    in_order(text, "to=<nobody2@example.test> reply=550", "routed", "to=<team@example.test> via=local/example.test as=<bob@example.test>",
             "sent", "to=<bob@example.test> orig_to=<team@example.test>")
    assert i in {e.get("id") for e in events("team@example.test")}


def test_follow():
    follower = subprocess.Popen([pillar.MAILCTL, "-c", suite.env["CONFIG"], "trace", "--follow", "<live@client.test>"], stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL, text=True)
    seen = []
    threading.Thread(target=lambda: [seen.append(line) for line in follower.stdout], daemon=True).start()
    time.sleep(0.3)
    i = send("bob@example.test", "live")
    suite.wait_log("removed", "id=" + i)
    follower.wait(30 * pillar.SLOW) # it ends when the message has left the queue
    wait_for(lambda: "done" in "".join(seen), 10, "the end of it")
    in_order("".join(seen), "message " + i, "delivered to mailbox as ")


def test_rotated_logs():
    i = send("bob@example.test", "rotated")
    before = ended(i)
    copy = suite.dir + "/kept.log"
    lines = suite.log().splitlines(True)
    with gzip.open(copy + ".2.gz", "wt") as f:
        f.writelines(lines[:len(lines) // 2])
    with open(copy + ".1", "w") as f:
        f.writelines(lines[len(lines) // 2:-3])
    with open(copy, "w") as f:
        f.writelines(lines[-3:])
    for n, name in enumerate((".2.gz", ".1", "")):
        os.utime(copy + name, (1e9 + n, 1e9 + n))
    expect(trace(i, "--log", copy), before)
    syslog = [re.sub(r"^\S+ ", "Nov 21 15:23:12 mail ", line) for line in lines]
    with open(copy, "w") as f:
        f.writelines(syslog)
    in_order(trace(i, "--log", copy), "Nov 21 15:23:12", "delivered to mailbox as ")


def test_a_session_with_a_mailbox():
    """Its lines bear one name, by which they are found."""
    for tag, begin in (("imapd", lambda: suite.imap("bob").logout()), ("pop3d", lambda: suite.pop3("bob").quit())):
        def ends():
            return re.findall(tag + r"\[\d+\]: disconnect client=127\.0\.0\.1 session=(\w+)", suite.log())
        before = ends()
        begin()
        session = wait_for(lambda: [s for s in ends() if s not in before], 20, "the end of a session")[0]
        expect([e["event"] for e in events(session)], ["connect", "tls", "auth", "disconnect"])
        expect({e["program"] for e in events(session)}, {tag})


def test_hops_of_a_file():
    path = suite.wait_mail(1)[0]
    has(trace(path), "No host was passed twice")
    has(trace("--received", path), "No host was passed twice")


def test_a_message_id_and_an_address_may_have_a_slash():
    i = send("bob@example.test", "pillar/post/issues/1", sender="a/b@example.test")
    ended(i)
    for query in ("<pillar/post/issues/1@client.test>", "a/b@example.test"):
        has(trace(query), "message " + i)


def test_a_large_log_takes_seconds():
    """40 MB here; the time is printed, the memory is bounded."""
    copy, lines = suite.dir + "/large.log", suite.log()
    with open(copy, "w") as f:
        f.write(lines)
        size = 0
        while size < 40 << 20:
            f.write(re.sub("id=S", "id=R", lines).replace("session=S", "session=R").replace("report=S", "report=R").replace("bob@", "bab@"))
            size += len(lines)
    i = re.search(r"received id=(\w+)", lines).group(1)
    begun = time.monotonic()
    r = subprocess.run(["/usr/bin/env", "time", "-f", "%M", pillar.MAILCTL, "-c", suite.env["CONFIG"], "trace", i, "--log", copy], capture_output=True, text=True) \
        if shutil.which("time") else suite.mailctl("trace", i, "--log", copy)
    print("# %.0f MB by id: %.2f s" % (size / 1e6, time.monotonic() - begun))
    has(r.stdout, "message " + i)
    begun = time.monotonic()
    has(trace("alice@example.test", "--log", copy), "message ")
    print("# by address: %.2f s" % (time.monotonic() - begun))
    os.unlink(copy)


def on_terminal(*command):
    shown = b""
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(pillar.MAILCTL, ["mailctl", "-c", suite.env["CONFIG"], *command])
    try:
        while data := os.read(fd, 65536):
            shown += data
    except OSError:  # the other end is closed
        pass
    os.waitpid(pid, 0)
    return shown


def test_a_log_that_takes_longer_than_two_seconds_shows_how_far_it_is():
    big, members = suite.dir + "/big.log", 200
    lines = "".join("2026-11-21T15:45:26.264Z queued[%d]: queued id=RGF65ZC9V81 from=<nobody@else.test.far> size=1\n" % i for i in range(10000))
    with open(big, "w") as f:
        f.write(lines)
    for _ in range(2):
        with open(big + ".1.gz", "wb") as f:
            f.write(gzip.compress(lines.encode()) * members)
        begun = time.monotonic()
        shown = on_terminal("trace", "nobody@else.test", "--log", big)
        took = time.monotonic() - begun
        members = int(members * 4 / took) + 1  # the second one takes some 4 s
    assert re.search(rb"\r%s.1.gz: \d+%%\x1b\[K" % big.encode(), shown), (took, shown[-500:])
    has(shown, b"\r\x1b[Kmailctl: nothing in 2 log files")


main(globals())
