#include "klined/store/mysql_connection.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <mutex>

#include "klined/base/assertion.hpp"
#include "klined/store/sql_text.hpp"

namespace klined {

namespace {

constexpr std::int64_t kReadTimeout = 30;  // s: a server's own default, for the rest of a statement

void init_library() {
  static std::once_flag once;
  // Not thread-safe by itself, so not left to the first mysql_init().
  std::call_once(once,
                 [] { KLINED_ASSERT(mysql_library_init(0, nullptr, nullptr) == 0, "the client library starts"); });
}

void set_seconds(MYSQL* handle, mysql_option option, std::chrono::seconds value) {
  const auto seconds = static_cast<unsigned>(value.count());
  mysql_options(handle, option, &seconds);
}

// The two client libraries do it differently (as they do bulk statements, see mysql_bulk.cpp).
void set_tls(MYSQL* handle, const MySqlOptions& options) {
  const auto file = [](const std::string& path) { return path.empty() ? nullptr : path.c_str(); };
  if (!options.ssl_ca.empty()) mysql_options(handle, MYSQL_OPT_SSL_CA, file(options.ssl_ca));
  if (!options.ssl_cert.empty()) mysql_options(handle, MYSQL_OPT_SSL_CERT, file(options.ssl_cert));
  if (!options.ssl_key.empty()) mysql_options(handle, MYSQL_OPT_SSL_KEY, file(options.ssl_key));
  const bool verify = options.tls == TlsMode::kVerify || (options.tls == TlsMode::kAuto && !options.ssl_ca.empty());
  if (!verify && options.tls != TlsMode::kRequired) return;
#ifdef LIBMARIADB
  const my_bool on = 1;
  const my_bool check = verify ? 1 : 0;
  mysql_options(handle, MYSQL_OPT_SSL_ENFORCE, &on);
  mysql_options(handle, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &check);
#else
  const unsigned mode = verify ? SSL_MODE_VERIFY_IDENTITY : SSL_MODE_REQUIRED;
  mysql_options(handle, MYSQL_OPT_SSL_MODE, &mode);
#endif
}

}  // namespace

// ---- Rows ----------------------------------------------------------------------------------------------------------

bool SqlRows::next() {
  if (!result_) return false;
  row_ = mysql_fetch_row(result_.get());
  if (row_ == nullptr) return false;
  lengths_ = mysql_fetch_lengths(result_.get());
  return true;
}

std::string_view SqlRows::text(unsigned column) const {
  return row_[column] == nullptr ? std::string_view() : std::string_view(row_[column], lengths_[column]);
}

void SqlRows::spoil(unsigned column) {
  if (bad_column_.empty()) bad_column_ = mysql_fetch_field_direct(result_.get(), column)->name;
}

template <typename Number>
Number SqlRows::number(unsigned column) {
  const std::string_view value = text(column);
  Number result{};
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), result);
  if (error != std::errc() || end != value.data() + value.size() || value.empty()) {
    spoil(column);
    return Number{};
  }
  return result;
}

std::int64_t SqlRows::integer(unsigned column) { return number<std::int64_t>(column); }
std::uint64_t SqlRows::unsigned_integer(unsigned column) { return number<std::uint64_t>(column); }
double SqlRows::real(unsigned column) { return number<double>(column); }

// ---- Connection ----------------------------------------------------------------------------------------------------

Status MySqlConnection::connect() {
  if (handle_) return {};
  Status status = open();
  if (!status) close();
  return status;
}

Status MySqlConnection::open() {
  init_library();
  handle_.reset(mysql_init(nullptr));
  KLINED_ASSERT(handle_ != nullptr, "memory for a connection");
  set_seconds(handle_.get(), MYSQL_OPT_CONNECT_TIMEOUT, options_.connect_timeout);
  set_seconds(handle_.get(), MYSQL_OPT_READ_TIMEOUT, options_.read_timeout);
  set_seconds(handle_.get(), MYSQL_OPT_WRITE_TIMEOUT, options_.write_timeout);
  mysql_options(handle_.get(), MYSQL_SET_CHARSET_NAME, "utf8mb4");
  set_tls(handle_.get(), options_);
  const auto text_or_null = [](const std::string& text) { return text.empty() ? nullptr : text.c_str(); };
  const bool by_socket = !options_.socket.empty();
  if (mysql_real_connect(handle_.get(), by_socket ? "localhost" : options_.host.c_str(), options_.user.c_str(),
                         options_.password.c_str(), text_or_null(options_.database),
                         static_cast<unsigned>(options_.port), text_or_null(options_.socket),
                         CLIENT_FOUND_ROWS) == nullptr) {
    Error error = take_error("connect");
    // A server that goes down in the middle of a handshake looks like a wrong name or certificate: once it has worked,
    // it will again.
    if (was_open_before_ && (last_code_ == 2005 || last_code_ == 2026)) error.kind = ErrorKind::kRetry;
    return std::unexpected(std::move(error));
  }
  return set_up_session();
}

Status MySqlConnection::set_up_session() {
  const std::string settings = fmt::format(
      "SET SESSION sql_mode='STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION', time_zone='+00:00', "
      "autocommit=1, innodb_lock_wait_timeout={}, wait_timeout={}, net_read_timeout={}",
      options_.lock_wait_timeout.count(), options_.idle_timeout.count(),
      std::min<std::int64_t>(kReadTimeout, options_.idle_timeout.count()));
  if (auto done = send(settings, "set up the session"); !done) return done;
  if (auto done = send("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", "set up the session"); !done)
    return done;
  Result<SqlRows> packet = query("SELECT @@max_allowed_packet", "set up the session");
  if (!packet) return std::unexpected(packet.error());
  if (!packet->next()) return fatal("mysql: SELECT @@max_allowed_packet gave no row: is this a MySQL server?");
  max_packet_ = packet->unsigned_integer(0);
  was_open_before_ = true;
  takes_bulk_ = options_.bulk && has_bulk_protocol();
  return {};
}

void MySqlConnection::close() {
  handle_.reset();
  statements_.clear();
  takes_bulk_ = false;
}

Error MySqlConnection::take_error(std::string_view what) {
  return take_error(mysql_errno(handle_.get()), mysql_error(handle_.get()), what);
}

Error MySqlConnection::take_error(unsigned code, std::string_view text, std::string_view what) {
  last_code_ = code;
  Error error = describe_error(options_, code, text, what);
  if (is_connection_error(last_code_)) close();
  return error;
}

Status MySqlConnection::send(std::string_view sql, std::string_view what) {
  KLINED_ASSERT(handle_ != nullptr, "an open connection");
  last_code_ = 0;
  if (mysql_real_query(handle_.get(), sql.data(), sql.size()) != 0) return std::unexpected(take_error(what));
  return {};
}

Status MySqlConnection::begin(std::string_view what) {
  const bool was_open = is_open();
  if (auto connected = connect(); !connected) return connected;
  Status begun = send("START TRANSACTION", what);
  if (begun || is_open() || !was_open) return begun;
  if (auto connected = connect(); !connected) return connected;
  return send("START TRANSACTION", what);
}

Result<std::uint64_t> MySqlConnection::execute(std::string_view sql, std::string_view what) {
  if (!is_open()) return retry(fmt::format("mysql: the connection was closed before it could {}", what));
  if (auto done = send(sql, what); !done) return std::unexpected(done.error());
  return mysql_affected_rows(handle_.get());
}

Result<SqlRows> MySqlConnection::query(std::string_view sql, std::string_view what) {
  if (!is_open()) return retry(fmt::format("mysql: the connection was closed before it could {}", what));
  if (auto done = send(sql, what); !done) return std::unexpected(done.error());
  MYSQL_RES* const result = mysql_store_result(handle_.get());
  if (result == nullptr && mysql_errno(handle_.get()) != 0) return std::unexpected(take_error(what));
  return SqlRows(result);
}

Result<SqlRows> MySqlConnection::ask(std::string_view sql, std::string_view what) {
  const bool was_open = is_open();
  if (auto connected = connect(); !connected) return std::unexpected(connected.error());
  Result<SqlRows> rows = query(sql, what);
  if (rows || is_open() || !was_open) return rows;
  if (auto connected = connect(); !connected) return std::unexpected(connected.error());
  return query(sql, what);
}

Status MySqlConnection::commit(std::string_view what) {
  if (!is_open()) return retry(fmt::format("mysql: the connection was closed before it could {}", what));
  Status done = send("COMMIT", what);
  if (done) return done;
  Error error = done.error();
  const bool rolled_back = last_code_ == 1020 || last_code_ == 1205 || last_code_ == 1213 || last_code_ == 3101;
  error.kind = rolled_back ? ErrorKind::kRetry : ErrorKind::kUnknown;
  // Closing makes the server end the transaction one way or the other, so that a locking read can find out which.
  close();
  return std::unexpected(std::move(error));
}

void MySqlConnection::rollback() {
  if (!is_open()) return;
  const unsigned code = last_code_;
  if (!send("ROLLBACK", "roll back")) close();
  last_code_ = code;
}

}  // namespace klined
