#include "klined/stream/close_clocks.hpp"

#include <gtest/gtest.h>

namespace klined {
namespace {

TEST(CloseClocks, SayWhereTheSlowestLaneIs) {
  CloseClocks clocks(2);
  clocks.set(0, {{.chain = 1, .time = 200}});
  clocks.set(1, {{.chain = 1, .time = 100}});
  EXPECT_EQ(clocks.of(1), 100);
  clocks.set(1, {{.chain = 1, .time = 300}});
  EXPECT_EQ(clocks.of(1), 200);
}

TEST(CloseClocks, AreUnknownUntilEveryLaneHasOne) {
  CloseClocks clocks(2);
  EXPECT_EQ(clocks.of(1), -1);
  clocks.set(0, {{.chain = 1, .time = 200}});
  EXPECT_EQ(clocks.of(1), -1);
}

TEST(CloseClocks, OfAChainDoNotWaitForAnotherChains) {
  CloseClocks clocks(1);
  clocks.set(0, {{.chain = 1, .time = 200'000}, {.chain = 2, .time = 100}});
  EXPECT_EQ(clocks.of(1), 200'000);
  EXPECT_EQ(clocks.of(2), 100);
}

}  // namespace
}  // namespace klined
