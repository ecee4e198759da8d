// From the config to the options of each server's client, and from the tables to the cache's repair.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "klined/cache/redis_cache.hpp"
#include "klined/store/candle_reader.hpp"
#include "klined/stream/close_clocks.hpp"
#include "klined/stream/config.hpp"

namespace klined {

MySqlOptions mysql_options(const Config& config);
// Requires config.redis.
RedisOptions redis_options(const Config& config);

// What Redis is repaired from: the tables. Used by the cache's thread only.
class MySqlRows final : public RowSource {
 public:
  using Partitions = std::vector<std::pair<std::string, std::int32_t>>;  // topic, partition
  // `partitions`: where others write the rest of the pairs, those whose pairs are ours; else none. `close_clocks` must
  // outlive this.
  MySqlRows(const Config& config, Partitions partitions, const CloseClocks& close_clocks);

  Result<std::vector<CandleRow>> newest(ChainId chain, std::string_view pair, Interval interval,
                                        std::size_t keep) override;
  Result<std::vector<SeriesName>> active_since(UnixSeconds since, const std::optional<SeriesName>& after,
                                               std::size_t limit) override;
  Result<bool> is_ours(ChainId chain, std::string_view pair) override;
  UnixSeconds close_clock(ChainId chain) override;

 private:
  std::vector<Interval> intervals_;
  Partitions partitions_;
  CandleReader reader_;
  const CloseClocks& close_clocks_;
  // The last answer of is_ours(): a pair's series come one after another.
  PairName last_pair_;
  bool last_is_ours_ = false;
};

}  // namespace klined
