#!/usr/bin/python3
"""Writes what the fuzz targets start from: a folder of inputs for each target, and a dictionary for each.

    seeds.py FOLDER        # FOLDER/trades/…, FOLDER/config/…, FOLDER/kline/…, FOLDER/trades.dict, FOLDER/config.dict

The trades are the dirty cases of the recomputation's own tests, so every line of the fine print has its inputs.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "oracle"))

from dirty_cases import BAD_NUMBERS, GO_NAMES, TRADE_CASES, broken_messages, odd_messages, text_of  # noqa: E402
from generate import Market  # noqa: E402

RECORD_TIME = 1_700_000_000  # As in trades_fuzz.cpp.
SMALL = 4096  # Larger inputs only make the fuzzer slow.


def varint(number):
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def kline(pair=b"pair", interval=b"1m", time=RECORD_TIME // 60 * 60, count=3):
    """A `Kline` by hand: chain_id=1, interval=2, pair_addr=3, open=4, candle_time=14, total_count=17, closed=24."""
    text = lambda number, value: varint(number << 3 | 2) + varint(len(value)) + value  # noqa: E731
    return (varint(1 << 3) + varint(100000) + text(2, interval) + text(3, pair) + varint(4 << 3 | 1) + b"\0" * 6
            + b"\xf0\x3f" + varint(14 << 3) + varint(time) + varint(17 << 3) + varint(count) + varint(24 << 3) + b"\1")


def trade_messages():
    market = Market(1)
    trades = [text_of(market.trade(7, RECORD_TIME + i)) for i in range(3)]
    yield from (message for message in broken_messages(trades) + odd_messages(trades))
    for case in TRADE_CASES:
        made = case(market.trade(9, RECORD_TIME))
        yield f"[{made if isinstance(made, str) else text_of(made)}]".encode()
    yield ("[" + ",".join(trades) + "]").encode()


def configs():
    for path in sorted((ROOT / "config").glob("*.yaml")):
        text = path.read_text()
        yield re.sub(r"(?m)^\s*#.*\n", "", text).encode()
        yield "\n".join(text.splitlines()[:25]).encode()


def klines():
    yield kline()
    yield kline(b"P" * 64, b"1M", 1_698_796_800, 1)
    yield kline(count=0)
    yield kline(time=-60)
    yield b"kline:100000:pair:1m"
    yield b"1700000040"


def dictionary(words):
    escape = lambda word: "".join(c if 32 <= ord(c) < 127 and c not in '"\\' else f"\\x{ord(c):02x}"  # noqa: E731
                                  for c in word)
    return "".join(f'"{escape(word)}"\n' for word in words if word.isascii() and word)


def main():
    folder = pathlib.Path(sys.argv[1])
    for name, inputs in (("trades", trade_messages()), ("config", configs()), ("kline", klines())):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number, value in enumerate(sorted({value for value in inputs if len(value) <= SMALL})):
            (folder / name / f"seed-{number:05}").write_bytes(value)
    names = [f'"{name}":' for pair in GO_NAMES.items() for name in pair]
    (folder / "trades.dict").write_text(dictionary([*names, *BAD_NUMBERS, '"buy"', '"sell"', "null", "},{"]))
    keys = sorted({key for text in configs() for key in re.findall(r"(?m)^ *([a-z_.]+:)", text.decode())})
    (folder / "config.dict").write_text(dictionary([*keys, "${HOME}", "1M", "earliest", "GiB", "- ", "\n  "]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
