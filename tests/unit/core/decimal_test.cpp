// Decimals: exact text to units, half-even, the limits of the column, and doubles rounded once.
#include "klined/core/decimal.hpp"

#include <cmath>
#include <limits>
#include <string>

#include <gtest/gtest.h>

namespace klined {
namespace {

std::string amount(std::string_view text) {
  const auto parsed = Decimal::parse_amount(text);
  if (parsed) return parsed->to_string();
  switch (parsed.error()) {
    case NumberError::kMalformed: return "malformed";
    case NumberError::kNegative: return "negative";
    case NumberError::kOutOfRange: return "out of range";
  }
  return "?";
}

TEST(DecimalTest, ReadsPlainNumbersAndExponents) {
  EXPECT_EQ(amount("0"), "0.000000000000");
  EXPECT_EQ(amount("123.45"), "123.450000000000");
  EXPECT_EQ(amount("1.5e-07"), "0.000000150000");
  EXPECT_EQ(amount("1.5E+3"), "1500.000000000000");
  EXPECT_EQ(amount("12e0"), "12.000000000000");
  EXPECT_EQ(amount("0.000000000001"), "0.000000000001");
  EXPECT_EQ(amount("0.00012e16"), "1200000000000.000000000000");
  EXPECT_EQ(amount("123456789012345678901234567890e-20"), "1234567890.123456789012");
  EXPECT_EQ(amount("99999999999999999999.999999999999"), "99999999999999999999.999999999999");
}

TEST(DecimalTest, RoundsHalfToEvenOnce) {
  EXPECT_EQ(amount("0.0000000000005"), "0.000000000000");
  EXPECT_EQ(amount("0.0000000000015"), "0.000000000002");
  EXPECT_EQ(amount("0.0000000000025"), "0.000000000002");
  EXPECT_EQ(amount("0.00000000000250000000000000000000000001"), "0.000000000003");
  EXPECT_EQ(amount("0.0000000000005000000000000000000000000000000000001"), "0.000000000001");
  EXPECT_EQ(amount("0.00000000000249999999999999999999999999"), "0.000000000002");
  EXPECT_EQ(amount("5e-13"), "0.000000000000");
  EXPECT_EQ(amount("6e-13"), "0.000000000001");
  EXPECT_EQ(amount("9e-14"), "0.000000000000");
  EXPECT_EQ(amount("1e-400"), "0.000000000000");
  EXPECT_EQ(amount("9.9999999999995"), "10.000000000000");  // the carry goes through all digits
}

TEST(DecimalTest, RefusesWhatIsNoJsonNumber) {
  for (const char* text :
       {"",         "-",   "+1",   "01",    "00", "1.", ".5",  "1.2.3", "1e",    "1e+",  "NaN", "nan",
        "Infinity", "inf", "0x10", "1_000", " 1", "1 ", "1,5", "--1",   "1e5.5", "true", "1d",  "1\n"}) {
    EXPECT_EQ(amount(text), "malformed") << text;
    EXPECT_FALSE(is_json_number(text)) << text;
  }
}

TEST(DecimalTest, KnowsNegativeFromMinusZero) {
  EXPECT_EQ(amount("-0"), "0.000000000000");
  EXPECT_EQ(amount("-0.0e5"), "0.000000000000");
  EXPECT_EQ(amount("-1"), "negative");
  EXPECT_EQ(amount("-0.1"), "negative");
  EXPECT_EQ(amount("-1e-400"), "negative");  // though it would round to zero
}

TEST(DecimalTest, ComparesWithItsLimitBeforeRounding) {
  EXPECT_EQ(amount("1e20"), "out of range");
  EXPECT_EQ(amount("100000000000000000000"), "out of range");
  EXPECT_EQ(amount("99999999999999999999.9999999999999"), "100000000000000000000.000000000000");
  EXPECT_EQ(amount("0.1e21"), "out of range");
  EXPECT_EQ(amount("0.1e20"), "10000000000000000000.000000000000");
  EXPECT_EQ(amount("1e99999999999999999999"), "out of range");
  EXPECT_EQ(amount("0e99999999999999999999"), "0.000000000000");
  EXPECT_EQ(amount("1e-99999999999999999999"), "0.000000000000");
}

TEST(DecimalTest, ReadsFourHundredDigits) {
  EXPECT_EQ(amount(std::string(400, '9')), "out of range");
  EXPECT_EQ(amount(std::string(400, '9') + "e-390"), "10000000000.000000000000");
  EXPECT_EQ(amount("0." + std::string(400, '1')), "0.111111111111");
  EXPECT_EQ(amount("0." + std::string(400, '0') + "1e401"), "1.000000000000");
  EXPECT_EQ(amount("7" + std::string(400, '0') + "e-400"), "7.000000000000");
}

TEST(DecimalTest, ReadsColumns) {
  EXPECT_EQ(Decimal::parse_column("123.450000000000"), Decimal::parse_amount("123.45").value());
  EXPECT_EQ(Decimal::parse_column("12"), Decimal::parse_amount("12").value());
  const std::string largest = std::string(26, '9') + "." + std::string(12, '9');
  ASSERT_TRUE(Decimal::parse_column(largest));
  EXPECT_EQ(Decimal::parse_column(largest)->units(), Decimal::kLimit - 1);
  EXPECT_EQ(Decimal::parse_column(largest)->to_string(), largest);
  for (const char* text :
       {"", "-1.000000000000", "1e3", "1.0000000000000", "100000000000000000000000000", "abc", " 1"}) {
    EXPECT_FALSE(Decimal::parse_column(text)) << text;
  }
}

TEST(DecimalTest, AddRefusesWhatTheColumnCannotHold) {
  Decimal sum = Decimal::from_units(Decimal::kLimit - 2);
  EXPECT_TRUE(sum.add(Decimal::from_units(1)));
  EXPECT_EQ(sum.units(), Decimal::kLimit - 1);
  EXPECT_FALSE(sum.add(Decimal::from_units(1)));
  EXPECT_FALSE(sum.add(Decimal::from_units(Decimal::kLimit - 1)));
  EXPECT_EQ(sum.units(), Decimal::kLimit - 1);
  EXPECT_TRUE(sum.add(Decimal()));
}

TEST(DecimalTest, PrintsAllTwelvePlaces) {
  EXPECT_EQ(Decimal().to_string(), "0.000000000000");
  EXPECT_EQ(Decimal::from_units(1).to_string(), "0.000000000001");
  const Int128 quintillion = 1'000'000'000'000'000'000;
  EXPECT_EQ(Decimal::from_units(quintillion * 1'000'000'000'000).to_string(), "1000000000000000000.000000000000");
  EXPECT_EQ(Decimal::from_units(quintillion * 1'000'000'000'000 - 1).to_string(), "999999999999999999.999999999999");
}

TEST(DecimalTest, QuotientIsZeroWhereTheDivisorIs) {
  EXPECT_EQ(Decimal::quotient(Decimal::from_units(5), Decimal()), 0.0);
  EXPECT_EQ(Decimal::quotient(Decimal(), Decimal::from_units(5)), 0.0);
  EXPECT_EQ(Decimal::quotient(Decimal::from_units(1), Decimal::from_units(3)), 1.0 / 3.0);
  EXPECT_EQ(Decimal::quotient(Decimal::from_units(Decimal::kLimit - 1), Decimal::from_units(1)), 1e38);
  EXPECT_EQ(Decimal::quotient(Decimal::from_units(1), Decimal::from_units(Decimal::kLimit - 1)), 1e-38);
}

TEST(ParseDoubleTest, RoundsToTheNearestDouble) {
  EXPECT_EQ(parse_double("0.1"), 0.1);
  EXPECT_EQ(parse_double("1.5e-07"), 1.5e-07);
  EXPECT_EQ(parse_double("-2.5"), -2.5);
  EXPECT_EQ(parse_double("9007199254740993"), 9007199254740992.0);
  EXPECT_EQ(parse_double("9007199254740993." + std::string(400, '0') + "1"), 9007199254740994.0);
  EXPECT_EQ(parse_double(std::string(400, '9') + "e-390"), 1e10);
  EXPECT_EQ(parse_double("0." + std::string(400, '0') + "1e401"), 1.0);
  EXPECT_EQ(parse_double("1e00000000000000000005"), 1e5);
  EXPECT_EQ(parse_double("1.7976931348623157e308"), std::numeric_limits<double>::max());
  EXPECT_EQ(parse_double("4.9e-324"), std::numeric_limits<double>::denorm_min());
}

TEST(ParseDoubleTest, OverflowIsRefusedAndUnderflowIsZero) {
  for (const char* text : {"1e400", "-1e400", "1e99999999999999999999", "1.7976931348623159e308"}) {
    EXPECT_EQ(parse_double(text), std::unexpected(NumberError::kOutOfRange)) << text;
  }
  EXPECT_EQ(parse_double("1" + std::string(400, '0')), std::unexpected(NumberError::kOutOfRange));
  for (const char* text :
       {"1e-400", "-1e-400", "0", "-0", "-0.0", "0e400", "-0e999999999999", "2.4e-324", "1e-99999999999999"}) {
    const auto value = parse_double(text);
    ASSERT_TRUE(value) << text;
    EXPECT_EQ(*value, 0.0) << text;
    EXPECT_FALSE(std::signbit(*value)) << text;
  }
  EXPECT_EQ(parse_double("NaN"), std::unexpected(NumberError::kMalformed));
  EXPECT_EQ(parse_double("1.2.3"), std::unexpected(NumberError::kMalformed));
}

TEST(ParseIntegerTest, TakesPlainDigitsOnly) {
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(parse_integer("0", kMax), 0);
  EXPECT_EQ(parse_integer("-0", kMax), 0);
  EXPECT_EQ(parse_integer("310870231", kMax), 310870231);
  EXPECT_EQ(parse_integer("9223372036854775807", kMax), kMax);
  EXPECT_EQ(parse_integer("7", 7), 7);
  for (const char* text : {"9223372036854775808", "18446744073709551616", "99999999999999999999"}) {
    EXPECT_EQ(parse_integer(text, kMax), std::unexpected(NumberError::kOutOfRange)) << text;
  }
  EXPECT_EQ(parse_integer("8", 7), std::unexpected(NumberError::kOutOfRange));
  EXPECT_EQ(parse_integer("-1", kMax), std::unexpected(NumberError::kNegative));
  for (const char* text : {"", "-", "1.0", "1e3", "01", "-01", "--0", "-00", "+1", " 1", "abc", "0x1"}) {
    EXPECT_EQ(parse_integer(text, kMax), std::unexpected(NumberError::kMalformed)) << text;
  }
}

}  // namespace
}  // namespace klined
