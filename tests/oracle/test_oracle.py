#!/usr/bin/python3
"""Examples for the oracle itself, each worked out by hand from the contract."""

import json
import os
import struct
import sys
import tempfile
import unittest
import zlib
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction

import generate
import kline_wire
from candles import INTERVALS, Candle, bucket, parse_intervals
from comparison import Area, Closing, Newest, cell_differences
from dirty_cases import TRADE_CASES, broken_messages, odd_messages, text_of
from message_text import (ARRAY, MALFORMED, BrokenStructure, Fields, NeedsCare, Number, is_text, read_carefully,
                          read_quickly)
from oracle import DeadLetter, Message, PartitionJudge, PutBack, Settings, messages_of_file, recompute
from trade_rules import Invalid, amount, double, integer

T0 = 1_700_000_000  # 2023-11-14T22:13:20Z, a Tuesday
UNIT = 10**12


def trade_text(**changes):
    """A good trade as JSON text; a change is raw JSON, None removes the field."""
    fields = {"type": '"buy"', "block_time": str(T0), "slot": "7", "chain_id_int": "1", "pair_addr": '"Pair"',
              "tx_hash": '"tx"', "token_amount": '"2"', "total_usd": '"3"', "token_price_usd": "1.5", **changes}
    return "{" + ",".join(f'"{name}":{value}' for name, value in fields.items() if value is not None) + "}"


def message(offset, *trades, partition=0, stamp=T0 * 1000, topic="t"):
    return Message(topic, partition, offset, stamp, b"7", ("[" + ",".join(trades) + "]").encode())


def result_of(**changes):
    """What becomes of one trade alone in its topic."""
    ledger = recompute([message(0, trade_text(**changes))]).ledger
    assert sum(ledger.values()) == 1
    return next(iter(ledger))


def candle_of(*trades, interval="1m"):
    candles = recompute([message(offset, each) for offset, each in enumerate(trades)]).candles
    found = [candle for key, candle in candles.items() if key[0] == interval]
    assert len(found) == 1, found
    return found[0]


class Structure(unittest.TestCase):
    def test_values(self):
        raw = ('[ {"a": 1, "b": "x\\u0041\\ud83d\\ude00", "c": nul, "d": [1, {"e": 2}]} , 5, nul,"é" ,[], {}, null, '
               'true]')
        elements = read_carefully(raw.encode())
        self.assertEqual([value for value, _, _ in elements], [
            Fields([("a", "1"), ("b", "xA\U0001f600"), ("c", MALFORMED), ("d", ARRAY)]),
            "5", MALFORMED, "é", ARRAY, Fields(), None, True])
        self.assertIs(type(elements[0][0][0][1]), Number)
        self.assertEqual([raw.encode()[begin:end].decode() for _, begin, end in elements], [
            raw[2:raw.index("} ,") + 1], "5", "nul", '"é"', "[]", "{}", "null", "true"])

    def test_broken(self):
        for text in ("", " ", "5", "null", "nul", '"x"', "{}", "[", "[1", "[1,", "[1,]", "[,]", "[1 2]", "[1]]", "[1]x",
                     "[1][2]", '["a]', '["\\q"]', '["\\u12"]', '["a\nb"]', '[1"a"]', '["a"1]', "[\\n]", "[{]}", "[}",
                     '[{"a"}]', '[{"a":}]', '[{"a":1,}]', "[{a:1}]", "[{1:1}]", '[{"a" 1}]', '[{"a":1 "b":2}]',
                     "\ufeff[]", '[{"a":1:2}]', "[:]", '[{,"a":1}]', "[]\0"):
            with self.subTest(text=text), self.assertRaises(BrokenStructure):
                read_carefully(text.encode())
        for raw in (b'["\xff"]', b'["\xc0\x80"]', b'["\xed\xa0\x80"]', b"[\x80]", "[]".encode("utf-16")):
            with self.subTest(raw=raw), self.assertRaises(BrokenStructure):
                read_carefully(raw)

    def test_nesting_has_no_limit(self):
        self.assertEqual(len(read_carefully(b"[" * 100_000 + b"]" * 100_000)), 1)
        self.assertEqual(read_carefully(b"[" + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"]")[0][0][0][0], "a")

    def test_both_readers_agree(self):
        def plain(value):
            if type(value) in (dict, Fields):
                return {key: plain(member) for key, member in (value.items() if type(value) is dict else value)}
            return ARRAY if type(value) is list else value

        self.addCleanup(sys.setrecursionlimit, sys.getrecursionlimit())
        sys.setrecursionlimit(20_000)
        records = generate.Dirty(11, T0)
        records.odd_trades(1)
        records.odd_messages()
        agreed = 0
        for record in records.records:
            try:
                quick = read_quickly(record.value or b"")
            except NeedsCare:
                continue
            careful = read_carefully(record.value)
            self.assertEqual([plain(value) for value in quick], [plain(value) for value, _, _ in careful])
            agreed += 1
        self.assertGreater(agreed, 30)

    def test_lone_surrogates_are_no_text(self):
        for text, good in (('"\\ud800"', False), ('"\\udc00\\ud800"', False), ('"\\ud83d\\ude00"', True),
                           ('"é"', True)):
            self.assertEqual(is_text(read_carefully(f"[{text}]".encode())[0][0]), good, text)
            self.assertEqual(is_text(read_quickly(f"[{text}]".encode())[0]), good, text)


class Numbers(unittest.TestCase):
    def test_amounts(self):
        for text, units in (
                ("1", UNIT), ("0", 0), ("-0", 0), ("-0.0e5", 0), ("1.5e-07", 150_000), ("0.0000000000005", 0),
                ("0.0000000000015", 2), ("2.5e-12", 2), ("3.5E-12", 4), ("0.00000000000050000000001", 1), ("1e-13", 0),
                ("9e-13", 1), ("4.9999e-13", 0), ("1e19", 10**31), ("0.000001e25", 10**31),
                ("0e999999999999999999999", 0),
                ("1e-99999999999999999999999", 0), ("99999999999999999999.9999999999999", 10**32),
                ("12345678901234567890123e-12", 12345678901234567890123), ("1" + "0" * 5000 + "e-5000", UNIT)):
            with self.subTest(text=text[:40]):
                self.assertEqual(amount("x", Number(text)), units)
                self.assertEqual(amount("x", text), units)

    def test_amounts_against_the_decimal_module(self):
        source = generate.random.Random(5)
        context = Context(prec=60, rounding=ROUND_HALF_EVEN)
        for _ in range(5000):
            digits = "".join(source.choice("0559") for _ in range(source.randrange(1, 24)))
            text = f"{source.randrange(10)}.{digits}e{source.randrange(-20, 19)}"
            expected = Decimal(text).quantize(Decimal("1e-12"), context=context)
            self.assertEqual(Fraction(amount("x", text), UNIT), Fraction(expected), text)

    def test_bad_amounts(self):
        for text in ("-1", "-1e-400", "1e20", "100000000000000000000", "0.000001e26", "1e99999999999999999999",
                     "9" * 400):
            with self.subTest(text=text[:40]), self.assertRaises(Invalid):
                amount("x", text)

    def test_not_numbers(self):
        for value in ("", " 1", "1 ", "+1", ".5", "1.", "01", "1e", "0x1", "NaN", "1_0", "1\n", "١",
                      True, None, ARRAY, MALFORMED):
            for read in (amount, double, lambda name, value: integer(name, value, 5)):
                with self.subTest(value=value), self.assertRaises(Invalid):
                    read("x", value)

    def test_integers(self):
        for text, number in (("0", 0), ("-0", 0), ("9223372036854775807", 2**63 - 1)):
            self.assertEqual(integer("x", text, 2**63 - 1), number)
        for text in ("-1", "1.0", "1e3", "9223372036854775808", "99999999999999999999", "0.0", "-0.0"):
            with self.subTest(text=text), self.assertRaises(Invalid):
                integer("x", text, 2**63 - 1)

    def test_doubles(self):
        self.assertEqual(double("x", "1e308"), 1e308)
        self.assertEqual(struct.pack("<d", double("x", "-1e-400")), struct.pack("<d", 0.0))
        self.assertEqual(double("x", "9007199254740993"), 9007199254740992.0)
        for text in ("1e309", "-1e309", "1" * 400):
            with self.assertRaises(Invalid):
                double("x", text)


class Results(unittest.TestCase):
    def check(self, result, **values):
        for name, texts in values.items():
            for text in texts:
                with self.subTest(field=name, text=text):
                    self.assertEqual(result_of(**{name: text}), result)

    def test_type(self):
        self.check("applied", type=['"buy"', '"sell"', '"b\\u0075y"'])
        self.check("ignored", type=['"add"', '""', '"Buy"', '"\\ud83d\\ude00"'])
        self.check("invalid", type=[None, "null", "5", "true", "[]", "{}", "buy", '"\\ud800"'])

    def test_order_of_checks(self):
        self.assertEqual(result_of(type='"add"', token_price_usd="nul", pair_addr="5"), "ignored")
        self.assertEqual(result_of(token_price_usd="0", pair_addr="5"), "no_price")
        self.assertEqual(result_of(token_price_usd="-1", block_time=str(T0 * 2)), "invalid")
        self.assertEqual(result_of(pair_addr="5", block_time=str(T0 * 2)), "invalid")
        self.assertEqual(result_of(block_time=str(T0 * 2)), "future")

    def test_price(self):
        self.check("no_price", token_price_usd=["0", '"0"', "-0", '"-0.0"', "1e-400", "-1e-400", "null", None, "0e9"])
        self.check("invalid", token_price_usd=["-1", '""', "1e400", "nul", "NaN", "true", '" 1"', "-5e-324", "01"])
        self.check("applied", token_price_usd=["5e-324", '"1.5e-07"', "1E+3", '"\\u0031"'])

    def test_needed(self):
        self.check("invalid", block_time=[None, "null", "-1", "1.0"], slot=[None, "null", "0", "nul", "-1"],
                   chain_id_int=[None, "0", "2", "-1"], pair_addr=[None, '""', '"a b"', '"é"', f'"{"x" * 65}"', "5"],
                   tx_hash=[None, '""', "5", "nul", '"\\ud800"'], token_amount=[None, "null", "-1", "nul", "1e20"],
                   total_usd=[None, "null", "-1", "nul", "1e20"])
        self.check("applied", pair_addr=[f'"{"x" * 64}"', '"\\u0041"', '"~"'], slot=['"7"'], total_usd=["0", "-0"])

    def test_stand_ins(self):
        self.assertEqual(result_of(slot="0", block_num="0"), "applied")
        self.assertEqual(result_of(slot="null", block_num='"5"'), "applied")
        self.assertEqual(result_of(slot="5", block_num="nul"), "applied")
        self.assertEqual(result_of(slot="-1", block_num="5"), "invalid")
        for chain_id, result in (('"sol"', "applied"), ('"56"', "applied"), ("56", "invalid"), ('"056"', "invalid"),
                                 ('"0"', "invalid"), ('"SOL"', "invalid"), ('"5"', "invalid"),
                                 ('"b\\u0061se"', "applied")):
            self.assertEqual(result_of(chain_id_int="0", chain_id=chain_id), result, chain_id)
            self.assertEqual(result_of(chain_id_int=None, chain_id=chain_id), result, chain_id)
        self.assertEqual(result_of(chain_id_int="1", chain_id="nul"), "applied")
        self.assertEqual(result_of(chain_id_int="nul", chain_id='"sol"'), "invalid")
        self.assertEqual(result_of(tx_hash='""', hash_id='"7#1"'), "applied")
        self.assertEqual(result_of(tx_hash='""', hash_id='""'), "invalid")
        self.assertEqual(result_of(hash_id="5"), "applied")
        self.assertEqual(result_of(tx_hash="5", hash_id='"7#1"'), "invalid")

    def test_optional(self):
        self.check("invalid", transaction_index=["-1", "2147483648", '"x"'], log_index=["1.0"],
                   mcap=["-1", "1e400", "nul"], fdv=["-1", '""'], pump_point=["1e400", "nul", "true"],
                   clamp=['"true"', "1", "tru"], pair_info=["5", "[]"], base_token_amount=["-1", "nul", "1e20"])
        self.check("applied", transaction_index=["null", '"5"', "2147483647"], mcap=["-1e-400", "null", '"5"'],
                   pump_point=["-3", "-0"], clamp=["true", "null"], pair_info=["null", "{}", '{"token_addr":null}'],
                   base_token_amount=["null", "0"], maker=["nul", "5"], swap_name=["{}"], create_time=["5"],
                   base_token_price_usd=["NaN"], unknown=["nul", '"\\ud800"'])
        self.assertEqual(result_of(mcap="5", fdv="nul"), "applied")
        self.assertEqual(result_of(mcap="0", fdv="nul"), "invalid")
        for token_addr, result in (('"%s"' % ("x" * 64), "applied"), ('"%s"' % ("x" * 65), "invalid"),
                                   ('"a b"', "invalid"), ("5", "invalid"), ('""', "applied")):
            self.assertEqual(result_of(pair_info='{"token_addr":%s}' % token_addr), result, token_addr)

    def test_last_of_two_spellings_counts(self):
        for fields, pair in (('"pair_addr":5,"PairAddr":"B"', "B"), ('"PairAddr":"B","pair_addr":"A"', "A"),
                             ('"pair_addr":"A","PairAddr":"B","pair_addr":"C"', "C"), ('"PairAddr":"B"', "B"),
                             ('"p\\u0061ir_addr":"A"', "A")):
            text = trade_text(pair_addr=None)[:-1] + "," + fields + "}"
            candles = recompute([message(0, text)]).candles
            self.assertEqual({key[2] for key in candles}, {pair}, fields)
        self.assertEqual(result_of(Slot="null"), "invalid")
        info = '{"token_addr":"a","TokenAddr":"b"}'
        self.assertEqual(candle_of(trade_text(pair_info=info)).token_addr, "b")
        self.assertEqual(candle_of(trade_text(PairInfo='{"TokenAddr":"c"}')).token_addr, "c")

    def test_dead_letters_hold_the_original_bytes(self):
        bad = '{ "type" : "buy", "token_price_usd" : 1, "x": "é" }'
        result = recompute([message(3, trade_text(), bad, "nul", trade_text(tx_hash='"b"')), message(4),
                            Message("t", 1, 0, 5, None, b"{}"), Message("t", 1, 1, 5, None, None)])
        self.assertEqual(result.ledger, {"applied": 2, "invalid": 4})
        self.assertEqual(result.dead_letters, [
            DeadLetter("t", 0, 3, 1, "invalid", bad.encode()), DeadLetter("t", 0, 3, 2, "invalid", b"nul"),
            DeadLetter("t", 1, 0, None, "invalid", b"{}"), DeadLetter("t", 1, 1, None, "invalid", b"")])

    def test_broken_message_counts_none_of_its_trades(self):
        whole = ("[" + trade_text() + "," + trade_text(tx_hash='"b"', unused='"\\q"') + "]").encode()
        result = recompute([Message("t", 0, 0, -1, None, whole)])
        self.assertEqual((result.ledger, result.candles), ({"invalid": 1}, {}))
        self.assertEqual(result.dead_letters, [DeadLetter("t", 0, 0, None, "invalid", whole)])


class Time(unittest.TestCase):
    def ledger(self, *messages, **settings):
        return dict(recompute(messages, Settings(**settings)).ledger)

    def test_future_is_measured_in_milliseconds_of_the_record(self):
        for stamp, result in ((T0 * 1000 - 600_000, "applied"), (T0 * 1000 - 600_001, "future"), (-1, "applied")):
            self.assertEqual(self.ledger(message(0, trade_text(), stamp=stamp)), {result: 1})

    def test_what_is_later_than_the_year_9999_is_always_future(self):
        for time, result in ((253402300799, "applied"), (253402300800, "future"), (2**63 - 1, "future")):
            text = trade_text(block_time=str(time))
            self.assertEqual(recompute([message(0, text, stamp=-1)]).ledger, {result: 1})

    def test_future_moves_no_clock(self):
        ahead = trade_text(block_time=str(T0 + 10**7), tx_hash='"ahead"')
        self.assertEqual(self.ledger(message(0, ahead, trade_text()), message(1, trade_text(tx_hash='"b"'))),
                         {"future": 1, "applied": 2})

    def test_late_by_the_clock_of_the_whole_message(self):
        week = 7 * 86400
        old, older = (trade_text(block_time=str(T0 - week - late), tx_hash=f'"{late}"') for late in (0, 1))
        self.assertEqual(self.ledger(message(0, older)), {"applied": 1})
        self.assertEqual(self.ledger(message(0, old, older, trade_text())), {"applied": 2, "late": 1})
        self.assertEqual(self.ledger(message(0, trade_text()), message(1, older)), {"applied": 1, "late": 1})
        self.assertEqual(self.ledger(message(0, trade_text()), message(0, older, partition=1)), {"applied": 2})
        self.assertEqual(self.ledger(message(0, trade_text(chain_id_int="56")), message(1, older)), {"applied": 2})

    def test_other_results_move_no_clock(self):
        week = 7 * 86400
        old = trade_text(block_time=str(T0 - week - 1), tx_hash='"old"')
        for kind, result in (({"type": '"add"'}, "ignored"), ({"token_price_usd": "0"}, "no_price"),
                             ({"mcap": "-1"}, "invalid")):
            self.assertEqual(self.ledger(message(0, trade_text(**kind), old)), {result: 1, "applied": 1})

    def test_late_trade_is_not_remembered(self):
        early = trade_text(block_time=str(T0 - 100), tx_hash='"x"')
        self.assertEqual(self.ledger(message(0, trade_text(), early), message(1, early), max_lateness=50),
                         {"applied": 1, "late": 2})

    def test_duplicate_within_the_window_which_each_sighting_renews(self):
        def at(offset, seconds, again=True):
            clock = trade_text(block_time=str(T0 + seconds), tx_hash=f'"clock{offset}"')
            return message(offset, clock, *([trade_text()] if again else []), stamp=-1)

        self.assertEqual(self.ledger(at(0, 0), at(1, 600)), {"applied": 3, "duplicate": 1})
        self.assertEqual(self.ledger(at(0, 0), at(1, 601)), {"applied": 4})
        self.assertEqual(self.ledger(at(0, 0), at(1, 600), at(2, 1200)), {"applied": 4, "duplicate": 2})
        self.assertEqual(self.ledger(at(0, 0), at(1, 601), at(2, 1201)), {"applied": 5, "duplicate": 1})
        self.assertEqual(self.ledger(message(0, trade_text(), trade_text())), {"applied": 1, "duplicate": 1})
        self.assertEqual(self.ledger(message(0, trade_text()), message(0, trade_text(), partition=1)), {"applied": 2})

    def test_identity_is_made_of_texts(self):
        def twice(second, **first):
            return self.ledger(message(0, trade_text(**first), trade_text(**{**first, **second})))

        for change in ({"token_amount": "2"}, {"create_time": '"x"'}, {"maker": '"x"'}, {"slot": "8"},
                       {"total_usd": "9"}, {"token_price_usd": '"1.5"'}, {"tx_hash": '"\\u0074x"'},
                       {"transaction_index": "-0"}, {"log_index": '"0"'}, {"base_token_amount": "null"},
                       {"tx_hash": '""', "hash_id": '"tx"'}, {"block_time": str(T0 + 1)}):
            self.assertEqual(twice(change), {"applied": 1, "duplicate": 1}, change)
        for change in ({"token_amount": "2.0"}, {"token_price_usd": "1.50"}, {"tx_hash": '"TX"'},
                       {"transaction_index": "1"}, {"log_index": "1"}, {"base_token_amount": "0"}, {"type": '"sell"'},
                       {"pair_addr": '"pair"'}, {"chain_id_int": "56"}):
            self.assertEqual(twice(change), {"applied": 2}, change)

    def test_what_was_put_back_stands_for_its_first_place(self):
        def put_back(offset, attempt, *trades, index=None):
            headers = [("klined-origin", b"t/0/0"), ("klined-attempt", str(attempt).encode())]
            headers += [] if index is None else [("klined-indexes", str(index).encode())]
            return message(offset, *trades)._replace(headers=headers)

        def judged(*messages, **put_backs):
            result = recompute(messages, put_backs={
                (0, 0, None if name == "whole" else int(name[1:])):
                    note if isinstance(note, PutBack) else PutBack(note, None) for name, note in put_backs.items()})
            return dict(result.ledger), [(letter.offset, letter.index) for letter in result.dead_letters]

        later = message(1, trade_text(block_time=str(T0 + 1000), tx_hash='"later"'), stamp=-1)  # Beyond dedupe_window.
        first, good = message(0, trade_text(), "17"), trade_text(tx_hash='"mended"')
        self.assertEqual(judged(first, later), ({"applied": 2, "invalid": 1}, [(0, 1)]))
        self.assertEqual(judged(first, later, put_back(2, 1, good, index=1), i1=1),
                         ({"applied": 3, "duplicate": 1}, []))
        # Under rules that accept it at once.
        first = message(0, trade_text(), good)
        self.assertEqual(judged(first, later, put_back(2, 1, good, index=1), i1=1),
                         ({"applied": 3, "duplicate": 1}, []))
        self.assertEqual(judged(first, later, put_back(2, 1, good, index=1), put_back(3, 2, good, index=1), i1=2),
                         ({"applied": 3, "duplicate": 2}, []))
        self.assertEqual(judged(first, later, put_back(2, 1, trade_text(), good), whole=1),
                         ({"applied": 3, "duplicate": 2}, []))
        # One that is replaced moves no clock.
        ahead = message(0, trade_text(block_time=str(T0 + 500), tx_hash='"ahead"'), stamp=-1)
        late = message(1, trade_text(block_time=str(T0 + 500 - 7 * 86400 - 1)), stamp=-1)
        self.assertEqual(judged(ahead, late), ({"applied": 1, "late": 1}, [(1, 0)]))
        self.assertEqual(judged(ahead, late, i0=1), ({"applied": 1, "duplicate": 1}, []))
        # A letter of what was put back names the first place.
        self.assertEqual(judged(put_back(9, 1, "17", index=4), i4=1), ({"invalid": 1}, [(0, 4)]))
        broken = put_back(9, 1)._replace(value=b"{")
        self.assertEqual(judged(broken, whole=1), ({"invalid": 1}, [(0, None)]))
        self.assertEqual(judged(broken, whole=2), ({"duplicate": 1}, []))

        # A topic that was made anew, and notes of the old one.
        def noted(attempt, text):
            return PutBack(attempt, f"{len(text)}:{zlib.crc32(text.encode()):08x}")

        first = message(0, trade_text(), good)
        self.assertEqual(judged(first, i1=noted(1, good)), ({"applied": 1, "duplicate": 1}, []))
        self.assertEqual(judged(first, i1=noted(1, good + " ")), ({"applied": 2}, []))
        self.assertEqual(judged(first, whole=noted(1, first.value.decode())), ({"duplicate": 2}, []))
        self.assertEqual(judged(first, whole=noted(1, good)), ({"applied": 2}, []))
        self.assertEqual(judged(message(0)._replace(value=b"{"), whole=noted(1, "}")), ({"invalid": 1}, [(0, None)]))
        # A record that was put back is of the topic itself.
        self.assertEqual(judged(put_back(9, 1, good, index=1), i1=noted(2, "another")), ({"duplicate": 1}, []))

    def test_forgetting_changes_nothing(self):
        def judge(prune_at):
            one = PartitionJudge("t", 0, Settings())
            one.prune_at = prune_at
            source = generate.random.Random(3)
            for offset in range(600):
                texts = [trade_text(tx_hash=f'"{source.randrange(40)}"', block_time=str(T0 + offset * 20))
                         for _ in range(2)]
                one.judge(offset, -1, f"[{','.join(texts)}]".encode())
            return one

        remembering, forgetting = judge(10**9), judge(10)
        self.assertGreater(remembering.ledger["duplicate"], 100)
        self.assertGreater(remembering.ledger["applied"], 100)
        self.assertEqual(forgetting.ledger, remembering.ledger)
        self.assertEqual(forgetting.applied, remembering.applied)


class Buckets(unittest.TestCase):
    def test_calendar(self):
        for interval, time, begin, end in (
                ("1m", 119, 60, 120), ("1s", 5, 5, 6), ("3d", 0, 0, 259200), ("3d", 259200, 259200, 518400),
                ("1w", 0, -259200, 345600), ("1w", 345599, -259200, 345600), ("1w", 345600, 345600, 950400),
                ("1M", 0, 0, 2678400), ("1M", 951782400, 949363200, 951868800),  # 2000-02-29 is in February …
                ("1M", 951868800, 951868800, 954547200), ("1M", 1709164800, 1706745600, 1709251200),
                ("1M", 1704067199, 1701388800, 1704067200), ("1d", 1704067199, 1703980800, 1704067200),
                ("1M", 4107542400, 4107542400, 4110220800),  # … and 2100-03-01 follows 2100-02-28.
                ("1M", 4107542399, 4105123200, 4107542400), ("12h", 43200, 43200, 86400), ("8h", 28799, 0, 28800)):
            self.assertEqual(bucket(interval, time), (begin, end), (interval, time))

    def test_buckets_tile_time(self):
        for interval in INTERVALS:
            for time in (0, T0, 2**40, 2**62):
                begin, end = bucket(interval, time)
                self.assertTrue(begin <= time < end)
                self.assertEqual(bucket(interval, end)[0], end)
                self.assertEqual(bucket(interval, end - 1), (begin, end))

    def test_names(self):
        self.assertEqual(parse_intervals("24h, 1m,1d"), ["1d", "1m"])
        with self.assertRaises(ValueError):
            parse_intervals("1m,7m")


class Candles(unittest.TestCase):
    def test_every_column(self):
        result = recompute([message(
            0,
            trade_text(block_time=str(T0 + 5), slot="9", tx_hash='"c"', type='"sell"', token_price_usd="4", mcap="40",
                       fdv="1", token_amount='"0.1"', total_usd='"0.7"', pump_point="0.75",
                       pair_info='{"token_addr":"Z"}'),
            trade_text(block_time=str(T0), slot="7", tx_hash='"a"', token_price_usd="2", mcap="0", fdv="30",
                       token_amount='"0.1"', total_usd='"0.1"', pump_point="0.5"),
            trade_text(block_time=str(T0), slot="8", tx_hash='"b"', token_price_usd="1.25", mcap="10",
                       token_amount='"0.1"', total_usd='"0.2"'))], Settings(intervals=("1m", "1M")))
        expected = Candle(
            open=2.0, high=4.0, low=1.25, close=4.0, mcap_open=30.0, mcap_high=40.0, mcap_low=10.0, mcap_close=40.0,
            amount_usd=UNIT, volume_token=3 * UNIT // 10, buy_count=2, sell_count=1, total_count=3, open_at=T0,
            close_at=T0 + 5, avg_price=10 / 3, mkt_cap=40.0, pump_point=0.75, token_addr="Z")
        self.assertEqual(result.candles, {("1m", 1, "Pair", 1_699_999_980): expected,
                                          ("1M", 1, "Pair", 1_698_796_800): expected})
        self.assertEqual(result.clocks, {1: T0 + 5})

    def test_average(self):
        self.assertEqual(candle_of(trade_text(token_amount="0")).avg_price, 0.0)
        self.assertEqual(candle_of(trade_text(token_amount='"0.3"', total_usd='"0.1"')).avg_price, 1 / 3)

    def test_position_decides_open_and_close(self):
        def trade(price, time, slot, index, log):
            return trade_text(block_time=str(T0 + time), slot=str(slot), transaction_index=str(index),
                              log_index=str(log), token_price_usd=str(price), tx_hash=f'"{price}"')

        ascending = [(5, trade(5, 0, 9, 9, 9)), (1, trade(1, 1, 1, 9, 9)), (4, trade(4, 1, 2, 1, 9)),
                     (2, trade(2, 1, 2, 2, 1)), (3, trade(3, 1, 2, 2, 2))]
        for (first_price, first), (last_price, last) in zip(ascending, ascending[1:]):
            for candle in (candle_of(first, last), candle_of(last, first)):
                self.assertEqual((candle.open, candle.close), (first_price, last_price))

    def test_ties_go_by_topic_partition_offset_and_index(self):
        def close(*messages):
            candle, = (candle for key, candle in recompute(messages).candles.items() if key[0] == "1m")
            return candle.open, candle.close

        one, two = (trade_text(tx_hash=f'"{price}"', token_price_usd=price) for price in ("1", "2"))
        self.assertEqual(close(message(0, two, one)), (2, 1))
        self.assertEqual(close(message(0, two), message(1, one)), (2, 1))
        self.assertEqual(close(message(1, one, partition=1), message(9, two, partition=0)), (2, 1))
        self.assertEqual(close(message(1, one, topic="b"), message(9, two, topic="a", partition=5)), (2, 1))

    def test_clamped_trades_set_prices_only_among_themselves(self):
        def trade(price, clamp, second):
            return trade_text(block_time=str(T0 + second), token_price_usd=str(price), mcap=str(price * 10),
                              clamp=clamp, tx_hash=f'"{second}"', pump_point=str(price),
                              pair_info='{"token_addr":"%d"}' % price)

        candle = candle_of(trade(9, "true", 0), trade(3, "false", 1), trade(2, "null", 2), trade(1, "true", 3))
        self.assertEqual(candle[:8], (3, 3, 2, 2, 30, 30, 20, 20))
        self.assertEqual((candle.open_at, candle.close_at, candle.mkt_cap, candle.pump_point, candle.token_addr),
                         (T0, T0 + 3, 10, 1, "1"))
        self.assertEqual((candle.total_count, candle.amount_usd, candle.volume_token), (4, 12 * UNIT, 8 * UNIT))
        candle = candle_of(trade(9, "true", 0), trade(1, "true", 3))
        self.assertEqual(candle[:8], (9, 9, 1, 1, 90, 90, 10, 10))

    def test_pairs_that_differ_in_case_are_two(self):
        candles = recompute([message(0, trade_text(), trade_text(pair_addr='"pair"'))]).candles
        self.assertEqual({key[2] for key in candles}, {"Pair", "pair"})


class Comparison(unittest.TestCase):
    def test_cells_are_compared_bit_for_bit(self):
        self.assertEqual(cell_differences(("a", "b"), (1, 0.0), (1, 0.0)), "")
        self.assertIn("b is -0.0, expected 0.0", cell_differences(("a", "b"), (1, -0.0), (1, 0.0)))
        self.assertIn("a is 0.1, expected", cell_differences(("a",), (0.1,), (0.1 + 2**-56,)))
        self.assertEqual(cell_differences(("a", "b"), (2, 5), (1, 5)), "a is 2, expected 1")

    def test_newest_revision(self):
        old, new = Newest(1, True, (1,) * 23, ""), Newest(2, False, (2,) * 23, "")
        self.assertEqual(old.with_(new, ""), new)
        self.assertEqual(new.with_(old, ""), new)
        self.assertTrue(new.with_(new._replace(closed=True), "").closed)
        self.assertTrue(new._replace(closed=True).with_(new, "").closed)
        self.assertIn("here: ", new.with_(Newest(2, False, (3,) * 23, ""), "here").conflict)

    def test_closed(self):
        key = ("1m", 1, "Pair", 60)
        self.assertTrue(Closing({1: 122}, 2, 0).problem(key, False))
        self.assertFalse(Closing({1: 122}, 2, 0).problem(key, True))
        self.assertTrue(Closing({1: 121}, 2, 121).problem(key, True))
        self.assertFalse(Closing({1: 121}, 2, 121).problem(key, False))
        self.assertTrue(Closing({1: 0}, 2, 125).problem(key, False))

    def test_wire_format(self):
        # chain_id = 1, interval = "1m", open = 1.5, closed = true; and that as the list of a Klines.
        raw = b"\x08\x01\x12\x021m\x21" + struct.pack("<d", 1.5) + b"\xc0\x01\x01"
        for kline in (kline_wire.parse_kline(raw), kline_wire.parse_klines(b"\x0a" + bytes([len(raw)]) + raw).list[0]):
            self.assertEqual((kline.chain_id, kline.interval, kline.open, kline.closed), (1, "1m", 1.5, True))
        for bad in (b"\x08", b"\xff\xff", b"\x0a\x05x"):
            with self.assertRaises(ValueError):
                kline_wire.parse_klines(bad)
        with self.assertRaises(ValueError):
            kline_wire.parse_klines(b"\x3a\x09\x09" + struct.pack("<d", float("nan")))

    def test_expected_kline(self):
        (key, candle), = recompute([message(0, trade_text())], Settings(intervals=("1m",))).candles.items()
        values = dict(zip(kline_wire.VALUE_NAMES, kline_wire.expected_values(key, candle)))
        self.assertEqual((values["amount_usd"], values["volume_token"], values["candle_time"], values["interval"]),
                         (3.0, 2.0, 1_699_999_980, "1m"))

    def test_area_shows_the_first_differences_only(self):
        area = Area("x")
        for number in range(50):
            area.differs(str(number))
        self.assertEqual((area.differ, len(area.shown)), (50, 20))


class Generator(unittest.TestCase):
    def test_same_seed_same_records(self):
        one, two = (generate.Dirty(4, T0) for _ in range(2))
        for dirty in (one, two):
            dirty.odd_trades(1)
            dirty.duplicates()
        self.assertEqual(one.records, two.records)

    def test_broken_messages_are_dead_and_odd_ones_are_not(self):
        texts = [text_of(trade) for trade in generate.Dirty(1, T0).good(3)]
        for raw in broken_messages(texts):
            with self.subTest(raw=raw[-120:]), self.assertRaises(BrokenStructure):
                read_carefully(raw)
        for raw in odd_messages(texts):
            read_carefully(raw)

    def test_good_trades_are_applied_and_every_case_is_a_trade_of_its_own(self):
        dirty = generate.Dirty(2, T0)
        for case in TRADE_CASES:
            dirty.send(("[" + text_of(case(dirty.good(1)[0])) + "," + text_of(dirty.good(1)[0]) + "]").encode())
        result = recompute([Message("t", 0, offset, record.timestamp_ms, record.key, record.value)
                            for offset, record in enumerate(dirty.records)])
        self.assertEqual(result.read, 2 * len(TRADE_CASES))
        self.assertGreaterEqual(result.ledger["applied"], len(TRADE_CASES))
        self.assertGreater(result.ledger["invalid"], 500)
        self.assertFalse([letter for letter in result.dead_letters if letter.index != 0])

    def test_scenarios_reach_every_result(self):
        dirty = generate.Dirty(3, T0)
        for part in (dirty.stamps, dirty.duplicates, dirty.late, dirty.ties, dirty.clamps):
            part()
        result = recompute([Message("t", 0, offset, record.timestamp_ms, record.key, record.value)
                            for offset, record in enumerate(dirty.records)])
        for name in ("applied", "duplicate", "late", "future"):
            self.assertGreater(result.ledger[name], 2, name)

    def test_biggest_messages_fit_the_broker(self):
        dirty = generate.Dirty(5, T0)
        dirty.biggest()
        self.assertEqual([len(record.value) for record in dirty.records], [generate.BIGGEST_VALUE] * 3)
        self.assertEqual(len(read_carefully(dirty.records[0].value)), 3)
        self.assertGreater(len(read_carefully(dirty.records[1].value)), 5000)
        with self.assertRaises(BrokenStructure):
            read_carefully(dirty.records[2].value)

    def test_edges_hold_mondays_months_and_leap_days(self):
        times = set(generate.edge_times(far=True))
        for time in (0, 1, 345599, 345600, 951782400, 951868799, 951868800, 1704067199, 1704067200, 1709164800,
                     4107542400):
            self.assertIn(time, times)
        self.assertTrue(all(json.loads(record.value) for record in generate.edges(1)[:50]))

    def test_lines_of_a_file(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "trades.jsonl")
            with open(path, "w", encoding="utf-8") as file:
                file.write(f"{trade_text()}\n\n[{trade_text(tx_hash='2')}]\n{{}},{{}}\n nul\n")
            messages = list(messages_of_file(path))
            self.assertEqual([each.offset for each in messages], [0, 2, 3, 4])
            result = recompute(messages)
            self.assertEqual(result.ledger, {"applied": 1, "invalid": 3})
            self.assertEqual([(letter.offset, letter.index) for letter in result.dead_letters],
                             [(2, 0), (3, None), (4, None)])


if __name__ == "__main__":
    unittest.main()
