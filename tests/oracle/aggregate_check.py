#!/usr/bin/python3
"""Runs `klined aggregate FILE --interval … --json` and compares its candles with the recomputation of the same file.

    KLINED_BIN=build/klined aggregate_check.py trades.jsonl --intervals 1m,1h,1M

Exit status: 0 all equal, 1 something differs, 2 could not compare.
"""

import argparse
import json
import os
import subprocess
import sys
import traceback

from candles import DEFAULT_INTERVALS, parse_intervals
from comparison import Area, cell_differences, describe
from kline_wire import VALUE_NAMES, expected_values
from oracle import Settings, messages_of_file, recompute

_TEXTS = ("interval", "pair_addr", "token_addr")
_INTEGERS = ("chain_id", "candle_time", "buy_count", "sell_count", "total_count", "close_at", "open_at")


def _value(name, value):
    """A value of the JSON line, as the type that the field has; a double that is whole may stand without a point."""
    if name not in _TEXTS and name not in _INTEGERS and type(value) is int:
        return float(value)
    return value


def aggregate(program, file, intervals, timeout=900):
    """The candles that the program prints, as {key: values}. Raises RuntimeError where it fails or prints one twice."""
    command = [program, "aggregate", file, "--interval", ",".join(intervals), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.decode(errors='replace')}")
    candles = {}
    for line in done.stdout.decode().splitlines():
        kline = json.loads(line)
        missing = [name for name in (*VALUE_NAMES, "closed") if name not in kline]
        if missing:
            raise RuntimeError(f"a candle without {', '.join(missing)}: {line}")
        key = (kline["interval"], kline["chain_id"], kline["pair_addr"], kline["candle_time"])
        if key in candles:
            raise RuntimeError(f"{describe(key)} is printed twice")
        candles[key] = tuple(_value(name, kline[name]) for name in VALUE_NAMES)
    return candles


def compare(found, expected):
    area = Area("klined aggregate")
    for key, values in found.items():
        if key not in expected:
            area.differs(f"{describe(key)}: printed, expected none")
            continue
        problem = cell_differences(VALUE_NAMES, values, expected_values(key, expected[key]))
        if problem:
            area.differs(f"{describe(key)}: {problem}")
    for key in sorted(expected.keys() - found.keys()):
        area.differs(f"{describe(key)}: missing (total_count {expected[key].total_count})")
    area.compared = f"{len(expected):,} candles, {len(expected) * len(VALUE_NAMES):,} fields"
    return area


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--intervals", default=",".join(DEFAULT_INTERVALS), help="default: %(default)s")
    parser.add_argument("--program", default=os.environ.get("KLINED_BIN"), help="default: $KLINED_BIN")
    options = parser.parse_args()
    if not options.program:
        parser.error("say where klined is: --program PATH, or KLINED_BIN in the environment")
    try:
        intervals = parse_intervals(options.intervals)
        expected = recompute(messages_of_file(options.file), Settings(intervals=tuple(intervals)))
        area = compare(aggregate(options.program, options.file, intervals), expected.candles)
    except (OSError, ValueError, RuntimeError, subprocess.SubprocessError) as error:
        print(f"aggregate_check.py: could not compare: {error}", file=sys.stderr)
        return 2
    except Exception:  # A fault of the oracle must not look like a difference.
        traceback.print_exc()
        return 2
    print(area.summary())
    for detail in area.shown:
        print(f"  {detail}")
    return 1 if area.differ else 0


if __name__ == "__main__":
    sys.exit(main())
