// The embedded form of the stream: trades from files to candles, without a server.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "klined/aggregate/candle_book.hpp"
#include "klined/aggregate/dedupe_window.hpp"
#include "klined/codec/trade_decoder.hpp"
#include "klined/codec/trade_file.hpp"
#include "klined/core/outcome.hpp"

namespace klined::app {

// Reads files as the stream reads partitions: each has its own clocks and dedupe memory, and the file's number and the
// line stand for partition and offset. The same decoder, rules and candles as `klined run`. One thread.
class Aggregation {
 public:
  struct Options {
    std::vector<Interval> intervals;  // ascending, distinct
    std::vector<ChainId> chains;
    std::string pair;  // only this one makes candles; "" for all. Outcomes are of all trades all the same.
    UnixSeconds dedupe_window = 600;
    UnixSeconds max_lateness = 604'800;
    UnixSeconds close_grace = 2;
  };
  // The first trades of an outcome that were refused: "trades.jsonl:12: trade 3: total_usd is negative".
  static constexpr std::size_t kReasonsKept = 3;

  explicit Aggregation(Options options);

  // Takes a whole file in. Fails where the file cannot be read, or a sum does not fit its candle.
  Status read(TradeFile& file);

  // All candles, by interval, chain, pair and time. Call once, at the end.
  std::vector<CandleRow> finish();
  // True where the candle's end and the grace are at or before its chain's clock, as of now.
  bool is_closed(const CandleKey& key) const;

  const Ledger& ledger() const { return ledger_; }
  const std::vector<std::string>& reasons(Outcome outcome) const;

 private:
  struct File {
    std::string name;
    ChainClocks clocks;
    std::map<ChainId, DedupeWindow> dedupe;
  };

  Status apply(File& file, std::int64_t line);
  void refuse(Outcome outcome, const File& file, std::int64_t line, std::string reason);

  Options options_;
  TradeDecoder decoder_;
  CandleBook book_;
  DecodedMessage decoded_;
  Ledger ledger_;
  std::array<std::vector<std::string>, kOutcomeCount> reasons_;
  ChainClocks clocks_;  // over all files
  std::uint32_t files_ = 0;
};

}  // namespace klined::app
