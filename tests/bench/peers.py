# SPDX-License-Identifier: ISC
"""The mail servers that are measured: ours and Debian's.

Each of Debian's is its packages unpacked into a directory of its own, never installed: a
server runs in a mount namespace where that directory lies over /usr and a scratch
directory over /etc, so that it finds itself and its configuration where it expects them
and nothing else sees them.  Each runs in a control group of its own, which is what its CPU
time, memory and system calls are read from: no process is missed, not even one that ended.
Where there are no control groups its processes are known by their mount namespace, and nothing is measured.
"""
import atexit
import errno
import glob
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../suite"))
import pillar  # noqa: E402

CACHE = os.environ.get("BENCH_CACHE", "/var/tmp/pillarpost-bench")
CGROUP = next((p for p in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup") if os.path.exists(p + "/cgroup.procs")), None)
LATER = []  # directories to be removed at the end
SLOW_SYNC = None  # a shared object, while a slow disk is played
NO_WALLS = None  # the one that lets the suite run without its walls


def fetch(packages, libraries, debs):
    """What apt knows of may be old, and others may be using it: then its list is read again and it is tried again."""
    missing = [p for p in libraries if subprocess.run(["dpkg-query", "-W", "-f", "${db:Status-Status}", p], capture_output=True, text=True).stdout != "installed"]
    wanted = [(["apt-get", "download", "-q"] + packages, debs)]
    if missing:
        wanted.insert(0, (["apt-get", "install", "-y", "-q", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120"] + missing, "/"))
    for attempt in range(4):
        failed = [r for r in (subprocess.run(c, cwd=at, capture_output=True, text=True, env=dict(os.environ, DEBIAN_FRONTEND="noninteractive")) for c, at in wanted) if r.returncode]
        if not failed:
            return
        time.sleep(5 * attempt)
        subprocess.run(["apt-get", "update", "-q"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    raise RuntimeError("%s: %s" % (" ".join(failed[0].args), failed[0].stderr.strip()))


def unpacked(name, packages, libraries):
    """The directory where these Debian packages are unpacked; the libraries they need are installed."""
    root = "%s/%s" % (CACHE, name)
    if os.path.exists(root + "/.complete"):
        return root
    debs = root + ".debs"
    shutil.rmtree(root, ignore_errors=True)
    os.makedirs(debs, exist_ok=True)
    fetch(packages, libraries, debs)
    for deb in glob.glob(debs + "/*.deb"):
        subprocess.run(["dpkg", "-x", deb, root], check=True)
    # /lib is /usr/lib on the host: what lies there has to lie under usr/ to be laid over it
    if os.path.isdir(root + "/lib"):
        shutil.copytree(root + "/lib", root + "/usr/lib", dirs_exist_ok=True)
    version = subprocess.run(["dpkg", "-f", sorted(glob.glob("%s/%s_*.deb" % (debs, packages[0])))[0], "Version"], capture_output=True, text=True, check=True).stdout.strip()
    with open(root + "/.complete", "w") as f:
        f.write(version)
    return root


def remove_later(path):
    """ext4 without a journal searches past every inode that was freed in the last minutes: what one run
    removes would be paid for by the next."""
    LATER.append(path)


@atexit.register  # at import, so that it comes after those that stop servers: nothing can be registered while they run
def remove_all():
    for path in LATER:
        shutil.rmtree(path, ignore_errors=True)


def make_room():
    """Where all servers have their files.  ext4 puts each directory beneath one with this mark into a part of
    the disk of its own: none pays for what others remove beside it (see above), and all begin alike."""
    room = "/var/tmp/bench-room"
    os.makedirs(room, exist_ok=True)
    subprocess.run(["chattr", "+T", room], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # another file system has its own ways
    return room


ROOM = os.environ["PILLAR_ROOM"] = make_room()


def can_connect(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


def preloadable(path):
    """A copy of a shared object that every server's users can load: whoever built it may have done so where nobody else may look."""
    place = tempfile.mkdtemp(prefix="bench-preload-", dir="/var/tmp")
    LATER.append(place)
    os.chmod(place, 0o755)
    copy = shutil.copy(path, place)
    os.chmod(copy, 0o755)
    return copy


def has_loaded(pid, path):
    try:
        with open("/proc/%d/maps" % pid) as f:
            return path in f.read()
    except OSError:
        return True  # it has ended


def namespace(pid):
    try:
        return os.readlink("/proc/%d/ns/mnt" % pid)
    except OSError:
        return None


def impossible(*servers):
    """Why these cannot run on this machine, or None."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as d:
        os.makedirs(d + "/work")
        os.makedirs(d + "/etc")
        r = subprocess.run(["unshare", "-m", "mount", "-t", "overlay", "overlay", "-o", "lowerdir=/etc,upperdir=%s/etc,workdir=%s/work" % (d, d), "/etc"], capture_output=True, text=True)
    if r.returncode:
        return "no overlay mount in a mount namespace: " + r.stderr.strip()
    try:
        for s in servers:
            unpacked(s.name, s.packages, s.libraries)
    except (RuntimeError, OSError, subprocess.SubprocessError) as e:
        return "the packages of %s are not to be had: %s" % (s.name, str(e).replace("\n", " "))
    return None


class Server:
    """One running server.  kind: accept (everything is kept back), relay (to the sink), local (Maildir), mailbox."""

    name = None
    packages, libraries, users = [], [], {}
    number = 0

    def __init__(self, kind, sink_port=9, tls=False, more=""):
        self.kind, self.sink_port, self.tls, self.more = kind, sink_port, tls, more
        Server.number += 1
        if CGROUP:
            self.group = "%s/bench-%d-%d" % (CGROUP, os.getpid(), Server.number)
            os.makedirs(self.group)
        else:
            self.group = tempfile.mkdtemp(prefix="bench-group-", dir="/var/tmp")
        self.start()
        if self.preload() and not self.all_loaded():
            self.stop()
            raise RuntimeError("%s: not all of its programs have loaded %s" % (self.name, self.preload()))

    def all_loaded(self):
        """A process between fork and exec, or not linked yet, is asked again."""
        end = time.monotonic() + 5
        while not all(has_loaded(pid, self.preload()) for pid in self.pids()):
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    @classmethod
    def version(cls):
        root = unpacked(cls.name, cls.packages, cls.libraries)
        with open(root + "/.complete") as f:
            return f.read()

    # ---- starting ----

    def prepare(self):
        """A directory, ports, a namespace's /etc with the users this server wants."""
        self.root = unpacked(self.name, self.packages, self.libraries)
        self.dir = tempfile.mkdtemp(prefix="bench-%s-" % self.name, dir=ROOM)
        os.chmod(self.dir, 0o755)
        self.base = pillar.free_base()
        self.claim = pillar.CLAIMS.pop()
        self.port = self.base + 25
        for sub in ("etc", "etc.work", "spool", "lib", "mail", "mail/box"):
            os.makedirs(self.dir + "/" + sub)
        with open("/etc/passwd") as p, open("/etc/group") as g:
            passwd, group = ("".join(line for line in f if line.split(":")[0] not in self.users) for f in (p, g))
        for name, number in self.users.items():
            passwd += "%s:x:%d:%d::%s/mail/%s:/bin/sh\n" % (name, number, number, self.dir, name)
            group += "%s:x:%d:\n" % (name, number)
        self.etc("passwd", passwd)
        self.etc("group", group)
        self.etc("resolv.conf", "lookup file\n")  # no server waits for a resolver
        self.etc("nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files\n")

    def etc(self, name, text, mode=0o644):
        path = "%s/etc/%s" % (self.dir, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, mode)

    def run(self, command, etc_upper=None, **kw):
        """Starts a command in the namespace and the control group."""
        upper = etc_upper or self.dir + "/etc"
        os.makedirs(upper + ".work", exist_ok=True)
        if self.preload():
            with open(upper + "/ld.so.preload", "w") as f:
                f.write(self.preload() + "\n")
        script = ("echo $$ >%s/cgroup.procs\nset -e\n" if CGROUP else "readlink /proc/self/ns/mnt >>%s/namespaces\nset -e\n") % self.group
        script += "mount -t overlay overlay -o lowerdir=/etc,upperdir=%s,workdir=%s.work /etc\n" % (upper, upper)
        if not etc_upper:
            script += "mount -t overlay overlay -o lowerdir=%s/usr:/usr /usr\nmount --bind %s/spool /var/spool\nmount --bind %s/lib /var/lib\n" % (self.root, self.dir, self.dir)
        script += 'exec "$@"\n'
        return subprocess.Popen(["unshare", "-m", "sh", "-c", script, "sh"] + command, **kw)

    def preload(self):
        """What is loaded into every program of it, or None."""
        return SLOW_SYNC

    def wait(self):
        pillar.wait_for(lambda: can_connect(self.port), 30, self.name)

    # ---- what it used ----

    def pids(self):
        if CGROUP:
            with open(self.group + "/cgroup.procs") as f:
                return [int(line) for line in f]
        try:
            with open(self.group + "/namespaces") as f:
                ours = f.read().split()
        except FileNotFoundError:
            return []
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if namespace(pid) in ours]

    def cpu(self):
        """CPU seconds of all its processes so far."""
        with open(self.group + "/cpu.stat") as f:
            return int(f.readline().split()[1]) / 1e6

    def pss(self):
        total = 0
        for pid in self.pids():
            try:
                with open("/proc/%d/smaps_rollup" % pid) as f:
                    total += next(int(line.split()[1]) for line in f if line.startswith("Pss:"))
            except (OSError, StopIteration):
                pass
        return total

    def count_calls(self):
        """Begins counting system calls and syncs; the process to hand to counted()."""
        events = ["raw_syscalls:sys_enter"] + ["syscalls:sys_enter_" + n for n in ("fsync", "fdatasync", "sync_file_range", "msync", "sync", "syncfs")]
        group = self.group[len(CGROUP) + 1:]
        return subprocess.Popen(["perf", "stat", "-a", "-x", ",", "-e", ",".join(events), "--for-each-cgroup", group], stderr=subprocess.PIPE, text=True)

    @staticmethod
    def counted(process):
        """(calls, syncs) since count_calls(), or None where the kernel does not tell."""
        process.send_signal(signal.SIGINT)
        numbers = []
        for line in process.communicate()[1].splitlines():
            fields = line.split(",")
            if len(fields) > 2 and fields[0].isdigit():
                numbers.append(int(fields[0]))
        return (numbers[0], sum(numbers[1:])) if numbers else None

    # ---- its mail ----

    load_options = []
    address = "bob@bench.test"

    def mailbox_count(self):
        return sum(len(os.listdir(p)) for p in glob.glob(self.dir + "/mail/bob/new") + glob.glob(self.dir + "/mail/box/new"))

    def kill(self):
        """Ends what is left in the group.  Thousands of processes that have ended stay in theirs until all of each is freed."""
        for sig in (signal.SIGTERM, signal.SIGKILL):
            end = time.monotonic() + 5
            for pid in self.pids():
                try:
                    os.kill(pid, sig)
                except ProcessLookupError:
                    pass
            while self.pids() and time.monotonic() < end:
                time.sleep(0.02)
        if not CGROUP:
            shutil.rmtree(self.group)
            return
        for patience in range(300):
            try:
                return os.rmdir(self.group)
            except OSError as e:
                if e.errno != errno.EBUSY or patience == 299:
                    raise
                time.sleep(0.1)

    def stop(self):
        self.kill()
        self.claim.close()
        remove_later(self.dir)


class Pillarpost(Server):
    name = "pillarpost"
    address = "bob@example.test"

    @classmethod
    def version(cls):
        return subprocess.run([pillar.MAILCTL, "--version"], capture_output=True, text=True).stdout.strip() or "this tree"

    def start(self):
        extra = "mynetworks = 127.0.0.0/8\ninitial_destination_concurrency = 50\ndefault_destination_concurrency_limit = 50\nsmtpd_client_connection_count_limit = 10000\n"
        extra += "smtp_tls_security_level = %s\n" % ("may" if self.tls else "none") + self.more
        if self.tls:
            extra += "smtpd_tls_cert_file = {t}/cert.pem\nsmtpd_tls_key_file = {t}/key.pem\n".format(t=self.tls)
        if self.kind in ("relay", "accept"):
            extra += "relayhost = [127.0.0.1]:%d\n" % (self.sink_port if self.kind == "relay" else 1)
        self.instance = pillar.Instance(extra=extra, start=False)
        self.claim = pillar.CLAIMS.pop()
        self.dir = self.instance.dir
        os.makedirs(self.dir + "/ns-etc")
        self.port = self.instance.port("SMTP")
        if self.run([pillar.MAILCTL, "-c", self.instance.env["CONFIG"], "start"], etc_upper=self.dir + "/ns-etc").wait() != 0:
            raise RuntimeError("pillarpost does not start")
        self.instance.running = True
        if self.kind in ("local", "mailbox"):
            for user in ("bob", "alice"):
                self.instance.user_add(user)
        self.wait()

    def mailbox_count(self):
        return sum(len(os.listdir(p)) for p in glob.glob(self.instance.maildir("bob") + "/new"))

    def stop(self):
        self.instance.stop()  # its directory goes when this program ends
        self.kill()
        self.claim.close()


class NoWalls(Pillarpost):
    """Itself without seccomp and Landlock, to see what they cost."""
    name = "no walls"

    def preload(self):
        return NO_WALLS

    def start(self):
        super().start()
        filters = {}
        for pid in self.pids():
            with open("/proc/%d/status" % pid) as f:
                words = dict(line.split(":", 1) for line in f)
            filters[words["Name"].strip()] = words["Seccomp"].strip()
        if {filters.get(name) for name in ("maild", "smtpd", "queued", "routed", "remoted")} != {"0"}:
            raise RuntimeError("there are walls: %s" % filters)


class Postfix(Server):
    """Throughput settings: TUNING_README, STRESS_README, and connection reuse on demand."""

    name = "postfix"
    packages, libraries = ["postfix"], ["libicu72", "libnsl2", "libsasl2-2", "libdb5.3"]
    users = {"postfix": 64101, "postdrop": 64102, "box": 64103}

    MAIN = """compatibility_level = 3.6
queue_directory = {d}/queue
data_directory = {d}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
shlib_directory = /usr/lib/postfix
meta_directory = {d}/conf
maillog_file = {d}/log
maillog_file_prefixes = /var, /tmp
mail_owner = postfix
setgid_group = postdrop
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
smtpd_client_connection_count_limit = 0
smtpd_peername_lookup = no
message_size_limit = 20000000
disable_dns_lookups = yes
"""

    def settings(self):
        """Its lines of main.cf besides MAIN."""
        if self.tls:
            main = "smtp_tls_security_level = may\nsmtpd_tls_security_level = may\nsmtpd_tls_cert_file = {t}/cert.pem\nsmtpd_tls_key_file = {t}/key.pem\nsmtp_tls_connection_reuse = yes\n".format(t=self.tls)
        else:
            main = "smtp_tls_security_level = none\nsmtpd_tls_security_level = none\n"
        if self.kind == "local":
            main += ("virtual_mailbox_domains = bench.test\nvirtual_mailbox_base = {d}/mail\nvirtual_mailbox_maps = static:box/\nvirtual_uid_maps = static:{u}\n"
                     "virtual_gid_maps = static:{u}\nvirtual_minimum_uid = 1\nvirtual_destination_concurrency_limit = 50\n").format(d=self.dir, u=self.users["box"])
            os.chown(self.dir + "/mail/box", self.users["box"], self.users["box"])
        else:
            main += "relayhost = [127.0.0.1]:%d\n" % self.sink_port
        if self.kind == "accept":
            main += "defer_transports = smtp\n"
        return main

    def services(self):
        """Its lines of master.cf besides the usual ones."""
        return ()

    def start(self):
        self.prepare()
        conf = self.dir + "/conf"
        for sub in ("conf", "data", "queue"):
            os.makedirs(self.dir + "/" + sub)
        os.chown(self.dir + "/data", self.users["postfix"], -1)
        os.chown(self.dir + "/mail", self.users["box"], self.users["box"])
        with open(conf + "/main.cf", "w") as f:
            f.write(self.MAIN.format(d=self.dir) + self.settings())
        with open(conf + "/master.cf", "w") as f:
            f.write("127.0.0.1:%d inet n - n - 200 smtpd\n" % self.port)
            for line in ("pickup unix n - n 60 1 pickup", "cleanup unix n - n - 0 cleanup", "qmgr unix n - n 300 1 qmgr", "tlsmgr unix - - n 1000? 1 tlsmgr", "tlsproxy unix - - n - 0 tlsproxy",
                         "rewrite unix - - n - - trivial-rewrite", "bounce unix - - n - 0 bounce", "defer unix - - n - 0 bounce", "trace unix - - n - 0 bounce",
                         "verify unix - - n - 1 verify", "flush unix n - n 1000? 0 flush", "proxymap unix - - n - - proxymap", "smtp unix - - n - - smtp",
                         "relay unix - - n - - smtp", "showq unix n - n - - showq", "error unix - - n - - error", "retry unix - - n - - error",
                         "discard unix - - n - - discard", "local unix - n n - - local", "virtual unix - n n - - virtual", "lmtp unix - - n - - lmtp",
                         "anvil unix - - n - 1 anvil", "scache unix - - n - 1 scache", "postlog unix-dgram n - n - 1 postlogd") + self.services():
                f.write(line + "\n")
        for name in ("postfix-script", "post-install", "postfix-files", "postfix-wrapper", "postfix-tls-script", "postmulti-script", "master.cf.proto", "main.cf.proto", "dynamicmaps.cf"):
            for at in glob.glob(self.root + "/**/" + name, recursive=True):
                shutil.copy(at, conf)
        for sub in ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace", "maildrop", "public"):
            os.makedirs(self.dir + "/queue/" + sub)
            os.chown(self.dir + "/queue/" + sub, self.users["postfix"], self.users["postdrop"] if sub in ("maildrop", "public") else -1)
        os.makedirs(self.dir + "/queue/pid")
        self.process = self.run(["/usr/lib/postfix/sbin/master", "-c", conf, "-d"], env=dict(os.environ, MAIL_CONFIG=conf))
        self.wait()

    def stop(self):
        self.process.terminate()
        self.process.wait()
        super().stop()


class Opensmtpd(Server):
    """Nothing to tune.  Its accept queue holds 5: the load client dials so many at a time, or waits for SYNs sent again."""

    name = "opensmtpd"
    packages, libraries = ["opensmtpd"], ["libevent-2.1-7", "libdb5.3"]
    users = {"opensmtpd": 64111, "opensmtpq": 64112, "bob": 64113}
    load_options = ["-D", "4"]
    address = "bob@bench.test"

    def settings(self):
        """Its smtpd.conf."""
        text = "bounce warn-interval 1d\n"
        if self.tls:
            text += 'pki bench cert "%s/cert.pem"\npki bench key "%s/key.pem"\n' % (self.tls, self.tls)
        text += "listen on 127.0.0.1 port %d hostname bench.test%s\n" % (self.port, " tls pki bench" if self.tls else "")
        if self.kind == "local":
            text += 'action "go" maildir "%s/mail/bob"\nmatch from any for domain "bench.test" action "go"\n' % self.dir
        else:
            text += 'action "go" relay host "smtp%s://127.0.0.1:%d"%s\nmatch from any for any action "go"\n' % (
                "+tls" if self.tls else "+notls", 1 if self.kind == "accept" else self.sink_port, " tls no-verify" if self.tls else "")
        return text

    def start(self):
        self.prepare()
        os.makedirs(self.dir + "/lib/opensmtpd/empty", 0o711)
        os.makedirs(self.dir + "/spool/smtpd", 0o711)
        os.makedirs(self.dir + "/mail/bob")
        os.chown(self.dir + "/mail/bob", self.users["bob"], self.users["bob"])
        self.etc("smtpd.conf", self.settings())
        with open(self.dir + "/log", "w") as log:
            self.process = self.run(["/usr/sbin/smtpd", "-d"], stdout=log, stderr=log)
        self.wait()


class Exim(Server):
    """Throughput settings: split spool, no message logs, no name or ident look-ups; a process a message is how it works."""

    name = "exim"
    packages, libraries = ["exim4-daemon-light", "exim4-base"], ["libdb5.3", "libgnutls-dane0", "libidn12", "libnsl2"]
    users = {"Debian-exim": 64121, "bob": 64123}
    address = "bob@bench.test"

    def settings(self):
        """Its exim4.conf."""
        text = """primary_hostname = bench.test
exim_user = Debian-exim
exim_group = Debian-exim
spool_directory = /var/spool/exim4
log_file_path = {d}/log/%s
pid_file_path = {d}/spool/exim4/pid
daemon_smtp_ports = {p}
local_interfaces = 127.0.0.1
domainlist local_domains = bench.test
split_spool_directory
message_logs = false
smtp_accept_max = 300
smtp_accept_queue_per_connection = 0
smtp_connect_backlog = 1024
smtp_accept_keepalive = false
host_lookup =
rfc1413_query_timeout = 0s
smtp_enforce_sync = false
never_users =
acl_smtp_rcpt = all
acl_smtp_data = all
disable_ipv6
""".format(d=self.dir, p=self.port)
        if self.kind == "accept":
            text += "queue_only\n"
        if self.tls:
            shutil.copy(self.tls + "/key.pem", self.dir + "/key.pem")
            os.chown(self.dir + "/key.pem", self.users["Debian-exim"], -1)
            text += "tls_advertise_hosts = *\ntls_certificate = {t}/cert.pem\ntls_privatekey = {d}/key.pem\n".format(t=self.tls, d=self.dir)
        else:
            text += "tls_advertise_hosts =\n"
        return text + """begin acl
all:
  accept
begin routers
mine:
  driver = accept
  domains = +local_domains
  transport = maildir
out:
  driver = manualroute
  route_list = * 127.0.0.1::{s}
  self = send
  host_find_failed = defer
  transport = smtp
begin transports
smtp:
  driver = smtp
  hosts_try_fastopen =
{t}
maildir:
  driver = appendfile
  maildir_format
  directory = {d}/mail/bob
  user = bob
  group = bob
  create_directory
begin retry
* * F,1h,5m
begin authenticators
""".format(s=self.sink_port, d=self.dir, t="" if self.tls else "  hosts_avoid_tls = *")

    def start(self):
        self.prepare()
        for sub in ("spool/exim4", "log"):
            os.makedirs(self.dir + "/" + sub, exist_ok=True)
            os.chown(self.dir + "/" + sub, self.users["Debian-exim"], self.users["Debian-exim"])
        os.makedirs(self.dir + "/mail/bob")
        os.chown(self.dir + "/mail/bob", self.users["bob"], self.users["bob"])
        self.etc("exim4/exim4.conf", self.settings())
        with open(self.dir + "/out", "w") as log:
            self.process = self.run(["/usr/sbin/exim4", "-bdf", "-q1h"], stdout=log, stderr=log)
        self.wait()


SERVERS = {cls.name: cls for cls in (Pillarpost, Postfix, Opensmtpd, Exim)}
