#!/usr/bin/python3
"""Writes test input, the same for the same seed: to a Kafka topic, or to a file of JSON lines.

    generate.py dirty --seed 7 --kafka 127.0.0.1:9092 --topic sol-trades --create 3
    generate.py edges --seed 7 --jsonl edges.jsonl

dirty: each line of the contract's fine print (dirty_cases.py), among good trades; stamps, late trades, duplicates,
       ties, clamped trades; messages of 10 MiB.
edges: trades on and around the bucket edges of all intervals.
Records carry their event time as timestamp, so a topic made by others needs `retention.ms=-1`.
"""

import argparse
import datetime
import random
import sys
from typing import NamedTuple, Optional

from candles import INTERVALS, bucket
from dirty_cases import GO_NAMES, TRADE_CASES, broken_messages, changed, odd_messages, renamed, text_of, value_of

BROKER_LIMIT = 10 * 1024 * 1024
BIGGEST_VALUE = BROKER_LIMIT - 2048  # Leaves room for the batch, the key, and the headers of a dead letter.
DAY = 86400
_DEFAULT_START = 1_700_000_000  # 2023-11-14T22:13:20Z


class Record(NamedTuple):
    key: bytes  # The slot: it decides the partition.
    value: Optional[bytes]
    timestamp_ms: int


class Market:
    """Good trades of some pairs of a chain; each is a list of (raw key, raw value)."""

    PAIRS = ("7xKXtg2CW87d97TXJSDpbD5jBkheTqA83TZRuJosgAsU", "7xkxtg2cw87d97txjsdpbd5jbkhetqa83tzrujosgasu", "SOLpair",
             "solPAIR", "0xdAC17F958D2ee523a2206206994597C13D831ec7", "P" * 64, "~!/x'\\\"%_:")

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.trades_made = 0

    def trade(self, slot, time, /, **values):
        chance = self.random
        self.trades_made += 1
        price = chance.choice((f"{chance.uniform(1e-9, 1e-3):.17g}", f"{chance.lognormvariate(0, 3):.17g}", "1.5e-07"))
        pair = chance.choice(self.PAIRS).replace("\\", "\\\\").replace('"', '\\"')
        trade = [
            ("slot", str(slot)), ("transaction_index", str(chance.randrange(4))),
            ("log_index", str(chance.randrange(3))), ("block_time", str(time)), ("chain_id_int", "100000"),
            ("pair_addr", f'"{pair}"'),
            ("tx_hash", f'"tx{self.trades_made}"'), ("maker", f'"maker{chance.randrange(50)}"'),
            ("type", chance.choice(('"buy"', '"sell"'))),
            ("token_amount", f'"{chance.uniform(0, 1e6):.{chance.randrange(15)}f}"'),
            ("base_token_amount", f"{chance.uniform(0, 10):.9f}"), ("token_price_usd", price),
            ("base_token_price_usd", "171.25"), ("total_usd", f"{chance.uniform(0, 5e3):.{chance.randrange(18)}f}"),
            ("mcap", chance.choice(("0", f"{chance.uniform(1e3, 1e8):.17g}"))),
            ("fdv", f"{chance.uniform(1e3, 1e8):.17g}"),
            ("pump_point", f"{chance.random():.4f}"), ("clamp", chance.choice(("false", "false", "false", "true"))),
            ("pair_info", f'{{"token_addr": "token{chance.randrange(3)}", "name": "x"}}'), ("swap_name", '"Raydium"'),
            ("create_time", '"2024-01-01T00:00:00.123456789Z"'),
            *((f"unused_{number}", f'"{number:x}"' if number % 2 else str(number)) for number in range(22))]
        return changed([(f'"{key}"', value) for key, value in trade], **values)


def _batch(trades):
    return ("[" + ", ".join(text_of(trade) for trade in trades) + "]").encode()


class Dirty:
    """The dirty input as a list of records, in the order in which they are to be sent."""

    def __init__(self, seed, start):
        self.market = Market(seed)
        self.random = random.Random(seed + 1)
        self.time = start
        self.slot = 300_000_000
        self.records = []

    def good(self, count, **values):
        return [self.market.trade(self.slot, self.time, **values) for _ in range(count)]

    def send(self, value, key=None, timestamp_ms=None):
        self.records.append(Record(str(key or self.slot).encode(), value,
                                   timestamp_ms or self.time * 1000 + self.random.randrange(1000)))

    def step(self):
        self.slot += 1
        self.time += self.random.randrange(3)

    def odd_trades(self, rounds):
        """Every case of the catalogue once a round, in messages with good trades around it, in random order."""
        for _ in range(rounds):
            cases = list(TRADE_CASES)
            self.random.shuffle(cases)
            while cases:
                self.step()
                trades = self.good(self.random.randrange(1, 12))
                for _ in range(min(len(cases), self.random.randrange(1, 8))):
                    trades.insert(self.random.randrange(len(trades) + 1), cases.pop()(self.good(1)[0]))
                self.send(_batch(trades))

    def odd_messages(self):
        for make in (broken_messages, odd_messages):
            for position in range(len(make([text_of(trade) for trade in self.good(3)]))):
                self.step()
                self.send(make([text_of(trade) for trade in self.good(3)])[position])
        self.send(None)

    def stamps(self):
        """Trades at, just before and just after max_future, by the record's own timestamp in milliseconds."""
        for ahead_ms in (599_999, 600_000, 600_001, 601_000, 86_400_000, 0, -1000):
            self.step()
            good = self.good(2)
            early = self.market.trade(self.slot, self.time, tx_hash=f'"future{ahead_ms}"')
            self.send(_batch([good[0], early, good[1]]), timestamp_ms=self.time * 1000 - ahead_ms)

    def late(self):
        """Around max_lateness on a chain and a partition of their own, so that nothing else moves the clock."""
        week, base = 7 * DAY, self.time
        moves = (
            [0], [-week], [-week - 1], [-week + 5, 10, -week + 9, -week + 10], [-week + 9], [20],
            [15, -week + 20, -week + 19], [-week + 19], [-week + 19], [21, -week + 20], [10 * DAY], [3 * DAY],
            [3 * DAY - 1], [3 * DAY - 1, 10 * DAY + 1])
        for move in moves:
            self.slot += 1
            trades = [self.market.trade(self.slot, base + offset, chain_id_int="8453") for offset in move]
            self.send(_batch(trades), key="310000000", timestamp_ms=(base + 10 * DAY) * 1000)

    def duplicates(self):
        """Sent again in and out of the window, on a chain and a partition of their own; every text changed a little."""
        base, key = self.time, "310000001"
        original = self.market.trade(self.slot, base, chain_id_int="56", token_amount='"1.50"',
                                     base_token_amount="null", token_price_usd="2.5", tx_hash='"again"')

        def send(at, *trades):
            clock = self.market.trade(self.slot, base + at, chain_id_int="56")
            self.send(_batch([clock, *trades]), key=key, timestamp_ms=(base + at) * 1000)

        send(0, original, original)
        send(1, changed(original, create_time='"2025-05-05T05:05:05Z"', maker='"other"', total_usd="99"))
        send(2, renamed(original, GO_NAMES), changed(original, token_amount="1.50", token_price_usd='"2.5"'))
        send(3, *(changed(original, **{name: value}) for name, value in (
            ("token_amount", "1.5"), ("token_amount", "15e-1"), ("base_token_amount", "0"), ("token_price_usd", "2.50"),
            ("tx_hash", '"Again"'), ("transaction_index", "9"), ("log_index", "9"), ("pair_addr", '"OtherPair"'),
            ("chain_id_int", "1"), ("type", '"add"'))))
        send(3, changed(original, tx_hash='""', hash_id='"again"'), changed(original, tx_hash='"aga\\u0069n"'))
        send(4, changed(original, transaction_index=None, log_index="null"))
        send(5, changed(original, transaction_index="-0", log_index='"0"'), changed(original, slot="99"))
        for at in (600, 1199, 1799, 2399, 3000, 3000, 3601, 4202, 4802):  # In, in, in, in, out by a second …
            send(at, original)
        send(5402, changed(original, block_time=str(base + 6000)))  # Its own message moves the clock out of the window.
        send(5403, original)

    def ties(self):
        """The same chain position in one message, in several messages and on several partitions."""
        for clamp in ("false", "true", None):
            self.time += 60
            for _ in range(12):
                self.slot += 1
                self.send(_batch([self.market.trade(
                    0, self.time, slot="305000000", transaction_index="1", log_index="1", clamp=clamp,
                    pair_addr='"TiedPair"') for _ in range(4)]))

    def clamps(self):
        """Candles of clamped trades alone, and mixed with the unclamped first, last and in the middle."""
        for pattern in ("C", "CC", "CUC", "UCC", "CCU", "UUC", "CUUC", "CCCC"):
            self.time += 60
            for letter in pattern:
                self.step()
                self.send(_batch(self.good(1, clamp="true" if letter == "C" else "false", pair_addr='"ClampedPair"')))

    def biggest(self):
        """10 MiB of one trade's unused field, 10 MiB of trades, and 10 MiB that break off in the last byte."""
        self.step()
        one = _batch(self.good(3))
        self.send(one[:-2] + b', "padding": "' + b"x" * (BIGGEST_VALUE - len(one) - 15) + b'"}]')
        self.step()
        trades = []
        size = 2
        while True:
            text = text_of(self.good(1)[0]).encode()
            if size + len(text) + 1 > BIGGEST_VALUE:
                break
            trades.append(text)
            size += len(text) + 1
        self.send(b"[" + b",".join(trades) + b" " * (BIGGEST_VALUE - size + 1) + b"]")
        self.step()
        self.send(self.records[-1].value[:-1] + b"}")

    def far_future(self):
        """Without record timestamps the clock follows, and all behind it is late: so this is sent last."""
        self.step()
        self.send(_batch([*self.good(1, block_time=str(self.time + 8 * DAY), type='"add"'),
                          *self.good(1, block_time="9223372036854775807"), *self.good(1)]))
        self.send(_batch(self.good(2)))

    def all(self, rounds):
        for part in (self.clamps, self.ties, lambda: self.odd_trades(rounds), self.odd_messages, self.stamps,
                     self.duplicates, self.biggest, self.late, self.far_future):
            self.step()
            part()
        return self.records


# ---- Edges -----------------------------------------------------------------------------------------------------------


def _unix(*date):
    return int(datetime.datetime(*date, tzinfo=datetime.timezone.utc).timestamp())


_PAST = tuple(_unix(*date) for date in (
    (1970, 1, 1), (1970, 1, 5), (1972, 2, 29), (1999, 12, 31), (2000, 2, 29), (2004, 12, 31), (2018, 12, 31),
    (2019, 1, 1), (2020, 2, 29), (2021, 1, 31), (2021, 3, 28), (2023, 2, 28), (2023, 4, 30), (2023, 12, 31),
    (2024, 1, 1), (2024, 2, 28), (2024, 2, 29), (2024, 12, 30)))
_FAR = tuple(_unix(*date) for date in ((2038, 1, 19), (2100, 2, 28), (2400, 2, 29), (9999, 12, 31)))


_NEAR = {"1s": 5, "1m": 300, "3m": 900, "5m": 1800, "15m": 3600, "30m": 7200}  # Short intervals need few edges.


def edge_times(far=False):
    """Each bucket edge near the dates above, with the second before and after it; ascending."""
    edges = set()
    for day in _PAST + (_FAR if far else ()):
        for interval in INTERVALS:
            time = max(0, day - DAY)
            begin, end = bucket(interval, time)
            while begin < day + 3 * DAY:
                if abs(begin - day) <= _NEAR.get(interval, 3 * DAY):
                    edges.update((begin, end))
                begin, end = bucket(interval, end)
    return sorted({time + step for time in edges for step in (-1, 0, 1) if time + step >= 0})


def edges(seed, far=False):
    """Trades at all edge times, a message each, in random order inside a message."""
    market, records = Market(seed), []
    for number, time in enumerate(edge_times(far), 1):
        trades = [market.trade(number, time, pair_addr=f'"EdgePair{pair}"') for pair in range(2) for _ in range(2)]
        market.random.shuffle(trades)
        records.append(Record(value_of(trades[0], "slot").encode(), _batch(trades), max(1, time * 1000)))
    return records


# ---- Writers ---------------------------------------------------------------------------------------------------------


def write_jsonl(path, records):
    """One record a line; those that hold a line feed, or nothing, cannot stand in a line and are left out."""
    fitting = [record for record in records if record.value and b"\n" not in record.value]
    with open(path, "wb") as file:
        for record in fitting:
            file.write(record.value + b"\n")
    return len(fitting)


def create_topic(kafka, topic, partitions):
    """Makes a topic that keeps records of any age and of 10 MiB."""
    from confluent_kafka.admin import AdminClient, NewTopic
    new = NewTopic(topic, partitions, 1, config={"retention.ms": "-1", "max.message.bytes": str(BROKER_LIMIT)})
    admin = AdminClient({"bootstrap.servers": kafka, "log_level": 4})  # Held until the answer is there: without it there is none.
    for made in admin.create_topics([new]).values():
        made.result(30)


def produce(kafka, topic, records):
    """Sends all records in order, keyed as the Java client would; raises RuntimeError where one is not acknowledged."""
    from confluent_kafka import Producer
    failures = []
    producer = Producer({"bootstrap.servers": kafka, "acks": "all", "max.in.flight.requests.per.connection": 1,
                         "message.max.bytes": BROKER_LIMIT, "partitioner": "murmur2_random", "linger.ms": 20})

    def delivered(error, message):
        if error is not None:
            failures.append(f"{topic}, key {message.key()!r}, {len(message.value() or b''):,} bytes: {error}")

    for record in records:
        while True:
            try:
                producer.produce(topic, record.value, record.key, timestamp=record.timestamp_ms, on_delivery=delivered)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    if producer.flush(120):
        failures.append(f"{topic}: not all was acknowledged within 120 s")
    if failures:
        raise RuntimeError("; ".join(failures[:5]))
    return len(records)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("kind", choices=("dirty", "edges"))
    add("--seed", type=int, default=1)
    add("--rounds", type=int, default=1, help="dirty: how often the catalogue of trades is gone through")
    add("--start", type=int, default=_DEFAULT_START, help="dirty: unix time of the first trade; default: %(default)s")
    add("--far", action="store_true", help="edges: up to the year 9999 (a broker refuses stamps ahead of its clock)")
    add("--jsonl", metavar="FILE")
    add("--kafka", metavar="HOST:PORT")
    add("--topic")
    add("--create", type=int, metavar="PARTITIONS", help="make the topic first")
    options = parser.parse_args()
    if not options.jsonl and not (options.kafka and options.topic):
        parser.error("say where to: --jsonl FILE, or --kafka HOST:PORT --topic TOPIC")
    records = (edges(options.seed, options.far) if options.kind == "edges" else
               Dirty(options.seed, options.start).all(options.rounds))
    if options.jsonl:
        print(f"wrote {write_jsonl(options.jsonl, records):,} of {len(records):,} records to {options.jsonl}")
    else:
        if options.create:
            create_topic(options.kafka, options.topic, options.create)
        print(f"sent {produce(options.kafka, options.topic, records):,} records to {options.topic}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
