// Which trades a recomputation takes: each lane up to its own limit, whatever comes first.
#include "klined/stream/recomputation.hpp"

#include <gtest/gtest.h>

#include "unit/codec/trade_text.hpp"

namespace klined {
namespace {

const LogId kLog(0, 0);

class RecomputationTest : public testing::Test {
 protected:
  void take(Recomputation& again, std::int64_t offset, std::string_view pair, std::string_view hash) {
    const std::string value = "[" +
                              TradeText()
                                  .with("pair_addr", "\"" + std::string(pair) + "\"")
                                  .with("tx_hash", "\"" + std::string(hash) + "\"")
                                  .str() +
                              "]";
    ASSERT_TRUE(again.take({.log = kLog, .offset = offset, .timestamp = -1, .value = value}));
  }
  static std::int64_t count(Recomputation& again, std::string_view pair) {
    const auto* entry = again.find({100000, std::string(pair), Interval::k1m, kBlockTime / 60 * 60});
    return entry == nullptr ? 0 : entry->candle.total_count();
  }
  static std::size_t lane_of(std::string_view pair) { return (hash_of_pair(100000, pair) >> 32U) % 2; }
  // A pair of each of two lanes.
  static std::string pair_of(std::size_t lane) {
    std::string name = "p";
    while (lane_of(name) != lane) name += 'x';
    return name;
  }
};

TEST_F(RecomputationTest, EachLaneStopsAtItsLimit) {
  Recomputation again({.rules = {}, .intervals = {Interval::k1m}, .range = {}, .pair = {}});
  const std::string first = pair_of(0);
  const std::string second = pair_of(1);
  again.begin(kLog, 0, {1, 3});
  EXPECT_EQ(again.target(kLog), 3);
  for (std::int64_t offset = 0; offset < 3; ++offset) {
    take(again, offset, first, "a" + std::to_string(offset));
  }
  EXPECT_EQ(count(again, first), 1);
  ASSERT_TRUE(again.set_limits(kLog, {2, 3}));
  EXPECT_EQ(count(again, first), 2);
  ASSERT_TRUE(again.set_limits(kLog, {5, 5}));
  EXPECT_EQ(count(again, first), 3);
  EXPECT_EQ(again.next_offset(kLog), 3);
  take(again, 3, second, "b");
  take(again, 4, second, "b");  // a duplicate
  EXPECT_EQ(count(again, second), 1);
  EXPECT_FALSE(again.set_limits(kLog, {4, 5})) << "limits only grow";
  EXPECT_FALSE(again.set_limits(kLog, {5, 5, 5})) << "the lanes are other ones";
}

TEST_F(RecomputationTest, RoutedRecordsAreJudgedByTheirOrigins) {
  Recomputation again({.rules = {}, .intervals = {Interval::k1m}, .max_lateness = 600, .range = {}, .pair = {}});
  again.begin(kLog, 0, {100});
  const std::string value = "[" + TradeText().with("pair_addr", "\"p\"").str() + "]";
  const auto take = [&](std::int64_t offset, std::uint32_t partition, UnixSeconds clock) {
    const Origin origin{LogId(1, partition), offset, std::nullopt, ChainClocks{{100000, clock}}};
    return again.take({.log = kLog, .offset = offset, .timestamp = -1, .value = value, .origin = &origin}).has_value();
  };
  ASSERT_TRUE(take(0, 0, kBlockTime));
  ASSERT_TRUE(take(1, 0, kBlockTime));
  EXPECT_EQ(count(again, "p"), 1) << "a duplicate within its origin";
  ASSERT_TRUE(take(2, 1, kBlockTime));
  EXPECT_EQ(count(again, "p"), 2) << "another origin has a window of its own";
  ASSERT_TRUE(take(3, 2, kBlockTime + 601));
  EXPECT_EQ(count(again, "p"), 2) << "late by its origin's clock";
  const Origin wrong{LogId(1, 3), 4, std::vector<std::uint32_t>{0, 5}, std::nullopt};
  EXPECT_FALSE(again.take({.log = kLog, .offset = 4, .timestamp = -1, .value = value, .origin = &wrong}))
      << "it has not the elements that it tells of";
}

TEST(UncertainUntil, IsBoundByTheFirstRecordLeftAndTheNewestTrade) {
  EXPECT_FALSE(uncertain_until({}, 5000, 600, 60).has_value());
  EXPECT_EQ(uncertain_until({{1'000'000}}, 5000, 600, 60), 1660);
  EXPECT_EQ(uncertain_until({{1'000'000}, {2'000'000}}, 5000, 600, 60), 2660);
  EXPECT_EQ(uncertain_until({{9'000'000}}, 5000, 600, 60), 5060);
  EXPECT_EQ(uncertain_until({{-1}}, 5000, 600, 60), 5060);
}

}  // namespace
}  // namespace klined
