// What people read: numbers, tables, and gaps that are filled.
#include "klined/app/candle_table.hpp"

#include <algorithm>

#include <gmock/gmock.h>

namespace klined::app {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr UnixSeconds kMidnight = 1'769'817'600;  // 2026-01-31

Candle candle_at(UnixSeconds time, double open, double close) {
  Candle candle;
  candle.open = open;
  candle.close = close;
  candle.high = std::max(open, close);
  candle.low = std::min(open, close);
  candle.mcap_close = 7;
  candle.amount_usd = Decimal::parse_amount("1234567.899").value();
  candle.volume_token = Decimal::parse_amount("10.5").value();
  candle.buy_count = 1;
  candle.open_at = time;
  candle.last.block_time = time;
  return candle;
}

KlineView view_of(const Candle& candle, UnixSeconds time, bool closed = true) {
  return {100000, "PairAAA", Interval::k1m, time, &candle, closed};
}

std::vector<UnixSeconds> times_of(const std::vector<KlineView>& views) {
  std::vector<UnixSeconds> times;
  for (const KlineView& view : views) times.push_back(view.time);
  return times;
}

TEST(Numbers, PricesHaveSixDigits) {
  EXPECT_EQ(print_price(0), "0");
  EXPECT_EQ(print_price(1), "1.00000");
  EXPECT_EQ(print_price(1.23456789e-7), "0.000000123457");
  EXPECT_EQ(print_price(67123.456), "67,123.5");
  EXPECT_EQ(print_price(1234567.89), "1,234,568");
  EXPECT_EQ(print_price(1.5e-20), "1.50000e-20");
}

TEST(Numbers, AmountsAreCutToTwoPlaces) {
  EXPECT_EQ(print_amount(Decimal::parse_amount("1234567.899").value()), "1,234,567.89");
  EXPECT_EQ(print_amount(Decimal()), "0.00");
  EXPECT_EQ(print_amount(Decimal::parse_amount("999.5").value()), "999.50");
}

TEST(Numbers, CountsHaveThousands) {
  EXPECT_EQ(print_count(0), "0");
  EXPECT_EQ(print_count(999), "999");
  EXPECT_EQ(print_count(1'000), "1,000");
  EXPECT_EQ(print_count(1'234'567), "1,234,567");
}

TEST(Numbers, TimesAreUtc) {
  EXPECT_EQ(print_utc(0), "1970-01-01 00:00:00");
  EXPECT_EQ(print_utc(-259'200), "1969-12-29 00:00:00");
  EXPECT_EQ(print_utc(1'709'251'199), "2024-02-29 23:59:59");
}

TEST(Table, ColumnsAreAligned) {
  const Candle up = candle_at(kMidnight, 1, 1.5);
  const Candle down = candle_at(kMidnight + 60, 12.5, 10);
  const std::vector<KlineView> views = {view_of(up, kMidnight), view_of(down, kMidnight + 60, false)};
  std::string out;
  append_table(views, false, out);
  EXPECT_EQ(
      out,
      "PairAAA  1m  chain 100000\n"
      "           time (UTC)     open     high      low    close   change    volume USD  tokens  trades  buys  sells"
      "  market cap\n"
      "  2026-01-31 00:00:00  1.00000  1.50000  1.00000  1.50000  +50.00%  1,234,567.89   10.50       1     1      0"
      "           -\n"
      "  2026-01-31 00:01:00  12.5000  12.5000  10.0000  10.0000  -20.00%  1,234,567.89   10.50       1     1      0"
      "           -  open\n");
}

TEST(Table, ColoursOnlyWhereAsked) {
  const Candle up = candle_at(kMidnight, 1, 2);
  const Candle down = candle_at(kMidnight, 2, 1);
  const std::vector<KlineView> views = {view_of(up, kMidnight), view_of(down, kMidnight + 60)};
  std::string coloured;
  append_table(views, true, coloured);
  EXPECT_THAT(coloured, HasSubstr("\x1b[32m  2026-01-31 00:00:00"));
  EXPECT_THAT(coloured, HasSubstr("\x1b[31m  2026-01-31 00:01:00"));
  std::string plain;
  append_table(views, false, plain);
  EXPECT_THAT(plain, Not(HasSubstr("\x1b")));
}

TEST(Table, SeriesHaveHeadingsOfTheirOwn) {
  const Candle candle = candle_at(kMidnight, 1, 2);
  std::vector<KlineView> views = {view_of(candle, kMidnight), view_of(candle, kMidnight)};
  views[1].pair = "PairBBB";
  std::string out;
  append_candles(views, OutputFormat::kTable, false, out);
  EXPECT_THAT(out, HasSubstr("PairAAA  1m  chain 100000\n"));
  EXPECT_THAT(out, HasSubstr("\n\nPairBBB  1m  chain 100000\n"));
}

TEST(Formats, JsonIsALineACandleAndCsvHasAHeader) {
  const Candle candle = candle_at(kMidnight, 1, 2);
  const std::vector<KlineView> views = {view_of(candle, kMidnight), view_of(candle, kMidnight + 60)};
  std::string json;
  append_candles(views, OutputFormat::kJson, false, json);
  EXPECT_EQ(std::ranges::count(json, '\n'), 2);
  EXPECT_TRUE(json.starts_with("{\"chain_id\":100000,"));
  std::string csv;
  append_candles(views, OutputFormat::kCsv, false, csv);
  EXPECT_EQ(std::ranges::count(csv, '\n'), 3);
  EXPECT_TRUE(csv.starts_with("chain_id,"));
}

TEST(FillGaps, FlatCandlesStandBetweenAndAfter) {
  const Candle first = candle_at(kMidnight + 5, 1, 2);
  const Candle second = candle_at(kMidnight + 185, 3, 4);
  const std::vector<KlineView> views = {view_of(first, kMidnight), view_of(second, kMidnight + 180)};
  std::deque<Candle> flat;
  const auto filled = fill_gaps(views, kMidnight, kMidnight + 300, 100, flat);
  ASSERT_TRUE(filled.has_value());
  EXPECT_THAT(times_of(*filled),
              ElementsAre(kMidnight, kMidnight + 60, kMidnight + 120, kMidnight + 180, kMidnight + 240));
  const Candle& gap = *(*filled)[1].candle;
  EXPECT_EQ(gap.open, 2);
  EXPECT_EQ(gap.high, 2);
  EXPECT_EQ(gap.low, 2);
  EXPECT_EQ(gap.close, 2);
  EXPECT_EQ(gap.mcap_open, 7);
  EXPECT_TRUE(gap.amount_usd.is_zero());
  EXPECT_EQ(gap.total_count(), 0);
  EXPECT_EQ((*filled)[4].candle->close, 4);
}

TEST(FillGaps, TheCandleBeforeGivesTheFirstPrice) {
  const Candle before = candle_at(kMidnight - 3'600, 1, 2);
  const Candle inside = candle_at(kMidnight + 65, 3, 4);
  const std::vector<KlineView> views = {view_of(before, kMidnight - 3'600), view_of(inside, kMidnight + 60)};
  std::deque<Candle> flat;
  const auto filled = fill_gaps(views, kMidnight, kMidnight + 120, 100, flat);
  ASSERT_TRUE(filled.has_value());
  EXPECT_THAT(times_of(*filled), ElementsAre(kMidnight, kMidnight + 60));
  EXPECT_EQ((*filled)[0].candle->close, 2);
}

TEST(FillGaps, BucketsFollowTheCalendar) {
  const Candle january = candle_at(kMidnight, 1, 2);
  KlineView view = view_of(january, 1'767'225'600);
  view.interval = Interval::k1M;
  std::deque<Candle> flat;
  const auto filled = fill_gaps(std::vector{view}, 0, 1'775'001'600, 100, flat);  // up to April
  ASSERT_TRUE(filled.has_value());
  EXPECT_THAT(times_of(*filled), ElementsAre(1'767'225'600, 1'769'904'000, 1'772'323'200));
}

TEST(FillGaps, NothingWithoutCandlesAndNothingBeyondTheLimit) {
  std::deque<Candle> flat;
  EXPECT_TRUE(fill_gaps({}, 0, kMidnight, 10, flat)->empty());
  const Candle candle = candle_at(0, 1, 2);
  EXPECT_EQ(fill_gaps(std::vector{view_of(candle, 0)}, 0, kMidnight, 10, flat), std::nullopt);
}

}  // namespace
}  // namespace klined::app
