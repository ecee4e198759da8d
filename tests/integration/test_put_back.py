#!/usr/bin/env python3
"""A trade whose dead letter was put back counts once, in every replay, under whatever rules."""

import dataclasses
import re
import unittest

from harness import main, say, wait_until  # First: it makes the oracle's modules known.
from comparison import compare_tables, table_of
from dirty_cases import text_of
from generate import Market, Record
from test_dlq import LetterSite
from topics import recompute_topics

_START = 1_700_000_000
_AHEAD = 1200  # Seconds: beyond max_future as it is by default.
_WIDE = {"input": {"max_future": "1h"}}


class EarlySite(LetterSite):
    """Of the trades of each message the last one comes 20 minutes before its time."""

    def send_early(self, messages=40, seed=11):
        market, records = Market(seed), []
        for number in range(messages):
            time = _START + number
            trades = [market.trade(number + 1, time) for _ in range(3)] + [market.trade(number + 1, time + _AHEAD)]
            records.append(Record(str(number).encode(), f"[{','.join(map(text_of, trades))}]".encode(), time * 1000))
        # Whatever is put back comes later than dedupe_window.
        for number in range(messages, 2 * messages):
            time = _START + 3 * _AHEAD + number
            records.append(Record(str(number).encode(), f"[{text_of(market.trade(number + 1, time))}]".encode(),
                                  time * 1000))
        self.send(records)
        return 5 * messages, messages

    def counted(self):
        """How many trades the candles of each interval hold."""
        return {int(self.rows(f"SELECT SUM(count) FROM {table_of(interval)}")[0][0])
                for interval in self.settings.intervals}

    def differences(self, **settings):
        """What of the tables is not as the recomputation has it, with these settings."""
        settings = dataclasses.replace(self.settings, **settings)
        expected = recompute_topics(self.stack.kafka, [self.topic], settings)
        with self.stack.mysql(self.database) as connection:
            area = compare_tables(connection, expected, settings.intervals)
        say(area.summary())
        return area.shown

    def retry(self, *arguments, **changes):
        """How many letters were put back, and what was said."""
        done = self.succeed("dlq", "retry", "-c", self.write_config("retry", **changes), *arguments)
        return int(re.search(r"(?m)^(\d+) letters were put back", done.stdout)[1]), done.stdout + done.stderr


class PutBack(unittest.TestCase):
    def test_replays_with_other_settings(self):
        with EarlySite() as site:
            trades, early = site.send_early()
            site.init()
            job = site.start()
            site.await_drained(job)
            self.assertEqual(site.counted(), {trades - early})
            self.assertEqual(site.retry("--all")[0], early)
            site.await_drained(job)
            self.assertEqual((site.counted(), site.differences()), ({trades}, []))
            site.succeed("verify", "-c", site.write_config("verify"))
            job.stop()

            wide = site.write_config("wide", **_WIDE)
            site.succeed("rebuild", "-c", wide)
            self.assertEqual((site.counted(), site.differences(max_future=3600)), ({trades}, []))
            site.succeed("verify", "-c", wide)
            site.succeed("reset", "-c", wide, "--to", "earliest", "--yes")
            job = site.start("wide", **_WIDE)
            site.await_drained(job)
            self.assertEqual((site.counted(), site.differences(max_future=3600)), ({trades}, []))
            self.assertEqual(job.await_counted(trades + early)["duplicate"], early)
            # The letters of the first rules are still there; their trades are in the candles.
            self.assertEqual(site.retry("--all", **_WIDE)[0], 0)
            job.stop()


if __name__ == "__main__":
    main()
