#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Quotas: of users and by default, at APPEND and COPY, at delivery, at RCPT,
as the quota file says and as the names are counted; and what was expunged
comes back."""
import json
import os
import time

from pillar import Instance, expect, has, main, wait_for

suite = Instance(extra="mailbox_message_limit = 3\nmailbox_idle_time = 1s\nquota_administrators = bob@example.test\n", users=("alice", "bob", "carol"))
MESSAGE = b"Subject: one\r\n\r\n" + b"x" * 98 + b"\r\n"  # 116 octets


def quota(user):
    return json.loads(suite.mailctl("mailbox", "quota", user + "@example.test", "--json").stdout)


def sums(user):
    """What the quota file says, which everybody appends to."""
    with open(suite.maildir(user) + "/maildirsize") as f:
        lines = f.read().splitlines()
    rows = [[int(n) for n in line.split()] for line in lines[1:]]
    return lines[0], sum(r[0] for r in rows), sum(r[1] for r in rows)


def no(reply, code):
    expect(reply[0], "NO")
    has(reply[1][0].decode(), code)


def send(user, expected="250"):
    s = suite.smtp()
    s.helo("client.test")
    s.mail("alice@example.test")
    code, text = s.rcpt(user + "@example.test")
    if code == 250:
        code, text = s.data(b"Subject: sent\r\n\r\nhello\r\n")
    s.quit()
    has("%d %s" % (code, text.decode()), expected)
    return code


def rcpt(user):
    s = suite.smtp()
    s.helo("client.test")
    s.mail("alice@example.test")
    code = s.rcpt(user + "@example.test")[0]
    s.quit()
    return code


def options(text):
    with open(suite.env["CONFIG"], "a") as f:
        f.write(text)
    suite.mailctl("reload")


def test_append_and_copy_stop_at_the_default():
    c = suite.imap("alice")
    for _ in range(2):
        expect(c.append("INBOX", None, None, MESSAGE)[0], "OK")
    c.select()
    no(c.copy("1:2", "Drafts"), "[OVERQUOTA]")
    expect(c.copy("1", "Drafts")[0], "OK")
    no(c.append("INBOX", None, None, MESSAGE), "[OVERQUOTA]")
    expect(c.uid("MOVE", "1", "Sent")[0], "OK")  # what moves is there already
    header, size, n = sums("alice")
    expect((header, size, n), ("3C", 3 * 116, 3))
    c.store("1", "+FLAGS", "\\Deleted")
    c.expunge()
    expect(sums("alice")[2], 2)
    expect(c.append("INBOX", None, None, MESSAGE)[0], "OK")
    wait_for(lambda: quota("alice") == {"size": 3 * 116, "messages": 3, "size_limit": 0, "messages_limit": 3}, 10, "the files to go")
    expect(c.delete("Sent")[0], "OK")
    expect(c.append("INBOX", None, None, MESSAGE)[0], "OK")  # counted anew
    no(c.append("INBOX", None, None, MESSAGE), "[OVERQUOTA]")
    c.logout()


def test_a_limit_of_ones_own_takes_effect_at_the_next_login():
    out = suite.mailctl("user", "quota", "alice@example.test", "--size", "1k", "--messages", "none").stdout
    has(out, "size 1024 messages unlimited")
    c = suite.imap("alice")
    for _ in range(5):
        expect(c.append("Drafts", None, None, MESSAGE)[0], "OK")
    no(c.append("Drafts", None, None, MESSAGE), "[OVERQUOTA]")
    expect(sums("alice")[0], "1024S")
    c.logout()
    expect(suite.mailctl("user", "quota", "alice@example.test", "--size", "x", check=False).returncode, 64)


def test_delivery_waits_and_rcpt_says_so():
    suite.mailctl("user", "quota", "bob@example.test", "--messages", "2")
    send("bob")
    send("bob")
    suite.wait_mail(2)
    send("bob")  # found out when it is delivered
    suite.wait_log("4.2.2", "bob@example.test")
    wait_for(lambda: send("bob", "") == 452, 20, "452 at RCPT")
    expect(len(suite.mailbox_files()), 2)
    expect(sums("bob")[2], 2)
    suite.mailctl("user", "quota", "bob@example.test", "--messages", "10")
    wait_for(lambda: rcpt("bob") == 250, 10, "250 at RCPT")
    suite.mailctl("queue", "flush")
    suite.wait_mail(3)
    wait_for(lambda: sums("bob") == ("10C", quota("bob")["size"], 3), 10, "sums that agree with the files")


def test_a_wrong_sum_refuses_nothing():
    wait_for(lambda: sums("bob")[2] == 3, 10, "the last delivery")
    with open(suite.maildir() + "/maildirsize", "a") as f:
        f.write("1000 1000\n")
    c = suite.imap("bob")
    expect(c.append("INBOX", None, None, MESSAGE)[0], "OK")
    expect(sums("bob")[2], 4)
    c.logout()


def test_for_good_where_configured():
    suite.mailctl("user", "quota", "carol@example.test", "--size", "500")
    options("mailbox_full_reject = yes\n")
    send("carol")
    suite.wait_mail(1, "carol")
    send("carol")
    suite.wait_log("5.2.2", "carol@example.test")
    wait_for(lambda: send("carol", "") == 552, 20, "552 at RCPT")
    options("mailbox_size_limit = 10M\n")
    expect(rcpt("carol"), 552, "her own limit is the same")
    suite.mailctl("user", "quota", "carol@example.test", "--size", "default")
    wait_for(lambda: rcpt("carol") == 250, 10, "250 at RCPT")


def test_an_administrator_sets_quotas_over_imap():
    b, c = suite.imap("bob"), suite.imap("carol")
    has(b.capability()[1][0].decode(), " QUOTASET ")
    assert "QUOTASET" not in c.capability()[1][0].decode()
    no(c.setquota("user", "(STORAGE 100)"), "[NOPERM]")
    no(c.getquota("user/bob@example.test"), "[NONEXISTENT]")

    def is_now(root, user, row):
        """What IMAP says is what mailctl says."""
        q = quota(user)
        used = {"STORAGE": (q["size"] + 1023) // 1024, "MESSAGE": q["messages"]}
        limit = {"STORAGE": q["size_limit"] // 1024, "MESSAGE": q["messages_limit"]}
        words = " ".join("%s %d %d" % (r, used[r], limit[r]) for r in used if limit[r])
        expect(row, [("%s (%s)" % (root, words)).encode()])

    # while carol is at work: what she may keep is another thing at once, for her and for those who write to her
    n = quota("carol")["messages"]
    typ, data = b.setquota("user/carol", "(STORAGE 512 MESSAGE %d)" % (n + 1))
    expect(typ, "OK")
    is_now("user/carol", "carol", data)
    expect(quota("carol")["size_limit"], 512 << 10)
    has(suite.mailctl("user", "quota", "carol@example.test").stdout, "size 524288 messages %d" % (n + 1))
    expect(c.append("Drafts", None, None, MESSAGE)[0], "OK")
    no(c.append("Drafts", None, None, MESSAGE), "[OVERQUOTA]")
    is_now("user/carol@example.test", "carol", b.getquota("user/carol@example.test")[1])
    is_now("user", "carol", c.getquota("user")[1])
    # a user whom no process serves
    wait_for(lambda: "child alice@example.test" in suite.log().partition("started")[2], 30, "the end of alice's mailboxd")
    typ, data = b.setquota("user/alice@example.test", "(MESSAGE 100)")
    expect(typ, "OK")
    is_now("user/alice@example.test", "alice", data)
    # mailctl's changes reach who is logged in
    suite.mailctl("user", "quota", "carol@example.test", "--messages", "1000")
    wait_for(lambda: c.append("Drafts", None, None, MESSAGE)[0] == "OK", 20, "the new limit")
    expect(b.setquota("user/carol", "()"), ("OK", [None]))
    expect(quota("carol")["messages_limit"], 0)
    no(b.setquota("user/nobody", "(MESSAGE 1)"), "[CANNOT]")
    is_now("user", "bob", b.setquota("user", "(STORAGE 2000 MESSAGE 2000)")[1])
    for s in (b, c):
        s.logout()


def kept(*args):
    out = suite.mailctl("mailbox", "expunged", "list", "carol@example.test", *args, "--json").stdout
    return [json.loads(line) for line in out.splitlines()]


def test_expunged_mail_comes_back():
    suite.mailctl("user", "quota", "carol@example.test", "--size", "none", "--messages", "none")
    c = suite.imap("carol")
    c.create("Projects.Old")
    for n in range(4):
        c.append("Projects.Old", "\\Flagged $Work" if n == 1 else None, None, b"From: =?utf-8?q?J=C3=B6rg?= <j@x.test>\r\nSubject: s%d\r\n\r\nbody %d\r\n" % (n, n))
    c.select("Projects.Old")
    expect(c.uid("MOVE", "4", "Sent")[0], "OK")
    c.store("1:2", "+FLAGS", "\\Deleted")
    c.expunge()
    wait_for(lambda: len(kept()) == 2, 20, "two expunged messages")
    rows = kept("Projects.Old")
    expect([(r["folder"], r["uid"], r["subject"], r["from"]) for r in rows],
           [("Projects.Old", 1, "s0", "Jörg <j@x.test>"), ("Projects.Old", 2, "s1", "Jörg <j@x.test>")])
    assert all(time.time() - 3600 < r["expunged"] <= time.time() for r in rows), rows
    has(suite.mailctl("mailbox", "expunged", "restore", "carol@example.test", "--uids", "2", "--dry-run").stdout, "1 message and 0 folders would be restored")
    expect(len(kept()), 2)
    suite.mailctl("mailbox", "expunged", "restore", "carol@example.test", "Projects.Old", "--uids", "2")
    wait_for(lambda: c.noop() and c.uid("SEARCH", "SUBJECT", "s1")[1][0], 20, "the message, with a new UID")
    uid = c.uid("SEARCH", "SUBJECT", "s1")[1][0]
    expect(uid, b"5")
    row = c.uid("FETCH", uid, "(FLAGS BODY.PEEK[TEXT])")[1]
    has(row[0][0].decode() + row[1].decode(), "\\Flagged")
    has(row[0][0].decode() + row[1].decode(), "$Work")
    expect(row[0][1], b"body 1\r\n")
    c.close()
    uidvalidity = c.status("Projects.Old", "(UIDVALIDITY)")[1]
    expect(c.delete("Projects.Old")[0], "OK")
    expect([(r["folder"], r["whole"]) for r in kept()], [("Projects.Old", True)])
    suite.mailctl("mailbox", "expunged", "restore", "carol@example.test", "Projects.Old")
    expect(c.status("Projects.Old", "(UIDVALIDITY)")[1], uidvalidity)
    expect(c.select("Projects.Old")[1], [b"2"])
    expect([r["uid"] for r in kept()], [1])
    suite.mailctl("mailbox", "expunged", "purge", "carol@example.test", "--since", "1d")
    expect(kept(), [])
    c.logout()


def test_what_was_kept_long_enough_goes():
    with open(suite.env["CONFIG"], "a") as f:
        f.write("expunged_keep_time = 0\n")
    c = suite.imap("carol")
    c.select("Projects.Old")
    c.store("1", "+FLAGS", "\\Deleted")
    c.expunge()
    wait_for(lambda: len(kept()) == 1, 20, "an expunged message")
    time.sleep(4) # the look soon after its start is over, the next one would be in an hour
    suite.mailctl("reload")
    wait_for(lambda: not kept(), 60, "the end of what was kept")
    c.logout()


main(globals())
