// What the `wide` case is compared with: the same rows, by the same kind of statement over as many connections, and
// nothing else. No Kafka, no parsing, no candles, no offsets.
//
//   klined_upserts HOST PORT USER DATABASE CONNECTIONS ORDER   (the password in MYSQL_PWD)
//
// Reads all rows of DATABASE's candle tables, makes the statements, empties the tables, and then measures how fast the
// statements fill them again: 1,000 rows a statement, 4 statements a transaction. ORDER is `key`, by which a
// statement's rows lie side by side in the table, or `written`: the order in which klined wrote them last, each
// statement by key. Prints {"rows": …, "seconds": …, "cpu_s": …, "rss_peak_bytes": …}. Exit status 1 where the server
// refuses.

#include <mysql.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "measure.hpp"

namespace klined::bench {
namespace {

constexpr std::size_t kRowsAStatement = 1000;
constexpr std::size_t kStatementsATransaction = 4;
const std::string kByKey = "chain_id, pair_address, candle_time";
const std::string kAsWritten = "updated_at, " + kByKey;

struct Server {
  std::string host;
  unsigned port = 0;
  std::string user;
  std::string password;
  std::string database;
};

class Connection {
 public:
  explicit Connection(const Server& server) : handle_(mysql_init(nullptr), &mysql_close) {
    if (mysql_real_connect(handle_.get(), server.host.c_str(), server.user.c_str(), server.password.c_str(),
                           server.database.c_str(), server.port, nullptr, 0) == nullptr) {
      throw std::runtime_error(mysql_error(handle_.get()));
    }
  }

  void run(const std::string& sql) {
    if (mysql_real_query(handle_.get(), sql.data(), sql.size()) != 0)
      throw std::runtime_error(mysql_error(handle_.get()));
  }

  // Calls `take` with the fields of each row.
  template <typename Take>
  void ask(const std::string& sql, Take take) {
    run(sql);
    const std::unique_ptr<MYSQL_RES, decltype(&mysql_free_result)> result(mysql_use_result(handle_.get()),
                                                                          &mysql_free_result);
    if (!result) throw std::runtime_error(mysql_error(handle_.get()));
    const unsigned columns = mysql_num_fields(result.get());
    while (MYSQL_ROW row = mysql_fetch_row(result.get())) take(row, columns);
  }

 private:
  std::unique_ptr<MYSQL, decltype(&mysql_close)> handle_;
};

// The statements that write all rows of a table again. Values need no escapes: they are numbers and addresses.
std::vector<std::string> statements_of(Connection& connection, const std::string& table, const std::string& order) {
  std::string columns;
  std::string updates;
  connection.ask(fmt::format("SHOW COLUMNS FROM {}", table), [&](MYSQL_ROW row, unsigned) {
    const std::string name = row[0];
    if (name == "updated_at") return;
    columns += fmt::format("{}`{}`", columns.empty() ? "" : ",", name);
    const std::string key = row[3];
    if (key != "PRI") updates += fmt::format("{}`{}`=VALUES(`{}`)", updates.empty() ? "" : ",", name, name);
  });
  std::vector<std::string> statements;
  std::string values;
  std::size_t rows = 0;
  const auto finish = [&] {
    if (rows == 0) return;
    statements.push_back(
        fmt::format("INSERT INTO {} ({}) VALUES {} ON DUPLICATE KEY UPDATE {}", table, columns, values, updates));
    values.clear();
    rows = 0;
  };
  connection.ask(fmt::format("SELECT {} FROM {} ORDER BY {}", columns, table, order),
                 [&](MYSQL_ROW row, unsigned count) {
                   values += values.empty() ? "(" : ",(";
                   for (unsigned i = 0; i < count; ++i) {
                     values += i == 0 ? "" : ",";
                     values += row[i] == nullptr ? "NULL" : fmt::format("'{}'", row[i]);
                   }
                   values += ')';
                   if (++rows == kRowsAStatement) finish();
                 });
  finish();
  return statements;
}

void write_all(const Server& server, const std::vector<std::string>& statements, std::size_t connections) {
  std::atomic<std::size_t> next{0};
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < connections; ++i) {
    threads.emplace_back([&] {
      Connection connection(server);
      for (;;) {
        const std::size_t begin = next.fetch_add(kStatementsATransaction);
        if (begin >= statements.size()) return;
        connection.run("BEGIN");
        for (std::size_t s = begin; s < std::min(begin + kStatementsATransaction, statements.size()); ++s) {
          connection.run(statements[s]);
        }
        connection.run("COMMIT");
      }
    });
  }
}

void run(const Server& server, std::size_t connections, const std::string& order) {
  Connection connection(server);
  std::vector<std::string> tables;
  connection.ask("SHOW TABLES LIKE 'trade\\_kline\\_%'", [&](MYSQL_ROW row, unsigned) { tables.emplace_back(row[0]); });
  std::vector<std::string> statements;
  std::int64_t rows = 0;
  for (const std::string& table : tables) {
    connection.ask(fmt::format("SELECT COUNT(*) FROM {}", table),
                   [&](MYSQL_ROW row, unsigned) { rows += std::atoll(row[0]); });
    for (std::string& statement : statements_of(connection, table, order)) statements.push_back(std::move(statement));
  }
  for (const std::string& table : tables) connection.run(fmt::format("TRUNCATE TABLE {}", table));
  const double cpu_before = cpu_seconds();
  const Stopwatch watch;
  write_all(server, statements, connections);
  fmt::print("{{\"rows\": {}, \"seconds\": {:.3f}, \"cpu_s\": {:.3f}, \"rss_peak_bytes\": {}}}\n", rows,
             watch.seconds(), cpu_seconds() - cpu_before, peak_rss_bytes());
}

}  // namespace
}  // namespace klined::bench

int main(int argc, char** argv) {
  const std::string order = argc == 7 ? argv[6] : "";
  if (order != "key" && order != "written") {
    fmt::print(stderr,
               "usage: klined_upserts HOST PORT USER DATABASE CONNECTIONS key|written (the password in MYSQL_PWD)\n");
    return 2;
  }
  try {
    const char* password = std::getenv("MYSQL_PWD");
    const klined::bench::Server server{argv[1], static_cast<unsigned>(std::atoi(argv[2])), argv[3],
                                       password != nullptr ? password : "", argv[4]};
    klined::bench::run(server, static_cast<std::size_t>(std::atoi(argv[5])),
                       order == "key" ? klined::bench::kByKey : klined::bench::kAsWritten);
  } catch (const std::exception& error) {
    fmt::print(stderr, "klined_upserts: {}\n", error.what());
    return 1;
  }
}
