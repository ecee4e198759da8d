#include "klined/store/shadow_tables.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <random>

#include "klined/store/claim_transaction.hpp"
#include "klined/store/group_lock.hpp"
#include "klined/store/offset_columns.hpp"
#include "klined/store/schema.hpp"

namespace klined {

namespace {

constexpr std::string_view kBefore = "before_";
// In stream_meta.
constexpr std::string_view kMark = "rebuild";
constexpr std::string_view kMarkOf = "rebuild_of";
constexpr std::string_view kMarkIn = "rebuild_in";
constexpr std::string_view kTold = "told";
constexpr std::string_view kKept = "kept";
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

std::string origin_of(const RebuildMark& mark) {
  return mark.of.empty() ? "another database, or by an older klined," : "database " + mark.of;
}

// Servers on some systems do not tell such names apart.
bool are_alike(std::string_view a, std::string_view b) {
  const auto lower = [](unsigned char c) { return std::tolower(c); };
  return std::ranges::equal(a, b, {}, lower, lower);
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
    : group_(std::move(group)),
      live_(live),
      shadow_([&live, &schema] {
        MySqlOptions options = live;
        options.database = std::move(schema);
        return options;
      }()),
      holding_(live) {}

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

Result<std::optional<RebuildMark>> ShadowTables::mark_in(std::string_view meta) {
  sql_.clear();
  sql_ << "SELECT name,value FROM " << meta;
  Result<SqlRows> rows = live_.ask(sql_.view(), "read the rebuild's mark");
  if (!rows) return std::unexpected(rows.error());
  RebuildMark mark;
  bool is_there = false;
  while (rows->next()) {
    const std::string_view name = rows->text(0);
    if (name == kMark) mark.state = rows->text(1);
    if (name == kMarkOf) mark.of = rows->text(1);
    if (name == kMarkIn) mark.in = rows->text(1);
    is_there = is_there || name == kMark;
  }
  if (!is_there) return std::nullopt;
  return mark;
}

// What the swap has moved is in the schema that it was made with, and nowhere else.
Status ShadowTables::check_swapped_with(const RebuildMark& live_mark) const {
  if (live_mark.in == schema() && live_mark.of == database()) return {};
  if (live_mark.of != database()) {
    return fatal(
        fmt::format("mysql: the tables of database {0} come from an unfinished rebuild of {1} (were they copied from "
                    "there?): finish that one; or, if nothing of it is to be published any more, DELETE FROM {0}.{2} "
                    "WHERE name='{3}', and run it again",
                    database(), origin_of(live_mark), kMeta, kMark));
  }
  return fatal(fmt::format(
      "mysql: the tables of database {} were swapped by a rebuild with --schema {}, which is not ended: run "
      "it again with --schema {}, nothing was done in {}",
      database(), live_mark.in, live_mark.in, schema()));
}

Status ShadowTables::check_ours(const std::optional<RebuildMark>& mark) const {
  if (mark && mark->of == database() && mark->in == schema()) return {};
  return fatal(
      fmt::format("mysql: database {} holds tables of a rebuild of {}, not of database {}: name another one with "
                  "--schema, or delete it by hand if nobody needs it",
                  schema(), origin_of(mark.value_or(RebuildMark())), database()));
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

// Held by the session that renames, from the hold on. A process may be gone while the server still works on its
// statement; and while it does, the list of tables shows some of both sets.
Status ShadowTables::take_turn(MySqlConnection& connection, int seconds) {
  sql_.clear();
  sql_ << "SELECT GET_LOCK(";
  sql_.quoted(swap_lock_name(database(), group_)) << ',';
  sql_.integer(seconds) << ')';
  Result<SqlRows> rows = connection.ask(sql_.view(), "take a turn at swapping");
  if (!rows) return std::unexpected(rows.error());
  if (rows->next() && rows->text(0) == "1") return {};
  return retry(fmt::format("mysql: the tables of database {} are just being swapped", database()));
}

void ShadowTables::end_turn() {
  sql_.clear();
  sql_ << "SELECT RELEASE_LOCK(";
  sql_.quoted(swap_lock_name(database(), group_)) << ')';
  if (!live_.ask(sql_.view(), "end a turn at swapping")) live_.close();
}

Result<ShadowTables::Found> ShadowTables::look() {
  if (are_alike(schema(), database())) {
    return fatal(
        fmt::format("--schema: {} is the database of the tables in use: the new ones need one of their own", schema()));
  }
  if (auto turn = take_turn(live_, kTurnWait); !turn) return std::unexpected(turn.error());
  end_turn();
  if (auto checked = check_live(); !checked) return std::unexpected(checked.error());
  const Result<std::set<std::string>> tables = tables_of(schema());
  if (!tables) return std::unexpected(tables.error());
  const auto live_mark = mark_in(qualified(database(), kMeta));
  if (!live_mark) return std::unexpected(live_mark.error());
  const auto mark_among = [&](const std::string& meta) -> Result<std::optional<RebuildMark>> {
    if (!tables->contains(meta)) return std::nullopt;
    return mark_in(qualified(schema(), meta));
  };
  const auto shadow_mark = mark_among(std::string(kMeta));
  if (!shadow_mark) return std::unexpected(shadow_mark.error());
  const auto state = [](const RebuildMark& mark) { return mark.state; };
  Found found{.stage = stage_of(*tables, shadow_mark->transform(state), live_mark->transform(state)),
              .plan = shadow_mark->transform(state).value_or(""),
              .settings = {}};
  if (*live_mark) {
    if (auto right = check_swapped_with(**live_mark); !right) return std::unexpected(right.error());
  }
  if (found.stage == ShadowStage::kKept) {
    const auto kept_mark = mark_among(before_name(kMeta));
    if (!kept_mark) return std::unexpected(kept_mark.error());
    if (auto ours = check_ours(*kept_mark); !ours) return std::unexpected(ours.error());
  }
  if (found.stage != ShadowStage::kBuilding) return found;
  if (auto ours = check_ours(*shadow_mark); !ours) return std::unexpected(ours.error());
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

Status ShadowTables::write_mark(std::string_view meta, std::string_view state) {
  sql_.clear();
  sql_ << "INSERT INTO " << meta << " (name,value) VALUES (";
  sql_.quoted(kMark) << ',';
  sql_.quoted(state) << "),(";
  sql_.quoted(kMarkOf) << ',';
  sql_.quoted(database()) << "),(";
  sql_.quoted(kMarkIn) << ',';
  sql_.quoted(schema()) << ") ON DUPLICATE KEY UPDATE value=VALUES(value)";
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
  if (auto marked = write_plan(plan); !marked) return marked;
  // What one that was broken off at once has made for intervals that the config no longer has: the swap would leave it.
  std::vector<std::string> surplus = our_tables();
  const std::vector<std::string> needed = names_of(intervals);
  std::erase_if(surplus, [&](const std::string& name) { return std::ranges::find(needed, name) != needed.end(); });
  if (auto dropped = drop_tables(surplus); !dropped) return dropped;
  if (auto made = create_schema(shadow_.options(), intervals); !made) return std::unexpected(made.error());
  // A topic keeps its number for ever: then rows of both sets compare, and may be copied, as they are.
  sql_.clear();
  sql_ << "INSERT IGNORE INTO " << qualified(schema(), "stream_topic")
       << " (topic_id,topic) SELECT topic_id,topic FROM " << qualified(database(), "stream_topic");
  return run(live_, "copy the topics' numbers");
}

// ---- The swap ------------------------------------------------------------------------------------------------------

Result<std::vector<LaneOffset>> ShadowTables::hold(std::chrono::seconds time) {
  Result<std::vector<LaneOffset>> rows = begin_hold(time);
  if (!rows) release();
  return rows;
}

Result<std::vector<LaneOffset>> ShadowTables::begin_hold(std::chrono::seconds time) {
  holding_.close();
  if (auto turn = take_turn(holding_, kTurnWait); !turn) return std::unexpected(turn.error());
  // From here on nothing that opens the connection anew: begin(), ask(), run().
  sql_.clear();
  sql_ << fmt::format("SET SESSION wait_timeout={},lock_wait_timeout={}", time.count(), kRenameWait);
  for (const std::string_view sql : {sql_.view(), std::string_view("START TRANSACTION")}) {
    if (auto done = holding_.execute(sql, "hold the tables"); !done) return std::unexpected(done.error());
  }
  Result<std::vector<LaneOffset>> rows = hold_rows();
  if (!rows) return rows;
  if (auto committed = holding_.commit("hold the tables"); !committed) return retry(committed.error().message);
  return rows;
}

// Whoever owns the rows is refused from here on, and claims wait for the session that holds.
Result<std::vector<LaneOffset>> ShadowTables::hold_rows() {
  Result<SqlRows> meta = holding_.query("SELECT name FROM stream_meta FOR UPDATE", "lock stream_meta");
  if (!meta) return std::unexpected(meta.error());
  sql_.clear();
  sql_ << "SELECT " << kOffsetColumns << " FROM stream_offset FORCE INDEX (PRIMARY) WHERE consumer_group=";
  sql_.quoted(group_) << " ORDER BY topic,partition_id,lane FOR UPDATE";
  Result<SqlRows> rows = holding_.query(sql_.view(), "read the stored offsets");
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
  if (auto done = holding_.execute(sql_.view(), "take the offsets over"); !done) return std::unexpected(done.error());
  return offsets;
}

// On the session that holds: the offsets in use stand still. Where the lanes are others by now, the slowest one counts.
Status ShadowTables::check_not_behind() {
  const std::string of_shadow = fmt::format(
      "FROM {} AS s WHERE s.consumer_group=o.consumer_group AND s.topic=o.topic AND s.partition_id=o.partition_id",
      qualified(schema(), "stream_offset"));
  sql_.clear();
  sql_ << "SELECT topic,partition_id,next_offset FROM stream_offset AS o WHERE consumer_group=";
  sql_.quoted(group_) << " AND next_offset>COALESCE((SELECT s.next_offset " << of_shadow
                      << " AND s.lane=o.lane),(SELECT MIN(s.next_offset) " << of_shadow << "),-1) LIMIT 1";
  Result<SqlRows> behind = holding_.query(sql_.view(), "compare the offsets");
  if (!behind) return std::unexpected(behind.error());
  if (!behind->next()) return {};
  return retry(fmt::format("mysql: the new tables are behind those in use, which hold {}[{}] up to offset {}",
                           behind->text(0), behind->text(1), behind->text(2)));
}

Status ShadowTables::swap(std::span<const Interval> intervals, UnixSeconds closed_until) {
  if (auto checked = check_not_behind(); !checked) return checked;
  // What the job has published as closed, no more: the rest is closed by whoever goes on.
  sql_.clear();
  sql_ << "UPDATE " << qualified(schema(), "stream_offset") << " SET owner=0,closed_until=LEAST(closed_until,";
  sql_.integer(closed_until) << ')';
  if (auto done = holding_.execute(sql_.view(), "note what is published as closed"); !done) {
    return std::unexpected(done.error());
  }
  sql_.clear();
  sql_ << "INSERT INTO " << qualified(schema(), kMeta)
       << " (name,value) VALUES ('rebuilt',DATE_FORMAT(UTC_TIMESTAMP(),'%Y-%m-%dT%H:%i:%sZ')) ON DUPLICATE KEY UPDATE "
          "value=VALUES(value)";
  if (auto done = holding_.execute(sql_.view(), "note the time of the rebuild"); !done) {
    return std::unexpected(done.error());
  }
  const Result<std::set<std::string>> there = tables_of(database());
  if (!there) return std::unexpected(there.error());
  std::vector<std::string> in_use;
  for (const std::string& table : our_tables()) {
    if (there->contains(table)) in_use.push_back(table);
  }
  const auto renamed =
      holding_.execute(rename_statement(database(), schema(), in_use, names_of(intervals)), "swap the tables");
  if (!renamed && holding_.is_open()) {
    return std::unexpected(
        Error{renamed.error().kind, fmt::format("the tables are in use: {}", renamed.error().message)});
  }
  if (!renamed) {
    spdlog::warn("rebuild: no answer to the swap: {}; looking whether it was done", renamed.error().message);
    const Result<bool> swapped = was_swapped();
    if (!swapped) return std::unexpected(swapped.error());
    if (!*swapped) return std::unexpected(renamed.error());
  }
  release();
  return {};
}

// After an answer was lost. The turn comes when the server is done with the statement.
Result<bool> ShadowTables::was_swapped() {
  if (auto turn = take_turn(live_, kTurnWait); !turn) return std::unexpected(turn.error());
  end_turn();
  const auto mark = mark_in(qualified(database(), kMeta));
  if (!mark) return std::unexpected(mark.error());
  return mark->has_value();
}

// ---- The end -------------------------------------------------------------------------------------------------------

Result<bool> ShadowTables::has_job_behind() {
  sql_.clear();
  sql_ << "SELECT EXISTS(SELECT 1 FROM stream_offset WHERE owner=0 AND consumer_group=";
  sql_.quoted(group_) << ") AND IS_USED_LOCK(";
  sql_.quoted(GroupLock::name_of(database(), group_)) << ") IS NOT NULL";
  Result<SqlRows> rows = live_.ask(sql_.view(), "look whether the job goes on from the new tables");
  if (!rows) return std::unexpected(rows.error());
  return rows->next() && rows->text(0) == "1";
}

Status ShadowTables::note_told() { return write_mark(qualified(database(), kMeta), kTold); }

Status ShadowTables::finish(bool keep) {
  const Result<std::set<std::string>> tables = tables_of(schema());
  if (!tables) return std::unexpected(tables.error());
  if (!keep) {
    if (auto dropped = drop_old(); !dropped) return dropped;
  } else if (const std::string meta = before_name(kMeta); tables->contains(meta)) {
    if (auto marked = write_mark(qualified(schema(), meta), kKept); !marked) return marked;
  }
  sql_.clear();
  sql_ << "DELETE FROM stream_meta WHERE name IN (";
  sql_.quoted(kMark) << ',';
  sql_.quoted(kMarkOf) << ',';
  sql_.quoted(kMarkIn) << ')';
  return run(live_, "end the rebuild");
}

Status ShadowTables::drop_rebuilt() {
  const auto mark = mark_in(qualified(schema(), kMeta));
  if (!mark) return std::unexpected(mark.error());
  if (auto ours = check_ours(*mark); !ours) return ours;
  if (auto dropped = drop_tables(our_tables()); !dropped) return dropped;
  return drop_empty_schema();
}

Status ShadowTables::drop_old() {
  std::vector<std::string> names;
  for (const std::string& table : our_tables()) names.push_back(before_name(table));
  if (auto dropped = drop_tables(names); !dropped) return dropped;
  return drop_empty_schema();
}

// The one with the mark goes last.
Status ShadowTables::drop_tables(const std::vector<std::string>& names) {
  const Result<std::set<std::string>> tables = tables_of(schema());
  if (!tables) return std::unexpected(tables.error());
  std::vector<std::string> there;
  for (const std::string& name : names) {
    if (tables->contains(name)) there.push_back(name);
  }
  std::ranges::stable_partition(there, [](const std::string& name) { return !name.ends_with(kMeta); });
  for (const std::string& name : there) {
    sql_.clear();
    sql_ << "DROP TABLE IF EXISTS " << qualified(schema(), name);
    if (auto done = run(live_, fmt::format("drop {}.{}", schema(), name)); !done) return done;
  }
  return {};
}

// Where somebody keeps something else there, it stays.
Status ShadowTables::drop_empty_schema() {
  sql_.clear();
  sql_ << "SELECT (SELECT COUNT(*) FROM information_schema.tables WHERE table_schema=";
  sql_.quoted(schema()) << ")+(SELECT COUNT(*) FROM information_schema.routines WHERE routine_schema=";
  sql_.quoted(schema()) << ")+(SELECT COUNT(*) FROM information_schema.events WHERE event_schema=";
  sql_.quoted(schema()) << ')';
  Result<SqlRows> left = live_.ask(sql_.view(), "look what is left in the schema");
  if (!left || !left->next() || left->text(0) != "0") return {};
  sql_.clear();
  sql_ << "DROP DATABASE IF EXISTS ";
  sql_.name(schema());
  shadow_.close();
  if (auto done = run(live_, "drop the empty schema"); !done) {
    spdlog::info("rebuild: the empty schema {} stays: {}", schema(), done.error().message);
  }
  return {};
}

}  // namespace klined
