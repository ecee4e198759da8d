// One process from its claim to its end: what Job and Pipeline do, with the schedule in place of their threads.
//
// The program's own: placement, claims, stores and readers (down to the client library's calls), decoder, sequencer,
// lane runners, lanes, outbox, commit protocol, idle chains. In place of Pipeline's threads: turns, a queue for each
// lane's commits and for each loader, and a step at a time of whichever the schedule picks.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "klined/store/candle_reader.hpp"
#include "klined/store/mysql_candle_store.hpp"
#include "klined/stream/idle_chains.hpp"
#include "klined/stream/lane_runner.hpp"
#include "klined/stream/placement.hpp"
#include "klined/stream/sequencer.hpp"
#include "surroundings.hpp"

namespace klined::simulation {

class Process final : public LaneHost {
 public:
  Process(Surroundings& world, Config config, int number);
  ~Process() override;
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  int number() const { return number_; }
  const Config& config() const { return config_; }
  bool is_active() const { return phase_ == Phase::kActive; }
  // The claim that it holds, as a number of Surroundings::claims.
  int claim_number() const { return claim_number_; }
  const std::optional<Error>& error() const { return error_; }

  // ---- what the schedule picks from ----
  void start_step();
  void read();
  bool turn();
  bool io();
  bool settle();
  void tick();

  // ---- a graceful end ----
  void begin_stop() { stopping_ = true; }
  bool is_stopping() const { return stopping_; }
  bool is_stopped();
  // Everything on its way is gone.
  std::vector<Publication> abandon() { return publisher_.abandon(); }

  // ---- looking at it ----
  // All is read, applied, published and stored.
  bool is_idle() const;
  Ledger ledger() const;
  // From the claim: where each lane began to count, by log.
  std::int64_t stored_offset(std::size_t log, std::int32_t lane) const;
  std::int64_t position(std::size_t log) const;
  // True where nobody has claimed the offsets' rows since this process did.
  bool owns_rows(const Database& database) const;
  // It has passed what the lane that was furthest had stored before: only then a stop leaves all lanes at one offset.
  bool has_read_what_is_stored() const;
  // How many it has claimed, or is about to.
  std::size_t partition_count() const { return partitions_.size(); }
  std::size_t candles_in_memory() const;
  std::size_t pairs_in_memory() const;
  bool holds_no_batch() const { return batches_ == 0; }

  // ---- LaneHost ----
  void load(std::int32_t lane, std::vector<CandleKey> keys) override;
  void load_histories(std::int32_t lane, std::vector<PairName> names, UnixSeconds clock) override;
  void commit(std::int32_t lane, std::shared_ptr<const LaneCommit> commit) override;
  void cache(std::vector<CacheUpdate> updates) override;
  void scan_bucket(std::int32_t lane, const BucketScan& scan) override;
  void failed(const Error& error) override;

 private:
  enum class Phase { kLooking, kClaiming, kPlacing, kActive };
  using Task = std::function<bool()>;  // one attempt; true where it is done
  struct LaneParts {
    Lane* lane = nullptr;  // the runner's
    std::unique_ptr<LaneRunner> runner;
    std::unique_ptr<CandleStore> store;
    std::deque<Task> writer;
    bool drained = false;  // as of its last tick
  };
  struct Loader {
    std::unique_ptr<CandleStore> store;
    std::unique_ptr<CandleReader> reader;
    std::deque<Task> tasks;
  };
  struct Partition {
    std::size_t log = 0;
    LogId id;
    std::int64_t position = 0;
  };

  void look();
  void claim();
  void place();
  void start_lanes();
  void ingest(const std::vector<Message>& messages, std::shared_ptr<const void> buffers);
  template <typename T>
  bool passes(const Result<T>& result);
  LaneParts& lane(std::int32_t index) { return *lanes_[static_cast<std::size_t>(index)]; }
  Loader& loader_of(std::int32_t index) { return loaders_[static_cast<std::size_t>(index) % loaders_.size()]; }

  Surroundings& world_;
  const Config config_;
  const int number_;
  Phase phase_ = Phase::kLooking;
  std::shared_ptr<StoreClaim> terms_ = std::make_shared<StoreClaim>();
  CandleReader start_reader_;
  MySqlCandleStore start_store_;
  ClaimRequest request_;
  Claim claim_;
  int claim_number_ = 0;
  std::optional<Error> error_;

  int batches_ = 0;  // on their way through the lanes; outlives them
  SimPublisher publisher_;
  Sequencer sequencer_;
  TradeDecoder decoder_;
  IdleChains idle_chains_;
  std::vector<Partition> partitions_;
  std::vector<Loader> loaders_;
  std::vector<std::function<void()>> turns_;
  std::vector<std::unique_ptr<LaneParts>> lanes_;
  int batches_max_ = 1;
  UnixMilliseconds last_record_ms_ = 0;
  Instant drained_at_{};
  bool stopping_ = false;
  bool applied_all_ = false;
};

}  // namespace klined::simulation
