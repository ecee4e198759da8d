#!/usr/bin/env python3
"""Two processes of one group: the second stands by, takes over when the first dies or hangs, and one that wakes up
after it lost its turn can write nothing."""

import signal
import time
import unittest

from harness import FULL, Site, main, say, wait_until

TAKEOVER_SECONDS = 15
RATE = 8000 if FULL else 1500  # Trades a second.
START = "2025-06-30T23:50:00Z"


class Standby(unittest.TestCase):
    def two_jobs(self, site):
        site.init()
        feed = site.start_feed(trades=0, rate=RATE, speed=10, pairs=300, seed=13, start=START)
        first = site.start("first").await_active()
        second = site.start("second")
        second.await_log("standing by")
        self.assertEqual(second.metrics()["klined_active"], 0)
        wait_until("the first commits", lambda: sum(site.stored_offsets().values()) > 10)
        return feed, first, second

    def takes_over(self, site, job, began, activations=1):
        job.await_active(TAKEOVER_SECONDS + 15, activations)
        seconds = time.monotonic() - began
        say(f"{job.name} took over after {seconds:.1f} s, stored {site.stored_offsets()}")
        self.assertLess(seconds, TAKEOVER_SECONDS)

    def test_takes_over_from_the_dead(self):
        with Site() as site:
            feed, first, second = self.two_jobs(site)
            began = time.monotonic()
            first.kill()
            self.takes_over(site, second, began)
            feed.stop()
            site.await_drained(second)
            site.judge()
            second.stop()

    def test_takes_over_from_one_that_stops(self):
        with Site() as site:
            feed, first, second = self.two_jobs(site)
            began = time.monotonic()
            first.stop()
            self.takes_over(site, second, began)
            feed.stop()
            site.await_drained(second)
            site.judge()
            second.stop()

    def test_one_that_hung_is_fenced(self):
        with Site() as site:
            feed, first, second = self.two_jobs(site)
            began = time.monotonic()
            first.send(signal.SIGSTOP)
            self.takes_over(site, second, began)
            moved = site.stored_offsets()
            wait_until("commits of the second", lambda: site.stored_offsets() != moved)
            first.send(signal.SIGCONT)
            say("the first woke up")
            fenced = first.await_log("another process of group .* has claimed.*", 30)
            say(f"the first says: {fenced[0]}")
            feed.stop()
            site.await_drained(second)
            self.assertTrue(first.runs(), "the one that hung did not go on as standby")
            wait_until("the first to say that it stands by", lambda: first.metrics().get("klined_active") == 0, 30)
            site.judge()

            # It is a good standby again.
            began = time.monotonic()
            second.kill()
            self.takes_over(site, first, began, activations=2)
            site.feed(trades=3000, pairs=300, event_rate=20, seed=14, start="2025-07-01T02:00:00Z")
            site.await_drained(first)
            site.judge()
            first.stop()


if __name__ == "__main__":
    main()
