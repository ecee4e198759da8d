// The last record that was put back stands for its place, under whatever rules.
#include "klined/codec/put_backs.hpp"

#include <gtest/gtest.h>

#include "unit/codec/trade_text.hpp"

namespace klined {
namespace {

const LogId kLog(0, 2);
constexpr std::int64_t kOffset = 34;

Origin origin_of(std::optional<std::vector<std::uint32_t>> indexes, std::int32_t attempt) {
  Origin origin;
  origin.log = kLog;
  origin.offset = kOffset;
  origin.indexes = std::move(indexes);
  origin.attempt = attempt;
  return origin;
}

class PutBacksTest : public testing::Test {
 protected:
  // What becomes of the message at its first place, or of a record that stands for it.
  DecodedMessage& decode(const std::string& value, const Origin* origin = nullptr) {
    message = {.log = kLog,
               .offset = origin == nullptr ? kOffset : 99,
               .timestamp = -1,
               .value = value,
               .origin = origin,
               .put_back = put_backs.find(2, kOffset)};
    TradeDecoder().decode(message, decoded);
    return decoded;
  }
  PutBacks put_backs;
  Message message;
  DecodedMessage decoded;
  const std::string trade = TradeText().str();
};

TEST_F(PutBacksTest, ItsElementCountsNoMoreAtItsFirstPlace) {
  EXPECT_EQ(decode("[" + trade + "," + trade + "]").trades.size(), 2U);
  put_backs.add(origin_of({{1}}, 1));
  EXPECT_EQ(put_backs.find(2, kOffset + 1), nullptr);
  EXPECT_EQ(put_backs.find(3, kOffset), nullptr);
  decode("[" + trade + "," + trade + "]");
  ASSERT_EQ(decoded.trades.size(), 1U);
  EXPECT_EQ(decoded.trades[0].position.index, 0U);
  EXPECT_EQ(decoded.superseded, 1);
  decode("[" + trade + ",17]");
  EXPECT_TRUE(decoded.bad.empty()) << "nor does it make another dead letter";
  EXPECT_EQ(decoded.superseded, 1);
}

TEST_F(PutBacksTest, OnlyTheLastAttemptCounts) {
  put_backs.add(origin_of({{1}}, 2));
  put_backs.add(origin_of({{1}}, 1));  // in whatever order they are read
  const Origin first = origin_of({{1}}, 1);
  EXPECT_EQ(decode("[" + trade + "]", &first).superseded, 1);
  EXPECT_TRUE(decoded.trades.empty());
  const Origin second = origin_of({{1}}, 2);
  EXPECT_EQ(decode("[" + trade + "]", &second).superseded, 0);
  ASSERT_EQ(decoded.trades.size(), 1U);
  EXPECT_EQ(decoded.trades[0].position.index, 1U);
}

TEST_F(PutBacksTest, AWholeMessageStandsForItsElements) {
  put_backs.add(origin_of({{0}}, 1));
  put_backs.add(origin_of(std::nullopt, 2));
  EXPECT_EQ(decode("no array").superseded, 1);
  EXPECT_FALSE(decoded.dead());
  EXPECT_EQ(decode("[" + trade + ",17," + trade + "]").superseded, 3);
  const Origin element = origin_of({{0}}, 1);
  EXPECT_EQ(decode("[" + trade + "]", &element).superseded, 1);
  EXPECT_FALSE(decoded.contradicts_origin);
  const Origin whole = origin_of(std::nullopt, 2);
  EXPECT_EQ(decode("[" + trade + ",17," + trade + "]", &whole).superseded, 0);
  EXPECT_EQ(decoded.trades.size(), 2U);
  EXPECT_TRUE(decode("no array", &whole).dead());
}

// One of the elements of a message that was put back whole died again, and was put back.
TEST_F(PutBacksTest, AnElementOfAWholeMessage) {
  put_backs.add(origin_of(std::nullopt, 1));
  put_backs.add(origin_of({{1}}, 2));
  EXPECT_EQ(decode("[" + trade + "," + trade + "]").superseded, 2);
  const Origin whole = origin_of(std::nullopt, 1);
  EXPECT_EQ(decode("[" + trade + "," + trade + "]", &whole).superseded, 1);
  EXPECT_EQ(put_backs.find(2, kOffset)->attempt_of_whole(), 1);
  EXPECT_EQ(put_backs.find(2, kOffset)->last(), 2);
}

// Of a part of the message that was routed: by the elements' indexes in the message.
TEST_F(PutBacksTest, RoutedElementsByTheirIndexes) {
  put_backs.add(origin_of({{7}}, 1));
  const Origin part = origin_of({{3, 7, 9}}, 0);
  decode("[" + trade + "," + trade + "," + trade + "]", &part);
  ASSERT_EQ(decoded.trades.size(), 2U);
  EXPECT_EQ(decoded.trades[0].position.index, 3U);
  EXPECT_EQ(decoded.trades[1].position.index, 9U);
  EXPECT_TRUE(decode("[" + trade + "]", &part).contradicts_origin);
}

TEST_F(PutBacksTest, AllOfAMessageWithMoreBadTradesThanAreListed) {
  std::string value = "[1";
  for (std::size_t i = 1; i < TradeDecoder::kBadLimit + 5; ++i) value += ",1";
  value += "]";
  put_backs.add(origin_of({{3}}, 1));
  decode(value);
  EXPECT_EQ(decoded.superseded, 1);
  EXPECT_EQ(decoded.bad.size() + static_cast<std::size_t>(decoded.unlisted_invalid), TradeDecoder::kBadLimit + 4);
}

TEST_F(PutBacksTest, WhatWasPutBackSinceIsNoticed) {
  decode("[" + trade + "]");
  EXPECT_FALSE(was_put_back_since(message));
  const Origin first = origin_of({{1}}, 1);
  decode("[" + trade + "]", &first);
  EXPECT_TRUE(was_put_back_since(message));
  put_backs.add(first);
  decode("[" + trade + "]", &first);
  EXPECT_FALSE(was_put_back_since(message));
  const Origin second = origin_of({{1}}, 2);
  decode("[" + trade + "]", &second);
  EXPECT_TRUE(was_put_back_since(message));
  const Origin whole = origin_of(std::nullopt, 1);
  decode("[" + trade + "]", &whole);
  EXPECT_TRUE(was_put_back_since(message));
}

}  // namespace
}  // namespace klined
