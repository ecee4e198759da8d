"""What the end-to-end tests stand on: the local servers, a place of its own for each test, and klined's processes.

    with Site() as site:
        site.init()
        site.feed(trades=1000)
        job = site.start()
        site.await_drained(job)
        job.stop()
        site.judge()

A Site has a topic, a database, an output environment and a Redis database that nobody else uses, and takes all of them
away at its end, with every process that was started in it. Where its block fails it prints the logs.
"""

import atexit
import contextlib
import copy
import ctypes
import dataclasses
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "oracle"))

import redis  # noqa: E402
import yaml  # noqa: E402
from confluent_kafka.admin import AdminClient  # noqa: E402

import generate  # noqa: E402
from candles import DEFAULT_INTERVALS  # noqa: E402
from comparison import (Closing, compare_dead_letters, compare_klines, compare_redis, compare_tables,  # noqa: E402
                        connect_mysql, table_of)
from oracle import RESULTS, Settings  # noqa: E402
from topics import CannotRead, recompute_topics, watermarks  # noqa: E402

FULL = os.environ.get("KLINED_FULL") == "1"
SOLANA = 100000
_PATIENCE = 120  # Seconds; for what takes one or two on a machine that has nothing else to do.
_LOG_LINES_SHOWN = 60
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)
_began = time.monotonic()


def say(text):
    print(f"[{time.monotonic() - _began:6.1f} s] {text}", flush=True)


def wait_until(what, condition, seconds=_PATIENCE, pause=0.1):
    """The first true value of condition(). Raises AssertionError that names `what` where there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s in vain for: {what}")
        time.sleep(pause)


# ---- The servers -----------------------------------------------------------------------------------------------------


def _setting(name):
    value = os.environ.get(name)
    if not value:
        sys.exit(f"{name} is not set: start the local servers by `./dev up`, then `source .stack/env`")
    return value


def program():
    path = os.environ.get("KLINED_BIN") or os.path.join(ROOT, "build", "release", "klined")
    if not os.access(path, os.X_OK):
        sys.exit(f"there is no program {path}: build it by `./dev build`, or name it in KLINED_BIN")
    return path


class Stack:
    """The servers of `./dev up`, found by the environment that .stack/env sets."""

    def __init__(self):
        self.kafka = _setting("KLINED_STACK_KAFKA")
        self.mysql_host = _setting("KLINED_STACK_MYSQL_HOST")
        self.mysql_port = int(_setting("KLINED_STACK_MYSQL_PORT"))
        self.mysql_user = _setting("KLINED_STACK_MYSQL_USER")
        self.mysql_password = _setting("KLINED_STACK_MYSQL_PASSWORD")
        self.redis_host = _setting("KLINED_STACK_REDIS_HOST")
        self.redis_port = int(_setting("KLINED_STACK_REDIS_PORT"))
        # The script that started them; another checkout's, where these tests run on borrowed servers.
        self.script = os.environ.get("KLINED_STACK_DEV") or os.path.join(ROOT, "dev")

    def _dev(self, *arguments):
        done = subprocess.run([self.script, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=180, check=False, text=True,
                              env={**os.environ, "KLINED_SKIP_DEPS": "1"})
        if done.returncode != 0:
            raise AssertionError(f"{self.script} {' '.join(arguments)} failed:\n{done.stdout}")

    def up(self, name):
        self._dev("up", name)

    @contextlib.contextmanager
    def without(self, name):
        """Inside its block the server is down; it is up again at the end, whatever happens."""
        env_file = os.path.join(os.path.dirname(self.script), ".stack", "env")
        with open(env_file, encoding="utf-8") as file:
            if f"KLINED_STACK_KAFKA={self.kafka}\n" not in file.read():
                raise AssertionError(f"the servers in use are not those of {self.script}: set KLINED_STACK_DEV to the "
                                     "./dev that started them")
        self._dev("down", name)
        try:
            yield
        finally:
            self.up(name)

    def mysql(self, database=None):
        """A connection that commits each statement and hands out every value as the text that the server sent."""
        connection = connect_mysql(self.mysql_host, self.mysql_port, self.mysql_user, self.mysql_password, database)
        connection.autocommit(True)
        return contextlib.closing(connection)

    def redis(self, database=0):
        return redis.Redis(host=self.redis_host, port=self.redis_port, db=database, socket_timeout=30)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# ---- Processes -------------------------------------------------------------------------------------------------------


def _die_with_parent():
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    """A klined command that runs in the background; its stderr is kept in a file, its stdout too."""

    def __init__(self, name, folder, arguments, environment=None):
        self.name = name
        self.log_path = os.path.join(folder, f"{name}.log")
        self.out_path = os.path.join(folder, f"{name}.out")
        with open(self.log_path, "ab") as log, open(self.out_path, "ab") as out:
            self.process = subprocess.Popen([program(), *arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=log,
                                            env={**os.environ, **(environment or {})}, preexec_fn=_die_with_parent)

    @property
    def pid(self):
        return self.process.pid

    def runs(self):
        return self.process.poll() is None

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def log_end(self):
        return "".join(f"    {line}\n" for line in self.log().splitlines()[-_LOG_LINES_SHOWN:])

    def send(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=_PATIENCE):
        """The exit status. Raises AssertionError where the process does not end in time."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} (pid {self.pid}) has not ended within {seconds:g} s") from None

    def await_log(self, pattern, seconds=_PATIENCE):
        """Waits for a line that matches, and returns the match."""
        def look():
            found = re.search(pattern, self.log())
            if not found and not self.runs():
                raise AssertionError(f"{self.name} ended with {self.process.returncode} before it logged /{pattern}/")
            return found
        return wait_until(f"{self.name} to log /{pattern}/", look, seconds)

    def kill(self):
        """kill -9, and waits until the process is gone."""
        if self.runs():
            self.send(signal.SIGKILL)
        self.process.wait()

    def stop(self, seconds=60):
        """SIGTERM; the process must end with 0."""
        self.send(signal.SIGTERM)
        status = self.wait(seconds)
        if status != 0:
            raise AssertionError(f"{self.name} ended with {status} after SIGTERM, expected 0")


class Job(Process):
    """`klined run`."""

    def __init__(self, name, folder, config_path, port):
        super().__init__(name, folder, ["run", "--config", config_path])
        self.port = port

    def metrics(self):
        """The /metrics page as {"name{label="…"}": value}; empty where the page does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as page:
                lines = page.read().decode().splitlines()
        except OSError:
            return {}
        return {name: float(value) for name, _, value in
                (line.rpartition(" ") for line in lines if line and not line.startswith("#"))}

    def trades(self):
        """klined_trades_total by outcome."""
        page = self.metrics()
        return {result: int(page.get(f'klined_trades_total{{outcome="{result}"}}', 0)) for result in RESULTS}

    def await_counted(self, read):
        """trades(), once the page, which is some moments old, tells of that many trades read; or as it stays."""
        deadline = time.monotonic() + 10
        while True:
            counts = self.trades()
            if sum(counts.values()) == read or time.monotonic() > deadline:
                return counts
            time.sleep(0.2)

    def activations(self):
        """How often the job became the active one."""
        return self.log().count("active: group=")

    def await_active(self, seconds=_PATIENCE, activations=1):
        """Waits until the job has become active that often, and is."""
        def look():
            if not self.runs():
                raise AssertionError(f"{self.name} ended with {self.process.returncode}")
            return self.activations() >= activations and self.metrics().get("klined_active") == 1
        wait_until(f"{self.name} to be active", look, seconds)
        return self

    def peak_mib(self):
        """The largest resident size so far, in MiB."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            return int(re.search(r"VmHWM:\s+(\d+) kB", status.read())[1]) / 1024


# ---- A test's own place ----------------------------------------------------------------------------------------------


def _merged(base, changes):
    """base with changes put over it, section by section; None takes a key away."""
    result = copy.deepcopy(base)
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = _merged(result[key], value)
        elif value is None:
            result.pop(key, None)
        else:
            result[key] = value
    return result


_recomputed = {}  # (topics, settings) -> (watermarks, Recomputation): sites may share an input


class Site:
    """Topics, database, output environment and Redis database of one test."""

    def __init__(self, *, topic=None, partitions=3, intervals=DEFAULT_INTERVALS, chains=(SOLANA,)):
        """`topic`: the input of another site, which must live longer."""
        self.stack = Stack()
        self.id = secrets.token_hex(4)
        self.owns_topic = topic is None
        self.topic = topic or f"trades-{self.id}"
        self.partitions = partitions
        self.env = f"test-{self.id}"
        self.group = f"group-{self.id}"
        self.database = f"klined_test_{self.id}"
        self.settings = Settings(intervals=tuple(intervals), chains=frozenset(chains))
        self.left = {}  # candles of intervals that the settings no longer have: published and cached before
        self.processes = []
        self.redis_database = None
        self.folder = tempfile.mkdtemp(prefix="klined-e2e-")

    # -- making and cleaning up

    def __enter__(self):
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        try:
            self.redis_database = self._claim_redis_database()
            with self.stack.mysql() as connection, connection.cursor() as cursor:
                cursor.execute(f"CREATE DATABASE `{self.database}`")
            if self.owns_topic:
                self.make_topic()
        except BaseException:
            self._clean()
            raise
        return self

    def __exit__(self, kind, error, trace):
        if kind is not None and kind is not unittest.SkipTest:
            for process in self.processes:
                print(f"---- {process.name}, the end of its log:\n{process.log_end()}", flush=True)
        self._clean()

    def _claim_redis_database(self):
        """A database that no other site uses: the key that says so goes away by itself should we not end well."""
        for number in range(1, int(self.stack.redis().config_get("databases")["databases"])):
            if self.stack.redis(number).set("in-use-by-test", self.id, nx=True, ex=3600):
                self.stack.redis(number).flushdb()
                self.stack.redis(number).set("in-use-by-test", self.id, ex=3600)
                return number
        raise AssertionError("all Redis databases are in use by other tests")

    def make_topic(self):
        generate.create_topic(self.stack.kafka, self.topic, self.partitions)

    def delete_topics(self, names):
        admin = AdminClient({"bootstrap.servers": self.stack.kafka, "log_level": 4})
        known = admin.list_topics(timeout=15).topics
        there = [name for name in names if name in known]
        if there:
            for deleted in admin.delete_topics(there, operation_timeout=15).values():
                deleted.result(30)

    def _clean(self):
        for process in self.processes:
            process.kill()
        names = [f"klines-{chain}-{self.env}" for chain in self.settings.chains]
        if self.owns_topic:
            names += [self.topic, f"{self.topic}-dlq", f"{self.topic}-put-back"]
        problems = []
        for clean in (lambda: self.delete_topics(names), self._drop_database, self._free_redis_database,
                      lambda: shutil.rmtree(self.folder)):
            try:
                clean()
            except Exception as error:  # The rest is cleaned up all the same.
                problems.append(str(error))
        if problems:
            print(f"could not clean up after the test: {'; '.join(problems)}", flush=True)

    def _drop_database(self):
        with self.stack.mysql() as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS `{self.database}`")

    def _free_redis_database(self):
        if self.redis_database is not None:
            self.stack.redis(self.redis_database).flushdb()

    # -- config and commands

    def config(self, **changes):
        """The site's config as a dict, with the changes put over it."""
        base = {
            "group": self.group, "env": self.env, "chains": sorted(self.settings.chains),
            "intervals": list(self.settings.intervals),
            "kafka": {"brokers": self.stack.kafka},
            "input": {"topics": [self.topic]},
            "output": {"partitions": self.partitions},
            "mysql": {"host": self.stack.mysql_host, "port": self.stack.mysql_port, "user": self.stack.mysql_user,
                      "password": "${KLINED_STACK_MYSQL_PASSWORD}", "database": self.database},
            "redis": {"host": self.stack.redis_host, "port": self.stack.redis_port, "database": self.redis_database},
            "metrics": {"listen": "127.0.0.1:0"},
        }
        return _merged(base, changes)

    def write_config(self, name="klined", text=None, **changes):
        """The path of a new config file: of `text`, or of the site's config with the changes."""
        path = os.path.join(self.folder, f"{name}.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text if text is not None else yaml.safe_dump(self.config(**changes), sort_keys=False))
        return path

    def command(self, *arguments, seconds=_PATIENCE, stdin=subprocess.DEVNULL, environment=None):
        """Runs a klined command to its end: subprocess.CompletedProcess with stdout and stderr as text."""
        return subprocess.run([program(), *arguments], stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=seconds, check=False, text=True, cwd=self.folder, preexec_fn=_die_with_parent,
                              env={**os.environ, **(environment or {})})

    def succeed(self, *arguments, **options):
        done = self.command(*arguments, **options)
        if done.returncode != 0:
            raise AssertionError(f"klined {' '.join(arguments)} ended with {done.returncode}:\n"
                                 f"{done.stdout}{done.stderr}")
        return done

    def init(self, **changes):
        return self.succeed("init", "--config", self.write_config("init", **changes))

    def start(self, name="job", **changes):
        """Starts `klined run`. Jobs of one site are of one group unless `changes` say otherwise."""
        port = free_port()
        metrics = _merged({"listen": f"127.0.0.1:{port}"}, changes.get("metrics", {}))
        path = self.write_config(name, **{**changes, "metrics": metrics})  # Not merged here: a None is for config().
        job = Job(name, self.folder, path, port)
        self.processes.append(job)
        return job

    # -- input

    def _feed_arguments(self, options):
        options = {"brokers": self.stack.kafka, "topic": self.topic, "spool": os.path.join(self.folder, "spool"),
                   "patience": "3m", "rate": 0, **options}
        arguments = ["feed", "--simulate", "--async"]
        for name, value in options.items():
            arguments += [f"--{name.replace('_', '-')}", str(value)]
        return arguments

    def feed(self, **options):
        """Simulated trades, all of them sent when it returns."""
        self.succeed(*self._feed_arguments(options), seconds=600)

    def start_feed(self, name="feed", **options):
        feed = Process(name, self.folder, self._feed_arguments(options))
        self.processes.append(feed)
        return feed

    def send(self, records):
        return generate.produce(self.stack.kafka, self.topic, records)

    # -- what became of it

    def rows(self, sql, *arguments):
        with self.stack.mysql(self.database) as connection, connection.cursor() as cursor:
            cursor.execute(sql, arguments)
            return cursor.fetchall()

    def stored_offsets(self):
        """{partition: the smallest next_offset of its lanes}."""
        return {int(partition): int(offset) for partition, offset in self.rows(
            "SELECT partition_id, MIN(next_offset) FROM stream_offset WHERE consumer_group = %s AND topic = %s "
            "GROUP BY partition_id", self.group, self.topic)}

    def ends(self):
        """{partition: high watermark} of the input."""
        return {partition: end for (_, partition), (_, end) in watermarks(self.stack.kafka, [self.topic]).items()}

    def is_drained(self):
        return self.stored_offsets() == self.ends()

    def await_drained(self, job, seconds=_PATIENCE):
        """Until all that the input holds is committed."""
        def look():
            if not job.runs():
                raise AssertionError(f"{job.name} ended with {job.process.returncode}")
            with contextlib.suppress(CannotRead):  # A broker that has just started knows no leaders yet.
                return self.is_drained()
            return False
        try:
            wait_until("the whole input to be committed", look, seconds, 0.3)
        except AssertionError as error:
            raise AssertionError(f"{error}: stored {self.stored_offsets()}, input {self.ends()}") from None

    def dump(self):
        """{table: its rows as the server's texts, by key}, without the time of writing: equal means bit for bit."""
        tables = {}
        with self.stack.mysql(self.database) as connection, connection.cursor() as cursor:
            for interval in self.settings.intervals:
                cursor.execute(f"SHOW COLUMNS FROM `{table_of(interval)}`")
                columns = ", ".join(f"`{row[0]}`" for row in cursor.fetchall() if row[0] != "updated_at")
                cursor.execute(f"SELECT {columns} FROM `{table_of(interval)}` ORDER BY chain_id, pair_address, "
                               "candle_time")
                tables[interval] = cursor.fetchall()
        return tables

    def recompute(self):
        """The oracle's Recomputation of all that the input holds now."""
        question = (self.topic, self.settings)
        marks = watermarks(self.stack.kafka, [self.topic])
        if question not in _recomputed or _recomputed[question][0] != marks:
            began = time.monotonic()
            result = recompute_topics(self.stack.kafka, [self.topic], self.settings, marks)
            counts = ", ".join(f"{name} {result.ledger[name]:,}" for name in RESULTS if result.ledger[name])
            say(f"recomputed {result.read:,} trades ({counts}) into {len(result.candles):,} candles "
                f"in {time.monotonic() - began:.1f} s")
            _recomputed[question] = (marks, result)
        return _recomputed[question][1]

    def compare(self, closed=False, cache=True, published=True):
        """The Areas of tables, klines (with `published`), dead letters and (with `cache`) Redis, compared once.

        `closed`: also whether candles are.
        """
        result = self.recompute()
        result = dataclasses.replace(result, candles={**result.candles, **self.left})
        closing = Closing(result.clocks, 2, time.time()) if closed else None
        with self.stack.mysql(self.database) as connection:
            areas = [compare_tables(connection, result, self.settings.intervals)]
        if published:
            areas.append(compare_klines(self.stack.kafka, result, self.env, self.settings.chains, closing))
        areas.append(compare_dead_letters(self.stack.kafka, result, [self.topic]))
        if not cache:
            return areas
        # A cache may lose keys where it is full; then, and only then, a missing one is right.
        is_full = int(self.stack.redis().info("stats")["evicted_keys"]) > 0
        address = f"{self.stack.redis_host}:{self.stack.redis_port}/{self.redis_database}"
        areas.append(compare_redis(address, result, 300, is_full, closing))
        return areas

    def settled(self, seconds=20, **options):
        """compare()'s Areas once nothing differs any more, or after the seconds that the cache may need; says them."""
        if not self.recompute().candles:
            raise AssertionError("the input makes no candles: nothing was compared")
        deadline = time.monotonic() + seconds
        areas = self.compare(**options)
        while any(area.differ for area in areas) and time.monotonic() < deadline:
            time.sleep(1)
            areas = self.compare(**options)
        for area in areas:
            say(area.summary())
        return areas

    def judge(self, seconds=20, **options):
        """All that compare() is asked for equals the recomputation."""
        areas = self.settled(seconds, **options)
        if any(area.differ for area in areas):
            shown = "\n".join(f"  {detail}" for area in areas for detail in area.shown)
            raise AssertionError(f"klined and the recomputation differ:\n{shown}")


def main():
    """unittest.main() that cleans up also where SIGTERM ends it."""
    def interrupt(*_):
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, interrupt)
    Stack()
    program()
    unittest.main(verbosity=2)
