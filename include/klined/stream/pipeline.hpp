// The machine of one session: from records of the input to the lanes, and the threads that carry the lanes' requests
// out.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include <tbb/enumerable_thread_specific.h>
#include <tbb/global_control.h>
#include <tbb/task_arena.h>
#include <tbb/task_scheduler_observer.h>

#include "klined/base/metrics.hpp"
#include "klined/base/outage.hpp"
#include "klined/cache/redis_cache.hpp"
#include "klined/source/kafka_source.hpp"
#include "klined/store/candle_reader.hpp"
#include "klined/stream/close_clocks.hpp"
#include "klined/stream/config.hpp"
#include "klined/stream/idle_chains.hpp"
#include "klined/stream/lane_runner.hpp"
#include "klined/stream/memory_plan.hpp"
#include "klined/stream/sequencer.hpp"
#include "klined/stream/worker_thread.hpp"

namespace klined {

// What the config and the claim say about one lane.
LaneOptions lane_options(const Config& config, const Claim& claim, std::int32_t lane, bool caches);

// What a pipeline is built over. Everything outlives it.
struct PipelineParts {
  const Config& config;
  const Clock& clock;
  Metrics& metrics;
  Outage& mysql_outage;
  // A connection for commits or loads, owned by this claim.
  std::function<std::unique_ptr<CandleStore>()> open_store;
  std::function<std::unique_ptr<CandleReader>()> open_reader;
  CloseClocks& close_clocks;    // of as many lanes
  RedisCache* cache = nullptr;  // none: nothing is cached
  bool writes_letters = true;
  // By partition, where each lane ends (see LaneOptions::ends); a partition that is not in it has no end.
  std::map<TopicPartition, std::vector<std::int64_t>> ends{};
};

// Threads: the caller's (ingest, and its share of the decoding), the TBB pool (decoding, lanes), one a worker
// for commits, a few for loads, and the ticker. Lanes are touched only on their own turns (LaneRunner).
//
// How it fails: a fatal error of any part is kept in failure(); everything stops moving, and the stored state is whole.
class Pipeline final : public LaneHost {
 public:
  Pipeline(PipelineParts parts, const Claim& claim);
  ~Pipeline() override;
  // Stops all threads and lanes at once: what is not committed is forgotten, and comes again from the input. After it
  // the publisher may go.
  void halt();

  // Before the first ingest(): where dead letters and candles go. Its reports come to reported().
  void start(Publisher& publisher);
  void reported(DeliveryReport&& report);

  // ---- the input's thread ----
  void assign(LogId log, std::int64_t offset, ChainClocks clocks, const std::vector<SourceWindow>& windows);
  // The partition ends at `offset`, behind marks that are no records: as far as that it is read.
  void note_end(LogId log, std::int64_t offset);
  // Decodes, sequences, and hands the batch to all lanes. Does not wait for them.
  void ingest(MessageBatch batch);
  // False while as much input is on its way as memory_limit allows; wait_for_room() waits until it is less.
  bool has_room() const { return inflight_bytes_.load(std::memory_order_relaxed) < memory_.inflight; }
  void wait_for_room(Milliseconds timeout);
  // All partitions were read to their ends; the wall clock may close what is idle since before.
  void note_drained();
  void set_catching_up(bool catching_up) { catching_up_.store(catching_up, std::memory_order_relaxed); }
  // The largest clock of the partition; nothing before its first trade.
  std::optional<UnixSeconds> block_time_of(LogId log) const { return sequencer_.block_time_of(log); }

  // Commits everything that was ingested. False where the time was not enough or something failed.
  bool drain(Milliseconds timeout);

  // ---- any thread ----
  std::optional<Error> failure() const;
  struct Totals {
    Ledger ledger;
    std::int64_t candles_published = 0;
    std::int64_t rows_written = 0;
    std::int64_t dead_letters = 0;
    std::int64_t commits = 0;
    std::int64_t candle_bytes = 0;  // memory of the candles
    std::int64_t dedupe_bytes = 0;
    std::int64_t inflight_bytes = 0;
    std::vector<std::int64_t> queued_batches;  // by lane
    std::int64_t pairs = 0;
    std::int64_t candles = 0;
    std::int64_t partial = 0;
    double delay_seconds = 0;  // create_time to acknowledged candle: mean since the last call of totals()
  };
  Totals totals();
  // By partition, the smallest offset that all lanes have committed.
  std::map<TopicPartition, std::int64_t> committed_offsets() const;

  // ---- LaneHost ----
  void load(std::int32_t lane, std::vector<CandleKey> keys) override;
  void load_histories(std::int32_t lane, std::vector<PairName> names, UnixSeconds clock) override;
  void commit(std::int32_t lane, std::shared_ptr<const LaneCommit> commit) override;
  void cache(std::vector<CacheUpdate> updates) override;
  void scan_bucket(std::int32_t lane, const BucketScan& scan) override;
  void failed(const Error& error) override;

 private:
  struct LaneParts {  // what belongs to one lane; built in start()
    std::size_t index = 0;
    std::unique_ptr<LaneRunner> runner;
    std::atomic<Instant> asked_store_at{Instant{}};  // when its commit began to wait for an answer; else Instant{}
    std::mutex inbox_mutex;
    std::vector<DeliveryReport> inbox;  // reports that wait for the lane's turn
    // Copied out on the lane's turn, for metrics.
    mutable std::mutex view_mutex;
    Lane::Counters counters;
    std::int64_t candle_bytes = 0, dedupe_bytes = 0, pairs = 0, candles = 0, partial = 0;
    bool drained = false;
    std::string waits_for;  // while it drains
    std::map<TopicPartition, std::int64_t> committed;
  };
  // A connection for commits. Lanes share as many as there are workers: more commits at once wait for one another
  // inside the server, which costs it up to twice the CPU time.
  struct Writer {
    std::unique_ptr<CandleStore> store;
    std::unique_ptr<WorkerThread> thread;
  };
  struct Loader {  // a connection for loads; lanes share a few
    std::unique_ptr<CandleStore> store;
    std::unique_ptr<CandleReader> reader;
    std::unique_ptr<WorkerThread> thread;
  };

  LaneParts& lane(std::int32_t index) { return *lanes_[static_cast<std::size_t>(index)]; }
  Writer& writer_of(std::int32_t index) { return writers_[static_cast<std::size_t>(index) % writers_.size()]; }
  Loader& loader_of(std::int32_t index) { return loaders_[static_cast<std::size_t>(index) % loaders_.size()]; }
  // Calls until it works, stop is requested, or the error does not pass; the fault is logged once.
  template <typename Call>
  auto persist(const std::stop_token& stop, Call call) -> std::optional<typename decltype(call())::value_type>;
  // `asked`: when the lane wanted it.
  void run_commit(std::int32_t lane, const std::shared_ptr<const LaneCommit>& commit, Instant asked,
                  const std::stop_token& stop);
  void warn_of_note(const Message& message);
  void log_undrained();
  void tick_lanes();
  void check_dedupe_memory(std::size_t bytes);
  void view_lane(LaneParts& parts, Lane& lane);

  PipelineParts parts_;
  Claim claim_;
  MemoryPlan memory_;
  std::int32_t lane_count_;

  // Names the pool's threads, which else are called like the thread that happened to start them.
  class WorkerNames final : public tbb::task_scheduler_observer {
   public:
    explicit WorkerNames(tbb::task_arena& arena) : tbb::task_scheduler_observer(arena) { observe(true); }
    ~WorkerNames() override { observe(false); }
    void on_scheduler_entry(bool is_worker) override;
  };

  tbb::global_control parallelism_;
  tbb::task_arena arena_;
  WorkerNames names_;
  tbb::enumerable_thread_specific<TradeDecoder> decoders_;
  Sequencer sequencer_;
  std::set<std::uint32_t> warned_of_notes_;  // ranks of topics
  std::vector<std::unique_ptr<LaneParts>> lanes_;
  std::vector<Writer> writers_;
  std::vector<Loader> loaders_;

  std::atomic<std::size_t> inflight_bytes_{0};
  std::mutex room_mutex_;
  std::condition_variable room_;

  mutable std::mutex idle_mutex_;
  IdleChains idle_chains_;

  std::atomic<bool> catching_up_{false};
  std::atomic<bool> draining_{false};
  mutable std::mutex failure_mutex_;
  std::optional<Error> failure_;
  std::mutex delay_mutex_;
  double delay_sum_ = 0;
  std::int64_t delay_count_ = 0;
  Instant last_tick_{};  // the ticker's
  std::jthread ticker_;
};

}  // namespace klined
