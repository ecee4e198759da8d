#include "klined/store/sql_text.hpp"

#include <array>
#include <bit>
#include <charconv>
#include <cmath>

#include "klined/base/assertion.hpp"

namespace klined {

SqlText& SqlText::integer(std::int64_t value) {
  std::array<char, 24> digits{};
  text_.append(digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr);
  return *this;
}

SqlText& SqlText::unsigned_integer(std::uint64_t value) {
  std::array<char, 24> digits{};
  text_.append(digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr);
  return *this;
}

SqlText& SqlText::real(double value) {
  KLINED_ASSERT(std::isfinite(value), "candles hold finite numbers");
  // A candle's prices are often the same one.
  const std::uint64_t bits = std::bit_cast<std::uint64_t>(value);
  if (real_size_ == 0 || bits != real_bits_) {
    char* const end = real_text_.data() + real_text_.size();
    const char* const last = std::to_chars(real_text_.data(), end, value, std::chars_format::scientific).ptr;
    real_size_ = static_cast<std::size_t>(last - real_text_.data());
    real_bits_ = bits;
  }
  text_.append(real_text_.data(), real_size_);
  return *this;
}

SqlText& SqlText::decimal(Decimal value) {
  std::array<char, 48> digits{};
  text_.append(digits.data(), value.write(digits.data()));
  return *this;
}

SqlText& SqlText::quoted(std::string_view text) {
  text_ += '\'';
  std::size_t done = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (c != '\'' && c != '\\' && c != '\0') continue;
    text_.append(text, done, at - done);
    text_ += '\\';
    text_ += c == '\0' ? '0' : c;
    done = at + 1;
  }
  text_.append(text, done);
  text_ += '\'';
  return *this;
}

SqlText& SqlText::name(std::string_view name) {
  text_ += '`';
  for (const char c : name) {
    if (c == '`') text_ += '`';
    text_ += c;
  }
  text_ += '`';
  return *this;
}

}  // namespace klined
