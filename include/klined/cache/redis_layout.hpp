// How candles lie in Redis: `kline:<chain>:<pair>:<interval>` is a hash, field = start of the bucket in unix seconds,
// value = a serialized `Kline`. Readers depend on it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "klined/cache/row_source.hpp"
#include "klined/core/series.hpp"

namespace klined::proto {
class Kline;
}

namespace klined {

// The pattern that all keys of candles match; other programs' keys may match it too.
inline constexpr std::string_view kRedisKeyPattern = "kline:*";

// What decides between two states of a candle: the larger revision, and at the same revision the closed one.
struct CandleVersion {
  std::int64_t revision = 0;
  bool closed = false;
  friend auto operator<=>(const CandleVersion&, const CandleVersion&) = default;
};

std::string redis_key_of(const SeriesName& series);
void append_redis_key(ChainId chain, std::string_view pair, Interval interval, std::string& out);
// Nothing where the key is not exactly as redis_key_of() writes it.
std::optional<SeriesName> series_of_redis_key(std::string_view key);

// The start of the bucket that the field stands for; nothing where it is not exactly a bucket's start of the interval.
std::optional<UnixSeconds> time_of_field(Interval interval, std::string_view field);

// Reads a stored value. False where it is corrupt: not a `Kline`, of another candle, or without trades.
bool read_kline(const SeriesName& series, UnixSeconds time, std::string_view value, proto::Kline& out);
// The version of a stored value; nothing where it is corrupt.
std::optional<CandleVersion> version_of_value(const SeriesName& series, UnixSeconds time, std::string_view value);

}  // namespace klined
