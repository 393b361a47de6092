#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""How much of the modules under test (tests/fuzz/targets) the inputs of each fuzz target reach: those of the
tree, those made of the dialogs, and those that random runs kept. One row a target, with what runs.tsv says of those runs; then what the targets
reach together, file by file, as text and as HTML.

coverage.py BUILD [--kept DIR] [--only TARGET ...]
  BUILD: a build folder made with clang, --enable-fuzzers and CFLAGS with
  -fprofile-instr-generate -fcoverage-mapping (`make fuzz-coverage` makes it)"""
import argparse
import collections
import glob
import json
import os
import subprocess
import sys

import dialogs

TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
INPUT_SECONDS = 1200  # for one target's inputs together


def rows():
    """(target, class, source files) of the table."""
    with open(os.path.join(TOP, "tests/fuzz/targets"), encoding="ascii") as table:
        for line in table:
            words = line.split()
            if words and words[0] != "#":
                yield words[0], words[1], sorted(f for w in words[2:] for f in glob.glob(os.path.join(TOP, w + ".c")))


def unlisted():
    listed = {row[0] for row in rows()}
    there = {os.path.basename(f)[:-2] for f in glob.glob(os.path.join(TOP, "tests/fuzz/fuzz_*.c"))}
    return sorted(listed ^ there)


def random_runs(kept):
    """target -> [seconds, inputs] of all random runs."""
    sums = collections.defaultdict(lambda: [0, 0])
    try:
        with open(os.path.join(kept, "runs.tsv"), encoding="ascii") as runs:
            for line in runs:
                target, seconds, inputs = line.rstrip("\n").split("\t")[:3]
                sums[target][0] += int(seconds or 0)
                sums[target][1] += int(inputs or 0)
    except (OSError, TypeError):
        pass
    return sums


def measure(build, target, kept):
    """Runs each input once; its profile, or None."""
    out = os.path.join(build, "coverage", target)
    folders = [os.path.join(d, target) for d in (os.path.join(TOP, "tests/fuzz/corpus"), os.path.join(build, "coverage/seeds"), kept)]
    folders = [d for d in folders if os.path.isdir(d)]
    environment = dict(os.environ, LLVM_PROFILE_FILE=out + ".profraw")
    try:
        done = subprocess.run([os.path.join(build, "tests/fuzz", target), "-runs=0", "-timeout=60", f"-artifact_prefix={out}-", *folders],
                              env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=INPUT_SECONDS, check=False)
        if done.returncode != 0:
            sys.stderr.write(f"{target} ends with {done.returncode}:\n{done.stderr.decode('utf-8', 'replace')[-2000:]}\n")
            return None
        subprocess.run(["llvm-profdata", "merge", "-sparse", "-o", out + ".profdata", out + ".profraw"], check=True)
    except subprocess.TimeoutExpired:
        sys.stderr.write(f"{target}: its inputs take more than {INPUT_SECONDS} s\n")
        return None
    os.unlink(out + ".profraw")
    return out + ".profdata"


def percent(part):
    return f"{100 * part['covered'] / part['count']:.1f}" if part["count"] else "-"


def totals(binary, profile, files):
    answer = subprocess.run(["llvm-cov", "export", "-summary-only", binary, f"-instr-profile={profile}", *files], check=True, capture_output=True)
    return json.loads(answer.stdout)["data"][0]["totals"]


def together(build, targets, profiles):
    """All targets' profiles as one: a table of files, and HTML."""
    everything = os.path.join(build, "coverage", "all.profdata")
    subprocess.run(["llvm-profdata", "merge", "-sparse", "-o", everything, *profiles], check=True)
    binaries = [os.path.join(build, "tests/fuzz", t) for t in targets]
    objects = binaries[:1] + [a for b in binaries[1:] for a in ("-object", b)]
    common = [*objects, f"-instr-profile={everything}", "-ignore-filename-regex=/tests/"]
    answer = subprocess.run(["llvm-cov", "export", "-summary-only", *common], check=True, capture_output=True)
    files = {os.path.relpath(f["filename"], TOP): f["summary"] for f in json.loads(answer.stdout)["data"][0]["files"]}
    with open(os.path.join(build, "coverage", "files.txt"), "w", encoding="utf-8") as out:
        for name, sums in sorted(files.items()):
            out.write(f"{percent(sums['lines']):>6} {percent(sums['regions']):>6}  {name}\n")
    subprocess.run(["llvm-cov", "show", "-format=html", f"-output-dir={os.path.join(build, 'coverage', 'html')}", *common],
                   check=True, stdout=subprocess.DEVNULL)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--kept", default="")
    parser.add_argument("--only", nargs="*")
    args = parser.parse_args()
    build, kept = os.path.abspath(args.build), os.path.abspath(args.kept) if args.kept else "/nonexistent"
    os.makedirs(os.path.join(build, "coverage"), exist_ok=True)
    dialogs.write(os.path.join(build, "coverage/seeds"))
    runs, profiles, failed = random_runs(kept), {}, 0
    if unlisted():
        sys.exit(f"tests/fuzz/targets and the targets differ: {' '.join(unlisted())}")
    print(f"{'target':<16} {'class':<16} {'cpu s':>7} {'inputs run':>11} {'lines %':>8} {'regions %':>9}", flush=True)
    for target, kind, files in rows():
        if args.only and target not in args.only:
            continue
        profile = measure(build, target, kept)
        if not profile:
            failed += 1
            continue
        profiles[target] = profile
        sums = totals(os.path.join(build, "tests/fuzz", target), profile, files)
        print(f"{target:<16} {kind:<16} {runs[target][0]:>7} {runs[target][1]:>11} {percent(sums['lines']):>8} {percent(sums['regions']):>9}", flush=True)
    if profiles:
        together(build, list(profiles), list(profiles.values()))
        print(f"\nby file: {build}/coverage/files.txt\nline by line: {build}/coverage/html/index.html")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
