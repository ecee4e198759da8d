// Candles to the outside: protobuf for Kafka and Redis, JSON and CSV for people and scripts.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "klined/core/series.hpp"

namespace klined::proto {
class Kline;
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
// A serialized `Kline`, as the Redis hashes hold it.
std::string encode_kline(const KlineView& view);

// Writes serialized `Klines`, one after the other. A candle is encoded once for both, the message and the Redis hash.
class KlinesEncoder {
 public:
  KlinesEncoder();
  ~KlinesEncoder();
  KlinesEncoder(const KlinesEncoder&) = delete;
  KlinesEncoder& operator=(const KlinesEncoder&) = delete;

  // Appends a candle to the message. Returns its part as encode_kline() gives it, valid until the next call.
  std::string_view add(const KlineView& view);
  // The message's; once at most, after the candles.
  void add(const Fluctuation& fluctuation);
  // The message; the next one begins empty.
  std::string take();

 private:
  std::unique_ptr<proto::Kline> kline_;  // reused
  std::string message_;
};

// Appends one JSON object with the protobuf's field names in its order ("chain_id":…, "closed":…); doubles in the
// shortest form that reads back the same. No line end.
void append_json(const KlineView& view, std::string& out);
// The CSV header's and a candle's line, each with its line end; the same columns as the JSON.
std::string_view csv_header();
void append_csv(const KlineView& view, std::string& out);

}  // namespace klined
