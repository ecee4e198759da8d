#!/usr/bin/env python3
"""Records that stand for parts of other messages: whoever reads them comes to what one process makes of the original
topic, cell by cell and dead letter by dead letter."""

import contextlib
import re
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

from confluent_kafka import Producer

from harness import Site, main, say, wait_until  # First: it makes the oracle's modules known.
from generate import Dirty
from inputs import messages_of, send
from routed import route
from topics import CannotRead, watermarks

CHAINS = (1, 56, 8453, 100000)
START = 1_700_000_000


class RoutedSite(Site):
    """Its jobs read <topic>-by-pair; what they make of it is compared with the recomputation from the topic."""

    def make_topic(self):
        super().make_topic()
        self.routed = f"{self.topic}-by-pair"
        wait_until("the topic to be known", lambda: self.known(self.topic))

    def known(self, topic):
        """The topic's watermarks; nothing where the brokers do not know it yet."""
        with contextlib.suppress(CannotRead):  # A topic that was just made has no leaders.
            return watermarks(self.stack.kafka, [topic], missing_ok=True)
        return None

    def route(self, **options):
        began = time.monotonic()
        route(self.stack.kafka, self.topic, self.settings, **options)
        ends = self.ends()
        say(f"routed into {sum(ends.values()):,} offsets of {len(ends)} partitions in {time.monotonic() - began:.1f} s")

    def shared(self, by="pair"):
        return {"input": {"topics": [self.routed], "partitioned_by": by},
                "kafka": {"consumer": {"session.timeout.ms": "6000", "heartbeat.interval.ms": "1000"}}}

    def stored_offsets(self):
        return {int(partition): int(offset) for partition, offset in self.rows(
            "SELECT partition_id, MIN(next_offset) FROM stream_offset WHERE topic = %s GROUP BY partition_id",
            self.routed)}

    def ends(self):
        return {partition: end for (_, partition), (_, end) in watermarks(self.stack.kafka, [self.routed]).items()}

    def _clean(self):
        super()._clean()
        self.delete_topics([f"{self.topic}-by-pair"])


class Routed(unittest.TestCase):
    def test_dirty_input(self):
        """Every result, on several chains; one process reads it."""
        with RoutedSite(chains=CHAINS) as site:
            site.send(Dirty(seed=5, start=START).all(rounds=1))
            site.route()
            site.init(**site.shared())
            job = site.start(**site.shared(by="any"))
            site.await_drained(job)
            site.judge()
            self.assertIn("@", site.rows("SELECT window_clocks FROM stream_offset LIMIT 1")[0][0])
            job.stop()

    def test_shared_and_killed(self):
        with RoutedSite() as site:
            site.feed(trades=30_000, pairs=200, event_rate=15, seed=7, start="2025-06-30T23:50:00Z")
            # Some come again, within the dedupe window and around its end.
            send(site.stack.kafka, site.topic, list(messages_of(site.stack.kafka, site.topic))[::4])
            with ThreadPoolExecutor(1) as background:
                routing = background.submit(site.route)
                wait_until("the routed topic", lambda: site.known(site.routed))
                site.init(**site.shared())
                for number in range(4):  # Each goes on in the middle, from the windows of all sources.
                    jobs = [site.start(f"job-{number}-{which}", **site.shared()) for which in "ab"]
                    before = sum(site.stored_offsets().values())
                    wait_until("some to be stored", lambda: sum(site.stored_offsets().values()) > before + 1000)
                    for job in jobs:
                        self.assertTrue(job.runs(), "the job ended by itself")
                        job.kill()
                    say(f"killed: stored {site.stored_offsets()}, input {site.ends()}"
                        f"{'' if not routing.done() else ' (all is routed)'}")
                routing.result()
            jobs = [site.start(f"last-{which}", **site.shared()) for which in "abc"]
            site.await_drained(jobs[0])
            site.judge()
            self.assertGreater(site.recompute().ledger["duplicate"], 1000)
            windows = site.rows("SELECT MIN(window_offset) FROM stream_offset")
            self.assertGreater(int(windows[0][0]), 1000, "the windows have not moved on")
            self.verify_and_repair(site)
            for job in jobs:
                job.stop()

    def verify_and_repair(self, site):
        """`klined verify` judges routed records as the processes do."""
        config = site.write_config("verify", **site.shared())
        equal = site.succeed("verify", "-c", config)
        say(equal.stderr.strip())
        site.rows("UPDATE trade_kline_1h SET h = h * 2, v = v + 1")
        self.assertEqual(site.command("verify", "-c", config).returncode, 1)
        said = site.succeed("verify", "-c", config, "--repair")
        say(said.stderr.strip())
        site.judge()
        self.assertEqual(site.command("verify", "-c", config).returncode, 0)

    def test_a_foreign_origin_is_refused(self):
        with RoutedSite() as site:
            site.feed(trades=100, pairs=5, event_rate=100)
            site.route(aborted=False)
            producer = Producer({"bootstrap.servers": site.stack.kafka})
            producer.produce(site.routed, b"[]", b"k", 0, headers=[("klined-origin", "elsewhere/0/1")])
            self.assertEqual(producer.flush(30), 0)
            site.init(**site.shared())
            job = site.start(**site.shared(by="any"))
            self.assertEqual(job.wait(60), 2, job.log_end())
            self.assertTrue(re.search(rf"header klined-origin is \"elsewhere/0/1\": only records of topic {site.topic} "
                                      "may be here", job.log()), job.log_end())


if __name__ == "__main__":
    main()
