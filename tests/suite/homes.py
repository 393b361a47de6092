# SPDX-License-Identifier: ISC
"""A directory laid out like /home, with the homes of system users, and an instance whose mailboxes are in them.
Needs root: who is not skips the test."""
import atexit
import os
import pwd
import shutil
import sys
import tempfile

from pillar import Instance, read_file, wait_for

if os.geteuid() != 0:
    print("1..0 # skip: mailboxes of system users need root")
    sys.exit(0)

# Accounts of every Debian that are used for nothing here, so that none has to be made.
ANN, BEN, CAT = pwd.getpwnam("news"), pwd.getpwnam("uucp"), pwd.getpwnam("games")
WORK = tempfile.mkdtemp(prefix="pp-homes-", dir=os.environ.get("PILLAR_ROOM", "/tmp"))
HOMES = WORK + "/home"
os.chmod(WORK, 0o755)
os.mkdir(HOMES)
os.chmod(HOMES, 0o755)
atexit.register(shutil.rmtree, WORK, ignore_errors=True)


def make_home(name, uid, gid, mode=0o700):
    path = os.path.join(HOMES, name)
    os.mkdir(path)
    os.chown(path, uid, gid)
    os.chmod(path, mode)
    return path


for name, who in ("ann", ANN), ("ben", BEN), ("cat", CAT):
    make_home(name, who.pw_uid, who.pw_gid)


def files(maildir):
    """Those with messages, of a Maildir below HOMES."""
    found = [os.path.join(HOMES, maildir, sub, f) for sub in ("new", "cur") if os.path.isdir(os.path.join(HOMES, maildir, sub))
             for f in os.listdir(os.path.join(HOMES, maildir, sub))]
    return sorted(found)


def texts(maildir):
    """What they say; mailboxd gives files new names at its leisure: then all are read anew."""
    while True:
        try:
            return [read_file(path).decode("utf-8", "replace").replace("\r\n", "\n") for path in files(maildir)]
        except FileNotFoundError:
            continue


class Homes(Instance):
    def __init__(self, extra=""):
        super().__init__(users=(), extra="virtual_mailbox_base = %s\n" % HOMES + extra)

    def add(self, name, *options, check=True):
        return self.mailctl("user", "add", name + "@example.test", *options, "--password-stdin", input=self.password(name) + "\n", check=check)

    def arrive(self, maildir, subject):
        def there():
            for path in files(maildir):
                with open(path) as f:
                    if "Subject: %s\n" % subject in f.read():
                        return path
        return wait_for(there, 20, "%s in %s" % (subject, maildir))
