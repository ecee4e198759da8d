#include "klined/stream/connections.hpp"

#include <algorithm>

#include "klined/base/assertion.hpp"
#include "klined/store/group_lock.hpp"
#include "klined/stream/memory_plan.hpp"

namespace klined {

MySqlOptions mysql_options(const Config& config) {
  MySqlOptions options;
  options.host = config.mysql.host;
  options.port = config.mysql.port;
  options.user = config.mysql.user;
  options.password = config.mysql.password;
  options.database = config.mysql.database;
  options.socket = config.mysql.socket;
  options.ssl_ca = config.mysql.ssl_ca;
  // A process that hangs in the middle of a transaction must not keep the one that takes over from its rows.
  options.idle_timeout = GroupLock::kIdle;
  return options;
}

RedisOptions redis_options(const Config& config) {
  KLINED_ASSERT(config.redis.has_value(), "only where a cache is configured");
  RedisOptions options;
  options.host = config.redis->host;
  options.port = config.redis->port;
  options.username = config.redis->username;
  options.password = config.redis->password;
  options.database = config.redis->database;
  const MemoryPlan memory = memory_plan(config.engine.memory_limit);
  options.queue_bytes_max = memory.cache_queue;
  options.known_bytes_max = memory.cache_known;
  options.keep = static_cast<std::size_t>(config.redis->keep);
  options.ttl = config.redis->ttl;
  options.close_grace = config.engine.close_grace;
  // A row may be as much older than its candle in Redis as a flush takes to come.
  options.repair_settle = std::max(options.repair_settle, config.mysql.catch_up_flush_interval + Milliseconds(1000));
  return options;
}

MySqlRows::MySqlRows(const Config& config, Partitions partitions, const CloseClocks& close_clocks)
    : intervals_(config.intervals),
      partitions_(std::move(partitions)),
      reader_(mysql_options(config)),
      close_clocks_(close_clocks) {}

Result<std::vector<CandleRow>> MySqlRows::newest(ChainId chain, std::string_view pair, Interval interval,
                                                 std::size_t keep) {
  if (std::ranges::find(intervals_, interval) == intervals_.end()) return std::vector<CandleRow>();
  return reader_.newest(chain, pair, interval, keep);
}

// A pair that was written at all was written at the shortest interval. Pages hold whole pairs.
Result<std::vector<SeriesName>> MySqlRows::active_since(UnixSeconds since, const std::optional<SeriesName>& after,
                                                        std::size_t limit) {
  std::optional<PairName> last;
  if (after) last = PairName{after->chain, after->pair};
  const std::size_t pairs_limit = std::max<std::size_t>(1, limit / intervals_.size());
  const Result<std::vector<PairName>> pairs = reader_.pairs_written_since(intervals_.front(), since, last, pairs_limit);
  if (!pairs) return std::unexpected(pairs.error());
  std::vector<SeriesName> series;
  for (const PairName& pair : *pairs) {
    for (const Interval interval : intervals_) series.push_back({pair.chain, pair.pair, interval});
  }
  return series;
}

Result<bool> MySqlRows::is_ours(ChainId chain, std::string_view pair) {
  if (partitions_.empty()) return true;
  if (last_pair_.chain == chain && last_pair_.pair == pair) return last_is_ours_;
  const Result<std::optional<PairPlace>> place = reader_.place_of(chain, pair);
  if (!place) return std::unexpected(place.error());
  last_pair_ = {chain, std::string(pair)};
  last_is_ours_ =
      !*place || std::ranges::find(partitions_, std::pair((*place)->topic, (*place)->partition)) != partitions_.end();
  return last_is_ours_;
}

UnixSeconds MySqlRows::close_clock(ChainId chain) { return close_clocks_.of(chain); }

}  // namespace klined
