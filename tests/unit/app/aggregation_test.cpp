// Files to candles: outcomes are counted as in the stream, and every refusal says where and why.
#include "klined/app/aggregation.hpp"

#include <filesystem>
#include <fstream>

#include <unistd.h>

#include <fmt/format.h>
#include <gmock/gmock.h>

namespace klined::app {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr UnixSeconds kMidnight = 1'769'817'600;  // 2026-01-31

std::string trade(UnixSeconds time, std::string_view hash, double price, std::string_view more = "") {
  return fmt::format(R"({{"slot":1,"block_time":{},"chain_id_int":1,"pair_addr":"P","tx_hash":"{}","type":"buy",)"
                     R"("token_amount":"2","token_price_usd":{},"total_usd":3{}}})",
                     time, hash, price, more);
}

class AggregationTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string path = std::filesystem::temp_directory_path() / "klined_aggregation_XXXXXX";
    ASSERT_NE(mkdtemp(path.data()), nullptr);
    folder_ = path;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  Status read(Aggregation& aggregation, const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name) << text;
    Result<TradeFile> file = TradeFile::open(folder_ / name);
    EXPECT_TRUE(file.has_value()) << file.error().message;
    return aggregation.read(*file);
  }

  std::filesystem::path folder_;
};

Aggregation::Options options(std::vector<Interval> intervals = {Interval::k1m}) {
  Aggregation::Options made;
  made.intervals = std::move(intervals);
  made.chains = {1};
  return made;
}

TEST_F(AggregationTest, MakesCandlesInOrder) {
  Aggregation aggregation(options({Interval::k1m, Interval::k1w}));
  ASSERT_TRUE(read(aggregation, "a.jsonl",
                   "[" + trade(kMidnight + 61, "b", 5) + "," + trade(kMidnight + 1, "a", 4) + "]\n" +
                       trade(kMidnight + 2, "c", 6) + "\n"));
  const std::vector<CandleRow> rows = aggregation.finish();
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(rows[0].key, (CandleKey{1, "P", Interval::k1m, kMidnight}));
  EXPECT_EQ(rows[0].candle.open, 4);
  EXPECT_EQ(rows[0].candle.close, 6);
  EXPECT_EQ(rows[0].candle.amount_usd.to_string(), "6.000000000000");
  EXPECT_EQ(rows[1].key, (CandleKey{1, "P", Interval::k1m, kMidnight + 60}));
  EXPECT_EQ(rows[2].key.interval, Interval::k1w);
  EXPECT_EQ(rows[2].candle.total_count(), 3);
  EXPECT_EQ(rows[2].candle.close, 5);
  // The clock stands at 61 s: the first minute and its grace are not over before 62 s.
  EXPECT_FALSE(aggregation.is_closed(rows[0].key));
}

TEST_F(AggregationTest, ClosesByTheChainsClock) {
  Aggregation aggregation(options());
  ASSERT_TRUE(read(aggregation, "a.jsonl", trade(kMidnight, "a", 4) + "\n" + trade(kMidnight + 62, "b", 4)));
  const std::vector<CandleRow> rows = aggregation.finish();
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_TRUE(aggregation.is_closed(rows[0].key));
  EXPECT_FALSE(aggregation.is_closed(rows[1].key));
}

TEST_F(AggregationTest, EveryTradeEndsInOneOutcome) {
  Aggregation aggregation(options());
  const std::string text = trade(kMidnight, "a", 4) + "\n" +                         // applied
                           trade(kMidnight, "a", 4) + "\n" +                         // duplicate
                           trade(kMidnight, "b", 0) + "\n" +                         // no_price
                           trade(kMidnight, "c", 1, R"(,"type":"create")") + "\n" +  // ignored: the last key counts
                           trade(kMidnight, "d", 1, R"(,"mcap":-1)") + "\n" +        // invalid
                           "no json\n" +                                             // invalid
                           trade(kMidnight - 604'801, "e", 1) + "\n" +               // late
                           trade(300'000'000'000, "f", 1) + "\n";                    // future: beyond the calendar
  ASSERT_TRUE(read(aggregation, "a.jsonl", text));
  const Ledger& ledger = aggregation.ledger();
  EXPECT_EQ(ledger[Outcome::kApplied], 1);
  EXPECT_EQ(ledger[Outcome::kDuplicate], 1);
  EXPECT_EQ(ledger[Outcome::kNoPrice], 1);
  EXPECT_EQ(ledger[Outcome::kIgnored], 1);
  EXPECT_EQ(ledger[Outcome::kInvalid], 2);
  EXPECT_EQ(ledger[Outcome::kLate], 1);
  EXPECT_EQ(ledger[Outcome::kFuture], 1);
  EXPECT_EQ(ledger.read(), 8);
  EXPECT_THAT(aggregation.reasons(Outcome::kDuplicate), ElementsAre(HasSubstr("a.jsonl:2: trade 0: seen before")));
  EXPECT_THAT(aggregation.reasons(Outcome::kInvalid),
              ElementsAre(HasSubstr("a.jsonl:5: trade 0: "), HasSubstr("a.jsonl:6: ")));
  EXPECT_THAT(aggregation.reasons(Outcome::kLate), ElementsAre(HasSubstr("604801 s behind")));
}

TEST_F(AggregationTest, EachFileHasADedupeMemoryOfItsOwn) {
  Aggregation aggregation(options());
  ASSERT_TRUE(read(aggregation, "a.jsonl", trade(kMidnight, "a", 4)));
  ASSERT_TRUE(read(aggregation, "b.jsonl", trade(kMidnight, "a", 4)));
  EXPECT_EQ(aggregation.ledger()[Outcome::kApplied], 2);
}

TEST_F(AggregationTest, AnotherPairMakesNoCandlesButIsCounted) {
  Aggregation::Options only = options();
  only.pair = "Q";
  Aggregation aggregation(std::move(only));
  ASSERT_TRUE(
      read(aggregation, "a.jsonl", trade(kMidnight, "a", 4) + "\n" + trade(kMidnight, "b", 4, R"(,"pair_addr":"Q")")));
  EXPECT_EQ(aggregation.ledger()[Outcome::kApplied], 2);
  const std::vector<CandleRow> rows = aggregation.finish();
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0].key.pair, "Q");
}

TEST_F(AggregationTest, BatchesOfLinesDoNotMatter) {
  std::string text;
  for (int i = 0; i < 1'000; ++i) text += trade(kMidnight + i, fmt::format("h{}", i), 1 + i) + "\n";
  Aggregation aggregation(options({Interval::k1h}));
  ASSERT_TRUE(read(aggregation, "a.jsonl", text));
  const std::vector<CandleRow> rows = aggregation.finish();
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0].candle.total_count(), 1'000);
  EXPECT_EQ(rows[0].candle.open, 1);
  EXPECT_EQ(rows[0].candle.close, 1'000);
}

}  // namespace
}  // namespace klined::app
