// A connection to one Redis server: commands in pipelines, every answer looked at.
#pragma once

#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <hiredis/hiredis.h>

#include "klined/base/clock.hpp"
#include "klined/base/error.hpp"

namespace klined {

struct RedisAddress {
  std::string host = "127.0.0.1";
  int port = 6379;
  std::string username;  // empty: the default user
  std::string password;  // empty: no AUTH
  int database = 0;
  Milliseconds connect_timeout{1'000};
  Milliseconds command_timeout{1'000};

  std::string to_string() const;  // "host:port", never the password
};

struct FreeReply {
  void operator()(redisReply* reply) const { freeReplyObject(reply); }
};
using RedisReply = std::unique_ptr<redisReply, FreeReply>;

inline std::string_view text_of(const redisReply& reply) { return {reply.str, reply.len}; }
// True for an error whose first word is `code` ("WRONGTYPE").
bool is_error(const redisReply& reply, std::string_view code);
// One line: what Redis answered, and what somebody should do about it where that is known.
std::string explain_error(std::string_view answer);

// Not thread-safe. After any failure the connection is closed, and what it was doing may or may not have been done; the
// owner connects again and does it once more.
class RedisConnection {
 public:
  explicit RedisConnection(RedisAddress address) : address_(std::move(address)) {}

  // Connects, AUTH, SELECT, PING: returns when the server takes commands. (The look-up of a host name is the system's
  // resolver's and has its timeout, not ours.)
  Status connect();
  bool connected() const { return context_ != nullptr; }
  void close();

  // Adds a command to the pipeline. The arguments are copied.
  void add(std::span<const std::string_view> arguments);
  void add(std::initializer_list<std::string_view> arguments) {
    add(std::span<const std::string_view>(arguments.begin(), arguments.size()));
  }
  // Sends the pipeline and reads its answers, one a command, in order. WRONGTYPE, the error of a single key,
  // is among the answers; any other error is the whole pipeline's: the connection is closed.
  Result<std::vector<RedisReply>> run();
  // run(), for what was decided by what Redis held at `seen`: not sent once that is kHung old, since the process stood
  // still then and another may have taken over. The connection is closed, so all is read again before it is written.
  Result<std::vector<RedisReply>> run_if_fresh(Instant seen, const Clock& clock);
  static constexpr Milliseconds kHung{4'000};  // shorter than it takes anybody to take over

  const RedisAddress& address() const { return address_; }

 private:
  struct FreeContext {
    void operator()(redisContext* context) const { redisFree(context); }
  };
  std::unexpected<Error> fail(std::string_view what);

  RedisAddress address_;
  std::unique_ptr<redisContext, FreeContext> context_;
  std::size_t pending_ = 0;         // commands added and not run
  std::vector<const char*> texts_;  // of one command, kept for their memory
  std::vector<std::size_t> sizes_;
};

}  // namespace klined
