// What waits to be written to Redis: at most one update a candle, within a limit of memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <boost/multi_index/hashed_index.hpp>
#include <boost/multi_index/member.hpp>
#include <boost/multi_index/sequenced_index.hpp>
#include <boost/multi_index_container.hpp>

#include "klined/cache/redis_layout.hpp"
#include "klined/core/series.hpp"

namespace klined {

// A candle's newest state.
struct CacheUpdate {
  CandleKey key;
  std::string value;  // a serialized `Kline`
  std::int64_t revision = 0;
  bool closed = false;

  CandleVersion version() const { return {revision, closed}; }
};

// A queue in which a newer version of a candle takes the place of the one that waits.
//
// Laws: of a candle the newest version offered stays, whatever the order of offers. A candle that is updated all the
// time keeps its place, so it is written in its turn. When the limit is reached the candles that wait longest are
// dropped: they are the ones that the tables hold by now, so a repair can bring them back.
//
// Not thread-safe; the owner locks.
class UpdateQueue {
 public:
  explicit UpdateQueue(std::size_t bytes_max) : bytes_max_(bytes_max) {}

  // Returns how many candles were dropped to make room (the offered one too, where it alone is larger than the limit).
  std::size_t offer(CacheUpdate&& update) { return insert(std::move(update), Place::kBack); }
  // Gives back what was taken and not written: to the front, unless a newer version waits already.
  std::size_t put_back(std::vector<CacheUpdate>&& updates);
  // The first `count` updates, removed from the queue.
  std::vector<CacheUpdate> take(std::size_t count);

  bool empty() const { return entries_.empty(); }
  std::size_t size() const { return entries_.size(); }
  // Of memory, estimated: the texts and what holds them.
  std::size_t bytes() const { return bytes_; }

 private:
  struct HashKey {
    std::size_t operator()(const CandleKey& key) const noexcept;
  };
  using Entries = boost::multi_index_container<
      CacheUpdate, boost::multi_index::indexed_by<
                       boost::multi_index::sequenced<>,
                       boost::multi_index::hashed_unique<
                           boost::multi_index::member<CacheUpdate, CandleKey, &CacheUpdate::key>, HashKey>>>;
  enum class Place { kFront, kBack };

  static std::size_t size_of(const CacheUpdate& update);
  std::size_t insert(CacheUpdate&& update, Place place);

  std::size_t bytes_max_;
  std::size_t bytes_ = 0;
  Entries entries_;
};

}  // namespace klined
