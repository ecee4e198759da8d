#include "klined/stream/placement.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "klined/base/assertion.hpp"

namespace klined {

BeginAt begin_of(const TopicPartition& partition, const std::vector<LaneOffset>& stored, const StartAt& start) {
  const auto is_row = [&partition](const LaneOffset& row) {
    return row.topic == partition.topic && row.partition == partition.partition;
  };
  if (std::ranges::any_of(stored, is_row)) return BeginAt::kStored;
  const bool joins = std::ranges::find(stored, partition.topic, &LaneOffset::topic) != stored.end();
  if (joins || start.kind == StartAt::Kind::kEarliest) return BeginAt::kLow;
  return start.kind == StartAt::Kind::kLatest ? BeginAt::kHigh : BeginAt::kTime;
}

Result<Placement> place_reader(const Claim& claim, const TopicPartition& partition, const OffsetRange& range,
                               bool allow_dedupe_gap) {
  const LaneOffset* first = nullptr;  // has stored the least; of those, the one whose window began first
  const LaneOffset* last = nullptr;   // has stored the most
  const auto progress = [](const LaneOffset& row) { return std::pair(row.next_offset, row.window_offset); };
  for (const LaneOffset& row : claim.offsets) {
    if (row.topic != partition.topic || row.partition != partition.partition) continue;
    if (first == nullptr || progress(row) < progress(*first)) first = &row;
    if (last == nullptr || row.next_offset > last->next_offset) last = &row;
  }
  KLINED_ASSERT(first != nullptr, "a claimed partition has a row for each lane");
  const std::string log = fmt::format("{} partition {}", partition.topic, partition.partition);
  if (last->next_offset > range.high) {
    return fatal(
        fmt::format("{} ends at offset {}, but {} is stored: the topic was made anew, or it is another cluster. "
                    "Point the job at the right cluster, or start over with `klined reset`",
                    log, range.high, last->next_offset));
  }
  if (first->next_offset < range.low) {
    return fatal(
        fmt::format("{} begins at offset {}, but the stored candles end at {}: the {} messages between were deleted "
                    "unread. Restore them, or start over with `klined reset`",
                    log, range.low, first->next_offset, range.low - first->next_offset));
  }
  if (first->window_offset < range.low && !allow_dedupe_gap) {
    return fatal(fmt::format(
        "{} begins at offset {}, but the dedupe window begins at {}: trades sent again from there could not "
        "be told. Set input.allow_dedupe_gap: true to go on all the same",
        log, range.low, first->window_offset));
  }
  const auto rank_of = [&claim](const std::string& topic) {
    return static_cast<std::uint32_t>(std::ranges::find(claim.topics, topic) - claim.topics.begin());
  };
  const LogId id(rank_of(partition.topic), static_cast<std::uint32_t>(partition.partition));
  const std::string origin = origin_topic(partition.topic).value_or(partition.topic);
  return Placement{
      .assignment = {partition, id, std::max(first->window_offset, range.low), origin, rank_of(origin)},
      .clocks = first->window_clocks,
      .source_windows = first->source_windows,
      .stored_offset = first->next_offset,
  };
}

}  // namespace klined
