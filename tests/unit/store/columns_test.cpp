// What the columns hold as text: positions, clocks, settings, topics.
#include <gtest/gtest.h>

#include <limits>

#include "klined/store/candle_columns.hpp"
#include "klined/store/claim_transaction.hpp"
#include "klined/store/group_lock.hpp"
#include "klined/store/offset_columns.hpp"

namespace klined {
namespace {

TopicNumbers three_topics() { return TopicNumbers({{7, "sol-trades"}, {2, "zzz"}, {9, "bsc-trades"}}); }

std::string text_of(const Position& position) {
  SqlText sql;
  append_position(sql, position, three_topics());
  return std::string(sql.view());
}

TEST(TopicNumbers, RanksByName) {
  const TopicNumbers topics = three_topics();
  EXPECT_EQ(topics.names(), (std::vector<std::string>{"bsc-trades", "sol-trades", "zzz"}));
  EXPECT_EQ(topics.number_of(0), 9);
  EXPECT_EQ(topics.rank_of(7), 1U);
  EXPECT_EQ(topics.rank_of(1), std::nullopt);
}

TEST(PositionColumn, NamesTheTopicByItsNumber) {
  const Position position{.block_time = 1'769'000'000,
                          .slot = 310'870'231,
                          .transaction_index = 12,
                          .log_index = 3,
                          .log = LogId(1, 5),
                          .index = 17,
                          .offset = 9001};
  EXPECT_EQ(text_of(position), "1769000000:310870231:12:3:7:5:9001:17");
  EXPECT_EQ(parse_position(text_of(position), three_topics()), position);
}

TEST(PositionColumn, HoldsTheLargest) {
  constexpr std::uint32_t kMax = std::numeric_limits<std::uint32_t>::max();
  const Position position{.block_time = kMaxBlockTime,
                          .slot = std::numeric_limits<std::int64_t>::max(),
                          .transaction_index = kMax,
                          .log_index = kMax,
                          .log = LogId(2, LogId::kPartitionLimit - 1),
                          .index = kMax,
                          .offset = std::numeric_limits<std::int64_t>::max()};
  EXPECT_LE(text_of(position).size(), 128U);
  EXPECT_EQ(parse_position(text_of(position), three_topics()), position);
}

TEST(PositionColumn, RefusesEveryOtherText) {
  const TopicNumbers topics = three_topics();
  ASSERT_TRUE(parse_position("1:2:3:4:7:6:7:8", topics));
  for (const char* text :
       {"", "1", "1:2:3:4:7:6:7", "1:2:3:4:7:6:7:", "1:2:3:4:7:6:7:8:", "1:2:3:4:7:6:7:8:9", ":2:3:4:7:6:7:8",
        "1:2:3:4:1:6:7:8", "1:2:-3:4:7:6:7:8", "1:2:x:4:7:6:7:8", "1:2:4294967296:4:7:6:7:8", "1:2:3:4:7:16777216:7:8",
        "1:99999999999999999999:3:4:7:6:7:8", " 1:2:3:4:7:6:7:8", "1:2:3:4:7:6:7:8 "}) {
    EXPECT_EQ(parse_position(text, topics), std::nullopt) << text;
  }
}

TEST(ClocksColumn, RoundTrips) {
  for (const ChainClocks& clocks :
       {ChainClocks{}, ChainClocks{{1, 0}}, ChainClocks{{1, 5}, {56, 1'769'000'000}, {100'000, kMaxBlockTime}}}) {
    EXPECT_EQ(parse_clocks(clocks_text(clocks)), clocks);
  }
  EXPECT_EQ(clocks_text({{56, 7}, {100'000, 8}}), "56:7,100000:8");
}

TEST(WindowClocksColumn, HoldsAllSources) {
  LaneOffset offset;
  offset.window_clocks = {{56, 7}, {100'000, 8}};
  EXPECT_EQ(windows_text(offset), "56:7,100000:8");
  LaneOffset read;
  ASSERT_TRUE(parse_windows(windows_text(offset), read));
  EXPECT_EQ(read.window_clocks, offset.window_clocks);

  offset.window_clocks.clear();
  offset.source_windows = {{kOwnSource, 12, {{1, 2}}}, {0, 10, {}}, {63, 11, {{56, 7}, {100'000, 8}}}};
  EXPECT_EQ(windows_text(offset), "own@12=1:2;0@10=;63@11=56:7,100000:8");
  ASSERT_TRUE(parse_windows(windows_text(offset), read));
  EXPECT_EQ(read, offset);
  for (const char* text : {"0@10", "@1=", "x@1=", "0@x=", "0@1=5", "1@1=;0@1=", "0@1=;0@2=", "0@-1=", "0=1@"}) {
    EXPECT_FALSE(parse_windows(text, read)) << text;
  }
}

TEST(ClocksColumn, RefusesEveryOtherText) {
  for (const char* text : {"1", "1:", ":1", "1:2,", "1:2,3", "1:2;3:4", "3:1,1:2", "1:1,1:2", "a:1", "1:2 "}) {
    EXPECT_EQ(parse_clocks(text), std::nullopt) << text;
  }
}

TEST(Settings, DifferByNameNotByOrder) {
  EXPECT_FALSE(find_difference("intervals=1m,5m dedupe_window=600", "dedupe_window=600  intervals=1m,5m"));
  const auto changed = find_difference("a=1 dedupe_window=600", "a=1 dedupe_window=300");
  ASSERT_TRUE(changed);
  EXPECT_EQ(changed->name + " " + changed->stored + " " + changed->wanted, "dedupe_window 600 300");
  const auto added = find_difference("a=1", "a=1 b=2");
  ASSERT_TRUE(added);
  EXPECT_EQ(added->name + " " + added->stored + " " + added->wanted, "b none 2");
  const auto removed = find_difference("a=1 b=2", "a=1");
  ASSERT_TRUE(removed);
  EXPECT_EQ(removed->name + " " + removed->stored + " " + removed->wanted, "b 2 none");
}

TEST(GroupLockName, IsShortAndItsOwn) {
  EXPECT_LE(GroupLock::name_of(std::string(64, 'd'), std::string(255, 'g')).size(), 64U);
  EXPECT_EQ(GroupLock::name_of("db", "group"), GroupLock::name_of("db", "group"));
  EXPECT_NE(GroupLock::name_of("db", "group"), GroupLock::name_of("db2", "group"));
  EXPECT_NE(GroupLock::name_of("db", "group"), GroupLock::name_of("db", "Group"));
  EXPECT_NE(GroupLock::name_of("a", "bc"), GroupLock::name_of("ab", "c"));
}

}  // namespace
}  // namespace klined
