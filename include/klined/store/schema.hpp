// The tables: made from sql/, and compared with it before anything is written.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "klined/base/error.hpp"
#include "klined/core/interval.hpp"
#include "klined/store/candle_store.hpp"
#include "klined/store/mysql_connection.hpp"

namespace klined {

// A file of sql/ as it was when the program was built ("001_candles.sql"); "" for a name that is not there.
std::string_view embedded_sql(std::string_view file_name);

// A table as sql/ defines it. Found by a reader that knows how those files are written: a column or key a line.
struct TableDefinition {
  struct Column {
    std::string name;
    std::string type;        // "bigint", "varchar(64)", "bigint unsigned": lower case, without widths of integers
    bool is_binary = false;  // compares byte by byte
    std::string definition;  // as it stands in the file, for ALTER
  };
  struct Key {
    std::string name;  // "PRIMARY" for the primary key
    std::vector<std::string> columns;
    std::string definition;
  };
  std::string name;
  std::vector<Column> columns;
  std::vector<Key> keys;
  std::string statement;  // CREATE TABLE …
};
// All tables that a stream of these intervals needs.
std::vector<TableDefinition> needed_tables(std::span<const Interval> intervals);
// Reads the CREATE TABLE statements of a file of sql/.
std::vector<TableDefinition> parse_definitions(std::string_view sql);

// Whether every needed table exists, with every column, key and engine that it should have (more columns are welcome).
// kFatal names what is wrong and how to mend it.
Status check_schema(const MySqlOptions& options, std::span<const Interval> intervals);

// Makes what is missing, the database too, then checks all of it. Returns what it made ("table trade_kline_1m");
// nothing where all was there. The user needs CREATE besides the rights of sql/user.sql.
Result<std::vector<std::string>> create_schema(const MySqlOptions& options, std::span<const Interval> intervals);

// Empties all tables, so that the group starts over. Refused (kFatal) while a process of the group runs, and where the
// tables belong to another group. Where it is broken off, claims are refused until it is repeated. Returns what it
// emptied.
//
// With `place`, the next run begins there, whatever its config says about the start.
struct ResetPlace {
  std::int32_t lanes = 1;
  std::vector<PartitionStart> partitions;
};
Result<std::vector<std::string>> reset(const MySqlOptions& options, std::string_view group,
                                       const std::optional<ResetPlace>& place = std::nullopt);

// The intervals whose tables exist in the connection's database.
Result<std::vector<Interval>> candle_tables(MySqlConnection& connection);

}  // namespace klined
