#include "klined/source/hidden_records.hpp"

#include <gtest/gtest.h>

namespace klined {
namespace {

const TopicPartition kPartition{"sol-trades-by-pair", 1};

class HiddenRecordsTest : public testing::Test {
 protected:
  std::int64_t note(std::optional<std::int64_t> end, std::int64_t high) {
    return hidden_.note(kPartition, end, high, clock_.now());
  }

  ManualClock clock_;
  HiddenRecords hidden_;
};

TEST_F(HiddenRecordsTest, NothingIsHiddenWhereReadingReachesTheHighWatermark) {
  EXPECT_EQ(note(100, 100), 0);
  clock_.advance(2 * HiddenRecords::kPatience);
  EXPECT_EQ(note(100, 100), 0);
  EXPECT_FALSE(hidden_.is_stuck(kPartition));
}

TEST_F(HiddenRecordsTest, AnEndThatStaysBelowTheHighWatermarkIsStuckAfterPatience) {
  EXPECT_EQ(note(100, 130), 30);
  clock_.advance(HiddenRecords::kPatience - Milliseconds(1));
  EXPECT_EQ(note(100, 150), 50);
  EXPECT_FALSE(hidden_.is_stuck(kPartition));
  clock_.advance(Milliseconds(1));
  EXPECT_EQ(note(100, 151), 51);
  EXPECT_TRUE(hidden_.is_stuck(kPartition));
}

TEST_F(HiddenRecordsTest, TransactionsThatEndInTimeNeverAddUp) {
  for (std::int64_t end = 100; end < 110; ++end) {
    EXPECT_EQ(note(end, end + 5), 5);
    clock_.advance(HiddenRecords::kPatience / 2);
  }
  EXPECT_FALSE(hidden_.is_stuck(kPartition));
}

TEST_F(HiddenRecordsTest, ReadingThatGoesOnEndsIt) {
  note(100, 130);
  clock_.advance(HiddenRecords::kPatience);
  note(100, 130);
  ASSERT_TRUE(hidden_.is_stuck(kPartition));
  EXPECT_EQ(note(std::nullopt, 130), 0);  // records come: what is behind them is not known
  EXPECT_FALSE(hidden_.is_stuck(kPartition));
  note(100, 130);
  clock_.advance(HiddenRecords::kPatience - Milliseconds(1));
  note(100, 130);
  EXPECT_FALSE(hidden_.is_stuck(kPartition));
}

TEST_F(HiddenRecordsTest, PartitionsAreToldApart) {
  const TopicPartition other{"sol-trades-by-pair", 2};
  note(100, 130);
  clock_.advance(HiddenRecords::kPatience);
  note(100, 130);
  hidden_.note(other, 100, 130, clock_.now());
  EXPECT_TRUE(hidden_.is_stuck(kPartition));
  EXPECT_FALSE(hidden_.is_stuck(other));
}

}  // namespace
}  // namespace klined
