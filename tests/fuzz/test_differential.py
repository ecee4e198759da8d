#!/usr/bin/python3
"""That differential.py sees what differs: answers tampered with, programs that lie or die, and rules made wrong."""

import contextlib
import copy
import decimal
import io
import json
import os
import pathlib
import re
import stat
import sys
import tempfile
import unittest
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import differential  # noqa: E402  (it makes the oracle's modules known)
import message_text  # noqa: E402
import oracle  # noqa: E402
import trade_rules  # noqa: E402
from batches import RECORD_TIME, Batch, batch  # noqa: E402
from oracle import Settings  # noqa: E402

PROGRAM = os.environ["KLINED_FUZZ_OUTCOMES"]
STEP = 250  # Batches between two looks whether a mistake has shown.
ENOUGH = 4000  # A mistake must show within so many: as many as ctest compares.


def trade(**changes):
    fields = {"type": '"buy"', "block_time": str(RECORD_TIME), "slot": "7", "chain_id_int": "1", "pair_addr": '"Pair"',
              "tx_hash": '"tx"', "token_amount": '"2.5"', "total_usd": '"3"', "token_price_usd": "1.5", "mcap": "7.25",
              "pair_info": '{"token_addr": "token"}', **changes}
    return "{" + ",".join(f'"{name}":{value}' for name, value in fields.items() if value is not None) + "}"


# Of each outcome a trade; the last accepted one has the identity of the first.
ALL_OUTCOMES = Batch(("[" + ", ".join((
    trade(), trade(token_price_usd="0"), trade(type='"add"'), trade(slot="-1"),
    trade(block_time=str(RECORD_TIME + 9999)), trade(tx_hash='"other"', type='"sell"', clamp="true"),
    trade(maker='"x"'))) + "]").encode(), RECORD_TIME * 1000)


def answer_of(given):
    lines, problem = differential.ask(PROGRAM, [given])
    assert problem is None, problem
    return json.loads(lines[0])


def tampered(value):
    if type(value) is bool:
        return not value
    if type(value) is int:
        return value + 1
    if value.startswith("0x"):
        return (float.fromhex(value) * (1 + 2**-52) or 5e-324).hex()  # The next double.
    return value[:-1] + ("1" if value.endswith("0") else "0")


class Tampered(unittest.TestCase):
    def setUp(self):
        self.expected = differential.expected_answer(*ALL_OUTCOMES)
        self.found = answer_of(ALL_OUTCOMES)

    def test_nothing_differs(self):
        self.assertIsNone(differential.difference(self.found, self.expected))
        self.assertEqual([each["outcome"] for each in self.expected["trades"]],
                         ["accepted", "invalid", "future", "accepted", "accepted"])

    def test_each_count_counts(self):
        for name in differential.COUNTS:
            self.assertIn(name, differential.difference({**self.found, name: self.found[name] + 1}, self.expected))

    def test_each_field_of_each_trade_counts(self):
        for place, fields in enumerate(self.found["trades"]):
            for name in fields.keys() - {"reason"}:
                found = copy.deepcopy(self.found)
                found["trades"][place][name] = tampered(fields[name])
                with self.subTest(trade=place, field=name):
                    try:
                        told = differential.difference(found, self.expected)
                    except (KeyError, TypeError, ValueError) as error:  # It then makes no sense, which is told too.
                        told = str(error)
                    # The identities of one message are compared with one another: a lone one may have any value.
                    if name == "identity" and fields["index"] == 5:
                        self.assertIsNone(told)
                    else:
                        self.assertIsNotNone(told)

    def test_the_same_identity_for_two(self):
        by_place = [place for place, fields in enumerate(self.found["trades"]) if fields["outcome"] == "accepted"]
        identities = {self.found["trades"][place]["identity"] for place in by_place}
        self.assertEqual(len(identities), 2)
        for place in by_place:
            self.found["trades"][place]["identity"] = identities.copy().pop()
        self.assertIn("identity", differential.difference(self.found, self.expected))

    def test_a_trade_more_or_fewer(self):
        for place in range(len(self.found["trades"])):
            fewer = {**self.found, "trades": self.found["trades"][:place] + self.found["trades"][place + 1:]}
            self.assertIsNotNone(differential.difference(fewer, self.expected))
            less_expected = {**self.expected,
                             "trades": self.expected["trades"][:place] + self.expected["trades"][place + 1:]}
            self.assertIsNotNone(differential.difference(self.found, less_expected))

    def test_broken_for_one_side(self):
        broken = {"dead": "why"}
        self.assertIsNone(differential.difference(broken, {"dead": "other words"}))
        self.assertIn("broken (why), the recomputation not", differential.difference(broken, self.expected))
        self.assertIn("broken (why), the program not", differential.difference(self.found, broken))


class Runs(unittest.TestCase):
    """The whole check, with programs that are right, lie and die."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def script(self, text):
        path = self.folder / "program"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    def run_with(self, program, *arguments):
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            status = differential.main(["--program", program, "--seed", "3", "--batches", "50", "--jobs", "1",
                                        "--save", str(self.folder / "kept"), *arguments])
        return status, out.getvalue()

    def kept(self):
        return sorted((self.folder / "kept").iterdir()) if (self.folder / "kept").is_dir() else []

    def test_the_program(self):
        status, said = self.run_with(PROGRAM)
        self.assertEqual((status, self.kept()), (0, []), said)
        self.assertIn("50 batches are judged alike", said)

    def test_one_that_lies(self):
        lies = self.script(f"""'{PROGRAM}' | sed 's/"is_buy":true/"is_buy":false/'""")
        with mock.patch.object(differential, "compare_kept", lambda *_: None):
            status, said = self.run_with(lies)
        self.assertEqual(status, 1, said)
        self.assertIn("is_buy: the program has False, expected True", said)
        number = int(re.search(r"batch (\d+) of seed 3 differs", said)[1])
        (path,) = self.kept()
        self.assertEqual(path.read_bytes(), batch(3, number).value)
        status, said = self.run_with(lies, "--only", str(number))
        self.assertEqual(status, 1, said)
        self.assertIn("expected: {", said)

    def test_one_that_dies(self):
        with mock.patch.object(differential, "compare_kept", lambda *_: None):
            status, said = self.run_with(self.script(f"head -c 20000 | '{PROGRAM}'; echo gone >&2; exit 7"))
        self.assertEqual(status, 1, said)
        self.assertIn("the program ended with 7", said)
        self.assertEqual(len(self.kept()), 1)

    def test_one_that_is_not_there(self):
        status, said = self.run_with(str(self.folder / "none"))
        self.assertEqual((status, self.kept()), (2, []), said)

    def test_kept_inputs_are_compared(self):
        (self.folder / "input").write_bytes(ALL_OUTCOMES.value)
        part = differential.compare_kept(PROGRAM, [self.folder])
        self.assertEqual((part.counts["batches"], part.differences), (len(differential.STAMPS), []))
        with mock.patch.object(trade_rules, "INT64_MAX", 1):
            self.assertTrue(differential.compare_kept(PROGRAM, [self.folder]).differences)

    def test_a_batch_is_the_same_again(self):
        self.assertEqual([batch(5, number) for number in range(100)], [batch(5, number) for number in range(100)])
        self.assertNotEqual(batch(5, 1), batch(6, 1))


# ---- Rules made wrong ------------------------------------------------------------------------------------------------
# Each is a mistake that the decoder, too, could make; the fuzzed batches must come upon it.

_read_trade, _transaction = trade_rules.read_trade, trade_rules._transaction


def _half_up(digits, keep):
    if keep < 0:
        return 0
    return int(digits[:keep].ljust(keep, "0") or "0") + (digits[keep:keep + 1] >= "5")


def _identity_of_values(value, chains):
    """An identity that takes 1.5 and 1.50 for the same."""
    verdict = _read_trade(value, chains)
    if type(verdict) is str:
        return verdict
    return verdict._replace(identity=(*verdict.identity[:6], verdict.token_amount, *verdict.identity[7:]))


def _hash_only(fields):
    return _transaction({name: value for name, value in fields.items() if name != "hash_id"})


def _loose_double(name, value):
    number = float(trade_rules.number_text(name, value))
    if number in (float("inf"), float("-inf")):
        raise trade_rules.Invalid("out of range")
    return number  # -0 stays.


def _unlimited_double(name, value):
    return float(trade_rules.number_text(name, value)) + 0.0


def _narrow_double(name, value):
    """Rounded twice: to 17 digits, then to a double."""
    number = float(f"{decimal.Decimal(trade_rules.number_text(name, value)):.16e}")
    if number in (float("inf"), float("-inf")):
        raise trade_rules.Invalid("out of range")
    return number + 0.0


def _cap_of_mcap_alone(fields):
    return max(0.0, trade_rules._optional_double(fields, "mcap"))


def _first_counts(fields, tag_of_go_name):
    return {tag_of_go_name.get(key, key): value for key, value in reversed(fields)}


RULES_MADE_WRONG = {
    "int of 32 bits": (trade_rules, "INT_MAX", 2**31),
    "int of 64 bits": (trade_rules, "INT64_MAX", 2**63),
    "an address of 65": (trade_rules, "_is_address", lambda text: len(text) <= 65 and re.fullmatch("[!-~]*", text)),
    "an address with spaces": (trade_rules, "_is_address",
                               lambda text: len(text) <= 64 and re.fullmatch("[ -~]*", text)),
    "rounds half up": (trade_rules, "_round_half_even", _half_up),
    "values instead of texts": (oracle, "read_trade", _identity_of_values),
    "hash_id does not stand in": (trade_rules, "_transaction", _hash_only),
    "-0 stays": (trade_rules, "double", _loose_double),
    "doubles without end": (trade_rules, "double", _unlimited_double),
    "doubles rounded twice": (trade_rules, "double", _narrow_double),
    "fdv does not stand in": (trade_rules, "_market_cap", _cap_of_mcap_alone),
    "chains with zeros": (trade_rules, "_CHAIN_DIGITS", re.compile("[0-9]+")),
    "integers with exponents": (trade_rules, "INTEGER", re.compile("-?(?:0|[1-9][0-9]*)(?:e0)?")),
    "lone surrogates": (trade_rules, "is_text", lambda value: type(value) is str),
    "clamp as text": (trade_rules, "_clamped", lambda fields: str(fields.get("clamp")).lower() == "true"),
    "the first key counts": (message_text.Fields, "by_tag", _first_counts),
    "control characters": (message_text, "_STRING",
                           re.compile(rb'"[^"\\]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\]*)*"')),
    "any escape": (message_text, "_STRING", re.compile(rb'"[^"\\\x00-\x1f]*(?:\\.[^"\\\x00-\x1f]*)*"')),
    "other blanks": (message_text, "_BLANKS", re.compile(rb"[ \t\n\r\x0b\x0c]*")),
    "future a second later": (differential, "SETTINGS", Settings(max_future=601)),
    "future a millisecond later": (differential, "SETTINGS", Settings(max_future=600.001)),
    "the year 10000": (oracle, "LATEST_BLOCK_TIME", oracle.LATEST_BLOCK_TIME + 1),
    "a chain fewer": (differential, "SETTINGS", Settings(chains=frozenset((1, 56, 100000)))),
}


class RulesMadeWrong(unittest.TestCase):
    """Also proves that the batches reach the rules."""

    def shows(self):
        return any(differential.compare_made(PROGRAM, 1, first, STEP).differences for first in range(0, ENOUGH, STEP))

    def test_each_shows(self):
        for name, (module, attribute, wrong) in RULES_MADE_WRONG.items():
            with self.subTest(name), mock.patch.object(module, attribute, wrong):
                self.assertTrue(self.shows())

    def test_every_outcome_comes_up(self):
        counts = differential.compare_made(PROGRAM, 1, 0, 1000).counts
        for name in ("broken", "accepted", "ignored", "no_price", "invalid", "future"):
            self.assertGreater(counts[name], 0, name)
        self.assertGreater(sum(name.startswith("invalid: ") for name in counts), 50)


if __name__ == "__main__":
    unittest.main()
