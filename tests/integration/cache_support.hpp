// What the cache's tests share: tables in memory, a reader's eyes, and servers that may be killed.
#pragma once

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "klined/cache/redis_cache.hpp"
#include "klined/cache/redis_layout.hpp"
#include "klined/codec/kline_encoder.hpp"

namespace klined::cache_test {

inline const SeriesName kSeries{100000, "So11111111111111111111111111111111111111112", Interval::k1m};
inline const std::string kKey = redis_key_of(kSeries);
inline constexpr Milliseconds kLong{10'000};  // nothing that works takes as long

inline CandleRow row_of(const SeriesName& series, UnixSeconds time, std::int64_t revision) {
  CandleRow row;
  row.key = CandleKey{series.chain, series.pair, series.interval, time};
  row.candle.open = row.candle.high = row.candle.low = row.candle.close = 0.5 + static_cast<double>(revision);
  row.candle.buy_count = revision;
  return row;
}

inline CacheUpdate update_of(const SeriesName& series, UnixSeconds time, std::int64_t revision, bool closed = false) {
  const CandleRow row = row_of(series, time, revision);
  return {row.key, encode_kline({series.chain, series.pair, series.interval, time, &row.candle, closed}), revision,
          closed};
}

// Tables in memory.
class KnownRows final : public RowSource {
 public:
  void put(const SeriesName& series, UnixSeconds time, std::int64_t revision) {
    const std::lock_guard lock(mutex_);
    rows_[series][time] = revision;
  }
  void fail(bool failing) {
    const std::lock_guard lock(mutex_);
    failing_ = failing;
  }

  Result<std::vector<CandleRow>> newest(ChainId chain, std::string_view pair, Interval interval,
                                        std::size_t keep) override {
    const std::lock_guard lock(mutex_);
    if (failing_) return retry("the tables are away");
    const SeriesName series{chain, std::string(pair), interval};
    std::vector<CandleRow> out;
    const auto found = rows_.find(series);
    if (found == rows_.end()) return out;
    for (auto row = found->second.rbegin(); row != found->second.rend() && out.size() < keep; ++row) {
      out.push_back(row_of(series, row->first, row->second));
    }
    return out;
  }
  Result<std::vector<SeriesName>> active_since(UnixSeconds /*since*/, const std::optional<SeriesName>& after,
                                               std::size_t limit) override {
    const std::lock_guard lock(mutex_);
    if (failing_) return retry("the tables are away");
    std::vector<SeriesName> out;
    for (auto row = after ? rows_.upper_bound(*after) : rows_.begin(); row != rows_.end() && out.size() < limit;
         ++row) {
      out.push_back(row->first);
    }
    return out;
  }
  UnixSeconds close_clock(ChainId /*chain*/) override { return 0; }

 private:
  std::mutex mutex_;
  std::map<SeriesName, std::map<UnixSeconds, std::int64_t>> rows_;
  bool failing_ = false;
};

// What a reader sees, by a connection of its own.
class Reader {
 public:
  Reader(std::string host, int port, int database, std::string password = "") {
    RedisAddress address;
    address.host = std::move(host);
    address.port = port;
    address.password = std::move(password);
    address.database = database;
    connection_.emplace(std::move(address));
  }

  RedisReply ask(std::initializer_list<std::string_view> command) {
    if (!connection_->connected()) {
      if (const Status status = connection_->connect(); !status) throw std::runtime_error(status.error().message);
    }
    connection_->add(command);
    auto replies = connection_->run();
    if (!replies) throw std::runtime_error(replies.error().message);
    return std::move(replies->front());
  }
  long long number(std::initializer_list<std::string_view> command) { return ask(command)->integer; }
  std::vector<UnixSeconds> times(const std::string& key) {
    const RedisReply reply = ask({"HKEYS", key});
    std::vector<UnixSeconds> out;
    for (std::size_t i = 0; i < reply->elements; ++i)
      out.push_back(std::stoll(std::string(text_of(*reply->element[i]))));
    std::sort(out.begin(), out.end());
    return out;
  }
  std::string value(const std::string& key, UnixSeconds time) {
    const RedisReply reply = ask({"HGET", key, std::to_string(time)});
    return reply->type == REDIS_REPLY_STRING ? std::string(text_of(*reply)) : "";
  }
  // -1 where there is none.
  std::int64_t revision(const SeriesName& series, UnixSeconds time) {
    const auto version = version_of_value(series, time, value(redis_key_of(series), time));
    return version ? version->revision : -1;
  }

 private:
  std::optional<RedisConnection> connection_;
};

inline bool eventually(const std::function<bool()>& condition, Milliseconds limit = kLong) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(Milliseconds{10});
    try {
      if (condition()) return true;
    } catch (const std::runtime_error&) {
      continue;  // a server that is not there yet
    }
  }
  return false;
}

// The numbers that make a test quick; everything else as in production.
inline RedisOptions quick_options(std::string host, int port, int database) {
  RedisOptions options;
  options.host = std::move(host);
  options.port = port;
  options.database = database;
  options.trim_after = Milliseconds{50};
  options.repair_settle = Milliseconds{50};
  options.repair_recheck_after = Milliseconds{200};
  options.repair_series_per_second = 10'000;
  return options;
}

// A Redis that a test may treat as it likes; gone with its data when the object goes.
class OwnRedis {
 public:
  OwnRedis() : port_(free_port()), folder_(make_folder()) {}
  ~OwnRedis() {
    kill();
    std::filesystem::remove_all(folder_);
  }
  OwnRedis(const OwnRedis&) = delete;
  OwnRedis& operator=(const OwnRedis&) = delete;

  void start(std::vector<std::string> more = {}) {
    std::vector<std::string> words = {
        "redis-server", "--port", std::to_string(port_), "--bind",        "127.0.0.1", "--save", "",
        "--dir",        folder_,  "--logfile",           folder_ + "/log"};
    words.insert(words.end(), more.begin(), more.end());
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    pid_ = fork();
    if (pid_ == 0) {
      execvp("redis-server", arguments.data());
      // Debian's redis-tools has the same program under another name; what it does depends on the name it is called by.
      execvp("redis-check-rdb", arguments.data());
      _exit(127);
    }
    ASSERT_TRUE(eventually([&] { return is_listening(); })) << "no redis-server: install redis-tools (`./dev deps`)";
  }
  void signal(int number) const { ::kill(pid_, number); }
  void kill() {
    if (pid_ <= 0) return;
    signal(SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  int port() const { return port_; }

 private:
  static sockaddr_in local(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
  }
  static int free_port() {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = local(0);
    socklen_t size = sizeof(address);
    const bool bound = bind(fd, reinterpret_cast<const sockaddr*>(&address), size) == 0 &&
                       getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
    close(fd);
    if (!bound) throw std::runtime_error("no free port on 127.0.0.1");
    return ntohs(address.sin_port);
  }
  bool is_listening() const {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = local(port_);
    const bool listening = connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
    close(fd);
    return listening;
  }
  static std::string make_folder() {
    std::string name = std::filesystem::temp_directory_path() / "klined-cache-test-XXXXXX";
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make " + name);
    return name;
  }

  int port_;
  std::string folder_;
  pid_t pid_ = -1;
};

}  // namespace klined::cache_test
