// Candles by hand: ties, the clamp rule, sums and what the last trade decides.
#include "klined/core/candle.hpp"

#include <string>

#include <gtest/gtest.h>

#include "klined/core/outcome.hpp"

namespace klined {
namespace {

Trade trade(std::int64_t slot, double price) {
  Trade t;
  t.position.block_time = 1000 + slot;
  t.position.slot = slot;
  t.price = price;
  t.mcap = price * 1000;
  t.pump_point = price / 100;
  t.amount_usd = Decimal::parse_amount("10").value();
  t.volume_token = Decimal::parse_amount("4").value();
  return t;
}

Trade clamped(std::int64_t slot, double price) {
  Trade t = trade(slot, price);
  t.clamped = true;
  return t;
}

Candle candle_of(std::initializer_list<Trade> trades) {
  Candle candle;
  for (bool first = true; const Trade& t : trades) {
    if (first) {
      candle = Candle::of(t, SharedText("token"));
    } else {
      EXPECT_TRUE(candle.add(t, SharedText("token")));
    }
    first = false;
  }
  return candle;
}

TEST(CandleTest, OneTrade) {
  Trade t = trade(5, 2.5);
  t.side = Side::kSell;
  const Candle c = Candle::of(t, SharedText("mint"));
  EXPECT_EQ(c.open, 2.5);
  EXPECT_EQ(c.high, 2.5);
  EXPECT_EQ(c.low, 2.5);
  EXPECT_EQ(c.close, 2.5);
  EXPECT_EQ(c.mcap_open, 2500);
  EXPECT_EQ(c.mcap_close, 2500);
  EXPECT_EQ(c.mkt_cap, 2500);
  EXPECT_EQ(c.pump_point, 0.025);
  EXPECT_EQ(c.token.view(), "mint");
  EXPECT_EQ(c.open_at, 1005);
  EXPECT_EQ(c.close_at(), 1005);
  EXPECT_EQ(c.buy_count, 0);
  EXPECT_EQ(c.sell_count, 1);
  EXPECT_EQ(c.revision(), 1);
  EXPECT_EQ(c.avg_price(), 2.5);
}

TEST(CandleTest, ChainPositionDecidesNotArrival) {
  const Candle c = candle_of({trade(5, 2), trade(9, 3), trade(1, 7), trade(7, 1)});
  EXPECT_EQ(c.open, 7);
  EXPECT_EQ(c.close, 3);
  EXPECT_EQ(c.high, 7);
  EXPECT_EQ(c.low, 1);
  EXPECT_EQ(c.open_at, 1001);
  EXPECT_EQ(c.close_at(), 1009);
  EXPECT_EQ(c.mkt_cap, 3000);
  EXPECT_EQ(c.amount_usd.to_string(), "40.000000000000");
  EXPECT_EQ(c.volume_token.to_string(), "16.000000000000");
  EXPECT_EQ(c.total_count(), 4);
}

// Trades of one second are told apart by slot, then transaction, then log, then their place in the input.
TEST(CandleTest, TiesGoDownTheWholePosition) {
  const auto at = [](auto member, auto value, double price) {
    Trade t = trade(1, price);
    t.position.*member = value;
    return t;
  };
  const Trade low = trade(1, 10);
  const auto check = [&low](const Trade& high) {
    for (const Candle& c : {candle_of({low, high}), candle_of({high, low})}) {
      EXPECT_EQ(c.open, 10);
      EXPECT_EQ(c.close, 20);
    }
  };
  check(at(&Position::block_time, UnixSeconds{2000}, 20));
  check(at(&Position::slot, std::int64_t{2}, 20));
  check(at(&Position::transaction_index, 1U, 20));
  check(at(&Position::log_index, 1U, 20));
  check(at(&Position::log, LogId(0, 1), 20));
  check(at(&Position::log, LogId(1, 0), 20));
  check(at(&Position::offset, std::int64_t{1}, 20));
  check(at(&Position::index, 1U, 20));
}

TEST(CandleTest, AnEarlierPartWinsOverAllLaterParts) {
  Trade late = trade(1, 20);
  late.position.transaction_index = 1;
  Trade early = trade(1, 10);
  early.position.log_index = 9;
  early.position.log = LogId(3, 9);
  early.position.offset = 99;
  early.position.index = 9;
  EXPECT_EQ(candle_of({late, early}).close, 20);
  EXPECT_LT(LogId(0, 9), LogId(1, 0));
}

TEST(CandleTest, AClampedTradeSetsNoPriceBesideAnUnclampedOne) {
  for (const Candle& c : {candle_of({clamped(1, 100), trade(5, 2), clamped(9, 0.5)}),
                          candle_of({trade(5, 2), clamped(9, 0.5), clamped(1, 100)}),
                          candle_of({clamped(9, 0.5), clamped(1, 100), trade(5, 2)})}) {
    EXPECT_EQ(c.open, 2);
    EXPECT_EQ(c.high, 2);
    EXPECT_EQ(c.low, 2);
    EXPECT_EQ(c.close, 2);
    EXPECT_EQ(c.mcap_high, 2000);
    EXPECT_EQ(c.mcap_low, 2000);
    EXPECT_FALSE(c.only_clamped);
    // All else is as for any trade.
    EXPECT_EQ(c.total_count(), 3);
    EXPECT_EQ(c.amount_usd.to_string(), "30.000000000000");
    EXPECT_EQ(c.open_at, 1001);
    EXPECT_EQ(c.close_at(), 1009);
    EXPECT_EQ(c.mkt_cap, 500);
    EXPECT_EQ(c.pump_point, 0.005);
  }
}

TEST(CandleTest, ClampedTradesAloneSetPrices) {
  const Candle c = candle_of({clamped(5, 2), clamped(1, 3), clamped(3, 9)});
  EXPECT_EQ(c.open, 3);
  EXPECT_EQ(c.high, 9);
  EXPECT_EQ(c.low, 2);
  EXPECT_EQ(c.close, 2);
  EXPECT_TRUE(c.only_clamped);
}

TEST(CandleTest, MergeOfAClampedCandleWithAnUnclamped) {
  const Candle sandwich = candle_of({clamped(1, 100), clamped(9, 0.5)});
  const Candle plain = candle_of({trade(4, 2), trade(6, 3)});
  Candle a = sandwich;
  ASSERT_TRUE(a.merge(plain));
  Candle b = plain;
  ASSERT_TRUE(b.merge(sandwich));
  EXPECT_EQ(a, b);
  EXPECT_EQ(a, candle_of({trade(6, 3), clamped(9, 0.5), trade(4, 2), clamped(1, 100)}));
  EXPECT_EQ(a.high, 3);
  EXPECT_EQ(a.open_at, 1001);
}

TEST(CandleTest, TheTokenIsTheLastTrades) {
  Candle c = Candle::of(trade(5, 1), SharedText("five"));
  ASSERT_TRUE(c.add(trade(3, 1), SharedText("three")));
  EXPECT_EQ(c.token.view(), "five");
  ASSERT_TRUE(c.add(trade(8, 1), SharedText("")));
  EXPECT_EQ(c.token.view(), "");
  ASSERT_TRUE(c.add(trade(9, 1), SharedText("nine")));
  EXPECT_EQ(c.token.view(), "nine");
}

TEST(CandleTest, ASumThatDoesNotFitChangesNothing) {
  for (const bool by_amount : {true, false}) {
    Candle c = Candle::of(trade(1, 1), {});
    (by_amount ? c.amount_usd : c.volume_token) = Decimal::from_units(Decimal::kLimit - 1);
    const Candle before = c;
    EXPECT_FALSE(c.add(trade(2, 9), {}));
    EXPECT_EQ(c, before);
    EXPECT_FALSE(c.merge(Candle::of(trade(2, 9), {})));
    EXPECT_EQ(c, before);
  }
}

TEST(CandleTest, AveragePriceIsZeroWithoutVolume) {
  Trade t = trade(1, 1);
  t.volume_token = Decimal();
  EXPECT_EQ(Candle::of(t, {}).avg_price(), 0);
}

TEST(SharedTextTest, ComparesByText) {
  const SharedText a("mint");
  const SharedText copy = a;  // NOLINT(performance-unnecessary-copy-initialization): the copy is what is tested
  EXPECT_EQ(copy.view().data(), a.view().data());
  EXPECT_EQ(a, SharedText(std::string("mi") + "nt"));
  EXPECT_FALSE(a == SharedText("other"));
  EXPECT_EQ(SharedText(), SharedText(""));
  EXPECT_EQ(SharedText("").view(), "");
}

TEST(LedgerTest, ReadIsTheSumOfTheOutcomes) {
  Ledger ledger;
  ledger[Outcome::kApplied] = 5;
  ledger[Outcome::kLate] = 2;
  Ledger other;
  other[Outcome::kLate] = 3;
  ledger += other;
  EXPECT_EQ(ledger.read(), 10);
  EXPECT_EQ(ledger[Outcome::kLate], 5);
  EXPECT_EQ(name_of(Outcome::kNoPrice), "no_price");
}

}  // namespace
}  // namespace klined
