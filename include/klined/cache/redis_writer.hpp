// Live updates to Redis: a batch at a time, never backwards.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "klined/cache/redis_connection.hpp"
#include "klined/cache/repair_plan.hpp"
#include "klined/cache/update_queue.hpp"

namespace klined {

// The versions that Redis is known to hold, of each series' newest few candles: a candle that is in here need not be
// read before it is written. It may forget at any time, which costs one read.
class KnownVersions {
 public:
  // `bytes_max`: of memory, about; beyond it everything is forgotten.
  explicit KnownVersions(std::size_t bytes_max) : series_max_(bytes_max / kBytesASeries) {}
  std::optional<CandleVersion> find(const std::string& key, UnixSeconds time) const;
  // True where the series is known to have a candle that is not among `updates`.
  bool knows_others(const std::string& key, const std::vector<CacheUpdate*>& updates) const;
  void note(const std::string& key, UnixSeconds time, CandleVersion version);
  void forget(const std::string& key) { series_.erase(key); }
  void forget(const std::string& key, UnixSeconds time);
  void clear() { series_.clear(); }

 private:
  static constexpr std::size_t kPerSeries = 4;
  static constexpr std::size_t kBytesASeries = 320;  // with the allocator's share
  struct Known {
    UnixSeconds time;
    CandleVersion version;
  };
  std::size_t series_max_;
  std::unordered_map<std::string, std::vector<Known>> series_;
};

// Writes batches of updates: HSET and PEXPIRE. A hash that has grown beyond `keep` candles is trimmed a little later,
// since reading the names of its fields costs as much as a hundred updates: so it is done once for many new candles.
//
// Law: it never takes a field's version in Redis down. A candle whose version in Redis isn't known is read first; that
// is race-free as long as one process writes a series, which the offsets in MySQL see to. One that Redis holds a newer
// version of is read each time: `klined verify --repair` may mend that.
// Owned by the cache's thread. A failure leaves the batch to be written again, which does no harm.
class RedisWriter {
 public:
  struct Outcome {
    std::int64_t written = 0;
    std::int64_t older = 0;          // Redis held a newer version: nothing was written
    std::vector<SeriesName> lost;    // the key had vanished or was no hash: its other candles are gone
    std::vector<CacheUpdate> again;  // to be written once more: the key was no hash, and has been deleted
  };

  // `known_bytes_max`: see KnownVersions.
  RedisWriter(std::size_t keep, Milliseconds ttl, Milliseconds trim_after, std::size_t known_bytes_max)
      : keep_(keep), ttl_(std::to_string(ttl.count())), trim_after_(trim_after), known_(known_bytes_max) {}

  // To be called on every new connection: it may lead to another server, so nothing is known.
  void begin() { known_.clear(); }
  // `batch` is sorted, and its updates are moved from only where they are in Outcome::again.
  Result<Outcome> write(RedisConnection& connection, std::vector<CacheUpdate>& batch, Instant now);
  // Removes the oldest candles of some of the hashes that are due, and returns how many candles it removed.
  Result<std::int64_t> trim(RedisConnection& connection, Instant now);
  // When the next hash is to be trimmed; nothing where none has grown too large.
  std::optional<Instant> next_trim() const;
  // A repair has changed the hash.
  void repaired(const SeriesName& series, const std::string& key, const RepairPlan& plan);

 private:
  // The updates of one series in a batch.
  struct Group {
    std::string key;
    SeriesName series;
    std::vector<CacheUpdate*> updates;
    std::vector<const CacheUpdate*> unknown;  // to be read first
    std::vector<const CacheUpdate*> to_write;
    long long new_fields = 0;  // of to_write, those that Redis doesn't have
    bool had_others = false;   // Redis has candles of the series that are not in this batch
    bool wrong_type = false;
    std::size_t fields = 0;  // in Redis, after the write, where some are new; else 0
    bool lost = false;
  };

  struct Overgrown {
    Instant due;
    SeriesName series;
  };

  static std::vector<Group> group_by_series(std::vector<CacheUpdate>& batch);
  Status choose(RedisConnection& connection, std::vector<Group>& groups, Outcome& outcome);
  Status store(RedisConnection& connection, std::vector<Group>& groups);
  void note_overgrown(const std::vector<Group>& groups, Instant now);
  Status delete_wrong_types(RedisConnection& connection, std::vector<Group>& groups);

  std::size_t keep_;
  std::string ttl_;  // milliseconds
  Milliseconds trim_after_;
  KnownVersions known_;
  std::deque<Overgrown> overgrown_;  // by `due`
  std::set<SeriesName> overgrown_names_;
};

}  // namespace klined
