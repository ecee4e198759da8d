// What must come out, computed the slow and plain way from what the producers meant. Shares no code with the program
// but the names of outcomes and the buckets of intervals.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "input.hpp"
#include "klined/core/decimal.hpp"
#include "klined/core/interval.hpp"
#include "klined/core/outcome.hpp"

namespace klined::simulation {

// How each element of each message ends. A dead message counts as one element that is invalid.
struct Judgement {
  std::vector<std::vector<std::vector<Outcome>>> outcomes;  // by log, message, element
  Ledger ledger;
};
Judgement judge(const Input& input);

// block_time, slot, transaction, log index, topic, partition, offset, index
using Place = std::tuple<std::int64_t, std::int64_t, int, int, std::string, int, std::int64_t, int>;
using CandleName = std::tuple<Interval, int, std::string, std::int64_t>;  // interval, chain, pair, bucket

struct PlainCandle {
  std::int64_t open_at = 0, close_at = 0;
  double open = 0, high = 0, low = 0, close = 0;
  double mcap_open = 0, mcap_high = 0, mcap_low = 0, mcap_close = 0;
  Int128 usd = 0, volume = 0;  // 1e-12
  std::int64_t buys = 0, sells = 0;
  double mkt_cap = 0, pump_point = 0;
  std::string token;
  bool only_clamped = false;
  Place price_first, price_last, last;

  std::int64_t count() const { return buys + sells; }
};

// The candles of the applied trades that `counts` says yes to.
std::map<CandleName, PlainCandle> candles_of(
    const Input& input, const Judgement& judgement, const std::vector<Interval>& intervals,
    const std::function<bool(std::size_t log, std::int64_t offset, const Sent&)>& counts);

}  // namespace klined::simulation
