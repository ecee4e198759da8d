#!/usr/bin/env python3
"""Everything fails at random while klined works on real servers; at the end all of it is compared.

    chaos.py --minutes 3 --kills 20 --seed 7

Two `klined run` of one group (one active, one standing by) reach Kafka, MySQL and Redis through proxies. A feed and dirty
messages are the load. A conductor does one thing after another to them, see FAULTS. Then everything is mended, the input
is drained, and tables, published candles, dead letters and Redis are compared with the recomputation.

Ends after --minutes, or later where fewer than --kills processes were killed by then.
Exit status: 0 all equal, 1 something differs or klined ended by itself, 2 could not be carried out.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))

from harness import Process, Site, say, wait_until  # noqa: E402  (first: it makes the oracle's modules known)

import pymysql  # noqa: E402
from confluent_kafka import Consumer, KafkaException, TopicPartition  # noqa: E402
from confluent_kafka.admin import AdminClient, NewPartitions  # noqa: E402
from generate import Dirty  # noqa: E402
from proxy import Proxy  # noqa: E402

CHAINS = (1, 56, 8453, 100000)
START = 1_735_689_600  # 2025-01-01T00:00:00Z
PARTITIONS_MAX = 6
DRAIN_SECONDS = 300


# ---- What happens beside the conductor -------------------------------------------------------------------------------


class DirtyLoad(threading.Thread):
    """Sends the dirty cases, some messages at a time, until it is stopped. What Kafka does not take is not missed."""

    def __init__(self, site, seed, speed):
        super().__init__(daemon=True, name="dirty-load")
        self.site, self.seed, self.speed = site, seed, speed
        self.sent = 0
        self.done = threading.Event()

    def run(self):
        began, round_number = time.monotonic(), 0
        while not self.done.is_set():
            dirty = Dirty(self.seed + round_number, START + int((time.monotonic() - began) * self.speed))
            round_number += 1
            for part in (dirty.clamps, dirty.ties, lambda made=dirty: made.odd_trades(1), dirty.odd_messages, dirty.stamps,
                         dirty.duplicates, dirty.late):
                dirty.step()
                part()
            for first in range(0, len(dirty.records), 15):
                if self.done.wait(1.0):
                    return
                try:
                    self.sent += self.site.send(dirty.records[first:first + 15])
                except (KafkaException, RuntimeError, OSError):
                    pass  # Kafka is away just now.


class Arrivals(threading.Thread):
    """Notes when candles come out: the producer's stamps on the klines topic, by this machine's clock."""

    def __init__(self, kafka, topic):
        super().__init__(daemon=True, name="arrivals")
        self.kafka, self.topic = kafka, topic
        self.stamps = []  # Unix seconds, as they were read.
        self.done = threading.Event()

    def run(self):
        consumer = Consumer({"bootstrap.servers": self.kafka, "group.id": "chaos-arrivals", "enable.auto.commit": False,
                             "auto.offset.reset": "earliest", "log_level": 2})
        partitions = consumer.list_topics(self.topic, 30).topics[self.topic].partitions
        consumer.assign([TopicPartition(self.topic, number, 0) for number in partitions])
        while not self.done.is_set():
            for record in consumer.consume(500, 0.2):
                if record.error() is None:
                    self.stamps.append(record.timestamp()[1] / 1000)
        consumer.close()

    def first_after(self, moment):
        """The first stamp after the moment, or None. Stamps of several partitions are only nearly in order."""
        later = [stamp for stamp in self.stamps if stamp > moment]
        return min(later) if later else None


class Runner:
    """One place in the fleet: a `klined run` that is started again whenever it has ended."""

    def __init__(self, conductor, number):
        self.conductor, self.number = conductor, number
        self.process = None
        self.meant_to_end = False  # by a signal of the conductor's
        self.start_at = time.monotonic()
        self.starts = 0
        self.stopped = False  # SIGSTOP

    def name(self):
        return f"run{self.number}"

    def alive(self):
        return self.process is not None and self.process.runs()

    def tend(self, now):
        if self.process is not None and not self.process.runs():
            status = self.process.process.returncode
            if not self.meant_to_end or status not in (-signal.SIGKILL, 0, 1, 128 + signal.SIGTERM):
                self.conductor.unasked_end(self, status)
            self.process = None
            self.start_at = max(self.start_at, now)
        if self.process is None and now >= self.start_at:
            self.process = self.conductor.start_run(self.name())
            self.meant_to_end = self.stopped = False
            self.starts += 1

    def kill(self, pause):
        self.meant_to_end = True
        self.conductor.note_peak(self.process)
        self.process.kill()
        self.stopped = False
        self.start_at = time.monotonic() + pause


# ---- The conductor ---------------------------------------------------------------------------------------------------


class Conductor:
    def __init__(self, site, options):
        self.site, self.options = site, options
        self.chance = random.Random(options.seed)
        stack = site.stack
        host, port = stack.kafka.split(":")
        del port
        proxied = os.environ["KLINED_STACK_KAFKA_PROXIED"].split(":")
        self.proxies = {
            "kafka": Proxy("kafka", (host, int(proxied[1])), int(os.environ["KLINED_STACK_KAFKA_PROXY_PORT"])),
            "mysql": Proxy("mysql", (stack.mysql_host, stack.mysql_port)),
            "redis": Proxy("redis", (stack.redis_host, stack.redis_port)),
        }
        self.config = {
            "kafka": {"brokers": f"127.0.0.1:{self.proxies['kafka'].port}"},
            "mysql": {"host": "127.0.0.1", "port": self.proxies["mysql"].port},
            "redis": {"host": "127.0.0.1", "port": self.proxies["redis"].port},
            "engine": {"memory_limit": "256MiB", "lanes": 4},
        }
        self.runners = [Runner(self, number) for number in range(1, options.processes + 1)]
        self.later = []  # (when, action): what undoes a fault
        self.busy = {}  # server -> the thread that kills and starts it
        self.faults = Counter()
        self.kills = 0
        self.kill_moments = []  # (unix seconds, nothing else was broken)
        self.quiet_since = time.time()
        self.unasked = []
        self.peak_mib = 0.0
        self.feeds = 0
        self.feed = None

    # -- processes

    def start_run(self, name):
        path = self.site.write_config(name, **self.config)
        process = Process(name, self.site.folder, ["run", "--config", path])
        self.site.processes.append(process)
        return process

    def start_feed(self):
        """Each feed goes on in event time where the one before it ended, roughly."""
        self.feeds += 1
        begin = START + int((time.monotonic() - self.began) * self.options.speed)
        text = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(begin))
        self.feed = self.site.start_feed(f"feed{self.feeds}", trades=0, rate=self.options.rate, speed=self.options.speed,
                                         pairs=self.options.pairs, seed=self.options.seed + self.feeds, start=text)

    def unasked_end(self, runner, status):
        end = runner.process.log().splitlines()[-3:]
        self.unasked.append(f"{runner.name()} ended by itself with {status}: {' / '.join(end)}")
        say(self.unasked[-1])

    def note_peak(self, process):
        try:
            with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
                for line in status:
                    if line.startswith("VmHWM"):
                        self.peak_mib = max(self.peak_mib, int(line.split()[1]) / 1024)
        except OSError:
            pass

    def note_kill(self, active):
        self.kills += 1
        if active:
            self.kill_moments.append((time.time(), not self.busy and not self.later))

    def active(self):
        """The runner that logged last that it is active, if it lives."""
        best = None
        for runner in self.runners:
            if not runner.alive() or runner.stopped:
                continue
            log = runner.process.log()
            turn, standing = log.rfind("active: group="), log.rfind("standing by")
            if turn > standing and log.rfind("klined ", 0, turn) >= 0 and turn > log.rfind(" starts"):
                best = runner
        return best

    # -- faults: each does one thing, and sees to it that it is undone

    def after(self, seconds, action):
        self.later.append((time.monotonic() + seconds, action))

    def some_runner(self):
        alive = [runner for runner in self.runners if runner.alive()]
        return self.chance.choice(alive) if alive else None

    def kill_run(self):
        active = self.active()
        runner = active if active and self.chance.random() < 0.8 else self.some_runner()
        if runner is None:
            return False
        self.note_kill(runner is active)
        runner.kill(self.chance.choice((0, 0, 0.2, 1.5)))
        return True

    def kill_while_starting(self):
        runner = self.some_runner()
        if runner is None:
            return False
        self.note_kill(runner is self.active())
        runner.kill(0)
        runner.tend(time.monotonic())
        time.sleep(self.chance.uniform(0.01, 0.8))
        if runner.alive():
            self.note_kill(False)
            runner.kill(self.chance.choice((0, 0.5)))
        return True

    def kill_while_stopping(self):
        runner = self.active() or self.some_runner()
        if runner is None or runner.stopped:
            return False
        runner.meant_to_end = True
        active = runner is self.active()
        runner.process.send(signal.SIGTERM)
        time.sleep(self.chance.uniform(0, 0.4))
        if runner.alive():
            self.note_kill(active)
            runner.kill(0)
        return True

    def stop_run(self):
        runner = self.active() or self.some_runner()
        if runner is None or runner.stopped:
            return False
        runner.meant_to_end = True
        runner.process.send(signal.SIGTERM)
        return True

    def freeze_run(self):
        """A zombie: stopped for longer than its session lasts, then it wakes up and tries to go on."""
        runner = self.active()
        if runner is None or any(other.stopped for other in self.runners):
            return False
        process = runner.process
        process.send(signal.SIGSTOP)
        runner.stopped = True

        def wake():
            if process.runs():
                process.send(signal.SIGCONT)
            runner.stopped = False
        self.after(self.chance.uniform(11, 18), wake)
        return True

    def kill_server(self, name):
        if name in self.busy:
            return False
        pause = self.chance.choice((0, 1, 4, 10))
        server = threading.Thread(target=self._kill_and_start, args=(name, pause), daemon=True)
        self.busy[name] = server
        self.kills += 1
        server.start()
        return True

    def _kill_and_start(self, name, pause):
        environment = {**os.environ, "KLINED_SKIP_DEPS": "1"}
        for command in (("kill", name), ("up", name)):
            subprocess.run([self.site.stack.script, *command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL, timeout=180, check=False, env=environment)
            if command[0] == "kill":
                time.sleep(pause)

    def network(self, what):
        proxy = self.proxies[self.chance.choice(("kafka", "mysql", "mysql", "redis"))]
        if what == "reset":
            proxy.reset()
        elif what == "refuse":
            proxy.refuse(True)
            self.after(self.chance.uniform(0.5, 6), lambda: proxy.refuse(False))
        elif what == "silence":
            proxy.silence(True)
            self.after(self.chance.uniform(1, 12), lambda: proxy.silence(False))
        else:
            proxy.delay(self.chance.choice((0.02, 0.2, 1.0)))
            self.after(self.chance.uniform(2, 8), lambda: proxy.delay(0))
        return True

    def mysql_kill_connections(self):
        with self.site.stack.mysql() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT id FROM information_schema.processlist WHERE db = %s AND id <> CONNECTION_ID()",
                           (self.site.database,))
            threads = [int(row[0]) for row in cursor.fetchall()]
            for thread in self.chance.sample(threads, self.chance.randint(0, len(threads))):
                try:
                    cursor.execute(f"KILL {thread}")
                except pymysql.MySQLError:
                    pass  # It is gone already.
        return True

    def mysql_read_only(self):
        self._as_root("SET GLOBAL read_only=1")
        self.after(self.chance.uniform(1, 8), lambda: self._as_root("SET GLOBAL read_only=0"))
        return True

    def _as_root(self, sql):
        done = subprocess.run(["mariadb", "--no-defaults", "--connect-timeout=5",
                               f"--socket={os.environ['KLINED_STACK_MYSQL_ROOT_SOCKET']}",
                               f"--user={os.environ['KLINED_STACK_MYSQL_ROOT_USER']}", "-e", sql],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              check=False, timeout=60)
        return done.returncode == 0

    def mysql_hold_rows(self):
        """Somebody's session holds rows for longer than klined likes to wait."""
        connection = pymysql.connect(host=self.site.stack.mysql_host, port=self.site.stack.mysql_port,
                                     user=self.site.stack.mysql_user, password=self.site.stack.mysql_password,
                                     database=self.site.database, autocommit=False, read_timeout=20)
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET innodb_lock_wait_timeout = 2")
                cursor.execute(self.chance.choice((
                    "SELECT * FROM stream_offset FOR UPDATE",
                    "SELECT * FROM stream_offset WHERE lane = 1 FOR UPDATE",
                    "SELECT * FROM trade_kline_1m ORDER BY candle_time DESC LIMIT 200 FOR UPDATE")))
        except pymysql.MySQLError:
            connection.close()
            return False

        def let_go():
            try:
                connection.rollback()
            except pymysql.MySQLError:
                pass  # The server was killed meanwhile.
            connection.close()
        self.after(self.chance.uniform(0.5, 9), let_go)
        return True

    def redis_flush(self):
        try:
            self.site.stack.redis(self.site.redis_database).flushdb()
        except OSError:
            return False
        return True

    def add_partition(self):
        if self.site.partitions >= PARTITIONS_MAX or time.monotonic() - self.began < 20:
            return False
        admin = AdminClient({"bootstrap.servers": self.site.stack.kafka, "log_level": 2})
        try:
            for future in admin.create_partitions([NewPartitions(self.site.topic, self.site.partitions + 1)]).values():
                future.result(15)
        except KafkaException:
            return False
        self.site.partitions += 1
        return True

    FAULTS = (  # (name, weight, what to do)
        ("klined: kill -9", 30, kill_run),
        ("klined: kill -9 while it starts", 8, kill_while_starting),
        ("klined: kill -9 while it stops", 6, kill_while_stopping),
        ("klined: SIGTERM", 3, stop_run),
        ("klined: SIGSTOP, and on after its session", 2, freeze_run),
        ("Kafka: kill -9, started again", 1.5, lambda self: self.kill_server("kafka")),
        ("MariaDB: kill -9, started again", 2, lambda self: self.kill_server("mysql")),
        ("Redis: kill -9, started again", 1.5, lambda self: self.kill_server("redis")),
        ("network: all connections reset", 5, lambda self: self.network("reset")),
        ("network: refused for a while", 3, lambda self: self.network("refuse")),
        ("network: silent for a while", 3, lambda self: self.network("silence")),
        ("network: slow for a while", 3, lambda self: self.network("delay")),
        ("MySQL: KILL of connections", 5, mysql_kill_connections),
        ("MySQL: read-only for a while", 2, mysql_read_only),
        ("MySQL: another session holds rows", 4, mysql_hold_rows),
        ("Redis: emptied", 1, redis_flush),
        ("Kafka: one more input partition", 0.4, add_partition),
    )

    # -- the course of it

    def tend(self):
        now = time.monotonic()
        for name in [name for name, thread in self.busy.items() if not thread.is_alive()]:
            del self.busy[name]
        due = [entry for entry in self.later if entry[0] <= now]
        self.later = [entry for entry in self.later if entry[0] > now]
        for _, action in due:
            action()
        for runner in self.runners:
            runner.tend(now)
        if not self.feed.runs():
            self.start_feed()

    def inject(self):
        faults = [fault for fault in self.FAULTS if self.options.only in fault[0]]
        name, _, action = self.chance.choices(faults, [weight for _, weight, _ in faults])[0]
        try:
            if action(self):
                self.faults[name] += 1
        except (pymysql.MySQLError, OSError, subprocess.TimeoutExpired):
            pass  # What it was to be done to is away just now.

    def conduct(self):
        self.began = time.monotonic()
        end = self.began + self.options.minutes * 60
        self.start_feed()
        self.tend()
        wait_until("the first commits", lambda: self.tend() or sum(self.site.stored_offsets().values()) > 5)
        next_fault = time.monotonic() + 1
        next_word = time.monotonic() + 30
        while (now := time.monotonic()) < end or self.kills < self.options.kills:
            self.tend()
            if now >= next_fault:
                self.inject()
                next_fault = time.monotonic() + self.chance.expovariate(1 / self.options.pause)
            if now >= next_word:
                next_word += 30
                say(f"{self.kills} kills, {sum(self.faults.values())} faults, stored {self.stored()}")
            if self.unasked and self.options.stop_at_finding:
                break
            time.sleep(0.02)

    def stored(self):
        try:
            return self.site.stored_offsets()
        except pymysql.MySQLError:
            return "(MySQL is away)"

    def mend(self):
        """Everything back as it should be; the load ends."""
        say("mending everything")
        for thread in list(self.busy.values()):
            thread.join(180)
        for name in ("kafka", "mysql", "redis"):
            self.site.stack.up(name)
        for proxy in self.proxies.values():
            proxy.heal()
        for _, action in self.later:
            action()
        self.later = []
        self._as_root("SET GLOBAL read_only=0")
        for runner in self.runners:
            if runner.stopped and runner.alive():
                runner.process.send(signal.SIGCONT)
                runner.stopped = False
        self.feed.send(signal.SIGTERM)
        self.feed.wait(240)

    def drain(self):
        def drained():
            self.tend_runners_only()
            try:
                return self.site.is_drained()
            except Exception:  # pylint: disable=broad-except  # A server that has just started.
                return False
        began = time.monotonic()
        wait_until("the whole input to be committed", drained, DRAIN_SECONDS, 0.3)
        say(f"all is committed {time.monotonic() - began:.1f} s after the last fault was mended")

    def tend_runners_only(self):
        for runner in self.runners:
            runner.tend(time.monotonic())


def quantiles(values):
    ordered = sorted(values)
    at = lambda share: ordered[min(len(ordered) - 1, int(share * len(ordered)))]  # noqa: E731
    return {"count": len(ordered), "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": ordered[-1]} if ordered else {}


def report(conductor, arrivals, options, site, differ):
    print(f"\nchaos: seed {options.seed}, {conductor.kills} kills, {sum(conductor.faults.values())} faults")
    for name, _, _ in conductor.FAULTS:
        print(f"  {name:<45} {conductor.faults[name]:>6}")
    first = {}
    for alone in (True, False):
        waits = [stamp - moment for moment, was_alone in conductor.kill_moments if was_alone or not alone
                 for stamp in [arrivals.first_after(moment)] if stamp is not None]
        first["nothing else broken" if alone else "all"] = quantiles(waits)
    for what, values in first.items():
        if values:
            print(f"  kill -9 of the active process to the next published candle ({what}): {values['count']} times, p50 "
                  f"{values['p50']:.2f} s, p90 {values['p90']:.2f} s, p99 {values['p99']:.2f} s, max {values['max']:.2f} s")
    print(f"  peak memory of a klined: {conductor.peak_mib:.0f} MiB")
    for line in conductor.unasked:
        print(f"  FINDING: {line}")
    print(f"  result: {'DIFFERS' if differ else 'equal'}; again: ./dev chaos --seed {options.seed}")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"seed": options.seed, "kills": conductor.kills, "faults": conductor.faults, "first_candle": first,
                       "peak_mib": conductor.peak_mib, "findings": conductor.unasked, "equal": not differ}, file)


def run(options):
    with Site(chains=CHAINS) as site:
        site.init()
        conductor = Conductor(site, options)
        arrivals = Arrivals(site.stack.kafka, f"klines-100000-{site.env}")
        dirty = DirtyLoad(site, options.seed, options.speed)
        arrivals.start()
        dirty.start()
        differ = None
        try:
            conductor.conduct()
            dirty.done.set()
            conductor.mend()
            dirty.join(180)
            conductor.drain()
            try:
                site.judge(seconds=120)
                differ = False
            except AssertionError as error:
                differ = True
                print(error, flush=True)
        finally:
            dirty.done.set()
            arrivals.done.set()
            for proxy in conductor.proxies.values():
                proxy.heal()
            conductor._as_root("SET GLOBAL read_only=0")
        arrivals.join(10)
        for runner in conductor.runners:
            if runner.alive():
                conductor.note_peak(runner.process)
                runner.meant_to_end = True
                runner.process.stop()
        report(conductor, arrivals, options, site, differ)
        for proxy in conductor.proxies.values():
            proxy.close()
        return 1 if differ or conductor.unasked else 0


def main():
    parser = argparse.ArgumentParser(description="Faults at random on real servers; then everything is compared.")
    add = parser.add_argument
    add("--minutes", type=float, default=3)
    add("--kills", type=int, default=20, help="at least so many; default: %(default)s")
    add("--seed", type=int, default=int(os.environ.get("KLINED_SEED") or random.randrange(10**6)))
    add("--processes", type=int, default=2, help="klined run of one group; default: %(default)s")
    add("--rate", type=int, default=1000, help="trades a second; default: %(default)s")
    add("--speed", type=float, default=20, help="event time a second; default: %(default)s")
    add("--pairs", type=int, default=200)
    add("--pause", type=float, default=2.0, metavar="SECONDS", help="between faults, on average; default: %(default)s")
    add("--only", default="", metavar="TEXT", help="only faults whose name holds it, for example 'klined: kill'")
    add("--stop-at-finding", action="store_true", help="end as soon as a klined ends by itself")
    add("--json", metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    if not any(options.only in name for name, _, _ in Conductor.FAULTS):
        parser.error(f"--only: no fault's name holds '{options.only}'; they are: "
                     f"{', '.join(name for name, _, _ in Conductor.FAULTS)}")
    say(f"chaos with seed {options.seed}")

    def interrupt(*_):
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, interrupt)
    try:
        return run(options)
    except KeyboardInterrupt:
        return 130
    except Exception:  # pylint: disable=broad-except  # A fault of the conductor must not look like klined's.
        traceback.print_exc()
        return 2


if __name__ == "__main__":
    sys.exit(main())
