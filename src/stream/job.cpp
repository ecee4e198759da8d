#include "klined/stream/job.hpp"

#include <algorithm>
#include <iterator>
#include <set>

#include <spdlog/spdlog.h>

#include "klined/base/backoff.hpp"
#include "klined/base/memory.hpp"
#include "klined/publish/kafka_admin.hpp"
#include "klined/publish/kafka_publisher.hpp"
#include "klined/store/group_lock.hpp"
#include "klined/store/mysql_candle_store.hpp"
#include "klined/store/schema.hpp"
#include "klined/stream/connections.hpp"

namespace klined {

namespace {

constexpr Milliseconds kPollTimeout{5};
constexpr std::size_t kPollMessages = 2000;
constexpr std::size_t kPollBytes = std::size_t{4} << 20U;
constexpr Milliseconds kKafkaTimeout{10'000};
constexpr Milliseconds kWatchInterval{1000};
constexpr Milliseconds kGiveBackInterval{10'000};
constexpr Milliseconds kReadingInterval{100};
constexpr Milliseconds kPartitionCheck{30'000};
constexpr Milliseconds kReportInterval{60'000};
constexpr Milliseconds kLockPing{2000};
constexpr Milliseconds kLockWait{1000};
constexpr Milliseconds kShareWait{200};
// A fenced process that still has its share takes it back after this long: the other one, which was late, knows by then
// that it has lost it.
constexpr Milliseconds kAfterFence{5'000};
// While catching up, a partition this far ahead of the slowest waits until it is half as far.
constexpr UnixSeconds kAheadLimit = 600;
constexpr UnixMilliseconds kBehind = 60'000;  // older records than this mean catching up
constexpr Milliseconds kRecentlyDrained{2000};

// What a session's beginning ends with where the job must not go on with it.
constexpr std::string_view kGivenUp = "given up while starting";
Error given_up_error() { return {ErrorKind::kRetry, std::string(kGivenUp)}; }

std::string describe(const Ledger& ledger) {
  std::string text = fmt::format("read={}", ledger.read());
  for (std::size_t i = 0; i < kOutcomeCount; ++i) text += fmt::format(" {}={}", kOutcomeNames[i], ledger.counts[i]);
  return text;
}

}  // namespace

// What lives between a claim and its end. The order of the members is the order in which they must be made.
struct Job::Session {
  explicit Session(std::size_t lanes) : close_clocks(lanes) {}
  std::unique_ptr<KafkaSource> source;
  std::vector<TopicPartition> partitions;
  Claim claim;
  std::vector<Placement> placements;
  std::vector<Assignment> assignments;  // of the placements
  CloseClocks close_clocks;
  std::unique_ptr<MySqlRows> rows;  // what the cache is repaired from
  std::unique_ptr<RedisCache> cache;
  std::unique_ptr<Pipeline> pipeline;
  std::unique_ptr<KafkaPublisher> publisher;
  std::atomic<bool> lock_lost{false};
  std::unique_ptr<WorkerThread> lock_keeper;

  std::map<LogId, std::int64_t> next_offsets;  // of what was ingested
  std::set<LogId> paused;
  bool polled = false;  // since watch() was here
  UnixMilliseconds last_record_ms = 0;
  Instant drained_at{};
  Instant watched_at{};
  Instant gave_back_at{};
  Instant noted_at{};
  Instant partitions_checked_at{};
  Instant reported_at{};
  Ledger reported, counted;  // into the log, into the metrics
  double delay_seconds = 0;
  std::int64_t counted_published = 0, counted_rows = 0, counted_dead = 0, counted_commits = 0;
  CacheStats counted_cache;

  ~Session() {
    lock_keeper.reset();
    if (pipeline) pipeline->halt();  // the lanes let go of the publisher before it goes
    publisher.reset();
  }
};

Job::Job(const Config& config, const Clock& clock, Metrics& metrics, Purpose purpose)
    : config_(config),
      clock_(clock),
      metrics_(metrics),
      partition_watch_(metrics),
      purpose_(purpose),
      mysql_outage_("MySQL", clock) {}

Job::~Job() = default;

// Calls until it works, it fails for good, or the job is stopped.
template <typename Call>
auto Job::persist(const char* what, Call call) -> decltype(call()) {
  Backoff backoff(Milliseconds(200), Milliseconds(5000));
  bool logged = false;
  while (true) {
    auto result = call();
    if (result || result.error().kind == ErrorKind::kFatal || result.error().kind == ErrorKind::kFenced) {
      if (logged && result) spdlog::info("{} works again", what);
      return result;
    }
    if (!logged) spdlog::warn("{} does not work yet: {}; trying again until it does", what, result.error().message);
    logged = true;
    const Instant until = clock_.now() + backoff.next();
    while (clock_.now() < until) {
      if (must_end()) return std::unexpected(given_up_error());
      std::this_thread::sleep_for(Milliseconds(20));
    }
  }
}

Status Job::run() {
  if (Status status = persist("the check of schema and topics", [this] { return check_surroundings(); }); !status) {
    return stopping_ ? Status{} : status;
  }
  if (is_shared(config_) && purpose_ == Purpose::kServe) {
    if (Status status = join_group(); !status) return status;
  }
  Status status = work();
  membership_.reset();  // leaves the group: the others need not wait for the session timeout
  seat_keeper_.reset();
  return status;
}

Status Job::work() {
  while (!stopping_) {
    const Result<bool> mine = membership_ ? wait_for_share() : wait_for_lock();
    if (!mine) return std::unexpected(mine.error());
    if (!*mine) break;  // stopped while standing by
    Result<SessionEnd> end = run_session();
    if (!end && end.error().kind == ErrorKind::kRetry && end.error().message == kGivenUp) {
      end = stopping_ ? SessionEnd::kStopped : SessionEnd::kHandedOver;
    }
    metrics_.active.Set(0);
    partition_watch_.forget(share_);
    if (membership_) membership_->release();
    if (!end) return std::unexpected(end.error());
    if (!goes_on(*end)) break;
  }
  return {};
}

bool Job::goes_on(SessionEnd end) {
  switch (end) {
    case SessionEnd::kStopped: return false;
    case SessionEnd::kFenced:
      spdlog::warn(
          "another process of group {} has claimed the partitions: nothing of it was written here since; standing by",
          config_.group);
      if (!membership_) lock_.reset();
      for (const Instant until = clock_.now() + kAfterFence; membership_ && !stopping_ && clock_.now() < until;) {
        std::this_thread::sleep_for(kShareWait);
      }
      break;
    case SessionEnd::kPartitions:
      spdlog::info("the topics have more partitions now: starting again with all of them");
      break;
    case SessionEnd::kHandedOver: break;  // the group's next share is logged where it comes
    case SessionEnd::kLost:
      spdlog::warn("group {}: what was not committed is forgotten here, its next reader reads it again", config_.group);
      break;
  }
  return true;
}

bool Job::must_end() const {
  return stopping_ || (membership_ && membership_->demand() != GroupMembership::Demand::kNone);
}

Status Job::check_surroundings() {
  if (Status status = check_schema(mysql_options(config_), config_.intervals); !status) return status;
  Result<std::unique_ptr<KafkaAdmin>> admin = KafkaAdmin::open(admin_properties(config_));
  if (!admin) return std::unexpected(admin.error());
  std::vector<std::string> needed = config_.input.topics;
  std::ranges::copy(output_topics(config_), std::back_inserter(needed));
  std::string missing;
  for (const std::string& topic : needed) {
    const Result<std::optional<int>> partitions = (*admin)->partitions_of(topic, kKafkaTimeout);
    if (!partitions) return std::unexpected(partitions.error());
    if (!*partitions) missing += (missing.empty() ? "" : ", ") + topic;
  }
  if (missing.empty()) return {};
  return fatal(fmt::format(
      "Kafka at {} has no topic {}: make the topics with `klined init` (input topics: `klined init --input-topics`)",
      config_.kafka.brokers, missing));
}

Result<bool> Job::wait_for_lock() {
  if (lock_) return true;
  auto lock = std::make_unique<GroupLock>(mysql_options(config_), config_.group);
  bool said = false;
  metrics_.active.Set(0);
  while (!stopping_) {
    const Result<bool> acquired =
        persist("the group's lock in MySQL", [&lock] { return lock->try_acquire(kLockWait); });
    if (!acquired) {
      if (stopping_) return false;
      return std::unexpected(acquired.error());
    }
    if (*acquired) {
      if (said) spdlog::info("the group's lock is free: taking over");
      lock_ = std::move(lock);
      metrics_.active.Set(1);
      return true;
    }
    if (!said) spdlog::info("another process of group {} is active: standing by", config_.group);
    said = true;
  }
  return false;
}

Status Job::join_group() {
  lock_ = std::make_unique<GroupLock>(mysql_options(config_), config_.group);
  const Status seated = persist("the group's seat in MySQL", [this] { return lock_->take_seat(); });
  if (!seated) return stopping_ ? Status{} : seated;
  seat_keeper_ = std::make_unique<WorkerThread>("seat");
  seat_keeper_->post([this](const std::stop_token& stop) {
    do {
      if (lock_->take_seat()) (void)lock_->try_acquire(Milliseconds(0));
    } while (WorkerThread::sleep(stop, kLockPing));
  });
  auto joined = GroupMembership::open({.properties = consumer_properties(config_),
                                       .group = config_.group,
                                       .topics = config_.input.topics,
                                       .hand_over_timeout = config_.engine.shutdown_timeout + Milliseconds(5000)});
  if (!joined) return std::unexpected(joined.error());
  membership_ = std::move(*joined);
  return {};
}

Result<bool> Job::wait_for_share() {
  bool said = false;
  metrics_.active.Set(0);
  while (!stopping_) {
    if (const std::optional<Error> failure = membership_->failure()) return std::unexpected(*failure);
    std::optional<GroupMembership::Share> share = membership_->take(kShareWait);
    if (share && !share->partitions.empty()) {
      share_ = std::move(share->partitions);
      metrics_.active.Set(1);
      return true;
    }
    if (!share) continue;
    membership_->release();
    if (!said) {
      spdlog::info("group {} has more processes than its topics have partitions: standing by for a share",
                   config_.group);
    }
    said = true;
    std::this_thread::sleep_for(kShareWait);
  }
  return false;
}

// ---- a session's beginning -----------------------------------------------------------------------------------------

Result<Job::SessionEnd> Job::run_session() {
  Session session(static_cast<std::size_t>(config_.engine.lanes));
  Result<std::unique_ptr<KafkaSource>> source = KafkaSource::open({consumer_properties(config_), config_.group});
  if (!source) return std::unexpected(source.error());
  session.source = std::move(*source);
  if (membership_) {
    session.partitions = share_;
  } else {
    auto partitions = persist("reading the topics' partitions",
                              [&] { return session.source->partitions_of(config_.input.topics, kKafkaTimeout); });
    if (!partitions) return std::unexpected(partitions.error());
    session.partitions = std::move(*partitions);
  }

  if (ends_) {
    const std::vector<std::int64_t> nothing(static_cast<std::size_t>(config_.engine.lanes), 0);
    for (const TopicPartition& partition : session.partitions) ends_->try_emplace(partition, nothing);
  }

  const auto terms = std::make_shared<StoreClaim>();
  const auto new_store = [this, terms] { return std::make_unique<MySqlCandleStore>(mysql_options(config_), terms); };
  auto claimed =
      persist("claiming the partitions", [&] { return claim(*session.source, *new_store(), session.partitions); });
  if (!claimed) return std::unexpected(claimed.error());
  session.claim = std::move(*claimed);
  auto placements = persist("comparing the stored offsets with the log",
                            [&] { return place_readers(*session.source, session.claim, session.partitions); });
  if (!placements) return std::unexpected(placements.error());
  session.placements = std::move(*placements);

  MySqlRows::Partitions ours;
  for (const TopicPartition& partition : share_) ours.emplace_back(partition.topic, partition.partition);
  const auto new_reader = [this, ours] {
    auto reader = std::make_unique<CandleReader>(mysql_options(config_));
    reader->keep_to(ours);
    return reader;
  };
  if (config_.redis) {
    session.rows = std::make_unique<MySqlRows>(config_, ours, session.close_clocks);
    session.cache = std::make_unique<RedisCache>(redis_options(config_), session.rows.get(), clock_);
  }
  session.pipeline = std::make_unique<Pipeline>(PipelineParts{.config = config_,
                                                              .clock = clock_,
                                                              .metrics = metrics_,
                                                              .mysql_outage = mysql_outage_,
                                                              .open_store = new_store,
                                                              .open_reader = new_reader,
                                                              .close_clocks = session.close_clocks,
                                                              .cache = session.cache.get(),
                                                              .writes_letters = purpose_ == Purpose::kServe,
                                                              .ends = ends_.value_or(Ends())},
                                                session.claim);
  auto publisher =
      KafkaPublisher::open({producer_properties(config_), output_topics(config_)},
                           [&session](DeliveryReport&& report) { session.pipeline->reported(std::move(report)); });
  if (!publisher) return std::unexpected(publisher.error());
  session.publisher = std::move(*publisher);
  session.pipeline->start(*session.publisher);
  return stream(session);
}

// ---- a session's life ----------------------------------------------------------------------------------------------

Result<Job::SessionEnd> Job::stream(Session& session) {
  for (const Placement& placement : session.placements) {
    const Assignment& a = placement.assignment;
    session.pipeline->assign(a.log, a.offset, placement.clocks, placement.source_windows);
    session.next_offsets[a.log] = a.offset;
    session.assignments.push_back(a);
  }
  if (Status status = session.source->assign(session.assignments); !status) return std::unexpected(status.error());
  if (!membership_) keep_lock(session);
  report(session, true);
  session.partitions_checked_at = session.reported_at = clock_.now();

  while (!stopping_) {
    if (const std::optional<Error> failure = session.pipeline->failure()) {
      if (failure->kind == ErrorKind::kFenced) return SessionEnd::kFenced;
      return std::unexpected(*failure);
    }
    if (session.lock_lost) return SessionEnd::kFenced;
    if (membership_ && membership_->demand() != GroupMembership::Demand::kNone) return hand_over(session);
    if (clock_.now() - session.watched_at >= kWatchInterval) {
      watch(session);
      if (!membership_ && session.partitions.size() != session.assignments.size()) {
        if (Status status = end_session(session); !status) return std::unexpected(status.error());
        return SessionEnd::kPartitions;
      }
    }
    if (!session.pipeline->has_room()) {
      session.pipeline->wait_for_room(Milliseconds(20));
      continue;
    }
    Result<MessageBatch> batch = session.source->poll(kPollTimeout, kPollMessages, kPollBytes);
    if (!batch) return std::unexpected(batch.error());
    take_in(session, std::move(*batch));
    if (at_ends(session)) break;
    if (purpose_ == Purpose::kShadow && clock_.now() - session.noted_at >= kReadingInterval) note_reading(session);
  }
  if (Status status = end_session(session); !status) return std::unexpected(status.error());
  return SessionEnd::kStopped;
}

void Job::keep_lock(Session& session) {
  session.lock_keeper = std::make_unique<WorkerThread>("lock");
  session.lock_keeper->post([this, &session](const std::stop_token& stop) {
    do {
      if (lock_->held() && lock_->ping().has_value()) continue;
      const Result<bool> again = lock_->try_acquire(Milliseconds(0));
      if (again && !*again) session.lock_lost = true;
    } while (WorkerThread::sleep(stop, kLockPing));
  });
}

// The group wants the share back.
Result<Job::SessionEnd> Job::hand_over(Session& session) {
  if (membership_->demand() == GroupMembership::Demand::kLost) return SessionEnd::kLost;
  const Status status = end_session(session);
  if (status) return SessionEnd::kHandedOver;
  if (status.error().kind == ErrorKind::kFenced) return SessionEnd::kFenced;
  if (status.error().kind != ErrorKind::kRetry) return std::unexpected(status.error());
  spdlog::warn("handing over: {}", status.error().message);
  return SessionEnd::kLost;
}

void Job::take_in(Session& session, MessageBatch batch) {
  session.polled = true;
  if (!batch.messages.empty()) {
    for (const Message& message : batch.messages) {
      session.next_offsets[message.log] = message.offset + 1;
      session.last_record_ms = std::max(session.last_record_ms, message.timestamp);
    }
    ingest(session, std::move(batch));
  }
  bool at_end = session.paused.empty();
  for (const Assignment& a : session.assignments) {
    const std::optional<std::int64_t> end = session.source->end_of(a.log);
    if (!end) at_end = false;
    if (!end || *end <= session.next_offsets[a.log]) continue;
    session.next_offsets[a.log] = *end;
    session.pipeline->note_end(a.log, *end);
  }
  const Instant now = clock_.now();
  if (at_end) {
    session.drained_at = now;
    session.pipeline->note_drained();
  }
  const bool is_behind = session.last_record_ms > 0 && clock_.wall_ms() - session.last_record_ms > kBehind;
  session.pipeline->set_catching_up(is_behind && now - session.drained_at > kRecentlyDrained);
}

// Divides the batch where lanes end.
void Job::ingest(Session& session, MessageBatch batch) {
  if (!ends_) return session.pipeline->ingest(std::move(batch));
  std::map<LogId, const std::vector<std::int64_t>*> ends;
  for (const Assignment& a : session.assignments) ends[a.log] = &ends_->at(a.partition);
  std::map<LogId, std::int64_t> first;  // in `some`
  MessageBatch some{.messages = {}, .bytes = 0, .buffers = batch.buffers};
  for (const Message& message : batch.messages) {
    const auto begun = first.try_emplace(message.log, message.offset).first;
    if (std::ranges::any_of(*ends.at(message.log),
                            [&](std::int64_t end) { return begun->second < end && end <= message.offset; })) {
      session.pipeline->ingest(std::exchange(some, MessageBatch{.messages = {}, .bytes = 0, .buffers = batch.buffers}));
      first = {{message.log, message.offset}};
    }
    some.messages.push_back(message);
    some.bytes += message.value.size();
  }
  if (!some.messages.empty()) session.pipeline->ingest(std::move(some));
}

bool Job::at_ends(const Session& session) const {
  return ends_ && std::ranges::all_of(session.assignments, [&](const Assignment& a) {
           return session.next_offsets.at(a.log) >= std::ranges::max(ends_->at(a.partition));
         });
}

// Keeps partitions close in block time while there is much to read, so that few candles are in work at once.
void Job::align_partitions(Session& session) {
  std::optional<UnixSeconds> slowest;
  for (const Assignment& a : session.assignments) {
    if (session.source->at_end(a.log)) continue;
    const std::optional<UnixSeconds> time = session.pipeline->block_time_of(a.log);
    if (time && (!slowest || *time < *slowest)) slowest = time;
  }
  for (const Assignment& a : session.assignments) {
    const UnixSeconds ahead = slowest ? session.pipeline->block_time_of(a.log).value_or(0) - *slowest : 0;
    const bool is_paused = session.paused.contains(a.log);
    if (!is_paused && ahead > kAheadLimit && !session.source->at_end(a.log)) {
      session.source->pause(a.log);
      session.paused.insert(a.log);
    } else if (is_paused && ahead <= kAheadLimit / 2) {
      session.source->resume(a.log);
      session.paused.erase(a.log);
    }
  }
}

// Once a second: what the outside wants to know, and what changes slowly.
void Job::watch(Session& session) {
  const Instant now = clock_.now();
  session.watched_at = now;
  align_partitions(session);
  for (const Assignment& a : session.assignments) {
    partition_watch_.look(*session.source, a.log, a.partition, session.next_offsets[a.log], session.polled, now);
  }
  session.polled = false;
  commit_for_tools(session);
  count(session);
  if (!membership_ && now - session.partitions_checked_at >= kPartitionCheck) {
    session.partitions_checked_at = now;
    auto partitions = session.source->partitions_of(config_.input.topics, Milliseconds(2000));
    if (partitions) session.partitions = std::move(*partitions);
  }
  if (now - session.reported_at >= kReportInterval) report(session, false);
  // What a peak leaves behind, freed but between blocks that live, would come on top of the next one.
  const auto limit = static_cast<std::size_t>(config_.engine.memory_limit);
  if (now - session.gave_back_at >= kGiveBackInterval && resident_bytes() > limit / 8 * 7) {
    session.gave_back_at = now;
    give_back_memory();
  }
}

void Job::note_reading(Session& session) {
  session.noted_at = clock_.now();
  const std::lock_guard lock(reading_mutex_);
  reading_.clear();
  for (const Assignment& a : session.assignments) {
    const std::int64_t next = session.next_offsets[a.log];
    const std::int64_t end = session.source->at_end(a.log) ? next : session.source->high_watermark(a.log);
    reading_[a.partition] = {next, end < 0 ? end : std::max(end, next)};
  }
}

std::map<TopicPartition, Job::Reading> Job::reading() const {
  const std::lock_guard lock(reading_mutex_);
  return reading_;
}

void Job::commit_for_tools(Session& session) {
  if (purpose_ == Purpose::kShadow) return;
  const auto offsets = session.pipeline->committed_offsets();
  if (membership_) {
    membership_->commit_for_tools(offsets);
  } else {
    session.source->commit_for_tools(offsets);
  }
}

void Job::count(Session& session) {
  const Pipeline::Totals totals = session.pipeline->totals();
  for (std::size_t i = 0; i < kOutcomeCount; ++i) {
    metrics_.trades(kOutcomeNames[i])
        .Increment(static_cast<double>(totals.ledger.counts[i] - session.counted.counts[i]));
  }
  session.counted = totals.ledger;
  const auto grow = [](prometheus::Counter& counter, std::int64_t total, std::int64_t& counted) {
    counter.Increment(static_cast<double>(total - counted));
    counted = total;
  };
  grow(metrics_.candles_published, totals.candles_published, session.counted_published);
  grow(metrics_.rows_written("all"), totals.rows_written, session.counted_rows);
  grow(metrics_.dead_letters, totals.dead_letters, session.counted_dead);
  grow(metrics_.commits, totals.commits, session.counted_commits);
  if (session.cache) {
    const CacheStats stats = session.cache->stats();
    grow(metrics_.cache_updates("written"), stats.updates_written, session.counted_cache.updates_written);
    grow(metrics_.cache_updates("older"), stats.updates_older, session.counted_cache.updates_older);
    grow(metrics_.cache_updates("dropped"), stats.updates_dropped, session.counted_cache.updates_dropped);
    grow(metrics_.retries("redis"), stats.errors, session.counted_cache.errors);
  }
  metrics_.memory_bytes("candles").Set(static_cast<double>(totals.candle_bytes));
  metrics_.memory_bytes("dedupe").Set(static_cast<double>(totals.dedupe_bytes));
  metrics_.inflight_bytes.Set(static_cast<double>(totals.inflight_bytes));
  for (std::size_t lane = 0; lane < totals.queued_batches.size(); ++lane) {
    metrics_.lane_queue_batches(static_cast<std::int32_t>(lane)).Set(static_cast<double>(totals.queued_batches[lane]));
  }
  metrics_.series_cached.Set(static_cast<double>(totals.pairs * static_cast<std::int64_t>(config_.intervals.size())));
  metrics_.pending_loads.Set(static_cast<double>(totals.partial));
  const auto stamp = [this](const char* part, UnixMilliseconds ms) {
    metrics_.last_error_timestamp_seconds(part).Set(static_cast<double>(ms) / 1000.0);
  };
  stamp("mysql", mysql_outage_.last_error_ms());
  stamp("kafka_in", session.source->last_error_ms());
  stamp("kafka_out", session.publisher->last_error_ms());
  if (session.cache) stamp("redis", session.cache->stats().last_error_ms);
  session.delay_seconds = totals.delay_seconds > 0 ? totals.delay_seconds : session.delay_seconds;
}

void Job::report(Session& session, bool at_start) {
  session.reported_at = clock_.now();
  if (at_start) {
    spdlog::info("active: group={} topics={} partitions={} lanes={} intervals={} output={}", config_.group,
                 fmt::join(config_.input.topics, ","), session.assignments.size(), config_.engine.lanes,
                 config_.intervals.size(),
                 publishes(config_) ? fmt::format("klines-<chain>-{}", config_.env) : "none (env is local)");
    return;
  }
  const Pipeline::Totals totals = session.pipeline->totals();
  Ledger since = totals.ledger;
  for (std::size_t i = 0; i < kOutcomeCount; ++i) since.counts[i] -= session.reported.counts[i];
  session.reported = totals.ledger;
  std::int64_t lag = 0;
  for (const auto& [log, next] : session.next_offsets)
    lag += std::max<std::int64_t>(0, session.source->high_watermark(log) - next);
  spdlog::info(
      "last {} s: {} | since it became active: published={} rows={} | lag={} messages delay={:.0f} ms pairs={} "
      "candles={} memory={} "
      "MiB",
      kReportInterval.count() / 1000, describe(since), totals.candles_published, totals.rows_written, lag,
      session.delay_seconds * 1000, totals.pairs, totals.candles,
      (totals.candle_bytes + totals.dedupe_bytes + totals.inflight_bytes) >> 20U);
}

Status Job::end_session(Session& session) {
  const Instant begin = clock_.now();
  spdlog::info("stopping: writing what was read");
  if (!session.pipeline->drain(config_.engine.shutdown_timeout)) {
    if (const std::optional<Error> failure = session.pipeline->failure()) return std::unexpected(*failure);
    return std::unexpected(Error{
        ErrorKind::kRetry, fmt::format("not everything was written within engine.shutdown_timeout ({} ms); nothing is "
                                       "lost, the next start reads it again",
                                       config_.engine.shutdown_timeout.count())});
  }
  commit_for_tools(session);
  if (session.cache) session.cache->finish(Milliseconds(1000));
  count(session);
  spdlog::info("stopped cleanly after {} ms: {} published={} rows={}",
               std::chrono::duration_cast<Milliseconds>(clock_.now() - begin).count(), describe(session.counted),
               session.counted_published, session.counted_rows);
  return {};
}

}  // namespace klined
