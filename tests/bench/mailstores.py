# SPDX-License-Identifier: ISC
"""The mailbox servers that are measured: ours, Debian's dovecot on Maildir and on mdbox, Debian's cyrus.

As peers.py has it: unpacked, in a mount namespace, each in a control group.  A mailbox server has
ports (lmtp, imap, pop3), users that log in with name + login_domain and password, and INBOXes that
can be filled from a directory of files.  kind: mailboxes (for the rates), mailbox (a large one), memory.
"""
import atexit
import glob
import imaplib
import os
import shutil
import signal
import subprocess
import tempfile
import time

import peers
import pillar

USERS, POP, MIXED = 50, 4, 40


def make_certificate():
    at = tempfile.mkdtemp(prefix="bench-tls-", dir="/var/tmp")
    peers.remove_later(at)
    os.chmod(at, 0o755)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", "/CN=bench.test", "-keyout", at + "/key.pem", "-out", at + "/cert.pem"],
                   check=True, capture_output=True)
    return at


def maildir_part(files):
    """Where they lie: in new/, as delivered, when their names have no letters yet."""
    return "/cur" if all(":2," in entry.name for entry in os.scandir(files)) else "/new"


def copy_files(files, to, owner, name=lambda n: n):
    """Into a directory that is there, as its owner, with their times."""
    for entry in sorted(os.scandir(files), key=lambda e: e.name):
        path = to + "/" + name(entry.name)
        shutil.copyfile(entry.path, path)
        st = entry.stat()
        os.utime(path, ns=(st.st_mtime_ns, st.st_mtime_ns))
        os.chown(path, owner, owner)


def allow_inotify():
    """Who hibernates needs an inotify instance for each user; what the kernel gives without being asked is 128."""
    path = "/proc/sys/fs/inotify/max_user_instances"
    with open(path) as f:
        before = f.read()
    if int(before) < 65536:
        with open(path, "w") as f:
            f.write("65536\n")
        atexit.register(lambda: open(path, "w").write(before))


class Store(peers.Server):
    domain, login_domain, password = "@bench.test", "", "secret"

    def __init__(self, kind, users=1, tls=None, hibernate=False):
        self.names = ["user%d" % i for i in range(users)]
        if kind == "mailboxes":  # those of the rows pop3-read and mixed have messages of their own
            self.names += ["pop%d" % i for i in range(POP)] + ["mix%d" % i for i in range(MIXED)]
        self.hibernate = hibernate
        self.brought = 0  # messages that user0 and the others were sent
        super().__init__(kind, tls=tls)

    def run(self, command, etc_upper=None, **kw):
        """In a session of its own, as ours makes one: the kernel's autogroups would give others the client's share of a busy machine."""
        return super().run(command, etc_upper, start_new_session=True, **kw)

    def inside(self, command, **kw):
        """Runs a command in the server's namespace to its end."""
        pid = self.pids()[0]
        return subprocess.run(["nsenter", "--mount=/proc/%d/ns/mnt" % pid] + command, check=True, capture_output=True, text=True, **kw)

    def delivered(self):
        return 0

    def settled(self, total):
        """Until all that was said to be delivered is in the mailboxes: at once, where a 250 means that."""

    def forget(self):
        """Nothing is known of user0's INBOX any more but its messages.  False: there is no such state."""
        return False

    def prepared(self):
        """Until it has begun what makes a search for a text faster the next time."""

    def quiet(self, limit=60):
        """Until it does nothing any more, or has not come to rest in so many seconds."""
        end = time.monotonic() + limit
        while time.monotonic() < end:
            before = self.cpu()
            time.sleep(0.1)
            if self.cpu() - before < 0.004:
                return


class Dovecot(Store):
    """Tuning: doc.dovecot.org, login processes in high-performance mode, processes that serve many sessions; Maildir: maildir_very_dirty_syncs."""

    name = "dovecot"
    packages, libraries = ["dovecot-core", "dovecot-imapd", "dovecot-pop3d", "dovecot-lmtpd"], ["libtirpc3", "libsodium23", "libunwind8"]
    users = {"dovecot": 64131, "dovenull": 64132, "vmail": 64133}
    location, more = "maildir:{d}/mail/%n", "maildir_very_dirty_syncs = yes\n"
    CONFIG = """protocols = imap pop3 lmtp
listen = 127.0.0.1
base_dir = {d}/run
state_dir = {d}/run
log_path = {d}/log
ssl = yes
ssl_cert = <{t}/cert.pem
ssl_key = <{t}/key.pem
disable_plaintext_auth = no
mail_location = {location}
{more}first_valid_uid = 1
mail_max_userip_connections = 10000
auth_username_format = %n
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid={u} gid={u} home={d}/mail/%n allow_all_users=yes
}}
service imap-login {{
  service_count = 0
  process_min_avail = 2
  client_limit = 8000
  inet_listener imap {{
    port = {i}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service pop3-login {{
  service_count = 0
  process_min_avail = 2
  inet_listener pop3 {{
    port = {p}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service imap {{
  service_count = 1000
  process_min_avail = 4
  process_limit = 8000
  unix_listener imap-master {{
    user = dovecot
  }}
}}
service pop3 {{
  service_count = 1000
  process_min_avail = 4
}}
service lmtp {{
  process_min_avail = 4
  service_count = 1000
  inet_listener lmtp {{
    port = {l}
  }}
}}
service imap-hibernate {{
  unix_listener imap-hibernate {{
    mode = 0666
  }}
}}
service auth {{
  client_limit = 20000
}}
service anvil {{
  client_limit = 20000
}}
service stats {{
  client_limit = 20000
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
"""

    def start(self):
        self.prepare()
        self.ports = {"lmtp": self.base + 53, "imap": self.base + 143, "pop3": self.base + 110}
        self.port = self.ports["imap"]
        os.chown(self.dir + "/mail", self.users["vmail"], self.users["vmail"])
        more = self.more + ("imap_hibernate_timeout = 2s\n" if self.hibernate else "")
        self.etc("dovecot/dovecot.conf", self.CONFIG.format(d=self.dir, t=self.tls, u=self.users["vmail"], i=self.ports["imap"], p=self.ports["pop3"], l=self.ports["lmtp"],
                                                            location=self.location.format(d=self.dir), more=more))
        os.makedirs(self.dir + "/run")
        self.process = self.run(["/usr/sbin/dovecot", "-F", "-c", "/etc/dovecot/dovecot.conf"])
        self.wait()

    def fill(self, files):
        target = "%s/mail/user0" % self.dir
        for sub in ("", "/cur", "/new", "/tmp"):
            os.makedirs(target + sub, exist_ok=True)
            os.chown(target + sub, self.users["vmail"], self.users["vmail"])
        copy_files(files, target + maildir_part(files), self.users["vmail"])

    def forget(self):
        for entry in glob.glob("%s/mail/user0/dovecot*" % self.dir):
            os.remove(entry)
        return True


class DovecotMdbox(Dovecot):
    """As Dovecot; mdbox, with what its documentation has for it: nothing but the format."""

    name = "mdbox"
    location, more = "mdbox:{d}/mail/%n/mdbox", ""

    def prepare(self):
        self.name = "dovecot"  # the same packages
        super().prepare()
        self.name = "mdbox"

    @classmethod
    def version(cls):
        return Dovecot.version()

    def fill(self, files):
        source = self.dir + "/source"
        owner = self.users["vmail"]
        for sub in ("", "/cur", "/new", "/tmp"):
            os.makedirs(source + sub, exist_ok=True)
            os.chown(source + sub, owner, owner)
        copy_files(files, source + maildir_part(files), owner)
        self.inside(["/usr/bin/doveadm", "-c", "/etc/dovecot/dovecot.conf", "import", "-u", "user0", "maildir:" + source, "", "ALL"])

    def forget(self):
        return False


class Cyrus(Store):
    """Tuning: prefork, many uses of a process; twoskip and fsync as by default; idled for IDLE."""

    name = "cyrus"
    packages = ["cyrus-common", "cyrus-imapd", "cyrus-pop3d"]
    libraries = ["libical3", "libicu72", "libjansson4", "libkrb5-3", "libldap-2.5-0", "libpcre3", "libpq5", "libsasl2-2", "libsasl2-modules", "libsasl2-modules-db", "sasl2-bin",
                 "libsqlite3-0", "libwrap0", "libxapian30", "libxml2", "libzephyr4", "libclamav12", "libcom-err2"]
    users = {"cyrus": 64141}
    IMAPD = """configdirectory: {d}/cyrus
partition-default: {d}/mail
admins: cyrus
allowplaintext: yes
unixhierarchysep: yes
virtdomains: off
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: {d}/cyrus/sasldb2
sasl_mech_list: PLAIN
tls_server_cert: {t}/cert.pem
tls_server_key: {t}/key.pem
tls_eccurve: auto
idlesocket: {d}/cyrus/socket/idle
lmtpsocket: {d}/cyrus/socket/lmtp
popminpoll: 0
autocreate_quota: -1
servername: bench.test
"""
    SERVICES = """START {{
  recover cmd="/usr/sbin/cyrus ctl_cyrusdb -r"
}}
SERVICES {{
  imap cmd="imapd -U 1000" listen="127.0.0.1:{i}" prefork=20 maxchild=8000
  pop3 cmd="pop3d -U 1000" listen="127.0.0.1:{p}" prefork=5 maxchild=200
  lmtp cmd="lmtpd -a -U 1000" listen="127.0.0.1:{l}" prefork=20 maxchild=200
}}
DAEMON {{
  idled cmd="idled"
}}
"""

    def start(self):
        self.prepare()
        self.ports = {"lmtp": self.base + 53, "imap": self.base + 143, "pop3": self.base + 110}
        self.port = self.ports["imap"]
        owner = self.users["cyrus"]
        shutil.copy(self.tls + "/key.pem", self.dir + "/key.pem")
        shutil.copy(self.tls + "/cert.pem", self.dir + "/cert.pem")
        for sub in ("", "/proc", "/db", "/socket", "/log", "/msg", "/quota", "/user", "/lock", "/ptclient", "/sieve", "/backup", "/sync"):
            os.makedirs(self.dir + "/cyrus" + sub, exist_ok=True)
        places = dict(d=self.dir, t=self.dir, i=self.ports["imap"], p=self.ports["pop3"], l=self.ports["lmtp"])
        self.etc("imapd.conf", self.IMAPD.format(**places))
        self.etc("cyrus.conf", self.SERVICES.format(**places))
        for name in ["cyrus"] + self.names:
            subprocess.run(["saslpasswd2", "-p", "-c", "-u", "bench.test", "-f", self.dir + "/cyrus/sasldb2", name], input=self.password, text=True, check=True)
        subprocess.run(["chown", "-R", "%d:%d" % (owner, owner), self.dir + "/cyrus", self.dir + "/mail", self.dir + "/key.pem"], check=True)
        with open(self.dir + "/out", "w") as log:
            self.process = self.run(["/usr/sbin/cyrmaster", "-D", "-p", self.dir + "/cyrus/pid", "-C", "/etc/imapd.conf", "-M", "/etc/cyrus.conf"], stdout=log, stderr=log)
        self.wait()
        admin = imaplib.IMAP4("127.0.0.1", self.port)
        admin.login("cyrus", self.password)
        for name in self.names:
            answer = admin.create("user/" + name)
            if answer[0] != "OK":
                raise RuntimeError("cyrus: %s" % answer[1])
        admin.logout()

    def fill(self, files):
        target = self.inside(["/usr/sbin/cyrus", "mbpath", "user/user0"]).stdout.split()[0]
        number = iter(range(1, 1 << 30))
        copy_files(files, target, self.users["cyrus"], lambda name: "%d." % next(number))
        self.inside(["setpriv", "--reuid", str(self.users["cyrus"]), "--clear-groups", "/usr/sbin/cyrus", "reconstruct", "user/user0"])
        seen = [str(i + 1) for i, name in enumerate(sorted(os.listdir(files))) if name.endswith("S")]
        imap = imaplib.IMAP4("127.0.0.1", self.port)
        imap.login("user0", self.password)
        imap.select("INBOX")
        for at in range(0, len(seen), 1000):
            imap.store(",".join(seen[at:at + 1000]), "+FLAGS.SILENT", "(\\Seen)")
        imap.logout()

    def stop(self):
        self.process.terminate()
        super().stop()


class Pillarpost(Store, peers.Pillarpost):
    name = "pillarpost"
    domain = login_domain = "@example.test"

    @classmethod
    def version(cls):
        return peers.Pillarpost.version()

    def start(self):
        extra = "smtpd_client_connection_count_limit = 10000\nmailbox_session_limit = 1000\n"
        if self.kind == "memory":  # thousands of users are made
            extra += "auth_hash_memory = 1M\nmailbox_idle_time = 0\n"
            allow_inotify()
        if self.hibernate:
            extra += "imap_hibernate_time = 5s\n"
        self.instance = pillar.Instance(extra=extra, start=False, users=())
        self.claim = pillar.CLAIMS.pop()
        self.dir = self.instance.dir
        self.ports = {"lmtp": self.instance.base + 53, "imap": self.instance.port("IMAP"), "pop3": self.instance.port("POP3")}
        with open(self.instance.env["CONFIG"], "a") as f:
            f.write('listener bench-lmtp { service = lmtp; address = "127.0.0.1:%d"; }\n' % self.ports["lmtp"])
        os.makedirs(self.dir + "/ns-etc")
        if self.run([pillar.MAILCTL, "-c", self.instance.env["CONFIG"], "start"], etc_upper=self.dir + "/ns-etc").wait() != 0:
            raise RuntimeError("pillarpost does not start")
        self.instance.running = True
        for name in self.names:
            self.instance.mailctl("user", "add", name + "@example.test", "--password-stdin", input="secret\n")
        self.port = self.ports["imap"]
        self.wait()

    def stop(self):
        peers.Pillarpost.stop(self)

    def delivered(self):
        return sum(len(os.listdir(p)) for p in glob.glob(self.instance.maildir("user*") + "/new") + glob.glob(self.instance.maildir("user*") + "/cur"))

    def settled(self, total):
        """Our 250 says that it is durable; what counts is when it is in the Maildir."""
        end = time.monotonic() + 300
        while self.delivered() < total and time.monotonic() < end:
            time.sleep(0.02)

    def fill(self, files):
        imap = imaplib.IMAP4("127.0.0.1", self.port)  # makes the Maildir
        imap.login("user0@example.test", self.password)
        imap.logout()
        self.forget()
        target = self.instance.maildir("user0")
        copy_files(files, target + maildir_part(files), os.stat(target).st_uid)

    def forget(self):
        self.end_sessions()
        for entry in os.scandir(self.instance.maildir("user0")):
            if entry.name not in ("cur", "new", "tmp"):
                shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else os.remove(entry.path)
        return True

    def prepared(self):
        time.sleep(1.2)  # its index begins a second after the search

    def end_sessions(self):
        """A login before userd has heard of their ends would go to one that is no more."""
        gone = self.named("mailboxd")
        for pid in gone:
            os.kill(pid, signal.SIGTERM)
        pillar.wait_for(lambda: not self.named("mailboxd") and all(self.logged("pid=%d ended" % pid) for pid in gone), 10, "mailboxd to end")

    def logged(self, words):
        with open(self.dir + "/log") as f:
            return any(words in line for line in f)

    def all_rest(self):
        pillar.wait_for(lambda: not self.named("mailboxd"), 300, "the last client to rest")

    def named(self, name):
        found = []
        for pid in self.pids():
            try:
                with open("/proc/%d/comm" % pid) as f:
                    found += [pid] if f.read() == name + "\n" else []
            except OSError:
                pass
        return found


STORES = {cls.name: cls for cls in (Pillarpost, Dovecot, DovecotMdbox, Cyrus)}
