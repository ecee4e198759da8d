#include "klined/cache/redis_writer.hpp"

#include <algorithm>
#include <limits>
#include <tuple>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <xxhash.h>

namespace klined {
namespace {

constexpr std::size_t kTrimsAtOnce = 50;
constexpr std::size_t kOvergrownMax = 50'000;  // hashes that wait to be trimmed, about 15 MB

bool is_nil(const redisReply& reply) { return reply.type == REDIS_REPLY_NIL; }

std::unexpected<Error> unexpected_answer(std::string_view command, std::string_view key) {
  return retry(fmt::format("{} {}: an answer of the wrong kind; is this a Redis server?", command, key));
}

}  // namespace

KnownVersions::Id KnownVersions::id_of(std::string_view key) {
  const XXH128_hash_t hash = XXH3_128bits(key.data(), key.size());
  return {hash.low64, hash.high64};
}

std::optional<CandleVersion> KnownVersions::find(const Id& id, UnixSeconds time) const {
  const auto series = series_.find(id);
  if (series == series_.end()) return std::nullopt;
  for (const Known& known : series->second.candles()) {
    if (known.time == time) return known.version;
  }
  return std::nullopt;
}

void KnownVersions::note(const Id& id, UnixSeconds time, CandleVersion version) {
  if (series_.size() >= series_max_ && !series_.contains(id)) series_.clear();
  Series& series = series_[id];
  const std::span<Known> known = series.candles();
  if (const auto same = std::ranges::find(known, time, &Known::time); same != known.end()) {
    same->version = version;
  } else if (series.count < kPerSeries) {
    series.known[series.count++] = {time, version};
  } else if (const auto oldest = std::ranges::min_element(known, {}, &Known::time); oldest->time < time) {
    *oldest = {time, version};
  }
}

KnownVersions::Hash KnownVersions::hash(const Id& id) const {
  const auto series = series_.find(id);
  return series == series_.end() ? Hash{} : series->second.hash;
}

void KnownVersions::note_hash(const Id& id, Hash hash) {
  if (const auto series = series_.find(id); series != series_.end()) series->second.hash = hash;
}

void KnownVersions::forget(const Id& id, UnixSeconds time) {
  const auto series = series_.find(id);
  if (series == series_.end()) return;
  const std::span<Known> known = series->second.candles();
  const auto same = std::ranges::find(known, time, &Known::time);
  if (same == known.end()) return;
  *same = known.back();
  if (--series->second.count == 0) series_.erase(series);
}

SeriesName RedisWriter::Group::name() const {
  const CandleKey& first = items.front().update->key;
  return {first.chain, first.pair, first.interval};
}

Result<RedisWriter::Outcome> RedisWriter::write(RedisConnection& connection, std::vector<CacheUpdate>& batch,
                                                const Clock& clock) {
  const Instant seen = clock.now();
  Outcome outcome;
  std::vector<Group> groups = group_by_series(batch);
  Status status = choose(connection, groups, outcome);
  if (status) status = store(connection, groups, seen, clock);
  if (status) status = delete_wrong_types(connection, groups);
  if (!status) return std::unexpected(std::move(status.error()));
  note_overgrown(groups, clock.now());
  for (const Group& group : groups) {
    if (group.lost) outcome.lost.push_back(group.name());
    if (!group.wrong_type) {
      outcome.written += static_cast<std::int64_t>(group.to_write);
      continue;
    }
    for (const Item& item : group.items) outcome.again.push_back(std::move(*item.update));
  }
  return outcome;
}

// In an order of its own: names are long, and to compare them would cost more than to hash them.
std::vector<RedisWriter::Group> RedisWriter::group_by_series(std::vector<CacheUpdate>& batch) {
  items_.clear();
  keys_.clear();
  for (CacheUpdate& update : batch) {
    const std::size_t begin = keys_.size();
    append_redis_key(update.key.chain, update.key.pair, update.key.interval, keys_);
    const std::size_t size = keys_.size() - begin;
    items_.push_back({&update, KnownVersions::id_of(std::string_view(keys_).substr(begin)), begin, size});
  }
  std::ranges::sort(items_, [](const Item& a, const Item& b) {
    return std::tie(a.series, a.update->key.time) < std::tie(b.series, b.update->key.time);
  });
  std::vector<Group> groups;
  for (std::size_t begin = 0, end = 0; begin < items_.size(); begin = end) {
    while (end < items_.size() && items_[end].series == items_[begin].series) ++end;
    Group& group = groups.emplace_back();
    group.key = std::string_view(keys_).substr(items_[begin].key_begin, items_[begin].key_size);
    group.items = std::span(items_).subspan(begin, end - begin);
  }
  return groups;
}

// Decides which updates are to be written: those that are not older than what Redis holds.
Status RedisWriter::choose(RedisConnection& connection, std::vector<Group>& groups, Outcome& outcome) {
  for (Group& group : groups) {
    fields_.clear();
    for (Item& item : group.items) {
      const auto known = known_.find(group.id(), item.update->key.time);
      if (!known) {
        fields_.push_back(std::to_string(item.update->key.time));
      } else if (*known <= item.update->version()) {
        item.fate = Item::Fate::kWrite;
        ++group.to_write;
      } else {
        item.fate = Item::Fate::kLeave;
        ++outcome.older;
      }
    }
    group.unknown = fields_.size();
    group.hash = known_.hash(group.id());
    if (fields_.empty()) continue;
    group.witness = known_.other(group.id(), [&group](UnixSeconds time) {
      return std::ranges::any_of(group.items, [time](const Item& item) { return item.update->key.time == time; });
    });
    if (group.witness) fields_.push_back(std::to_string(*group.witness));
    command_.assign({"HMGET", group.key});
    command_.insert(command_.end(), fields_.begin(), fields_.end());
    connection.add(command_);
  }
  return read_unknown(connection, groups, outcome);
}

Status RedisWriter::read_unknown(RedisConnection& connection, std::vector<Group>& groups, Outcome& outcome) {
  auto replies = connection.run();
  if (!replies) return std::unexpected(std::move(replies.error()));
  auto next_reply = replies->begin();
  for (Group& group : groups) {
    if (group.unknown == 0) continue;
    const redisReply& reply = **next_reply++;
    if (is_error(reply, "WRONGTYPE")) {
      group.wrong_type = true;
      continue;
    }
    if (reply.type != REDIS_REPLY_ARRAY || reply.elements != group.unknown + (group.witness ? 1 : 0))
      return unexpected_answer("HMGET", group.key);
    if (group.witness && is_nil(*reply.element[group.unknown])) {
      group.lost = true;
      group.hash = {};
      known_.forget(group.id());
    }
    std::size_t next = 0;
    for (Item& item : group.items) {
      if (item.fate != Item::Fate::kRead) continue;
      const redisReply& held = *reply.element[next++];
      const auto version =
          is_nil(held) ? std::nullopt : version_of_value(group.name(), item.update->key.time, text_of(held));
      if (is_nil(held)) ++group.new_fields;
      if (!version || *version <= item.update->version()) {
        item.fate = Item::Fate::kWrite;
        ++group.to_write;
      } else {
        // Not noted: `klined verify --repair` may take a wrong field back to a lower version.
        item.fate = Item::Fate::kLeave;
        ++outcome.older;
      }
    }
  }
  return {};
}

Status RedisWriter::store(RedisConnection& connection, std::vector<Group>& groups, Instant seen, const Clock& clock) {
  for (Group& group : groups) {
    if (group.wrong_type || group.to_write == 0) continue;
    fields_.clear();
    for (const Item& item : group.items) {
      if (item.fate == Item::Fate::kWrite) fields_.push_back(std::to_string(item.update->key.time));
    }
    command_.assign({"HSET", group.key});
    auto field = fields_.begin();
    for (const Item& item : group.items) {
      if (item.fate != Item::Fate::kWrite) continue;
      command_.emplace_back(*field++);
      command_.emplace_back(item.update->value);
    }
    connection.add(command_);
    // With a new field the key itself may be new: it may have vanished since it was read.
    group.asks_length = group.new_fields > 0;
    group.sets_expiry = group.asks_length || !group.hash.expiry_set || seen - *group.hash.expiry_set >= expiry_good_;
    if (group.sets_expiry) connection.add({"PEXPIRE", group.key, ttl_});
    if (group.asks_length) connection.add({"HLEN", group.key});
  }
  auto replies = connection.run_if_fresh(seen, clock);
  if (!replies) return std::unexpected(std::move(replies.error()));
  auto next_reply = replies->begin();
  for (Group& group : groups) {
    if (group.wrong_type || group.to_write == 0) continue;
    const redisReply& stored = **next_reply++;
    const redisReply* expires = group.sets_expiry ? (next_reply++)->get() : nullptr;
    const redisReply* length = group.asks_length ? (next_reply++)->get() : nullptr;
    if (is_error(stored, "WRONGTYPE")) {
      group.wrong_type = true;
      continue;
    }
    if (stored.type != REDIS_REPLY_INTEGER || (expires != nullptr && expires->type != REDIS_REPLY_INTEGER) ||
        (length != nullptr && length->type != REDIS_REPLY_INTEGER)) {
      return unexpected_answer("HSET", group.key);
    }
    // The key was evicted, deleted or flushed meanwhile: more fields are new than should be, or no others are there.
    if (stored.integer > group.new_fields || (expires != nullptr && expires->integer == 0)) group.lost = true;
    if (length != nullptr) {
      group.hash.fields = static_cast<std::size_t>(length->integer);
      if (group.witness && group.hash.fields <= group.to_write) group.lost = true;
    }
    if (group.lost) {
      known_.forget(group.id());
      continue;
    }
    if (group.sets_expiry) group.hash.expiry_set = seen;
    for (const Item& item : group.items) {
      if (item.fate == Item::Fate::kWrite) known_.note(group.id(), item.update->key.time, item.update->version());
    }
    known_.note_hash(group.id(), group.hash);
  }
  return {};
}

void RedisWriter::note_overgrown(const std::vector<Group>& groups, Instant now) {
  for (const Group& group : groups) {
    // A series that is left out here is noted with its next new candle.
    if (overgrown_.size() >= kOvergrownMax) break;
    if (group.new_fields == 0 || group.hash.fields <= keep_) continue;
    SeriesName name = group.name();
    if (overgrown_names_.insert(name).second) overgrown_.push_back({now + trim_after_, std::move(name)});
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
    const KnownVersions::Id id = KnownVersions::id_of(key);
    std::vector<std::string_view> command = {"HDEL", key};
    for (auto field = fields.begin(); field != over; ++field) {
      known_.forget(id, field->first);
      command.push_back(field->second);
    }
    known_.note_hash(id, {keep_, known_.hash(id).expiry_set});
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
  const KnownVersions::Id id = KnownVersions::id_of(key);
  for (const RepairPlan::Write& write : plan.writes) known_.note(id, write.time, write.version);
  for (const std::string& name : plan.removals) {
    if (const auto time = time_of_field(series.interval, name)) known_.forget(id, *time);
  }
  known_.note_hash(id, {0, known_.hash(id).expiry_set});
}

Status RedisWriter::delete_wrong_types(RedisConnection& connection, std::vector<Group>& groups) {
  for (Group& group : groups) {
    if (!group.wrong_type) continue;
    spdlog::warn("Redis held something other than a hash, which is deleted and written anew: key={}", group.key);
    connection.add({"DEL", group.key});
    known_.forget(group.id());
    group.lost = true;
  }
  auto replies = connection.run();
  if (!replies) return std::unexpected(std::move(replies.error()));
  return {};
}

}  // namespace klined
