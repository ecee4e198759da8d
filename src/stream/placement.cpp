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
  const LaneOffset* first = nullptr;   // has stored the least
  const LaneOffset* last = nullptr;    // has stored the most
  const LaneOffset* window = nullptr;  // needs the earliest dedupe window
  for (const LaneOffset& row : claim.offsets) {
    if (row.topic != partition.topic || row.partition != partition.partition) continue;
    if (first == nullptr || row.next_offset < first->next_offset) first = &row;
    if (last == nullptr || row.next_offset > last->next_offset) last = &row;
    if (window == nullptr || row.window_offset < window->window_offset) window = &row;
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
  if (window->window_offset < range.low && !allow_dedupe_gap) {
    return fatal(fmt::format(
        "{} begins at offset {}, but the dedupe window begins at {}: trades sent again from there could not "
        "be told. Set input.allow_dedupe_gap: true to go on all the same",
        log, range.low, window->window_offset));
  }
  const auto topic = std::ranges::find(claim.topics, partition.topic);
  const LogId id(static_cast<std::uint32_t>(topic - claim.topics.begin()),
                 static_cast<std::uint32_t>(partition.partition));
  return Placement{
      {partition, id, std::max(window->window_offset, range.low)}, window->window_clocks, first->next_offset};
}

}  // namespace klined
