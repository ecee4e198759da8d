#include "mysql_client.hpp"

#include <mysql.h>

#include <array>
#include <string>

#include "klined/base/assertion.hpp"

namespace klined::simulation {

namespace {

Database* server = nullptr;

struct Client {
  std::unique_ptr<Database::Session> session;
  Database::Answer answer;
  unsigned code = 0;
};

struct Rows {
  std::vector<Table::Row> rows;
  std::size_t columns = 0;
  std::size_t next = 0;
  std::vector<char*> values;
  std::vector<unsigned long> lengths;
};

Client& of(MYSQL* handle) { return *reinterpret_cast<Client*>(handle); }
Rows& of(MYSQL_RES* result) { return *reinterpret_cast<Rows*>(result); }

}  // namespace

void set_server(Database* database) { server = database; }

}  // namespace klined::simulation

using klined::simulation::Client;
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

}  // extern "C"
// NOLINTEND(readability-identifier-naming,cppcoreguidelines-owning-memory)
