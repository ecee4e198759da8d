// A trade as klined sees it: well-formed, a buy or a sell, with a price.
#pragma once

#include <cstdint>
#include <string_view>

#include "klined/core/decimal.hpp"
#include "klined/core/position.hpp"

namespace klined {

// The chain's number: 1 ETH, 56 BSC, 8453 Base, 100000 Solana.
using ChainId = std::int32_t;

enum class Side : std::uint8_t { kBuy, kSell };

// A 128-bit hash of a trade's identity (chain, pair, tx_hash, positions, type, and the texts of the amounts and the
// price).
struct Fingerprint {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  friend bool operator==(const Fingerprint&, const Fingerprint&) = default;
};

// The views point into the message that the trade came in.
struct Trade {
  Position position;
  std::string_view pair;   // 1..64 printable ASCII characters
  std::string_view token;  // 0..64 of the same
  std::string_view bytes;  // the whole trade as sent, for the dead-letter topic
  Fingerprint identity;
  Decimal amount_usd;
  Decimal volume_token;
  double price = 0;  // USD, > 0
  double mcap = 0;   // USD, >= 0
  double pump_point = 0;
  std::uint64_t pair_hash = 0;   // of (chain, pair): decides the lane and finds the pair in its table
  std::uint64_t pair_check = 0;  // another hash of the same: both together stand for the pair
  std::uint64_t token_hash = 0;
  UnixMilliseconds create_time = 0;  // when the producer sent it; 0 where unknown
  ChainId chain = 0;
  Side side = Side::kBuy;
  bool clamped = false;  // part of a sandwich attack: counts, but sets no price beside an unclamped trade
};

}  // namespace klined
