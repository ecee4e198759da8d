#include "klined/aggregate/candle_book.hpp"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "klined/aggregate/partition_progress.hpp"
#include "klined/base/assertion.hpp"
#include "klined/base/prefetch.hpp"
#include "klined/codec/trade_decoder.hpp"

namespace klined {

namespace {

constexpr UnixSeconds kNever = std::numeric_limits<UnixSeconds>::min() / 4;
constexpr UnixSeconds kMinute = 60;
constexpr UnixSeconds kHour = 3600;
// How far back the fluctuation looks: up to 1 h in 1m candles, up to 24 h in 15m candles.
constexpr UnixSeconds kReach1m = kHour + kMinute;
constexpr UnixSeconds kReach15m = 24 * kHour + 15 * kMinute;
constexpr double kLargestFluctuation = 999.99;
constexpr std::size_t kLookAhead = 4;  // deltas
constexpr std::size_t kHeapCell = 16;  // what the allocator adds to a block

std::optional<std::size_t> series_index(const std::vector<Interval>& intervals, Interval wanted) {
  const auto at = std::ranges::find(intervals, wanted);
  if (at == intervals.end()) return std::nullopt;
  return static_cast<std::size_t>(at - intervals.begin());
}

}  // namespace

// One candle in memory.
struct CandleBook::Node {
  Candle candle;
  Pair* pair = nullptr;
  UnixSeconds begin = 0;
  UnixSeconds end = 0;
  std::unique_ptr<Node> older;       // the next older candle of the series in memory
  Node* next_unpublished = nullptr;  // of the same pair
  std::uint64_t snapshot = 0;        // the last one that took it
  std::uint64_t round = 0;           // the last publication that took it
  std::uint32_t end_slot = 0;        // in ends_, while open
  std::uint8_t series = 0;
  bool partial = false;      // a stored row may be missing from it
  bool dirty = false;        // in dirty_
  bool unpublished = false;  // in the pair's list
  bool closed = false;
};

struct CandleBook::Pair {
  std::uint64_t hash = 0;
  std::uint64_t check = 0;
  ChainId chain = 0;
  LogId log;  // where its first trade in memory was read
  std::string name;
  std::vector<std::unique_ptr<Node>> series;  // the newest candle of each interval
  Node* unpublished = nullptr;
  SharedText token;  // of the last trade seen: candles share it
  std::uint64_t token_hash = 0;
  PriceHistory of_1m;
  PriceHistory of_15m;
  UnixMilliseconds oldest_create_time = 0;
  std::size_t place = 0;    // in pair_list_
  std::int32_t delta = -1;  // in deltas_, during a batch
  bool touched = false;     // a trade since evict() came by
  bool changed = false;     // in changed_
  bool resting = false;     // in resting_
  bool history_known = true;
};

// The summary of a batch's trades of one pair in one span, on its way into the candles.
struct CandleBook::Delta {
  Pair* pair;
  UnixSeconds begin;
  Candle candle;
};

std::size_t CandleBook::PairHash::operator()(const Pair* p) const { return p->hash; }

bool CandleBook::PairEqual::operator()(const PairRef& ref, const Pair* p) const {
  return ref.hash == p->hash && ref.check == p->check && ref.chain == p->chain;
}

CandleBook::CandleBook(Options options)
    : options_(std::move(options)),
      span_(common_span(options_.intervals)),
      pairs_may_be_stored_(options_.stored_until >= 0),
      series_1m_(series_index(options_.intervals, Interval::k1m)),
      series_15m_(series_index(options_.intervals, Interval::k15m)) {
  KLINED_ASSERT(std::ranges::is_sorted(options_.intervals), "intervals ascend");
  for (const Interval interval : options_.intervals) {
    known_until_.push_back(pairs_may_be_stored_ ? bucket_of(interval, options_.stored_until).begin : kNever);
  }
}

CandleBook::~CandleBook() {
  // Long chains of nodes are freed one by one, not by recursion.
  for (const auto& pair : pair_list_) {
    for (auto& head : pair->series) {
      while (head) head = std::move(head->older);
    }
  }
}

// ---- trades in -----------------------------------------------------------------------------------------------------

CandleBook::Pair& CandleBook::pair_of(const Trade& trade, LogId log) {
  const PairRef ref{trade.pair_hash, trade.pair_check, trade.chain};
  if (const auto found = pairs_.find(ref); found != pairs_.end()) return **found;
  auto pair = std::make_unique<Pair>();
  pair->hash = trade.pair_hash;
  pair->check = trade.pair_check;
  pair->chain = trade.chain;
  pair->name = trade.pair;
  pair->log = log;
  pair->series.resize(options_.intervals.size());
  pair->place = pair_list_.size();
  if (pairs_may_be_stored_ && (series_1m_ || series_15m_)) {
    pair->history_known = false;
    wanted_histories_.push_back(pair.get());
  }
  if (!options_.pair_topics.empty()) new_places_.push_back(place_of(*pair, log));
  pairs_.insert(pair.get());
  pair_list_.push_back(std::move(pair));
  return *pair_list_.back();
}

PairPlace CandleBook::place_of(const Pair& pair, LogId log) const {
  return {pair.chain, pair.name, options_.pair_topics.at(log.topic_rank()), static_cast<std::int32_t>(log.partition())};
}

Status CandleBook::check_place(const Pair& pair, LogId log) const {
  if (options_.pair_topics.empty() || pair.log == log) return {};
  const PairPlace known = place_of(pair, pair.log);
  return std::unexpected(misplaced_pair(place_of(pair, log), known.topic, known.partition));
}

Status CandleBook::add(const Trade& trade, LogId log) {
  Pair& pair = pair_of(trade, log);
  if (auto placed = check_place(pair, log); !placed) return placed;
  pair.touched = true;
  if (trade.create_time > 0 && (pair.oldest_create_time == 0 || trade.create_time < pair.oldest_create_time)) {
    pair.oldest_create_time = trade.create_time;
  }
  if (pair.token_hash != trade.token_hash) {
    pair.token = SharedText(trade.token);
    pair.token_hash = trade.token_hash;
  }
  const UnixSeconds begin = trade.position.block_time - trade.position.block_time % span_;
  if (pair.delta >= 0) {
    Delta& delta = deltas_[static_cast<std::size_t>(pair.delta)];
    if (delta.begin == begin) {
      if (delta.candle.add(trade, pair.token)) return {};
      return fatal(
          fmt::format("a sum of pair {} on chain {} at {} does not fit DECIMAL(38,12)", pair.name, pair.chain, begin));
    }
  }
  pair.delta = static_cast<std::int32_t>(deltas_.size());
  deltas_.push_back({&pair, begin, Candle::of(trade, pair.token)});
  return {};
}

Status CandleBook::end_batch() {
  for (std::size_t i = 0; i < deltas_.size(); ++i) {
    if (i + kLookAhead < deltas_.size()) expect_merge(deltas_[i + kLookAhead]);
    const Delta& delta = deltas_[i];
    delta.pair->delta = -1;
    if (Status status = merge_delta(delta); !status) return status;
  }
  deltas_.clear();
  return {};
}

// Has the processor fetch the candles that a delta will probably merge into.
void CandleBook::expect_merge(const Delta& delta) {
  for (const std::unique_ptr<Node>& newest : delta.pair->series) {
    if (newest) prefetch(*newest);
  }
}

Status CandleBook::merge_delta(const Delta& delta) {
  for (std::size_t series = 0; series < options_.intervals.size(); ++series) {
    const std::size_t before = candle_count_;
    Node& node = node_of(*delta.pair, series, delta.begin);
    if (candle_count_ != before) {
      node.candle = delta.candle;
    } else if (!node.candle.merge(delta.candle)) {
      return overflow(node);
    }
    mark_changed(node);
  }
  return {};
}

// The node of the bucket that holds `time`; made, without a candle, where there is none.
CandleBook::Node& CandleBook::node_of(Pair& pair, std::size_t series, UnixSeconds time) {
  std::unique_ptr<Node>* link = &pair.series[series];
  while (*link && (*link)->begin > time) link = &(*link)->older;
  if (*link && time < (*link)->end) return **link;
  const Bucket bucket = bucket_of(options_.intervals[series], time);
  auto node = std::make_unique<Node>();
  node->pair = &pair;
  node->begin = bucket.begin;
  node->end = bucket.end;
  node->series = static_cast<std::uint8_t>(series);
  node->older = std::move(*link);
  *link = std::move(node);
  Node& made = **link;
  ++candle_count_;
  if (bucket.begin <= known_until_[series]) {
    made.partial = true;
    ++partial_count_;
    wanted_rows_.push_back(&made);
  }
  watch_end(made);
  return made;
}

Status CandleBook::overflow(const Node& node) const {
  return fatal(fmt::format(
      "a sum of candle {} {} {} at {} does not fit DECIMAL(38,12); its trades are in the input near offset {}",
      node.pair->chain, node.pair->name, name_of(options_.intervals[node.series]), node.begin,
      node.candle.last.offset));
}

void CandleBook::mark_changed(Node& node) {
  if (node.partial) return;  // loaded() will say so
  if (!node.dirty) {
    node.dirty = true;
    dirty_.push_back(&node);
  }
  mark_unpublished(node);
  Pair& pair = *node.pair;
  const auto remember = [this, &node](PriceHistory& history, UnixSeconds reach) {
    const std::size_t before = history.bytes();
    history.set(node.begin, node.candle.close, reach);
    history_bytes_ += history.bytes() - before;
  };
  if (series_1m_ == node.series) remember(pair.of_1m, kReach1m);
  if (series_15m_ == node.series) remember(pair.of_15m, kReach15m);
}

void CandleBook::mark_unpublished(Node& node) {
  if (node.unpublished || node.partial) return;
  Pair& pair = *node.pair;
  if (pair.unpublished == nullptr) {
    ++unpublished_pairs_;
    if (!pair.resting) {
      pair.changed = true;
      changed_.push_back(&pair);
    }
  }
  node.unpublished = true;
  node.next_unpublished = pair.unpublished;
  pair.unpublished = &node;
}

// ---- rows of the tables in -----------------------------------------------------------------------------------------

std::vector<CandleKey> CandleBook::take_wanted_rows(std::size_t limit) {
  std::vector<CandleKey> keys;
  while (!wanted_rows_.empty() && keys.size() < limit) {
    const Node& node = *wanted_rows_.back();
    keys.push_back({node.pair->chain, node.pair->name, options_.intervals[node.series], node.begin});
    wanted_rows_.pop_back();
  }
  return keys;
}

std::vector<PairName> CandleBook::take_wanted_histories(std::size_t limit) {
  std::vector<PairName> names;
  while (!wanted_histories_.empty() && names.size() < limit) {
    names.push_back({wanted_histories_.back()->chain, wanted_histories_.back()->name});
    wanted_histories_.pop_back();
  }
  return names;
}

const CandleBook::Pair* CandleBook::find_pair(ChainId chain, std::string_view name) const {
  const auto found = pairs_.find(PairRef{hash_of_pair(chain, name), check_of_pair(chain, name), chain});
  return found == pairs_.end() ? nullptr : *found;
}

CandleBook::Node* CandleBook::find_node(const Pair& pair, std::size_t series, UnixSeconds begin) const {
  Node* node = pair.series[series].get();
  while (node != nullptr && node->begin > begin) node = node->older.get();
  return node != nullptr && node->begin == begin ? node : nullptr;
}

Status CandleBook::loaded(const CandleKey& key, const Candle* row) {
  const std::optional<std::size_t> series = series_index(options_.intervals, key.interval);
  const Pair* pair = find_pair(key.chain, key.pair);
  KLINED_ASSERT(pair != nullptr && series, "only wanted rows are loaded");
  Node* node = find_node(*pair, *series, key.time);
  KLINED_ASSERT(node != nullptr && node->partial, "a partial candle stays until its row is loaded, once");
  if (row != nullptr && !node->candle.merge(*row)) return overflow(*node);
  node->partial = false;
  --partial_count_;
  mark_changed(*node);
  return {};
}

void CandleBook::history_loaded(const PairName& name, std::span<const TimedClose> of_1m,
                                std::span<const TimedClose> of_15m) {
  const auto found =
      pairs_.find(PairRef{hash_of_pair(name.chain, name.pair), check_of_pair(name.chain, name.pair), name.chain});
  if (found == pairs_.end()) return;
  Pair& pair = **found;
  const std::size_t before = pair.of_1m.bytes() + pair.of_15m.bytes();
  pair.of_1m.merge(of_1m, kReach1m);
  pair.of_15m.merge(of_15m, kReach15m);
  history_bytes_ += pair.of_1m.bytes() + pair.of_15m.bytes() - before;
  if (std::exchange(pair.history_known, true)) return;
  // What was published without fluctuation comes again with it.
  const auto whole = std::ranges::find_if(pair.series, [](const auto& node) { return node && !node->partial; });
  if (whole != pair.series.end()) mark_unpublished(**whole);
}

// ---- time ----------------------------------------------------------------------------------------------------------

void CandleBook::watch_end(Node& node) {
  const ChainId chain = node.pair->chain;
  const std::optional<UnixSeconds> closed = clock_of(closed_until_, chain);
  if (closed && node.end + options_.close_grace <= *closed) {
    node.closed = true;
    return;
  }
  std::vector<Node*>& ending = ends_[{chain, node.end}];
  node.end_slot = static_cast<std::uint32_t>(ending.size());
  ending.push_back(&node);
}

void CandleBook::unwatch_end(Node& node) {
  const auto at = ends_.find({node.pair->chain, node.end});
  KLINED_ASSERT(at != ends_.end() && at->second[node.end_slot] == &node, "an open candle is watched");
  std::vector<Node*>& ending = at->second;
  ending[node.end_slot] = ending.back();
  ending[node.end_slot]->end_slot = node.end_slot;
  ending.pop_back();
  if (ending.empty()) ends_.erase(at);
}

void CandleBook::close_until(ChainId chain, UnixSeconds clock) {
  const std::optional<UnixSeconds> before = clock_of(closed_until_, chain);
  if (before && *before >= clock) return;
  raise_clock(closed_until_, chain, clock);
  auto at = ends_.lower_bound({chain, kNever});
  while (at != ends_.end() && at->first.first == chain && at->first.second + options_.close_grace <= clock) {
    for (Node* node : at->second) {
      node->closed = true;
      mark_unpublished(*node);
    }
    at = ends_.erase(at);
  }
}

// ---- changes out ---------------------------------------------------------------------------------------------------

void CandleBook::wake(Instant now) {
  due_ = std::exchange(next_due_, changed_.size());
  for (; !resting_.empty() && resting_.front().until <= now; resting_.pop_front()) {
    Pair& pair = *resting_.front().pair;
    pair.resting = false;
    if (pair.unpublished == nullptr || std::exchange(pair.changed, true)) continue;
    changed_.push_front(&pair);
    ++due_;
    ++next_due_;
  }
}

void CandleBook::wake_changed() {
  for (auto rest = resting_.begin(); changed_.size() < unpublished_pairs_; ++rest) {
    if (rest->pair->unpublished != nullptr && !std::exchange(rest->pair->changed, true)) changed_.push_back(rest->pair);
  }
  due_ = next_due_ = changed_.size();
}

bool CandleBook::next_change(const ChainClocks& clocks, PairChanges& out) {
  if (due_ == 0) return false;
  const Pair& pair = *changed_.front();
  out.chain = pair.chain;
  out.pair = pair.name;
  out.candles.clear();
  for (const Node* node = pair.unpublished; node != nullptr; node = node->next_unpublished) {
    out.candles.push_back(
        {pair.chain, pair.name, options_.intervals[node->series], node->begin, &node->candle, node->closed});
  }
  out.oldest_create_time = pair.oldest_create_time;
  out.fluctuation.reset();
  if (pair.history_known) out.fluctuation = fluctuation_of(pair, clock_of(clocks, pair.chain).value_or(0));
  return true;
}

void CandleBook::published(std::uint64_t round, std::optional<Instant> rest_until) {
  Pair& pair = *changed_.front();
  changed_.pop_front();
  --due_;
  --next_due_;
  --unpublished_pairs_;
  pair.changed = false;
  if (rest_until && !std::exchange(pair.resting, true)) resting_.push_back({*rest_until, &pair});
  for (Node* node = pair.unpublished; node != nullptr;) {
    Node* const next = node->next_unpublished;
    node->unpublished = false;
    node->next_unpublished = nullptr;
    node->round = round;
    node = next;
  }
  pair.unpublished = nullptr;
  pair.oldest_create_time = 0;
}

Fluctuation CandleBook::fluctuation_of(const Pair& pair, UnixSeconds clock) const {
  const std::optional<TimedClose> last_close = pair.of_1m.last() ? pair.of_1m.last() : pair.of_15m.last();
  if (!last_close) return {};
  const double last = last_close->close;
  const auto change = [&](const PriceHistory& history, UnixSeconds window, UnixSeconds width) {
    const std::optional<double> reference = history.close_before(clock - window, width);
    return reference && *reference > 0 ? std::min((last - *reference) / *reference, kLargestFluctuation) : 0.0;
  };
  const auto short_change = [&](UnixSeconds window) { return change(pair.of_1m, window, kMinute); };
  const auto long_change = [&](UnixSeconds window) { return change(pair.of_15m, window, 15 * kMinute); };
  return {short_change(kMinute),  short_change(5 * kMinute), short_change(15 * kMinute), short_change(kHour),
          long_change(4 * kHour), long_change(12 * kHour),   long_change(24 * kHour)};
}

std::vector<CandleRow> CandleBook::take_dirty(std::uint64_t snapshot) {
  KLINED_ASSERT(partial_count_ == 0, "a snapshot holds every trade up to its offsets");
  std::vector<CandleRow> rows;
  rows.reserve(dirty_.size());
  for (Node* node : dirty_) {
    node->dirty = false;
    node->snapshot = snapshot;
    rows.push_back(
        {{node->pair->chain, node->pair->name, options_.intervals[node->series], node->begin}, node->candle});
  }
  dirty_.clear();
  return rows;
}

// ---- memory --------------------------------------------------------------------------------------------------------

void CandleBook::evict(const Durable& durable, const ChainClocks& clocks, UnixSeconds retain, std::size_t visits) {
  for (std::size_t i = 0; i < visits && !pair_list_.empty(); ++i) visit_next(durable, clocks, retain, false);
}

void CandleBook::shrink(const Durable& durable, const ChainClocks& clocks, UnixSeconds retain, std::size_t target) {
  for (std::size_t left = pair_list_.size(); left > 0 && bytes() > target; --left) {
    visit_next(durable, clocks, retain, true);
  }
}

void CandleBook::visit_next(const Durable& durable, const ChainClocks& clocks, UnixSeconds retain,
                            bool under_pressure) {
  KLINED_ASSERT(deltas_.empty(), "between two batches");
  if (evict_hand_ >= pair_list_.size()) evict_hand_ = 0;
  Pair& pair = *pair_list_[evict_hand_];
  evict_nodes(pair, durable, clock_of(clocks, pair.chain).value_or(kNever), retain, under_pressure);
  pair.touched = false;
  const bool empty = std::ranges::all_of(pair.series, [](const auto& head) { return head == nullptr; });
  if (empty && pair.history_known && !pair.resting) {
    drop_pair(pair);  // the hand now stands at the pair that took its place
  } else {
    ++evict_hand_;
  }
}

void CandleBook::evict_nodes(Pair& pair, const Durable& durable, UnixSeconds clock, UnixSeconds retain,
                             bool under_pressure) {
  for (std::unique_ptr<Node>& head : pair.series) {
    for (std::unique_ptr<Node>* link = &head; *link;) {
      Node& node = **link;
      const bool stored = !node.partial && !node.dirty && !node.unpublished && node.snapshot <= durable.snapshot &&
                          node.round <= durable.round;
      const bool old = node.closed && node.end + retain <= clock;
      if (!stored || !(old || (under_pressure && !pair.touched))) {
        link = &node.older;
        continue;
      }
      if (!node.closed) {
        unwatch_end(node);
        const std::pair bucket{options_.intervals[node.series], node.begin};
        if (evicted_open_.empty() || evicted_open_.back() != bucket) evicted_open_.push_back(bucket);
      }
      known_until_[node.series] = std::max(known_until_[node.series], node.begin);
      --candle_count_;
      *link = std::move(node.older);
    }
  }
}

void CandleBook::drop_pair(Pair& pair) {
  KLINED_ASSERT(pair.unpublished == nullptr && pair.delta < 0, "a pair without candles has nothing to say");
  pairs_may_be_stored_ = true;
  history_bytes_ -= pair.of_1m.bytes() + pair.of_15m.bytes();
  pairs_.erase(&pair);
  const std::size_t place = pair.place;
  pair_list_[place] = std::move(pair_list_.back());
  pair_list_[place]->place = place;
  pair_list_.pop_back();
}

std::vector<std::pair<Interval, UnixSeconds>> CandleBook::take_evicted_open() {
  return std::exchange(evicted_open_, {});
}

std::size_t CandleBook::bytes_of_pair() const {
  constexpr std::size_t kNameBytes = 48 + kHeapCell;
  return sizeof(Pair) + kNameBytes + 2 * kHeapCell + options_.intervals.size() * sizeof(Node*);
}

std::size_t CandleBook::bytes_of_candle() const { return sizeof(Node) + kHeapCell + sizeof(Node*); }

std::size_t CandleBook::bytes() const {
  return candle_count_ * bytes_of_candle() + history_bytes_ + pair_list_.size() * bytes_of_pair() +
         pairs_.bucket_count() * (sizeof(Pair*) + 1) + (dirty_.capacity() + changed_.size()) * sizeof(void*) +
         resting_.size() * sizeof(Rest) + deltas_.capacity() * sizeof(Delta);
}

std::size_t CandleBook::bytes_of_new_pair() const {
  constexpr std::size_t kHistories = 2 * (sizeof(TimedClose) + kHeapCell);
  return options_.intervals.size() * bytes_of_candle() + bytes_of_pair() + kHistories + sizeof(Delta);
}

const Candle* CandleBook::find(const CandleKey& key) const {
  const std::optional<std::size_t> series = series_index(options_.intervals, key.interval);
  const Pair* pair = find_pair(key.chain, key.pair);
  if (pair == nullptr || !series) return nullptr;
  const Node* node = find_node(*pair, *series, key.time);
  return node != nullptr && !node->partial ? &node->candle : nullptr;
}

bool CandleBook::holds(ChainId chain, std::string_view name, Interval interval, UnixSeconds time) const {
  const std::optional<std::size_t> series = series_index(options_.intervals, interval);
  const Pair* pair = find_pair(chain, name);
  return pair != nullptr && series && find_node(*pair, *series, time) != nullptr;
}

}  // namespace klined
