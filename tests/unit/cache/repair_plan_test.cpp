#include "klined/cache/repair_plan.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "klined/cache/redis_layout.hpp"
#include "klined/codec/kline_encoder.hpp"

namespace klined {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;
using testing::UnorderedElementsAre;

const SeriesName kSeries{100000, "So11:1112", Interval::k1m};

CandleRow row_of(UnixSeconds time, std::int64_t revision, double price = 1.5) {
  CandleRow row;
  row.key = CandleKey{kSeries.chain, kSeries.pair, kSeries.interval, time};
  row.candle.open = row.candle.high = row.candle.low = row.candle.close = price;
  row.candle.buy_count = revision;
  return row;
}

std::string value_of(UnixSeconds time, std::int64_t revision, bool closed = false, double price = 1.5) {
  const CandleRow row = row_of(time, revision, price);
  return encode_kline({row.key.chain, row.key.pair, row.key.interval, time, &row.candle, closed});
}

// A hash in memory: plans are made for it, and carried out.
class RepairPlanTest : public testing::Test {
 protected:
  RepairPlan plan(const Doubts& doubts_before = {}) const {
    std::vector<StoredField> fields;
    for (const auto& [name, value] : hash_) fields.push_back({name, value});
    return plan_repair(kSeries, rows_, fields, rules_, doubts_before);
  }
  void repair(const Doubts& doubts_before = {}) {
    const RepairPlan planned = plan(doubts_before);
    for (const auto& write : planned.writes) hash_[std::to_string(write.time)] = write.value;
    for (const auto& name : planned.removals) EXPECT_EQ(hash_.erase(name), 1U) << name;
    EXPECT_TRUE(plan(doubts_before).nothing_to_do()) << "a second repair must find nothing";
  }
  std::vector<UnixSeconds> times() const {
    std::vector<UnixSeconds> out;
    for (const auto& [name, value] : hash_) out.push_back(std::stoll(name));
    std::sort(out.begin(), out.end());
    return out;
  }
  CandleVersion version_at(UnixSeconds time) const {
    return version_of_value(kSeries, time, hash_.at(std::to_string(time))).value_or(CandleVersion{-1, false});
  }

  std::vector<CandleRow> rows_;
  std::map<std::string, std::string> hash_;
  RepairRules rules_{.keep = 3, .close_clock = 0, .close_grace = Milliseconds{2'000}};
};

TEST_F(RepairPlanTest, FillsAnEmptyHash) {
  rows_ = {row_of(120, 5), row_of(60, 4), row_of(180, 6)};
  rules_.close_clock = 182;  // 60 and 120 have ended; the bucket of 120 ends at 180, with its grace at 182
  repair();
  EXPECT_THAT(times(), ElementsAre(60, 120, 180));
  EXPECT_EQ(version_at(60), (CandleVersion{4, true}));
  EXPECT_EQ(version_at(120), (CandleVersion{5, true}));
  EXPECT_EQ(version_at(180), (CandleVersion{6, false}));
}

TEST_F(RepairPlanTest, GraceIsPartOfClosing) {
  rows_ = {row_of(120, 5)};
  rules_.close_clock = 181;
  repair();
  EXPECT_FALSE(version_at(120).closed);
}

TEST_F(RepairPlanTest, LowerRevisionsAreReplacedAndHigherOnesStay) {
  rows_ = {row_of(60, 5), row_of(120, 5), row_of(180, 5)};
  hash_ = {{"60", value_of(60, 4)}, {"120", value_of(120, 5)}, {"180", value_of(180, 9)}};
  EXPECT_EQ(plan().writes.size(), 1U);
  repair();
  EXPECT_EQ(version_at(60).revision, 5);
  EXPECT_EQ(version_at(180).revision, 9);
}

TEST_F(RepairPlanTest, AtTheSameRevisionClosedWinsBothWays) {
  rows_ = {row_of(60, 5), row_of(600, 5)};
  hash_ = {{"60", value_of(60, 5, false)}, {"600", value_of(600, 5, true)}};
  rules_.close_clock = 300;
  EXPECT_EQ(plan().writes.size(), 1U);
  repair();
  EXPECT_TRUE(version_at(60).closed);
  EXPECT_TRUE(version_at(600).closed);
}

TEST_F(RepairPlanTest, DamageIsOverwritten) {
  rows_ = {row_of(60, 5), row_of(120, 5), row_of(180, 5)};
  hash_ = {{"60", "no protobuf at all"}, {"120", value_of(60, 9)}, {"180", value_of(180, 5, false, 99.0)}};
  EXPECT_EQ(plan().writes.size(), 3U);
  repair();
  EXPECT_EQ(hash_["60"], value_of(60, 5));
  EXPECT_EQ(hash_["120"], value_of(120, 5)) << "a value of another candle is damage, whatever its revision";
  EXPECT_EQ(hash_["180"], value_of(180, 5)) << "another price at the same revision is damage";
}

TEST_F(RepairPlanTest, OnlyTheNewestAreKept) {
  rows_ = {row_of(600, 5), row_of(660, 5), row_of(720, 5)};
  hash_ = {{"60", value_of(60, 5)}, {"540", value_of(540, 9)}, {"600", value_of(600, 5)}};
  repair();
  EXPECT_THAT(times(), ElementsAre(600, 660, 720));
}

TEST_F(RepairPlanTest, CandlesNewerThanTheRowsStayAndCount) {
  rows_ = {row_of(600, 5), row_of(660, 5), row_of(720, 5)};
  hash_ = {{"600", value_of(600, 5)}, {"780", value_of(780, 1)}};
  repair();
  EXPECT_THAT(times(), ElementsAre(660, 720, 780));
}

TEST_F(RepairPlanTest, NamesThatNoReaderAsksForGo) {
  rows_ = {row_of(600, 5)};
  hash_ = {{"0600", value_of(600, 5)}, {"601", value_of(601, 5)}, {"total", "7"}, {"900", "corrupt, newer"}};
  EXPECT_THAT(plan().removals, UnorderedElementsAre("0600", "601", "total", "900"));
}

TEST_F(RepairPlanTest, WithoutRowsNothingIsTouched) {
  hash_ = {{"60", value_of(60, 5)}, {"total", "7"}};
  EXPECT_TRUE(plan().nothing_to_do());
}

TEST_F(RepairPlanTest, CandlesWithoutARowGoAtTheSecondLookOnly) {
  rows_ = {row_of(60, 5), row_of(600, 5)};
  hash_ = {{"60", value_of(60, 5)}, {"120", value_of(120, 2)}, {"600", value_of(600, 5)}};
  EXPECT_THAT(plan().doubts, ElementsAre(Pair(120, 2)));
  repair();
  EXPECT_THAT(times(), ElementsAre(60, 120, 600)) << "it may be a late trade's, not committed yet";

  const Doubts doubts = plan().doubts;
  hash_["120"] = value_of(120, 3);
  repair(doubts);
  EXPECT_THAT(times(), ElementsAre(60, 120, 600)) << "it has changed since: somebody keeps it";
  EXPECT_THAT(plan(doubts).doubts, ElementsAre(Pair(120, 3)));

  repair(plan().doubts);
  EXPECT_THAT(times(), ElementsAre(60, 600));
  EXPECT_THAT(plan().doubts, IsEmpty());
}

TEST(RedisLayout, KeysReadBack) {
  for (const SeriesName& series :
       {kSeries, SeriesName{1, "0xabc", Interval::k1M}, SeriesName{56, ":", Interval::k12h}}) {
    EXPECT_EQ(series_of_redis_key(redis_key_of(series)), series) << redis_key_of(series);
  }
  EXPECT_EQ(redis_key_of(kSeries), "kline:100000:So11:1112:1m");
}

TEST(RedisLayout, OtherKeysAreNobodysBusiness) {
  for (const char* key :
       {"", "kline", "kline:", "kline:1", "kline:1:1m", "kline:1::1m", "kline:x:pair:1m", "kline:01:pair:1m",
        "kline:1:pair:7m", "kline:1:pair:24h", "kline:1:pair:", "klines:1:pair:1m", "kline:+1:pair:1m"}) {
    EXPECT_FALSE(series_of_redis_key(key)) << key;
  }
}

TEST(RedisLayout, FieldsAreStartsOfBuckets) {
  EXPECT_EQ(time_of_field(Interval::k1m, "60"), 60);
  EXPECT_EQ(time_of_field(Interval::k1m, "0"), 0);
  EXPECT_EQ(time_of_field(Interval::k1w, "-259200"), -259200) << "the week of 1970-01-01 began on a Monday before";
  for (const char* field : {"", "61", "060", "+60", "60 ", "-60", "1e3", "253402300800", "99999999999999999999"}) {
    EXPECT_FALSE(time_of_field(Interval::k1m, field)) << field;
  }
}

}  // namespace
}  // namespace klined
