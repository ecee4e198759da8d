// What the shadow set takes over from the tables in use, where the log no longer tells of it.
#include <fmt/format.h>

#include <algorithm>

#include "klined/store/candle_columns.hpp"
#include "klined/store/offset_columns.hpp"
#include "klined/store/shadow_tables.hpp"
#include "klined/store/table_scan.hpp"

namespace klined {

namespace {

constexpr std::size_t kRowsPerStatement = 500;

void append_raw(SqlText& sql, const TableScan& row) {
  sql << '(';
  sql.integer(row.key().chain) << ',';
  sql.quoted(row.key().pair) << ',';
  sql.integer(row.key().time);
  for (unsigned i = 0; i < TableScan::cell_count(); ++i) {
    sql << ',';
    sql.quoted(row.cell(i));
  }
  sql << ')';
}

std::string column_list() {
  std::string list = "chain_id,pair_address,candle_time";
  for (unsigned i = 0; i < TableScan::cell_count(); ++i) list += fmt::format(",`{}`", TableScan::name_of_cell(i));
  return list;
}

}  // namespace

Result<std::vector<LaneOffset>> ShadowTables::open_snapshot(MySqlConnection& connection) {
  connection.close();
  if (auto connected = connection.connect(); !connected) return std::unexpected(connected.error());
  for (const std::string_view sql :
       {"SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION WITH CONSISTENT SNAPSHOT"}) {
    if (auto done = connection.execute(sql, "take a snapshot"); !done) return std::unexpected(done.error());
  }
  return read_offsets(connection, sql_, group_, false);
}

// The copied rows lie under the same laws as others: what the shadow set knows of its newest trade must cover them, and
// where the candles' trades begin is where those of the old ones did.
Status ShadowTables::keep_older(MySqlConnection& snapshot, std::span<const Interval> intervals, UnixSeconds until) {
  const Result<std::vector<Interval>> in_use = intervals_in_use();
  if (!in_use) return std::unexpected(in_use.error());
  for (const Interval interval : intervals) {
    const bool is_in_use = std::ranges::find(*in_use, interval) != in_use->end();
    if (auto kept = keep_interval(snapshot, interval, is_in_use, until); !kept) return kept;
  }
  const std::string from = qualified(database(), "stream_offset");
  sql_.clear();
  sql_ << "UPDATE " << qualified(schema(), "stream_offset")
       << " SET max_block_time=GREATEST(max_block_time,(SELECT MAX(max_block_time) FROM " << from << "))";
  if (auto done = run(shadow_, "note the newest kept trade"); !done) return done;
  sql_.clear();
  sql_ << "INSERT INTO " << qualified(schema(), "stream_meta") << " (name,value) SELECT name,value FROM "
       << qualified(database(), "stream_meta")
       << " AS old WHERE old.name LIKE 'begin:%' ON DUPLICATE KEY UPDATE value=VALUES(value)";
  if (auto done = run(shadow_, "note where the kept candles begin"); !done) return done;
  sql_.clear();
  constexpr std::string_view kPairColumns = "chain_id,pair_address,topic_id,partition_id";
  sql_ << "INSERT IGNORE INTO " << qualified(schema(), "stream_pair") << " (" << kPairColumns << ") SELECT "
       << kPairColumns << " FROM " << qualified(database(), "stream_pair");
  return run(shadow_, "keep the pairs' partitions");
}

Status ShadowTables::keep_interval(MySqlConnection& snapshot, Interval interval, bool is_in_use, UnixSeconds until) {
  const std::string target = qualified(schema(), table_of(interval));
  sql_.clear();
  sql_ << "DELETE FROM " << target << " WHERE candle_time<=";
  sql_.integer(until);
  if (auto done = run(shadow_, "make room for older candles"); !done) return done;
  if (!is_in_use) return {};
  TableScan scan(snapshot, qualified(database(), table_of(interval)), interval, TableScan::Within::kTransaction,
                 {.to = until + 1});
  static const std::string kColumns = column_list();
  Result<bool> more = scan.next();
  while (more && *more) {
    sql_.clear();
    sql_ << "REPLACE INTO " << target << " (" << kColumns << ") VALUES ";
    for (std::size_t rows = 0; rows < kRowsPerStatement && more && *more; ++rows, more = scan.next()) {
      if (rows > 0) sql_ << ',';
      append_raw(sql_, scan);
    }
    if (!more) break;
    if (auto done = run(shadow_, "keep older candles"); !done) return done;
  }
  if (!more) return std::unexpected(more.error());
  return {};
}

}  // namespace klined
