// How far a partition was read: its clocks, and where its dedupe window began.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "klined/core/series.hpp"

namespace klined {

std::optional<UnixSeconds> clock_of(const ChainClocks& clocks, ChainId chain);
// Raises the chain's clock to `time` where it is behind.
void raise_clock(ChainClocks& clocks, ChainId chain, UnixSeconds time);

// Whose clocks decide about a record: those of the partition that it is in, or, for a record that stands for a part of
// a message of another topic, those of that message's partition, by its number.
inline constexpr std::int32_t kOwnSource = -1;

// Where the dedupe window of one source began, and its clocks just before that message.
struct SourceWindow {
  std::int32_t source = kOwnSource;
  std::int64_t window_offset = 0;
  ChainClocks window_clocks{};
  friend bool operator==(const SourceWindow&, const SourceWindow&) = default;
};

// A place in a partition, with what is needed to go on from there after a restart. See LaneOffset.
struct PartitionPlace {
  std::int64_t next_offset = 0;
  std::int64_t window_offset = 0;
  ChainClocks window_clocks;  // just before window_offset
  // Where the partition holds records of other sources than itself: the windows of all sources, ascending; then
  // window_offset is the smallest of theirs, and window_clocks is empty.
  std::vector<SourceWindow> source_windows{};
};

// The clocks of one partition, a fold over its messages: starting anywhere with the clocks of that place gives the same
// clocks from there on. Marks along the way tell where the dedupe window began.
//
// Law: for every chain, each message before window_offset had a clock more than `window` behind the clock at
// next_offset, so none of its trades can make a duplicate at or after next_offset.
//
// Owned by the sequencer. Memory is bounded: marks are thinned, which only moves window_offset back.
class PartitionProgress {
 public:
  // Starts at `offset`, where the clocks stand at `clocks`.
  PartitionProgress(UnixSeconds window, std::int64_t offset, ChainClocks clocks);

  // Takes the next message in: the block times are the largest of each chain in the message (its well-formed,
  // not-future buys and sells). Afterwards clocks() are the clocks at this message.
  void advance(std::int64_t offset, const ChainClocks& largest);

  const ChainClocks& clocks() const { return clocks_; }
  std::int64_t next_offset() const { return next_offset_; }
  PartitionPlace place() const;

 private:
  struct Mark {
    std::int64_t offset;
    ChainClocks clocks;  // just before the message at `offset`
  };
  static constexpr std::size_t kMarkLimit = 4096;

  void thin_marks();
  std::size_t window_mark() const;

  UnixSeconds window_;
  std::int64_t next_offset_;
  ChainClocks clocks_;
  std::deque<Mark> marks_;  // never empty
};

}  // namespace klined
