#include "klined/cache/redis_connection.hpp"

#include <sys/time.h>
#include <array>
#include <cerrno>

#include <fmt/format.h>

#include "klined/base/assertion.hpp"

namespace klined {
namespace {

timeval timeval_of(Milliseconds time) {
  timeval out{};
  out.tv_sec = static_cast<decltype(out.tv_sec)>(time.count() / 1'000);
  out.tv_usec = static_cast<decltype(out.tv_usec)>(time.count() % 1'000 * 1'000);
  return out;
}

struct Advice {
  std::string_view code;
  std::string_view text;
};
constexpr std::array<Advice, 12> kAdvice = {{
    {"NOAUTH", "it wants a password: set redis.password (and redis.username)"},
    {"WRONGPASS", "check redis.username and redis.password"},
    {"ERR AUTH", "it has no password set: remove redis.password, or set requirepass there"},
    {"ERR Client sent AUTH", "it has no password set: remove redis.password, or set requirepass there"},
    {"ERR DB index", "check redis.database"},
    {"NOPERM", "allow the user +@read +@write +ping +select on the keys ~kline:*"},
    {"OOM", "it is full: raise its maxmemory, lower redis.keep or redis.ttl, or let it evict (maxmemory-policy)"},
    {"READONLY", "it is a replica: point redis.host at the primary"},
    {"LOADING", "it reads its data from disk and will be ready by itself"},
    {"MISCONF", "it cannot save to its disk: see its log, make room there"},
    {"MOVED", "it is a node of a Redis Cluster: klined needs a single server, or a proxy before the cluster"},
    {"CROSSSLOT", "it is a node of a Redis Cluster: klined needs a single server, or a proxy before the cluster"},
}};

}  // namespace

std::string RedisAddress::to_string() const { return fmt::format("{}:{}", host, port); }

bool is_error(const redisReply& reply, std::string_view code) {
  if (reply.type != REDIS_REPLY_ERROR) return false;
  const std::string_view text = text_of(reply);
  return text.starts_with(code) && (text.size() == code.size() || text[code.size()] == ' ');
}

std::string explain_error(std::string_view answer) {
  for (const Advice& advice : kAdvice) {
    if (answer.starts_with(advice.code)) return fmt::format("it answered \"{}\": {}", answer, advice.text);
  }
  return fmt::format("it answered \"{}\"", answer);
}

std::unexpected<Error> RedisConnection::fail(std::string_view what) {
  std::string reason = "not connected";
  const int system_error = errno;
  if (context_ && context_->err != 0) {
    const bool timed_out = context_->err == REDIS_ERR_IO && (system_error == EAGAIN || system_error == EWOULDBLOCK);
    reason = timed_out ? fmt::format("no answer within {} ms", address_.command_timeout.count()) : context_->errstr;
  }
  close();
  return std::unexpected(Error{ErrorKind::kUnknown, fmt::format("{}: {}", what, reason)});
}

void RedisConnection::close() {
  context_.reset();
  pending_ = 0;
}

Status RedisConnection::connect() {
  close();
  errno = 0;
  context_.reset(redisConnectWithTimeout(address_.host.c_str(), address_.port, timeval_of(address_.connect_timeout)));
  if (!context_ || context_->err != 0) {
    const std::string reason = context_ ? context_->errstr : "out of memory";
    close();
    return retry(fmt::format("cannot connect: {}", reason));
  }
  if (redisSetTimeout(context_.get(), timeval_of(address_.command_timeout)) != REDIS_OK)
    return fail("cannot set timeouts");
  if (!address_.username.empty()) {
    add({"AUTH", address_.username, address_.password});
  } else if (!address_.password.empty()) {
    add({"AUTH", address_.password});
  }
  const std::string database = std::to_string(address_.database);
  if (address_.database != 0) add({"SELECT", database});
  add({"PING"});
  auto replies = run();
  if (!replies) return std::unexpected(std::move(replies.error()));
  return {};
}

void RedisConnection::add(std::span<const std::string_view> arguments) {
  if (!context_) return;  // run() will say so
  texts_.clear();
  sizes_.clear();
  for (const std::string_view argument : arguments) {
    texts_.push_back(argument.data());
    sizes_.push_back(argument.size());
  }
  const int appended =
      redisAppendCommandArgv(context_.get(), static_cast<int>(texts_.size()), texts_.data(), sizes_.data());
  KLINED_ASSERT(appended == REDIS_OK, "out of memory for a Redis command");
  ++pending_;
}

Result<std::vector<RedisReply>> RedisConnection::run_if_fresh(Instant seen, const Clock& clock) {
  const auto age = std::chrono::duration_cast<Milliseconds>(clock.now() - seen);
  if (age <= kHung) return run();
  close();
  return retry(fmt::format("this process stood still for {} ms, and reads what Redis holds again", age.count()));
}

Result<std::vector<RedisReply>> RedisConnection::run() {
  if (!context_) return fail("lost before the command");
  std::vector<RedisReply> replies;
  replies.reserve(pending_);
  while (pending_ > 0) {
    void* raw = nullptr;
    errno = 0;
    if (redisGetReply(context_.get(), &raw) != REDIS_OK || raw == nullptr) return fail("the connection broke");
    --pending_;
    RedisReply reply(static_cast<redisReply*>(raw));
    if (reply->type == REDIS_REPLY_ERROR && !is_error(*reply, "WRONGTYPE")) {
      const std::string message = explain_error(text_of(*reply));
      close();
      return retry(message);
    }
    replies.push_back(std::move(reply));
  }
  return replies;
}

}  // namespace klined
