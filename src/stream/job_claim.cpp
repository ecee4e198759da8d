// How a session takes its partitions over, and where it begins to read them.
#include <algorithm>
#include <random>

#include <spdlog/spdlog.h>

#include "klined/source/put_back_reader.hpp"
#include "klined/stream/connections.hpp"
#include "klined/stream/job.hpp"

namespace klined {

namespace {

constexpr Milliseconds kKafkaTimeout{10'000};

}  // namespace

Result<std::vector<PartitionStart>> Job::starts_of(KafkaSource& source, const std::vector<LaneOffset>& stored,
                                                   const std::vector<TopicPartition>& partitions) {
  std::vector<PartitionStart> starts;
  for (const TopicPartition& partition : partitions) {
    PartitionStart start{partition.topic, partition.partition, 0};
    const BeginAt begin = begin_of(partition, stored, config_.input.start);
    if (begin == BeginAt::kLow || begin == BeginAt::kHigh) {
      const Result<OffsetRange> range = source.range_of(partition, kKafkaTimeout);
      if (!range) return std::unexpected(range.error());
      start.offset = begin == BeginAt::kLow ? range->low : range->high;
    } else if (begin == BeginAt::kTime) {
      const Result<std::int64_t> at = source.offset_at(partition, config_.input.start.time, kKafkaTimeout);
      if (!at) return std::unexpected(at.error());
      start.offset = *at;
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

Result<std::vector<Placement>> Job::place_readers(KafkaSource& source, const Claim& claim,
                                                  const std::vector<TopicPartition>& partitions) {
  std::vector<Placement> placements;
  std::map<std::string, std::shared_ptr<const PutBacks>> put_backs;  // by topic of the notes
  for (const TopicPartition& partition : partitions) {
    const Result<OffsetRange> range = source.range_of(partition, kKafkaTimeout);
    if (!range) return std::unexpected(range.error());
    Result<Placement> placement = place_reader(claim, partition, *range, config_.input.allow_dedupe_gap);
    if (!placement) return std::unexpected(placement.error());
    std::shared_ptr<const PutBacks>& of_topic = put_backs[put_back_topic(partition.topic)];
    if (!of_topic) {
      auto read = read_put_backs(source, put_back_topic(partition.topic), placement->assignment.origin_topic);
      if (!read) return std::unexpected(read.error());
      of_topic = std::move(*read);
      if (!of_topic->empty()) {
        spdlog::info("{}: of {} messages something was put back: what it stands for counts as duplicate",
                     placement->assignment.origin_topic, of_topic->size());
      }
    }
    placement->assignment.put_backs = of_topic;
    spdlog::info("{} partition {}: stored up to offset {}, reading from {} (log {}..{})", partition.topic,
                 partition.partition, placement->stored_offset, placement->assignment.offset, range->low, range->high);
    placements.push_back(std::move(*placement));
  }
  return placements;
}

}  // namespace klined
