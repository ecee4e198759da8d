// What the metrics tell of partitions that are read.
#pragma once

#include <cstdint>
#include <vector>

#include "klined/base/metrics.hpp"
#include "klined/source/hidden_records.hpp"
#include "klined/source/kafka_source.hpp"

namespace klined {

// klined_partition_lag and klined_hidden_records, and the log where records stay hidden. One thread.
class PartitionWatch {
 public:
  explicit PartitionWatch(Metrics& metrics) : metrics_(metrics) {}

  // Once a second or so. `next_offset`: what was taken in ends before it. `polled`: since the last look; who does not
  // poll, for want of room, sees an end that is none.
  void look(const KafkaSource& source, LogId log, const TopicPartition& partition, std::int64_t next_offset,
            bool polled, Instant now);
  // They are not read here any more: whoever has them next tells of them.
  void forget(const std::vector<TopicPartition>& partitions);

 private:
  Metrics& metrics_;
  HiddenRecords hidden_;
};

}  // namespace klined
