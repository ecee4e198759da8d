// One connection to MySQL 8.0+ or MariaDB 10.6+, over whichever of their two C clients the program is built with.
#pragma once

#include <mysql.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "klined/base/error.hpp"
#include "klined/store/bulk_rows.hpp"

namespace klined {

enum class TlsMode {
  kAuto,      // kVerify where ssl_ca is set; else what the client library does by itself
  kRequired,  // encrypted, whoever answers
  kVerify,    // encrypted, and the server's certificate is checked against ssl_ca
};

struct MySqlOptions {
  std::string host = "127.0.0.1";
  std::int32_t port = 3306;
  std::string user;
  std::string password;
  std::string database;  // "" to choose none
  std::string socket;    // a Unix socket's path, used in place of host and port where it is set
  TlsMode tls = TlsMode::kAuto;
  std::string ssl_ca;  // files in PEM; "" for none
  std::string ssl_cert;
  std::string ssl_key;
  std::chrono::seconds connect_timeout{5};
  // How long one answer may take. A lock is waited for at most `lock_wait_timeout`, which should be shorter.
  std::chrono::seconds read_timeout{60};
  std::chrono::seconds write_timeout{60};
  std::chrono::seconds lock_wait_timeout{10};
  // The server gives the session up after so long without a word: the locks of a vanished host, or of a process that
  // hangs in the middle of a transaction, go with it.
  std::chrono::seconds idle_timeout{60};
  // Use MariaDB's bulk protocol where client and server have it.
  bool bulk = true;
};

// What a client-library error means for the caller, with a remedy for those that somebody must mend. COMMIT has rules
// of its own, see MySqlConnection::commit().
Error describe_error(const MySqlOptions& options, unsigned code, std::string_view text, std::string_view what);
// True where the connection is dead after this error.
bool is_connection_error(unsigned code);

// The rows of an answer, one after the other. Values are text; reading one that is no number of its kind, or NULL,
// spoils the answer (see good()) and gives 0.
class SqlRows {
 public:
  explicit SqlRows(MYSQL_RES* result) : result_(result) {}

  // Moves to the next row; false where there is none.
  bool next();
  std::uint64_t size() const { return result_ ? mysql_num_rows(result_.get()) : 0; }
  unsigned columns() const { return result_ ? mysql_num_fields(result_.get()) : 0; }
  bool is_null(unsigned column) const { return row_[column] == nullptr; }
  std::string_view text(unsigned column) const;
  std::int64_t integer(unsigned column);
  std::uint64_t unsigned_integer(unsigned column);
  double real(unsigned column);
  // False where some value could not be read; which_bad() names its column.
  bool good() const { return bad_column_.empty(); }
  const std::string& which_bad() const { return bad_column_; }
  void spoil(unsigned column);

 private:
  template <typename Number>
  Number number(unsigned column);

  struct Free {
    void operator()(MYSQL_RES* result) const { mysql_free_result(result); }
  };
  std::unique_ptr<MYSQL_RES, Free> result_;
  MYSQL_ROW row_ = nullptr;
  const unsigned long* lengths_ = nullptr;
  std::string bad_column_;
};

// A thin owner of a connection, opened by its first use.
//
// The session: READ COMMITTED, UTC, strict, utf8mb4, and counts of matched (not changed) rows. Never reconnects inside
// of a transaction: after an error that breaks the connection it is closed, and the next begin() or ask() opens a new
// one.
//
// Not thread-safe. `what` names the step in error messages: "commit candles".
class MySqlConnection {
 public:
  explicit MySqlConnection(MySqlOptions options) : options_(std::move(options)) {}

  const MySqlOptions& options() const { return options_; }
  // Opens the connection where it is not open.
  Status connect();
  void close();
  bool is_open() const { return handle_ != nullptr; }

  // Starts a transaction; on a new connection where the old one was given up by the server meanwhile.
  Status begin(std::string_view what);
  // A statement without rows, inside of a transaction or on its own. Returns the number of matched rows.
  Result<std::uint64_t> execute(std::string_view sql, std::string_view what);
  // True where execute_bulk() may be used on the connection that is open.
  bool takes_bulk() const { return takes_bulk_; }
  // Runs an INSERT, with a '?' for each value, for many rows. The server parses its text once a connection, and never
  // the values: it needs half the CPU time that it needs for the same rows as text. Where the server doesn't do that
  // after all, or did not take all rows, it is kRetry, and takes_bulk() is false from now on: the whole transaction is
  // to be done again, with text.
  Status execute_bulk(const std::string& sql, const BulkRows& rows, std::string_view what);
  // A statement with rows, inside of a transaction.
  Result<SqlRows> query(std::string_view sql, std::string_view what);
  // The same outside of one: asked again on a new connection where the old one was given up meanwhile.
  Result<SqlRows> ask(std::string_view sql, std::string_view what);
  // kRetry: the server says that it was rolled back. kUnknown: any other failure; the connection is closed.
  Status commit(std::string_view what);
  // Never fails: where the server does not answer, the connection is closed, and it rolls back itself.
  void rollback();

  // The server's max_allowed_packet, in bytes; of an open connection.
  std::size_t max_packet() const { return max_packet_; }
  // The server's number of this connection, as KILL takes it.
  std::uint64_t id() const { return handle_ ? mysql_thread_id(handle_.get()) : 0; }
  // The code of the last error; 0 after a success.
  unsigned last_code() const { return last_code_; }

 private:
  Status open();
  Status set_up_session();
  Status send(std::string_view sql, std::string_view what);
  Error take_error(std::string_view what);
  Error take_error(unsigned code, std::string_view text, std::string_view what);
  bool has_bulk_protocol() const;

  struct Close {
    void operator()(MYSQL* handle) const { mysql_close(handle); }
  };
  struct CloseStatement {
    void operator()(MYSQL_STMT* statement) const { mysql_stmt_close(statement); }
  };
  MySqlOptions options_;
  // By their text. They outlive the connection: so close() sends nothing to a server that may hang.
  std::map<std::string, std::unique_ptr<MYSQL_STMT, CloseStatement>> statements_;
  std::unique_ptr<MYSQL, Close> handle_;
  std::size_t max_packet_ = 0;
  unsigned last_code_ = 0;
  bool was_open_before_ = false;
  bool takes_bulk_ = false;
};

}  // namespace klined
