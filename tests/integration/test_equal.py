#!/usr/bin/env python3
"""Simulated trades of 2,000 pairs: whatever the number of workers, the order within a minute, and however often a
message comes, everything that goes out equals the recomputation."""

import unittest

from harness import FULL, Site, main, say
from inputs import messages_of, send, shuffled_within_a_minute, twice

TRADES = 1_000_000 if FULL else 50_000
PAIRS = 2000
START = "2025-01-31T23:50:00Z"  # The day, the month and an hour end in the middle of it.
SECONDS = 1200


class Equal(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.source = cls.enterClassContext(Site())
        cls.source.init()
        cls.source.feed(trades=TRADES, pairs=PAIRS, event_rate=TRADES // SECONDS, start=START, seed=7)

    def run_and_judge(self, site, **changes):
        site.init()
        job = site.start(**changes)
        site.await_drained(job, 600)
        say(f"{site.recompute().read:,} trades are in the tables; peak memory {job.peak_mib():.0f} MiB")
        site.judge()
        job.stop()

    def test_workers(self):
        self.run_and_judge(self.source, engine={"workers": 2})
        self.assertGreater(self.source.recompute().ledger["applied"], 0.9 * TRADES)
        expected = self.source.dump()
        for workers in (1, 8):
            with self.subTest(workers=workers), Site(topic=self.source.topic) as site:
                say(f"workers {workers}")
                self.run_and_judge(site, engine={"workers": workers})
                self.assertEqual(site.dump(), expected)

    def test_shuffled_within_a_minute(self):
        with Site() as site:
            say("the same trades, shuffled within a minute")
            send(site.stack.kafka, site.topic,
                 shuffled_within_a_minute(messages_of(self.source.stack.kafka, self.source.topic), seed=3))
            self.run_and_judge(site)
            self.assertEqual(site.recompute().candles, self.source.recompute().candles)

    def test_every_message_twice(self):
        with Site() as site:
            say("every message twice")
            send(site.stack.kafka, site.topic,
                 twice(messages_of(self.source.stack.kafka, self.source.topic), seed=4))
            self.run_and_judge(site)
            once, again = self.source.recompute(), site.recompute()
            self.assertEqual(again.candles, once.candles)
            self.assertEqual(again.ledger["applied"], once.ledger["applied"])
            self.assertEqual(again.ledger["duplicate"], once.ledger["applied"] + 2 * once.ledger["duplicate"])


if __name__ == "__main__":
    main()
