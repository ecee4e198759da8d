// Waiting between attempts: doubles up to a limit, with jitter, so that many lanes do not knock in step.
#pragma once

#include <cstdint>

#include "klined/base/clock.hpp"

namespace klined {

// Not thread-safe; one a retry loop.
class Backoff {
 public:
  Backoff(Milliseconds first, Milliseconds limit, std::uint64_t seed = 1)
      : first_(first), limit_(limit), next_(first), state_(seed * 0x9E3779B97F4A7C15ULL + 1) {}

  // The next wait: between half and the whole of the current step.
  Milliseconds next() {
    const auto step = next_.count();
    next_ = next_ * 2 < limit_ ? next_ * 2 : limit_;
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return Milliseconds(step / 2 + static_cast<std::int64_t>(state_ % static_cast<std::uint64_t>(step / 2 + 1)));
  }
  void reset() { next_ = first_; }

 private:
  Milliseconds first_;
  Milliseconds limit_;
  Milliseconds next_;
  std::uint64_t state_;
};

}  // namespace klined
