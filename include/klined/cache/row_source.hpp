// Where the cache reads the truth from when Redis has lost something.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "klined/base/error.hpp"
#include "klined/core/series.hpp"

namespace klined {

// A pair at an interval: one hash in Redis.
struct SeriesName {
  ChainId chain = 0;
  std::string pair;
  Interval interval = Interval::k1m;
  friend auto operator<=>(const SeriesName&, const SeriesName&) = default;
};

// A seam: the tables of MySQL in production, known rows in tests. Called on the cache's own thread only, which must not
// wait for long: every call answers or fails within seconds, since the cache can't be destroyed while one is under way.
class RowSource {
 public:
  virtual ~RowSource() = default;

  // The series' stored candles with the largest times, at most `keep`, in any order. Empty where nothing is stored, and
  // where the series' interval has no table.
  virtual Result<std::vector<CandleRow>> newest(ChainId chain, std::string_view pair, Interval interval,
                                                std::size_t keep) = 0;

  // The series of which a row was written (by the wall clock, not by block time) at or after `since`: those whose key
  // should exist. Ordered by name; at most `limit` of them, beginning after `after`; an empty page is the end.
  virtual Result<std::vector<SeriesName>> active_since(UnixSeconds since, const std::optional<SeriesName>& after,
                                                       std::size_t limit) = 0;

  // False where another process writes the pair, and mends its keys.
  virtual Result<bool> is_ours(ChainId /*chain*/, std::string_view /*pair*/) { return true; }

  // The clock that closes candles of the chain, without the grace: a candle is closed where its bucket's end plus
  // RedisOptions::close_grace is at or before it. May be behind the lanes' own clocks, never ahead of them.
  virtual UnixSeconds close_clock(ChainId chain) = 0;
};

}  // namespace klined
