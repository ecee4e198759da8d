#include "klined/cache/update_queue.hpp"

#include <gtest/gtest.h>

namespace klined {
namespace {

CacheUpdate update_of(UnixSeconds time, std::int64_t revision, bool closed = false, std::size_t size = 10) {
  return {CandleKey{100000, "pair", Interval::k1m, time}, std::string(size, 'x'), revision, closed};
}

std::vector<std::pair<UnixSeconds, std::int64_t>> times_and_revisions(const std::vector<CacheUpdate>& updates) {
  std::vector<std::pair<UnixSeconds, std::int64_t>> out;
  for (const CacheUpdate& update : updates) out.emplace_back(update.key.time, update.revision);
  return out;
}

using Expected = std::vector<std::pair<UnixSeconds, std::int64_t>>;

TEST(UpdateQueue, KeepsOneUpdateACandleInItsPlace) {
  UpdateQueue queue(1 << 20);
  queue.offer(update_of(60, 1));
  queue.offer(update_of(120, 1));
  queue.offer(update_of(60, 2));
  EXPECT_EQ(queue.size(), 2U);
  EXPECT_EQ(times_and_revisions(queue.take(10)), (Expected{{60, 2}, {120, 1}}));
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.bytes(), 0U);
}

TEST(UpdateQueue, NewestRevisionStaysWhateverTheOrder) {
  UpdateQueue queue(1 << 20);
  queue.offer(update_of(60, 7));
  queue.offer(update_of(60, 5));
  EXPECT_EQ(times_and_revisions(queue.take(10)), (Expected{{60, 7}}));
}

TEST(UpdateQueue, AtTheSameRevisionClosedWins) {
  UpdateQueue queue(1 << 20);
  queue.offer(update_of(60, 7, true));
  queue.offer(update_of(60, 7, false));
  queue.offer(update_of(120, 7, false));
  queue.offer(update_of(120, 7, true));
  for (const CacheUpdate& update : queue.take(10)) EXPECT_TRUE(update.closed) << update.key.time;
}

TEST(UpdateQueue, OtherSeriesAreOtherCandles) {
  UpdateQueue queue(1 << 20);
  const CandleKey key{1, "pair", Interval::k1m, 0};
  for (const CandleKey& other : {key, CandleKey{56, "pair", Interval::k1m, 0}, CandleKey{1, "Pair", Interval::k1m, 0},
                                 CandleKey{1, "pair", Interval::k5m, 0}}) {
    queue.offer({other, "value", 1, false});
  }
  EXPECT_EQ(queue.size(), 4U);
}

TEST(UpdateQueue, WhatIsPutBackIsFirstAgainUnlessNewerWaits) {
  UpdateQueue queue(1 << 20);
  for (const UnixSeconds time : {60, 120, 180}) queue.offer(update_of(time, 1));
  std::vector<CacheUpdate> taken = queue.take(2);
  queue.offer(update_of(120, 2));
  EXPECT_EQ(queue.put_back(std::move(taken)), 0U);
  EXPECT_EQ(times_and_revisions(queue.take(10)), (Expected{{60, 1}, {180, 1}, {120, 2}}));
}

TEST(UpdateQueue, DropsTheLongestWaitingAtItsLimit) {
  UpdateQueue queue(10'000);
  std::size_t dropped = 0;
  for (UnixSeconds time = 0; time < 100 * 60; time += 60) dropped += queue.offer(update_of(time, 1, false, 1'000));
  EXPECT_LE(queue.bytes(), 10'000U);
  EXPECT_EQ(dropped + queue.size(), 100U);
  const auto left = queue.take(100);
  ASSERT_FALSE(left.empty());
  EXPECT_EQ(left.back().key.time, 99 * 60);
  EXPECT_EQ(left.front().key.time, static_cast<UnixSeconds>(dropped) * 60);
}

TEST(UpdateQueue, CountsAnUpdateThatGrew) {
  UpdateQueue queue(10'000);
  queue.offer(update_of(60, 1, false, 10));
  const std::size_t before = queue.bytes();
  queue.offer(update_of(60, 2, false, 110));
  EXPECT_EQ(queue.bytes(), before + 100);
  EXPECT_EQ(queue.offer(update_of(60, 3, false, 20'000)), 1U);
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.bytes(), 0U);
}

}  // namespace
}  // namespace klined
