#include "klined/app/aggregation.hpp"

#include <algorithm>
#include <tuple>

#include <fmt/format.h>

#include "klined/aggregate/partition_progress.hpp"

namespace klined::app {

namespace {

// How many lines go into the book before their summaries are merged into its candles.
constexpr std::int64_t kLinesPerBatch = 256;

}  // namespace

Aggregation::Aggregation(Options options)
    : options_(std::move(options)),
      decoder_(TradeRules{.chains = options_.chains}),
      book_({.intervals = options_.intervals, .stored_until = -1, .close_grace = options_.close_grace}) {}

Status Aggregation::read(TradeFile& file) {
  File state{.name = file.name(), .clocks = {}, .dedupe = {}};
  if (files_ >= LogId::kPartitionLimit) return fatal("too many files at once");
  const LogId log(0, files_++);
  for (std::int64_t lines = 1;; ++lines) {
    const Result<std::optional<std::string>> batch = file.next();
    if (!batch) return std::unexpected(batch.error());
    if (!*batch) break;
    decoder_.decode({.log = log, .offset = file.line(), .timestamp = -1, .value = **batch}, decoded_);
    if (Status applied = apply(state, file.line()); !applied) return applied;
    if (lines % kLinesPerBatch != 0) continue;
    if (Status merged = book_.end_batch(); !merged) return merged;
  }
  return book_.end_batch();
}

Status Aggregation::apply(File& file, std::int64_t line) {
  if (decoded_.dead()) {
    refuse(Outcome::kInvalid, file, line, decoded_.dead_reason);
    return {};
  }
  ledger_[Outcome::kIgnored] += decoded_.ignored;
  ledger_[Outcome::kNoPrice] += decoded_.no_price;
  for (const BadTrade& bad : decoded_.bad) {
    refuse(bad.outcome, file, line, fmt::format("trade {}: {}", bad.index, bad.reason));
  }
  ledger_[Outcome::kInvalid] += decoded_.unlisted_invalid;
  ledger_[Outcome::kFuture] += decoded_.unlisted_future;
  // The clocks stand at the whole message before any of its trades is judged.
  for (const Trade& trade : decoded_.trades) raise_clock(file.clocks, trade.chain, trade.position.block_time);
  for (const ChainClock& clock : file.clocks) raise_clock(clocks_, clock.chain, clock.time);
  for (const Trade& trade : decoded_.trades) {
    const UnixSeconds clock = clock_of(file.clocks, trade.chain).value();
    const UnixSeconds behind = clock - trade.position.block_time;
    if (behind > options_.max_lateness) {
      refuse(Outcome::kLate, file, line,
             fmt::format("trade {}: block_time is {} s behind the file's clock", trade.position.index, behind));
    } else if (file.dedupe.try_emplace(trade.chain, options_.dedupe_window).first->second.seen(trade.identity, clock)) {
      refuse(Outcome::kDuplicate, file, line, fmt::format("trade {}: seen before", trade.position.index));
    } else {
      ++ledger_[Outcome::kApplied];
      if (!options_.pair.empty() && trade.pair != options_.pair) continue;
      if (Status added = book_.add(trade, trade.position.log); !added) return added;
    }
  }
  return {};
}

void Aggregation::refuse(Outcome outcome, const File& file, std::int64_t line, std::string reason) {
  ++ledger_[outcome];
  std::vector<std::string>& kept = reasons_[static_cast<std::size_t>(outcome)];
  if (kept.size() < kReasonsKept) kept.push_back(fmt::format("{}:{}: {}", file.name, line + 1, reason));
}

std::vector<CandleRow> Aggregation::finish() {
  std::vector<CandleRow> rows = book_.take_dirty(1);
  const auto order = [](const CandleRow& row) {
    return std::tie(row.key.interval, row.key.chain, row.key.pair, row.key.time);
  };
  std::ranges::sort(rows, [&order](const CandleRow& a, const CandleRow& b) { return order(a) < order(b); });
  return rows;
}

bool Aggregation::is_closed(const CandleKey& key) const {
  return closing_time(key.interval, key.time, options_.close_grace) <= clock_of(clocks_, key.chain).value_or(0);
}

const std::vector<std::string>& Aggregation::reasons(Outcome outcome) const {
  return reasons_[static_cast<std::size_t>(outcome)];
}

}  // namespace klined::app
