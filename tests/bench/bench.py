#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Side by side with Debian's Postfix on this machine, in one run, alternating.

    bench.py [--runs 3] [--messages 5000] [--sessions 50] [--only relay,local,accept,memory]

Postfix is the Debian package unpacked into a directory of its own, with its
documented throughput settings and its syncs left on; smtp-source and smtp-sink
(from that package) are load and sink for both.  Printed: messages a second, CPU
seconds of the server's processes for 1,000 messages, memory of an open session, and
the ratios.  Needs root; all traffic stays on loopback.  ROOT as for the suite tests.
"""
import argparse
import atexit
import glob
import os
import pwd
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../suite"))
import pillar  # noqa: E402

CACHE = os.environ.get("BENCH_CACHE", "/var/tmp/pillarpost-bench")
HERTZ = os.sysconf("SC_CLK_TCK")


def postfix_root():
    """Debian's package, unpacked, never installed."""
    root = CACHE + "/postfix"
    if not os.path.exists(root + "/usr/sbin/smtp-source"):
        os.makedirs(CACHE, exist_ok=True)
        subprocess.run("apt-get update -q >/dev/null; apt-get install -y -q --no-install-recommends libicu72 libnsl2 libsasl2-2 libdb5.3 >/dev/null; apt-get download -q postfix",
                       shell=True, cwd=CACHE, check=True, stderr=subprocess.DEVNULL)
        subprocess.run(["dpkg", "-x", glob.glob(CACHE + "/postfix_*.deb")[0], root], check=True)
    for name, command in (("postfix", ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", "postfix"]),):
        try:
            pwd.getpwnam(name)
        except KeyError:
            subprocess.run(command, check=True)
    subprocess.run(["groupadd", "--system", "-f", "postdrop"], check=True)
    return root


def remove_later(path):
    """ext4 without a journal searches past every inode that was freed in the last minutes: what one run
    removes would be paid for by the next."""
    atexit.register(shutil.rmtree, path, ignore_errors=True)


def cpu_of(pids):
    """CPU seconds of these processes and of their ended children."""
    total = 0
    for pid in pids:
        try:
            with open("/proc/%d/stat" % pid) as f:
                fields = f.read().rpartition(")")[2].split()
            total += sum(int(fields[i]) for i in (11, 12, 13, 14))
        except (OSError, ValueError):
            pass
    return total / HERTZ


def pss_of(pids):
    total = 0
    for pid in pids:
        try:
            with open("/proc/%d/smaps_rollup" % pid) as f:
                total += next(int(line.split()[1]) for line in f if line.startswith("Pss:"))
        except (OSError, StopIteration):
            pass
    return total


def descendants(roots):
    children = {}
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path) as f:
                text = f.read()
        except OSError:
            continue
        pid = int(text.split(" ", 1)[0])
        children.setdefault(int(text.rpartition(")")[2].split()[1]), []).append(pid)
    found, todo = [], list(roots)
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, [])
    return found


class Server:
    def reset(self):
        pass

    def pids(self):
        return descendants([self.parent()])


class Postfix(Server):
    name = "postfix"

    def __init__(self, kind, sink_port):
        self.root = postfix_root()
        self.dir = tempfile.mkdtemp(prefix="bench-postfix-", dir="/var/tmp")
        os.chmod(self.dir, 0o755)
        self.port = pillar.free_base() + 25
        etc = self.dir + "/etc"
        for d in (etc, self.dir + "/data", self.dir + "/queue", self.dir + "/mail"):
            os.makedirs(d)
        shutil.chown(self.dir + "/data", "postfix")
        shutil.chown(self.dir + "/mail", "postfix")
        me = pwd.getpwnam("postfix")
        main = """compatibility_level = 3.6
queue_directory = {d}/queue
data_directory = {d}/data
command_directory = {r}/usr/sbin
daemon_directory = {r}/usr/lib/postfix/sbin
shlib_directory = {r}/usr/lib/postfix
meta_directory = {e}
maillog_file = {d}/mail/../log
maillog_file_prefixes = /var, /tmp
mail_owner = postfix
setgid_group = postdrop
import_environment = MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ LANG=C LD_LIBRARY_PATH={r}/usr/lib/postfix POSTLOG_SERVICE POSTLOG_HOSTNAME
myhostname = bench.test
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
local_recipient_maps =
default_process_limit = 200
in_flow_delay = 0
qmgr_message_active_limit = 50000
qmgr_message_recipient_limit = 50000
initial_destination_concurrency = 50
default_destination_concurrency_limit = 50
smtp_connection_cache_on_demand = yes
smtp_tls_security_level = none
smtpd_tls_security_level = none
smtpd_client_connection_count_limit = 0
smtpd_peername_lookup = no
disable_dns_lookups = yes
""".format(d=self.dir, r=self.root, e=etc)
        if kind == "relay":
            main += "relayhost = [127.0.0.1]:%d\n" % sink_port
        elif kind == "local":
            main += "virtual_mailbox_domains = bench.test\nvirtual_mailbox_base = {d}/mail\nvirtual_mailbox_maps = static:box/\nvirtual_uid_maps = static:{u}\nvirtual_gid_maps = static:{g}\nvirtual_minimum_uid = 1\nvirtual_destination_concurrency_limit = 50\n".format(d=self.dir, u=me.pw_uid, g=me.pw_gid)
        else:
            main += "relayhost = [127.0.0.1]:%d\ndefer_transports = smtp\n" % sink_port
        with open(etc + "/main.cf", "w") as f:
            f.write(main)
        with open(etc + "/master.cf", "w") as f:
            f.write("127.0.0.1:%d inet n - n - 200 smtpd\n" % self.port)
            for line in ("pickup unix n - n 60 1 pickup", "cleanup unix n - n - 0 cleanup", "qmgr unix n - n 300 1 qmgr", "tlsmgr unix - - n 1000? 1 tlsmgr",
                         "rewrite unix - - n - - trivial-rewrite", "bounce unix - - n - 0 bounce", "defer unix - - n - 0 bounce", "trace unix - - n - 0 bounce",
                         "verify unix - - n - 1 verify", "flush unix n - n 1000? 0 flush", "proxymap unix - - n - - proxymap", "smtp unix - - n - - smtp",
                         "relay unix - - n - - smtp", "showq unix n - n - - showq", "error unix - - n - - error", "retry unix - - n - - error",
                         "discard unix - - n - - discard", "local unix - n n - - local", "virtual unix - n n - - virtual", "lmtp unix - - n - - lmtp",
                         "anvil unix - - n - 1 anvil", "scache unix - - n - 1 scache", "postlog unix-dgram n - n - 1 postlogd"):
                f.write(line + "\n")
        self.env = dict(os.environ, LD_LIBRARY_PATH=self.root + "/usr/lib/postfix", MAIL_CONFIG=etc)
        for name in ("postfix-script", "post-install", "postfix-files", "postfix-wrapper", "postfix-tls-script", "postmulti-script", "master.cf.proto", "main.cf.proto", "dynamicmaps.cf"):
            for at in glob.glob(self.root + "/**/" + name, recursive=True):
                shutil.copy(at, etc)
        for sub in ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace"):
            os.makedirs(self.dir + "/queue/" + sub)
            shutil.chown(self.dir + "/queue/" + sub, "postfix")
        for sub in ("maildrop", "public", "pid"):
            os.makedirs(self.dir + "/queue/" + sub)
            if sub != "pid":
                shutil.chown(self.dir + "/queue/" + sub, "postfix", "postdrop")
        self.process = subprocess.Popen([self.root + "/usr/lib/postfix/sbin/master", "-c", etc, "-d"], env=self.env)
        pillar.wait_for(lambda: can_connect(self.port), 20, "postfix")

    def parent(self):
        return self.process.pid

    def mailbox_count(self):
        return sum(len(os.listdir(p)) for p in glob.glob(self.dir + "/mail/box/new"))

    def queue_bytes(self):
        return 0

    def stop(self):
        self.process.terminate()
        self.process.wait()
        remove_later(self.dir)


class Pillarpost(Server):
    name = "pillarpost"

    def __init__(self, kind, sink_port):
        extra = "mynetworks = 127.0.0.0/8\nsmtp_tls_security_level = none\ninitial_destination_concurrency = 50\ndefault_destination_concurrency_limit = 50\n"
        if kind == "relay":
            extra += "relayhost = [127.0.0.1]:%d\n" % sink_port
        elif kind == "accept":
            extra += "relayhost = [127.0.0.1]:1\n"
        self.instance = pillar.Instance(extra=extra, users=("bob",) if kind == "local" else ())
        self.port = self.instance.port("SMTP")

    def parent(self):
        with open(self.instance.dir + "/sock/maild.pid") as f:
            return int(f.read())

    def mailbox_count(self):
        return len(self.instance.mailbox_files("bob"))

    def stop(self):
        self.instance.stop() # its directory goes when this program ends


def can_connect(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


def source(port, args, to, size=4096):
    tool = postfix_root() + "/usr/sbin/smtp-source"
    env = dict(os.environ, LD_LIBRARY_PATH=postfix_root() + "/usr/lib/postfix")
    return subprocess.run([tool, "-s", str(args.sessions), "-m", str(args.messages), "-l", str(size), "-f", "x@else.test", "-t", to, "127.0.0.1:%d" % port], env=env, timeout=600, check=True,
                          stdout=subprocess.DEVNULL)


def sink(port, messages):
    tool = postfix_root() + "/usr/sbin/smtp-sink"
    env = dict(os.environ, LD_LIBRARY_PATH=postfix_root() + "/usr/lib/postfix")
    p = subprocess.Popen([tool, "-u", "nobody", "-M", str(messages), "127.0.0.1:%d" % port, "1000"], env=env, stdout=subprocess.DEVNULL)
    pillar.wait_for(lambda: can_connect(port), 10, "smtp-sink")
    return p


def measure(kind, cls, args):
    sink_port = pillar.free_base() + 99
    drain = sink(sink_port, args.messages) if kind == "relay" else None
    server = cls(kind, sink_port)
    try:
        pids = server.pids()
        cpu = cpu_of(pids)
        begun = time.monotonic()
        source(server.port, args, "bob@example.test" if cls is Pillarpost and kind == "local" else "bob@bench.test" if kind == "local" else "y@elsewhere.test")
        if kind == "relay":
            drain.wait(timeout=600)
        elif kind == "local":
            pillar.wait_for(lambda: server.mailbox_count() >= args.messages, 600, "delivery")
        took = time.monotonic() - begun
        return args.messages / took, (cpu_of(server.pids()) - cpu) * 1000 / args.messages
    finally:
        if drain and drain.poll() is None:
            drain.kill()
        server.stop()


def memory(cls, sessions=200):
    server = cls("accept", 9)
    try:
        before = pss_of(server.pids())
        open_sessions = []
        for _ in range(sessions):
            d = pillar.Dialogue(("127.0.0.1", server.port))
            d.reply()
            d.ask("EHLO idle.test")
            open_sessions.append(d)
        time.sleep(1)
        return (pss_of(server.pids()) - before) / sessions
    finally:
        server.stop()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--only", default="accept,relay,local,memory")
    args = parser.parse_args()
    version = os.path.basename(glob.glob(CACHE + "/postfix_*.deb")[0]) if postfix_root() else ""
    print("beside %s; %d messages of 4 KiB, %d sessions, %d runs alternating, %d cores" % (version, args.messages, args.sessions, args.runs, os.cpu_count()))
    for kind in args.only.split(","):
        if kind == "memory":
            ours, theirs = memory(Pillarpost), memory(Postfix)
            print("memory   KiB an open session: pillarpost %.1f, postfix %.1f, ratio 1/%.1f" % (ours, theirs, theirs / max(ours, 0.01)), flush=True)
            continue
        rates, cpus = {Pillarpost: [], Postfix: []}, {Pillarpost: [], Postfix: []}
        for _ in range(args.runs):
            for cls in (Pillarpost, Postfix):
                rate, cpu = measure(kind, cls, args)
                rates[cls].append(rate)
                cpus[cls].append(cpu)
        mid = {cls: statistics.median(rates[cls]) for cls in rates}
        mid_cpu = {cls: statistics.median(cpus[cls]) for cls in cpus}
        print("%-8s messages/s: pillarpost %.0f, postfix %.0f, ratio %.2f;  CPU s per 1,000: pillarpost %.3f, postfix %.3f, ratio 1/%.1f" % (
            kind, mid[Pillarpost], mid[Postfix], mid[Pillarpost] / mid[Postfix], mid_cpu[Pillarpost], mid_cpu[Postfix], mid_cpu[Postfix] / max(mid_cpu[Pillarpost], 0.0001)), flush=True)


main()
