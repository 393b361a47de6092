# SPDX-License-Identifier: ISC
"""Attacker code in a running program: system calls that the process makes itself, as
whoever it is, with the descriptors it has, behind the walls it stands behind.

Root stops the process (ptrace) at any moment and has it execute one `syscall`
instruction of its own after the other with arguments of ours, which is all that code of an
attacker could do to the world outside.  The program is the one that is installed: nothing in it
helps.  x86-64 only.
"""
import ctypes
import os
import re
import signal
import socket
import struct
import subprocess

from pillar import TOP, expect, wait_for

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long
SEIZE, INTERRUPT, GETREGS, SETREGS, STEP, DETACH = 0x4206, 0x4207, 12, 13, 9, 17
WALL = 0x40000000
SCRATCH, PATHS = 1 << 16, 4096
ID = 0x6472696c6c # of what an intruder asks
AT_FDCWD = -100 & (1 << 64) - 1

NUMBERS = {"read": 0, "close": 3, "mmap": 9, "pwrite64": 18, "dup": 32, "ftruncate": 77, "fallocate": 285, "rt_sigqueueinfo": 129, "socket": 41, "connect": 42, "accept4": 288, "sendto": 44, "recvfrom": 45, "sendmsg": 46, "bind": 49, "listen": 50,
           "socketpair": 53, "execve": 59, "kill": 62, "fcntl": 72, "rename": 82, "mkdir": 83, "unlink": 87, "ptrace": 101, "mount": 165, "tgkill": 234, "openat": 257,
           "unlinkat": 263, "linkat": 265, "symlinkat": 266, "prlimit64": 302, "process_vm_readv": 310, "seccomp": 317, "pidfd_open": 434, "pidfd_getfd": 438}


class Registers(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base ds es fs gs".split()]


class Killed(Exception):
    """The kernel ended the process for what it tried."""


def possible():
    """Why there can be no intruder here, or None."""
    if os.geteuid() != 0:
        return "only root can break into other users' programs"
    if os.uname().machine != "x86_64":
        return "the intruder knows x86-64 alone"
    child = os.fork()
    if child == 0:
        signal.pause()
        os._exit(0)
    try:
        Intruder(child).leave()
        return None
    except OSError as e:
        return "no process may be traced here: %s" % e
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


class Intruder:
    def __init__(self, pid):
        self.pid, self.held = pid, []
        self.trace(SEIZE)
        self.trace(INTERRUPT)
        self.wait()
        self.before = Registers()
        self.trace(GETREGS, data=ctypes.byref(self.before))
        self.memory = os.open("/proc/%d/mem" % pid, os.O_RDWR)
        self.at = self.find_instruction()
        self.scratch = self.call("mmap", 0, SCRATCH, 3, 0x22, (1 << 64) - 1, 0)
        assert self.scratch > 0, self.scratch
        self.free = 0

    def trace(self, what, address=None, data=None):
        if libc.ptrace(what, self.pid, address, data) < 0:
            raise OSError(ctypes.get_errno(), "ptrace %d of %d" % (what, self.pid))

    def wait(self):
        _, status = os.waitpid(self.pid, WALL)
        if not os.WIFSTOPPED(status):
            raise Killed(signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else "exit %d" % os.WEXITSTATUS(status))
        return status

    def find_instruction(self):
        with open("/proc/%d/maps" % self.pid) as maps:
            for line in maps:
                m = re.match(r"(\w+)-(\w+) r-xp .*(\[vdso\]|/libc[.-].*)$", line)
                if m:
                    low, high = int(m.group(1), 16), int(m.group(2), 16)
                    at = os.pread(self.memory, high - low, low).find(b"\x0f\x05")
                    if at >= 0:
                        return low + at
        raise OSError("no system call instruction")

    def call(self, name, *arguments):
        """The result, negative errors as the kernel has them."""
        words = (list(arguments) + [0] * 6)[:6]
        regs = Registers.from_buffer_copy(self.before)
        regs.rax, regs.orig_rax, regs.rip = NUMBERS[name], (1 << 64) - 1, self.at
        regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9 = [w & (1 << 64) - 1 for w in words]
        self.trace(SETREGS, data=ctypes.byref(regs))
        for _ in range(100):
            self.trace(STEP)
            status = self.wait()
            self.trace(GETREGS, data=ctypes.byref(regs))
            if regs.rip == self.at + 2:
                return ctypes.c_longlong(regs.rax).value
            if os.WSTOPSIG(status) != signal.SIGTRAP: # for the program, later
                self.held.append(os.WSTOPSIG(status))
        raise AssertionError("%s did not come back: it may be another program now" % name)

    def put(self, data):
        """Where those bytes are now; the last few puts stay."""
        if self.free + len(data) > SCRATCH:
            self.free = 0
        os.pwrite(self.memory, data, self.scratch + self.free)
        self.free += (len(data) + 15) & ~15
        return self.scratch + self.free - ((len(data) + 15) & ~15)

    def text(self, text):
        return self.put(os.fsencode(text) + b"\0")

    def get(self, at, size):
        return os.pread(self.memory, size, at)

    def leave(self):
        self.trace(SETREGS, data=ctypes.byref(self.before))
        self.trace(DETACH, data=self.held[0] if self.held else None)
        os.close(self.memory)

    # ---- what attackers do ----

    def works(self, name, *arguments):
        """Whether it does; what it opened is closed again."""
        got = self.call(name, *arguments)
        if got >= 0 and name in ("openat", "socket", "pidfd_open", "pidfd_getfd"):
            self.call("close", got)
        return got >= 0

    def opens(self, path, flags):
        return self.works("openat", AT_FDCWD, self.text(path), flags | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)

    def connects(self, family, kind, address):
        """To an address as the kernel has it; also one where nobody listens, or that is not answered at once."""
        fd = self.call("socket", family, kind | os.O_NONBLOCK, 0)
        if fd < 0:
            return False
        got = self.call("connect", fd, self.put(address), len(address))
        self.call("close", fd)
        return got in (0, -115, -111) # EINPROGRESS, ECONNREFUSED

    def sends(self, fd, data, pass_on=None):
        """One packet, with a descriptor if one is given."""
        vector = self.put(struct.pack("QQ", self.put(data), len(data)))
        control = self.put(struct.pack("QiiiI", 20, 1, 1, pass_on, 0)) if pass_on is not None else 0
        return self.call("sendmsg", fd, self.put(struct.pack("QIIQQQQI", 0, 0, 0, vector, 1, control, 24 if control else 0, 0) + bytes(4)), 0x4040)

    def receives(self, fd):
        """A packet, b"" at the end, or None when nothing is there."""
        room = self.put(bytes(8192))
        got = self.call("recvfrom", fd, room, 8192, 0x40, 0, 0)
        return None if got < 0 else self.get(room, got)

    def confine(self, program):
        """A filter of system calls on top, for builds that cannot stand their own (SANITIZED)."""
        at = self.put(program)
        got = self.call("seccomp", 1, 1, self.put(struct.pack("HxxxxxxQ", len(program) // 8, at)))
        assert got == 0, got


# ---- what it says to others: messages of common/ipc, as they are on the wire ----

KINDS = {"U8": 1, "U16": 2, "U32": 4, "U64": 8, "BOOL": 1}


def messages(channel):
    """[(name, [(kind, field)])] in the order of their numbers."""
    with open("%s/common/ipc/%s.def" % (TOP, channel)) as f:
        text = f.read()
    return [(name, re.findall(r"FIELD\(%s, %s, (\w+), (\w+)," % (channel, name), text)) for name in re.findall(r"^MESSAGE\(%s, (\w+)," % channel, text, re.M)]


def frame(channel, message, fds, fields):
    table = messages(channel)
    number = [name for name, _ in table].index(message)
    body = b""
    for kind, field in table[number][1]:
        value = fields.pop(field, 0 if kind in KINDS else b"")
        value = value.encode() if isinstance(value, str) else value
        body += int(value).to_bytes(KINDS[kind], "little") if kind in KINDS else struct.pack("<I", len(value)) + value
    assert not fields, fields
    return struct.pack("<HHI", number, fds, len(body)) + body


def frames(channel, packet):
    table = messages(channel)
    while packet:
        number, _, length = struct.unpack("<HHI", packet[:8])
        body, packet = packet[8:8 + length], packet[8 + length:]
        if number == 0xffff:
            continue
        fields = {}
        for kind, field in table[number][1]:
            size = KINDS.get(kind) or 4
            fields[field], body = int.from_bytes(body[:size], "little"), body[size:]
            if kind not in KINDS:
                fields[field], body = body[:fields[field]], body[fields[field]:]
        yield table[number][0], fields


# ---- channels ----

def channel_peers():
    """{inode: inode of the other end} of socket pairs: channels, and sessions that a front passes on."""
    found = {}
    for line in subprocess.run(["ss", "-xnaH"], capture_output=True, text=True, check=True).stdout.splitlines():
        words = line.split()
        if words[0] in ("u_seq", "u_str") and words[1] == "ESTAB" and words[7] != "0":
            found[words[5]] = words[7]
    return found


def channel_to(pid, peer):
    """The descriptor of a process's channel to another: but its ctl, of which userd's children have one, too."""
    inodes, ends = {os.readlink("/proc/%d/fd/%s" % (peer, fd)) for fd in os.listdir("/proc/%d/fd" % peer)}, channel_peers()
    mine = {int(fd): os.readlink("/proc/%d/fd/%s" % (pid, fd))[len("socket:["):-1] for fd in os.listdir("/proc/%d/fd" % pid) if fd != "3"}
    [found] = [fd for fd, inode in mine.items() if "socket:[%s]" % ends.get(inode) in inodes]
    return found


def ask(code, fd, channel, message, pass_on=None, **fields):
    """The answer to a request that the daemon makes for us, or "closed"."""
    got = code.sends(fd, frame(channel, message, int(pass_on is not None), dict(fields, id=ID)), pass_on)
    assert got > 0, (message, got)
    heard = []

    def answered():
        packet = code.receives(fd)
        if packet:
            heard.extend(f for f in frames(channel, packet) if f[1].get("id") == ID)
        return "closed" if packet == b"" else heard and heard[0]
    return wait_for(answered, 20, "an answer to " + message)


def new_pair(code):
    room = code.put(bytes(8))
    expect(code.call("socketpair", socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK, 0, room), 0)
    return struct.unpack("ii", code.get(room, 8))
