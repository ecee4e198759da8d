"""Records as `klined route` writes them, made by a few lines of Python that share nothing with it."""

import harness  # noqa: F401  (it makes the oracle's modules known)
from confluent_kafka import Producer

from generate import BROKER_LIMIT, create_topic
from message_text import BrokenStructure, read_carefully
from oracle import PartitionJudge, judge_alone
from topics import read_partition, watermarks

_PER_TRANSACTION = 40  # Messages of the input.


class _Splitter(PartitionJudge):
    """One partition's messages to the records that hold their trades, by pair."""

    def split(self, offset, timestamp_ms, raw):
        """[(key, value, headers)]"""
        headers = [("klined-origin", f"{self.topic}/{self.partition}/{offset}")]
        place = f"{self.partition}-{offset}"
        try:
            verdicts, spans = judge_alone(raw, timestamp_ms, self.settings)
        except BrokenStructure:
            return [(place, raw, headers + self._clocks_header())]
        self._judge_late_and_duplicate(list(verdicts))
        parts = {}
        for index, (verdict, (_, begin, end)) in enumerate(zip(verdicts, spans or read_carefully(raw))):
            if type(verdict) is str and verdict in ("ignored", "no_price"):
                continue
            key = (None, place) if type(verdict) is str else (verdict.chain, verdict.pair)
            parts.setdefault(key, []).append((index, raw[begin:end]))
        return [(key, b"[" + b",".join(text for _, text in elements) + b"]",
                 headers + [("klined-indexes", ",".join(str(index) for index, _ in elements))] + self._clocks_header())
                for (_, key), elements in parts.items()]

    def _clocks_header(self):
        return [("klined-clocks", ",".join(f"{chain}:{time}" for chain, time in sorted(self.clocks.items())))]


def route(kafka, topic, settings, partitions=4, aborted=True, make=True):
    """Writes <topic>-by-pair, which it makes where `make`, from all that the topic holds, in transactions, and where
    `aborted` with an aborted one after each. The routed topic's name."""
    routed = f"{topic}-by-pair"
    if make:
        create_topic(kafka, routed, partitions)
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": f"router-of-{topic}", "linger.ms": 5,
                         "message.max.bytes": BROKER_LIMIT, "partitioner": "murmur2_random"})
    producer.init_transactions(30)

    def commit(records):
        producer.begin_transaction()
        for key, value, headers, timestamp_ms in records:
            while True:
                try:
                    producer.produce(routed, value, key, timestamp=timestamp_ms, headers=headers)
                    break
                except BufferError:
                    producer.poll(0.1)
        producer.commit_transaction(60)
        if aborted:
            producer.begin_transaction()
            for key, value, headers, timestamp_ms in records[:5]:
                producer.produce(routed, value, key, timestamp=timestamp_ms, headers=headers[1:])
            producer.flush(30)
            producer.abort_transaction(60)

    # The partitions take turns, as they would with a router that reads all of them.
    readers = {}
    for (_, partition), (first, end) in sorted(watermarks(kafka, [topic]).items()):
        readers[partition] = (_Splitter(topic, partition, settings),
                              read_partition(kafka, topic, partition, first, end))
    while readers:
        for partition, (splitter, messages) in list(readers.items()):
            records = []
            for message in messages:
                timestamp_ms = message.timestamp()[1]
                records += [(*record, timestamp_ms) for record in
                            splitter.split(message.offset(), timestamp_ms, message.value() or b"")]
                splitter.seen.clear()
                if len(records) >= _PER_TRANSACTION:
                    break
            else:
                del readers[partition]
            if records:
                commit(records)
    return routed
