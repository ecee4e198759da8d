#!/usr/bin/env python3
"""The commands around the job: aggregate on files of all kinds, candles and pairs from the tables, config and help."""

import csv
import gzip
import io
import json
import os
import unittest

from harness import Site, main, program, say
import aggregate_check
from candles import INTERVALS
from comparison import cell_differences
from dirty_cases import text_of
from generate import Dirty, Market, edges, write_jsonl
from inputs import Trader
from kline_wire import VALUE_NAMES, expected_values
from oracle import Settings, messages_of_file, recompute

COMMANDS = ("run", "route", "init", "feed", "aggregate", "candles", "pairs", "offsets", "verify", "config", "dlq", "reset")
T0 = 1_740_000_000  # 2025-02-19T21:20:00Z
CSV_COLUMNS = ("slot", "transaction_index", "log_index", "block_time", "chain_id_int", "pair_addr", "tx_hash", "type",
               "token_amount", "base_token_amount", "token_price_usd", "total_usd", "mcap", "fdv", "pump_point",
               "clamp", "maker")


class Aggregate(unittest.TestCase):
    """`klined aggregate` needs no server; a Site only gives it a folder."""

    @classmethod
    def setUpClass(cls):
        cls.site = cls.enterClassContext(Site())

    def path(self, name):
        return os.path.join(self.site.folder, name)

    def check(self, arguments, jsonl, intervals=INTERVALS, stdin=None):
        """The candles of `klined aggregate` equal the recomputation of a file of JSON lines."""
        expected = recompute(messages_of_file(jsonl), Settings(intervals=tuple(intervals))).candles
        self.assertGreater(len(expected), 10)
        options = {"stdin": stdin} if stdin else {}
        done = self.site.succeed("aggregate", *arguments, "--interval", ",".join(intervals), "--json", **options)
        found = {}
        for line in done.stdout.splitlines():
            kline = json.loads(line)
            found[kline["interval"], kline["chain_id"], kline["pair_addr"], kline["candle_time"]] = tuple(
                float(kline[name]) if type(kline[name]) is int and type(example) is float else kline[name]
                for name, example in zip(VALUE_NAMES, expected_values(*next(iter(expected.items())))))
        self.assertEqual(found.keys(), expected.keys())
        differences = [problem for key, values in found.items()
                       if (problem := cell_differences(VALUE_NAMES, values, expected_values(key, expected[key])))]
        say(f"aggregate {' '.join(arguments)}: compared {len(found):,} candles, "
            f"{len(found) * len(VALUE_NAMES):,} fields: {len(differences)} differ")
        self.assertEqual(differences, [])
        return done

    def test_jsonl(self):
        for name, records in (("dirty", Dirty(3, T0).all(1)), ("edges", edges(3))):
            path = self.path(f"{name}.jsonl")
            write_jsonl(path, records)
            result = recompute(messages_of_file(path), Settings(intervals=INTERVALS))
            area = aggregate_check.compare(aggregate_check.aggregate(program(), path, INTERVALS), result.candles)
            say(f"{name}: {area.summary()}")
            self.assertEqual(area.differ, 0, area.shown)
            counts = self.site.succeed("aggregate", path, "--json").stderr
            for outcome, count in result.ledger.items():
                self.assertRegex(counts, rf"\b{outcome}={count}\b")
            self.assertRegex(counts, rf"\bread={result.read}\b")

    def test_one_trade_a_line_gzip_stdin_csv(self):
        market = Market(4)
        trades = [market.trade(1000 + number // 3, T0 + number // 2) for number in range(3000)]
        jsonl, zipped, table = self.path("trades.jsonl"), self.path("trades.jsonl.gz"), self.path("trades.csv")
        with open(jsonl, "w", encoding="utf-8") as file:
            file.writelines(text_of(trade) + "\n" for trade in trades)
        with open(jsonl, "rb") as file, gzip.open(zipped, "wb") as packed:
            packed.write(file.read())
        with open(table, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*CSV_COLUMNS, "pair_info.token_addr"])
            for trade in trades:
                fields = json.loads(text_of(trade), parse_float=str, parse_int=str)
                cells = ["true" if fields[name] is True else "false" if fields[name] is False else fields[name]
                         for name in CSV_COLUMNS]
                writer.writerow([*cells, fields["pair_info"]["token_addr"]])
        self.check([jsonl], jsonl)
        self.check([zipped], jsonl)
        self.check([table], jsonl)
        with open(jsonl, "rb") as file:
            self.check(["-"], jsonl, stdin=file)
        with open(zipped, "rb") as file:
            self.check(["-"], jsonl, stdin=file)

    def test_formats_and_pair(self):
        path = self.path("few.jsonl")
        trader = Trader()
        write_jsonl(path, [trader.batch(T0 + 20 * number) for number in range(30)])
        lines = [json.loads(line) for line in
                 self.site.succeed("aggregate", path, "--interval", "1m", "--json").stdout.splitlines()]
        self.assertEqual({line["pair_addr"] for line in lines}, {"PairA", "PairB"})
        rows = list(csv.DictReader(io.StringIO(self.site.succeed("aggregate", path, "-i", "1m", "--csv").stdout)))
        self.assertEqual(len(rows), len(lines))
        for row, line in zip(rows, lines):
            self.assertEqual((row["pair_addr"], float(row["close"]), int(row["candle_time"])),
                             (line["pair_addr"], float(line["close"]), line["candle_time"]))
        one = self.site.succeed("aggregate", path, "--pair", "PairA", "--json").stdout.splitlines()
        self.assertEqual([json.loads(line) for line in one], [line for line in lines if line["pair_addr"] == "PairA"])
        shown = self.site.succeed("aggregate", path, "--pair", "PairA").stdout
        self.assertIn("2025-02-19 21:20:00", shown)
        self.assertNotIn("\x1b", shown, "colours without a terminal")

    def test_refusals(self):
        for arguments, needle in ((["/nowhere.jsonl"], "/nowhere.jsonl"),
                                  (["/dev/null", "--interval", "7m"], "known are"),
                                  (["/dev/null", "--json", "--csv"], "excludes")):
            with self.subTest(arguments=arguments):
                done = self.site.command("aggregate", *arguments)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertIn(needle, done.stderr)


class Candles(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.site = site = cls.enterClassContext(Site())
        site.init()
        trader = Trader()
        site.send([trader.batch(T0 + at, count=2) for at in (*range(0, 300, 20), *range(600, 1200, 30), 1800)])
        site.send([trader.batch(T0 + 10, pairs=("CaseA", "casea"))])
        job = site.start()
        site.await_drained(job)
        site.judge()
        job.stop()
        cls.config = ["--config", site.write_config("commands")]

    def klines(self, *arguments):
        return [json.loads(line) for line in
                self.site.succeed("candles", *arguments, "--json", *self.config).stdout.splitlines()]

    def expected(self, pair, interval):
        return {key[3]: expected_values(key, candle) for key, candle in sorted(self.site.recompute().candles.items())
                if key[0] == interval and key[2] == pair}

    def assert_equal_candles(self, found, expected):
        self.assertEqual([line["candle_time"] for line in found], list(expected))
        for line, values in zip(found, expected.values()):
            for name, value in zip(VALUE_NAMES, values):
                self.assertEqual(line[name], value, name)

    def test_json(self):
        for interval in ("1m", "5m", "1h", "1d"):
            expected = self.expected("PairA", interval)
            found = self.klines("PairA", interval)
            self.assert_equal_candles(found, expected)
            say(f"candles PairA {interval}: {len(found)} candles equal the recomputation")

    def test_range_and_last(self):
        expected = self.expected("PairA", "1m")
        times = list(expected)
        newest = self.klines("PairA", "1m", "--last", "3")
        self.assert_equal_candles(newest, {time: expected[time] for time in times[-3:]})
        some = self.klines("PairA", "1m", "--from", "2025-02-19T21:21:00Z", "--to", "2025-02-19T21:24:00Z")
        self.assert_equal_candles(some, {time: expected[time] for time in times if T0 + 60 <= time < T0 + 240})

    def test_fill(self):
        expected = self.expected("PairA", "1m")
        filled = self.klines("PairA", "1m", "--fill", "--from", str(T0), "--to", str(T0 + 1860))
        self.assertEqual([line["candle_time"] for line in filled], list(range(T0, T0 + 1801, 60)))
        last = None
        for line in filled:
            if line["candle_time"] in expected:
                last = line
                continue
            self.assertEqual((line["total_count"], line["amount_usd"], line["volume_token"]), (0, 0, 0))
            self.assertEqual({line["open"], line["high"], line["low"], line["close"]}, {last["close"]})
        self.assertLess(len(expected), len(filled))
        say(f"candles --fill: {len(filled)} candles, {len(filled) - len(expected)} of them flat")

    def test_csv_and_table(self):
        rows = list(csv.DictReader(io.StringIO(
            self.site.succeed("candles", "PairA", "1m", "--csv", *self.config).stdout)))
        self.assertEqual([int(row["candle_time"]) for row in rows], list(self.expected("PairA", "1m")))
        shown = self.site.succeed("candles", "PairA", "1m", *self.config).stdout
        self.assertIn("2025-02-19 21:20:00", shown)
        self.assertNotIn("\x1b", shown)

    def test_case_matters(self):
        for pair in ("CaseA", "casea"):
            self.assertEqual({line["pair_addr"] for line in self.klines(pair, "1m")}, {pair})

    def test_unknown_pair_and_interval(self):
        for arguments, needle in ((("NoSuchPair", "1m"), "NoSuchPair"), (("PairA", "7m"), "7m")):
            done = self.site.command("candles", *arguments, *self.config)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(needle, done.stderr)

    def test_pairs(self):
        shown = self.site.succeed("pairs", *self.config).stdout
        for pair in ("PairA", "PairB", "CaseA", "casea"):
            self.assertIn(pair, shown)
        self.assertLess(shown.index("PairA"), shown.index("CaseA"), "not the most active first")


class Manual(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.site = cls.enterClassContext(Site())

    def test_help(self):
        whole = self.site.succeed("--help").stdout
        for command in COMMANDS:
            self.assertRegex(whole, rf"\n  {command}\b")
            shown = self.site.succeed(command, "--help").stdout
            self.assertIn("Examples:", shown, f"klined {command} --help")
            self.assertIn("Exit status:", shown, f"klined {command} --help")
        for verb in ("check", "print"):
            self.assertIn("Examples:", self.site.succeed("config", verb, "--help").stdout)
        self.assertRegex(self.site.succeed("--version").stdout, r"^klined \d+\.\d+")

    def test_init_is_idempotent(self):
        first, second = self.site.init().stdout, self.site.init().stdout
        self.assertIn("made", first)
        self.assertIn("trade_kline_1m", first)
        self.assertNotRegex(second, r"\bmade\b")
        say(f"init again:\n{second.rstrip()}")

    def test_init_makes_input_topics_on_request(self):
        topic = f"{self.site.topic}-more"
        path = self.site.write_config("more", input={"topics": [topic]})
        try:
            self.assertIn(topic, self.site.succeed("init", "--config", path).stderr)
            self.site.succeed("init", "--config", path, "--input-topics")
            job = self.site.start("more", input={"topics": [topic]}).await_active()
            job.stop()
        finally:
            self.site.delete_topics([topic, f"{topic}-dlq"])

    def test_config_check(self):
        path = self.site.write_config("good")
        self.assertIn("ok", self.site.succeed("config", "check", path).stdout)
        bad = self.site.write_config("bad", engine={"lanez": 4}, mysql={"flush_rows": 0})
        done = self.site.command("config", "check", bad)
        self.assertEqual(done.returncode, 2)
        self.assertIn("did you mean lanes?", done.stderr)
        self.assertIn("mysql.flush_rows", done.stderr)

    def test_config_print_masks_secrets(self):
        path = self.site.write_config("secrets", mysql={"password": "hush-mysql"}, redis={"password": "hush-redis"},
                                      kafka={"properties": {"sasl.password": "hush-kafka"}})
        done = self.site.succeed("config", "print", path)
        self.assertNotIn("hush", done.stdout + done.stderr)
        self.assertIn("flush_interval: 500ms", done.stdout)
        self.assertIn(self.site.database, done.stdout)


if __name__ == "__main__":
    main()
