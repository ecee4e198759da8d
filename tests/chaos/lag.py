"""How far the commits are behind the input, in seconds."""

import threading
import time
from collections import deque

import pymysql
from confluent_kafka import Consumer, KafkaException, TopicPartition

_PERIOD = 1.0
_HISTORY_SECONDS = 3600


class Lag(threading.Thread):
    """Asks Kafka for the input's ends and MySQL for the stored offsets, once a second.

    The lag is the age of the newest ends that are wholly committed. It is unknown while Kafka or MySQL does not answer.
    """

    def __init__(self, site, topics):
        super().__init__(daemon=True, name="lag")
        self.site = site
        self.partitions = [TopicPartition(topic, number) for topic in topics for number in range(site.partitions)]
        self.known_ends = deque()  # (monotonic seconds, {(topic, partition): end})
        self.committed_until = None  # When the newest ends that are wholly committed were asked for.
        self.seen_at = None  # When all that is known here was asked for last.
        self.done = threading.Event()

    def run(self):
        consumer = Consumer({"bootstrap.servers": self.site.stack.kafka, "group.id": "soak-lag", "log_level": 2,
                             "enable.auto.commit": False})
        while not self.done.wait(_PERIOD):
            try:
                self._look(consumer)
            except (KafkaException, pymysql.MySQLError, OSError):
                continue  # A server is away; what is known grows old meanwhile.
        consumer.close()

    def _look(self, consumer):
        now = time.monotonic()
        ends = {(part.topic, part.partition): consumer.get_watermark_offsets(part, timeout=3)[1]
                for part in self.partitions}
        stored = self.stored()
        self.known_ends.append((now, ends))
        while self.known_ends[0][0] < now - _HISTORY_SECONDS:
            self.known_ends.popleft()
        for moment, known in reversed(self.known_ends):
            if all(stored.get(place, 0) >= end for place, end in known.items()):
                self.committed_until = moment
                break
        self.seen_at = now

    def stored(self):
        """{(topic, partition): the smallest next_offset of its lanes}."""
        return {(topic, int(partition)): int(offset) for topic, partition, offset in self.site.rows(
            "SELECT topic, partition_id, MIN(next_offset) FROM stream_offset WHERE consumer_group = %s "
            "GROUP BY topic, partition_id", self.site.group)}

    def seconds(self):
        """The lag now, or None where it is not known."""
        if self.committed_until is None or time.monotonic() - self.seen_at > 5 * _PERIOD:
            return None
        return self.seen_at - self.committed_until

    def is_back(self, since, seconds_max):
        """All that was there at `since` is committed, and the lag is no larger than that."""
        lag = self.seconds()
        return lag is not None and lag <= seconds_max and self.committed_until >= since

    def is_drained(self):
        """All of the input as it was at the last look is committed, and that look is recent."""
        return self.seconds() == 0
