#include "process.hpp"

#include <algorithm>

#include "klined/stream/commit_protocol.hpp"
#include "klined/stream/connections.hpp"
#include "klined/stream/pipeline.hpp"

namespace klined::simulation {

namespace {

constexpr std::size_t kLoaders = 2;
constexpr std::size_t kScanPage = 3;  // small, so that there are several pages
constexpr UnixMilliseconds kBehind = 60'000;
constexpr Milliseconds kRecentlyDrained{2000};

}  // namespace

Process::Process(Surroundings& world, Config config, int number)
    : world_(world),
      config_(std::move(config)),
      number_(number),
      start_reader_(mysql_options(config_)),
      start_store_(mysql_options(config_), terms_),
      publisher_(world.faults, world.trace, world.random, world.readers),
      sequencer_(config_.input.dedupe_window.count()),
      decoder_(TradeRules{config_.chains, std::chrono::milliseconds(config_.input.max_future).count()}),
      batches_max_(world.random.between(1, 6)) {
  world_.trace.add("process {} starts with {} lanes", number_, config_.engine.lanes);
}

Process::~Process() { turns_.clear(); }

// ---- The beginning -------------------------------------------------------------------------------------------------

// True where the call worked; a passing fault is tried again, any other ends the process.
template <typename T>
bool Process::passes(const Result<T>& result) {
  if (result) return true;
  const ErrorKind kind = result.error().kind;
  if (kind == ErrorKind::kFatal || kind == ErrorKind::kFenced) failed(result.error());
  return false;
}

void Process::start_step() {
  switch (phase_) {
    case Phase::kLooking: return look();
    case Phase::kClaiming: return claim();
    case Phase::kPlacing: return place();
    case Phase::kActive: return;
  }
}

void Process::look() {
  const auto rows = start_reader_.offsets(config_.group);
  if (!passes(rows)) return;
  std::vector<LaneOffset> stored;
  for (const StoredLaneOffset& row : *rows) stored.push_back(row.offset);
  request_ = {};
  request_.group = config_.group;
  request_.lanes = config_.engine.lanes;
  request_.settings = settings_text(config_);
  partitions_.clear();
  for (const std::size_t log : world_.topics.existing()) {
    const TopicPartition name = world_.topics.name(log);
    PartitionStart start{name.topic, name.partition, 0};
    if (begin_of(name, stored, config_.input.start) == BeginAt::kLow) start.offset = world_.topics.range(log).low;
    request_.partitions.push_back(start);
    partitions_.push_back({log, LogId(), 0});
  }
  phase_ = Phase::kClaiming;
}

void Process::claim() {
  request_.owner = (world_.random.next() >> 2U) | 1U;
  claim_number_ = ++world_.claims;
  Result<Claim> claimed = start_store_.claim(request_);
  if (!passes(claimed)) {
    phase_ = Phase::kLooking;
    return;
  }
  claim_ = std::move(*claimed);
  world_.trace.add("process {} has claimed {} partitions", number_, partitions_.size());
  phase_ = Phase::kPlacing;
}

bool Process::owns_rows(const Database& database) const {
  const std::shared_ptr<const StoreClaim::Terms> terms = terms_->terms();
  if (!terms) return false;
  const auto is_ours = [owner = std::to_string(terms->owner)](const auto& row) { return row.second[4] == owner; };
  return std::ranges::all_of(database.table("stream_offset").rows, is_ours);
}

void Process::place() {
  for (Partition& partition : partitions_) {
    const Result<Placement> placement = place_reader(
        claim_, world_.topics.name(partition.log), world_.topics.range(partition.log), config_.input.allow_dedupe_gap);
    if (!passes(placement)) return;
    partition.id = placement->assignment.log;
    partition.position = placement->assignment.offset;
    sequencer_.assign(partition.id, partition.position, placement->clocks);
    world_.trace.add("process {} reads {} partition {} from {}, stored up to {}", number_,
                     placement->assignment.partition.topic, placement->assignment.partition.partition,
                     partition.position, placement->stored_offset);
  }
  start_lanes();
  phase_ = Phase::kActive;
}

void Process::start_lanes() {
  const auto new_store = [this] { return std::make_unique<MySqlCandleStore>(mysql_options(config_), terms_); };
  for (std::size_t i = 0; i < std::min(kLoaders, static_cast<std::size_t>(config_.engine.lanes)); ++i) {
    loaders_.push_back({new_store(), std::make_unique<CandleReader>(mysql_options(config_)), {}});
  }
  for (std::int32_t index = 0; index < config_.engine.lanes; ++index) {
    std::vector<LaneOffset> offsets;
    std::ranges::copy_if(claim_.offsets, std::back_inserter(offsets),
                         [index](const LaneOffset& row) { return row.lane == index; });
    auto parts = std::make_unique<LaneParts>();
    parts->store = new_store();
    LaneOptions options = lane_options(config_, claim_, index, false);
    options.candle_limit = static_cast<std::size_t>(config_.engine.memory_limit / config_.engine.lanes);
    auto lane = std::make_unique<Lane>(std::move(options), offsets, *this, &publisher_);
    parts->lane = lane.get();
    parts->runner = std::make_unique<LaneRunner>(
        [this](std::function<void()> turn) { turns_.push_back(std::move(turn)); }, std::move(lane));
    lanes_.push_back(std::move(parts));
  }
  idle_chains_.begin(config_.chains, world_.clock.now());
}

// ---- The input -----------------------------------------------------------------------------------------------------

void Process::read() {
  if (stopping_ || batches_ >= batches_max_) return;
  struct Buffers {
    std::deque<std::string> values;
  };
  auto buffers = std::make_shared<Buffers>();
  std::vector<Message> messages;
  for (Partition& partition : partitions_) {
    const OffsetRange range = world_.topics.range(partition.log);
    if (partition.position < range.low) {
      failed({ErrorKind::kFatal, "the log was trimmed before it was read"});
      return;
    }
    for (int n = world_.random.below(5); n > 0 && partition.position < range.high; --n) {
      const SentMessage& sent = world_.topics.log(partition.log).messages[static_cast<std::size_t>(partition.position)];
      // A copy, that goes when the batch goes, as the client's buffers do.
      messages.push_back(
          {partition.id, partition.position, sent.timestamp_ms, buffers->values.emplace_back(sent.value)});
      last_record_ms_ = std::max(last_record_ms_, sent.timestamp_ms);
      ++partition.position;
    }
  }
  if (!messages.empty()) ingest(messages, std::move(buffers));
  const Instant now = world_.clock.now();
  const bool at_end = std::ranges::all_of(partitions_, [this](const Partition& partition) {
    return partition.position == world_.topics.range(partition.log).high;
  });
  if (!at_end) return;
  drained_at_ = now;
  idle_chains_.drained(now);
}

void Process::ingest(const std::vector<Message>& messages, std::shared_ptr<const void> buffers) {
  auto batch = std::make_shared<DecodedBatch>();
  batch->buffers = std::move(buffers);
  for (const Message& message : messages) {
    DecodedBatch::Part& part = batch->parts.emplace_back();
    part.message = message;
    decode_part(decoder_, config_.engine.lanes, part);
  }
  group_parts(config_.engine.lanes, *batch);
  sequencer_.sequence(*batch);
  for (const DecodedBatch::Part& part : batch->parts) {
    for (const ChainClock& clock : part.largest) idle_chains_.saw(clock.chain, world_.clock.now());
  }
  ++batches_;
  batch->accounting = std::shared_ptr<const void>(nullptr, [this](const void*) { --batches_; });
  world_.trace.add("process {} reads {} messages", number_, messages.size());
  for (const auto& parts : lanes_) parts->runner->post_batch(batch);
}

// ---- The schedule's steps ------------------------------------------------------------------------------------------

bool Process::turn() {
  if (turns_.empty()) return false;
  std::swap(world_.random.pick(turns_), turns_.back());
  const std::function<void()> turn = std::move(turns_.back());
  turns_.pop_back();
  turn();
  return true;
}

bool Process::io() {
  std::vector<std::deque<Task>*> queues;
  for (const auto& parts : lanes_) {
    if (!parts->writer.empty()) queues.push_back(&parts->writer);
  }
  for (Loader& loader : loaders_) {
    if (!loader.tasks.empty()) queues.push_back(&loader.tasks);
  }
  if (queues.empty()) return false;
  std::deque<Task>& queue = *world_.random.pick(queues);
  if (queue.front()()) queue.pop_front();
  return true;
}

bool Process::settle() {
  std::vector<DeliveryReport> reports = publisher_.settle();
  if (reports.empty()) return false;
  for (DeliveryReport& report : reports) {
    // std::function wants copies; the report is moved out once.
    auto shared = std::make_shared<DeliveryReport>(std::move(report));
    lane(Outbox::lane_of_ticket(shared->ticket)).runner->post([shared](Lane& target) {
      std::vector<DeliveryReport> one;
      one.push_back(std::move(*shared));
      target.reported(std::move(one));
    });
  }
  return true;
}

void Process::tick() {
  const Instant now = world_.clock.now();
  const bool is_behind = last_record_ms_ > 0 && world_.clock.wall_ms() - last_record_ms_ > kBehind;
  Lane::Tick tick{now, world_.clock.wall_seconds(), idle_chains_.idle(), batches_ == 0,
                  is_behind && now - drained_at_ > kRecentlyDrained};
  for (const auto& parts : lanes_) {
    parts->runner->post([this, tick, target = parts.get()](Lane& lane) {
      if (stopping_) lane.drain();
      lane.tick(tick);
      target->drained = lane.drained();
    });
  }
}

// As Pipeline::drain(): only a look at the lanes after the last batch was applied counts.
bool Process::is_stopped() {
  if (!stopping_ || !is_active() || batches_ > 0) return false;
  if (!applied_all_) {
    for (const auto& parts : lanes_) parts->drained = false;
    applied_all_ = true;
    return false;
  }
  return std::ranges::all_of(lanes_, [](const auto& parts) { return parts->drained; });
}

// ---- Looking at it -------------------------------------------------------------------------------------------------

bool Process::is_idle() const {
  if (!is_active() || error_ || batches_ > 0 || !publisher_.is_idle()) return false;
  for (const Partition& partition : partitions_) {
    if (partition.position != world_.topics.range(partition.log).high) return false;
  }
  return std::ranges::all_of(lanes_,
                             [](const auto& parts) {
                               return parts->writer.empty() && parts->lane->drained() && !parts->lane->is_closing();
                             }) &&
         std::ranges::all_of(loaders_, [](const Loader& loader) { return loader.tasks.empty(); });
}

Ledger Process::ledger() const {
  Ledger sum;
  for (const auto& parts : lanes_) sum += parts->lane->counters().ledger;
  return sum;
}

std::int64_t Process::stored_offset(std::size_t log, std::int32_t lane) const {
  const TopicPartition name = world_.topics.name(log);
  for (const LaneOffset& row : claim_.offsets) {
    if (row.topic == name.topic && row.partition == name.partition && row.lane == lane) return row.next_offset;
  }
  return 0;
}

std::int64_t Process::position(std::size_t log) const {
  const auto at = std::ranges::find(partitions_, log, &Partition::log);
  return at == partitions_.end() ? 0 : at->position;
}

bool Process::has_read_what_is_stored() const {
  return std::ranges::all_of(partitions_, [this](const Partition& partition) {
    for (std::int32_t lane = 0; lane < config_.engine.lanes; ++lane) {
      if (partition.position < stored_offset(partition.log, lane)) return false;
    }
    return true;
  });
}

std::size_t Process::candles_in_memory() const {
  std::size_t sum = 0;
  for (const auto& parts : lanes_) sum += parts->lane->book().candle_count();
  return sum;
}

std::size_t Process::pairs_in_memory() const {
  std::size_t sum = 0;
  for (const auto& parts : lanes_) sum += parts->lane->book().pair_count();
  return sum;
}

// ---- LaneHost: as in Pipeline, an attempt a step -------------------------------------------------------------------

void Process::load(std::int32_t index, std::vector<CandleKey> keys) {
  world_.trace.add("process {} lane {} wants {} rows", number_, index, keys.size());
  Loader& loader = loader_of(index);
  loader.tasks.emplace_back([this, index, &loader, keys = std::move(keys)] {
    auto rows = loader.store->load(keys);
    if (!passes(rows)) return error_.has_value();
    world_.trace.add("process {} lane {} has loaded {} of {} rows", number_, index, rows->size(), keys.size());
    lane(index).runner->post([keys, rows = std::move(*rows)](Lane& target) { target.rows_loaded(keys, rows); });
    return true;
  });
}

void Process::load_histories(std::int32_t index, std::vector<PairName> names, UnixSeconds clock) {
  Loader& loader = loader_of(index);
  loader.tasks.emplace_back([this, index, &loader, names = std::move(names), clock] {
    const auto read = [&](Interval interval, UnixSeconds reach) -> Result<LastCloses> {
      if (std::ranges::find(config_.intervals, interval) == config_.intervals.end()) return LastCloses(names.size());
      return loader.reader->last_closes(interval, names, clock - reach);
    };
    const Result<LastCloses> of_1m = read(Interval::k1m, 3600 + 60);
    if (!passes(of_1m)) return error_.has_value();
    const Result<LastCloses> of_15m = read(Interval::k15m, 86400 + 900);
    if (!passes(of_15m)) return error_.has_value();
    lane(index).runner->post([names, short_closes = *of_1m, long_closes = *of_15m](Lane& target) {
      for (std::size_t i = 0; i < names.size(); ++i) target.history_loaded(names[i], short_closes[i], long_closes[i]);
    });
    return true;
  });
}

void Process::scan_bucket(std::int32_t index, const BucketScan& scan) {
  Loader& loader = loader_of(index);
  loader.tasks.emplace_back([this, index, &loader, scan] {
    auto rows = loader.reader->bucket_rows(scan.interval, scan.bucket, scan.after, kScanPage);
    if (!passes(rows)) return error_.has_value();
    std::optional<PairName> last;
    if (rows->size() == kScanPage) last = PairName{rows->back().key.chain, rows->back().key.pair};
    std::erase_if(*rows, [this, index](const CandleRow& row) {
      return lane_of_pair(hash_of_pair(row.key.chain, row.key.pair), config_.engine.lanes) != index;
    });
    lane(index).runner->post(
        [scan, rows = std::move(*rows), last](Lane& target) { target.bucket_scanned(scan, rows, last); });
    return true;
  });
}

void Process::commit(std::int32_t index, std::shared_ptr<const LaneCommit> commit) {
  LaneParts& parts = lane(index);
  auto protocol = std::make_shared<CommitProtocol>(*parts.store, *commit);
  parts.writer.emplace_back([this, index, &parts, commit = std::move(commit), protocol] {
    switch (protocol->step()) {
      case CommitProtocol::Next::kDone:
        world_.trace.add("process {} lane {} has committed {} rows", number_, index, commit->rows.size());
        parts.runner->post([](Lane& target) { target.committed(); });
        return true;
      case CommitProtocol::Next::kFailed: failed(protocol->error()); return true;
      default: return false;
    }
  });
}

void Process::cache(std::vector<CacheUpdate>) {}

void Process::failed(const Error& error) {
  if (!error_) {
    world_.trace.add("process {} fails: {}", number_, error.message);
    error_ = error;
  }
}

}  // namespace klined::simulation
