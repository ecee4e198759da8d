// Up to where candles are closed: from the lanes to the repair of Redis.
#pragma once

#include <cstddef>
#include <mutex>
#include <vector>

#include "klined/core/series.hpp"

namespace klined {

// The closing clock of each chain, as the slowest lane has it. Thread-safe.
class CloseClocks {
 public:
  explicit CloseClocks(std::size_t lanes) : lanes_(lanes) {}

  void set(std::size_t lane, const ChainClocks& clocks);
  // -1 until every lane has a clock of the chain.
  UnixSeconds of(ChainId chain) const;

 private:
  mutable std::mutex mutex_;
  std::vector<ChainClocks> lanes_;
};

}  // namespace klined
