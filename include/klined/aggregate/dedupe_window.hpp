// Which trades were seen within the last `dedupe_window` of a partition's clock.
#pragma once

#include <cstddef>
#include <deque>
#include <vector>

#include <boost/unordered/unordered_flat_map.hpp>

#include "klined/core/trade.hpp"

namespace klined {

// The identities of one (partition, chain) that one lane saw, each with the clock at its last sighting.
//
// A sighting is a duplicate where the same identity was seen while the clock was at most `window` behind where it is
// now; every sighting, a duplicate too, is remembered anew. The answer depends only on the sightings and their clocks,
// so reading a partition again from where the window began rebuilds it.
//
// Owned by one lane. The clock never goes back. Memory: about 45 bytes an identity in the window.
class DedupeWindow {
 public:
  explicit DedupeWindow(UnixSeconds window) : window_(window) {}

  // True where the trade is a duplicate at `clock`.
  bool seen(const Fingerprint& identity, UnixSeconds clock);

  std::size_t size() const { return last_seen_.size(); }
  std::size_t bytes() const;

 private:
  struct Hash {
    using is_avalanching = void;
    std::size_t operator()(const Fingerprint& f) const { return f.low; }
  };
  struct Slot {
    UnixSeconds clock;
    std::vector<Fingerprint> sightings;
  };

  void expire(UnixSeconds clock);

  UnixSeconds window_;
  boost::unordered_flat_map<Fingerprint, UnixSeconds, Hash> last_seen_;
  std::deque<Slot> slots_;  // sightings by clock, oldest first: what to look at when the clock moves
};

}  // namespace klined
