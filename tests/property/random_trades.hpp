// Random trades with many ties, for laws that must hold for every set of trades.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "klined/core/trade.hpp"

namespace klined {

// A generator whose seed is the test's repetition, so that a failure names what replays it (SCOPED_TRACE it).
class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed * 0x9E3779B97F4A7C15ULL + 1) {}
  // In [first, last].
  std::int64_t between(std::int64_t first, std::int64_t last) {
    return std::uniform_int_distribution<std::int64_t>(first, last)(engine_);
  }
  bool chance(int percent) { return between(1, 100) <= percent; }
  std::mt19937_64& engine() { return engine_; }

 private:
  std::mt19937_64 engine_;
};

// Trades of [begin, begin + span) whose positions tie in every part but the place in the input, which is unique.
inline std::vector<Trade> random_trades(Random& random, std::size_t count, UnixSeconds begin, std::int64_t span) {
  static constexpr std::string_view kTokens[] = {"", "mint-a", "mint-b"};
  const int clamped_percent = static_cast<int>(random.between(0, 4)) * 25;
  std::vector<Trade> trades(count);
  for (std::size_t i = 0; i < count; ++i) {
    Trade& t = trades[i];
    t.position.block_time = begin + random.between(0, span - 1);
    t.position.slot = random.between(0, 2);
    t.position.transaction_index = static_cast<std::uint32_t>(random.between(0, 1));
    t.position.log_index = static_cast<std::uint32_t>(random.between(0, 1));
    t.position.log =
        LogId(static_cast<std::uint32_t>(random.between(0, 1)), static_cast<std::uint32_t>(random.between(0, 1)));
    t.position.offset = static_cast<std::int64_t>(i / 2);
    t.position.index = static_cast<std::uint32_t>(i % 2);
    t.price = static_cast<double>(random.between(1, 9)) / 7;
    t.mcap = static_cast<double>(random.between(0, 9)) / 3;
    t.pump_point = static_cast<double>(random.between(-9, 9)) / 9;
    t.amount_usd =
        Decimal::from_units(static_cast<Int128>(random.between(0, INT64_MAX)) * random.between(0, 1'000'000));
    t.volume_token = Decimal::from_units(random.between(0, INT64_MAX));
    t.token = kTokens[random.between(0, 2)];
    t.side = random.chance(50) ? Side::kBuy : Side::kSell;
    t.clamped = random.chance(clamped_percent);
  }
  return trades;
}

}  // namespace klined
