#!/usr/bin/env python3
"""Everything fails at random while klined works on real servers; at the end all of it is compared.

    chaos.py --minutes 3 --kills 20 --seed 7
    chaos.py --routed --minutes 3 --kills 20 --seed 7

Two `klined run` of one group (one active, one standing by) reach Kafka, MySQL and Redis through proxies; or, --routed,
two `klined route` divide the topic by pair, and three `klined run` share what comes of it. A feed and dirty messages,
keyed by slot, are the load. A conductor does one thing after another to them, see faults.py. Then everything is mended,
the input is drained, and tables, published candles, dead letters and Redis are compared with the recomputation of that
input; with --routed, each routed record is too.

Ends after --minutes, or later where fewer than --kills processes were killed by then.
Exit status: 0 all equal, 1 something differs or klined ended by itself, 2 could not be carried out.
"""

import argparse
import json
import os
import random
import signal
import sys
import threading
import time
import traceback

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))

from harness import Site, say, wait_until  # noqa: E402  (first: it makes the oracle's modules known)

import pymysql  # noqa: E402
from confluent_kafka import Consumer, TopicPartition  # noqa: E402
from faults import CHAINS, DirtyLoad, Faults, Runner, quantiles  # noqa: E402
from test_route import RouterSite  # noqa: E402

START = 1_735_689_600  # 2025-01-01T00:00:00Z
DRAIN_SECONDS = 300


# ---- What happens beside the conductor -------------------------------------------------------------------------------


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


# ---- The conductor ---------------------------------------------------------------------------------------------------


class Conductor(Faults):
    def __init__(self, site, options):
        super().__init__(site, options)
        self.feeds = 0
        self.feed = None

    def start_feed(self):
        """Each feed goes on in event time where the one before it ended, roughly."""
        self.feeds += 1
        begin = START + int((time.monotonic() - self.began) * self.options.speed)
        text = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(begin))
        self.feed = self.site.start_feed(f"feed{self.feeds}", trades=0, rate=self.options.rate, speed=self.options.speed,
                                         pairs=self.options.pairs, seed=self.options.seed + self.feeds, start=text)

    def tend(self):
        self.tend_faults()
        if not self.feed.runs():
            self.start_feed()

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
        self.mend_all()
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


class RoutedConductor(Conductor):
    """The fleet is `klined route`s and the `klined run`s that share what they write: all of them are at work."""

    def __init__(self, site, options):
        super().__init__(site, options)
        self.runners += [Runner(self, number, "route") for number in range(1, options.routers + 1)]

    def config_of(self, command):
        own = self.site.router_config() if command == "route" else self.site.shared()
        return {**self.config, **own, "kafka": {**own["kafka"], **self.config["kafka"]}}

    def active(self):
        return None

    def to_freeze(self):
        return self.some_runner()


def compare(site, options):
    """[{area, compared, differ}], when all is drained."""
    found = []
    for area in site.settled(seconds=120, closed=True):
        found.append({"area": area.name, "compared": area.compared, "differ": area.differ})
        for detail in area.shown:
            print(f"  {detail}", flush=True)
    if options.routed:
        routed = {"area": "routed records", "compared": "what differs is told above", "differ": 0}
        try:
            routed["compared"] = f"{site.check_routed():,} records"
        except AssertionError as error:
            routed["differ"] = 1
            print(f"  {str(error)[:2000]}", flush=True)  # It holds whole records.
        found.append(routed)
    return found


# ---- Report ----------------------------------------------------------------------------------------------------------


def times(counter):
    return ", ".join(f"{count} {name}" for name, count in sorted(counter.items()))


def report(conductor, arrivals, options, found, trades):
    print(f"\nchaos: seed {options.seed}, {trades:,} trades, {conductor.kills} kills, "
          f"{sum(conductor.faults.values())} faults")
    print(f"  {'fault':<40} {'times':>6}  to")
    for name, _, _ in conductor.FAULTS:
        print(f"  {name:<40} {conductor.faults[name]:>6}  {times(conductor.targets.get(name, {}))}")
    print(f"  killed: {times(conductor.killed)}")
    first = {}
    for alone in (True, False):
        waits = [stamp - moment for moment, was_alone in conductor.kill_moments if was_alone or not alone
                 for stamp in [arrivals.first_after(moment)] if stamp is not None]
        first["nothing else broken" if alone else "all"] = quantiles(waits)
    for what, values in first.items():
        if values:
            print(f"  kill -9 of the active process to the next published candle ({what}): {values['count']} times, p50 "
                  f"{values['p50']:.2f} s, p90 {values['p90']:.2f} s, p99 {values['p99']:.2f} s, max {values['max']:.2f} s")
    for command, peak in sorted(conductor.peaks_mib.items()):
        print(f"  peak memory of a klined {command}: {peak:.0f} MiB")
    for line in conductor.unasked:
        print(f"  FINDING: {line}")
    print("  lost, doubled or wrong:")
    for area in found:
        print(f"    {area['differ']:,} of {area['area']}: {area['compared']}")
    differ = any(area["differ"] for area in found)
    print(f"  result: {'DIFFERS' if differ else 'equal'}; again: ./dev chaos{' --routed' if options.routed else ''} "
          f"--seed {options.seed}")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"seed": options.seed, "routed": options.routed, "trades": trades, "kills": conductor.kills,
                       "killed": conductor.killed, "faults": conductor.faults, "targets": conductor.targets,
                       "first_candle": first, "peaks_mib": conductor.peaks_mib, "findings": conductor.unasked,
                       "compared": found, "equal": not differ}, file, indent=2)
    return differ


def run(options):
    with (RouterSite if options.routed else Site)(chains=CHAINS) as site:
        if options.routed:
            site.make_topics()
            site.init(**site.shared())
        else:
            site.init()
        conductor = (RoutedConductor if options.routed else Conductor)(site, options)
        arrivals = Arrivals(site.stack.kafka, f"klines-100000-{site.env}")
        dirty = DirtyLoad(site, options.seed, lambda _, seconds: START + int(seconds * options.speed))
        arrivals.start()
        dirty.start()
        try:
            conductor.conduct()
            dirty.done.set()
            conductor.mend()
            dirty.join(180)
            conductor.drain()
            found = compare(site, options)
        finally:
            dirty.done.set()
            arrivals.done.set()
            if conductor.busy or conductor.later:  # Ended amid a fault: the servers are others' too.
                conductor.mend_all()
            conductor.heal()
        arrivals.join(10)
        conductor.stop_runs()
        differ = report(conductor, arrivals, options, found, site.recompute().read)
        conductor.close()
        return 1 if differ or conductor.unasked else 0


def main():
    parser = argparse.ArgumentParser(description="Faults at random on real servers; then everything is compared.")
    add = parser.add_argument
    add("--minutes", type=float, default=3)
    add("--kills", type=int, default=20, help="at least so many; default: %(default)s")
    add("--seed", type=int, default=int(os.environ.get("KLINED_SEED") or random.randrange(10**6)))
    add("--routed", action="store_true", help="klined route before them: several klined run are active at once")
    add("--processes", type=int, help="klined run of one group; default: 2, with --routed 3")
    add("--routers", type=int, default=2, help="klined route, with --routed; default: %(default)s")
    add("--rate", type=int, default=1000, help="trades a second; default: %(default)s")
    add("--speed", type=float, default=20, help="event time a second; default: %(default)s")
    add("--pairs", type=int, default=200)
    add("--pause", type=float, default=2.0, metavar="SECONDS", help="between faults, on average; default: %(default)s")
    add("--only", default="", metavar="TEXT", help="only faults whose name holds it, for example 'klined: kill'")
    add("--stop-at-finding", action="store_true", help="end as soon as a klined ends by itself")
    add("--json", metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    options.processes = options.processes or (3 if options.routed else 2)
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
