#!/usr/bin/env python3
"""kill -9 at random moments under load, and stops on request: nothing is lost, and nothing counts twice."""

import os
import random
import signal
import time
import unittest

from harness import FULL, Site, main, say, wait_until

SEED = int(os.environ.get("KLINED_SEED") or random.randrange(10**6))
RATE = 10_000 if FULL else 2000  # Trades a second.
SECONDS = 90 if FULL else 20  # All in all.
START = "2025-03-01T00:00:00Z"


def wait_until_input(site):
    wait_until("the first messages", lambda: sum(site.ends().values()) > 10)


class Kill(unittest.TestCase):
    def test_kill_five_times(self):
        say(f"KLINED_SEED={SEED}")
        chance = random.Random(SEED)
        with Site() as site:
            site.init()
            feed = site.start_feed(trades=0, rate=RATE, speed=20, pairs=300, seed=SEED, start=START)
            wait_until_input(site)
            seen = 0
            for number in range(1, 6):
                job = site.start(f"job-{number}")
                # Any moment: the first come while it starts and looks at what is stored.
                time.sleep(chance.uniform(0.05, SECONDS / 6))
                if number == 5 and seen == 0:  # On a slow machine all of them may have been killed too early to read.
                    wait_until("a trade to be read", lambda: sum(job.trades().values()) > 0)
                self.assertTrue(job.runs(), "the job ended by itself")
                seen = max(seen, sum(job.trades().values()))
                job.kill()
                say(f"killed number {number}: stored {site.stored_offsets()}, input {site.ends()}")
            self.assertGreater(seen, 0, "no job ever read a trade: this was no test")
            self.assertTrue(feed.runs(), "nothing was left to do: this was no test")
            job = site.start("job-last")
            feed.stop()
            site.await_drained(job)
            site.judge()
            job.stop()


class Stop(unittest.TestCase):
    def test_stop_and_go_on(self):
        with Site() as site:
            site.init()
            feed = site.start_feed(trades=0, rate=RATE, speed=20, pairs=300, seed=SEED, start=START)
            wait_until_input(site)
            for number in range(1, 4):
                job = site.start(f"job-{number}").await_active()
                time.sleep(1)
                began = time.monotonic()
                job.send(signal.SIGTERM if number % 2 else signal.SIGINT)
                self.assertEqual(job.wait(30), 0, job.log_end())
                # A stop leaves all lanes of a partition at one offset.
                uneven = site.rows("SELECT partition_id FROM stream_offset GROUP BY partition_id "
                                   "HAVING MIN(next_offset) <> MAX(next_offset)")
                self.assertEqual(uneven, (), "the lanes stand at different offsets after a graceful stop")
                say(f"stop number {number} took {time.monotonic() - began:.1f} s, stored {site.stored_offsets()}")
            job = site.start("job-last")
            feed.stop()
            site.await_drained(job)
            site.judge()
            job.stop()

    def test_second_signal_ends_at_once(self):
        with Site() as site:
            site.init()
            feed = site.start_feed(trades=0, rate=RATE, speed=20, pairs=300, seed=SEED, start=START)
            for number in (signal.SIGTERM, signal.SIGINT):
                job = site.start(f"job-{number.name}").await_active()
                time.sleep(1)
                with site.stack.mysql(site.database) as connection, connection.cursor() as cursor:
                    # Nobody can commit now: the first signal cannot come to its end.
                    cursor.execute("LOCK TABLES stream_offset WRITE")
                    time.sleep(1)
                    job.send(number)
                    time.sleep(1.5)
                    self.assertTrue(job.runs(), "the job did not wait for what it had to write")
                    began = time.monotonic()
                    job.send(number)
                    self.assertEqual(job.wait(5), 128 + number)
                    say(f"the second {number.name} ended it after {time.monotonic() - began:.2f} s")
            job = site.start("job-last")
            feed.stop()
            site.await_drained(job)
            site.judge()
            job.stop()


if __name__ == "__main__":
    main()
