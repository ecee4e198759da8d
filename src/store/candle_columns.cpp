#include "klined/store/candle_columns.hpp"

#include <array>
#include <charconv>
#include <limits>
#include <utility>

namespace klined {

namespace {

// In the order of put_row() and read_candle(). The key stands first; `updated_at` is the server's.
constexpr auto kColumns = std::to_array<std::string_view>({"chain_id",
                                                           "pair_address",
                                                           "candle_time",
                                                           "open_at",
                                                           "close_at",
                                                           "o",
                                                           "h",
                                                           "l",
                                                           "c",
                                                           "v",
                                                           "t",
                                                           "a",
                                                           "count",
                                                           "buy_count",
                                                           "sell_count",
                                                           "mcap_o",
                                                           "mcap_h",
                                                           "mcap_l",
                                                           "mcap_c",
                                                           "mkt_cap",
                                                           "pump_point",
                                                           "token_addr",
                                                           "only_clamped",
                                                           "open_pos",
                                                           "close_pos",
                                                           "last_pos"});
constexpr std::size_t kKeyColumns = 3;
constexpr std::size_t kPositionColumns = 3;  // the last ones

std::string column_list(std::size_t begin, std::size_t end, std::string_view before, std::string_view after = {}) {
  std::string list;
  for (std::size_t i = begin; i < end; ++i) {
    if (i > begin) list += ',';
    list += before;
    list += '`';
    list += kColumns[i];
    list += '`';
    list += after;
  }
  return list;
}

std::string update_list() {
  std::string list;
  for (std::size_t i = kKeyColumns; i < kColumns.size(); ++i) {
    if (i > kKeyColumns) list += ',';
    // VALUES() is what both servers understand; MySQL alone knows the newer row alias.
    list.append("`").append(kColumns[i]).append("`=VALUES(`").append(kColumns[i]).append("`)");
  }
  return list;
}

// Takes digits up to ':' or the end; false where there are none, too many, or something else.
template <typename Number>
bool take_number(std::string_view& text, Number max, Number& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc() || out < 0 || out > max) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  if (text.empty()) return true;
  if (text.front() != ':' || text.size() == 1) return false;
  text.remove_prefix(1);
  return true;
}

// A position as text, without an allocation.
class PositionText {
 public:
  std::string_view write(const Position& position, const TopicNumbers& topics) {
    char* end = text_.data();
    const auto put = [this, &end](std::int64_t value) {
      if (end != text_.data()) *end++ = ':';
      end = std::to_chars(end, text_.data() + text_.size(), value).ptr;
    };
    put(position.block_time);
    put(position.slot);
    put(position.transaction_index);
    put(position.log_index);
    put(topics.number_of(position.log.topic_rank()));
    put(position.log.partition());
    put(position.offset);
    put(position.index);
    return {text_.data(), end};
  }

 private:
  std::array<char, 8 * 21> text_;
};

// Values as the text of one row, with the interface of BulkRows.
class TextRow {
 public:
  explicit TextRow(SqlText& sql) : sql_(sql) { sql_ << '('; }
  ~TextRow() { sql_ << ')'; }
  TextRow(const TextRow&) = delete;
  TextRow& operator=(const TextRow&) = delete;

  TextRow& integer(std::int64_t value) { return next().integer(value), *this; }
  TextRow& real(double value) { return next().real(value), *this; }
  TextRow& decimal(Decimal value) { return next().decimal(value), *this; }
  TextRow& text(std::string_view value) { return next().quoted(value), *this; }

 private:
  SqlText& next() {
    if (!std::exchange(first_, false)) sql_ << ',';
    return sql_;
  }

  SqlText& sql_;
  bool first_ = true;
};

// In the order of kColumns.
template <typename Values>
void put_row(Values& values, const CandleRow& row, const TopicNumbers& topics) {
  const Candle& candle = row.candle;
  values.integer(row.key.chain).text(row.key.pair).integer(row.key.time);
  values.integer(candle.open_at).integer(candle.close_at());
  for (const double price : {candle.open, candle.high, candle.low, candle.close}) values.real(price);
  values.decimal(candle.amount_usd).decimal(candle.volume_token).real(candle.avg_price());
  values.integer(candle.total_count()).integer(candle.buy_count).integer(candle.sell_count);
  for (const double mcap : {candle.mcap_open, candle.mcap_high, candle.mcap_low, candle.mcap_close}) values.real(mcap);
  values.real(candle.mkt_cap).real(candle.pump_point);
  values.text(candle.token.view()).integer(candle.only_clamped ? 1 : 0);
  PositionText text;
  values.text(text.write(candle.price_first, topics));
  values.text(text.write(candle.price_last, topics));
  values.text(candle.last == candle.price_last ? std::string_view() : text.write(candle.last, topics));
}

}  // namespace

void append_position(SqlText& sql, const Position& position, const TopicNumbers& topics) {
  PositionText text;
  sql << text.write(position, topics);
}

std::optional<Position> parse_position(std::string_view text, const TopicNumbers& topics) {
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  constexpr std::int64_t kMax32 = std::numeric_limits<std::uint32_t>::max();
  constexpr std::array<std::int64_t, 8> kLimits = {
      kMax, kMax, kMax32, kMax32, std::numeric_limits<std::int32_t>::max(), LogId::kPartitionLimit - 1, kMax, kMax32};
  std::array<std::int64_t, 8> parts{};
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (!take_number(text, kLimits[i], parts[i])) return std::nullopt;
  }
  const std::optional<std::uint32_t> rank = topics.rank_of(static_cast<std::int32_t>(parts[4]));
  if (!text.empty() || !rank) return std::nullopt;
  Position position;
  position.block_time = parts[0];
  position.slot = parts[1];
  position.transaction_index = static_cast<std::uint32_t>(parts[2]);
  position.log_index = static_cast<std::uint32_t>(parts[3]);
  position.log = LogId(*rank, static_cast<std::uint32_t>(parts[5]));
  position.offset = parts[6];
  position.index = static_cast<std::uint32_t>(parts[7]);
  return position;
}

void append_upsert_head(SqlText& sql, Interval interval) {
  static const std::string kList = column_list(0, kColumns.size(), "");
  sql << "INSERT INTO " << table_of(interval) << " (" << kList << ") VALUES ";
}

void append_row(SqlText& sql, const CandleRow& row, const TopicNumbers& topics) {
  TextRow values(sql);
  put_row(values, row, topics);
}

void append_row(BulkRows& rows, const CandleRow& row, const TopicNumbers& topics) {
  put_row(rows, row, topics);
  rows.end_row();
}

std::string upsert_statement(Interval interval) {
  SqlText sql;
  append_upsert_head(sql, interval);
  for (std::size_t i = 0; i < kColumns.size(); ++i) sql << (i == 0 ? "(?" : ",?");
  sql << ')';
  append_upsert_tail(sql);
  return std::string(sql.view());
}

void append_upsert_tail(SqlText& sql) {
  static const std::string kList = update_list();
  sql << " ON DUPLICATE KEY UPDATE " << kList;
}

std::string_view selected_columns(CandleColumns columns) {
  static const std::string kAll = column_list(0, kColumns.size(), "k.");
  static const std::string kWithoutPositions = column_list(0, kColumns.size() - kPositionColumns, "k.");
  return columns == CandleColumns::kAll ? kAll : kWithoutPositions;
}

void append_after(SqlText& sql, const CandleKey& after) {
  sql << " AND (k.chain_id>";
  sql.integer(after.chain) << " OR (k.chain_id=";
  sql.integer(after.chain) << " AND (k.pair_address>";
  sql.quoted(after.pair) << " OR (k.pair_address=";
  sql.quoted(after.pair) << " AND k.candle_time>";
  sql.integer(after.time) << "))))";
}

CandleRow read_candle(SqlRows& rows, Interval interval, CandleColumns columns, const TopicNumbers& topics) {
  unsigned at = 0;
  const auto integer = [&rows, &at] { return rows.integer(at++); };
  const auto real = [&rows, &at] { return rows.real(at++); };
  const auto decimal = [&rows, &at] {
    const std::optional<Decimal> value = Decimal::parse_column(rows.text(at));
    if (!value) rows.spoil(at);
    ++at;
    return value.value_or(Decimal());
  };
  const auto position = [&rows, &at, &topics] {
    const std::optional<Position> value = parse_position(rows.text(at), topics);
    if (!value) rows.spoil(at);
    ++at;
    return value.value_or(Position());
  };

  CandleRow row;
  row.key.chain = static_cast<ChainId>(integer());
  row.key.pair = rows.text(at++);
  row.key.interval = interval;
  row.key.time = integer();
  Candle& candle = row.candle;
  candle.open_at = integer();
  candle.last.block_time = integer();
  for (double* price : {&candle.open, &candle.high, &candle.low, &candle.close}) *price = real();
  candle.amount_usd = decimal();
  candle.volume_token = decimal();
  at += 2;  // a and count follow from the others
  candle.buy_count = integer();
  candle.sell_count = integer();
  for (double* mcap : {&candle.mcap_open, &candle.mcap_high, &candle.mcap_low, &candle.mcap_close}) *mcap = real();
  candle.mkt_cap = real();
  candle.pump_point = real();
  candle.token = SharedText(rows.text(at++));
  candle.only_clamped = integer() != 0;
  if (columns == CandleColumns::kWithoutPositions) return row;
  candle.price_first = position();
  candle.price_last = position();
  candle.last = rows.text(at).empty() ? candle.price_last : position();
  return row;
}

}  // namespace klined
