#!/usr/bin/env python3
"""A process that is stopped while its rows wait to be committed, and goes on after another one took over and committed
further: MySQL itself refuses what it writes, and no row changes. Neither the group's lock nor Kafka's session is what
keeps it away: it is stopped inside the commit, on its way to the server, behind the point where either is looked at."""

import contextlib
import re
import signal
import socket
import threading
import time
import unittest

from harness import Site, main, say, wait_until

LANES = 4
# As many workers as lanes: each lane has its own connection for commits.
ENGINE = {"lanes": LANES, "workers": LANES}
RATE = 1200  # Trades a second.
START = "2025-06-30T23:50:00Z"
SHARED = {"input": {"partitioned_by": "pair"},
          "kafka": {"consumer": {"session.timeout.ms": "6000", "heartbeat.interval.ms": "1000"}}}


class Gate:
    """Passes TCP connections on to a site's MySQL. close(): all break, and new ones are taken, but reach the server
    only after open()."""

    def __init__(self, site):
        self._target = (site.stack.mysql_host, site.stack.mysql_port)
        self._lock = threading.Lock()
        self._is_open = True
        self._waiting = []
        self._sockets = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.close()
        self.close()

    def waiting(self):
        with self._lock:
            return len(self._waiting)

    def close(self):
        with self._lock:
            self._is_open = False
            sockets, self._sockets = self._sockets, []
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def open(self):
        with self._lock:
            self._is_open = True
            waiting, self._waiting = self._waiting, []
        for client in waiting:
            self._connect(client)

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with self._lock:
                    if not self._is_open:
                        self._waiting.append(client)
                        continue
                self._connect(client)

    def _connect(self, client):
        server = socket.create_connection(self._target)
        for one in (client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._sockets += [client, server]
        for source, sink in ((client, server), (server, client)):
            threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    @staticmethod
    def _pass(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        source.close()  # The other direction's thread closes the other one.


def everything(site):
    """Every row of every candle table, time of writing included, and how far the input is stored."""
    tables = {name: sorted(site.rows(f"SELECT * FROM `{name}`"))
              for (name,) in site.rows("SHOW TABLES LIKE 'trade\\_kline\\_%%'")}
    tables["offsets"] = sorted(site.rows("SELECT topic, partition_id, lane, next_offset FROM stream_offset"))
    return tables


class Zombie(unittest.TestCase):
    def stop_inside_a_commit(self, site, gate, job):
        """Cuts the job off from MySQL, and stops it as soon as all lanes are on their way there with their rows."""
        gate.close()
        wait_until("all lanes to wait for MySQL", lambda: gate.waiting() >= LANES, 4, 0.02)
        time.sleep(0.6)  # Longer than the flush interval: whichever lane did not wait yet has something to write now.
        job.send(signal.SIGSTOP)
        say(f"stopped, {gate.waiting()} connections on their way, stored {site.stored_offsets()}")

    def expect_refusal(self, site, gate, job, other, feed):
        """The job is stopped, `other` has everything: what the job does when it goes on."""
        feed.stop()
        site.await_drained(other)
        site.judge()
        before = everything(site)
        gate.open()  # The server's greeting is there when the process goes on; nothing has told it of its loss yet.
        job.send(signal.SIGCONT)
        job.await_log("MySQL refused a commit", 30)
        refusals = re.findall(r"MySQL refused a commit, nothing of it is written: rows=(\d+) (lane \d+ .*)",
                              job.log())
        self.assertEqual(everything(site), before, "the process that woke up changed something")
        for rows, said in refusals:
            say(f"refused: rows={rows} {said}")
            self.assertRegex(said, "another process of group .* has claimed it, and stands at offset")
        self.assertGreater(sum(int(rows) for rows, _ in refusals), 0, "it had no rows to write")
        return before

    def test_one_of_all(self):
        with Site() as site, Gate(site) as gate:
            site.init()
            feed = site.start_feed(trades=0, rate=RATE, speed=10, pairs=300, seed=17, start=START)
            job = site.start("first", mysql={"host": "127.0.0.1", "port": gate.port}, engine=ENGINE)
            job.await_active()
            other = site.start("second", engine={"lanes": LANES})
            other.await_log("standing by")
            wait_until("the first commits", lambda: sum(site.stored_offsets().values()) > 10)
            self.stop_inside_a_commit(site, gate, job)
            stored = site.stored_offsets()
            other.await_active(30)
            wait_until("commits of the second", lambda: site.stored_offsets() != stored)
            before = self.expect_refusal(site, gate, job, other, feed)
            wait_until("the first to stand by", lambda: job.metrics().get("klined_active") == 0, 30)
            self.assertEqual(job.activations(), 1)
            self.assertEqual(everything(site), before)
            site.judge()
            for one in (job, other):
                one.stop()

    def test_one_of_several(self):
        with Site(partitions=4) as site, Gate(site) as gate:
            site.init(**SHARED)
            # Few pairs: a lane whose stored rows are still to be loaded commits nothing, and would not come to the gate.
            feed = site.start_feed(trades=0, rate=RATE, speed=10, pairs=40, zipf=0, seed=19, start=START, key="pair")
            job = site.start("first", mysql={"host": "127.0.0.1", "port": gate.port}, engine=ENGINE, **SHARED)
            job.await_active()
            other = site.start("second", engine={"lanes": LANES}, **SHARED)
            other.await_active()
            job.await_active(activations=2)  # With half of the partitions.
            before = site.stored_offsets()
            wait_until("commits of both", lambda: all(site.stored_offsets()[p] > before[p] + 200 for p in before))
            self.stop_inside_a_commit(site, gate, job)
            before = site.stored_offsets()
            wait_until("the second to go on with all", lambda: all(
                site.stored_offsets()[p] > before[p] for p in before), 60)
            self.expect_refusal(site, gate, job, other, feed)
            # It takes part again, and what comes then is right.
            job.await_active(60, activations=3)
            site.feed(trades=5000, pairs=300, event_rate=20, seed=20, start="2025-07-01T02:00:00Z", key="pair")
            site.await_drained(job)
            site.judge()
            for one in (job, other):
                one.stop()


if __name__ == "__main__":
    main()
