// Exact money: counts of 1e-12 in 128 bits, as wide as MySQL's DECIMAL(38,12).
#pragma once

#include <compare>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

namespace klined {

__extension__ using Int128 = __int128;
__extension__ using UnsignedInt128 = unsigned __int128;

enum class NumberError {
  kMalformed,   // not a JSON number
  kNegative,    // below zero (-0 is zero)
  kOutOfRange,  // too large for where it is used
};

// A non-negative decimal with 12 places. |units| < 10^38.
//
// Laws: add() is exact, commutative and associative as long as it does not refuse; parse() rounds half-even, once.
class Decimal {
 public:
  static constexpr int kPlaces = 12;
  // 10^38: the first count that DECIMAL(38,12) cannot hold.
  static constexpr Int128 kLimit = static_cast<Int128>(10'000'000'000'000'000'000ULL) * 10'000'000'000'000'000'000ULL;

  constexpr Decimal() = default;
  static constexpr Decimal from_units(Int128 units) {
    Decimal d;
    d.units_ = units;
    return d;
  }

  // Reads an amount: a JSON number (RFC 8259 grammar) in [0, 1e20), compared before rounding.
  static std::expected<Decimal, NumberError> parse_amount(std::string_view json_number);
  // Reads what a DECIMAL(38,12) column holds ("123.450000000000"); nothing for any other text.
  static std::optional<Decimal> parse_column(std::string_view text);

  constexpr Int128 units() const { return units_; }
  constexpr bool is_zero() const { return units_ == 0; }

  // False, and no change, where the sum would not fit DECIMAL(38,12).
  [[nodiscard]] constexpr bool add(Decimal other) {
    if (units_ > kLimit - 1 - other.units_) return false;
    units_ += other.units_;
    return true;
  }

  // The double nearest to the decimal (ties to even).
  double to_double() const;
  // The exact quotient rounded once to the nearest double; 0 where the divisor is 0.
  static double quotient(Decimal dividend, Decimal divisor);

  // With 12 places, as the column holds it: "123.450000000000".
  std::string to_string() const;
  // Writes the same text to `out` (at least 41 bytes of room) and returns the end.
  char* write(char* out) const;

  friend constexpr auto operator<=>(const Decimal&, const Decimal&) = default;

 private:
  Int128 units_ = 0;
};

// True where `text` is exactly a JSON number.
bool is_json_number(std::string_view text);

// Reads a finite double from a JSON number; overflow is kOutOfRange, underflow is 0, -0 is 0. Negative values are read.
std::expected<double, NumberError> parse_double(std::string_view json_number);

// Reads an integer in [0, max] from plain digits ("-0" is 0; no fraction, no exponent, no leading zeros).
std::expected<std::int64_t, NumberError> parse_integer(std::string_view json_number, std::int64_t max);

}  // namespace klined
