#!/usr/bin/python3
"""The independent recomputation: from what the topics hold to the ledger, the dead letters and all candles.

It shares nothing with the program that it judges, not even its way: a candle is not merged from parts, it is computed
from the slice of its pair's trades in chain order.

    recompute(messages, settings)     for messages in memory
    PartitionJudge, candles_of        the same in pieces, for whole topics (see topics.py)
    oracle.py FILE.jsonl --intervals 1m,1h [--ledger] [--dead-letters]
"""

import argparse
import json
import sys
import zlib
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple, Optional

from candles import DEFAULT_INTERVALS, Trade, candles_of_pair, decimal_as_double, parse_intervals
from message_text import BrokenStructure, NeedsCare, read_carefully, read_quickly
from trade_rules import Invalid, read_trade

RESULTS = ("applied", "ignored", "no_price", "duplicate", "invalid", "future", "late")
DEAD_RESULTS = ("invalid", "future", "late")
NO_TIMESTAMP = -1
LATEST_BLOCK_TIME = 253402300799  # 9999-12-31T23:59:59Z; what is later is always `future`.
SEEN_BEFORE_PRUNING = 2_000_000


@dataclass(frozen=True)
class Settings:
    intervals: tuple = DEFAULT_INTERVALS
    chains: frozenset = frozenset((1, 56, 8453, 100000))
    dedupe_window: int = 600  # Seconds, as are the next two.
    max_future: int = 600
    max_lateness: int = 7 * 86400


class Message(NamedTuple):
    topic: str
    partition: int
    offset: int
    timestamp_ms: int  # -1 where the record has none
    key: Optional[bytes]
    value: Optional[bytes]
    headers: Optional[list] = None  # (name, bytes)


class Place(NamedTuple):
    """The message that a record stands for."""
    partition: int
    offset: int
    indexes: Optional[list]  # of the record's elements in the message; None where it is the message
    attempt: int  # how often it was put back: 0 for the message itself

    def index_of(self, number):
        return number if self.indexes is None else self.indexes[number]


class PutBack(NamedTuple):
    """The last record of a dead letter that was put back."""
    attempt: int
    checksum: Optional[str]  # "<bytes>:<CRC-32>" of the letter's value; None where nobody noted it


class DeadLetter(NamedTuple):
    topic: str
    partition: int
    offset: int
    index: Optional[int]  # None for a whole message
    result: str
    value: bytes


@dataclass
class Recomputation:
    ledger: Counter = field(default_factory=Counter)  # result -> trades
    dead_letters: list = field(default_factory=list)
    candles: dict = field(default_factory=dict)  # (interval, chain, pair, candle_time) -> Candle
    clocks: dict = field(default_factory=dict)  # chain -> largest block_time of an applied trade

    @property
    def read(self):
        return sum(self.ledger.values())


def verdicts_of(values, timestamp_ms, settings):
    """What the message alone says of each of its trades: a result, or its Candidate as long as nothing speaks against
    it. Raises NeedsCare where the values are the quick reader's and it cannot tell."""
    latest_ms = LATEST_BLOCK_TIME * 1000
    if timestamp_ms != NO_TIMESTAMP:
        latest_ms = min(latest_ms, timestamp_ms + settings.max_future * 1000)
    verdicts = []
    for value in values:
        try:
            verdict = read_trade(value, settings.chains)
        except Invalid:
            verdict = "invalid"
        is_future = type(verdict) is not str and verdict.block_time * 1000 > latest_ms
        verdicts.append("future" if is_future else verdict)
    return verdicts


def judge_alone(raw, timestamp_ms, settings):
    """The verdicts_of a message, and what read_carefully gave where it had to be asked, else None. Raises
    BrokenStructure."""
    try:
        return verdicts_of(read_quickly(raw), timestamp_ms, settings), None
    except NeedsCare:
        spans = read_carefully(raw)
        return verdicts_of([value for value, _, _ in spans], timestamp_ms, settings), spans


class PartitionJudge:
    """Decides the result of every trade of one partition; its messages must come in the order of their offsets."""

    def __init__(self, topic, partition, settings, put_backs=None):
        """`put_backs`: {(partition, offset, index): PutBack} of the topic's letters that were put back; the index is
        None for a whole message."""
        self.topic = topic
        self.partition = partition
        self.settings = settings
        self.put_backs = put_backs or {}
        self.noted = {(partition, offset) for partition, offset, _ in self.put_backs}
        self.ledger = Counter()
        self.dead_letters = []
        self.applied = []  # (chain, pair, Trade); whoever reads it may clear it.
        self.clocks = {}  # chain -> the clock of this partition
        self.applied_clocks = {}
        self.seen = {}  # identity -> the clock when it was last seen
        self.prune_at = SEEN_BEFORE_PRUNING

    def judge(self, offset, timestamp_ms, value, headers=None):
        raw = value or b""
        place = self._place_of(offset, headers)
        try:
            verdicts, spans = judge_alone(raw, timestamp_ms, self.settings)
        except BrokenStructure:
            if self._is_superseded(place, None, raw):
                self._count("duplicate")
                return
            self._count("invalid")
            self.dead_letters.append(DeadLetter(self.topic, place.partition, place.offset, None, "invalid", raw))
            return
        if (place.partition, place.offset) in self.noted:
            spans = spans or read_carefully(raw)
            is_whole_superseded = self._is_superseded(place, None, raw)
            for number, (_, begin, end) in enumerate(spans):
                if is_whole_superseded or self._is_superseded(place, place.index_of(number), raw[begin:end]):
                    verdicts[number] = "duplicate"
        self._judge_late_and_duplicate(verdicts)
        for number, verdict in enumerate(verdicts):
            if type(verdict) is not str:
                self._apply(verdict, place, place.index_of(number))
                verdict = "applied"
            self.ledger[verdict] += 1
        if any(verdict in DEAD_RESULTS for verdict in verdicts if type(verdict) is str):
            self._bury(raw, spans, place, verdicts)

    def _place_of(self, offset, headers):
        """What the record stands for: itself, or where it is a dead letter that was put back, that one's place."""
        texts = {name: text.decode() for name, text in headers or ()}
        if "klined-origin" not in texts:
            return Place(self.partition, offset, None, 0)
        topic, partition, origin = texts["klined-origin"].rsplit("/", 2)
        if topic != self.topic:
            raise ValueError(f"{self.topic}/{self.partition} offset {offset} stands for a message of topic {topic}")
        indexes = texts.get("klined-indexes")
        return Place(int(partition), int(origin), indexes and [int(index) for index in indexes.split(",")],
                     int(texts.get("klined-attempt", 0)))

    def _is_superseded(self, place, index, text):
        """The last record that was put back stands for its place; those before it do not count. Unless the message at
        the place holds another text: then the note is of an earlier topic of that name."""
        last = self.put_backs.get((place.partition, place.offset, index), PutBack(0, None))
        if last.attempt <= place.attempt:
            return False
        return place.attempt > 0 or last.checksum in (None, f"{len(text)}:{zlib.crc32(text):08x}")

    def _count(self, result):
        self.ledger[result] += 1

    def _judge_late_and_duplicate(self, verdicts):
        candidates = [(index, verdict) for index, verdict in enumerate(verdicts) if type(verdict) is not str]
        for _, candidate in candidates:
            self.clocks[candidate.chain] = max(self.clocks.get(candidate.chain, 0), candidate.block_time)
        for index, candidate in candidates:
            clock = self.clocks[candidate.chain]
            if clock - candidate.block_time > self.settings.max_lateness:
                verdicts[index] = "late"
                continue
            last_seen = self.seen.get(candidate.identity)
            if last_seen is not None and clock - last_seen <= self.settings.dedupe_window:
                verdicts[index] = "duplicate"
            self.seen[candidate.identity] = clock
        if len(self.seen) > self.prune_at:
            self._forget()

    def _forget(self):
        """Drops what no later trade can be a duplicate of, since clocks never go back."""
        window = self.settings.dedupe_window
        self.seen = {identity: clock for identity, clock in self.seen.items()
                     if self.clocks[identity[0]] - clock <= window}
        self.prune_at = max(SEEN_BEFORE_PRUNING, 2 * len(self.seen))

    def _apply(self, candidate, place, index):
        self.applied.append((candidate.chain, candidate.pair, Trade(
            candidate.block_time, candidate.height, candidate.transaction_index, candidate.log_index,
            self.topic, place.partition, place.offset, index,
            candidate.is_buy, candidate.price, candidate.token_amount, candidate.total_usd,
            candidate.market_cap, candidate.pump_point, candidate.token_addr, candidate.clamped)))
        clock = self.applied_clocks.get(candidate.chain, 0)
        self.applied_clocks[candidate.chain] = max(clock, candidate.block_time)

    def _bury(self, raw, spans, place, verdicts):
        spans = spans or read_carefully(raw)
        if len(spans) != len(verdicts):
            raise AssertionError(f"the two readers disagree about {self.topic}/{place}")
        for number, (verdict, (_, begin, end)) in enumerate(zip(verdicts, spans)):
            if verdict in DEAD_RESULTS:
                self.dead_letters.append(DeadLetter(self.topic, place.partition, place.offset, place.index_of(number),
                                                    verdict, raw[begin:end]))


def merge_judged(judges):
    """Ledger, dead letters and clocks of partitions judged apart; the candles are still missing."""
    whole = Recomputation()
    for judge in judges:
        whole.ledger.update(judge.ledger)
        whole.dead_letters.extend(judge.dead_letters)
        for chain, clock in judge.applied_clocks.items():
            whole.clocks[chain] = max(whole.clocks.get(chain, 0), clock)
    return whole


def candles_of(applied, intervals):
    """The candles of applied trades (chain, pair, Trade), in any order: {(interval, chain, pair, candle_time): …}."""
    trades = defaultdict(list)
    for chain, pair, trade in applied:
        trades[chain, pair].append(trade)
    return {(interval, chain, pair, candle_time): candle
            for (chain, pair), of_pair in trades.items()
            for (interval, candle_time), candle in candles_of_pair(of_pair, intervals).items()}


def shard_of(pair, shards):
    return zlib.crc32(pair.encode()) % shards


def recompute(messages, settings=Settings(), put_backs=None):
    """Judges messages, each partition's in the order of its offsets, and computes all candles. `put_backs` as in
    PartitionJudge, of the one topic."""
    judges = {}
    for message in messages:
        place = (message.topic, message.partition)
        if place not in judges:
            judges[place] = PartitionJudge(*place, settings, put_backs)
        judges[place].judge(message.offset, message.timestamp_ms, message.value, message.headers)
    result = merge_judged(judges.values())
    result.candles = candles_of((trade for judge in judges.values() for trade in judge.applied), settings.intervals)
    return result


# ---- Files of JSON lines ---------------------------------------------------------------------------------------------


def message_of_line(line):
    """A line holds a batch or one trade; one trade is a batch of one."""
    stripped = line.strip(b" \t\r\n")
    if stripped.startswith(b"{"):
        wrapped = b"[" + stripped + b"]"
        try:
            if len(read_carefully(wrapped)) == 1:
                return wrapped
        except BrokenStructure:
            pass
    return stripped


def messages_of_file(path):
    """The lines of a JSONL file as messages of topic "", partition 0, without timestamps; empty lines are none."""
    with open(path, "rb") as lines:
        for number, line in enumerate(lines):
            if line.strip(b" \t\r\n"):
                yield Message("", 0, number, NO_TIMESTAMP, None, message_of_line(line))


def candle_as_kline(key, candle):
    """The candle under the field names of the published Kline, without `closed`."""
    interval, chain, pair, candle_time = key
    return {"chain_id": chain, "interval": interval, "pair_addr": pair, "candle_time": candle_time,
            **candle._asdict(), "amount_usd": decimal_as_double(candle.amount_usd),
            "volume_token": decimal_as_double(candle.volume_token)}


def main():
    parser = argparse.ArgumentParser(description="Recomputes candles from a file of JSON lines, each a trade or a "
                                                 "batch, and prints them as JSON lines with the field names of Kline.")
    parser.add_argument("file")
    parser.add_argument("--intervals", default=",".join(DEFAULT_INTERVALS), help="default: %(default)s")
    parser.add_argument("--ledger", action="store_true", help="print the counts per result instead")
    parser.add_argument("--dead-letters", action="store_true", help="print the dead letters instead")
    options = parser.parse_args()
    try:
        settings = Settings(intervals=tuple(parse_intervals(options.intervals)))
        result = recompute(messages_of_file(options.file), settings)
    except (OSError, ValueError) as error:
        print(f"oracle.py: {error}", file=sys.stderr)
        return 2
    if options.ledger:
        print(json.dumps({"read": result.read, **{name: result.ledger[name] for name in RESULTS}}))
    elif options.dead_letters:
        for letter in result.dead_letters:
            print(json.dumps({**letter._asdict(), "value": letter.value.decode("utf-8", "backslashreplace")}))
    else:
        for key in sorted(result.candles):
            print(json.dumps(candle_as_kline(key, result.candles[key])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
