#include "klined/aggregate/partition_progress.hpp"

#include <algorithm>

#include "klined/base/assertion.hpp"

namespace klined {

std::optional<UnixSeconds> clock_of(const ChainClocks& clocks, ChainId chain) {
  for (const ChainClock& clock : clocks) {
    if (clock.chain == chain) return clock.time;
  }
  return std::nullopt;
}

void raise_clock(ChainClocks& clocks, ChainId chain, UnixSeconds time) {
  const auto at = std::ranges::lower_bound(clocks, chain, {}, &ChainClock::chain);
  if (at == clocks.end() || at->chain != chain) {
    clocks.insert(at, {chain, time});
  } else {
    at->time = std::max(at->time, time);
  }
}

PartitionProgress::PartitionProgress(UnixSeconds window, std::int64_t offset, ChainClocks clocks)
    : window_(window), next_offset_(offset), clocks_(std::move(clocks)) {
  marks_.push_back({offset, clocks_});
}

void PartitionProgress::advance(std::int64_t offset, const ChainClocks& largest) {
  KLINED_ASSERT(offset >= next_offset_, "a partition is read in order");
  const bool moves = std::ranges::any_of(largest, [this](const ChainClock& c) {
    const std::optional<UnixSeconds> now = clock_of(clocks_, c.chain);
    return !now || *now < c.time;
  });
  if (moves) {
    marks_.push_back({offset, clocks_});
    for (const ChainClock& c : largest) raise_clock(clocks_, c.chain, c.time);
    // What lies before the window's mark is never asked for again: the clocks only grow.
    marks_.erase(marks_.begin(), marks_.begin() + static_cast<std::ptrdiff_t>(window_mark()));
    if (marks_.size() > kMarkLimit) thin_marks();
  }
  next_offset_ = offset + 1;
}

// The last mark before which every message's clock is out of the window, for every chain.
std::size_t PartitionProgress::window_mark() const {
  const auto is_out = [this](const Mark& m) {
    return std::ranges::all_of(m.clocks, [this](const ChainClock& before) {
      return *clock_of(clocks_, before.chain) - before.time > window_;
    });
  };
  // Clocks grow from mark to mark, so the marks that are out come first.
  std::size_t mark = 0;
  while (mark + 1 < marks_.size() && is_out(marks_[mark + 1])) ++mark;
  return mark;
}

PartitionPlace PartitionProgress::place() const {
  const Mark& mark = marks_[window_mark()];
  return {
      .next_offset = next_offset_, .window_offset = mark.offset, .window_clocks = mark.clocks, .source_windows = {}};
}

// Every second mark between the first and the last goes: the window then begins a little earlier than it must.
void PartitionProgress::thin_marks() {
  std::deque<Mark> kept;
  for (std::size_t i = 0; i < marks_.size(); ++i) {
    if (i % 2 == 0 || i + 1 == marks_.size()) kept.push_back(std::move(marks_[i]));
  }
  marks_ = std::move(kept);
}

}  // namespace klined
