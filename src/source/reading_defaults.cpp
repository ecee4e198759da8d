#include "reading_defaults.hpp"

namespace klined {

KafkaProperties reading_defaults() {
  KafkaProperties properties = {
      // The offsets are klined's own: a log that lacks them is an error, never a jump.
      {"auto.offset.reset", "error"},
      {"enable.auto.commit", "false"},
      {"enable.auto.offset.store", "false"},
      {"enable.partition.eof", "true"},
      {"isolation.level", "read_committed"},
      {"check.crcs", "true"},
      {"client.id", "klined"},
      {"group.id", "klined"},
      // Small waits: a trade is late by each of them.
      {"fetch.wait.max.ms", "20"},
      {"fetch.error.backoff.ms", "50"},
      // A message of 10 MiB passes (the broker sends at least one whole batch, whatever the limits say). The job's own
      // figures follow its memory_limit (see consumer_properties).
      {"fetch.message.max.bytes", "4194304"},
      {"fetch.max.bytes", "16777216"},
      {"message.max.bytes", "16777216"},
      {"receive.message.max.bytes", "67108864"},
      // The read-ahead is bounded by bytes alone, and is the same for any number of partitions.
      {"queued.min.messages", "10000000"},
      {"queued.max.messages.kbytes", "65536"},
      // Back within seconds after a broker's restart.
      {"reconnect.backoff.ms", "50"},
      {"reconnect.backoff.max.ms", "1000"},
      {"socket.keepalive.enable", "true"},
      {"log.connection.close", "false"},
      {"topic.metadata.refresh.fast.interval.ms", "100"},
  };
  // A full read-ahead stops the fetching for a second; newer libraries let that be set, older ones are woken up by any
  // answer of the broker. A queue must last for as long.
  if (rd_kafka_version() >= 0x02020000) {
    properties["fetch.queue.backoff.ms"] = "20";
  } else {
    properties["topic.metadata.refresh.interval.ms"] = "200";
  }
  return properties;
}

}  // namespace klined
