#!/usr/bin/env python3
"""A trade whose dead letter was put back counts once, in every replay, under whatever rules."""

import dataclasses
import re
import unittest

from confluent_kafka import Producer

from harness import SOLANA, Process, main, say, wait_until  # First: it makes the oracle's modules known.
from comparison import compare_tables, table_of
from dirty_cases import text_of
from generate import Market, Record
from oracle import Message, recompute
from test_dlq import LetterSite
from test_route import RouterSite
from topics import put_backs_of, read_partition, recompute_topics, watermarks

_START = 1_700_000_000
_AHEAD = 1200  # Seconds: beyond max_future as it is by default.
_WIDE = {"input": {"max_future": "1h"}}
_BSC = 56
_BOTH = {"chains": [_BSC, SOLANA]}


class LostSite(LetterSite):
    """Its messages end with trades that die under the rules of the site: they come 20 minutes before their time, or are
    of a chain that the config does not name."""

    def send_early(self, **options):
        return self._send(lambda market, slot, time: market.trade(slot, time + _AHEAD), **options)

    def send_foreign(self, **options):
        return self._send(lambda market, slot, time: market.trade(slot, time, chain_id_int=str(_BSC),
                                                                  pair_addr=f'"bsc{slot % 5}"'), **options)

    def _send(self, lost, messages=40, good=3, bad=1, seed=11):
        """How many trades there are, and how many of them die."""
        market, records = Market(seed), []
        for number in range(messages):
            time = _START + number
            trades = [market.trade(number + 1, time) for _ in range(good)]
            trades += [lost(market, number + 1, time) for _ in range(bad)]
            records.append(Record(str(number).encode(), f"[{','.join(map(text_of, trades))}]".encode(), time * 1000))
        # Whatever is put back comes later than dedupe_window.
        for number in range(messages, 2 * messages):
            time = _START + 3 * _AHEAD + number
            records.append(Record(str(number).encode(), f"[{text_of(market.trade(number + 1, time))}]".encode(),
                                  time * 1000))
        self.send(records)
        return (good + bad + 1) * messages, bad * messages

    def _clean(self):
        super()._clean()
        self.delete_topics([f"klines-{_BSC}-{self.env}"])

    def make_anew(self):
        """The topic without its records, as somebody makes it who thinks of nothing else."""
        self.delete_topics([self.topic])
        wait_until("the topic to be gone", lambda: not watermarks(self.stack.kafka, [self.topic], missing_ok=True))
        self.make_topic()

    def by_trades(self, **settings):
        """What of the tables is not as the records themselves have it, whatever any note says of them."""
        settings = dataclasses.replace(self.settings, **settings)
        marks = watermarks(self.stack.kafka, [self.topic])
        expected = recompute((Message(self.topic, partition, record.offset(), record.timestamp()[1], None,
                                      record.value(), record.headers())
                              for (_, partition), (first, end) in marks.items()
                              for record in read_partition(self.stack.kafka, self.topic, partition, first, end)),
                             settings)
        with self.stack.mysql(self.database) as connection:
            return compare_tables(connection, expected, settings.intervals).shown

    def warned(self, job):
        """The lines in which the job says that notes are of other messages."""
        return re.findall(rf"(?m)^.*{self.topic}-put-back.*other messages.*$", job.log())

    def counted(self):
        """How many trades the candles of each interval hold."""
        return {int(self.rows(f"SELECT COALESCE(SUM(count), 0) FROM {table_of(interval)}")[0][0])
                for interval in self.settings.intervals}

    def differences(self, **settings):
        """What of the tables is not as the recomputation has it, with these settings."""
        settings = dataclasses.replace(self.settings, **settings)
        expected = recompute_topics(self.stack.kafka, [self.topic], settings)
        with self.stack.mysql(self.database) as connection:
            area = compare_tables(connection, expected, settings.intervals)
        say(area.summary())
        return area.shown

    def attempts(self):
        """How often each number of attempts is noted."""
        noted = [note.attempt for note in put_backs_of(self.stack.kafka, self.topic).values()]
        return {attempt: noted.count(attempt) for attempt in noted}

    def retry(self, *arguments, **changes):
        """How many letters were put back, and what was said."""
        done = self.succeed("dlq", "retry", "-c", self.write_config("retry", **changes), *arguments)
        return int(re.search(r"(?m)^(\d+) letters were put back", done.stdout)[1]), done.stdout + done.stderr


class RoutedLostSite(LostSite, RouterSite):
    """Its jobs read the routed topic."""

    def make_anew(self):
        self.delete_topics([self.routed])
        super().make_anew()
        wait_until("the routed topic to be gone", lambda: not self.known(self.routed))
        self.make_topics()


class PutBack(unittest.TestCase):
    def check(self, site, trades, **settings):
        """Each trade is in the candles once, and all else is as recomputed."""
        self.assertEqual((site.counted(), site.differences(**settings)), ({trades}, []))

    def test_replays_with_other_settings(self):
        with LostSite() as site:
            trades, early = site.send_early()
            site.init()
            job = site.start()
            site.await_drained(job)
            self.assertEqual(site.counted(), {trades - early})
            self.assertEqual(site.retry("--all")[0], early)
            site.await_drained(job)
            self.check(site, trades)
            site.succeed("verify", "-c", site.write_config("verify"))
            job.stop()

            wide = site.write_config("wide", **_WIDE)
            site.succeed("rebuild", "-c", wide)
            self.check(site, trades, max_future=3600)
            site.succeed("verify", "-c", wide)
            # The letters are still there, and open to the eye of the markers: their trades are in the candles.
            self.assertEqual(site.retry("--all", **_WIDE)[0], 0)
            site.succeed("reset", "-c", wide, "--to", "earliest", "--yes")
            job = site.start("wide", **_WIDE)
            site.await_drained(job)
            self.check(site, trades, max_future=3600)
            self.assertEqual(job.await_counted(trades + early)["duplicate"], early)
            self.assertEqual(site.retry("--all", **_WIDE)[0], 0)
            job.stop()

    def test_put_back_twice(self):
        """What died again, and was put back again: of three records the last one counts."""
        with LostSite() as site:
            trades, foreign = site.send_foreign()
            site.init()
            job = site.start()
            for attempt in (1, 2):
                site.await_drained(job)
                wait_until("the letters", lambda: re.search(rf"(?m)^ +{foreign} ", site.dlq("list")))
                self.assertEqual(site.retry("--all")[0], foreign)
                self.assertEqual(site.attempts(), {attempt: foreign})
            site.await_drained(job)
            self.check(site, trades - foreign)
            job.stop()
            site.init(**_BOTH)
            both = site.write_config("both", **_BOTH)
            site.succeed("rebuild", "-c", both)
            self.check(site, trades, chains=frozenset(_BOTH["chains"]))
            site.succeed("verify", "-c", both)

    def test_whole_messages_and_their_elements(self):
        """A message goes back whole, as a klined that could not read it would have had it, and then one element of
        it."""
        with LostSite(partitions=1) as site:
            trades, foreign = site.send_foreign(good=0, bad=4)
            site.init()
            job = site.start()
            site.await_drained(job)
            self.send_whole_letters(site, 10)
            self.assertEqual(site.retry("--reason", "unreadable")[0], 10)
            site.await_drained(job)
            self.assertEqual(site.counted(), {trades - foreign})
            again = re.findall(r"(?s)-dlq/(\d+)/(\d+) [^\n]*\n(?:  [^\n]*\n)*?  klined-attempt: 1\n",
                               site.dlq("show", "--reason", "chain", "--limit", "1000"))
            self.assertEqual(len(again), 40)
            self.assertEqual(site.retry("--partition", again[0][0], "--offset", again[0][1])[0], 1)
            self.assertEqual(site.attempts(), {1: 10, 2: 1})
            site.await_drained(job)
            job.stop()
            site.init(**_BOTH)
            site.succeed("rebuild", "-c", site.write_config("both", **_BOTH))
            self.check(site, trades, chains=frozenset(_BOTH["chains"]))

    def send_whole_letters(self, site, count):
        tables = site.rows("SELECT value FROM stream_meta WHERE name = 'tables'")[0][0]
        producer = Producer({"bootstrap.servers": site.stack.kafka})
        for partition, record in list(site.messages())[:count]:
            producer.produce(f"{site.topic}-dlq", record.value(), f"{partition}-{record.offset()}", headers=[
                ("error", "invalid: unreadable"), ("topic", site.topic), ("partition", str(partition)),
                ("offset", str(record.offset())), ("klined-tables", tables)])
        self.assertEqual(producer.flush(30), 0)

    def route_early(self, site):
        """The router, the job that reads what it writes, how many trades there are, and how many of them came too early."""
        site.make_topics()
        site.init(**site.shared())
        router, job = site.start_router("router"), site.start(**site.shared())
        trades, early = site.send_early()
        site.await_routed([router])
        site.await_drained(job)
        return router, job, trades, early

    def put_back_routed(self, site):
        """The router, the job that reads what it writes, and how many trades count once the early ones were put back."""
        router, job, trades, early = self.route_early(site)
        self.assertEqual(site.retry("--all")[0], early)
        wait_until("what was put back", lambda: site.counted() == {trades})
        return router, job, trades

    def test_routed(self):
        with RoutedLostSite() as site:
            router, job, trades = self.put_back_routed(site)
            self.check(site, trades)
            for process in (router, job):
                process.stop()
            # The first places are on other partitions of the routed topic than their pairs: there they would not even
            # be allowed.
            config = site.shared()
            config["input"].update(_WIDE["input"])
            wide = site.write_config("wide", **config)
            site.succeed("rebuild", "-c", wide)
            self.check(site, trades, max_future=3600)
            site.succeed("verify", "-c", wide)

    def test_letters_of_trades_that_may_count(self):
        """Of other tables, and from behind what is stored: the replay decides about them."""
        with LostSite(partitions=1) as site:
            trades, foreign = site.send_foreign()
            site.init()
            config = site.write_config("plain")
            put_back, said = site.retry("--all")
            self.assertEqual(put_back, 0)
            job = site.start()
            site.await_drained(job)
            job.stop()
            site.succeed("reset", "-c", config, "--yes")
            put_back, said = site.retry("--all")
            self.assertEqual(put_back, 0)
            self.assertIn(f"{foreign} letters stay where they are: other candles than the present ones", said)

            job = site.start("replay")
            site.await_drained(job)
            job.stop()
            stored = site.stored_offsets()[0]
            site.rows("UPDATE stream_offset SET next_offset = 5")
            put_back, said = site.retry("--all")
            self.assertEqual(put_back, 5, said)
            self.assertIn(f"{foreign - 5} letters stay where they are: the job has not stored the input", said)
            self.assertNotIn("other candles", said)
            site.rows(f"UPDATE stream_offset SET next_offset = {stored}")
            self.assertEqual(site.retry("--all")[0], foreign - 5)
            self.assertEqual(site.attempts(), {1: foreign})

    def test_a_topic_made_anew(self):
        """What was put back into a topic that is gone says nothing of the one that has its name."""
        with LostSite() as site:
            trades, early = site.send_early()
            site.init()
            job = site.start()
            site.await_drained(job)
            self.assertEqual(site.retry("--all")[0], early)
            self.send_whole_letters(site, 3)  # Of messages that are in the candles: what it makes of them is no matter.
            self.assertEqual(site.retry("--reason", "unreadable")[0], 3)
            site.await_drained(job)
            job.stop()

            site.make_anew()
            wide = site.write_config("wide", **_WIDE)
            site.succeed("reset", "-c", wide, "--to", "earliest", "--yes")
            site.send_early(seed=12)
            job = site.start("wide", **_WIDE)
            site.await_drained(job)
            self.assertEqual(site.by_trades(max_future=3600), [])
            self.check(site, trades, max_future=3600)
            self.assertEqual(len(site.warned(job)), 1, job.log_end())
            job.stop()
            verified = site.succeed("verify", "-c", wide)
            self.assertEqual(verified.stderr.count("other messages"), 1, verified.stderr)
            site.succeed("rebuild", "-c", wide)
            self.assertEqual(site.by_trades(max_future=3600), [])

            # What is put back into the new one counts, and stands for its first place. Where a whole message was noted,
            # no letter tells whether it is of that one.
            plain = site.write_config("plain")
            site.succeed("reset", "-c", plain, "--to", "earliest", "--yes")
            job = site.start("plain")
            site.await_drained(job)
            self.assertEqual(site.counted(), {trades - early})
            put_back, said = site.retry("--all")
            self.assertEqual(put_back, early - 3, said)
            self.assertIn("3 letters stay where they are: whole messages were put back at their places", said)
            self.assertEqual(site.attempts(), {1: 3, 2: early})
            site.await_drained(job)
            self.check(site, trades - 3)
            job.stop()
            site.succeed("verify", "-c", plain)
            site.succeed("rebuild", "-c", wide)
            self.check(site, trades, max_future=3600)

    def test_a_routed_topic_made_anew(self):
        with RoutedLostSite() as site:
            router, job, trades = self.put_back_routed(site)
            for process in (router, job):
                process.stop()

            site.make_anew()
            config = site.shared()
            config["input"].update(_WIDE["input"])
            wide = site.write_config("wide", **config)
            site.succeed("reset", "-c", wide, "--to", "earliest", "--yes")
            router_config = site.router_config()
            router_config["input"].update(_WIDE["input"])
            router = site.start_router("again", **router_config)
            job = site.start("wide", **config)
            site.send_early(seed=12)
            site.await_routed([router])
            site.await_drained(job)
            self.assertEqual(site.by_trades(max_future=3600), [])
            self.check(site, trades, max_future=3600)
            self.assertEqual(len(site.warned(job)), 1, job.log_end())
            for process in (router, job):
                process.stop()
            site.succeed("verify", "-c", wide)

    def test_wider_rules_on_a_routed_topic(self):
        """What the router could not use lies by its place; who routes it anew has it by its pair."""
        with RoutedLostSite() as site:
            router, job, trades, early = self.route_early(site)
            config = site.shared()
            config["input"].update(_WIDE["input"])
            wide = site.write_config("wide", **config)
            refused = site.command("rebuild", "-c", wide)
            self.assertEqual(refused.returncode, 2, refused)
            self.assertRegex(refused.stderr, rf"on two partitions: {site.routed}\[\d\] and now {site.routed}\[\d\]; "
                                             rf".*input\.max_future or chains .* route it anew .* delete {site.routed} ")
            self.check(site, trades - early)
            for process in (router, job):
                process.stop()

            site.delete_topics([site.routed])
            wait_until("the routed topic to be gone", lambda: not site.known(site.routed))
            site.make_topics()
            site.succeed("reset", "-c", wide, "--to", "earliest", "--yes")
            router_config = site.router_config()
            router_config["input"].update(_WIDE["input"])
            # A group that has no offsets, as if they were deleted.
            router = site.start_router("anew", group=f"{site.group}-anew", **router_config)
            job = site.start("wide", **config)
            wait_until("all trades", lambda: site.counted() == {trades})
            self.check(site, trades, max_future=3600)
            for process in (router, job):
                process.stop()

    def test_after_a_repair(self):
        """A repair by rules that accept the trades at their first places, as those of a later version may be."""
        with LostSite(partitions=1) as site:
            trades, early = site.send_early(messages=10)
            site.init()
            job = site.start()
            site.await_drained(job)
            job.stop()
            site.rows("UPDATE stream_meta SET value = REPLACE(value, 'max_future=600 ', 'max_future=3600 ') "
                      "WHERE name = 'settings'")
            wide = site.write_config("wide", **_WIDE)
            self.assertEqual(site.command("verify", "-c", wide).returncode, 1)
            site.succeed("verify", "-c", wide, "--repair")
            self.check(site, trades, max_future=3600)
            put_back, said = site.retry("--all", **_WIDE)
            self.assertEqual(put_back, 0)
            self.assertIn(f"{early} letters stay where they are", said)
            site.succeed("verify", "-c", wide)

    def test_a_rebuild_under_way(self):
        with LostSite(partitions=1) as site:
            trades, early = site.send_early()
            site.init()
            job = site.start()
            site.await_drained(job)
            wide = site.write_config("wide", **_WIDE)
            with site.stack.mysql(site.database) as reader, reader.cursor() as cursor:
                cursor.execute("START TRANSACTION")
                cursor.execute("SELECT * FROM trade_kline_1m LIMIT 1")  # Nobody can swap.
                rebuild = Process("rebuild", site.folder, ["rebuild", "-c", wide])
                site.processes.append(rebuild)
                wait_until("the swap to be tried", lambda: "not swapped this time" in rebuild.log())
                refused = site.command("dlq", "retry", "-c", site.write_config("plain"), "--all")
                self.assertEqual(refused.returncode, 1, refused)
                self.assertIn("a rebuild of the candles is under way", refused.stderr)
                rebuild.kill()
            # Another group's retry does not look at this one's rebuild.
            producer = Producer({"bootstrap.servers": site.stack.kafka})
            place = f"{site.topic}/0/0"
            headers = [("klined-origin", place), ("klined-indexes", "3"), ("klined-attempt", "1")]
            producer.produce(f"{site.topic}-put-back", b"1", f"{place}/3", headers=headers)
            self.assertEqual(producer.flush(30), 0)
            refused = site.command("rebuild", "-c", wide)
            self.assertEqual(refused.returncode, 2, refused)
            self.assertIn("letters were put back since the rebuild began", refused.stderr)
            site.succeed("rebuild", "-c", wide, "--restart")
            # Nothing of the one that was noted, since it was not put back.
            self.check(site, trades - 1, max_future=3600)
            self.assertEqual(job.wait(), 2)  # Its settings are other ones.

    def test_without_the_topic_of_notes(self):
        with LostSite(partitions=1) as site:
            trades, early = site.send_early(messages=5)
            site.init()
            site.delete_topics([f"{site.topic}-put-back"])
            job = site.start()
            site.await_drained(job)
            site.succeed("verify", "-c", site.write_config("verify"))
            refused = site.command("dlq", "retry", "-c", site.write_config("retry"), "--all")
            self.assertEqual(refused.returncode, 2, refused)
            self.assertIn(f"has no topic {site.topic}-put-back", refused.stderr)
            self.assertIn("klined init", refused.stderr)
            site.init()
            self.assertEqual(site.retry("--all")[0], early)
            site.await_drained(job)
            job.stop()
            self.check(site, trades)

    def test_a_note_that_nobody_can_read(self):
        for headers, said in (([], "does not say"), ([("klined-origin", "elsewhere/0/1")], "header klined-origin")):
            with LostSite(partitions=1) as site:
                site.init()
                producer = Producer({"bootstrap.servers": site.stack.kafka})
                producer.produce(f"{site.topic}-put-back", b"1", b"key", headers=headers)
                self.assertEqual(producer.flush(30), 0)
                refused = site.command("run", "-c", site.write_config("run"))
                self.assertEqual(refused.returncode, 2, refused)
                self.assertIn(f"{site.topic}-put-back partition 0 offset 0", refused.stderr)
                self.assertIn(said, refused.stderr)


if __name__ == "__main__":
    main()
