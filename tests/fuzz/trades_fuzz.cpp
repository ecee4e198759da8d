// Any bytes as a message: the decoder never reads outside them, and decides about each trade by itself.
#include <cstdint>
#include <set>
#include <string>

#include "fuzz/fuzz.hpp"
#include "klined/codec/trade_decoder.hpp"

namespace klined {
namespace {

constexpr UnixMilliseconds kRecordTime = 1'700'000'000'000;
constexpr std::size_t kAloneLimit = 4;  // trades of a message that are also decoded by themselves

DecodedMessage decoded(TradeDecoder& decoder, std::string_view value) {
  DecodedMessage out;
  decoder.decode({.log = LogId(0, 0), .offset = 7, .timestamp = kRecordTime, .value = value}, out);
  return out;
}

bool inside(std::string_view part, std::string_view whole) {
  const std::less_equal<> not_after;
  return not_after(whole.data(), part.data()) && not_after(part.data() + part.size(), whole.data() + whole.size());
}

void expect_same(const Trade& a, const Trade& b) {
  FUZZ_CHECK(a.chain == b.chain && a.pair == b.pair && a.pair_hash == b.pair_hash);
  FUZZ_CHECK(a.position.block_time == b.position.block_time && a.position.slot == b.position.slot);
  FUZZ_CHECK(a.position.transaction_index == b.position.transaction_index);
  FUZZ_CHECK(a.position.log_index == b.position.log_index);
  FUZZ_CHECK(a.identity == b.identity && a.side == b.side && a.clamped == b.clamped);
  FUZZ_CHECK(a.price == b.price && a.mcap == b.mcap && a.pump_point == b.pump_point);
  FUZZ_CHECK(a.amount_usd == b.amount_usd && a.volume_token == b.volume_token);
  FUZZ_CHECK(a.token == b.token && a.create_time == b.create_time);
}

// A trade's outcome does not depend on what else its message holds.
void check_alone(TradeDecoder& decoder, const Trade* trade, const BadTrade* bad) {
  const std::string message = "[" + std::string(trade != nullptr ? trade->bytes : bad->bytes) + "]";
  const DecodedMessage alone = decoded(decoder, message);
  FUZZ_CHECK(!alone.dead() && alone.ignored == 0 && alone.no_price == 0);
  if (trade != nullptr) {
    FUZZ_CHECK(alone.bad.empty() && alone.trades.size() == 1);
    expect_same(*trade, alone.trades.front());
  } else {
    FUZZ_CHECK(alone.trades.empty() && alone.bad.size() == 1);
    FUZZ_CHECK(alone.bad.front().outcome == bad->outcome && alone.bad.front().reason == bad->reason);
  }
}

// Nor on the messages before: the decoder that has seen some knows shapes of trades, a new one knows none.
void check_by_itself(const DecodedMessage& first, std::string_view value) {
  TradeDecoder fresh;
  const DecodedMessage again = decoded(fresh, value);
  FUZZ_CHECK(first.dead_reason == again.dead_reason && first.elements == again.elements);
  FUZZ_CHECK(first.ignored == again.ignored && first.no_price == again.no_price);
  FUZZ_CHECK(first.trades.size() == again.trades.size() && first.bad.size() == again.bad.size());
  for (std::size_t i = 0; i < first.trades.size(); ++i) {
    FUZZ_CHECK(first.trades[i].position.index == again.trades[i].position.index);
    FUZZ_CHECK(first.trades[i].bytes.data() == again.trades[i].bytes.data());
    FUZZ_CHECK(first.trades[i].bytes.size() == again.trades[i].bytes.size());
    expect_same(first.trades[i], again.trades[i]);
  }
  for (std::size_t i = 0; i < first.bad.size(); ++i) {
    FUZZ_CHECK(first.bad[i].index == again.bad[i].index && first.bad[i].outcome == again.bad[i].outcome);
    FUZZ_CHECK(first.bad[i].reason == again.bad[i].reason && first.bad[i].bytes == again.bad[i].bytes);
  }
}

void check_message(std::string_view value) {
  static TradeDecoder reused;
  static TradeDecoder other;
  const DecodedMessage first = decoded(reused, value);
  check_by_itself(first, value);
  if (first.dead()) {
    FUZZ_CHECK(first.trades.empty() && first.bad.empty() && first.ignored == 0 && first.no_price == 0);
    return;
  }
  std::set<std::uint32_t> indexes;
  for (const Trade& trade : first.trades) {
    FUZZ_CHECK(inside(trade.bytes, value) && indexes.insert(trade.position.index).second);
    FUZZ_CHECK(trade.price > 0 && trade.pair_hash == hash_of_pair(trade.chain, trade.pair));
    FUZZ_CHECK(!trade.pair.empty() && trade.pair.size() <= 64 && trade.token.size() <= 64);
  }
  for (const BadTrade& bad : first.bad) {
    FUZZ_CHECK(inside(bad.bytes, value) && indexes.insert(bad.index).second);
    FUZZ_CHECK(!bad.reason.empty() && (bad.outcome == Outcome::kInvalid || bad.outcome == Outcome::kFuture));
  }
  const auto elements = static_cast<std::int64_t>(indexes.size()) + first.ignored + first.no_price;
  FUZZ_CHECK(indexes.empty() || *indexes.rbegin() < static_cast<std::uint64_t>(elements));
  for (std::size_t i = 0; i < first.trades.size() && i < kAloneLimit; ++i)
    check_alone(other, &first.trades[i], nullptr);
  for (std::size_t i = 0; i < first.bad.size() && i < kAloneLimit; ++i) check_alone(other, nullptr, &first.bad[i]);
}

}  // namespace
}  // namespace klined

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // A copy of exactly this size, so that a read behind its end is seen.
  const std::string value(reinterpret_cast<const char*>(data), size);
  klined::check_message(value);
  return 0;
}
