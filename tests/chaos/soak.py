#!/usr/bin/env python3
"""klined lives long under load, with a fault every minute: does anything grow, and does the lag go away each time?

    soak.py --minutes 60 --rate 8000 --seed 7

One `klined run` reaches Kafka, MySQL and Redis through proxies. Event time passes like the wall clock. Most of the load
goes to one topic whose log is bounded; a sample of trades and all dirty ones go to another, which is kept whole. At the
end the sample is compared with the recomputation, and all of it by `klined verify`. See docs/soak.md.

SIGINT or SIGTERM ends it early, with the figures so far and without the comparison.
Exit status: 0 all is well, 1 cells differ, something grows, the lag stays, or klined ended by itself; 2 could not be
carried out; 130 ended early and all was well until then.
"""

import argparse
import dataclasses
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections import Counter

from faults import CHAINS, DirtyLoad, Faults, quantiles  # First: it makes the harness and the oracle's modules known.

import pymysql
from comparison import compare_dead_letters, compare_klines, compare_tables, table_of
from confluent_kafka.admin import AdminClient, NewTopic
from harness import ROOT, Process, Site, say, wait_until
from lag import Lag
from samples import Samples, of_process

FAULT_PAUSE = 60  # Seconds from a fault to the next one.
LAG_MAX = 8.0  # Seconds are "no lag": while klined believes that it catches up it commits only every 5 s.
SAMPLE_PERIOD = 5
SAMPLE_RATE = 300  # Trades a second that the recomputation, which is slow, is asked about.
BULK_CHAIN, SAMPLE_CHAIN = 100000, 1
VISITORS = 0.2  # Share of the load on pairs that come, stay for a while, and fall silent.
VISITORS_STAY = 120
FILL_SECONDS = 900  # About what candles need to fill the memory that they may have.
CANDLES_A_VISITOR = 12
CANDLES_A_MINUTE = 1.3  # Of a pair that trades all the time, in all intervals.
VERIFY_CANDLES_MAX = 8_000_000  # At once: about 4 GB.
SEGMENT_BYTES = 64 << 20
BYTES_A_TRADE = 550  # In Kafka's log, compressed, and with some to spare; measured: 500.
BULK_SHARE = 0.85  # Of the log's limit; the rest is for what is published about it.
DRAIN_SECONDS = 1800
GROWTH_MAX = {"fds": 16, "threads": 4, "mysql connections": 4, "kafka connections": 6, "redis connections": 2}
DEDUPE_GROWTH_MAX = 2.0  # Times: the table doubles where it is full, and the load may stand at just that bound.
DEDUPE_GROWTH_BYTES = 8 << 20
_METRICS = {"candle bytes": 'klined_memory_bytes{part="candles"}', "dedupe bytes": 'klined_memory_bytes{part="dedupe"}',
            "in-flight bytes": "klined_inflight_bytes", "series": "klined_series_cached"}


class Soak(Faults):
    WEIGHTS = {  # Few of them end the process, since a memory that grows shows in long lives.
        "klined: kill -9": 2, "klined: kill -9 while it starts": 1, "klined: kill -9 while it stops": 1,
        "klined: SIGTERM": 1, "klined: SIGSTOP, and on after its session": 8,
        "Kafka: kill -9, started again": 10, "MariaDB: kill -9, started again": 10, "Redis: kill -9, started again": 10,
        "network: all connections reset": 12, "network: refused for a while": 8, "network: silent for a while": 8,
        "network: slow for a while": 8, "MySQL: KILL of connections": 12, "MySQL: read-only for a while": 8,
        "MySQL: another session holds rows": 10, "Redis: emptied": 4}

    def __init__(self, site, options):
        super().__init__(site, options)
        self.bulk = f"bulk-{site.id}"
        self.config["engine"]["memory_limit"] = f"{options.memory_limit}MiB"
        self.config["input"] = {"topics": [self.bulk, site.topic], "dedupe_window": f"{options.window}s"}
        self.lag = Lag(site, [self.bulk, site.topic])
        self.samples = Samples()
        self.peers = {proxy.port: name for name, proxy in self.proxies.items()}
        self.feeds = {}  # name -> its process
        self.feeds_made = 0
        self.visitors_since = 0.0
        self.recoveries = []  # One dict a fault.
        self.open_fault = None  # (name, when it began, when it was over or None)
        self.findings = []
        self.peak_kib = 0
        self.minutes = 0.0
        self.trades = 0  # That the last life read.
        self.verified = "not run"
        self.check = None  # The `klined verify` that runs beside the load now.
        self.checks = Counter()  # Exit status -> how many of them.
        self.ending = False
        self.last_process = None
        self.log_end = ""

    # -- load

    def make_topics(self):
        """The large topics, with a log that stays bounded; made before `klined init`, which leaves them as they are."""
        topics = []
        for name, share in zip(self.large_topics(), (BULK_SHARE, 1 - BULK_SHARE)):
            each = max(4 * SEGMENT_BYTES, int(self.options.log_limit * 1e9 * share) // self.site.partitions)
            topics.append(NewTopic(name, self.site.partitions, 1, config={
                "retention.ms": "-1", "retention.bytes": str(each), "segment.bytes": str(SEGMENT_BYTES),
                "max.message.bytes": str(10 << 20)}))
        admin = AdminClient({"bootstrap.servers": self.site.stack.kafka, "log_level": 2})
        for made in admin.create_topics(topics).values():
            made.result(30)

    def large_topics(self):
        return [self.bulk, f"klines-{BULK_CHAIN}-{self.site.env}"]

    def start_process(self, command, name):
        self.last_process = self.site.start(name, **self.config)
        return self.last_process

    def _start_feed(self, name, **options):
        self.feeds_made += 1
        self.feeds[name] = self.site.start_feed(
            f"{name}{self.feeds_made}", trades=0, spool=os.path.join(self.site.folder, f"spool-{self.feeds_made}"),
            seed=self.options.seed + self.feeds_made, **options)

    def tend(self):
        self.tend_faults()
        rate, now = self.options.rate, time.monotonic()
        if now - self.visitors_since >= VISITORS_STAY and not self.busy:
            self.visitors_since = now
            self._stop_feed("visitors")
        wanted = {"regulars": {"rate": int(rate * (1 - VISITORS)), "pairs": self.options.pairs},
                  "visitors": {"rate": int(rate * VISITORS), "pairs": self.options.pairs}}
        for name, options in wanted.items():
            if name not in self.feeds or not self.feeds[name].runs():
                self._start_feed(name, topic=self.bulk, chain=BULK_CHAIN, **options)
        if "sample" not in self.feeds or not self.feeds["sample"].runs():
            self._start_feed("sample", topic=self.site.topic, chain=SAMPLE_CHAIN, rate=SAMPLE_RATE, pairs=200)

    def _stop_feed(self, name):
        feed = self.feeds.pop(name, None)
        if feed is not None:
            feed.send(signal.SIGTERM)

    # -- course

    def conduct(self):
        self.began = time.monotonic()
        end = self.began + self.options.minutes * 60
        self.lag.start()
        self.tend()
        wait_until("the first commits", lambda: self.tend() or self.ending or self.lag.is_back(self.began + 5, LAG_MAX),
                   self.options.patience * 60)
        next_sample, next_word, next_fault = 0.0, time.monotonic() + 60, time.monotonic() + FAULT_PAUSE / 2
        next_check = time.monotonic() + self.options.verify_every * 60 if self.options.verify_every else float("inf")
        while not self.ending and not self.findings and (now := time.monotonic()) < end:
            self.tend()
            self.follow_fault(now)
            if now >= next_fault and self.open_fault is None and now + FAULT_PAUSE / 2 < end:
                name = self.inject()
                if name:
                    self.open_fault = (name, now, None)
                    next_fault = now + FAULT_PAUSE
            if now >= next_sample:
                next_sample = now + SAMPLE_PERIOD
                self.sample(now)
            self.follow_check()
            if now >= next_check and self.check is None and self.open_fault is None:
                next_check = now + self.options.verify_every * 60
                self.check = self.start_check()
            if now >= next_word:
                next_word += 60
                self.say_progress()
            self.findings += self.unasked
            time.sleep(0.05)
        wait_until("the lag to go away", lambda: self.tend() or self.ending or self.findings or
                   self.follow_fault(time.monotonic()) or self.open_fault is None, self.options.patience * 60 + 5)

    def follow_fault(self, now):
        """Notes when the fault is over, and when there is no lag again."""
        if self.open_fault is None:
            return
        name, began, over = self.open_fault
        if over is None:
            working = all(runner.alive() and not runner.stopped for runner in self.runners)
            if working and not self.busy and not self.later:
                self.open_fault = (name, began, now)
        elif self.lag.is_back(over, LAG_MAX):
            self.recoveries.append({"fault": name, "minute": (began - self.began) / 60, "lasted": over - began,
                                    "back_after": max(0.0, self.lag.seen_at - over)})
            self.open_fault = None
        elif now - over > self.options.patience * 60:
            self.findings.append(f"the lag was not gone {self.options.patience:g} minutes after '{name}' was over")

    def sample(self, now):
        """Only what is seen while nothing is broken tells of growth; the peak counts always."""
        runner = self.runners[0]
        if not runner.alive() or runner.stopped:
            return
        try:
            values = of_process(runner.process.pid, self.peers)
        except OSError:
            return
        self.peak_kib = max(self.peak_kib, values.get("VmHWM", 0))
        if self.open_fault is not None:
            return
        page = runner.process.metrics()
        for name, metric in _METRICS.items():
            if metric in page:
                values[name] = page[metric]
        values["lag (messages)"] = sum(value for name, value in page.items() if name.startswith("klined_partition_lag"))
        values["lag (seconds)"] = self.lag.seconds() or 0.0
        try:
            values["connections that MySQL counts"] = int(self.site.rows(
                "SELECT COUNT(*) FROM information_schema.processlist WHERE db = %s AND id <> CONNECTION_ID()",
                self.site.database)[0][0])
        except pymysql.MySQLError:
            return
        self.samples.add(runner.starts, now - self.began, values)

    def say_progress(self):
        last = self.samples.all[-1][2] if self.samples.all else {}
        lag = self.lag.seconds()
        read = sum(self.lag.known_ends[-1][1].values()) if self.lag.known_ends else 0
        fault = f"{len(self.recoveries)} faults"
        if self.open_fault:
            fault += f", now: {self.open_fault[0]}"
        elif self.recoveries:
            fault += f", lag gone {self.recoveries[-1]['back_after']:.0f} s after the last one"
        say(f"{read:,} messages; lag {'unknown' if lag is None else f'{lag:.0f} s'}; {fault}; "
            f"RSS {last.get('VmRSS', 0) / 1024:.0f} MiB, fds {last.get('fds', 0)}, connections "
            f"{sum(last.get(f'{peer} connections', 0) for peer in self.peers.values())}, dedupe "
            f"{last.get('dedupe bytes', 0) / 2**20:.1f} MiB")

    def stop_load(self):
        say("mending everything, ending the load")
        self.mend_all()
        feeds = list(self.feeds.values())
        for name in list(self.feeds):
            self._stop_feed(name)
        for feed in feeds:
            feed.wait(240)

    def drain(self):
        began = time.monotonic()
        wait_until("the whole input to be committed",
                   lambda: self.tend_faults() or self.ending or self.lag.is_back(began + 2, 0), DRAIN_SECONDS, 0.3)
        say(f"all is committed {time.monotonic() - began:.1f} s after the end of the load")

    # -- judgement

    def count_trades(self):
        process = self.last_process
        if process is None:
            return
        self.log_end = process.log_end()
        counts = process.trades()
        self.trades = sum(counts.values())
        say(f"the last life read {self.trades:,} trades: " +
            ", ".join(f"{name} {count:,}" for name, count in counts.items() if count))

    def judge_growth(self):
        warm_up = self.options.warm_up
        if self.peak_kib > self.options.memory_limit * 1024:
            self.findings.append(f"peak memory {self.peak_kib / 1024:.0f} MiB is more than engine.memory_limit")
        for name, bound in GROWTH_MAX.items():
            growth = self.samples.growth(name, warm_up)
            if growth and growth[1] - growth[0] > bound:
                self.findings.append(f"{name} grew from {growth[0]:g} to {growth[1]:g} within one life of the process")
        growth = self.samples.growth("dedupe bytes", warm_up)
        if growth and growth[1] > DEDUPE_GROWTH_MAX * growth[0] + DEDUPE_GROWTH_BYTES:
            self.findings.append(f"the dedupe memory grew from {growth[0]:,.0f} to {growth[1]:,.0f} bytes in one life")

    def start_check(self):
        """`klined verify` of all topics. What the bounded log has lost it calls unverifiable."""
        engine = {**self.config["engine"], "memory_limit": "8GiB"}  # It holds all candles of a pass at once.
        path = self.site.write_config("verify", **{**self.config, "engine": engine})
        minutes = (time.monotonic() - self.began) / 60
        candles = self.options.pairs * minutes * (CANDLES_A_MINUTE + CANDLES_A_VISITOR * 60 / VISITORS_STAY)
        passes = 1 + int(candles / VERIFY_CANDLES_MAX)
        check = Process(f"verify{sum(self.checks.values()) + 1}", self.site.folder,
                        ["verify", "--config", path, "--passes", str(passes)])
        self.site.processes.append(check)
        check.began = time.monotonic()
        return check

    def follow_check(self):
        """Takes the result of a `klined verify` that has ended; it may fail where a fault hit it."""
        if self.check is None or self.check.runs():
            return
        check, self.check = self.check, None
        status = check.process.returncode
        self.checks[status] += 1
        with open(check.out_path, encoding="utf-8") as out:
            said = out.read().splitlines()[-20:] + check.log().splitlines()[-1:]
        took = time.monotonic() - check.began
        self.verified = f"exit status {status} after {took:.0f} s: {said[-1] if said else ''}"
        say(f"klined verify: {self.verified}")
        if status == 1:
            self.findings.append("klined verify found differences: " + " / ".join(said))

    def verify(self):
        """The last one, when nothing moves any more; this one must succeed."""
        if self.check is not None:
            self.check.wait(6 * 3600)
            self.follow_check()
        failures = self.checks[2]
        self.check = self.start_check()
        self.check.wait(6 * 3600)
        self.follow_check()
        if self.checks[2] > failures:
            raise RuntimeError(f"klined verify could not: {self.verified}")

    def compare_sample(self):
        """Tables and dead letters of the sample's pairs, and the published candles of all chains but the bulk's."""
        site = self.site
        result = site.recompute()
        if not result.candles:
            raise RuntimeError("the sample makes no candles: nothing was compared")
        whole = [chain for chain in CHAINS if chain != BULK_CHAIN]
        published = dataclasses.replace(result, candles={key: candle for key, candle in result.candles.items()
                                                         if key[1] in whole})
        areas = [self._compare_rows(result), compare_klines(site.stack.kafka, published, site.env, whole),
                 compare_dead_letters(site.stack.kafka, result, [site.topic])]
        for area in areas:
            say(f"sample: {area.summary()}")
            self.findings += area.shown
        return areas

    def _compare_rows(self, result):
        """The rows of the sample's pairs, copied to a database of their own, which must hold nothing else then."""
        site, name = self.site, f"{self.site.database}_sample"
        pairs = sorted({(str(chain), pair) for _, chain, pair, _ in result.candles})
        with site.stack.mysql() as connection, connection.cursor() as cursor:
            try:
                cursor.execute(f"CREATE DATABASE `{name}`")
                cursor.execute(f"CREATE TABLE `{name}`.sample AS SELECT chain_id, pair_address FROM "
                               f"`{site.database}`.`{table_of('1m')}` WHERE FALSE")
                cursor.executemany(f"INSERT INTO `{name}`.sample VALUES (%s, %s)", pairs)
                for table in map(table_of, site.settings.intervals):
                    cursor.execute(f"CREATE TABLE `{name}`.`{table}` LIKE `{site.database}`.`{table}`")
                    cursor.execute(f"INSERT INTO `{name}`.`{table}` SELECT * FROM `{site.database}`.`{table}` WHERE "
                                   f"(chain_id, pair_address) IN (SELECT * FROM `{name}`.sample)")
                with site.stack.mysql(name) as there:
                    return compare_tables(there, result, site.settings.intervals)
            finally:
                cursor.execute(f"DROP DATABASE IF EXISTS `{name}`")


Soak.FAULTS = tuple((name, Soak.WEIGHTS[name], action) for name, _, action in Faults.FAULTS if name in Soak.WEIGHTS)


# ---- Report ----------------------------------------------------------------------------------------------------------


def figures_of(soak, options):
    slopes = {name: soak.samples.slope(name, options.warm_up) for name in soak.samples.names() if name != "VmHWM"}
    return {
        "seed": options.seed, "minutes": soak.minutes, "rate": options.rate, "window_seconds": options.window,
        "trades": soak.trades, "lives": soak.runners[0].starts, "warm_up_seconds": options.warm_up,
        "peak_mib": soak.peak_kib / 1024, "faults": dict(soak.faults), "recoveries": soak.recoveries,
        "back_after": quantiles([recovery["back_after"] for recovery in soak.recoveries]),
        "slopes": {name: slope._asdict() for name, slope in slopes.items() if slope},
        "growth": {name: soak.samples.growth(name, options.warm_up) for name in slopes},
        "lag_seconds_max": max((values["lag (seconds)"] for _, _, values in soak.samples.all), default=None),
        "verify": soak.verified, "checks": dict(soak.checks), "findings": soak.findings, "ended_early": soak.ending}


def report(figures, file):
    print(f"\nsoak: seed {figures['seed']}, {figures['minutes']:.1f} minutes at {figures['rate']:,} + {SAMPLE_RATE} "
          f"trades/s, {figures['lives']} lives of the process, peak memory {figures['peak_mib']:.0f} MiB")
    print(f"  {'fault':<45}{'times':>6}{'lasted':>9}{'lag gone after: p50':>21}{'max':>9}")
    for name in Soak.WEIGHTS:
        some = [recovery for recovery in figures["recoveries"] if recovery["fault"] == name]
        if some:
            back = quantiles([recovery["back_after"] for recovery in some])
            print(f"  {name:<45}{len(some):>6}{max(recovery['lasted'] for recovery in some):>7.1f} s"
                  f"{back['p50']:>19.1f} s{back['max']:>7.1f} s")
    print(f"  {'a minute, in lives past their warm-up':<45}{'slope':>14}{'quartiles':>26}{'first, last third':>26}")
    for name, slope in figures["slopes"].items():
        growth = figures["growth"][name]
        print(f"  {name + (' (KiB)' if name == 'VmRSS' else ''):<45}{slope['median']:>14,.2f}"
              f"{slope['low']:>13,.2f}{slope['high']:>13,.2f}"
              + (f"{growth[0]:>13,.0f}{growth[1]:>13,.0f}" if growth else f"{'-':>26}"))
    if not figures["slopes"]:
        print("    no life went on for two minutes past its warm-up: run it for longer")
    checks = ", ".join(f"{count} with exit status {status}" for status, count in sorted(figures["checks"].items()))
    print(f"  klined verify: {checks or 'none'}; the last: {figures['verify']}")
    for finding in figures["findings"]:
        print(f"  FINDING: {finding}")
    early = ", ended early: nothing was compared" if figures["ended_early"] else ""
    print(f"  result: {'FAILED' if figures['findings'] else 'well'}{early}; again: ./dev soak --seed {figures['seed']} "
          f"--minutes {figures['minutes']:.0f} --rate {figures['rate']}", flush=True)
    if file:
        with open(file, "w", encoding="utf-8") as out:
            json.dump(figures, out, indent=1)


def course(soak, dirty):
    """All of it up to the report; what it finds is in soak.findings. Ended early, it leaves everything as it stands."""
    try:
        soak.conduct()
    except AssertionError as error:  # Waited in vain.
        soak.findings.append(str(error))
    soak.minutes = (time.monotonic() - soak.began) / 60
    dirty.done.set()
    if not soak.ending:
        soak.stop_load()
        dirty.join(180)
    is_drained = False
    if not soak.ending:
        try:
            soak.drain()
            is_drained = True
        except AssertionError as error:
            soak.findings.append(str(error))
    soak.count_trades()
    soak.judge_growth()
    if not soak.ending:
        soak.stop_runs()
    soak.findings += [line for line in soak.unasked if line not in soak.findings]
    # Too much memory, say, is no reason not to look at the candles.
    if is_drained:
        soak.verify()
        soak.compare_sample()


def clean_up(soak, site, dirty):
    dirty.done.set()
    soak.lag.done.set()
    for process in site.processes:
        process.kill()
    if soak.busy or soak.later:
        soak.mend_all()
    soak.heal()
    soak.close()
    site.delete_topics([*soak.large_topics(), f"{soak.bulk}-dlq"])


def run(options):
    with Site(chains=CHAINS) as site:
        site.settings = dataclasses.replace(site.settings, dedupe_window=options.window)
        soak = Soak(site, options)
        start_of = {"late": -11 * 86400, "duplicates": -3 * 3600}  # Their trades go ten days, two hours ahead of that.
        begin = int(time.time())
        dirty = DirtyLoad(site, options.seed, lambda part, seconds: begin + int(seconds) + start_of.get(part, -3600),
                          stamp_now=True)

        def end(*_):
            if soak.ending:
                raise KeyboardInterrupt
            say("ending early; once more ends at once")
            soak.ending = True
            for runner in soak.runners:  # A terminal, or ./dev, sends the signal to all processes.
                runner.meant_to_end = True
        signal.signal(signal.SIGTERM, end)
        signal.signal(signal.SIGINT, end)
        try:
            soak.make_topics()
            site.init(**{key: value for key, value in soak.config.items() if key == "input"})
            dirty.start()
            course(soak, dirty)
            if soak.findings:
                print(f"---- the end of klined's log:\n{soak.log_end}", flush=True)
            report(figures_of(soak, options), options.json)
        finally:
            clean_up(soak, site, dirty)
        return 1 if soak.findings else 130 if soak.ending else 0


def plan_disk(parser, options):
    """How much the log will take, and so for how long all of it can be verified."""
    minute = 60 * (options.rate + SAMPLE_RATE) * BYTES_A_TRADE / 1e9 / BULK_SHARE
    options.log_minutes = options.log_limit / minute
    needed = min(options.log_limit, minute * options.minutes) + 5
    free = shutil.disk_usage(ROOT).free / 1e9
    if needed > free:
        parser.error(f"about {needed:.0f} GB of disk are needed, {free:.0f} GB are free: lower --log-limit or --rate")
    if options.log_minutes * 60 < 10 * options.window:
        parser.error(f"the log would hold {options.log_minutes:.1f} minutes only, a restart may have to read more: "
                     "raise --log-limit, or lower --rate or --window")
    if options.verify_every is None:
        options.verify_every = 0 if options.log_minutes >= options.minutes else options.log_minutes / 2


def options_of():
    parser = argparse.ArgumentParser(prog="./dev soak", formatter_class=argparse.RawDescriptionHelpFormatter,
                                     description=__doc__.split("\n", 1)[0] + "\nMore of it: docs/soak.md")
    add = parser.add_argument
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--hours", type=float)
    length.add_argument("--minutes", type=float, help="default: 60")
    add("--rate", type=int, default=8000, help="trades a second; default: %(default)s")
    add("--seed", type=int, default=int(os.environ.get("KLINED_SEED") or random.randrange(10**6)))
    add("--json", metavar="FILE", help="write the figures here too")
    add("--pairs", type=int, default=2000, help="that trade all the time; default: %(default)s")
    add("--window", type=int, default=60, metavar="SECONDS",
        help="input.dedupe_window: so much is read again after each kill; default: %(default)s")
    add("--warm-up", type=float, metavar="SECONDS", help="of each life, in no slope; default: two windows, at "
        "most a quarter of the whole")
    add("--memory-limit", type=int, default=256, metavar="MIB", help="engine.memory_limit; default: %(default)s")
    add("--verify-every", type=float, metavar="MINUTES",
        help="`klined verify` beside the load, 0: never; default: half of what the log holds, 0 where that is all")
    add("--log-limit", type=float, default=40, metavar="GB",
        help="what Kafka keeps on disk, about; older records go; default: %(default)s")
    add("--patience", type=float, default=10, metavar="MINUTES",
        help="a lag that is not gone by then is a failure; default: %(default)s")
    add("--only", default="", metavar="TEXT", help="only faults whose name holds it, for example 'MySQL'")
    options = parser.parse_args()
    options.minutes = options.hours * 60 if options.hours else options.minutes or 60
    options.processes = 1
    if options.warm_up is None:
        options.warm_up = min(max(2 * options.window, FILL_SECONDS), options.minutes * 60 / 4)
    plan_disk(parser, options)
    if not any(options.only in name for name in Soak.WEIGHTS):
        parser.error(f"--only: no fault's name holds '{options.only}'; they are: {', '.join(Soak.WEIGHTS)}")
    return options


def main():
    options = options_of()
    say(f"soak with seed {options.seed}: {options.minutes:g} minutes at {options.rate:,} trades/s; Kafka's log has "
        f"room for about {options.log_minutes:.0f} minutes of it")
    try:
        return run(options)
    except KeyboardInterrupt:
        return 130
    except Exception:  # pylint: disable=broad-except  # A fault of the soak's own must not look like klined's.
        traceback.print_exc()
        return 2


if __name__ == "__main__":
    sys.exit(main())
