#!/usr/bin/env python3
"""`klined verify` finds what was changed by hand, beside a running job, and --repair mends it for good; what the log no
longer holds is unverifiable, not wrong."""

import json
import time
import unittest

from harness import Site, main, say, wait_until
from inputs import Trader
from test_errors import delete_records

RATE = 1000  # Trades a second.
START = "2025-06-30T23:50:00Z"


def verify(site, config, *more):
    """(exit status, {(interval, time): finding}, what it said)"""
    done = site.command("verify", "-c", config, "--json", *more, seconds=300)
    say(f"verify {' '.join(more)}: exit status {done.returncode}: {done.stderr.strip()}")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return done.returncode, {(one["interval"], one["pair_addr"], one["time"]): one for one in found}, done.stderr


class Verify(unittest.TestCase):
    def damage(self, site):
        """Changes old candles by hand. {(interval, pair, time): what verify should say of it}"""
        rows = site.rows("SELECT pair_address, candle_time FROM trade_kline_1m ORDER BY candle_time, pair_address "
                         "LIMIT 4")
        high, deleted, average, place = rows
        where = "WHERE pair_address = %s AND candle_time = %s"
        site.rows(f"UPDATE trade_kline_1m SET h = h * 2 {where}", *high)
        site.rows(f"DELETE FROM trade_kline_1m {where}", *deleted)
        site.rows(f"UPDATE trade_kline_1m SET a = a + 1 {where}", *average)
        site.rows(f"UPDATE trade_kline_1m SET close_at = close_at - 1, `count` = `count` + 1 {where}", *place)
        columns = [row[0] for row in site.rows("SHOW COLUMNS FROM trade_kline_5m")]
        listed = ", ".join(f"`{name}`" for name in columns)
        values = ", ".join("'nobody'" if name == "pair_address" else f"`{name}`" for name in columns)
        site.rows(f"INSERT INTO trade_kline_5m ({listed}) SELECT {values} FROM trade_kline_5m ORDER BY candle_time "
                  "LIMIT 1")
        surplus = int(site.rows("SELECT candle_time FROM trade_kline_5m WHERE pair_address = 'nobody'")[0][0])
        said = {high: ["h"], deleted: "missing", average: ["a"], place: ["close_at", "count"]}
        return {("5m", "nobody", surplus): "surplus"} | {("1m", pair, int(at)): what for (pair, at), what in said.items()}

    def test_finds_and_repairs_under_load(self):
        with Site() as site:
            site.init()
            config = site.write_config("plain")
            feed = site.start_feed(trades=0, rate=RATE, speed=40, pairs=200, seed=31, start=START)
            job = site.start().await_active()
            minutes = "SELECT COUNT(DISTINCT candle_time) FROM trade_kline_1m"
            wait_until("old candles", lambda: int(site.rows(minutes)[0][0]) >= 5)
            status, found, _ = verify(site, config)
            self.assertEqual((status, found), (0, {}))
            damage = self.damage(site)
            status, found, _ = verify(site, config)
            self.assertEqual(status, 1)
            said = {key: one["row"] if one["row"] != "differs" else [cell["column"] for cell in one["cells"]]
                    for key, one in found.items()}
            self.assertEqual(said, damage)
            self.assertEqual({one["verdict"] for one in found.values()}, {"wrong"})

            self.assertTrue(feed.runs(), "the feed has ended: this was no load")
            status, found, _ = verify(site, config, "--repair")
            self.assertEqual((status, found.keys()), (0, damage.keys()))
            job.await_log("has claimed the partitions", 60)
            job.await_active(activations=2)
            status, found, _ = verify(site, config, "--passes", "3")
            self.assertEqual((status, found), (0, {}))
            feed.stop()
            site.await_drained(job)
            site.judge()
            job.stop()
            self.assertEqual(verify(site, config)[:2], (0, {}))

    def test_repairs_what_the_job_holds_too(self):
        """A job that has loaded a wrong row spreads it with every commit: after the repair it must not."""
        with Site(partitions=1) as site:
            site.init()
            config = site.write_config("plain")
            noon = int(time.time()) // 86_400 * 86_400 - 43_200
            trader = Trader()

            def send(job, minute):
                site.send([trader.batch(noon + 60 * minute)])
                site.await_drained(job)
            first = site.start("first")
            send(first, 0)
            first.stop()
            site.rows("UPDATE trade_kline_1d SET h = h * 1000, v = v + 1000 WHERE pair_address = 'PairA'")
            job = site.start()
            send(job, 1)
            status, found, _ = verify(site, config)
            self.assertEqual(status, 1)
            (finding,) = found.values()
            self.assertEqual((finding["interval"], finding["pair_addr"]), ("1d", "PairA"))
            self.assertLessEqual({"h", "v"}, {cell["column"] for cell in finding["cells"]})
            self.assertEqual(verify(site, config, "--repair")[0], 0)
            self.assertEqual(verify(site, config)[:2], (0, {}))
            for minute in range(2, 6):
                send(job, minute)
                self.assertEqual(verify(site, config)[:2], (0, {}))
            self.assertEqual(job.activations(), 2)
            site.judge()
            job.stop()

    def test_trimmed_is_unverifiable(self):
        with Site(partitions=1) as site:
            site.init()
            config = site.write_config("plain")
            now = time.time()
            trader = Trader()
            site.send([trader.batch(now - 7200 + 10 * i) for i in range(20)])
            job = site.start()
            site.send([trader.batch(now - 60 + 5 * i) for i in range(10)])
            site.await_drained(job)
            self.assertEqual(verify(site, config)[:2], (0, {}))
            delete_records(site.stack.kafka, site.topic, 0, 5)
            status, found, said = verify(site, config)
            self.assertEqual(status, 0)
            self.assertTrue(found)
            self.assertEqual({one["verdict"] for one in found.values()}, {"unverifiable"})
            self.assertIn("unverifiable", said)
            before = site.dump()
            self.assertEqual(verify(site, config, "--repair")[0], 0)
            self.assertEqual(site.dump(), before, "what cannot be verified was changed")
            # What lies after it is still told wrong.
            newest = int(site.rows("SELECT MAX(candle_time) FROM trade_kline_1m")[0][0])
            job.stop()
            site.rows("UPDATE trade_kline_1m SET l = l / 2 WHERE candle_time = %s", str(newest))
            status, found, _ = verify(site, config, "--interval", "1m")
            self.assertEqual(status, 1)
            wrong = {key[2] for key, one in found.items() if one["verdict"] == "wrong"}
            self.assertEqual(wrong, {newest})

    def test_could_not(self):
        with Site() as site:
            site.init()
            config = site.write_config("plain")
            status, _, said = verify(site, config)
            self.assertEqual(status, 2)
            self.assertIn("stored nothing yet", said)
            site.feed(trades=2000, pairs=20, event_rate=20, seed=5, start=START)
            job = site.start()
            site.await_drained(job)
            status, _, said = verify(site, site.write_config("other", input={"dedupe_window": "5m"}))
            self.assertEqual(status, 2)
            self.assertIn("dedupe_window", said)
            self.assertEqual(verify(site, config, "--interval", "7m")[0], 2)
            self.assertEqual(verify(site, config, "--limit", "-1")[0], 2)
            status, _, said = verify(site, config, "--pair", "NoSuchPair")
            self.assertEqual(status, 2)
            self.assertIn("--pair NoSuchPair: there is no candle of that pair", said)
            (pair,) = site.rows("SELECT pair_address FROM trade_kline_1d LIMIT 1")[0]
            self.assertEqual(verify(site, config, "--pair", pair)[0], 0)
            job.stop()


if __name__ == "__main__":
    main()
