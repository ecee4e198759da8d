#include "klined/base/assertion.hpp"

#include <cstdio>
#include <cstdlib>

namespace klined {

void assertion_failed(std::string_view condition, std::string_view message, std::source_location where) {
  std::fprintf(stderr,
               "klined: broken invariant at %s:%u: %.*s (%.*s). This is a bug; stored candles are not touched.\n",
               where.file_name(), where.line(), static_cast<int>(message.size()), message.data(),
               static_cast<int>(condition.size()), condition.data());
  std::fflush(stderr);
  std::abort();
}

}  // namespace klined
