#include "klined/stream/pipeline.hpp"

#include <algorithm>

#include <pthread.h>
#include <spdlog/spdlog.h>
#include <tbb/parallel_for.h>

#include "klined/base/backoff.hpp"
#include "klined/stream/commit_protocol.hpp"
#include "klined/stream/dead_letters.hpp"

namespace klined {

namespace {

constexpr Milliseconds kTick{20};
constexpr Milliseconds kSilence{10'000};    // then people are told that MySQL does not answer
constexpr Milliseconds kStoodStill{2'000};  // between two ticks
constexpr std::size_t kLoaders = 2;
constexpr std::size_t kWritersMin = 2;
constexpr std::size_t kScanPage = 1000;
constexpr std::size_t kCommitRowBytes = sizeof(CandleRow) + 64;  // with the pair's name
constexpr std::size_t kRowsAMillisecond = 5;                     // what a slow MySQL takes
constexpr std::string_view kMySqlMeanwhile = "the input waits, and it is tried again until it answers";

std::size_t workers_of(const Config& config) {
  if (config.engine.workers > 0) return static_cast<std::size_t>(config.engine.workers);
  return std::max(1U, std::thread::hardware_concurrency());
}

TradeRules trade_rules(const Config& config) {
  return {config.chains, std::chrono::milliseconds(config.input.max_future).count()};
}

}  // namespace

LaneOptions lane_options(const Config& config, const Claim& claim, std::int32_t lane, bool caches) {
  const auto lanes = config.engine.lanes;
  const auto share = [lanes](std::int64_t rows) {
    return static_cast<std::size_t>(std::max<std::int64_t>(1, rows / lanes));
  };
  LaneOptions options;
  options.lane = lane;
  options.lanes = lanes;
  options.intervals = config.intervals;
  options.chains = config.chains;
  options.rules = trade_rules(config);
  options.topics = claim.topics;
  options.tables = claim.tables;
  options.pair_has_one_partition = is_shared(config);
  options.dedupe_window = config.input.dedupe_window.count();
  options.max_lateness = config.input.max_lateness.count();
  options.close_grace = config.engine.close_grace.count();
  options.env = config.env;
  options.dead_letter_suffix = config.input.dead_letter_suffix;
  options.caches = caches;
  options.publish_interval = config.output.publish_interval;
  options.flush = {config.mysql.flush_interval, share(config.mysql.flush_rows)};
  options.candle_limit = memory_plan(config.engine.memory_limit).lanes / static_cast<std::size_t>(lanes);
  // Of each lane's commit: the fewest rows are written where many trades come between two commits. It holds copies of
  // them, for which there is not always room.
  options.catch_up_flush = {
      config.mysql.catch_up_flush_interval,
      std::clamp(options.candle_limit / 8 / kCommitRowBytes, options.flush.rows,
                 std::max(options.flush.rows, static_cast<std::size_t>(config.mysql.catch_up_flush_rows)))};
  return options;
}

Pipeline::Pipeline(PipelineParts parts, const Claim& claim)
    : parts_(std::move(parts)),
      claim_(claim),
      memory_(memory_plan(parts_.config.engine.memory_limit)),
      lane_count_(parts_.config.engine.lanes),
      // One beside the workers for the input's thread, which takes part in the decoding.
      parallelism_(tbb::global_control::max_allowed_parallelism, workers_of(parts_.config) + 1),
      arena_(static_cast<int>(workers_of(parts_.config)) + 1, 1),
      names_(arena_),
      decoders_([rules = trade_rules(parts_.config)] { return TradeDecoder(rules); }),
      sequencer_(parts_.config.input.dedupe_window.count()) {}

Pipeline::~Pipeline() { halt(); }

void Pipeline::WorkerNames::on_scheduler_entry(bool is_worker) {
  if (is_worker) pthread_setname_np(pthread_self(), "worker");
}

void Pipeline::halt() {
  ticker_.request_stop();
  if (ticker_.joinable()) ticker_.join();
  // First the lanes, which ask the threads for things; then the threads, whose answers nobody hears any more.
  for (const auto& parts : lanes_) parts->runner->stop();
  writers_.clear();
  loaders_.clear();
}

void Pipeline::start(Publisher& publisher) {
  const std::size_t at_once = std::max(kWritersMin, workers_of(parts_.config));
  for (std::size_t i = 0; i < std::min(at_once, static_cast<std::size_t>(lane_count_)); ++i) {
    writers_.push_back({parts_.open_store(), std::make_unique<WorkerThread>(fmt::format("write-{}", i))});
  }
  for (std::size_t i = 0; i < std::min(kLoaders, static_cast<std::size_t>(lane_count_)); ++i) {
    loaders_.push_back(
        {parts_.open_store(), parts_.open_reader(), std::make_unique<WorkerThread>(fmt::format("load-{}", i))});
  }
  for (std::int32_t index = 0; index < lane_count_; ++index) {
    std::vector<LaneOffset> offsets;
    std::ranges::copy_if(claim_.offsets, std::back_inserter(offsets),
                         [index](const LaneOffset& row) { return row.lane == index; });
    auto parts = std::make_unique<LaneParts>();
    parts->index = static_cast<std::size_t>(index);
    for (const LaneOffset& row : offsets) parts->committed[{row.topic, row.partition}] = row.next_offset;
    LaneOptions options = lane_options(parts_.config, claim_, index, parts_.cache != nullptr);
    options.writes_letters = parts_.writes_letters;
    for (const auto& [partition, of_lanes] : parts_.ends) {
      options.ends[{partition.topic, partition.partition}] = of_lanes.at(static_cast<std::size_t>(index));
    }
    parts->runner =
        std::make_unique<LaneRunner>([this](std::function<void()> turn) { arena_.enqueue(std::move(turn)); },
                                     std::make_unique<Lane>(std::move(options), offsets, *this, &publisher));
    lanes_.push_back(std::move(parts));
  }
  {
    const std::lock_guard lock(idle_mutex_);
    idle_chains_.begin(parts_.config.chains, parts_.clock.now());
  }
  ticker_ = std::jthread([this](const std::stop_token& stop) {
    pthread_setname_np(pthread_self(), "ticker");
    while (WorkerThread::sleep(stop, kTick)) tick_lanes();
  });
}

// ---- the input's thread --------------------------------------------------------------------------------------------

void Pipeline::assign(LogId log, std::int64_t offset, ChainClocks clocks, const std::vector<SourceWindow>& windows) {
  sequencer_.assign(log, offset, std::move(clocks), windows);
}

void Pipeline::note_end(LogId log, std::int64_t offset) {
  if (!sequencer_.skip_to(log, offset)) return;
  auto batch = std::make_shared<DecodedBatch>();
  batch->places.emplace_back(log, sequencer_.place_of(log));
  batch->chain_clocks = sequencer_.chain_clocks();
  for (const auto& parts : lanes_) parts->runner->post_batch(batch);
}

void Pipeline::ingest(MessageBatch input) {
  auto batch = std::make_shared<DecodedBatch>();
  batch->parts.resize(input.messages.size());
  batch->buffers = input.buffers;
  for (std::size_t i = 0; i < input.messages.size(); ++i) batch->parts[i].message = input.messages[i];
  arena_.execute([this, &batch] {
    tbb::parallel_for(tbb::blocked_range<std::size_t>(0, batch->parts.size()), [this, &batch](const auto& range) {
      TradeDecoder& decoder = decoders_.local();
      for (std::size_t i = range.begin(); i != range.end(); ++i) decode_part(decoder, lane_count_, batch->parts[i]);
    });
  });
  for (const DecodedBatch::Part& part : batch->parts) {
    if (part.decoded.has_foreign_note) [[unlikely]]
      warn_of_note(part.message);
    if (!part.decoded.contradicts_origin) continue;
    const std::string& topic = claim_.topics.at(part.message.log.topic_rank());
    failed(
        {ErrorKind::kFatal, fmt::format("{}[{}] offset {}: klined-indexes does not number the elements of the record: "
                                        "what wrote it is broken; write the topic anew",
                                        topic, part.message.log.partition(), part.message.offset)});
    return;
  }
  group_parts(lane_count_, *batch);
  sequencer_.sequence(*batch);
  // The client's records lie in the buffers into which they were unpacked, which are larger.
  batch->bytes = input.bytes + input.bytes / 2;
  {
    const std::lock_guard lock(idle_mutex_);
    const Instant now = parts_.clock.now();
    for (const DecodedBatch::Part& part : batch->parts) {
      batch->bytes += sizeof(part) + part.decoded.trades.capacity() * (sizeof(Trade) + sizeof(std::uint32_t));
      batch->bytes += part.decoded.bad.capacity() * sizeof(BadTrade);
      if (part.message.origin != nullptr) batch->bytes += part.message.origin->bytes();
      for (const ChainClock& clock : part.largest) idle_chains_.saw(clock.chain, now);
    }
  }
  parts_.metrics.messages.Increment(static_cast<double>(input.messages.size()));
  parts_.metrics.input_bytes.Increment(static_cast<double>(input.bytes));
  inflight_bytes_.fetch_add(batch->bytes);
  batch->accounting = std::shared_ptr<const void>(nullptr, [this, bytes = batch->bytes](const void*) {
    inflight_bytes_.fetch_sub(bytes);
    room_.notify_one();
  });
  for (const auto& parts : lanes_) parts->runner->post_batch(batch);
}

// Warns once a topic.
void Pipeline::warn_of_note(const Message& message) {
  parts_.metrics.foreign_notes.Increment();
  const LogId log = message.origin != nullptr ? message.origin->log : message.log;
  const std::int64_t offset = message.origin != nullptr ? message.origin->offset : message.offset;
  if (!warned_of_notes_.insert(log.topic_rank()).second) return;
  spdlog::warn("{}", foreign_note_text(claim_.topics.at(log.topic_rank()), log.partition(), offset));
}

void Pipeline::wait_for_room(Milliseconds timeout) {
  std::unique_lock lock(room_mutex_);
  room_.wait_for(lock, timeout, [this] { return has_room(); });
}

void Pipeline::note_drained() {
  const std::lock_guard lock(idle_mutex_);
  idle_chains_.drained(parts_.clock.now());
}

bool Pipeline::drain(Milliseconds timeout) {
  draining_.store(true);
  const Instant deadline = parts_.clock.now() + timeout;
  const auto lane_is_done = [](const auto& parts) {
    const std::lock_guard lock(parts->view_mutex);
    return parts->drained;
  };
  bool applied = false;
  while (!failure()) {
    if (!applied && inflight_bytes_.load() == 0) {
      // Only a look at the lanes after the last batch was applied counts.
      for (const auto& parts : lanes_) {
        const std::lock_guard lock(parts->view_mutex);
        parts->drained = false;
      }
      applied = true;
    } else if (applied && std::ranges::all_of(lanes_, lane_is_done)) {
      return true;
    }
    if (parts_.clock.now() >= deadline) {
      log_undrained();
      return false;
    }
    std::this_thread::sleep_for(Milliseconds(10));
  }
  return false;
}

void Pipeline::log_undrained() {
  if (const std::size_t bytes = inflight_bytes_.load(); bytes > 0) {
    spdlog::warn("still there: {} bytes of input that not all lanes have taken in", bytes);
  }
  for (std::size_t index = 0; index < lanes_.size(); ++index) {
    const LaneParts& parts = *lanes_[index];
    const std::lock_guard lock(parts.view_mutex);
    if (!parts.drained) spdlog::warn("still there: lane {} waits for {}", index, parts.waits_for);
  }
}

// ---- time ----------------------------------------------------------------------------------------------------------

void Pipeline::tick_lanes() {
  Lane::Tick tick{
      parts_.clock.now(), parts_.clock.wall_seconds(), {}, false, catching_up_.load(std::memory_order_relaxed), 0};
  {
    const std::lock_guard lock(idle_mutex_);
    tick.idle_chains = idle_chains_.idle();
  }
  // Then it was not MySQL that was silent, but this process (SIGSTOP, a paused machine).
  const bool stood_still = last_tick_ != Instant{} && tick.now - last_tick_ > kStoodStill;
  last_tick_ = tick.now;
  std::size_t dedupe_bytes = 0;
  for (const auto& parts : lanes_) {
    const std::lock_guard lock(parts->view_mutex);
    dedupe_bytes += static_cast<std::size_t>(parts->dedupe_bytes);
  }
  check_dedupe_memory(dedupe_bytes);
  tick.candle_limit = (memory_.lanes - std::min(dedupe_bytes, memory_.dedupe_max)) / lanes_.size();
  for (const auto& parts : lanes_) {
    tick.queue_empty = inflight_bytes_.load() == 0;
    Instant asked = parts->asked_store_at;
    if (asked != Instant{} && stood_still) {
      parts->asked_store_at.compare_exchange_strong(asked, tick.now);
    } else if (asked != Instant{} && tick.now - asked > kSilence && !parts_.mysql_outage.is_broken()) {
      parts_.mysql_outage.broke(fmt::format("no answer to a commit for {} s", kSilence.count() / 1000),
                                kMySqlMeanwhile);
    }
    parts->runner->post([this, tick, target = parts.get()](Lane& lane) {
      if (draining_.load(std::memory_order_relaxed)) lane.drain();
      lane.tick(tick);
      view_lane(*target, lane);
    });
  }
}

// It can't be let go of without a wrong candle.
void Pipeline::check_dedupe_memory(std::size_t bytes) {
  if (bytes <= memory_.dedupe_max || failure()) return;
  failed({ErrorKind::kFatal,
          fmt::format("the trades of the last {} s, kept to tell duplicates, need more memory ({} MiB) than "
                      "engine.memory_limit of {} MiB has for them: raise it (twice as much allows {} MiB); what is "
                      "stored is right, and the next start goes on from there",
                      parts_.config.input.dedupe_window.count(), bytes >> 20U, parts_.config.engine.memory_limit >> 20U,
                      memory_plan(2 * parts_.config.engine.memory_limit).dedupe_max >> 20U)});
}

// On the lane's turn: what others may look at, and what became of its metrics.
void Pipeline::view_lane(LaneParts& parts, Lane& lane) {
  const double now = static_cast<double>(parts_.clock.wall_ms());
  const std::vector<UnixMilliseconds> delivered = lane.take_delivered_create_times();
  double sum = 0;
  for (const UnixMilliseconds created : delivered) {
    const double delay = std::max(0.0, now - static_cast<double>(created)) / 1000.0;
    parts_.metrics.end_to_end_delay.Observe(delay);
    sum += delay;
  }
  if (!delivered.empty()) {
    const std::lock_guard lock(delay_mutex_);
    delay_sum_ += sum;
    delay_count_ += static_cast<std::int64_t>(delivered.size());
  }
  for (const UnixMilliseconds created : lane.take_stored_create_times()) {
    parts_.metrics.store_delay.Observe(std::max(0.0, now - static_cast<double>(created)) / 1000.0);
  }
  parts_.close_clocks.set(parts.index, lane.close_clocks());
  const std::lock_guard lock(parts.view_mutex);
  parts.counters = lane.counters();
  parts.candle_bytes = static_cast<std::int64_t>(lane.book().bytes());
  parts.dedupe_bytes = static_cast<std::int64_t>(lane.dedupe_bytes());
  parts.pairs = static_cast<std::int64_t>(lane.book().pair_count());
  parts.candles = static_cast<std::int64_t>(lane.book().candle_count());
  parts.partial = static_cast<std::int64_t>(lane.book().partial_count());
  parts.drained = lane.drained();
  if (draining_.load(std::memory_order_relaxed) && !parts.drained) parts.waits_for = lane.waits_for();
}

// ---- LaneHost ------------------------------------------------------------------------------------------------------

template <typename Call>
auto Pipeline::persist(const std::stop_token& stop, Call call) -> std::optional<typename decltype(call())::value_type> {
  Backoff backoff(Milliseconds(50), Milliseconds(2000));
  while (!stop.stop_requested()) {
    auto result = call();
    if (result) {
      parts_.mysql_outage.worked();
      return std::move(*result);
    }
    const Error& error = result.error();
    if (error.kind == ErrorKind::kFatal || error.kind == ErrorKind::kFenced) {
      failed(error);
      return std::nullopt;
    }
    parts_.mysql_outage.broke(error.message, kMySqlMeanwhile);
    parts_.metrics.retries("mysql").Increment();
    WorkerThread::sleep(stop, backoff.next());
  }
  return std::nullopt;
}

void Pipeline::load(std::int32_t index, std::vector<CandleKey> keys) {
  Loader& loader = loader_of(index);
  loader.thread->post([this, index, &loader, keys = std::move(keys)](const std::stop_token& stop) {
    const Instant begin = parts_.clock.now();
    auto rows = persist(stop, [&] { return loader.store->load(keys); });
    if (!rows) return;
    parts_.metrics.load_duration.Observe(std::chrono::duration<double>(parts_.clock.now() - begin).count());
    lane(index).runner->post([keys, rows = std::move(*rows)](Lane& target) { target.rows_loaded(keys, rows); });
  });
}

void Pipeline::load_histories(std::int32_t index, std::vector<PairName> names, UnixSeconds clock) {
  Loader& loader = loader_of(index);
  loader.thread->post([this, index, &loader, names = std::move(names), clock](const std::stop_token& stop) {
    const auto read = [&](Interval interval, UnixSeconds reach) {
      const auto& configured = parts_.config.intervals;
      if (std::ranges::find(configured, interval) == configured.end()) return std::optional(LastCloses(names.size()));
      return persist(stop, [&] { return loader.reader->last_closes(interval, names, clock - reach); });
    };
    auto of_1m = read(Interval::k1m, 3600 + 60);
    auto of_15m = of_1m ? read(Interval::k15m, 86400 + 900) : std::nullopt;
    if (!of_1m || !of_15m) return;
    lane(index).runner->post([names, short_closes = std::move(*of_1m), long_closes = std::move(*of_15m)](Lane& target) {
      for (std::size_t i = 0; i < names.size(); ++i) target.history_loaded(names[i], short_closes[i], long_closes[i]);
    });
  });
}

void Pipeline::scan_bucket(std::int32_t index, const BucketScan& scan) {
  Loader& loader = loader_of(index);
  loader.thread->post([this, index, &loader, scan](const std::stop_token& stop) {
    auto rows =
        persist(stop, [&] { return loader.reader->bucket_rows(scan.interval, scan.bucket, scan.after, kScanPage); });
    if (!rows) return;
    std::optional<PairName> last;
    if (rows->size() == kScanPage) last = PairName{rows->back().key.chain, rows->back().key.pair};
    std::erase_if(*rows, [this, index](const CandleRow& row) {
      return lane_of_pair(hash_of_pair(row.key.chain, row.key.pair), lane_count_) != index;
    });
    lane(index).runner->post([scan, rows = std::move(*rows), last = std::move(last)](Lane& target) {
      target.bucket_scanned(scan, rows, last);
    });
  });
}

void Pipeline::commit(std::int32_t index, std::shared_ptr<const LaneCommit> commit) {
  writer_of(index).thread->post([this, index, commit = std::move(commit), asked = parts_.clock.now()](
                                    const std::stop_token& stop) { run_commit(index, commit, asked, stop); });
}

void Pipeline::run_commit(std::int32_t index, const std::shared_ptr<const LaneCommit>& commit, Instant asked,
                          const std::stop_token& stop) {
  LaneParts& parts = lane(index);
  CommitProtocol protocol(*writer_of(index).store, *commit);
  Backoff backoff(Milliseconds(20), Milliseconds(2000), static_cast<std::uint64_t>(index));
  while (!stop.stop_requested()) {
    // A large one takes its time.
    parts.asked_store_at = parts_.clock.now() + Milliseconds(commit->rows.size() / kRowsAMillisecond);
    const CommitProtocol::Next next = protocol.step();
    parts.asked_store_at = Instant{};
    switch (next) {
      case CommitProtocol::Next::kDone: {
        parts_.mysql_outage.worked();
        parts_.metrics.flush_duration.Observe(std::chrono::duration<double>(parts_.clock.now() - asked).count());
        {
          const std::lock_guard lock(parts.view_mutex);
          for (const LaneCommit::Advance& advance : commit->offsets) {
            parts.committed[{advance.to.topic, advance.to.partition}] = advance.to.next_offset;
          }
        }
        parts.runner->post([](Lane& target) { target.committed(); });
        return;
      }
      case CommitProtocol::Next::kFailed:
        // Said here: a session that has lost its lock or its share meanwhile does not look at it any more.
        if (protocol.error().kind == ErrorKind::kFenced) {
          spdlog::warn("MySQL refused a commit, nothing of it is written: rows={} {}", commit->rows.size(),
                       protocol.error().message);
        }
        failed(protocol.error());
        return;
      case CommitProtocol::Next::kAgain:
        parts_.mysql_outage.broke(protocol.error().message, kMySqlMeanwhile);
        parts_.metrics.retries("mysql").Increment();
        WorkerThread::sleep(stop, backoff.next());
        break;
      case CommitProtocol::Next::kNow: break;
    }
  }
}

void Pipeline::cache(std::vector<CacheUpdate> updates) {
  if (parts_.cache != nullptr) parts_.cache->offer(std::move(updates));
}

void Pipeline::reported(DeliveryReport&& report) {
  if (report.error) {
    parts_.metrics.retries("kafka_out").Increment();
  } else {
    parts_.metrics.publish_duration.Observe(std::chrono::duration<double>(report.latency).count());
  }
  const std::int32_t index = Outbox::lane_of_ticket(report.ticket);
  LaneParts& parts = lane(index);
  {
    const std::lock_guard lock(parts.inbox_mutex);
    parts.inbox.push_back(std::move(report));
    if (parts.inbox.size() > 1) return;  // the event that takes it is on its way
  }
  parts.runner->post([&parts](Lane& target) {
    std::vector<DeliveryReport> reports;
    {
      const std::lock_guard lock(parts.inbox_mutex);
      reports.swap(parts.inbox);
    }
    target.reported(std::move(reports));
  });
}

void Pipeline::failed(const Error& error) {
  const std::lock_guard lock(failure_mutex_);
  if (!failure_) failure_ = error;
}

// ---- for the outside -----------------------------------------------------------------------------------------------

std::optional<Error> Pipeline::failure() const {
  const std::lock_guard lock(failure_mutex_);
  return failure_;
}

Pipeline::Totals Pipeline::totals() {
  Totals totals;
  for (const auto& parts : lanes_) {
    const std::lock_guard lock(parts->view_mutex);
    totals.ledger += parts->counters.ledger;
    totals.candles_published += parts->counters.candles_published;
    totals.rows_written += parts->counters.rows_written;
    totals.dead_letters += parts->counters.dead_letters;
    totals.commits += parts->counters.commits;
    totals.candle_bytes += parts->candle_bytes;
    totals.dedupe_bytes += parts->dedupe_bytes;
    totals.pairs += parts->pairs;
    totals.candles += parts->candles;
    totals.partial += parts->partial;
  }
  totals.inflight_bytes = static_cast<std::int64_t>(inflight_bytes_.load());
  for (const auto& parts : lanes_) totals.queued_batches.push_back(static_cast<std::int64_t>(parts->runner->queued()));
  const std::lock_guard lock(delay_mutex_);
  if (delay_count_ > 0) totals.delay_seconds = delay_sum_ / static_cast<double>(delay_count_);
  delay_sum_ = 0;
  delay_count_ = 0;
  return totals;
}

std::map<TopicPartition, std::int64_t> Pipeline::committed_offsets() const {
  std::map<TopicPartition, std::int64_t> smallest;
  for (const auto& parts : lanes_) {
    const std::lock_guard lock(parts->view_mutex);
    for (const auto& [partition, offset] : parts->committed) {
      const auto [at, is_new] = smallest.try_emplace(partition, offset);
      if (!is_new) at->second = std::min(at->second, offset);
    }
  }
  return smallest;
}

}  // namespace klined
