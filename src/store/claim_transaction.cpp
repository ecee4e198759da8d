#include "klined/store/claim_transaction.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <set>

#include "klined/base/assertion.hpp"
#include "klined/store/group_lock.hpp"
#include "klined/store/offset_columns.hpp"
#include "klined/store/schema.hpp"

namespace klined {

namespace {

constexpr std::string_view kReset = "start over with `klined reset`";

std::map<std::string, std::string, std::less<>> split_settings(std::string_view text) {
  std::map<std::string, std::string, std::less<>> settings;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(text.size(), word.size() + 1));
    if (word.empty()) continue;
    const std::size_t equals = std::min(word.find('='), word.size());
    settings.emplace(word.substr(0, equals), word.substr(std::min(equals + 1, word.size())));
  }
  return settings;
}

}  // namespace

std::optional<SettingDifference> find_difference(std::string_view stored, std::string_view wanted) {
  const auto ours = split_settings(wanted);
  const auto theirs = split_settings(stored);
  const auto value = [](const auto& settings, std::string_view name) {
    const auto found = settings.find(name);
    return found == settings.end() ? std::string("none") : found->second;
  };
  std::set<std::string, std::less<>> names;
  for (const auto* settings : {&ours, &theirs}) {
    for (const auto& [name, text] : *settings) names.insert(name);
  }
  for (const std::string& name : names) {
    if (value(ours, name) != value(theirs, name))
      return SettingDifference{name, value(theirs, name), value(ours, name)};
  }
  return std::nullopt;
}

std::string swap_lock_name(std::string_view database, std::string_view group) {
  return GroupLock::name_of(database, fmt::format("swap of {}", group));
}

Result<Claim> ClaimTransaction::run() {
  KLINED_ASSERT(request_.lanes > 0, "at least one lane");
  if (auto begun = connection_.begin("begin a claim"); !begun) return std::unexpected(begun.error());
  Status done = take();
  if (done) {
    done = connection_.commit("commit a claim");
    // A claim that may have been stored is repeated without harm: the owner is the same.
    if (!done && done.error().kind == ErrorKind::kUnknown) done = retry(done.error().message);
  } else {
    connection_.rollback();
  }
  if (!done) return std::unexpected(done.error());
  std::ranges::sort(offsets_, {}, [](const LaneOffset& o) { return std::tie(o.topic, o.partition, o.lane); });
  return Claim{std::move(offsets_), topics_.names(), std::move(tables_)};
}

Status ClaimTransaction::take() {
  if (auto done = check_meta(); !done) return done;
  if (auto done = register_topics(); !done) return done;
  const auto stored = read_stored();
  if (!stored) return std::unexpected(stored.error());
  for (const PartitionStart& start : request_.partitions) {
    const auto rows = stored->find({start.topic, start.partition});
    const std::vector<LaneOffset> none;
    if (auto done = place_partition(start, rows == stored->end() ? none : rows->second); !done) return done;
    if (rows != stored->end()) continue;
    if (auto done = note_begin(start); !done) return done;
  }
  if (auto done = write_offsets(offsets_, true); !done) return done;
  std::vector<LaneOffset> others;
  for (const PartitionStart& start : request_.others) {
    if (known_.contains({start.topic, start.partition})) continue;
    const std::vector<LaneOffset> rows = begin_at(start);
    others.insert(others.end(), rows.begin(), rows.end());
    if (auto done = note_begin(start); !done) return done;
  }
  return write_offsets(others, false);
}

// ---- May this group have these tables at all? ----------------------------------------------------------------------

Status ClaimTransaction::check_meta() {
  // Writing first takes the row's lock whether it exists or not; whoever claims at the same moment waits here.
  sql_ << "INSERT INTO stream_meta (name,value) VALUES ('consumer_group',";
  sql_.quoted(request_.group) << ") ON DUPLICATE KEY UPDATE name=VALUES(name)";
  if (auto done = connection_.execute(sql_.view(), "lock stream_meta"); !done) return std::unexpected(done.error());
  Result<SqlRows> rows = connection_.query("SELECT name,value FROM stream_meta FOR UPDATE", "read stream_meta");
  if (!rows) return std::unexpected(rows.error());
  std::map<std::string, std::string, std::less<>> meta;
  while (rows->next()) meta.emplace(rows->text(0), rows->text(1));

  if (meta.contains("reset")) {
    return fatal(fmt::format(
        "mysql: a reset of database {} was broken off, its candles are incomplete: run `klined reset` again",
        database()));
  }
  if (auto free = check_hold(); !free) return free;
  if (meta["consumer_group"] != request_.group) {
    return fatal(
        fmt::format("mysql: the tables of database {} hold the candles of consumer group \"{}\", not of \"{}\": "
                    "use that group, or another database, or {}",
                    database(), meta["consumer_group"], request_.group, kReset));
  }
  if (auto done = check_no_orphans(request_.group); !done) return done;
  if (auto done = name_tables(meta[std::string(kTablesName)]); !done) return done;
  if (const auto settings = meta.find("settings"); settings != meta.end()) {
    const auto rebuilt = meta.find("rebuilt");
    return check_settings(settings->second, rebuilt == meta.end() ? std::string() : rebuilt->second);
  }
  sql_.clear();
  sql_ << "INSERT INTO stream_meta (name,value) VALUES ('settings',";
  sql_.quoted(request_.settings) << ')';
  if (auto done = connection_.execute(sql_.view(), "write the settings"); !done) return std::unexpected(done.error());
  return {};
}

// The id of this set of tables: `stored`, or a new one.
Status ClaimTransaction::name_tables(const std::string& stored) {
  tables_ = stored;
  if (!tables_.empty()) return {};
  tables_ = fmt::format("{:x}", request_.owner);
  sql_.clear();
  sql_ << "INSERT INTO stream_meta (name,value) VALUES ('" << kTablesName << "',";
  sql_.quoted(tables_) << ')';
  if (auto done = connection_.execute(sql_.view(), "name the tables"); !done) return std::unexpected(done.error());
  return {};
}

// Only the session that has the lock can swap. So either it is there, and this claim waits; or it is gone, and so is
// the swap. Looked at with stream_meta locked: whoever takes the lock from here on reads the offsets after this claim.
Status ClaimTransaction::check_hold() {
  sql_.clear();
  sql_ << "SELECT IS_FREE_LOCK(";
  sql_.quoted(swap_lock_name(database(), request_.group)) << ')';
  Result<SqlRows> rows = connection_.query(sql_.view(), "look for a rebuild that swaps");
  if (!rows) return std::unexpected(rows.error());
  if (rows->next() && rows->text(0) == "1") return {};
  return retry(fmt::format("mysql: a rebuild is swapping the tables of database {}", database()));
}

Status ClaimTransaction::check_settings(const std::string& stored, const std::string& rebuilt) {
  const std::optional<SettingDifference> difference = find_difference(stored, request_.settings);
  if (!difference) return {};
  if (!rebuilt.empty()) {
    return fatal(
        fmt::format("mysql: the tables of database {} were rebuilt at {} with {} = {}, and {} is {} in this config: "
                    "start klined with the config of the rebuild, or run `klined rebuild` with this one",
                    database(), rebuilt, difference->name, difference->stored, difference->name, difference->wanted));
  }
  return fatal(
      fmt::format("mysql: the candles of database {} were computed with {} = {}, and {} is {} now: set it back, or "
                  "run `klined rebuild` with this config, or use another database, or {}",
                  database(), difference->name, difference->stored, difference->name, difference->wanted, kReset));
}

// Candles without offsets would count every trade once more.
Status ClaimTransaction::check_no_orphans(const std::string& group) {
  sql_.clear();
  sql_ << "SELECT 1 FROM stream_offset WHERE consumer_group=";
  sql_.quoted(group) << " LIMIT 1";
  const Result<SqlRows> offsets = connection_.query(sql_.view(), "look for stored offsets");
  if (!offsets) return std::unexpected(offsets.error());
  if (offsets->size() > 0) return {};
  const Result<std::vector<Interval>> tables = candle_tables(connection_);
  if (!tables) return std::unexpected(tables.error());
  for (const Interval interval : *tables) {
    const std::string statement = fmt::format("SELECT 1 FROM {} LIMIT 1", table_of(interval));
    const Result<SqlRows> rows = connection_.query(statement, "look for stored candles");
    if (!rows) return std::unexpected(rows.error());
    if (rows->size() == 0) continue;
    return fatal(
        fmt::format("mysql: {}.{} holds candles, but stream_offset does not say which part of the input they "
                    "contain, so reading on would count trades twice: {}",
                    database(), table_of(interval), kReset));
  }
  return {};
}

// ---- Topics --------------------------------------------------------------------------------------------------------

Status ClaimTransaction::register_topics() {
  Result<SqlRows> rows =
      connection_.query("SELECT topic_id,topic FROM stream_topic FOR UPDATE", "read the known topics");
  if (!rows) return std::unexpected(rows.error());
  std::vector<std::pair<std::int32_t, std::string>> known;
  while (rows->next()) known.emplace_back(static_cast<std::int32_t>(rows->integer(0)), rows->text(1));
  for (const PartitionStart& start : request_.partitions) {
    if (auto done = register_topic(start.topic, known); !done) return done;
  }
  for (const PartitionStart& start : request_.others) {
    if (auto done = register_topic(start.topic, known); !done) return done;
  }
  for (const std::string& topic : request_.topics) {
    if (auto done = register_topic(topic, known); !done) return done;
  }
  topics_ = TopicNumbers(std::move(known));
  return {};
}

Status ClaimTransaction::register_topic(const std::string& topic,
                                        std::vector<std::pair<std::int32_t, std::string>>& known) {
  using Numbered = std::pair<std::int32_t, std::string>;
  if (std::ranges::find(known, topic, &Numbered::second) != known.end()) return {};
  if (known.size() == LogId::kTopicLimit) {
    return fatal(
        fmt::format("mysql: database {} knows {} topics already, no more can be told apart: use another database",
                    database(), known.size()));
  }
  const std::int32_t number = known.empty() ? 1 : std::ranges::max(known, {}, &Numbered::first).first + 1;
  sql_.clear();
  sql_ << "INSERT INTO stream_topic (topic_id,topic) VALUES (";
  sql_.integer(number) << ',';
  sql_.quoted(topic) << ')';
  if (auto done = connection_.execute(sql_.view(), "register a topic"); !done) return std::unexpected(done.error());
  known.emplace_back(number, topic);
  return {};
}

// ---- Offsets -------------------------------------------------------------------------------------------------------

Result<std::map<ClaimTransaction::Partition, std::vector<LaneOffset>>> ClaimTransaction::read_stored() {
  std::map<Partition, std::vector<LaneOffset>> stored;
  if (request_.partitions.empty()) return stored;
  sql_.clear();
  sql_ << "SELECT " << kOffsetColumns << " FROM stream_offset FORCE INDEX (PRIMARY) WHERE consumer_group=";
  sql_.quoted(request_.group) << " AND (";
  for (const PartitionStart& start : request_.partitions) {
    if (&start != &request_.partitions.front()) sql_ << " OR ";
    sql_ << "(topic=";
    sql_.quoted(start.topic) << " AND partition_id=";
    sql_.integer(start.partition) << ')';
  }
  sql_ << ") FOR UPDATE";
  Result<SqlRows> rows = connection_.query(sql_.view(), "read the stored offsets");
  if (!rows) return std::unexpected(rows.error());
  while (rows->next()) {
    LaneOffset offset = read_offset(*rows);
    stored[{offset.topic, offset.partition}].push_back(std::move(offset));
  }
  if (!rows->good()) {
    return fatal(
        fmt::format("mysql: column {} of {}.stream_offset holds a value that klined has not written: restore the row, "
                    "or {}",
                    rows->which_bad(), database(), kReset));
  }
  if (auto done = look_at_group(); !done) return std::unexpected(done.error());
  return stored;
}

Status ClaimTransaction::look_at_group() {
  sql_.clear();
  sql_ << "SELECT topic,partition_id,max_block_time,closed_until FROM stream_offset WHERE consumer_group=";
  sql_.quoted(request_.group);
  Result<SqlRows> rows = connection_.query(sql_.view(), "read how far the group is");
  if (!rows) return std::unexpected(rows.error());
  while (rows->next()) {
    known_.emplace(rows->text(0), static_cast<std::int32_t>(rows->integer(1)));
    const UnixSeconds time = rows->integer(2);
    if (time < 0) continue;
    closed_until_ = max_block_time_ < 0 ? rows->integer(3) : std::min(closed_until_, rows->integer(3));
    max_block_time_ = std::max(max_block_time_, time);
  }
  return {};
}

std::vector<LaneOffset> ClaimTransaction::begin_at(const PartitionStart& start) const {
  std::vector<LaneOffset> rows;
  for (std::int32_t lane = 0; lane < request_.lanes; ++lane) {
    rows.push_back({.topic = start.topic,
                    .partition = start.partition,
                    .lane = lane,
                    .next_offset = start.offset,
                    .window_offset = start.offset,
                    .window_clocks = {},
                    .source_windows = {},
                    .max_block_time = max_block_time_,
                    .closed_until = closed_until_});
  }
  return rows;
}

Status ClaimTransaction::place_partition(const PartitionStart& start, const std::vector<LaneOffset>& stored) {
  if (stored.empty()) {
    const std::vector<LaneOffset> rows = begin_at(start);
    offsets_.insert(offsets_.end(), rows.begin(), rows.end());
    return {};
  }
  const auto [smallest, largest] = std::ranges::minmax(stored, {}, &LaneOffset::lane);
  const auto lanes = static_cast<std::int32_t>(stored.size());
  if (smallest.lane != 0 || largest.lane != lanes - 1) {
    return fatal(
        fmt::format("mysql: rows of {}[{}] are missing in {}.stream_offset: {} rows, lanes {} to {}; restore them, "
                    "or {}",
                    start.topic, start.partition, database(), lanes, smallest.lane, largest.lane, kReset));
  }
  if (lanes == request_.lanes) {
    offsets_.insert(offsets_.end(), stored.begin(), stored.end());
    return {};
  }
  Result<std::vector<LaneOffset>> divided = divide_anew(start, stored);
  if (!divided) return std::unexpected(divided.error());
  offsets_.insert(offsets_.end(), divided->begin(), divided->end());
  return {};
}

// Pairs change lanes, so each new lane gets what holds for all of the old ones.
Result<std::vector<LaneOffset>> ClaimTransaction::divide_anew(const PartitionStart& start,
                                                              const std::vector<LaneOffset>& stored) {
  const auto [least, most] = std::ranges::minmax(stored, {}, &LaneOffset::next_offset);
  if (least.next_offset != most.next_offset) {
    return fatal(
        fmt::format("mysql: engine.lanes is {}, but the offsets are stored for {} lanes, and those of {}[{}] stand "
                    "apart ({} to {}): start once with engine.lanes: {}, stop it with SIGTERM (which brings them to "
                    "one offset), then change the number",
                    request_.lanes, stored.size(), start.topic, start.partition, least.next_offset, most.next_offset,
                    stored.size()));
  }
  sql_.clear();
  sql_ << "DELETE FROM stream_offset WHERE consumer_group=";
  sql_.quoted(request_.group) << " AND topic=";
  sql_.quoted(start.topic) << " AND partition_id=";
  sql_.integer(start.partition);
  if (auto done = connection_.execute(sql_.view(), "rewrite the lanes"); !done) return std::unexpected(done.error());
  spdlog::info("offsets divided anew: topic={} partition={} lanes={} before={} next_offset={}", start.topic,
               start.partition, request_.lanes, stored.size(), least.next_offset);
  LaneOffset common = *std::ranges::min_element(stored, {}, &LaneOffset::window_offset);
  common.max_block_time = max_block_time_;
  common.closed_until = closed_until_;
  std::vector<LaneOffset> divided(static_cast<std::size_t>(request_.lanes), common);
  for (std::int32_t lane = 0; lane < request_.lanes; ++lane) divided[static_cast<std::size_t>(lane)].lane = lane;
  return divided;
}

// For `klined verify`: the candles hold no trade from before.
Status ClaimTransaction::note_begin(const PartitionStart& start) {
  const auto rank = std::ranges::find(topics_.names(), start.topic) - topics_.names().begin();
  sql_.clear();
  sql_ << "INSERT INTO stream_meta (name,value) VALUES (";
  sql_.quoted(begin_name(topics_.number_of(static_cast<std::uint32_t>(rank)), start.partition)) << ",'";
  sql_.integer(start.offset) << "') ON DUPLICATE KEY UPDATE value=VALUES(value)";
  if (auto done = connection_.execute(sql_.view(), "note where a partition begins"); !done)
    return std::unexpected(done.error());
  return {};
}

Status ClaimTransaction::write_offsets(std::span<const LaneOffset> offsets, bool are_ours) {
  constexpr std::size_t kRows = 500;
  for (std::size_t begin = 0; begin < offsets.size(); begin += kRows) {
    sql_.clear();
    sql_ << "INSERT INTO stream_offset (consumer_group,owner," << kOffsetColumns << ") VALUES ";
    for (std::size_t i = begin; i < std::min(begin + kRows, offsets.size()); ++i) {
      if (i > begin) sql_ << ',';
      append_offset(sql_, request_.group, are_ours ? request_.owner : 0, offsets[i]);
    }
    sql_ << " ON DUPLICATE KEY UPDATE owner=" << (are_ours ? "VALUES(owner)" : "owner");
    if (auto done = connection_.execute(sql_.view(), "write the offsets' owner"); !done)
      return std::unexpected(done.error());
  }
  return {};
}

}  // namespace klined
