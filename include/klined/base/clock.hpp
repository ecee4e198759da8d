// The only place where klined reads the time. Everything else is handed a Clock, so that a test can own time.
#pragma once

#include <chrono>
#include <cstdint>

namespace klined {

using Milliseconds = std::chrono::milliseconds;
// A point of the monotonic clock: for intervals and timeouts.
using Instant = std::chrono::time_point<std::chrono::steady_clock, std::chrono::nanoseconds>;
// Wall time in unix milliseconds: for comparing with stamps that others made.
using UnixMilliseconds = std::int64_t;
// Wall or event time in unix seconds, the resolution of trades and candles.
using UnixSeconds = std::int64_t;

// A seam: SystemClock in production, ManualClock in tests and in the simulation. Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Instant now() const = 0;
  virtual UnixMilliseconds wall_ms() const = 0;

  UnixSeconds wall_seconds() const { return wall_ms() / 1000; }
};

class SystemClock final : public Clock {
 public:
  Instant now() const override;
  UnixMilliseconds wall_ms() const override;
};

// Time that moves only when it is told to. Not thread-safe.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(UnixMilliseconds wall = 0) : wall_(wall) {}
  Instant now() const override { return now_; }
  UnixMilliseconds wall_ms() const override { return wall_; }
  void advance(Milliseconds by) {
    now_ += by;
    wall_ += by.count();
  }

 private:
  Instant now_{std::chrono::hours(1)};
  UnixMilliseconds wall_;
};

}  // namespace klined
