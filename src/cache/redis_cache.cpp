#include "klined/cache/redis_cache.hpp"

#include <algorithm>
#include <csignal>
#include <utility>

#include <spdlog/spdlog.h>

namespace klined {
namespace {

constexpr std::size_t kBatchUpdates = 1'000;  // a pipeline of a few hundred kB
constexpr Milliseconds kPingAfter{1'000};     // silence after which the server is asked whether it is there
constexpr Milliseconds kBackoffFirst{100};
constexpr Milliseconds kBackoffMax{2'000};
constexpr Milliseconds kBackoffForgets{10'000};  // of health: shorter spells are one fault
constexpr Milliseconds kSleepMax{1'000};

RedisAddress address_of(const RedisOptions& options) {
  return RedisAddress{options.host,           options.port,     options.username,
                      options.password,       options.database, options.connect_timeout,
                      options.command_timeout};
}

RepairOptions repair_options_of(const RedisOptions& options) {
  return RepairOptions{.keep = options.keep,
                       .ttl = options.ttl,
                       .close_grace = options.close_grace,
                       .series_per_second = options.repair_series_per_second,
                       .settle = options.repair_settle,
                       .recheck_after = options.repair_recheck_after,
                       .interval = options.repair_interval};
}

// Signals are the main thread's; and writing to a connection that the server has closed must be an error, not SIGPIPE.
void block_signals() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
}

}  // namespace

RedisCache::RedisCache(RedisOptions options, RowSource* source, const Clock& clock)
    : options_(std::move(options)),
      clock_(clock),
      outage_("Redis " + address_of(options_).to_string(), clock),
      connection_(address_of(options_)),
      writer_(options_.keep, options_.ttl, options_.trim_after, options_.known_bytes_max),
      backoff_(kBackoffFirst, kBackoffMax),
      last_answer_(clock.now()),
      last_turn_(clock.now()),
      healed_at_(clock.now()),
      queue_(options_.queue_bytes_max),
      repair_busy_(source != nullptr) {
  if (source != nullptr) repair_.emplace(repair_options_of(options_), *source, clock_);
  thread_ = std::thread([this] { run(); });
}

RedisCache::~RedisCache() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  work_.notify_all();
  idle_.notify_all();
  thread_.join();
}

void RedisCache::offer(std::vector<CacheUpdate>&& updates) {
  if (updates.empty()) return;
  {
    const std::lock_guard lock(mutex_);
    std::size_t dropped = 0;
    for (CacheUpdate& update : updates) dropped += queue_.offer(std::move(update));
    note_dropped(dropped);
  }
  updates.clear();
  work_.notify_one();
}

// With the lock held.
void RedisCache::note_dropped(std::size_t count) {
  if (count == 0) return;
  stats_.updates_dropped += static_cast<std::int64_t>(count);
  if (repair_) repair_needed_ = repair_busy_ = true;
}

bool RedisCache::wait_idle(Milliseconds timeout, WaitFor what) {
  const auto done = [&] {
    return queue_.empty() && in_flight_ == 0 && (what == WaitFor::kUpdates || (!repair_busy_ && !trims_wait_));
  };
  std::unique_lock lock(mutex_);
  idle_.wait_for(lock, timeout, [&] { return done() || outage_.is_broken() || stop_; });
  return done() && !outage_.is_broken();
}

bool RedisCache::finish(Milliseconds timeout) {
  std::unique_lock lock(mutex_);
  finishing_ = true;
  work_.notify_one();
  const auto done = [this] { return queue_.empty() && in_flight_ == 0 && !trims_wait_; };
  idle_.wait_for(lock, timeout, [&] { return done() || outage_.is_broken() || stop_; });
  return done() && !outage_.is_broken();
}

CacheStats RedisCache::stats() const {
  const std::lock_guard lock(mutex_);
  CacheStats stats = stats_;
  stats.queue_updates = static_cast<std::int64_t>(queue_.size());
  stats.errors = outage_.faults();
  stats.last_error_ms = outage_.last_error_ms();
  stats.queue_bytes = static_cast<std::int64_t>(queue_.bytes());
  return stats;
}

bool RedisCache::stopping() const {
  const std::lock_guard lock(mutex_);
  return stop_;
}

void RedisCache::run() {
  block_signals();
  pthread_setname_np(pthread_self(), "cache");
  while (!stopping()) {
    if (!connection_.connected() && !connect()) continue;
    const bool wrote = write_step();
    const bool trimmed = trim_step();
    const bool repaired = repair_step();
    if (!wrote && !trimmed && !repaired && connection_.connected()) wait_for_work();
  }
}

bool RedisCache::connect() {
  if (const Status status = connection_.connect(); !status) {
    broke(status.error(), true);
    return false;
  }
  last_answer_ = clock_.now();
  writer_.begin();
  if (repair_) repair_->restart();
  {
    const std::lock_guard lock(mutex_);
    stats_.connected = true;
    repair_busy_ = repair_.has_value();
  }
  if (!outage_.is_broken()) {
    spdlog::info("connected to Redis {}", connection_.address().to_string());
  } else if (!heals_by_write_) {
    healed();
  }
  return true;
}

// Writes the next batch. False where nothing waits.
bool RedisCache::write_step() {
  // A process that hung may have been replaced meanwhile: what it knew of Redis is old, and is read again before it is
  // written over.
  const Instant turn = clock_.now();
  if (turn - std::exchange(last_turn_, turn) > RedisConnection::kHung) writer_.begin();
  std::vector<CacheUpdate> batch;
  {
    const std::lock_guard lock(mutex_);
    batch = queue_.take(kBatchUpdates);
    in_flight_ = batch.size();
  }
  if (batch.empty()) return false;
  auto outcome = writer_.write(connection_, batch, clock_);
  {
    const std::lock_guard lock(mutex_);
    in_flight_ = 0;
    note_dropped(queue_.put_back(outcome ? std::move(outcome->again) : std::move(batch)));
    if (outcome) {
      stats_.updates_written += outcome->written;
      stats_.updates_older += outcome->older;
      trims_wait_ = writer_.next_trim().has_value();
      repair_busy_ = repair_busy_ || (repair_ && !outcome->lost.empty());
    }
  }
  if (!outcome) {
    broke(outcome.error());
    return true;
  }
  last_answer_ = clock_.now();
  if (outage_.is_broken()) healed();
  if (repair_) {
    for (const SeriesName& series : outcome->lost) repair_->add_lost(series);
  }
  idle_.notify_all();
  return true;
}

// Trims some of the hashes that have grown too large. False where none is due.
bool RedisCache::trim_step() {
  Instant due = clock_.now();
  {
    const std::lock_guard lock(mutex_);
    if (finishing_) due = Instant::max();
  }
  const std::optional<Instant> next = writer_.next_trim();
  if (!connection_.connected() || !next || *next > due) return false;
  auto removed = writer_.trim(connection_, due);
  if (!removed) {
    broke(removed.error());
    return true;
  }
  {
    const std::lock_guard lock(mutex_);
    stats_.candles_trimmed += *removed;
    trims_wait_ = writer_.next_trim().has_value();
  }
  idle_.notify_all();
  return true;
}

// Repairs one series at most. False where nothing is due.
bool RedisCache::repair_step() {
  if (!repair_ || !connection_.connected()) return false;
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(repair_needed_, false)) repair_->request_pass();
  }
  auto outcome = repair_->step(connection_, writer_);
  if (!outcome) {
    broke(outcome.error());
    return true;
  }
  {
    const std::lock_guard lock(mutex_);
    stats_.repair_passes += outcome->passes;
    stats_.repair_series += outcome->series;
    stats_.repair_candles_written += outcome->candles_written;
    stats_.repair_candles_removed += outcome->candles_removed;
    stats_.repair_source_errors += outcome->source_errors;
    repair_busy_ = repair_needed_ || repair_->busy();
  }
  if (outcome->series > 0) {
    last_answer_ = clock_.now();
    if (outage_.is_broken()) healed();
  }
  idle_.notify_all();
  return outcome->worked;
}

void RedisCache::wait_for_work() {
  Instant until = std::min(clock_.now() + kSleepMax, last_answer_ + kPingAfter);
  if (repair_) until = std::min(until, repair_->next_due());
  until = std::min(until, writer_.next_trim().value_or(until));
  {
    std::unique_lock lock(mutex_);
    work_.wait_for(lock, std::max(until - clock_.now(), std::chrono::nanoseconds(0)),
                   [&] { return stop_ || repair_needed_ || !queue_.empty() || (finishing_ && trims_wait_); });
  }
  if (clock_.now() >= last_answer_ + kPingAfter) keep_alive();
}

// An emptied server must be noticed though nobody trades.
void RedisCache::keep_alive() {
  connection_.add({"PING"});
  if (auto replies = connection_.run(); !replies) {
    broke(replies.error());
  } else {
    last_answer_ = clock_.now();
  }
}

// Waits out the backoff; the next turn connects.
void RedisCache::broke(const Error& error, bool while_connecting) {
  connection_.close();
  if (!while_connecting && error.kind == ErrorKind::kRetry) heals_by_write_ = true;
  if (!outage_.is_broken() && clock_.now() - healed_at_ > kBackoffForgets) backoff_.reset();
  spdlog::debug("Redis {} failed: {}", connection_.address().to_string(), error.message);
  outage_.broke(error.message, "nothing else waits for it, and what it misses it gets when it is back");
  std::unique_lock lock(mutex_);
  stats_.connected = false;
  idle_.notify_all();
  work_.wait_for(lock, backoff_.next(), [&] { return stop_; });
}

void RedisCache::healed() {
  outage_.worked();
  heals_by_write_ = false;
  healed_at_ = clock_.now();
}

}  // namespace klined
