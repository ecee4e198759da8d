// A market that does not exist: trades as a DEX indexer would send them, for first tries, demos, tests and benchmarks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "klined/base/clock.hpp"
#include "klined/core/trade.hpp"

namespace klined {

enum class FeedKey {
  kSlot,  // a message a slot: a pair is spread over all partitions
  kPair,  // a message a pair and slot
};

// A message to be fed: a JSON array of trades.
struct FeedMessage {
  std::string key;
  std::string value;
  UnixMilliseconds time = 0;  // event time
  std::int64_t trades = 0;
};

struct MarketOptions {
  std::uint64_t seed = 1;
  std::uint32_t pairs = 200;
  double zipf_exponent = 1.0;        // how much more the first pairs trade than the last; 0: all alike
  double trades_per_second = 2'500;  // of event time
  UnixMilliseconds start = 0;        // event time of the first slot
  ChainId chain = 100'000;           // Solana sends numbers and slots; the others texts and block numbers
  FeedKey key = FeedKey::kSlot;
  double clamped_share = 0.01;
  double other_types_share = 0.02;  // add_position, create and so on: read, counted and ignored
  double no_price_share = 0.005;
  bool filter = false;  // leaves these two out, as the upstream does
};

// The trades of one slot (400 ms) after the other.
//
// The same options give the same bytes on every machine (integers only, and its own random numbers), but for
// create_time, which the caller gives. Chain positions rise strictly; prices walk at random, buys push up, sells down.
// One thread.
class MarketSimulator {
 public:
  static constexpr std::int64_t kSlotMs = 400;
  static constexpr std::size_t kTradesPerMessage = 1'000;

  explicit MarketSimulator(const MarketOptions& options);

  // Appends the next slot's messages to `out`, none where the slot has no trades; at most `limit` trades.
  void next_slot(std::string_view create_time, std::int64_t limit, std::vector<FeedMessage>& out);
  // Event time of the slot that comes next.
  UnixMilliseconds next_time() const { return next_time_; }
  std::int64_t trades() const { return trades_; }    // given out so far
  std::int64_t dropped() const { return dropped_; }  // left out by the filter

 private:
  // splitmix64: any seed is good, and it is the same everywhere.
  class Random {
   public:
    explicit Random(std::uint64_t seed) : state_(seed) {}
    std::uint64_t next() {
      std::uint64_t z = (state_ += 0x9E3779B97F4A7C15ULL);
      z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9ULL;
      z = (z ^ (z >> 27U)) * 0x94D049BB133111EBULL;
      return z ^ (z >> 31U);
    }
    // In [0, limit).
    std::uint32_t below(std::uint32_t limit) { return static_cast<std::uint32_t>(((next() >> 32U) * limit) >> 32U); }
    bool one_of(std::uint32_t share_ppm) { return below(1'000'000) < share_ppm; }
    // 2^low to 2^high, each power as likely as the others.
    std::uint64_t log_uniform(std::uint32_t low, std::uint32_t high);

   private:
    std::uint64_t state_;
  };

  struct Pair {
    std::string address;
    std::string fields;       // the fields that never change, as JSON text
    std::uint64_t price = 0;  // 1e-15 USD
    std::uint64_t first_price = 0;
    std::uint64_t supply = 0;     // tokens
    std::uint64_t liquidity = 0;  // USD
    std::uint32_t volatility_ppm = 0;
    std::uint32_t pump_point = 0;  // 1e-4; 0 where it is on no bonding curve
    bool has_mcap = true;
    std::uint32_t message = 0;  // of the current slot, where keyed by pair
    std::int64_t message_slot = -1;
  };

  // The place of a trade in its slot.
  struct Place {
    std::uint32_t transaction_index = 0;
    std::uint32_t log_index = 0;
  };

  void make_pair(std::uint32_t number);
  void make_alias_table(double zipf_exponent);
  std::uint32_t pick_pair();
  std::int64_t trades_of_next_slot();
  void walk(Pair& pair, bool buy);
  std::string random_text(std::size_t length, std::string_view alphabet);
  std::string random_address();
  char* write_trade(char* out, Pair& pair, const Place& place, std::string_view create_time);
  char* write_amounts(char* out, const Pair& pair, std::uint64_t price, bool no_price);
  char* write_chain_fields(char* out, const Place& place);
  FeedMessage& message_for(Pair& pair, std::size_t first_message, std::vector<FeedMessage>& out);

  MarketOptions options_;
  std::uint32_t clamped_ppm_;
  std::uint32_t other_types_ppm_;
  std::uint32_t no_price_ppm_;
  std::uint64_t trades_per_slot_micro_;
  bool texts_;  // numbers go out as texts
  Random random_;
  std::vector<Pair> pairs_;
  std::vector<std::uint32_t> alias_;
  std::vector<std::uint64_t> keep_;
  std::vector<std::string> wallets_;
  std::uint64_t base_price_;  // of the chain's own coin, 1e-15 USD
  std::int64_t slots_ = 0;
  std::int64_t planned_ = 0;  // trades of the slots so far
  UnixMilliseconds next_time_;
  std::int64_t slot_ = 0;
  std::int64_t trades_ = 0;
  std::int64_t dropped_ = 0;
};

}  // namespace klined
