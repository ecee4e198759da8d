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

// With the checksum of what was put back.
Origin noted(std::optional<std::vector<std::uint32_t>> indexes, std::int32_t attempt, std::string_view bytes) {
  Origin origin = origin_of(std::move(indexes), attempt);
  origin.checksum = checksum_of(bytes);
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

TEST(Checksum, IsTextInAHeader) {
  EXPECT_EQ(checksum_text(checksum_of("123456789")), "9:cbf43926");  // the check value of CRC-32/ISO-HDLC
  EXPECT_EQ(checksum_text(checksum_of("")), "0:00000000");
  EXPECT_EQ(checksum_text({5, 0xA}), "5:0000000a");
  for (const std::string text : {"", "a", "[17]"}) {
    EXPECT_EQ(parse_checksum(checksum_text(checksum_of(text))), checksum_of(text)) << text;
  }
  EXPECT_NE(checksum_of("17"), checksum_of("18"));
}

// The topic was made anew, its notes were not.
TEST_F(PutBacksTest, ANoteOfAnotherElementIsIgnored) {
  put_backs.add(noted({{1}}, 1, trade));
  EXPECT_EQ(decode("[17, " + trade + " ]").superseded, 1) << "white space around it does not belong to it";
  EXPECT_FALSE(decoded.has_foreign_note);
  const std::string other = TradeText().with("tx_hash", "\"other\"").str();
  EXPECT_EQ(decode("[" + trade + "," + other + "]").superseded, 0);
  EXPECT_EQ(decoded.trades.size(), 2U);
  EXPECT_TRUE(decoded.has_foreign_note);
  EXPECT_EQ(decode("[" + trade + ",17]").superseded, 0);
  EXPECT_EQ(decoded.bad.size(), 1U);
  EXPECT_FALSE(decode("[" + trade + "]").has_foreign_note) << "there is no element that it might be of";
}

TEST_F(PutBacksTest, ANoteOfAnotherWholeMessageIsIgnored) {
  put_backs.add(noted(std::nullopt, 1, "no array"));
  EXPECT_EQ(decode("no array").superseded, 1);
  EXPECT_FALSE(decoded.has_foreign_note);
  EXPECT_TRUE(decode("No array").dead());
  EXPECT_TRUE(decoded.has_foreign_note);
  EXPECT_EQ(decode("[" + trade + ",17]").superseded, 0);
  EXPECT_EQ(decoded.trades.size(), 1U);
  EXPECT_EQ(decoded.bad.size(), 1U);
  EXPECT_TRUE(decoded.has_foreign_note);
  // A whole message that the version of now can read.
  const std::string array = "[" + trade + "," + trade + "]";
  put_backs.add(noted(std::nullopt, 2, array));
  EXPECT_EQ(decode(array).superseded, 2);
}

// What was put back is in the topic that the notes of later attempts are of.
TEST_F(PutBacksTest, ALaterAttemptNeedsNoChecksum) {
  put_backs.add(noted({{1}}, 2, "17"));
  const Origin element = origin_of({{1}}, 1);
  EXPECT_EQ(decode("[" + trade + "]", &element).superseded, 1);
  put_backs.add(noted(std::nullopt, 3, "no array"));
  const Origin other = origin_of({{0}}, 1);
  EXPECT_EQ(decode("[" + trade + "]", &other).superseded, 1);
  EXPECT_FALSE(decoded.has_foreign_note);
}

// A routed part of a message: its elements' bytes are at hand, the message's are not.
TEST_F(PutBacksTest, RoutedElementsByTheirBytes) {
  const std::string other = TradeText().with("tx_hash", "\"other\"").str();
  const Origin part = origin_of({{3, 7}}, 0);
  put_backs.add(noted({{7}}, 1, other));
  EXPECT_EQ(decode("[" + trade + "," + other + "]", &part).superseded, 1);
  ASSERT_EQ(decoded.trades.size(), 1U);
  EXPECT_EQ(decoded.trades[0].position.index, 3U);
  EXPECT_FALSE(decoded.has_foreign_note);
  EXPECT_EQ(decode("[" + other + "," + trade + "]", &part).superseded, 0);
  EXPECT_TRUE(decoded.has_foreign_note);
  put_backs.add(noted(std::nullopt, 2, "[" + trade + "," + other + "]"));
  decode("[" + trade + "," + other + "]", &part);
  EXPECT_EQ(decoded.superseded, 1) << "the element's own note still holds";
  EXPECT_TRUE(decoded.has_foreign_note);
  Origin whole = origin_of(std::nullopt, 0);
  EXPECT_EQ(decode("[" + trade + "," + other + "]", &whole).superseded, 2) << "routed whole";
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
