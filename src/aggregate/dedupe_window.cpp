#include "klined/aggregate/dedupe_window.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "klined/base/assertion.hpp"

namespace klined {

namespace {

constexpr std::size_t kSmallest = 16;  // slots
// A table is made for twice as many identities as there are (less a tenth), and is full at four fifths: so that making
// it anew is rare, and a look stays within a cache line or two.
constexpr std::size_t slots_for(std::size_t identities) { return std::max(kSmallest, identities + identities * 4 / 5); }
constexpr std::size_t full_at(std::size_t slots) { return slots - slots / 5; }

}  // namespace

bool DedupeWindow::seen(const Fingerprint& identity, UnixSeconds clock) {
  if (slots_.empty() || clock - epoch_ != now_) move_clock(clock);
  const Slot wanted{identity.high, static_cast<std::uint32_t>(identity.low), now_};
  Slot* out_of_window = nullptr;
  std::size_t place = home_of(wanted);
  for (; slots_[place].clock != 0; place = next(place)) {
    Slot& slot = slots_[place];
    if (slot.high == wanted.high && slot.low == wanted.low) return std::exchange(slot.clock, now_) >= oldest_;
    if (out_of_window == nullptr && !is_live(slot)) out_of_window = &slot;
  }
  if (out_of_window != nullptr) {
    *out_of_window = wanted;
    return false;
  }
  slots_[place] = wanted;
  if (++taken_ > full_at(slots_.size())) rebuild();
  return false;
}

void DedupeWindow::move_clock(UnixSeconds clock) {
  if (slots_.empty() || clock - epoch_ >= std::numeric_limits<std::uint32_t>::max()) {
    slots_.assign(kSmallest, {});
    taken_ = 0;
    epoch_ = clock - 1;
    now_ = 1;
    rebuilt_ = clock;
  }
  KLINED_ASSERT(clock - epoch_ >= now_, "a partition's clock never goes back");
  now_ = static_cast<std::uint32_t>(clock - epoch_);
  oldest_ = static_cast<std::uint32_t>(std::max<UnixSeconds>(1, now_ - window_));
  // What a flood has left behind goes, at the latest, a window after it.
  if (clock - rebuilt_ > window_) {
    rebuilt_ = clock;
    if (slots_.size() > 2 * slots_for(size())) rebuild();
  }
}

std::size_t DedupeWindow::size() const {
  return static_cast<std::size_t>(std::ranges::count_if(slots_, [this](const Slot& slot) { return is_live(slot); }));
}

void DedupeWindow::rebuild() {
  taken_ = size();
  const std::vector<Slot> before = std::exchange(slots_, std::vector<Slot>(slots_for(taken_)));
  for (const Slot& slot : before) {
    if (!is_live(slot)) continue;
    std::size_t place = home_of(slot);
    while (slots_[place].clock != 0) place = next(place);
    slots_[place] = slot;
  }
}

}  // namespace klined
