// Candles to the outside: protobuf for Kafka and Redis, JSON and CSV for people and scripts.
#pragma once

#include <string>
#include <string_view>

#include "klined/core/series.hpp"

namespace klined::proto {
class Kline;
class KlineFluctuation;
}  // namespace klined::proto

namespace klined {

struct KlineView {
  ChainId chain = 0;
  std::string_view pair;
  Interval interval = Interval::k1m;
  UnixSeconds time = 0;
  const Candle* candle = nullptr;
  bool closed = false;
};

// Changes of the price over windows, as fractions; see KlineFluctuation.
struct Fluctuation {
  double over_1m = 0, over_5m = 0, over_15m = 0, over_1h = 0, over_4h = 0, over_12h = 0, over_24h = 0;
  friend bool operator==(const Fluctuation&, const Fluctuation&) = default;
};

void fill_kline(const KlineView& view, proto::Kline& out);
void fill_fluctuation(const Fluctuation& fluctuation, proto::KlineFluctuation& out);
// A serialized `Kline`, as the Redis hashes hold it.
std::string encode_kline(const KlineView& view);
// Appends one JSON object with the protobuf's field names in its order ("chain_id":…, "closed":…); doubles in the
// shortest form that reads back the same. No line end.
void append_json(const KlineView& view, std::string& out);
// The CSV header's and a candle's line, each with its line end; the same columns as the JSON.
std::string_view csv_header();
void append_csv(const KlineView& view, std::string& out);

}  // namespace klined
