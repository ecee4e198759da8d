#!/usr/bin/env python3
"""All intervals at once, with trades on and around the edges of their buckets: Mondays, month ends, leap days."""

import unittest

from harness import Site, main, say  # First: it makes the oracle's modules known.
from candles import INTERVALS
from generate import edges


class Intervals(unittest.TestCase):
    def test_edges(self):
        with Site(intervals=INTERVALS) as site:
            say(f"sent {site.send(edges(seed=11)):,} messages around the edges of {len(INTERVALS)} intervals")
            site.init()
            job = site.start()
            site.await_drained(job)
            site.judge()
            job.stop()
            made = {key[0] for key in site.recompute().candles}
            self.assertEqual(made, set(INTERVALS))


if __name__ == "__main__":
    main()
