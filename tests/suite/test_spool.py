#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""spoolcheck on the directory of a real queue: whole, damaged in many ways,
exported, and imported on another host."""
import glob
import json
import os
import random
import re
import shutil
import subprocess

import pillar
from pillar import Instance, expect, has, main, wait_for

SPOOLCHECK = os.path.join(pillar.ROOT, "usr/sbin/spoolcheck")
SMALL = bool(os.environ.get("SANITIZED"))
DAMAGES = 8 if SMALL else 32
COUNT = 40
dice = random.Random(20261121)

# Nothing listens at port 1: what is for later.test waits.
suite = Instance(extra="mynetworks = 127.0.0.0/8\ntransport_maps = inline:{later.test=smtp:[127.0.0.1]:1}\nqueue_segment_size = 1M\nqueue_blob_threshold = 100k\n")
sent, texts = {}, {}


def check(*args, ok=(0,), directory=None):
    r = subprocess.run([SPOOLCHECK, "-d", directory or suite.dir + "/queue", *args], capture_output=True, text=True, errors="replace", timeout=300)
    if r.returncode not in ok:
        raise AssertionError("spoolcheck %s: %d\n%s%s" % (" ".join(args), r.returncode, r.stdout, r.stderr))
    return r


def rows(*args, **kw):
    return [json.loads(line) for line in check(*args, **kw).stdout.splitlines()]


def fill():
    with suite.smtp() as s:
        for n in range(COUNT):
            size = 300000 if n % 10 == 0 else dice.randrange(100, 60000)
            text = "Subject: m%d\r\nMessage-ID: <m%d@client.test>\r\n\r\n%s" % (n, n, ("line of %d\r\n" % n) * (size // 10))
            s.sendmail("sender%d@client.test" % n, ["to%d@later.test" % n, "also%d@later.test" % n], text)
            sent["m%d" % n] = texts["m%d" % n] = text.encode()
    for n in (3, 4):
        suite.mailctl("queue", "delete", "from:sender%d@client.test" % n)
        del sent["m%d" % n]
    suite.mailctl("queue", "hold", "from:sender5@client.test")
    wait_for(lambda: suite.log().count("status=deferred") >= 2, 20, "deferrals")


def body(path):
    with open(path, "rb") as f:
        return f.read()


def subject(text):
    return re.search(rb"^Subject: (m\d+)\r?$", text, re.M).group(1).decode()


def test_a_live_queue_is_read_but_not_written():
    fill()
    has(check("list").stderr, "is in use")
    os.makedirs(suite.dir + "/empty")
    has(check("import", suite.dir + "/empty", ok=(2,)).stderr, "another process is at work on it")
    suite.stop()


def test_a_whole_queue():
    expect(check("verify").stderr, "")
    summary = rows("verify", "--json")[-1]
    expect((summary["messages"], summary["broken"], summary["damages"], summary["strays"]), (len(sent), 0, 0, 0))
    listed = rows("list", "--json")
    expect(len(listed), len(sent))
    expect(sorted(m["message_id"] for m in listed), sorted("<%s@client.test>" % s for s in sent))
    expect([m["sender"] for m in listed if m["held"]], ["sender5@client.test"])
    one = listed[0]
    expect([m["id"] for m in rows("list", "--json", one["id"])], [one["id"]])
    has(check("print").stdout, "envelope")
    for line in check("print", "--json").stdout.splitlines():
        json.loads(line)


def test_export_has_all_and_says_what_is_there_already():
    out = suite.dir + "/out"
    has(check("export", "--dry-run", out).stdout, "%d messages would be exported" % len(sent))
    assert not os.path.exists(out)
    has(check("export", out).stdout, "%d messages exported" % len(sent))
    files = glob.glob(out + "/*.eml")
    expect(len(files), len(sent))
    for path in files:
        text = body(path)
        assert text.endswith(sent[subject(text)].rstrip(b"\r\n") + b"\r\n"), path
        envelope = body(path[:-4] + ".envelope").decode()
        n = subject(text)[1:]
        has(envelope, "sender: sender%s@client.test\n" % n)
        has(envelope, "[recipient]\naddress: to%s@later.test\n" % n)
    again = check("export", out)
    has(again.stdout, "0 messages exported, 0 bytes; %d were there already" % len(sent))
    check("export", "--maildir", suite.dir + "/maildir")
    files = sorted(glob.glob(suite.dir + "/maildir/new/*"), key=lambda p: p.split(".")[1])
    expect(len(files), len(sent))
    has(body(files[0]).decode(), "Return-Path: <sender0@client.test>\nDelivered-To: to0@later.test\n")
    assert b"\r" not in body(files[1])


def test_what_is_named_has_to_be_there_and_options_have_to_fit():
    one, other = rows("list", "--json")[0]["id"], "SGCNY9MM4HH"
    out = suite.dir + "/named"
    for verb in (["list"], ["export", "--dry-run", out], ["salvage", out], ["import", "--dry-run", suite.dir + "/out"]):
        r = check(*verb, one.lower(), other, ok=(1,))
        expect(r.stderr.splitlines()[-1], "spoolcheck: SGCNY9MM4HH: there is no such message", verb)
        check(*verb, one)
        has(check(*verb, "nonsense", ok=(64,)).stderr, "spoolcheck: nonsense: not a queue id")
    for verb, option in (("print", "--dry-run"), ("list", "--maildir"), ("export", "--json"), ("import", "--maildir")):
        has(check(verb, option, out, ok=(64,)).stderr, "spoolcheck: %s: not an option of this verb" % option)
    has(check("verify", one, ok=(64,)).stderr, "one word too many")


def places(directory):
    """id -> (segment file, from, to) of each message, by what print says and where the next record stands."""
    found = {}
    records = rows("print", "--json", directory=directory)
    for n, r in enumerate(records):
        if "envelope" in (r["record"] or {}):
            following = records[n + 1]["offset"] if n + 1 < len(records) and records[n + 1]["file"] == r["file"] else 1 << 40
            found[r["record"]["envelope"]["id"]] = (r["file"], r["offset"], following)
    return found


def number(queue_id):
    value = 0
    for c in queue_id:
        value = value * 32 + "0123456789ABCDEFGHJKMNPQRSTVWXYZ".index(c)
    return value


def hurt(directory, how):
    """Damages a file; gives what it touched: (file, from, to)."""
    segments = sorted(glob.glob(directory + "/journal/*.seg"))
    used = [s for s in segments if any(body(s)[4096:8192])]
    blobs = glob.glob(directory + "/blob/*")
    path = dice.choice(blobs if blobs and how in ("cut blob", "no blob") else used)
    name = os.path.relpath(path, directory)
    size = os.path.getsize(path)
    if how in ("no blob", "no segment"):
        os.unlink(path)
        return [(name, 0, size)]
    if how in ("cut blob", "cut segment"):
        at = dice.randrange(size)
        os.truncate(path, at)
        return [(name, at, size)]
    touched = []
    full = len(body(path).rstrip(b"\0"))
    with open(path, "r+b") as f:
        for _ in range(1 if how == "one flip" else 12):
            at = dice.randrange(full)
            length = 1 if "flip" in how else dice.randrange(1, 5000)
            f.seek(at)
            old = f.read(length)
            f.seek(at)
            f.write(bytes(b ^ dice.randrange(1, 256) for b in old) if "flip" in how else dice.randbytes(len(old)))
            touched.append((name, at, at + length))
    return touched


def untouched(where, listed, touched):
    """The ids of messages that no damage reached."""
    good = set()
    for m in listed:
        spots = [where[number(m["id"])], ("blob/" + m["id"], 0, m["size"])]
        if not any(t[0] == s[0] and t[1] < s[2] and s[1] < t[2] for t in touched for s in spots):
            good.add(m["id"])
    return good


def test_what_damage_does_not_touch_is_salvaged():
    where, listed = places(None), rows("list", "--json")
    of_id = {m["id"]: re.search(r"m\d+", m["message_id"]).group() for m in listed}
    lost = rescued = 0
    for n in range(DAMAGES):
        how = ("one flip", "many flips", "torn", "cut blob", "no blob", "cut segment", "no segment", "one flip")[n % 8]
        copy, out = suite.dir + "/copy", suite.dir + "/salvaged"
        shutil.copytree(suite.dir + "/queue", copy)
        touched = hurt(copy, how)
        summary = rows("verify", "--json", directory=copy, ok=(0, 1))[-1]
        r = check("salvage", out, directory=copy, ok=(0, 1))
        expect(sorted(os.listdir(suite.dir + "/queue")), sorted(os.listdir(copy)), "nothing is changed")
        here = {os.path.basename(p)[:-4] for p in glob.glob(out + "/*.eml")}
        expect(untouched(where, listed, touched) - here, set(), "%s %s\n%s%s" % (how, touched, r.stdout, r.stderr))
        for i in here:
            text = body("%s/%s.eml" % (out, i))
            if not any(t[0] == "blob/" + i for t in touched): # a blob has no checksum
                assert text.endswith(texts[subject(text)].rstrip(b"\r\n") + b"\r\n"), (how, touched, i)
        gone = set(of_id) - here
        if gone or how == "no segment":
            expect(r.returncode if how != "no segment" else 1, 1, how)
        lost += len(gone)
        rescued += len(glob.glob(out + "/damaged/*.eml"))
        assert summary["type"] == "summary"
        shutil.rmtree(copy)
        shutil.rmtree(out, ignore_errors=True)
    print("# %d damages: %d messages hit, something of %d of them rescued" % (DAMAGES, lost, rescued))
    assert lost > 0 and rescued > 0


def test_import_on_another_host():
    """Never twice: what is there, what has left, what was imported before."""
    other = Instance(extra="transport_maps = inline:{later.test=smtp:[127.0.0.1]:1}\n", start=False)
    queue, out = other.dir + "/queue", suite.dir + "/out"
    fresh = suite.dir + "/fresh"
    os.makedirs(fresh)
    has(check("import", "--dry-run", out, directory=fresh).stdout, "%d messages would be imported" % len(sent))
    if os.geteuid() == 0:
        has(check("import", out, directory=fresh, ok=(2,)).stderr, "belongs to root")
    other.start()
    other.stop()
    has(check("import", "--dry-run", out, directory=queue, ok=(0,)).stdout, "%d messages would be imported" % len(sent))
    has(check("import", out, directory=queue).stdout, "%d messages imported" % len(sent))
    expect(len(glob.glob(out + "/*.imported")), len(sent))
    has(check("import", out, directory=queue).stdout, "0 messages imported, 0 bytes; %d duplicates" % len(sent))
    second = suite.dir + "/second"
    check("export", second)
    r = check("import", second, directory=queue)
    has(r.stdout, "0 messages imported, 0 bytes; %d duplicates" % len(sent))
    has(r.stderr, "is in this queue already")
    mine, theirs = rows("list", "--json"), rows("list", "--json", directory=queue)
    for m in mine:
        m.pop("attempts"), m.pop("reason")
    for m in theirs:
        m.pop("attempts"), m.pop("reason")
    expect(theirs, mine)
    other.start()
    listed = [json.loads(line) for line in other.mailctl("queue", "list", "--json").stdout.splitlines()]
    expect(sorted(m["id"] for m in listed), sorted(m["id"] for m in mine))
    expect([m["sender"] for m in listed if m["state"] == "hold"], ["sender5@client.test"])
    text = other.mailctl("queue", "show", mine[0]["id"]).stdout
    has(text, "Subject: m0")
    other.mailctl("queue", "delete", "id:" + mine[0]["id"])
    wait_for(lambda: mine[0]["id"] not in other.mailctl("queue", "list").stdout, 20, "deletion")
    other.stop()
    has(check("import", second, directory=queue).stderr, "has left it")
    other.cleanup()


main(globals())
