#include "klined/cache/redis_layout.hpp"

#include <charconv>
#include <iterator>

#include <fmt/format.h>

#include "kline.pb.h"

namespace klined {
namespace {

constexpr std::string_view kKeyPrefix = "kline:";

// The number that `text` is the canonical decimal form of: no plus sign, no leading zeros, nothing around it.
template <typename Number>
std::optional<Number> canonical_number(std::string_view text) {
  Number number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (fmt::format_int(number).size() != text.size()) return std::nullopt;
  return number;
}

}  // namespace

std::string redis_key_of(const SeriesName& series) {
  std::string key;
  append_redis_key(series.chain, series.pair, series.interval, key);
  return key;
}

void append_redis_key(ChainId chain, std::string_view pair, Interval interval, std::string& out) {
  fmt::format_to(std::back_inserter(out), "{}{}:{}:{}", kKeyPrefix, chain, pair, name_of(interval));
}

std::optional<SeriesName> series_of_redis_key(std::string_view key) {
  if (!key.starts_with(kKeyPrefix)) return std::nullopt;
  key.remove_prefix(kKeyPrefix.size());
  // A pair may itself hold colons: the chain ends at the first one, the interval begins after the last.
  const std::size_t first = key.find(':');
  const std::size_t last = key.rfind(':');
  if (first == std::string_view::npos || first + 1 >= last) return std::nullopt;
  const auto chain = canonical_number<ChainId>(key.substr(0, first));
  const std::string_view interval_name = key.substr(last + 1);
  const auto interval = interval_of(interval_name);
  if (!chain || !interval || name_of(*interval) != interval_name) return std::nullopt;
  return SeriesName{*chain, std::string(key.substr(first + 1, last - first - 1)), *interval};
}

std::optional<UnixSeconds> time_of_field(Interval interval, std::string_view field) {
  const auto time = canonical_number<UnixSeconds>(field);
  if (!time || *time > kMaxBlockTime) return std::nullopt;
  // Only the first week begins before 1970, and 1970-01-01 is in it.
  const UnixSeconds inside = *time < 0 ? 0 : *time;
  if (bucket_of(interval, inside).begin != *time) return std::nullopt;
  return time;
}

bool read_kline(const SeriesName& series, UnixSeconds time, std::string_view value, proto::Kline& out) {
  return out.ParseFromArray(value.data(), static_cast<int>(value.size())) && out.chain_id() == series.chain &&
         out.pair_addr() == series.pair && out.interval() == name_of(series.interval) && out.candle_time() == time &&
         out.total_count() > 0;
}

std::optional<CandleVersion> version_of_value(const SeriesName& series, UnixSeconds time, std::string_view value) {
  proto::Kline kline;
  if (!read_kline(series, time, value, kline)) return std::nullopt;
  return CandleVersion{kline.total_count(), kline.closed()};
}

}  // namespace klined
