// Rows of values for a prepared statement that takes many rows at a time: an array for each column.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "klined/core/decimal.hpp"

namespace klined {

// Values are added row by row, each row's in the order of the statement's '?', as numbers that need no text between and
// no parsing. One object is used again and again, for rows of the same columns.
class BulkRows {
 public:
  enum class Type : std::uint8_t { kInteger, kReal, kDecimal, kText };

  void clear();
  // Rows that have ended.
  std::size_t size() const { return rows_; }
  // What the rows take on their way to the server, at most.
  std::size_t bytes() const { return bytes_; }

  BulkRows& integer(std::int64_t value);
  // Asserts that the value is finite.
  BulkRows& real(double value);
  BulkRows& decimal(Decimal value);
  BulkRows& text(std::string_view value);
  void end_row();

  struct Column {
    Type type;
    std::vector<std::uint64_t> numbers;  // kInteger and kReal: their bits
    std::string texts;                   // kDecimal and kText: one after the other
    std::vector<unsigned long> lengths;  // of the texts, in bytes

    bool is_text() const { return type == Type::kDecimal || type == Type::kText; }
  };
  const std::vector<Column>& columns() const { return columns_; }

 private:
  Column& next_column(Type type);

  std::vector<Column> columns_;
  std::size_t next_ = 0;  // the column of the next value
  std::size_t rows_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace klined
