#include "klined/core/decimal.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>

#include "klined/base/assertion.hpp"

namespace klined {

namespace {

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }

// The parts of a JSON number: -123.45e-6 is negative, integer "123", fraction "45", exponent -6.
struct NumberText {
  bool negative = false;
  std::string_view integer;
  std::string_view fraction;
  std::int64_t exponent = 0;  // held within +-kExponentLimit; beyond that only "huge" or "tiny" matters
};

constexpr std::int64_t kExponentLimit = 1'000'000'000;

std::optional<NumberText> split_number(std::string_view text) {
  NumberText number;
  const char* at = text.data();
  const char* const end = at + text.size();
  const auto digits = [&at, end] {
    const char* const begin = at;
    while (at != end && is_digit(*at)) ++at;
    return std::string_view(begin, static_cast<std::size_t>(at - begin));
  };
  if (at != end && *at == '-') {
    number.negative = true;
    ++at;
  }
  number.integer = digits();
  if (number.integer.empty() || (number.integer.size() > 1 && number.integer[0] == '0')) return std::nullopt;
  if (at != end && *at == '.') {
    ++at;
    number.fraction = digits();
    if (number.fraction.empty()) return std::nullopt;
  }
  if (at != end && (*at == 'e' || *at == 'E')) {
    ++at;
    bool negative = false;
    if (at != end && (*at == '+' || *at == '-')) negative = *at++ == '-';
    const std::string_view exponent = digits();
    if (exponent.empty()) return std::nullopt;
    for (const char c : exponent) number.exponent = std::min(number.exponent * 10 + (c - '0'), kExponentLimit);
    if (negative) number.exponent = -number.exponent;
  }
  if (at != end) return std::nullopt;
  return number;
}

constexpr std::array<std::uint64_t, 20> kPowersOfTen = [] {
  std::array<std::uint64_t, 20> powers{1};
  for (std::size_t i = 1; i < powers.size(); ++i) powers[i] = powers[i - 1] * 10;
  return powers;
}();
constexpr std::size_t kDigitsAtOnce = 19;  // as many as 64 bits hold

// A number of at most kDigitsAtOnce digits without an exponent, as nearly all are: digits / 10^places.
struct ShortNumber {
  bool negative = false;
  std::uint64_t digits = 0;
  std::size_t places = 0;
};

// Nothing for any other text, malformed or not: split_number() tells.
std::optional<ShortNumber> read_short(std::string_view text) {
  ShortNumber number;
  const char* at = text.data();
  const char* const end = at + text.size();
  if (at != end && *at == '-') {
    number.negative = true;
    ++at;
  }
  const char* const integer = at;
  for (; at != end && is_digit(*at); ++at) number.digits = number.digits * 10 + static_cast<unsigned>(*at - '0');
  const auto integers = static_cast<std::size_t>(at - integer);
  if (integers == 0 || (integers > 1 && *integer == '0')) return std::nullopt;
  if (at != end) {
    if (*at++ != '.') return std::nullopt;
    const char* const fraction = at;
    for (; at != end && is_digit(*at); ++at) number.digits = number.digits * 10 + static_cast<unsigned>(*at - '0');
    number.places = static_cast<std::size_t>(at - fraction);
    if (at != end || number.places == 0) return std::nullopt;
  }
  if (integers + number.places > kDigitsAtOnce) return std::nullopt;  // may have wrapped around
  return number;
}

bool all_zero(std::string_view digits) { return digits.find_first_not_of('0') == std::string_view::npos; }

// The number that at most kDigitsAtOnce digits spell.
std::uint64_t number_of(std::string_view digits) {
  std::uint64_t number = 0;
  for (const char digit : digits) number = number * 10 + static_cast<unsigned>(digit - '0');
  return number;
}

// Appends decimal digits to a number: 12 and "345" give 12345.
UnsignedInt128 append_digits(UnsignedInt128 number, std::string_view digits) {
  while (!digits.empty()) {
    const std::size_t count = std::min(digits.size(), kDigitsAtOnce);
    number = number * kPowersOfTen[count] + number_of(digits.substr(0, count));
    digits.remove_prefix(count);
  }
  return number;
}

UnsignedInt128 append_zeros(UnsignedInt128 number, std::size_t count) {
  for (; count > kDigitsAtOnce; count -= kDigitsAtOnce) number *= kPowersOfTen[kDigitsAtOnce];
  return number * kPowersOfTen[count];
}

// The digit sequence integer+fraction, without building it.
class Digits {
 public:
  explicit Digits(const NumberText& n) : integer_(n.integer), fraction_(n.fraction) {
    while (leading_zeros_ < size() && (*this)[leading_zeros_] == 0) ++leading_zeros_;
  }
  std::size_t size() const { return integer_.size() + fraction_.size(); }
  int operator[](std::size_t at) const {
    return (at < integer_.size() ? integer_[at] : fraction_[at - integer_.size()]) - '0';
  }
  std::size_t leading_zeros() const { return leading_zeros_; }
  // Where the decimal point stands, counted from the first digit that is not 0: the value is 0.d1d2d3… × 10^point.
  std::int64_t point(std::int64_t exponent) const {
    return static_cast<std::int64_t>(integer_.size()) + exponent - static_cast<std::int64_t>(leading_zeros_);
  }
  // The number that the digits [first, first + count) spell, zeros standing in past the end. At most 38 digits.
  UnsignedInt128 number(std::size_t first, std::size_t count) const {
    const std::string_view whole = integer_.substr(std::min(first, integer_.size()), count);
    const std::size_t begin = first - std::min(first, integer_.size());
    const std::string_view part = fraction_.substr(std::min(begin, fraction_.size()), count - whole.size());
    return append_zeros(append_digits(append_digits(0, whole), part), count - whole.size() - part.size());
  }

 private:
  std::string_view integer_;
  std::string_view fraction_;
  std::size_t leading_zeros_ = 0;
};

// The double nearest to numerator / denominator, both positive: a quotient of at least 64 significant bits with a
// sticky last bit rounds exactly as the true quotient does, since the sticky bit lies below the double's rounding bit.
double nearest_quotient(UnsignedInt128 numerator, UnsignedInt128 denominator) {
  UnsignedInt128 quotient = numerator / denominator;
  UnsignedInt128 rest = numerator % denominator;
  int scale = 0;
  const auto bits = [](UnsignedInt128 v) {
    const auto high = static_cast<std::uint64_t>(v >> 64U);
    return high != 0 ? 128 - std::countl_zero(high) : 64 - std::countl_zero(static_cast<std::uint64_t>(v));
  };
  while (rest != 0 && bits(quotient) < 64) {
    // The remainder is below the denominator (< 2^127), so it always has room for at least one more binary digit.
    const int shift = std::min(128 - bits(rest), 127 - bits(quotient));
    rest <<= static_cast<unsigned>(shift);
    quotient = (quotient << static_cast<unsigned>(shift)) + rest / denominator;
    rest %= denominator;
    scale += shift;
  }
  if (rest != 0) quotient |= 1U;
  return std::ldexp(static_cast<double>(quotient), -scale);
}

constexpr Int128 kOne = 1'000'000'000'000;  // units of 1

}  // namespace

bool is_json_number(std::string_view text) { return split_number(text).has_value(); }

std::expected<Decimal, NumberError> Decimal::parse_amount(std::string_view json_number) {
  if (const std::optional<ShortNumber> number = read_short(json_number);
      number && number->places <= std::size_t{kPlaces}) {
    if (number->negative && number->digits != 0) return std::unexpected(NumberError::kNegative);
    // Below 10^19, so in range, and below 10^31 units.
    return from_units(static_cast<Int128>(number->digits) * kPowersOfTen[std::size_t{kPlaces} - number->places]);
  }
  const std::optional<NumberText> number = split_number(json_number);
  if (!number) return std::unexpected(NumberError::kMalformed);
  if (all_zero(number->integer) && all_zero(number->fraction)) return Decimal();
  if (number->negative) return std::unexpected(NumberError::kNegative);
  const Digits digits(*number);
  const std::int64_t point = digits.point(number->exponent);
  if (point > 20) return std::unexpected(NumberError::kOutOfRange);  // 0.d1… × 10^21 is at least 1e20
  if (point + kPlaces < 0) return Decimal();
  const auto kept = static_cast<std::size_t>(point + kPlaces);  // how many digits from d1 on stand at or above 1e-12
  const std::size_t first_dropped = digits.leading_zeros() + kept;
  UnsignedInt128 units = digits.number(digits.leading_zeros(), kept);
  if (first_dropped < digits.size()) {
    const int next = digits[first_dropped];
    bool above_half = next > 5;
    if (next == 5) {
      for (std::size_t i = first_dropped + 1; i < digits.size() && !above_half; ++i) above_half = digits[i] != 0;
    }
    if (above_half || (next == 5 && (units & 1U) != 0)) ++units;
  }
  return from_units(static_cast<Int128>(units));
}

std::optional<Decimal> Decimal::parse_column(std::string_view text) {
  const std::optional<NumberText> number = split_number(text);
  if (!number || number->negative || number->fraction.size() > kPlaces) return std::nullopt;
  if (number->integer.size() > 26 || text.find_first_of("eE") != std::string_view::npos) return std::nullopt;
  return from_units(static_cast<Int128>(Digits(*number).number(0, number->integer.size() + kPlaces)));
}

double Decimal::to_double() const {
  KLINED_ASSERT(units_ >= 0, "amounts are not negative");
  constexpr Int128 kExact = Int128{1} << 53U;
  if (units_ <= kExact) return static_cast<double>(units_) / static_cast<double>(kOne);
  return nearest_quotient(static_cast<UnsignedInt128>(units_), static_cast<UnsignedInt128>(kOne));
}

double Decimal::quotient(Decimal dividend, Decimal divisor) {
  if (divisor.is_zero() || dividend.is_zero()) return 0;
  return nearest_quotient(static_cast<UnsignedInt128>(dividend.units_), static_cast<UnsignedInt128>(divisor.units_));
}

char* Decimal::write(char* out) const {
  const auto units = static_cast<UnsignedInt128>(units_);
  const auto fraction = static_cast<std::uint64_t>(units % static_cast<UnsignedInt128>(kOne));
  const UnsignedInt128 whole = units / static_cast<UnsignedInt128>(kOne);
  constexpr std::uint64_t kPart = kPowersOfTen[18];  // `whole` is below 10^26: two parts
  const auto high = static_cast<std::uint64_t>(whole / kPart);
  const auto low = static_cast<std::uint64_t>(whole % kPart);
  const auto padded = [&out](std::uint64_t value, int width) {
    for (int i = width - 1; i >= 0; --i) {
      out[i] = static_cast<char>('0' + value % 10);
      value /= 10;
    }
    out += width;
  };
  if (high != 0) {
    out = std::to_chars(out, out + 20, high).ptr;
    padded(low, 18);
  } else {
    out = std::to_chars(out, out + 20, low).ptr;
  }
  *out++ = '.';
  padded(fraction, kPlaces);
  return out;
}

std::string Decimal::to_string() const {
  std::array<char, 48> text{};
  return {text.data(), write(text.data())};
}

std::expected<double, NumberError> parse_double(std::string_view json_number) {
  // Both are doubles, exactly, and the quotient is rounded once.
  constexpr std::uint64_t kExact = std::uint64_t{1} << 53U;
  if (const std::optional<ShortNumber> number = read_short(json_number); number && number->digits <= kExact) {
    const double value = static_cast<double>(number->digits) / static_cast<double>(kPowersOfTen[number->places]);
    return number->negative && value != 0 ? -value : value;
  }
  const std::optional<NumberText> number = split_number(json_number);
  if (!number) return std::unexpected(NumberError::kMalformed);
  double value = 0;
  const auto [end, error] = std::from_chars(json_number.data(), json_number.data() + json_number.size(), value);
  if (error == std::errc::result_out_of_range) {
    // from_chars says only "out of range": a value below 1 is the tiny one, read as 0.
    if (all_zero(number->integer) && all_zero(number->fraction)) return 0.0;
    if (Digits(*number).point(number->exponent) < 0) return 0.0;
    return std::unexpected(NumberError::kOutOfRange);
  }
  KLINED_ASSERT(error == std::errc() && end == json_number.data() + json_number.size(),
                "a JSON number is a double's text");
  return value == 0 ? 0.0 : value;
}

std::expected<std::int64_t, NumberError> parse_integer(std::string_view json_number, std::int64_t max) {
  const bool negative = json_number.starts_with('-');
  const std::string_view digits = json_number.substr(negative ? 1 : 0);
  if (digits.empty() || (digits.size() > 1 && digits[0] == '0')) return std::unexpected(NumberError::kMalformed);
  std::uint64_t value = 0;
  bool good = true;
  for (const char digit : digits) {
    good = good && is_digit(digit);
    value = value * 10 + static_cast<unsigned>(digit - '0');
  }
  if (!good) return std::unexpected(NumberError::kMalformed);
  if (negative && (value != 0 || digits.size() > kDigitsAtOnce)) return std::unexpected(NumberError::kNegative);
  if (digits.size() > kDigitsAtOnce) return std::unexpected(NumberError::kOutOfRange);
  if (value > static_cast<std::uint64_t>(max)) return std::unexpected(NumberError::kOutOfRange);
  return static_cast<std::int64_t>(value);
}

}  // namespace klined
