#include "recomputation.hpp"

#include <algorithm>
#include <optional>

namespace klined::simulation {

namespace {

// One partition, message after message.
void judge_log(const Log& log, std::vector<std::vector<Outcome>>& outcomes) {
  std::map<int, std::int64_t> clocks;  // by chain
  std::map<std::string, std::int64_t> sightings;
  for (const SentMessage& message : log.messages) {
    std::vector<Outcome>& ends = outcomes.emplace_back();
    if (message.dead) {
      ends.push_back(Outcome::kInvalid);
      continue;
    }
    const auto is_future = [&message](const Sent& t) {
      return t.block_time * 1000 - message.timestamp_ms > kMaxFuture * 1000;
    };
    for (const Sent& t : message.elements) {
      if (t.kind != Sent::Kind::kTrade || is_future(t)) continue;
      const auto clock = clocks.try_emplace(t.chain, t.block_time).first;
      clock->second = std::max(clock->second, t.block_time);
    }
    for (const Sent& t : message.elements) {
      if (t.kind == Sent::Kind::kIgnored) ends.push_back(Outcome::kIgnored);
      if (t.kind == Sent::Kind::kNoPrice) ends.push_back(Outcome::kNoPrice);
      if (t.kind == Sent::Kind::kInvalid) ends.push_back(Outcome::kInvalid);
      if (t.kind != Sent::Kind::kTrade) continue;
      if (is_future(t)) {
        ends.push_back(Outcome::kFuture);
        continue;
      }
      const std::int64_t clock = clocks.at(t.chain);
      if (clock - t.block_time > kMaxLateness) {
        ends.push_back(Outcome::kLate);
        continue;
      }
      const std::string identity = t.identity();
      const auto seen = sightings.find(identity);
      const bool duplicate = seen != sightings.end() && clock - seen->second <= kDedupeWindow;
      sightings[identity] = clock;
      ends.push_back(duplicate ? Outcome::kDuplicate : Outcome::kApplied);
    }
  }
}

struct Placed {
  Place place;
  const Sent* trade;
};

PlainCandle candle_of(std::vector<Placed>& trades) {
  std::ranges::sort(trades, {}, &Placed::place);
  PlainCandle c;
  const bool has_unclamped = std::ranges::any_of(trades, [](const Placed& t) { return !t.trade->clamped; });
  c.only_clamped = !has_unclamped;
  bool first = true;
  for (const auto& [place, t] : trades) {
    c.usd += static_cast<Int128>(t->usd_milli) * 1'000'000'000;
    c.volume += static_cast<Int128>(t->volume_milli) * 1'000'000'000;
    (t->buys ? c.buys : c.sells) += 1;
    if (t->clamped && has_unclamped) continue;
    const double price = t->price_eighths * 0.125;
    const double mcap = t->mcap;
    if (first) {
      c.open = c.high = c.low = price;
      c.mcap_open = c.mcap_high = c.mcap_low = mcap;
      c.price_first = place;
      first = false;
    }
    c.high = std::max(c.high, price);
    c.low = std::min(c.low, price);
    c.mcap_high = std::max(c.mcap_high, mcap);
    c.mcap_low = std::min(c.mcap_low, mcap);
    c.close = price;
    c.mcap_close = mcap;
    c.price_last = place;
  }
  const Sent& newest = *trades.back().trade;
  c.open_at = trades.front().trade->block_time;
  c.close_at = newest.block_time;
  c.mkt_cap = newest.mcap;
  c.pump_point = newest.pump_quarters * 0.25;
  c.token = newest.token;
  c.last = trades.back().place;
  return c;
}

}  // namespace

Judgement judge(const Input& input) {
  Judgement judgement;
  judgement.outcomes.resize(input.logs.size());
  for (std::size_t i = 0; i < input.logs.size(); ++i) {
    judge_log(input.logs[i], judgement.outcomes[i]);
    for (const auto& message : judgement.outcomes[i]) {
      for (const Outcome outcome : message) ++judgement.ledger[outcome];
    }
  }
  return judgement;
}

std::map<CandleName, PlainCandle> candles_of(
    const Input& input, const Judgement& judgement, const std::vector<Interval>& intervals,
    const std::function<bool(std::size_t log, std::int64_t offset, const Sent&)>& counts) {
  std::map<CandleName, std::vector<Placed>> sets;
  for (std::size_t l = 0; l < input.logs.size(); ++l) {
    const Log& log = input.logs[l];
    for (std::size_t m = 0; m < log.messages.size(); ++m) {
      const auto offset = static_cast<std::int64_t>(m);
      for (std::size_t i = 0; i < log.messages[m].elements.size(); ++i) {
        const Sent& t = log.messages[m].elements[i];
        if (judgement.outcomes[l][m][i] != Outcome::kApplied || !counts(l, offset, t)) continue;
        const Place place{t.block_time,  t.slot, t.transaction_index, t.log_index, log.topic,
                          log.partition, offset, static_cast<int>(i)};
        for (const Interval interval : intervals) {
          sets[{interval, t.chain, t.pair, bucket_of(interval, t.block_time).begin}].push_back({place, &t});
        }
      }
    }
  }
  std::map<CandleName, PlainCandle> candles;
  for (auto& [name, trades] : sets) candles.emplace(name, candle_of(trades));
  return candles;
}

}  // namespace klined::simulation
