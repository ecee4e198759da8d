// What the reader finds on a real server.
#include <ctime>

#include "integration/store_support.hpp"
#include "klined/store/candle_reader.hpp"

namespace klined {
namespace {

using namespace store_testing;

TEST_F(StoreTest, ManyPartitionsMoveTogether) {
  MySqlCandleStore store(options_);
  ClaimRequest wide = request(1, 4, 64);
  for (std::int32_t i = 0; i < 64; ++i) wide.partitions.push_back({"bsc-trades", i, 500 + i});
  const auto claimed = store.claim(wide);
  ASSERT_TRUE(claimed) << message(claimed);
  LaneCommit commit{.lane = 3, .rows = {}, .offsets = {}};
  for (const LaneOffset& offset : claimed->offsets) {
    if (offset.lane != 3) continue;
    LaneOffset to = offset;
    to.next_offset += offset.partition;
    to.window_offset += offset.partition / 2;
    to.window_clocks = {{56, 1'769'000'000 + offset.partition}};
    commit.offsets.push_back({offset.next_offset, to});
  }
  double best = 1e9;
  for (int round = 0; round < 5; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    const Status done = store.commit(commit);
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    ASSERT_TRUE(done) << message(done);
    for (LaneCommit::Advance& advance : commit.offsets)
      advance.expected = advance.to.next_offset, ++advance.to.next_offset;
  }
  std::printf("a commit of 128 partitions without rows: %.1f ms\n", best * 1e3);
  CandleReader reader(options_);
  const auto offsets = reader.offsets("group-a");
  ASSERT_TRUE(offsets) << message(offsets);
  EXPECT_EQ(offsets->size(), 128U * 4);
  for (const StoredLaneOffset& stored : *offsets) {
    if (stored.offset.lane != 3) continue;
    const auto advance = std::ranges::find_if(commit.offsets, [&](const auto& a) {
      return a.to.topic == stored.offset.topic && a.to.partition == stored.offset.partition;
    });
    LaneOffset expected = advance->to;
    --expected.next_offset;
    EXPECT_EQ(stored.offset, expected);
    EXPECT_EQ(stored.owner, 1U);
    EXPECT_NEAR(stored.updated_at, static_cast<double>(::time(nullptr)), 60);
  }
}

// ---- The reader ----------------------------------------------------------------------------------------------------

class ReaderTest : public StoreTest {
 protected:
  void SetUp() override {
    StoreTest::SetUp();
    if (HasFatalFailure()) return;
    MySqlCandleStore store = claimed_store();
    std::vector<CandleRow> rows;
    for (int pair = 0; pair < 30; ++pair) {
      for (int minute = 0; minute <= pair; ++minute) {
        CandleRow r = row(1'769'000'040 + 60 * minute, "pair" + std::to_string(10 + pair), Interval::k1m,
                          pair % 2 == 0 ? 56 : 100'000);
        r.candle.close = r.candle.high = pair * 100 + minute + 3;
        rows.push_back(r);
      }
    }
    rows.push_back(row(1'769'000'040, "pair12", Interval::k1m, 1));
    written_ = rows;
    const Status done = store.commit(commit_from(100, rows));
    ASSERT_TRUE(done) << message(done);
  }
  std::vector<CandleRow> written_;
};

std::vector<UnixSeconds> times_of(const std::vector<CandleRow>& rows) {
  std::vector<UnixSeconds> times;
  for (const CandleRow& r : rows) times.push_back(r.key.time);
  return times;
}

TEST_F(ReaderTest, ReadsASeries) {
  CandleReader reader(options_);
  const auto some = reader.candles(100'000, "pair15", Interval::k1m, {.from = 1'769'000'100, .to = 1'769'000'220});
  ASSERT_TRUE(some) << message(some);
  EXPECT_THAT(times_of(*some), ElementsAre(1'769'000'100, 1'769'000'160));
  EXPECT_EQ(some->front().candle.close, 504);
  EXPECT_EQ(some->front().candle.close_at(), 1'769'000'105);
  EXPECT_EQ(some->front().candle.price_last, Position());
  const auto newest = reader.newest(100'000, "pair15", Interval::k1m, 2);
  ASSERT_TRUE(newest) << message(newest);
  EXPECT_THAT(times_of(*newest), ElementsAre(1'769'000'280, 1'769'000'340));
  const auto whole = reader.candles(56, "pair12", Interval::k1m, TimeRange(), std::nullopt, CandleColumns::kAll);
  ASSERT_TRUE(whole) << message(whole);
  ASSERT_EQ(whole->size(), 3U);
  EXPECT_EQ(whole->front().candle.price_first.log, LogId(0, 1));
  EXPECT_TRUE(reader.newest(100'000, "PAIR15", Interval::k1m, 2).value().empty());
  EXPECT_THAT(message(reader.newest(1, "x", Interval::k3m, 2)), AllOf(HasSubstr("1146"), HasSubstr("klined init")));
}

TEST_F(ReaderTest, PagesThroughABucket) {
  CandleReader reader(options_);
  std::vector<PairName> seen;
  std::optional<PairName> after;
  while (true) {
    const auto page = reader.bucket_rows(Interval::k1m, 1'769'000'040, after, 7);
    ASSERT_TRUE(page) << message(page);
    for (const CandleRow& r : *page) {
      EXPECT_EQ(r.key.time, 1'769'000'040);
      seen.push_back({r.key.chain, r.key.pair});
    }
    if (page->size() < 7) break;
    after = seen.back();
  }
  EXPECT_EQ(seen.size(), 31U);
  EXPECT_TRUE(std::ranges::is_sorted(seen));
}

TEST_F(ReaderTest, ReadsClosesAndTheOneBefore) {
  CandleReader reader(options_);
  std::vector<PairName> names;
  for (int i = 0; i < 250; ++i) names.push_back({i % 2 == 0 ? 56 : 100'000, "pair" + std::to_string(10 + i)});
  const auto closes = reader.last_closes(Interval::k1m, names, 1'769'000'160);
  ASSERT_TRUE(closes) << message(closes);
  ASSERT_EQ(closes->size(), 250U);
  EXPECT_THAT((*closes)[0], ElementsAre(TimedClose{1'769'000'040, 3}));
  EXPECT_THAT((*closes)[4], ElementsAre(TimedClose{1'769'000'100, 404}, TimedClose{1'769'000'160, 405},
                                        TimedClose{1'769'000'220, 406}, TimedClose{1'769'000'280, 407}));
  EXPECT_THAT((*closes)[100], IsEmpty());
  EXPECT_TRUE(reader.last_closes(Interval::k1m, {}, 0).value().empty());
}

TEST_F(ReaderTest, FindsPairs) {
  CandleReader reader(options_);
  const auto all = reader.active_pairs(Interval::k1m, std::nullopt, 3);
  ASSERT_TRUE(all) << message(all);
  EXPECT_EQ(all->since, 1'769'000'040);
  ASSERT_EQ(all->pairs.size(), 3U);
  EXPECT_EQ(all->pairs[0].pair, "pair39");
  EXPECT_EQ(all->pairs[0].trades, 90);
  EXPECT_EQ(all->pairs[0].amount_usd.to_string(), "90.000000000000");
  EXPECT_EQ(all->pairs[0].last_price, 2932);
  EXPECT_EQ(all->pairs[0].last_trade, 1'769'000'040 + 29 * 60 + 5);
  const auto of_chain = reader.active_pairs(Interval::k1m, 56, 100);
  ASSERT_TRUE(of_chain) << message(of_chain);
  EXPECT_EQ(of_chain->pairs.size(), 15U);
  EXPECT_EQ(of_chain->pairs[0].pair, "pair38");
  EXPECT_TRUE(reader.active_pairs(Interval::k1d, std::nullopt, 3).value().pairs.empty());

  EXPECT_THAT(reader.find_chains_of("pair12", Interval::k1m).value(), ElementsAre(1, 56));
  EXPECT_THAT(reader.find_chains_of("pair99", Interval::k1m).value(), IsEmpty());
  EXPECT_EQ(reader.intervals().value(), kIntervals);
}

TEST_F(ReaderTest, FindsWhatWasWrittenLately) {
  run("UPDATE trade_kline_1m SET updated_at='2020-01-01 00:00:00' WHERE chain_id=56");
  run("UPDATE trade_kline_1m SET updated_at='2020-01-01 00:00:00' WHERE pair_address='pair39' AND "
      "candle_time<1769000100");
  CandleReader reader(options_);
  std::vector<PairName> seen;
  std::optional<PairName> after;
  while (true) {
    const auto page = reader.pairs_written_since(Interval::k1m, ::time(nullptr) - 3600, after, 4);
    ASSERT_TRUE(page) << message(page);
    if (page->empty()) break;
    EXPECT_LE(page->size(), 4U);
    seen.insert(seen.end(), page->begin(), page->end());
    after = seen.back();
  }
  ASSERT_EQ(seen.size(), 16U);
  EXPECT_EQ(seen[0], (PairName{1, "pair12"}));
  EXPECT_EQ(seen[15], (PairName{100'000, "pair39"}));
}

}  // namespace
}  // namespace klined
