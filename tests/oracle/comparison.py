"""Compares what the program stored, published and refused with the recomputation."""

import datetime
import struct
from typing import NamedTuple

import pymysql
import pymysql.cursors
import redis

import kline_wire
from candles import INTERVALS, bucket
from kline_wire import VALUE_NAMES
from topics import count_of, over_processes, read_partition, watermarks

SHOWN_DIFFERENCES = 20
CLOSED_SLACK_SECONDS = 3  # A candle is published as closed within this time of its end and grace.


class Area:
    """The outcome for one place where candles or dead letters are: counts, and the first differences in full."""

    def __init__(self, name):
        self.name = name
        self.compared = ""
        self.differ = 0
        self.shown = []
        self.note = ""

    def differs(self, detail):
        self.differ += 1
        if len(self.shown) < SHOWN_DIFFERENCES:
            self.shown.append(detail)

    def summary(self):
        return f"{self.name}: compared {self.compared}: {self.differ:,} differ{self.note}"


def describe(key):
    interval, chain, pair, candle_time = key
    try:
        shown = datetime.datetime.fromtimestamp(candle_time, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError):
        shown = "beyond the calendar"
    return f"{interval} candle of chain {chain} pair {pair} at {candle_time} ({shown})"


def _same(found, expected):
    """Bit for bit: 0.0 and -0.0 differ, and 1 is not 1.0."""
    if type(found) is float and type(expected) is float:
        return struct.pack("<d", found) == struct.pack("<d", expected)
    return type(found) is type(expected) and found == expected


def cell_differences(names, found, expected):
    """"name is …, expected …" of all cells that differ; empty where none does."""
    if found == expected and 0.0 not in found:
        return ""
    return "; ".join(f"{name} is {one!r}, expected {other!r}"
                     for name, one, other in zip(names, found, expected) if not _same(one, other))


class Closing(NamedTuple):
    """What `closed` must be, as far as the chain clocks and the wall clock tell."""

    clocks: dict  # chain -> largest applied block_time
    grace: int
    now: float

    def problem(self, key, closed):
        interval, chain, _, candle_time = key
        closes_at = bucket(interval, max(candle_time, 0))[1] + self.grace
        passed = closes_at <= self.clocks.get(chain, 0) or closes_at + CLOSED_SLACK_SECONDS <= self.now
        not_yet = closes_at > self.clocks.get(chain, 0) and closes_at > self.now
        if passed and not closed:
            return f"closed is False, expected True (its end and grace, {closes_at}, are over)"
        if not_yet and closed:
            return f"closed is True, expected False (its end and grace, {closes_at}, are to come)"
        return ""


# ---- MySQL -----------------------------------------------------------------------------------------------------------


def _units(text):
    """A DECIMAL(38,12) as it was sent, in units of 1e-12; None where it has not the 12 places that the column has."""
    whole, _, fraction = text.partition(".")
    return int(whole + fraction) if len(fraction) == 12 else None


_COLUMNS = (  # Column, how to read its text, field of Candle.
    ("open_at", int, "open_at"), ("close_at", int, "close_at"), ("o", float, "open"), ("h", float, "high"),
    ("l", float, "low"), ("c", float, "close"), ("v", _units, "amount_usd"), ("t", _units, "volume_token"),
    ("a", float, "avg_price"), ("count", int, "total_count"), ("buy_count", int, "buy_count"),
    ("sell_count", int, "sell_count"), ("mcap_o", float, "mcap_open"), ("mcap_h", float, "mcap_high"),
    ("mcap_l", float, "mcap_low"), ("mcap_c", float, "mcap_close"), ("mkt_cap", float, "mkt_cap"),
    ("pump_point", float, "pump_point"), ("token_addr", str, "token_addr"),
)
_NAMES = tuple(column for column, _, _ in _COLUMNS)
_SHOWN_NAMES = tuple(f"{column} (in 1e-12)" if read is _units else column for column, read, _ in _COLUMNS)
_READERS = tuple(read for _, read, _ in _COLUMNS)
_SELECTED = ", ".join(f"`{name}`" for name in ("chain_id", "pair_address", "candle_time", *_NAMES))


def table_of(interval):
    return "trade_kline_" + ("1mo" if interval == "1M" else interval)


def connect_mysql(host, port, user, password, database):
    """A connection that hands out every value as the text that the server sent."""
    return pymysql.connect(host=host, port=port, user=user, password=password, database=database, charset="utf8mb4",
                           conv={}, connect_timeout=15, read_timeout=600)


def _compare_table(connection, interval, candles, area):
    """Returns the number of rows of the table; `candles` are those of the interval, by (chain, pair, candle_time)."""
    rows, seen = 0, set()
    with connection.cursor(pymysql.cursors.SSCursor) as cursor:
        cursor.execute(f"SELECT {_SELECTED} FROM `{table_of(interval)}`")
        for row in cursor:
            rows += 1
            key = (int(row[0]), row[1], int(row[2]))
            seen.add(key)
            candle = candles.get(key)
            place = f"{table_of(interval)}: {describe((interval, *key))}"
            if candle is None:
                area.differs(f"{place}: the row is there, expected none (count {dict(zip(_NAMES, row[3:]))['count']})")
                continue
            if None in row:
                area.differs(f"{place}: the row holds NULL: {row}")
                continue
            found = tuple(read(text) for read, text in zip(_READERS, row[3:]))
            problem = cell_differences(_SHOWN_NAMES, found, tuple(getattr(candle, name) for _, _, name in _COLUMNS))
            if problem:
                area.differs(f"{place}: {problem}")
    for key in sorted(candles.keys() - seen):
        area.differs(f"{table_of(interval)}: {describe((interval, *key))}: the row is missing "
                     f"(count {candles[key].total_count})")
    return rows


def compare_tables(connection, result, intervals):
    """Every column of every row of every trade_kline_ table; tables of other intervals must be empty."""
    area = Area("MySQL tables")
    with connection.cursor() as cursor:
        cursor.execute("SHOW TABLES LIKE 'trade\\_kline\\_%'")
        tables = {row[0] for row in cursor.fetchall()}
    rows = 0
    for interval in intervals:
        candles = {key[1:]: candle for key, candle in result.candles.items() if key[0] == interval}
        if table_of(interval) not in tables:
            area.differs(f"{table_of(interval)}: no such table (expected {len(candles):,} rows)")
        else:
            rows += _compare_table(connection, interval, candles, area)
    for interval in set(INTERVALS) - set(intervals):
        if table_of(interval) in tables:
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT COUNT(*) FROM `{table_of(interval)}`")
                count = int(cursor.fetchone()[0])
            if count:
                area.differs(f"{table_of(interval)}: {count:,} rows, expected none: the interval is not configured")
    area.compared = f"{rows:,} candles, {rows * (3 + len(_COLUMNS)):,} cells"
    return area


# ---- Kafka: klines-<chain>-<env> -------------------------------------------------------------------------------------


class Newest(NamedTuple):
    """The newest revision of a candle among the messages read so far; of its revision, closed wins."""

    total_count: int
    closed: bool
    values: tuple
    conflict: str  # How two messages of this revision disagree, "" where they do not.

    def with_(self, other, place):
        if other.total_count != self.total_count:
            return max(self, other, key=lambda each: each.total_count)
        difference = cell_differences(VALUE_NAMES, other.values, self.values)
        return Newest(self.total_count, self.closed or other.closed, self.values,
                      self.conflict or other.conflict or (difference and f"{place}: {difference}"))


def _read_klines(kafka, topic, partition, first, end, chain):
    """The newest revision of each candle in a partition, what is wrong, and how many klines were read."""
    newest, problems, klines_read = {}, [], 0
    for record in read_partition(kafka, topic, partition, first, end):
        place = f"{topic}/{partition} offset {record.offset()}"
        try:
            klines = kline_wire.parse_klines(record.value() or b"")
        except ValueError as error:
            problems.append(f"{place}: {error}")
            continue
        if not klines.list:
            problems.append(f"{place}: a message without candles")
        for kline in klines.list:
            klines_read += 1
            key = kline_wire.key_of(kline)
            if record.key() != kline.pair_addr.encode():
                problems.append(f"{place}: key is {record.key()!r}, expected the pair {kline.pair_addr}")
            if kline.chain_id != chain:
                problems.append(f"{place}: {describe(key)}: the topic is of chain {chain}")
            known = newest.get(key)
            if known is None or kline.total_count >= known.total_count:
                one = Newest(kline.total_count, kline.closed, kline_wire.values(kline), "")
                newest[key] = known.with_(one, place) if known else one
    return newest, problems, klines_read


def _check_newest(key, known, candle, closing):
    """What is wrong with the newest revision of a candle, or ""."""
    problem = cell_differences(VALUE_NAMES, known.values, kline_wire.expected_values(key, candle))
    if not problem and known.conflict:
        problem = f"two messages of it disagree: {known.conflict}"
    if not problem and closing:
        problem = closing.problem(key, known.closed)
    return problem


def compare_klines(kafka, result, env, chains, closing=None):
    """The newest revision of every candle on the topics klines-<chain>-<env>."""
    area = Area("Kafka klines")
    chain_of_topic = {f"klines-{chain}-{env}": chain for chain in sorted(chains)}
    marks = watermarks(kafka, chain_of_topic, missing_ok=True)
    parts = [(kafka, topic, partition, first, end, chain_of_topic[topic])
             for (topic, partition), (first, end) in marks.items()]
    newest, klines_read = {}, 0
    for found, problems, read in over_processes(_read_klines, parts, count_of(marks)):
        klines_read += read
        for problem in problems:
            area.differs(problem)
        for key, known in found.items():
            if key in newest:
                area.differs(f"{describe(key)}: on more than one partition")
                known = newest[key].with_(known, "another partition")
            newest[key] = known
    for key, known in newest.items():
        place = f"klines-{key[1]}-{env}: {describe(key)}"
        candle = result.candles.get(key)
        if candle is None:
            area.differs(f"{place}: published (total_count {known.total_count}), expected none")
            continue
        problem = _check_newest(key, known, candle, closing)
        if problem:
            area.differs(f"{place}: newest revision: {problem}")
    for key in sorted(result.candles.keys() - newest.keys()):
        area.differs(f"klines-{key[1]}-{env}: {describe(key)}: never published")
    area.compared = f"{len(newest):,} candles (the newest of {klines_read:,} klines), " \
                    f"{len(newest) * len(VALUE_NAMES):,} fields"
    return area


# ---- Kafka: dead letters ---------------------------------------------------------------------------------------------


def _read_dead_letters(kafka, topic, partition, first, end):
    letters, problems, count = set(), [], 0
    for record in read_partition(kafka, topic, partition, first, end):
        headers = {name: (text or b"").decode("utf-8", "backslashreplace") for name, text in record.headers() or []}
        if "klined-retried" in headers:  # It only says that a letter was put back.
            continue
        count += 1
        value = record.value() or b""
        place = f"{topic}/{partition} offset {record.offset()}"
        # What only klined itself reads.
        for name in ("klined-tables", "klined-attempt"):
            headers.pop(name, None)
        # Of a record that stood for a part of another message: the same place once more.
        origin = headers.pop("klined-origin", None)
        if not {"error", "topic", "partition", "offset"} <= headers.keys() <= {"error", "topic", "partition", "offset",
                                                                                "index"}:
            problems.append(f"{place}: headers are {headers}, expected error, topic, partition, offset and index")
            continue
        if origin not in (None, "/".join(headers[name] for name in ("topic", "partition", "offset"))):
            problems.append(f"{place}: header klined-origin is '{origin}', the others are {headers}")
        result, colon, reason = headers["error"].partition(":")
        if not colon or not reason.strip():
            problems.append(f"{place}: header error is '{headers['error']}', expected '<result>: <reason>'")
        letters.add((headers["topic"], headers["partition"], headers["offset"], headers.get("index"), result, value))
    return letters, problems, count


def _describe_letter(letter):
    topic, partition, offset, index, result, value = letter
    shown = value if len(value) <= 300 else value[:200] + b" ... " + value[-80:]
    what = "the whole message" if index is None else f"trade {index}"
    return f"{topic}/{partition} offset {offset}, {what}: {result}, {len(value):,} bytes {shown!r}"


def compare_dead_letters(kafka, result, topics):
    """The set of dead letters on <topic>-dlq; each must be there at least once."""
    area = Area("dead letters")
    marks = watermarks(kafka, [f"{topic}-dlq" for topic in topics], missing_ok=True)
    parts = [(kafka, topic, partition, first, end) for (topic, partition), (first, end) in marks.items()]
    found, count = {}, 0
    for part, (letters, problems, read) in zip(parts, over_processes(_read_dead_letters, parts, count_of(marks))):
        count += read
        for problem in problems:
            area.differs(problem)
        for letter in letters:
            found[letter] = part[1]
    expected = {(letter.topic, str(letter.partition), str(letter.offset),
                 None if letter.index is None else str(letter.index), letter.result, letter.value)
                for letter in result.dead_letters}
    for letter in sorted(found.keys() - expected, key=repr):
        area.differs(f"{found[letter]}: expected no {_describe_letter(letter)}")
    for letter in sorted(expected - found.keys(), key=repr):
        area.differs(f"missing: {_describe_letter(letter)}")
    for letter in found.keys() & expected:
        if found[letter] != f"{letter[0]}-dlq":
            area.differs(f"on {found[letter]}, expected {letter[0]}-dlq: {_describe_letter(letter)}")
    area.compared = f"{len(expected):,} dead letters (found {len(found):,} in {count:,} messages)"
    return area


# ---- Redis -----------------------------------------------------------------------------------------------------------

_PIPELINE = 200


def _newest_by_series(candles, keep):
    """{(chain, pair, interval): times of its newest `keep` candles, ascending}."""
    series = {}
    for key in candles:
        interval, chain, pair, candle_time = key
        series.setdefault((chain, pair, interval), []).append(candle_time)
    return {name: sorted(times)[-keep:] for name, times in series.items()}


def _compare_hash(name, times, stored, result, closing, area):
    chain, pair, interval = name
    where = f"kline:{chain}:{pair}:{interval}"
    fields = {}
    for raw_time, value in stored.items():
        try:
            fields[int(raw_time)] = kline_wire.parse_kline(value)
        except ValueError as error:
            area.differs(f"{where}: field {raw_time!r}: {error}")
    for candle_time in sorted(fields.keys() - set(times)):
        area.differs(f"{where}: field {candle_time} is there, expected none "
                     f"(the newest {len(times)} begin at {times[0]})")
    for candle_time in times:
        key = (interval, chain, pair, candle_time)
        if candle_time not in fields:
            area.differs(f"{where}: {describe(key)} is missing")
            continue
        kline = fields[candle_time]
        problem = cell_differences(VALUE_NAMES, kline_wire.values(kline),
                                   kline_wire.expected_values(key, result.candles[key]))
        problem = problem or (closing.problem(key, kline.closed) if closing else "")
        if problem:
            area.differs(f"{where}: {describe(key)}: {problem}")
    return len(fields)


def compare_redis(address, result, keep, missing_ok=False, closing=None):
    """Each series' hash holds exactly its newest `keep` candles; `address` is HOST:PORT or HOST:PORT/DB."""
    area = Area("Redis hashes")
    host_port, _, database = address.partition("/")
    host, _, port = host_port.rpartition(":")
    client = redis.Redis(host=host, port=int(port), db=int(database or 0), socket_timeout=30)
    expected = _newest_by_series(result.candles, keep)
    names = sorted(expected)
    compared = missing = 0
    for begin in range(0, len(names), _PIPELINE):
        some = names[begin:begin + _PIPELINE]
        pipeline = client.pipeline(transaction=False)
        for chain, pair, interval in some:
            pipeline.hgetall(f"kline:{chain}:{pair}:{interval}")
            pipeline.ttl(f"kline:{chain}:{pair}:{interval}")
        answers = pipeline.execute()
        for name, stored, ttl in zip(some, answers[::2], answers[1::2]):
            where = "kline:{}:{}:{}".format(*name)
            if not stored:
                missing += 1
                if not missing_ok:
                    area.differs(f"{where}: no such key, expected {len(expected[name])} candles")
                continue
            if ttl < 0:
                area.differs(f"{where}: has no TTL")
            compared += _compare_hash(name, expected[name], stored, result, closing, area)
    known = {"kline:{}:{}:{}".format(*name).encode() for name in names}
    for key in client.scan_iter(match="kline:*", count=5000):
        if key not in known:
            area.differs(f"{key.decode('utf-8', 'backslashreplace')}: the key is there, expected none")
    area.compared = f"{len(names):,} hashes, {compared:,} candles, {compared * len(VALUE_NAMES):,} fields"
    area.note = f" ({missing:,} hashes missing)" if missing else ""
    return area
