#include "klined/core/interval.hpp"

#include <algorithm>
#include <chrono>
#include <numeric>

#include "klined/base/assertion.hpp"

namespace klined {

namespace {

constexpr UnixSeconds kMinute = 60;
constexpr UnixSeconds kHour = 60 * kMinute;
constexpr UnixSeconds kDay = 24 * kHour;
// 1970-01-01 was a Thursday: the Monday of its week was three days before.
constexpr UnixSeconds kFirstMonday = -3 * kDay;

struct Spec {
  std::string_view name;
  std::string_view table;
  UnixSeconds width;   // 0 where it varies (months)
  UnixSeconds origin;  // a bucket's beginning
};

constexpr std::array<Spec, kIntervalCount> kSpecs = {{
    {"1s", "trade_kline_1s", 1, 0},
    {"1m", "trade_kline_1m", kMinute, 0},
    {"3m", "trade_kline_3m", 3 * kMinute, 0},
    {"5m", "trade_kline_5m", 5 * kMinute, 0},
    {"15m", "trade_kline_15m", 15 * kMinute, 0},
    {"30m", "trade_kline_30m", 30 * kMinute, 0},
    {"1h", "trade_kline_1h", kHour, 0},
    {"2h", "trade_kline_2h", 2 * kHour, 0},
    {"4h", "trade_kline_4h", 4 * kHour, 0},
    {"6h", "trade_kline_6h", 6 * kHour, 0},
    {"8h", "trade_kline_8h", 8 * kHour, 0},
    {"12h", "trade_kline_12h", 12 * kHour, 0},
    {"1d", "trade_kline_1d", kDay, 0},
    {"3d", "trade_kline_3d", 3 * kDay, 0},
    {"1w", "trade_kline_1w", 7 * kDay, kFirstMonday},
    {"1M", "trade_kline_1mo", 0, 0},
}};

const Spec& spec_of(Interval interval) { return kSpecs[static_cast<std::size_t>(interval)]; }

Bucket month_of(UnixSeconds time) {
  using namespace std::chrono;
  const year_month_day date{floor<days>(sys_seconds(seconds(time)))};
  const auto seconds_of = [](year_month month) { return sys_seconds(sys_days(month / 1)).time_since_epoch().count(); };
  const year_month month = date.year() / date.month();
  return {seconds_of(month), seconds_of(month + months(1))};
}

}  // namespace

std::string_view name_of(Interval interval) { return spec_of(interval).name; }

std::string_view table_of(Interval interval) { return spec_of(interval).table; }

std::optional<Interval> interval_of(std::string_view name) {
  if (name == "24h") return Interval::k1d;
  const auto found = std::ranges::find(kSpecs, name, &Spec::name);
  if (found == kSpecs.end()) return std::nullopt;
  return static_cast<Interval>(found - kSpecs.begin());
}

Bucket bucket_of(Interval interval, UnixSeconds time) {
  KLINED_ASSERT(time >= 0 && time <= kMaxBlockTime, "block times are from 1970 to 9999");
  const Spec& spec = spec_of(interval);
  if (spec.width == 0) return month_of(time);
  const UnixSeconds begin = time - (time - spec.origin) % spec.width;
  return {begin, begin + spec.width};
}

UnixSeconds closing_time(Interval interval, UnixSeconds begin, UnixSeconds grace) {
  // The first week begins before 1970.
  return bucket_of(interval, std::max<UnixSeconds>(begin, 0)).end + grace;
}

std::int64_t common_span(std::span<const Interval> intervals) {
  std::int64_t span = 0;
  for (const Interval interval : intervals) {
    const Spec& spec = spec_of(interval);
    // Weeks and months are unions of days, but not of longer spans counted from 1970-01-01.
    const bool of_days = spec.width == 0 || spec.origin != 0;
    span = std::gcd(span, of_days ? kDay : spec.width);
  }
  KLINED_ASSERT(span > 0, "at least one interval");
  return span;
}

}  // namespace klined
