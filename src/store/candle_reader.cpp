#include "klined/store/candle_reader.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "klined/store/offset_columns.hpp"
#include "klined/store/schema.hpp"

namespace klined {

namespace {

constexpr UnixSeconds kDay = 86'400;
constexpr std::size_t kPairsPerStatement = 100;

// " AND (key > after)", in a form for which both servers use the index.
void append_after(SqlText& sql, std::string_view table, const PairName& after) {
  sql << '(' << table << "chain_id>";
  sql.integer(after.chain) << " OR (" << table << "chain_id=";
  sql.integer(after.chain) << " AND " << table << "pair_address>";
  sql.quoted(after.pair) << "))";
}

void append_series(SqlText& sql, ChainId chain, std::string_view pair) {
  sql << "k.chain_id=";
  sql.integer(chain) << " AND k.pair_address=";
  sql.quoted(pair);
}

}  // namespace

Error CandleReader::unreadable(std::string_view table, const SqlRows& rows) const {
  return {ErrorKind::kFatal, fmt::format("mysql: column {} of {}.{} holds a value that klined has not written",
                                         rows.which_bad(), connection_.options().database, table)};
}

// ---- Candles -------------------------------------------------------------------------------------------------------

Status CandleReader::load_topics() {
  Result<SqlRows> rows = connection_.ask("SELECT topic_id,topic FROM stream_topic", "read the known topics");
  if (!rows) return std::unexpected(rows.error());
  std::vector<std::pair<std::int32_t, std::string>> topics;
  while (rows->next()) topics.emplace_back(static_cast<std::int32_t>(rows->integer(0)), rows->text(1));
  topics_ = TopicNumbers(std::move(topics));
  return {};
}

// The answer to sql_, which selects `columns`.
Result<std::vector<CandleRow>> CandleReader::read_rows(Interval interval, CandleColumns columns) {
  if (columns == CandleColumns::kAll && topics_.names().empty()) {
    if (auto loaded = load_topics(); !loaded) return std::unexpected(loaded.error());
  }
  Result<SqlRows> rows = connection_.ask(sql_.view(), "read candles");
  if (!rows) return std::unexpected(rows.error());
  std::vector<CandleRow> candles;
  candles.reserve(rows->size());
  while (rows->next()) candles.push_back(read_candle(*rows, interval, columns, topics_));
  if (!rows->good()) return std::unexpected(unreadable(table_of(interval), *rows));
  return candles;
}

Result<std::vector<CandleRow>> CandleReader::candles(ChainId chain, std::string_view pair, Interval interval,
                                                     const TimeRange& range, std::optional<std::size_t> last,
                                                     CandleColumns columns) {
  sql_.clear();
  sql_ << "SELECT " << selected_columns(columns) << " FROM " << table_of(interval) << " AS k WHERE ";
  append_series(sql_, chain, pair);
  sql_ << " AND k.candle_time>=";
  sql_.integer(range.from) << " AND k.candle_time<";
  sql_.integer(range.to) << " ORDER BY k.candle_time";
  if (last) {
    sql_ << " DESC LIMIT ";
    sql_.unsigned_integer(*last);
  }
  Result<std::vector<CandleRow>> rows = read_rows(interval, columns);
  if (rows && last) std::ranges::reverse(*rows);
  return rows;
}

Result<std::vector<CandleRow>> CandleReader::bucket_rows(Interval interval, UnixSeconds time,
                                                         const std::optional<PairName>& after, std::size_t limit) {
  sql_.clear();
  sql_ << "SELECT " << selected_columns(CandleColumns::kWithoutPositions) << " FROM " << table_of(interval)
       << " AS k FORCE INDEX (candle_time)";
  if (!partitions_.empty()) {
    sql_ << " LEFT JOIN stream_pair AS s ON s.chain_id=k.chain_id AND s.pair_address=k.pair_address LEFT JOIN "
            "stream_topic AS t ON t.topic_id=s.topic_id";
  }
  sql_ << " WHERE k.candle_time=";
  sql_.integer(time);
  if (!partitions_.empty()) {
    sql_ << " AND (s.partition_id IS NULL";
    for (const auto& [topic, partition] : partitions_) {
      sql_ << " OR (s.partition_id=";
      sql_.integer(partition) << " AND t.topic=";
      sql_.quoted(topic) << ')';
    }
    sql_ << ')';
  }
  if (after) {
    sql_ << " AND ";
    append_after(sql_, "k.", *after);
  }
  sql_ << " ORDER BY k.chain_id,k.pair_address LIMIT ";
  sql_.unsigned_integer(limit);
  return read_rows(interval, CandleColumns::kWithoutPositions);
}

Result<std::optional<PairPlace>> CandleReader::place_of(ChainId chain, std::string_view pair) {
  sql_.clear();
  sql_ << "SELECT t.topic,k.partition_id FROM stream_pair AS k JOIN stream_topic AS t ON t.topic_id=k.topic_id WHERE ";
  append_series(sql_, chain, pair);
  Result<SqlRows> rows = connection_.ask(sql_.view(), "read a pair's partition");
  if (!rows) return std::unexpected(rows.error());
  if (!rows->next()) return std::nullopt;
  return PairPlace{chain, std::string(pair), std::string(rows->text(0)), static_cast<std::int32_t>(rows->integer(1))};
}

// ---- Closes --------------------------------------------------------------------------------------------------------

Result<LastCloses> CandleReader::last_closes(Interval interval, std::span<const PairName> pairs, UnixSeconds from) {
  LastCloses closes(pairs.size());
  for (std::size_t begin = 0; begin < pairs.size(); begin += kPairsPerStatement) {
    const std::size_t count = std::min(kPairsPerStatement, pairs.size() - begin);
    const std::span<std::vector<TimedClose>> out(closes.data() + begin, count);
    if (auto done = read_closes(interval, pairs.subspan(begin, count), from, out); !done)
      return std::unexpected(done.error());
  }
  for (std::vector<TimedClose>& of_pair : closes) std::ranges::sort(of_pair, {}, &TimedClose::time);
  return closes;
}

Status CandleReader::read_closes(Interval interval, std::span<const PairName> pairs, UnixSeconds from,
                                 std::span<std::vector<TimedClose>> out) {
  sql_.clear();
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    for (const bool before : {false, true}) {
      sql_ << (i == 0 && !before ? "(SELECT " : " UNION ALL (SELECT ");
      sql_.unsigned_integer(i) << ",k.candle_time,k.c FROM " << table_of(interval) << " AS k WHERE ";
      append_series(sql_, pairs[i].chain, pairs[i].pair);
      sql_ << " AND k.candle_time" << (before ? "<" : ">=");
      sql_.integer(from) << (before ? " ORDER BY k.candle_time DESC LIMIT 1)" : ")");
    }
  }
  Result<SqlRows> rows = connection_.ask(sql_.view(), "read closes");
  if (!rows) return std::unexpected(rows.error());
  while (rows->next()) {
    const auto index = static_cast<std::size_t>(rows->unsigned_integer(0));
    out[std::min(index, out.size() - 1)].push_back({rows->integer(1), rows->real(2)});
  }
  if (!rows->good()) return std::unexpected(unreadable(table_of(interval), *rows));
  return {};
}

// ---- Pairs ---------------------------------------------------------------------------------------------------------

// The one value that sql_ asks for; nothing for NULL and where there is no row.
Result<std::optional<std::int64_t>> CandleReader::ask_integer(std::string_view what) {
  Result<SqlRows> rows = connection_.ask(sql_.view(), what);
  if (!rows) return std::unexpected(rows.error());
  if (!rows->next() || rows->is_null(0)) return std::nullopt;
  return rows->integer(0);
}

Result<Activity> CandleReader::active_pairs(Interval interval, std::optional<ChainId> chain, std::size_t limit) {
  constexpr std::string_view kWhat = "read which pairs are active";
  const auto of_chain = [this, chain](std::string_view before) {
    if (!chain) return;
    sql_ << before << "k.chain_id=";
    sql_.integer(*chain);
  };
  sql_.clear();
  sql_ << "SELECT k.candle_time FROM " << table_of(interval) << " AS k FORCE INDEX (candle_time)";
  of_chain(" WHERE ");
  sql_ << " ORDER BY k.candle_time DESC LIMIT 1";
  const auto newest = ask_integer(kWhat);
  if (!newest) return std::unexpected(newest.error());
  if (!*newest) return Activity();

  sql_.clear();
  sql_ << "SELECT MAX(k.close_at) FROM " << table_of(interval)
       << " AS k FORCE INDEX (candle_time) WHERE k.candle_time=";
  sql_.integer(**newest);
  of_chain(" AND ");
  const auto clock = ask_integer(kWhat);
  if (!clock) return std::unexpected(clock.error());

  sql_.clear();
  sql_ << "SELECT g.chain_id,g.pair_address,g.trades,g.amount,p.c,p.close_at,g.oldest FROM (SELECT "
          "k.chain_id,k.pair_address,SUM(k.`count`) AS trades,SUM(k.v) AS amount,MAX(k.candle_time) AS newest,"
          "MIN(k.candle_time) AS oldest FROM "
       << table_of(interval) << " AS k WHERE k.candle_time>";
  sql_.integer(clock->value_or(**newest) - kDay);
  of_chain(" AND ");
  sql_ << " GROUP BY k.chain_id,k.pair_address ORDER BY trades DESC,amount DESC,k.chain_id,k.pair_address LIMIT ";
  sql_.unsigned_integer(limit)
      << ") AS g JOIN " << table_of(interval)
      << " AS p ON p.chain_id=g.chain_id AND p.pair_address=g.pair_address AND "
         "p.candle_time=g.newest ORDER BY g.trades DESC,g.amount DESC,g.chain_id,g.pair_address";
  Result<SqlRows> rows = connection_.ask(sql_.view(), kWhat);
  if (!rows) return std::unexpected(rows.error());
  Activity activity{.since = **newest, .pairs = {}};
  while (rows->next()) {
    const std::optional<Decimal> amount = Decimal::parse_column(rows->text(3));
    if (!amount) rows->spoil(3);
    activity.pairs.push_back({static_cast<ChainId>(rows->integer(0)), std::string(rows->text(1)), rows->integer(2),
                              amount.value_or(Decimal()), rows->real(4), rows->integer(5)});
    activity.since = std::min(activity.since, rows->integer(6));
  }
  if (!rows->good()) return std::unexpected(unreadable(table_of(interval), *rows));
  return activity;
}

Result<std::vector<PairName>> CandleReader::pairs_written_since(Interval interval, UnixSeconds since,
                                                                std::optional<PairName> after, std::size_t limit) {
  std::vector<PairName> written;
  while (written.empty()) {
    // The inner select leaps from pair to pair in the primary key.
    sql_.clear();
    sql_ << "SELECT k.chain_id,k.pair_address,k.updated_at>=FROM_UNIXTIME(";
    sql_.integer(since) << ") FROM (SELECT chain_id,pair_address,MAX(candle_time) AS newest FROM "
                        << table_of(interval);
    if (after) {
      sql_ << " WHERE ";
      append_after(sql_, "", *after);
    }
    sql_ << " GROUP BY chain_id,pair_address ORDER BY chain_id,pair_address LIMIT ";
    sql_.unsigned_integer(limit) << ") AS g STRAIGHT_JOIN " << table_of(interval)
                                 << " AS k ON k.chain_id=g.chain_id AND k.pair_address=g.pair_address AND "
                                    "k.candle_time=g.newest ORDER BY k.chain_id,k.pair_address";
    Result<SqlRows> rows = connection_.ask(sql_.view(), "read which pairs were written lately");
    if (!rows) return std::unexpected(rows.error());
    if (rows->size() == 0) break;
    while (rows->next()) {
      after = PairName{static_cast<ChainId>(rows->integer(0)), std::string(rows->text(1))};
      if (rows->text(2) == "1") written.push_back(*after);
    }
  }
  return written;
}

Result<std::vector<ChainId>> CandleReader::find_chains_of(std::string_view pair, Interval interval) {
  constexpr std::string_view kWhat = "look for the pair's chains";
  std::vector<ChainId> chains;
  std::int64_t last = -1;
  while (true) {
    // Chains are few, and each is one look into the primary key.
    sql_.clear();
    sql_ << "SELECT MIN(k.chain_id) FROM " << table_of(interval) << " AS k WHERE k.chain_id>";
    sql_.integer(last);
    const auto chain = ask_integer(kWhat);
    if (!chain) return std::unexpected(chain.error());
    if (!*chain) return chains;
    last = **chain;
    sql_.clear();
    sql_ << "SELECT 1 FROM " << table_of(interval) << " AS k WHERE ";
    append_series(sql_, static_cast<ChainId>(last), pair);
    sql_ << " LIMIT 1";
    const auto found = ask_integer(kWhat);
    if (!found) return std::unexpected(found.error());
    if (*found) chains.push_back(static_cast<ChainId>(last));
  }
}

// ---- The stream ----------------------------------------------------------------------------------------------------

Result<std::vector<StoredLaneOffset>> CandleReader::offsets(std::string_view group) {
  sql_.clear();
  sql_ << "SELECT " << kOffsetColumns << ",owner,UNIX_TIMESTAMP(updated_at) FROM stream_offset WHERE consumer_group=";
  sql_.quoted(group) << " ORDER BY topic,partition_id,lane";
  Result<SqlRows> rows = connection_.ask(sql_.view(), "read the stored offsets");
  if (!rows) return std::unexpected(rows.error());
  std::vector<StoredLaneOffset> offsets;
  while (rows->next()) {
    offsets.push_back(
        {read_offset(*rows), rows->unsigned_integer(kOffsetColumnCount), rows->real(kOffsetColumnCount + 1)});
  }
  if (!rows->good()) return std::unexpected(unreadable("stream_offset", *rows));
  return offsets;
}

Result<std::vector<Interval>> CandleReader::intervals() {
  if (auto connected = connection_.connect(); !connected) return std::unexpected(connected.error());
  return candle_tables(connection_);
}

}  // namespace klined
