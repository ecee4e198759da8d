#include "klined/core/candle.hpp"

#include <algorithm>

namespace klined {

namespace {

// Both sums or neither: a candle that cannot hold a trade is left as it was.
bool add_sums(Candle& to, Decimal amount_usd, Decimal volume_token) {
  Decimal amount = to.amount_usd;
  if (!amount.add(amount_usd) || !to.volume_token.add(volume_token)) return false;
  to.amount_usd = amount;
  return true;
}

void take_prices(Candle& to, const Candle& from) {
  to.open = from.open;
  to.high = from.high;
  to.low = from.low;
  to.close = from.close;
  to.mcap_open = from.mcap_open;
  to.mcap_high = from.mcap_high;
  to.mcap_low = from.mcap_low;
  to.mcap_close = from.mcap_close;
  to.price_first = from.price_first;
  to.price_last = from.price_last;
  to.only_clamped = from.only_clamped;
}

void merge_prices(Candle& to, const Candle& from) {
  if (from.price_first < to.price_first) {
    to.open = from.open;
    to.mcap_open = from.mcap_open;
    to.price_first = from.price_first;
  }
  if (to.price_last < from.price_last) {
    to.close = from.close;
    to.mcap_close = from.mcap_close;
    to.price_last = from.price_last;
  }
  to.high = std::max(to.high, from.high);
  to.low = std::min(to.low, from.low);
  to.mcap_high = std::max(to.mcap_high, from.mcap_high);
  to.mcap_low = std::min(to.mcap_low, from.mcap_low);
}

}  // namespace

Candle Candle::of(const Trade& trade, const SharedText& token) {
  Candle c;
  c.open = c.high = c.low = c.close = trade.price;
  c.mcap_open = c.mcap_high = c.mcap_low = c.mcap_close = trade.mcap;
  c.amount_usd = trade.amount_usd;
  c.volume_token = trade.volume_token;
  c.price_first = c.price_last = c.last = trade.position;
  c.open_at = trade.position.block_time;
  c.buy_count = trade.side == Side::kBuy ? 1 : 0;
  c.sell_count = trade.side == Side::kSell ? 1 : 0;
  c.mkt_cap = trade.mcap;
  c.pump_point = trade.pump_point;
  c.token = token;
  c.only_clamped = trade.clamped;
  return c;
}

bool Candle::add(const Trade& trade, const SharedText& trade_token) {
  if (!add_sums(*this, trade.amount_usd, trade.volume_token)) return false;
  const Position& at = trade.position;
  (trade.side == Side::kBuy ? buy_count : sell_count) += 1;
  open_at = std::min(open_at, at.block_time);
  if (last < at) {
    last = at;
    mkt_cap = trade.mcap;
    pump_point = trade.pump_point;
    if (!(token == trade_token)) token = trade_token;
  }
  if (trade.clamped && !only_clamped) return true;
  if (!trade.clamped && only_clamped) {
    take_prices(*this, Candle::of(trade, trade_token));
    return true;
  }
  if (at < price_first) {
    open = trade.price;
    mcap_open = trade.mcap;
    price_first = at;
  }
  if (price_last < at) {
    close = trade.price;
    mcap_close = trade.mcap;
    price_last = at;
  }
  high = std::max(high, trade.price);
  low = std::min(low, trade.price);
  mcap_high = std::max(mcap_high, trade.mcap);
  mcap_low = std::min(mcap_low, trade.mcap);
  return true;
}

bool Candle::merge(const Candle& other) {
  if (!add_sums(*this, other.amount_usd, other.volume_token)) return false;
  buy_count += other.buy_count;
  sell_count += other.sell_count;
  open_at = std::min(open_at, other.open_at);
  if (last < other.last) {
    last = other.last;
    mkt_cap = other.mkt_cap;
    pump_point = other.pump_point;
    if (!(token == other.token)) token = other.token;
  }
  if (only_clamped == other.only_clamped) {
    merge_prices(*this, other);
  } else if (only_clamped) {
    take_prices(*this, other);
  }
  return true;
}

}  // namespace klined
