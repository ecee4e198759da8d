#include "klined/store/schema.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <map>

#include "klined/base/assertion.hpp"
#include "klined/store/sql_text.hpp"

namespace klined {

namespace {

constexpr std::string_view kCandles = "001_candles.sql";
constexpr std::string_view kStream = "002_stream.sql";
constexpr std::string_view kTableMark = "{table}";

std::string lower(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return result;
}

std::string_view trim(std::string_view text) {
  const auto begin = text.find_first_not_of(" \n\r\t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \n\r\t,") - begin + 1);
}

std::string_view take_word(std::string_view& text) {
  text = trim(text);
  const std::string_view word = text.substr(0, text.find(' '));
  text.remove_prefix(word.size());
  return word;
}

std::string without_quotes(std::string_view name) {
  std::string result(name);
  std::erase(result, '`');
  return result;
}

// "bigint(20) unsigned" (MariaDB, older MySQL) and "bigint unsigned" are one type.
std::string type_without_width(std::string_view type) {
  std::string result = lower(type);
  const auto open = result.find('(');
  if (open != std::string::npos && result.substr(0, open).ends_with("int")) {
    result.erase(open, result.find(')') - open + 1);
  }
  return result;
}

TableDefinition::Column parse_column(std::string_view line) {
  TableDefinition::Column column;
  column.definition = line;
  column.name = without_quotes(take_word(line));
  column.type = type_without_width(take_word(line));
  column.is_binary = line.find("_bin") != std::string_view::npos;
  if (take_word(line) == "UNSIGNED") column.type += " unsigned";
  return column;
}

TableDefinition::Key parse_key(std::string_view line) {
  TableDefinition::Key key;
  key.definition = line;
  const auto open = line.find('(');
  std::string_view head = trim(line.substr(0, open));
  key.name = head.starts_with("PRIMARY") ? "PRIMARY" : without_quotes(head.substr(head.rfind(' ') + 1));
  std::string_view list = line.substr(open + 1, line.rfind(')') - open - 1);
  while (!list.empty()) {
    const std::string_view name = list.substr(0, list.find(','));
    key.columns.push_back(without_quotes(trim(name)));
    list.remove_prefix(std::min(list.size(), name.size() + 1));
  }
  return key;
}

// ---- What the database has -----------------------------------------------------------------------------------------

struct StoredTable {
  std::string engine;
  struct Column {
    std::string type;
    std::string collation;
  };
  std::map<std::string, Column> columns;
  std::map<std::string, std::vector<std::string>> keys;
};
using StoredTables = std::map<std::string, StoredTable>;

Status read_columns(MySqlConnection& connection, StoredTables& tables) {
  Result<SqlRows> rows = connection.ask(
      "SELECT table_name,column_name,column_type,collation_name FROM information_schema.columns WHERE "
      "table_schema=DATABASE()",
      "read the tables' columns");
  if (!rows) return std::unexpected(rows.error());
  while (rows->next()) {
    const auto table = tables.find(std::string(rows->text(0)));
    if (table == tables.end()) continue;
    table->second.columns[lower(rows->text(1))] = {type_without_width(rows->text(2)), std::string(rows->text(3))};
  }
  return {};
}

Result<StoredTables> read_tables(MySqlConnection& connection) {
  StoredTables tables;
  Result<SqlRows> rows = connection.ask(
      "SELECT table_name,engine FROM information_schema.tables WHERE table_schema=DATABASE() AND table_type='BASE "
      "TABLE'",
      "read the tables");
  if (!rows) return std::unexpected(rows.error());
  while (rows->next()) tables[std::string(rows->text(0))].engine = rows->text(1);
  if (auto done = read_columns(connection, tables); !done) return std::unexpected(done.error());
  rows = connection.ask(
      "SELECT table_name,index_name,column_name FROM information_schema.statistics WHERE table_schema=DATABASE() "
      "ORDER BY table_name,index_name,seq_in_index",
      "read the tables' keys");
  if (!rows) return std::unexpected(rows.error());
  while (rows->next()) {
    const auto table = tables.find(std::string(rows->text(0)));
    if (table != tables.end()) table->second.keys[std::string(rows->text(1))].push_back(lower(rows->text(2)));
  }
  return tables;
}

// ---- Comparing -----------------------------------------------------------------------------------------------------

void compare_keys(const TableDefinition& wanted, const StoredTable& stored, std::vector<std::string>& faults) {
  for (const TableDefinition::Key& key : wanted.keys) {
    if (key.name == "PRIMARY") {
      const auto found = stored.keys.find(key.name);
      if (found != stored.keys.end() && found->second == key.columns) continue;
      faults.push_back(
          fmt::format("the primary key of {} is ({}) and should be ({}): if the table is of another program, "
                      "rename it and run `klined init`",
                      wanted.name, found == stored.keys.end() ? "" : fmt::format("{}", fmt::join(found->second, ",")),
                      fmt::join(key.columns, ",")));
      continue;
    }
    const bool exists = std::ranges::any_of(stored.keys, [&key](const auto& entry) {
      return entry.second.size() >= key.columns.size() &&
             std::equal(key.columns.begin(), key.columns.end(), entry.second.begin());
    });
    if (exists) continue;
    faults.push_back(fmt::format("{} has no key ({}): ALTER TABLE {} ADD {}", wanted.name, fmt::join(key.columns, ","),
                                 wanted.name, key.definition));
  }
}

void compare_table(const TableDefinition& wanted, const StoredTable& stored, std::vector<std::string>& faults) {
  if (lower(stored.engine) != "innodb") {
    faults.push_back(fmt::format("{} is a {} table, which has no transactions: ALTER TABLE {} ENGINE=InnoDB",
                                 wanted.name, stored.engine, wanted.name));
  }
  for (const TableDefinition::Column& column : wanted.columns) {
    const auto found = stored.columns.find(column.name);
    if (found == stored.columns.end()) {
      faults.push_back(fmt::format("{} has no column {}: ALTER TABLE {} ADD COLUMN {}", wanted.name, column.name,
                                   wanted.name, column.definition));
    } else if (found->second.type != column.type) {
      faults.push_back(fmt::format("{}.{} is {} and should be {}: ALTER TABLE {} MODIFY COLUMN {}", wanted.name,
                                   column.name, found->second.type, column.type, wanted.name, column.definition));
    } else if (column.is_binary && !found->second.collation.ends_with("_bin")) {
      faults.push_back(
          fmt::format("{}.{} compares by {}, which takes different names for one: ALTER TABLE {} MODIFY COLUMN {}",
                      wanted.name, column.name, found->second.collation, wanted.name, column.definition));
    }
  }
  compare_keys(wanted, stored, faults);
}

std::vector<std::string> missing_tables(std::span<const TableDefinition> wanted, const StoredTables& stored) {
  std::vector<std::string> missing;
  for (const TableDefinition& table : wanted) {
    if (!stored.contains(table.name)) missing.push_back(table.name);
  }
  return missing;
}

Status check(MySqlConnection& connection, std::span<const TableDefinition> wanted) {
  Result<StoredTables> stored = read_tables(connection);
  if (!stored) return std::unexpected(stored.error());
  // The list does not wait for a rebuild's RENAME, and shows some of both sets until it is done. A look into the table
  // waits.
  if (const std::vector<std::string> missing = missing_tables(wanted, *stored); !missing.empty()) {
    if (connection.ask(fmt::format("SELECT 1 FROM {} LIMIT 0", missing.front()), "look into a table")) {
      stored = read_tables(connection);
      if (!stored) return std::unexpected(stored.error());
    }
  }
  const std::string& database = connection.options().database;
  if (const std::vector<std::string> missing = missing_tables(wanted, *stored); !missing.empty()) {
    return fatal(fmt::format("mysql: database {} lacks {} (or user {} has no rights there): run `klined init`",
                             database, fmt::join(missing, ", "), connection.options().user));
  }
  std::vector<std::string> faults;
  for (const TableDefinition& table : wanted) compare_table(table, stored->at(table.name), faults);
  if (faults.empty()) return {};
  return fatal(fmt::format("mysql: database {}: {}{}", database, faults.front(),
                           faults.size() > 1 ? fmt::format(" (and {} more faults like it)", faults.size() - 1) : ""));
}

Result<bool> make_database(const MySqlOptions& options) {
  MySqlConnection connection(options);
  const Status connected = connection.connect();
  if (connected) return false;
  constexpr unsigned kUnknownDatabase = 1049;
  if (connection.last_code() != kUnknownDatabase) return std::unexpected(connected.error());
  MySqlOptions without_database = options;
  without_database.database.clear();
  MySqlConnection server(without_database);
  if (auto done = server.connect(); !done) return std::unexpected(done.error());
  SqlText sql;
  sql << "CREATE DATABASE IF NOT EXISTS ";
  sql.name(options.database) << " CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";
  const auto made = server.execute(sql.view(), fmt::format("make database {}", options.database));
  if (!made) return std::unexpected(made.error());
  return true;
}

}  // namespace

std::vector<TableDefinition> parse_definitions(std::string_view sql) {
  constexpr std::string_view kBegin = "CREATE TABLE IF NOT EXISTS ";
  constexpr std::string_view kKeyWords[] = {"PRIMARY KEY", "UNIQUE KEY", "KEY "};
  std::vector<TableDefinition> tables;
  for (auto at = sql.find(kBegin); at != std::string_view::npos; at = sql.find(kBegin, at + 1)) {
    // A comment inside may hold a semicolon.
    const std::string_view statement = sql.substr(at, sql.find(';', sql.find("\n)", at)) - at);
    TableDefinition table;
    table.statement = statement;
    std::string_view head = statement.substr(kBegin.size());
    table.name = without_quotes(take_word(head));
    std::string_view body = statement.substr(statement.find('\n') + 1);
    while (!body.starts_with(')')) {
      const auto end = body.find('\n');
      KLINED_ASSERT(end != std::string_view::npos, "a table's definition ends with a line that begins with )");
      std::string_view line = body.substr(0, end);
      body.remove_prefix(end + 1);
      line = trim(line.substr(0, line.find("--")));
      if (line.empty()) continue;
      const bool is_key =
          std::ranges::any_of(kKeyWords, [line](std::string_view word) { return line.starts_with(word); });
      if (is_key) {
        table.keys.push_back(parse_key(line));
      } else {
        table.columns.push_back(parse_column(line));
      }
    }
    tables.push_back(std::move(table));
  }
  return tables;
}

std::vector<TableDefinition> needed_tables(std::span<const Interval> intervals) {
  std::vector<TableDefinition> tables = parse_definitions(embedded_sql(kStream));
  for (const Interval interval : intervals) {
    std::string sql(embedded_sql(kCandles));
    for (auto at = sql.find(kTableMark); at != std::string::npos; at = sql.find(kTableMark, at)) {
      sql.replace(at, kTableMark.size(), table_of(interval));
    }
    const std::vector<TableDefinition> of_interval = parse_definitions(sql);
    tables.insert(tables.end(), of_interval.begin(), of_interval.end());
  }
  return tables;
}

Status check_schema(const MySqlOptions& options, std::span<const Interval> intervals) {
  MySqlConnection connection(options);
  const std::vector<TableDefinition> wanted = needed_tables(intervals);
  return check(connection, wanted);
}

Result<std::vector<std::string>> create_schema(const MySqlOptions& options, std::span<const Interval> intervals) {
  std::vector<std::string> made;
  const Result<bool> made_database = make_database(options);
  if (!made_database) return std::unexpected(made_database.error());
  if (*made_database) made.push_back("database " + options.database);
  MySqlConnection connection(options);
  const std::vector<TableDefinition> wanted = needed_tables(intervals);
  const Result<StoredTables> stored = read_tables(connection);
  if (!stored) return std::unexpected(stored.error());
  for (const TableDefinition& table : wanted) {
    if (stored->contains(table.name)) continue;
    const auto done = connection.execute(table.statement, "make table " + table.name);
    if (!done) return std::unexpected(done.error());
    made.push_back("table " + table.name);
  }
  if (auto checked = check(connection, wanted); !checked) return std::unexpected(checked.error());
  return made;
}

Result<std::vector<Interval>> candle_tables(MySqlConnection& connection) {
  Result<SqlRows> rows = connection.query(
      "SELECT table_name FROM information_schema.tables WHERE table_schema=DATABASE()", "read the tables");
  if (!rows) return std::unexpected(rows.error());
  std::vector<Interval> intervals;
  while (rows->next()) {
    const auto found = std::ranges::find(kAllIntervals, rows->text(0), table_of);
    if (found != kAllIntervals.end()) intervals.push_back(*found);
  }
  std::ranges::sort(intervals);
  return intervals;
}

}  // namespace klined
