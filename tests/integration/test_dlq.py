#!/usr/bin/env python3
"""`klined dlq`: dead letters are counted and shown, and put back into the place that they came from, once."""

import json
import random
import re
import subprocess
import unittest

from confluent_kafka import Producer

from harness import Process, Site, main, say, wait_until  # First: it makes the oracle's modules known.
from comparison import compare_tables
from dirty_cases import text_of
from generate import Market, Record
from oracle import Message, recompute
from test_route import RouterSite
from topics import read_partition, watermarks

_START = 1_700_000_000
_MENDED = "invalid: refused by an old version"


class LetterSite(Site):
    """Its topic holds messages of which some elements are numbers; `good` are the same messages with trades there."""

    def send_broken(self, messages=60, seed=3):
        chance, market = random.Random(seed), Market(seed)
        records, self.good, self.mended = [], {}, {}
        for number in range(messages):
            trades = [text_of(market.trade(number + 1, _START + number)) for _ in range(5)]
            key = str(number).encode()
            broken = {chance.randrange(5) for _ in range(number % 3)}
            value = ("[" + ",".join("17" if index in broken else text for index, text in enumerate(trades)) + "]")
            stamp = (_START + number) * 1000
            records.append(Record(key, value.encode(), stamp))
            self.good[key] = ("[" + ",".join(trades) + "]").encode()
            self.mended[key] = {index: trades[index].encode() for index in broken}
        self.send(records)

    def messages(self):
        """The records that were not put back: (partition, record)."""
        for (_, partition), (first, end) in sorted(watermarks(self.stack.kafka, [self.topic]).items()):
            for record in read_partition(self.stack.kafka, self.topic, partition, first, end):
                if not record.headers():
                    yield partition, record

    def put_back(self):
        """The origin and index of each record that was."""
        return [tuple(value.decode() for name, value in record.headers() if name in ("klined-origin", "klined-indexes"))
                for (_, partition), (first, end) in watermarks(self.stack.kafka, [self.topic]).items()
                for record in read_partition(self.stack.kafka, self.topic, partition, first, end) if record.headers()]

    def letters(self):
        """The dead letters and markers."""
        dead = f"{self.topic}-dlq"
        return [record for (_, partition), (first, end) in watermarks(self.stack.kafka, [dead]).items()
                for record in read_partition(self.stack.kafka, dead, partition, first, end)]

    def send_mended_letters(self):
        """Letters as a version would have written them that took good trades for bad ones; each one twice."""
        producer = Producer({"bootstrap.servers": self.stack.kafka, "partitioner": "murmur2_random"})
        tables = self.rows("SELECT value FROM stream_meta WHERE name = 'tables'")[0][0]
        places = []
        for partition, record in self.messages():
            for index, trade in self.mended[record.key()].items():
                places.append((f"{self.topic}/{partition}/{record.offset()}", str(index)))
                for _ in range(2):
                    producer.produce(f"{self.topic}-dlq", trade, f"{partition}-{record.offset()}", headers=[
                        ("error", _MENDED), ("topic", self.topic), ("partition", str(partition)),
                        ("offset", str(record.offset())), ("index", str(index)), ("klined-tables", tables)])
        if producer.flush(30):
            raise RuntimeError("the letters were not taken")
        return places

    def compare_mended(self):
        """The tables against those of the same messages, had they been good."""
        expected = recompute((Message(self.topic, partition, record.offset(), record.timestamp()[1], None,
                                      self.good[record.key()]) for partition, record in self.messages()), self.settings)
        with self.stack.mysql(self.database) as connection:
            return compare_tables(connection, expected, self.settings.intervals)

    def dlq(self, verb, *arguments):
        return self.succeed("dlq", verb, "--config", self.write_config("dlq"), *arguments).stdout


class RoutedLetterSite(LetterSite, RouterSite):
    """Its jobs read the routed topic."""


class DeadLetters(unittest.TestCase):
    def test_listed_shown_and_put_back_once(self):
        with LetterSite(partitions=3) as site:
            site.send_broken()
            site.init()
            job = site.start()
            site.await_drained(job)
            dead = sum(len(trades) for trades in site.mended.values())
            self.assertRegex(site.dlq("list"), rf"(?m)^ +{dead} +0 .* invalid: not an object$")

            places = site.send_mended_letters()
            self.assertEqual(len(places), dead)
            listed = site.dlq("list")
            self.assertRegex(listed, rf"(?m)^ +{2 * dead} +0 .* {_MENDED}$")
            shown = site.dlq("show", "--reason", "old version", "--limit", "3")
            self.assertEqual(shown.count(f"  error: {_MENDED}\n"), 3)
            self.assertEqual([len(json.loads(line)) > 10 for line in shown.splitlines() if line.startswith("  {")],
                             [True] * 3)
            place = re.search(r"(?m)^\S+-dlq/(\d+)/(\d+) ", shown)
            one = site.dlq("show", "--partition", place[1], "--offset", place[2])
            self.assertEqual(one.count("  error: "), 1)
            self.assertIn(f"{dead} letters would be put back", site.dlq("retry", "--reason", "old version", "--dry-run"))
            self.assertEqual(site.put_back(), [])

            # Several at once: whoever is fenced fails, and no letter goes back twice.
            config = site.write_config("dlq")
            retries = [Process(f"retry-{number}", site.folder, ["dlq", "retry", "--config", config, "--reason",
                                                                "old version"]) for number in range(3)]
            site.processes += retries
            statuses = [retry.wait() for retry in retries]
            say(f"three retries at once ended with {statuses}")
            self.assertIn(0, statuses)
            self.assertTrue(set(statuses) <= {0, 1}, statuses)
            self.assertEqual(sorted(site.put_back()), sorted(places))
            self.assertIn("0 letters were put back", site.dlq("retry", "--reason", "old version"))
            self.assertEqual(sorted(site.put_back()), sorted(places))
            self.assertRegex(site.dlq("list"), rf"(?m)^ +0 +{2 * dead} .* {_MENDED}$")
            # What was refused rightly is of the same places.
            self.assertRegex(site.dlq("list"), rf"(?m)^ +0 +{dead} .* invalid: not an object$")
            self.assertEqual(site.dlq("show", "--reason", "old version"), "")

            site.await_drained(job)
            job.stop()
            area = site.compare_mended()
            say(area.summary())
            self.assertEqual(area.differ, 0, area.shown)

    def test_put_back_where_the_topic_is_routed(self):
        """A letter goes back into the original topic, and from there its way through the router."""
        with RoutedLetterSite() as site:
            site.make_topics()
            site.init(**site.shared())
            router, job = site.start_router("router"), site.start(**site.shared())
            site.send_broken()
            site.await_routed([router])
            site.await_drained(job)
            self.assertGreater(site.compare_mended().differ, 0)
            places = site.send_mended_letters()
            self.assertIn(f"{len(places)} letters were put back", site.dlq("retry", "--reason", "old version"))
            wait_until("the candles to be whole", lambda: site.compare_mended().differ == 0, 60, 1)
            say(site.compare_mended().summary())
            for process in (router, job):
                process.stop()

    def test_what_fails_again_is_open_again(self):
        with LetterSite() as site:
            site.send_broken(messages=10)
            site.init()
            job = site.start()
            site.await_drained(job)
            dead = sum(len(trades) for trades in site.mended.values())
            self.assertIn(f"{dead} letters were put back", site.dlq("retry", "--all"))
            site.await_drained(job)
            wait_until("the letters to come again", lambda: re.search(
                rf"(?m)^ +{dead} +{dead} .* invalid: not an object$", site.dlq("list")))
            again = [dict(record.headers()) for record in site.letters() if b"klined-origin" in
                     {name.encode() for name, _ in record.headers()}]
            self.assertEqual(len(again), dead)
            job.stop()

    def test_wrong_use_is_refused(self):
        with LetterSite() as site:
            site.init()
            config = site.write_config("dlq")
            for arguments, said in (((), "say which letters"), (("--all", "--topic", "elsewhere"), "elsewhere")):
                done = site.command("dlq", "retry", "--config", config, *arguments)
                self.assertEqual(done.returncode, 2, done)
                self.assertIn(said, done.stderr)
            self.assertEqual(site.command("dlq", stdin=subprocess.DEVNULL).returncode, 2)
            for verb in ("show", "retry"):
                done = site.command("dlq", verb, "--config", config, "--partition", "99")
                self.assertEqual(done.returncode, 2, done)
                self.assertIn("--partition 99: there is no such partition", done.stderr)
                last = str(site.partitions - 1)
                self.assertEqual(site.command("dlq", verb, "--config", config, "--partition", last).returncode, 0)
            for option, others in (("--partition", ()), ("--offset", ("--partition", "0")), ("--limit", ())):
                done = site.command("dlq", "show", "--config", config, *others, option, "-1")
                self.assertEqual(done.returncode, 2, done)
                self.assertRegex(done.stderr, rf"{option}: Value -1 not in range 0 to \d{{1,20}}\b")


if __name__ == "__main__":
    main()
