#include "klined/aggregate/partition_progress.hpp"

#include <random>

#include <gtest/gtest.h>

namespace klined {
namespace {

TEST(PartitionProgress, ClocksAreTheLargestBlockTimesByChain) {
  PartitionProgress progress(600, 5, {});
  progress.advance(5, {{1, 100}});
  progress.advance(6, {{1, 90}, {56, 40}});
  progress.advance(9, {});
  EXPECT_EQ(progress.clocks(), (ChainClocks{{1, 100}, {56, 40}}));
  EXPECT_EQ(progress.next_offset(), 10);
}

TEST(PartitionProgress, TheWindowBeginsAtTheFirstMessageThatCanStillMatter) {
  PartitionProgress progress(600, 0, {});
  progress.advance(0, {{1, 1000}});
  progress.advance(1, {{1, 1001}});
  progress.advance(2, {{1, 1601}});
  // The message at offset 0 was at clock 1000, 601 s behind; the one at offset 1 is 600 s behind and still counts.
  EXPECT_EQ(progress.place().window_offset, 1);
  EXPECT_EQ(progress.place().window_clocks, (ChainClocks{{1, 1000}}));
}

TEST(PartitionProgress, AChainThatStandsStillHoldsTheWindow) {
  PartitionProgress progress(600, 0, {});
  progress.advance(0, {{56, 1000}});
  for (std::int64_t i = 1; i < 10'000; ++i) progress.advance(i, {{1, 1000 + i}});
  EXPECT_EQ(progress.place().window_offset, 0) << "chain 56's clock has not moved, so its trade can still be repeated";
}

// The law, on random streams: reading again from the window's place gives the same clocks, and no message before it
// had a clock within the window.
TEST(PartitionProgress, ReadingAgainFromTheWindowGivesTheSameClocks) {
  std::mt19937_64 random(42);
  for (int run = 0; run < 200; ++run) {
    struct Read {
      ChainClocks largest;
      ChainClocks clocks;
    };
    std::vector<Read> log;
    PartitionProgress progress(50, 0, {});
    UnixSeconds time = 1000;
    for (std::int64_t offset = 0; offset < 300; ++offset) {
      time += static_cast<UnixSeconds>(random() % 5);
      ChainClocks largest;
      if (random() % 4 != 0)
        raise_clock(largest, random() % 10 == 0 ? 56 : 1, time - static_cast<UnixSeconds>(random() % 20));
      progress.advance(offset, largest);
      log.push_back({largest, progress.clocks()});
      const PartitionPlace place = progress.place();
      PartitionProgress again(50, place.window_offset, place.window_clocks);
      for (std::int64_t o = place.window_offset; o <= offset; ++o)
        again.advance(o, log[static_cast<std::size_t>(o)].largest);
      ASSERT_EQ(again.clocks(), progress.clocks());
      for (std::int64_t o = 0; o < place.window_offset; ++o) {
        for (const ChainClock& c : log[static_cast<std::size_t>(o)].clocks) {
          ASSERT_GT(*clock_of(progress.clocks(), c.chain) - c.time, 50);
        }
      }
    }
  }
}

}  // namespace
}  // namespace klined
