// The store on a real server: the schema is made and checked, rows read back bit for bit, claims give what they should.
#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "integration/store_support.hpp"

namespace klined {
namespace {

using namespace store_testing;

// ---- The schema ----------------------------------------------------------------------------------------------------

TEST_F(StoreTest, MakesTheSchemaOnce) {
  EXPECT_THAT(made_, ElementsAre("database " + options_.database, "table stream_offset", "table stream_topic",
                                 "table stream_pair", "table stream_meta", "table trade_kline_1m",
                                 "table trade_kline_5m", "table trade_kline_1d", "table trade_kline_1mo"));
  const auto again = create_schema(options_, kIntervals);
  ASSERT_TRUE(again) << message(again);
  EXPECT_THAT(*again, IsEmpty());
  const auto all = create_schema(options_, kAllIntervals);
  ASSERT_TRUE(all) << message(all);
  EXPECT_EQ(all->size(), kIntervalCount - kIntervals.size());
  EXPECT_TRUE(check_schema(options_, kAllIntervals));
}

TEST_F(StoreTest, NamesWhatIsWrongWithTheSchema) {
  const auto complaint = [this] { return message(check_schema(options_, kIntervals)); };
  run("ALTER TABLE trade_kline_1m MODIFY COLUMN v DOUBLE NOT NULL");
  EXPECT_THAT(complaint(),
              HasSubstr("trade_kline_1m.v is double and should be decimal(38,12): ALTER TABLE trade_kline_1m "
                        "MODIFY COLUMN v DECIMAL(38,12) NOT NULL"));
  run("ALTER TABLE trade_kline_1m MODIFY COLUMN v DECIMAL(38,12) NOT NULL");
  run("ALTER TABLE trade_kline_5m DROP COLUMN close_pos");
  EXPECT_THAT(complaint(),
              HasSubstr("trade_kline_5m has no column close_pos: ALTER TABLE trade_kline_5m ADD COLUMN close_pos"));
  run("DROP TABLE trade_kline_5m");
  EXPECT_THAT(complaint(), AllOf(HasSubstr("lacks trade_kline_5m"), HasSubstr("klined init")));
  ASSERT_TRUE(create_schema(options_, kIntervals));
  run("ALTER TABLE trade_kline_1d MODIFY pair_address VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT "
      "NULL");
  EXPECT_THAT(complaint(), HasSubstr("trade_kline_1d.pair_address compares by utf8mb4_general_ci"));
  run("DROP TABLE trade_kline_1d");
  ASSERT_TRUE(create_schema(options_, kIntervals));
  run("ALTER TABLE trade_kline_1d DROP KEY candle_time");
  EXPECT_THAT(complaint(), HasSubstr("ALTER TABLE trade_kline_1d ADD KEY candle_time (candle_time)"));
  run("ALTER TABLE trade_kline_1d ADD KEY candle_time (candle_time)");
  run("ALTER TABLE stream_topic ENGINE=MyISAM");
  EXPECT_THAT(complaint(), HasSubstr("ALTER TABLE stream_topic ENGINE=InnoDB"));
  run("ALTER TABLE stream_topic ENGINE=InnoDB");
  run("ALTER TABLE trade_kline_1mo DROP PRIMARY KEY, ADD PRIMARY KEY (pair_address, chain_id, candle_time)");
  EXPECT_THAT(complaint(), HasSubstr("primary key of trade_kline_1mo is (pair_address,chain_id,candle_time)"));
  run("ALTER TABLE trade_kline_1mo DROP PRIMARY KEY, ADD PRIMARY KEY (chain_id, pair_address, candle_time), ADD extra "
      "INT");
  EXPECT_EQ(complaint(), "no error") << "more columns are welcome";
}

TEST_F(StoreTest, SaysWhyItCanNotConnect) {
  MySqlOptions wrong = options_;
  wrong.password = "not the password";
  const Status password = check_schema(wrong, kIntervals);
  EXPECT_EQ(kind(password), ErrorKind::kFatal);
  EXPECT_THAT(message(password), AllOf(HasSubstr("1045"), HasSubstr("check mysql.user and mysql.password")));
  EXPECT_THAT(message(password), testing::Not(HasSubstr(wrong.password)));

  wrong = options_;
  wrong.database = options_.database + "_gone";
  EXPECT_EQ(kind(check_schema(wrong, kIntervals)), ErrorKind::kFatal);
  EXPECT_THAT(message(check_schema(wrong, kIntervals)), AllOf(HasSubstr("1049"), HasSubstr("klined init")));

  wrong = options_;
  wrong.port = 1;
  EXPECT_EQ(kind(check_schema(wrong, kIntervals)), ErrorKind::kRetry);
  EXPECT_THAT(message(check_schema(wrong, kIntervals)), HasSubstr("is the server running"));

  MySqlCandleStore store(wrong);
  EXPECT_EQ(kind(store.claim(request(1))), ErrorKind::kRetry);
}

// ---- Rows ----------------------------------------------------------------------------------------------------------

std::vector<CandleRow> hard_rows() {
  constexpr double kMax = std::numeric_limits<double>::max();
  constexpr double kTiny = std::numeric_limits<double>::denorm_min();
  const std::vector<double> hard = {0.0,
                                    kTiny,
                                    1e-300,
                                    2.2250738585072014e-308,
                                    2.2250738585072009e-308,
                                    kMax,
                                    0.1,
                                    1e-12,
                                    1e22,
                                    1e23,
                                    9007199254740993.0,
                                    5e-324,
                                    1.0 / 3,
                                    123456.789,
                                    std::nextafter(1.0, 2.0),
                                    std::nextafter(kMax, 0.0),
                                    1.7976931348623157e308,
                                    4.35,
                                    0.3};
  std::mt19937_64 random(42);
  const auto real = [&random, &hard] {
    if (random() % 2 == 0) return hard[random() % hard.size()];
    const double any = std::bit_cast<double>(random() & 0x7FFFFFFFFFFFFFFFULL);
    return std::isfinite(any) ? any : 1.5;
  };
  const auto position = [&random] {
    return Position{.block_time = static_cast<UnixSeconds>(random() % kMaxBlockTime),
                    .slot = static_cast<std::int64_t>(random() >> 1U),
                    .transaction_index = static_cast<std::uint32_t>(random()),
                    .log_index = static_cast<std::uint32_t>(random()),
                    .log = LogId(0, static_cast<std::uint32_t>(random() % LogId::kPartitionLimit)),
                    .index = static_cast<std::uint32_t>(random()),
                    .offset = static_cast<std::int64_t>(random() >> 1U)};
  };
  const auto decimal = [&random] {
    switch (random() % 4) {
      case 0: return Decimal::from_units(Decimal::kLimit - 1 - static_cast<Int128>(random() % 100));
      case 1: return Decimal::from_units(static_cast<Int128>(random() % 100));
      default:
        return Decimal::from_units(static_cast<Int128>(random()) * static_cast<Int128>(random() % 1'000'000'000));
    }
  };
  std::vector<CandleRow> rows;
  for (int i = 0; i < 500; ++i) {
    Candle candle;
    for (double* value : {&candle.open, &candle.high, &candle.low, &candle.close, &candle.mcap_open, &candle.mcap_high,
                          &candle.mcap_low, &candle.mcap_close, &candle.mkt_cap}) {
      *value = real();
    }
    candle.pump_point = random() % 2 == 0 ? real() : -real();
    if (candle.pump_point == 0) candle.pump_point = 0;
    candle.amount_usd = decimal();
    candle.volume_token = decimal();
    candle.price_first = position();
    candle.price_last = position();
    candle.last = random() % 2 == 0 ? candle.price_last : position();
    candle.open_at = static_cast<UnixSeconds>(random() % kMaxBlockTime);
    candle.buy_count = static_cast<std::int64_t>(random() % 1'000'000'000'000);
    candle.sell_count = static_cast<std::int64_t>(random() % 1'000'000'000'000);
    candle.token = SharedText(random() % 3 == 0 ? "" : std::string(random() % 64, '\'') + "\\");
    candle.only_clamped = random() % 2 == 0;
    std::string pair = "p'\\\"`%_;--#" + std::to_string(i / 4);
    pair += i % 8 < 4 ? "a" : "A";  // case tells pairs apart
    const Interval interval = kIntervals[random() % kIntervals.size()];
    rows.push_back({{i % 3 == 0 ? 56 : 100'000, pair, interval, i % 7 == 0 ? -259'200 : 60 * i}, candle});
  }
  return rows;
}

void expect_same(std::vector<CandleRow> actual, std::vector<CandleRow> expected) {
  std::ranges::sort(actual, {}, &CandleRow::key);
  std::ranges::sort(expected, {}, &CandleRow::key);
  ASSERT_EQ(keys_of(actual), keys_of(expected));
  for (std::size_t i = 0; i < actual.size(); ++i) {
    EXPECT_EQ(actual[i].candle, expected[i].candle) << actual[i].key.pair;
    EXPECT_EQ(std::bit_cast<std::uint64_t>(actual[i].candle.low), std::bit_cast<std::uint64_t>(expected[i].candle.low));
  }
}

// By both ways to write rows: as text, and by the bulk protocol, which MariaDB has.
class StoreRowsTest : public StoreTest, public testing::WithParamInterface<bool> {
 protected:
  void SetUp() override {
    options_.bulk = GetParam();
    StoreTest::SetUp();
  }
};
INSTANTIATE_TEST_SUITE_P(TextAndBulk, StoreRowsTest, testing::Bool(),
                         [](const auto& test) { return test.param ? "Bulk" : "Text"; });

TEST_P(StoreRowsTest, RowsReadBackBitForBit) {
  MySqlCandleStore store = claimed_store();
  const std::vector<CandleRow> rows = hard_rows();
  const Status done = store.commit(commit_from(100, rows));
  ASSERT_TRUE(done) << message(done);
  std::vector<CandleKey> keys = keys_of(rows);
  keys.push_back({100'000, "p'\\\"`%_;--#0b", Interval::k1m, 0});  // has no row
  keys.push_back({1, rows[1].key.pair, rows[1].key.interval, rows[1].key.time});
  const auto loaded = store.load(keys);
  ASSERT_TRUE(loaded) << message(loaded);
  expect_same(*loaded, rows);

  // The same rows once more, and other values of the same rows: absolute values, so the last ones stand.
  std::vector<CandleRow> changed = rows;
  for (CandleRow& r : changed) std::swap(r.candle.open, r.candle.mcap_low), ++r.candle.buy_count;
  ASSERT_TRUE(store.commit(commit_from(110, rows)));
  ASSERT_TRUE(store.commit(commit_from(120, changed)));
  const auto again = store.load(keys);
  ASSERT_TRUE(again) << message(again);
  expect_same(*again, changed);
}

TEST_P(StoreRowsTest, ColumnsHoldWhatTheContractSays) {
  MySqlCandleStore store = claimed_store();
  ASSERT_TRUE(store.commit(commit_from(100, {row(1'768'999'980)})));
  EXPECT_EQ(
      ask("SELECT chain_id,pair_address,candle_time,open_at,close_at,o,h,l,c,v,t,a,count,buy_count,sell_count,mcap_o,"
          "mkt_cap,token_addr,only_clamped,open_pos,close_pos,last_pos FROM trade_kline_1m"),
      std::string("100000|") + kPair +
          "|1768999980|1768999980|1768999985|1.25|2.5|1.25|2.5|3.000000000000|"
          "1.500000000000|2|3|2|1|0|0|So11111111111111111111111111111111111111112|0|1768999980:7:0:0:1:1:100:1|"
          "1768999985:8:0:0:1:2:101:0|");
  EXPECT_EQ(ask("SELECT ABS(TIMESTAMPDIFF(SECOND,updated_at,UTC_TIMESTAMP()))<60 FROM trade_kline_1m"), "1");
}

TEST_P(StoreRowsTest, WritesTheWayThatItShould) {
  MySqlCandleStore store = claimed_store();
  ASSERT_TRUE(store.commit(commit_from(100, {row(0)})));
#ifdef LIBMARIADB
  const bool has_bulk = ask("SELECT VERSION()").find("MariaDB") != std::string::npos;
#else
  const bool has_bulk = false;
#endif
  EXPECT_EQ(store.connection().takes_bulk(), has_bulk && GetParam());
}

// Bulk statements are prepared once a connection, and tables may change behind them.
TEST_P(StoreRowsTest, TablesMayChangeBetweenCommits) {
  MySqlCandleStore store = claimed_store();
  ASSERT_TRUE(store.commit(commit_from(100, {row(0), row(0, kPair, Interval::k5m)})));
  run("ALTER TABLE trade_kline_1m ADD COLUMN note VARCHAR(10) NOT NULL DEFAULT 'n' AFTER pair_address");
  ASSERT_TRUE(store.commit(commit_from(110, {row(60), row(300, kPair, Interval::k5m)})));
  run("CREATE TABLE other LIKE trade_kline_1m");
  run("RENAME TABLE trade_kline_1m TO old, other TO trade_kline_1m");
  ASSERT_TRUE(store.commit(commit_from(120, {row(120)})));
  EXPECT_EQ(ask("SELECT candle_time FROM old ORDER BY 1"), "0\n60");
  EXPECT_EQ(ask("SELECT candle_time,close_pos,note FROM trade_kline_1m"), "120|125:8:0:0:1:2:101:0|n");
}

TEST_P(StoreRowsTest, ATableThatIsGoneSaysWhatToDo) {
  MySqlCandleStore store = claimed_store();
  ASSERT_TRUE(store.commit(commit_from(100, {row(0)})));
  run("DROP TABLE trade_kline_1m");
  run("DROP TABLE trade_kline_5m");
  for (const Interval interval : {Interval::k1m, Interval::k5m}) {  // 5m: not even prepared
    const Status done = store.commit(commit_from(110, {row(0, kPair, Interval::k1d), row(0, kPair, interval)}));
    EXPECT_EQ(kind(done), ErrorKind::kFatal);
    EXPECT_THAT(message(done), AllOf(HasSubstr("1146"), HasSubstr("klined init")));
  }
  EXPECT_EQ(ask("SELECT COUNT(*) FROM trade_kline_1d"), "0") << "all or nothing";
  EXPECT_TRUE(store.commit(commit_from(110, {row(0, kPair, Interval::k1d)}))) << "the connection is still good";
}

// Sets it for the whole server; other tests that meet it write as text meanwhile.
class WithoutPreparedStatements {
 public:
  explicit WithoutPreparedStatements(MySqlOptions root) : root_(std::move(root)) { set("0"); }
  ~WithoutPreparedStatements() { set("DEFAULT"); }
  WithoutPreparedStatements(const WithoutPreparedStatements&) = delete;
  WithoutPreparedStatements& operator=(const WithoutPreparedStatements&) = delete;

 private:
  void set(const std::string& value) {
    EXPECT_TRUE(root_.connect());
    EXPECT_TRUE(root_.execute("SET GLOBAL max_prepared_stmt_count=" + value, "set it for the test"));
  }
  MySqlConnection root_;
};

TEST_P(StoreRowsTest, AServerThatPreparesNothingGetsText) {
  MySqlOptions root;
  root.socket = env("KLINED_STACK_MYSQL_ROOT_SOCKET");
  root.user = env("KLINED_STACK_MYSQL_ROOT_USER");
  ASSERT_FALSE(root.socket.empty());
  MySqlCandleStore store = claimed_store();
  {
    const WithoutPreparedStatements none(root);
    if (store.connection().takes_bulk()) {
      const Status refused = store.commit(commit_from(100, {row(0), row(60)}));
      EXPECT_EQ(kind(refused), ErrorKind::kRetry);
      EXPECT_THAT(message(refused), AllOf(HasSubstr("1461"), HasSubstr("as text")));
    }
    EXPECT_FALSE(store.connection().takes_bulk());
    const Status done = store.commit(commit_from(100, {row(0), row(60)}));
    EXPECT_TRUE(done) << message(done);
  }
  ASSERT_TRUE(store.commit(commit_from(110, {row(60), row(120)})));
  EXPECT_EQ(ask("SELECT candle_time FROM trade_kline_1m ORDER BY 1"), "0\n60\n120");
  EXPECT_EQ(ask("SELECT MIN(next_offset) FROM stream_offset WHERE lane=0"), "120") << "one transaction each";
}

// MariaDB before the mend of MDEV-24411 takes only one row of a bulk statement where a table has triggers.
TEST_P(StoreRowsTest, ATriggerTakesNoRowAway) {
  run("CREATE TABLE seen (candle_time BIGINT NOT NULL PRIMARY KEY)");
  run("CREATE TRIGGER after_insert AFTER INSERT ON trade_kline_1m FOR EACH ROW REPLACE INTO seen VALUES "
      "(NEW.candle_time)");
  MySqlCandleStore store = claimed_store();
  std::vector<CandleRow> rows;
  for (int i = 0; i < 50; ++i) rows.push_back(row(60 * i));
  ASSERT_TRUE(store.commit(commit_from(100, rows)));
  ASSERT_TRUE(store.commit(commit_from(110, rows)));
  EXPECT_EQ(ask("SELECT COUNT(*) FROM trade_kline_1m"), "50");
  EXPECT_EQ(ask("SELECT COUNT(*) FROM seen"), "50");
}

// A commit's rows are several statements: of 1,000 rows at most, of one interval each.
TEST_P(StoreRowsTest, ManyIntervalsAndManyRows) {
  MySqlCandleStore store = claimed_store();
  std::vector<CandleRow> rows;
  for (int i = 0; i < 2'100; ++i) rows.push_back(row(60 * i));
  for (int i = 0; i < 1'000; ++i) rows.push_back(row(300 * i, kPair, Interval::k5m));
  rows.push_back(row(0, kPair, Interval::k1M));
  for (CandleRow& r : rows) r.candle.sell_count = r.key.time;
  ASSERT_TRUE(store.commit(commit_from(100, rows)));
  const auto loaded = store.load(keys_of(rows));
  ASSERT_TRUE(loaded) << message(loaded);
  expect_same(*loaded, rows);
}

TEST_F(StoreTest, LoadsManyKeysAStatement) {
  MySqlCandleStore store = claimed_store();
  std::vector<CandleRow> rows;
  for (int i = 0; i < 2500; ++i) rows.push_back(row(60 * (i % 50), "pair" + std::to_string(i / 50)));
  ASSERT_TRUE(store.commit(commit_from(100, rows)));
  std::vector<CandleKey> keys;
  for (std::size_t i = 0; i < rows.size(); i += 2) keys.push_back(rows[i].key);
  const auto loaded = store.load(keys);
  ASSERT_TRUE(loaded) << message(loaded);
  EXPECT_EQ(loaded->size(), keys.size());
}

TEST_P(StoreRowsTest, SumsThatNoColumnHoldsAreRefusedNotCut) {
  MySqlCandleStore store = claimed_store();
  CandleRow wide = row(0);
  wide.key.pair = std::string(65, 'x');
  const Status done = store.commit(commit_from(100, {wide}));
  EXPECT_EQ(kind(done), ErrorKind::kFatal);
  EXPECT_THAT(message(done), HasSubstr("1406"));
  EXPECT_EQ(ask("SELECT COUNT(*) FROM trade_kline_1m"), "0");
  EXPECT_EQ(ask("SELECT MIN(next_offset) FROM stream_offset"), "100") << "all or nothing";
}

TEST_P(StoreRowsTest, TenThousandRowsInOneCommit) {
  MySqlCandleStore store = claimed_store();
  std::vector<CandleRow> rows;
  for (int i = 0; i < 10'000; ++i) {
    rows.push_back(row(60 * (i % 2), "GYo8jFJ2nPh3kVb7sQxWm4tCzR9dLe5u" + std::to_string(100'000 + i / 2)));
  }
  double first = 0;
  double best = 1e9;
  for (int round = 0; round < 5; ++round) {
    for (CandleRow& r : rows) ++r.candle.buy_count;
    const auto begin = std::chrono::steady_clock::now();
    const Status done = store.commit(commit_from(100 + round * 10, rows));
    const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    ASSERT_TRUE(done) << message(done);
    if (round == 0) first = took;
    if (round > 0) best = std::min(best, took);
  }
  EXPECT_EQ(ask("SELECT COUNT(*) FROM trade_kline_1m"), "10000");
  const auto begin = std::chrono::steady_clock::now();
  const auto loaded = store.load(keys_of(rows));
  const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  ASSERT_TRUE(loaded) << message(loaded);
  expect_same(*loaded, rows);
  std::printf(
      "10,000 rows in one commit: new %.0f ms, changed %.0f ms (%.0f rows/s); loaded in %.0f ms (%.0f rows/s)\n",
      first * 1e3, best * 1e3, 10'000 / best, took * 1e3, 10'000 / took);
}

}  // namespace
}  // namespace klined
