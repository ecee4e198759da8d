// Decimals and doubles against exact arithmetic: nothing is shared with the code under test but the JSON grammar.
#include "klined/core/decimal.hpp"

#include <bit>
#include <cmath>
#include <limits>

#include <gtest/gtest.h>
#include <boost/multiprecision/cpp_int.hpp>

#include "property/random_trades.hpp"

namespace klined {
namespace {

using boost::multiprecision::cpp_int;
using boost::multiprecision::cpp_rational;

cpp_int power(int base, std::int64_t exponent) {
  return boost::multiprecision::pow(cpp_int(base), static_cast<unsigned>(exponent));
}

// value × base^exponent. Built from a numerator and a denominator: Boost 1.81 divides 1 by an integer wrongly.
cpp_rational scaled(const cpp_int& value, int base, std::int64_t exponent) {
  return exponent >= 0 ? cpp_rational(value * power(base, exponent), 1) : cpp_rational(value, power(base, -exponent));
}

cpp_int integer_of(Int128 value) {
  return (cpp_int(static_cast<std::uint64_t>(static_cast<UnsignedInt128>(value) >> 64U)) << 64U) +
         static_cast<std::uint64_t>(static_cast<UnsignedInt128>(value));
}

cpp_rational exact(double value) {
  int exponent = 0;
  const double fraction = std::frexp(value, &exponent);
  return scaled(static_cast<std::int64_t>(std::ldexp(fraction, 53)), 2, exponent - 53);
}

// That no other double is nearer to the value, and that of two that are as near this is the even one.
void expect_nearest(double got, const cpp_rational& value) {
  ASSERT_TRUE(std::isfinite(got));
  const cpp_rational error = abs(cpp_rational(exact(got) - value));
  for (const double other : {std::nextafter(got, 0), std::nextafter(got, std::numeric_limits<double>::infinity())}) {
    if (!std::isfinite(other)) continue;
    const cpp_rational other_error = abs(cpp_rational(exact(other) - value));
    ASSERT_LE(error, other_error) << got;
    const bool is_tie = error == other_error && other != got;
    ASSERT_TRUE(!is_tie || (std::bit_cast<std::uint64_t>(got) & 1U) == 0) << got;
  }
}

cpp_int half_even(const cpp_rational& value) {
  cpp_int floor = numerator(value) / denominator(value);
  const cpp_rational rest = value - floor;
  const cpp_rational half(1, 2);
  if (rest > half || (rest == half && floor % 2 != 0)) return floor + 1;
  return floor;
}

struct NumberSample {
  std::string text;
  cpp_rational value;
};

// A JSON number of a random shape: short and long parts, runs of 0, 9 and 5, small and large exponents.
NumberSample random_number(Random& random) {
  const auto digits = [&random](std::int64_t count) {
    std::string text;
    while (static_cast<std::int64_t>(text.size()) < count) {
      static constexpr char kOften[] = {'0', '9', '5', '4'};
      const char digit =
          random.chance(50) ? kOften[random.between(0, 3)] : static_cast<char>('0' + random.between(0, 9));
      text.append(static_cast<std::size_t>(random.chance(30) ? random.between(1, 12) : 1), digit);
    }
    return text;
  };
  NumberSample sample;
  std::string whole = digits(random.between(1, random.chance(10) ? 60 : 20));
  whole.erase(0, std::min(whole.find_first_not_of('0'), whole.size() - 1));
  const std::string fraction = random.chance(80) ? digits(random.between(1, random.chance(10) ? 400 : 30)) : "";
  sample.text = whole + (fraction.empty() ? "" : "." + fraction);
  std::int64_t exponent = 0;
  if (random.chance(40)) {
    exponent = random.between(-45, 30);
    sample.text += (random.chance(50) ? "e" : "E") + std::string(exponent >= 0 && random.chance(50) ? "+" : "") +
                   std::to_string(exponent);
  }
  // The leading zeros go: cpp_int takes a number that begins with 0 for an octal one.
  std::string all = whole + fraction;
  all.erase(0, std::min(all.find_first_not_of('0'), all.size() - 1));
  sample.value = scaled(cpp_int(all), 10, exponent - static_cast<std::int64_t>(fraction.size()));
  return sample;
}

TEST(DecimalProperty, AmountsAreTheExactValueRoundedHalfEven) {
  const cpp_rational limit(power(10, 20));
  int in_range = 0;
  for (std::uint64_t seed = 1; seed <= 30'000; ++seed) {
    Random random(seed);
    const NumberSample sample = random_number(random);
    SCOPED_TRACE(testing::Message() << "seed " << seed << ": " << sample.text);
    const auto amount = Decimal::parse_amount(sample.text);
    if (sample.value >= limit) {
      ASSERT_EQ(amount, std::unexpected(NumberError::kOutOfRange));
      continue;
    }
    ASSERT_TRUE(amount);
    ASSERT_EQ(integer_of(amount->units()), half_even(sample.value * power(10, Decimal::kPlaces)));
    ASSERT_EQ(Decimal::parse_column(amount->to_string()), *amount);
    in_range += 1;
    // A negative sign is only allowed before zero.
    ASSERT_EQ(Decimal::parse_amount("-" + sample.text).has_value(), sample.value == 0);
  }
  EXPECT_GT(in_range, 15'000);
}

TEST(DecimalProperty, DoublesAreTheNearest) {
  for (std::uint64_t seed = 1; seed <= 20'000; ++seed) {
    Random random(seed);
    const NumberSample sample = random_number(random);
    SCOPED_TRACE(testing::Message() << "seed " << seed << ": " << sample.text);
    const auto value = parse_double(sample.text);
    ASSERT_TRUE(value);
    expect_nearest(*value, sample.value);
    const auto negative = parse_double("-" + sample.text);
    ASSERT_TRUE(negative);
    ASSERT_EQ(*negative, -*value);
  }
}

// Decimals of every size, and those that lie right between two doubles or next to such a place.
Decimal random_decimal(Random& random) {
  if (random.chance(30)) {
    // (2k + 1) × 2^n units are half way between two multiples of 2^(n + 1): ties where k has 53 bits.
    const Int128 odd = (Int128{random.between(std::int64_t{1} << 52U, (std::int64_t{1} << 53U) - 1)} << 1U) + 1;
    const Int128 units = (odd << random.between(0, 70)) + random.between(-1, 1);
    return Decimal::from_units(units < Decimal::kLimit ? units : units >> 2U);
  }
  Int128 units = 0;
  for (std::int64_t digits = random.between(0, 38); digits > 0; --digits) units = units * 10 + random.between(0, 9);
  return Decimal::from_units(units);
}

TEST(DecimalProperty, SumsAsDoublesAreTheNearest) {
  for (std::uint64_t seed = 1; seed <= 20'000; ++seed) {
    Random random(seed);
    const Decimal decimal = random_decimal(random);
    SCOPED_TRACE(testing::Message() << "seed " << seed << ": " << decimal.to_string());
    expect_nearest(decimal.to_double(), cpp_rational(integer_of(decimal.units()), power(10, Decimal::kPlaces)));
  }
}

TEST(DecimalProperty, QuotientsAreTheNearest) {
  for (std::uint64_t seed = 1; seed <= 20'000; ++seed) {
    Random random(seed);
    const Decimal dividend = random_decimal(random);
    // Some divisors are powers of two, so that exact quotients and ties come up.
    const Decimal divisor =
        random.chance(30) ? Decimal::from_units(Int128{1} << random.between(0, 125)) : random_decimal(random);
    SCOPED_TRACE(testing::Message() << "seed " << seed << ": " << dividend.to_string() << " / " << divisor.to_string());
    const double quotient = Decimal::quotient(dividend, divisor);
    if (divisor.is_zero()) {
      ASSERT_EQ(quotient, 0);
    } else {
      expect_nearest(quotient, cpp_rational(integer_of(dividend.units()), integer_of(divisor.units())));
    }
  }
}

TEST(DecimalProperty, AdditionIsExactInAnyOrder) {
  for (std::uint64_t seed = 1; seed <= 2'000; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Random random(seed);
    std::vector<Decimal> values(static_cast<std::size_t>(random.between(2, 20)));
    cpp_int expected = 0;
    for (Decimal& value : values) {
      value = Decimal::parse_amount(std::to_string(random.between(0, INT64_MAX)) + "e-" +
                                    std::to_string(random.between(0, 20)))
                  .value();
      expected += integer_of(value.units());
    }
    for (int order = 0; order < 3; ++order) {
      std::ranges::shuffle(values, random.engine());
      Decimal sum;
      for (const Decimal value : values) ASSERT_TRUE(sum.add(value));
      ASSERT_EQ(integer_of(sum.units()), expected);
    }
  }
}

}  // namespace
}  // namespace klined
