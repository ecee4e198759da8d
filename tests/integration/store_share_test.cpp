// Several processes that share the partitions, on a real server: who may write what.
#include "integration/store_support.hpp"
#include "klined/store/candle_reader.hpp"

namespace klined {
namespace {

using namespace store_testing;

class SharedStoreTest : public StoreTest {
 protected:
  // Claims these partitions of the three; the rest is others'.
  static ClaimRequest share(std::uint64_t owner, const std::vector<std::int32_t>& partitions) {
    ClaimRequest shared = request(owner);
    std::ranges::copy_if(shared.partitions, std::back_inserter(shared.others), [&](const PartitionStart& start) {
      return std::ranges::find(partitions, start.partition) == partitions.end();
    });
    std::erase_if(shared.partitions, [&](const PartitionStart& start) {
      return std::ranges::find(partitions, start.partition) == partitions.end();
    });
    return shared;
  }
  // commit_from() for these partitions alone, with pairs that were seen on the first of them.
  static LaneCommit commit_of(std::int64_t from, const std::vector<std::int32_t>& partitions,
                              const std::vector<std::string>& pairs = {}, std::vector<CandleRow> rows = {}) {
    LaneCommit commit = commit_from(from, std::move(rows));
    std::erase_if(commit.offsets, [&](const LaneCommit::Advance& advance) {
      return std::ranges::find(partitions, advance.to.partition) == partitions.end();
    });
    for (const std::string& pair : pairs) commit.pairs.push_back({100'000, pair, kTopic, partitions.front()});
    return commit;
  }
  std::string candles() { return ask("SELECT pair_address,candle_time,`count` FROM trade_kline_1m ORDER BY 1,2"); }
};

TEST_F(SharedStoreTest, TheFirstClaimPlacesAllPartitions) {
  MySqlCandleStore first(options_);
  const auto claimed = first.claim(share(1, {0}));
  ASSERT_TRUE(claimed) << message(claimed);
  EXPECT_EQ(claimed->offsets.size(), 2U) << "only what is ours";
  EXPECT_EQ(ask("SELECT partition_id,MIN(owner),MIN(next_offset),COUNT(*) FROM stream_offset GROUP BY 1 ORDER BY 1"),
            "0|1|100|2\n1|0|101|2\n2|0|102|2");
  ClaimRequest later = share(2, {1, 2});
  for (PartitionStart& start : later.partitions) start.offset = 5000;  // latest is further by now
  later.lanes = 2;
  MySqlCandleStore second(options_);
  const auto rest = second.claim(later);
  ASSERT_TRUE(rest) << message(rest);
  EXPECT_EQ(rest->offsets.front().next_offset, 101);
  EXPECT_EQ(ask("SELECT partition_id,MIN(owner) FROM stream_offset GROUP BY 1 ORDER BY 1"), "0|1\n1|2\n2|2");
}

TEST_F(SharedStoreTest, OneThatLostASinglePartitionCanWriteNothing) {
  MySqlCandleStore first(options_);
  ASSERT_TRUE(first.claim(share(1, {0, 1})));
  ASSERT_TRUE(first.commit(commit_of(100, {0, 1}, {kPair}, {row(0)})));
  const std::string before = candles();

  MySqlCandleStore second(options_);
  ASSERT_TRUE(second.claim(share(2, {1, 2})));
  // The first was stopped meanwhile, and goes on as if nothing had happened.
  const Status done = first.commit(commit_of(110, {0, 1}, {"other"}, {row(60), row(0, "other")}));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().kind, ErrorKind::kFenced) << message(done);
  EXPECT_EQ(candles(), before);
  EXPECT_EQ(ask("SELECT COUNT(*) FROM stream_pair"), "1");
  EXPECT_EQ(ask("SELECT MAX(next_offset) FROM stream_offset WHERE partition_id=0"), "110");
}

// Stopped in the middle of a transaction, it holds the rows' locks until the server gives its connection up.
TEST_F(SharedStoreTest, OneThatHangsInATransactionIsNotWaitedForForLong) {
  MySqlCandleStore first(options_);
  ASSERT_TRUE(first.claim(share(1, {0, 1})));
  MySqlOptions short_idle = options_;
  short_idle.idle_timeout = seconds(2);
  MySqlConnection hung(short_idle);
  ASSERT_TRUE(hung.begin("begin"));
  ASSERT_TRUE(hung.execute("UPDATE stream_offset SET window_offset=window_offset+1", "hold the rows"));
  MySqlCandleStore second(options_);
  const auto claimed = second.claim(share(2, {0, 1}));
  ASSERT_TRUE(claimed) << message(claimed);
  EXPECT_FALSE(hung.commit("commit"));
  EXPECT_EQ(ask("SELECT DISTINCT owner FROM stream_offset WHERE partition_id<2"), "2");
}

TEST_F(SharedStoreTest, APairOnTwoPartitionsIsRefusedWhole) {
  MySqlCandleStore first(options_);
  MySqlCandleStore second(options_);
  ASSERT_TRUE(first.claim(share(1, {0, 1})));
  ASSERT_TRUE(second.claim(share(2, {2})));
  ASSERT_TRUE(first.commit(commit_of(100, {0, 1}, {kPair, "p"}, {row(0)})));
  ASSERT_TRUE(second.commit(commit_of(100, {2}, {"q"}, {row(0, "q")})));
  const std::string before = candles();

  const Status done = second.commit(commit_of(110, {2}, {"a-new-one", "p"}, {row(0, "a-new-one"), row(0, "p")}));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().kind, ErrorKind::kFatal);
  EXPECT_THAT(message(done), AllOf(HasSubstr("input.partitioned_by is pair, but pair p of chain 100000"),
                                   HasSubstr(std::string(kTopic) + "[0] and now " + std::string(kTopic) + "[2]")));
  EXPECT_EQ(candles(), before);
  EXPECT_EQ(ask("SELECT pair_address FROM stream_pair WHERE pair_address='a-new-one'"), "");
  // What is where it belongs goes on, told again or not.
  ASSERT_TRUE(second.commit(commit_of(110, {2}, {"q"}, {row(60, "q")})));
  ASSERT_TRUE(first.commit(commit_of(110, {0, 1}, {"p"}, {row(60, "p")})));
}

TEST_F(SharedStoreTest, ReadersKeepToTheirPartitions) {
  MySqlCandleStore store(options_);
  ASSERT_TRUE(store.claim(share(1, {0, 1, 2})));
  ASSERT_TRUE(store.commit(commit_of(100, {0, 1, 2}, {"p"}, {row(0, "p"), row(0, "q"), row(0, "unknown")})));
  LaneCommit more = commit_of(110, {0, 1, 2});
  more.pairs.push_back({100'000, "q", kTopic, 2});
  ASSERT_TRUE(store.commit(more));

  const auto names = [this](std::vector<std::pair<std::string, std::int32_t>> partitions) {
    CandleReader reader(options_);
    reader.keep_to(std::move(partitions));
    const auto rows = reader.bucket_rows(Interval::k1m, 0, std::nullopt, 10);
    EXPECT_TRUE(rows) << message(rows);
    std::string text;
    for (const CandleRow& found : *rows) text += found.key.pair + " ";
    return text;
  };
  EXPECT_EQ(names({}), "p q unknown ");
  EXPECT_EQ(names({{kTopic, 0}, {kTopic, 1}}), "p unknown ");
  EXPECT_EQ(names({{kTopic, 2}}), "q unknown ");
  EXPECT_EQ(names({{"another", 0}}), "unknown ");
  CandleReader reader(options_);
  const auto place = reader.place_of(100'000, "q");
  ASSERT_TRUE(place && *place);
  EXPECT_EQ((*place)->topic, kTopic);
  EXPECT_EQ((*place)->partition, 2);
  EXPECT_EQ(reader.place_of(100'000, "unknown"), std::nullopt);
}

TEST_F(SharedStoreTest, APartitionThatJoinsMayHoldOldPairs) {
  MySqlCandleStore store(options_);
  ASSERT_TRUE(store.claim(request(1, 2, 2)));
  ASSERT_TRUE(store.commit(commit_of(100, {0, 1})));
  const auto claimed = store.claim(share(2, {2}));
  ASSERT_TRUE(claimed) << message(claimed);
  EXPECT_EQ(claimed->offsets.front().max_block_time, 1'769'000'200);
  EXPECT_EQ(claimed->offsets.front().closed_until, 1'769'000'000);
}

TEST_F(SharedStoreTest, WindowsOfAllSourcesAreStored) {
  MySqlCandleStore store(options_);
  ASSERT_TRUE(store.claim(share(1, {0})));
  LaneCommit commit = commit_of(100, {0});
  commit.offsets[0].to.window_clocks.clear();
  commit.offsets[0].to.source_windows = {{kOwnSource, 100, {{100'000, 5}}}, {63, 102, {{56, 7}, {100'000, 8}}}};
  ASSERT_TRUE(store.commit(commit));
  const auto claimed = store.claim(share(2, {0}));
  ASSERT_TRUE(claimed) << message(claimed);
  EXPECT_EQ(claimed->offsets.front(), commit.offsets[0].to);
}

}  // namespace
}  // namespace klined
