#include "klined/aggregate/candle_book.hpp"

#include <gtest/gtest.h>

#include "klined/aggregate/pair_place.hpp"
#include "klined/codec/trade_decoder.hpp"

namespace klined {
namespace {

constexpr UnixSeconds kNoon = 1'700'049'600;  // 2023-11-15T12:00:00Z
constexpr ChainId kChain = 1;

Trade trade_at(UnixSeconds time, double price, std::string_view pair = "p") {
  static std::int64_t offset = 0;
  Trade trade;
  trade.position.block_time = time;
  trade.position.offset = offset++;
  trade.chain = kChain;
  trade.pair = pair;
  trade.pair_hash = hash_of_pair(kChain, pair);
  trade.pair_check = check_of_pair(kChain, pair);
  trade.price = price;
  trade.amount_usd = Decimal::from_units(1);
  return trade;
}

CandleBook::Options fresh(std::vector<Interval> intervals) { return {.intervals = std::move(intervals)}; }

void take(CandleBook& book, std::initializer_list<Trade> trades) {
  for (const Trade& trade : trades) ASSERT_TRUE(book.add(trade, trade.position.log));
  ASSERT_TRUE(book.end_batch());
}

CandleBook::PairChanges publish(CandleBook& book, UnixSeconds clock, std::uint64_t round = 1) {
  CandleBook::PairChanges changes;
  book.wake_changed();
  EXPECT_TRUE(book.next_change({{kChain, clock}}, changes));
  book.published(round, std::nullopt);
  return changes;
}

TEST(CandleBook, OneTradeIsACandleOfEveryInterval) {
  CandleBook book(fresh({Interval::k1m, Interval::k1h}));
  take(book, {trade_at(kNoon + 61, 5)});
  ASSERT_NE(book.find({kChain, "p", Interval::k1m, kNoon + 60}), nullptr);
  ASSERT_NE(book.find({kChain, "p", Interval::k1h, kNoon}), nullptr);
  EXPECT_EQ(book.find({kChain, "p", Interval::k1h, kNoon})->close, 5);
  EXPECT_EQ(publish(book, kNoon + 61).candles.size(), 2U);
  EXPECT_FALSE(book.has_changes());
  EXPECT_EQ(book.take_dirty(1).size(), 2U);
}

TEST(CandleBook, ACandleThatMayBeStoredWaitsForItsRow) {
  CandleBook book({.intervals = {Interval::k1m}, .stored_until = kNoon + 30});
  take(book, {trade_at(kNoon + 10, 5)});
  EXPECT_FALSE(book.has_changes());
  EXPECT_EQ(book.partial_count(), 1U);
  const std::vector<CandleKey> wanted = book.take_wanted_rows(10);
  ASSERT_EQ(wanted.size(), 1U);
  const Candle stored = Candle::of(trade_at(kNoon + 5, 9), {});
  ASSERT_TRUE(book.loaded(wanted[0], &stored));
  const std::vector<CandleRow> rows = book.take_dirty(1);
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0].candle.open, 9);
  EXPECT_EQ(rows[0].candle.close, 5);
  EXPECT_EQ(rows[0].candle.total_count(), 2);
}

TEST(CandleBook, ABucketAfterAllThatIsStoredNeedsNoRow) {
  CandleBook book({.intervals = {Interval::k1m}, .stored_until = kNoon + 30});
  take(book, {trade_at(kNoon + 60, 5)});
  EXPECT_EQ(book.partial_count(), 0U);
  EXPECT_TRUE(book.has_changes());
}

TEST(CandleBook, ClosesByTheClockAndSaysSoOnce) {
  CandleBook book(fresh({Interval::k1m}));
  take(book, {trade_at(kNoon, 5)});
  EXPECT_FALSE(publish(book, kNoon).candles[0].closed);
  book.close_until(kChain, kNoon + 61);
  EXPECT_FALSE(book.has_changes()) << "the grace is 2 s";
  book.close_until(kChain, kNoon + 62);
  EXPECT_TRUE(publish(book, kNoon + 62).candles[0].closed);
  book.close_until(kChain, kNoon + 100);
  EXPECT_FALSE(book.has_changes());
  take(book, {trade_at(kNoon + 1, 6)});
  EXPECT_TRUE(publish(book, kNoon + 100).candles[0].closed) << "a late trade publishes the closed candle again";
}

class CandleBookRests : public testing::Test {
 protected:
  std::string next() {
    CandleBook::PairChanges changes;
    return book_.next_change({{kChain, kNoon}}, changes) ? std::string(changes.pair) : "none";
  }
  // From at(0) to at(100).
  void publish_and_rest(const Trade& trade) {
    take(book_, {trade});
    book_.wake_changed();
    ASSERT_EQ(next(), "p");
    book_.published(1, at(100));
  }
  static Instant at(int ms) { return Instant(std::chrono::seconds(1000)) + Milliseconds(ms); }

  CandleBook book_{fresh({Interval::k1m})};
};

TEST_F(CandleBookRests, TheFirstChangeIsDueAtTheSecondTick) {
  book_.wake(at(0));
  take(book_, {trade_at(kNoon, 5)});
  EXPECT_EQ(next(), "none");
  book_.wake(at(20));
  take(book_, {trade_at(kNoon, 5, "q")});
  EXPECT_EQ(next(), "none");
  EXPECT_TRUE(book_.has_changes());
  book_.wake(at(40));
  EXPECT_EQ(next(), "p");
  book_.published(1, at(140));
  EXPECT_EQ(next(), "none");
  book_.wake(at(60));
  EXPECT_EQ(next(), "q");
  book_.published(2, at(160));
  EXPECT_FALSE(book_.has_changes());
}

TEST_F(CandleBookRests, WhatWasPublishedRestsAndTheOthersDoNotWait) {
  publish_and_rest(trade_at(kNoon, 5));
  take(book_, {trade_at(kNoon + 1, 6), trade_at(kNoon + 1, 7, "q")});
  book_.wake(at(20));
  book_.wake(at(40));
  EXPECT_EQ(next(), "q");
  book_.published(2, at(140));
  book_.wake(at(99));
  EXPECT_EQ(next(), "none");
  EXPECT_TRUE(book_.has_changes());
  book_.wake(at(100));
  EXPECT_EQ(next(), "p") << "a pair that has rested does not wait for a second tick";
  book_.published(3, at(200));
  EXPECT_FALSE(book_.has_changes());
}

TEST_F(CandleBookRests, AllThatChangedCanBeHadAtOnceAndNoRestBeginsOrEndsWithIt) {
  publish_and_rest(trade_at(kNoon, 5));
  take(book_, {trade_at(kNoon + 1, 6), trade_at(kNoon + 1, 7, "q")});
  book_.wake_changed();
  EXPECT_EQ(next(), "q");
  book_.published(2, std::nullopt);
  EXPECT_EQ(next(), "p");
  book_.wake(at(20));  // before p is taken
  EXPECT_EQ(next(), "p");
  book_.published(3, std::nullopt);
  EXPECT_EQ(next(), "none");
  EXPECT_FALSE(book_.has_changes());

  take(book_, {trade_at(kNoon + 2, 6), trade_at(kNoon + 2, 7, "q")});
  book_.wake(at(40));
  book_.wake(at(60));
  EXPECT_EQ(next(), "q") << "it does not rest";
  book_.published(4, at(160));
  EXPECT_EQ(next(), "none") << "p rests as before";
  book_.wake(at(100));
  EXPECT_EQ(next(), "p");
}

TEST_F(CandleBookRests, APairThatIsDueWhenItsRestEndsIsThereOnce) {
  publish_and_rest(trade_at(kNoon, 5));
  take(book_, {trade_at(kNoon + 1, 6)});
  book_.wake_changed();
  book_.wake(at(100));
  EXPECT_EQ(next(), "p");
  book_.published(2, at(200));
  EXPECT_EQ(next(), "none");
  EXPECT_FALSE(book_.has_changes());
}

TEST_F(CandleBookRests, APairThatRestsIsNotDropped) {
  take(book_, {trade_at(kNoon, 5)});
  book_.close_until(kChain, kNoon + 200);
  book_.wake_changed();
  ASSERT_EQ(next(), "p");
  book_.published(1, at(100));
  book_.take_dirty(1);
  book_.evict({1, 1}, {{kChain, kNoon + 200}}, 10, 10);
  EXPECT_EQ(book_.candle_count(), 0U);
  EXPECT_EQ(book_.pair_count(), 1U);
  book_.wake(at(100));
  book_.evict({1, 1}, {{kChain, kNoon + 200}}, 10, 10);
  EXPECT_EQ(book_.pair_count(), 0U);
}

TEST(CandleBook, EvictsWhatIsClosedStoredAndDeliveredAndLoadsItBack) {
  CandleBook book(fresh({Interval::k1m}));
  take(book, {trade_at(kNoon, 5)});
  book.close_until(kChain, kNoon + 200);
  publish(book, kNoon + 200, 7);
  book.take_dirty(3);
  const ChainClocks clocks = {{kChain, kNoon + 200}};
  book.evict({.snapshot = 2, .round = 7}, clocks, 120, 10);
  EXPECT_EQ(book.candle_count(), 1U) << "not committed";
  book.evict({.snapshot = 3, .round = 6}, clocks, 120, 10);
  EXPECT_EQ(book.candle_count(), 1U) << "not delivered";
  book.evict({.snapshot = 3, .round = 7}, clocks, 120, 10);
  EXPECT_EQ(book.candle_count(), 0U);
  EXPECT_EQ(book.pair_count(), 0U);
  take(book, {trade_at(kNoon + 1, 6)});
  EXPECT_EQ(book.take_wanted_rows(10).size(), 1U) << "a late trade asks for the row";
}

TEST(CandleBook, UnderPressureOpenCandlesOfIdlePairsGo) {
  CandleBook book(fresh({Interval::k1d}));
  take(book, {trade_at(kNoon, 5)});
  publish(book, kNoon, 1);
  book.take_dirty(1);
  const ChainClocks clocks = {{kChain, kNoon}};
  book.shrink({.snapshot = 1, .round = 1}, clocks, 120, 0);
  EXPECT_EQ(book.candle_count(), 1U) << "the pair had a trade since the last visit";
  book.shrink({.snapshot = 1, .round = 1}, clocks, 120, 1'000'000);
  EXPECT_EQ(book.candle_count(), 1U) << "memory is no larger than that";
  book.shrink({.snapshot = 1, .round = 1}, clocks, 120, 0);
  EXPECT_EQ(book.candle_count(), 0U);
  const auto evicted = book.take_evicted_open();
  ASSERT_EQ(evicted.size(), 1U);
  EXPECT_EQ(evicted[0].first, Interval::k1d);
}

TEST(CandleBook, FluctuationLooksAtTheLastCloseBeforeTheWindow) {
  CandleBook book(fresh({Interval::k1m, Interval::k15m}));
  take(book, {trade_at(kNoon, 100), trade_at(kNoon + 300, 110), trade_at(kNoon + 360, 121)});
  const Fluctuation f = publish(book, kNoon + 360).fluctuation.value();
  EXPECT_DOUBLE_EQ(f.over_1m, (121.0 - 100) / 100) << "at 12:05 the 12:05 candle had not ended";
  EXPECT_DOUBLE_EQ(f.over_5m, (121.0 - 100) / 100);
  EXPECT_EQ(f.over_15m, 0) << "nothing is that old";
  EXPECT_EQ(f.over_4h, 0);
}

TEST(CandleBook, FluctuationIsCapped) {
  CandleBook book(fresh({Interval::k1m}));
  take(book, {trade_at(kNoon, 1e-9), trade_at(kNoon + 120, 5)});
  EXPECT_EQ(publish(book, kNoon + 120).fluctuation->over_1m, 999.99);
}

TEST(CandleBook, ASumThatDoesNotFitStopsTheJobAndNamesTheCandle) {
  CandleBook book(fresh({Interval::k1m}));
  for (int batch = 0; batch < 2; ++batch) {
    Trade trade = trade_at(kNoon, 1, "TheBigPair");
    trade.volume_token = Decimal::from_units(Decimal::kLimit / 10 * 6);
    ASSERT_TRUE(book.add(trade, trade.position.log));
    const Status status = book.end_batch();
    ASSERT_EQ(status.has_value(), batch == 0);
    if (!status) {
      EXPECT_NE(status.error().message.find("TheBigPair"), std::string::npos);
    }
  }
}

TEST(CandleBook, APairBelongsToOnePartition) {
  CandleBook::Options options = fresh({Interval::k1m});
  options.pair_topics = {"a", "b"};
  CandleBook book(options);
  ASSERT_TRUE(book.add(trade_at(kNoon, 1, "p"), LogId(1, 3)));
  ASSERT_TRUE(book.add(trade_at(kNoon, 1, "q"), LogId(1, 4)));
  ASSERT_TRUE(book.add(trade_at(kNoon, 1, "p"), LogId(1, 3)));
  ASSERT_TRUE(book.end_batch());
  EXPECT_EQ(book.take_new_places(), (std::vector<PairPlace>{{kChain, "p", "b", 3}, {kChain, "q", "b", 4}}));
  EXPECT_TRUE(book.take_new_places().empty());
  const Status refused = book.add(trade_at(kNoon, 1, "p"), LogId(0, 3));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::kFatal);
  EXPECT_NE(refused.error().message.find("pair p of chain 1 is on two partitions: b[3] and now a[3]"),
            std::string::npos)
      << refused.error().message;
}

// What `klined route` could not use under other settings lies by its place.
TEST(CandleBook, APairOnTwoPartitionsOfARoutedTopic) {
  CandleBook::Options options = fresh({Interval::k1m});
  options.pair_topics = {"a", "a-by-pair"};
  CandleBook book(options);
  ASSERT_TRUE(book.add(trade_at(kNoon, 1, "p"), LogId(1, 3)));
  const Status refused = book.add(trade_at(kNoon, 1, "p"), LogId(1, 4));
  ASSERT_FALSE(refused);
  const std::string& message = refused.error().message;
  EXPECT_NE(message.find("a-by-pair[3] and now a-by-pair[4]"), std::string::npos) << message;
  EXPECT_NE(message.find("input.max_future or chains"), std::string::npos) << message;
  EXPECT_NE(message.find("route it anew"), std::string::npos) << message;
  EXPECT_EQ(misplaced_pair({1, "p", "a-by-pair", 4}, "a", 3).message.find("route it anew"), std::string::npos);
}

}  // namespace
}  // namespace klined
