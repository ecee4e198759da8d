// Emptying everything, so that a crash in the middle of it can not be mistaken for a state to go on from.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <map>

#include "klined/store/group_lock.hpp"
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

Status end_reset(MySqlConnection& connection) {
  if (auto begun = connection.begin("end a reset"); !begun) return begun;
  for (const std::string_view sql :
       {"DELETE FROM stream_pair", "DELETE FROM stream_topic", "DELETE FROM stream_meta"}) {
    const auto done = connection.execute(sql, "end a reset");
    if (done) continue;
    connection.rollback();
    return std::unexpected(done.error());
  }
  return connection.commit("end a reset");
}

}  // namespace

Result<std::vector<std::string>> reset(const MySqlOptions& options, std::string_view group) {
  GroupLock lock(options, group);
  const Result<bool> locked = lock.try_acquire(Milliseconds(0));
  if (!locked) return std::unexpected(locked.error());
  if (!*locked) {
    return fatal(fmt::format("mysql: a process of consumer group \"{}\" runs ({}): stop it first, nothing was emptied",
                             group, lock.holder()));
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
  if (auto done = end_reset(connection); !done) return std::unexpected(done.error());
  for (const char* table : {"stream_offset", "stream_pair", "stream_topic", "stream_meta"}) emptied.emplace_back(table);
  return emptied;
}

}  // namespace klined
