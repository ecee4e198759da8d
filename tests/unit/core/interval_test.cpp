// Buckets on the calendar: hand-computed examples (each checked with `date -u`).
#include "klined/core/interval.hpp"

#include <algorithm>
#include <cctype>

#include <gtest/gtest.h>

namespace klined {
namespace {

constexpr UnixSeconds kDay = 86400;

TEST(IntervalTest, NamesAndTables) {
  for (const Interval interval : kAllIntervals) EXPECT_EQ(interval_of(name_of(interval)), interval);
  EXPECT_EQ(interval_of("24h"), Interval::k1d);
  EXPECT_EQ(name_of(Interval::k1M), "1M");
  EXPECT_EQ(table_of(Interval::k1M), "trade_kline_1mo");
  EXPECT_EQ(table_of(Interval::k1m), "trade_kline_1m");
  for (const char* name : {"", "1", "m", "1H", "2m", "60m", "1W", "1mo", " 1m", "1m "}) {
    EXPECT_FALSE(interval_of(name)) << name;
  }
}

TEST(IntervalTest, TablesDifferEvenWhereCaseIsIgnored) {
  for (const Interval a : kAllIntervals) {
    for (const Interval b : kAllIntervals) {
      if (a == b) continue;
      const auto lower = [](unsigned char c) { return std::tolower(c); };
      EXPECT_FALSE(std::ranges::equal(table_of(a), table_of(b), {}, lower, lower)) << table_of(a);
    }
  }
}

TEST(IntervalTest, PlainIntervalsCountFromTheEpoch) {
  const UnixSeconds time = 1748779259;  // 2025-06-01T12:00:59Z, a Sunday
  EXPECT_EQ(bucket_of(Interval::k1s, time), (Bucket{time, time + 1}));
  EXPECT_EQ(bucket_of(Interval::k1m, time), (Bucket{1748779200, 1748779260}));
  EXPECT_EQ(bucket_of(Interval::k1m, time + 1), (Bucket{1748779260, 1748779320}));
  EXPECT_EQ(bucket_of(Interval::k4h, time), (Bucket{1748779200, 1748793600}));
  EXPECT_EQ(bucket_of(Interval::k8h, time), (Bucket{1748764800, 1748793600}));
  EXPECT_EQ(bucket_of(Interval::k1d, time), (Bucket{1748736000, 1748822400}));
  EXPECT_EQ(bucket_of(Interval::k3d, 0), (Bucket{0, 3 * kDay}));
  EXPECT_EQ(bucket_of(Interval::k3d, time), (Bucket{1748563200, 1748822400}));  // days 20238 to 20240
}

TEST(IntervalTest, WeeksStartOnMonday) {
  EXPECT_EQ(bucket_of(Interval::k1w, 0), (Bucket{-3 * kDay, 4 * kDay}));  // Thursday 1970-01-01 -> Monday 1969-12-29
  EXPECT_EQ(bucket_of(Interval::k1w, 4 * kDay - 1), (Bucket{-3 * kDay, 4 * kDay}));
  EXPECT_EQ(bucket_of(Interval::k1w, 4 * kDay), (Bucket{4 * kDay, 11 * kDay}));  // Monday 1970-01-05
  const UnixSeconds monday = 1748822400;                                         // 2025-06-02T00:00:00Z
  EXPECT_EQ(bucket_of(Interval::k1w, monday - 1), (Bucket{monday - 7 * kDay, monday}));
  EXPECT_EQ(bucket_of(Interval::k1w, monday), (Bucket{monday, monday + 7 * kDay}));
}

TEST(IntervalTest, MonthsAreCalendarMonths) {
  EXPECT_EQ(bucket_of(Interval::k1M, 0), (Bucket{0, 31 * kDay}));
  const UnixSeconds february_2024 = 1706745600;  // a leap year
  EXPECT_EQ(bucket_of(Interval::k1M, february_2024), (Bucket{february_2024, february_2024 + 29 * kDay}));
  EXPECT_EQ(bucket_of(Interval::k1M, february_2024 + 28 * kDay), (Bucket{february_2024, february_2024 + 29 * kDay}));
  EXPECT_EQ(bucket_of(Interval::k1M, february_2024 - 1), (Bucket{february_2024 - 31 * kDay, february_2024}));
  const UnixSeconds february_2023 = 1675209600;
  EXPECT_EQ(bucket_of(Interval::k1M, february_2023), (Bucket{february_2023, february_2023 + 28 * kDay}));
  const UnixSeconds february_2100 = 4105123200;  // divisible by 100, not by 400: no leap year
  EXPECT_EQ(bucket_of(Interval::k1M, february_2100), (Bucket{february_2100, february_2100 + 28 * kDay}));
  const UnixSeconds february_2000 = 949363200;  // divisible by 400: a leap year
  EXPECT_EQ(bucket_of(Interval::k1M, february_2000), (Bucket{february_2000, february_2000 + 29 * kDay}));
  const UnixSeconds new_year_2025 = 1735689600;
  EXPECT_EQ(bucket_of(Interval::k1M, new_year_2025 - 1), (Bucket{new_year_2025 - 31 * kDay, new_year_2025}));
  EXPECT_EQ(bucket_of(Interval::k1M, new_year_2025).begin, new_year_2025);
}

TEST(IntervalTest, TheLastSecondHasBuckets) {
  for (const Interval interval : kAllIntervals) {
    const Bucket bucket = bucket_of(interval, kMaxBlockTime);
    EXPECT_LE(bucket.begin, kMaxBlockTime);
    EXPECT_GT(bucket.end, kMaxBlockTime);
  }
  EXPECT_EQ(bucket_of(Interval::k1M, kMaxBlockTime).end, kMaxBlockTime + 1);
}

TEST(IntervalTest, ACandleClosesWhenItsBucketHasEndedAndTheGraceIsOver) {
  EXPECT_EQ(closing_time(Interval::k1m, 120, 2), 182);
  EXPECT_EQ(closing_time(Interval::k1M, 0, 3600), 31 * 86'400 + 3600);
  const UnixSeconds before_1970 = bucket_of(Interval::k1w, 0).begin;
  ASSERT_LT(before_1970, 0);
  EXPECT_EQ(closing_time(Interval::k1w, before_1970, 1), before_1970 + 7 * 86'400 + 1);
}

TEST(IntervalDeathTest, TimesOutsideOfTheCalendarAreABug) {
  EXPECT_DEATH(bucket_of(Interval::k1m, -1), "1970 to 9999");
  EXPECT_DEATH(bucket_of(Interval::k1m, kMaxBlockTime + 1), "1970 to 9999");
}

TEST(IntervalTest, CommonSpan) {
  using I = Interval;
  const auto span = [](std::initializer_list<Interval> intervals) {
    return common_span({intervals.begin(), intervals.size()});
  };
  EXPECT_EQ(span({I::k1m, I::k5m, I::k1h}), 60);
  EXPECT_EQ(span({I::k1w, I::k1M}), kDay);
  EXPECT_EQ(span({I::k3d}), 3 * kDay);
  EXPECT_EQ(span({I::k3d, I::k1w}), kDay);
  EXPECT_EQ(span({I::k8h, I::k12h}), 4 * 3600);
  EXPECT_EQ(span({I::k3m, I::k5m}), 60);
  EXPECT_EQ(span({I::k1s, I::k1M}), 1);
  EXPECT_EQ(common_span(kAllIntervals), 1);
}

}  // namespace
}  // namespace klined
