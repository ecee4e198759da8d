#include "klined/store/table_check.hpp"

#include <array>
#include <charconv>

#include <fmt/format.h>

#include "klined/store/candle_columns.hpp"
#include "klined/store/claim_transaction.hpp"
#include "klined/store/offset_columns.hpp"

namespace klined {

namespace {

constexpr std::size_t kPage = 5000;
constexpr std::size_t kRepairRows = 500;  // a statement
constexpr unsigned kKeyColumns = 3;
constexpr auto kCells = std::to_array<std::string_view>(
    {"open_at",    "close_at",     "o",          "h",         "l",       "c",      "v",      "t",       "a",
     "count",      "buy_count",    "sell_count", "mcap_o",    "mcap_h",  "mcap_l", "mcap_c", "mkt_cap", "pump_point",
     "token_addr", "only_clamped", "open_pos",   "close_pos", "last_pos"});

std::string selected_cells() {
  std::string list = "k.chain_id,k.pair_address,k.candle_time";
  for (const std::string_view cell : kCells) list += fmt::format(",k.`{}`", cell);
  return list;
}

// Holds the cells of a row, one after the other, against what they should be.
class CellComparison {
 public:
  explicit CellComparison(const SqlRows& rows) : rows_(rows) {}

  void integer(std::int64_t expected) { text(std::to_string(expected)); }
  void real(double expected) {
    const std::string_view stored = next();
    double value = 0;
    const auto [end, error] = std::from_chars(stored.data(), stored.data() + stored.size(), value);
    const bool same = error == std::errc() && end == stored.data() + stored.size() && value == expected;
    note(same, stored, same ? std::string() : fmt::format("{}", expected));
  }
  void decimal(Decimal expected) {
    const std::string_view stored = next();
    const std::optional<Decimal> value = Decimal::parse_column(stored);
    note(value && *value == expected, stored, expected.to_string());
  }
  void text(const std::string& expected) {
    const std::string_view stored = next();
    note(stored == expected, stored, expected);
  }
  std::vector<CellDifference> take() { return std::move(differences_); }

 private:
  std::string_view next() { return rows_.text(kKeyColumns + at_++); }
  void note(bool same, std::string_view stored, std::string expected) {
    if (!same) differences_.push_back({std::string(kCells[at_ - 1]), std::string(stored), std::move(expected)});
  }

  const SqlRows& rows_;
  unsigned at_ = 0;
  std::vector<CellDifference> differences_;
};

std::string position_text(const Position& position, const TopicNumbers& topics) {
  SqlText text;
  append_position(text, position, topics);
  return std::string(text.view());
}

std::vector<CellDifference> compare_cells(const SqlRows& rows, const Candle& candle, const TopicNumbers& topics) {
  CellComparison cells(rows);
  cells.integer(candle.open_at);
  cells.integer(candle.close_at());
  for (const double price : {candle.open, candle.high, candle.low, candle.close}) cells.real(price);
  cells.decimal(candle.amount_usd);
  cells.decimal(candle.volume_token);
  cells.real(candle.avg_price());
  for (const std::int64_t count : {candle.total_count(), candle.buy_count, candle.sell_count}) cells.integer(count);
  for (const double mcap : {candle.mcap_open, candle.mcap_high, candle.mcap_low, candle.mcap_close}) cells.real(mcap);
  cells.real(candle.mkt_cap);
  cells.real(candle.pump_point);
  cells.text(std::string(candle.token.view()));
  cells.integer(candle.only_clamped ? 1 : 0);
  cells.text(position_text(candle.price_first, topics));
  cells.text(position_text(candle.price_last, topics));
  cells.text(candle.last == candle.price_last ? "" : position_text(candle.last, topics));
  return cells.take();
}

void append_key(SqlText& sql, const CandleKey& key) {
  sql << "chain_id=";
  sql.integer(key.chain) << " AND pair_address=";
  sql.quoted(key.pair) << " AND candle_time=";
  sql.integer(key.time);
}

}  // namespace

// ---- The tables at one moment --------------------------------------------------------------------------------------

Status TableSnapshot::open(std::string_view group) {
  connection_.close();
  if (auto connected = connection_.connect(); !connected) return connected;
  for (const std::string_view sql :
       {"SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION WITH CONSISTENT SNAPSHOT"}) {
    if (auto done = connection_.execute(sql, "take a snapshot"); !done) return std::unexpected(done.error());
  }
  if (auto read = read_meta(group); !read) return read;
  Result<std::vector<LaneOffset>> offsets = read_offsets(connection_, sql_, group, false);
  if (!offsets) return std::unexpected(offsets.error());
  offsets_ = std::move(*offsets);
  return {};
}

Status TableSnapshot::read_meta(std::string_view group) {
  Result<SqlRows> rows = connection_.query("SELECT name,value FROM stream_meta", "read stream_meta");
  if (!rows) return std::unexpected(rows.error());
  meta_.clear();
  while (rows->next()) meta_.emplace(rows->text(0), rows->text(1));
  if (meta_.contains("reset")) return fatal("mysql: a reset was broken off: run `klined reset` again");
  if (meta_.contains("consumer_group") && meta_["consumer_group"] != group) {
    return fatal(
        fmt::format("mysql: the tables of database {} hold the candles of consumer group \"{}\", not of \"{}\"",
                    connection_.options().database, meta_["consumer_group"], group));
  }
  Result<SqlRows> topics = connection_.query("SELECT topic_id,topic FROM stream_topic", "read the known topics");
  if (!topics) return std::unexpected(topics.error());
  std::vector<std::pair<std::int32_t, std::string>> known;
  while (topics->next()) known.emplace_back(static_cast<std::int32_t>(topics->integer(0)), topics->text(1));
  topics_ = TopicNumbers(std::move(known));
  return {};
}

std::string TableSnapshot::settings() const {
  const auto found = meta_.find("settings");
  return found == meta_.end() ? std::string() : found->second;
}

std::optional<std::int64_t> TableSnapshot::begin_of(const std::string& topic, std::int32_t partition) const {
  for (std::uint32_t rank = 0; rank < topics_.names().size(); ++rank) {
    if (topics_.names()[rank] != topic) continue;
    const auto found = meta_.find(begin_name(topics_.number_of(rank), partition));
    if (found == meta_.end()) return std::nullopt;
    std::int64_t offset = 0;
    const std::string& text = found->second;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), offset);
    if (error == std::errc() && end == text.data() + text.size()) return offset;
  }
  return std::nullopt;
}

Status TableSnapshot::scan(Interval interval, const TimeRange& range, std::string_view pair, const Visit& visit) {
  static const std::string kSelected = selected_cells();
  std::optional<CandleKey> after;
  while (true) {
    sql_.clear();
    sql_ << "SELECT " << kSelected << " FROM " << table_of(interval)
         << " AS k FORCE INDEX (PRIMARY) WHERE k.candle_time>=";
    sql_.integer(range.from) << " AND k.candle_time<";
    sql_.integer(range.to);
    if (!pair.empty()) {
      sql_ << " AND k.pair_address=";
      sql_.quoted(pair);
    }
    if (after) append_after(sql_, *after);
    sql_ << " ORDER BY k.chain_id,k.pair_address,k.candle_time LIMIT ";
    sql_.unsigned_integer(kPage);
    Result<SqlRows> rows = connection_.query(sql_.view(), "read candles");
    if (!rows) return std::unexpected(rows.error());
    while (rows->next()) {
      after = CandleKey{static_cast<ChainId>(rows->integer(0)), std::string(rows->text(1)), interval, rows->integer(2)};
      visit(*after, [&](const Candle& expected) { return compare_cells(*rows, expected, topics_); });
    }
    if (rows->size() < kPage) return {};
  }
}

// ---- Repair --------------------------------------------------------------------------------------------------------

Result<std::vector<LaneOffset>> RepairTransaction::hold(std::string_view group) {
  if (auto begun = connection_.begin("begin a repair"); !begun) return std::unexpected(begun.error());
  // The order of a claim: first stream_meta, then the offsets.
  Result<SqlRows> meta = connection_.query("SELECT name FROM stream_meta FOR UPDATE", "lock stream_meta");
  Result<std::vector<LaneOffset>> offsets =
      meta ? read_offsets(connection_, sql_, group, true) : std::unexpected(meta.error());
  if (!offsets) connection_.rollback();
  return offsets;
}

Status RepairTransaction::finish(std::string_view group, std::uint64_t owner, const std::vector<CandleRow>& rows,
                                 const std::vector<CandleKey>& surplus, const TopicNumbers& topics) {
  const auto run = [this](std::string_view what) -> Status {
    if (auto done = connection_.execute(sql_.view(), what); !done) return std::unexpected(done.error());
    return {};
  };
  const auto write = [&]() -> Status {
    for (std::size_t begin = 0, end = 0; begin < rows.size(); begin = end) {
      sql_.clear();
      append_upsert_head(sql_, rows[begin].key.interval);
      for (; end < rows.size() && end - begin < kRepairRows && rows[end].key.interval == rows[begin].key.interval;) {
        if (end > begin) sql_ << ',';
        append_row(sql_, rows[end++], topics);
      }
      append_upsert_tail(sql_);
      if (auto done = run("repair candles"); !done) return done;
    }
    for (const CandleKey& key : surplus) {
      sql_.clear();
      sql_ << "DELETE FROM " << table_of(key.interval) << " WHERE ";
      append_key(sql_, key);
      if (auto done = run("delete a surplus candle"); !done) return done;
    }
    sql_.clear();
    sql_ << "UPDATE stream_offset SET owner=";
    sql_.unsigned_integer(owner) << " WHERE consumer_group=";
    sql_.quoted(group);
    if (auto done = run("take the offsets over"); !done) return done;
    sql_.clear();
    sql_ << "INSERT INTO stream_meta (name,value) VALUES ('" << kTablesName << "',";
    sql_.quoted(fmt::format("{:x}", owner)) << ") ON DUPLICATE KEY UPDATE value=VALUES(value)";
    return run("name the tables anew");
  };
  if (auto written = write(); !written) {
    connection_.rollback();
    return written;
  }
  return connection_.commit("commit a repair");
}

}  // namespace klined
