#!/usr/bin/env python3
"""`klined rebuild` beside a running job under load: killed on the way and around the swap, with changed settings, and
without a change; readers of the tables never notice."""

import contextlib
import dataclasses
import signal
import threading
import time
import unittest

import pymysql

from harness import Process, Site, main, say, table_of, wait_until
from generate import Record
from inputs import Trader
from kline_wire import parse_kline
from test_errors import delete_records
from topics import watermarks

RATE = 1000  # Trades a second.
START = "2025-06-30T23:50:00Z"


class Reader:
    """Looks at all tables all the time: none may be missing, and none may ever hold fewer trades than before."""

    def __init__(self, site):
        self.site = site
        self.looks, self.problems = 0, []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        seen = {}
        with self.site.stack.mysql(self.site.database) as connection, connection.cursor() as cursor:
            while not self.stopping.is_set():
                for table in (*map(table_of, self.site.settings.intervals), "stream_offset"):
                    what = "SUM(next_offset)" if table == "stream_offset" else "COALESCE(SUM(`count`), 0)"
                    try:
                        cursor.execute(f"SELECT {what} FROM `{table}`")
                    except pymysql.Error as error:
                        self.problems.append(f"{table}: {error}")
                        return
                    (value,), = cursor.fetchall()
                    if float(value or 0) < seen.get(table, 0):
                        self.problems.append(f"{table}: {what} fell from {seen[table]:g} to {value}")
                    seen[table] = float(value or 0)
                    self.looks += 1
                time.sleep(0.005)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()


class Rebuild(unittest.TestCase):
    def start(self, site, config, name, *more):
        process = Process(name, site.folder, ["rebuild", "-c", config, *more])
        site.processes.append(process)
        return process

    def schemas(self, site):
        return site.rows("SELECT table_name FROM information_schema.tables WHERE table_schema = %s",
                         f"{site.database}_rebuild")

    @contextlib.contextmanager
    def site(self, **options):
        with Site(**options) as site:
            try:
                yield site
            finally:
                site.rows(f"DROP DATABASE IF EXISTS `{site.database}_rebuild`")

    def test_killed_under_load(self):
        with self.site() as site:
            site.init()
            config = site.write_config("plain")
            feed = site.start_feed(trades=0, rate=RATE, speed=40, pairs=100, seed=41, start=START)
            job = site.start().await_active()
            wait_until("stored candles", lambda: int(site.rows("SELECT COUNT(*) FROM trade_kline_1m")[0][0]) > 500)
            with Reader(site) as reader:
                first = self.start(site, config, "rebuild-1")
                first.await_log("active: group=")
                wait_until("rebuilt rows", lambda: self.shadow_rows(site) > 0, pause=0.02)
                first.kill()
                say(f"killed while replaying: {self.shadow_rows(site)} rows there")
                second = self.start(site, config, "rebuild-2")
                second.await_log("the job is held up from here on")
                second.kill()
                say(f"killed around the swap: left {len(self.schemas(site))} tables there")
                with site.stack.mysql(site.database) as connection, connection.cursor() as cursor:
                    cursor.execute("START TRANSACTION")
                    cursor.execute("SELECT 1 FROM trade_kline_1h LIMIT 1")
                    third = self.start(site, config, "rebuild-3")
                    found = third.await_log("not swapped this time|has swapped the tables")[0]
                    say(f"with an open transaction on a table: {found}")
                self.assertEqual(third.wait(), 0, third.log_end())
                job.await_active(activations=2)
                self.assertEqual(self.schemas(site), ())
                self.assertTrue(feed.runs(), "the feed has ended: this was no load")
                feed.stop()
                site.await_drained(job)
            self.assertEqual(reader.problems, [])
            say(f"the reader looked {reader.looks:,} times")
            site.judge()
            job.stop()
            self.assertEqual(site.succeed("verify", "-c", config).returncode, 0)

    def shadow_rows(self, site):
        try:
            return int(site.rows(f"SELECT COUNT(*) FROM `{site.database}_rebuild`.trade_kline_1m")[0][0])
        except pymysql.Error:
            return 0

    def test_shared(self):
        """Two processes that share the partitions: both go on from the new tables."""
        shared = {"input": {"partitioned_by": "pair"},
                  "kafka": {"consumer": {"session.timeout.ms": "6000", "heartbeat.interval.ms": "1000"}}}
        with self.site(partitions=4) as site:
            site.init(**shared)
            feed = site.start_feed(trades=0, rate=RATE, speed=40, pairs=100, seed=43, start=START, key="pair")
            jobs = [site.start(name, **shared) for name in ("first", "second")]
            for job in jobs:
                job.await_active()
            with Reader(site) as reader:
                wait_until("rows", lambda: int(site.rows("SELECT COUNT(*) FROM trade_kline_1m")[0][0]) > 150)
                before = [job.activations() for job in jobs]
                site.succeed("rebuild", "-c", site.write_config("plain", **shared))
                for job, activations in zip(jobs, before):
                    job.await_active(activations=activations + 1)
                feed.stop()
                site.await_drained(jobs[0])
            self.assertEqual(reader.problems, [])
            site.judge()
            for job in jobs:
                job.stop()

    def test_changed_settings(self):
        """Another window, an interval more and one less; killed between the swap and its end."""
        with self.site(partitions=1, intervals=("1m", "5m", "1h")) as site:
            site.init()
            noon = int(time.time()) // 86_400 * 86_400 - 43_200
            trader = Trader()
            batches = [trader.batch(noon + 20 * i, count=3) for i in range(60)]
            # Sent again after two minutes: duplicates in a window of ten minutes, but not in one of one minute.
            for i in range(6, 60, 6):
                batches.insert(i + i // 6, batches[i - 6])
            site.send([Record(b"junk", b"junk", int(noon * 1000)), *batches])
            job = site.start()
            site.await_drained(job)
            site.judge(closed=True)
            before = site.recompute().candles
            settings = dataclasses.replace(site.settings, intervals=("1m", "3m", "1h"), dedupe_window=60)
            changes = {"intervals": list(settings.intervals), "input": {"dedupe_window": "1m"}}
            new = site.write_config("new", **changes)

            outputs = self.outputs(site)
            status = site.command("rebuild", "-c", site.write_config("plain"), "--dry-run")
            self.assertEqual((status.returncode, status.stdout), (0, ""), status.stderr)
            status = site.command("rebuild", "-c", new, "--dry-run")
            self.assertEqual(status.returncode, 1, status.stderr)
            self.assertIn("count is", status.stdout)
            self.assertIn("trade_kline_3m would be new", status.stderr)
            self.assertIn("trade_kline_5m would be taken away", status.stderr)
            self.assertEqual(self.schemas(site), ())
            self.assertEqual(self.outputs(site), outputs)

            killed = self.start(site, new, "rebuild-1")
            wait_until("the swap", lambda: self.is_swapped(site), pause=0.005)
            killed.kill()
            say(f"killed after the swap, with {len(self.schemas(site))} old tables left")
            done = site.command("rebuild", "-c", new)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(self.schemas(site), ())
            # The job that ran with the old settings says what to do, once it is to write again.
            site.send([Record(b"nothing", b"[]", int(noon * 1000))])
            self.assertEqual(job.wait(60), 2)
            self.assertIn("were rebuilt at", job.log())
            site.send([trader.batch(noon + 2000, pairs=("PairC",))])
            site.settings = settings
            site.left = {key: candle for key, candle in before.items() if key[0] == "5m"}
            job = site.start("new-job", **changes)
            site.await_drained(job)
            # Nothing has come since for the pairs of before: what readers have of them, they have from the rebuild.
            site.judge(closed=True)
            job.stop()

    def outputs(self, site):
        """The revisions that readers of Redis have, and where the topics that klined writes end."""
        redis = site.stack.redis(site.redis_database)
        topics = [f"{site.topic}-dlq", *(f"klines-{chain}-{site.env}" for chain in site.settings.chains)]
        cached = {(key, at): parse_kline(value).total_count
                  for key in redis.scan_iter("kline:*") for at, value in redis.hgetall(key).items()}
        return cached, watermarks(site.stack.kafka, topics)

    def is_swapped(self, site):
        return site.rows("SELECT 1 FROM stream_meta WHERE name = 'rebuilt'") != ()

    def test_trimmed(self):
        """What the log no longer tells of is kept, or given up, but only on request."""
        with self.site(partitions=1) as site:
            site.init()
            config = site.write_config("plain")
            now = time.time()
            old = now - 7200
            trader = Trader()
            # The newest trade is the oldest record: what is left of the log knows only of older ones, not of all pairs.
            site.send([trader.batch(old + 500), trader.batch(old, pairs=("PairC", "PairD")),
                       *(trader.batch(old + 10 * i) for i in range(18))])
            job = site.start()
            site.await_drained(job)
            before = site.dump()
            delete_records(site.stack.kafka, site.topic, 0, 5)
            refused = site.command("rebuild", "-c", config)
            self.assertEqual(refused.returncode, 2)
            self.assertIn("--keep-older", refused.stderr)
            self.assertEqual(self.schemas(site), ())
            site.succeed("rebuild", "-c", config, "--keep-older")
            self.assertEqual(site.dump(), before)
            # Kept candles grow on.
            site.send([trader.batch(old + 500), *(trader.batch(now - 60 + 5 * i) for i in range(14))])
            job.await_active(activations=2)
            site.await_drained(job)
            self.assertEqual(self.trades(site), dict.fromkeys(site.settings.intervals, 2 * 35))
            self.assertEqual(site.command("verify", "-c", config).returncode, 0)
            last = self.start(site, config, "rebuild-last", "--drop-older")
            last.await_log("candles have fewer trades than before")
            self.assertEqual(self.trades(site), dict.fromkeys(site.settings.intervals, 2 * 30))
            # The job caches what it makes of its memory and this, and then is told of the new tables.
            site.send([trader.batch(now)])
            self.assertEqual(last.wait(), 0, last.log_end())
            job.await_active(activations=3)
            site.await_drained(job)
            # Readers of the topics keep the candles with more trades; those of Redis have the ones of now.
            site.judge(published=False, closed=True)
            job.stop()

    def trades(self, site):
        """{interval: how many trades its candles hold}"""
        return {interval: int(site.rows(f"SELECT SUM(`count`) FROM {table_of(interval)}")[0][0])
                for interval in site.settings.intervals}

    def test_other_schemas(self):
        """Without a job; killed after the swap, then run with another --schema: nothing of what is there is touched.
        The next job closes what was open when the one before ended."""
        small = {"partitions": 1, "intervals": ("1m", "1h")}
        with self.site(**small) as site, Site(**small) as other:
            now = time.time()
            trader = Trader()
            for each in (site, other):
                each.init()
                each.send([trader.batch(now - 4000 + 10 * i) for i in range(30)])
                each.send([trader.batch(now + 600, pairs=("PairC",))])
                job = each.start()
                each.await_drained(job)
                job.stop()
            # No job sees the newest candles of PairC end. The rebuild does, and publishes nothing of what is unchanged.
            site.send([trader.batch(now + 1500, pairs=("PairD",))])
            config = site.write_config("plain")
            with site.stack.mysql(site.database) as connection, connection.cursor() as cursor:
                cursor.execute("START TRANSACTION")
                cursor.execute("SELECT 1 FROM trade_kline_1h LIMIT 1")
                killed = self.start(site, config, "rebuild-0")
                killed.await_log("the tables are in use")
                killed.kill()
                renames = "SELECT 1 FROM information_schema.processlist WHERE info LIKE 'RENAME%%'"
                wait_until("its last try to be over", lambda: not site.rows(renames))
            refused = site.command("rebuild", "-c", config, "--dry-run")
            self.assertEqual((refused.returncode, refused.stdout), (2, ""))
            self.assertIn("further than the job, which stands at 31", refused.stderr)
            killed = self.start(site, config, "rebuild-1")
            wait_until("the swap", lambda: self.is_swapped(site), pause=0.005)
            killed.kill()
            there = [each.dump() for each in (site, other)]
            for schema, why in ((site.database, "is the database of the tables in use"),
                                (other.database, f"run it again with --schema {site.database}_rebuild")):
                refused = site.command("rebuild", "-c", config, "--schema", schema)
                self.assertEqual(refused.returncode, 2, refused.stderr)
                self.assertIn(why, refused.stderr)
                refused = site.command("rebuild", "-c", config, "--restart", "--schema", schema)
                self.assertEqual(refused.returncode, 2, refused.stderr)
            self.assertEqual([each.dump() for each in (site, other)], there)
            site.succeed("rebuild", "-c", config)
            self.assertEqual(self.schemas(site), ())
            self.assertEqual([each.dump() for each in (site, other)], there)
            refused = site.command("rebuild", "-c", config, "--restart", "--schema", other.database)
            self.assertIn("are no rebuild's", refused.stderr)
            job = site.start("closing")
            site.await_drained(job.await_active())
            site.judge(closed=True)
            job.stop()

    def test_after_another(self):
        """One that hangs keeps its lock for some seconds; the next one waits for that, and names a real rival."""
        with self.site(partitions=1, intervals=("1m", "1h")) as site:
            site.init()
            job = site.start()
            site.send([Trader().batch(time.time() - 4000 + 10 * i) for i in range(30)])
            site.await_drained(job)
            config = site.write_config("plain")
            with site.stack.mysql(site.database) as connection, connection.cursor() as cursor:
                cursor.execute("START TRANSACTION")
                cursor.execute("SELECT 1 FROM trade_kline_1h LIMIT 1")
                first = self.start(site, config, "rebuild-1")
                first.await_log("the tables are in use")
                rival = site.command("rebuild", "-c", config)
                self.assertEqual(rival.returncode, 2, rival.stderr)
                self.assertRegex(rival.stderr, r"another rebuild of group .* runs \(connection \d+")
                first.send(signal.SIGSTOP)
                second = self.start(site, config, "rebuild-2")
                second.await_log("or has just died")
                first.kill()
            self.assertEqual(second.wait(), 0, second.log_end())
            self.assertEqual(self.schemas(site), ())
            job.stop()

    def test_options(self):
        """Where it begins, what it leaves behind, what it publishes."""
        with self.site(partitions=1, intervals=("1m", "1h")) as site:
            site.init()
            config = site.write_config("plain")
            noon = int(time.time()) // 86_400 * 86_400 - 43_200
            trader = Trader()
            site.send([trader.batch(noon + 60 * i) for i in range(120)])
            job = site.start()
            site.await_drained(job)
            site.judge()
            before = site.dump()
            candles = sum(len(rows) for rows in before.values())
            late = ("--from", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(noon + 3600)))

            refused = site.command("rebuild", "-c", config, *late)
            self.assertEqual(refused.returncode, 2)
            self.assertIn("--keep-older", refused.stderr)
            done = site.succeed("rebuild", "-c", config, *late, "--keep-older", "--keep-old", "--publish", "all")
            self.assertEqual(site.dump(), before)
            self.assertIn(f"published: {candles}", done.stderr)
            (left,), = site.rows(f"SELECT COUNT(*) FROM `{site.database}_rebuild`.before_trade_kline_1m")
            self.assertEqual(int(left), len(before["1m"]))

            job.stop()  # It needs none, and waits for none.
            # What was left is in the way of the next one, until that is to begin anew.
            refused = site.command("rebuild", "-c", config, *late, "--drop-older", "--publish", "none")
            self.assertEqual(refused.returncode, 2, refused.stderr)
            self.assertIn("--restart", refused.stderr)
            done = site.succeed("rebuild", "-c", config, *late, "--drop-older", "--publish", "none", "--restart")
            self.assertIn("published: 0", done.stderr)
            self.assertEqual(self.schemas(site), ())
            after = site.dump()
            # Candles that may hold trades from before are given up; the others are as they were.
            self.assertLess(len(after["1m"]), len(before["1m"]))
            self.assertGreater(len(after["1m"]), 2 * 30)
            self.assertTrue(set(after["1m"]) <= set(before["1m"]))


if __name__ == "__main__":
    main()
