// Buckets tile time, and those of the common span nest in all others, on the whole calendar.
#include "klined/core/interval.hpp"

#include <algorithm>
#include <chrono>

#include <gtest/gtest.h>

#include "property/random_trades.hpp"

namespace klined {
namespace {

constexpr UnixSeconds kDay = 86400;

TEST(IntervalProperty, BucketsTileTime) {
  Random random(1);
  for (const Interval interval : kAllIntervals) {
    for (int i = 0; i < 3000; ++i) {
      const UnixSeconds time = i == 0 ? 0 : random.between(0, random.chance(50) ? kMaxBlockTime : 4'000'000'000);
      SCOPED_TRACE(testing::Message() << name_of(interval) << " at " << time);
      const Bucket bucket = bucket_of(interval, time);
      ASSERT_LE(bucket.begin, time);
      ASSERT_LT(time, bucket.end);
      // Each of its seconds has this bucket, and its neighbours meet it without gap or overlap.
      if (bucket.begin >= 0) {
        ASSERT_EQ(bucket_of(interval, bucket.begin), bucket);
      }
      if (bucket.end - 1 <= kMaxBlockTime) {
        ASSERT_EQ(bucket_of(interval, bucket.end - 1), bucket);
      }
      if (bucket.begin > 0) {
        ASSERT_EQ(bucket_of(interval, bucket.begin - 1).end, bucket.begin);
      }
      if (bucket.end <= kMaxBlockTime) {
        ASSERT_EQ(bucket_of(interval, bucket.end).begin, bucket.end);
      }
      const UnixSeconds inside =
          random.between(std::max<UnixSeconds>(bucket.begin, 0), std::min(bucket.end - 1, kMaxBlockTime));
      ASSERT_EQ(bucket_of(interval, inside), bucket);
    }
  }
}

// Weeks by the weekday of their first day, months by the day of the month: both by the calendar of <chrono>.
TEST(IntervalProperty, WeeksAndMonthsFollowTheCalendar) {
  using namespace std::chrono;
  for (UnixSeconds day = 0; day < 150'000 * kDay; day += kDay) {
    const Bucket week = bucket_of(Interval::k1w, day);
    ASSERT_EQ(weekday(sys_days(days(week.begin / kDay))), Monday) << day;
    ASSERT_EQ(week.end - week.begin, 7 * kDay) << day;
    const Bucket month = bucket_of(Interval::k1M, day);
    const year_month_day first(sys_days(days(month.begin / kDay)));
    const year_month_day today(sys_days(days(day / kDay)));
    ASSERT_EQ(first, today.year() / today.month() / 1) << day;
    ASSERT_EQ(month.end - month.begin, static_cast<unsigned>((today.year() / today.month() / last).day()) * kDay)
        << day;
  }
}

TEST(IntervalProperty, EachMultipleNests) {
  const auto nests = [](Interval inner, Interval outer, UnixSeconds time) {
    const Bucket a = bucket_of(inner, time);
    const Bucket b = bucket_of(outer, time);
    return b.begin <= a.begin && a.end <= b.end;
  };
  Random random(2);
  for (int i = 0; i < 20'000; ++i) {
    const UnixSeconds time = random.between(0, kMaxBlockTime);
    for (const Interval outer :
         {Interval::k5m, Interval::k15m, Interval::k1h, Interval::k4h, Interval::k12h, Interval::k1d}) {
      ASSERT_TRUE(nests(Interval::k1m, outer, time)) << name_of(outer) << " at " << time;
    }
    for (const Interval outer : {Interval::k3d, Interval::k1w, Interval::k1M}) {
      ASSERT_TRUE(nests(Interval::k1d, outer, time)) << name_of(outer) << " at " << time;
    }
  }
}

TEST(IntervalProperty, TheCommonSpanNestsInEveryGivenInterval) {
  for (std::uint64_t seed = 1; seed <= 2000; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Random random(seed);
    std::vector<Interval> intervals(kAllIntervals.begin(), kAllIntervals.end());
    std::ranges::shuffle(intervals, random.engine());
    intervals.resize(static_cast<std::size_t>(random.between(1, 6)));
    const std::int64_t span = common_span(intervals);
    for (int i = 0; i < 20; ++i) {
      const UnixSeconds begin = random.between(0, 5'000'000'000) / span * span;
      for (const Interval interval : intervals) {
        ASSERT_EQ(bucket_of(interval, begin), bucket_of(interval, begin + span - 1))
            << name_of(interval) << " at " << begin;
      }
    }
  }
}

}  // namespace
}  // namespace klined
