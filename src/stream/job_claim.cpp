// How a session takes its partitions over, and where it begins to read them.
#include <algorithm>
#include <random>

#include <spdlog/spdlog.h>

#include "klined/base/assertion.hpp"
#include "klined/stream/connections.hpp"
#include "klined/stream/job.hpp"

namespace klined {

namespace {

constexpr Milliseconds kKafkaTimeout{10'000};

}  // namespace

// The row of the partition's lane that is the furthest behind. What lies before its dedupe window is of no use to any
// lane.
const LaneOffset& Job::earliest_row(const Claim& claim, const TopicPartition& partition) {
  const LaneOffset* earliest = nullptr;
  for (const LaneOffset& row : claim.offsets) {
    if (row.topic != partition.topic || row.partition != partition.partition) continue;
    if (earliest == nullptr ||
        std::pair(row.next_offset, row.window_offset) < std::pair(earliest->next_offset, earliest->window_offset)) {
      earliest = &row;
    }
  }
  KLINED_ASSERT(earliest != nullptr, "a claimed partition has rows");
  return *earliest;
}

// Where partitions without rows begin. A partition that joins a topic whose other partitions have rows begins at its
// beginning, whatever `start` says: all that it holds came after the topic was taken on.
Result<std::vector<PartitionStart>> Job::starts_of(KafkaSource& source, const std::vector<LaneOffset>& stored,
                                                   const std::vector<TopicPartition>& partitions) {
  std::vector<PartitionStart> starts;
  for (const TopicPartition& partition : partitions) {
    PartitionStart start{partition.topic, partition.partition, 0};
    const auto is_row = [&partition](const LaneOffset& row) {
      return row.topic == partition.topic && row.partition == partition.partition;
    };
    if (std::ranges::none_of(stored, is_row)) {
      const bool joins = std::ranges::find(stored, partition.topic, &LaneOffset::topic) != stored.end();
      const Result<OffsetRange> range = source.range_of(partition, kKafkaTimeout);
      if (!range) return std::unexpected(range.error());
      start.offset = range->low;
      if (!joins && config_.input.start.kind == StartAt::Kind::kLatest) start.offset = range->high;
      if (!joins && config_.input.start.kind == StartAt::Kind::kTime) {
        const Result<std::int64_t> at = source.offset_at(partition, config_.input.start.time, kKafkaTimeout);
        if (!at) return std::unexpected(at.error());
        start.offset = *at;
      }
    }
    starts.push_back(start);
  }
  return starts;
}

Result<Claim> Job::claim(KafkaSource& source, CandleStore& store, const std::vector<TopicPartition>& partitions) {
  CandleReader reader(mysql_options(config_));
  const Result<std::vector<StoredLaneOffset>> rows = reader.offsets(config_.group);
  if (!rows) return std::unexpected(rows.error());
  std::vector<LaneOffset> stored;
  for (const StoredLaneOffset& row : *rows) stored.push_back(row.offset);
  Result<std::vector<PartitionStart>> starts = starts_of(source, stored, partitions);
  if (!starts) return std::unexpected(starts.error());
  ClaimRequest request;
  request.group = config_.group;
  std::random_device random;  // a new owner for each claim: fits a BIGINT, and is never 0
  request.owner = ((static_cast<std::uint64_t>(random()) << 31U) ^ random()) | 1U;
  request.lanes = config_.engine.lanes;
  request.settings = settings_text(config_);
  request.partitions = std::move(*starts);
  for (const std::string& topic : config_.input.topics) {
    if (std::optional<std::string> origin = origin_topic(topic)) request.topics.push_back(std::move(*origin));
  }
  if (Status status = add_others(source, stored, request); !status) return std::unexpected(status.error());
  return store.claim(request);
}

// The partitions that other processes will claim, as far as they have no rows.
Status Job::add_others(KafkaSource& source, const std::vector<LaneOffset>& stored, ClaimRequest& request) {
  if (!membership_) return {};
  Result<std::vector<TopicPartition>> others = source.partitions_of(config_.input.topics, kKafkaTimeout);
  if (!others) return std::unexpected(others.error());
  std::erase_if(*others, [&](const TopicPartition& partition) {
    return std::ranges::find(share_, partition) != share_.end() ||
           std::ranges::any_of(stored, [&partition](const LaneOffset& row) {
             return row.topic == partition.topic && row.partition == partition.partition;
           });
  });
  Result<std::vector<PartitionStart>> starts = starts_of(source, stored, *others);
  if (!starts) return std::unexpected(starts.error());
  request.others = std::move(*starts);
  return {};
}

// Each partition is read from where the dedupe window of its earliest lane began.
Result<std::vector<Assignment>> Job::place_readers(KafkaSource& source, const Claim& claim,
                                                   const std::vector<TopicPartition>& partitions) {
  std::vector<Assignment> assignments;
  for (const TopicPartition& partition : partitions) {
    const Result<OffsetRange> range = source.range_of(partition, kKafkaTimeout);
    if (!range) return std::unexpected(range.error());
    std::int64_t next_last = 0;
    for (const LaneOffset& row : claim.offsets) {
      if (row.topic == partition.topic && row.partition == partition.partition)
        next_last = std::max(next_last, row.next_offset);
    }
    const std::int64_t next_first = earliest_row(claim, partition).next_offset;
    const std::int64_t window = earliest_row(claim, partition).window_offset;
    const std::string log = fmt::format("{} partition {}", partition.topic, partition.partition);
    if (next_last > range->high) {
      return fatal(
          fmt::format("{} ends at offset {}, but {} is stored: the topic was made anew, or it is another cluster. "
                      "Point the job at the right cluster, or start over with `klined reset`",
                      log, range->high, next_last));
    }
    if (next_first < range->low) {
      return fatal(
          fmt::format("{} begins at offset {}, but the stored candles end at {}: the {} messages between were deleted "
                      "unread. Restore them, or start over with `klined reset`",
                      log, range->low, next_first, range->low - next_first));
    }
    if (window < range->low && !config_.input.allow_dedupe_gap) {
      return fatal(fmt::format(
          "{} begins at offset {}, but the dedupe window begins at {}: trades sent again from there could not "
          "be told. Set input.allow_dedupe_gap: true to go on all the same",
          log, range->low, window));
    }
    const auto rank_of = [&claim](const std::string& topic) {
      return static_cast<std::uint32_t>(std::ranges::find(claim.topics, topic) - claim.topics.begin());
    };
    const LogId id(rank_of(partition.topic), static_cast<std::uint32_t>(partition.partition));
    const std::string origin = origin_topic(partition.topic).value_or(partition.topic);
    assignments.push_back({partition, id, std::max(window, range->low), origin, rank_of(origin)});
    spdlog::info("{}: stored up to offset {}, reading from {} (log {}..{})", log, next_first, assignments.back().offset,
                 range->low, range->high);
  }
  return assignments;
}

}  // namespace klined
