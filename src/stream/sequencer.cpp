#include "klined/stream/sequencer.hpp"

#include <algorithm>

#include "klined/base/assertion.hpp"

namespace klined {

void Sequencer::assign(LogId log, std::int64_t offset, ChainClocks clocks, const std::vector<SourceWindow>& windows) {
  Partition partition{offset, PartitionProgress(dedupe_window_, offset, std::move(clocks)), {}};
  for (const SourceWindow& window : windows) {
    PartitionProgress progress(dedupe_window_, window.window_offset, window.window_clocks);
    if (window.source == kOwnSource) {
      partition.own = std::move(progress);
    } else {
      partition.origins.emplace(window.source, std::move(progress));
    }
  }
  partitions_.insert_or_assign(log, std::move(partition));
}

void Sequencer::sequence(DecodedBatch& batch) {
  batch.trade_count = 0;
  for (DecodedBatch::Part& part : batch.parts) {
    sequence_part(part);
    batch.trade_count += part.decoded.trades.size();
    const auto known = std::ranges::find(batch.places, part.message.log, &std::pair<LogId, PartitionPlace>::first);
    if (known == batch.places.end()) batch.places.emplace_back(part.message.log, PartitionPlace());
  }
  for (auto& [log, place] : batch.places) place = place_of(log);
  batch.chain_clocks = chain_clocks_;
}

// Where reading began for another source's sake, records of this one are before its window: they move no clock.
void Sequencer::sequence_part(DecodedBatch::Part& part) {
  const auto found = partitions_.find(part.message.log);
  KLINED_ASSERT(found != partitions_.end(), "messages come from assigned partitions only");
  Partition& partition = found->second;
  const std::int64_t offset = part.message.offset;
  partition.next_offset = offset + 1;
  part.before_window = offset < partition.own.next_offset();
  if (!part.before_window) partition.own.advance(offset, part.largest);
  for (const ChainClock& clock : part.largest) raise_clock(chain_clocks_, clock.chain, clock.time);
  const Origin* const origin = part.message.origin;
  if (origin == nullptr || !origin->clocks) {
    part.clocks = partition.own.clocks();
    return;
  }
  part.source = static_cast<std::int32_t>(origin->log.partition());
  PartitionProgress& progress =
      partition.origins.try_emplace(part.source, dedupe_window_, offset, ChainClocks()).first->second;
  part.before_window = offset < progress.next_offset();
  if (part.before_window) return;
  ChainClocks largest = *origin->clocks;
  for (const ChainClock& clock : part.largest) raise_clock(largest, clock.chain, clock.time);
  for (const ChainClock& clock : largest) raise_clock(chain_clocks_, clock.chain, clock.time);
  progress.advance(offset, largest);
  part.clocks = progress.clocks();
}

bool Sequencer::skip_to(LogId log, std::int64_t offset) {
  Partition& partition = partitions_.at(log);
  if (offset <= partition.next_offset) return false;
  partition.next_offset = offset;
  return true;
}

PartitionPlace Sequencer::place_of(LogId log) const {
  const Partition& partition = partitions_.at(log);
  PartitionPlace place = partition.own.place();
  place.next_offset = partition.next_offset;
  if (partition.origins.empty()) return place;
  if (!partition.own.clocks().empty()) {
    place.source_windows.push_back({kOwnSource, place.window_offset, std::move(place.window_clocks)});
  } else {
    place.window_offset = partition.next_offset;
  }
  place.window_clocks.clear();
  for (const auto& [source, progress] : partition.origins) {
    PartitionPlace of_source = progress.place();
    place.window_offset = std::min(place.window_offset, of_source.window_offset);
    place.source_windows.push_back({source, of_source.window_offset, std::move(of_source.window_clocks)});
  }
  return place;
}

std::optional<UnixSeconds> Sequencer::block_time_of(LogId log) const {
  const auto partition = partitions_.find(log);
  if (partition == partitions_.end() || partition->second.own.clocks().empty()) return std::nullopt;
  return std::ranges::max(partition->second.own.clocks(), {}, &ChainClock::time).time;
}

}  // namespace klined
