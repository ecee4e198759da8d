#include "klined/stream/partition_watch.hpp"

#include <algorithm>
#include <optional>

namespace klined {

void PartitionWatch::look(const KafkaSource& source, LogId log, const TopicPartition& partition,
                          std::int64_t next_offset, bool polled, Instant now) {
  const std::int64_t high = source.high_watermark(log);
  if (high < 0) return;
  const std::optional<std::int64_t> end = source.end_of(log);
  const std::int64_t next = std::max(next_offset, end.value_or(next_offset));
  metrics_.partition_lag(partition.topic, partition.partition)
      .Set(static_cast<double>(std::max<std::int64_t>(0, high - next)));
  metrics_.hidden_records(partition.topic, partition.partition)
      .Set(static_cast<double>(hidden_.note(partition, polled ? end : std::nullopt, high, now)));
}

void PartitionWatch::forget(const std::vector<TopicPartition>& partitions) {
  hidden_.forget();
  for (const TopicPartition& partition : partitions) {
    metrics_.partition_lag(partition.topic, partition.partition).Set(0);
    metrics_.hidden_records(partition.topic, partition.partition).Set(0);
  }
}

}  // namespace klined
