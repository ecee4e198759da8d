// A lane: the candles of a share of the pairs, from trade to table.
#pragma once

#include <cstdint>
#include <deque>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "klined/aggregate/candle_book.hpp"
#include "klined/aggregate/dedupe_window.hpp"
#include "klined/cache/update_queue.hpp"
#include "klined/codec/kline_encoder.hpp"
#include "klined/core/outcome.hpp"
#include "klined/store/candle_store.hpp"
#include "klined/stream/batch.hpp"
#include "klined/stream/letter_queue.hpp"
#include "klined/stream/outbox.hpp"

namespace klined {

struct LaneOptions {
  std::int32_t lane = 0;
  std::int32_t lanes = 1;
  std::vector<Interval> intervals;
  std::vector<ChainId> chains;
  TradeRules rules;                     // as the batches were decoded by
  std::vector<std::string> topics;      // by LogId's rank
  bool pair_has_one_partition = false;  // refuse a pair that is on two
  UnixSeconds dedupe_window = 600;
  UnixSeconds max_lateness = 7 * 86400;
  UnixSeconds close_grace = 2;
  std::string env = "prod";
  std::string tables;  // the claim's; dead letters tell it
  std::string dead_letter_suffix = "-dlq";
  bool caches = false;  // hand candles to LaneHost::cache()
  bool writes_letters = true;
  // By topic and partition: messages from this offset on are left alone. No batch has messages of a partition from both
  // sides of its end.
  std::map<std::pair<std::string, std::int32_t>, std::int64_t> ends;
  Milliseconds publish_interval{100};
  // One for when the lane is up to date, one for while it catches up.
  struct Flush {
    Milliseconds interval{500};
    std::size_t rows = 10'000;
  };
  Flush flush;
  Flush catch_up_flush{Milliseconds{5000}, 100'000};
  std::size_t candle_limit = std::size_t{256} << 20U;  // of memory for the lane's candles until a tick says otherwise
};

// A look through the stored rows of a bucket, a page at a time.
struct BucketScan {
  Interval interval = Interval::k1m;
  UnixSeconds bucket = 0;
  std::optional<PairName> after;  // the last pair of the page before
};

// What a lane asks of its surroundings. Calls return at once; answers come back through the lane's methods, on its
// turn.
class LaneHost {
 public:
  virtual ~LaneHost() = default;
  virtual void load(std::int32_t lane, std::vector<CandleKey> keys) = 0;  // → rows_loaded()
  // What fluctuation at `clock` and later looks back on. → history_loaded()
  virtual void load_histories(std::int32_t lane, std::vector<PairName> names, UnixSeconds clock) = 0;
  virtual void commit(std::int32_t lane, std::shared_ptr<const LaneCommit> commit) = 0;  // → committed()
  virtual void cache(std::vector<CacheUpdate> updates) = 0;                              // best effort, no answer
  // The next stored rows of a bucket that are the lane's. → bucket_scanned()
  virtual void scan_bucket(std::int32_t lane, const BucketScan& scan) = 0;
  // The lane can't go on; it does nothing more. The stored state is whole.
  virtual void failed(const Error& error) = 0;
};

// The state machine of one lane: events in, requests out; no threads, no waiting, no time but what tick() brings.
//
// Laws:
//  - a commit holds every trade below its offsets that belongs to the lane, and no other;
//  - it goes to the store only after all that it makes durable is delivered (candles to readers, dead letters);
//  - one commit at a time; trades go on being applied while it is under way, up to the memory limit;
//  - messages below the lane's stored offset only rebuild the dedupe memory.
//
// Its methods are called one at a time (see LaneRunner), and in the order of the input for apply().
class Lane {
 public:
  // `offsets`: the lane's rows of the claim.
  Lane(LaneOptions options, const std::vector<LaneOffset>& offsets, LaneHost& host, Publisher* publisher);

  // ---- events ----
  // False while the lane must not take more trades: a snapshot is due, or memory has no room for the batch. Then
  // apply() is not called.
  bool can_apply(const DecodedBatch& batch);
  void apply(const std::shared_ptr<const DecodedBatch>& batch);
  struct Tick {
    Instant now;
    UnixSeconds wall = 0;
    std::vector<ChainId> idle_chains;  // the wall clock counts for these, once the lane has taken everything in
    bool queue_empty = false;          // nothing waits for apply()
    bool catching_up = false;
    std::size_t candle_limit = std::numeric_limits<std::size_t>::max();  // of memory for the lane's candles, bytes
  };
  void tick(const Tick& tick);
  void rows_loaded(const std::vector<CandleKey>& keys, const std::vector<CandleRow>& rows);
  void history_loaded(const PairName& name, const std::vector<TimedClose>& of_1m,
                      const std::vector<TimedClose>& of_15m);
  void committed();
  void reported(std::vector<DeliveryReport> reports);
  // Some rows of a bucket that has ended, and the last pair that was looked at; none where it was the bucket's last.
  // Rows that memory does not hold are published as closed.
  void bucket_scanned(const BucketScan& scan, const std::vector<CandleRow>& rows, std::optional<PairName> last);
  // From now on commits as soon as there is something to commit; drained() tells when there is nothing left.
  void drain() { draining_ = true; }
  bool drained() const;
  // What drained() waits for, for people: "3 rows, an answer to a commit".
  std::string waits_for() const;

  // ---- for the outside to look at ----
  struct Counters {  // only grow
    Ledger ledger;
    std::int64_t dead_letters = 0;
    std::int64_t candles_published = 0;
    std::int64_t rows_written = 0;
    std::int64_t commits = 0;
  };
  const Counters& counters() const { return counters_; }
  const CandleBook& book() const { return book_; }
  std::size_t dedupe_bytes() const;
  // Of the candles, with those of a snapshot that is not committed yet.
  std::size_t candle_bytes() const;
  // Every candle of the lane, in memory or only stored, that ended with its grace at or before this is closed.
  UnixSeconds closed_until() const;
  // By chain, up to where the candles in memory are closed.
  const ChainClocks& close_clocks() const { return close_clocks_; }
  // The oldest create_time behind each candle message that was acknowledged, and behind each commit, since the last
  // call.
  std::vector<UnixMilliseconds> take_delivered_create_times() { return std::exchange(delivered_create_times_, {}); }
  std::vector<UnixMilliseconds> take_stored_create_times() { return std::exchange(stored_create_times_, {}); }
  // True while stored candles are looked through whose time to be closed has come.
  bool is_closing() const { return !scans_.empty(); }
  bool is_failed() const { return failed_; }

 private:
  enum class FlushStep {
    kNone,
    kDraining,    // no more trades: waiting for stored rows and for room to publish, then the snapshot is taken
    kDelivering,  // the snapshot waits for what it covers to be delivered
    kCommitting,
  };
  struct Partition {
    std::string topic;
    std::int64_t stored_offset = 0;  // next_offset in the store; messages below it are not applied again
    std::int64_t expected = 0;       // next_offset of the last commit
    PartitionPlace place;
    std::map<std::pair<std::int32_t, ChainId>, DedupeWindow> dedupe;  // by source and chain
    std::int64_t end = std::numeric_limits<std::int64_t>::max();      // of LaneOptions
  };

  bool takes_trades() const;
  bool has_room_for(const DecodedBatch& batch);
  bool is_full() const { return wanted_room_ > 0 || candle_bytes() > candle_limit_; }
  void step();
  void fail(const Error& error);
  bool check(const Status& status);
  void look_ahead(const DecodedBatch& batch, std::span<const std::uint32_t> next) const;
  void apply_part(const std::shared_ptr<const DecodedBatch>& batch, const DecodedBatch::Part& part);
  void write_letters();
  // Of what can not be made again later.
  bool has_unsent() const { return outbox_.has_held() || !letters_.empty(); }
  void request_loads();
  void publish_due();
  bool publish_all();
  bool publish(std::optional<Instant> rest_until);
  bool publish_pair(const CandleBook::PairChanges& changes);
  const LaneOptions::Flush& flush_now() const { return now_.catching_up ? options_.catch_up_flush : options_.flush; }
  bool flush_is_due() const;
  void advance_flush();
  void take_snapshot();
  void close_candles();
  void close_stored();
  void expect_what_was_left_open(const std::vector<LaneOffset>& offsets, UnixSeconds closed_until);
  void expect_stored_open(Interval interval, UnixSeconds bucket);
  void scan_next();
  void evict();

  LaneOptions options_;
  LaneHost& host_;
  CandleBook book_;
  Outbox outbox_;
  LetterQueue letters_;
  std::map<LogId, Partition> partitions_;
  std::map<ChainId, std::string> topics_of_chains_;

  Tick now_;
  ChainClocks clocks_;        // after the last batch
  ChainClocks close_clocks_;  // up to where candles are closed
  // Buckets, by the time that closes them, that may have rows outside memory that are not published as closed: those
  // that were open when an earlier process ended, and those whose open candles were evicted. True: in scans_.
  std::map<std::tuple<UnixSeconds, Interval, UnixSeconds>, bool> stored_open_;
  std::deque<BucketScan> scans_;  // one at a time, since their rows become messages
  bool scan_in_flight_ = false;
  UnixSeconds max_block_time_ = -1;
  bool moved_ = false;  // offsets changed since the last snapshot
  bool draining_ = false;
  bool failed_ = false;

  std::size_t candle_limit_;     // of candle_bytes()
  std::size_t wanted_room_ = 0;  // of memory, for the batch that was refused last
  std::size_t loads_in_flight_ = 0;
  std::size_t histories_in_flight_ = 0;
  Instant last_publish_{};
  FlushStep flush_step_ = FlushStep::kNone;
  Instant last_snapshot_{};
  std::shared_ptr<LaneCommit> snapshot_;  // kDelivering and kCommitting
  std::uint64_t snapshot_number_ = 0;
  std::uint64_t durable_snapshot_ = 0;
  std::uint64_t barrier_ = 0;  // kDelivering: the last publication that the snapshot waits for
  UnixSeconds committed_closed_until_ = -1;
  Counters counters_;
  std::vector<UnixMilliseconds> delivered_create_times_;
  std::vector<UnixMilliseconds> stored_create_times_;
  UnixMilliseconds oldest_unstored_ = 0;  // create_time of what the next snapshot takes; 0 where unknown
  UnixMilliseconds oldest_in_snapshot_ = 0;
  CandleBook::PairChanges changes_;  // reused
  KlinesEncoder encoder_;            // the same; empty between two messages
};

}  // namespace klined
