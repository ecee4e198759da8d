#include "klined/store/bulk_rows.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <string>

#include "klined/store/candle_columns.hpp"

namespace klined {
namespace {

TEST(BulkRows, KeepsTheValuesOfAColumnSideBySide) {
  BulkRows rows;
  for (int round = 0; round < 2; ++round) {  // used again
    rows.clear();
    EXPECT_EQ(rows.size(), 0U);
    rows.integer(-3).text("first").real(0.1).decimal(Decimal::from_units(1)).end_row();
    rows.integer(std::numeric_limits<std::int64_t>::max()).text("").real(-2.5).decimal(Decimal()).end_row();
    ASSERT_EQ(rows.size(), 2U);
    ASSERT_EQ(rows.columns().size(), 4U);
    EXPECT_EQ(std::bit_cast<std::int64_t>(rows.columns()[0].numbers[0]), -3);
    EXPECT_EQ(rows.columns()[0].numbers.size(), 2U);
    EXPECT_EQ(rows.columns()[1].texts, "first");
    EXPECT_EQ(rows.columns()[1].lengths, (std::vector<unsigned long>{5, 0}));
    EXPECT_EQ(std::bit_cast<double>(rows.columns()[2].numbers[1]), -2.5);
    EXPECT_EQ(rows.columns()[3].texts, "0.0000000000010.000000000000");
  }
}

TEST(BulkRows, OtherColumnsThanTheFirstRowsAreAMistake) {
  BulkRows rows;
  rows.integer(1).text("a").end_row();
  EXPECT_DEATH(rows.text("a"), "same columns");
  EXPECT_DEATH(rows.integer(1).end_row(), "a value for each column");
  EXPECT_DEATH(rows.real(std::numeric_limits<double>::infinity()), "finite");
}

TEST(BulkRows, AStatementHasAMarkForEachValue) {
  const std::string sql = upsert_statement(Interval::k1d);
  BulkRows rows;
  append_row(rows, {}, TopicNumbers({{1, "t"}}));
  EXPECT_EQ(static_cast<std::size_t>(std::ranges::count(sql, '?')), rows.columns().size());
  EXPECT_TRUE(sql.starts_with("INSERT INTO trade_kline_1d ("));
}

}  // namespace
}  // namespace klined
