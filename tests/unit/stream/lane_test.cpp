// When a lane publishes, commits, and takes no more trades. What it publishes and commits is the simulation's to check.
#include "klined/stream/lane.hpp"

#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "klined/stream/config.hpp"
#include "klined/stream/pipeline.hpp"
#include "unit/stream/lane_input.hpp"

namespace klined {
namespace {

constexpr ChainId kChain = 100'000;

class Commits final : public LaneHost {
 public:
  void load(std::int32_t, std::vector<CandleKey>) override { FAIL() << "nothing is stored"; }
  void load_histories(std::int32_t, std::vector<PairName>, UnixSeconds) override { FAIL() << "nothing is stored"; }
  void commit(std::int32_t, std::shared_ptr<const LaneCommit> commit) override { rows.push_back(commit->rows.size()); }
  void cache(std::vector<CacheUpdate>) override {}
  void scan_bucket(std::int32_t, const BucketScan&) override { FAIL() << "nothing is stored"; }
  void failed(const Error& error) override { FAIL() << error.message; }

  std::vector<std::size_t> rows;  // of each commit that was asked for
};

// A lane without Kafka, which therefore delivers at once, and fifty pairs of four intervals: 200 candles.
class LaneTest : public testing::Test {
 protected:
  static constexpr std::size_t kCandles = 200;

  // A slot's last message may be short.
  LaneTest() {
    std::erase_if(messages_, [](const FeedMessage& message) { return message.trades < 450; });
  }
  void make(LaneOptions::Flush flush, LaneOptions::Flush catch_up_flush) {
    LaneOptions options;
    options.intervals = {Interval::k1m, Interval::k5m, Interval::k1h, Interval::k1d};
    options.chains = {kChain};
    options.topics = {"trades"};
    options.flush = flush;
    options.catch_up_flush = catch_up_flush;
    LaneOffset row;
    row.topic = "trades";
    lane_ = std::make_unique<Lane>(options, std::vector{row}, host_, nullptr);
  }
  // All fifty pairs change.
  void trades() { lane_->apply(input_.next(messages_.at(next_++))); }
  bool takes_trades() {
    DecodedBatch empty;
    return lane_->can_apply(empty);
  }
  // `wall`: counts as the chain's clock, since nothing comes. 0: trades come.
  void tick_at(std::int64_t ms, UnixSeconds wall = 0) {
    Lane::Tick tick;
    tick.now = Instant{} + Milliseconds(ms);
    tick.catching_up = catching_up_;
    if (wall > 0) {
      tick.wall = wall;
      tick.idle_chains = {kChain};
      tick.queue_empty = true;
    }
    lane_->tick(tick);
  }
  std::size_t published() const { return static_cast<std::size_t>(lane_->counters().candles_published); }

  bool catching_up_ = false;
  Commits host_;
  std::unique_ptr<Lane> lane_;

 private:
  LaneInput input_;
  std::vector<FeedMessage> messages_ = messages_of(24, 1'000);
  std::size_t next_ = 0;
};

TEST_F(LaneTest, PublishesAtTheSecondTickAndNoSoonerThanAfterTheRest) {
  make({Milliseconds(10'000), 1'000'000}, {});
  tick_at(20);
  trades();
  tick_at(40);
  EXPECT_EQ(published(), 0U);
  tick_at(60);
  EXPECT_EQ(published(), kCandles);
  trades();
  for (std::int64_t ms = 80; ms < 160; ms += 20) tick_at(ms);
  EXPECT_EQ(published(), kCandles) << "publish_interval is 100 ms";
  tick_at(160);
  EXPECT_EQ(published(), 2 * kCandles);
}

TEST_F(LaneTest, CommitsAfterTheIntervalOrWithEnoughRows) {
  make({Milliseconds(500), kCandles + 1}, {});
  tick_at(20);
  trades();
  tick_at(480);
  EXPECT_TRUE(host_.rows.empty());
  tick_at(500);
  EXPECT_EQ(host_.rows, std::vector{kCandles});

  make({Milliseconds(500), kCandles}, {});
  host_.rows.clear();
  tick_at(20);
  trades();
  EXPECT_EQ(host_.rows, std::vector{kCandles});
}

TEST_F(LaneTest, WhileCatchingUpPublishesWithASnapshotAndSeldomInBetween) {
  catching_up_ = true;
  make({}, {Milliseconds(5'000), 1'000'000});
  tick_at(20);
  trades();
  tick_at(4'980);
  EXPECT_EQ(published(), 0U);
  tick_at(5'000);
  EXPECT_EQ(published(), kCandles);
  ASSERT_EQ(host_.rows, std::vector{kCandles});

  // The commit takes long. Readers hear of the trades all the same.
  trades();
  tick_at(19'980);
  EXPECT_EQ(published(), kCandles);
  tick_at(20'000);
  EXPECT_EQ(published(), 2 * kCandles);
  EXPECT_EQ(host_.rows.size(), 1U) << "one commit at a time";
  lane_->committed();
  EXPECT_EQ(host_.rows, (std::vector{kCandles, kCandles}));
}

TEST_F(LaneTest, DuringACommitTheNextGrowsToFourTimesTheRowsOrWhileCatchingUpToThem) {
  const auto takes_trades_behind_a_commit = [this](std::size_t rows, bool catching_up) {
    catching_up_ = catching_up;
    make({Milliseconds(500), rows}, {Milliseconds(500), rows});
    host_.rows.clear();
    tick_at(20);
    trades();
    tick_at(600);
    EXPECT_EQ(host_.rows.size(), 1U);
    EXPECT_TRUE(takes_trades());
    trades();
    return takes_trades();
  };
  EXPECT_TRUE(takes_trades_behind_a_commit(kCandles / 4 + 1, false));
  EXPECT_FALSE(takes_trades_behind_a_commit(kCandles / 4, false));
  EXPECT_TRUE(takes_trades_behind_a_commit(kCandles + 1, true));
  EXPECT_FALSE(takes_trades_behind_a_commit(kCandles, true));
}

TEST_F(LaneTest, ClosedCandlesLeaveMemoryOnceTheyAreStored) {
  constexpr UnixSeconds kMidnight = 1'767'225'600;  // of messages_of()
  make({Milliseconds(500), 1'000'000}, {});
  trades();
  std::int64_t ms = 0;
  // Nothing more comes, and ten minutes are over: the candles of 1m and 5m are closed, those of 1h and 1d are open.
  const auto round = [&] {
    for (int i = 0; i < 100; ++i) tick_at(ms += 20, kMidnight + 600);
  };
  round();
  ASSERT_EQ(host_.rows, std::vector{kCandles});
  EXPECT_EQ(lane_->book().candle_count(), kCandles) << "the commit is under way";
  lane_->committed();
  round();
  EXPECT_EQ(lane_->book().candle_count(), kCandles / 2);
}

// ---- of the configuration ------------------------------------------------------------------------------------------

LaneOptions options_of(std::int64_t memory_limit, std::int32_t lanes, std::int64_t catch_up_flush_rows) {
  Config config;
  config.engine.memory_limit = memory_limit;
  config.engine.lanes = lanes;
  config.mysql.flush_rows = 10'000;
  config.mysql.catch_up_flush_rows = catch_up_flush_rows;
  return lane_options(config, {}, 0, false);
}

TEST(LaneOptionsTest, ACommitWhileCatchingUpIsAsLargeAsMemoryAllows) {
  constexpr std::int64_t kGiB = std::int64_t{1} << 30U;
  const LaneOptions roomy = options_of(8 * kGiB, 8, 100'000);
  EXPECT_EQ(roomy.flush.rows, 10'000U / 8) << "live, the lanes share";
  EXPECT_EQ(roomy.catch_up_flush.rows, 100'000U) << "each lane's";

  const LaneOptions small = options_of(kGiB / 4, 8, 100'000);
  EXPECT_LT(small.catch_up_flush.rows, 100'000U);
  EXPECT_GE(small.catch_up_flush.rows, small.flush.rows);
  // Its copies of the rows take an eighth of the lane's memory at most.
  EXPECT_LE(small.catch_up_flush.rows * sizeof(CandleRow), small.candle_limit / 8);

  const LaneOptions never_less = options_of(kGiB / 4, 8, 1);
  EXPECT_EQ(never_less.catch_up_flush.rows, never_less.flush.rows);
}

}  // namespace
}  // namespace klined
