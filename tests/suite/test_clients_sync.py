#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""isync and offlineimap both ways, with changes on both sides; Python's imaplib and poplib.

After each: every message byte by byte as it was, none twice, none lost, the same flags on both sides.
"""
import email.utils
import os
import re
import time

from clients import CA, COPY, MANY, PATIENCE, append, check_ends, compose, config, filled, folder_of, place, read, run, same, subject_of, suite, texts_of, without, write
from pillar import expect, has, main

COUNT = MANY or 200
LETTERS = {"D": "\\Draft", "F": "\\Flagged", "R": "\\Answered", "S": "\\Seen", "T": "\\Deleted"}


class Near:
    """The local side: Maildirs below a directory."""

    def __init__(self, name):
        self.dir = place(name)
        self.path = self.dir + "/near/"
        os.mkdir(self.path)

    def files(self, folder="INBOX"):
        return [os.path.join(self.path, folder, sub, f) for sub in ("cur", "new") for f in os.listdir(os.path.join(self.path, folder, sub))]

    def folder(self, folder="INBOX"):
        found = {}
        for path in self.files(folder):
            text = read(path)
            info = path.partition(":2,")[2]
            subject = subject_of(text)
            assert subject not in found, "twice: " + subject
            found[subject] = (frozenset(LETTERS[c] for c in info), without(text, COPY))
        return found

    def set_flags(self, subjects, letters):
        for path in self.files():
            if subject_of(read(path)) in subjects:
                name = os.path.basename(path).partition(":2,")[0]
                os.rename(path, os.path.join(self.path, "INBOX/cur", name + ":2," + letters))

    def delete(self, subjects, marked):
        if marked:
            self.set_flags(subjects, "ST")
            return
        for path in self.files():
            if subject_of(read(path)) in subjects:
                os.unlink(path)

    def add(self, folder, texts):
        for sub in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(self.path, folder, sub), exist_ok=True)
        for number, text in enumerate(texts):
            write(os.path.join(self.path, folder, "new", "%d.%d_%d.client" % (time.time(), os.getpid(), number)), text.replace(b"\r\n", b"\n"))

    def mbsync(self, user, tls, port):
        rc = config(self.dir + "/mbsyncrc", """IMAPStore far
Host localhost
Port %d
User %s@example.test
Pass "%s"
SSLType %s
SystemCertificates no
CertificateFile %s
Timeout %d

MaildirStore near
Path %s
Inbox %sINBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
Sync All
SyncState *
""" % (suite.port(port), user, suite.password(user), tls, CA, PATIENCE, self.path, self.path))
        return run("mbsync", "-V", "-c", rc, "all").decode()

    def agree(self, user, folders=("INBOX",)):
        for folder in folders:
            far = {s: (flags, without(text, COPY)) for s, (flags, text) in folder_of(user, folder).items()}
            near = self.folder(folder)
            same({s: t for s, (_, t) in near.items()}, {s: t for s, (_, t) in far.items()}, folder)
            expect({s: f for s, (f, _) in near.items()}, {s: f for s, (f, _) in far.items()}, "flags of " + folder)
        return near

    def offlineimap(self, user, tls, port):
        rc = config(self.dir + "/offlineimaprc", """[general]
accounts = a
metadata = %s/meta
[Account a]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = %s
[Repository far]
type = IMAP
remotehost = localhost
remoteport = %d
remoteuser = %s@example.test
remotepass = %s
ssl = %s
starttls = %s
sslcacertfile = %s
nametrans = lambda name: name
""" % (self.dir, self.path, suite.port(port), user, suite.password(user), "yes" if tls == "IMAPS" else "no", "no" if tls == "IMAPS" else "yes", CA))
        return run("offlineimap", "-o", "-u", "basic", "-c", rc).decode()


def walk_sync(user, count, sync, marked):
    """sync(near, user, tls, port) runs the client; marked: it takes a mark for a deletion."""
    unit = count // 20  # the changes are so many of a kind
    wanted = filled(user, count)
    near = Near(user)
    sync(near, user, "IMAPS", "IMAPS")
    same({s: t for s, (_, t) in near.folder().items()}, wanted, "the first time")
    near.agree(user)

    def some(begin, end):
        return {"%s %d" % (user, i) for i in range(begin * unit, end * unit)}
    near.set_flags(some(0, 2), "S")
    near.set_flags(some(2, 4), "FRS")
    near.delete(some(4, 5), marked)
    local = [compose("near %d" % i, i) for i in range(unit)]
    near.add("INBOX", local)
    near.add("Work", [compose("work %d" % i, i) for i in range(5)])
    imap = suite.imap(user)
    imap.select("INBOX")
    imap.store("%d:%d" % (10 * unit + 1, 12 * unit), "+FLAGS.SILENT", "(\\Seen \\Draft)")
    imap.store("%d:%d" % (unit + 1, 3 * unit), "+FLAGS.SILENT", "(\\Draft)")
    imap.store("%d:%d" % (12 * unit + 1, 13 * unit), "+FLAGS.SILENT", "(\\Deleted)")
    imap.expunge()
    imap.create("Projects")
    imap.logout()
    append(user, [compose("far %d" % i, i) for i in range(unit)], flags="(\\Flagged)")
    append(user, [compose("project %d" % i, i) for i in range(5)], folder="Projects")
    sync(near, user, "STARTTLS", "IMAP")
    near.agree(user, ("Work", "Projects", "INBOX"))
    got = near.folder()
    expect(len(got), count)
    first = ["%s %d" % (user, i) for i in range(count)]
    expect(got[first[unit]][0], {"\\Seen", "\\Draft"})
    expect(got[first[2 * unit]][0], {"\\Seen", "\\Flagged", "\\Answered", "\\Draft"})
    expect(got[first[11 * unit]][0], {"\\Seen", "\\Draft"})
    expect(got["far 3"][0], {"\\Flagged"})
    for gone in some(4, 5) | some(12, 13):
        assert gone not in got, gone
    wanted = {**{s: t for s, t in wanted.items() if s in got}, **{subject_of(t): t for t in local}}
    for subject, text in wanted.items():
        expect(got[subject][1], text, subject)
    before = sorted(near.files())
    sync(near, user, "IMAPS", "IMAPS")
    expect(sorted(near.files()), before, "a third time changes nothing")
    near.agree(user, ("Work", "Projects", "INBOX"))


def test_mbsync_both_ways():
    walk_sync("isync", MANY or 5000, Near.mbsync, True)


def test_offlineimap_both_ways():
    walk_sync("offline", COUNT, Near.offlineimap, False)


# --- Python's own


def test_imaplib():
    wanted = filled("pyimap", COUNT)
    c = suite.imap("pyimap")
    expect(c.select("INBOX"), ("OK", [b"%d" % COUNT]))
    uids = c.uid("SEARCH", "ALL")[1][0].split()
    expect(len(uids), COUNT)
    got = [c.uid("FETCH", uid, "(UID BODY.PEEK[])")[1][0][1] for uid in uids[::7]]
    expect(got, list(wanted.values())[::7], "one by one, by UID")
    half = b",".join(uids[:COUNT // 2]).decode()
    expect(c.uid("COPY", half, "Sent")[0], "OK")
    expect(c.uid("STORE", half, "+FLAGS", "(\\Deleted \\Seen)")[0], "OK")
    expect(len([n for n in c.expunge()[1] if n]), COUNT // 2, "expunged")
    expect(c.uid("SEARCH", "ALL")[1][0].split(), uids[COUNT // 2:], "the UIDs of the others")
    date = '"21-Nov-2020 10:11:12 +0200"'
    more = compose("pyimap more", 3)
    expect(c.append("INBOX", "(\\Flagged)", date, more)[0], "OK")
    expect(c.noop()[0], "OK")
    answer = c.fetch(str(COUNT - COUNT // 2 + 1), "(FLAGS INTERNALDATE RFC822.SIZE)")[1][0]
    has(answer, b"RFC822.SIZE %d" % len(more))
    has(answer, b"\\Flagged")
    date = re.search(rb'INTERNALDATE "([^"]*)"', answer).group(1).decode()
    expect(email.utils.parsedate_to_datetime(date.replace("-", " ")).timestamp(), 1605946272.0, date)
    c.logout()
    names = list(wanted)
    same(texts_of("pyimap"), {**{n: wanted[n] for n in names[COUNT // 2:]}, "pyimap more": more}, "left")
    same(texts_of("pyimap", "Sent"), {n: wanted[n] for n in names[:COUNT // 2]}, "copied")


def test_poplib():
    wanted = list(filled("pypop", COUNT).values())
    c = suite.pop3("pypop")
    expect(c.stat(), (COUNT, sum(map(len, wanted))))
    expect(c.list()[1], [b"%d %d" % (i, len(t)) for i, t in enumerate(wanted, 1)])
    ids = [line.split()[1] for line in c.uidl()[1]]
    expect(len(set(ids)), COUNT, "unique ids")
    for number, text in enumerate(wanted, 1):
        expect(b"".join(line + b"\r\n" for line in c.retr(number)[1]), text, "RETR %d" % number)
    head, _, body = wanted[3].partition(b"\r\n\r\n")
    expect(c.top(4, 2)[1], head.split(b"\r\n") + [b""] + body.split(b"\r\n")[:2])
    c.dele(1)
    c.rset()
    for number in range(1, COUNT // 2 + 1):
        c.dele(number)
    c.quit()
    c = suite.pop3("pypop")
    expect([line.split()[1] for line in c.uidl()[1]], ids[COUNT // 2:], "the ids of the others")
    got = [b"".join(line + b"\r\n" for line in c.retr(i)[1]) for i in range(1, COUNT - COUNT // 2 + 1)]
    expect(got, wanted[COUNT // 2:], "what is left")
    c.quit()


def test_zz_every_program_ended_well():
    check_ends()


main(globals())
