#include "klined/stream/routing.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <algorithm>
#include <iterator>

#include <gtest/gtest.h>

#include <map>

#include "klined/source/record_headers.hpp"
#include "unit/codec/trade_text.hpp"

namespace klined {
namespace {

using testing::ElementsAre;
using testing::Pair;

const ChainClocks kClocks = {{56, 10}, {100000, 20}};
constexpr std::string_view kClocksText = "56:10,100000:20";

TradeText trade_of(std::string_view pair) { return TradeText().with("pair_addr", fmt::format("\"{}\"", pair)); }

// A message at sol-trades/2/34, and what becomes of it.
struct Routed {
  explicit Routed(std::string text, std::optional<Origin> from = std::nullopt, UnixMilliseconds timestamp = -1)
      : value(std::move(text)), origin(std::move(from)) {
    const Message message{.log = LogId(0, 2),
                          .offset = 34,
                          .timestamp = timestamp,
                          .value = value,
                          .origin = origin ? &*origin : nullptr};
    TradeDecoder().decode(message, decoded);
    records = divide_by_pair("sol-trades", message, decoded, kClocks);
    for (const Publication& record : records) by_key[record.key].push_back(record);
  }
  const Publication& only(const std::string& key) const {
    EXPECT_EQ(by_key.count(key), 1U) << key;
    EXPECT_EQ(by_key.at(key).size(), 1U) << key;
    return by_key.at(key).front();
  }
  std::string value;
  std::optional<Origin> origin;
  DecodedMessage decoded;
  std::vector<Publication> records;
  std::map<std::string, std::vector<Publication>> by_key;
};

TEST(Routing, EachPairsElementsInOrderAndByteForByte) {
  const std::string a = trade_of("A").str();
  const std::string b = trade_of("B").with("tx_hash", "\"\\u0041\"").str();
  const std::string c = trade_of("A").with("type", "\"sell\"").str();
  const Routed routed("[ " + a + " ,\n" + b + ", " + c + "]", std::nullopt, 1'748'779'200'000);
  ASSERT_EQ(routed.records.size(), 2U);
  const Publication& first = routed.only("A");
  EXPECT_EQ(first.topic, "sol-trades-by-pair");
  EXPECT_EQ(first.value, "[" + a + "," + c + "]");
  EXPECT_EQ(first.timestamp_ms, 1'748'779'200'000);
  EXPECT_THAT(first.headers, ElementsAre(Pair(kOriginHeader, "sol-trades/2/34"), Pair(kIndexesHeader, "0,2"),
                                         Pair(kClocksHeader, kClocksText)));
  EXPECT_EQ(routed.only("B").value, "[" + b + "]");
  EXPECT_THAT(routed.only("B").headers, ElementsAre(Pair(kOriginHeader, "sol-trades/2/34"), Pair(kIndexesHeader, "1"),
                                                    Pair(kClocksHeader, kClocksText)));
}

TEST(Routing, OnePairOfTwoChainsIsTwo) {
  const Routed routed("[" + trade_of("A").str() + "," + trade_of("A").with("chain_id_int", "56").str() + "]");
  ASSERT_EQ(routed.by_key.at("A").size(), 2U);
  EXPECT_EQ(routed.by_key.at("A")[0].headers[1].second, "1");  // by chain
  EXPECT_EQ(routed.by_key.at("A")[1].headers[1].second, "0");
}

TEST(Routing, WhatCountsForNothingIsLeftOut) {
  const Routed routed("[" + trade_of("A").with("type", "\"add\"").str() + "," + trade_of("A").str() + "," +
                      trade_of("A").with("token_price_usd", "0").str() + "]");
  ASSERT_EQ(routed.records.size(), 1U);
  EXPECT_EQ(routed.only("A").headers[1].second, "1");
  EXPECT_EQ(routed.decoded.ignored, 1);
  EXPECT_EQ(routed.decoded.no_price, 1);
  EXPECT_TRUE(Routed("[]").records.empty());
}

TEST(Routing, MalformedAndFutureElementsGoTogetherByPlace) {
  const std::string future = trade_of("A").str();
  const Routed routed("[17, " + future + ", {}]", std::nullopt, 1'000);
  ASSERT_EQ(routed.records.size(), 1U);
  // {} has no type, and an element without one is malformed.
  EXPECT_EQ(routed.only("2-34").value, "[17," + future + ",{}]");
  EXPECT_EQ(routed.only("2-34").headers[1].second, "0,1,2");
}

TEST(Routing, WhatIsNoArrayGoesOnWhole) {
  for (const std::string text : {"{\"a\":1}", "[1,2", ""}) {
    const Routed routed(text);
    ASSERT_EQ(routed.records.size(), 1U) << text;
    EXPECT_EQ(routed.only("2-34").value, text);
    EXPECT_THAT(routed.only("2-34").headers,
                ElementsAre(Pair(kOriginHeader, "sol-trades/2/34"), Pair(kClocksHeader, kClocksText)));
  }
}

TEST(Routing, APutBackLetterKeepsItsPlace) {
  Origin origin;
  origin.log = LogId(0, 2);
  origin.offset = 7;
  origin.indexes = {5, 9};
  const Routed routed("[" + trade_of("A").str() + ",1]", origin);
  EXPECT_THAT(routed.only("A").headers, ElementsAre(Pair(kOriginHeader, "sol-trades/2/7"), Pair(kIndexesHeader, "5"),
                                                    Pair(kClocksHeader, kClocksText)));
  EXPECT_EQ(routed.only("2-7").headers[1].second, "9");
}

TEST(Routing, NoRecordTellsTheTimeOfRouting) {
  EXPECT_EQ(Routed("[1]", std::nullopt, 0).records[0].timestamp_ms, 1);
  EXPECT_EQ(Routed("[1]", std::nullopt, 5).records[0].timestamp_ms, 5);
}

// More elements than one decoding lists, each once and in order.
TEST(Routing, ManyBadElementsComeOnceEach) {
  constexpr std::size_t kElements = 2 * TradeDecoder::kBadLimit + 3;
  std::string text = "[";
  for (std::size_t i = 0; i < kElements; ++i) text += i == 0 ? "1" : ",1";
  text += "]";
  const Message message{.log = LogId(0, 3), .offset = 4, .timestamp = 1, .value = text};
  TradeDecoder decoder;
  DecodedMessage decoded;
  decoder.decode(message, decoded);
  std::vector<Publication> records = divide_by_pair("sol-trades", message, decoded, {});
  while (decoded.next_bad != 0) {
    decoder.decode(message, decoded, decoded.next_bad);
    std::ranges::move(divide_bad("sol-trades", message, decoded, {}), std::back_inserter(records));
  }
  std::uint32_t next = 0;
  for (const Publication& record : records) {
    EXPECT_LE(record.value.size() + record.headers[1].second.size(), kRoutedBytesMax);
    const auto origin = parse_origin({record.headers[0].second, record.headers[1].second, {}}, "sol-trades", 0);
    ASSERT_TRUE(origin && *origin);
    EXPECT_EQ(record.value.size(), 2 * (*origin)->indexes->size() + 1);
    for (const std::uint32_t index : *(*origin)->indexes) ASSERT_EQ(index, next++);
  }
  EXPECT_EQ(next, kElements);
}

// Large elements: the value and the indexes together stay below what a topic takes.
TEST(Routing, RecordsStayBelowWhatATopicTakes) {
  const std::string element = '"' + std::string(600'000, 'x') + '"';
  std::string text = "[" + element;
  for (int i = 1; i < 20; ++i) text += "," + element;
  const Routed routed(text + "]");
  const std::vector<Publication>& records = routed.by_key.at("2-34");
  EXPECT_EQ(records.size(), 2U);
  for (const Publication& record : records) {
    EXPECT_LE(record.value.size() + record.headers[1].second.size(), kRoutedBytesMax);
  }
}

TEST(Routing, HowOftenItWasPutBackGoesWithIt) {
  Origin origin;
  origin.log = LogId(0, 1);
  origin.offset = 7;
  origin.indexes = {4};
  origin.attempt = 2;
  const Routed routed("[" + trade_of("A").str() + "]", origin);
  EXPECT_THAT(routed.only("A").headers,
              ElementsAre(Pair("klined-origin", "sol-trades/1/7"), Pair("klined-attempt", "2"),
                          Pair("klined-indexes", "4"), Pair("klined-clocks", kClocksText)));
}

}  // namespace
}  // namespace klined
