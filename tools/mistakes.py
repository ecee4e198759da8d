#!/usr/bin/env python3
"""Proves that the simulation sees: makes deliberate mistakes in a copy of the program, one at a time, and runs it.

Each tests/simulation/mistakes/NAME.patch begins with a line that says what is wrong, then the change. The tree is copied
to build/mistakes/tree, and built in build/mistakes/build; the checkout itself is not touched.

Usage: mistakes.py [--runs N] [NAME...]     prints a table; exit status 1 where a mistake was not caught
       mistakes.py --check                  only whether all of them can still be made
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
PATCHES = PROJECT / "tests" / "simulation" / "mistakes"
WORK = PROJECT / "build" / "mistakes"
TREE = WORK / "tree"
BUILD = WORK / "build"


def call(command: list[str], **more) -> subprocess.CompletedProcess:
    return subprocess.run(command, capture_output=True, text=True, errors="replace", **more)


def must(command: list[str], what: str) -> None:
    done = call(command)
    if done.returncode != 0:
        sys.exit(f"mistakes: {what} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")


def copy_tree() -> None:
    """The files of the checkout as they are now, without what is built; unchanged ones keep their times."""
    files = call(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=PROJECT).stdout.split("\n")
    wanted = {name for name in files if name and (PROJECT / name).is_file()}
    for name in wanted:
        source, target = PROJECT / name, TREE / name
        if target.is_file() and target.read_bytes() == source.read_bytes():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def build(jobs: int) -> bool:
    done = call(["cmake", "--build", str(BUILD), "-j", str(jobs), "--target", "klined_simulation"])
    if done.returncode != 0:
        print(done.stdout[-3000:], file=sys.stderr)
    return done.returncode == 0


def apply(patch: Path, reverse: bool) -> None:
    must(["patch", "-d", str(TREE), "-p1", "-s", "-f", "-F0"] + (["-R"] if reverse else []) + ["-i", str(patch)],
         f"{'taking back' if reverse else 'making'} the mistake {patch.stem}")


def run(runs: int) -> tuple[str, str]:
    """After how many runs it was seen ("" for never), and what was said."""
    command = [str(BUILD / "klined_simulation"), "--runs", str(runs), "--no-shrink"]
    try:
        done = call(command, timeout=900)
    except subprocess.TimeoutExpired:
        return "", "not within 15 minutes"
    if done.returncode == 0:
        return "", "nothing"
    failed = re.search(r"seed (\d+) fails: (.*)", done.stdout)
    if failed:
        return failed.group(1), failed.group(2)
    aborted = re.search(r"seed (\d+) aborts", done.stderr)
    said = [line for line in done.stderr.split("\n") if line.strip() and "aborts" not in line]
    return (aborted.group(1) if aborted else "?"), (said[0] if said else "it aborted")


def shorten(text: str) -> str:
    text = text.replace("|", "/")
    return text if len(text) <= 160 else text[:157] + "..."


def check(patches: list[Path]) -> int:
    """A program that changes leaves patches behind that do not fit any more."""
    unfit = [patch.name for patch in patches
             if call(["git", "apply", "--check", str(patch)], cwd=PROJECT).returncode != 0]
    for name in unfit:
        print(f"tests/simulation/mistakes/{name} does not fit the sources any more: make it anew")
    print(f"{len(patches) - len(unfit)} of {len(patches)} mistakes can be made")
    return 1 if unfit else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000, help="at most, of each mistake (default 10,000)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--check", action="store_true", help="only look whether each fits the sources")
    parser.add_argument("names", nargs="*", help="these mistakes only")
    options = parser.parse_args()
    patches = [p for p in sorted(PATCHES.glob("*.patch")) if not options.names or p.stem in options.names]
    if not patches:
        sys.exit(f"mistakes: there is no such mistake in {PATCHES}")
    if options.check:
        return check(patches)
    copy_tree()
    if not (BUILD / "build.ninja").exists():
        must(["cmake", "-S", str(TREE), "-B", str(BUILD), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release"], "cmake")
    print("| mistake | what is wrong | caught after runs | what the check said |\n|---|---|---|---|", flush=True)
    missed = 0
    for patch in patches:
        what = patch.read_text().split("\n", 1)[0]
        apply(patch, reverse=False)
        try:
            after, said = run(options.runs) if build(options.jobs) else ("", "it does not compile: mend the patch")
        finally:
            apply(patch, reverse=True)
        missed += after == ""
        print(f"| {patch.stem} | {what} | {after or 'NOT CAUGHT'} | {shorten(said)} |", flush=True)
    after, said = run(min(options.runs, 1000)) if build(options.jobs) else ("?", "it does not compile")
    print(f"\nwithout a mistake: {'all right' if after == '' else said}")
    print(f"{len(patches) - missed} of {len(patches)} mistakes caught")
    return 1 if missed or after else 0


if __name__ == "__main__":
    sys.exit(main())
