#!/usr/bin/env python3
"""The last candle of a series is published as closed soon after its end, though no trade follows; also where the
process was killed and started again between the last trade and that end."""

import time
import unittest

from harness import SOLANA, Site, main, say, wait_until
from candles import bucket
from comparison import describe
from inputs import Trader
from kline_wire import key_of, parse_klines
from topics import read_partition, watermarks

GRACE_SECONDS = 2
SLACK_SECONDS = 3
INTERVALS = ("1s", "1m")


def publications(site):
    """{key: [(published at, total_count, closed)]} of all candles on the klines topic."""
    topic = f"klines-{SOLANA}-{site.env}"
    found = {}
    for (_, partition), (first, end) in watermarks(site.stack.kafka, [topic]).items():
        for record in read_partition(site.stack.kafka, topic, partition, first, end):
            for kline in parse_klines(record.value()).list:
                found.setdefault(key_of(kline), []).append(
                    (record.timestamp()[1] / 1000, kline.total_count, kline.closed))
    return found


class Closed(unittest.TestCase):
    def check(self, site, began=0.0):
        """All candles are closed, each in time, or soon after the job `began`. Returns how late the latest one was."""
        found = publications(site)
        self.assertEqual(found.keys(), site.recompute().candles.keys())
        latest = 0
        for key, published in found.items():
            newest = max(count for _, count, _ in published)
            end = bucket(key[0], key[3])[1]
            closed_at = [at for at, count, closed in published if closed and count == newest]
            self.assertTrue(closed_at, f"{describe(key)} was never published as closed")
            self.assertGreaterEqual(min(closed_at), end, f"{describe(key)} was closed before its end")
            delay = min(closed_at) - max(end + GRACE_SECONDS, began)
            self.assertLessEqual(delay, SLACK_SECONDS, f"{describe(key)} was closed {delay:.1f} s too late")
            latest = max(latest, delay)
        return latest

    def test_no_trade_follows(self):
        """One job that runs all the time, one that is killed between the last trade and the end of its minute."""
        options = {"intervals": INTERVALS}
        with Site(**options) as steady, Site(**options) as killed:
            for site in (steady, killed):
                site.init()
                site.start(site.id).await_active()
            while not 20 <= time.time() % 60 <= 42:  # Time for a restart before the minute ends, and not much more.
                time.sleep(0.2)
            trader = Trader()
            for _ in range(4):
                for site in (steady, killed):
                    site.send([trader.batch(time.time())])
                time.sleep(0.7)
            last_trade = time.time()
            for site in (steady, killed):
                site.await_drained(site.processes[0])
            killed.processes[0].kill()
            say(f"killed one of two jobs {time.time() - last_trade:.1f} s after the last trade")
            time.sleep(1)
            again = killed.start("again").await_active()
            began = time.time()
            minute_end = bucket("1m", int(last_trade))[1]
            self.assertLess(time.time(), minute_end, "the restart took too long: this was no test")
            say(f"started it again {minute_end - time.time():.1f} s before the minute's end")

            time.sleep(max(0.0, minute_end + GRACE_SECONDS + SLACK_SECONDS - time.time()))
            for site, since, name in ((steady, 0.0, "the job that ran on"), (killed, began, "the killed job")):
                site.judge(closed=True)
                latest = self.check(site, since)
                say(f"{name}: {len(publications(site))} candles closed, the latest {latest:.2f} s after it could be")
            steady.processes[0].stop()
            again.stop()

    def test_another_chain_is_far_ahead(self):
        """A job is killed while candles are open, and another chain's are ten days newer in all lanes."""
        pairs = [f"Pair{number}" for number in range(60)]
        with Site(chains=(SOLANA, 8453), intervals=("1m",)) as site:
            site.init()
            job = site.start().await_active()
            trader, now = Trader(), time.time()
            past = now - 10 * 86_400
            site.send([trader.batch(past, pairs=pairs), trader.batch(now, pairs=pairs, chain_id_int="8453")])

            def all_stored():
                site.send([trader.batch(past, pairs=["Alive"])])  # A chain without trades closes by the wall clock.
                return len(site.rows("SELECT candle_time FROM trade_kline_1m")) == 2 * len(pairs) + 1
            wait_until("all to be stored", all_stored, 30, 0.3)
            job.kill()
            self.assertFalse(any(closed for published in publications(site).values() for _, _, closed in published),
                             "they were closed before the kill: this was no test")
            again = site.start("again").await_active()

            def still_open():
                return sum(not any(closed for _, _, closed in published) for published in publications(site).values())
            wait_until("all to be published as closed", lambda: still_open() == 0, 30)
            self.assertEqual(len(publications(site)), len(pairs) + 1)
            again.stop()


if __name__ == "__main__":
    main()
