#!/usr/bin/env python3
"""A transaction that does not end hides what lies behind it: klined says so, and reads on when it is ended."""

import unittest

from confluent_kafka import Producer

from harness import main, say, wait_until  # First: it makes the oracle's modules known.
from generate import create_topic
from test_routed import RoutedSite

PARTITIONS = 4


class Hidden(unittest.TestCase):
    def test_a_transaction_stays_open(self):
        with RoutedSite() as site:
            site.feed(trades=5_000, pairs=50, event_rate=15)
            create_topic(site.stack.kafka, site.routed, PARTITIONS)
            wait_until("the routed topic", lambda: site.known(site.routed))
            silent = Producer({"bootstrap.servers": site.stack.kafka, "transactional.id": f"silent-{site.topic}",
                               "transaction.timeout.ms": 600_000})
            silent.init_transactions(30)
            silent.begin_transaction()
            for partition in range(PARTITIONS):
                silent.produce(site.routed, b"[]", b"k", partition)
            silent.flush(30)
            site.route(aborted=False, make=False)
            site.init(**site.shared())
            job = site.start(**site.shared(by="any"))

            def hidden():
                return [value for name, value in job.metrics().items() if name.startswith("klined_hidden_records")]
            wait_until("all partitions to show that something is hidden",
                       lambda: len(hidden()) == PARTITIONS and all(hidden()), 60)
            self.assertNotIn("can't be read", job.log())
            wait_until("it to be told of each", lambda: job.log().count("can't be read") == PARTITIONS, 150)
            self.assertIn(f"find-hanging --topic {site.routed} --partition 0", job.log())
            self.assertFalse(site.rows("SELECT * FROM trade_kline_1m"))
            self.assertTrue(job.runs())
            say("told; ending the transaction")

            silent.abort_transaction(60)
            site.await_drained(job)
            site.judge()
            wait_until("the log to say that reading goes on", lambda: job.log().count("reading goes on") == PARTITIONS)
            self.assertEqual(hidden(), [0] * PARTITIONS)
            job.stop()


if __name__ == "__main__":
    main()
