#include "klined/cache/update_queue.hpp"

#include <algorithm>
#include <functional>
#include <ranges>
#include <string_view>
#include <utility>

#include <boost/container_hash/hash.hpp>

namespace klined {
namespace {

// What an entry takes besides its texts: itself, the links of two indices, the allocator's share.
constexpr std::size_t kEntryOverhead = sizeof(CacheUpdate) + 64;

}  // namespace

std::size_t UpdateQueue::HashKey::operator()(const CandleKey& key) const noexcept {
  std::size_t seed = std::hash<std::string_view>{}(key.pair);
  boost::hash_combine(seed, key.chain);
  boost::hash_combine(seed, static_cast<int>(key.interval));
  boost::hash_combine(seed, key.time);
  return seed;
}

std::size_t UpdateQueue::size_of(const CacheUpdate& update) {
  return kEntryOverhead + update.key.pair.size() + update.value.size();
}

std::size_t UpdateQueue::insert(CacheUpdate&& update, Place place) {
  auto& by_key = entries_.get<1>();
  if (const auto found = by_key.find(update.key); found != by_key.end()) {
    if (found->version() >= update.version()) return 0;
    bytes_ -= size_of(*found);
    bytes_ += size_of(update);
    by_key.replace(found, std::move(update));
  } else {
    bytes_ += size_of(update);
    entries_.emplace(place == Place::kFront ? entries_.begin() : entries_.end(), std::move(update));
  }
  std::size_t dropped = 0;
  for (; bytes_ > bytes_max_; ++dropped) {
    bytes_ -= size_of(entries_.front());
    entries_.pop_front();
  }
  return dropped;
}

std::size_t UpdateQueue::put_back(std::vector<CacheUpdate>&& updates) {
  std::size_t dropped = 0;
  for (CacheUpdate& update : std::views::reverse(updates)) dropped += insert(std::move(update), Place::kFront);
  updates.clear();
  return dropped;
}

std::vector<CacheUpdate> UpdateQueue::take(std::size_t count) {
  std::vector<CacheUpdate> taken;
  taken.reserve(std::min(count, entries_.size()));
  while (taken.size() < count && !entries_.empty()) {
    bytes_ -= size_of(entries_.front());
    auto node = entries_.extract(entries_.begin());
    taken.push_back(std::move(node.value()));
  }
  return taken;
}

}  // namespace klined
