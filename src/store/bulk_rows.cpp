#include "klined/store/bulk_rows.hpp"

#include <array>
#include <bit>
#include <cmath>

#include "klined/base/assertion.hpp"

namespace klined {

namespace {

constexpr std::size_t kNumberBytes = 1 + sizeof(std::uint64_t);  // with the mark that it isn't NULL
constexpr std::size_t kTextOverhead = 1 + 3;                     // the mark, and the length

}  // namespace

void BulkRows::clear() {
  for (Column& column : columns_) {
    column.numbers.clear();
    column.texts.clear();
    column.lengths.clear();
  }
  next_ = 0;
  rows_ = 0;
  bytes_ = 0;
}

// The first row says which columns there are.
BulkRows::Column& BulkRows::next_column(Type type) {
  if (next_ == columns_.size() && rows_ == 0) columns_.push_back({type, {}, {}, {}});
  KLINED_ASSERT(next_ < columns_.size() && columns_[next_].type == type, "all rows have the same columns");
  return columns_[next_++];
}

BulkRows& BulkRows::integer(std::int64_t value) {
  next_column(Type::kInteger).numbers.push_back(std::bit_cast<std::uint64_t>(value));
  bytes_ += kNumberBytes;
  return *this;
}

BulkRows& BulkRows::real(double value) {
  KLINED_ASSERT(std::isfinite(value), "candles hold finite numbers");
  next_column(Type::kReal).numbers.push_back(std::bit_cast<std::uint64_t>(value));
  bytes_ += kNumberBytes;
  return *this;
}

BulkRows& BulkRows::decimal(Decimal value) {
  std::array<char, 48> digits{};
  Column& column = next_column(Type::kDecimal);
  const auto size = static_cast<std::size_t>(value.write(digits.data()) - digits.data());
  column.texts.append(digits.data(), size);
  column.lengths.push_back(size);
  bytes_ += size + kTextOverhead;
  return *this;
}

BulkRows& BulkRows::text(std::string_view value) {
  Column& column = next_column(Type::kText);
  column.texts += value;
  column.lengths.push_back(value.size());
  bytes_ += value.size() + kTextOverhead;
  return *this;
}

void BulkRows::end_row() {
  KLINED_ASSERT(next_ == columns_.size(), "a row has a value for each column");
  next_ = 0;
  ++rows_;
}

}  // namespace klined
