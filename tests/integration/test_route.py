#!/usr/bin/env python3
"""`klined route` under kills: each element is in the routed topic once, in order, with its place and its clocks; and what
several jobs make of that topic is what one would make of the original."""

import collections
import random
import re
import signal
import time
import unittest

from confluent_kafka import Consumer, TopicPartition

from harness import Process, free_port, main, say, wait_until  # First: it makes the oracle's modules known.
from generate import Dirty
from routed import _Splitter
from test_routed import CHAINS, START, RoutedSite
from topics import read_partition, watermarks

# The brokers of `./dev up` abort a dead process's transaction after this and, at the worst, 1 s.
_QUICK = {"kafka": {"producer": {"transaction.timeout.ms": "4000"}, "consumer": {
    "session.timeout.ms": "6000", "heartbeat.interval.ms": "1000"}}}


class RouterSite(RoutedSite):
    """Its records are routed by klined itself."""

    def make_topics(self):
        self.init(**self.router_config(), arguments=("--by-pair",))
        wait_until("the routed topic", lambda: self.known(self.routed))

    def init(self, arguments=(), **changes):
        return self.succeed("init", "--config", self.write_config("init", **changes), *arguments)

    def router_config(self):
        return {"input": {"topics": [self.topic]}, "output": {"partitions": 4}, **_QUICK}

    def start_router(self, name, **changes):
        path = self.write_config(name, **{**self.router_config(), **changes,
                                          "metrics": {"listen": f"127.0.0.1:{free_port()}"}})
        router = Process(name, self.folder, ["route", "--config", path])
        self.processes.append(router)
        return router

    def input_ends(self):
        return {partition: end for (_, partition), (_, end) in watermarks(self.stack.kafka, [self.topic]).items()}

    def routed_offsets(self):
        """{partition: what group <group>-route has committed}."""
        consumer = Consumer({"bootstrap.servers": self.stack.kafka, "group.id": f"{self.group}-route"})
        try:
            places = consumer.committed([TopicPartition(self.topic, number) for number in self.input_ends()], timeout=60)
            return {place.partition: max(place.offset, 0) for place in places}
        finally:
            consumer.close()

    def is_drained(self):
        return self.routed_offsets() == self.input_ends() and super().is_drained()

    def await_routed(self, routers, seconds=180):
        def look():
            for router in routers:
                if not router.runs():
                    raise AssertionError(f"{router.name} ended with {router.process.returncode}")
            return self.routed_offsets() == self.input_ends()
        wait_until("all to be routed", look, seconds, 0.5)

    def expected_records(self):
        """{(key, value, headers, timestamp): how often} by the rules alone, and how many elements these are."""
        records = collections.Counter()
        for (_, partition), (first, end) in watermarks(self.stack.kafka, [self.topic]).items():
            splitter = _Splitter(self.topic, partition, self.settings)
            for message in read_partition(self.stack.kafka, self.topic, partition, first, end):
                stamp = message.timestamp()[1]
                for key, value, headers in splitter.split(message.offset(), stamp, message.value() or b""):
                    records[key, value, tuple(headers), stamp] += 1
                splitter.seen.clear()
        return records

    def routed_records(self):
        """{partition: [(key, value, headers, timestamp)]} as whoever reads committed records sees them."""
        return {partition: [(record.key().decode(), record.value() or b"",
                             tuple((name, value.decode()) for name, value in record.headers()), record.timestamp()[1])
                            for record in read_partition(self.stack.kafka, self.routed, partition, first, end)]
                for (_, partition), (first, end) in watermarks(self.stack.kafka, [self.routed]).items()}

    def check_routed(self):
        expected, routed = self.expected_records(), self.routed_records()
        found = collections.Counter(record for records in routed.values() for record in records)
        missing, extra = expected - found, found - expected
        if missing or extra:
            raise AssertionError(f"{sum(missing.values())} records are missing: {list(missing)[:3]}; "
                                 f"{sum(extra.values())} are there too often, or wrong: {list(extra)[:3]}")
        for partition, records in routed.items():
            last = {}
            for _, _, headers, _ in records:
                _, origin, offset = dict(headers)["klined-origin"].rsplit("/", 2)
                if int(offset) < last.get(origin, 0):
                    raise AssertionError(f"routed partition {partition}: origin {origin} goes back to {offset}")
                last[origin] = int(offset)
        homes = collections.defaultdict(set)
        for partition, records in routed.items():
            for key, *_ in records:
                homes[key].add(partition)
        if any(len(partitions) != 1 for partitions in homes.values()):
            raise AssertionError("a key is on several partitions")
        say(f"{sum(found.values()):,} records of {len(homes):,} keys, each once, in order, with their clocks")
        return sum(found.values())


class Route(unittest.TestCase):
    def test_killed_while_routing(self):
        chance = random.Random(11)
        with RouterSite(chains=CHAINS, partitions=4) as site:
            site.make_topics()
            site.send(Dirty(seed=9, start=START).all(rounds=1))
            feed = site.start_feed(rate=400, speed=16, trades=12_000, pairs=300, start="2025-06-30T23:50:00Z")
            routers = {}
            for number in range(4):
                for name in "ab":
                    if name not in routers or not routers[name].runs():
                        routers[name] = site.start_router(f"router-{number}{name}")
                before = sum(site.routed_offsets().values())
                wait_until("some to be routed", lambda: sum(site.routed_offsets().values()) > before + 5 or not feed.runs())
                time.sleep(chance.uniform(0, 2))
                for name in ("a", "b", "ab", "ab")[number]:
                    self.assertTrue(routers[name].runs(), f"router {name} ended by itself")
                    routers[name].kill()
                say(f"killed {number}: routed {site.routed_offsets()} of {site.input_ends()}")
            last = [site.start_router(f"last-{name}") for name in "ab"]
            self.assertEqual(feed.wait(), 0)
            site.await_routed(last)
            for router in last:
                router.stop()
            self.assertGreater(site.check_routed(), 5_000)

    def test_handed_over_and_stopped(self):
        """Processes come and go while the input flows; each ends with 0."""
        with RouterSite(partitions=4) as site:
            site.make_topics()
            feed = site.start_feed(rate=800, speed=16, trades=0, pairs=100, start="2025-06-30T23:50:00Z")
            routers = [site.start_router("router-0")]
            for number in range(1, 4):
                before = sum(site.routed_offsets().values())
                wait_until("some to be routed", lambda: sum(site.routed_offsets().values()) > before + 3)
                routers.append(site.start_router(f"router-{number}"))
                routers[number].await_log("group .*-route: this process's share is now")
                if number > 1:
                    routers[number - 2].stop()
            feed.stop()
            site.await_routed(routers[2:])
            for router in routers[2:]:
                router.stop()
            site.check_routed()

    def test_frozen_and_thawed(self):
        """A process that slept through the loss of its share, and of its transaction, writes nothing of it."""
        with RouterSite(partitions=4) as site:
            site.make_topics()
            feed = site.start_feed(rate=400, speed=16, trades=0, pairs=100, start="2025-06-30T23:50:00Z")
            frozen, other = site.start_router("frozen"), site.start_router("other")
            for router in (frozen, other):
                router.await_log(r"routing from offset")
            for number in range(2):
                before = sum(site.routed_offsets().values())
                wait_until("some to be routed", lambda: sum(site.routed_offsets().values()) > before + 20)
                shares = len(re.findall("this process's share is now", other.log()))
                frozen.send(signal.SIGSTOP)
                wait_until("the other to get all partitions", lambda: len(
                    re.findall("this process's share is now", other.log())) > shares)
                before = site.routed_offsets()
                wait_until("all partitions to go on", lambda: all(
                    offset > before[partition] for partition, offset in site.routed_offsets().items()))
                frozen.send(signal.SIGCONT)
                say(f"thawed: routed {site.routed_offsets()} of {site.input_ends()}")
            feed.stop()
            site.await_routed([frozen, other])
            for router in (frozen, other):
                router.stop()
            site.check_routed()

    def test_three_jobs_make_the_same_candles(self):
        with RouterSite(chains=CHAINS) as site:
            site.make_topics()
            site.init(**site.shared())
            jobs = [site.start(f"job-{name}", **site.shared()) for name in "abc"]
            router = site.start_router("router")
            site.send(Dirty(seed=5, start=START).all(rounds=1))
            site.feed(trades=8_000, pairs=100, event_rate=6, start="2025-06-30T23:50:00Z")
            site.await_routed([router])
            site.await_drained(jobs[0])
            site.judge()
            for process in (*jobs, router):
                process.stop()

    def test_lost_offsets_are_an_error(self):
        with RouterSite() as site:
            site.make_topics()
            site.feed(trades=1_000, pairs=5, event_rate=100)
            router = site.start_router("router")
            site.await_routed([router])
            router.stop()
            again = site.start_router("again", group=f"{site.group}-again")
            self.assertEqual(again.wait(60), 2, again.log_end())
            self.assertRegex(again.log(), "has no committed offsets of topic .* holds records already")
            consumer = Consumer({"bootstrap.servers": site.stack.kafka, "group.id": f"{site.group}-route"})
            consumer.commit(offsets=[TopicPartition(site.topic, number, 0) for number in site.input_ends()],
                            asynchronous=False)
            consumer.close()
            moved = site.start_router("moved")
            self.assertEqual(moved.wait(60), 2, moved.log_end())
            self.assertRegex(moved.log(), "without the clocks of that place")


if __name__ == "__main__":
    main()
