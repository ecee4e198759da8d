// Intervals and their buckets: which span of time a trade belongs to. All in UTC.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "klined/base/clock.hpp"

namespace klined {

// 9999-12-31T23:59:59Z: the last block time that has buckets. A trade beyond it is `future`, whatever its record says.
inline constexpr UnixSeconds kMaxBlockTime = 253'402'300'799;

// Ordered by length.
enum class Interval : std::uint8_t {
  k1s,
  k1m,
  k3m,
  k5m,
  k15m,
  k30m,
  k1h,
  k2h,
  k4h,
  k6h,
  k8h,
  k12h,
  k1d,
  k3d,
  k1w,
  k1M
};

inline constexpr std::size_t kIntervalCount = 16;
inline constexpr std::array<Interval, kIntervalCount> kAllIntervals = {
    Interval::k1s, Interval::k1m, Interval::k3m, Interval::k5m, Interval::k15m, Interval::k30m,
    Interval::k1h, Interval::k2h, Interval::k4h, Interval::k6h, Interval::k8h,  Interval::k12h,
    Interval::k1d, Interval::k3d, Interval::k1w, Interval::k1M};

// A candle's span of time: [begin, end), unix seconds.
struct Bucket {
  UnixSeconds begin = 0;
  UnixSeconds end = 0;
  friend bool operator==(const Bucket&, const Bucket&) = default;
};

// The name in config and messages: "1m", "1M" (one month).
std::string_view name_of(Interval interval);
// Accepts the names and "24h" (an alias of 1d); nothing for any other text.
std::optional<Interval> interval_of(std::string_view name);
// The table that holds the interval's candles: "trade_kline_1m"; "trade_kline_1mo" for 1M, since some servers ignore
// case.
std::string_view table_of(Interval interval);

// The bucket that holds `time` (0..kMaxBlockTime). Weeks start on Monday, months are calendar months, 3d counts from
// 1970-01-01. Buckets of one interval tile time: each second is in exactly one. The first week begins before 1970
// (-259200).
Bucket bucket_of(Interval interval, UnixSeconds time);
// When the chain's clock closes the candle whose bucket begins at `begin`: the bucket's end and the grace behind it.
UnixSeconds closing_time(Interval interval, UnixSeconds begin, UnixSeconds grace);

// The longest span, in seconds, whose buckets (counted from 1970-01-01) each lie inside one bucket of every given
// interval: 60 for {1m, 5m, 1h}; 86400 for {1w, 1M}. A summary of such a span merges into all of them.
std::int64_t common_span(std::span<const Interval> intervals);

}  // namespace klined
