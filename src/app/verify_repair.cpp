// `klined verify --repair`: what was found wrong is written right.
#include <algorithm>
#include <charconv>
#include <random>
#include <set>
#include <thread>

#include <fmt/format.h>

#include "klined/app/candle_table.hpp"
#include "klined/app/commands.hpp"
#include "klined/app/verify_pass.hpp"
#include "klined/store/claim_transaction.hpp"

namespace klined::app {

namespace {

constexpr int kHoldAttempts = 5;
constexpr Milliseconds kClaimWait{8'000};
// Where a job's memory has made too large a revision. It commits every 30 s, also without input.
constexpr Milliseconds kIdleClaimWait{40'000};
constexpr Milliseconds kRound{500};
constexpr Milliseconds kStill{30'000};  // stored offsets that stand still for so long: no job is there

}  // namespace

// ---- What readers have ---------------------------------------------------------------------------------------------

std::int64_t Pass::revision_of(const CandleKey& key) {
  const Recomputation::Entry* const entry = again_.find(key);
  return entry == nullptr ? 0 : entry->candle.revision();
}

// Whether a job that has loaded the row makes revisions of it that are larger than the candle's.
bool Pass::counts_too_many(const Finding& finding) const {
  if (finding.is_missing) return false;
  if (finding.cells.empty()) return true;
  std::int64_t surplus = 0;
  for (const CellDifference& cell : finding.cells) {
    if (cell.column != "buy_count" && cell.column != "sell_count") continue;
    std::int64_t stored = 0, expected = 0;
    std::from_chars(cell.stored.data(), cell.stored.data() + cell.stored.size(), stored);
    std::from_chars(cell.expected.data(), cell.expected.data() + cell.expected.size(), expected);
    surplus += stored - expected;
  }
  return surplus > 0;
}

// A job forgets what it holds in memory with its next commit, which is refused, and publishes from it until then.
void Pass::await_claims(std::uint64_t owner, Milliseconds patience) const {
  CandleReader reader(mysql_options(config_));
  for (const Instant until = clock_.now() + patience; clock_.now() < until;) {
    const auto offsets = reader.offsets(config_.group);
    const auto is_ours = [owner](const StoredLaneOffset& row) { return row.owner == owner; };
    if (offsets && std::ranges::none_of(*offsets, is_ours)) return;
    std::this_thread::sleep_for(Milliseconds(200));
  }
}

// The revisions that the cache holds of the repaired rows, and the largest ones that were published of those that
// counted too many.
void Pass::look_outside(const std::vector<CandleKey>& rows, const Revisions& too_many, Seen& seen) const {
  const auto note = [](Revisions& revisions, const CandleKey& key, std::int64_t revision) {
    std::int64_t& largest = revisions[key];
    largest = std::max(largest, revision);
  };
  if (config_.redis) {
    Suspects fields;
    for (const CandleKey& key : rows) fields.try_emplace(key);
    CachedReader cache(config_);
    const Status looked = cache.look_again(fields, [&](const CandleKey& key, const proto::Kline* kline) {
      if (kline != nullptr) note(seen.cached, key, kline->total_count());
    });
    if (!looked) {
      complain(fmt::format("the cache was not looked at: {}", looked.error().message));
      ++seen.failures;
    }
  }
  if (too_many.empty() || !publishes(config_)) return;
  Result<PublishedReader> published = PublishedReader::open(config_);
  Status read = published ? Status{} : std::unexpected(published.error());
  if (read) {
    read = published->read_to_end([&](const CandleKey& key, const proto::Kline& kline) {
      if (too_many.contains(key)) note(seen.published, key, kline.total_count());
    });
  }
  if (read) return;
  complain(
      fmt::format("{} rows counted too many trades, and what was published of them could not be read ({}): run "
                  "`klined verify --published`",
                  too_many.size(), read.error().message));
  ++seen.failures;
}

// A larger revision than the row's may be a later one that is right. It is none if the tables, having passed all that
// the input held when it was seen, have not reached it.
Status Pass::await_tables(const std::vector<CandleKey>& rows, const Seen& seen) {
  const auto is_open = [&](const CandleKey& key) {
    const auto is_larger = [&](const Revisions& revisions) {
      const auto found = revisions.find(key);
      return found != revisions.end() && found->second > revision_of(key);
    };
    return is_larger(seen.cached) || is_larger(seen.published);
  };
  if (Status marked = mark_ends(); !marked) return marked;
  for (Instant moved_at = clock_.now(); std::ranges::any_of(rows, is_open);) {
    const auto progress = advance();
    if (!progress) return std::unexpected(progress.error());
    const Instant now = clock_.now();
    if (progress->has_moved) moved_at = now;
    if (progress->is_caught_up || now - moved_at > kStill) break;
    std::this_thread::sleep_for(kRound);
  }
  return {};
}

bool Pass::is_closed(const CandleKey& key) const {
  return closing_time(key.interval, key.time, config_.engine.close_grace.count()) <= closed_until_;
}

// Publishes and caches the candles that were found wrong, wherever that was.
Status Pass::mend_outputs(Seen& seen) {
  std::set<CandleKey> wrong;
  for (const Finding& finding : findings_) {
    if (!finding.is_uncertain) wrong.insert(finding.key);
  }
  std::vector<proto::Kline> klines;
  std::optional<CachedReader> redis;
  if (config_.redis) redis.emplace(config_);
  for (const CandleKey& key : wrong) {
    const Recomputation::Entry* const entry = again_.find(key);
    if (entry != nullptr) {
      klines.push_back(expected_kline(key, entry->candle));
      klines.back().set_closed(is_closed(key));
    }
    if (!redis) continue;
    if (Status done = redis->mend(key, entry == nullptr ? nullptr : &klines.back(), seen.cached[key]); !done) {
      // It is filled from the tables when it is back, but for fields of a larger revision, which stay.
      complain(
          fmt::format("the cache was not mended: {}; then run `klined verify --redis --repair`", done.error().message));
      ++seen.failures;
      redis.reset();
    }
  }
  return publishes(config_) ? publish_again(config_, klines) : Status{};
}

// Readers keep the largest revision that they have seen.
Pass::Revisions Pass::beyond_repair(const Seen& seen) {
  Revisions beyond;
  for (const auto& [key, largest] : seen.published) {
    if (largest > revision_of(key)) beyond.emplace(key, largest);
  }
  if (beyond.empty()) return beyond;
  std::size_t shown = 0;
  for (const auto& [key, largest] : beyond) {
    if (shown++ == arguments_.limit) break;
    complain(fmt::format("stays wrong for readers of {}: {} {} {}: published with revision {}, is {}",
                         output_topic(config_, key.chain), name_of(key.interval), key.pair,
                         key.time < 0 ? std::to_string(key.time) : print_utc(key.time), largest, revision_of(key)));
  }
  complain(
      fmt::format("{} candles were published with a larger revision than they have: readers keep that one until the "
                  "candle has more trades than that, unless they forget it: have them delete these candles and read "
                  "them anew, from the tables or as they were published now",
                  beyond.size()));
  return beyond;
}

// ---- The repair ----------------------------------------------------------------------------------------------------

Result<Repaired> Pass::repair() {
  std::vector<CandleKey> rows;
  Revisions too_many;
  Seen seen;
  std::size_t elsewhere = 0;
  for (const Finding& finding : findings_) {
    if (finding.is_uncertain) continue;
    if (finding.where != Where::kTable) {
      ++elsewhere;
      (finding.where == Where::kRedis ? seen.cached : seen.published)[finding.key] = finding.revision;
      continue;
    }
    rows.push_back(finding.key);
    if (counts_too_many(finding)) too_many.emplace(finding.key, 0);
  }
  Repaired repaired;
  if (!rows.empty()) {
    std::uint64_t owner = 0;
    const Result<std::size_t> written = repair_rows(owner);
    if (!written) return std::unexpected(written.error());
    repaired.mended = *written;
    await_claims(owner, too_many.empty() ? kClaimWait : kIdleClaimWait);
    look_outside(rows, too_many, seen);
    if (Status done = await_tables(rows, seen); !done) return std::unexpected(done.error());
  }
  if (Status done = mend_outputs(seen); !done) return std::unexpected(done.error());
  const Revisions beyond = beyond_repair(seen);
  const auto is_beyond = [&](const Finding& finding) {
    return finding.where == Where::kPublished && !finding.is_uncertain && beyond.contains(finding.key);
  };
  repaired.mended += elsewhere - static_cast<std::size_t>(std::ranges::count_if(findings_, is_beyond));
  repaired.left = beyond.size() + seen.failures;
  return repaired;
}

Result<std::size_t> Pass::repair_rows(std::uint64_t& owner) {
  // What came while the tables were compared is read before the job has to wait.
  if (const auto advanced = advance(); !advanced) return std::unexpected(advanced.error());
  RepairTransaction transaction(mysql_options(config_));
  Result<std::vector<LaneOffset>> held = retry("");
  for (int attempt = 0; attempt < kHoldAttempts; ++attempt) {
    held = transaction.hold(config_.group);
    if (held || held.error().kind != ErrorKind::kRetry) break;
    std::this_thread::sleep_for(Milliseconds(200));
  }
  if (!held) return std::unexpected(held.error());
  closed_until_ = held->empty() ? -1 : std::ranges::min(*held, {}, &LaneOffset::closed_until).closed_until;
  // The offsets stand still from here on: the rows are made for exactly them.
  const Instant begin = clock_.now();
  if (Status done = go_on(limits_of(*held)); !done) return std::unexpected(done.error());
  // What was put back since may lie behind the offsets, and what it stands for before them. From here on nobody does.
  const Result<std::int64_t> notes = count_notes();
  if (!notes) return std::unexpected(notes.error());
  if (*notes != notes_) return retry("dead letters were put back while verify ran: run it again");
  std::vector<CandleRow> rows;
  std::vector<CandleKey> surplus;
  for (const Finding& finding : findings_) {
    if (finding.is_uncertain || finding.where != Where::kTable) continue;
    if (const Recomputation::Entry* const entry = again_.find(finding.key)) {
      rows.push_back({finding.key, entry->candle});
    } else {
      surplus.push_back(finding.key);
    }
  }
  std::random_device random;
  owner = ((static_cast<std::uint64_t>(random()) << 31U) ^ random()) | 1U;
  const Status done = transaction.finish(config_.group, owner, rows, surplus, snapshot_.topics());
  if (!done) return std::unexpected(done.error());
  complain(fmt::format("repaired {} rows; the job's commits waited for {} ms", rows.size() + surplus.size(),
                       std::chrono::duration_cast<Milliseconds>(clock_.now() - begin).count()));
  return rows.size() + surplus.size();
}

}  // namespace klined::app
