#include "mysql_client.hpp"

#include <fmt/format.h>
#include <mysql.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "klined/base/assertion.hpp"
#include "klined/store/sql_text.hpp"

namespace klined::simulation {

namespace {

Database* server = nullptr;

struct Client {
  std::unique_ptr<Database::Session> session;
  Database::Answer answer;
  unsigned code = 0;
  std::string info;
};

struct Rows {
  std::vector<Table::Row> rows;
  std::size_t columns = 0;
  std::size_t next = 0;
  std::vector<char*> values;
  std::vector<unsigned long> lengths;
};

// A prepared statement that is run with arrays of values: it reaches the server as text.
struct Prepared {
  Client* client = nullptr;
  std::string sql;
  unsigned rows = 0;
  std::vector<MYSQL_BIND> binds;
  unsigned code = 0;
};

Client& of(MYSQL* handle) { return *reinterpret_cast<Client*>(handle); }
Rows& of(MYSQL_RES* result) { return *reinterpret_cast<Rows*>(result); }
Prepared& of(MYSQL_STMT* statement) { return *reinterpret_cast<Prepared*>(statement); }

void append_value(SqlText& sql, const MYSQL_BIND& bind, std::size_t row) {
  switch (bind.buffer_type) {
    case MYSQL_TYPE_LONGLONG: sql.integer(static_cast<const std::int64_t*>(bind.buffer)[row]); break;
    case MYSQL_TYPE_DOUBLE: sql.real(static_cast<const double*>(bind.buffer)[row]); break;
    case MYSQL_TYPE_NEWDECIMAL:
    case MYSQL_TYPE_BLOB: {
      const std::string_view text(static_cast<const char* const*>(bind.buffer)[row], bind.length[row]);
      if (bind.buffer_type == MYSQL_TYPE_BLOB)
        sql.quoted(text);
      else
        sql << text;
      break;
    }
    default: KLINED_ASSERT(false, "a type that BulkRows has");
  }
}

// The statement with its rows in place of the one row of marks.
std::string text_of(const Prepared& statement) {
  const std::size_t begin = statement.sql.find("(?");
  const std::size_t end = statement.sql.find(')', begin) + 1;
  SqlText sql;
  sql << std::string_view(statement.sql).substr(0, begin);
  for (std::size_t row = 0; row < statement.rows; ++row) {
    sql << (row == 0 ? "(" : ",(");
    for (std::size_t i = 0; i < statement.binds.size(); ++i) {
      if (i > 0) sql << ',';
      append_value(sql, statement.binds[i], row);
    }
    sql << ')';
  }
  sql << std::string_view(statement.sql).substr(end);
  return std::string(sql.view());
}

}  // namespace

void set_server(Database* database) { server = database; }

}  // namespace klined::simulation

using klined::simulation::Client;
using klined::simulation::Prepared;
using klined::simulation::Rows;
using klined::simulation::server;

// The program's calls end here: the executable's own symbols come before those of the client library. Names, types and
// raw ownership are the library's.
// NOLINTBEGIN(readability-identifier-naming,cppcoreguidelines-owning-memory)
extern "C" {

int mysql_server_init(int, char**, char**) { return 0; }
MYSQL* mysql_init(MYSQL*) { return reinterpret_cast<MYSQL*>(new Client()); }
int mysql_options(MYSQL*, enum mysql_option, const void*) { return 0; }

MYSQL* mysql_real_connect(MYSQL* handle, const char*, const char*, const char*, const char*, unsigned, const char*,
                          unsigned long) {
  Client& client = klined::simulation::of(handle);
  KLINED_ASSERT(server != nullptr, "a simulated server");
  client.code = server->connect(client.session);
  return client.code == 0 ? handle : nullptr;
}

void mysql_close(MYSQL* handle) {
  Client& client = klined::simulation::of(handle);
  if (client.session) server->close(*client.session);
  delete &client;
}

int mysql_real_query(MYSQL* handle, const char* sql, unsigned long size) {
  Client& client = klined::simulation::of(handle);
  client.answer = server->query(*client.session, std::string_view(sql, size));
  client.code = client.answer.code;
  return client.code == 0 ? 0 : 1;
}

MYSQL_RES* mysql_store_result(MYSQL* handle) {
  Client& client = klined::simulation::of(handle);
  auto* const rows = new Rows();
  rows->rows = std::move(client.answer.rows);
  rows->columns = client.answer.columns;
  return reinterpret_cast<MYSQL_RES*>(rows);
}

MYSQL_ROW mysql_fetch_row(MYSQL_RES* result) {
  Rows& rows = klined::simulation::of(result);
  if (rows.next == rows.rows.size()) return nullptr;
  rows.values.clear();
  rows.lengths.clear();
  for (std::string& value : rows.rows[rows.next]) {
    rows.values.push_back(value.data());
    rows.lengths.push_back(value.size());
  }
  ++rows.next;
  return rows.values.data();
}

MYSQL_FIELD* mysql_fetch_field_direct(MYSQL_RES*, unsigned) {
  static std::array<char, 8> name = {"column"};
  static MYSQL_FIELD field{};
  field.name = name.data();
  return &field;
}

unsigned long* mysql_fetch_lengths(MYSQL_RES* result) { return klined::simulation::of(result).lengths.data(); }
void mysql_free_result(MYSQL_RES* result) { delete &klined::simulation::of(result); }
my_ulonglong mysql_num_rows(MYSQL_RES* result) { return klined::simulation::of(result).rows.size(); }
unsigned mysql_num_fields(MYSQL_RES* result) { return static_cast<unsigned>(klined::simulation::of(result).columns); }
my_ulonglong mysql_affected_rows(MYSQL* handle) { return klined::simulation::of(handle).answer.matched; }
unsigned mysql_errno(MYSQL* handle) { return klined::simulation::of(handle).code; }
const char* mysql_error(MYSQL*) { return "a simulated fault"; }
unsigned long mysql_thread_id(MYSQL* handle) { return klined::simulation::of(handle).session->id; }

#ifdef LIBMARIADB

my_bool mariadb_get_infov(MYSQL*, enum mariadb_value, void* capabilities, ...) {
  *static_cast<unsigned long*>(capabilities) = server->has_bulk() ? MARIADB_CLIENT_STMT_BULK_OPERATIONS >> 32U : 0;
  return 0;
}

MYSQL_STMT* mysql_stmt_init(MYSQL* handle) {
  return reinterpret_cast<MYSQL_STMT*>(new Prepared{&klined::simulation::of(handle), {}, 0, {}, 0});
}

int mysql_stmt_prepare(MYSQL_STMT* handle, const char* sql, unsigned long size) {
  Prepared& statement = klined::simulation::of(handle);
  statement.sql.assign(sql, size);
  statement.code = server->prepare(*statement.client->session);
  return statement.code == 0 ? 0 : 1;
}

unsigned long mysql_stmt_param_count(MYSQL_STMT* handle) {
  const std::string& sql = klined::simulation::of(handle).sql;
  return static_cast<unsigned long>(std::ranges::count(sql, '?'));
}

my_bool mysql_stmt_attr_set(MYSQL_STMT* handle, enum enum_stmt_attr_type, const void* rows) {
  klined::simulation::of(handle).rows = *static_cast<const unsigned*>(rows);
  return 0;
}

my_bool mysql_stmt_bind_param(MYSQL_STMT* handle, MYSQL_BIND* binds) {
  klined::simulation::of(handle).binds.assign(binds, binds + mysql_stmt_param_count(handle));
  return 0;
}

int mysql_stmt_execute(MYSQL_STMT* handle) {
  Prepared& statement = klined::simulation::of(handle);
  Client& client = *statement.client;
  const std::string sql = klined::simulation::text_of(statement);
  client.answer = server->query(*client.session, sql);
  statement.code = client.answer.code;
  if (statement.code != 0) return 1;
  client.info = server->tells_rows() ? fmt::format("Records: {}  Duplicates: 0  Warnings: 0", statement.rows) : "";
  return 0;
}

const char* mysql_info(MYSQL* handle) {
  const std::string& info = klined::simulation::of(handle).info;
  return info.empty() ? nullptr : info.c_str();
}

my_ulonglong mysql_stmt_affected_rows(MYSQL_STMT*) { return 0; }
unsigned mysql_stmt_errno(MYSQL_STMT* handle) { return klined::simulation::of(handle).code; }
const char* mysql_stmt_error(MYSQL_STMT*) { return "a simulated fault"; }

my_bool mysql_stmt_close(MYSQL_STMT* handle) {
  delete &klined::simulation::of(handle);
  return 0;
}

#endif

}  // extern "C"
// NOLINTEND(readability-identifier-naming,cppcoreguidelines-owning-memory)
