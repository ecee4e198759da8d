#include "klined/store/sql_text.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <charconv>
#include <cmath>
#include <limits>
#include <random>
#include <string>

namespace klined {
namespace {

TEST(SqlText, EscapesWhatWouldEndTheText) {
  SqlText sql;
  sql.quoted("a'b\\c");
  EXPECT_EQ(sql.view(), "'a\\'b\\\\c'");
  sql.clear();
  sql.quoted(std::string_view("\0x", 2));
  EXPECT_EQ(sql.view(), "'\\0x'");
  sql.clear();
  sql.name("odd`name");
  EXPECT_EQ(sql.view(), "`odd``name`");
}

TEST(SqlText, WritesDoublesWithAnExponentAndExactly) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 100'000; ++i) {
    const double value = std::bit_cast<double>(random());
    if (!std::isfinite(value)) continue;
    SqlText sql;
    sql.real(value);
    ASSERT_NE(sql.view().find('e'), std::string_view::npos) << sql.view();
    double back = 0;
    const std::string_view text = sql.view();
    std::from_chars(text.begin(), text.end(), back);
    ASSERT_EQ(std::bit_cast<std::uint64_t>(back), std::bit_cast<std::uint64_t>(value)) << sql.view();
  }
}

TEST(SqlText, WritesTheSameDoubleAgainAndThenAnother) {
  SqlText sql;
  for (const double value : {0.0, 2.5, 2.5, -0.0, 0.0, 2.5}) sql.real(value) << ' ';
  EXPECT_EQ(sql.view(), "0e+00 2.5e+00 2.5e+00 -0e+00 0e+00 2.5e+00 ");
}

TEST(SqlText, WritesNumbers) {
  SqlText sql;
  sql.integer(std::numeric_limits<std::int64_t>::min()) << ' ';
  sql.unsigned_integer(std::numeric_limits<std::uint64_t>::max()) << ' ';
  sql.decimal(Decimal::from_units(Decimal::kLimit - 1)) << ' ';
  sql.decimal(Decimal::from_units(1));
  EXPECT_EQ(sql.view(),
            "-9223372036854775808 18446744073709551615 99999999999999999999999999.999999999999 0.000000000001");
}

TEST(SqlTextDeathTest, RefusesWhatNoColumnHolds) {
  SqlText sql;
  EXPECT_DEATH(sql.real(std::numeric_limits<double>::quiet_NaN()), "finite");
}

}  // namespace
}  // namespace klined
