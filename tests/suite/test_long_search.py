#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""A long search in one session delays no other session of the same user: beside a BODY search that reads every message of
a large folder, the slowest hundredth of another session's NOOPs and FETCHes takes a small part of the search's time."""
import base64
import os
import threading
import time

from pillar import ImapDialogue, Instance, expect, main, wait_for

COUNT, SEARCHES, SHARE = 10000, 4, 10
suite = Instance(users=("alice",), extra="search_index_share = 0\n")


def session(folder):
    c = ImapDialogue(suite, "alice")
    c.ask("SELECT " + folder)
    return c


def fill(folder):
    """Messages that a search has to read and decode to their ends."""
    c = session("INBOX")
    c.ask("CREATE " + folder)
    top = "%s/.%s" % (suite.maildir("alice"), folder)
    owner = os.stat(top)
    head = "Subject: number %d\r\nMIME-Version: 1.0\r\nContent-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    body = base64.encodebytes("<p>Der schnelle braune Fuchs h\xfcpft \xfcber den faulen Hund.</p>\r\n".encode("latin-1") * 120).replace(b"\n", b"\r\n")
    for n in range(COUNT):
        path = "%s/cur/1234.%d.other:2,S" % (top, n)
        with open(path, "wb") as f:
            f.write((head % n).encode() + body)
        os.chown(path, owner.st_uid, owner.st_gid)
    wait_for(lambda: c.ask("STATUS %s (MESSAGES)" % folder)[0].endswith("(MESSAGES %d)" % COUNT), 60, "the messages")
    c.close()


class Searching(threading.Thread):
    """One long search after the other; spans are (begin, end) of each."""

    def __init__(self, session):
        super().__init__()
        self.session, self.spans, self.error = session, [], None

    def run(self):
        try:
            for n in range(SEARCHES):
                begun = time.monotonic()
                found = self.session.ask("SEARCH BODY \"no such text %d\"" % n)
                self.spans.append((begun, time.monotonic()))
                expect(found[0], "* SEARCH")
        except Exception as e:
            self.error = e


def test_others_are_served_beside_it():
    fill("Large")
    searcher, other = session("Large"), session("Large")
    other.ask("FETCH 1:* (FLAGS)")
    searching, asked = Searching(searcher), []
    searching.start()
    n = 0
    while searching.is_alive():
        n = n % COUNT + 97
        begun = time.monotonic()
        other.ask("NOOP" if n % 2 else "FETCH %d (FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])" % min(n, COUNT))
        asked.append((begun, time.monotonic()))
    searching.join()
    if searching.error:
        raise searching.error
    lasted = sorted(end - begin for begin, end in searching.spans)[SEARCHES // 2]
    beside = sorted(e - b for b, e in asked if any(b < end and e > begin for begin, end in searching.spans))
    slow = beside[len(beside) * 99 // 100]
    print("# a search lasted %.0f ms; %d commands beside them, p50 %.1f ms, p99 %.1f ms" % (lasted * 1000, len(beside), beside[len(beside) // 2] * 1000, slow * 1000))
    expect(len(beside) >= 100 and slow * SHARE < lasted, True, "the slowest hundredth took %.1f ms beside a search of %.0f ms, %d commands" % (slow * 1000, lasted * 1000, len(beside)))
    other.close()
    searcher.close()


main(globals())
