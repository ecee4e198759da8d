#include "klined/stream/close_clocks.hpp"

#include <algorithm>
#include <limits>

#include "klined/aggregate/partition_progress.hpp"

namespace klined {

void CloseClocks::set(std::size_t lane, const ChainClocks& clocks) {
  const std::lock_guard lock(mutex_);
  lanes_.at(lane) = clocks;
}

UnixSeconds CloseClocks::of(ChainId chain) const {
  const std::lock_guard lock(mutex_);
  UnixSeconds slowest = std::numeric_limits<UnixSeconds>::max();
  for (const ChainClocks& clocks : lanes_) slowest = std::min(slowest, clock_of(clocks, chain).value_or(-1));
  return lanes_.empty() ? -1 : slowest;
}

}  // namespace klined
