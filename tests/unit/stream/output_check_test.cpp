// Which published and cached candles are right, wrong, or not to be judged yet.
#include "klined/stream/output_check.hpp"

#include <gtest/gtest.h>

#include "kline.pb.h"
#include "unit/codec/trade_text.hpp"

namespace klined {
namespace {

const LogId kLog(0, 0);

class OutputCheckTest : public testing::Test {
 protected:
  OutputCheckTest() { again.begin(kLog, 0, {100}); }

  // One more trade of the candle.
  void trade() {
    const std::string hash = "\"h" + std::to_string(offset) + "\"";
    const std::string value = "[" + TradeText().with("pair_addr", "\"p\"").with("tx_hash", hash).str() + "]";
    ASSERT_TRUE(again.take({.log = kLog, .offset = offset++, .timestamp = -1, .value = value}));
  }
  // As it stands in the recomputation.
  proto::Kline kline() { return expected_kline(key, again.find(key)->candle); }
  static proto::Kline wrong(proto::Kline kline) {
    kline.set_high(kline.high() * 2);
    return kline;
  }

  Recomputation again{{.rules = {}, .intervals = {Interval::k1m}, .range = {}, .pair = {}}};
  PublishedCheck published{again};
  CachedCheck cached{again};
  const CandleKey key{100000, "p", Interval::k1m, kBlockTime / 60 * 60};
  std::int64_t offset = 0;
};

TEST_F(OutputCheckTest, TheLastMessageOfTheRowsRevisionDecides) {
  trade();
  const proto::Kline first = kline();
  trade();
  published.take_first(key, wrong(first));  // older than the row: readers have forgotten it
  published.take_first(key, wrong(kline()));
  published.take_first(key, kline());
  published.end_first();
  EXPECT_TRUE(published.suspects().empty());
  published.take_first(key, wrong(kline()));
  published.end_first();
  EXPECT_EQ(published.suspects().size(), 1U);
}

TEST_F(OutputCheckTest, AnUnpublishedCandleIsSuspect) {
  trade();
  const proto::Kline first = kline();
  trade();
  published.take_first(key, first);
  published.end_first();
  EXPECT_EQ(published.suspects().size(), 1U);
}

TEST_F(OutputCheckTest, ARowNeedsAMessageOfItsOwnRevision) {
  trade();
  const proto::Kline first = kline();
  trade();
  published.take_first(key, first);
  published.end_first();
  trade();
  published.settle();
  EXPECT_EQ(published.suspects().size(), 1U);
  published.take_later(key, kline());
  published.settle();
  EXPECT_TRUE(published.suspects().empty());
}

TEST_F(OutputCheckTest, ARevisionThatTheRowDoesNotReachStaysSuspect) {
  trade();
  proto::Kline phantom = kline();
  phantom.set_total_count(3);
  published.take_first(key, kline());
  published.take_first(key, phantom);
  published.end_first();
  trade();
  published.take_later(key, kline());
  published.settle();
  EXPECT_EQ(published.suspects().size(), 1U);
  trade();  // reached: what was published last of it is the phantom
  published.settle();
  EXPECT_EQ(published.suspects().size(), 1U);
  published.take_later(key, kline());
  published.settle();
  EXPECT_TRUE(published.suspects().empty());
}

TEST_F(OutputCheckTest, ACachedCandleEqualsTheRowOrIsPassed) {
  trade();
  const proto::Kline right = kline();
  const proto::Kline bad = wrong(right);
  cached.look(key, &right);
  EXPECT_TRUE(cached.suspects().empty());
  cached.look(key, nullptr);
  EXPECT_EQ(cached.suspects().size(), 1U);
  cached.look(key, &bad);
  EXPECT_EQ(cached.suspects().size(), 1U);
  cached.look(key, &right);
  EXPECT_TRUE(cached.suspects().empty());

  proto::Kline newer = right;
  newer.set_total_count(2);
  cached.look(key, &newer);
  EXPECT_EQ(cached.suspects().size(), 1U) << "newer than the row";
  trade();
  proto::Kline newest = kline();
  newest.set_total_count(3);
  cached.look(key, &newest);
  EXPECT_TRUE(cached.suspects().empty()) << "the row has reached what was seen";
  EXPECT_EQ(cached.in_flight(), 1);
}

}  // namespace
}  // namespace klined
