// What the tests of the store share: a database of their own on the real server, claims, commits and rows.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "klined/store/mysql_candle_store.hpp"
#include "klined/store/schema.hpp"

namespace klined::store_testing {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

inline const std::vector<Interval> kIntervals = {Interval::k1m, Interval::k5m, Interval::k1d, Interval::k1M};
inline constexpr const char* kSettings = "intervals=1m,5m,1d,1M dedupe_window=600";
inline constexpr const char* kTopic = "sol-trades";
inline constexpr const char* kPair = "7xKXtg2CW87d97TXJSDpbD5jBkheTqA83TZRuJosgAsU";

inline std::string env(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

template <typename T>
std::string message(const Result<T>& result) {
  return result ? "no error" : result.error().message;
}
template <typename T>
ErrorKind kind(const Result<T>& result) {
  EXPECT_FALSE(result) << "an error was expected";
  return result ? ErrorKind::kFatal : result.error().kind;
}

class StoreTest : public testing::Test {
 protected:
  void SetUp() override {
    options_.host = env("KLINED_STACK_MYSQL_HOST");
    options_.port = std::atoi(env("KLINED_STACK_MYSQL_PORT").c_str());
    options_.user = env("KLINED_STACK_MYSQL_USER");
    options_.password = env("KLINED_STACK_MYSQL_PASSWORD");
    options_.lock_wait_timeout = seconds(5);
    ASSERT_FALSE(options_.host.empty() || options_.port == 0 || options_.user.empty())
        << "no MySQL server to test on: run `./dev up mysql` and `source .stack/env`, or `./dev test`, which does both";
    options_.database = "klined_test_" + std::to_string(std::random_device{}()) + "_" + std::to_string(::getpid());
    const auto made = create_schema(options_, kIntervals);
    ASSERT_TRUE(made) << message(made);
    made_ = *made;
    admin_ = std::make_unique<MySqlConnection>(options_);
    ASSERT_TRUE(admin_->connect());
  }
  void TearDown() override {
    if (!admin_) return;
    admin_->close();
    EXPECT_TRUE(admin_->connect());
    EXPECT_TRUE(admin_->execute("DROP DATABASE IF EXISTS " + options_.database, "drop the test's database"));
  }

  void run(const std::string& sql) {
    const auto done = admin_->execute(sql, "do as the test says");
    ASSERT_TRUE(done) << message(done);
  }
  // All rows of an answer: columns joined by |, rows by newlines.
  std::string ask(const std::string& sql) {
    Result<SqlRows> rows = admin_->ask(sql, "ask for the test");
    EXPECT_TRUE(rows) << message(rows);
    std::string text;
    if (!rows) return text;
    while (rows->next()) {
      if (!text.empty()) text += '\n';
      for (unsigned i = 0; i < rows->columns(); ++i) text.append(i > 0 ? "|" : "").append(rows->text(i));
    }
    return text;
  }

  static ClaimRequest request(std::uint64_t owner, std::int32_t lanes = 2, std::int32_t partitions = 3) {
    ClaimRequest request{.group = "group-a", .owner = owner, .lanes = lanes, .settings = kSettings, .partitions = {}};
    for (std::int32_t i = 0; i < partitions; ++i) request.partitions.push_back({kTopic, i, 100 + i});
    return request;
  }
  MySqlCandleStore claimed_store(std::uint64_t owner = 1) {
    MySqlCandleStore store(options_);
    const auto claimed = store.claim(request(owner));
    EXPECT_TRUE(claimed) << message(claimed);
    return store;
  }
  // A commit of lane 0 that moves every partition from `from` by 10.
  static LaneCommit commit_from(std::int64_t from, std::vector<CandleRow> rows = {}) {
    LaneCommit commit{.lane = 0, .rows = std::move(rows), .offsets = {}};
    for (std::int32_t i = 0; i < 3; ++i) {
      LaneCommit::Advance advance{.expected = from + i, .to = {}};
      advance.to = {.topic = kTopic,
                    .partition = i,
                    .lane = 0,
                    .next_offset = from + i + 10,
                    .window_offset = from + i,
                    .window_clocks = {{100'000, 1'769'000'000 + i}},
                    .max_block_time = 1'769'000'100 + from,
                    .closed_until = 1'769'000'000};
      commit.offsets.push_back(std::move(advance));
    }
    return commit;
  }
  static CandleRow row(UnixSeconds time, std::string pair = kPair, Interval interval = Interval::k1m,
                       ChainId chain = 100'000) {
    Candle candle;
    candle.open = candle.low = 1.25;
    candle.high = candle.close = 2.5;
    candle.amount_usd = Decimal::from_units(3'000'000'000'000);
    candle.volume_token = Decimal::from_units(1'500'000'000'000);
    candle.price_first = {
        .block_time = std::max<UnixSeconds>(time, 0), .slot = 7, .log = LogId(0, 1), .index = 1, .offset = 100};
    candle.price_last =
        candle.last = {.block_time = std::max<UnixSeconds>(time, 0) + 5, .slot = 8, .log = LogId(0, 2), .offset = 101};
    candle.open_at = std::max<UnixSeconds>(time, 0);
    candle.buy_count = 2;
    candle.sell_count = 1;
    candle.token = SharedText("So11111111111111111111111111111111111111112");
    return {{chain, std::move(pair), interval, time}, candle};
  }

  MySqlOptions options_;
  std::vector<std::string> made_;
  std::unique_ptr<MySqlConnection> admin_;
};

inline std::vector<CandleKey> keys_of(const std::vector<CandleRow>& rows) {
  std::vector<CandleKey> keys;
  for (const CandleRow& r : rows) keys.push_back(r.key);
  return keys;
}

}  // namespace klined::store_testing
