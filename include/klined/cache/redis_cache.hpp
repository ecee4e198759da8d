// The hot cache: the newest candles of every series in Redis, for readers that can't wait for MySQL.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "klined/base/backoff.hpp"
#include "klined/base/clock.hpp"
#include "klined/base/outage.hpp"
#include "klined/cache/redis_connection.hpp"
#include "klined/cache/redis_repair.hpp"
#include "klined/cache/redis_writer.hpp"
#include "klined/cache/row_source.hpp"
#include "klined/cache/update_queue.hpp"

namespace klined {

struct RedisOptions {
  std::string host = "127.0.0.1";
  int port = 6379;
  std::string username;
  std::string password;
  int database = 0;
  std::size_t keep = 300;        // candles a series
  Milliseconds ttl{86'400'000};  // of a key, since the series' last update
  Milliseconds connect_timeout{1'000};
  Milliseconds command_timeout{1'000};
  std::size_t queue_bytes_max = std::size_t{64} << 20U;
  std::size_t known_bytes_max = std::size_t{64} << 20U;  // of memory, for what Redis is known to hold
  Milliseconds trim_after{5'000};                        // a series may have more than `keep` candles for this long
  // Repair; see RepairOptions.
  int repair_series_per_second = 200;
  Milliseconds repair_settle{6'000};
  Milliseconds repair_recheck_after{30'000};
  Milliseconds repair_interval{600'000};
  Milliseconds close_grace{2'000};  // the stream's own close_grace: says which rows of the tables are closed
};

struct CacheStats {
  std::int64_t updates_written = 0;
  std::int64_t updates_older = 0;    // not written, since Redis held a newer version
  std::int64_t updates_dropped = 0;  // the queue was full; a repair brings them back
  std::int64_t candles_trimmed = 0;  // beyond the newest `keep`
  std::int64_t errors = 0;           // of Redis: connections lost or refused, error answers
  std::int64_t repair_passes = 0;
  std::int64_t repair_series = 0;  // looked at
  std::int64_t repair_candles_written = 0;
  std::int64_t repair_candles_removed = 0;
  std::int64_t repair_source_errors = 0;
  std::int64_t queue_updates = 0;  // waiting now
  std::int64_t queue_bytes = 0;
  bool connected = false;
  UnixMilliseconds last_error_ms = 0;  // of Redis; 0 where there was none
};

// Keeps `kline:<chain>:<pair>:<interval>` in Redis right, and never lets Redis be noticed by anybody else.
//
// Laws: offer() takes a lock for as long as it takes to move the updates, and waits for nothing. Of each candle the
// newest version offered gets to Redis, or is dropped and repaired from the rows once they hold it. A version in Redis
// never goes down. Memory is bounded by queue_bytes_max.
//
// One thread of its own does all I/O. Redis away, slow, full or emptied is its business alone: it waits with backoff,
// makes a new connection, writes what waits, and repairs the rest. One log line when Redis breaks, one when it heals.
class RedisCache {
 public:
  // `source` may be null: then nothing is repaired. It and `clock` must outlive the cache.
  RedisCache(RedisOptions options, RowSource* source, const Clock& clock);
  // Drops what waits (see wait_idle()). Takes one command_timeout or connect_timeout at most where Redis hangs.
  ~RedisCache();
  RedisCache(const RedisCache&) = delete;
  RedisCache& operator=(const RedisCache&) = delete;

  // Any thread. Several updates of one candle are one.
  void offer(std::vector<CacheUpdate>&& updates);

  enum class WaitFor { kUpdates, kQuiet };
  // Any thread. True once everything that waits is written, and for kQuiet, trimmed and repaired too; false where Redis
  // is away or the time was not enough.
  bool wait_idle(Milliseconds timeout, WaitFor what = WaitFor::kUpdates);
  // Any thread; nothing is offered any more. Trims at once what would be trimmed later. True as for wait_idle().
  bool finish(Milliseconds timeout);

  CacheStats stats() const;

 private:
  void run();
  bool connect();
  bool write_step();
  bool trim_step();
  bool repair_step();
  void wait_for_work();
  void keep_alive();
  void note_dropped(std::size_t count);
  void broke(const Error& error, bool while_connecting = false);
  void healed();
  bool stopping() const;

  const RedisOptions options_;
  const Clock& clock_;

  Outage outage_;

  // The thread's own.
  RedisConnection connection_;
  RedisWriter writer_;
  std::optional<RedisRepair> repair_;
  Backoff backoff_;
  Instant last_answer_;  // when Redis last answered anything
  Instant last_turn_;    // when updates were last looked for
  Instant healed_at_;
  bool heals_by_write_ = false;  // it broke by an error answer: a connection alone proves nothing

  mutable std::mutex mutex_;  // guards all below
  std::condition_variable work_;
  std::condition_variable idle_;
  UpdateQueue queue_;
  std::size_t in_flight_ = 0;   // updates taken and not yet acknowledged
  bool repair_needed_ = false;  // updates were dropped
  bool trims_wait_ = false;
  bool finishing_ = false;  // no trim is put off
  bool repair_busy_;
  bool stop_ = false;
  CacheStats stats_;

  std::thread thread_;  // last: starts when all else is there
};

}  // namespace klined
