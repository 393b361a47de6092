#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The programs of `make check-million` and `make check-crowd`, small: 20,000 waiting
messages, a message with 5,000 recipients.  What does not hang on time is asserted."""
import os
import subprocess

import pillar
from pillar import main

BUILD = os.environ.get("BUILD", os.path.join(pillar.ROOT, ".."))
SMALL = bool(os.environ.get("SANITIZED"))


def run(program, *args):
    r = subprocess.run(["/usr/bin/python3", os.path.join(pillar.TOP, "tests/bench", program), "--loose", *args], capture_output=True, text=True, timeout=500,
                       env=dict(os.environ, BUILD=BUILD))
    for line in r.stdout.splitlines():
        print("# " + line)
    assert r.returncode == 0, r.stdout + r.stderr


def test_the_load_programs_build():
    subprocess.run(["make", "-s", "-C", BUILD, "tests/bench/bench_queue", "tests/bench/bench_load", "tests/bench/bench_sink", "tests/bench/bench_crowd"], check=True, timeout=300, stdout=subprocess.DEVNULL)


def test_many_waiting_messages():
    run("million.py", "--messages", "20000", "--domains", "200", "--fresh", "500" if SMALL else "2000", "--runs", "1")


def test_a_message_with_many_recipients():
    run("crowd.py", "--recipients", "5000", "--rate", "20", "--seconds", "3", "--runs", "1")


main(globals())
