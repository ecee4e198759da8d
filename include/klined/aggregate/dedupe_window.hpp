// Which trades were seen within the last `dedupe_window` of a partition's clock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "klined/core/trade.hpp"

namespace klined {

// The identities of one (partition, chain) that one lane saw, each with the clock at its last sighting.
//
// A sighting is a duplicate where the same identity was seen while the clock was at most `window` behind where it is
// now; every sighting, a duplicate too, is remembered anew. The answer depends only on the sightings and their clocks,
// so reading a partition again from where the window began rebuilds it.
//
// One open-addressed table, without a list by time: what is out of the window stays in it until a newer identity takes
// its slot, or the table is made anew. 96 bits of an identity are kept: that two of 100 million in a window agree in
// them by chance happens once in 10^13 windows. Memory: 20 to 29 bytes an identity in the window, and as much again for
// the moment in which the table is made anew.
//
// Owned by one lane. The clock never goes back.
class DedupeWindow {
 public:
  explicit DedupeWindow(UnixSeconds window) : window_(window) {}

  // True where the trade is a duplicate at `clock`.
  bool seen(const Fingerprint& identity, UnixSeconds clock);

  // Has the processor fetch what seen() will look at, while it does something else.
  void expect(const Fingerprint& identity) const {
    if (!slots_.empty())
      __builtin_prefetch(&slots_[home_of({identity.high, static_cast<std::uint32_t>(identity.low), 0})]);
  }

  // How many identities are in the window. Looks at all of them.
  std::size_t size() const;
  std::size_t bytes() const { return slots_.capacity() * sizeof(Slot); }

 private:
  struct Slot {
    std::uint64_t high = 0;
    std::uint32_t low = 0;
    std::uint32_t clock = 0;  // of the last sighting, in seconds since epoch_; 0: empty
  };

  void move_clock(UnixSeconds clock);
  std::size_t home_of(const Slot& slot) const {
    const std::uint64_t mixed = ((slot.high ^ slot.low) * 0x9E3779B97F4A7C15U) >> 32U;
    return static_cast<std::size_t>((mixed * slots_.size()) >> 32U);
  }
  std::size_t next(std::size_t place) const { return place + 1 == slots_.size() ? 0 : place + 1; }
  bool is_live(const Slot& slot) const { return slot.clock >= oldest_; }
  void rebuild();

  UnixSeconds window_;
  UnixSeconds epoch_ = 0;
  UnixSeconds rebuilt_ = 0;   // the clock when the table was made
  std::uint32_t now_ = 0;     // the clock, as slots have it
  std::uint32_t oldest_ = 1;  // slots before it are out of the window
  std::size_t taken_ = 0;     // slots that are not empty, in the window or not
  std::vector<Slot> slots_;
};

}  // namespace klined
