#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""SORT by texts is what a simple model makes of them: while mail arrives and goes, and where texts are kept by
number as where UIDs lie so far apart that they are not."""
import os
import random
import shutil
import time

from pillar import Instance, expect, main

KEYS = ("SUBJECT", "FROM", "TO", "CC", "DISPLAYFROM", "DISPLAYTO")
suite = Instance(users=("alice", "bob"))
seed = random.randrange(1 << 30)
rng = random.Random(seed)
there = {"alice": [], "bob": []}  # of each message, in order: its texts by key
print("# seed %d" % seed, flush=True)


def word():
    return "".join(rng.choice("abzABZ09-") for _ in range(rng.randrange(1, 4))).strip("-") or "x"


def address():
    """As a header field has it; what SORT=DISPLAY shows; the mailbox."""
    name, local = rng.choice(("", "", word(), word() + " " + word())), word()
    host = rng.choice(("a.test", "B.test"))
    return ('"%s" <%s@%s>' % (name, local, host) if name else "%s@%s" % (local, host)), name or "%s@%s" % (local, host), local


def append(c, user, count):
    for _ in range(count):
        texts = dict.fromkeys(KEYS, "")
        head = "X-Number: %d\r\n" % len(there[user])
        for field in ("From", "To", "Cc"):
            if rng.random() < 0.8:
                raw, display, local = address()
                head += "%s: %s%s\r\n" % (field, raw, rng.choice(("", ", other@c.test")))
                texts[field.upper()], texts["DISPLAY" + field.upper()] = local, display
        if rng.random() < 0.8:
            texts["SUBJECT"] = word()
            head += "Subject: %s%s\r\n" % (rng.choice(("", "Re: ", "[list] Fwd: ")), texts["SUBJECT"])
        expect(c.append("INBOX", None, None, (head + "\r\nbody\r\n").encode())[0], "OK")
        there[user].append(texts)


def check(c, user):
    texts = there[user]
    for keys in [(k,) for k in KEYS] + [rng.sample(KEYS, 2) for _ in range(6)]:
        turned = [rng.random() < 0.4 for _ in keys]
        wanted = list(range(len(texts)))
        for key, reverse in reversed(list(zip(keys, turned))):  # each stable, the first key last
            wanted.sort(key=lambda i: texts[i][key].upper(), reverse=reverse)
        program = " ".join(("REVERSE " if r else "") + k for k, r in zip(keys, turned))
        got = [int(n) - 1 for n in c.sort("(%s)" % program, "UTF-8", "ALL")[1][0].split()]
        expect(got, wanted, "%s: SORT (%s)" % (user, program))


def change(user):
    c = suite.imap(user)
    c.select("INBOX")
    check(c, user)
    append(c, user, 30)
    c.noop()
    check(c, user)
    gone = sorted(rng.sample(range(len(there[user])), 30))
    c.store(",".join(str(i + 1) for i in gone), "+FLAGS.SILENT", "\\Deleted")
    c.expunge()
    there[user] = [t for i, t in enumerate(there[user]) if i not in gone]
    check(c, user)
    append(c, user, 10)
    c.noop()
    check(c, user)
    c.logout()


def test_texts_by_number():
    c = suite.imap("bob")
    append(c, "bob", 80)
    c.logout()
    change("bob")


def test_texts_where_uids_lie_far_apart():
    c = suite.imap("alice")
    append(c, "alice", 80)
    c.logout()
    suite.stop()
    home = suite.maildir("alice")
    owner = os.stat(home)
    shutil.rmtree(home + "/pillarpost")
    with open(home + "/dovecot-uidlist", "w") as f:
        f.write("3 V%d N13000000 G3085f01b7f11094c501100008c4a11c1\n" % time.time())
        for i, name in enumerate(os.listdir(home + "/cur")):
            f.write("%d :%s\n" % ((i + 1) * 100000, name.split(":")[0]))
    os.chown(home + "/dovecot-uidlist", owner.st_uid, owner.st_gid)
    suite.start()
    c = suite.imap("alice")
    c.select("INBOX")
    expect(c.uid("SEARCH", "80")[1], [b"8000000"])
    fields = c.fetch("1:80", "(BODY.PEEK[HEADER.FIELDS (X-Number)])")[1][::2]
    there["alice"] = [there["alice"][int(f[1].split()[1])] for f in fields]
    c.logout()
    change("alice")


main(globals())
