// What the `wide` case is compared with: the same rows, by the same kind of statement over as many connections, and
// nothing else. No Kafka, no parsing, no candles, no offsets.
//
//   klined_upserts HOST PORT USER DATABASE CONNECTIONS text|bulk ORDER   (the password in MYSQL_PWD)
//
// Reads all rows of DATABASE's candle tables, makes the statements, empties the tables, and then measures how fast the
// statements fill them again: 1,000 rows a statement, 4 statements a transaction. `bulk` is MariaDB's protocol for many
// rows of a prepared statement. ORDER is `key`, by which a statement's rows lie side by side in the table, or
// `written`: the order in which klined wrote them last, each statement by key. Prints {"rows": …, "seconds": …,
// "cpu_s": …, "rss_peak_bytes": …}. Exit status 1 where the server refuses, or has no bulk protocol.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "klined/store/mysql_connection.hpp"
#include "measure.hpp"

namespace klined::bench {
namespace {

constexpr std::size_t kRowsAStatement = 1000;
constexpr std::size_t kStatementsATransaction = 4;
const std::string kByKey = "chain_id, pair_address, candle_time";
const std::string kAsWritten = "updated_at, " + kByKey;

MySqlConnection connect(const MySqlOptions& options) {
  MySqlConnection connection(options);
  if (const Status status = connection.connect(); !status) throw std::runtime_error(status.error().message);
  return connection;
}

void check(const auto& result) {
  if (!result) throw std::runtime_error(result.error().message);
}

void run_sql(MySqlConnection& connection, const std::string& sql) { check(connection.execute(sql, "write rows")); }

SqlRows ask(MySqlConnection& connection, const std::string& sql) {
  Result<SqlRows> rows = connection.ask(sql, "read rows");
  check(rows);
  return std::move(*rows);
}

// A statement with its rows: as text, or for the bulk protocol.
struct Statement {
  std::string sql;
  BulkRows rows;  // empty: they are in the text
};

struct Column {
  std::string name;
  std::string type;  // "bigint(20)"
  bool is_key = false;
};

std::vector<Column> columns_of(MySqlConnection& connection, const std::string& table) {
  std::vector<Column> columns;
  SqlRows rows = ask(connection, fmt::format("SHOW COLUMNS FROM {}", table));
  while (rows.next()) {
    if (rows.text(0) == "updated_at") continue;
    columns.push_back({std::string(rows.text(0)), std::string(rows.text(1)), rows.text(3) == "PRI"});
  }
  return columns;
}

void put_value(BulkRows& values, const Column& column, SqlRows& rows, unsigned at) {
  if (column.type.starts_with("double")) {
    values.real(rows.real(at));
  } else if (column.type.starts_with("decimal")) {
    values.decimal(Decimal::parse_column(rows.text(at)).value());
  } else if (column.type.find("int") != std::string::npos) {
    values.integer(rows.integer(at));
  } else {
    values.text(rows.text(at));
  }
}

// The statements that write all rows of a table again. Values need no escapes: they are numbers and addresses.
std::vector<Statement> statements_of(MySqlConnection& connection, const std::string& table, bool bulk,
                                     const std::string& order) {
  const std::vector<Column> columns = columns_of(connection, table);
  std::string names;
  std::string updates;
  std::string marks;
  for (const Column& column : columns) {
    names += fmt::format("{}`{}`", names.empty() ? "" : ",", column.name);
    marks += marks.empty() ? "?" : ",?";
    if (column.is_key) continue;
    updates += fmt::format("{}`{}`=VALUES(`{}`)", updates.empty() ? "" : ",", column.name, column.name);
  }
  const auto sql_of = [&](const std::string& values) {
    return fmt::format("INSERT INTO {} ({}) VALUES {} ON DUPLICATE KEY UPDATE {}", table, names, values, updates);
  };
  std::vector<Statement> statements;
  std::string values;
  std::size_t count = 0;
  SqlRows rows = ask(connection, fmt::format("SELECT {} FROM {} ORDER BY {}", names, table, order));
  while (rows.next()) {
    if (bulk) {
      if (count == 0) statements.push_back({sql_of("(" + marks + ")"), {}});
      for (unsigned i = 0; i < rows.columns(); ++i) put_value(statements.back().rows, columns[i], rows, i);
      statements.back().rows.end_row();
    } else {
      values += count == 0 ? "(" : ",(";
      for (unsigned i = 0; i < rows.columns(); ++i) values += fmt::format("{}'{}'", i == 0 ? "" : ",", rows.text(i));
      values += ')';
    }
    if (++count < kRowsAStatement) continue;
    if (!bulk) statements.push_back({sql_of(values), {}});
    values.clear();
    count = 0;
  }
  if (!rows.good()) throw std::runtime_error("column " + rows.which_bad() + " holds a value that it should not");
  if (!values.empty()) statements.push_back({sql_of(values), {}});
  return statements;
}

void write_all(const MySqlOptions& server, const std::vector<Statement>& statements, std::size_t connections) {
  std::atomic<std::size_t> next{0};
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < connections; ++i) {
    threads.emplace_back([&] {
      MySqlConnection connection = connect(server);
      for (;;) {
        const std::size_t begin = next.fetch_add(kStatementsATransaction);
        if (begin >= statements.size()) return;
        run_sql(connection, "BEGIN");
        for (std::size_t s = begin; s < std::min(begin + kStatementsATransaction, statements.size()); ++s) {
          const auto& [sql, rows] = statements[s];
          if (rows.size() == 0) {
            run_sql(connection, sql);
          } else {
            check(connection.execute_bulk(sql, rows, "write rows"));
          }
        }
        run_sql(connection, "COMMIT");
      }
    });
  }
}

void run(const MySqlOptions& server, std::size_t connections, bool bulk, const std::string& order) {
  MySqlConnection connection = connect(server);
  if (bulk && !connection.takes_bulk()) throw std::runtime_error("the server has no bulk protocol");
  std::vector<std::string> tables;
  for (SqlRows rows = ask(connection, "SHOW TABLES LIKE 'trade\\_kline\\_%'"); rows.next();) {
    tables.emplace_back(rows.text(0));
  }
  std::vector<Statement> statements;
  std::int64_t count = 0;
  for (const std::string& table : tables) {
    SqlRows rows = ask(connection, fmt::format("SELECT COUNT(*) FROM {}", table));
    if (rows.next()) count += rows.integer(0);
    for (Statement& statement : statements_of(connection, table, bulk, order)) {
      statements.push_back(std::move(statement));
    }
  }
  for (const std::string& table : tables) run_sql(connection, fmt::format("TRUNCATE TABLE {}", table));
  const double cpu_before = cpu_seconds();
  const Stopwatch watch;
  write_all(server, statements, connections);
  fmt::print("{{\"rows\": {}, \"seconds\": {:.3f}, \"cpu_s\": {:.3f}, \"rss_peak_bytes\": {}}}\n", count,
             watch.seconds(), cpu_seconds() - cpu_before, peak_rss_bytes());
}

}  // namespace
}  // namespace klined::bench

int main(int argc, char** argv) {
  const std::string way = argc == 8 ? argv[6] : "";
  const std::string order = argc == 8 ? argv[7] : "";
  if ((way != "text" && way != "bulk") || (order != "key" && order != "written")) {
    fmt::print(stderr,
               "usage: klined_upserts HOST PORT USER DATABASE CONNECTIONS text|bulk key|written (the password in "
               "MYSQL_PWD)\n");
    return 2;
  }
  try {
    const char* password = std::getenv("MYSQL_PWD");
    klined::MySqlOptions server;
    server.host = argv[1];
    server.port = std::atoi(argv[2]);
    server.user = argv[3];
    server.password = password != nullptr ? password : "";
    server.database = argv[4];
    server.read_timeout = server.idle_timeout = std::chrono::hours(1);
    klined::bench::run(server, static_cast<std::size_t>(std::atoi(argv[5])), way == "bulk",
                       order == "key" ? klined::bench::kByKey : klined::bench::kAsWritten);
  } catch (const std::exception& error) {
    fmt::print(stderr, "klined_upserts: {}\n", error.what());
    return 1;
  }
}
