#include "klined/stream/sequencer.hpp"

#include <gtest/gtest.h>

#include <deque>

namespace klined {
namespace {

constexpr UnixSeconds kWindow = 600;
const LogId kLog(1, 4);

// Records of one partition; each holds trades of chain 1 up to `time`.
class Records {
 public:
  void add(std::int64_t offset, UnixSeconds time) {
    DecodedBatch::Part& part = batch.parts.emplace_back();
    part.message = {.log = kLog, .offset = offset, .timestamp = 0, .value = {}};
    part.largest = {{1, time}};
  }
  // A record that is a part of a message of the origin's partition, whose clock stood at `clock` there.
  void add_routed(std::int64_t offset, UnixSeconds time, std::uint32_t partition, UnixSeconds clock) {
    add(offset, time);
    Origin& origin = origins_.emplace_back();
    origin.log = LogId(0, partition);
    origin.clocks = ChainClocks{{1, clock}};
    batch.parts.back().message.origin = &origin;
  }
  DecodedBatch batch;

 private:
  std::deque<Origin> origins_;
};

TEST(Sequencer, AnUnroutedPartitionHasOneClock) {
  Sequencer sequencer(kWindow);
  sequencer.assign(kLog, 10, {});
  Records records;
  records.add(10, 1000);
  records.add(11, 900);
  sequencer.sequence(records.batch);
  EXPECT_EQ(records.batch.parts[1].clocks, (ChainClocks{{1, 1000}}));
  EXPECT_EQ(records.batch.parts[1].source, kOwnSource);
  EXPECT_TRUE(sequencer.place_of(kLog).source_windows.empty());
  EXPECT_EQ(sequencer.place_of(kLog).next_offset, 12);
}

TEST(Sequencer, RoutedRecordsHaveTheirOriginsClocks) {
  Sequencer sequencer(kWindow);
  sequencer.assign(kLog, 0, {});
  Records records;
  records.add_routed(0, 5000, 7, 6000);  // the clock is another pair's
  records.add_routed(1, 100, 8, 200);    // a partition that is far behind: not late there
  records.add_routed(2, 5500, 7, 6000);
  records.add(3, 50);  // a record of its own: the partition's clock
  sequencer.sequence(records.batch);
  const auto& parts = records.batch.parts;
  EXPECT_EQ(parts[0].clocks, (ChainClocks{{1, 6000}}));
  EXPECT_EQ(parts[1].clocks, (ChainClocks{{1, 200}}));
  EXPECT_EQ(parts[2].clocks, (ChainClocks{{1, 6000}}));
  EXPECT_EQ(parts[3].clocks, (ChainClocks{{1, 5500}}));
  EXPECT_EQ(parts[0].source, 7);
  EXPECT_EQ(parts[3].source, kOwnSource);
  EXPECT_EQ(records.batch.chain_clocks, (ChainClocks{{1, 6000}}));
}

// Going on from any place gives the same clocks, and never needs what is before the place's window.
TEST(Sequencer, AnyPlaceIsAGoodBeginning) {
  Records all;
  for (std::int64_t offset = 0; offset < 400; ++offset) {
    const UnixSeconds time = 1000 + offset * 7;
    if (offset % 5 == 4) {
      all.add(offset, time);
    } else {
      const auto partition = static_cast<std::uint32_t>(offset % 5);
      all.add_routed(offset, time, partition, time + 100 * static_cast<UnixSeconds>(partition));
    }
  }
  for (const std::size_t stop : {1U, 2U, 7U, 99U, 250U, 399U}) {
    Sequencer first(kWindow);
    first.assign(kLog, 0, {});
    DecodedBatch before;
    before.parts.assign(all.batch.parts.begin(), all.batch.parts.begin() + static_cast<std::ptrdiff_t>(stop));
    first.sequence(before);
    const PartitionPlace place = first.place_of(kLog);
    EXPECT_EQ(place.next_offset, static_cast<std::int64_t>(stop));

    Sequencer again(kWindow);
    again.assign(kLog, place.window_offset, place.window_clocks, place.source_windows);
    DecodedBatch rest;
    rest.parts.assign(all.batch.parts.begin() + static_cast<std::ptrdiff_t>(place.window_offset),
                      all.batch.parts.end());
    again.sequence(rest);
    DecodedBatch behind;
    behind.parts.assign(all.batch.parts.begin() + static_cast<std::ptrdiff_t>(stop), all.batch.parts.end());
    first.sequence(behind);
    const std::size_t replayed = stop - static_cast<std::size_t>(place.window_offset);
    for (std::size_t i = 0; i < behind.parts.size(); ++i) {
      EXPECT_EQ(rest.parts[replayed + i].clocks, behind.parts[i].clocks) << "stop " << stop << ", part " << i;
      EXPECT_FALSE(rest.parts[replayed + i].before_window);
    }
    for (std::size_t i = 0; i < replayed; ++i) {
      if (rest.parts[i].before_window) continue;
      EXPECT_EQ(rest.parts[i].clocks, before.parts[before.parts.size() - replayed + i].clocks);
    }
  }
}

TEST(Sequencer, MarksOfTransactionsAreSkipped) {
  Sequencer sequencer(kWindow);
  sequencer.assign(kLog, 5, {});
  EXPECT_FALSE(sequencer.skip_to(kLog, 5));
  EXPECT_TRUE(sequencer.skip_to(kLog, 7));
  EXPECT_EQ(sequencer.place_of(kLog).next_offset, 7);
  Records records;
  records.add(7, 1000);
  sequencer.sequence(records.batch);
  EXPECT_EQ(sequencer.place_of(kLog).next_offset, 8);
}

}  // namespace
}  // namespace klined
