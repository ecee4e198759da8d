#include "klined/store/group_lock.hpp"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>

#include "klined/store/sql_text.hpp"

namespace klined {

namespace {

constexpr std::string_view kNobody = "nobody";

MySqlOptions with_short_idle(MySqlOptions options) {
  options.idle_timeout = GroupLock::kIdle;
  // A ping that is not answered by then leaves no time to stop before the server gives the lock away.
  options.read_timeout = std::min<std::chrono::seconds>(options.read_timeout, GroupLock::kIdle * 2);
  return options;
}

}  // namespace

GroupLock::GroupLock(MySqlOptions options, std::string_view group)
    : connection_(with_short_idle(std::move(options))),
      group_(group),
      name_(name_of(connection_.options().database, group)) {}

std::string GroupLock::name_of(std::string_view database, std::string_view group) {
  // Servers compare lock names without case and allow 64 characters; the hash tells all names apart.
  std::string both(database);
  both += '\0';
  both += group;
  std::string shown;
  for (const char c : group.substr(0, 32)) shown += c > ' ' && c < '\x7f' ? c : '_';
  return fmt::format("klined:{}:{:016x}", shown, XXH3_64bits(both.data(), both.size()));
}

Result<bool> GroupLock::try_acquire(Milliseconds timeout) {
  // The server counts: a lock that is taken twice has to be released twice.
  if (held_ && ping()) return true;
  const auto seconds = std::clamp<std::int64_t>((timeout.count() + 999) / 1000, 0, kIdle.count());
  held_ = false;
  const Result<bool> got = get(name_, seconds);
  held_ = got.value_or(false);
  return got;
}

Result<bool> GroupLock::get(const std::string& name, std::int64_t seconds) {
  SqlText sql;
  sql << "SELECT GET_LOCK(";
  sql.quoted(name) << ',';
  sql.integer(seconds) << ')';
  Result<SqlRows> rows = connection_.ask(sql.view(), "get the group's lock");
  if (!rows) return std::unexpected(rows.error());
  if (!rows->next() || rows->is_null(0)) return retry("mysql: GET_LOCK was broken off by the server");
  return rows->text(0) == "1";
}

Status GroupLock::ping() {
  if (!held_) return retry("mysql: the group's lock is not held");
  SqlText sql;
  sql << "SELECT IS_USED_LOCK(";
  sql.quoted(name_) << ")=CONNECTION_ID()";
  // Not ask(): on a new connection the lock would be gone.
  Result<SqlRows> rows = connection_.query(sql.view(), "ping the group's lock");
  if (!rows) {
    held_ = false;
    connection_.close();
    return retry(rows.error().message);
  }
  held_ = rows->next() && rows->text(0) == "1";
  if (!held_) return retry("mysql: the server gave the group's lock away");
  return {};
}

void GroupLock::release() {
  if (seat_ || has_all_seats_) release_seats();
  if (!held_) return;
  held_ = false;
  SqlText sql;
  sql << "SELECT RELEASE_LOCK(";
  sql.quoted(name_) << ')';
  if (!connection_.query(sql.view(), "release the group's lock")) connection_.close();
}

Result<std::string> GroupLock::acquire_or_name_holder(Milliseconds timeout) {
  while (true) {
    const Result<bool> acquired = try_acquire(timeout);
    if (!acquired) return std::unexpected(acquired.error());
    if (*acquired) return std::string();
    // It may have been freed since: then it is there to be had.
    if (std::string name = holder(); name != kNobody) return name;
  }
}

// ---- Seats ---------------------------------------------------------------------------------------------------------

std::string GroupLock::seat_name(int seat) const {
  return name_of(connection_.options().database, fmt::format("seat {} of {}", seat, group_));
}

Result<bool> GroupLock::is_ours(const std::string& name) {
  SqlText sql;
  sql << "SELECT IS_USED_LOCK(";
  sql.quoted(name) << ")=CONNECTION_ID()";
  Result<SqlRows> rows = connection_.ask(sql.view(), "ping the seat in the group");
  if (!rows) return std::unexpected(rows.error());
  return rows->next() && !rows->is_null(0) && rows->text(0) == "1";
}

Status GroupLock::take_seat() {
  if (seat_) {
    const Result<bool> ours = is_ours(seat_name(*seat_));
    if (!ours) return std::unexpected(ours.error());
    if (*ours) return {};
    seat_.reset();  // the connection is a new one
  }
  for (int seat = 0; seat < kSeats; ++seat) {
    const Result<bool> got = get(seat_name(seat), 0);
    if (!got) return std::unexpected(got.error());
    if (!*got) continue;
    seat_ = seat;
    return {};
  }
  return retry(
      fmt::format("mysql: consumer group \"{}\" takes no process now ({}): a `klined reset` runs, or {} "
                  "processes do",
                  group_, holder_of(seat_name(0)), kSeats));
}

// Those of others stay as they are.
void GroupLock::release_seats() {
  SqlText sql;
  for (int seat = 0; seat < kSeats; ++seat) {
    sql << (seat == 0 ? "SELECT RELEASE_LOCK(" : ",RELEASE_LOCK(");
    sql.quoted(seat_name(seat)) << ')';
  }
  seat_.reset();
  has_all_seats_ = false;
  if (!connection_.query(sql.view(), "release the seats")) connection_.close();
}

Result<std::optional<std::string>> GroupLock::acquire_alone() {
  Result<std::string> in_the_way = acquire_or_name_holder(Milliseconds(0));
  if (!in_the_way) return std::unexpected(in_the_way.error());
  if (!in_the_way->empty()) return std::move(*in_the_way);
  SqlText sql;
  for (int seat = 0; seat < kSeats; ++seat) {
    sql << (seat == 0 ? "SELECT GET_LOCK(" : ",GET_LOCK(");
    sql.quoted(seat_name(seat)) << ",0)";
  }
  // Not ask(): on a new connection the lock would be gone.
  Result<SqlRows> rows = connection_.query(sql.view(), "take all seats of the group");
  if (!rows) return std::unexpected(rows.error());
  if (!rows->next()) return retry("mysql: GET_LOCK was broken off by the server");
  std::optional<std::string> other;
  for (int seat = 0; seat < kSeats && !other; ++seat) {
    const auto column = static_cast<unsigned>(seat);
    if (rows->is_null(column) || rows->text(column) != "1") {
      other = holder_of(seat_name(seat));
    }
  }
  has_all_seats_ = true;
  if (other) release();
  return other;
}

std::string GroupLock::holder() { return holder_of(name_); }

std::string GroupLock::holder_of(const std::string& name) {
  SqlText sql;
  sql << "SELECT IS_USED_LOCK(";
  sql.quoted(name) << ')';
  Result<SqlRows> used = connection_.ask(sql.view(), "ask for the lock's holder");
  if (!used || !used->next() || used->is_null(0)) return std::string(kNobody);
  const std::uint64_t id = used->unsigned_integer(0);
  // Needs no right for connections of the same user; without one the number must do.
  Result<SqlRows> process = connection_.ask(
      fmt::format("SELECT user,host FROM information_schema.processlist WHERE id={}", id), "ask for the lock's holder");
  if (!process || !process->next()) return fmt::format("connection {}", id);
  return fmt::format("connection {} of {}@{}", id, process->text(0), process->text(1));
}

}  // namespace klined
