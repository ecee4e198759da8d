#!/usr/bin/env python3
"""Bad data: every trade read ends in exactly one result, every refused one lies unchanged on the dead-letter topic,
and the good trades around it count."""

import unittest

from harness import Site, main, say  # First: it makes the oracle's modules known.
from generate import Dirty
from oracle import DEAD_RESULTS

CHAINS = (1, 56, 8453, 100000)
START = 1_700_000_000


class DirtyInput(unittest.TestCase):
    def test_dirty(self):
        with Site(chains=CHAINS) as site:
            records = Dirty(seed=5, start=START).all(rounds=1)
            say(f"sent {site.send(records):,} messages, the largest of "
                f"{max(len(record.value or b'') for record in records):,} bytes")
            site.init()
            job = site.start()
            site.await_drained(job)
            site.judge()
            expected = site.recompute()
            counted, metrics, peak = job.await_counted(expected.read), job.metrics(), job.peak_mib()
            job.stop()

            self.assertEqual(counted, {name: expected.ledger[name] for name in counted})
            self.assertTrue(all(count > 0 for count in counted.values()), f"a result never came: {counted}")
            self.assertEqual(metrics["klined_messages_total"], len(records))
            self.assertEqual(metrics["klined_dead_letters_total"], len(expected.dead_letters))
            say(f"read {sum(counted.values()):,} = {' + '.join(f'{name} {n:,}' for name, n in counted.items())}; "
                f"{sum(counted[name] for name in DEAD_RESULTS):,} dead letters; peak memory {peak:.0f} MiB")

    def test_flood_of_dead_letters(self):
        """A message is small, what it becomes is not: memory stays within the limit, and each letter is written."""
        with Site(chains=CHAINS) as site:
            dirty = Dirty(seed=7, start=START)
            dirty.clamps()
            dirty.send(b"[" + b",".join([b"0"] * 300_000) + b"]")
            dirty.clamps()
            site.send(dirty.records)
            site.init()
            job = site.start(engine={"memory_limit": "256MiB"})
            site.await_drained(job, 300)
            site.judge()
            peak = job.peak_mib()
            job.stop()
            say(f"peak memory {peak:.0f} MiB of 256")
            self.assertLess(peak, 256)

    def test_dead_letters_again_after_a_reset(self):
        """A replay refuses the same trades again: dead letters come at least once, and the same ones."""
        with Site(chains=CHAINS) as site:
            dirty = Dirty(seed=6, start=START)
            dirty.stamps()
            dirty.duplicates()
            dirty.odd_messages()
            dirty.late()
            site.send(dirty.records)
            site.init()
            for name in ("first", "second"):
                job = site.start(name)
                site.await_drained(job)
                site.judge()
                counted = job.await_counted(site.recompute().read)
                job.stop()
                self.assertEqual(counted, {result: site.recompute().ledger[result] for result in counted})
                site.succeed("reset", "--config", site.write_config("reset"), "--yes")


if __name__ == "__main__":
    main()
