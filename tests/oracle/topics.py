"""Reading whole Kafka topics, and the recomputation from them over several processes.

Processes are spawned, so a script that calls into here needs `if __name__ == "__main__":`.
"""

import gc
import marshal
import multiprocessing
import os
import pickle
import tempfile
import time
import uuid
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from candles import Trade
from oracle import PartitionJudge, PutBack, candles_of, merge_judged, shard_of

SHARDS = 16  # Candles are computed from one part of the pairs at a time.
SPILL_AFTER = 200_000  # Trades that a process holds before it writes them to its shards.
STALLED_SECONDS = 60
_TIMEOUT = 15
# What a broker says that has just started, or was too busy for a moment to tell the controller that it lives.
_NO_LEADER = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)
_WORTH_A_PROCESS = 3000  # Records: fewer are read sooner than another process has started.
_TRADES_OF_A_RECORD = 10  # Roughly.


class CannotRead(Exception):
    """Kafka does not answer, or a topic is not there; says which."""


def _consumer(kafka):
    return Consumer({
        "bootstrap.servers": kafka, "group.id": f"klined-oracle-{uuid.uuid4()}", "enable.auto.commit": False,
        "enable.partition.eof": True, "auto.offset.reset": "error", "fetch.message.max.bytes": 16 << 20,
        "queued.max.messages.kbytes": 65536, "topic.metadata.refresh.interval.ms": 10000,
    })


def watermarks(kafka, topics, missing_ok=False):
    """{(topic, partition): (first offset, high watermark)} of all partitions. Raises CannotRead."""
    deadline = time.monotonic() + _TIMEOUT
    # A topic may be deleted between the look at what there is and the question for its ends.
    passing = (*_NO_LEADER, KafkaError.UNKNOWN_TOPIC_OR_PART) if missing_ok else _NO_LEADER
    while True:
        try:
            return _watermarks(kafka, topics, missing_ok)
        except KafkaException as error:
            if error.args[0].code() not in passing or time.monotonic() > deadline:
                raise CannotRead(f"Kafka at {kafka}: {error}") from None
            time.sleep(0.2)


def _watermarks(kafka, topics, missing_ok):
    consumer = _consumer(kafka)
    try:
        known = consumer.list_topics(timeout=_TIMEOUT).topics
        missing = [topic for topic in topics if topic not in known]
        if missing and not missing_ok:
            raise CannotRead(f"no topic {', '.join(missing)} on {kafka}")
        return {(topic, partition): consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_TIMEOUT)
                for topic in topics if topic in known for partition in sorted(known[topic].partitions)}
    finally:
        consumer.close()


def count_of(marks):
    """How many records lie between the watermarks."""
    return sum(end - first for first, end in marks.values())


def read_partition(kafka, topic, partition, first, end):
    """The records of [first, end) in order. Raises CannotRead where they do not come."""
    if first >= end:
        return
    consumer = _consumer(kafka)
    try:
        consumer.assign([TopicPartition(topic, partition, first)])
        moved_at = time.monotonic()
        while True:
            records = consumer.consume(num_messages=1000, timeout=0.2)
            for record in records:
                if record.error() is None:
                    if record.offset() < end:
                        yield record
                    if record.offset() >= end - 1:
                        return
                elif record.error().code() == KafkaError._PARTITION_EOF:
                    if record.offset() >= end:
                        return
                else:
                    raise CannotRead(f"{topic}/{partition}: {record.error()}")
            if records:
                moved_at = time.monotonic()
            elif time.monotonic() - moved_at > STALLED_SECONDS:
                raise CannotRead(f"{topic}/{partition}: nothing came for {STALLED_SECONDS} s before offset {end}")
    finally:
        consumer.close()


def over_processes(function, arguments, records, processes=None):
    """function(*arguments[i]) for all i, in processes of their own where there are many records; results in the order
    of the arguments."""
    if records < _WORTH_A_PROCESS:
        processes = 1
    processes = min(processes or os.cpu_count() or 2, len(arguments))
    if processes <= 1:
        return [function(*each) for each in arguments]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=spawn, initializer=gc.disable) as pool:
        return [future.result() for future in [pool.submit(function, *each) for each in arguments]]


def _spill(applied, folder, topic, partition):
    shards = defaultdict(list)
    for chain, pair, trade in applied:
        shards[shard_of(pair, SHARDS)].append((chain, pair, tuple(trade)))
    for shard, trades in shards.items():
        with open(os.path.join(folder, f"{shard}-{topic}-{partition}"), "ab") as file:
            marshal.dump(trades, file)
    applied.clear()


def put_backs_of(kafka, topic):
    """{(partition, offset, index): PutBack} of the topic's letters that were put back; index None: whole messages."""
    put_backs = {}
    for (notes, number), (first, end) in watermarks(kafka, [f"{topic}-put-back"], missing_ok=True).items():
        for record in read_partition(kafka, notes, number, first, end):
            place = record.key().decode()[len(topic) + 1:].split("/")
            key = (int(place[0]), int(place[1]), int(place[2]) if len(place) > 2 else None)
            checksum = dict(record.headers()).get("klined-checksum")
            note = PutBack(int(record.value()), checksum and checksum.decode())
            if key not in put_backs or note.attempt >= put_backs[key].attempt:
                put_backs[key] = note
    return put_backs


def _judge_partition(kafka, topic, partition, first, end, settings, folder, put_backs):
    judge = PartitionJudge(topic, partition, settings, put_backs)
    for record in read_partition(kafka, topic, partition, first, end):
        judge.judge(record.offset(), record.timestamp()[1], record.value(), record.headers())
        if len(judge.applied) >= SPILL_AFTER:
            _spill(judge.applied, folder, topic, partition)
    _spill(judge.applied, folder, topic, partition)
    judge.seen.clear()
    return judge


def _spilled(folder, shard):
    for name in os.listdir(folder):
        if name.split("-", 1)[0] != str(shard):
            continue
        path = os.path.join(folder, name)
        with open(path, "rb") as file:
            while file.tell() < os.path.getsize(path):
                for chain, pair, trade in marshal.load(file):
                    yield chain, pair, Trade._make(trade)


def _candles_of_shard(folder, shard, intervals):
    return candles_of(_spilled(folder, shard), intervals)


def recompute_topics(kafka, topics, settings, marks=None, processes=None):
    """The Recomputation of all that the topics hold now, or held at the watermarks given."""
    marks = marks or watermarks(kafka, topics)
    with tempfile.TemporaryDirectory(prefix="klined-oracle-") as folder:
        put_backs = {topic: put_backs_of(kafka, topic) for topic in topics}
        parts = [(kafka, topic, partition, first, end, settings, folder, put_backs[topic])
                 for (topic, partition), (first, end) in sorted(marks.items())]
        result = merge_judged(over_processes(_judge_partition, parts, count_of(marks), processes))
        shards = sorted({int(name.split("-", 1)[0]) for name in os.listdir(folder)})
        for candles in over_processes(_candles_of_shard, [(folder, shard, settings.intervals) for shard in shards],
                                      result.read // _TRADES_OF_A_RECORD, processes):
            result.candles.update(candles)
    return result


def recompute_cached(kafka, topics, settings, marks, cache=None, processes=None):
    """recompute_topics, unless the file `cache` holds it for the same topics, watermarks and settings."""
    question = (marks, settings)
    if cache and os.path.exists(cache):
        with open(cache, "rb") as file:
            if pickle.load(file) == question:
                return pickle.load(file)
    result = recompute_topics(kafka, topics, settings, marks, processes)
    if cache:
        with open(f"{cache}.new", "wb") as file:
            pickle.dump(question, file)
            pickle.dump(result, file)
        os.replace(f"{cache}.new", cache)
    return result
