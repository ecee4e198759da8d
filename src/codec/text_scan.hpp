// Where the values of JSON text end: 16 bytes at a time, on any processor.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <experimental/simd>
#include <string_view>

#include <simdjson.h>

#include "json_tokens.hpp"

namespace klined {

// As many signed bytes as a vector has that every processor of the architecture knows.
using ByteBlock = std::experimental::native_simd<std::int8_t>;

// The first byte in [at, end) that `is_wanted`, which must take a ByteBlock as it takes a byte; `end` where there is
// none. Never reads behind `end`.
template <class IsWanted>
const char* find_byte(const char* at, const char* end, const IsWanted& is_wanted) {
  const auto* byte = reinterpret_cast<const std::int8_t*>(at);
  const auto* const last = reinterpret_cast<const std::int8_t*>(end);
  for (; static_cast<std::size_t>(last - byte) >= ByteBlock::size(); byte += ByteBlock::size()) {
    const auto wanted = is_wanted(ByteBlock(byte, std::experimental::element_aligned));
    if (any_of(wanted)) return reinterpret_cast<const char*>(byte) + find_first_set(wanted);
  }
  while (byte != last && !is_wanted(*byte)) ++byte;
  return reinterpret_cast<const char*>(byte);
}

// Up to two blocks of text that is known, to compare others with in one go.
class KnownText {
 public:
  static constexpr std::size_t kLongest = 2 * ByteBlock::size();

  // Requires that the text is not longer.
  explicit KnownText(std::string_view text) : size_(text.size()) {
    for (std::size_t i = 0; i < text.size(); ++i) {
      bytes_[i] = static_cast<std::int8_t>(text[i]);
      counts_[i] = -1;
    }
  }

  std::size_t size() const { return size_; }
  // Whether [at, end) begins with it.
  bool begins(const char* at, const char* end) const {
    const auto* const bytes = reinterpret_cast<const std::int8_t*>(at);
    const auto left = static_cast<std::size_t>(end - at);
    if (left < kLongest) [[unlikely]]
      return left >= size_ && std::equal(bytes_.data(), bytes_.data() + size_, bytes);
    const ByteBlock differs = difference(bytes, 0) | difference(bytes, ByteBlock::size());
    return all_of(differs == 0);
  }
  friend bool operator==(const KnownText&, const KnownText&) = default;

 private:
  // 0 where the bytes of a block are the same, or do not count.
  ByteBlock difference(const std::int8_t* bytes, std::size_t block) const {
    using std::experimental::element_aligned;
    return (ByteBlock(bytes + block, element_aligned) ^ ByteBlock(bytes_.data() + block, element_aligned)) &
           ByteBlock(counts_.data() + block, element_aligned);
  }

  std::array<std::int8_t, kLongest> bytes_{};
  std::array<std::int8_t, kLongest> counts_{};  // all bits of those that are the text's
  std::size_t size_ = 0;
};

// The quote that ends the string in which `at` stands. nullptr where it has none, or where the string holds what no
// string may: a raw control character, an unknown escape, anything but UTF-8.
inline const char* end_of_text(const char* at, const char* end, bool& has_escapes) {
  const char* const begin = at;
  bool is_ascii = true;
  for (;;) {
    // Bytes from 0x80 on are negative, so below ' '.
    at = find_byte(at, end, [](const auto& byte) { return byte == '"' || byte == '\\' || byte < ' '; });
    if (at == end) return nullptr;
    if (*at == '"') break;
    if (*at == '\\') {
      const std::size_t escape = escape_length({at, static_cast<std::size_t>(end - at)});
      if (escape == 0) return nullptr;
      has_escapes = true;
      at += escape;
    } else if (static_cast<unsigned char>(*at) >= 0x80) {
      is_ascii = false;
      ++at;
    } else {
      return nullptr;
    }
  }
  return is_ascii || simdjson::validate_utf8(begin, static_cast<std::size_t>(at - begin)) ? at : nullptr;
}

// The first byte in [at, end) that is not one of those that numbers and true, false and null are made of.
inline const char* end_of_scalar(const char* at, const char* end) {
  return find_byte(at, end, [](const auto& byte) {
    const auto lower = byte | std::int8_t{0x20};
    const auto is_letter = lower >= 'a' && lower <= 'z';
    const auto is_digit_or_sign = byte >= '-' && byte <= '9' && byte != '/';
    return !(is_letter || is_digit_or_sign || byte == '+');
  });
}

}  // namespace klined
