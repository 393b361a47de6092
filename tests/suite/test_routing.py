#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Addresses through the running suite: aliases, tables, reload, explanations."""
import os
import signal
import subprocess
import time

from pillar import Dialogue, Instance, MAILCTL, ROOT, expect, has, main, starts, wait_for

suite = Instance()
ETC = suite.dir + "/etc"
ADDRESS = ("127.0.0.1", suite.port("SMTP"))
CONFIG = suite.env["CONFIG"]


def write(name, text):
    """As an editor does: a new file in the old one's place."""
    path = os.path.join(ETC, name)
    with open(path + ".new", "w") as f:
        f.write(text)
    os.rename(path + ".new", path)


def options(text):
    """Sets options in the configuration and reloads it."""
    names = [line.split(" ")[0] for line in text.splitlines()]
    with open(CONFIG) as f:
        kept = [line for line in f.read().splitlines() if line.split(" ")[0] not in names]
    write("pillarpost.conf", "\n".join(kept) + "\n" + text)
    suite.mailctl("reload")


def rcpt(address):
    d = Dialogue(ADDRESS)
    starts(d.reply(), "220 ")
    starts(d.ask("EHLO client.test"), "250")
    starts(d.ask("MAIL FROM:<x@else.test>"), "250")
    reply = d.ask("RCPT TO:<%s>" % address)
    d.say("QUIT")
    d.close()
    return reply


def becomes(address, wanted):
    """A change of a file is noticed within a second."""
    wait_for(lambda: rcpt(address).startswith(wanted), 5, "%s to be %s, it is %s" % (address, wanted, rcpt(address)))


def send(address, subject):
    with suite.smtp() as s:
        s.sendmail("x@else.test", [address], "Subject: %s\r\n\r\ntext\r\n" % subject)


def count(user, subject):
    return sum(("Subject: %s\r\n" % subject).encode() in text for text in suite.messages(user))


def arrives(subject, **wanted):
    wait_for(lambda: all(count(u, subject) >= n for u, n in wanted.items()), 20, "delivery of " + subject)
    time.sleep(0.3)
    expect({u: count(u, subject) for u in wanted}, wanted, subject)


def test_S30_aliases_nested_listed_included_and_looping():
    write("readers", "# readers\nalice@example.test,\nbob@example.test\n")
    write("aliases", "postmaster: alice@example.test\nteam: crew\ncrew: alice@example.test, bob@example.test\n"
                     "news: :include:%s/readers\na: b\nb: a, bob@example.test\nc: d\nd: c\n" % ETC)
    becomes("team@localhost", "250")
    send("team@localhost", "nested")
    arrives("nested", alice=1, bob=1)
    send("news@localhost", "included")
    arrives("included", alice=1, bob=1)
    send("a@localhost", "loop")
    arrives("loop", alice=0, bob=1)
    has(suite.mailctl("route", "c@localhost", check=False).stdout, "5.4.6")


def test_postmaster_exists_with_and_without_domain():
    for address in ("postmaster", "Postmaster@localhost", "postmaster@example.test"):
        starts(rcpt(address), "250")


def test_catch_all_subaddress_and_unknown():
    write("virtual", "@old.test @example.test\nsales@example.test alice@example.test, bob@example.test\n")
    options("virtual_alias_domains = old.test\n")
    becomes("bob@old.test", "250")
    send("bob@old.test", "moved")
    arrives("moved", bob=1, alice=0)
    send("sales@example.test", "both")
    arrives("both", bob=1, alice=1)
    send("bob+shop@example.test", "sub")
    arrives("sub", bob=1)
    starts(rcpt("nobody@example.test"), "550 5.1.1")
    starts(rcpt("nobody@localhost"), "550 5.1.1")
    starts(rcpt("x@elsewhere.test"), "554 5.7.1")


def test_a_new_alias_counts_without_a_reload():
    starts(rcpt("fresh@localhost"), "550")
    with open(ETC + "/aliases") as f:
        write("aliases", f.read() + "fresh: bob@example.test\n")
    becomes("fresh@localhost", "250")


def test_db_tables_are_rebuilt_from_their_text():
    options("alias_maps = hash:%s/aliases\nvirtual_alias_maps = db:btree:%s/virtual\n" % (ETC, ETC))
    becomes("fresh@localhost", "250")
    with open(ETC + "/aliases") as f:
        write("aliases", f.read() + "second: bob@example.test\n")
    becomes("second@localhost", "250")
    starts(rcpt("sales@example.test"), "250")
    r = subprocess.run([ROOT + "/usr/sbin/sendmail", "-C", CONFIG, "-bi"], capture_output=True, text=True, timeout=30)
    expect(r.returncode, 0, r.stderr)


def test_an_unreadable_table_puts_mail_off_and_refuses_nobody():
    options("alias_maps = file:%s/missing\n" % ETC)
    becomes("team@localhost", "451")
    starts(rcpt("bob@example.test"), "250")
    write("missing", "team: bob@example.test\n")
    becomes("team@localhost", "250")


def test_transport_map_pcre_and_route_blocks():
    write("patterns", "/^(.*)-list@example\\.test$/ $1@example.test\n")
    write("transport", "gone.test error:5.1.6 they have moved\nslow.test retry:come again\n")
    options("virtual_alias_maps = file:%s/virtual, pcre:%s/patterns\nrelay_domains = gone.test, slow.test, inside.test\n" % (ETC, ETC))
    becomes("x@gone.test", "550 5.1.6")
    starts(rcpt("x@slow.test"), "4")
    send("bob-list@example.test", "pattern")
    arrives("pattern", bob=1)
    with open(CONFIG) as f:
        conf = f.read()
    write("pillarpost.conf", conf + "route inside.test { nexthop = [127.0.0.9]:2525 }\n")
    suite.mailctl("reload")
    wait_for(lambda: "[127.0.0.9]:2525" in suite.mailctl("route", "x@inside.test").stdout, 5, "the route")
    write("pillarpost.conf", conf)
    suite.mailctl("reload")


def test_route_explains_and_its_status_tells():
    r = suite.mailctl("route", "team@localhost", check=False)
    expect(r.returncode, 0, r.stdout)
    has(r.stdout, "mydestination has localhost")
    has(r.stdout, "=> ")
    r = suite.mailctl("route", "nobody@example.test", check=False)
    assert r.returncode != 0
    has(r.stdout, "5.1.1")
    r = suite.mailctl("route", "x@nowhere.invalid", check=False)
    expect(r.returncode, 1, "no host would take it")
    has(r.stdout, "nowhere.invalid: no such domain")


def test_check_reports_every_error_at_once():
    bad = suite.dir + "/bad.conf"
    with open(bad, "w") as f:
        f.write("mynetwork = x\nsmtpd_timeout = soon\nlistener a {\n\ttls = maybe\n}\n")
    r = subprocess.run([MAILCTL, "-c", bad, "check"], capture_output=True, text=True, timeout=30)
    expect(r.returncode, 78, r.stdout + r.stderr)
    for words in (":1:1: ", "did you mean", ":2:17: ", ":4:8: "):
        has(r.stdout + r.stderr, words)
    write("pillarpost.conf", open(CONFIG).read() + "nonsense = 1\n")
    r = suite.mailctl("reload", check=False)
    assert r.returncode != 0, "a reload with errors must be refused"
    starts(rcpt("bob@example.test"), "250")
    write("pillarpost.conf", open(CONFIG).read().replace("nonsense = 1\n", ""))
    suite.mailctl("reload")


def test_routed_killed_comes_back():
    pid = [p for n, i, p in suite.processes() if n == "routed"][0]
    os.kill(pid, signal.SIGKILL)
    becomes("bob@example.test", "250")
    assert [p for n, i, p in suite.processes() if n == "routed"][0] != pid


if __name__ == "__main__":
    main(globals())
