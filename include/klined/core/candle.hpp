// The candle and its merge: everything else in klined exists to feed this correctly.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <boost/smart_ptr/intrusive_ptr.hpp>
#include <boost/smart_ptr/intrusive_ref_counter.hpp>

#include "klined/core/decimal.hpp"
#include "klined/core/trade.hpp"

namespace klined {

// A short immutable text that many candles share (a token's address). Copies are cheap and thread-safe; null is "".
class SharedText {
 public:
  SharedText() = default;
  explicit SharedText(std::string_view text) : body_(text.empty() ? nullptr : new Body(text)) {}
  std::string_view view() const { return body_ ? std::string_view(body_->text) : std::string_view(); }
  friend bool operator==(const SharedText& a, const SharedText& b) {
    return a.body_ == b.body_ || a.view() == b.view();
  }

 private:
  struct Body : boost::intrusive_ref_counter<Body, boost::thread_safe_counter> {
    explicit Body(std::string_view t) : text(t) {}
    std::string text;
  };
  boost::intrusive_ptr<const Body> body_;
};

// The summary of a non-empty set of trades of one bucket of one series.
//
// merge() is commutative and associative on disjoint sets, so a candle does not depend on arrival order, batching or
// parallelism. It is not idempotent: sums add up, so a trade must arrive once (see DedupeWindow and the offsets).
//
// Prices (open, high, low, close and mcap_*) summarise the unclamped trades; where there are none, the clamped ones.
//
// Invariants: low <= open, close <= high; price_first <= price_last <= last; total_count() >= 1.
struct Candle {
  double open = 0, high = 0, low = 0, close = 0;                      // USD
  double mcap_open = 0, mcap_high = 0, mcap_low = 0, mcap_close = 0;  // USD
  Decimal amount_usd;
  Decimal volume_token;
  Position price_first;     // of the trade that set open
  Position price_last;      // of the trade that set close
  Position last;            // of the last trade of all, clamped or not
  UnixSeconds open_at = 0;  // block time of the first trade of all
  std::int64_t buy_count = 0;
  std::int64_t sell_count = 0;
  double mkt_cap = 0;         // of the last trade
  double pump_point = 0;      // of the last trade
  SharedText token;           // of the last trade
  bool only_clamped = false;  // no unclamped trade yet: the prices are a clamped one's

  // The candle of one trade. `token` is the trade's token as shared text (so that the caller may reuse it).
  static Candle of(const Trade& trade, const SharedText& token);

  // The same as merge(Candle::of(trade)). False where a sum would not fit its column; then nothing has changed.
  [[nodiscard]] bool add(const Trade& trade, const SharedText& token);
  // Adds the trades of `other`, which must be disjoint. False where a sum would not fit; then nothing has changed.
  [[nodiscard]] bool merge(const Candle& other);

  std::int64_t total_count() const { return buy_count + sell_count; }
  // Only grows: a reader keeps the largest that it has seen.
  std::int64_t revision() const { return total_count(); }
  UnixSeconds close_at() const { return last.block_time; }
  double avg_price() const { return Decimal::quotient(amount_usd, volume_token); }

  // Equal in every column.
  friend bool operator==(const Candle&, const Candle&) = default;
};

}  // namespace klined
