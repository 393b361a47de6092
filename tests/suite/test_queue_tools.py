#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Every verb of the queue's tools on a live queue under load; what people see
on a terminal; JSON; Postfix's commands; and the examples of the manual pages.

QUEUE_SIZE=50000 makes it the long one."""
import fcntl
import json
import os
import pty
import re
import smtplib
import struct
import subprocess
import sys
import termios
import threading
import time

from pillar import MAILCTL, ROOT, SLOW, Instance, expect, has, main, starts, wait_for

SIZE = int(os.environ.get("QUEUE_SIZE", "5000"))
DOMAINS = 40
BIN = os.path.join(ROOT, "usr/bin")
SBIN = os.path.join(ROOT, "usr/sbin")

suite = Instance("""minimal_backoff_time = 1d
maximal_backoff_time = 1d
transport_maps = inline:{.dead.test=smtp:[127.0.0.1]:9}
relay_domains = .dead.test
""", users=("alice", "bob"))


class Load(threading.Thread):
    """Letters to bob, for as long as the tools work; each that was acknowledged must arrive."""

    def __init__(self):
        super().__init__(daemon=True)
        self.ending = threading.Event()
        self.paused = threading.Event()
        self.resting = threading.Event()
        self.sent = 0

    def run(self):
        while not self.ending.is_set():
            if self.paused.is_set():
                self.resting.set()
                time.sleep(0.05)
                continue
            try:
                with suite.smtp() as s:
                    for _ in range(20):
                        s.sendmail("load@example.test", ["bob@example.test"], "Subject: load\r\n\r\n%d\r\n" % self.sent)
                        self.sent += 1
                        time.sleep(0.02)
                        if self.ending.is_set() or self.paused.is_set():
                            break
            except (OSError, smtplib.SMTPException):
                time.sleep(0.1)  # a restart

    def pause(self):
        """Until none of its letters is queued."""
        self.resting.clear()
        self.paused.set()
        assert self.resting.wait(60 * SLOW)
        wait_for(lambda: count("from:load@example.test") == 0, 60, "the letters on their way")

    def stop(self):
        self.ending.set()
        self.join(60 * SLOW)


def fill(count, first=0):
    """Messages for hosts that do not answer: of 100 senders, for 40 domains, every 500th large."""
    def some(numbers):
        with suite.smtp() as s:
            for i in numbers:
                body = "x" * 70 + "\r\n"
                to = ["u%d@d%d.dead.test" % (i, i % DOMAINS)] + (["second@d0.dead.test"] if i % 10 == 0 else [])
                s.sendmail("s%d@example.test" % (i % 100), to,
                           "Subject: %d\r\nMessage-ID: <%d@tools>\r\n\r\n%s" % (i, i, body * (5000 if i % 500 == 499 else 3)))

    threads = [threading.Thread(target=some, args=(range(first + t, first + count, 8),)) for t in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


load = Load()


def queue(*args, status=0, **kw):
    r = suite.mailctl("queue", *args, check=False, **kw)
    expect(r.returncode, status, "mailctl queue %s\n%s%s" % (" ".join(args), r.stdout[-2000:], r.stderr))
    return r.stdout


def rows(*args):
    return [json.loads(line) for line in queue(*args, "--json").splitlines()]


def count(filter):
    """By the sum under the list."""
    m = re.match(r"(\d+) messages? would be", queue("requeue", filter, "--dry-run").splitlines()[-1])
    return int(m.group(1))


def for_everybody(name):
    return suite.for_everybody(SBIN + "/sendmail", name)


def post(name, *args, status=0, input=None, user=None):
    path = for_everybody(name) if user else os.path.join(BIN if name == "mailq" else SBIN, name)
    r = subprocess.run([path, *args], capture_output=True, text=True, timeout=120 * SLOW, input=input, user=user,
                       env=dict(os.environ, PILLARPOST_CONFIG=suite.env["CONFIG"]))
    expect(r.returncode, status, "%s %s\n%s%s" % (name, " ".join(args), r.stdout[-2000:], r.stderr[-2000:]))
    return r


def test_01_fill_and_list():
    fill(SIZE)
    wait_for(lambda: count("domain:.dead.test and status:deferred") == SIZE, 120, "%d deferred messages" % SIZE)
    load.start()
    found = rows("list", "domain:.dead.test")
    expect(len(found), SIZE)
    expect([r["id"] for r in found], sorted((r["id"] for r in found), key=lambda i: (len(i), i)), "in order of arrival")
    for r in found:
        expect(r["state"], "deferred")
        assert 0 < r["arrived"] <= time.time() + 1 and r["size"] > 200 and r["sender"].endswith("@example.test"), r
        assert all(to["address"] and "refused" in to["reason"] and to["destination"] and to["next"] for to in r["recipients"]), r
    expect(sum(len(r["recipients"]) for r in found), SIZE + (SIZE + 9) // 10)


def test_02_filters():
    per_sender, per_domain = SIZE // 100, SIZE // DOMAINS
    expect(count("from:s7@example.test"), per_sender)
    expect(count("from:S7@*"), per_sender)
    expect(count("from:s7@example.test,s8@example.test"), 2 * per_sender)
    expect(count("domain:d7.dead.test"), per_domain)
    expect(count("to:u7@d7.dead.test"), 1)
    expect(count("not domain:d7.dead.test and domain:.dead.test"), SIZE - per_domain)
    expect(count("size>100k"), SIZE // 500)
    expect(count("size>100k or from:s7@example.test"), SIZE // 500 + per_sender)
    expect(count("age<1w domain:.dead.test"), SIZE)
    expect(count("age>1w"), 0)
    expect(count('reason~"connection REFUSED" and status:deferred'), SIZE)
    expect(count("client:127.0.0.0/8 and domain:.dead.test"), SIZE)
    expect(count("message-id:<7@tools>"), 1)
    expect(count('sasl:"" and protocol:esmtp domain:d7.dead.test'), per_domain)
    expect(count("recipients>1"), (SIZE + 9) // 10)
    expect(len(rows("list", "from:s7@example.test", "--filter", "domain:.dead.test")), per_sender, "--filter as well")
    expect(len(rows("list", "--filter", "from:s7@example.test or from:s8@example.test", "domain:d7.dead.test")),
           len({i for i in range(SIZE) if i % 100 in (7, 8) and i % DOMAINS == 7}))


def test_03_mistakes_have_a_column():
    for filter, column, says in (("age>x", 5, "a time with its unit"), ("from:a or", 10, "the end"), ("(from:a", 8, '")"'), ("colour:red", 1, "expected a field")):
        r = suite.mailctl("queue", "list", filter, check=False)
        expect(r.returncode, 64)
        has(r.stderr, "column %d: " % column)
        has(r.stderr, says)
        expect(r.stderr.splitlines()[-1], " " * (column + 1) + "^")
    expect(suite.mailctl("queue", "delete", check=False).returncode, 64, "delete without a filter")
    for command in (("stop", "--dry-run"), ("queue", "delete", "all", "--limit", "0"), ("queue", "list", "--limit", "x"), ("user", "add", "dry@example.test", "--password-stdin", "--dry-run"), ("status", "--rule"), ("reload", "now")):
        expect(suite.mailctl(*command, check=False, input="x\n").returncode, 64, command)
    assert "dry@example.test" not in suite.mailctl("user", "list").stdout
    queue("list", "--sort", "colour", status=64)


def test_04_sort_and_limit():
    by_size = rows("list", "domain:.dead.test", "--sort", "-size", "--limit", "20")
    expect(len(by_size), 20)
    expect([r["size"] for r in by_size], sorted((r["size"] for r in by_size), reverse=True))
    assert by_size[0]["size"] > 100000
    senders = [r["sender"] for r in rows("list", "domain:.dead.test", "--sort", "sender")]
    expect(senders, sorted(senders))
    ids = [r["id"] for r in rows("list", "domain:.dead.test", "--sort", "age", "--limit", "50")]
    expect(ids, sorted(ids, reverse=True), "youngest first")
    domains = [r["recipients"][0]["address"].split("@")[1] for r in rows("list", "domain:.dead.test", "--sort", "-domain")]
    expect(domains, sorted(domains, reverse=True))


def test_05_stats():
    ages = {r["domain"]: r for r in rows("stats", "domain:.dead.test") if "domain" in r}
    expect(ages["TOTAL"]["total"], SIZE + (SIZE + 9) // 10)
    expect(ages["d7.dead.test"]["total"], SIZE // DOMAINS)
    for r in ages.values():
        expect(sum(r["age_minutes"].values()), r["total"])
        expect(list(r["age_minutes"]), ["5", "10", "20", "40", "80", "160", "320", "640", "1280", "1280+"])
    expect({r["total"] for r in rows("stats", "from:s7@example.test", "--by-sender") if r.get("domain") == "example.test"}, {SIZE // 100})
    dead = [r for r in rows("stats") if r.get("destination") == "remote/[127.0.0.1]:9"][0]
    expect(dead["waiting"], SIZE + (SIZE + 9) // 10)
    assert dead["failures"] >= 1 and dead["next"] > time.time() and "refused" in dead["last"] and dead["limit"] >= dead["concurrency"], dead


def test_06_hold_and_release():
    expect(len(queue("hold", "domain:d3.dead.test", "--dry-run").splitlines()), SIZE // DOMAINS + 1)
    starts(queue("hold", "domain:d3.dead.test", "--dry-run", "--quiet"), "%d messages would be held, " % (SIZE // DOMAINS))
    expect(count("status:hold"), 0)
    expect(queue("release", "domain:d3.dead.test", "--dry-run"), "0 messages would be released, 0\n")
    out = queue("hold", "domain:d3.dead.test")
    expect(len(re.findall(r"^\w+ held: ", out, re.M)), SIZE // DOMAINS, "one line for each message")
    has(out.splitlines()[-1], "%d messages held" % (SIZE // DOMAINS))
    expect(count("status:hold"), SIZE // DOMAINS)
    expect(len(queue("hold", "domain:d3.dead.test").splitlines()), 1, "held already")
    for verb in ("hold", "flush"):
        expect(len(queue(verb, "domain:d3.dead.test", "--dry-run").splitlines()), 1, "it would do nothing either")
    has(queue("release", "domain:d3.dead.test", "--dry-run").splitlines()[-1], "%d messages would be released" % (SIZE // DOMAINS))
    expect(len(rows("release", "status:hold", "--limit", "5")), 5)
    has(queue("release", "status:hold", "--quiet"), "%d messages released" % (SIZE // DOMAINS - 5))
    expect(count("status:hold"), 0)


def test_07_delete_and_undelete():
    for what in ("from:s11@example.test size<100k", "from:s99@example.test size>100k"):
        ids = [r["id"] for r in rows("list", what)]
        before = {r["id"]: r for r in rows("list", what)}
        expect(len(rows("delete", what)), len(ids))
        expect(rows("list", what), [])
        expect({r["state"] for r in rows("history", what) if r["id"] in ids}, {"deleted"})
        expect(len(queue("undelete", *ids).splitlines()), len(ids))
        after = {r["id"]: r for r in rows("list", what)}
        for i in ids:
            expect([to["address"] for to in after[i]["recipients"]], [to["address"] for to in before[i]["recipients"]])
            expect(after[i]["size"], before[i]["size"])
    large = rows("list", "from:s99@example.test size>100k")[0]["id"]
    expect(queue("show", large, "--content").count("x" * 70), 5000, "the large one's content is whole")
    queue("undelete", large, status=1)
    queue("undelete", "1234", status=1)


def test_07_what_is_named_has_to_be_there():
    gone = "SGCPFYVVYE1"
    there = rows("list", "domain:d4.dead.test")[0]["id"]
    for verb in ("flush", "hold", "release", "delete", "bounce", "requeue", "expire"):
        queue(verb, gone, status=1)
        queue(verb, gone, "--dry-run", status=1)
        queue(verb, "from:nobody@at.all")  # that nothing matches is no error
    has(suite.mailctl("queue", "hold", there, gone, check=False).stderr, "1 of the 2 messages were not found")
    queue("hold", there)  # it is already
    queue("release", there, there)
    expect(queue("list", gone), "0 messages, 0\n")
    for command in (("show",), ("export", "--to", suite.dir + "/named")):
        queue(*command, gone, status=1)
        has(suite.mailctl("queue", *command, there, gone, check=False).stderr, "1 of the 2 messages were not found")
        queue(*command, there)
    both = queue("show", there, "--envelope", "--content")
    expect(both, queue("show", there))
    assert both.startswith("state: ") and both.endswith(queue("show", there, "--content")), both[:200]
    queue("rule", "list", "all", status=64)
    r = suite.mailctl("quarantine", "release", there, check=False)
    expect((r.returncode, r.stderr), (1, "mailctl: %s: no such message was found\n" % there), "it is in the queue")


def test_08_flush_requeue():
    has(queue("flush", "domain:d5.dead.test", "--dry-run").splitlines()[-1], "%d messages would be due now" % (SIZE // DOMAINS))
    queue("flush", "domain:d5.dead.test", "--quiet")
    queue("requeue", "domain:d6.dead.test", "--quiet")
    wait_for(lambda: count("domain:.dead.test and status:deferred") == SIZE, 60, "all deferred again")
    queue("flush", "--quiet")
    wait_for(lambda: count("domain:.dead.test and status:deferred") == SIZE, 60, "all deferred again")


def test_09_bounce_and_expire():
    fill(4, SIZE)
    wait_for(lambda: count("domain:.dead.test and status:deferred") == SIZE + 4, 60, "four more")
    ids = {kind: rows("list", "to:u%d@*" % (SIZE + i))[0]["id"] for i, kind in enumerate(("bounce", "expire"))}
    for kind, i in ids.items():
        has(queue(kind, i), i)
        wait_for(lambda: not rows("list", i), 20, kind)
        expect([r["state"] for r in rows("history", i)][-1], "bounced")
    has(rows("history", ids["bounce"])[-1]["recipients"][0]["reply"], "administrator")
    queue("delete", "to:u%d@*,u%d@*" % (SIZE + 2, SIZE + 3))


def test_10_rules_survive_a_restart():
    has(queue("hold", "from:mallory@example.test", "--rule", "--comment", "ticket 4711"), "rule 1")
    expect(suite.mailctl("queue", "rule", "add", "age>2h", check=False).returncode, 64, "age is not known on arrival")
    queue("rule", "add", "size>1G")
    before = rows("list", "domain:.dead.test")
    suite.stop()
    suite.start()
    suite.running = True
    expect([(r["rule"], r["filter"], r["comment"]) for r in rows("rule", "list")],
           [(1, "from:mallory@example.test", "ticket 4711"), (2, "size>1G", "")])
    with suite.smtp() as s:
        for n in range(3):
            s.sendmail("mallory@example.test", ["bob@example.test"], "Subject: spam\r\n\r\nheld\r\n")
    held = wait_for(lambda: [r for r in rows("list", "from:mallory@example.test")], 20, "the held ones")
    expect({r["state"] for r in held}, {"hold"})
    has(held[0]["recipients"][0]["reason"], "held by rule 1")
    expect(rows("rule", "list")[0]["held"], 3)
    queue("rule", "delete", "1")
    queue("rule", "delete", "1", status=1)
    expect(len(rows("list", "status:hold from:mallory@example.test")), 3, "deleting a rule releases nothing")
    expect([r["id"] for r in rows("list", "domain:.dead.test")], [r["id"] for r in before])
    queue("rule", "delete", "2")


def test_11_show_export_import():
    target = rows("list", "message-id:<7@tools>")[0]
    shown = queue("show", target["id"])
    for part in ("id: " + target["id"], "sender: s7@example.test", "[recipient]\naddress: u7@d7.dead.test", "\n\nReceived: ", "Subject: 7\n"):
        has(shown.replace("\r", ""), part)
    queue("show", "id:1234", status=1)
    where = suite.dir + "/exported"
    chosen = "domain:d9.dead.test"
    n = SIZE // DOMAINS
    expect(len(rows("export", chosen, "--to", where)), n)
    expect(len([f for f in os.listdir(where) if f.endswith(".eml")]), n)
    before = rows("list", chosen)
    for r in before:
        expect(os.path.getsize("%s/%s.eml" % (where, r["id"])), r["size"])
    has(queue("import", where, status=1), "0 of %d" % n)  # all are there already
    queue("delete", chosen, "--quiet")
    has(queue("import", where, "--dry-run"), "would be imported")
    expect(len([r for r in rows("import", where, "--hold")]), n)
    after = rows("list", chosen)
    expect([(r["id"], r["size"], r["state"], [t["address"] for t in r["recipients"]]) for r in after],
           [(r["id"], r["size"], "hold", [t["address"] for t in r["recipients"]]) for r in before])
    queue("release", chosen, "--quiet")
    has(queue("import", where), "0 of 0")
    maildir = suite.dir + "/maildir"
    queue("export", chosen, "--to", maildir, "--maildir", "--quiet")
    expect(len(os.listdir(maildir + "/new")), n)


def test_11_what_cannot_be_read_stops_no_export():
    chosen = "domain:d19.dead.test"
    before = rows("list", chosen)
    lost = rows("list", chosen + " size>100k")[0]["id"]
    content = "%s/queue/blob/%s" % (suite.dir, lost)
    where = suite.dir + "/most"
    os.rename(content, suite.dir + "/content")
    r = suite.mailctl("queue", "export", chosen, "--to", where, "--quiet", check=False)
    has(post("postcat", "-q", lost, status=1).stderr, "blob/" + lost)
    queue("show", lost, status=1)
    os.rename(suite.dir + "/content", content)
    expect((r.returncode, r.stdout), (1, "%d messages exported to %s\n" % (len(before) - 1, where)), r.stderr)
    has(r.stderr, "mailctl: %s: " % lost)
    expect(sorted(f[:-4] for f in os.listdir(where) if f.endswith(".eml")), sorted(b["id"] for b in before if b["id"] != lost))


def test_12_history():
    delivered = rows("history", "to:bob@example.test status:delivered")
    assert delivered and all(r["recipients"][0]["state"] == "delivered" and r["at"] >= r["arrived"] for r in delivered), delivered[:2]
    expect(len(rows("history", "to:bob@example.test", "--limit", "3")), 3)
    expect(rows("history", "to:bob@example.test age>1h"), [])
    expect(suite.mailctl("queue", "history", "sasl:x", check=False).returncode, 64, "not known of finished messages")


def failures():
    return [r for r in rows("stats") if "failed" in r][0]["failed"]


def test_12_what_fails_in_routing_has_failed():
    suite.user_add("carol")
    number = json.loads(queue("rule", "add", "to:carol@example.test", "--json"))["rule"]
    with suite.smtp() as s:
        s.sendmail("alice@example.test", ["carol@example.test"], "Subject: too late\r\n\r\nhello\r\n")
    queue("rule", "delete", str(number))
    suite.mailctl("user", "delete", "carol@example.test")
    before = failures()
    queue("release", "to:carol@example.test")
    wait_for(lambda: rows("history", "to:carol@example.test"), 20, "its end")
    expect([r["state"] for r in rows("history", "to:carol@example.test")], ["bounced"])
    expect(failures(), before + 1)


def test_13_postfix_commands():
    mine = rows("list", "domain:.dead.test")
    text = post("mailq").stdout
    expect(text.splitlines()[0].split(), "----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------".split())
    assert re.search(r"\n\n-- \d+ Kbytes in \d+ Requests\.\n$", text), text[-200:]
    r = mine[0]
    has(text, "%-17s %8d " % (r["id"], r["size"]))
    has(text, "\n" + " " * 47 + r["recipients"][0]["address"] + "\n")
    objects = {o["queue_id"]: o for o in map(json.loads, post("postqueue", "-j").stdout.splitlines())}
    o = objects[r["id"]]
    expect(sorted(o), ["arrival_time", "forced_expire", "message_size", "queue_id", "queue_name", "recipients", "sender"])
    expect((o["queue_name"], o["message_size"], o["sender"], o["arrival_time"]), ("deferred", r["size"], r["sender"], r["arrived"]))
    has(o["recipients"][0]["delay_reason"], "refused")
    ids = [m["id"] for m in mine[:3]]
    err = post("postsuper", "-h", "-", input="\n".join(ids) + "\n").stderr
    expect(err.splitlines(), ["postsuper: %s: placed on hold" % i for i in ids] + ["postsuper: Placed on hold: 3 messages"])
    has(post("mailq").stdout, "\n%-17s " % (ids[0] + "!"))
    has(post("postsuper", "-H", ids[0]).stderr, "Released from hold: 1 message\n")
    has(post("postsuper", "-r", "ALL", "hold").stderr, "Requeued: ")
    expect(count("status:hold"), 0)
    has(post("postsuper", "-h", "nonsense!").stderr, "warning: invalid mail queue id")
    for args in (("-f",), ("-i", ids[0]), ("-s", "d3.dead.test")):
        expect(post("postqueue", *args).stdout, "")
    post("postqueue", status=64)
    post("postqueue", "-i", "no id", status=64)
    for args in (("-q",), ("-q30m",), ("-qI" + ids[0],), ("-qRd3.dead.test",), ("-qS" + r["sender"],)):
        post("sendmail", *args)
    for wrong in ("-qX", "-qrd3.dead.test", "-qR", "-qS", "-qIno"):
        post("sendmail", wrong, status=64)
    shown = post("postcat", "-q", ids[0]).stdout
    for part in ("*** ENVELOPE RECORDS ", "sender: %s\n" % r["sender"], "recipient: %s\n" % r["recipients"][0]["address"], "*** MESSAGE CONTENTS ", "Subject: ", "*** MESSAGE FILE END "):
        has(shown, part)
    whole = post("postcat", "-bh", "-q", ids[0]).stdout
    assert "***" not in whole and whole.startswith("Received: ")
    expect(post("postcat", "-h", "-q", ids[0]).stdout + post("postcat", "-b", "-q", ids[0]).stdout, whole)
    post("postcat", "-q", "1234", status=1)
    has(post("postsuper", "-d", "-", input=ids[2] + "\n").stderr, "postsuper: %s: removed\npostsuper: Deleted: 1 message\n" % ids[2])
    queue("undelete", ids[2])


def test_14_ordinary_users():
    if os.geteuid() != 0:
        return
    has(post("mailq", user="nobody").stdout, "Requests.\n")
    post("postqueue", "-f", user="nobody")
    has(post("postsuper", "-d", "ALL", user="nobody", status=1).stderr, "reserved for the superuser")
    post("postcat", "-q", rows("list", "--limit", "1")[0]["id"], user="nobody", status=1)
    with open(suite.dir + "/etc/local.conf", "a") as f:
        f.write("authorized_mailq_users = !nobody, static:anyone\nauthorized_flush_users = root\n")
    suite.make()
    suite.mailctl("reload")
    wait_for(lambda: subprocess.run([for_everybody("mailq")], user="nobody", capture_output=True, text=True,
                                    env=dict(os.environ, PILLARPOST_CONFIG=suite.env["CONFIG"])).returncode == 77, 30, "the refusal")
    has(post("mailq", user="nobody", status=77).stderr, "is not allowed to view the mail queue")
    has(post("postqueue", "-f", user="nobody", status=77).stderr, "is not allowed to flush the mail queue")
    post("mailq", user="daemon")


def on_terminal(columns, *command):
    """What a terminal of that width gets to see."""
    pid, fd = pty.fork()
    if pid == 0:
        os.environ["PILLARPOST_CONFIG"] = suite.env["CONFIG"]
        time.sleep(0.1)
        os.execv(command[0], command)
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    out = b""
    while True:
        try:
            data = os.read(fd, 65536)
        except OSError:
            break
        if not data:
            break
        out += data
    os.close(fd)
    expect(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0, " ".join(command))
    return out.decode()


def test_15_terminal():
    with suite.smtp() as s:
        s.sendmail("long@example.test", ["a-recipient-with-a-very-long-local-part-%d@d1.dead.test" % i for i in range(5)], "Subject: wide\r\n\r\nx\r\n")
    wait_for(lambda: count("from:long@example.test status:deferred") == 1, 20, "the wide one")
    for columns in (60, 80, 132):
        for args in (("list", "domain:d1.dead.test"), ("stats", "--limit", "5"), ("history", "--limit", "20"), ("list", "from:long@example.test")):
            text = on_terminal(columns, MAILCTL, "-c", suite.env["CONFIG"], "queue", *args)
            lines = text.replace("\r\n", "\n").split("\n")
            assert len(lines) > 2, text
            for line in lines:
                assert len(line) <= columns and "\t" not in line and "\r" not in line, (columns, line)
                assert not re.search("[\x00-\x08\x0b-\x1a]", line), repr(line)
    wide = on_terminal(60, MAILCTL, "-c", suite.env["CONFIG"], "queue", "list", "from:long@example.test")
    assert any(line.endswith("...") for line in wide.replace("\r", "").split("\n")), wide
    listed = on_terminal(80, MAILCTL, "-c", suite.env["CONFIG"], "queue", "list", "domain:d7.dead.test", "--limit", "3")
    assert re.match(r"\w{11} deferred +\d+[smhd] +[\d.]+k?  s\d+@example.test -> u\d+@d7.dead.test\r\n {12}connecting to", listed), listed


PAGES = ("man8/mailctl.8", "man1/mailq.1", "man1/postqueue.1", "man1/postsuper.1", "man1/postcat.1")
# What would change the configuration or ask for a password, and what shows a broken one.
NOT_RUN = ("echo 'virtual_mailbox_", "mailctl user ", "mailctl check", "mailctl stop")


def examples(page):
    """The commands of the literal displays: lines that begin with a prompt."""
    shown = False
    with open(os.path.join(ROOT, "usr/share/man", page)) as f:
        for line in f:
            if line.startswith(".Bd -literal"):
                shown = True
            elif line.startswith(".Ed"):
                shown = False
            elif shown and line[:2] in ("$ ", "# ") and not line[2:].startswith(NOT_RUN):
                yield line[2:].strip().replace("\\e", "\\").replace("\\-", "-").replace("\\(aq", "'")


def test_16_examples_of_the_manual_pages():
    with suite.smtp() as s:
        for _ in range(2):
            s.sendmail("mallory@example.test", ["x@d2.dead.test"], "Subject: m\r\n\r\nx\r\n")
    ran = 0
    load.pause()  # the examples delete everything, too
    for page in PAGES:
        commands = list(examples(page))
        assert commands, "no examples in " + page
        wait_for(lambda: count("domain:d4.dead.test status:deferred") > 5, 60, "deferred mail")
        live = rows("list", "domain:d4.dead.test status:deferred", "--limit", "1")[0]["id"]
        for command in commands:
            command = command.replace("SGCNY9MM4HH", live).replace("/var/tmp/moving", suite.dir + "/moving")
            if "rule delete" in command:
                command = command.replace("delete 1", "delete %d" % rows("rule", "list")[-1]["rule"])
            r = subprocess.run(["/bin/sh", "-ec", command], capture_output=True, text=True, timeout=120 * SLOW,
                               env=dict(os.environ, PILLARPOST_CONFIG=suite.env["CONFIG"], PATH="%s:%s:%s" % (SBIN, BIN, os.environ["PATH"])))
            if not command.startswith("mailctl route"):
                expect((r.returncode, re.sub("mailctl: .*; waiting for up to .*\n", "", r.stderr) if command.startswith("mailctl") else ""), (0, ""), "%s: %s\n%s" % (page, command, r.stdout[-500:]))
            ran += 1
    load.paused.clear()
    assert ran > 30, ran


def test_17_the_load_has_arrived():
    load.stop()
    assert load.sent > 20, load.sent
    queue("release", "all", "--quiet")

    def arrived():
        return sum(b"Subject: load" in t for t in suite.messages()) >= load.sent

    wait_for(arrived, 60, "%d letters" % load.sent)
    post("postsuper", "-d", "ALL")
    wait_for(lambda: post("mailq").stdout == "Mail queue is empty\n", 60, "an empty queue")
    expect(queue("list"), "0 messages, 0\n")


def test_18_nothing_was_broken():
    suite.stop()
    for bad in ("Sanitizer", "runtime error", "bug:", "ended: signal"):
        assert bad not in suite.log(), [line for line in suite.log().splitlines() if bad in line][:5]


if __name__ == "__main__":
    main(globals())
