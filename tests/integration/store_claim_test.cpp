// Claims, turns and resets on a real server: whoever may not have the tables is told why.
#include <atomic>
#include <thread>

#include "integration/store_support.hpp"
#include "klined/store/group_lock.hpp"

namespace klined {
namespace {

using namespace store_testing;

// ---- Claims --------------------------------------------------------------------------------------------------------

TEST_F(StoreTest, ClaimMakesMissingRowsAndKeepsStoredOnes) {
  MySqlCandleStore store(options_);
  auto claimed = store.claim(request(1));
  ASSERT_TRUE(claimed) << message(claimed);
  ASSERT_EQ(claimed->offsets.size(), 6U);
  EXPECT_EQ(
      claimed->offsets[3],
      (LaneOffset{
          .topic = kTopic, .partition = 1, .lane = 1, .next_offset = 101, .window_offset = 101, .window_clocks = {}}));
  EXPECT_THAT(claimed->topics, ElementsAre(kTopic));
  const LaneCommit commit = commit_from(100);
  ASSERT_TRUE(store.commit(commit));

  ClaimRequest wider = request(2, 2, 4);
  wider.partitions.push_back({"bsc-trades", 0, 5});
  for (PartitionStart& start : wider.partitions) start.offset += 1000;
  claimed = store.claim(wider);
  ASSERT_TRUE(claimed) << message(claimed);
  ASSERT_EQ(claimed->offsets.size(), 10U);
  EXPECT_THAT(claimed->topics, ElementsAre("bsc-trades", kTopic));
  EXPECT_EQ(claimed->offsets[0].next_offset, 1005);
  EXPECT_EQ(claimed->offsets[2], commit.offsets[0].to);
  EXPECT_EQ(claimed->offsets[3].next_offset, 100) << "lane 1 has not moved";
  EXPECT_EQ(claimed->offsets[8].next_offset, 1103) << "a partition without rows begins where it was told";
}

TEST_F(StoreTest, PositionsKeepTheirTopicWhenOthersAreAdded) {
  MySqlCandleStore store = claimed_store();
  const CandleRow written = row(0);
  ASSERT_TRUE(store.commit(commit_from(100, {written})));
  ClaimRequest wider = request(2);
  wider.partitions.push_back({"a-first-by-name", 0, 0});
  ASSERT_TRUE(store.claim(wider));
  const auto loaded = store.load(keys_of({written}));
  ASSERT_TRUE(loaded) << message(loaded);
  ASSERT_EQ(loaded->size(), 1U);
  EXPECT_EQ(loaded->front().candle.last.log, LogId(1, 2)) << "the topic's rank is 1 now";
  EXPECT_EQ(loaded->front().candle.price_first.log, LogId(1, 1));
}

TEST_F(StoreTest, StoresOfOneProcessShareTheClaim) {
  const auto claim = std::make_shared<StoreClaim>();
  MySqlCandleStore first(options_, claim);
  MySqlCandleStore second(options_, claim);
  ASSERT_TRUE(first.claim(request(7)));
  const Status done = second.commit(commit_from(100, {row(0)}));
  EXPECT_TRUE(done) << message(done);
}

TEST_F(StoreTest, ALaterOwnersCandlesAreNotLoaded) {
  MySqlCandleStore first = claimed_store(1);
  ASSERT_TRUE(first.commit(commit_from(100, {row(0)})));
  EXPECT_TRUE(first.load(keys_of({row(0)})));
  MySqlCandleStore second = claimed_store(2);
  EXPECT_EQ(kind(first.load(keys_of({row(0)}))), ErrorKind::kFenced);
  EXPECT_TRUE(second.load(keys_of({row(0)})));
}

TEST_F(StoreTest, AnotherGroupIsRefused) {
  claimed_store();
  ClaimRequest other = request(2);
  other.group = "group-b";
  MySqlCandleStore store(options_);
  const auto claimed = store.claim(other);
  EXPECT_EQ(kind(claimed), ErrorKind::kFatal);
  EXPECT_THAT(message(claimed),
              AllOf(HasSubstr(options_.database), HasSubstr("consumer group \"group-a\", not of \"group-b\""),
                    HasSubstr("klined reset")));
}

TEST_F(StoreTest, OtherSettingsAreRefusedByName) {
  claimed_store();
  ClaimRequest other = request(2);
  other.settings = "intervals=1m,5m,1d,1M dedupe_window=60";
  MySqlCandleStore store(options_);
  const auto claimed = store.claim(other);
  EXPECT_EQ(kind(claimed), ErrorKind::kFatal);
  EXPECT_THAT(message(claimed), HasSubstr("dedupe_window = 600, and dedupe_window is 60 now"));
  EXPECT_EQ(ask("SELECT COUNT(DISTINCT owner) FROM stream_offset WHERE owner=1"), "1") << "nothing was taken over";
}

TEST_F(StoreTest, CandlesWithoutOffsetsAreRefused) {
  MySqlCandleStore store = claimed_store();
  ASSERT_TRUE(store.commit(commit_from(100, {row(0)})));
  run("DELETE FROM stream_offset");
  EXPECT_THAT(message(store.claim(request(2))),
              AllOf(HasSubstr("would count trades twice"), HasSubstr("klined reset")));
  run("DELETE FROM stream_meta");
  EXPECT_EQ(kind(store.claim(request(2))), ErrorKind::kFatal);
  run("DELETE FROM trade_kline_1m");
  EXPECT_TRUE(store.claim(request(2)));
}

TEST_F(StoreTest, ClaimsAtTheSameMomentComeOneAfterTheOther) {
  constexpr int kClaimers = 8;
  std::vector<std::jthread> threads;
  std::atomic<int> failed = 0;
  for (int i = 1; i <= kClaimers; ++i) {
    threads.emplace_back([this, i, &failed] {
      MySqlCandleStore store(options_);
      const auto claimed = store.claim(request(static_cast<std::uint64_t>(i)));
      if (!claimed || claimed->offsets.size() != 6) ++failed, ADD_FAILURE() << message(claimed);
    });
  }
  threads.clear();
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(ask("SELECT COUNT(*),COUNT(DISTINCT owner) FROM stream_offset"), "6|1") << "one of them owns all rows";
}

TEST_F(StoreTest, LanesChangeWhereTheyStandAtOneOffset) {
  MySqlCandleStore store(options_);
  ASSERT_TRUE(store.claim(request(1)));
  LaneCommit lane0 = commit_from(100);
  LaneCommit lane1 = commit_from(100);
  lane1.lane = 1;
  for (LaneCommit::Advance& advance : lane1.offsets) {
    advance.to.lane = 1;
    advance.to.window_offset -= 50;
    advance.to.window_clocks = {{1, 5}, {100'000, 1'768'999'000}};
    advance.to.max_block_time = 1'769'999'999;
    advance.to.closed_until = 1'768'000'000;
  }
  ASSERT_TRUE(store.commit(lane0));
  EXPECT_THAT(message(store.claim(request(2, 5))), AllOf(HasSubstr("engine.lanes is 5"), HasSubstr("for 2 lanes"),
                                                         HasSubstr("100 to 110"), HasSubstr("engine.lanes: 2")));
  ASSERT_TRUE(store.commit(lane1)) << "the refused claim has changed nothing";

  const auto claimed = store.claim(request(3, 5));
  ASSERT_TRUE(claimed) << message(claimed);
  ASSERT_EQ(claimed->offsets.size(), 15U);
  for (const LaneOffset& offset : claimed->offsets) {
    LaneOffset expected = lane1.offsets[static_cast<std::size_t>(offset.partition)].to;
    expected.lane = offset.lane;
    EXPECT_EQ(offset, expected);
  }
  EXPECT_EQ(ask("SELECT COUNT(*),MAX(lane) FROM stream_offset WHERE owner=3"), "15|4");
  const auto back = store.claim(request(4, 1));
  ASSERT_TRUE(back) << message(back);
  EXPECT_EQ(back->offsets.size(), 3U);
  EXPECT_EQ(back->offsets[2].window_offset, 52);
}

TEST_F(StoreTest, ALaneWithoutCandlesOpensNoneForOthers) {
  MySqlCandleStore store(options_);
  ASSERT_TRUE(store.claim(request(1)));
  LaneCommit lane0 = commit_from(100);
  LaneCommit lane1 = commit_from(100);
  lane1.lane = 1;
  for (LaneCommit::Advance& advance : lane1.offsets) {
    advance.to.lane = 1;
    advance.to.max_block_time = advance.to.closed_until = -1;
  }
  ASSERT_TRUE(store.commit(lane0));
  ASSERT_TRUE(store.commit(lane1));
  const auto claimed = store.claim(request(2, 5));
  ASSERT_TRUE(claimed) << message(claimed);
  for (const LaneOffset& offset : claimed->offsets) {
    EXPECT_EQ(offset.closed_until, lane0.offsets[0].to.closed_until);
    EXPECT_EQ(offset.max_block_time, lane0.offsets[0].to.max_block_time);
  }
}

// ---- Turns and resets ----------------------------------------------------------------------------------------------

TEST_F(StoreTest, TheGroupsLockHasOneHolder) {
  GroupLock first(options_, "group-a");
  GroupLock second(options_, "group-a");
  GroupLock other(options_, "group-b");
  EXPECT_TRUE(first.try_acquire(milliseconds(0)).value());
  EXPECT_TRUE(first.try_acquire(milliseconds(0)).value()) << "it is held already";
  EXPECT_TRUE(other.try_acquire(milliseconds(0)).value());
  EXPECT_FALSE(second.try_acquire(milliseconds(0)).value());
  EXPECT_FALSE(second.held());
  EXPECT_THAT(second.holder(), HasSubstr("connection"));
  EXPECT_EQ(kind(second.ping()), ErrorKind::kRetry);
  EXPECT_TRUE(first.ping());
  std::jthread releasing([&first] {
    std::this_thread::sleep_for(milliseconds(300));
    first.release();
  });
  EXPECT_TRUE(second.try_acquire(seconds(5)).value());
  releasing.join();
  EXPECT_FALSE(first.try_acquire(milliseconds(0)).value());
}

TEST_F(StoreTest, ALostLockIsNoticed) {
  GroupLock lock(options_, "group-a");
  GroupLock next(options_, "group-a");
  ASSERT_TRUE(lock.try_acquire(milliseconds(0)).value());
  const std::string holder = next.holder();
  run("KILL CONNECTION " + holder.substr(11, holder.find(' ', 11) - 11));
  EXPECT_TRUE(next.try_acquire(seconds(5)).value());
  EXPECT_EQ(kind(lock.ping()), ErrorKind::kRetry);
  EXPECT_FALSE(lock.held());
  EXPECT_FALSE(lock.try_acquire(milliseconds(0)).value());
}

TEST_F(StoreTest, ALockWithoutPingsIsGivenAway) {
  GroupLock vanished(options_, "group-a");
  GroupLock next(options_, "group-a");
  ASSERT_TRUE(vanished.try_acquire(milliseconds(0)).value());
  const auto begin = std::chrono::steady_clock::now();
  bool taken = false;
  while (!taken && std::chrono::steady_clock::now() - begin < seconds(15)) taken = next.try_acquire(seconds(1)).value();
  EXPECT_TRUE(taken);
  EXPECT_GT(std::chrono::steady_clock::now() - begin, seconds(5));
  EXPECT_EQ(kind(vanished.ping()), ErrorKind::kRetry);
}

TEST_F(StoreTest, WhoeverHasASeatKeepsAResetAway) {
  std::vector<std::unique_ptr<GroupLock>> seated;
  for (int i = 0; i < 3; ++i) seated.push_back(std::make_unique<GroupLock>(options_, "group-a"));
  for (const auto& one : seated) ASSERT_TRUE(one->take_seat());
  ASSERT_TRUE(seated.front()->try_acquire(milliseconds(0)).value());
  GroupLock alone(options_, "group-a");
  while (!seated.empty()) {  // the lock's holder goes first
    const auto other = alone.acquire_alone();
    ASSERT_TRUE(other) << message(other);
    EXPECT_THAT(other->value_or(""), HasSubstr("connection"));
    EXPECT_FALSE(alone.held());
    EXPECT_THAT(message(reset(options_, "group-a")), HasSubstr("stop it first, nothing was emptied"));
    for (const auto& one : seated) EXPECT_TRUE(one->take_seat()) << "it has it still";
    seated.erase(seated.begin());
  }
  const auto other = alone.acquire_alone();
  ASSERT_TRUE(other) << message(other);
  EXPECT_EQ(other->value_or("nobody"), "nobody");
  GroupLock late(options_, "group-a");
  EXPECT_EQ(kind(late.take_seat()), ErrorKind::kRetry);
  EXPECT_TRUE(GroupLock(options_, "group-b").take_seat());
}

TEST_F(StoreTest, ALostSeatIsTakenAgain) {
  GroupLock seated(options_, "group-a");
  ASSERT_TRUE(seated.take_seat());
  GroupLock alone(options_, "group-a");
  const std::string other = alone.acquire_alone().value().value_or("");
  ASSERT_THAT(other, HasSubstr("connection"));
  run("KILL CONNECTION " + other.substr(11, other.find(' ', 11) - 11));
  ASSERT_TRUE(seated.take_seat());
  EXPECT_NE(alone.acquire_alone().value().value_or("nobody"), "nobody");
}

TEST_F(StoreTest, ResetStartsOver) {
  MySqlCandleStore store = claimed_store();
  ASSERT_TRUE(store.commit(commit_from(100, {row(0), row(0, kPair, Interval::k1d)})));
  {
    GroupLock running(options_, "group-a");
    ASSERT_TRUE(running.try_acquire(milliseconds(0)).value());
    const auto refused = reset(options_, "group-a");
    EXPECT_EQ(kind(refused), ErrorKind::kFatal);
    EXPECT_THAT(message(refused), HasSubstr("stop it first, nothing was emptied"));
  }
  EXPECT_THAT(message(reset(options_, "group-b")), HasSubstr("consumer group \"group-a\", not of \"group-b\""));
  EXPECT_EQ(ask("SELECT COUNT(*) FROM trade_kline_1m"), "1");

  const auto done = reset(options_, "group-a");
  ASSERT_TRUE(done) << message(done);
  EXPECT_THAT(*done, ElementsAre("trade_kline_1m", "trade_kline_5m", "trade_kline_1d", "trade_kline_1mo",
                                 "stream_offset", "stream_pair", "stream_topic", "stream_meta"));
  EXPECT_EQ(
      ask("SELECT (SELECT COUNT(*) FROM trade_kline_1m)+(SELECT COUNT(*) FROM trade_kline_1d)+(SELECT COUNT(*) FROM "
          "stream_offset)+(SELECT COUNT(*) FROM stream_topic)+(SELECT COUNT(*) FROM stream_meta)"),
      "0");
  EXPECT_EQ(kind(store.commit(commit_from(110, {row(0)}))), ErrorKind::kFenced) << "a process that was forgotten";
  ClaimRequest other = request(9);
  other.group = "group-b";
  EXPECT_TRUE(MySqlCandleStore(options_).claim(other)) << "anybody may have the tables now";
}

TEST_F(StoreTest, AResetThatWasBrokenOffIsFinishedFirst) {
  MySqlCandleStore store = claimed_store();
  run("INSERT INTO stream_meta VALUES ('reset','begun')");
  EXPECT_THAT(message(store.claim(request(2))), AllOf(HasSubstr("was broken off"), HasSubstr("klined reset")));
  ASSERT_TRUE(reset(options_, "group-a"));
  EXPECT_TRUE(store.claim(request(2)));
}

}  // namespace
}  // namespace klined
