#!/usr/bin/env python3
"""`klined offsets` tells what is stored; `klined reset --to` begins anew where it is told, and never beside a job."""

import json
import unittest

from harness import Site, main, say

TRADES = 12_000


def offsets(site, config, *more):
    return [json.loads(line) for line in site.succeed("offsets", "-c", config, "--json", *more).stdout.splitlines()]


class Offsets(unittest.TestCase):
    def test_offsets_and_reset_to(self):
        with Site() as site:
            site.init()
            config = site.write_config("plain")
            self.assertIn("nothing stored yet", site.succeed("offsets", "-c", config).stdout)
            site.feed(trades=TRADES, pairs=100, event_rate=20, start="2025-02-28T23:55:00Z", seed=4)
            job = site.start()
            site.await_drained(job)
            shown = offsets(site, config)
            self.assertEqual({row["partition"]: row["next_offset"] for row in shown}, site.ends())
            for row in shown:
                self.assertEqual((row["lag"], row["log_end"], row["spread"], row["lanes"], row["active"]),
                                 (0, row["next_offset"], 0, 8, True))
            lanes = offsets(site, config, "--lanes")
            self.assertEqual([(row["partition"], row["lane"]) for row in lanes],
                             [(partition, lane) for partition in range(3) for lane in range(8)])
            say(site.succeed("offsets", "-c", config).stdout)

            refused = site.command("reset", "-c", config, "--to", "earliest", "--yes")
            self.assertEqual(refused.returncode, 2, refused.stderr)
            self.assertIn("stop it first", refused.stderr)
            self.assertEqual(offsets(site, config)[0]["next_offset"], shown[0]["next_offset"])
            job.stop()
            before = site.dump()
            self.assertFalse(offsets(site, config)[0]["active"])

            for arguments, words in ((("--to", "earliest"), "--yes"), (("--to", "yesterday", "--yes"), "is no time")):
                refused = site.command("reset", "-c", config, *arguments)
                self.assertEqual(refused.returncode, 2, refused.stderr)
                self.assertIn(words, refused.stderr)
            self.assertEqual(site.dump(), before)

            say(site.succeed("reset", "-c", config, "--to", "earliest", "--yes").stdout)
            self.assertEqual(site.stored_offsets(), dict.fromkeys(site.ends(), 0))
            self.assertEqual({len(rows) for rows in site.dump().values()}, {0})
            # input.start would skip everything: --to decides.
            job = site.start("again", input={"start": "latest"}, engine={"lanes": 3})
            site.await_drained(job)
            site.judge()
            job.stop()
            self.assertEqual(site.dump(), before)

            # Beyond the last record: what is there already counts no more.
            site.succeed("reset", "-c", config, "--to", "2100-01-01T00:00:00Z", "--yes")
            self.assertEqual(site.stored_offsets(), site.ends())
            job = site.start("late").await_active()
            job.stop()
            self.assertEqual({len(rows) for rows in site.dump().values()}, {0})


if __name__ == "__main__":
    main()
