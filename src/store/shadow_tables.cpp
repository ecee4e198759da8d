#include "klined/store/shadow_tables.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <random>

#include "klined/store/claim_transaction.hpp"
#include "klined/store/group_lock.hpp"
#include "klined/store/offset_columns.hpp"
#include "klined/store/schema.hpp"

namespace klined {

namespace {

constexpr std::string_view kBefore = "before_";
constexpr std::string_view kMark = "rebuild";  // in stream_meta
constexpr std::string_view kTold = "told";
constexpr std::string_view kMeta = "stream_meta";
constexpr unsigned kUnknownDatabase = 1049;
// While a RENAME waits for the tables, every new statement on them waits behind it.
constexpr int kRenameWait = 1;  // s
constexpr int kTurnWait = 10;   // s

// All names that klined gives to tables.
const std::vector<std::string>& our_tables() {
  static const std::vector<std::string> kNames = [] {
    std::vector<std::string> names;
    for (const TableDefinition& table : needed_tables(kAllIntervals)) names.push_back(table.name);
    return names;
  }();
  return kNames;
}

std::vector<std::string> names_of(std::span<const Interval> intervals) {
  std::vector<std::string> names;
  for (const TableDefinition& table : needed_tables(intervals)) names.push_back(table.name);
  return names;
}

std::vector<Interval> intervals_among(const std::set<std::string>& tables, std::string_view prefix) {
  std::vector<Interval> intervals;
  for (const Interval interval : kAllIntervals) {
    if (tables.contains(fmt::format("{}{}", prefix, table_of(interval)))) intervals.push_back(interval);
  }
  return intervals;
}

}  // namespace

std::string qualified(std::string_view schema, std::string_view table) {
  SqlText sql;
  sql.name(schema) << '.';
  sql.name(table);
  return std::string(sql.view());
}

std::string before_name(std::string_view table) { return fmt::format("{}{}", kBefore, table); }

ShadowStage stage_of(const std::set<std::string>& tables, const std::optional<std::string>& shadow_mark,
                     const std::optional<std::string>& live_mark) {
  // The mark travels with its set: it is among the tables in use from the swap on, and not a moment before.
  if (live_mark) return *live_mark == kTold ? ShadowStage::kTold : ShadowStage::kSwapped;
  if (shadow_mark) return ShadowStage::kBuilding;
  if (tables.empty() || tables == std::set<std::string>{std::string(kMeta)}) return ShadowStage::kNone;
  const bool are_old = std::ranges::all_of(tables, [](const std::string& name) { return name.starts_with(kBefore); });
  return are_old ? ShadowStage::kKept : ShadowStage::kForeign;
}

std::string rename_statement(std::string_view live, std::string_view shadow, const std::vector<std::string>& in_use,
                             const std::vector<std::string>& rebuilt) {
  std::string sql = "RENAME TABLE ";
  std::string_view comma;
  for (const std::string& table : in_use) {
    sql += fmt::format("{}{} TO {}", comma, qualified(live, table), qualified(shadow, before_name(table)));
    comma = ",";
  }
  for (const std::string& table : rebuilt) {
    sql += fmt::format("{}{} TO {}", comma, qualified(shadow, table), qualified(live, table));
    comma = ",";
  }
  return sql;
}

ShadowTables::ShadowTables(const MySqlOptions& live, std::string schema, std::string group)
    : group_(std::move(group)), live_(live), shadow_([&live, &schema] {
        MySqlOptions options = live;
        options.database = std::move(schema);
        return options;
      }()) {}

// The statement in sql_, outside of a transaction.
Status ShadowTables::run(MySqlConnection& connection, std::string_view what) {
  const bool was_open = connection.is_open();
  if (auto connected = connection.connect(); !connected) return connected;
  auto done = connection.execute(sql_.view(), what);
  // The server gives silent connections up; all that is run here may be run twice.
  if (!done && was_open && !connection.is_open()) {
    if (auto connected = connection.connect(); !connected) return connected;
    done = connection.execute(sql_.view(), what);
  }
  if (!done) return std::unexpected(done.error());
  return {};
}

// ---- What is there -------------------------------------------------------------------------------------------------

Result<std::set<std::string>> ShadowTables::tables_of(std::string_view schema) {
  sql_.clear();
  sql_ << "SELECT table_name FROM information_schema.tables WHERE table_schema=";
  sql_.quoted(schema);
  Result<SqlRows> rows = live_.ask(sql_.view(), "read the tables");
  if (!rows) return std::unexpected(rows.error());
  std::set<std::string> tables;
  while (rows->next()) tables.emplace(rows->text(0));
  return tables;
}

Result<std::optional<std::string>> ShadowTables::mark_of(std::string_view schema) {
  sql_.clear();
  sql_ << "SELECT value FROM " << qualified(schema, kMeta) << " WHERE name=";
  sql_.quoted(kMark);
  Result<SqlRows> rows = live_.ask(sql_.view(), "read the rebuild's mark");
  if (!rows) return std::unexpected(rows.error());
  if (!rows->next()) return std::nullopt;
  return std::string(rows->text(0));
}

Status ShadowTables::check_live() {
  const Result<std::set<std::string>> tables = tables_of(database());
  if (!tables) return std::unexpected(tables.error());
  for (const std::string& table : names_of({})) {
    if (tables->contains(table)) continue;
    return fatal(
        fmt::format("mysql: database {} lacks {}: there is nothing to rebuild; run `klined init` and `klined "
                    "run`",
                    database(), table));
  }
  Result<SqlRows> rows = live_.ask("SELECT name,value FROM stream_meta", "read stream_meta");
  if (!rows) return std::unexpected(rows.error());
  bool is_ours = false;
  while (rows->next()) {
    if (rows->text(0) == "reset") return fatal("mysql: a reset was broken off: run `klined reset` again");
    if (rows->text(0) != "consumer_group") continue;
    if (rows->text(1) != group_) {
      return fatal(
          fmt::format("mysql: the tables of database {} hold the candles of consumer group \"{}\", not of \"{}\"",
                      database(), rows->text(1), group_));
    }
    is_ours = true;
  }
  if (is_ours) return {};
  return fatal(fmt::format("mysql: group {} has stored nothing in database {} yet: there is nothing to rebuild", group_,
                           database()));
}

// Held by the connection that renames, for as long as it does. A process may be gone while the server still works on
// its statement; and while it does, the list of tables shows some of both sets.
Status ShadowTables::take_turn(int seconds) {
  sql_.clear();
  sql_ << "SELECT GET_LOCK(";
  sql_.quoted(GroupLock::name_of(database(), fmt::format("swap of {}", group_))) << ',';
  sql_.integer(seconds) << ')';
  Result<SqlRows> rows = live_.ask(sql_.view(), "take a turn at swapping");
  if (!rows) return std::unexpected(rows.error());
  if (rows->next() && rows->text(0) == "1") return {};
  return retry(fmt::format("mysql: the tables of database {} are just being swapped", database()));
}

void ShadowTables::end_turn() {
  sql_.clear();
  sql_ << "SELECT RELEASE_LOCK(";
  sql_.quoted(GroupLock::name_of(database(), fmt::format("swap of {}", group_))) << ')';
  if (!live_.ask(sql_.view(), "end a turn at swapping")) live_.close();
}

Result<ShadowTables::Found> ShadowTables::look() {
  if (auto turn = take_turn(kTurnWait); !turn) return std::unexpected(turn.error());
  end_turn();
  if (auto checked = check_live(); !checked) return std::unexpected(checked.error());
  const Result<std::set<std::string>> tables = tables_of(schema());
  if (!tables) return std::unexpected(tables.error());
  const auto live_mark = mark_of(database());
  if (!live_mark) return std::unexpected(live_mark.error());
  std::optional<std::string> shadow_mark;
  if (tables->contains(std::string(kMeta))) {
    auto mark = mark_of(schema());
    if (!mark) return std::unexpected(mark.error());
    shadow_mark = std::move(*mark);
  }
  Found found{.stage = stage_of(*tables, shadow_mark, *live_mark), .plan = shadow_mark.value_or(""), .settings = {}};
  if (found.stage != ShadowStage::kBuilding) return found;
  sql_.clear();
  sql_ << "SELECT value FROM " << qualified(schema(), kMeta) << " WHERE name='settings'";
  Result<SqlRows> rows = live_.ask(sql_.view(), "read the shadow set's settings");
  if (!rows) return std::unexpected(rows.error());
  if (rows->next()) found.settings = rows->text(0);
  return found;
}

Result<std::vector<Interval>> ShadowTables::old_intervals() {
  const Result<std::set<std::string>> tables = tables_of(schema());
  if (!tables) return std::unexpected(tables.error());
  return intervals_among(*tables, kBefore);
}

Result<std::vector<Interval>> ShadowTables::intervals_in_use() {
  const Result<std::set<std::string>> tables = tables_of(database());
  if (!tables) return std::unexpected(tables.error());
  return intervals_among(*tables, "");
}

// ---- Building ------------------------------------------------------------------------------------------------------

Status ShadowTables::write_mark(std::string_view schema, std::string_view value) {
  sql_.clear();
  sql_ << "INSERT INTO " << qualified(schema, kMeta) << " (name,value) VALUES (";
  sql_.quoted(kMark) << ',';
  sql_.quoted(value) << ") ON DUPLICATE KEY UPDATE value=VALUES(value)";
  return run(live_, "note how far the rebuild is");
}

Status ShadowTables::begin(std::string_view plan, std::span<const Interval> intervals) {
  const Status connected = shadow_.connect();
  if (!connected && shadow_.last_code() != kUnknownDatabase) return connected;
  if (!connected) {
    sql_.clear();
    sql_ << "CREATE DATABASE IF NOT EXISTS ";
    sql_.name(schema()) << " CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";
    if (auto made = run(live_, fmt::format("make database {}", schema())); !made) return made;
    if (auto again = shadow_.connect(); !again) return again;
  }
  // The mark comes before all other tables: what has none was not made here.
  for (const TableDefinition& table : needed_tables({})) {
    if (table.name != kMeta) continue;
    if (auto made = shadow_.execute(table.statement, "make table stream_meta"); !made) {
      return std::unexpected(made.error());
    }
  }
  if (auto marked = write_mark(schema(), plan); !marked) return marked;
  if (auto made = create_schema(shadow_.options(), intervals); !made) return std::unexpected(made.error());
  // A topic keeps its number for ever: then rows of both sets compare, and may be copied, as they are.
  sql_.clear();
  sql_ << "INSERT IGNORE INTO " << qualified(schema(), "stream_topic")
       << " (topic_id,topic) SELECT topic_id,topic FROM " << qualified(database(), "stream_topic");
  return run(live_, "copy the topics' numbers");
}

// ---- The swap ------------------------------------------------------------------------------------------------------

Result<std::vector<LaneOffset>> ShadowTables::hold(std::chrono::seconds time) {
  if (auto begun = live_.begin("hold the tables"); !begun) return std::unexpected(begun.error());
  Result<std::vector<LaneOffset>> rows = hold_rows(time);
  if (!rows) {
    live_.rollback();
    return rows;
  }
  if (auto committed = live_.commit("hold the tables"); !committed) return retry(committed.error().message);
  return rows;
}

// Whoever owns the rows is refused from here on, and claims wait for the mark to go or to grow old.
Result<std::vector<LaneOffset>> ShadowTables::hold_rows(std::chrono::seconds time) {
  Result<SqlRows> meta = live_.query("SELECT name FROM stream_meta FOR UPDATE", "lock stream_meta");
  if (!meta) return std::unexpected(meta.error());
  sql_.clear();
  sql_ << "SELECT " << kOffsetColumns << " FROM stream_offset FORCE INDEX (PRIMARY) WHERE consumer_group=";
  sql_.quoted(group_) << " ORDER BY topic,partition_id,lane FOR UPDATE";
  Result<SqlRows> rows = live_.query(sql_.view(), "read the stored offsets");
  if (!rows) return std::unexpected(rows.error());
  std::vector<LaneOffset> offsets;
  while (rows->next()) offsets.push_back(read_offset(*rows));
  if (!rows->good()) {
    return fatal(
        fmt::format("mysql: column {} of stream_offset holds a value that klined has not written", rows->which_bad()));
  }
  std::random_device random;
  sql_.clear();
  sql_ << "UPDATE stream_offset SET owner=";
  sql_.unsigned_integer(((static_cast<std::uint64_t>(random()) << 31U) ^ random()) | 1U) << " WHERE consumer_group=";
  sql_.quoted(group_);
  if (auto done = live_.execute(sql_.view(), "take the offsets over"); !done) return std::unexpected(done.error());
  sql_.clear();
  sql_ << "INSERT INTO stream_meta (name,value) VALUES (";
  sql_.quoted(kHeldUntil) << ",UNIX_TIMESTAMP()+";
  sql_.integer(time.count()) << ") ON DUPLICATE KEY UPDATE value=VALUES(value)";
  if (auto done = live_.execute(sql_.view(), "hold claims back"); !done) return std::unexpected(done.error());
  return offsets;
}

Status ShadowTables::release() {
  sql_.clear();
  sql_ << "DELETE FROM stream_meta WHERE name=";
  sql_.quoted(kHeldUntil);
  return run(live_, "let the job go on");
}

Status ShadowTables::swap(std::span<const Interval> intervals, UnixSeconds closed_until) {
  // What the job has published as closed, no more: the rest is closed by whoever goes on.
  sql_.clear();
  sql_ << "UPDATE " << qualified(schema(), "stream_offset") << " SET closed_until=LEAST(closed_until,";
  sql_.integer(closed_until) << ')';
  if (auto done = run(live_, "note what is published as closed"); !done) return done;
  sql_.clear();
  sql_ << "INSERT INTO " << qualified(schema(), kMeta)
       << " (name,value) VALUES ('rebuilt',DATE_FORMAT(UTC_TIMESTAMP(),'%Y-%m-%dT%H:%i:%sZ')) ON DUPLICATE KEY UPDATE "
          "value=VALUES(value)";
  if (auto done = run(live_, "note the time of the rebuild"); !done) return done;
  const Result<std::set<std::string>> there = tables_of(database());
  if (!there) return std::unexpected(there.error());
  std::vector<std::string> in_use;
  for (const std::string& table : our_tables()) {
    if (there->contains(table)) in_use.push_back(table);
  }
  sql_.clear();
  sql_ << fmt::format("SET SESSION lock_wait_timeout={}", kRenameWait);
  if (auto done = run(live_, "bound the wait for the tables"); !done) return done;
  if (auto turn = take_turn(0); !turn) return turn;
  const auto renamed =
      live_.execute(rename_statement(database(), schema(), in_use, names_of(intervals)), "swap the tables");
  if (live_.is_open()) end_turn();
  if (renamed) return {};
  if (live_.is_open()) return std::unexpected(renamed.error());
  // The answer was lost. The turn comes when the server is done with the statement.
  spdlog::warn("rebuild: no answer to the swap: {}; looking whether it was done", renamed.error().message);
  if (auto turn = take_turn(kTurnWait); !turn) return turn;
  end_turn();
  const auto mark = mark_of(database());
  if (!mark) return std::unexpected(mark.error());
  if (*mark) return {};
  return std::unexpected(renamed.error());
}

// ---- The end -------------------------------------------------------------------------------------------------------

Status ShadowTables::note_told() { return write_mark(database(), kTold); }

Status ShadowTables::finish(bool keep) {
  if (!keep) {
    if (auto dropped = drop(); !dropped) return dropped;
  }
  sql_.clear();
  sql_ << "DELETE FROM stream_meta WHERE name=";
  sql_.quoted(kMark);
  return run(live_, "end the rebuild");
}

Status ShadowTables::drop() {
  const Result<std::set<std::string>> tables = tables_of(schema());
  if (!tables) return std::unexpected(tables.error());
  if (auto dropped = drop_tables(*tables); !dropped) return dropped;
  const Result<std::set<std::string>> left = tables_of(schema());
  if (!left || !left->empty()) return {};
  sql_.clear();
  sql_ << "DROP DATABASE IF EXISTS ";
  sql_.name(schema());
  shadow_.close();
  if (auto done = run(live_, "drop the empty schema"); !done) {
    spdlog::info("rebuild: the empty schema {} stays: {}", schema(), done.error().message);
  }
  return {};
}

// The one with the mark goes last.
Status ShadowTables::drop_tables(const std::set<std::string>& tables) {
  const auto drop_one = [&](const std::string& table) -> Status {
    if (!tables.contains(table)) return {};
    sql_.clear();
    sql_ << "DROP TABLE IF EXISTS " << qualified(schema(), table);
    return run(live_, fmt::format("drop {}.{}", schema(), table));
  };
  for (const std::string& table : our_tables()) {
    if (auto done = drop_one(before_name(table)); !done) return done;
    if (table == kMeta) continue;
    if (auto done = drop_one(table); !done) return done;
  }
  return drop_one(std::string(kMeta));
}

}  // namespace klined
