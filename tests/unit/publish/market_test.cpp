#include "klined/publish/market.hpp"

#include <gtest/gtest.h>
#include <xxhash.h>

#include <cmath>
#include <map>
#include <set>
#include <string>

#include "klined/codec/trade_decoder.hpp"

namespace klined {
namespace {

constexpr std::string_view kStamp = "2026-01-01T00:00:00.000Z";
constexpr std::int64_t kNoLimit = 1LL << 60U;

MarketOptions options() {
  MarketOptions made;
  made.seed = 42;
  made.start = 1'767'225'600'000;
  return made;
}

std::vector<FeedMessage> slots(const MarketOptions& market, int count, std::string_view stamp = kStamp) {
  MarketSimulator simulator(market);
  std::vector<FeedMessage> messages;
  for (int i = 0; i < count; ++i) simulator.next_slot(stamp, kNoLimit, messages);
  return messages;
}

std::string text_of(const std::vector<FeedMessage>& messages) {
  std::string text;
  for (const FeedMessage& message : messages) text += message.key + message.value;
  return text;
}

struct Decoded {
  std::int64_t trades = 0, ignored = 0, no_price = 0, bad = 0, clamped = 0, buys = 0;
  std::map<std::string, std::int64_t> by_pair;
  std::string first_reason;
};

Decoded decode(const std::vector<FeedMessage>& messages) {
  TradeDecoder decoder;
  DecodedMessage out;
  Decoded sum;
  for (const FeedMessage& message : messages) {
    const Message input{.log = LogId(0, 0), .offset = 0, .timestamp = message.time, .value = message.value};
    decoder.decode(input, out);
    EXPECT_EQ(out.dead_reason, "");
    EXPECT_EQ(static_cast<std::int64_t>(out.trades.size() + out.bad.size()) + out.ignored + out.no_price,
              message.trades);
    sum.trades += static_cast<std::int64_t>(out.trades.size());
    sum.bad += static_cast<std::int64_t>(out.bad.size());
    if (!out.bad.empty() && sum.first_reason.empty()) sum.first_reason = out.bad.front().reason;
    sum.ignored += out.ignored;
    sum.no_price += out.no_price;
    for (const Trade& trade : out.trades) {
      ++sum.by_pair[std::string(trade.pair)];
      sum.clamped += trade.clamped ? 1 : 0;
      sum.buys += trade.side == Side::kBuy ? 1 : 0;
      EXPECT_NE(trade.create_time, 0);
    }
  }
  return sum;
}

TEST(MarketSimulatorTest, TheSameSeedGivesTheSameBytes) {
  EXPECT_EQ(text_of(slots(options(), 5)), text_of(slots(options(), 5)));
  MarketOptions other = options();
  other.seed = 43;
  EXPECT_NE(text_of(slots(options(), 5)), text_of(slots(other, 5)));
}

// On every machine and with every compiler. A change of the simulator changes this; then it is set anew.
TEST(MarketSimulatorTest, TheBytesAreTheseEverywhere) {
  const std::string solana = text_of(slots(options(), 20));
  EXPECT_EQ(XXH3_64bits(solana.data(), solana.size()), 0xF545D53FA23592D7ULL)
      << std::hex << XXH3_64bits(solana.data(), solana.size());
  MarketOptions evm = options();
  evm.chain = 56;
  evm.key = FeedKey::kPair;
  evm.zipf_exponent = 0.7;
  const std::string bsc = text_of(slots(evm, 20));
  EXPECT_EQ(XXH3_64bits(bsc.data(), bsc.size()), 0x77954DF1E634C44AULL)
      << std::hex << XXH3_64bits(bsc.data(), bsc.size());
}

TEST(MarketSimulatorTest, OnlyTheStampDiffers) {
  std::string now = text_of(slots(options(), 3));
  std::string later = text_of(slots(options(), 3, "2027-07-07T07:07:07.777Z"));
  const auto unstamp = [](std::string& text, std::string_view stamp) {
    std::size_t count = 0;
    for (std::size_t at = text.find(stamp); at != std::string::npos; at = text.find(stamp, at)) {
      text.erase(at, stamp.size());
      ++count;
    }
    return count;
  };
  EXPECT_GT(unstamp(now, kStamp), 1'000U);
  unstamp(later, "2027-07-07T07:07:07.777Z");
  EXPECT_EQ(now, later);
}

TEST(MarketSimulatorTest, TradesAreAsTheContractSays) {
  for (const ChainId chain : {100'000, 56, 8453, 1}) {
    MarketOptions market = options();
    market.chain = chain;
    const auto messages = slots(market, 30);
    const Decoded sum = decode(messages);
    EXPECT_EQ(sum.bad, 0) << sum.first_reason;
    const auto total = static_cast<double>(sum.trades + sum.ignored + sum.no_price);
    EXPECT_NEAR(total, 30'000, 600);
    EXPECT_NEAR(static_cast<double>(sum.ignored) / total, 0.02, 0.004);
    EXPECT_NEAR(static_cast<double>(sum.no_price) / total, 0.005, 0.002);
    EXPECT_NEAR(static_cast<double>(sum.clamped) / total, 0.01, 0.003);
    EXPECT_NEAR(static_cast<double>(sum.buys) / total, 0.5, 0.02);
    EXPECT_GT(sum.by_pair.size(), 190U);
  }
}

TEST(MarketSimulatorTest, TradesAreAsLargeAsRealOnes) {
  const auto messages = slots(options(), 10);
  std::size_t bytes = 0;
  std::int64_t trades = 0;
  for (const FeedMessage& message : messages) {
    bytes += message.value.size();
    trades += message.trades;
  }
  EXPECT_GT(bytes / static_cast<std::size_t>(trades), 1'050U);
  EXPECT_LT(bytes / static_cast<std::size_t>(trades), 1'450U);
  const std::string_view first(messages[0].value.data(), messages[0].value.find("},{"));
  std::size_t fields = 0;
  for (std::size_t at = first.find("\":"); at != std::string_view::npos; at = first.find("\":", at + 1)) ++fields;
  EXPECT_GE(fields, 43U) << first;
}

TEST(MarketSimulatorTest, ChainPositionsRise) {
  TradeDecoder decoder;
  DecodedMessage out;
  Position last;
  for (const FeedMessage& message : slots(options(), 20)) {
    EXPECT_LE(message.trades, static_cast<std::int64_t>(MarketSimulator::kTradesPerMessage));
    decoder.decode({.log = LogId(0, 0), .offset = 0, .timestamp = message.time, .value = message.value}, out);
    for (const Trade& trade : out.trades) {
      EXPECT_LE(last.block_time, trade.position.block_time);
      const auto place = [](const Position& p) { return std::tuple(p.slot, p.transaction_index, p.log_index); };
      EXPECT_LT(place(last), place(trade.position));
      last = trade.position;
      EXPECT_EQ(message.key, std::to_string(trade.position.slot));
      EXPECT_EQ(trade.position.block_time, message.time / 1'000);
    }
  }
}

TEST(MarketSimulatorTest, KeyedByPairEachMessageHoldsOnePair) {
  MarketOptions market = options();
  market.key = FeedKey::kPair;
  TradeDecoder decoder;
  DecodedMessage out;
  for (const FeedMessage& message : slots(market, 10)) {
    decoder.decode({.log = LogId(0, 0), .offset = 0, .timestamp = message.time, .value = message.value}, out);
    for (const Trade& trade : out.trades) EXPECT_EQ(trade.pair, message.key);
  }
}

TEST(MarketSimulatorTest, ZipfDecidesHowUnevenPairsTrade) {
  MarketOptions market = options();
  market.pairs = 10;
  market.other_types_share = market.no_price_share = 0;
  for (const double exponent : {0.0, 1.0, 2.0}) {
    market.zipf_exponent = exponent;
    const Decoded sum = decode(slots(market, 30));
    ASSERT_EQ(sum.by_pair.size(), 10U);
    std::multiset<std::int64_t, std::greater<>> counts;
    double weights = 0;
    for (const auto& [pair, count] : sum.by_pair) counts.insert(count);
    for (int i = 1; i <= 10; ++i) weights += std::pow(i, -exponent);
    const auto total = static_cast<double>(sum.trades);
    EXPECT_NEAR(static_cast<double>(*counts.begin()) / total, 1 / weights, 0.015);
    EXPECT_NEAR(static_cast<double>(*counts.rbegin()) / total, std::pow(10, -exponent) / weights, 0.015);
  }
}

TEST(MarketSimulatorTest, TheFilterLeavesOutWhatTheUpstreamDoes) {
  MarketOptions market = options();
  market.filter = true;
  MarketSimulator simulator(market);
  std::vector<FeedMessage> messages;
  for (int i = 0; i < 30; ++i) simulator.next_slot(kStamp, kNoLimit, messages);
  const Decoded sum = decode(messages);
  EXPECT_EQ(sum.ignored + sum.no_price, 0);
  EXPECT_EQ(sum.trades, simulator.trades());
  EXPECT_NEAR(static_cast<double>(simulator.dropped()) / static_cast<double>(sum.trades), 0.025, 0.006);
}

TEST(MarketSimulatorTest, FewTradesAndMany) {
  MarketOptions market = options();
  market.trades_per_second = 0.1;
  MarketSimulator slow(market);
  std::vector<FeedMessage> messages;
  for (int i = 0; i < 2'500; ++i) slow.next_slot(kStamp, kNoLimit, messages);  // 1,000 s
  EXPECT_NEAR(static_cast<double>(slow.trades()), 100, 2);
  EXPECT_EQ(slow.next_time(), market.start + 1'000'000);
  for (const FeedMessage& message : messages) EXPECT_GE(message.trades, 1);

  market.trades_per_second = 25'000;
  messages.clear();
  MarketSimulator fast(market);
  fast.next_slot(kStamp, 3'500, messages);
  EXPECT_EQ(fast.trades(), 3'500);
  ASSERT_EQ(messages.size(), 4U) << "1,000 trades a message";
  EXPECT_EQ(messages[3].trades, 500);
  EXPECT_EQ(messages[0].key, messages[3].key);
}

}  // namespace
}  // namespace klined
