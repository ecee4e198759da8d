#include "klined/publish/recorded_trades.hpp"

#include <gtest/gtest.h>

namespace klined {
namespace {

constexpr std::string_view kStamp = "2026-01-01T00:00:00.000Z";

std::vector<FeedMessage> messages_of(std::string_view batch, const RecordedOptions& options = {}) {
  std::vector<FeedMessage> messages;
  to_messages(batch, options, kStamp, messages);
  return messages;
}

TEST(RecordedTradesTest, TheStampIsReplacedAndAllElseStays) {
  const auto messages = messages_of(
      R"([ {"slot":7, "create_time" : "old" ,"block_time":12,"x":{"create_time":"inner"}},{"slot":8,"a":[1,"]}\"",{}]} ])");
  ASSERT_EQ(messages.size(), 1U);
  EXPECT_EQ(messages[0].value,
            R"([{"slot":7, "create_time" : "2026-01-01T00:00:00.000Z" ,"block_time":12,"x":{"create_time":"inner"}},)"
            R"({"slot":8,"a":[1,"]}\"",{}],"create_time":"2026-01-01T00:00:00.000Z"}])");
  EXPECT_EQ(messages[0].key, "7");
  EXPECT_EQ(messages[0].time, 12'000);
  EXPECT_EQ(messages[0].trades, 2);
}

TEST(RecordedTradesTest, BothSpellings) {
  const auto messages = messages_of(R"([{"Slot":"7","CreateTime":"old","BlockTime":"12"}])");
  ASSERT_EQ(messages.size(), 1U);
  EXPECT_EQ(messages[0].value, R"([{"Slot":"7","CreateTime":"2026-01-01T00:00:00.000Z","BlockTime":"12"}])");
  EXPECT_EQ(messages[0].key, "7");
  EXPECT_EQ(messages[0].time, 12'000);
}

TEST(RecordedTradesTest, TheBlockNumberStandsInForTheSlot) {
  EXPECT_EQ(messages_of(R"([{"slot":0,"block_num":9}])")[0].key, "9");
  EXPECT_EQ(messages_of(R"([{"slot":null,"BlockNum":9}])")[0].key, "9");
  EXPECT_EQ(messages_of(R"([{}])")[0].key, "");
  EXPECT_EQ(messages_of(R"([{}])")[0].value, R"([{"create_time":"2026-01-01T00:00:00.000Z"}])");
  EXPECT_EQ(messages_of(R"([{"block_time":"soon"}])")[0].time, -1);
  EXPECT_EQ(messages_of(R"([{"block_time":-1}])")[0].time, -1);
  EXPECT_EQ(messages_of(R"([{"block_time":99999999999999999}])")[0].time, -1);
}

TEST(RecordedTradesTest, KeyedByPairAMessageAPairInOrder) {
  const auto messages = messages_of(R"([{"pair_addr":"B","n":1},{"PairAddr":"A","n":2},{"pair_addr":"B","n":3}])",
                                    {.key = FeedKey::kPair});
  ASSERT_EQ(messages.size(), 2U);
  EXPECT_EQ(messages[0].key, "B");
  EXPECT_EQ(messages[0].trades, 2);
  EXPECT_NE(messages[0].value.find(R"("n":1)"), std::string::npos);
  EXPECT_LT(messages[0].value.find(R"("n":1)"), messages[0].value.find(R"("n":3)"));
  EXPECT_EQ(messages[1].key, "A");
  EXPECT_EQ(messages[1].trades, 1);
}

TEST(RecordedTradesTest, TheFilterDropsWhatTheUpstreamDrops) {
  std::vector<FeedMessage> messages;
  const auto dropped = to_messages(
      R"([{"type":"buy","token_price_usd":1.5},{"type":"sell","token_price_usd":"2e-7"},{"type":"add","token_price_usd":1},)"
      R"({"type":"buy","token_price_usd":0},{"type":"buy","token_price_usd":"0.00"},{"type":"buy","token_price_usd":-0e5},)"
      R"({"type":"buy","token_price_usd":null},{"type":"buy"},{"Type":"buy","TokenPriceUSD":3}])",
      {.filter = true}, kStamp, messages);
  EXPECT_EQ(dropped, 6);
  ASSERT_EQ(messages.size(), 1U);
  EXPECT_EQ(messages[0].trades, 3);
  messages.clear();
  EXPECT_EQ(to_messages(R"([{"type":"add"}])", {.filter = true}, kStamp, messages), 1);
  EXPECT_TRUE(messages.empty());
}

TEST(RecordedTradesTest, WhatIsNoBatchGoesOutAsItIs) {
  for (const std::string_view text : {"[1,2]", "{}", "[{]", "hello", "[{\"a\":1}", "[{\"a\"}]", "[{\"a\":}]",
                                      "[{\"a\":\"}]", "[]", "[{\"a\":1}] x"}) {
    const auto messages = messages_of(text);
    ASSERT_EQ(messages.size(), 1U) << text;
    EXPECT_EQ(messages[0].value, text);
    EXPECT_EQ(messages[0].key, "");
    EXPECT_EQ(messages[0].trades, 0);
  }
}

}  // namespace
}  // namespace klined
