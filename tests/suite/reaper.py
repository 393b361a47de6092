#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Runs a test and sees that none of its processes outlives it.

    reaper.py COMMAND...

What the test leaves behind, its daemons too, comes to this process as its
child.  It has some seconds to end; what is there then is told of with a TAP
line, killed, and is a failure: a program that spins unseen would slow every
test after it.
"""
import ctypes
import os
import signal
import sys
import time

PR_SET_CHILD_SUBREAPER = 36
GRACE = 20  # seconds


def children():
    """[(pid, command line)] of those that have not ended."""
    found = []
    with open("/proc/self/task/%d/children" % os.getpid()) as f:
        for pid in f.read().split():
            try:
                with open("/proc/%s/cmdline" % pid) as line:
                    command = line.read().replace("\0", " ").strip()[:200]
            except OSError:
                command = ""
            if command:  # else it has just ended
                found.append((int(pid), command))
    return found


def all_end(seconds):
    """Whether every child ends within the time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.05)
        except ChildProcessError:
            return True
    return False


def main():
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0:
        sys.exit("reaper.py: prctl: " + os.strerror(ctypes.get_errno()))
    test = os.spawnvp(os.P_NOWAIT, sys.argv[1], sys.argv[1:])
    ended = 0
    while ended != test:
        ended, status = os.wait()
    status = os.waitstatus_to_exitcode(status)
    grace = GRACE
    while not all_end(grace):
        for pid, command in children():
            print("not ok - process %d outlived the test by %d s and was killed: %s" % (pid, GRACE, command), flush=True)
            os.kill(pid, signal.SIGKILL)
        status, grace = status or 1, 1  # the children of a killed one come to us in turn
    sys.exit(status if status >= 0 else 128 - status)


if __name__ == "__main__":
    main()
