#!/usr/bin/env python3
"""Several processes of one group share the partitions of a topic that is keyed by pair: they join, leave, die and hang
under load, and the tables are those of one process. A topic that is not keyed by pair is refused."""

import os
import random
import re
import signal
import time
import unittest

from harness import FULL, Site, main, say, wait_until

SEED = int(os.environ.get("KLINED_SEED") or random.randrange(10**6))
PARTITIONS = 6
RATE = 6000 if FULL else 1000  # Trades a second.
START = "2025-06-30T23:50:00Z"
SESSION_SECONDS = 6  # The shortest that a broker allows unless told otherwise.
SHARED = {"input": {"partitioned_by": "pair"},
          "kafka": {"consumer": {"session.timeout.ms": str(SESSION_SECONDS * 1000), "heartbeat.interval.ms": "1000"}}}


def share_of(job):
    """The partitions that the job said last that it has; empty where it has none."""
    shares = re.findall(r"this process's share is now (.*)", job.log())
    return set(map(int, re.findall(r"\[(\d+)\]", shares[-1]))) if shares else set()


def owners(site):
    """{partition: the owners of its lanes}."""
    found = {}
    for partition, owner in site.rows("SELECT partition_id, owner FROM stream_offset"):
        found.setdefault(int(partition), set()).add(owner)
    return found


class Shared(unittest.TestCase):
    def setUp(self):
        say(f"KLINED_SEED={SEED}")

    def await_shares(self, jobs):
        """Until the jobs, and nobody else, share all partitions."""
        def look():
            for job in jobs:
                self.assertTrue(job.runs(), f"{job.name} ended by itself")
            shares = [share_of(job) for job in jobs]
            return (all(shares) and set().union(*shares) == set(range(PARTITIONS))
                    and sum(map(len, shares)) == PARTITIONS)
        wait_until(f"{', '.join(job.name for job in jobs)} to share all partitions", look, 90)
        say("shares: " + ", ".join(f"{job.name} {sorted(share_of(job))}" for job in jobs))

    def await_progress(self, site, partitions=range(PARTITIONS)):
        before = site.stored_offsets()
        wait_until(f"progress of partitions {sorted(partitions)}", lambda: all(
            site.stored_offsets().get(partition, 0) > before.get(partition, 0) for partition in partitions), 90)

    def begin(self, site):
        """A feed that goes on until finish()."""
        site.init(**SHARED)
        feed = site.start_feed(trades=0, rate=RATE, speed=20, pairs=300, seed=SEED, key="pair",
                               start="2025-06-30T23:54:00Z")  # Midnight comes on the way.
        wait_until("the first messages", lambda: min(site.ends().values()) > 10)
        return feed

    def finish(self, site, feed, job):
        feed.stop()
        site.await_drained(job)
        site.judge()

    def test_join_leave_and_die(self):
        with Site(partitions=PARTITIONS) as site:
            feed = self.begin(site)
            first = site.start("first", **SHARED)
            self.await_shares([first])
            second = site.start("second", **SHARED)
            self.await_shares([first, second])
            third = site.start("third", **SHARED)
            self.await_shares([first, second, third])
            self.await_progress(site)
            self.assertEqual(len(set.union(*owners(site).values())), 3, "three processes, so three owners")

            first.stop()
            self.await_shares([second, third])
            self.await_progress(site)
            began = time.monotonic()
            second.kill()
            self.await_shares([third])
            say(f"the dead one's partitions were taken over after {time.monotonic() - began:.1f} s")
            self.await_progress(site)
            fourth = site.start("fourth", **SHARED)
            self.await_shares([third, fourth])
            self.finish(site, feed, third)
            for job in (third, fourth):
                job.stop()

    def test_one_that_hung_can_write_nothing(self):
        with Site(partitions=PARTITIONS) as site:
            feed = self.begin(site)
            jobs = [site.start(name, **SHARED) for name in ("first", "second", "third")]
            self.await_shares(jobs)
            self.await_progress(site)
            hung, rest = jobs[1], [jobs[0], jobs[2]]
            theirs = share_of(hung)
            hung.send(signal.SIGSTOP)
            self.await_shares(rest)
            self.await_progress(site, theirs)
            hung.send(signal.SIGCONT)
            lost = hung.await_log(r"has lost its share|has claimed the partitions", 60)
            say(f"the one that hung says: {lost[0]}")
            self.await_shares(jobs)
            self.await_progress(site)
            self.finish(site, feed, hung)
            for job in jobs:
                job.stop()

    def test_more_processes_than_partitions(self):
        with Site(partitions=1) as site:
            site.init(**SHARED)
            site.feed(trades=3000, pairs=50, event_rate=100, seed=SEED, start=START, key="pair")
            first = site.start("first", **SHARED)
            second = site.start("second", **SHARED)
            wait_until("one to stand by", lambda: any("standing by for a share" in job.log()
                                                      for job in (first, second)))
            site.await_drained(first)
            idle, active = sorted((first, second), key=lambda job: len(share_of(job)))
            refused = site.command("reset", "--config", site.write_config("reset"), "--yes")
            self.assertEqual(refused.returncode, 2, refused.stderr)
            self.assertIn("stop it first", refused.stderr)
            active.stop()
            wait_until("the other to take over", lambda: share_of(idle) == {0}, 60)
            site.feed(trades=3000, pairs=50, event_rate=100, seed=SEED + 1, start="2025-07-01T02:00:00Z", key="pair")
            site.await_drained(idle)
            site.judge()
            idle.stop()

    def test_no_reset_beside_any_of_them(self):
        """Whichever dies: the ones that are left keep a reset away at once, and run on as they were."""
        with Site(partitions=2) as site:
            site.init(**SHARED)
            site.feed(trades=3000, pairs=50, event_rate=100, seed=SEED, start=START, key="pair")
            jobs = [site.start(name, **SHARED) for name in ("first", "second", "third")]
            wait_until("two to share, and one to stand by", lambda: sorted(len(share_of(job)) for job in jobs) == [
                0, 1, 1] and any("standing by for a share" in job.log() for job in jobs), 60)
            site.await_drained(next(job for job in jobs if share_of(job)))
            before = site.stored_offsets()
            config = site.write_config("reset", **SHARED)
            while jobs:
                refused = site.command("reset", "--config", config, "--yes")
                self.assertEqual(refused.returncode, 2, f"beside {len(jobs)}: {refused.stderr}")
                self.assertIn("stop it first", refused.stderr)
                jobs.pop(0).kill()
            self.assertEqual(site.stored_offsets(), before)
            # The server notices a moment later that the last one is gone.
            wait_until("the reset", lambda: site.command("reset", "--config", config, "--yes").returncode == 0)
            self.assertEqual(site.stored_offsets(), {})


class WrongKey(unittest.TestCase):
    def expect_refusal(self, site, job):
        self.assertEqual(job.wait(60), 2, job.log_end())
        found = re.search(r"input\.partitioned_by is pair, but pair \S+ of chain \d+ is on two partitions: "
                          rf"{site.topic}\[(\d)\] and now {site.topic}\[(\d)\]", job.log())
        self.assertTrue(found, job.log_end())
        self.assertNotEqual(found[1], found[2])

    def test_within_one_process(self):
        with Site() as site:
            site.init(**SHARED)
            site.feed(trades=3000, pairs=50, event_rate=100, seed=SEED, start=START, key="slot")
            self.expect_refusal(site, site.start("job", **SHARED))

    def test_across_processes(self):
        """Each process sees a pair on one partition only: the second to write it is refused, and changes no row."""
        with Site(partitions=2) as site:
            site.init(**SHARED)
            jobs = [site.start(name, **SHARED) for name in ("first", "second")]
            wait_until("both to have a share", lambda: all(len(share_of(job)) == 1 for job in jobs))
            for job in jobs:
                job.await_active()
            site.feed(trades=400, pairs=1, event_rate=100, seed=SEED, start=START, key="slot")
            wait_until("one to be refused", lambda: not all(job.runs() for job in jobs), 60)
            refused = next(job for job in jobs if not job.runs())
            self.expect_refusal(site, refused)

    def test_any_reads_it_all_the_same(self):
        with Site() as site:
            site.init()
            site.feed(trades=3000, pairs=50, event_rate=100, seed=SEED, start=START, key="pair")
            job = site.start("all")
            site.await_drained(job)
            job.stop()
            job = site.start("shared", **SHARED)  # The same candles go on with a share.
            site.feed(trades=3000, pairs=50, event_rate=100, seed=SEED, start="2025-06-30T23:50:20Z", key="pair")
            site.await_drained(job)
            site.judge()
            job.stop()


if __name__ == "__main__":
    main()
