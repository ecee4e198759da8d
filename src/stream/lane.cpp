#include "klined/stream/lane.hpp"

#include <algorithm>
#include <limits>
#include <set>
#include <span>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "klined/base/assertion.hpp"
#include "klined/base/prefetch.hpp"
#include "klined/stream/config.hpp"

namespace klined {

namespace {

// A closed candle stays in memory for a while, since late trades come soon or never.
constexpr UnixSeconds kRetain = 120;
// The ticks of a round of all pairs, 20 s: a visit waits for memory, and finds something to let go of once in minutes.
// 2.5 s where memory is half full: a replay's minutes may be shorter than that, and open candles should not have to go.
constexpr std::size_t kEvictTicks = 1000;
constexpr std::size_t kEvictTicksHalfFull = 128;
// While catching up, more than a minute behind, nobody needs a candle's every version: the same ones change again and
// again, and each costs more than the trades that changed it. A snapshot has all published anyway; this is for between
// two of them.
constexpr Milliseconds kCatchUpPublish{15'000};
constexpr std::size_t kLookAhead = 4;           // trades; twice as many for the trades themselves
constexpr std::size_t kLookAheadParts = 8;      // messages; half for their trades, a quarter for the dedupe memory
constexpr std::size_t kLoadKeys = 1000;         // a request
constexpr std::size_t kLoadsInFlight = 20'000;  // keys
constexpr std::size_t kHistoryPairs = 200;      // a request
constexpr std::size_t kHistoriesInFlight = 2'000;
constexpr std::size_t kMessagesInFlight = 20'000;
constexpr std::size_t kCandlesAMessage = 1000;     // about 250 kB, below a broker's usual limit of 1 MB
constexpr UnixSeconds kClosedUntilStep = 30;       // how far it may run ahead of what is stored
constexpr std::int64_t kStoredOpenLimit = 10'000;  // buckets of an interval, back from the newest
constexpr std::int64_t kStoredOpenAhead = 2'000;   // and on from each chain's clock

}  // namespace

Lane::Lane(LaneOptions options, const std::vector<LaneOffset>& offsets, LaneHost& host, Publisher* publisher)
    : options_(std::move(options)),
      host_(host),
      book_({.intervals = options_.intervals,
             .stored_until =
                 offsets.empty() ? -1 : std::ranges::max(offsets, {}, &LaneOffset::max_block_time).max_block_time,
             .close_grace = options_.close_grace,
             .pair_topics = options_.pair_has_one_partition ? options_.topics : std::vector<std::string>()}),
      outbox_(publisher, options_.lane),
      letters_(options_.rules, options_.topics, options_.dead_letter_suffix, options_.tables),
      candle_limit_(options_.candle_limit) {
  // Partitions may come from different processes, which closed up to different times.
  std::optional<UnixSeconds> closed_by_all;
  for (const LaneOffset& row : offsets) {
    KLINED_ASSERT(row.lane == options_.lane, "a lane gets its own rows");
    const auto topic = std::ranges::find(options_.topics, row.topic);
    KLINED_ASSERT(topic != options_.topics.end(), "every claimed topic has a rank");
    const LogId log(static_cast<std::uint32_t>(topic - options_.topics.begin()),
                    static_cast<std::uint32_t>(row.partition));
    partitions_.emplace(log, Partition{row.topic,
                                       row.next_offset,
                                       row.next_offset,
                                       {row.next_offset, row.window_offset, row.window_clocks, row.source_windows},
                                       {}});
    if (const auto end = options_.ends.find({row.topic, row.partition}); end != options_.ends.end()) {
      partitions_.at(log).end = end->second;
    }
    max_block_time_ = std::max(max_block_time_, row.max_block_time);
    if (row.max_block_time >= 0) closed_by_all = std::min(closed_by_all.value_or(row.closed_until), row.closed_until);
  }
  const UnixSeconds closed_until = closed_by_all.value_or(-1);
  for (const ChainId chain : options_.chains) {
    topics_of_chains_[chain] = fmt::format("klines-{}-{}", chain, options_.env);
    if (max_block_time_ < 0) continue;  // nothing stored: nothing that an earlier process left open
    raise_clock(close_clocks_, chain, closed_until);
    book_.close_until(chain, closed_until);
  }
  committed_closed_until_ = closed_until;
  if (max_block_time_ < 0) return;
  expect_what_was_left_open(offsets, closed_until);
}

// The candles that an earlier process left open are near their chains' clocks. Those of the fastest chain and of the
// slowest are known; those of the others were at least what they are at the windows' beginnings. Where all are close
// together, these are all buckets from closed_until on.
void Lane::expect_what_was_left_open(const std::vector<LaneOffset>& offsets, UnixSeconds closed_until) {
  std::set<UnixSeconds> clocks;
  if (closed_until >= 0) clocks.insert(std::max<UnixSeconds>(0, closed_until - options_.close_grace));
  for (const LaneOffset& row : offsets) {
    for (const ChainClock& clock : row.window_clocks) clocks.insert(clock.time);
    for (const SourceWindow& source : row.source_windows) {
      for (const ChainClock& clock : source.window_clocks) clocks.insert(clock.time);
    }
  }
  for (const Interval interval : options_.intervals) {
    Bucket bucket = bucket_of(interval, max_block_time_);
    for (std::int64_t i = 0; i < kStoredOpenLimit && bucket.end + options_.close_grace > closed_until; ++i) {
      expect_stored_open(interval, bucket.begin);
      if (bucket.begin <= 0) break;
      bucket = bucket_of(interval, bucket.begin - 1);
    }
    for (const UnixSeconds clock : clocks) {
      bucket = bucket_of(interval, clock);
      for (std::int64_t i = 0; i < kStoredOpenAhead && bucket.begin <= max_block_time_; ++i) {
        if (bucket.end + options_.close_grace > closed_until) expect_stored_open(interval, bucket.begin);
        bucket = bucket_of(interval, bucket.end);
      }
    }
  }
}

// ---- trades in -----------------------------------------------------------------------------------------------------

bool Lane::can_apply(const DecodedBatch& batch) { return takes_trades() && has_room_for(batch); }

bool Lane::takes_trades() const {
  if (failed_ || flush_step_ == FlushStep::kDraining || has_unsent()) return false;
  if (loads_in_flight_ >= kLoadsInFlight) return false;
  // During a commit the next one grows, but while catching up not beyond what makes it due.
  const std::size_t growth = now_.catching_up ? 1 : 4;
  return flush_step_ == FlushStep::kNone || book_.dirty_count() < growth * flush_now().rows;
}

// Every trade may be a new pair's, and make a candle at each interval.
bool Lane::has_room_for(const DecodedBatch& batch) {
  wanted_room_ = 0;
  const std::size_t a_trade = book_.bytes_of_new_pair();
  const std::size_t taken = candle_bytes();
  const std::size_t room = taken < candle_limit_ ? candle_limit_ - taken : 0;
  if (batch.trade_count * a_trade <= room) return true;
  std::size_t trades = 0;
  for (const std::uint32_t part : batch.parts_by_lane.of(options_.lane)) {
    trades += batch.parts[part].trades_of(options_.lane).size();
  }
  // Whatever the book holds can be let go of once it is stored and delivered. A book that holds nothing takes any
  // batch.
  if (trades * a_trade <= room || book_.pair_count() == 0) return true;
  wanted_room_ = trades * a_trade;
  return false;
}

std::size_t Lane::candle_bytes() const {
  // Of a row: itself, and its pair's name on the heap.
  return book_.bytes() + (snapshot_ ? snapshot_->rows.size() * (sizeof(CandleRow) + 64) : 0);
}

void Lane::apply(const std::shared_ptr<const DecodedBatch>& batch) {
  KLINED_ASSERT(takes_trades(), "the caller asks first");
  KLINED_ASSERT(batch->parts.empty() || !batch->parts_by_lane.begin.empty(), "a batch's parts are grouped by lane");
  const std::span<const std::uint32_t> parts = batch->parts_by_lane.of(options_.lane);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i + kLookAheadParts < parts.size()) look_ahead(*batch, parts.subspan(i, kLookAheadParts + 1));
    apply_part(batch, batch->parts[parts[i]]);
  }
  if (!check(book_.end_batch())) return;
  for (const auto& [log, place] : batch->places) {
    Partition& partition = partitions_.at(log);
    if (place.next_offset <= partition.place.next_offset) continue;  // still reading what is stored
    if (place.next_offset > partition.end) continue;
    partition.place = place;
    moved_ = true;
  }
  clocks_ = batch->chain_clocks;
  step();
}

// Another core has decoded the batch: has the processor fetch what comes soon. Where a message holds few trades,
// waiting for them would take longer than adding them.
void Lane::look_ahead(const DecodedBatch& batch, std::span<const std::uint32_t> next) const {
  prefetch(batch.parts[next[kLookAheadParts]]);
  const auto first_trade = [&](std::size_t ahead) -> const Trade* {
    const DecodedBatch::Part& part = batch.parts[next[ahead]];
    const std::span<const std::uint32_t> indexes = part.trades_of(options_.lane);
    return indexes.empty() ? nullptr : &part.decoded.trades[indexes.front()];
  };
  if (const Trade* trade = first_trade(kLookAheadParts / 2)) prefetch(*trade);
  if (const Trade* trade = first_trade(kLookAheadParts / 4)) {
    const DecodedBatch::Part& part = batch.parts[next[kLookAheadParts / 4]];
    const auto& windows = partitions_.at(part.message.log).dedupe;
    if (const auto window = windows.find({part.source, trade->chain}); window != windows.end()) {
      window->second.expect(trade->identity);
    }
  }
}

void Lane::apply_part(const std::shared_ptr<const DecodedBatch>& batch, const DecodedBatch::Part& part) {
  const Message& message = part.message;
  Partition& partition = partitions_.at(message.log);
  if (message.offset >= partition.end) return;
  const bool is_stored = message.offset < partition.stored_offset;
  if (!is_stored && lane_of_offset(message.offset, options_.lanes) == options_.lane) {
    const DecodedMessage& decoded = part.decoded;
    if (decoded.dead()) ++counters_.ledger[Outcome::kInvalid];
    counters_.ledger[Outcome::kIgnored] += decoded.ignored;
    counters_.ledger[Outcome::kNoPrice] += decoded.no_price;
    counters_.ledger[Outcome::kDuplicate] += decoded.superseded;
    for (const BadTrade& bad : decoded.bad) ++counters_.ledger[bad.outcome];
    counters_.ledger[Outcome::kInvalid] += decoded.unlisted_invalid;
    counters_.ledger[Outcome::kFuture] += decoded.unlisted_future;
    if (options_.writes_letters) letters_.add_bad(batch, part);
  }
  KLINED_ASSERT(is_stored || !part.before_window, "a window begins with what is stored");
  if (part.before_window) return;
  DedupeWindow* window = nullptr;
  ChainId window_chain = 0;
  const auto window_of = [&](ChainId chain) -> DedupeWindow& {
    if (window == nullptr || window_chain != chain) {
      window = &partition.dedupe.try_emplace({part.source, chain}, options_.dedupe_window).first->second;
      window_chain = chain;
    }
    return *window;
  };
  const std::span<const std::uint32_t> indexes = part.trades_of(options_.lane);
  for (std::size_t i = 0; i < indexes.size(); ++i) {
    if (i + 2 * kLookAhead < indexes.size()) prefetch(part.decoded.trades[indexes[i + 2 * kLookAhead]]);
    if (i + kLookAhead < indexes.size()) {
      const Trade& later = part.decoded.trades[indexes[i + kLookAhead]];
      window_of(later.chain).expect(later.identity);
    }
    const std::uint32_t index = indexes[i];
    const Trade& trade = part.decoded.trades[index];
    const UnixSeconds clock = clock_of(part.clocks, trade.chain).value();
    const UnixSeconds behind = clock - trade.position.block_time;
    Outcome outcome = Outcome::kApplied;
    if (behind > options_.max_lateness) {
      outcome = Outcome::kLate;
    } else if (window_of(trade.chain).seen(trade.identity, clock)) {
      outcome = Outcome::kDuplicate;
    }
    if (is_stored) continue;
    ++counters_.ledger[outcome];
    if (outcome == Outcome::kApplied) {
      max_block_time_ = std::max(max_block_time_, trade.position.block_time);
      if (oldest_unstored_ == 0 || trade.create_time < oldest_unstored_) oldest_unstored_ = trade.create_time;
      if (!check(book_.add(trade, message.log))) return;
    } else if (outcome == Outcome::kLate && options_.writes_letters) {
      letters_.add_late(batch, part, index, behind);
    }
  }
}

// Makes and sends letters as far as there is room for them.
void Lane::write_letters() {
  while (!letters_.empty() && !outbox_.has_held() && outbox_.in_flight() < kMessagesInFlight) {
    ++counters_.dead_letters;
    outbox_.hold(letters_.next());
  }
}

// ---- answers -------------------------------------------------------------------------------------------------------

void Lane::rows_loaded(const std::vector<CandleKey>& keys, const std::vector<CandleRow>& rows) {
  loads_in_flight_ -= keys.size();
  if (failed_) return;
  std::vector<const CandleRow*> sorted;
  sorted.reserve(rows.size());
  for (const CandleRow& row : rows) sorted.push_back(&row);
  const auto key_of = [](const CandleRow* row) -> const CandleKey& { return row->key; };
  std::ranges::sort(sorted, {}, key_of);
  for (const CandleKey& key : keys) {
    const auto at = std::ranges::lower_bound(sorted, key, {}, key_of);
    const bool is_stored = at != sorted.end() && (*at)->key == key;
    if (!check(book_.loaded(key, is_stored ? &(*at)->candle : nullptr))) return;
  }
  step();
}

void Lane::history_loaded(const PairName& name, const std::vector<TimedClose>& of_1m,
                          const std::vector<TimedClose>& of_15m) {
  --histories_in_flight_;
  if (failed_) return;
  book_.history_loaded(name, of_1m, of_15m);
}

void Lane::reported(std::vector<DeliveryReport> reports) {
  for (DeliveryReport& report : reports) {
    const std::optional<Outbox::Delivered> delivered = outbox_.report(std::move(report));
    if (delivered && delivered->oldest_create_time > 0)
      delivered_create_times_.push_back(delivered->oldest_create_time);
  }
  step();
}

void Lane::committed() {
  KLINED_ASSERT(flush_step_ == FlushStep::kCommitting, "one commit at a time");
  for (const LaneCommit::Advance& advance : snapshot_->offsets) {
    for (auto& [log, partition] : partitions_) {
      if (partition.topic == advance.to.topic && log.partition() == static_cast<std::uint32_t>(advance.to.partition)) {
        partition.expected = advance.to.next_offset;
      }
    }
    committed_closed_until_ = advance.to.closed_until;
  }
  counters_.rows_written += static_cast<std::int64_t>(snapshot_->rows.size());
  ++counters_.commits;
  if (oldest_in_snapshot_ > 0) stored_create_times_.push_back(oldest_in_snapshot_);
  snapshot_.reset();
  durable_snapshot_ = snapshot_number_;
  flush_step_ = FlushStep::kNone;
  if (is_full()) evict();
  step();
}

void Lane::tick(const Tick& tick) {
  now_ = tick;
  candle_limit_ = std::min(options_.candle_limit, tick.candle_limit);
  if (failed_) return;
  book_.wake(now_.now);
  close_candles();
  evict();
  step();
}

// ---- requests ------------------------------------------------------------------------------------------------------

bool Lane::check(const Status& status) {
  if (!status) fail(status.error());
  return status.has_value();
}

void Lane::fail(const Error& error) {
  if (failed_) return;
  failed_ = true;
  host_.failed(error);
}

// What there is to ask for or to send, after every event.
void Lane::step() {
  if (failed_) return;
  outbox_.push(now_.now);
  write_letters();
  request_loads();
  publish_due();
  scan_next();
  advance_flush();
}

void Lane::request_loads() {
  while (loads_in_flight_ < kLoadsInFlight) {
    std::vector<CandleKey> keys = book_.take_wanted_rows(kLoadKeys);
    if (keys.empty()) break;
    loads_in_flight_ += keys.size();
    host_.load(options_.lane, std::move(keys));
  }
  if (histories_in_flight_ >= kHistoriesInFlight) return;
  std::map<ChainId, std::vector<PairName>> names;
  for (PairName& name : book_.take_wanted_histories(kHistoryPairs)) {
    ++histories_in_flight_;
    names[name.chain].push_back(std::move(name));
  }
  for (auto& [chain, of_chain] : names) {
    // The chain's own time: in a replay the wall clock is far ahead of it.
    host_.load_histories(options_.lane, std::move(of_chain), clock_of(clocks_, chain).value_or(0));
  }
}

// A pair's changes as soon as a publish_interval is over since its last ones; while catching up, all pairs' together.
void Lane::publish_due() {
  if (is_full() || draining_) {
    publish_all();
  } else if (now_.catching_up) {
    if (now_.now - last_publish_ >= std::max(options_.publish_interval, kCatchUpPublish)) publish_all();
  } else if (now_.now != last_publish_) {
    publish(now_.now + options_.publish_interval);
  }
}

// True where all that changed is out. No pair has to rest for it: what else the block has that just came would be late.
bool Lane::publish_all() {
  book_.wake_changed();
  return publish(std::nullopt);
}

// Sends what is due. True where all of it is out.
bool Lane::publish(std::optional<Instant> rest_until) {
  last_publish_ = now_.now;
  while (book_.next_change(clocks_, changes_)) {
    if (outbox_.in_flight() >= kMessagesInFlight || has_unsent()) return false;
    if (!publish_pair(changes_)) return false;
    counters_.candles_published += static_cast<std::int64_t>(changes_.candles.size());
    book_.published(outbox_.last_sent(), rest_until);
  }
  return true;
}

bool Lane::publish_pair(const CandleBook::PairChanges& changes) {
  const bool publishes = options_.env != "local";
  if (!publishes && !options_.caches) return true;
  std::vector<CacheUpdate> updates;
  updates.reserve(options_.caches ? changes.candles.size() : 0);
  for (std::size_t first = 0; first < changes.candles.size(); first += kCandlesAMessage) {
    const std::size_t end = std::min(first + kCandlesAMessage, changes.candles.size());
    for (std::size_t i = first; i < end; ++i) {
      const KlineView& view = changes.candles[i];
      const std::string_view encoded = encoder_.add(view);
      if (!options_.caches) continue;
      updates.push_back({{view.chain, std::string(view.pair), view.interval, view.time},
                         std::string(encoded),
                         view.candle->revision(),
                         view.closed});
    }
    if (changes.fluctuation) encoder_.add(*changes.fluctuation);
    Publication publication{topics_of_chains_.at(changes.chain), std::string(changes.pair), encoder_.take(), {}};
    if (publishes && !outbox_.send(publication, changes.oldest_create_time)) return false;
  }
  if (options_.caches) host_.cache(std::move(updates));
  return true;
}

// ---- the flush -----------------------------------------------------------------------------------------------------

bool Lane::flush_is_due() const {
  const bool something =
      moved_ || book_.dirty_count() > 0 || closed_until() >= committed_closed_until_ + kClosedUntilStep;
  if (!something) return false;
  const LaneOptions::Flush& flush = flush_now();
  return draining_ || now_.now - last_snapshot_ >= flush.interval || book_.dirty_count() >= flush.rows || is_full();
}

void Lane::advance_flush() {
  if (flush_step_ == FlushStep::kNone && flush_is_due()) flush_step_ = FlushStep::kDraining;
  if (flush_step_ == FlushStep::kDraining && book_.partial_count() == 0 && !has_unsent()) {
    close_candles();
    if (publish_all()) take_snapshot();
  }
  if (flush_step_ == FlushStep::kDelivering && outbox_.delivered_through() >= barrier_) {
    flush_step_ = FlushStep::kCommitting;
    host_.commit(options_.lane, snapshot_);
  }
}

void Lane::take_snapshot() {
  snapshot_ = std::make_shared<LaneCommit>();
  snapshot_->lane = options_.lane;
  snapshot_->rows = book_.take_dirty(++snapshot_number_);
  snapshot_->pairs = book_.take_new_places();
  for (const auto& [log, partition] : partitions_) {
    snapshot_->offsets.push_back({partition.expected,
                                  {.topic = partition.topic,
                                   .partition = static_cast<std::int32_t>(log.partition()),
                                   .lane = options_.lane,
                                   .next_offset = partition.place.next_offset,
                                   .window_offset = partition.place.window_offset,
                                   .window_clocks = partition.place.window_clocks,
                                   .source_windows = partition.place.source_windows,
                                   .max_block_time = max_block_time_,
                                   .closed_until = closed_until()}});
  }
  moved_ = false;
  last_snapshot_ = now_.now;
  oldest_in_snapshot_ = std::exchange(oldest_unstored_, 0);
  barrier_ = outbox_.last_sent();
  flush_step_ = FlushStep::kDelivering;
}

bool Lane::drained() const {
  return flush_step_ == FlushStep::kNone && !moved_ && book_.dirty_count() == 0 && !book_.has_changes() &&
         book_.partial_count() == 0 && outbox_.in_flight() == 0 && !has_unsent();
}

std::string Lane::waits_for() const {
  std::vector<std::string> reasons;
  const auto add = [&reasons](std::size_t count, std::string_view what) {
    if (count > 0) reasons.push_back(fmt::format("{} {}", count, what));
  };
  add(book_.partial_count(), "candles whose stored rows are not loaded");
  add(book_.dirty_count(), "candles that are not stored");
  add(outbox_.in_flight(), "messages that are not acknowledged");
  if (has_unsent()) reasons.emplace_back("messages that are not sent");
  if (book_.has_changes()) reasons.emplace_back("candles that are not published");
  if (moved_) reasons.emplace_back("offsets that are not stored");
  if (flush_step_ == FlushStep::kCommitting) reasons.emplace_back("the answer to a commit");
  return fmt::format("{}", fmt::join(reasons, ", "));
}

// ---- time and memory -----------------------------------------------------------------------------------------------

void Lane::close_candles() {
  for (const ChainId chain : options_.chains) {
    const std::optional<UnixSeconds> seen = clock_of(clocks_, chain);
    if (!seen && !clock_of(close_clocks_, chain)) continue;  // no candle of this chain
    UnixSeconds clock = seen.value_or(-1);
    if (now_.queue_empty && std::ranges::find(now_.idle_chains, chain) != now_.idle_chains.end())
      clock = std::max(clock, now_.wall);
    raise_clock(close_clocks_, chain, clock);
    book_.close_until(chain, clock);
  }
  close_stored();
}

void Lane::expect_stored_open(Interval interval, UnixSeconds bucket) {
  stored_open_.try_emplace({closing_time(interval, bucket, options_.close_grace), interval, bucket}, false);
}

void Lane::close_stored() {
  if (stored_open_.empty() || close_clocks_.empty()) return;
  const UnixSeconds clock = std::ranges::min(close_clocks_, {}, &ChainClock::time).time;
  for (auto& [key, asked] : stored_open_) {
    const auto& [closes_at, interval, bucket] = key;
    if (closes_at > clock) break;
    if (asked) continue;
    asked = true;
    scans_.push_back({interval, bucket, {}});
  }
}

void Lane::scan_next() {
  if (scans_.empty() || scan_in_flight_ || has_unsent()) return;
  scan_in_flight_ = true;
  host_.scan_bucket(options_.lane, scans_.front());
}

void Lane::bucket_scanned(const BucketScan& scan, const std::vector<CandleRow>& rows, std::optional<PairName> last) {
  scan_in_flight_ = false;
  if (failed_) return;
  const auto [interval, bucket, after] = scan;
  std::vector<CacheUpdate> updates;
  for (const CandleRow& row : rows) {
    const auto topic = topics_of_chains_.find(row.key.chain);
    if (topic == topics_of_chains_.end() || book_.holds(row.key.chain, row.key.pair, interval, bucket)) continue;
    const std::string_view encoded = encoder_.add({row.key.chain, row.key.pair, interval, bucket, &row.candle, true});
    if (options_.caches) updates.push_back({row.key, std::string(encoded), row.candle.revision(), true});
    std::string message = encoder_.take();
    if (options_.env == "local") continue;
    ++counters_.candles_published;
    outbox_.hold({topic->second, row.key.pair, std::move(message), {}});
  }
  if (!updates.empty()) host_.cache(std::move(updates));
  if (last) {
    scans_.front().after = std::move(last);
  } else {
    scans_.pop_front();
    stored_open_.erase({closing_time(interval, bucket, options_.close_grace), interval, bucket});
  }
  step();
}

UnixSeconds Lane::closed_until() const {
  if (close_clocks_.empty()) return committed_closed_until_;
  const UnixSeconds in_memory = std::ranges::min(close_clocks_, {}, &ChainClock::time).time;
  if (stored_open_.empty()) return in_memory;
  return std::min(in_memory, std::get<0>(stored_open_.begin()->first) - 1);
}

void Lane::evict() {
  const CandleBook::Durable durable{durable_snapshot_, outbox_.delivered_through()};
  const std::size_t ticks = candle_bytes() > candle_limit_ / 2 ? kEvictTicksHalfFull : kEvictTicks;
  book_.evict(durable, close_clocks_, kRetain, 1 + book_.pair_count() / ticks);
  const std::size_t room = std::max(candle_limit_ / 10, wanted_room_);
  book_.shrink(durable, close_clocks_, kRetain, room < candle_limit_ ? candle_limit_ - room : 0);
  for (const auto& [interval, bucket] : book_.take_evicted_open()) expect_stored_open(interval, bucket);
}

std::size_t Lane::dedupe_bytes() const {
  std::size_t bytes = 0;
  for (const auto& [log, partition] : partitions_) {
    for (const auto& [source, window] : partition.dedupe) bytes += window.bytes();
  }
  return bytes;
}

}  // namespace klined
