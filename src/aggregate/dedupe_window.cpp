#include "klined/aggregate/dedupe_window.hpp"

#include "klined/base/assertion.hpp"

namespace klined {

bool DedupeWindow::seen(const Fingerprint& identity, UnixSeconds clock) {
  if (slots_.empty() || slots_.back().clock != clock) {
    KLINED_ASSERT(slots_.empty() || slots_.back().clock < clock, "a partition's clock never goes back");
    expire(clock);
    slots_.push_back({clock, {}});
  }
  const auto [entry, is_new] = last_seen_.try_emplace(identity, clock);
  if (is_new) {
    slots_.back().sightings.push_back(identity);
    return false;
  }
  // What lies outside the window has been forgotten by expire(), so whatever is still here is a duplicate.
  if (entry->second != clock) {
    entry->second = clock;
    slots_.back().sightings.push_back(identity);
  }
  return true;
}

void DedupeWindow::expire(UnixSeconds clock) {
  while (!slots_.empty() && clock - slots_.front().clock > window_) {
    const Slot& slot = slots_.front();
    for (const Fingerprint& identity : slot.sightings) {
      const auto entry = last_seen_.find(identity);
      // A later sighting stands in a later slot.
      if (entry != last_seen_.end() && entry->second == slot.clock) last_seen_.erase(entry);
    }
    slots_.pop_front();
  }
}

std::size_t DedupeWindow::bytes() const {
  return last_seen_.bucket_count() * (sizeof(Fingerprint) + sizeof(UnixSeconds) + 1) +
         last_seen_.size() * sizeof(Fingerprint);
}

}  // namespace klined
