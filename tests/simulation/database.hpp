// A MySQL server that keeps what was committed, and fails as it is told: transactions, row locks, lost answers.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "faults.hpp"
#include "klined/core/interval.hpp"
#include "sql_statement.hpp"

namespace klined::simulation {

struct Table {
  using Row = std::vector<std::string>;
  std::string name;
  std::vector<std::string> columns;
  std::vector<bool> is_text;        // by column: compared as text, else as a whole number
  std::size_t key_columns = 0;      // the first ones, in the order of sql/
  std::map<std::string, Row> rows;  // by key_of()

  std::size_t column(std::string_view wanted) const;
  std::string key_of(const Row& row) const;
};

// Everything is the committed state, but for the changes of the transaction that runs at the moment: only one runs at a
// time, since the simulation calls one store after another. A transaction whose COMMIT or connection was lost may stay
// open, out of sight but with its rows locked, until it ends late.
class Database {
 public:
  Database(Faults& faults, Trace& trace, Random& random, const std::vector<Interval>& intervals);

  // ---- what a client sees; codes are MySQL's, 0 is success ----
  struct Session {
    std::uint64_t id = 0;
    bool broken = false;  // the server has given it up
    struct Change {
      Table* table;
      std::string key;
      std::optional<Table::Row> before, after;
    };
    std::vector<Change> changes;
    std::set<std::pair<const Table*, std::string>> locks;
    bool in_transaction = false;
  };
  struct Answer {
    unsigned code = 0;
    std::vector<Table::Row> rows;
    std::size_t columns = 0;
    std::uint64_t matched = 0;
  };
  unsigned connect(std::unique_ptr<Session>& session);
  Answer query(Session& session, std::string_view sql);
  // Prepares a statement: 0, or why not.
  unsigned prepare(Session& session);
  // MariaDB's protocol for many rows of a prepared statement: some servers have it.
  bool has_bulk() const { return has_bulk_; }
  // False where it says nothing of how many rows the statement took that has just worked.
  bool tells_rows();
  // The client has closed its side: what is not committed is rolled back.
  void close(Session& session);

  // ---- what the world does ----
  // Ends one transaction that was left open; false where there is none.
  bool settle_one();

  // ---- looking at it ----
  const Table& table(std::string_view name) const;
  int commits() const { return commits_; }
  std::uint64_t statements() const { return statements_; }

 private:
  struct Open {  // a transaction whose client is gone
    std::vector<Session::Change> changes;
    std::set<std::pair<const Table*, std::string>> locks;
    bool commits = false;
  };

  Table& find(std::string_view name);
  Answer run(Session& session, const Statement& statement);
  Answer run_select(Session& session, const Select& select);
  Answer run_insert(Session& session, const Statement& statement);
  Answer run_change(Session& session, const Statement& statement);
  Answer run_commit(Session& session);
  unsigned fail(Session& session, const Statement& statement, int kind);
  // The keys of the rows that match, locked; nothing where a lock was not to be had.
  std::optional<std::vector<std::string>> lock_matching(Session& session, Table& table, std::optional<Expr> where);
  bool lock(Session& session, const Table& table, const std::string& key);
  void put(Session& session, Table& table, const std::string& key, std::optional<Table::Row> after);
  void roll_back(Session& session);
  void leave_open(Session& session, bool commits);
  void restart();
  static void apply(const std::vector<Session::Change>& changes);

  Faults& faults_;
  Trace& trace_;
  Random& random_;
  std::deque<Table> tables_;
  std::deque<Open> open_;
  std::set<Session*> sessions_;
  std::uint64_t next_session_ = 1;
  bool has_bulk_;
  int outage_ = 0;  // so many attempts to connect are still refused
  int commits_ = 0;
  std::uint64_t statements_ = 0;
};

}  // namespace klined::simulation
