#include "klined/aggregate/price_history.hpp"

#include <algorithm>

namespace klined {

void PriceHistory::set(UnixSeconds time, double close, UnixSeconds reach) {
  if (!closes_.empty() && closes_.back().time == time) {
    closes_.back().close = close;
    return;
  }
  const auto at = std::ranges::lower_bound(closes_, time, {}, &TimedClose::time);
  if (at != closes_.end() && at->time == time) {
    at->close = close;
  } else {
    closes_.insert(at, {time, close});
    trim(reach);
  }
}

void PriceHistory::merge(std::span<const TimedClose> stored, UnixSeconds reach) {
  for (const TimedClose& c : stored) {
    const auto at = std::ranges::lower_bound(closes_, c.time, {}, &TimedClose::time);
    if (at == closes_.end() || at->time != c.time) closes_.insert(at, c);
  }
  trim(reach);
}

// Windows are counted from the chain's clock, which is never behind the pair's last candle: what is older than the
// reach before that candle is only needed as "the last one before". Trimmed in bulk, so that a busy pair pays little.
void PriceHistory::trim(UnixSeconds reach) {
  if (closes_.empty()) return;
  const auto kept = std::ranges::lower_bound(closes_, closes_.back().time - reach, {}, &TimedClose::time);
  const auto excess = kept - closes_.begin() - 1;
  if (excess > static_cast<std::ptrdiff_t>(closes_.size() / 4))
    closes_.erase(closes_.begin(), closes_.begin() + excess);
}

std::optional<double> PriceHistory::close_before(UnixSeconds time, UnixSeconds width) const {
  const auto after = std::ranges::upper_bound(closes_, time - width, {}, &TimedClose::time);
  if (after == closes_.begin()) return std::nullopt;
  return std::prev(after)->close;
}

std::optional<TimedClose> PriceHistory::last() const {
  if (closes_.empty()) return std::nullopt;
  return closes_.back();
}

}  // namespace klined
