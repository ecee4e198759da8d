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
  OutputCheckTest() { again_.begin(kLog, 0, {100}); }

  // One more trade of the candle.
  void trade() {
    const std::string hash = "\"h" + std::to_string(offset_) + "\"";
    const std::string value = "[" + TradeText().with("pair_addr", "\"p\"").with("tx_hash", hash).str() + "]";
    ASSERT_TRUE(again_.take({.log = kLog, .offset = offset_++, .timestamp = -1, .value = value}));
  }
  // As it stands in the recomputation.
  proto::Kline kline() { return expected_kline(key_, again_.find(key_)->candle); }
  static proto::Kline wrong(proto::Kline kline) {
    kline.set_high(kline.high() * 2);
    return kline;
  }

  Recomputation again_{{.rules = {}, .intervals = {Interval::k1m}, .range = {}, .pair = {}}};
  PublishedCheck published_{again_};
  CachedCheck cached_{again_};
  const CandleKey key_{100000, "p", Interval::k1m, kBlockTime / 60 * 60};
  std::int64_t offset_ = 0;
};

TEST_F(OutputCheckTest, TheLastMessageOfTheRowsRevisionDecides) {
  trade();
  const proto::Kline first = kline();
  trade();
  published_.take_first(key_, wrong(first));  // older than the row: readers have forgotten it
  published_.take_first(key_, wrong(kline()));
  published_.take_first(key_, kline());
  published_.end_first();
  EXPECT_TRUE(published_.suspects().empty());
  published_.take_first(key_, wrong(kline()));
  published_.end_first();
  EXPECT_EQ(published_.suspects().size(), 1U);
}

TEST_F(OutputCheckTest, AnUnpublishedCandleIsSuspect) {
  trade();
  const proto::Kline first = kline();
  trade();
  published_.take_first(key_, first);
  published_.end_first();
  EXPECT_EQ(published_.suspects().size(), 1U);
}

TEST_F(OutputCheckTest, ARowNeedsAMessageOfItsOwnRevision) {
  trade();
  const proto::Kline first = kline();
  trade();
  published_.take_first(key_, first);
  published_.end_first();
  trade();
  published_.settle();
  EXPECT_EQ(published_.suspects().size(), 1U);
  published_.take_later(key_, kline());
  published_.settle();
  EXPECT_TRUE(published_.suspects().empty());
}

TEST_F(OutputCheckTest, ARevisionThatTheRowDoesNotReachStaysSuspect) {
  trade();
  proto::Kline phantom = kline();
  phantom.set_total_count(3);
  published_.take_first(key_, kline());
  published_.take_first(key_, phantom);
  published_.end_first();
  trade();
  published_.take_later(key_, kline());
  published_.settle();
  EXPECT_EQ(published_.suspects().size(), 1U);
  trade();  // reached: what was published last of it is the phantom
  published_.settle();
  EXPECT_EQ(published_.suspects().size(), 1U);
  published_.take_later(key_, kline());
  published_.settle();
  EXPECT_TRUE(published_.suspects().empty());
}

TEST_F(OutputCheckTest, ACachedCandleEqualsTheRowOrIsPassed) {
  trade();
  const proto::Kline right = kline();
  const proto::Kline bad = wrong(right);
  cached_.look(key_, &right);
  EXPECT_TRUE(cached_.suspects().empty());
  cached_.look(key_, nullptr);
  EXPECT_EQ(cached_.suspects().size(), 1U);
  cached_.look(key_, &bad);
  EXPECT_EQ(cached_.suspects().size(), 1U);
  cached_.look(key_, &right);
  EXPECT_TRUE(cached_.suspects().empty());

  proto::Kline newer = right;
  newer.set_total_count(2);
  cached_.look(key_, &newer);
  EXPECT_EQ(cached_.suspects().size(), 1U) << "newer than the row";
  trade();
  proto::Kline newest = kline();
  newest.set_total_count(3);
  cached_.look(key_, &newest);
  EXPECT_TRUE(cached_.suspects().empty()) << "the row has reached what was seen";
  EXPECT_EQ(cached_.in_flight(), 1);
}

}  // namespace
}  // namespace klined
