#include "klined/base/clock.hpp"

namespace klined {

Instant SystemClock::now() const { return std::chrono::steady_clock::now(); }

UnixMilliseconds SystemClock::wall_ms() const {
  return std::chrono::duration_cast<Milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace klined
