#!/usr/bin/env python3
"""Fluctuation of trades that are older than the wall clock: also after a restart, and where the pair had left memory."""

import time
import unittest

from harness import SOLANA, Site, main, say, wait_until
from candles import bucket
from inputs import Trader
from kline_wire import parse_klines
from topics import read_partition, watermarks

START = 1_735_689_600  # 2025-01-01T00:00:00Z
WINDOWS = {"1m": 60, "5m": 300, "15m": 900, "1h": 3600, "4h": 4 * 3600, "12h": 12 * 3600, "24h": 24 * 3600}


def expected(prices):
    """{window: fraction} at the last of the trades, given as {block_time: price}."""
    clock = max(prices)
    found = {}
    for name, window in WINDOWS.items():
        interval = "1m" if window <= 3600 else "15m"
        before = [at for at in prices if bucket(interval, at)[1] <= clock - window]
        reference = prices[max(before)] if before else None
        found[name] = (prices[clock] - reference) / reference if reference else 0.0
    return found


def newest(site):
    """The fluctuation of the last message that has one, as {window: fraction}."""
    topic = f"klines-{SOLANA}-{site.env}"
    found = {}
    for (_, partition), (first, end) in watermarks(site.stack.kafka, [topic]).items():
        for record in read_partition(site.stack.kafka, topic, partition, first, end):
            klines = parse_klines(record.value())
            if klines.HasField("fluctuation"):
                found = {name: getattr(klines.fluctuation, f"kline_fluctuation_{name}") for name in WINDOWS}
    return found


class Fluctuation(unittest.TestCase):
    def test_old_trades(self):
        trader, prices = Trader(), {}

        def trade(site, at, price):
            prices[at] = price
            return trader.batch(at, pairs=("PairA",), token_price_usd=str(price), clamp="false")

        with Site(partitions=1) as site:
            site.init()
            site.send([trade(site, START + 30 * i, 1.0 + i / 64) for i in range(240)])
            job = site.start("first")
            for number in range(6):
                if number == 3:
                    site.await_drained(job)
                    job.stop()
                    job = site.start("second")
                site.await_drained(job)
                time.sleep(2)  # The chain is idle then: the wall clock closes what there is, and it may leave memory.
                site.send([trade(site, START + 7200 + 7 * number, 5.0 + number / 8)])
                wanted = expected(prices)
                wait_until(f"{wanted} to be published; it is {newest(site)}", lambda: newest(site) == wanted, 20, 0.3)
            say(f"at the last trade: {newest(site)}")
            site.judge()
            job.stop()


if __name__ == "__main__":
    main()
