// One log line when something breaks and one when it heals, however many threads notice.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "klined/base/clock.hpp"

namespace klined {

// The state of one server as its users see it. Thread-safe.
class Outage {
 public:
  // `what` names it in the log: "MySQL".
  Outage(std::string what, const Clock& clock) : what_(std::move(what)), clock_(clock) {}

  // A passing fault: logs the first since all was well. `meanwhile` tells what the program does until it passes.
  void broke(std::string_view message, std::string_view meanwhile);
  // A success: logs it where it ends an outage.
  void worked();

  bool is_broken() const { return since_ms_.load(std::memory_order_relaxed) != 0; }
  // Unix milliseconds of the last fault; 0 where there was none.
  UnixMilliseconds last_error_ms() const { return last_error_ms_.load(std::memory_order_relaxed); }
  std::int64_t faults() const { return faults_.load(std::memory_order_relaxed); }

 private:
  std::string what_;
  const Clock& clock_;
  std::atomic<UnixMilliseconds> since_ms_{0};
  std::atomic<UnixMilliseconds> last_error_ms_{0};
  std::atomic<std::int64_t> faults_{0};
};

}  // namespace klined
