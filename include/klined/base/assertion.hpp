// Assertions that stay on in every build: a broken invariant must stop the job, never write a wrong candle.
#pragma once

#include <source_location>
#include <string_view>

namespace klined {

// Prints the failed condition and its place to stderr and aborts.
[[noreturn]] void assertion_failed(std::string_view condition, std::string_view message,
                                   std::source_location where = std::source_location::current());

}  // namespace klined

#define KLINED_ASSERT(condition, message) \
  (static_cast<bool>(condition) ? static_cast<void>(0) : ::klined::assertion_failed(#condition, message))
