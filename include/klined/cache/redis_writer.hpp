// Live updates to Redis: a batch at a time, never backwards.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <boost/unordered/unordered_flat_map.hpp>

#include "klined/cache/redis_connection.hpp"
#include "klined/cache/repair_plan.hpp"
#include "klined/cache/update_queue.hpp"

namespace klined {

// What Redis is known to hold of each series: the versions of its newest few candles, which need not be read before
// they are written; how many candles it has; when its expiry was set. It may forget at any time, which costs one read.
class KnownVersions {
 public:
  // A series, by 128 bits of hash of its key.
  struct Id {
    std::uint64_t low = 0;
    std::uint64_t high = 0;
    friend auto operator<=>(const Id&, const Id&) = default;
  };
  static Id id_of(std::string_view key);

  // `bytes_max`: of memory, about; beyond it everything is forgotten.
  explicit KnownVersions(std::size_t bytes_max) : series_max_(bytes_max / kBytesASeries) {}
  std::optional<CandleVersion> find(const Id& id, UnixSeconds time) const;
  // A candle that the series is known to have, and for which `is_meant(time)` is false.
  template <typename Test>
  std::optional<UnixSeconds> other(const Id& id, Test is_meant) const {
    const auto series = series_.find(id);
    if (series == series_.end()) return std::nullopt;
    const std::span<const Known> candles = series->second.candles();
    const auto found = std::ranges::find_if_not(candles, is_meant, &Known::time);
    return found == candles.end() ? std::nullopt : std::optional(found->time);
  }
  void note(const Id& id, UnixSeconds time, CandleVersion version);
  // Of the hash as a whole; as it is where nothing is known.
  struct Hash {
    std::size_t fields = 0;  // 0: unknown
    std::optional<Instant> expiry_set;
  };
  Hash hash(const Id& id) const;
  // Only of a series of which a candle is noted.
  void note_hash(const Id& id, Hash hash);
  void forget(const Id& id) { series_.erase(id); }
  void forget(const Id& id, UnixSeconds time);
  void clear() { series_.clear(); }

 private:
  static constexpr std::size_t kPerSeries = 4;
  static constexpr std::size_t kBytesASeries = 320;  // where the table has just grown
  struct Known {
    UnixSeconds time = 0;
    CandleVersion version;
  };
  struct Series {
    std::array<Known, kPerSeries> known;
    std::size_t count = 0;
    Hash hash;
    std::span<Known> candles() { return {known.data(), count}; }
    std::span<const Known> candles() const { return {known.data(), count}; }
  };
  struct HashId {
    using is_avalanching = void;
    std::size_t operator()(const Id& id) const { return id.low; }
  };
  std::size_t series_max_;
  boost::unordered_flat_map<Id, Series, HashId> series_;
};

// Writes batches of updates: an HSET a series, and where it must, HMGET before it, HLEN and PEXPIRE with it. An expiry
// is set anew when a 50th of it is over, so a key may go that much early. A hash that has grown beyond `keep` candles
// is trimmed a little later, since reading the names of its fields costs as much as a hundred updates: so it is done
// once for many new candles.
//
// Law: it never takes a field's version in Redis down. A candle whose version in Redis isn't known is read first; that
// is race-free as long as one process writes a series, which the offsets in MySQL see to, and one that stood still
// reads again (RedisConnection::run_if_fresh()). One that Redis holds a newer version of is read each time: `klined
// verify --repair` may mend that. Owned by the cache's thread. A failure leaves the batch to be written again, which
// does no harm.
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
      : keep_(keep),
        ttl_(std::to_string(ttl.count())),
        expiry_good_(ttl / 50),
        trim_after_(trim_after),
        known_(known_bytes_max) {}

  // To be called on every new connection: it may lead to another server, so nothing is known.
  void begin() { known_.clear(); }
  // Of each candle one update at most. They are moved from only where they are in Outcome::again.
  Result<Outcome> write(RedisConnection& connection, std::vector<CacheUpdate>& batch, const Clock& clock);
  // Removes the oldest candles of some of the hashes that are due, and returns how many candles it removed.
  Result<std::int64_t> trim(RedisConnection& connection, Instant now);
  // When the next hash is to be trimmed; nothing where none has grown too large.
  std::optional<Instant> next_trim() const;
  // A repair has changed the hash.
  void repaired(const SeriesName& series, const std::string& key, const RepairPlan& plan);

 private:
  // An update of a batch, and what is done with it.
  struct Item {
    CacheUpdate* update = nullptr;
    KnownVersions::Id series;
    std::size_t key_begin = 0;  // in keys_
    std::size_t key_size = 0;
    enum class Fate { kRead, kWrite, kLeave } fate = Fate::kRead;
  };
  // The updates of one series in a batch.
  struct Group {
    std::string_view key;
    std::span<Item> items;
    std::size_t unknown = 0;             // to be read first
    std::size_t to_write = 0;            // of them
    long long new_fields = 0;            // of those to write, those that Redis doesn't have
    std::optional<UnixSeconds> witness;  // a candle that Redis should have beside these, asked for with the unknown
    KnownVersions::Hash hash;            // as known before; `fields` also after, where some are new
    bool sets_expiry = false;
    bool asks_length = false;
    bool wrong_type = false;
    bool lost = false;

    const KnownVersions::Id& id() const { return items.front().series; }
    SeriesName name() const;
  };

  struct Overgrown {
    Instant due;
    SeriesName series;
  };

  std::vector<Group> group_by_series(std::vector<CacheUpdate>& batch);
  Status read_unknown(RedisConnection& connection, std::vector<Group>& groups, Outcome& outcome);
  Status choose(RedisConnection& connection, std::vector<Group>& groups, Outcome& outcome);
  Status store(RedisConnection& connection, std::vector<Group>& groups, Instant seen, const Clock& clock);
  void note_overgrown(const std::vector<Group>& groups, Instant now);
  Status delete_wrong_types(RedisConnection& connection, std::vector<Group>& groups);

  std::size_t keep_;
  std::string ttl_;  // milliseconds
  Milliseconds expiry_good_;
  Milliseconds trim_after_;
  KnownVersions known_;
  std::deque<Overgrown> overgrown_;  // by `due`
  std::set<SeriesName> overgrown_names_;
  // Of one write, kept for their memory.
  std::vector<Item> items_;
  std::string keys_;
  std::vector<std::string> fields_;
  std::vector<std::string_view> command_;
};

}  // namespace klined
