// For what is soon needed and lies in memory, or in another core's cache.
#pragma once

#include <cstddef>

namespace klined {

// Has the processor fetch all of it; nothing else waits for that.
template <typename T>
void prefetch(const T& thing) {
  constexpr std::size_t kLine = 64;
  for (std::size_t at = 0; at < sizeof(T); at += kLine) {
    __builtin_prefetch(reinterpret_cast<const std::byte*>(&thing) + at);
  }
}

}  // namespace klined
