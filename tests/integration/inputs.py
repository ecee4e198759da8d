"""Input for the end-to-end tests that is made of other input, or of a few trades at a given time."""

import json
import random
from typing import NamedTuple

from confluent_kafka import Producer

import harness  # noqa: F401  (it makes the oracle's modules known)
from generate import BROKER_LIMIT, Market, Record
from dirty_cases import text_of
from topics import read_partition, watermarks

_decoder = json.JSONDecoder()


class Sent(NamedTuple):
    """A message as a topic holds it."""

    partition: int
    key: bytes
    value: bytes
    timestamp_ms: int


def messages_of(kafka, topic):
    """All messages of a topic, partition by partition."""
    return [Sent(partition, record.key(), record.value(), record.timestamp()[1])
            for (_, partition), (first, end) in sorted(watermarks(kafka, [topic]).items())
            for record in read_partition(kafka, topic, partition, first, end)]


def send(kafka, topic, messages):
    """Sends each message to its partition, in order; all are acknowledged when it returns."""
    failures = []
    producer = Producer({"bootstrap.servers": kafka, "acks": "all", "max.in.flight.requests.per.connection": 1,
                         "message.max.bytes": BROKER_LIMIT, "linger.ms": 20})

    def delivered(error, _):
        if error is not None:
            failures.append(str(error))

    for message in messages:
        while True:
            try:
                producer.produce(topic, message.value, message.key, message.partition, timestamp=message.timestamp_ms,
                                 on_delivery=delivered)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    if producer.flush(120) or failures:
        raise RuntimeError(f"{topic}: not all was acknowledged: {failures[:3]}")


def trades_of(value):
    """[(block_time, text)] of a message: each trade's text as it was sent."""
    text = value.decode()
    trades, at = [], text.index("[") + 1
    while True:
        while text[at] in " ,\r\n\t":
            at += 1
        if text[at] == "]":
            return trades
        trade, end = _decoder.raw_decode(text, at)
        trades.append((trade["block_time"], text[at:end]))
        at = end


def shuffled_within_a_minute(messages, seed):
    """The same trades, of each partition those of one minute in random order, in messages of random length."""
    chance = random.Random(seed)
    minutes = {}
    for message in messages:
        for block_time, text in trades_of(message.value):
            minutes.setdefault((message.partition, block_time // 60), []).append((message.timestamp_ms, text))
    for (partition, _), trades in sorted(minutes.items()):
        chance.shuffle(trades)
        newest = max(timestamp_ms for timestamp_ms, _ in trades)
        begin = 0
        while begin < len(trades):
            some = trades[begin:begin + chance.randrange(1, 400)]
            begin += len(some)
            yield Sent(partition, b"shuffled", ("[" + ",".join(text for _, text in some) + "]").encode(), newest)


def twice(messages, seed):
    """Each message two times: the second some messages later, as a producer does that got no answer."""
    chance = random.Random(seed)
    waiting = []
    for message in messages:
        yield message
        waiting.append(message)
        if chance.random() < 0.2 or waiting[0].partition != message.partition:
            yield from waiting
            waiting = []
    yield from waiting


class Trader:
    """Good trades at the times that a test asks for."""

    def __init__(self, seed=1):
        self.market = Market(seed)
        self.slot = 400_000_000

    def batch(self, time, count=1, pairs=("PairA", "PairB"), **values):
        """A message of `count` trades of each pair at a unix time; other fields as raw JSON."""
        self.slot += 1
        trades = [self.market.trade(self.slot, int(time), pair_addr=f'"{pair}"', **values)
                  for pair in pairs for _ in range(count)]
        return Record(str(self.slot).encode(), ("[" + ", ".join(map(text_of, trades)) + "]").encode(), int(time * 1000))
