// Statements as text: one buffer that is used again and again, and values that read back exactly as they were.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "klined/core/decimal.hpp"

namespace klined {

// Builds SQL. The session's sql_mode must not have NO_BACKSLASH_ESCAPES (MySqlConnection sees to it).
class SqlText {
 public:
  void clear() { text_.clear(); }
  std::size_t size() const { return text_.size(); }
  std::string_view view() const { return text_; }
  // Cuts the text back to its first `size` bytes.
  void cut(std::size_t size) { text_.resize(size); }

  SqlText& operator<<(std::string_view sql) {
    text_ += sql;
    return *this;
  }
  SqlText& operator<<(char c) {
    text_ += c;
    return *this;
  }
  SqlText& integer(std::int64_t value);
  SqlText& unsigned_integer(std::uint64_t value);
  // The shortest text that reads back as the same double, always with an exponent: without one the server would take it
  // for a DECIMAL, which has fewer places. Asserts that the value is finite.
  SqlText& real(double value);
  SqlText& decimal(Decimal value);
  // 'text', escaped.
  SqlText& quoted(std::string_view text);
  // `name`, escaped: a database's or table's name.
  SqlText& name(std::string_view name);

 private:
  std::string text_;
  // The number that real() wrote last.
  std::array<char, 40> real_text_{};
  std::size_t real_size_ = 0;
  std::uint64_t real_bits_ = 0;
};

}  // namespace klined
