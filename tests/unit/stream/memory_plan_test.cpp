#include "klined/stream/memory_plan.hpp"

#include <gtest/gtest.h>

namespace klined {
namespace {

constexpr std::int64_t kMiB = 1024 * 1024;

std::size_t sum_of(const MemoryPlan& plan) {
  return plan.inflight + plan.read_ahead + plan.producer_queue + plan.cache_queue + plan.cache_known + plan.lanes;
}

TEST(MemoryPlan, PartsStayBelowTheWhole) {
  for (const std::int64_t limit : {256 * kMiB, 300 * kMiB, 1024 * kMiB, 16 * 1024 * kMiB}) {
    const MemoryPlan plan = memory_plan(limit);
    EXPECT_LE(sum_of(plan), static_cast<std::size_t>(limit)) << limit;
    EXPECT_LT(plan.dedupe_max, plan.lanes) << limit;
  }
}

TEST(MemoryPlan, TheSmallestLimitLeavesRoomToWork) {
  const MemoryPlan plan = memory_plan(256 * kMiB);
  EXPECT_GE(plan.lanes, std::size_t{64} * kMiB);
  EXPECT_GE(plan.producer_queue, std::size_t{12} * kMiB) << "a dead letter may be a whole message of 10 MiB";
}

// LZ4 takes up to four times a response's size, other codecs what the contents need; and the response itself is there
// until all of it is unpacked.
TEST(MemoryPlan, AResponseFitsOnTopOfAFullQueue) {
  for (const std::int64_t limit : {256 * kMiB, 1024 * kMiB, 2048 * kMiB, 16 * 1024 * kMiB}) {
    const MemoryPlan plan = memory_plan(limit);
    EXPECT_LE(plan.read_queue + (1 + 7) * plan.fetch, plan.read_ahead) << limit;
    EXPECT_GE(plan.fetch, std::size_t{512} * 1024) << "small responses are slow: " << limit;
  }
}

TEST(MemoryPlan, TheDefaultLimitReadsAheadForASecond) {
  EXPECT_GE(memory_plan(2048 * kMiB).read_queue, std::size_t{64} * kMiB);
}

TEST(MemoryPlan, WhatIsAddedGoesToTheCandles) {
  const MemoryPlan small = memory_plan(4096 * kMiB);
  const MemoryPlan large = memory_plan(8192 * kMiB);
  EXPECT_EQ(small.inflight, large.inflight);
  EXPECT_EQ(small.read_ahead, large.read_ahead);
  EXPECT_GE(large.lanes - small.lanes, std::size_t{3072} * kMiB);
}

}  // namespace
}  // namespace klined
