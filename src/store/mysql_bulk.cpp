// MariaDB's bulk protocol: a prepared statement runs for many rows of values, which come in binary form. MySQL and its
// client don't have it.
#include <fmt/format.h>

#include <algorithm>
#include <array>
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

// True where a server, or what stands before it, has no bulk statements after all.
bool is_refusal(unsigned code) {
  constexpr auto kRefusals = std::to_array<unsigned>({
      1210,  // wrong arguments
      1295,  // not supported as a prepared statement
      1461,  // max_prepared_stmt_count
      1835,  // malformed packet
  });
  return std::ranges::find(kRefusals, code) != kRefusals.end();
}

// How many rows the last statement took, as the server says: "Records: 1000  Duplicates: 7  Warnings: 0", the words in
// its language. It says nothing of a single one, which counts as two where it was changed.
std::uint64_t taken_rows(const char* info, std::uint64_t affected) {
  if (info == nullptr) return std::min<std::uint64_t>(affected, 1);
  const std::string_view text = info;
  const std::size_t begin = std::min(text.find_first_of("0123456789"), text.size());
  std::uint64_t rows = 0;
  std::from_chars(text.data() + begin, text.data() + text.size(), rows);
  return rows;
}

}  // namespace

bool MySqlConnection::has_bulk_protocol() const {
  unsigned long extended = 0;  // MariaDB's own capabilities, from bit 32 on
  if (mariadb_get_infov(handle_.get(), MARIADB_CONNECTION_EXTENDED_SERVER_CAPABILITIES, &extended) != 0) return false;
  return (extended & (MARIADB_CLIENT_STMT_BULK_OPERATIONS >> 32U)) != 0;
}

Status MySqlConnection::execute_bulk(const std::string& sql, const BulkRows& rows, std::string_view what) {
  if (!is_open()) return retry(fmt::format("mysql: the connection was closed before it could {}", what));
  KLINED_ASSERT(takes_bulk_ && rows.size() > 0, "takes_bulk() was asked, and there is something to write");
  const auto refused = [this](std::string_view why) {
    takes_bulk_ = false;
    return retry(fmt::format("{}: from now on rows are written as text, which costs the server more", why));
  };
  const auto failed = [&](MYSQL_STMT* statement) -> Status {
    const unsigned code = mysql_stmt_errno(statement);
    Error error = take_error(code, mysql_stmt_error(statement), what);
    statements_.erase(sql);  // prepared again next time
    if (is_refusal(code)) return refused(error.message);
    return std::unexpected(std::move(error));
  };
  last_code_ = 0;
  auto known = statements_.find(sql);
  if (known == statements_.end()) {
    std::unique_ptr<MYSQL_STMT, CloseStatement> made(mysql_stmt_init(handle_.get()));
    KLINED_ASSERT(made != nullptr, "memory for a statement");
    if (mysql_stmt_prepare(made.get(), sql.data(), sql.size()) != 0) return failed(made.get());
    known = statements_.emplace(sql, std::move(made)).first;
  }
  MYSQL_STMT* const statement = known->second.get();
  Binds binds(rows);
  KLINED_ASSERT(mysql_stmt_param_count(statement) == binds.size(), "a value for each '?'");
  auto count = static_cast<unsigned>(rows.size());
  if (mysql_stmt_attr_set(statement, STMT_ATTR_ARRAY_SIZE, &count) != 0) return failed(statement);
  if (mysql_stmt_bind_param(statement, binds.data()) != 0) return failed(statement);
  if (mysql_stmt_execute(statement) != 0) return failed(statement);
  const char* const info = mysql_info(handle_.get());
  if (taken_rows(info, mysql_stmt_affected_rows(statement)) == rows.size()) return {};
  return refused(fmt::format(
      "mysql: the server did not take all {} rows of a bulk statement ({}); MariaDB before the mend of MDEV-24411 "
      "takes only one where the table has triggers",
      rows.size(), info != nullptr ? info : "it doesn't say how many"));
}

#else

bool MySqlConnection::has_bulk_protocol() const { return false; }

Status MySqlConnection::execute_bulk(const std::string&, const BulkRows&, std::string_view) {
  return fatal("mysql: this client library has no bulk protocol");
}

#endif

}  // namespace klined
