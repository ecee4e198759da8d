// What a rebuild may take away from whom: nothing that is another's, and no row from a reader.
#include <thread>

#include "klined/store/group_lock.hpp"
#include "klined/store/shadow_tables.hpp"
#include "store_support.hpp"

namespace klined::store_testing {
namespace {

constexpr const char* kPlan = "from=earliest";

class Rebuilding : public StoreTest {
 protected:
  void SetUp() override {
    StoreTest::SetUp();
    shadow_ = options_;
    shadow_.database += "_rebuild";
  }
  void TearDown() override {
    if (admin_) run("DROP DATABASE IF EXISTS " + shadow_.database);
    StoreTest::TearDown();
  }

  ShadowTables tables() { return {options_, shadow_.database, "group-a"}; }
  // A shadow set that is as far as the set in use.
  void build(ShadowTables& tables) {
    const Status begun = tables.begin(kPlan, kIntervals);
    ASSERT_TRUE(begun) << begun.error().message;
    MySqlCandleStore store(shadow_);
    const auto claimed = store.claim(request(7));
    ASSERT_TRUE(claimed) << message(claimed);
    ASSERT_TRUE(store.commit(commit_from(100, {row(0)})));
  }
  std::string in_use() {
    return ask("SELECT COUNT(*),MIN(next_offset) FROM trade_kline_1m,stream_offset WHERE lane=0");
  }
  std::string tables_in(const std::string& database) {
    return ask("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema='" + database + "'");
  }

  MySqlOptions shadow_;
};

TEST_F(Rebuilding, SwapsWhileItHolds) {
  MySqlCandleStore store = claimed_store();
  ASSERT_TRUE(store.commit(commit_from(100, {row(0)})));
  ShadowTables rebuild = tables();
  build(rebuild);
  const auto held = rebuild.hold(seconds(60));
  ASSERT_TRUE(held) << message(held);
  EXPECT_FALSE(store.commit(commit_from(110, {row(60)})));
  MySqlCandleStore next(options_);
  const auto refused = next.claim(request(2));
  EXPECT_EQ(kind(refused), ErrorKind::kRetry);
  EXPECT_THAT(message(refused), HasSubstr("a rebuild is swapping"));
  const Status swapped = rebuild.swap(kIntervals, 0);
  ASSERT_TRUE(swapped) << swapped.error().message;
  EXPECT_EQ(rebuild.look()->stage, ShadowStage::kSwapped);
  EXPECT_FALSE(rebuild.has_job_behind().value()) << "nobody has the group's lock";
  GroupLock lock(options_, "group-a");
  ASSERT_TRUE(lock.try_acquire(milliseconds(0)).value());
  EXPECT_TRUE(rebuild.has_job_behind().value());
  ASSERT_TRUE(rebuild.note_told());
  ASSERT_TRUE(rebuild.finish(false));
  EXPECT_EQ(tables_in(shadow_.database), "0");
  EXPECT_EQ(ask("SELECT name FROM stream_meta WHERE name LIKE 'rebuil%' ORDER BY name"), "rebuilt");
  EXPECT_TRUE(next.claim(request(2)));
  EXPECT_FALSE(rebuild.has_job_behind().value());
}

// A process that was stopped for longer than the hold: others have gone on, and readers have seen it.
TEST_F(Rebuilding, SwapsNothingOnceTheHoldIsOver) {
  MySqlCandleStore store = claimed_store();
  ASSERT_TRUE(store.commit(commit_from(100, {row(0)})));
  ShadowTables rebuild = tables();
  build(rebuild);
  ASSERT_TRUE(rebuild.hold(seconds(1)));
  MySqlCandleStore next(options_);
  Result<Claim> claimed = next.claim(request(2));
  for (int i = 0; i < 200 && !claimed; ++i) {
    EXPECT_EQ(kind(claimed), ErrorKind::kRetry) << message(claimed);
    std::this_thread::sleep_for(milliseconds(100));
    claimed = next.claim(request(2));
  }
  ASSERT_TRUE(claimed) << message(claimed);
  ASSERT_TRUE(next.commit(commit_from(110, {row(60)})));
  const std::string before = in_use();
  const Status swapped = rebuild.swap(kIntervals, 0);
  EXPECT_EQ(kind(swapped), ErrorKind::kRetry);
  EXPECT_FALSE(rebuild.holds());
  EXPECT_EQ(kind(rebuild.swap(kIntervals, 0)), ErrorKind::kRetry) << "nor on a new connection";
  EXPECT_EQ(in_use(), before);
  EXPECT_TRUE(next.commit(commit_from(120)));
  EXPECT_EQ(rebuild.look()->stage, ShadowStage::kBuilding);
}

// What only the job has seen, since the log no longer tells of it.
TEST_F(Rebuilding, KeepsWhatIsOlder) {
  run("INSERT INTO stream_topic (topic_id,topic) VALUES (1,'an-earlier-topic')");
  MySqlCandleStore store = claimed_store();
  ASSERT_TRUE(store.commit(commit_from(100, {row(0), row(60)})));
  run("UPDATE stream_offset SET max_block_time=max_block_time+1000 WHERE lane=1 AND partition_id=2");
  run("UPDATE stream_meta SET value='7' WHERE name='begin:2:0'");
  run("INSERT INTO stream_pair (chain_id,pair_address,topic_id,partition_id) VALUES (100000,'PairA',2,1)");
  const std::string newest = ask("SELECT MAX(max_block_time) FROM stream_offset");
  ShadowTables rebuild = tables();
  build(rebuild);
  const std::string in_shadow = " FROM " + shadow_.database + ".";
  EXPECT_EQ(ask("SELECT *" + in_shadow + "stream_topic ORDER BY 1"), ask("SELECT * FROM stream_topic ORDER BY 1"));
  MySqlConnection snapshot(options_);
  ASSERT_TRUE(rebuild.open_snapshot(snapshot));
  ASSERT_TRUE(rebuild.keep_older(snapshot, kIntervals, 60));
  EXPECT_EQ(ask("SELECT candle_time" + in_shadow + "trade_kline_1m ORDER BY 1"), "0\n60");
  EXPECT_EQ(ask("SELECT DISTINCT max_block_time" + in_shadow + "stream_offset"), newest) << "any lane may load them";
  EXPECT_EQ(ask("SELECT value" + in_shadow + "stream_meta WHERE name='begin:2:0'"), "7");
  EXPECT_EQ(ask("SELECT pair_address,topic_id,partition_id" + in_shadow + "stream_pair"), "PairA|2|1");
}

// Readers must not see rows go back.
TEST_F(Rebuilding, SwapsNothingThatIsBehind) {
  MySqlCandleStore store = claimed_store();
  ASSERT_TRUE(store.commit(commit_from(100, {row(0)})));
  ASSERT_TRUE(store.commit(commit_from(110, {row(60)})));
  ShadowTables rebuild = tables();
  build(rebuild);
  const std::string before = in_use();
  ASSERT_TRUE(rebuild.hold(seconds(60)));
  const Status swapped = rebuild.swap(kIntervals, 0);
  EXPECT_EQ(kind(swapped), ErrorKind::kRetry);
  EXPECT_THAT(message(swapped), HasSubstr("behind"));
  EXPECT_EQ(in_use(), before);
  rebuild.release();
  EXPECT_EQ(rebuild.look()->stage, ShadowStage::kBuilding);
}

TEST_F(Rebuilding, LeavesOthersTablesAlone) {
  MySqlCandleStore store = claimed_store();
  ASSERT_TRUE(store.commit(commit_from(100, {row(0)})));
  MySqlOptions other = options_;
  other.database += "_other";
  ASSERT_TRUE(create_schema(other, kIntervals));
  const std::string others = tables_in(other.database);
  const auto refused = [&](const std::string& schema, const std::string& why) {
    const auto found = ShadowTables(options_, schema, "group-a").look();
    EXPECT_EQ(kind(found), ErrorKind::kFatal);
    EXPECT_THAT(message(found), HasSubstr(why));
  };
  ShadowTables rebuild = tables();
  build(rebuild);
  // The same group in another database: what is being built here is not its own.
  run("INSERT INTO " + other.database + ".stream_meta SELECT * FROM stream_meta");
  ShadowTables stranger(other, shadow_.database, "group-a");
  EXPECT_THAT(message(stranger.look()), HasSubstr("of a rebuild of database " + options_.database));
  EXPECT_FALSE(stranger.drop_rebuilt());
  EXPECT_EQ(rebuild.look()->stage, ShadowStage::kBuilding);
  refused(options_.database, "the database of the tables in use");

  ASSERT_TRUE(rebuild.hold(seconds(60)));
  ASSERT_TRUE(rebuild.swap(kIntervals, 0));
  refused(options_.database, "the database of the tables in use");
  refused(other.database, "run it again with --schema " + shadow_.database);
  // Tables with a mark, but in use: those of another one that has swapped and is not ended.
  refused("no_such_database", "run it again with --schema " + shadow_.database);
  MySqlOptions third = options_;
  third.database += "_third";
  ASSERT_TRUE(create_schema(third, kIntervals));
  run("INSERT INTO " + third.database + ".stream_meta (name,value) VALUES ('consumer_group','group-a')");
  EXPECT_THAT(message(ShadowTables(third, options_.database, "group-a").look()),
              HasSubstr("of a rebuild of database " + options_.database));
  EXPECT_FALSE(ShadowTables(third, options_.database, "group-a").drop_rebuilt());

  ASSERT_TRUE(rebuild.note_told());
  refused(other.database, "run it again with --schema " + shadow_.database);
  ASSERT_TRUE(rebuild.finish(true));
  EXPECT_EQ(rebuild.look()->stage, ShadowStage::kKept);
  EXPECT_THAT(message(stranger.look()), HasSubstr("of a rebuild of database " + options_.database));
  run("CREATE TABLE " + shadow_.database + ".stream_offset (a INT)");
  ASSERT_TRUE(rebuild.drop_old());
  EXPECT_EQ(tables_in(shadow_.database), "1") << "only what was swapped out goes";
  EXPECT_EQ(tables_in(other.database), others);
  EXPECT_EQ(tables_in(options_.database), others);
  run("DROP DATABASE " + other.database);
  run("DROP DATABASE " + third.database);
}

// Killed before it noted its settings, then gone on with, with other intervals.
TEST_F(Rebuilding, LeavesNothingBehind) {
  MySqlCandleStore store = claimed_store();
  ShadowTables rebuild = tables();
  ASSERT_TRUE(rebuild.begin(kPlan, std::vector<Interval>{Interval::k1m, Interval::k3m}));
  build(rebuild);
  ASSERT_TRUE(rebuild.hold(seconds(60)));
  ASSERT_TRUE(rebuild.swap(kIntervals, 0));
  ASSERT_TRUE(rebuild.note_told());
  ASSERT_TRUE(rebuild.finish(false));
  EXPECT_EQ(tables_in(shadow_.database), "0");
  EXPECT_EQ(ask("SHOW DATABASES LIKE '" + shadow_.database + "'"), "");
}

TEST_F(Rebuilding, WaitsForALockThatIsAboutToGo) {
  auto dead = std::make_unique<GroupLock>(options_, "rebuild of group-a");
  GroupLock next(options_, "rebuild of group-a");
  ASSERT_TRUE(dead->try_acquire(milliseconds(0)).value());
  EXPECT_THAT(next.acquire_or_name_holder(milliseconds(0)).value(), HasSubstr("connection"));
  std::jthread dying([&dead] {
    std::this_thread::sleep_for(milliseconds(300));
    dead.reset();
  });
  EXPECT_EQ(next.acquire_or_name_holder(seconds(10)).value(), "");
  EXPECT_TRUE(next.held());
}

}  // namespace
}  // namespace klined::store_testing
