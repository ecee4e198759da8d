#!/usr/bin/env python3
"""`klined verify --published --redis` raises no false alarm under load, finds what is wrong there, and --repair mends
it; also where several processes share the partitions."""

import json
import struct
import time
import unittest

from confluent_kafka import Producer

from harness import SOLANA, Site, main, say, wait_until
from inputs import Trader
from kline_wire import parse_kline
from test_verify import START, verify


def places_of(site, config, *more):
    """(exit status, {(where, interval, pair, time): verdict}, what it said) of all places."""
    done = site.command("verify", "-c", config, "--json", "--published", "--redis", *more, seconds=300)
    say(f"verify {' '.join(more)}: exit status {done.returncode}: {done.stderr.strip()}")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return done.returncode, {(one["where"], one["interval"], one["pair_addr"], one["time"]): one["verdict"]
                             for one in found}, done.stderr


def with_high(value, high):
    """A serialized Kline with another `high`: of a field that stands twice, the last one counts."""
    return value + b"\x29" + struct.pack("<d", high)


def with_revision(value, revision):
    """With another total_count, of up to 14 bits."""
    return value + b"\x88\x01" + bytes([revision & 127 | 128, revision >> 7])


def damaged(site, minutes, sql):
    """Trades at these minutes after the last noon, stored by a job that has ended; then somebody changes rows by the SQL.
    The trader, and that noon."""
    site.init()
    noon = int(time.time()) // 86_400 * 86_400 - 43_200
    trader = Trader()
    site.send([trader.batch(noon + 60 * minute) for minute in minutes])
    job = site.start("first")
    site.await_drained(job)
    job.stop()
    site.rows(sql)
    return trader, noon


class Outputs(unittest.TestCase):
    """Redis and the published candles."""

    def old_candles(self, site, count):
        """[(pair, time, Redis' value)] of 1m candles that nothing happens to any more."""
        rows = site.rows("SELECT pair_address, candle_time FROM trade_kline_1m ORDER BY candle_time, pair_address "
                         f"LIMIT {count}")
        redis = site.stack.redis(site.redis_database)
        return [(pair, int(at), redis.hget(f"kline:{SOLANA}:{pair}:1m", at)) for pair, at in rows]

    def publish(self, site, pair, value):
        producer = Producer({"bootstrap.servers": site.stack.kafka, "partitioner": "murmur2_random"})
        message = b"\x0a" + bytes([len(value) & 127 | 128, len(value) >> 7]) + value
        producer.produce(f"klines-{SOLANA}-{site.env}", message, pair)
        self.assertEqual(producer.flush(30), 0)

    def test_finds_and_mends_under_load(self):
        with Site() as site:
            site.init()
            config = site.write_config("plain")
            feed = site.start_feed(trades=0, rate=1000, speed=20, pairs=100, seed=33, start=START)
            job = site.start(log={"level": "debug"}).await_active()
            job.await_log("Redis was compared with the tables", 300)  # This mends it; it does not come again soon.
            minutes = "SELECT COUNT(DISTINCT candle_time) FROM trade_kline_1m"
            wait_until("old candles", lambda: int(site.rows(minutes)[0][0]) >= 5)
            for _ in range(2):
                status, found, said = places_of(site, config)
                self.assertEqual((status, found), (0, {}))
            self.assertRegex(said, r"[1-9]\d* published candles read; [1-9]\d* Redis fields compared")

            redis = site.stack.redis(site.redis_database)
            missing, junk, high, same, phantom = self.old_candles(site, 5)
            redis.hdel(f"kline:{SOLANA}:{missing[0]}:1m", missing[1])
            redis.hset(f"kline:{SOLANA}:{junk[0]}:1m", junk[1], b"junk")
            redis.hset(f"kline:{SOLANA}:{high[0]}:1m", high[1], with_high(high[2], 1e9))
            self.publish(site, same[0], with_high(same[2], 1e9))
            self.publish(site, phantom[0], with_revision(phantom[2], 9999))
            damage = {("redis", "1m", *one[:2]) for one in (missing, junk, high)} | {
                ("kafka", "1m", *one[:2]) for one in (same, phantom)}
            status, found, _ = places_of(site, config)
            self.assertEqual((status, found), (1, dict.fromkeys(damage, "wrong")))
            self.assertTrue(feed.runs(), "the feed has ended: this was no load")
            status, found, said = places_of(site, config, "--repair")
            self.assertEqual((status, found.keys()), (1, damage))
            self.assertIn("1 candles were published with a larger revision than they have", said)
            left = {("kafka", "1m", *phantom[:2]): "wrong"}  # Only more trades would mend it.
            self.assertEqual(places_of(site, config)[:2], (1, left))
            job.stop()

    def test_what_a_wrong_row_made_of_them(self):
        """A job that has loaded a wrong row publishes and caches it: a repair mends that too."""
        with Site(partitions=1) as site:
            config = site.write_config("plain")
            trader, noon = damaged(site, [0], "UPDATE trade_kline_1d SET h = h * 1000 WHERE pair_address = 'PairA'")
            job = site.start()
            site.send([trader.batch(noon + 60)])
            site.await_drained(job)
            status, found, _ = places_of(site, config)
            self.assertEqual(status, 1)
            self.assertEqual({(where, interval) for where, interval, _, _ in found},
                             {("mysql", "1d"), ("kafka", "1d"), ("redis", "1d")})
            self.assertEqual(places_of(site, config, "--repair")[0], 0)
            self.assertEqual(places_of(site, config)[:2], (0, {}))
            site.send([trader.batch(noon + 120)])
            site.await_drained(job)
            self.assertEqual(places_of(site, config)[:2], (0, {}))
            job.stop()


    def test_closes_nothing_before_its_grace_is_over(self):
        grace = {"engine": {"close_grace": "1h"}}
        with Site(partitions=1) as site:
            site.init()
            config = site.write_config("plain", **grace)
            at = int(time.time()) // 60 * 60 - 1200
            site.send([Trader().batch(at), Trader(seed=2).batch(at - 7200)])
            job = site.start(**grace)
            site.await_drained(job)
            site.rows("UPDATE trade_kline_1m SET h = h * 1000 WHERE pair_address = 'PairA'")
            self.assertEqual(verify(site, config, "--repair")[0], 0)
            redis = site.stack.redis(site.redis_database)
            for pair in ("PairA", "PairB"):
                candles = {begin: parse_kline(redis.hget(f"kline:{SOLANA}:{pair}:1m", begin)) for begin in (at - 7200, at)}
                self.assertEqual({begin: candle.closed for begin, candle in candles.items()},
                                 {at - 7200: True, at: False}, pair)
            job.stop()


class CountedTooMany(unittest.TestCase):
    """A row with too large a count: its revision is larger than the right one, so nothing heals by itself."""

    def test_that_the_job_has_published(self):
        with Site(partitions=1) as site:
            config = site.write_config("plain")
            trader, noon = damaged(site, [0], "UPDATE trade_kline_1d SET buy_count = buy_count + 50, "
                                   "`count` = `count` + 50 WHERE pair_address = 'PairA'")
            job = site.start()
            site.send([trader.batch(noon + 60)])
            site.await_drained(job)
            found = places_of(site, config)[1]
            self.assertEqual({(where, pair) for where, _, pair, _ in found},
                             {("mysql", "PairA"), ("kafka", "PairA"), ("redis", "PairA")})
            status, _, said = verify(site, config, "--repair")  # It is not told where to look.
            self.assertEqual(status, 1)
            self.assertRegex(said, r"stays wrong for readers of klines-\S+: 1d PairA .*: published with revision 52, is 2")
            self.assertIn("1 candles were published with a larger revision than they have", said)
            left = {("kafka", "1d", "PairA", noon - noon % 86_400): "wrong"}
            self.assertEqual(places_of(site, config)[:2], (1, left))
            for minute in range(2, 5):
                site.send([trader.batch(noon + 60 * minute)])
                site.await_drained(job)
                self.assertEqual(places_of(site, config)[:2], (1, left))
            job.stop()

    def test_that_only_the_cache_has(self):
        """The cache's own look at the tables put it there."""
        with Site(partitions=1) as site:
            config = site.write_config("plain")
            _, noon = damaged(site, [0, 10], "UPDATE trade_kline_1m SET sell_count = sell_count + 1 "
                              "WHERE pair_address = 'PairA' ORDER BY candle_time LIMIT 1")
            job = site.start()
            job.await_log("Redis was compared with the tables: .* candles_written=1 ")
            damage = {("mysql", "1m", "PairA", noon): "wrong", ("redis", "1m", "PairA", noon): "wrong"}
            self.assertEqual(places_of(site, config)[:2], (1, damage))
            self.assertEqual(verify(site, config, "--repair")[0], 0)
            self.assertEqual(places_of(site, config)[:2], (0, {}))
            job.stop()


class Shared(unittest.TestCase):
    def test_repairs_under_several_processes(self):
        """Each is refused once, claims its share again, and goes on."""
        shared = {"input": {"partitioned_by": "pair"},
                  "kafka": {"consumer": {"session.timeout.ms": "6000", "heartbeat.interval.ms": "1000"}}}
        with Site(partitions=4) as site:
            site.init(**shared)
            config = site.write_config("plain", **shared)
            feed = site.start_feed(trades=0, rate=1000, speed=40, pairs=100, seed=35, start=START, key="pair")
            jobs = [site.start(name, **shared) for name in ("first", "second")]
            owners = "SELECT COUNT(DISTINCT owner) FROM stream_offset WHERE owner > 0"
            wait_until("both to own partitions", lambda: int(site.rows(owners)[0][0]) == 2)
            before = site.stored_offsets()
            wait_until("progress", lambda: all(site.stored_offsets()[p] > before[p] for p in before))
            minutes = "SELECT COUNT(DISTINCT candle_time) FROM trade_kline_1m"
            wait_until("old candles", lambda: int(site.rows(minutes)[0][0]) >= 4)
            site.rows("UPDATE trade_kline_1d SET h = h * 1000")  # These the jobs write right again, old ones not.
            site.rows("UPDATE trade_kline_1m SET h = h * 1000 ORDER BY candle_time LIMIT 30")
            self.assertEqual(verify(site, config)[0], 1)
            self.assertEqual(verify(site, config, "--repair")[0], 0)
            self.assertTrue(feed.runs(), "the feed has ended: this was no load")
            for job in jobs:
                job.await_log("MySQL refused a commit", 60)
            feed.stop()
            site.await_drained(jobs[0])
            site.judge()
            self.assertEqual(verify(site, config)[:2], (0, {}))
            for job in jobs:
                job.stop()


if __name__ == "__main__":
    main()
