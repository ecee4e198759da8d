#include "klined/cache/redis_writer.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

namespace klined {
namespace {

constexpr std::size_t kTrimsAtOnce = 50;
constexpr std::size_t kOvergrownMax = 50'000;  // hashes that wait to be trimmed, about 15 MB

bool is_nil(const redisReply& reply) { return reply.type == REDIS_REPLY_NIL; }

std::unexpected<Error> unexpected_answer(std::string_view command, const std::string& key) {
  return retry(fmt::format("{} {}: an answer of the wrong kind; is this a Redis server?", command, key));
}

}  // namespace

std::optional<CandleVersion> KnownVersions::find(const std::string& key, UnixSeconds time) const {
  const auto series = series_.find(key);
  if (series == series_.end()) return std::nullopt;
  for (const Known& known : series->second) {
    if (known.time == time) return known.version;
  }
  return std::nullopt;
}

bool KnownVersions::knows_others(const std::string& key, const std::vector<CacheUpdate*>& updates) const {
  const auto series = series_.find(key);
  if (series == series_.end()) return false;
  return std::any_of(series->second.begin(), series->second.end(), [&](const Known& known) {
    return std::none_of(updates.begin(), updates.end(),
                        [&](const CacheUpdate* u) { return u->key.time == known.time; });
  });
}

void KnownVersions::note(const std::string& key, UnixSeconds time, CandleVersion version) {
  if (series_.size() >= series_max_ && !series_.contains(key)) series_.clear();
  std::vector<Known>& known = series_[key];
  const auto same = std::find_if(known.begin(), known.end(), [&](const Known& k) { return k.time == time; });
  if (same != known.end()) {
    same->version = version;
    return;
  }
  known.push_back({time, version});
  if (known.size() > kPerSeries) {
    known.erase(
        std::min_element(known.begin(), known.end(), [](const Known& a, const Known& b) { return a.time < b.time; }));
  }
}

void KnownVersions::forget(const std::string& key, UnixSeconds time) {
  const auto series = series_.find(key);
  if (series != series_.end()) std::erase_if(series->second, [&](const Known& k) { return k.time == time; });
}

Result<RedisWriter::Outcome> RedisWriter::write(RedisConnection& connection, std::vector<CacheUpdate>& batch,
                                                Instant now) {
  std::sort(batch.begin(), batch.end(), [](const CacheUpdate& a, const CacheUpdate& b) { return a.key < b.key; });
  Outcome outcome;
  std::vector<Group> groups = group_by_series(batch);
  Status status = choose(connection, groups, outcome);
  if (status) status = store(connection, groups);
  if (status) status = delete_wrong_types(connection, groups);
  if (!status) return std::unexpected(std::move(status.error()));
  note_overgrown(groups, now);
  for (Group& group : groups) {
    if (group.wrong_type) {
      for (CacheUpdate* update : group.updates) outcome.again.push_back(std::move(*update));
    } else {
      outcome.written += static_cast<std::int64_t>(group.to_write.size());
    }
    if (group.lost) outcome.lost.push_back(std::move(group.series));
  }
  return outcome;
}

std::vector<RedisWriter::Group> RedisWriter::group_by_series(std::vector<CacheUpdate>& batch) {
  std::vector<Group> groups;
  for (CacheUpdate& update : batch) {
    const CandleKey& key = update.key;
    if (groups.empty() || groups.back().series.interval != key.interval || groups.back().series.pair != key.pair ||
        groups.back().series.chain != key.chain) {
      Group& group = groups.emplace_back();
      group.series = SeriesName{key.chain, key.pair, key.interval};
      group.key = redis_key_of(group.series);
    }
    groups.back().updates.push_back(&update);
  }
  return groups;
}

// Decides which updates are to be written: those that are not older than what Redis holds.
Status RedisWriter::choose(RedisConnection& connection, std::vector<Group>& groups, Outcome& outcome) {
  for (Group& group : groups) {
    std::vector<std::string> fields;
    for (const CacheUpdate* update : group.updates) {
      const auto known = known_.find(group.key, update->key.time);
      if (!known) {
        group.unknown.push_back(update);
        fields.push_back(std::to_string(update->key.time));
      } else if (*known <= update->version()) {
        group.to_write.push_back(update);
      } else {
        ++outcome.older;
      }
    }
    group.had_others = known_.knows_others(group.key, group.updates);
    if (fields.empty()) continue;
    std::vector<std::string_view> command = {"HMGET", group.key};
    command.insert(command.end(), fields.begin(), fields.end());
    connection.add(command);
  }
  auto replies = connection.run();
  if (!replies) return std::unexpected(std::move(replies.error()));
  auto next_reply = replies->begin();
  for (Group& group : groups) {
    if (group.unknown.empty()) continue;
    const redisReply& reply = **next_reply++;
    if (is_error(reply, "WRONGTYPE")) {
      group.wrong_type = true;
      continue;
    }
    if (reply.type != REDIS_REPLY_ARRAY || reply.elements != group.unknown.size())
      return unexpected_answer("HMGET", group.key);
    for (std::size_t i = 0; i < reply.elements; ++i) {
      const CacheUpdate* update = group.unknown[i];
      const redisReply& held = *reply.element[i];
      if (is_nil(held)) ++group.new_fields;
      const auto version =
          is_nil(held) ? std::nullopt : version_of_value(group.series, update->key.time, text_of(held));
      if (!version || *version <= update->version()) {
        group.to_write.push_back(update);
      } else {
        // Not noted: `klined verify --repair` may take a wrong field back to a lower version.
        ++outcome.older;
      }
    }
  }
  return {};
}

Status RedisWriter::store(RedisConnection& connection, std::vector<Group>& groups) {
  for (Group& group : groups) {
    if (group.wrong_type || group.to_write.empty()) continue;
    std::vector<std::string> fields;
    fields.reserve(group.to_write.size());
    for (const CacheUpdate* update : group.to_write) fields.push_back(std::to_string(update->key.time));
    std::vector<std::string_view> command = {"HSET", group.key};
    for (std::size_t i = 0; i < fields.size(); ++i) {
      command.emplace_back(fields[i]);
      command.emplace_back(group.to_write[i]->value);
    }
    connection.add(command);
    connection.add({"PEXPIRE", group.key, ttl_});
    if (group.new_fields > 0) connection.add({"HLEN", group.key});
  }
  auto replies = connection.run();
  if (!replies) return std::unexpected(std::move(replies.error()));
  auto next_reply = replies->begin();
  for (Group& group : groups) {
    if (group.wrong_type || group.to_write.empty()) continue;
    const redisReply& stored = **next_reply++;
    const redisReply& expires = **next_reply++;
    const redisReply* length = group.new_fields > 0 ? (next_reply++)->get() : nullptr;
    if (is_error(stored, "WRONGTYPE")) {
      group.wrong_type = true;
      continue;
    }
    if (stored.type != REDIS_REPLY_INTEGER || expires.type != REDIS_REPLY_INTEGER)
      return unexpected_answer("HSET", group.key);
    if (length != nullptr) group.fields = static_cast<std::size_t>(length->integer);
    // More fields are new than should be, there is no key, or nothing but this batch is in it: the rest was evicted,
    // deleted or flushed meanwhile.
    const bool alone = group.had_others && length != nullptr && group.fields <= group.to_write.size();
    group.lost = stored.integer > group.new_fields || expires.integer == 0 || alone;
    if (group.lost) {
      known_.forget(group.key);
      continue;
    }
    for (const CacheUpdate* update : group.to_write) known_.note(group.key, update->key.time, update->version());
  }
  return {};
}

void RedisWriter::note_overgrown(const std::vector<Group>& groups, Instant now) {
  for (const Group& group : groups) {
    // A series that is left out here is noted with its next new candle.
    if (overgrown_.size() >= kOvergrownMax) break;
    if (group.fields > keep_ && overgrown_names_.insert(group.series).second) {
      overgrown_.push_back({now + trim_after_, group.series});
    }
  }
}

std::optional<Instant> RedisWriter::next_trim() const {
  if (overgrown_.empty()) return std::nullopt;
  return overgrown_.front().due;
}

Result<std::int64_t> RedisWriter::trim(RedisConnection& connection, Instant now) {
  std::vector<std::pair<const SeriesName*, std::string>> due;
  for (const Overgrown& overgrown : overgrown_) {
    if (overgrown.due > now || due.size() == kTrimsAtOnce) break;
    due.emplace_back(&overgrown.series, redis_key_of(overgrown.series));
  }
  for (const auto& [series, key] : due) connection.add({"HKEYS", key});
  auto replies = connection.run();
  if (!replies) return std::unexpected(std::move(replies.error()));
  std::int64_t removed = 0;
  for (std::size_t i = 0; i < due.size(); ++i) {
    const auto& [series, key] = due[i];
    const redisReply& names = *(*replies)[i];
    if (names.type != REDIS_REPLY_ARRAY || names.elements <= keep_) continue;
    std::vector<std::pair<UnixSeconds, std::string_view>> fields;
    fields.reserve(names.elements);
    for (std::size_t k = 0; k < names.elements; ++k) {
      const std::string_view name = text_of(*names.element[k]);
      // What no reader asks for counts as oldest.
      const auto time = time_of_field(series->interval, name);
      fields.emplace_back(time.value_or(std::numeric_limits<UnixSeconds>::min()), name);
    }
    const auto over = fields.begin() + static_cast<std::ptrdiff_t>(fields.size() - keep_);
    std::nth_element(fields.begin(), over, fields.end());
    std::vector<std::string_view> command = {"HDEL", key};
    for (auto field = fields.begin(); field != over; ++field) {
      known_.forget(key, field->first);
      command.push_back(field->second);
    }
    removed += over - fields.begin();
    connection.add(command);
  }
  replies = connection.run();
  if (!replies) return std::unexpected(std::move(replies.error()));
  for (std::size_t i = 0; i < due.size(); ++i) {
    overgrown_names_.erase(overgrown_.front().series);
    overgrown_.pop_front();
  }
  return removed;
}

void RedisWriter::repaired(const SeriesName& series, const std::string& key, const RepairPlan& plan) {
  for (const RepairPlan::Write& write : plan.writes) known_.note(key, write.time, write.version);
  for (const std::string& name : plan.removals) {
    if (const auto time = time_of_field(series.interval, name)) known_.forget(key, *time);
  }
}

Status RedisWriter::delete_wrong_types(RedisConnection& connection, std::vector<Group>& groups) {
  for (Group& group : groups) {
    if (!group.wrong_type) continue;
    spdlog::warn("Redis held something other than a hash, which is deleted and written anew: key={}", group.key);
    connection.add({"DEL", group.key});
    known_.forget(group.key);
    group.lost = true;
  }
  auto replies = connection.run();
  if (!replies) return std::unexpected(std::move(replies.error()));
  return {};
}

}  // namespace klined
