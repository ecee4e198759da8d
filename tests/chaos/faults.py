"""What may be done to klined, its servers and its network while it works: chaos and the soak do it."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))

from harness import Process, say  # noqa: E402  (first: it makes the oracle's modules known)

import pymysql  # noqa: E402
import redis  # noqa: E402
from confluent_kafka import KafkaException  # noqa: E402
from confluent_kafka.admin import AdminClient, NewPartitions  # noqa: E402
from generate import Dirty  # noqa: E402
from proxy import Proxy  # noqa: E402

CHAINS = (1, 56, 8453, 100000)
PARTITIONS_MAX = 6
SERVERS = {"kafka": "Kafka", "mysql": "MySQL", "redis": "Redis"}
# What klined ends with at a second signal, and at one that comes before its main() has begun.
ASKED = (128 + signal.SIGTERM, 128 + signal.SIGINT, -signal.SIGTERM)


class DirtyLoad(threading.Thread):
    """Sends the dirty cases, some messages at a time, until it is stopped. What Kafka does not take is not missed."""

    PARTS = ("clamps", "ties", "odd_trades", "odd_messages", "stamps", "duplicates", "late")

    def __init__(self, site, seed, start_of, stamp_now=False):
        """`start_of(part, seconds)`: the event time at which a part begins, seconds after the load's beginning.

        `stamp_now`: records get the time of sending, as a live producer's, but for those whose stamp is the point.
        """
        super().__init__(daemon=True, name="dirty-load")
        self.site, self.seed, self.start_of, self.stamp_now = site, seed, start_of, stamp_now
        self.sent = 0
        self.done = threading.Event()

    def run(self):
        began, round_number = time.monotonic(), 0
        while not self.done.is_set():
            dirty = Dirty(self.seed + round_number, 0)
            round_number += 1
            began_round = time.monotonic() - began
            stamped = range(0)
            passed = 0  # What the parts before have moved the market's own time on by.
            for part in self.PARTS:
                first = len(dirty.records)
                dirty.time = begin = self.start_of(part, began_round) + passed
                dirty.step()
                getattr(dirty, part)(*((1,) if part == "odd_trades" else ()))
                passed += dirty.time - begin
                if part == "stamps":
                    stamped = range(first, len(dirty.records))
            for first in range(0, len(dirty.records), 15):
                if self.done.wait(1.0):
                    return
                some = dirty.records[first:first + 15]
                if self.stamp_now:
                    now = int(time.time() * 1000)
                    some = [record if number in stamped else record._replace(timestamp_ms=now)
                            for number, record in enumerate(some, first)]
                try:
                    self.sent += self.site.send(some)
                except (KafkaException, RuntimeError, OSError):
                    pass  # Kafka is away just now.


class Runner:
    """One place in the fleet: a `klined run`, or another command, that is started again whenever it has ended."""

    def __init__(self, conductor, number, command="run"):
        self.conductor, self.number, self.command = conductor, number, command
        self.process = None
        self.meant_to_end = False  # by a signal of the conductor's
        self.start_at = time.monotonic()
        self.starts = 0
        self.stopped = False  # SIGSTOP

    def name(self):
        return f"{self.command}{self.number}"

    def alive(self):
        return self.process is not None and self.process.runs()

    def tend(self, now):
        if self.process is not None and not self.process.runs():
            status = self.process.process.returncode
            if not self.meant_to_end or status not in (-signal.SIGKILL, 0, 1, *ASKED):
                self.conductor.unasked_end(self, status)
            self.process = None
            self.start_at = max(self.start_at, now)
        if self.process is None and now >= self.start_at:
            self.process = self.conductor.start_process(self.command, self.name())
            self.meant_to_end = self.stopped = False
            self.starts += 1

    def kill(self, pause):
        self.meant_to_end = True
        self.conductor.note_peak(self)
        self.process.kill()
        self.stopped = False
        self.start_at = time.monotonic() + pause


class Faults:
    """The proxies, the fleet of `klined run` behind them, and all that may be done to them and to the servers.

    Each fault does one thing, says to what, and sees to it that it is undone: at once, by an action for later, or by a
    thread.
    One thread uses it; tend() must be called often.
    """

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
        self.targets = {}  # fault -> how often to what
        self.killed = Counter()  # kill -9, by what was killed
        self.kill_moments = []  # (unix seconds, nothing else was broken)
        self.quiet_since = time.time()
        self.unasked = []
        self.peaks_mib = {}  # by command
        self.began = time.monotonic()

    # -- processes

    @property
    def kills(self):
        return sum(self.killed.values())

    def config_of(self, _command):
        return self.config

    def start_process(self, command, name):
        path = self.site.write_config(name, **self.config_of(command))
        process = Process(name, self.site.folder, [command, "--config", path])
        self.site.processes.append(process)
        return process

    def unasked_end(self, runner, status):
        end = runner.process.log().splitlines()[-3:]
        self.unasked.append(f"{runner.name()} ended by itself with {status}: {' / '.join(end)}")
        say(self.unasked[-1])

    def note_peak(self, runner):
        try:
            with open(f"/proc/{runner.process.pid}/status", encoding="ascii") as status:
                for line in status:
                    if line.startswith("VmHWM"):
                        peak = int(line.split()[1]) / 1024
                        self.peaks_mib[runner.command] = max(self.peaks_mib.get(runner.command, 0), peak)
        except OSError:
            pass

    def note_kill(self, runner, active):
        self.killed[f"klined {runner.command}"] += 1
        if active:
            self.kill_moments.append((time.time(), not self.busy and not self.later))

    def active(self):
        """The runner that logged last that it is active, if it lives; none where several are."""
        best = None
        for runner in self.runners:
            if not runner.alive() or runner.stopped:
                continue
            log = runner.process.log()
            turn, standing = log.rfind("active: group="), log.rfind("standing by")
            if turn > standing and log.rfind("klined ", 0, turn) >= 0 and turn > log.rfind(" starts"):
                best = runner
        return best

    # -- the faults

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
        self.note_kill(runner, runner is active)
        runner.kill(self.chance.choice((0, 0, 0.2, 1.5)))
        return runner.command

    def kill_while_starting(self):
        runner = self.some_runner()
        if runner is None:
            return False
        self.note_kill(runner, runner is self.active())
        runner.kill(0)
        runner.tend(time.monotonic())
        time.sleep(self.chance.uniform(0.01, 0.8))
        if runner.alive():
            self.note_kill(runner, False)
            runner.kill(self.chance.choice((0, 0.5)))
        return runner.command

    def kill_while_stopping(self):
        runner = self.active() or self.some_runner()
        if runner is None or runner.stopped:
            return False
        runner.meant_to_end = True
        active = runner is self.active()
        runner.process.send(signal.SIGTERM)
        time.sleep(self.chance.uniform(0, 0.4))
        if runner.alive():
            self.note_kill(runner, active)
            runner.kill(0)
        return runner.command

    def stop_run(self):
        runner = self.active() or self.some_runner()
        if runner is None or runner.stopped:
            return False
        runner.meant_to_end = True
        runner.process.send(signal.SIGTERM)
        return runner.command

    def freeze_run(self):
        """A zombie: stopped for longer than its session lasts, then it wakes up and tries to go on."""
        runner = self.to_freeze()
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
        return runner.command

    def to_freeze(self):
        return self.active()

    def kill_server(self, name):
        if name in self.busy:
            return False
        pause = self.chance.choice((0, 1, 4, 10))
        server = threading.Thread(target=self._kill_and_start, args=(name, pause), daemon=True)
        self.busy[name] = server
        self.killed[SERVERS[name]] += 1
        server.start()
        return SERVERS[name]

    def _kill_and_start(self, name, pause):
        self._dev("kill", name)
        time.sleep(pause)
        while self._dev("up", name) != 0:
            time.sleep(1)

    def _dev(self, *command):
        """The exit status of a ./dev command; where that is not 0, it says why."""
        done = subprocess.run([self.site.stack.script, *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=600, check=False, text=True,
                              env={**os.environ, "KLINED_SKIP_DEPS": "1"})
        if done.returncode != 0:
            say(f"./dev {' '.join(command)} ended with {done.returncode}:\n{done.stdout}")
        return done.returncode

    def network(self, what):
        name = self.chance.choice(("kafka", "mysql", "mysql", "redis"))
        proxy = self.proxies[name]
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
        return SERVERS[name]

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
        return SERVERS["mysql"]

    def mysql_read_only(self):
        self.as_root("SET GLOBAL read_only=1")
        self.after(self.chance.uniform(1, 8), lambda: self.as_root("SET GLOBAL read_only=0"))
        return SERVERS["mysql"]

    def as_root(self, sql):
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
        return SERVERS["mysql"]

    def redis_flush(self):
        try:
            self.site.stack.redis(self.site.redis_database).flushdb()
        except redis.RedisError:
            return False
        return SERVERS["redis"]

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
        return SERVERS["kafka"]

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

    # -- their course

    def tend_faults(self):
        """What is due: faults are undone, processes that have ended start again."""
        now = time.monotonic()
        for name in [name for name, thread in self.busy.items() if not thread.is_alive()]:
            del self.busy[name]
        due = [entry for entry in self.later if entry[0] <= now]
        self.later = [entry for entry in self.later if entry[0] > now]
        for _, action in due:
            action()
        for runner in self.runners:
            runner.tend(now)

    def inject(self):
        """One fault at random; its name, or None where it could not be done just now."""
        faults = [fault for fault in self.FAULTS if self.options.only in fault[0]]
        name, _, action = self.chance.choices(faults, [weight for _, weight, _ in faults])[0]
        try:
            target = action(self)
        except (pymysql.MySQLError, OSError, subprocess.TimeoutExpired):
            return None  # What it was to be done to is away just now.
        if not target:
            return None
        self.faults[name] += 1
        self.targets.setdefault(name, Counter())[target] += 1
        return name

    def mend_all(self):
        """Everything back as it should be."""
        for thread in list(self.busy.values()):
            thread.join(180)
        self.busy = {}
        for name in ("kafka", "mysql", "redis"):
            self.site.stack.up(name)
        self.heal()
        for _, action in self.later:
            action()
        self.later = []
        for runner in self.runners:
            if runner.stopped and runner.alive():
                runner.process.send(signal.SIGCONT)
                runner.stopped = False

    def heal(self):
        for proxy in self.proxies.values():
            proxy.heal()
        self.as_root("SET GLOBAL read_only=0")

    def stop_runs(self):
        """SIGTERM to all that live; each must end with 0."""
        for runner in self.runners:
            if runner.alive():
                self.note_peak(runner)
                runner.meant_to_end = True
                runner.process.stop()

    def close(self):
        for proxy in self.proxies.values():
            proxy.close()


def quantiles(values):
    ordered = sorted(values)
    at = lambda share: ordered[min(len(ordered) - 1, int(share * len(ordered)))]  # noqa: E731
    if not ordered:
        return {}
    return {"count": len(ordered), "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": ordered[-1]}
