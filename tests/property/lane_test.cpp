// The lanes against a world that fails: whatever happens, what is stored and what readers have seen equals a naive
// recomputation of the input. Production lanes, sequencer, outbox and commit protocol; store and publisher are doubles.
#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <random>
#include <set>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include "kline.pb.h"
#include "klined/stream/commit_protocol.hpp"
#include "klined/stream/lane.hpp"
#include "klined/stream/sequencer.hpp"

namespace klined {
namespace {

constexpr UnixSeconds kStart = 1'700'000'000;
constexpr UnixSeconds kWindow = 60;
constexpr UnixSeconds kLateness = 300;
const std::vector<Interval> kIntervals = {Interval::k1m, Interval::k5m, Interval::k1h};
const std::vector<std::string> kTopics = {"trades"};

struct InputTrade {
  Trade trade;
  std::string pair;
};
struct InputMessage {
  std::vector<InputTrade> trades;
};
using Log = std::vector<std::vector<InputMessage>>;  // by partition

using Random = std::mt19937_64;
int below(Random& random, int n) { return static_cast<int>(random() % static_cast<std::uint64_t>(n)); }

// Trades with tied positions, duplicates in and out of the window, late ones, clamped ones, jumps of the clock.
Log make_log(Random& random, int partitions, int messages) {
  Log log(static_cast<std::size_t>(partitions));
  std::vector<InputTrade> seen;
  std::uint64_t identity = 1;
  UnixSeconds time = kStart;
  for (int m = 0; m < messages; ++m) {
    time += below(random, 20) == 0 ? 90 : below(random, 4);
    const auto p = static_cast<std::size_t>(below(random, partitions));
    InputMessage message;
    const int count = below(random, 6);
    for (int i = 0; i < count; ++i) {
      InputTrade input;
      if (!seen.empty() && below(random, 5) == 0) {
        input = seen[seen.size() - 1 -
                     static_cast<std::size_t>(below(random, static_cast<int>(std::min<std::size_t>(seen.size(), 40))))];
      } else {
        Trade& t = input.trade;
        input.pair = fmt::format("pair{}", below(random, 5));
        t.chain = below(random, 4) == 0 ? 56 : 1;
        t.position.block_time = time - (below(random, 10) == 0 ? below(random, 400) : below(random, 5));
        t.position.slot = t.position.block_time / 2;
        t.position.transaction_index = static_cast<std::uint32_t>(below(random, 2));
        t.identity = {0, identity++ * 0x9E3779B97F4A7C15ULL};
        t.amount_usd = Decimal::from_units(1 + below(random, 1'000'000));
        t.volume_token = Decimal::from_units(below(random, 1'000'000));
        t.price = 1 + below(random, 1000);
        t.mcap = below(random, 1000);
        t.side = below(random, 2) == 0 ? Side::kBuy : Side::kSell;
        t.clamped = below(random, 4) == 0;
      }
      seen.push_back(input);
      message.trades.push_back(input);
    }
    log[p].push_back(message);
  }
  return log;
}

// ---- the naive recomputation: sets of trades, one after another
// ------------------------------------------------------

struct Expected {
  std::map<CandleKey, Candle> candles;
  Ledger ledger;
};

Candle summary_of(std::vector<InputTrade> trades) {
  std::ranges::sort(trades, {}, [](const InputTrade& t) { return t.trade.position; });
  std::vector<InputTrade> priced;
  std::ranges::copy_if(trades, std::back_inserter(priced), [](const InputTrade& t) { return !t.trade.clamped; });
  Candle c;
  c.only_clamped = priced.empty();
  if (priced.empty()) priced = trades;
  c.open = priced.front().trade.price;
  c.close = priced.back().trade.price;
  c.mcap_open = priced.front().trade.mcap;
  c.mcap_close = priced.back().trade.mcap;
  c.high = c.low = c.open;
  c.mcap_high = c.mcap_low = c.mcap_open;
  for (const InputTrade& t : priced) {
    c.high = std::max(c.high, t.trade.price);
    c.low = std::min(c.low, t.trade.price);
    c.mcap_high = std::max(c.mcap_high, t.trade.mcap);
    c.mcap_low = std::min(c.mcap_low, t.trade.mcap);
  }
  c.price_first = priced.front().trade.position;
  c.price_last = priced.back().trade.position;
  c.last = trades.back().trade.position;
  c.open_at = trades.front().trade.position.block_time;
  c.mkt_cap = trades.back().trade.mcap;
  Int128 amount = 0;
  Int128 volume = 0;
  for (const InputTrade& t : trades) {
    amount += t.trade.amount_usd.units();
    volume += t.trade.volume_token.units();
    (t.trade.side == Side::kBuy ? c.buy_count : c.sell_count) += 1;
  }
  c.amount_usd = Decimal::from_units(amount);
  c.volume_token = Decimal::from_units(volume);
  return c;
}

Expected recompute(const Log& log) {
  Expected expected;
  std::map<CandleKey, std::vector<InputTrade>> sets;
  for (std::size_t p = 0; p < log.size(); ++p) {
    std::map<ChainId, UnixSeconds> clocks;
    std::map<std::uint64_t, UnixSeconds> sightings;
    for (std::size_t offset = 0; offset < log[p].size(); ++offset) {
      const InputMessage& message = log[p][offset];
      for (const InputTrade& t : message.trades) {
        const auto [clock, is_new] = clocks.try_emplace(t.trade.chain, t.trade.position.block_time);
        clock->second = std::max(clock->second, t.trade.position.block_time);
      }
      for (std::size_t i = 0; i < message.trades.size(); ++i) {
        InputTrade t = message.trades[i];
        const UnixSeconds clock = clocks.at(t.trade.chain);
        if (clock - t.trade.position.block_time > kLateness) {
          ++expected.ledger[Outcome::kLate];
          continue;
        }
        const auto sighting = sightings.find(t.trade.identity.low);
        const bool duplicate = sighting != sightings.end() && clock - sighting->second <= kWindow;
        sightings[t.trade.identity.low] = clock;
        ++expected.ledger[duplicate ? Outcome::kDuplicate : Outcome::kApplied];
        if (duplicate) continue;
        t.trade.position.log = LogId(0, static_cast<std::uint32_t>(p));
        t.trade.position.offset = static_cast<std::int64_t>(offset);
        t.trade.position.index = static_cast<std::uint32_t>(i);
        for (const Interval interval : kIntervals) {
          sets[{t.trade.chain, t.pair, interval, bucket_of(interval, t.trade.position.block_time).begin}].push_back(t);
        }
      }
    }
  }
  for (const auto& [key, trades] : sets) expected.candles[key] = summary_of(trades);
  return expected;
}

// ---- the world -----------------------------------------------------------------------------------------------------

// A database that keeps what was committed, and fails as it is told.
class FaultyStore final : public CandleStore {
 public:
  FaultyStore(Random& random, int fault_percent) : random_(random), fault_percent_(fault_percent) {}

  std::map<CandleKey, Candle> rows;
  std::map<std::tuple<int, int>, LaneOffset> offsets;  // partition, lane

  Result<Claim> claim(const ClaimRequest& request) override {
    Claim claim;
    claim.topics = kTopics;
    for (const PartitionStart& start : request.partitions) {
      for (int lane = 0; lane < request.lanes; ++lane) {
        LaneOffset fresh{.topic = start.topic,
                         .partition = start.partition,
                         .lane = lane,
                         .next_offset = start.offset,
                         .window_offset = start.offset,
                         .window_clocks = {},
                         .max_block_time = -1,
                         .closed_until = -1};
        claim.offsets.push_back(offsets.try_emplace({start.partition, lane}, fresh).first->second);
      }
    }
    return claim;
  }
  Result<std::vector<CandleRow>> load(std::span<const CandleKey> keys) override {
    if (faulty()) return retry("load");
    std::vector<CandleRow> found;
    for (const CandleKey& key : keys) {
      if (const auto row = rows.find(key); row != rows.end()) found.push_back({key, row->second});
    }
    return found;
  }
  Status commit(const LaneCommit& commit) override {
    if (faulty()) return retry("commit");
    for (const LaneCommit::Advance& advance : commit.offsets) {
      if (offsets.at({advance.to.partition, advance.to.lane}).next_offset != advance.expected) {
        return std::unexpected(Error{ErrorKind::kFenced, "fenced"});
      }
    }
    const bool lost_before = faulty();
    if (!lost_before) {
      for (const LaneCommit::Advance& advance : commit.offsets)
        offsets[{advance.to.partition, advance.to.lane}] = advance.to;
      for (const CandleRow& row : commit.rows) rows[row.key] = row.candle;
    }
    if (lost_before || faulty()) return std::unexpected(Error{ErrorKind::kUnknown, "lost answer"});
    return {};
  }
  Result<bool> was_committed(const LaneCommit& commit) override {
    if (faulty()) return retry("was_committed");
    bool is_new = true;
    bool is_old = true;
    for (const LaneCommit::Advance& advance : commit.offsets) {
      const LaneOffset& row = offsets.at({advance.to.partition, advance.to.lane});
      is_new = is_new && row == advance.to;
      is_old = is_old && row.next_offset == advance.expected;
    }
    if (is_new) return true;
    if (is_old) return false;
    return std::unexpected(Error{ErrorKind::kFenced, "fenced"});
  }

 private:
  bool faulty() { return below(random_, 100) < fault_percent_; }
  Random& random_;
  int fault_percent_;
};

struct Seen {
  std::int64_t revision = 0;
  bool closed = false;
  double close = 0;
};

// A log of published messages that takes its time, and loses some.
class SlowPublisher final : public Publisher {
 public:
  SlowPublisher(Random& random, int fault_percent) : random_(random), fault_percent_(fault_percent) {}
  bool send(Publication& publication, std::uint64_t ticket) override {
    if (waiting.size() > 50 || below(random_, 100) < fault_percent_) return false;
    waiting.push_back({ticket, std::nullopt, std::move(publication), 0, 0});
    return true;
  }
  // Delivers or fails one waiting message, in any order.
  std::optional<DeliveryReport> settle(std::map<CandleKey, Seen>& readers, std::multiset<std::string>& letters) {
    if (waiting.empty()) return std::nullopt;
    std::swap(waiting[static_cast<std::size_t>(below(random_, static_cast<int>(waiting.size())))], waiting.back());
    DeliveryReport report = std::move(waiting.back());
    waiting.pop_back();
    const bool fails = below(random_, 100) < fault_percent_;
    if (!fails || below(random_, 2) == 0) arrive(report.publication, readers, letters);
    if (fails) {
      report.error = Error{ErrorKind::kRetry, "not delivered"};
    } else {
      report.publication = {};
    }
    return report;
  }
  std::vector<DeliveryReport> waiting;

 private:
  static void arrive(const Publication& publication, std::map<CandleKey, Seen>& readers,
                     std::multiset<std::string>& letters) {
    if (!publication.headers.empty()) {
      letters.insert(publication.key);
      return;
    }
    proto::Klines klines;
    ASSERT_TRUE(klines.ParseFromString(publication.value));
    for (const proto::Kline& k : klines.list()) {
      Seen& seen =
          readers[{static_cast<ChainId>(k.chain_id()), k.pair_addr(), *interval_of(k.interval()), k.candle_time()}];
      if (k.total_count() > seen.revision) seen = {k.total_count(), k.closed(), k.close()};
      if (k.total_count() == seen.revision) seen.closed = seen.closed || k.closed();
    }
  }
  Random& random_;
  int fault_percent_;
};

// One process from its claim to its end: lanes, and what they asked for and have not got yet.
class Process final : public LaneHost {
 public:
  Process(Random& random, const Log& log, FaultyStore& store, int lanes, std::size_t memory_limit)
      : random_(random), log_(log), store_(store), publisher_(random, 10), sequencer_(kWindow) {
    ClaimRequest request;
    request.lanes = lanes;
    for (int p = 0; p < static_cast<int>(log.size()); ++p) request.partitions.push_back({"trades", p, 0});
    const Claim claim = store.claim(request).value();
    for (int p = 0; p < static_cast<int>(log.size()); ++p) {
      const LaneOffset* first = nullptr;
      for (const LaneOffset& row : claim.offsets) {
        if (row.partition == p && (first == nullptr || row.window_offset < first->window_offset)) first = &row;
      }
      sequencer_.assign(LogId(0, static_cast<std::uint32_t>(p)), first->window_offset, first->window_clocks);
      next_.push_back(first->window_offset);
    }
    for (int l = 0; l < lanes; ++l) {
      std::vector<LaneOffset> rows;
      std::ranges::copy_if(claim.offsets, std::back_inserter(rows),
                           [l](const LaneOffset& row) { return row.lane == l; });
      LaneOptions options;
      options.lane = l;
      options.lanes = lanes;
      options.intervals = kIntervals;
      options.chains = {1, 56};
      options.topics = kTopics;
      options.dedupe_window = kWindow;
      options.max_lateness = kLateness;
      options.flush.rows = 20;
      options.catch_up_flush = options.flush;
      options.memory_limit = memory_limit;
      lanes_.push_back(std::make_unique<Lane>(options, rows, *this, &publisher_));
      queues_.emplace_back();
    }
    clock_.advance(Milliseconds(1));
  }

  // One thing that may happen now, chosen at random.
  void step(std::map<CandleKey, Seen>& readers, std::multiset<std::string>& letters) {
    const int what = below(random_, 8);
    if (what <= 1) read();
    if (what == 2 || what == 3) apply();
    if (what == 4 && !io_.empty()) {
      const auto task = io_.front();
      io_.pop_front();
      if (!task()) io_.push_back(task);
    }
    if (what == 5) {
      if (auto report = publisher_.settle(readers, letters)) {
        std::vector<DeliveryReport> reports;
        const auto lane = static_cast<std::size_t>(Outbox::lane_of_ticket(report->ticket));
        reports.push_back(std::move(*report));
        lanes_[lane]->reported(std::move(reports));
      }
    }
    if (what >= 6) tick();
  }

  bool idle() const {
    const auto drained = [](const auto& lane) { return lane->drained(); };
    const auto empty = [](const auto& queue) { return queue.empty(); };
    return all_read() && std::ranges::all_of(queues_, empty) && io_.empty() && std::ranges::all_of(lanes_, drained);
  }
  bool all_read() const {
    for (std::size_t p = 0; p < log_.size(); ++p) {
      if (next_[p] < static_cast<std::int64_t>(log_[p].size())) return false;
    }
    return true;
  }
  void read_no_more() { reading_ = false; }
  const std::optional<Error>& error() const { return error_; }
  Ledger ledger() const {
    Ledger sum;
    for (const auto& lane : lanes_) sum += lane->counters().ledger;
    return sum;
  }
  std::size_t candles_in_memory() const {
    std::size_t sum = 0;
    for (const auto& lane : lanes_) sum += lane->book().candle_count();
    return sum;
  }
  void tick(UnixSeconds wall = 0) {
    clock_.advance(Milliseconds(40));
    for (std::size_t l = 0; l < lanes_.size(); ++l) {
      Lane::Tick tick{clock_.now(), wall, {}, queues_[l].empty(), false};
      if (wall > 0) tick.idle_chains = {1, 56};
      lanes_[l]->tick(tick);
    }
  }

  void load(std::int32_t lane, std::vector<CandleKey> keys) override {
    io_.emplace_back([this, lane, keys] {
      const auto rows = store_.load(keys);
      if (!rows) return false;
      lanes_[static_cast<std::size_t>(lane)]->rows_loaded(keys, *rows);
      return true;
    });
  }
  void load_histories(std::int32_t lane, std::vector<PairName> names) override {
    io_.emplace_back([this, lane, names] {
      for (const PairName& name : names) lanes_[static_cast<std::size_t>(lane)]->history_loaded(name, {}, {});
      return true;
    });
  }
  void commit(std::int32_t lane, std::shared_ptr<const LaneCommit> commit) override {
    auto protocol = std::make_shared<CommitProtocol>(store_, *commit);
    io_.emplace_back([this, lane, commit, protocol] {
      const CommitProtocol::Next next = protocol->step();
      if (next == CommitProtocol::Next::kFailed) {
        failed(protocol->error());
        return true;
      }
      if (next == CommitProtocol::Next::kDone) lanes_[static_cast<std::size_t>(lane)]->committed();
      return next == CommitProtocol::Next::kDone;
    });
  }
  void cache(std::vector<CacheUpdate>) override {}
  void scan_bucket(std::int32_t lane, Interval interval, UnixSeconds bucket) override {
    io_.emplace_back([this, lane, interval, bucket] {
      std::vector<CandleRow> rows;
      for (const auto& [key, candle] : store_.rows) {
        if (key.interval == interval && key.time == bucket &&
            lane_of_pair(hash_of_pair(key.chain, key.pair), static_cast<std::int32_t>(lanes_.size())) == lane) {
          rows.push_back({key, candle});
        }
      }
      lanes_[static_cast<std::size_t>(lane)]->bucket_scanned(interval, bucket, rows, true);
      return true;
    });
  }
  void failed(const Error& error) override { error_ = error; }

 private:
  void read() {
    if (!reading_) return;
    auto batch = std::make_shared<DecodedBatch>();
    for (std::size_t p = 0; p < log_.size(); ++p) {
      for (int n = below(random_, 4); n > 0 && next_[p] < static_cast<std::int64_t>(log_[p].size()); --n) {
        const std::int64_t offset = next_[p]++;
        DecodedBatch::Part& part = batch->parts.emplace_back();
        part.message.log = LogId(0, static_cast<std::uint32_t>(p));
        part.message.offset = offset;
        const InputMessage& message = log_[p][static_cast<std::size_t>(offset)];
        for (std::size_t i = 0; i < message.trades.size(); ++i) {
          Trade trade = message.trades[i].trade;
          trade.pair = message.trades[i].pair;
          trade.pair_hash = hash_of_pair(trade.chain, trade.pair);
          trade.position.log = part.message.log;
          trade.position.offset = offset;
          trade.position.index = static_cast<std::uint32_t>(i);
          part.decoded.trades.push_back(trade);
        }
        group_by_lane(static_cast<std::int32_t>(lanes_.size()), part);
      }
    }
    if (batch->parts.empty()) return;
    sequencer_.sequence(*batch);
    for (auto& queue : queues_) queue.push_back(batch);
  }
  void apply() {
    const auto l = static_cast<std::size_t>(below(random_, static_cast<int>(lanes_.size())));
    if (queues_[l].empty() || !lanes_[l]->can_apply()) return;
    lanes_[l]->apply(*queues_[l].front());
    queues_[l].pop_front();
  }

  Random& random_;
  const Log& log_;
  FaultyStore& store_;
  SlowPublisher publisher_;
  Sequencer sequencer_;
  ManualClock clock_{kStart * 1000};
  std::vector<std::int64_t> next_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::vector<std::deque<std::shared_ptr<const DecodedBatch>>> queues_;
  std::deque<std::function<bool()>> io_;
  std::optional<Error> error_;
  bool reading_ = true;
};

struct Run {
  std::uint64_t seed;
  int partitions, messages, lanes, crashes, fault_percent;
  std::size_t memory_limit;
};

void check_run(const Run& run) {
  SCOPED_TRACE(fmt::format("seed {}", run.seed));
  spdlog::set_level(spdlog::level::err);  // the faults are meant
  Random random(run.seed);
  const Log log = make_log(random, run.partitions, run.messages);
  const Expected expected = recompute(log);
  FaultyStore store(random, run.fault_percent);
  std::map<CandleKey, Seen> readers;
  std::multiset<std::string> letters;
  for (int life = 0; life <= run.crashes; ++life) {
    Process process(random, log, store, run.lanes, run.memory_limit);
    const bool last = life == run.crashes;
    const int steps = last ? 2'000'000 : below(random, 4000);
    int i = 0;
    for (; i < steps && !(last && process.idle()); ++i) {
      process.step(readers, letters);
      ASSERT_FALSE(process.error()) << process.error()->message;
    }
    if (!last) continue;  // a crash: everything in memory is gone
    ASSERT_TRUE(process.idle()) << "did not drain";
    // The wall clock passes the end of everything: all candles are closed, in memory or not.
    for (int n = 0; n < 200'000 && (n < 1000 || !process.idle()); ++n) {
      process.step(readers, letters);
      process.tick(kStart + 1'000'000);
    }
    ASSERT_TRUE(process.idle()) << "did not drain after closing";
    if (run.crashes == 0) {
      EXPECT_EQ(process.ledger().counts, expected.ledger.counts);
    }
    EXPECT_EQ(process.candles_in_memory(), 0U) << "closed candles that are stored and delivered leave memory";
  }
  ASSERT_EQ(store.rows.size(), expected.candles.size());
  for (const auto& [key, candle] : expected.candles) {
    SCOPED_TRACE(fmt::format("{} {} {} {}", key.chain, key.pair, name_of(key.interval), key.time));
    ASSERT_TRUE(store.rows.contains(key));
    EXPECT_TRUE(store.rows.at(key) == candle);
    ASSERT_TRUE(readers.contains(key));
    EXPECT_EQ(readers.at(key).revision, candle.revision());
    EXPECT_EQ(readers.at(key).close, candle.close);
    EXPECT_TRUE(readers.at(key).closed);
  }
  EXPECT_GE(letters.size(), static_cast<std::size_t>(expected.ledger[Outcome::kLate]));
}

constexpr std::size_t kPlenty = std::size_t{64} << 20U;

TEST(Lanes, WithoutFaults) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) check_run({seed, 1, 200, 1, 0, 0, kPlenty});
}

TEST(Lanes, SeveralPartitionsAndLanes) {
  for (std::uint64_t seed = 100; seed <= 130; ++seed) check_run({seed, 3, 200, 4, 0, 5, kPlenty});
}

TEST(Lanes, CrashesAndFaults) {
  for (std::uint64_t seed = 1000; seed <= 1150; ++seed) check_run({seed, 2, 200, 3, 6, 15, kPlenty});
}

TEST(Lanes, CrashesAndFaultsWithLittleMemory) {
  for (std::uint64_t seed = 5000; seed <= 5060; ++seed) check_run({seed, 2, 200, 2, 4, 10, 6000});
}

}  // namespace
}  // namespace klined
