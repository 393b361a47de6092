#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Forward files (~/.forward): read as their owner alone, away or with a copy that stays, in circles here and through
another host; files that are nobody's business; and kill -9 of the programs that carry what is forwarded.  Needs root."""
import os
import random
import re
import signal
import subprocess
import time

from homes import ANN, BEN, CAT, HOMES, Homes, texts
from peer import Peer
from pillar import SENDMAIL, SLOW, Instance, expect, family, has, main, wait_for

MESSAGES = 60 if SLOW > 1 else 300
suite = Homes(extra="""transport_maps = inline:{ far.test=smtp:[127.0.0.21]:9025, gone.test=smtp:[127.0.0.22]:9025 }
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
""")
far = Peer(("127.0.0.21", 9025), extensions=("PIPELINING", "8BITMIME", "DSN"))
gone = Peer(("127.0.0.22", 9025), replies={"RCPT": "550 5.1.1 no such user"})
PEOPLE = {"alice": ("ann", ANN), "bob": ("ben", BEN), "carol": ("cat", CAT)}
for login, (home, who) in PEOPLE.items():
    suite.add(login, "--owner", who.pw_name, "--mailbox", home + "/Maildir")


def home(login):
    return os.path.join(HOMES, PEOPLE[login][0])


def ids(login):
    who = PEOPLE[login][1]
    return who.pw_uid, who.pw_gid


def write(login, text, name=".forward", mode=0o600):
    path = os.path.join(home(login), name)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    os.write(fd, text.encode())
    os.fchmod(fd, mode)
    os.fchown(fd, *ids(login))
    os.close(fd)
    return path


def clear():
    for login in PEOPLE:
        for path in (home(login) + "/.forward", home(login) + "/Maildir/.forward"):
            if os.path.lexists(path):
                os.rmdir(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
    del far.messages[:], gone.messages[:]


numbers = iter(range(1, 100000))


def send(to, sender="x@else.test", header="", options=()):
    """The subject that it has."""
    subject = "letter %d" % next(numbers)
    with suite.smtp() as s:
        s.sendmail(sender, [a if "@" in a else a + "@example.test" for a in ([to] if isinstance(to, str) else to)],
                   header + "Subject: %s\r\n\r\nx\r\n" % subject, rcpt_options=options)
    return subject


def has_it(login, subject):
    return [text for text in texts(PEOPLE[login][0] + "/Maildir") if "Subject: %s\n" % subject in text]


def away(subject):
    return [m for m in far.messages if b"Subject: %s\r\n" % subject.encode() in m.data]


def mailq():
    return subprocess.run([SENDMAIL, "-bp"], env=dict(os.environ, PILLARPOST_CONFIG=suite.env["CONFIG"]), capture_output=True, text=True, check=True).stdout


def settled():
    wait_for(lambda: mailq() == "Mail queue is empty\n", 60, "the queue to be empty")


def only(subject, mailboxes=(), others=0):
    """It is in these mailboxes once each, went out so often, and is nowhere else."""
    wait_for(lambda: all(has_it(login, subject) for login in mailboxes) and len(away(subject)) >= others, 30, "%s: %r, %d" % (subject, mailboxes, others))
    settled()
    expect({login: len(has_it(login, subject)) for login in PEOPLE}, {login: int(login in mailboxes) for login in PEOPLE}, subject)
    expect(len(away(subject)), others, subject)


def logged(subject, *words):
    wait_for(lambda: [line for line in suite.lines() if all(w in line for w in words)], 10, "%r in the log (%s)" % (words, subject))


# ---- what it does ----

def test_away():
    clear()
    write("alice", "carol.c@far.test\n")
    subject = send("alice")
    only(subject, others=1)
    [m] = away(subject)
    has(m.mail, "<x@else.test>")
    has(m.rcpts[0], "<carol.c@far.test>")
    assert m.data.startswith(b"Delivered-To: alice@example.test\r\n"), m.data
    logged(subject, "to=<alice@example.test>", "status=sent (forwarded to <carol.c@far.test>)")


def test_S29_away_with_a_copy_and_to_another_here():
    clear()
    write("alice", "# when I am away\n\\alice, bob\r\ncarol.c@far.test\n")
    subject = send("alice")
    only(subject, ("alice", "bob"), others=1)
    [text] = has_it("bob", subject)
    has(text, "Delivered-To: bob@example.test\nDelivered-To: alice@example.test\n")
    logged(subject, "to=<alice@example.test>", "and delivered to mailbox as")


def test_thrown_away():
    clear()
    write("bob", "/dev/null\n")
    subject = send("bob")
    logged(subject, "to=<bob@example.test>", "thrown away")
    only(subject)


def test_extensions_and_aliases_lead_to_the_same_file():
    clear()
    write("alice", "alice, carol.c@far.test\n")
    only(send("alice+shop"), ("alice",), others=1)


def test_beside_the_mailbox_before_the_one_in_it():
    clear()
    write("alice", "bob\n", "Maildir/.forward")
    only(send("alice"), ("bob",))
    write("alice", "carol\n")
    only(send("alice"), ("carol",))
    os.unlink(home("alice") + "/.forward")
    os.unlink(home("alice") + "/Maildir/.forward")
    with suite.imap("alice") as c:
        expect(c.create("forward")[0], "OK")
        only(send("alice"), ("alice",))  # the folder of that name is none
        expect(c.delete("forward")[0], "OK")


def test_root_may_have_made_it():
    clear()
    path = write("alice", "carol\n", mode=0o644)
    os.chown(path, 0, 0)
    only(send("alice"), ("carol",))


def test_a_change_counts_for_what_waits():
    clear()
    write("alice", "bob@gone.test\n")
    gone.replies["RCPT"] = "450 4.2.0 later"
    first = send("alice")
    wait_for(lambda: gone.commands, 20, "the first attempt")
    gone.replies["RCPT"] = "550 5.1.1 no such user"
    write("alice", "carol\n")
    only(send("alice"), ("carol",))
    settled()
    expect(len(has_it("alice", first)), 0)


# ---- circles ----

def test_a_circle_ends_in_the_mailbox_where_it_closes():
    clear()
    write("alice", "bob\n")
    write("bob", "alice\n")
    only(send("alice", sender="carol@example.test"), ("alice",))
    write("bob", "\\bob, alice\n")
    write("alice", "\\alice, bob\n")
    only(send("alice", sender="carol@example.test"), ("alice", "bob"))


def test_a_circle_through_another_host_is_seen():
    clear()
    write("alice", "carol.c@far.test\n")
    subject = send("alice")
    only(subject, others=1)
    back = away(subject)[0].data.decode()
    again = send("alice", sender="carol@example.test", header=back.partition("Subject:")[0])
    wait_for(lambda: [t for t in texts("cat/Maildir") if again in t and "5.4.6" in t], 30, "the report")
    expect(len(away(again)), 0)


# ---- who hears of it ----

def test_a_failure_is_told_with_the_address_it_was_sent_to():
    clear()
    write("alice", "nobody@gone.test\n")
    subject = send("alice", sender="bob@example.test")
    [report] = wait_for(lambda: [t for t in texts("ben/Maildir") if "nobody@gone.test" in t and subject in t], 30, "the report")
    report = report.replace("rfc822; ", "rfc822;")
    has(report, "Original-Recipient: rfc822;alice@example.test")
    has(report, "Final-Recipient: rfc822;nobody@gone.test")
    settled()


def test_success_is_told_once_as_expanded():
    clear()
    write("alice", "\\alice, carol.c@far.test\n")
    subject = send("alice", sender="bob@example.test", options=["NOTIFY=SUCCESS"])
    only_report = lambda: [t for t in texts("ben/Maildir") if "Action: expanded" in t and subject in t]
    wait_for(only_report, 30, "the report")
    settled()
    expect(len(only_report()), 1)
    assert not any("NOTIFY=SUCCESS" in c for c in far.commands), far.commands


# ---- files that do not count ----

def refused(login, words):
    before = suite.log()
    subject = send(login)
    only(subject, (login,))
    new = suite.log()[len(before):]
    for word in words if isinstance(words, tuple) else (words,):
        has(new, word)


def test_what_is_no_forward_file_of_his():
    clear()
    path = write("alice", "carol.c@far.test\n", mode=0o620)
    refused("alice", HOMES + "/ann/.forward is not used, and mail is kept: others may write it (chmod go-w)")
    os.chmod(path, 0o602)
    refused("alice", "others may write it")
    os.chmod(path, 0o644)
    os.chown(path, *ids("bob"))
    refused("alice", "belongs to another user")
    os.chown(path, *ids("alice"))
    os.link(path, home("alice") + "/second")
    refused("alice", "it has more than one name")
    os.unlink(home("alice") + "/second")
    os.unlink(path)
    write("alice", "carol.c@far.test\n", "elsewhere")
    os.symlink("elsewhere", path)
    refused("alice", "symbolic link")
    os.unlink(path)
    os.unlink(home("alice") + "/elsewhere")
    os.mkfifo(path)
    os.chown(path, *ids("alice"))
    refused("alice", "no regular file")
    os.unlink(path)
    write("alice", "# %s\ncarol.c@far.test\n" % ("x" * 70000))
    refused("alice", "larger than")
    write("alice", "carol.c@far.test\0\n")
    refused("alice", "is not used, and mail is kept")
    write("alice", "carol.c@far.test\n", mode=0)
    refused("alice", "its owner may not read it")
    expect(far.messages, [])


def test_what_is_another_users():
    """Links in his home to what is hers, which alice's process must not read and bob's need not."""
    clear()
    write("bob", "carol.c@far.test\n", mode=0o644)
    os.chmod(home("bob"), 0o755)
    os.symlink("../ben/.forward", home("alice") + "/.forward")
    refused("alice", ".forward")
    os.unlink(home("alice") + "/.forward")
    os.link(home("bob") + "/.forward", home("alice") + "/.forward")  # root can: the kernel keeps others from it
    refused("alice", ".forward")
    os.chmod(home("bob"), 0o700)
    expect(far.messages, [])


def test_what_cannot_be_done_leaves_a_copy():
    clear()
    write("alice", "|/usr/bin/touch /tmp/owned\n\"|/bin/sh -c 'x'\", carol.c@far.test\n:include:/etc/passwd\n/var/mail/x\nnot an address@@\n\"open\n")
    before = suite.log()
    only(send("alice"), ("alice",), others=1)
    new = suite.log()[len(before):]
    for line in (1, 2, 3, 4, 5, 6):
        assert re.search(r"mailbox forward file %s/ann/\.forward line %d: " % (HOMES, line), new), (line, new)
    assert not os.path.exists("/tmp/owned")


def test_more_addresses_than_are_allowed():
    clear()
    write("alice", "".join("n%d@far.test\n" % n for n in range(101)))
    subject = send("alice")
    wait_for(lambda: sum(len(m.rcpts) for m in away(subject)) == 100, 30, "a hundred")
    settled()
    expect(len(has_it("alice", subject)), 1)


def test_nobody_but_he_reads_it():
    """Mode 0600 in a home of mode 0700: whoever forwards is his uid."""
    clear()
    expect((os.stat(home("alice")).st_mode & 0o777, os.stat(write("alice", "bob\n")).st_mode & 0o777), (0o700, 0o600))
    only(send("alice"), ("bob",))
    for name, pid in family(suite.maild()):
        uids = [line for line in open("/proc/%d/status" % pid) if line.startswith("Uid:")][0].split()[1:]
        assert name in ("deliverd", "mailboxd") or str(ANN.pw_uid) not in uids, (name, uids)


def test_common_mailboxes_have_none():
    other = Instance()
    with other.smtp() as s:
        s.sendmail("x@else.test", ["bob@example.test"], "Subject: first\r\n\r\nx\r\n")
    other.wait_mail(1, "bob")
    owner = os.stat(other.maildir("bob"))
    for path in (other.maildir("bob") + "/.forward", os.path.dirname(other.maildir("bob")) + "/.forward"):
        with open(path, "w") as f:
            f.write("alice@example.test\n")
        os.chown(path, owner.st_uid, owner.st_gid)
        os.chmod(path, 0o600)
    with other.smtp() as s:
        s.sendmail("x@else.test", ["bob@example.test"], "Subject: second\r\n\r\nx\r\n")
    other.wait_mail(2, "bob")
    expect(other.mailbox_files("alice"), [])
    other.stop()


# ---- nothing is lost ----

def test_no_kill_loses_what_is_forwarded():
    clear()
    write("alice", "\\alice, bob, carol.c@far.test\n")
    write("bob", "carol\n")
    subjects, stop = [], time.monotonic() + 20 * SLOW
    chance = random.Random(1)
    while len(subjects) < MESSAGES:
        try:
            subjects.append(send("alice"))
        except Exception:  # refused for now
            time.sleep(0.05)
        if chance.random() < 0.08 and time.monotonic() < stop:
            who = chance.choice(("queued", "locald", "deliverd", "remoted"))
            for name, pid in family(suite.maild()):
                if name == who:
                    os.kill(pid, signal.SIGKILL)
                    break
    missing = lambda: [s for s in subjects if not (has_it("alice", s) and has_it("carol", s) and away(s))]
    wait_for(lambda: not missing(), 120, "all that were taken")
    settled()
    expect(sum(len(has_it("bob", s)) for s in subjects), 0)


def test_the_tools_know():
    clear()
    write("alice", "bob@gone.test\n")
    gone.replies["RCPT"] = "450 4.2.0 later"
    subject = send("alice")
    listed = wait_for(lambda: "bob@gone.test" in mailq() and mailq(), 20, "it in mailq")
    assert "alice@example.test" not in listed.split("bob@gone.test")[0].rsplit("\n\n", 1)[-1], listed
    has(suite.mailctl("route", "alice@example.test").stdout, "whose forward file counts")
    has(suite.mailctl("trace", "alice@example.test").stdout, "forwarded to <bob@gone.test>")
    gone.replies.pop("RCPT")
    suite.mailctl("queue", "flush", "all")
    wait_for(lambda: [m for m in gone.messages if subject.encode() in m.data], 20, "it there")
    settled()


main(globals())
