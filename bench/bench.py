#!/usr/bin/python3
"""What klined costs, beside what the same job costs at least: cases, competitors in turn, medians, one table.

    ./dev bench                        all cases
    ./dev bench --quick                smaller inputs, fewer rounds
    ./dev bench --only replay,single   some cases
    ./dev bench --json                 one object, a member a case, on stdout; progress goes to stderr
    ./dev bench --against main~5       klined of that commit too, in turn with this one
    ./dev bench --profile replay       where the CPU time of a case goes, by stage (--picture FILE: as SVG too); needs perf

What the cases are and what came out: docs/performance.md.

CPU seconds per million trades decide on a machine that others use too; trades/s and latencies are what was seen. The input
topics are filled once and kept. What an interrupted run has measured is printed. Exit status: 0, or another where it was not
carried out to its end. No figure makes it fail.
"""

import argparse
import contextlib
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))

from harness import SOLANA, Process, Site, free_port, say, wait_until  # noqa: E402  First: it knows the oracle's modules.
import stages  # noqa: E402
from confluent_kafka import Consumer, KafkaError, TopicPartition  # noqa: E402
from confluent_kafka.admin import AdminClient, NewTopic  # noqa: E402
from topics import watermarks  # noqa: E402

MILLION = 1_000_000
START = "2026-01-01T00:00:00Z"
CASES = ("replay", "single", "wide", "live", "pairs", "workers", "intervals", "partitions", "scale", "restart", "parts")
INTERVALS = ("1m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d", "1w", "1M")
MUCH_STOLEN = 0.05  # of the machine's time: from there on figures say more about its neighbours
ROOMY = {"engine": {"memory_limit": "8GiB"}}  # where a case has more candles than the default holds
_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def machine_ticks():
    """What all cores could have done so far, and how much of that the host gave to other guests."""
    with open("/proc/stat", encoding="utf-8") as stat:
        ticks = [int(one) for one in stat.readline().split()[1:9]]
    return sum(ticks), ticks[7]


def median(rounds, name):
    values = [one[name] for one in rounds if name in one]
    return statistics.median(values) if values else None


def spread(rounds, name):
    """The largest distance from the median, as a fraction of it."""
    middle = median(rounds, name)
    return max(abs(one[name] - middle) for one in rounds) / middle if middle else 0.0


class Bench:
    def __init__(self, options):
        self.options = options
        self.build = os.environ.get("KLINED_BUILD", os.path.join(ROOT, "build", "bench"))
        self.kafka = os.environ["KLINED_STACK_KAFKA"]
        self.reference = os.environ.get("KLINED_REFERENCE")
        self.results = {}

    # -- input

    def topic(self, name, *, trades, partitions=3, **feed):
        """The name of a topic that holds these trades, filled now unless it was before."""
        full = f"bench-{name}-{trades}"
        admin = AdminClient({"bootstrap.servers": self.kafka})
        if full in admin.list_topics(timeout=15).topics:
            return full
        filling = f"{full}-filling"
        for topic in (filling, full):
            if topic in admin.list_topics(timeout=15).topics:
                admin.delete_topics([topic])[topic].result(30)
                wait_until("the topic to be gone", lambda: topic not in admin.list_topics(timeout=15).topics)
        admin.create_topics([NewTopic(full, partitions, 1, config={"retention.ms": "-1", "max.message.bytes": "11534336"})])[
            full].result(30)
        began = time.monotonic()
        arguments = [os.path.join(self.build, "klined"), "feed", "--simulate", "--async", "--brokers", self.kafka, "--topic",
                     full, "--trades", str(trades), "--rate", "0", "--start", START, "--spool", f"/tmp/{full}.spool"]
        for key, value in feed.items():
            arguments += [f"--{key.replace('_', '-')}", str(value)]
        try:
            subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        except subprocess.CalledProcessError as error:
            admin.delete_topics([full])[full].result(30)
            sys.exit(f"bench: topic {full} could not be filled: {error.stderr[-500:]}")
        say(f"topic {full} is filled: {trades:,} trades in {time.monotonic() - began:.0f} s; it is kept")
        return full

    # -- competitors

    @contextlib.contextmanager
    def using(self, binary):
        """Inside its block, sites start that klined."""
        mine = os.environ["KLINED_BIN"]
        os.environ["KLINED_BIN"] = binary
        try:
            yield
        finally:
            os.environ["KLINED_BIN"] = mine

    def program(self, name, *arguments, **environment):
        done = subprocess.run([os.path.join(self.build, name), *map(str, arguments)], stdout=subprocess.PIPE, text=True,
                              check=True, env={**os.environ, **environment})
        return json.loads(done.stdout)

    def floor(self, topic):
        found = self.program("klined_floor", self.kafka, topic)
        return {"trades": found["trades"], "trades_per_s": found["trades"] / found["seconds"],
                "cpu_s_per_million": found["cpu_s"] * MILLION / found["trades"],
                "rss_peak_bytes": found["rss_peak_bytes"]}

    def klined(self, topic, trades, site_does=None, binary=None, intervals=None, profile=None, processes=1, **changes):
        """From the start of the process until all of the topic is committed. `profile`: perf's file of that time."""
        sites = Site(topic=topic, **({"intervals": intervals} if intervals else {}))
        with self.using(binary or os.environ["KLINED_BIN"]), sites as site:
            site.init(**changes)
            wanted = site.ends()
            sql = ("SELECT partition_id, MIN(next_offset) FROM stream_offset WHERE consumer_group = %s AND topic = %s "
                   "GROUP BY partition_id")
            with site.stack.mysql(site.database) as connection, connection.cursor() as cursor:
                def is_done():
                    cursor.execute(sql, (site.group, site.topic))
                    for job in jobs:
                        if not job.runs():
                            sys.exit(f"bench: klined ended with {job.process.returncode}:\n{job.log_end()}")
                    return {int(partition): int(offset) for partition, offset in cursor.fetchall()} == wanted
                began = time.monotonic()
                jobs = [site.start(f"job-{number}", **changes) for number in range(processes)]
                if profile:
                    time.sleep(0.5)  # until the threads are there, which perf would miss as they come
                recorder = stages.record(jobs[0].pid, profile) if profile else None
                wait_until("the whole input to be committed", is_done, 1800, 0.05)
            seconds = time.monotonic() - began
            if recorder:
                stages.finish(recorder)
            cpu = sum(cpu_seconds(job.pid) for job in jobs)
            peak = sum(job.peak_mib() for job in jobs) * 1048576
            time.sleep(1.2)  # the page is some moments old
            counted = jobs[0].metrics()
            rows = sum(value for name, value in counted.items() if name.startswith("klined_rows_written_total"))
            extra = site_does(site) if site_does else {}
            for job in jobs:
                job.stop()
            return {"trades": trades, "seconds": seconds, "trades_per_s": trades / seconds,
                    "cpu_s_per_million": cpu * MILLION / trades, "rss_peak_bytes": peak, "rows_per_s": rows / seconds,
                    "rows": rows, "series": counted.get("klined_series_cached", 0), **extra}

    def against_floor(self, case, topic, trades, rounds=None, **changes):
        """Floor, klined, and the reference where there is one: in turn, and in the other order every second round."""
        runs = {"floor": [], "klined": []}
        competitors = [("floor", lambda: self.floor(topic)), ("klined", lambda: self.klined(topic, trades, **changes))]
        if self.reference:
            runs["reference"] = []
            competitors.append(("reference", lambda: self.klined(topic, trades, binary=self.reference, **changes)))
        for number in range(rounds or self.options.rounds):
            for name, run in competitors if number % 2 == 0 else reversed(competitors):
                runs[name].append(run())
            last = ", ".join(f"{name} {done[-1]['cpu_s_per_million']:.2f} CPU s a million at "
                             f"{done[-1]['trades_per_s']:,.0f} trades/s" for name, done in runs.items())
            say(f"{case}: round {number + 1}: {last}")
        floors, mine = runs["floor"], runs["klined"]
        found = {name: median(mine, name) for name in ("trades_per_s", "cpu_s_per_million", "rss_peak_bytes", "rows")}
        for name, key in (("cpu_ratio_to_floor", "cpu_s_per_million"), ("rate_ratio_to_floor", "trades_per_s")):
            found[name] = statistics.median(run[key] / floor[key] for run, floor in zip(mine, floors))
        found["floor_trades_per_s"] = median(floors, "trades_per_s")
        found["floor_cpu_s_per_million"] = median(floors, "cpu_s_per_million")
        found["spread"] = spread(mine, "cpu_s_per_million")
        if self.reference:
            found["cpu_ratio_to_reference"] = statistics.median(
                run["cpu_s_per_million"] / other["cpu_s_per_million"] for run, other in zip(mine, runs["reference"]))
        return found

    # -- cases

    def replay(self):
        trades = 500_000 if self.options.quick else 5 * MILLION
        return self.against_floor("replay", self.topic("replay", trades=trades, pairs=200, event_rate=2500), trades)

    def single(self):
        trades = 100_000 if self.options.quick else 2 * MILLION
        # A slot of 400 ms has 200 trades for 2,000 pairs: a message has one, seldom two.
        topic = self.topic("ones", trades=trades, pairs=2000, zipf=0, key="pair", event_rate=500)
        return self.against_floor("single", topic, trades)

    def wide(self):
        trades, pairs = (100_000, 10_000) if self.options.quick else (2 * MILLION, 200_000)
        topic = self.topic("wide", trades=trades, pairs=pairs, zipf=0, event_rate=2500)
        bare = {}
        # Once: it takes nine minutes, half of them for the loops beside it.
        run = self.klined(topic, trades, lambda site: bare.update(self.upserts(site)) or {}, **ROOMY)
        say(f"wide: {run['rows_per_s']:,.0f} rows/s, {run['cpu_s_per_million']:.2f} CPU s a million trades; bare upserts in the "
            f"same order {bare['rows_per_s']:,.0f} rows/s, by key {bare['by_key_rows_per_s']:,.0f}, "
            f"as text {bare['text_rows_per_s']:,.0f}")
        found = {name: run[name] for name in ("trades_per_s", "cpu_s_per_million", "rss_peak_bytes", "rows", "rows_per_s")}
        found |= {f"bare_{name}": rate for name, rate in bare.items()}
        found["rate_ratio_to_floor"] = run["rows_per_s"] / bare["rows_per_s"]
        return found

    def upserts(self, site):
        """What only writes the same rows: in the order in which klined wrote them, by the same protocol and as text, and in
        the order that costs least."""
        stack = site.stack
        connections = max(2, os.cpu_count() or 1)  # as many as klined commits by
        found = {}
        for name, way, order in (("rows_per_s", "bulk", "written"), ("text_rows_per_s", "text", "written"),
                                 ("by_key_rows_per_s", "bulk", "key")):
            one = self.program("klined_upserts", stack.mysql_host, stack.mysql_port, stack.mysql_user, site.database,
                               connections, way, order, MYSQL_PWD=os.environ["KLINED_STACK_MYSQL_PASSWORD"])
            found[name] = one["rows"] / one["seconds"]
        return found

    def live(self):
        seconds = 15 if self.options.quick else 60
        half = self.results.get("replay", {}).get("trades_per_s", 100_000) / 2
        found = {}
        for name, rate in (("half_load", half), ("25000_a_second", 25_000), ("5000_a_second", 5000)):
            with Site(partitions=3) as site:
                site.init()
                job = site.start().await_active()
                stack = site.stack
                cpu = cpu_seconds(job.pid)
                seen = self.program("klined_live", self.kafka, site.topic, f"klines-{SOLANA}-{site.env}", rate, seconds, 200,
                                    MYSQL_HOST=stack.mysql_host, MYSQL_TCP_PORT=str(stack.mysql_port),
                                    MYSQL_USER=stack.mysql_user, MYSQL_DATABASE=site.database,
                                    MYSQL_PWD=os.environ["KLINED_STACK_MYSQL_PASSWORD"])
                cpu = cpu_seconds(job.pid) - cpu
                job.stop()
            for place in ("published", "stored"):
                found[f"{name}_{place}_share"] = (seen[place] or {}).get("trades", 0) / seen["trades"]
                found |= {f"{name}_{place}_{key}": value for key, value in (seen[place] or {}).items() if key != "trades"}
            found[f"{name}_trades_per_s"] = seen["trades"] / seen["seconds"]
            found[f"{name}_cpu_s_per_million"] = cpu * MILLION / seen["trades"]
            say(f"live at {seen['trades'] / seen['seconds']:,.0f} trades/s ({rate:,.0f} asked for): published {seen['published']}, stored {seen['stored']}")
        return found

    def pairs(self):
        trades = 100_000 if self.options.quick else MILLION
        found = {}
        for pairs in (100, 1_000, 10_000) if self.options.quick else (100, 1_000, 10_000, 100_000, 1_000_000):
            topic = self.topic(f"pairs{pairs}", trades=trades, pairs=pairs, zipf=0, event_rate=2500)
            one = self.klined(topic, trades, **ROOMY)
            say(f"pairs {pairs:,}: {one['cpu_s_per_million']:.2f} CPU s a million, {one['rss_peak_bytes'] / 1048576:.0f} MiB")
            found |= {f"{pairs}_{name}": one[name] for name in ("cpu_s_per_million", "rss_peak_bytes", "trades_per_s")}
        return found

    def workers(self):
        trades = 500_000 if self.options.quick else 5 * MILLION
        topic = self.topic("replay", trades=trades, pairs=200, event_rate=2500)
        found = {}
        for workers in (1, 2):
            one = self.klined(topic, trades, engine={"workers": workers})
            found |= {f"{workers}_{name}": one[name] for name in ("cpu_s_per_million", "trades_per_s")}
        return found

    def intervals(self):
        trades = 500_000 if self.options.quick else MILLION
        topic = self.topic("replay", trades=trades, pairs=200, event_rate=2500)
        return self.growth((count, topic, trades, {"intervals": INTERVALS[:count]}) for count in (1, 7, 12))

    def partitions(self):
        trades = 100_000 if self.options.quick else MILLION
        return self.growth((count, self.topic(f"on{count}", trades=trades, partitions=count, pairs=200, event_rate=2500),
                            trades, {}) for count in (1, 3, 12))

    def growth(self, steps):
        found = {}
        for step, topic, trades, changes in steps:
            one = self.klined(topic, trades, **changes)
            say(f"{step}: {one['cpu_s_per_million']:.2f} CPU s a million at {one['trades_per_s']:,.0f} trades/s")
            found |= {f"{step}_{name}": one[name] for name in ("cpu_s_per_million", "trades_per_s")}
        return found

    def scale(self):
        """A topic keyed by slot through `klined route`, and what it writes through one and through two processes."""
        trades = 100_000 if self.options.quick else MILLION
        topic = self.topic("on3", trades=trades, partitions=3, pairs=200, event_rate=2500)
        with Site(topic=topic) as site:
            site.delete_topics([f"{topic}-by-pair"])
            path = site.write_config("route", output={"partitions": 4}, metrics={"listen": f"127.0.0.1:{free_port()}"})
            site.succeed("init", "--by-pair", "--config", path)
            began = time.monotonic()
            router = Process("route", site.folder, ["route", "--config", path])
            site.processes.append(router)
            consumer = Consumer({"bootstrap.servers": self.kafka, "group.id": f"{site.group}-route"})
            places = [TopicPartition(topic, partition) for partition in site.ends()]
            wait_until("all to be routed", lambda: {place.partition: place.offset for place in consumer.committed(
                places, timeout=60)} == site.ends(), 1800, 0.1)
            consumer.close()
            found = {"route_trades_per_s": trades / (time.monotonic() - began),
                     "route_cpu_s_per_million": cpu_seconds(router.pid) * MILLION / trades}
            router.stop()
        for processes in (1, 2):
            one = self.klined(f"{topic}-by-pair", trades, processes=processes, input={"partitioned_by": "pair"})
            found |= {f"{processes}_{name}": one[name] for name in ("cpu_s_per_million", "trades_per_s")}
        say(f"scale: {found}")
        return found

    def restart(self):
        """kill -9 with 200,000 candles open, and start: while trades go on."""
        # Times seven intervals; with three trades a pair one in twenty has none.
        pairs = 3_000 if self.options.quick else 30_200
        with Site(partitions=3) as site:
            site.init()
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 60))
            site.feed(trades=3 * pairs, pairs=pairs, zipf=0, event_rate=3 * pairs // 60, start=now)
            job = site.start()
            site.await_drained(job, 600)
            feed = site.start_feed(rate=2000, pairs=200, trades=0, seed=2)
            time.sleep(5)
            series = job.metrics()["klined_series_cached"]
            consumer = Consumer({"bootstrap.servers": self.kafka, "group.id": "bench", "enable.partition.eof": True})
            job.kill()
            output = f"klines-{SOLANA}-{site.env}"
            ends = {partition: end for (_, partition), (_, end) in watermarks(self.kafka, [output]).items()}
            consumer.assign([TopicPartition(output, partition, end) for partition, end in ends.items()])
            # It asks for the partitions' leaders first, and again only a second later where it has met no broker yet.
            while ends:
                message = consumer.poll(0.05)
                if message is not None and message.error() and message.error().code() == KafkaError._PARTITION_EOF:
                    ends.pop(message.partition(), None)
            written = site.ends()
            began = time.monotonic()
            job = site.start("again")
            while (message := consumer.poll(0.05)) is None or message.error():
                if not job.runs() or time.monotonic() - began > 300:
                    sys.exit(f"bench: no candle came after the restart:\n{job.log_end()}")
            first = time.monotonic() - began

            def all_stored():
                stored = site.stored_offsets()
                return all(stored[partition] >= offset for partition, offset in written.items())
            wait_until("all that was written before the start to be stored", all_stored, 300, 0.02)
            level = time.monotonic() - began
            feed.send(signal.SIGTERM)
            consumer.close()
        return {"first_candle_s": first, "lag_0_s": level, "series": series}

    def parts(self):
        arguments = ["--benchmark_format=json"] + (["--benchmark_min_time=0.05"] if self.options.quick else [])
        done = self.program("klined_parts", *arguments)
        return {one["name"].replace("/", "_"): {"ns": 1e9 / one["items_per_second"],
                                                **({"gb_per_s": one["bytes_per_second"] / 1e9} if "bytes_per_second" in one else {})}
                for one in done["benchmarks"]}

    def profile(self, case, picture):
        """Where the time of replay or single goes."""
        trades = (500_000 if self.options.quick else 2 * MILLION)
        topic = (self.topic("ones", trades=trades, pairs=2000, zipf=0, key="pair", event_rate=500) if case == "single" else
                 self.topic("replay", trades=trades, pairs=200, event_rate=2500))
        with tempfile.NamedTemporaryFile(prefix="klined-perf-") as file:
            run = self.klined(topic, trades, profile=file.name)
            found = stages.breakdown(file.name)
        found["ns_per_trade"] = 1000 * run["cpu_s_per_million"]
        if picture:
            with open(picture, "w", encoding="utf-8") as out:
                out.write(stages.picture(found, f"{case}: {found['ns_per_trade']:,.0f} ns of CPU a trade"))
        return found

    def run(self):
        for case in CASES:
            if case in self.options.only:
                all_before, stolen_before = machine_ticks()
                found = getattr(self, case)()
                all_after, stolen_after = machine_ticks()
                self.results[case] = {**found, "stolen": (stolen_after - stolen_before) / max(1, all_after - all_before)}


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), platform.machine())
    return {"cpu": model, "cores": os.cpu_count(), "kernel": platform.release(), "load": os.getloadavg()[0]}


def show(results):
    print(f"\n{'case':<10} {'trades/s':>10} {'CPU s/million':>14} {'± %':>5} {'peak MiB':>9} {'CPU × floor':>12} {'rate ÷ floor':>13}")
    for case in ("replay", "single", "wide"):
        if case not in results:
            continue
        one = results[case]
        ratio = f"{one['cpu_ratio_to_floor']:.2f}" if "cpu_ratio_to_floor" in one else "–"
        print(f"{case:<10} {one['trades_per_s']:>10,.0f} {one['cpu_s_per_million']:>14.2f} {100 * one.get('spread', 0):>5.0f} "
              f"{one['rss_peak_bytes'] / 1048576:>9.0f} {ratio:>12} {one['rate_ratio_to_floor']:>13.2f}")
        if "cpu_ratio_to_reference" in one:
            print(f"{'':<10} {one['cpu_ratio_to_reference']:.2f} times the CPU time of {os.environ['KLINED_REFERENCE_NAME']}")
    for case, one in results.items():
        if case in ("replay", "single", "wide"):
            continue
        print(f"\n{case}")
        for name, value in one.items():
            if name == "stolen":
                continue
            text = json.dumps(value) if isinstance(value, dict) else f"{value:,.3f}" if value < 1000 else f"{value:,.0f}"
            print(f"  {name:<40} {text}")


    if disturbed := [f"{case} {100 * one['stolen']:.0f} %" for case, one in results.items() if one["stolen"] > MUCH_STOLEN]:
        print(f"\nThe host gave this machine's time to others meanwhile, so look again later: {', '.join(disturbed)}")


def show_profile(found):
    print(f"\n{found['ns_per_trade']:,.0f} ns of CPU a trade, {found['samples']:,} samples\n")
    for name, share in found["stages"].items():
        print(f"  {name:<45} {share * found['ns_per_trade']:>8,.0f} ns {100 * share:>5.1f} %")
    print("\nklined's own functions, without what they call")
    for name, share in found["functions"].items():
        print(f"  {100 * share:>5.1f} %  {name}")


def main():
    parser = argparse.ArgumentParser(prog="bench.py", description=__doc__.split("\n", maxsplit=1)[0],
                                     epilog=__doc__.split("\n", 2)[2], formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=None, help="of each competitor; default: 5, quick 1")
    parser.add_argument("--only", default=",".join(CASES), metavar="CASE,…", help=f"of {', '.join(CASES)}")
    parser.add_argument("--json", action="store_true", help="print one object, and nothing else, on stdout")
    parser.add_argument("--profile", choices=("replay", "single"), metavar="CASE", help="of replay, single: where its time goes")
    parser.add_argument("--picture", metavar="FILE", help="with --profile: an SVG of it")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.only = options.only.split(",")
    if unknown := set(options.only) - set(CASES):
        parser.error(f"there is no case {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    if options.json:  # What say() prints goes to the terminal, not into the JSON.
        stdout, sys.stdout = sys.stdout, sys.stderr
    bench = Bench(options)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        if options.profile:
            bench.results["profile"] = bench.profile(options.profile, options.picture)
        else:
            bench.run()
    finally:  # Also where it was interrupted: what was measured until then.
        if options.json:
            sys.stdout = stdout
            print(json.dumps({"machine": machine(), **bench.results}, indent=1))
        elif options.profile and bench.results:
            show_profile(bench.results["profile"])
        elif bench.results:
            show(bench.results)


if __name__ == "__main__":
    main()
