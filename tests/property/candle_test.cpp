// The merge laws, on random sets of trades with tied positions and clamped trades.
#include "klined/core/candle.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <map>
#include <optional>

#include <gtest/gtest.h>

#include "klined/core/interval.hpp"
#include "property/random_trades.hpp"

namespace klined {
namespace {

constexpr std::uint64_t kRounds = 400;

Candle of(const Trade& trade) { return Candle::of(trade, SharedText(trade.token)); }

Candle merged(Candle a, const Candle& b) {
  EXPECT_TRUE(a.merge(b));
  return a;
}

// Equal bit for bit, where == would take -0 for 0.
bool same_bits(double a, double b) { return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b); }

void expect_same(const Candle& a, const Candle& b) {
  EXPECT_EQ(a, b);
  for (const auto member :
       {&Candle::open, &Candle::high, &Candle::low, &Candle::close, &Candle::mcap_open, &Candle::mcap_high,
        &Candle::mcap_low, &Candle::mcap_close, &Candle::mkt_cap, &Candle::pump_point}) {
    EXPECT_TRUE(same_bits(a.*member, b.*member));
  }
}

// The candle by its definition: all trades sorted, then looked at as a whole.
Candle by_definition(std::vector<Trade> trades) {
  std::ranges::sort(trades, {}, &Trade::position);
  std::vector<Trade> priced;
  std::ranges::copy_if(trades, std::back_inserter(priced), [](const Trade& t) { return !t.clamped; });
  Candle c;
  c.only_clamped = priced.empty();
  if (priced.empty()) priced = trades;
  c.open = priced.front().price;
  c.close = priced.back().price;
  c.high = std::ranges::max(priced, {}, &Trade::price).price;
  c.low = std::ranges::min(priced, {}, &Trade::price).price;
  c.mcap_open = priced.front().mcap;
  c.mcap_close = priced.back().mcap;
  c.mcap_high = std::ranges::max(priced, {}, &Trade::mcap).mcap;
  c.mcap_low = std::ranges::min(priced, {}, &Trade::mcap).mcap;
  c.price_first = priced.front().position;
  c.price_last = priced.back().position;
  c.last = trades.back().position;
  c.open_at = trades.front().position.block_time;
  c.mkt_cap = trades.back().mcap;
  c.pump_point = trades.back().pump_point;
  c.token = SharedText(trades.back().token);
  Int128 amount = 0;
  Int128 volume = 0;
  for (const Trade& t : trades) {
    amount += t.amount_usd.units();
    volume += t.volume_token.units();
    ++(t.side == Side::kBuy ? c.buy_count : c.sell_count);
  }
  c.amount_usd = Decimal::from_units(amount);
  c.volume_token = Decimal::from_units(volume);
  return c;
}

// One random way to put a set together: cut it up, add some parts trade by trade, and merge the parts in random order.
Candle put_together(Random& random, std::vector<Trade> trades) {
  std::ranges::shuffle(trades, random.engine());
  std::vector<Candle> parts;
  for (const Trade& t : trades) {
    if (parts.empty() || random.chance(30)) {
      parts.push_back(of(t));
    } else {
      Candle& part = parts[static_cast<std::size_t>(random.between(0, static_cast<std::int64_t>(parts.size()) - 1))];
      EXPECT_TRUE(part.add(t, SharedText(t.token)));
    }
  }
  while (parts.size() > 1) {
    std::ranges::shuffle(parts, random.engine());
    const Candle last = parts.back();
    parts.pop_back();
    EXPECT_TRUE(parts.back().merge(last));
  }
  return parts.front();
}

class CandleLaws : public testing::Test {
 protected:
  template <typename Law>
  void for_random_sets(Law&& law) {
    for (std::uint64_t seed = 1; seed <= kRounds && !HasFailure(); ++seed) {
      SCOPED_TRACE(testing::Message() << "seed " << seed);
      Random random(seed);
      const auto count = static_cast<std::size_t>(random.between(3, 24));
      law(random, random_trades(random, count, 1'700'000'000, random.between(1, 3)));
    }
  }
};

TEST_F(CandleLaws, AnyPartitionAndOrderGivesTheCandleOfTheDefinition) {
  for_random_sets([](Random& random, const std::vector<Trade>& trades) {
    const Candle expected = by_definition(trades);
    for (int i = 0; i < 5; ++i) expect_same(put_together(random, trades), expected);
  });
}

TEST_F(CandleLaws, MergeIsCommutative) {
  for_random_sets([](Random& random, const std::vector<Trade>& trades) {
    const auto cut = trades.begin() + random.between(1, static_cast<std::int64_t>(trades.size()) - 1);
    const Candle a = put_together(random, {trades.begin(), cut});
    const Candle b = put_together(random, {cut, trades.end()});
    expect_same(merged(a, b), merged(b, a));
  });
}

TEST_F(CandleLaws, MergeIsAssociative) {
  for_random_sets([](Random& random, const std::vector<Trade>& trades) {
    const auto first = trades.begin() + 1;
    const auto second = trades.begin() + random.between(2, static_cast<std::int64_t>(trades.size()) - 1);
    const Candle a = put_together(random, {trades.begin(), first});
    const Candle b = put_together(random, {first, second});
    const Candle c = put_together(random, {second, trades.end()});
    expect_same(merged(merged(a, b), c), merged(a, merged(b, c)));
  });
}

TEST_F(CandleLaws, AddIsMergeOfOne) {
  for_random_sets([](Random& random, const std::vector<Trade>& trades) {
    const Candle rest = put_together(random, {trades.begin(), trades.end() - 1});
    Candle added = rest;
    ASSERT_TRUE(added.add(trades.back(), SharedText(trades.back().token)));
    expect_same(added, merged(rest, of(trades.back())));
  });
}

TEST_F(CandleLaws, TheInvariantsHold) {
  for_random_sets([](Random& random, const std::vector<Trade>& trades) {
    const Candle c = put_together(random, trades);
    EXPECT_LE(c.low, std::min(c.open, c.close));
    EXPECT_GE(c.high, std::max(c.open, c.close));
    EXPECT_LE(c.mcap_low, std::min(c.mcap_open, c.mcap_close));
    EXPECT_GE(c.mcap_high, std::max(c.mcap_open, c.mcap_close));
    EXPECT_LE(c.price_first, c.price_last);
    EXPECT_LE(c.price_last, c.last);
    EXPECT_LE(c.open_at, c.close_at());
    EXPECT_EQ(c.total_count(), static_cast<std::int64_t>(trades.size()));
  });
}

using Buckets = std::map<UnixSeconds, Candle>;

void add_to(Buckets& buckets, Interval interval, UnixSeconds time, const Candle& candle) {
  const auto [at, is_new] = buckets.try_emplace(bucket_of(interval, time).begin, candle);
  if (!is_new) {
    EXPECT_TRUE(at->second.merge(candle));
  }
}

Buckets direct(Interval interval, const std::vector<Trade>& trades) {
  Buckets buckets;
  for (const Trade& t : trades) add_to(buckets, interval, t.position.block_time, of(t));
  return buckets;
}

// What the candle book does: a trade goes into the common span's summary, and that into the longer intervals.
TEST(RollUpProperty, ShortCandlesMergeIntoLongOnes) {
  constexpr UnixSeconds kStart = 1'709'164'800 - 40 * 86400;  // around the leap day of 2024
  struct Case {
    Interval from;
    std::vector<Interval> to;
    std::int64_t span;
  };
  const std::vector<Case> cases = {
      {Interval::k1m, {Interval::k5m, Interval::k15m, Interval::k1h, Interval::k3m}, 7200},
      {Interval::k1s, {Interval::k1m, Interval::k5m}, 600},
      {Interval::k1d, {Interval::k3d, Interval::k1w, Interval::k1M}, 80 * 86400},
  };
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Random random(seed);
    for (const Case& c : cases) {
      const std::vector<Trade> trades = random_trades(random, 200, kStart, c.span);
      const Buckets summaries = direct(c.from, trades);
      for (const Interval interval : c.to) {
        Buckets rolled_up;
        for (const auto& [time, candle] : summaries)
          add_to(rolled_up, interval, std::max<UnixSeconds>(time, 0), candle);
        const Buckets expected = direct(interval, trades);
        ASSERT_GT(expected.size(), 1U);
        EXPECT_EQ(rolled_up, expected) << name_of(c.from) << " to " << name_of(interval);
      }
    }
  }
}

}  // namespace
}  // namespace klined
