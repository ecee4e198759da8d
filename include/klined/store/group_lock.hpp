// Whose turn it is: of the processes of one consumer group, one works and the others stand by. Where they share the
// partitions, each has a seat.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "klined/base/clock.hpp"
#include "klined/base/error.hpp"
#include "klined/store/mysql_connection.hpp"

namespace klined {

// A lock of the server (GET_LOCK) on a connection of its own. The server frees it when that connection ends: at once
// where the process dies, after kIdle where its host vanishes. A seat is one of kSeats further locks, on the same
// connection: whoever must be alone takes the lock and all seats, and so meets each process of the group.
//
// It spares processes each other's trouble, no more: a server that fails over forgets it. What keeps the tables right
// is the claim (see CandleStore).
//
// Not thread-safe: whoever owns it pings it.
class GroupLock {
 public:
  // How often its owner should ping(), and after how long without one the server gives the lock away.
  static constexpr std::chrono::seconds kPing{2};
  static constexpr std::chrono::seconds kIdle{10};
  // So many processes may share a group; the next ones wait.
  static constexpr int kSeats = 256;

  GroupLock(MySqlOptions options, std::string_view group);
  ~GroupLock() { release(); }
  GroupLock(const GroupLock&) = delete;
  GroupLock& operator=(const GroupLock&) = delete;

  // True where this object holds the lock now; false where another still had it after `timeout` (whole seconds, at most
  // 10). kRetry and kFatal as ever.
  Result<bool> try_acquire(Milliseconds timeout);
  // Keeps the connection alive and asks the server whether the lock is still ours. An error says that it is lost, or
  // may be: stop working, then try_acquire() again.
  Status ping();
  // As of the last call.
  bool held() const { return held_; }
  // The seats too.
  void release();

  // try_acquire() that says who is in the way: "" where this object holds the lock now. Where a process has just died,
  // the server may take a moment to notice: give it `timeout`.
  Result<std::string> acquire_or_name_holder(Milliseconds timeout);

  // Takes a seat, or sees to it that the one it has is still there. kRetry where none is free: somebody is alone. Also
  // keeps the connection alive.
  Status take_seat();
  // Takes the lock and all seats; where somebody else has one of them, nothing is taken, and it tells who.
  Result<std::optional<std::string>> acquire_alone();

  // Which connection of the server holds it now ("connection 17 of klined@10.0.0.7"); for messages.
  std::string holder();

  // The lock's name on the server: short enough for it, and its own for each database and group.
  static std::string name_of(std::string_view database, std::string_view group);

 private:
  std::string seat_name(int seat) const;
  std::string holder_of(const std::string& name);
  // Whether a lock is this connection's.
  Result<bool> is_ours(const std::string& name);
  Result<bool> get(const std::string& name, std::int64_t seconds);
  void release_seats();

  MySqlConnection connection_;
  std::string group_;
  std::string name_;
  bool held_ = false;
  std::optional<int> seat_;
  bool has_all_seats_ = false;
};

}  // namespace klined
