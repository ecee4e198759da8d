// The last closes of one pair, from which the change of its price over a window is told.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "klined/base/clock.hpp"

namespace klined {

// A candle's beginning and its close.
struct TimedClose {
  UnixSeconds time = 0;
  double close = 0;
  friend bool operator==(const TimedClose&, const TimedClose&) = default;
};

// Closes of the candles of one interval, by time. Keeps what a look back of `reach` needs: the candles that ended
// within it and the last one before. Owned by the pair. 16 bytes a candle.
class PriceHistory {
 public:
  // Sets the close of the candle that begins at `time`.
  void set(UnixSeconds time, double close, UnixSeconds reach);
  // Takes closes in that memory does not have yet; what is already there stays.
  void merge(std::span<const TimedClose> stored, UnixSeconds reach);
  // The close of the last candle that ended at or before `time`.
  std::optional<double> close_before(UnixSeconds time, UnixSeconds width) const;
  std::optional<TimedClose> last() const;
  std::size_t bytes() const { return closes_.capacity() * sizeof(TimedClose); }

 private:
  void trim(UnixSeconds reach);

  std::vector<TimedClose> closes_;  // ascending
};

}  // namespace klined
