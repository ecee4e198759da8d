#!/usr/bin/python3
"""Holds the decoder against the recomputation on fuzzed batches: what each makes of every trade, field by field.

    differential.py --seed 7 --batches 100000     # batches 0 to 99,999 of seed 7 (see batches.py)
    differential.py --seed 7 --only 4711          # that one, and what both sides make of it

The program's side is klined_fuzz_outcomes (outcomes.cpp), the other side the rules of tests/oracle, where moreover the
quick and the careful reader must agree. A decoder lives as long as its part of some batches, as in the stream. What
differs is written to a folder; what lies in found/ is compared first, in every run.

Exit status: 0 all equal, 1 something differs, 2 could not compare.
"""

import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import re
import struct
import subprocess
import sys
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "oracle"))

from batches import STAMPS, Batch, batch  # noqa: E402
from message_text import BrokenStructure, NeedsCare, read_carefully, read_quickly  # noqa: E402
from oracle import Settings, verdicts_of  # noqa: E402

PART = 500  # Batches that one decoder sees.
TIMEOUT = 300  # Seconds for a part.
SETTINGS = Settings()  # As TradeRules are.
UNITS = 10**12
COUNTS = ("elements", "ignored", "no_price")
OUTCOMES = ("accepted", "ignored", "no_price", "invalid", "future")
DOUBLES = ("price", "market_cap", "pump_point")


class Part(collections.namedtuple("Part", "counts differences")):
    """What came of some batches: a Counter, and (number, Batch, text) of each that differs."""


# ---- The two sides ---------------------------------------------------------------------------------------------------


def ask(program, batches):
    """The program's answers, as lines; and what went wrong behind the last of them, if anything did."""
    given = b"".join(struct.pack("<qI", stamp, len(value)) + value for value, stamp in batches)
    try:
        done = subprocess.run([program], input=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=TIMEOUT,
                              check=False)
    except subprocess.TimeoutExpired as late:
        return (late.stdout or b"").split(b"\n")[:-1], f"the program did not end in {TIMEOUT} s"
    problem = None
    if done.returncode != 0:
        problem = f"the program ended with {done.returncode}: {done.stderr.decode(errors='replace')[-3000:]}"
    return done.stdout.split(b"\n")[:-1], problem


def _amount(units):
    return f"{units // UNITS}.{units % UNITS:012}"


def _expected_trade(verdict, index, begin, end):
    place = {"index": index, "begin": begin, "end": end}
    if type(verdict) is str:
        return {"outcome": verdict, **place}
    return {"outcome": "accepted", **place, **verdict._asdict(), "token_amount": _amount(verdict.token_amount),
            "total_usd": _amount(verdict.total_usd)}


def expected_answer(value, timestamp_ms):
    """What the recomputation makes of a message, in the shape of the program's answers. Raises AssertionError where its
    two readers disagree."""
    try:
        quick = verdicts_of(read_quickly(value), timestamp_ms, SETTINGS)
    except NeedsCare:
        quick = None
    try:
        elements = read_carefully(value)
    except BrokenStructure as error:
        if quick is not None:
            raise AssertionError(f"the recomputation's quick reader takes it, the careful one not: {error}") from None
        return {"dead": str(error)}
    verdicts = verdicts_of([element for element, _, _ in elements], timestamp_ms, SETTINGS)
    if quick is not None and quick != verdicts:
        raise AssertionError(f"the recomputation's quick reader: {quick}; the careful one: {verdicts}")
    return {"elements": len(verdicts), "ignored": verdicts.count("ignored"), "no_price": verdicts.count("no_price"),
            "trades": [_expected_trade(verdict, index, begin, end)
                       for index, (verdict, (_, begin, end)) in enumerate(zip(verdicts, elements))
                       if verdict not in ("ignored", "no_price")]}


# ---- Comparing -------------------------------------------------------------------------------------------------------


def _comparable(answer):
    """Of an answer that is not dead, its trades by index. An identity becomes the first trade in the message that has
    the same, since the sides keep it in different shapes; a double becomes the one way to write it."""
    first_with, trades = {}, {}
    for trade in sorted(answer["trades"], key=lambda trade: trade["index"]):
        index, fields = trade["index"], {name: value for name, value in trade.items() if name != "reason"}
        if index in trades:
            raise ValueError(f"trade {index} is there twice")
        if fields["outcome"] == "accepted":
            fields["identity"] = f"that of trade {first_with.setdefault(fields['identity'], index)}"
            for name in DOUBLES:
                value = fields[name]
                fields[name] = (float.fromhex(value) if type(value) is str else value).hex()
        trades[index] = fields
    return trades


def difference(found, expected):
    """What differs between the program's answer and the expected one, as text; None where nothing does."""
    if "dead" in found or "dead" in expected:
        if "dead" in found and "dead" in expected:
            return None
        which, other = ("the program", "the recomputation") if "dead" in found else ("the recomputation", "the program")
        return f"{which} takes the message for broken ({(found if 'dead' in found else expected)['dead']}), {other} not"
    for name in COUNTS:
        if found[name] != expected[name]:
            return f"{name}: the program has {found[name]}, expected {expected[name]}"
    ours, theirs = _comparable(found), _comparable(expected)
    for index in sorted(ours.keys() | theirs.keys()):
        here, there = ours.get(index, {}), theirs.get(index, {})
        for name in ("outcome", *there, *here):
            if here.get(name) != there.get(name):
                return f"trade {index}: {name}: the program has {here.get(name)!r}, expected {there.get(name)!r}"
    return None


def _count(counts, answer):
    counts["batches"] += 1
    if "dead" in answer:
        counts["broken"] += 1
        return
    counts["trades"] += answer["elements"]
    counts["ignored"] += answer["ignored"]
    counts["no_price"] += answer["no_price"]
    for trade in answer["trades"]:
        counts[trade["outcome"]] += 1
        if trade["outcome"] == "invalid":
            counts["invalid: " + re.sub(r"\d+ is not one", "N is not one", trade["reason"])] += 1


def compare(program, batches, numbers):
    """Has both sides judge the batches."""
    lines, problem = ask(program, batches)
    part = Part(collections.Counter(), [])
    for place, (number, given) in enumerate(zip(numbers, batches)):
        if place >= len(lines):
            part.differences.append((number, given, problem or "the program gave no answer"))
            break
        try:
            found = json.loads(lines[place])
            text = difference(found, expected_answer(*given))
            _count(part.counts, found)
        except (KeyError, TypeError, ValueError) as error:
            text = f"the program's answer makes no sense ({error!r}): {lines[place][:2000]!r}"
        except AssertionError as error:
            text = str(error)
        if text:
            part.differences.append((number, given, text))
    if not part.differences and (problem or len(lines) > len(batches)):
        part.differences.append((numbers[-1], batches[-1], problem or "the program gave too many answers"))
    return part


def compare_made(program, seed, first, count):
    numbers = range(first, first + count)
    return compare(program, [batch(seed, number) for number in numbers], numbers)


def compare_kept(program, folders):
    """The inputs of files, under every stamp."""
    files = [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir()) if path.is_file()]
    kept = [(path, Batch(path.read_bytes(), stamp)) for path in files for stamp in STAMPS]
    return compare(program, [each for _, each in kept], [path.name for path, _ in kept]) if kept else None


# ---- The run ---------------------------------------------------------------------------------------------------------


def _say(text):
    print(f"differential: {text}", flush=True)


def compare_all(options):
    """All parts' results as one; ends early where something differs."""
    whole = Part(collections.Counter(), [])
    kept = compare_kept(options.program, (HERE / "found" / "differential", HERE / "found" / "trades"))
    if kept is not None:
        _say(f"{kept.counts['batches']} of the kept inputs compared, each under {len(STAMPS)} timestamps")
        if kept.differences:
            return kept
    end, told = options.first + options.batches, time.monotonic()
    with concurrent.futures.ProcessPoolExecutor(options.jobs) as workers:
        waiting = {workers.submit(compare_made, options.program, options.seed, first, min(PART, end - first))
                   for first in range(options.first, end, PART)}
        try:
            for done in concurrent.futures.as_completed(waiting):
                part = done.result()
                whole.counts.update(part.counts)
                whole.differences.extend(part.differences)
                if whole.differences:
                    break
                if time.monotonic() - told > 20:
                    told = time.monotonic()
                    _say(f"{whole.counts['batches']:,} of {options.batches:,} batches")
        finally:
            workers.shutdown(cancel_futures=True)
    return whole


def _report_differences(differences, options):
    number, given, text = differences[0]
    _say(f"batch {number} of seed {options.seed} differs: {text}")
    _say(f"{len(given.value)} bytes, timestamp {given.timestamp_ms}: {given.value[:4000]!r}")
    for other, _, other_text in differences[1:10]:
        _say(f"batch {other} differs too: {other_text[:500]}")
    if type(number) is not int:
        return  # It is a file already.
    options.save.mkdir(parents=True, exist_ok=True)
    path = options.save / f"seed-{options.seed}-batch-{number}"
    path.write_bytes(given.value)
    _say(f"it is kept in {path}; to replay it: differential.py --seed {options.seed} --only {number}")
    if not compare(options.program, [given], [number]).differences:
        first = max(options.first, number - (number - options.first) % PART)
        _say(f"alone it does not differ, only behind others: --seed {options.seed} --first {first} "
             f"--batches {number - first + 1}")


def _report_counts(counts, options):
    outcomes = ", ".join(f"{counts[name]:,} {name}" for name in OUTCOMES)
    _say(f"seed {options.seed}: {counts['batches']:,} batches are judged alike; {counts['broken']:,} of them broken, "
         f"the others hold {counts['trades']:,} trades: {outcomes}")
    reasons = sorted(((count, name) for name, count in counts.items() if name.startswith("invalid: ")), reverse=True)
    _say(f"{len(reasons)} reasons to be invalid" + ("" if options.reasons else "; --reasons lists them"))
    if options.reasons:
        for count, name in reasons:
            print(f"{count:9,}  {name}")


def _show(options):
    given = batch(options.seed, options.only)
    lines, problem = ask(options.program, [given])
    print(f"timestamp {given.timestamp_ms}, {len(given.value)} bytes: {given.value!r}")
    print(f"program: {lines[0].decode() if lines else problem}")
    try:
        print(f"expected: {json.dumps(expected_answer(*given), default=str)}")
    except AssertionError as error:
        print(f"expected: {error}")


def parse_options(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=os.environ.get("KLINED_FUZZ_OUTCOMES"),
                        help="klined_fuzz_outcomes; default: $KLINED_FUZZ_OUTCOMES")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--first", type=int, default=0, help="the first batch's number; default: %(default)s")
    parser.add_argument("--batches", type=int, default=100_000, help="default: %(default)s")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="one batch, and what both sides make of it")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes; default: as many as cores")
    parser.add_argument("--save", type=pathlib.Path, default=HERE / "found" / "differential",
                        help="folder for the first batch that differs; default: %(default)s")
    parser.add_argument("--reasons", action="store_true", help="list why how many trades were invalid")
    options = parser.parse_args(arguments)
    if not options.program:
        parser.error("say where klined_fuzz_outcomes is: --program PATH, or KLINED_FUZZ_OUTCOMES in the environment")
    if options.batches < 1 or options.first < 0 or options.jobs < 1:
        parser.error("--batches and --jobs are at least 1, --first at least 0")
    return options


def main(arguments=None):
    options = parse_options(arguments)
    try:
        if options.only is not None:
            _show(options)
            whole = compare_made(options.program, options.seed, options.only, 1)
        else:
            whole = compare_all(options)
        if whole.differences:
            _report_differences(whole.differences, options)
            return 1
    except OSError as error:
        print(f"differential.py: could not compare: {error}", file=sys.stderr)
        return 2
    except Exception:  # A fault of the check must not look like a difference.
        traceback.print_exc()
        return 2
    _report_counts(whole.counts, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
