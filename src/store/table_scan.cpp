#include "klined/store/table_scan.hpp"

#include <fmt/format.h>

#include <tuple>
#include <vector>

#include "klined/store/candle_columns.hpp"

namespace klined {

namespace {

constexpr std::size_t kPage = 5000;

// The names behind the key's, from "k.`chain_id`,k.`pair_address`,…".
std::vector<std::string_view> cell_names() {
  std::vector<std::string_view> names;
  std::string_view list = selected_columns(CandleColumns::kAll);
  for (auto begin = list.find('`'); begin != std::string_view::npos; begin = list.find('`')) {
    list.remove_prefix(begin + 1);
    names.push_back(list.substr(0, list.find('`')));
    list.remove_prefix(names.back().size() + 1);
  }
  names.erase(names.begin(), names.begin() + 3);
  return names;
}

const std::vector<std::string_view>& known_cells() {
  static const std::vector<std::string_view> kNames = cell_names();
  return kNames;
}

auto order_of(const CandleKey& key) { return std::tuple(key.chain, std::string_view(key.pair), key.time); }

bool same_cells(const TableScan& a, const TableScan& b) {
  for (unsigned i = 0; i < TableScan::cell_count(); ++i) {
    if (a.cell(i) != b.cell(i)) return false;
  }
  return true;
}

}  // namespace

TableScan::TableScan(MySqlConnection& connection, std::string table, Interval interval, Within within, TimeRange range)
    : connection_(connection), table_(std::move(table)), interval_(interval), within_(within), range_(range) {}

unsigned TableScan::cell_count() { return static_cast<unsigned>(known_cells().size()); }

std::string_view TableScan::name_of_cell(unsigned column) { return known_cells().at(column); }

Result<bool> TableScan::next() {
  const bool was_last_page = rows_ && rows_->size() < kPage;
  if (!rows_ || !rows_->next()) {
    if (was_last_page) return false;
    sql_.clear();
    sql_ << "SELECT " << selected_columns(CandleColumns::kAll) << " FROM " << table_
         << " AS k FORCE INDEX (PRIMARY) WHERE k.candle_time>=";
    sql_.integer(range_.from) << " AND k.candle_time<";
    sql_.integer(range_.to);
    if (key_) append_after(sql_, *key_);
    sql_ << " ORDER BY k.chain_id,k.pair_address,k.candle_time LIMIT ";
    sql_.unsigned_integer(kPage);
    Result<SqlRows> rows = within_ == Within::kTransaction ? connection_.query(sql_.view(), "read candles")
                                                           : connection_.ask(sql_.view(), "read candles");
    if (!rows) return std::unexpected(rows.error());
    rows_ = std::move(*rows);
    if (!rows_->next()) return false;
  }
  key_ = CandleKey{static_cast<ChainId>(rows_->integer(0)), std::string(rows_->text(1)), interval_, rows_->integer(2)};
  return true;
}

Result<CandleRow> TableScan::row(const TopicNumbers& topics) {
  CandleRow row = read_candle(*rows_, interval_, CandleColumns::kAll, topics);
  if (rows_->good()) return row;
  return fatal(
      fmt::format("mysql: column {} of {} holds a value that klined has not written", rows_->which_bad(), table_));
}

Status for_each_difference(TableScan& before, TableScan& after, const VisitDifference& visit) {
  Result<bool> has_before = before.next();
  Result<bool> has_after = after.next();
  while (has_before && has_after && (*has_before || *has_after)) {
    const bool take_before = *has_before && (!*has_after || order_of(before.key()) <= order_of(after.key()));
    const bool take_after = *has_after && (!*has_before || order_of(after.key()) <= order_of(before.key()));
    if (!take_before || !take_after || !same_cells(before, after)) {
      if (auto done = visit(take_before ? &before : nullptr, take_after ? &after : nullptr); !done) return done;
    }
    if (take_before) has_before = before.next();
    if (take_after) has_after = after.next();
  }
  if (!has_before) return std::unexpected(has_before.error());
  if (!has_after) return std::unexpected(has_after.error());
  return {};
}

}  // namespace klined
