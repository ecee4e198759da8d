// The rows of candle tables one after the other, as the server's texts, and what differs between two tables.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "klined/store/candle_reader.hpp"
#include "klined/store/mysql_connection.hpp"
#include "klined/store/sql_text.hpp"
#include "klined/store/topic_numbers.hpp"

namespace klined {

// All rows of one table with candle_time in a range, in the order of their keys, some thousands at a time. A row's
// cells are all that it says of its candle: equal texts mean equal values, bit for bit, where one server wrote both.
class TableScan {
 public:
  // `table` as it stands in SQL. Within a transaction of the connection's all rows are of one moment; a lost connection
  // is then an error.
  enum class Within { kNothing, kTransaction };
  TableScan(MySqlConnection& connection, std::string table, Interval interval, Within within, TimeRange range = {});

  // Moves to the next row, the first at first; false where there is none.
  Result<bool> next();
  // Of the row that it stands at.
  const CandleKey& key() const { return *key_; }
  std::string_view cell(unsigned column) const { return rows_->text(kKeyColumns + column); }
  static unsigned cell_count();
  static std::string_view name_of_cell(unsigned column);
  // kFatal where a cell holds what klined has not written.
  Result<CandleRow> row(const TopicNumbers& topics);

 private:
  static constexpr unsigned kKeyColumns = 3;
  MySqlConnection& connection_;
  std::string table_;
  Interval interval_;
  Within within_;
  TimeRange range_;
  SqlText sql_;
  std::optional<SqlRows> rows_;
  std::optional<CandleKey> key_;
};

// Calls `visit` for each key whose rows differ, in order; null where a table has no such row.
using VisitDifference = std::function<Status(TableScan* before, TableScan* after)>;
Status for_each_difference(TableScan& before, TableScan& after, const VisitDifference& visit);

}  // namespace klined
