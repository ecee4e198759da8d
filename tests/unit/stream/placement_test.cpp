#include "klined/stream/placement.hpp"

#include <gmock/gmock.h>

namespace klined {
namespace {

using ::testing::HasSubstr;

const TopicPartition kPartition{"trades", 3};

Claim claim_of(std::vector<LaneOffset> rows) {
  for (LaneOffset& row : rows) {
    row.topic = kPartition.topic;
    row.partition = kPartition.partition;
  }
  return {std::move(rows), {"other", "trades"}};
}
LaneOffset row(std::int64_t next_offset, std::int64_t window_offset, UnixSeconds clock) {
  LaneOffset offset;
  offset.next_offset = next_offset;
  offset.window_offset = window_offset;
  offset.window_clocks = {{1, clock}};
  return offset;
}

TEST(Placement, BeginsWhereTheEarliestWindowBegan) {
  const auto placed =
      place_reader(claim_of({row(20, 12, 7), row(18, 10, 5), row(30, 15, 9)}), kPartition, {0, 40}, false);
  ASSERT_TRUE(placed);
  EXPECT_EQ(placed->assignment.offset, 10);
  EXPECT_EQ(placed->assignment.log, LogId(1, 3));
  EXPECT_EQ(placed->clocks, (ChainClocks{{1, 5}}));
  EXPECT_EQ(placed->stored_offset, 18);
}

TEST(Placement, RefusesALogThatDoesNotHoldWhatIsNeeded) {
  const Claim claim = claim_of({row(20, 12, 7), row(18, 10, 5)});
  EXPECT_THAT(place_reader(claim, kPartition, {0, 19}, true).error().message, HasSubstr("ends at offset 19, but 20"));
  EXPECT_THAT(place_reader(claim, kPartition, {19, 40}, true).error().message, HasSubstr("the 1 messages between"));
  EXPECT_THAT(place_reader(claim, kPartition, {11, 40}, false).error().message, HasSubstr("allow_dedupe_gap"));
  EXPECT_EQ(place_reader(claim, kPartition, {11, 40}, true)->assignment.offset, 11);
  EXPECT_EQ(place_reader(claim, kPartition, {10, 20}, false)->assignment.offset, 10);
}

TEST(Placement, APartitionThatJoinsATopicBeginsAtItsBeginning) {
  const StartAt latest{StartAt::Kind::kLatest};
  const std::vector<LaneOffset> stored = claim_of({row(1, 1, 1)}).offsets;
  EXPECT_EQ(begin_of(kPartition, stored, latest), BeginAt::kStored);
  EXPECT_EQ(begin_of({"trades", 4}, stored, latest), BeginAt::kLow);
  EXPECT_EQ(begin_of({"new", 0}, stored, latest), BeginAt::kHigh);
  EXPECT_EQ(begin_of({"new", 0}, stored, {StartAt::Kind::kTime, 5}), BeginAt::kTime);
  EXPECT_EQ(begin_of({"new", 0}, stored, {}), BeginAt::kLow);
}

}  // namespace
}  // namespace klined
