#!/usr/bin/python3
"""Judges a running or finished klined: reads its input topics wholly, recomputes all candles, and compares.

    verify.py --kafka 127.0.0.1:9092 --topics sol-trades --intervals 1m,5m --env demo --klines --dlq
              --mysql-host 127.0.0.1 --mysql-port 3306 --mysql-user klined --mysql-password … --mysql-database klined
              --redis 127.0.0.1:6379

Exit status: 0 all equal, 1 something differs, 2 could not compare.
"""

import argparse
import json
import sys
import time
import traceback

import pymysql
import redis
from confluent_kafka import KafkaException

from candles import DEFAULT_INTERVALS, parse_intervals
from comparison import Closing, compare_dead_letters, compare_klines, compare_redis, compare_tables, connect_mysql
from oracle import RESULTS, Settings
from topics import CannotRead, recompute_cached, watermarks

_PAUSE_SECONDS = 2


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description="Recomputes all candles from the input topics and compares them with "
                                                 "MySQL, the klines topics, the dead letters and Redis.")
    add = parser.add_argument
    add("--kafka", required=True, metavar="HOST:PORT")
    add("--topics", required=True, help="input topics, comma-separated")
    add("--intervals", default=",".join(DEFAULT_INTERVALS), help="default: %(default)s")
    add("--chains", default="1,56,8453,100000", help="chains that the job accepts; default: %(default)s")
    add("--env", default="demo", help="of the topics klines-<chain>-<env>; default: %(default)s")
    add("--mysql-host", help="compare the tables; without it they are not looked at")
    add("--mysql-port", type=int, default=3306)
    add("--mysql-user", default="klined")
    add("--mysql-password", default="")
    add("--mysql-database", default="klined")
    add("--redis", metavar="HOST:PORT[/DB]", help="compare the hashes")
    add("--redis-missing-ok", action="store_true", help="a hash that is not there is reported, but is no difference")
    add("--keep", type=int, default=300, help="candles of each Redis hash; default: %(default)s")
    add("--klines", action="store_true", help="compare the newest revisions on the klines topics")
    add("--dlq", action="store_true", help="compare the dead letters")
    add("--closed", action="store_true", help="compare the closed flags too, of a job that runs")
    add("--close-grace", type=int, default=2, metavar="SECONDS")
    add("--dedupe-window", type=int, default=600, metavar="SECONDS")
    add("--max-future", type=int, default=600, metavar="SECONDS")
    add("--max-lateness", type=int, default=7 * 86400, metavar="SECONDS")
    add("--wait", type=float, default=0, metavar="SECONDS", help="repeat until all is equal, at most this long")
    add("--cache", metavar="FILE", help="keep the recomputation here, for the same topics, offsets and settings")
    add("--ledger-json", metavar="FILE", help="write the expected counts per result here")
    add("--processes", type=int, help="default: as many as there are cores")
    return parser.parse_args(arguments)


def settings_of(options):
    return Settings(intervals=tuple(parse_intervals(options.intervals)),
                    chains=frozenset(int(chain) for chain in options.chains.split(",")),
                    dedupe_window=options.dedupe_window, max_future=options.max_future,
                    max_lateness=options.max_lateness)


def compare_all(options, settings, result):
    """The Areas that the options ask for."""
    closing = Closing(result.clocks, options.close_grace, time.time()) if options.closed else None
    areas = []
    if options.mysql_host:
        connection = connect_mysql(options.mysql_host, options.mysql_port, options.mysql_user, options.mysql_password,
                                   options.mysql_database)
        try:
            areas.append(compare_tables(connection, result, settings.intervals))
        finally:
            connection.close()
    if options.klines:
        areas.append(compare_klines(options.kafka, result, options.env, settings.chains, closing))
    if options.dlq:
        areas.append(compare_dead_letters(options.kafka, result, options.topics.split(",")))
    if options.redis:
        areas.append(compare_redis(options.redis, result, options.keep, options.redis_missing_ok, closing))
    return areas


def ledger_as_dict(result):
    return {"read": result.read, **{name: result.ledger[name] for name in RESULTS},
            "dead_letters": len(result.dead_letters), "candles": len(result.candles)}


def show(result, areas, seconds):
    counts = ", ".join(f"{name} {result.ledger[name]:,}" for name in RESULTS if result.ledger[name])
    print(f"recomputed {result.read:,} trades ({counts or 'none'}) into {len(result.candles):,} candles, "
          f"{len(result.dead_letters):,} dead letters in {seconds:.1f} s")
    for area in areas:
        print(area.summary())
        for detail in area.shown:
            print(f"  {detail}")
        if area.differ > len(area.shown):
            print(f"  ... and {area.differ - len(area.shown):,} more")
    sys.stdout.flush()


def verify(options):
    """Recomputes and compares, repeatedly where --wait asks for it. True where nothing differs."""
    settings = settings_of(options)
    topics = options.topics.split(",")
    deadline = time.monotonic() + options.wait
    marks = result = None
    while True:
        began = time.monotonic()
        marks_now = watermarks(options.kafka, topics)
        if marks_now != marks:
            result = recompute_cached(options.kafka, topics, settings, marks_now, options.cache, options.processes)
            marks = marks_now
        recomputed = time.monotonic()
        areas = compare_all(options, settings, result)
        equal = not any(area.differ for area in areas)
        if equal or time.monotonic() + _PAUSE_SECONDS > deadline:
            break
        time.sleep(_PAUSE_SECONDS)
    show(result, areas, recomputed - began)
    if options.ledger_json:
        with open(options.ledger_json, "w", encoding="utf-8") as file:
            json.dump(ledger_as_dict(result), file)
            file.write("\n")
    return equal


def main():
    options = parse_arguments()
    try:
        return 0 if verify(options) else 1
    except (CannotRead, KafkaException, pymysql.MySQLError, redis.RedisError, OSError, ValueError) as error:
        print(f"verify.py: could not compare: {error}", file=sys.stderr)
        return 2
    except Exception:  # A fault of the oracle must not look like a difference.
        traceback.print_exc()
        return 2


if __name__ == "__main__":
    sys.exit(main())
