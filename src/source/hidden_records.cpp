#include "klined/source/hidden_records.hpp"

#include <chrono>

#include <spdlog/spdlog.h>

namespace klined {

namespace {

std::int64_t seconds_of(Instant::duration duration) {
  return std::chrono::duration_cast<std::chrono::seconds>(duration).count();
}

}  // namespace

std::int64_t HiddenRecords::note(const TopicPartition& partition, std::optional<std::int64_t> end, std::int64_t high,
                                 Instant now) {
  const auto known = ends_.find(partition);
  const bool was_told = known != ends_.end() && known->second.told;
  const std::int64_t hidden = end && high > *end ? high - *end : 0;
  if (known != ends_.end() && (hidden == 0 || known->second.offset != *end)) {
    if (was_told) {
      spdlog::info("topic {} partition {}: reading goes on behind offset {}, where it stood for {} s", partition.topic,
                   partition.partition, known->second.offset, seconds_of(now - known->second.since));
    }
    ends_.erase(known);
  }
  if (hidden == 0) return 0;
  End& stand = ends_.try_emplace(partition, End{*end, now}).first->second;
  if (!stand.told && now - stand.since >= kPatience) {
    stand.told = true;
    spdlog::error(
        "topic {} partition {}: {} records from offset {} on can't be read for {} s now: a transaction of who writes "
        "them has begun there and is not ended, neither by its writer nor by the brokers. Their candles are missing "
        "until it is. Find it with `kafka-transactions.sh --bootstrap-server … find-hanging --topic {} --partition "
        "{}`, and end it with `… abort --topic {} --partition {} --start-offset {}`",
        partition.topic, partition.partition, hidden, *end, seconds_of(now - stand.since), partition.topic,
        partition.partition, partition.topic, partition.partition, *end);
  }
  return hidden;
}

bool HiddenRecords::is_stuck(const TopicPartition& partition) const {
  const auto known = ends_.find(partition);
  return known != ends_.end() && known->second.told;
}

}  // namespace klined
