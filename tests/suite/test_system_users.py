#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""System users who own their mailboxes (mailctl user add --owner): below a directory laid out like /home, delivered to
and read by processes of their own uid; who cannot own one, and which directories cannot be one.  Needs root."""
import json
import os
import pwd
import stat
import subprocess
import time

from homes import ANN, BEN, HOMES, WORK, Homes, files, make_home
from pillar import MAILCTL, Instance, expect, family, has, main, wait_for

NUMBERS = 64001, 64002  # nobody's
suite = Homes(extra="mailbox_idle_time = 1h\n")
add, arrive = suite.add, suite.arrive
add("alice", "--owner", ANN.pw_name, "--mailbox", "ann/Maildir")
add("bob", "--owner", BEN.pw_name, "--mailbox", HOMES + "/ben/Maildir/")


def refused(words, name, *options):
    """Says so, and adds nobody."""
    r = add(name, *options, check=False)
    expect(r.returncode, 1, r.stdout + r.stderr)
    for word in (words,) if isinstance(words, str) else words:
        has(r.stderr, word)
    expect(suite.mailctl("user", "list", name + "@example.test", check=False).returncode, 67, "there is such a user")


def send(to, subject):
    with suite.smtp() as s:
        s.sendmail("x@else.test", [to + "@example.test"], "Subject: %s\r\n\r\nx\r\n" % subject)


def owner(path):
    st = os.lstat(path)
    return st.st_uid, st.st_gid, oct(stat.S_IMODE(st.st_mode))


def identity(pid):
    """(uids, gids, groups): each of the former real, effective, saved and of the file system."""
    with open("/proc/%d/status" % pid) as f:
        st = dict(line.strip().split(":", 1) for line in f)
    return {int(n) for n in st["Uid"].split()}, {int(n) for n in st["Gid"].split()}, st["Groups"].split()


def deliverds():
    """The owners (uid:gid) whose delivery processes are there: {owner: pid}."""
    found = {}
    for name, pid in family(suite.maild()):
        if name == "deliverd":
            with open("/proc/%d/cmdline" % pid) as f:
                found[f.read().split("\0")[1]] = pid
    return found


def row(name):
    return json.loads(suite.mailctl("user", "list", name + "@example.test", "--json").stdout)


# ---- mailboxes of their own ----

def test_a_base_of_roots_stays_as_it_was():
    expect(owner(HOMES), (0, 0, "0o755"))


def test_the_mailbox_is_made_for_its_owner_alone():
    expect(owner(HOMES + "/ann/Maildir"), (ANN.pw_uid, ANN.pw_gid, "0o700"))
    expect(owner(HOMES + "/ben/Maildir"), (BEN.pw_uid, BEN.pw_gid, "0o700"))
    expect(owner(HOMES + "/ann"), (ANN.pw_uid, ANN.pw_gid, "0o700"), "what was there")
    expect({d: owner(HOMES + "/ann/Maildir/" + d) for d in os.listdir(HOMES + "/ann/Maildir")}, {d: (ANN.pw_uid, ANN.pw_gid, "0o700") for d in ("cur", "new", "tmp")})
    suite.mailctl("mailbox", "check", "alice@example.test")


def test_what_is_missing_on_the_way_is_made_like_what_is_above():
    add("deep", "--owner", ANN.pw_name, "--mailbox", "ann/mail/deep/Maildir")
    expect(owner(HOMES + "/ann/mail"), (ANN.pw_uid, ANN.pw_gid, "0o700"))
    expect(owner(HOMES + "/ann/mail/deep"), (ANN.pw_uid, ANN.pw_gid, "0o700"))
    add("far", "--owner", ANN.pw_name)
    expect(row("far")["home"], "example.test/far")
    expect(owner(HOMES + "/example.test"), (0, 0, "0o755"))
    expect(owner(HOMES + "/example.test/far"), (ANN.pw_uid, ANN.pw_gid, "0o700"))


def test_mail_is_delivered_by_a_process_of_the_owner():
    for name, maildir, pw in (("alice", "ann/Maildir", ANN), ("bob", "ben/Maildir", BEN)):
        send(name, "to " + name)
        path = arrive(maildir, "to " + name)
        expect(owner(path), (pw.pw_uid, pw.pw_gid, "0o600"))
        expect(owner(os.path.dirname(path)), (pw.pw_uid, pw.pw_gid, "0o700"))
        pid = deliverds()["%d:%d" % (pw.pw_uid, pw.pw_gid)]
        expect(identity(pid), ({pw.pw_uid}, {pw.pw_gid}, []))
    expect(len(deliverds()), 2)


def test_it_is_read_by_a_process_of_the_owner():
    for name, pw in (("alice", ANN), ("bob", BEN)):
        c = suite.imap(name)
        expect(c.select("INBOX")[0], "OK")
        has(c.fetch("1", "(BODY.PEEK[])")[1][0][1].decode(), "Subject: to " + name)
        expect(c.append("INBOX", None, None, b"Subject: kept by %s\r\n\r\nx\r\n" % name.encode())[0], "OK")
        expect(identity(suite.mailboxd(name)), ({pw.pw_uid}, {pw.pw_gid}, []))
        c.logout()
    p = suite.pop3("alice")
    expect(p.stat()[0], 2)
    p.quit()
    for top, _, names in os.walk(HOMES + "/ann/Maildir"):
        for name in names:
            expect(owner(os.path.join(top, name))[:2], (ANN.pw_uid, ANN.pw_gid), name)


def test_an_owner_may_be_named_by_numbers():
    uid, gid = NUMBERS
    make_home("nobody", uid, gid)
    add("number", "--owner", "%d:%d" % NUMBERS, "--mailbox", "nobody/mail")
    send("number", "by number")
    expect(owner(arrive("nobody/mail", "by number")), (uid, gid, "0o600"))
    expect(row("number")["owner"], "%d:%d" % NUMBERS)
    has(suite.mailctl("user", "list", "number@example.test").stdout, "  nobody/mail  owner %d:%d\n" % NUMBERS)


def test_users_without_an_owner_are_beside_them():
    mail = pwd.getpwnam("pp-mail")
    suite.user_add("common")
    expect(owner(HOMES + "/example.test/common"), (mail.pw_uid, mail.pw_gid, "0o700"))
    send("common", "as ever")
    expect(owner(arrive("example.test/common", "as ever")), (mail.pw_uid, mail.pw_gid, "0o600"))
    c = suite.imap("common")
    expect(c.select("INBOX")[1], [b"1"])
    expect(identity(suite.mailboxd("common")), ({mail.pw_uid}, {mail.pw_gid}, []))
    c.logout()


# ---- the users ----

def test_list_shows_the_owner():
    expect({k: v for k, v in row("alice").items() if k in ("home", "uid", "gid", "owner")},
           {"home": "ann/Maildir", "uid": ANN.pw_uid, "gid": ANN.pw_gid, "owner": ANN.pw_name})
    expect(row("bob")["home"], "ben/Maildir")
    has(suite.mailctl("user", "list", "alice@example.test").stdout, "  ann/Maildir  owner %s\n" % ANN.pw_name)
    suite.user_add("plain")
    expect((row("plain")["uid"], row("plain")["owner"]), (0, None))
    assert suite.mailctl("user", "list", "plain@example.test").stdout.endswith("  example.test/plain\n")


def test_a_new_password_and_a_quota_keep_owner_and_mailbox():
    before = row("alice")
    suite.mailctl("user", "passwd", "alice@example.test", "--password-stdin", input="another\n")
    suite.mailctl("user", "quota", "alice@example.test", "--size", "1G")
    expect(row("alice"), {**before, "quota": 1 << 30})
    suite.mailctl("user", "passwd", "alice@example.test", "--password-stdin", input=suite.password("alice") + "\n")
    suite.imap("alice").logout()


def test_who_is_deleted_and_added_again_has_his_mail():
    had = files("ben/Maildir")
    assert had
    suite.mailctl("user", "delete", "bob@example.test")
    add("bob", "--owner", BEN.pw_name, "--mailbox", "ben/Maildir")
    expect(len(files("ben/Maildir")), len(had))
    c = suite.imap("bob")
    expect(c.select("INBOX")[1], [str(len(had)).encode()])
    c.logout()


def test_another_owner_has_another_process_at_the_next_login():
    for pw, maildir in ((ANN, "ann/moves"), (BEN, "ben/moves")):
        add("mover", "--owner", pw.pw_name, "--mailbox", maildir)
        before = suite.mailboxd("mover")
        c = suite.imap("mover")
        expect(c.append("INBOX", None, None, b"Subject: moves\r\n\r\nx\r\n")[0], "OK")
        pid = suite.mailboxd("mover")
        assert pid != before, "the process of the owner before"
        expect(identity(pid), ({pw.pw_uid}, {pw.pw_gid}, []))
        expect(owner(files(maildir)[0])[0], pw.pw_uid)
        suite.mailctl("user", "delete", "mover@example.test")  # the session goes on


# ---- who cannot own one ----

def test_owners_that_are_refused():
    refused("there is no user no-such-user", "carol", "--owner", "no-such-user")
    refused("no mailbox may belong to root", "carol", "--owner", "root")
    refused("no mailbox may belong to root", "carol", "--owner", "0:64000")
    refused(("whose group is root's", "gid 0"), "carol", "--owner", "64000:0")
    refused("has the uid or gid of pp-queued", "carol", "--owner", "pp-queued")
    refused("has the uid or gid of pp-keyd", "carol", "--owner", "64000:%d" % pwd.getpwnam("pp-keyd").pw_gid)
    refused("users without --owner", "carol", "--owner", "pp-mail")
    refused("there is no user 4294967295:1", "carol", "--owner", "4294967295:1")


def test_no_owner_where_all_have_one_uid():
    r = subprocess.run([suite.for_everybody(MAILCTL), "-c", suite.env["CONFIG"], "user", "add", "carol@example.test", "--owner", ANN.pw_name, "--password-stdin"],
                       input="x\n", capture_output=True, text=True, user=NUMBERS[0], group=NUMBERS[1], extra_groups=[])
    expect(r.returncode, 1)
    has(r.stderr, "--owner is for root")


# ---- which directories cannot be one ----

def test_directories_outside_of_the_base_are_refused():
    for path in ("../ann", "ann/../../etc", "/etc/ann", HOMES, HOMES + "/", HOMES + "-other/ann", ".", "", "/".join("abcdefghijklmnopq")):
        refused("below virtual_mailbox_base", "carol", "--owner", ANN.pw_name, "--mailbox", path)
        refused("below virtual_mailbox_base", "carol", "--mailbox", path)


def test_a_directory_that_another_user_has_is_refused():
    refused("ann/Maildir is the mailbox of alice@example.test", "carol", "--owner", ANN.pw_name, "--mailbox", "ann/Maildir")
    refused("ann/Maildir is the mailbox of alice@example.test", "carol", "--owner", ANN.pw_name, "--mailbox", "ann//Maildir/.Sent")
    r = add("alice", "--owner", ANN.pw_name, "--mailbox", "ann/other", check=False)
    expect((r.returncode, r.stderr), (1, "mailctl: alice@example.test is there already\n"))
    assert not os.path.exists(HOMES + "/ann/other"), "it was made for nobody"


def test_a_directory_of_somebody_else_is_refused():
    os.mkdir(HOMES + "/ann/bens")
    os.chown(HOMES + "/ann/bens", BEN.pw_uid, BEN.pw_gid)
    refused(HOMES + "/ann/bens is there and belongs to uucp, not to news", "carol", "--owner", ANN.pw_name, "--mailbox", "ann/bens")
    os.rmdir(HOMES + "/ann/bens")


def test_who_is_kept_out_on_the_way_is_told_where():
    refused((HOMES + "/ben keeps news out", "belongs to uucp and has mode 0700", "chmod o+rx %s/ben" % HOMES), "carol", "--owner", ANN.pw_name, "--mailbox", "ben/mine")
    assert not os.path.exists(HOMES + "/ben/mine")
    os.mkdir(HOMES + "/ann/locked", 0o500)
    os.chown(HOMES + "/ann/locked", ANN.pw_uid, ANN.pw_gid)
    refused("chmod u+rwx %s/ann/locked" % HOMES, "carol", "--owner", ANN.pw_name, "--mailbox", "ann/locked")
    os.rmdir(HOMES + "/ann/locked")
    os.chmod(WORK, 0o700)
    try:
        refused((WORK + " keeps news out", "chmod o+x " + WORK), "carol", "--owner", ANN.pw_name, "--mailbox", "ann/x")
    finally:
        os.chmod(WORK, 0o755)


def test_links_and_files_on_the_way_are_refused():
    os.symlink("../ben/Maildir", HOMES + "/ann/link")
    os.symlink("ann", HOMES + "/alias")
    open(HOMES + "/ann/file", "w").close()
    refused(HOMES + "/ann/link is a symbolic link", "carol", "--owner", ANN.pw_name, "--mailbox", "ann/link")
    refused(HOMES + "/alias is a symbolic link", "carol", "--owner", ANN.pw_name, "--mailbox", "alias/mail")
    refused("Not a directory", "carol", "--owner", ANN.pw_name, "--mailbox", "ann/file")
    for name in ("ann/link", "alias", "ann/file"):
        os.unlink(os.path.join(HOMES, name))


def test_a_base_that_is_not_roots_has_no_owners():
    other = Instance(start=False)
    r = other.mailctl("user", "add", "carol@example.test", "--owner", ANN.pw_name, "--password-stdin", input="x\n", check=False)
    expect(r.returncode, 1)
    has(r.stderr, "%s/mail, is not there: start the suite once, or make it" % other.dir)
    other.start()
    r = other.mailctl("user", "add", "carol@example.test", "--owner", ANN.pw_name, "--password-stdin", input="x\n", check=False)
    expect(r.returncode, 1)
    has(r.stderr, "%s/mail keeps news out" % other.dir)
    has(r.stderr, "let virtual_mailbox_base be a directory of root's")
    other.stop()


# ---- what owners do in their homes ----

def test_a_link_in_place_of_the_mailbox_is_not_followed():
    home = HOMES + "/ann"
    bens, seen = files("ben/Maildir"), suite.log().count("status=deferred")
    suite.imap("alice").logout()
    os.kill(suite.mailboxd("alice"), 15)
    wait_for(lambda: not suite.mailboxd("alice"), 20, "the end of mailboxd")
    os.rename(home + "/Maildir", home + "/away")
    os.symlink(HOMES + "/ben/Maildir", home + "/Maildir")
    try:
        send("alice", "astray")
        wait_for(lambda: suite.log().count("status=deferred") > seen, 30, "the mail to be deferred")
        try:
            c = suite.imap("alice")
            answer = c.select("INBOX")[0]
        except Exception as e:
            answer = str(e)
        assert answer != "OK", "the link was followed"
        expect(files("ben/Maildir"), bens, "something was written there")
    finally:
        os.unlink(home + "/Maildir")
        os.rename(home + "/away", home + "/Maildir")
    suite.mailctl("queue", "flush", "all")
    arrive("ann/Maildir", "astray")


main(globals())
