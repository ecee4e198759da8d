// What the single steps cost: decode, decimals, merge, book, fingerprints, encode. Google Benchmark's own options.

#include <benchmark/benchmark.h>

#include <cstdint>
#include <string>
#include <vector>

#include "klined/aggregate/candle_book.hpp"
#include "klined/aggregate/dedupe_window.hpp"
#include "klined/codec/kline_encoder.hpp"
#include "klined/codec/trade_decoder.hpp"
#include "klined/publish/market.hpp"

namespace klined {
namespace {

constexpr std::string_view kCreateTime = "2026-01-01T00:00:00.000Z";
constexpr UnixMilliseconds kStart = 1'767'225'600'000;
const std::vector<Interval> kIntervals = {Interval::k1m, Interval::k5m,  Interval::k15m, Interval::k1h,
                                          Interval::k4h, Interval::k12h, Interval::k1d};

// Messages of about 1,000 trades each, of `pairs` pairs.
std::vector<FeedMessage> messages(std::uint32_t pairs, std::int64_t trades) {
  MarketSimulator market(MarketOptions{.pairs = pairs, .start = kStart});
  std::vector<FeedMessage> out;
  while (market.trades() < trades) market.next_slot(kCreateTime, trades - market.trades(), out);
  return out;
}

// The trades of some messages, decoded, with what their views point into.
struct Decoded {
  explicit Decoded(std::uint32_t pairs, std::int64_t count) : sources(messages(pairs, count)) {
    TradeDecoder decoder;
    parts.resize(sources.size());
    for (std::size_t i = 0; i < sources.size(); ++i) {
      decoder.decode({LogId(0, 0), static_cast<std::int64_t>(i), sources[i].time, sources[i].value}, parts[i]);
      for (const Trade& trade : parts[i].trades) trades.push_back(trade);
    }
  }
  std::vector<FeedMessage> sources;
  std::vector<DecodedMessage> parts;
  std::vector<Trade> trades;
};

void count_trades(benchmark::State& state, std::size_t a_round) {
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(a_round));
}

void decode(benchmark::State& state) {
  const std::vector<FeedMessage> input = messages(200, 20'000);
  TradeDecoder decoder;
  DecodedMessage out;
  std::int64_t bytes = 0;
  std::size_t at = 0;
  std::int64_t trades = 0;
  for (auto _ : state) {
    const FeedMessage& message = input[at++ % input.size()];
    decoder.decode({LogId(0, 0), 7, message.time, message.value}, out);
    benchmark::DoNotOptimize(out.trades.data());
    bytes += static_cast<std::int64_t>(message.value.size());
    trades += out.elements;
  }
  state.SetBytesProcessed(bytes);
  state.SetItemsProcessed(trades);
}
BENCHMARK(decode);

void decimal_parse(benchmark::State& state) {
  const std::vector<std::string> texts = {"1234.567891234", "0.000001234567", "98765432.1", "17.25",
                                          "3.1415926535897932"};
  std::size_t at = 0;
  for (auto _ : state) benchmark::DoNotOptimize(Decimal::parse_amount(texts[at++ % texts.size()]));
  count_trades(state, 1);
}
BENCHMARK(decimal_parse);

void candle_add(benchmark::State& state) {
  const Decoded input(1, 5'000);
  const SharedText token(input.trades.front().token);
  Candle candle = Candle::of(input.trades.front(), token);
  std::size_t at = 0;
  for (auto _ : state) benchmark::DoNotOptimize(candle.add(input.trades[at++ % input.trades.size()], token));
  count_trades(state, 1);
}
BENCHMARK(candle_add);

void candle_merge(benchmark::State& state) {
  const Decoded input(1, 5'000);
  const SharedText token(input.trades.front().token);
  std::vector<Candle> others;
  for (const Trade& trade : input.trades) others.push_back(Candle::of(trade, token));
  Candle candle = others.front();
  std::size_t at = 0;
  for (auto _ : state) benchmark::DoNotOptimize(candle.merge(others[at++ % others.size()]));
  count_trades(state, 1);
}
BENCHMARK(candle_merge);

// In batches of 1,000 trades, over seven intervals; argument: pairs. What changed is taken after every hundredth batch,
// which does not count.
void book_apply(benchmark::State& state) {
  const Decoded input(static_cast<std::uint32_t>(state.range(0)), 200'000);
  CandleBook book({.intervals = kIntervals});
  std::size_t at = 0;
  constexpr std::size_t kBatch = 1000;
  CandleBook::PairChanges changes;
  std::uint64_t batches = 0;
  for (auto _ : state) {
    if (++batches % 100 == 0) {
      state.PauseTiming();
      benchmark::DoNotOptimize(book.take_dirty(batches));
      book.wake_changed();
      while (book.next_change({}, changes)) book.published(batches, std::nullopt);
      state.ResumeTiming();
    }
    for (std::size_t i = 0; i < kBatch; ++i) {
      benchmark::DoNotOptimize(book.add(input.trades[at++ % input.trades.size()], LogId(0, 0)));
    }
    benchmark::DoNotOptimize(book.end_batch());
  }
  count_trades(state, kBatch);
}
BENCHMARK(book_apply)->RangeMultiplier(10)->Range(100, 100'000);

// A second of event time each `argument` sightings, a window of 600 s: so 600 × argument identities are in memory.
void fingerprint_seen(benchmark::State& state) {
  DedupeWindow window(600);
  std::uint64_t identity = 0;
  const auto a_second = static_cast<std::uint64_t>(state.range(0));
  const auto look = [&] {
    ++identity;
    const Fingerprint fingerprint{identity * 0x9E3779B97F4A7C15U, (identity ^ 0x5555) * 0xD6E8FEB86659FD93U};
    return window.seen(fingerprint, static_cast<UnixSeconds>(1'767'225'600 + identity / a_second));
  };
  while (identity < 700 * a_second) look();
  for (auto _ : state) benchmark::DoNotOptimize(look());
  count_trades(state, 1);
}
BENCHMARK(fingerprint_seen)->Arg(100)->Arg(1'000)->Arg(10'000);

void encode(benchmark::State& state) {
  const Decoded input(1, 100);
  const Candle candle = Candle::of(input.trades.front(), SharedText(input.trades.front().token));
  const KlineView view{100'000, input.trades.front().pair, Interval::k1m, 1'767'225'600, &candle, false};
  KlinesEncoder encoder;
  for (auto _ : state) {
    benchmark::DoNotOptimize(encoder.add(view));
    benchmark::DoNotOptimize(encoder.take());
  }
  count_trades(state, 1);
}
BENCHMARK(encode);

}  // namespace
}  // namespace klined

BENCHMARK_MAIN();
