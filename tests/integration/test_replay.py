#!/usr/bin/env python3
"""The tables belong to one group; after a reset the same input gives the same tables, bit for bit."""

import unittest

from harness import Site, main, say

TRADES = 30_000


class Replay(unittest.TestCase):
    def test_replay(self):
        with Site() as site:
            site.init()
            site.feed(trades=TRADES, pairs=300, event_rate=20, start="2025-02-28T23:55:00Z", seed=9)
            config = site.write_config("plain")
            job = site.start()
            site.await_drained(job)

            refused = site.command("reset", "--config", config, "--yes")
            self.assertNotEqual(refused.returncode, 0, "a reset under a running job was not refused")
            self.assertRegex(refused.stderr, r"run|active|lock")
            say(f"reset while the job runs: {refused.stderr.strip()}")
            site.judge()
            job.stop()
            first = site.dump()

            other = site.command("run", "--config", site.write_config("other", group="another-group"))
            say(f"another group: exit status {other.returncode}: {other.stderr.strip().splitlines()[-1]}")
            self.assertEqual(other.returncode, 2)
            self.assertIn(site.group, other.stderr)
            self.assertIn("another-group", other.stderr)
            self.assertEqual(site.dump(), first)

            unsure = site.command("reset", "--config", config)
            self.assertEqual(unsure.returncode, 2, "a reset without --yes was not refused")
            self.assertEqual(site.dump(), first)

            say(site.succeed("reset", "--config", config, "--yes").stdout.strip())
            self.assertEqual({name: len(rows) for name, rows in site.dump().items()}, dict.fromkeys(first, 0))
            self.assertEqual(site.stored_offsets(), {})

            job = site.start("replay")
            site.await_drained(job)
            site.judge()
            job.stop()
            again = site.dump()
            self.assertEqual(again, first)
            say(f"{sum(map(len, first.values())):,} rows before and after the replay: equal bit for bit")


if __name__ == "__main__":
    main()
