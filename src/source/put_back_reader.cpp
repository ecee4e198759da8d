#include "klined/source/put_back_reader.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace klined {

namespace {

constexpr Milliseconds kTimeout{10'000};
constexpr Milliseconds kPatience{30'000};
constexpr Milliseconds kPoll{20};
constexpr std::size_t kPollMessages = 2000;
constexpr std::size_t kPollBytes = std::size_t{1} << 20U;

Result<std::vector<TopicPartition>> partitions_of(KafkaSource& source, const std::string& notes) {
  const Result<bool> is_there = source.exists(notes, kTimeout);
  if (!is_there) return std::unexpected(is_there.error());
  if (!*is_there) return std::vector<TopicPartition>();
  return source.partitions_of({notes}, kTimeout);
}

// The partitions that hold something, from their beginnings.
Result<std::vector<Assignment>> places_of(KafkaSource& source, const std::string& notes, const std::string& topic) {
  const auto partitions = partitions_of(source, notes);
  if (!partitions) return std::unexpected(partitions.error());
  std::vector<Assignment> places;
  for (const TopicPartition& partition : *partitions) {
    const Result<OffsetRange> range = source.range_of(partition, kTimeout);
    if (!range) return std::unexpected(range.error());
    if (range->low == range->high) continue;
    places.push_back({partition, LogId(0, static_cast<std::uint32_t>(partition.partition)), range->low, topic, 0});
  }
  return places;
}

Status read_to_end(KafkaSource& source, const std::vector<Assignment>& places, const std::string& notes,
                   PutBacks& put_backs) {
  const SystemClock clock;
  Instant moved_at = clock.now();
  while (!std::ranges::all_of(places, [&](const Assignment& place) { return source.at_end(place.log); })) {
    const Result<MessageBatch> batch = source.poll(kPoll, kPollMessages, kPollBytes);
    if (!batch) return std::unexpected(batch.error());
    for (const Message& message : batch->messages) {
      if (message.attempt() == 0) {
        return fatal(
            fmt::format("topic {} partition {} offset {} does not say with headers klined-origin and klined-attempt "
                        "what was put back: was it written by klined?",
                        notes, message.log.partition(), message.offset));
      }
      put_backs.add(*message.origin);
    }
    if (!batch->messages.empty()) moved_at = clock.now();
    if (clock.now() - moved_at > kPatience)
      return retry(fmt::format("topic {}: nothing came for {} s", notes, kPatience.count() / 1000));
  }
  return {};
}

}  // namespace

Result<std::shared_ptr<const PutBacks>> read_put_backs(KafkaSource& source, const std::string& notes,
                                                       const std::string& topic) {
  auto put_backs = std::make_shared<PutBacks>();
  const auto places = places_of(source, notes, topic);
  if (!places) return std::unexpected(places.error());
  if (places->empty()) return put_backs;
  if (Status assigned = source.assign(*places); !assigned) return std::unexpected(assigned.error());
  const Status read = read_to_end(source, *places, notes, *put_backs);
  const Status left = source.assign({});
  if (!read) return std::unexpected(read.error());
  if (!left) return std::unexpected(left.error());
  return put_backs;
}

Result<std::int64_t> count_put_backs(KafkaSource& source, const std::vector<std::string>& notes) {
  std::int64_t count = 0;
  for (const std::string& topic : notes) {
    const auto partitions = partitions_of(source, topic);
    if (!partitions) return std::unexpected(partitions.error());
    for (const TopicPartition& partition : *partitions) {
      const Result<OffsetRange> range = source.range_of(partition, kTimeout);
      if (!range) return std::unexpected(range.error());
      count += range->high;
    }
  }
  return count;
}

}  // namespace klined
