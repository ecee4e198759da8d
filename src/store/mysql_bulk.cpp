// MariaDB's bulk protocol: a prepared statement runs for many rows of values, which come in binary form. MySQL and its
// client don't have it.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "klined/base/assertion.hpp"
#include "klined/store/mysql_connection.hpp"

namespace klined {

#ifdef LIBMARIADB

namespace {

enum_field_types type_of(BulkRows::Type type) {
  switch (type) {
    case BulkRows::Type::kInteger: return MYSQL_TYPE_LONGLONG;
    case BulkRows::Type::kReal: return MYSQL_TYPE_DOUBLE;
    case BulkRows::Type::kDecimal: return MYSQL_TYPE_NEWDECIMAL;
    case BulkRows::Type::kText: break;
  }
  return MYSQL_TYPE_BLOB;  // bytes: a text would be converted from the connection's characters to the column's
}

// The client library reads what it is bound to, and takes no pointer to const for it.
template <typename T>
T* unconst(const T* data) {
  return const_cast<T*>(data);  // NOLINT(cppcoreguidelines-pro-type-const-cast)
}

// Rows as the client library takes them: for each column an array of numbers, or of pointers and lengths.
class Binds {
 public:
  explicit Binds(const BulkRows& rows) : texts_(rows.columns().size()), binds_(rows.columns().size()) {
    for (std::size_t i = 0; i < binds_.size(); ++i) {
      const BulkRows::Column& column = rows.columns()[i];
      binds_[i].buffer_type = type_of(column.type);
      if (!column.is_text()) {
        binds_[i].buffer = unconst(column.numbers.data());
        continue;
      }
      const char* next = column.texts.data();
      for (const unsigned long length : column.lengths) texts_[i].push_back(std::exchange(next, next + length));
      binds_[i].buffer = static_cast<void*>(texts_[i].data());
      binds_[i].length = unconst(column.lengths.data());
    }
  }
  MYSQL_BIND* data() { return binds_.data(); }
  std::size_t size() const { return binds_.size(); }

 private:
  std::vector<std::vector<const char*>> texts_;
  std::vector<MYSQL_BIND> binds_;
};

// True where the server prepares no such statement, but the transaction goes on. After other errors it may have been
// rolled back: text that followed would be written without its offsets.
bool is_refusal(unsigned code) {
  return code == 1295 /* not supported as a prepared statement */ || code == 1461 /* max_prepared_stmt_count */;
}

// How many rows the last statement took, in the server's words: "Records: 1000  Duplicates: 7  Warnings: 0". It says
// nothing of a single one, which counts as two where it was changed.
std::uint64_t taken_rows(MYSQL* handle, MYSQL_STMT* statement) {
  constexpr std::string_view kRecords = "Records: ";
  const char* const info = mysql_info(handle);
  if (info == nullptr) return std::min<std::uint64_t>(mysql_stmt_affected_rows(statement), 1);
  const std::string_view text = info;
  std::uint64_t rows = 0;
  if (text.starts_with(kRecords)) std::from_chars(text.data() + kRecords.size(), text.data() + text.size(), rows);
  return rows;
}

}  // namespace

bool MySqlConnection::has_bulk_protocol() const {
  unsigned long extended = 0;  // MariaDB's own capabilities, from bit 32 on
  if (mariadb_get_infov(handle_.get(), MARIADB_CONNECTION_EXTENDED_SERVER_CAPABILITIES, &extended) != 0) return false;
  return (extended & (MARIADB_CLIENT_STMT_BULK_OPERATIONS >> 32U)) != 0;
}

Result<bool> MySqlConnection::execute_bulk(const std::string& sql, const BulkRows& rows, std::string_view what) {
  if (!is_open()) return retry(fmt::format("mysql: the connection was closed before it could {}", what));
  KLINED_ASSERT(takes_bulk_ && rows.size() > 0, "takes_bulk() was asked, and there is something to write");
  // The statement is prepared again next time.
  const auto failed = [&](MYSQL_STMT* statement) {
    Error error = take_error(mysql_stmt_errno(statement), mysql_stmt_error(statement), what);
    statements_.erase(sql);
    return std::unexpected(std::move(error));
  };
  last_code_ = 0;
  auto known = statements_.find(sql);
  if (known == statements_.end()) {
    std::unique_ptr<MYSQL_STMT, CloseStatement> made(mysql_stmt_init(handle_.get()));
    KLINED_ASSERT(made != nullptr, "memory for a statement");
    if (mysql_stmt_prepare(made.get(), sql.data(), sql.size()) != 0) {
      if (!is_refusal(mysql_stmt_errno(made.get()))) return failed(made.get());
      spdlog::warn("the server prepares no statement, so rows are written as text, which costs it more: {}",
                   mysql_stmt_error(made.get()));
      takes_bulk_ = false;
      return false;
    }
    known = statements_.emplace(sql, std::move(made)).first;
  }
  MYSQL_STMT* const statement = known->second.get();
  Binds binds(rows);
  KLINED_ASSERT(mysql_stmt_param_count(statement) == binds.size(), "a value for each '?'");
  auto count = static_cast<unsigned>(rows.size());
  if (mysql_stmt_attr_set(statement, STMT_ATTR_ARRAY_SIZE, &count) != 0) return failed(statement);
  if (mysql_stmt_bind_param(statement, binds.data()) != 0) return failed(statement);
  if (mysql_stmt_execute(statement) != 0) return failed(statement);
  if (taken_rows(handle_.get(), statement) == rows.size()) return true;
  const char* const info = mysql_info(handle_.get());
  spdlog::warn(
      "the server did not take all {} rows of a bulk statement ({}), as MariaDB does not before the mend of "
      "MDEV-24411 where a table has triggers: rows are written as text, which costs it more",
      rows.size(), info != nullptr ? info : "it doesn't say how many");
  takes_bulk_ = false;
  return false;
}

#else

bool MySqlConnection::has_bulk_protocol() const { return false; }

Result<bool> MySqlConnection::execute_bulk(const std::string&, const BulkRows&, std::string_view) { return false; }

#endif

}  // namespace klined
