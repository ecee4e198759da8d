// Comparing short texts of the same length without a call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace klined {

// Whether `size` bytes at `a` and `b` are the same: by words that overlap, none of which reaches past the end.
inline bool same_bytes(const char* a, const char* b, std::size_t size) {
  const auto same_word = [a, b]<typename Word>(Word x, std::size_t at) {
    Word y = 0;
    std::memcpy(&x, a + at, sizeof(Word));
    std::memcpy(&y, b + at, sizeof(Word));
    return x == y;
  };
  constexpr std::uint64_t kWord = 0;
  constexpr std::uint32_t kHalf = 0;
  if (size >= sizeof(kWord)) {
    for (std::size_t at = 0; at + sizeof(kWord) < size; at += sizeof(kWord)) {
      if (!same_word(kWord, at)) return false;
    }
    return same_word(kWord, size - sizeof(kWord));
  }
  if (size >= sizeof(kHalf)) return same_word(kHalf, 0) && same_word(kHalf, size - sizeof(kHalf));
  for (std::size_t at = 0; at < size; ++at) {
    if (a[at] != b[at]) return false;
  }
  return true;
}

}  // namespace klined
