#include "klined/base/outage.hpp"

#include <spdlog/spdlog.h>

namespace klined {

void Outage::broke(std::string_view message, std::string_view meanwhile) {
  const UnixMilliseconds now = clock_.wall_ms();
  last_error_ms_.store(now, std::memory_order_relaxed);
  faults_.fetch_add(1, std::memory_order_relaxed);
  UnixMilliseconds well = 0;
  if (since_ms_.compare_exchange_strong(well, now)) spdlog::warn("{} is away: {}; {}", what_, message, meanwhile);
}

void Outage::worked() {
  const UnixMilliseconds since = since_ms_.load(std::memory_order_relaxed);
  if (since == 0) return;
  UnixMilliseconds expected = since;
  if (since_ms_.compare_exchange_strong(expected, 0)) {
    spdlog::info("{} is back after {:.1f} s", what_, static_cast<double>(clock_.wall_ms() - since) / 1000.0);
  }
}

}  // namespace klined
