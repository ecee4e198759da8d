// Any bytes as a candle in Redis: taken for corrupt, or read as a candle that has a version.
#include <cstdint>
#include <string>

#include "fuzz/fuzz.hpp"
#include "kline.pb.h"
#include "klined/cache/redis_layout.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string value(reinterpret_cast<const char*>(data), size);
  // The key and field that the value itself names, so that it is not refused for belonging elsewhere.
  klined::proto::Kline named;
  klined::SeriesName series{100000, "pair", klined::Interval::k1m};
  klined::UnixSeconds time = 1'700'000'040;
  if (named.ParseFromString(value)) {
    series.chain = static_cast<klined::ChainId>(named.chain_id());
    series.pair = named.pair_addr();
    series.interval = klined::interval_of(named.interval()).value_or(klined::Interval::k1m);
    time = named.candle_time();
  }
  klined::proto::Kline read;
  const bool whole = klined::read_kline(series, time, value, read);
  const auto version = klined::version_of_value(series, time, value);
  FUZZ_CHECK(whole == version.has_value());
  if (version) FUZZ_CHECK(version->revision > 0 && version->revision == read.total_count());
  // The same bytes as a key and as a field: what is taken reads back as the same text.
  if (const auto name = klined::series_of_redis_key(value)) FUZZ_CHECK(klined::redis_key_of(*name) == value);
  if (const auto field = klined::time_of_field(klined::Interval::k1h, value))
    FUZZ_CHECK(std::to_string(*field) == value);
  return 0;
}
