// Emptying everything, so that a crash in the middle of it can not be mistaken for a state to go on from.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <iterator>
#include <map>

#include "klined/store/group_lock.hpp"
#include "klined/store/offset_columns.hpp"
#include "klined/store/schema.hpp"
#include "klined/store/sql_text.hpp"

namespace klined {

namespace {

// Marks the reset in stream_meta and deletes the offsets: from then on whoever still writes is fenced, and whoever
// claims is refused.
Status begin_reset(MySqlConnection& connection, std::string_view group) {
  if (auto begun = connection.begin("begin a reset"); !begun) return begun;
  const auto marking = [&]() -> Status {
    Result<SqlRows> rows = connection.query("SELECT name,value FROM stream_meta FOR UPDATE", "read stream_meta");
    if (!rows) return std::unexpected(rows.error());
    while (rows->next()) {
      if (rows->text(0) != "consumer_group" || rows->text(1) == group) continue;
      return fatal(
          fmt::format("mysql: the tables of database {} hold the candles of consumer group \"{}\", not of \"{}\": "
                      "nothing was emptied; correct the group in the config, or empty them by hand (sql/reset.sql)",
                      connection.options().database, rows->text(1), group));
    }
    SqlText sql;
    sql << "INSERT INTO stream_meta (name,value) VALUES ('reset','begun') ON DUPLICATE KEY UPDATE value=VALUES(value)";
    if (auto done = connection.execute(sql.view(), "mark the reset"); !done) return std::unexpected(done.error());
    if (auto done = connection.execute("DELETE FROM stream_offset", "delete the offsets"); !done) {
      return std::unexpected(done.error());
    }
    return {};
  };
  if (auto marked = marking(); !marked) {
    connection.rollback();
    return marked;
  }
  return connection.commit("begin a reset");
}

// At once where the user may (it takes the right to DROP), else a piece at a time.
Status empty_table(MySqlConnection& connection, std::string_view table) {
  const std::string what = fmt::format("empty {}", table);
  if (connection.execute(fmt::format("TRUNCATE TABLE {}", table), what)) return {};
  const std::string statement = fmt::format("DELETE FROM {} LIMIT 20000", table);
  while (true) {
    const Result<std::uint64_t> deleted = connection.execute(statement, what);
    if (!deleted) return std::unexpected(deleted.error());
    if (*deleted == 0) return {};
  }
}

// The rows that a claim would have written, had it begun at the place.
std::vector<std::string> rows_of(const ResetPlace& place, std::string_view group) {
  SqlText meta;
  meta << "INSERT INTO stream_meta (name,value) VALUES ('consumer_group',";
  meta.quoted(group) << ')';
  SqlText topics;
  topics << "INSERT INTO stream_topic (topic_id,topic) VALUES ";
  SqlText offsets;
  offsets << "INSERT INTO stream_offset (consumer_group,owner," << kOffsetColumns << ") VALUES ";
  std::map<std::string, std::int32_t> numbers;
  for (const PartitionStart& start : place.partitions) {
    const auto [number, is_new] = numbers.emplace(start.topic, static_cast<std::int32_t>(numbers.size()) + 1);
    if (is_new) {
      topics << (number->second > 1 ? ",(" : "(");
      topics.integer(number->second) << ',';
      topics.quoted(start.topic) << ')';
    }
    meta << ",(";
    meta.quoted(begin_name(number->second, start.partition)) << ",'";
    meta.integer(start.offset) << "')";
    for (std::int32_t lane = 0; lane < place.lanes; ++lane) {
      if (lane > 0 || &start != &place.partitions.front()) offsets << ',';
      append_offset(offsets, group, 0,
                    {.topic = start.topic,
                     .partition = start.partition,
                     .lane = lane,
                     .next_offset = start.offset,
                     .window_offset = start.offset,
                     .window_clocks = {}});
    }
  }
  return {std::string(meta.view()), std::string(topics.view()), std::string(offsets.view())};
}

Status end_reset(MySqlConnection& connection, std::string_view group, const std::optional<ResetPlace>& place) {
  std::vector<std::string> statements{"DELETE FROM stream_pair", "DELETE FROM stream_topic", "DELETE FROM stream_meta"};
  if (place) std::ranges::move(rows_of(*place, group), std::back_inserter(statements));
  if (auto begun = connection.begin("end a reset"); !begun) return begun;
  for (const std::string& sql : statements) {
    const auto done = connection.execute(sql, "end a reset");
    if (done) continue;
    connection.rollback();
    return std::unexpected(done.error());
  }
  return connection.commit("end a reset");
}

}  // namespace

Result<std::vector<std::string>> reset(const MySqlOptions& options, std::string_view group,
                                       const std::optional<ResetPlace>& place) {
  GroupLock lock(options, group);
  const Result<std::optional<std::string>> other = lock.acquire_alone();
  if (!other) return std::unexpected(other.error());
  if (*other) {
    return fatal(fmt::format("mysql: a process of consumer group \"{}\" runs ({}): stop it first, nothing was emptied",
                             group, **other));
  }
  MySqlConnection connection(options);
  if (auto done = begin_reset(connection, group); !done) return std::unexpected(done.error());
  const Result<std::vector<Interval>> tables = candle_tables(connection);
  if (!tables) return std::unexpected(tables.error());
  std::vector<std::string> emptied;
  for (const Interval interval : *tables) {
    if (auto done = empty_table(connection, table_of(interval)); !done) return std::unexpected(done.error());
    emptied.emplace_back(table_of(interval));
    // A process that takes over meanwhile is refused by the mark; this only keeps the lock's connection alive.
    if (auto pinged = lock.ping(); !pinged)
      spdlog::warn("reset goes on without the group's lock: {}", pinged.error().message);
  }
  if (auto done = end_reset(connection, group, place); !done) return std::unexpected(done.error());
  for (const char* table : {"stream_offset", "stream_pair", "stream_topic", "stream_meta"}) emptied.emplace_back(table);
  return emptied;
}

}  // namespace klined
