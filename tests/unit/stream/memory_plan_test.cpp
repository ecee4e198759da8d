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

TEST(MemoryPlan, WhatIsAddedGoesToTheCandles) {
  const MemoryPlan small = memory_plan(4096 * kMiB);
  const MemoryPlan large = memory_plan(8192 * kMiB);
  EXPECT_EQ(small.inflight, large.inflight);
  EXPECT_EQ(small.read_ahead, large.read_ahead);
  EXPECT_GE(large.lanes - small.lanes, std::size_t{3072} * kMiB);
}

}  // namespace
}  // namespace klined
