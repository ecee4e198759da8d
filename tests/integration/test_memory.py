#!/usr/bin/env python3
"""engine.memory_limit holds whatever the input does: pairs without end, messages that are small and become much, and
more trades to tell apart than there is memory for."""

import os
import unittest

from harness import FULL, Site, main, say  # First: it makes the oracle's modules known.
from confluent_kafka import Producer
from generate import Record

LIMIT_MIB = 256  # The smallest that there is.
CANDLES_MIB = 90  # Of it; must stay free where there are no candles.
START = 1_767_225_600
ROUND = 33_000  # trades of a message, each of a pair of its own: close to 8 MB
PAIRS = 1_000_000
PACKED = 400  # messages of 1 MB; 12 MiB of them packed would be 350 MB
IDENTITIES = 4_000_000  # within the window; the limit has room for about 2.5 million


def trade(number, block_time, pair):
    """As short as a trade can be."""
    return (f'{{"type":"buy","block_time":{block_time},"slot":{number},"chain_id":"sol","pair_addr":"{pair}",'
            f'"tx_hash":"{number}","token_amount":1,"total_usd":{1 + number % 7},"token_price_usd":{1 + number % 11}}}')


def message(number, block_time, first_pair, pairs, count=ROUND):
    """A message of `count` trades, of pairs first_pair … in turn; `number` is its own."""
    trades = (trade(number * 1_000_000 + i + 1, block_time, f"pair{first_pair + i % pairs}") for i in range(count))
    return Record(str(number).encode(), f"[{','.join(trades)}]".encode(), block_time * 1000)


def padded_message(number):
    """1 MB of which LZ4 leaves some thirty kilobytes: a trade, and a field that nobody reads."""
    padding = "".join(os.urandom(8).hex() + 984 * " " for _ in range(1000))
    return trade(number + 1, START, f"pair{number % 50}")[:-1] + f',"memo":"{padding}"}}'


class Memory(unittest.TestCase):
    def run_within(self, site, limit):
        job = site.start(engine={"memory_limit": f"{LIMIT_MIB}MiB"})
        site.await_drained(job, 1800 if FULL else 300)
        peak = job.peak_mib()
        say(f"peak memory {peak:.0f} MiB of {limit}")
        self.assertLess(peak, limit)
        return job

    def run_and_judge(self, site):
        job = self.run_within(site, LIMIT_MIB)
        site.judge(cache=False)
        job.stop()

    def test_pairs_without_end(self):
        """Candles leave memory while they are open, and come back when their pairs trade again."""
        with Site(intervals=("1m", "1d")) as site:
            site.init()
            records = [message(10 * round_ + part, START + 90 * round_, part * ROUND, ROUND)
                       for round_ in range(2) for part in range(3)]
            say(f"sent {site.send(records)} messages, the largest of {max(len(r.value) for r in records):,} bytes")
            self.run_and_judge(site)

    def test_what_is_packed_small(self):
        """A response of Kafka is unpacked whole, whatever the read-ahead may be: so responses are small."""
        with Site(intervals=("1m",)) as site:
            site.init()
            producer = Producer({"bootstrap.servers": site.stack.kafka, "compression.type": "lz4", "linger.ms": 20,
                                 "message.max.bytes": 2_000_000})
            for number in range(PACKED):
                producer.produce(site.topic, f"[{padded_message(number)}]", partition=number % site.partitions,
                                 timestamp=START * 1000)
                producer.poll(0)
                if number % 50 == 49:
                    self.assertEqual(producer.flush(120), 0, "not all was acknowledged")
            self.assertEqual(producer.flush(120), 0, "not all was acknowledged")
            job = self.run_within(site, LIMIT_MIB - CANDLES_MIB)  # No judge: the oracle would take long.
            self.assertEqual(job.await_counted(PACKED)["applied"], PACKED)
            job.stop()

    @unittest.skipUnless(FULL, "a quarter of an hour")
    def test_a_million_pairs(self):
        with Site(intervals=("1m", "1h", "1d")) as site:
            site.init()
            site.feed(trades=2 * PAIRS, pairs=PAIRS, zipf=0, event_rate=2000, start="2025-12-31T23:50:00Z")
            self.run_and_judge(site)

    @unittest.skipUnless(FULL, "some minutes")
    def test_more_identities_than_memory(self):
        """What can't be dropped without a wrong candle is an error; with more memory it goes on from there."""
        with Site(intervals=("1m",)) as site:
            site.init()
            for number in range(0, IDENTITIES // ROUND, 20):
                site.send([message(n, START, 0, 50) for n in range(number, number + 20)])
            job = site.start(engine={"memory_limit": f"{LIMIT_MIB}MiB"})
            self.assertEqual(job.wait(300), 2, job.log_end())
            self.assertRegex(job.log(), r"kept to tell duplicates, need more memory \(\d+ MiB\) than engine.memory_limit")
            job = site.start("roomy", engine={"memory_limit": "1GiB"})
            site.await_drained(job, 600)
            site.judge(cache=False)
            job.stop()


if __name__ == "__main__":
    main()
