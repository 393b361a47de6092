#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""An account of Debian's Dovecot (Maildir) is served in place and imported:
UIDVALIDITY, UIDs, flags, keywords, dates, subscriptions, POP3 UIDLs stay.
Exports carry the same, into another of our mailboxes and back to Dovecot.

Dovecot is unpacked, not installed (tests/bench/peers.py)."""
import atexit
import imaplib
import json
import os
import poplib
import re
import shutil
import subprocess
import sys
import time

import pillar
from pillar import Instance, expect, has, main, wait_for

if os.geteuid() != 0:
    print("1..0 # SKIP Dovecot runs in a mount namespace, which takes root")
    sys.exit(0)
sys.path.insert(0, os.path.join(pillar.HERE, "../bench"))
import peers  # noqa: E402

suite = Instance(extra="mailbox_idle_time = 1s\nmailbox_autocreate =\n", users=("alice", "bob", "carol", "dave", "erin"))
NAMES = ("INBOX", "Work", "Work.2026", "Entw&APw-rfe")


class Dovecot(peers.Server):
    name = "dovecot"
    packages, libraries = ["dovecot-core", "dovecot-imapd", "dovecot-pop3d", "dovecot-lmtpd"], ["libtirpc3", "libsodium23", "libunwind8"]
    users = {"dovecot": 64131, "dovenull": 64132, "vmail": 64133}

    def __init__(self):
        super().__init__("mailbox")
        atexit.register(self.stop)

    def start(self):
        self.prepare()
        self.port, self.pop = self.base + 143, self.base + 110
        os.chown(self.dir + "/mail", self.users["vmail"], self.users["vmail"])
        os.makedirs(self.dir + "/run")
        self.etc("dovecot/users", "boxed:{{PLAIN}}secret:{u}:{u}::{d}/mail/boxed::userdb_mail=mdbox:{d}/mail/boxed/mdbox\n".format(
            d=self.dir, u=self.users["vmail"]))
        self.etc("dovecot/dovecot.conf", """protocols = imap pop3
listen = 127.0.0.1
base_dir = {d}/run
state_dir = {d}/run
log_path = {d}/log
ssl = no
disable_plaintext_auth = no
mail_location = maildir:{d}/mail/%n
first_valid_uid = 1
passdb {{
  driver = passwd-file
  args = /etc/dovecot/users
}}
userdb {{
  driver = passwd-file
  args = /etc/dovecot/users
}}
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid={u} gid={u} home={d}/mail/%n allow_all_users=yes
}}
service imap-login {{
  inet_listener imap {{
    port = {i}
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {p}
  }}
}}
service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
""".format(d=self.dir, u=self.users["vmail"], i=self.port, p=self.pop))
        self.process = self.run(["/usr/sbin/dovecot", "-F", "-c", "/etc/dovecot/dovecot.conf"])
        self.wait()

    def imap(self, user):
        c = imaplib.IMAP4("127.0.0.1", self.port, timeout=30)
        c.login(user, "secret")
        return c

    def pop3(self, user):
        c = poplib.POP3("127.0.0.1", self.pop, timeout=30)
        c.user(user)
        c.pass_("secret")
        return c


if why := peers.impossible(Dovecot):
    print("1..0 # SKIP " + why)
    sys.exit(0)
dovecot = Dovecot()


def folder(c, name):
    """All that a client keeps of a folder."""
    expect(c.select('"%s"' % name)[0], "OK")
    facts = {"uidvalidity": c.response("UIDVALIDITY")[1][0], "uidnext": c.response("UIDNEXT")[1][0], "messages": {}}
    for part in c.fetch("1:*", "(UID FLAGS INTERNALDATE BODY.PEEK[])")[1]:
        if not isinstance(part, tuple):
            continue
        line = part[0].decode()
        flags = set(re.search(r"FLAGS \(([^)]*)\)", line).group(1).split()) - {"\\Recent"}
        when = imaplib.Internaldate2tuple(part[0])
        facts["messages"][int(re.search(r"UID (\d+)", line).group(1))] = (flags, time.mktime(when), part[1])
    c.unselect()
    return facts


def account(c, divider="."):
    facts = {name: folder(c, name.replace(".", divider)) for name in NAMES}
    facts["subscribed"] = sorted(line.rsplit(b" ", 1)[1].strip(b'"').replace(divider.encode(), b".") for line in c.lsub()[1] if line)
    c.logout()
    return facts


def uidls(c):
    rows = c.uidl()[1]
    c.quit()
    return rows


def fill(user, divider="."):
    c = dovecot.imap(user)
    names = [name.replace(".", divider) for name in NAMES]
    for name in names[1:]:
        c.create('"%s"' % name)
    c.subscribe('"%s"' % names[2])
    for name in names:
        for n in range(7):
            text = "From: a@x.test\r\nSubject: %s %d\r\n\r\nGr\u00fc\u00dfe %d\r\n" % (name, n, n)
            flags = ("\\Seen", "\\Flagged $Forwarded", "\\Answered Urgent", "", "\\Draft Work Urgent", "\\Deleted", "")[n]
            expect(c.append('"%s"' % name, "(%s)" % flags, imaplib.Time2Internaldate(1500000000 + n * 86400), text.encode())[0], "OK")
        c.select('"%s"' % name)
        c.uid("STORE", "2,3", "+FLAGS", "(\\Deleted)")
        c.uid("EXPUNGE", "2,3")  # gaps, and a highest UID that is gone:
        c.append('"%s"' % name, None, None, b"Subject: last\r\n\r\nlast\r\n")
        c.noop()
        c.uid("STORE", "8", "+FLAGS", "(\\Deleted)")
        c.uid("EXPUNGE", "8")
        c.unselect()
    return account(c, divider)


fill_before = fill("alice")
uidls_before = uidls(dovecot.pop3("alice"))


def give(path, like):
    st = os.stat(like)
    subprocess.run(["chown", "-R", "%d:%d" % (st.st_uid, st.st_gid), path], check=True)


def no_session(user):
    """Nobody has the mailbox open: a move to nowhere is refused for another reason."""
    def idle():
        r = suite.mailctl("mailbox", "repair", user + "@example.test", "INBOX", check=False)
        return r.returncode == 0
    wait_for(idle, 30, "the end of %s's mailboxd" % user)


def same(got, wanted):
    for name in NAMES:
        expect(got[name]["uidvalidity"], wanted[name]["uidvalidity"], name)
        expect(got[name]["uidnext"], wanted[name]["uidnext"], name)
        expect(sorted(got[name]["messages"]), sorted(wanted[name]["messages"]), name)
        for uid, message in wanted[name]["messages"].items():
            expect(got[name]["messages"][uid], message, "%s UID %d" % (name, uid))
    expect(got["subscribed"], wanted["subscribed"])


def test_a_maildir_of_dovecot_is_served_in_place():
    expect(sorted(fill_before["INBOX"]["messages"]), [1, 4, 5, 6, 7])
    os.makedirs(os.path.dirname(suite.maildir("alice")), exist_ok=True)
    shutil.copytree(dovecot.dir + "/mail/alice", suite.maildir("alice"))
    give(os.path.dirname(suite.maildir("alice")), suite.dir + "/mail")
    same(account(suite.imap("alice")), fill_before)
    expect(uidls(suite.pop3("alice")), uidls_before)
    # A client that kept Dovecot's HIGHESTMODSEQ is told of every flag, not of none.
    c = suite.imap("alice")
    c.select()
    modseq = int(re.search(rb"HIGHESTMODSEQ (\d+)", c.status("INBOX", "(HIGHESTMODSEQ)")[1][0]).group(1))
    expect(modseq > 1000000, True, "HIGHESTMODSEQ %d" % modseq)
    expect(len(c.uid("FETCH", "1:*", "(FLAGS) (CHANGEDSINCE 5000)")[1]), 5)
    c.logout()


def again(source, *lines):
    told = suite.mailctl("mailbox", "import", "bob@example.test", source).stdout
    for line in lines:
        has(told, line)


def test_an_import_brings_the_same():
    source = suite.dir + "/from-dovecot"
    shutil.copytree(dovecot.dir + "/mail/alice", source)
    give(source, suite.dir + "/mail")
    rows = [json.loads(line) for line in suite.mailctl("mailbox", "import", "bob@example.test", source, "--dry-run", "--json").stdout.splitlines()]
    expect([(r["folder"], r["action"], r["messages"]) for r in rows][0], ("INBOX", "would be imported", 5))
    c = suite.imap("bob")
    expect(c.select()[1], [b"0"])
    expect(suite.mailctl("mailbox", "import", "bob@example.test", source, check=False).returncode, 1)  # in use
    c.logout()
    no_session("bob")
    has(suite.mailctl("mailbox", "import", "bob@example.test", source).stdout, "4 folders, 20 messages")
    shutil.rmtree(suite.maildir("bob") + "/.Work")  # as if it had been interrupted before that
    again(source, "INBOX: is there already", "Work: imported, 5 messages", "Work.2026: is there already", "Entwürfe: is there already")
    same(account(suite.imap("bob")), fill_before)
    expect(uidls(suite.pop3("bob")), uidls_before)
    no_session("bob")
    again(source, "INBOX: is there already", "Work: is there already")
    # of what has no UIDs nobody knows
    for directory in ("", "/.Work", "/.Work.2026", "/.Entw&APw-rfe"):
        os.unlink(source + directory + "/dovecot-uidlist")
    r = suite.mailctl("mailbox", "import", "bob@example.test", source, check=False)
    has(r.stderr, "there are messages in it already")


def test_an_export_carries_everything():
    c = suite.imap("alice")
    c.select()
    c.uid("STORE", "4", "+FLAGS", "(Pillar)")
    c.uid("STORE", "5", "-FLAGS", "(Urgent)")
    modseq = c.status("INBOX", "(HIGHESTMODSEQ)")[1]
    c.unselect()
    before = account(c)
    out = suite.dir + "/export"
    has(suite.mailctl("mailbox", "export", "alice@example.test", "--to", out).stdout, "4 folders, 20 messages")
    has(suite.mailctl("mailbox", "export", "alice@example.test", "--to", out, check=False).stderr, "not empty")
    suite.imap("carol").logout()  # her mailbox is there, and empty
    no_session("carol")
    suite.mailctl("mailbox", "import", "carol@example.test", out)
    c = suite.imap("carol")
    expect(c.status("INBOX", "(HIGHESTMODSEQ)")[1], modseq)
    same(account(c), before)
    expect(uidls(suite.pop3("carol")), uidls_before)
    no_session("carol")
    has(suite.mailctl("mailbox", "import", "carol@example.test", out).stdout, "INBOX: is there already")
    # and Dovecot serves it as its own
    shutil.copytree(out, dovecot.dir + "/mail/back")
    give(dovecot.dir + "/mail/back", dovecot.dir + "/mail")
    same(account(dovecot.imap("back")), before)


def test_an_mdbox_account_comes_by_imap():
    before = fill("boxed", "/")  # mdbox divides so by itself
    uidls_of_box = uidls(dovecot.pop3("boxed"))
    expect(os.path.isdir(dovecot.dir + "/mail/boxed/mdbox/storage"), True)
    args = ("mailbox", "import", "erin@example.test", "--imap", "127.0.0.1:%d" % dovecot.port, "--login", "boxed")
    has(suite.mailctl(*args, "--dry-run", input="secret\n").stdout, "4 folders, 20 messages")
    expect(os.path.exists(suite.maildir("erin")), False)
    has(suite.mailctl(*args, input="secret\n").stdout, "4 folders, 20 messages")
    same(account(suite.imap("erin")), before)
    expect(uidls(suite.pop3("erin")), uidls_of_box)
    no_session("erin")
    has(suite.mailctl(*args, input="secret\n").stdout, "INBOX: is there already")
    has(suite.mailctl("mailbox", "import", "erin@example.test", "--imap", "192.0.2.1", "--login", "boxed", input="secret\n", check=False).stderr, "tunnel")


def test_a_folder_and_an_account_move():
    before = account(suite.imap("carol"))
    no_session("carol")
    has(suite.mailctl("mailbox", "move", "carol@example.test", "Work", "Old.Work").stdout, "Work is now Old.Work")
    has(suite.mailctl("mailbox", "move", "carol@example.test", "Old", "Older", "--dry-run").stdout, "Old would become Older")  # the parent of one alone
    for wrong in (("Old", "INBOX"), ("Old", "Old.Work.Old"), ("Older", "Oldest"), ("INBOX", "Old.Work")):
        dry, real = (suite.mailctl("mailbox", "move", "carol@example.test", *wrong, *how, check=False) for how in (("--dry-run",), ()))
        expect((dry.returncode, dry.stderr), (1, real.stderr), wrong)
    c = suite.imap("carol")
    expect(folder(c, "Old.Work.2026"), before["Work.2026"])
    c.logout()
    no_session("carol")
    suite.mailctl("mailbox", "move", "carol@example.test", "Old.Work", "Work")
    expect(suite.mailctl("mailbox", "move", "carol@example.test", "alice@example.test", check=False).returncode, 1)
    has(suite.mailctl("mailbox", "move", "carol@example.test", "dave@example.test", "--dry-run").stdout, "would become")
    has(suite.mailctl("mailbox", "move", "carol@example.test", "dave@example.test").stdout, "is now")
    same(account(suite.imap("dave")), before)
    # Deliveries go where the name leads now.
    for user, count in (("dave", 6), ("carol", 1)):
        s = suite.smtp()
        s.sendmail("alice@example.test", [user + "@example.test"], "Subject: to %s\r\n\r\nhello\r\n" % user)
        s.quit()
        suite.wait_mail(count, user)
    no_session("dave")
    suite.wait_mail(6, "dave")
    has(suite.mailctl("mailbox", "move", "dave@example.test", "carol@example.test", check=False).stderr, "carol@example.test has mail")


main(globals())
