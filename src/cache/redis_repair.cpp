#include "klined/cache/redis_repair.hpp"

#include <algorithm>
#include <functional>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "klined/base/assertion.hpp"
#include "klined/cache/redis_layout.hpp"

namespace klined {
namespace {

constexpr std::size_t kPageSize = 500;            // names of series read at once
constexpr std::size_t kLookedMax = 50'000;        // keys, about 6 MB
constexpr std::size_t kWaitingLooksMax = 10'000;  // lost series beyond it ask for a whole pass instead

std::unexpected<Error> unexpected_answer(std::string_view command) {
  return retry(fmt::format("{}: an answer of the wrong kind; is this a Redis server?", command));
}

}  // namespace

RedisRepair::RedisRepair(RepairOptions options, RowSource& source, const Clock& clock)
    : options_(options), source_(source), clock_(clock), backoff_(Milliseconds{500}, Milliseconds{30'000}) {
  KLINED_ASSERT(options_.series_per_second > 0, "repair needs a rate");
  restart();
}

void RedisRepair::restart() {
  phase_ = Phase::kIdle;
  last_request_ = clock_.now();
  pass_due_ = last_request_ + options_.settle;
  pass_began_ = last_request_;
}

void RedisRepair::request_pass() {
  last_request_ = clock_.now();
  if (phase_ == Phase::kIdle) pass_due_ = std::min(pass_due_, last_request_ + options_.settle);
}

void RedisRepair::add_lost(const SeriesName& series) {
  if (lost_.size() >= kWaitingLooksMax) {
    request_pass();
  } else if (lost_names_.insert(series).second) {
    lost_.push_back({clock_.now() + options_.settle, series, {}});
  }
}

Instant RedisRepair::work_due() const {
  Instant due = phase_ == Phase::kIdle ? pass_due_ : pass_began_;
  if (!lost_.empty()) due = std::min(due, lost_.front().due);
  if (!rechecks_.empty()) due = std::min(due, rechecks_.front().due);
  return due;
}

Instant RedisRepair::next_due() const { return std::max(work_due(), next_look_); }

bool RedisRepair::busy() const {
  const bool requested = pass_began_ < last_request_ + options_.settle;
  return phase_ != Phase::kIdle || requested || !lost_.empty() || !rechecks_.empty();
}

Result<RedisRepair::Outcome> RedisRepair::step(RedisConnection& connection, RedisWriter& writer) {
  const Instant now = clock_.now();
  if (now < next_due()) return Outcome{};
  for (std::deque<Recheck>* looks : {&lost_, &rechecks_}) {
    if (looks->empty() || looks->front().due > now) continue;
    const Recheck look = looks->front();
    auto outcome = look_at(connection, writer, look.series, look.doubts);
    if (outcome && outcome->source_errors == 0) {
      if (looks == &lost_) lost_names_.erase(look.series);
      looks->pop_front();
    }
    return outcome;
  }
  if (phase_ == Phase::kIdle) begin_pass();
  return pass_step(connection, writer);
}

void RedisRepair::begin_pass() {
  phase_ = Phase::kKeys;
  pass_began_ = clock_.now();
  cursor_ = "0";
  after_.reset();
  page_.clear();
  looked_.clear();
  last_page_ = false;
  pass_ = Outcome{};
}

void RedisRepair::finish_pass(Outcome& outcome) {
  const Instant now = clock_.now();
  phase_ = Phase::kIdle;
  looked_.clear();
  outcome.passes = 1;
  const Instant settled = last_request_ + options_.settle;
  // What was dropped while the pass ran, it may have missed.
  pass_due_ = settled > pass_began_ ? std::max(now, settled) : now + options_.interval;
  const bool mended = pass_.candles_written + pass_.candles_removed > 0;
  spdlog::log(mended ? spdlog::level::info : spdlog::level::debug,
              "Redis was compared with the tables: series={} seconds={} candles_written={} candles_removed={}",
              pass_.series, std::chrono::duration_cast<std::chrono::seconds>(now - pass_began_).count(),
              pass_.candles_written, pass_.candles_removed);
}

Result<RedisRepair::Outcome> RedisRepair::pass_step(RedisConnection& connection, RedisWriter& writer) {
  Outcome outcome{.worked = true};
  while (!page_.empty() && looked_.contains(redis_key_of(page_.front()))) page_.pop_front();
  if (!page_.empty()) {
    auto looked = look_at(connection, writer, page_.front(), {});
    if (!looked || looked->source_errors > 0) return looked;
    pass_.series += looked->series;
    pass_.candles_written += looked->candles_written;
    pass_.candles_removed += looked->candles_removed;
    // One that is not remembered is looked at twice.
    if (looked_.size() < kLookedMax) looked_.insert(redis_key_of(page_.front()));
    page_.pop_front();
    return looked;
  }
  if (last_page_ && phase_ == Phase::kRows) {
    finish_pass(outcome);
  } else if (last_page_) {
    phase_ = Phase::kRows;
    last_page_ = false;
  } else if (phase_ == Phase::kKeys) {
    if (auto status = read_keys(connection); !status) return std::unexpected(std::move(status.error()));
  } else if (!read_rows_page()) {
    outcome.source_errors = 1;
  }
  return outcome;
}

Status RedisRepair::read_keys(RedisConnection& connection) {
  const std::string count = std::to_string(kPageSize);
  connection.add({"SCAN", cursor_, "MATCH", kRedisKeyPattern, "COUNT", count});
  auto replies = connection.run();
  if (!replies) return std::unexpected(std::move(replies.error()));
  const redisReply& reply = *replies->front();
  if (reply.type != REDIS_REPLY_ARRAY || reply.elements != 2 || reply.element[0]->type != REDIS_REPLY_STRING ||
      reply.element[1]->type != REDIS_REPLY_ARRAY) {
    return unexpected_answer("SCAN");
  }
  cursor_ = text_of(*reply.element[0]);
  last_page_ = cursor_ == "0";
  const redisReply& keys = *reply.element[1];
  for (std::size_t i = 0; i < keys.elements; ++i) {
    if (auto series = series_of_redis_key(text_of(*keys.element[i]))) page_.push_back(std::move(*series));
  }
  return {};
}

bool RedisRepair::read_rows_page() {
  const UnixSeconds since = clock_.wall_seconds() - options_.ttl.count() / 1'000;
  auto names = source_.active_since(since, after_, kPageSize);
  if (!names) {
    source_failed(names.error());
    return false;
  }
  source_answered();
  last_page_ = names->empty();
  if (!names->empty()) after_ = names->back();
  page_.assign(names->begin(), names->end());
  return true;
}

Result<RedisRepair::Outcome> RedisRepair::look_at(RedisConnection& connection, RedisWriter& writer,
                                                  const SeriesName& series, const Doubts& doubts_before) {
  Outcome outcome{.worked = true};
  const auto failed = [this, &outcome](const Error& error) {
    source_failed(error);
    outcome.source_errors = 1;
    return outcome;
  };
  const Result<bool> ours = source_.is_ours(series.chain, series.pair);
  if (!ours) return failed(ours.error());
  next_look_ = clock_.now() + std::chrono::nanoseconds(1'000'000'000 / options_.series_per_second);
  if (!*ours) return outcome;
  auto rows = source_.newest(series.chain, series.pair, series.interval, options_.keep);
  if (!rows) return failed(rows.error());
  source_answered();
  outcome.series = 1;

  const std::string key = redis_key_of(series);
  const Instant seen = clock_.now();
  auto held = read_hash(connection, key);
  if (!held) return std::unexpected(std::move(held.error()));
  const RepairRules rules{options_.keep, source_.close_clock(series.chain), options_.close_grace};
  RepairPlan plan = plan_repair(series, *rows, held->fields, rules, doubts_before);
  const bool needs_ttl = !held->expires && !(held->fields.empty() && plan.writes.empty());
  if (!plan.doubts.empty() && rechecks_.size() < kWaitingLooksMax) {
    rechecks_.push_back({clock_.now() + options_.recheck_after, series, plan.doubts});
  }
  if (plan.nothing_to_do() && !needs_ttl) return outcome;
  const auto is_held = [&held](const RepairPlan::Write& write) {
    return std::ranges::find(held->fields, fmt::format_int(write.time).str(), &StoredField::name) != held->fields.end();
  };
  const auto new_fields = std::ranges::count_if(plan.writes, std::not_fn(is_held));
  auto added = apply(connection, key, plan, needs_ttl, seen);
  if (!added) return std::unexpected(std::move(added.error()));
  if (*added > new_fields) {
    add_lost(series);  // the key vanished since it was read
  } else {
    writer.repaired(series, key, plan);
  }
  outcome.candles_written = static_cast<std::int64_t>(plan.writes.size());
  outcome.candles_removed = static_cast<std::int64_t>(plan.removals.size());
  return outcome;
}

Result<RedisRepair::Held> RedisRepair::read_hash(RedisConnection& connection, const std::string& key) {
  connection.add({"HGETALL", key});
  connection.add({"PTTL", key});
  auto replies = connection.run();
  if (!replies) return std::unexpected(std::move(replies.error()));
  Held held;
  held.reply = std::move(replies->at(0));
  const redisReply& ttl = *replies->at(1);
  if (is_error(*held.reply, "WRONGTYPE")) {
    spdlog::warn("Redis held something other than a hash, which is deleted and written anew: key={}", key);
    connection.add({"DEL", key});
    if (replies = connection.run(); !replies) return std::unexpected(std::move(replies.error()));
    return held;
  }
  if (held.reply->type != REDIS_REPLY_ARRAY || ttl.type != REDIS_REPLY_INTEGER) return unexpected_answer("HGETALL");
  for (std::size_t i = 0; i + 1 < held.reply->elements; i += 2) {
    held.fields.push_back({text_of(*held.reply->element[i]), text_of(*held.reply->element[i + 1])});
  }
  held.expires = ttl.integer >= 0;
  return held;
}

Result<long long> RedisRepair::apply(RedisConnection& connection, const std::string& key, const RepairPlan& plan,
                                     bool needs_ttl, Instant seen) {
  if (!plan.writes.empty()) {
    std::vector<std::string> times;
    times.reserve(plan.writes.size());
    std::vector<std::string_view> command = {"HSET", key};
    for (const RepairPlan::Write& write : plan.writes) {
      command.emplace_back(times.emplace_back(std::to_string(write.time)));
      command.emplace_back(write.value);
    }
    connection.add(command);
  }
  if (!plan.removals.empty()) {
    std::vector<std::string_view> command = {"HDEL", key};
    command.insert(command.end(), plan.removals.begin(), plan.removals.end());
    connection.add(command);
  }
  const std::string ttl = std::to_string(options_.ttl.count());
  if (needs_ttl) connection.add({"PEXPIRE", key, ttl});
  auto replies = connection.run_if_fresh(seen, clock_);
  if (!replies) return std::unexpected(std::move(replies.error()));
  if (plan.writes.empty()) return 0;
  const redisReply& stored = *replies->front();
  if (stored.type != REDIS_REPLY_INTEGER) return unexpected_answer("HSET");
  return stored.integer;
}

// The tables can't be read: the repair waits, everything else goes on.
void RedisRepair::source_failed(const Error& error) {
  if (!source_failing_)
    spdlog::warn("the repair of Redis waits, since the tables cannot be read: error=\"{}\"", error.message);
  source_failing_ = true;
  next_look_ = clock_.now() + backoff_.next();
}

void RedisRepair::source_answered() {
  if (source_failing_) spdlog::info("the repair of Redis goes on, the tables can be read again");
  source_failing_ = false;
  backoff_.reset();
}

}  // namespace klined
