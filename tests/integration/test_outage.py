#!/usr/bin/env python3
"""MySQL, Kafka and Redis stopped under load, each by itself: klined waits, says so once, and recovers. So does
`klined route` without Kafka, and each record is there once."""

import os
import re
import signal
import time
import unittest

from harness import FULL, Process, Site, main, say, wait_until
from test_route import RouterSite

AWAY_SECONDS = 30 if FULL else 6
RATE = 10_000 if FULL else 2000  # Trades a second.
START = "2025-05-01T00:00:00Z"
MEMORY_LIMIT_MIB = 256  # The full test sends more than that.

# The log lines when a server goes away and when it is back.
BREAKS = {"mysql": r"MySQL is away", "kafka": r"kafka is away", "redis": r"Redis \S+ is away"}
HEALS = {"mysql": r"MySQL is back", "kafka": r"kafka answers again", "redis": r"Redis \S+ is back"}


def lines_of(log, pattern):
    return [line for line in log.splitlines() if re.search(pattern, line)]


def pid_of(site, server):
    folder = os.path.dirname(site.stack.script)
    with open(os.path.join(folder, ".stack", "run", f"{server}.pid"), encoding="ascii") as file:
        return int(file.read())


class Outage(unittest.TestCase):
    def outage(self, server, clients=("",)):
        """One outage of a server. `clients`: which of the job's clients each say once that it is away, and is back."""
        with Site() as site:
            site.init()
            seconds = AWAY_SECONDS + 6
            feed = site.start_feed(trades=RATE * seconds, rate=RATE, speed=10, pairs=300, seed=5, start=START)
            job = site.start(engine={"memory_limit": f"{MEMORY_LIMIT_MIB}MiB"}).await_active()
            wait_until("the first commits", lambda: sum(site.stored_offsets().values()) > 10)
            with site.stack.without(server):
                say(f"{server} is down for {AWAY_SECONDS} s")
                time.sleep(AWAY_SECONDS)
                self.assertTrue(job.runs(), f"the job ended with {job.process.poll()} because {server} was away")
                if server == "redis":
                    before = site.stored_offsets()
                    wait_until("commits while Redis is away", lambda: site.stored_offsets() != before)
            began = time.monotonic()
            self.assertEqual(feed.wait(), 0, feed.log_end())
            site.await_drained(job)
            say(f"{server} was back; all is committed {time.monotonic() - began:.1f} s later")
            peak = job.peak_mib()
            site.judge(seconds=90)
            job.stop()
            log = job.log()
            broke, healed = lines_of(log, BREAKS[server]), lines_of(log, HEALS[server])
            for line in broke + healed:
                say(f"logged: {line}")
            self.assertTrue(broke, "no log line said that it broke")
            for client in clients:
                said = [sum(client in line for line in lines) for lines in (broke, healed)]
                self.assertEqual(said, [1, 1], f"{client or server}: not one line for the break, one for the recovery")
            self.assertEqual(len(broke), len(clients))
            say(f"peak memory {peak:.0f} MiB of {MEMORY_LIMIT_MIB} MiB")
            self.assertLess(peak, MEMORY_LIMIT_MIB)

    def test_mysql(self):
        self.outage("mysql")

    def test_kafka(self):
        self.outage("kafka", clients=("client=the kafka consumer ", "client=the kafka producer "))

    def test_redis(self):
        self.outage("redis")

    def test_stop_while_mysql_is_frozen(self):
        """A server that keeps its connections and never answers does not keep the job from ending; nothing is lost."""
        with Site() as site:
            site.init()
            feed = site.start_feed(trades=RATE * 6, rate=RATE, speed=10, pairs=100, seed=8, start=START)
            job = site.start(engine={"shutdown_timeout": "2s"}).await_active()
            wait_until("the first commits", lambda: sum(site.stored_offsets().values()) > 10)
            server = pid_of(site, "mysql")
            os.kill(server, signal.SIGSTOP)
            try:
                time.sleep(2)
                job.send(signal.SIGTERM)
                self.assertEqual(job.wait(30), 1, job.log_end())
            finally:
                os.kill(server, signal.SIGCONT)
            self.assertIn("ending at once", job.log())
            job = site.start("again")
            self.assertEqual(feed.wait(), 0, feed.log_end())
            site.await_drained(job)
            site.judge()
            job.stop()


class SlowBroker(unittest.TestCase):
    def test_no_topic_is_missing(self):
        """A broker that was silent for so long that its partitions have no leader for a moment: that is no reason to
        give up for good."""
        with Site(partitions=4) as site:
            site.init()
            config = site.write_config("plain")
            site.feed(trades=1000, pairs=50, event_rate=100, seed=3, start=START)
            job = site.start()
            site.await_drained(job)
            job.stop()
            broker = pid_of(site, "kafka")
            asked = []

            def ask():
                asked.append(Process(f"asked-{len(asked)}", site.folder, ["offsets", "--config", config]))
                site.processes.append(asked[-1])

            for silence in (9.8, 10.5):  # More than broker.session.timeout.ms.
                os.kill(broker, signal.SIGSTOP)
                try:
                    time.sleep(silence - 3)
                    for _ in range(5):
                        ask()
                        time.sleep(0.6)
                finally:
                    os.kill(broker, signal.SIGCONT)
                for _ in range(4):
                    ask()
                    time.sleep(0.2)
            for process in asked:
                self.assertIn(process.wait(120), (0, 1), process.log_end())
            say(f"{sum(process.wait() == 0 for process in asked)} of {len(asked)} were answered")
            self.assertEqual(site.command("offsets", "--config", config).returncode, 0)


class RouteOutage(unittest.TestCase):
    def test_broker_restarts(self):
        with RouterSite(partitions=4) as site:
            site.make_topics()
            feed = site.start_feed(rate=600, speed=16, trades=9_000, pairs=100, start="2025-06-30T23:50:00Z")
            routers = [site.start_router(f"router-{name}") for name in "ab"]
            wait_until("some to be routed", lambda: sum(site.routed_offsets().values()) > 20)
            with site.stack.without("kafka"):
                time.sleep(8)  # Longer than a transaction may take.
            self.assertEqual(feed.wait(180), 0)
            site.await_routed(routers)
            for router in routers:
                router.stop()
            site.check_routed()

    def test_share_is_lost_before_reading_begins(self):
        """A broker that falls silent just as a share comes, for longer than the group waits: no reason to give up."""
        with RouterSite(partitions=4) as site:
            site.make_topics()
            site.feed(trades=1_000, pairs=20, event_rate=100, start=START)
            broker = pid_of(site, "kafka")
            router = site.start_router("router")
            wait_until("a share", lambda: "this process's share is now" in router.log(), pause=0.001)
            os.kill(broker, signal.SIGSTOP)
            try:
                router.await_log("has lost its share", seconds=60)
                router.await_log("does not work yet", seconds=60)
                time.sleep(1)
                self.assertTrue(router.runs(), router.log_end())
            finally:
                os.kill(broker, signal.SIGCONT)
            router.await_log("routing from offset")
            site.await_routed([router])
            router.stop()
            site.check_routed()


if __name__ == "__main__":
    main()
