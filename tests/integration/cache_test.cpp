// The Redis cache on a real server: the stack's where the test only reads and writes, a server of its own where the
// test kills, stops or fills it.
#include "klined/cache/redis_cache.hpp"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <memory>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "integration/cache_support.hpp"

namespace klined::cache_test {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

void offer(RedisCache& cache, std::vector<CacheUpdate> updates) { cache.offer(std::move(updates)); }

// ---- On the stack's server -----------------------------------------------------------------------------------------

class CacheTest : public testing::Test {
 protected:
  static constexpr int kDatabase = 9;  // the tests' own

  void SetUp() override {
    const char* const host = std::getenv("KLINED_STACK_REDIS_HOST");  // NOLINT(concurrency-mt-unsafe): nobody sets it
    const char* const port = std::getenv("KLINED_STACK_REDIS_PORT");  // NOLINT(concurrency-mt-unsafe)
    if (host == nullptr || port == nullptr) {
      FAIL()
          << "KLINED_STACK_REDIS_HOST and KLINED_STACK_REDIS_PORT are not set: start the servers with `./dev up` and "
             "take the settings from .stack/env, or run `./dev test`";
    }
    options_ = quick_options(host, std::atoi(port), kDatabase);
    reader_.emplace(host, options_.port, kDatabase);
    reader_->ask({"FLUSHDB"});
  }
  void TearDown() override {
    if (reader_) reader_->ask({"FLUSHDB"});
  }

  RedisAddress address() const {
    RedisAddress address;
    address.host = options_.host;
    address.port = options_.port;
    address.database = kDatabase;
    return address;
  }

  RedisOptions options_;
  std::optional<Reader> reader_;
  KnownRows rows_;
  SystemClock clock_;
};

TEST_F(CacheTest, WhatIsOfferedIsThere) {
  RedisCache cache(options_, nullptr, clock_);
  const CacheUpdate first = update_of(kSeries, 60, 3);
  const CacheUpdate second = update_of(kSeries, 120, 1, true);
  offer(cache, {first, second});
  ASSERT_TRUE(cache.wait_idle(kLong));
  EXPECT_EQ(reader_->value(kKey, 60), first.value);
  EXPECT_EQ(reader_->value(kKey, 120), second.value);
  EXPECT_EQ(cache.stats().updates_written, 2);
  EXPECT_TRUE(cache.stats().connected);
  EXPECT_EQ(cache.stats().errors, 0);
}

TEST_F(CacheTest, OnlyTheNewestAreKeptInWhateverOrderTheyCome) {
  options_.keep = 300;
  RedisCache cache(options_, nullptr, clock_);
  for (int i = 0; i < 1009; ++i) {
    // 1009 is a prime, so each minute comes once.
    offer(cache, {update_of(kSeries, (i * 7 % 1009) * 60, 1)});
    if (i % 50 == 0) cache.wait_idle(kLong);
  }
  ASSERT_TRUE(cache.wait_idle(kLong, RedisCache::WaitFor::kQuiet));
  std::vector<UnixSeconds> newest;
  for (int i = 709; i < 1009; ++i) newest.push_back(i * 60);
  EXPECT_EQ(reader_->times(kKey), newest);

  offer(cache, {update_of(kSeries, 60, 2)});  // a late trade's
  ASSERT_TRUE(cache.wait_idle(kLong, RedisCache::WaitFor::kQuiet));
  EXPECT_EQ(reader_->times(kKey), newest);
  EXPECT_EQ(cache.stats().candles_trimmed, 1009 - 300 + 1);
}

TEST_F(CacheTest, FinishTrimsAtOnce) {
  options_.keep = 10;
  options_.trim_after = 1h;
  RedisCache cache(options_, nullptr, clock_);
  for (int i = 0; i < 25; ++i) offer(cache, {update_of(kSeries, i * 60, 1)});
  ASSERT_TRUE(cache.wait_idle(kLong));
  EXPECT_EQ(reader_->times(kKey).size(), 25U);
  ASSERT_TRUE(cache.finish(kLong));
  std::vector<UnixSeconds> newest;
  for (int i = 15; i < 25; ++i) newest.push_back(i * 60);
  EXPECT_EQ(reader_->times(kKey), newest);
}

TEST_F(CacheTest, KeysExpireAfterTheLastUpdate) {
  options_.ttl = 5s;
  RedisCache cache(options_, nullptr, clock_);
  offer(cache, {update_of(kSeries, 60, 1)});
  ASSERT_TRUE(cache.wait_idle(kLong));
  EXPECT_THAT(reader_->number({"PTTL", kKey}), testing::AllOf(testing::Gt(4'000), testing::Le(5'000)));
  ASSERT_TRUE(eventually([&] { return reader_->number({"PTTL", kKey}) < 4'800; }));
  offer(cache, {update_of(kSeries, 60, 2)});
  ASSERT_TRUE(cache.wait_idle(kLong));
  EXPECT_GT(reader_->number({"PTTL", kKey}), 4'850);
}

TEST_F(CacheTest, ALongExpiryIsNotSetAnewWithEveryUpdate) {
  options_.ttl = 300s;
  RedisCache cache(options_, nullptr, clock_);
  offer(cache, {update_of(kSeries, 60, 1)});
  ASSERT_TRUE(cache.wait_idle(kLong));
  EXPECT_THAT(reader_->number({"PTTL", kKey}), testing::AllOf(testing::Gt(290'000), testing::Le(300'000)));
  reader_->ask({"PEXPIRE", kKey, "299000"});
  offer(cache, {update_of(kSeries, 60, 2)});
  ASSERT_TRUE(cache.wait_idle(kLong));
  EXPECT_LE(reader_->number({"PTTL", kKey}), 299'000);
}

TEST_F(CacheTest, AVersionNeverGoesDown) {
  {
    RedisCache cache(options_, nullptr, clock_);
    offer(cache, {update_of(kSeries, 60, 10), update_of(kSeries, 120, 4, true)});
    ASSERT_TRUE(cache.wait_idle(kLong));
    offer(cache, {update_of(kSeries, 60, 9)});
    ASSERT_TRUE(cache.wait_idle(kLong));
    EXPECT_EQ(reader_->revision(kSeries, 60), 10);
  }
  RedisCache restarted(options_, nullptr, clock_);  // reads the input again, from an earlier place
  offer(restarted, {update_of(kSeries, 60, 7), update_of(kSeries, 120, 4, false)});
  ASSERT_TRUE(restarted.wait_idle(kLong));
  EXPECT_EQ(reader_->revision(kSeries, 60), 10);
  EXPECT_EQ(reader_->value(kKey, 120), update_of(kSeries, 120, 4, true).value);
  EXPECT_EQ(restarted.stats().updates_older, 2);

  offer(restarted, {update_of(kSeries, 60, 11)});
  ASSERT_TRUE(restarted.wait_idle(kLong));
  EXPECT_EQ(reader_->revision(kSeries, 60), 11);
}

// Something happens between a writer's look at Redis and its write, its first and second look at the clock; the process
// may stand still meanwhile.
class StandstillClock final : public Clock {
 public:
  StandstillClock(Milliseconds stands, std::function<void()> meanwhile)
      : stands_(stands), meanwhile_(std::move(meanwhile)) {}
  Instant now() const override {
    if (looks_++ == 1) meanwhile_();
    return Instant{} + (looks_ > 1 ? stands_ : Milliseconds{0});
  }
  UnixMilliseconds wall_ms() const override { return 0; }

 private:
  Milliseconds stands_;
  std::function<void()> meanwhile_;
  mutable int looks_ = 0;
};

TEST_F(CacheTest, AProcessThatStoodStillDoesNotWriteOverWhatAnotherWroteMeanwhile) {
  const CacheUpdate closed_by_another = update_of(kSeries, 60, 3, true);
  const StandstillClock clock(RedisConnection::kHung + 1s,  // long enough to be replaced
                              [&] { reader_->ask({"HSET", kKey, "60", closed_by_another.value}); });
  RedisConnection connection(address());
  ASSERT_TRUE(connection.connect());
  RedisWriter writer(options_.keep, options_.ttl, options_.trim_after, options_.known_bytes_max);
  std::vector<CacheUpdate> batch = {update_of(kSeries, 60, 3)};
  const auto outcome = writer.write(connection, batch, clock);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().kind, ErrorKind::kRetry);
  EXPECT_FALSE(connection.connected());
  EXPECT_EQ(reader_->value(kKey, 60), closed_by_another.value);
}

TEST_F(CacheTest, AKeyThatVanishesJustBeforeItIsWrittenIsNoticed) {
  RedisConnection connection(address());
  ASSERT_TRUE(connection.connect());
  RedisWriter writer(options_.keep, options_.ttl, options_.trim_after, options_.known_bytes_max);
  std::vector<CacheUpdate> first = {update_of(kSeries, 60, 1), update_of(kSeries, 120, 1)};
  ASSERT_TRUE(writer.write(connection, first, clock_));
  const StandstillClock clock(0ms, [&] { reader_->ask({"DEL", kKey}); });
  std::vector<CacheUpdate> second = {update_of(kSeries, 180, 1)};
  const auto outcome = writer.write(connection, second, clock);
  ASSERT_TRUE(outcome);
  EXPECT_THAT(outcome->lost, ElementsAre(kSeries));
  EXPECT_GT(reader_->number({"PTTL", kKey}), 0);
}

TEST_F(CacheTest, AKeyOfAnotherTypeBecomesAHash) {
  const SeriesName other{1, "0xabc", Interval::k1h};
  reader_->ask({"SET", kKey, "not a hash"});
  reader_->ask({"SADD", redis_key_of(other), "not a hash either"});
  rows_.put(kSeries, 0, 5);
  rows_.put(other, 3600, 6);
  RedisCache cache(options_, &rows_, clock_);
  offer(cache, {update_of(kSeries, 60, 1)});
  ASSERT_TRUE(cache.wait_idle(kLong, RedisCache::WaitFor::kQuiet));
  EXPECT_THAT(reader_->times(kKey), ElementsAre(0, 60));
  EXPECT_THAT(reader_->times(redis_key_of(other)), ElementsAre(3600));
  EXPECT_EQ(cache.stats().errors, 0);
}

TEST_F(CacheTest, CutConnectionsLoseNothing) {
  RedisCache cache(options_, nullptr, clock_);
  offer(cache, {update_of(kSeries, 180, 1)});
  ASSERT_TRUE(cache.wait_idle(kLong));
  for (std::int64_t revision = 2; revision < 50; ++revision) {
    offer(cache, {update_of(kSeries, 180, revision)});
    if (revision % 10 == 0) reader_->ask({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"});
  }
  EXPECT_TRUE(eventually([&] { return reader_->revision(kSeries, 180) == 49; }));
  EXPECT_TRUE(eventually([&] { return cache.stats().errors > 0; })) << "the connection was not cut";
  EXPECT_TRUE(eventually([&] { return cache.wait_idle(kLong); }));
}

TEST_F(CacheTest, RepairMakesRedisSayWhatTheTablesSay) {
  options_.keep = 5;
  options_.ttl = 300s;
  const SeriesName quiet{8453, "pair:with:colons", Interval::k1d};
  for (const UnixSeconds time : {60, 120, 180, 240, 300, 360}) rows_.put(kSeries, time, 10);
  rows_.put(quiet, 86'400, 3);
  const auto put = [&](const std::string& field, const std::string& value) {
    reader_->ask({"HSET", kKey, field, value});
  };
  put("60", update_of(kSeries, 60, 10).value);    // too old
  put("120", update_of(kSeries, 120, 4).value);   // stale
  put("180", "corrupt");                          //
  put("240", update_of(kSeries, 240, 12).value);  // a live update that is not committed
  put("300", update_of(kSeries, 300, 10).value);  // right
  put("420", update_of(kSeries, 420, 1).value);   // newer than the rows: not committed
  put("rubbish", "x");
  reader_->ask({"SET", "kline:of-another-program", "theirs"});

  RedisCache cache(options_, &rows_, clock_);
  ASSERT_TRUE(cache.wait_idle(kLong, RedisCache::WaitFor::kQuiet));
  EXPECT_THAT(reader_->times(kKey), ElementsAre(180, 240, 300, 360, 420));
  EXPECT_EQ(reader_->value(kKey, 180), update_of(kSeries, 180, 10).value);
  EXPECT_EQ(reader_->revision(kSeries, 240), 12);
  EXPECT_EQ(reader_->revision(kSeries, 360), 10);
  EXPECT_EQ(reader_->revision(quiet, 86'400), 3);
  EXPECT_EQ(text_of(*reader_->ask({"GET", "kline:of-another-program"})), "theirs");
  EXPECT_THAT(reader_->number({"PTTL", kKey}), testing::AllOf(testing::Gt(0), testing::Le(300'000)));
  EXPECT_THAT(reader_->number({"PTTL", redis_key_of(quiet)}), testing::AllOf(testing::Gt(0), testing::Le(300'000)));
  EXPECT_EQ(cache.stats().repair_series, 2);
}

TEST_F(CacheTest, ACandleThatNoRowStandsForGoesAfterASecondLook) {
  for (const UnixSeconds time : {60, 180}) rows_.put(kSeries, time, 10);
  reader_->ask({"HSET", kKey, "120", update_of(kSeries, 120, 1).value});
  const auto began = std::chrono::steady_clock::now();
  RedisCache cache(options_, &rows_, clock_);
  ASSERT_TRUE(cache.wait_idle(kLong, RedisCache::WaitFor::kQuiet));
  EXPECT_THAT(reader_->times(kKey), ElementsAre(60, 180));
  EXPECT_GE(std::chrono::steady_clock::now() - began, options_.repair_recheck_after);
}

TEST_F(CacheTest, AKeyThatVanishesIsNoticedByTheNextUpdateAndRepaired) {
  for (UnixSeconds time = 0; time < 600; time += 60) rows_.put(kSeries, time, 10);
  RedisCache cache(options_, &rows_, clock_);
  offer(cache, {update_of(kSeries, 600, 1)});
  ASSERT_TRUE(cache.wait_idle(kLong, RedisCache::WaitFor::kQuiet));
  ASSERT_EQ(reader_->times(kKey).size(), 11U);

  reader_->ask({"FLUSHDB"});
  offer(cache, {update_of(kSeries, 600, 2)});  // of a candle that was there
  ASSERT_TRUE(cache.wait_idle(kLong, RedisCache::WaitFor::kQuiet));
  EXPECT_EQ(reader_->times(kKey).size(), 11U);
  EXPECT_EQ(reader_->revision(kSeries, 600), 2);

  reader_->ask({"FLUSHDB"});
  rows_.put(kSeries, 600, 2);
  offer(cache, {update_of(kSeries, 660, 1)});  // of a new candle
  ASSERT_TRUE(cache.wait_idle(kLong, RedisCache::WaitFor::kQuiet));
  EXPECT_EQ(reader_->times(kKey).size(), 12U);
  EXPECT_GT(reader_->number({"PTTL", kKey}), 0);
  EXPECT_EQ(cache.stats().errors, 0);
}

TEST_F(CacheTest, RepairWaitsForTablesThatAreAwayAndLiveUpdatesDoNot) {
  rows_.put(kSeries, 60, 10);
  rows_.fail(true);
  RedisCache cache(options_, &rows_, clock_);
  ASSERT_TRUE(eventually([&] { return cache.stats().repair_source_errors > 0; }));
  offer(cache, {update_of(kSeries, 120, 1)});
  ASSERT_TRUE(cache.wait_idle(kLong));
  EXPECT_THAT(reader_->times(kKey), ElementsAre(120));
  rows_.fail(false);
  ASSERT_TRUE(cache.wait_idle(kLong, RedisCache::WaitFor::kQuiet));
  EXPECT_THAT(reader_->times(kKey), ElementsAre(60, 120));
}

// ---- On servers of their own ---------------------------------------------------------------------------------------

class CacheFaultTest : public testing::Test {
 protected:
  RedisOptions options() const { return quick_options("127.0.0.1", redis_.port(), 0); }
  Reader reader(const std::string& password = "") const { return {"127.0.0.1", redis_.port(), 0, password}; }

  OwnRedis redis_;
  KnownRows rows_;
  SystemClock clock_;
};

TEST_F(CacheFaultTest, ComesBackRightWhenTheServerIsKilledAndStartsEmpty) {
  redis_.start();
  for (UnixSeconds time = 0; time < 6'000; time += 60) rows_.put(kSeries, time, 10);
  RedisCache cache(options(), &rows_, clock_);
  offer(cache, {update_of(kSeries, 6'000, 1)});
  ASSERT_TRUE(cache.wait_idle(kLong, RedisCache::WaitFor::kQuiet));

  redis_.kill();
  ASSERT_TRUE(eventually([&] { return !cache.stats().connected; })) << "must be noticed without an update";
  EXPECT_FALSE(cache.wait_idle(kLong)) << "away: waiting makes no sense, and must not take its whole time";
  offer(cache, {update_of(kSeries, 6'000, 2)});
  offer(cache, {update_of(kSeries, 6'060, 1)});
  rows_.put(kSeries, 6'000, 1);
  redis_.start();

  Reader there = reader();
  EXPECT_TRUE(eventually([&] { return there.times(kKey).size() == 102; }));
  EXPECT_EQ(there.revision(kSeries, 0), 10);
  EXPECT_EQ(there.revision(kSeries, 6'000), 2) << "the live update is newer than the row";
  EXPECT_EQ(there.revision(kSeries, 6'060), 1);
  EXPECT_GT(cache.stats().last_error_ms, 0);
}

TEST_F(CacheFaultTest, AHangingServerBlocksNobody) {
  redis_.start();
  auto cache = std::make_unique<RedisCache>(options(), &rows_, clock_);
  offer(*cache, {update_of(kSeries, 60, 1)});
  ASSERT_TRUE(cache->wait_idle(kLong));
  redis_.signal(SIGSTOP);
  auto slowest = std::chrono::steady_clock::duration::zero();
  for (int i = 0; i < 300; ++i) {
    const auto began = std::chrono::steady_clock::now();
    offer(*cache, {update_of(kSeries, 60, 2 + i)});
    slowest = std::max(slowest, std::chrono::steady_clock::now() - began);
    std::this_thread::sleep_for(5ms);
  }
  EXPECT_LT(slowest, 500ms);
  EXPECT_LE(cache->stats().queue_updates, 1);

  const auto began = std::chrono::steady_clock::now();
  cache.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - began, 2'500ms);
  redis_.signal(SIGCONT);
}

TEST_F(CacheFaultTest, AServerThatHungForAWhileGetsTheNewest) {
  redis_.start();
  RedisOptions with_short_timeouts = options();
  with_short_timeouts.command_timeout = 100ms;
  RedisCache cache(with_short_timeouts, &rows_, clock_);
  offer(cache, {update_of(kSeries, 60, 1)});
  ASSERT_TRUE(cache.wait_idle(kLong));
  redis_.signal(SIGSTOP);
  offer(cache, {update_of(kSeries, 60, 2)});
  ASSERT_TRUE(eventually([&] { return cache.stats().errors > 0; }));
  offer(cache, {update_of(kSeries, 60, 3)});
  redis_.signal(SIGCONT);
  Reader there = reader();
  EXPECT_TRUE(eventually([&] { return there.revision(kSeries, 60) == 3; }));
}

TEST_F(CacheFaultTest, TheQueueIsBoundedAndWhatItDropsIsRepaired) {
  RedisOptions small = options();
  small.queue_bytes_max = 100'000;
  small.keep = 2'000;
  RedisCache cache(small, &rows_, clock_);
  for (UnixSeconds time = 0; time < 60 * 2'000; time += 60) {
    rows_.put(kSeries, time, 4);
    offer(cache, {update_of(kSeries, time, 4)});
    ASSERT_LE(cache.stats().queue_bytes, 100'000);
  }
  EXPECT_GT(cache.stats().updates_dropped, 1'000);
  EXPECT_FALSE(cache.stats().connected);
  redis_.start();
  Reader there = reader();
  EXPECT_TRUE(eventually([&] { return there.times(kKey).size() == 2'000; }));
}

TEST_F(CacheFaultTest, WhatAConnectedServerIsTooSlowForIsRepairedToo) {
  redis_.start();
  RedisOptions small = options();
  small.queue_bytes_max = 100'000;
  small.keep = 2'000;
  RedisCache cache(small, &rows_, clock_);
  ASSERT_TRUE(cache.wait_idle(kLong, RedisCache::WaitFor::kQuiet));
  std::vector<CacheUpdate> too_many;
  for (UnixSeconds time = 0; time < 60 * 2'000; time += 60) {
    rows_.put(kSeries, time, 4);
    too_many.push_back(update_of(kSeries, time, 4));
  }
  cache.offer(std::move(too_many));
  EXPECT_GT(cache.stats().updates_dropped, 1'000);
  ASSERT_TRUE(cache.wait_idle(kLong, RedisCache::WaitFor::kQuiet));
  EXPECT_EQ(reader().times(kKey).size(), 2'000U);
  EXPECT_EQ(cache.stats().errors, 0);
}

TEST_F(CacheFaultTest, AFullServerGetsItAllOnceItHasRoom) {
  redis_.start();
  Reader there = reader();
  RedisCache cache(options(), &rows_, clock_);
  ASSERT_TRUE(cache.wait_idle(kLong));
  there.ask({"CONFIG", "SET", "maxmemory", "1"});
  offer(cache, {update_of(kSeries, 60, 1)});
  ASSERT_TRUE(eventually([&] { return cache.stats().errors >= 2; }));
  EXPECT_FALSE(cache.wait_idle(kLong));
  EXPECT_THAT(there.times(kKey), IsEmpty());
  there.ask({"CONFIG", "SET", "maxmemory", "0"});
  EXPECT_TRUE(eventually([&] { return there.revision(kSeries, 60) == 1; }));
  EXPECT_TRUE(eventually([&] { return cache.wait_idle(kLong); })) << "healed";
}

TEST_F(CacheFaultTest, AReplicaIsRefusedUntilItIsThePrimary) {
  redis_.start({"--replicaof", "127.0.0.1", "1", "--replica-serve-stale-data", "yes"});
  RedisCache cache(options(), &rows_, clock_);
  offer(cache, {update_of(kSeries, 60, 1)});
  ASSERT_TRUE(eventually([&] { return cache.stats().errors >= 2; }));
  Reader there = reader();
  there.ask({"REPLICAOF", "NO", "ONE"});
  EXPECT_TRUE(eventually([&] { return there.revision(kSeries, 60) == 1; }));
}

TEST_F(CacheFaultTest, PasswordsAndUsersAreGiven) {
  redis_.start({"--requirepass", "geheim"});
  Reader there = reader("geheim");
  there.ask({"ACL", "SETUSER", "klined", "on", ">word", "~kline:*", "+@read", "+@write", "+ping", "+select"});

  RedisOptions wrong = options();
  wrong.password = "falsch";
  RedisOptions none = options();
  for (const RedisOptions& refused : {wrong, none}) {
    RedisCache cache(refused, &rows_, clock_);
    offer(cache, {update_of(kSeries, 60, 1)});
    EXPECT_TRUE(eventually([&] { return cache.stats().errors >= 2; }));
    EXPECT_EQ(there.number({"EXISTS", kKey}), 0);
  }

  RedisOptions with_password = options();
  with_password.password = "geheim";
  RedisOptions with_user = options();
  with_user.username = "klined";
  with_user.password = "word";
  with_user.database = 3;
  for (const RedisOptions& accepted : {with_password, with_user}) {
    rows_.put(kSeries, 0, 1);
    RedisCache cache(accepted, &rows_, clock_);
    offer(cache, {update_of(kSeries, 60, 1)});
    EXPECT_TRUE(cache.wait_idle(kLong, RedisCache::WaitFor::kQuiet));
    EXPECT_EQ(cache.stats().errors, 0) << accepted.username;
  }
  EXPECT_EQ(there.number({"HLEN", kKey}), 2);
  there.ask({"SELECT", "3"});
  EXPECT_EQ(there.number({"HLEN", kKey}), 2);
}

}  // namespace
}  // namespace klined::cache_test
