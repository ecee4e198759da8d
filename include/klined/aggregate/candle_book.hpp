// The candles of one lane: what memory knows of the tables, and what the tables and the readers do not know yet.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <boost/unordered/unordered_flat_set.hpp>

#include "klined/aggregate/pair_place.hpp"
#include "klined/aggregate/price_history.hpp"
#include "klined/base/clock.hpp"
#include "klined/base/error.hpp"
#include "klined/codec/kline_encoder.hpp"
#include "klined/core/series.hpp"

namespace klined {

struct PairName {
  ChainId chain = 0;
  std::string pair;
  friend auto operator<=>(const PairName&, const PairName&) = default;
};

// A write-back cache of the candle tables.
//
// A candle in memory is either whole (the summary of all its trades up to the lane's place in the input) or partial (it
// may have a row that was not loaded yet). A partial candle takes trades, but is neither published nor written.
//
// Laws:
//  - rows are disjoint sets of trades from what memory adds: loaded(row) merges, once.
//  - a candle without a node in memory has a row, or no trade at all; where its bucket begins after known_until_ it has
//  none.
//  - a node leaves memory only when it is written and delivered as it stands.
//
// Owned by one lane; pure, no I/O: it says which rows it wants, what changed, and takes answers.
class CandleBook {
 public:
  struct Options {
    std::vector<Interval> intervals;  // ascending, distinct
    // The largest block_time in any stored row; -1 where the tables hold nothing of this lane.
    UnixSeconds stored_until = -1;
    UnixSeconds close_grace = 2;
    // Where a pair's trades all come from one partition: the topics' names by rank. A trade from another is refused.
    // Empty: from anywhere.
    std::vector<std::string> pair_topics{};
  };

  explicit CandleBook(Options options);
  ~CandleBook();
  CandleBook(const CandleBook&) = delete;
  CandleBook& operator=(const CandleBook&) = delete;

  // ---- trades in ----
  // Trades of one batch, in any order, then end_batch(). `log` is where the trade was read. kFatal where a sum does not
  // fit its column (it names the candle), or the pair is on another partition (see Options::pair_topics).
  Status add(const Trade& trade, LogId log);
  Status end_batch();

  // ---- rows of the tables in ----
  // The rows and histories that are wanted since the last call, at most `limit` of each.
  std::vector<CandleKey> take_wanted_rows(std::size_t limit);
  std::vector<PairName> take_wanted_histories(std::size_t limit);
  // The answer for a wanted row; null where the table has none.
  Status loaded(const CandleKey& key, const Candle* row);
  // The answer for a wanted history: closes of the pair's 1m and 15m candles, ascending.
  void history_loaded(const PairName& name, std::span<const TimedClose> of_1m, std::span<const TimedClose> of_15m);
  std::size_t partial_count() const { return partial_count_; }

  // ---- time ----
  // Closes every candle of `chain` whose end + grace is at or before `clock`.
  void close_until(ChainId chain, UnixSeconds clock);

  // ---- changes out: to the readers ----
  // The candles of one pair that changed since they were published last.
  struct PairChanges {
    ChainId chain = 0;
    std::string_view pair;
    std::vector<KlineView> candles;
    std::optional<Fluctuation> fluctuation;   // none while the pair's history is not read back
    UnixMilliseconds oldest_create_time = 0;  // of the trades since the last publication; 0 where unknown
  };
  bool has_changes() const { return unpublished_pairs_ > 0; }
  // A pair's first change is due at the second wake() from then: trades seldom come alone. After it was published the
  // pair rests: what changes meanwhile is due at the first wake() after its rest.
  void wake(Instant now);
  // Makes all changes due, also those of pairs that rest.
  void wake_changed();
  // Fills `out` with the changes that are due for longest, without taking them; false where none are. published() takes
  // them, as part of publication `round` (see Durable). A pair that rests already goes on with that; where `rest_until`
  // is given, which must not go back from call to call, others begin to. The views are valid until the book changes.
  bool next_change(const ChainClocks& clocks, PairChanges& out);
  void published(std::uint64_t round, std::optional<Instant> rest_until);

  // ---- changes out: to the tables ----
  std::size_t dirty_count() const { return dirty_.size(); }
  // All whole candles that differ from their rows, as rows. Requires partial_count() == 0. `snapshot` is this
  // snapshot's number: see evict().
  std::vector<CandleRow> take_dirty(std::uint64_t snapshot);

  // The places of the pairs that are new in memory since the last call; none without Options::pair_topics.
  std::vector<PairPlace> take_new_places() { return std::exchange(new_places_, {}); }

  // ---- memory ----
  struct Durable {
    std::uint64_t snapshot = 0;  // all snapshots up to here are committed
    std::uint64_t round = 0;     // all publication rounds up to here are delivered
  };
  // Visits some pairs and drops closed candles that ended `retain` before their chain's clock and are durable.
  void evict(const Durable& durable, const ChainClocks& clocks, UnixSeconds retain, std::size_t visits);
  // Until bytes() is down to `target`, one round at most: also drops what is durable of pairs without a trade since the
  // last visit.
  void shrink(const Durable& durable, const ChainClocks& clocks, UnixSeconds retain, std::size_t target);
  // Buckets of candles that left memory before they were closed: somebody else must publish them as closed.
  std::vector<std::pair<Interval, UnixSeconds>> take_evicted_open();

  std::size_t pair_count() const { return pairs_.size(); }
  std::size_t candle_count() const { return candle_count_; }
  std::size_t bytes() const;
  // What a trade of a new pair takes at most, with the candles that it makes.
  std::size_t bytes_of_new_pair() const;

  // The candle in memory, if it is there and whole; for tests and for closing stored candles.
  const Candle* find(const CandleKey& key) const;
  // True where memory holds the candle, whole or partial.
  bool holds(ChainId chain, std::string_view pair, Interval interval, UnixSeconds time) const;

  const std::vector<Interval>& intervals() const { return options_.intervals; }

 private:
  struct Node;
  struct Pair;
  struct Delta;
  // A pair by 128 bits of hash. Its name lies in the trade's message, which by now is out of the processor's caches: to
  // compare names would cost more than to add the trade.
  struct PairRef {
    std::uint64_t hash;
    std::uint64_t check;
    ChainId chain;
  };
  struct PairHash {
    using is_transparent = void;
    using is_avalanching = void;
    std::size_t operator()(const Pair* p) const;
    std::size_t operator()(const PairRef& ref) const { return ref.hash; }
  };
  struct PairEqual {
    using is_transparent = void;
    bool operator()(const Pair* a, const Pair* b) const { return a == b; }
    bool operator()(const PairRef& ref, const Pair* p) const;
    bool operator()(const Pair* p, const PairRef& ref) const { return (*this)(ref, p); }
  };

  Pair& pair_of(const Trade& trade, LogId log);
  Status check_place(const Pair& pair, LogId log) const;
  PairPlace place_of(const Pair& pair, LogId log) const;
  static void expect_merge(const Delta& delta);
  Status merge_delta(const Delta& delta);
  Node& node_of(Pair& pair, std::size_t series, UnixSeconds time);
  Node* find_node(const Pair& pair, std::size_t series, UnixSeconds begin) const;
  const Pair* find_pair(ChainId chain, std::string_view name) const;
  void mark_changed(Node& node);
  void mark_unpublished(Node& node);
  void watch_end(Node& node);
  void unwatch_end(Node& node);
  void visit_next(const Durable& durable, const ChainClocks& clocks, UnixSeconds retain, bool under_pressure);
  void evict_nodes(Pair& pair, const Durable& durable, UnixSeconds clock, UnixSeconds retain, bool under_pressure);
  void drop_pair(Pair& pair);
  std::size_t bytes_of_pair() const;
  std::size_t bytes_of_candle() const;
  Fluctuation fluctuation_of(const Pair& pair, UnixSeconds clock) const;
  Status overflow(const Node& node) const;

  Options options_;
  std::int64_t span_;                     // of the summaries that merge into all intervals
  std::vector<UnixSeconds> known_until_;  // by series: buckets that begin later have no row outside memory
  bool pairs_may_be_stored_;              // a new pair may have a history in the tables
  std::optional<std::size_t> series_1m_;
  std::optional<std::size_t> series_15m_;

  boost::unordered_flat_set<Pair*, PairHash, PairEqual> pairs_;
  std::vector<std::unique_ptr<Pair>> pair_list_;  // owns; the order that evict() visits
  std::size_t evict_hand_ = 0;
  std::vector<Delta> deltas_;
  struct Rest {
    Instant until;
    Pair* pair;
  };
  std::deque<Pair*> changed_;          // each once
  std::size_t due_ = 0;                // of changed_, from its front
  std::size_t next_due_ = 0;           // at the next wake()
  std::deque<Rest> resting_;           // by the end of the rest
  std::size_t unpublished_pairs_ = 0;  // in changed_ or resting_
  std::vector<Node*> dirty_;
  std::vector<Node*> wanted_rows_;
  std::vector<Pair*> wanted_histories_;
  std::vector<PairPlace> new_places_;
  std::size_t partial_count_ = 0;
  std::size_t candle_count_ = 0;
  std::size_t history_bytes_ = 0;
  // Open nodes by the end of their bucket.
  std::map<std::pair<ChainId, UnixSeconds>, std::vector<Node*>> ends_;
  ChainClocks closed_until_;  // by chain: what close_until() was told last
  std::vector<std::pair<Interval, UnixSeconds>> evicted_open_;
};

}  // namespace klined
