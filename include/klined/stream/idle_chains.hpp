// Which chains are idle: for them the wall clock closes candles.
#pragma once

#include <map>
#include <span>
#include <vector>

#include "klined/base/clock.hpp"
#include "klined/core/trade.hpp"

namespace klined {

// A chain is idle where the input stood at its end (all partitions, all read) at least `idle_after` after the chain's
// last trade was read: then nothing of it waits to be read either. Not thread-safe.
class IdleChains {
 public:
  static constexpr Milliseconds kIdleAfter{1000};

  // A chain that never had a trade counts from `now`.
  void begin(std::span<const ChainId> chains, Instant now) {
    for (const ChainId chain : chains) last_seen_[chain] = now;
  }
  void saw(ChainId chain, Instant now) { last_seen_[chain] = now; }
  void drained(Instant now) { drained_at_ = now; }

  std::vector<ChainId> idle() const {
    std::vector<ChainId> idle;
    for (const auto& [chain, seen] : last_seen_) {
      if (drained_at_ >= seen + kIdleAfter) idle.push_back(chain);
    }
    return idle;
  }

 private:
  std::map<ChainId, Instant> last_seen_;
  Instant drained_at_{};
};

}  // namespace klined
