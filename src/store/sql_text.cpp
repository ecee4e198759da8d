#include "klined/store/sql_text.hpp"

#include <array>
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
  std::array<char, 40> digits{};
  char* const end = digits.data() + digits.size();
  text_.append(digits.data(), std::to_chars(digits.data(), end, value, std::chars_format::scientific).ptr);
  return *this;
}

SqlText& SqlText::decimal(Decimal value) {
  std::array<char, 48> digits{};
  text_.append(digits.data(), value.write(digits.data()));
  return *this;
}

SqlText& SqlText::quoted(std::string_view text) {
  text_ += '\'';
  for (const char c : text) {
    if (c == '\'' || c == '\\') text_ += '\\';
    if (c == '\0') {
      text_ += "\\0";
    } else {
      text_ += c;
    }
  }
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
