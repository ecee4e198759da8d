#include "klined/stream/sequencer.hpp"

#include <algorithm>

#include "klined/base/assertion.hpp"

namespace klined {

void Sequencer::assign(LogId log, std::int64_t offset, ChainClocks clocks) {
  partitions_.insert_or_assign(log, PartitionProgress(dedupe_window_, offset, std::move(clocks)));
}

void Sequencer::sequence(DecodedBatch& batch) {
  for (DecodedBatch::Part& part : batch.parts) {
    const auto partition = partitions_.find(part.message.log);
    KLINED_ASSERT(partition != partitions_.end(), "messages come from assigned partitions only");
    partition->second.advance(part.message.offset, part.largest);
    part.clocks = partition->second.clocks();
    for (const ChainClock& clock : part.largest) raise_clock(chain_clocks_, clock.chain, clock.time);
    const auto known = std::ranges::find(batch.places, part.message.log, &std::pair<LogId, PartitionPlace>::first);
    if (known == batch.places.end()) batch.places.emplace_back(part.message.log, PartitionPlace());
  }
  for (auto& [log, place] : batch.places) place = place_of(log);
  batch.chain_clocks = chain_clocks_;
}

std::optional<UnixSeconds> Sequencer::block_time_of(LogId log) const {
  const auto partition = partitions_.find(log);
  if (partition == partitions_.end() || partition->second.clocks().empty()) return std::nullopt;
  return std::ranges::max(partition->second.clocks(), {}, &ChainClock::time).time;
}

}  // namespace klined
