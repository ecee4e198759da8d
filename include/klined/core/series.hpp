// Names of candles and rows of tables: what memory, MySQL, Kafka and Redis say to one another about.
#pragma once

#include <string>

#include <boost/container/small_vector.hpp>

#include "klined/core/candle.hpp"
#include "klined/core/interval.hpp"

namespace klined {

// A candle's primary key.
struct CandleKey {
  ChainId chain = 0;
  std::string pair;
  Interval interval = Interval::k1m;
  UnixSeconds time = 0;  // start of the bucket
  friend auto operator<=>(const CandleKey&, const CandleKey&) = default;
};

struct CandleRow {
  CandleKey key;
  Candle candle;
};

// A chain's clock: the largest block_time of its well-formed, not-future buys and sells up to some place of a
// partition.
struct ChainClock {
  ChainId chain = 0;
  UnixSeconds time = 0;
  friend bool operator==(const ChainClock&, const ChainClock&) = default;
};
// Sorted by chain; a chain without a trade yet is not in it.
using ChainClocks = boost::container::small_vector<ChainClock, 2>;

}  // namespace klined
