// What `klined verify` holds of the published and the cached candles: which are not known to be right yet. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "klined/core/series.hpp"
#include "klined/store/table_check.hpp"
#include "klined/stream/recomputation.hpp"

namespace klined::proto {
class Kline;
}

namespace klined {

// The fields that differ, but for `closed`, which the tables do not tell of.
std::vector<CellDifference> differences_of(const proto::Kline& stored, const proto::Kline& expected);
proto::Kline expected_kline(const CandleKey& key, const Candle& candle);

// A candle outside the tables that is not what the recomputation says, or newer than it.
struct Suspect {
  std::int64_t largest = 0;  // the largest revision that was seen at first
  std::string newest;        // the last value seen of the largest revision; "" where there is none
  // By revision, what was published last of it (a digest).
  std::map<std::int64_t, std::uint64_t> published;
};
using Suspects = std::map<CandleKey, Suspect>;

// The published candles. A row is committed after the message that holds the same revision of its candle was
// acknowledged. So at every moment the topic holds, for each row, a message of the row's revision, and the last one of
// these must say what the row says; later revisions are of what is not committed yet. A candle of which such later ones
// are known is judged once the tables have passed what was seen: a job that goes on passes it, whatever the load.
class PublishedCheck {
 public:
  explicit PublishedCheck(Recomputation& again) : again_(again) {}

  // All messages of the topic, in order, with the recomputation standing still; then end_first().
  void take_first(const CandleKey& key, const proto::Kline& kline);
  void end_first();
  // The recomputation has gone on to a later state of the tables: what was published since, then settle().
  void take_later(const CandleKey& key, const proto::Kline& kline);
  void settle();

  const Suspects& suspects() const { return suspects_; }
  std::int64_t messages() const { return klines_; }
  std::size_t bytes() const;

 private:
  void add(Suspect& suspect, const proto::Kline& kline) const;
  bool is_settled(const CandleKey& key, Suspect& suspect);

  Recomputation& again_;
  Suspects suspects_;
  std::int64_t klines_ = 0;
  std::size_t versions_ = 0;
};

// The cached candles: one value of each. A newer one than the row's is judged once the tables have passed it.
class CachedCheck {
 public:
  explicit CachedCheck(Recomputation& again) : again_(again) {}

  // The value of the field; null where it is missing, or no candle.
  void look(const CandleKey& key, const proto::Kline* kline);

  const Suspects& suspects() const { return suspects_; }
  // Newer than the tables at each look, with the tables passing what was seen before.
  std::int64_t in_flight() const { return in_flight_; }

 private:
  Recomputation& again_;
  Suspects suspects_;
  std::int64_t in_flight_ = 0;
};

}  // namespace klined
