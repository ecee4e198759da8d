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
  void add(std::int64_t offset, UnixSeconds time) { records_.push_back({offset, time, {}, false}); }
  // A record that is a part of a message of the origin's partition, whose clock stood at `clock` there.
  void add_routed(std::int64_t offset, UnixSeconds time, std::uint32_t partition, UnixSeconds clock) {
    Origin origin;
    origin.log = LogId(0, partition);
    origin.clocks = ChainClocks{{1, clock}};
    records_.push_back({offset, time, origin, true});
  }
  std::size_t size() const { return records_.size(); }
  // Those from `begin` to before `end`, as decoded. They point into this object.
  DecodedBatch batch(std::size_t begin, std::size_t end) const {
    DecodedBatch batch;
    for (std::size_t i = begin; i < end; ++i) {
      DecodedBatch::Part& part = batch.parts.emplace_back();
      part.message = {.log = kLog, .offset = records_[i].offset, .timestamp = 0, .value = {}};
      if (records_[i].is_routed) part.message.origin = &records_[i].origin;
      part.largest = {{1, records_[i].time}};
    }
    return batch;
  }

 private:
  struct Record {
    std::int64_t offset;
    UnixSeconds time;
    Origin origin;
    bool is_routed;
  };
  std::deque<Record> records_;
};

DecodedBatch sequenced(Sequencer& sequencer, const Records& records, std::size_t begin, std::size_t end) {
  DecodedBatch batch = records.batch(begin, end);
  sequencer.sequence(batch);
  return batch;
}

TEST(Sequencer, AnUnroutedPartitionHasOneClock) {
  Sequencer sequencer(kWindow);
  sequencer.assign(kLog, 10, {});
  Records records;
  records.add(10, 1000);
  records.add(11, 900);
  const DecodedBatch batch = sequenced(sequencer, records, 0, records.size());
  EXPECT_EQ(batch.parts[1].clocks, (ChainClocks{{1, 1000}}));
  EXPECT_EQ(batch.parts[1].source, kOwnSource);
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
  const DecodedBatch batch = sequenced(sequencer, records, 0, records.size());
  const auto& parts = batch.parts;
  EXPECT_EQ(parts[0].clocks, (ChainClocks{{1, 6000}}));
  EXPECT_EQ(parts[1].clocks, (ChainClocks{{1, 200}}));
  EXPECT_EQ(parts[2].clocks, (ChainClocks{{1, 6000}}));
  EXPECT_EQ(parts[3].clocks, (ChainClocks{{1, 5500}}));
  EXPECT_EQ(parts[0].source, 7);
  EXPECT_EQ(parts[3].source, kOwnSource);
  EXPECT_EQ(batch.chain_clocks, (ChainClocks{{1, 6000}}));
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
    const DecodedBatch before = sequenced(first, all, 0, stop);
    const PartitionPlace place = first.place_of(kLog);
    EXPECT_EQ(place.next_offset, static_cast<std::int64_t>(stop));
    const DecodedBatch behind = sequenced(first, all, stop, all.size());

    const auto window = static_cast<std::size_t>(place.window_offset);
    Sequencer again(kWindow);
    again.assign(kLog, place.window_offset, place.window_clocks, place.source_windows);
    const DecodedBatch rest = sequenced(again, all, window, all.size());
    for (std::size_t i = window; i < all.size(); ++i) {
      const DecodedBatch::Part& expected = i < stop ? before.parts[i] : behind.parts[i - stop];
      const DecodedBatch::Part& found = rest.parts[i - window];
      if (i < stop && found.before_window) continue;
      EXPECT_FALSE(found.before_window) << "stop " << stop << ", record " << i;
      EXPECT_EQ(found.clocks, expected.clocks) << "stop " << stop << ", record " << i;
      EXPECT_EQ(found.source, expected.source);
    }
    EXPECT_GE(window + 130, stop) << "the window moves on";
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
  sequenced(sequencer, records, 0, records.size());
  EXPECT_EQ(sequencer.place_of(kLog).next_offset, 8);
}

}  // namespace
}  // namespace klined
