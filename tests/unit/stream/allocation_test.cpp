// No allocation per trade: from the bytes of a message to the candles in memory.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "klined/publish/market.hpp"
#include "klined/stream/lane.hpp"
#include "klined/stream/sequencer.hpp"

namespace {

std::atomic<std::int64_t> allocations{0};

void* counted(std::size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* const block = std::malloc(size == 0 ? 1 : size)) return block;
  throw std::bad_alloc();
}

}  // namespace

// Of the whole test program. The other forms of new come down to this one.
void* operator new(std::size_t size) { return counted(size); }
void operator delete(void* block) noexcept { std::free(block); }
void operator delete(void* block, std::size_t) noexcept { std::free(block); }

namespace klined {
namespace {

constexpr ChainId kChain = 100'000;
constexpr UnixMilliseconds kMidnight = 1'767'225'600'000;  // 2026-01-01: no bucket ends within the test
constexpr std::int32_t kMessages = 40;

class NoHost final : public LaneHost {
 public:
  void load(std::int32_t, std::vector<CandleKey>) override { FAIL() << "nothing is stored"; }
  void load_histories(std::int32_t, std::vector<PairName>, UnixSeconds) override { FAIL() << "nothing is stored"; }
  void commit(std::int32_t, std::shared_ptr<const LaneCommit>) override { FAIL() << "no flush is due"; }
  void cache(std::vector<CacheUpdate>) override {}
  void scan_bucket(std::int32_t, const BucketScan&) override { FAIL() << "nothing is stored"; }
  void failed(const Error& error) override { FAIL() << error.message; }
};

// A slot's trades of fifty pairs a message, all within one minute.
std::vector<FeedMessage> messages_of(std::int32_t trades) {
  MarketSimulator market(MarketOptions{.pairs = 50,
                                       .zipf_exponent = 0,
                                       .trades_per_second = trades * 1000.0 / MarketSimulator::kSlotMs,
                                       .start = kMidnight});
  std::vector<FeedMessage> messages;
  while (messages.size() < kMessages) market.next_slot("2026-01-01T00:00:00.000Z", 1'000'000, messages);
  messages.resize(kMessages);
  return messages;
}

struct Counted {
  std::int64_t trades = 0;
  std::int64_t allocations = 0;
};

// Of the second half of the messages, when every pair has its candles.
Counted second_half(const std::vector<FeedMessage>& messages) {
  NoHost host;
  LaneOptions options;
  options.intervals = {Interval::k1m, Interval::k5m, Interval::k1h, Interval::k1d};
  options.chains = {kChain};
  options.topics = {"trades"};
  options.flush.rows = 1'000'000;
  LaneOffset offset_row;
  offset_row.topic = "trades";
  Lane lane(options, {offset_row}, host, nullptr);
  Sequencer sequencer(600);
  sequencer.assign(LogId(0, 0), 0, {}, {});
  TradeDecoder decoder;
  Counted counted;
  std::int64_t read = 0;
  for (std::int64_t offset = 0; offset < kMessages; ++offset) {
    const FeedMessage& message = messages[static_cast<std::size_t>(offset)];
    const std::int64_t before = allocations.load();
    const auto batch = std::make_shared<DecodedBatch>();
    batch->parts.resize(1);
    batch->parts.front().message = {LogId(0, 0), offset, message.time, message.value};
    decode_part(decoder, 1, batch->parts.front());
    group_parts(1, *batch);
    sequencer.sequence(*batch);
    EXPECT_TRUE(lane.can_apply(*batch));
    lane.apply(batch);
    read += message.trades;
    if (offset < kMessages / 2) continue;
    counted.allocations += allocations.load() - before;
    counted.trades += message.trades;
  }
  EXPECT_GT(lane.counters().ledger[Outcome::kApplied], read * 9 / 10);
  return counted;
}

TEST(Allocations, DoNotGrowWithTrades) {
  const Counted few = second_half(messages_of(50));
  const Counted many = second_half(messages_of(800));
  ASSERT_GT(many.trades, few.trades + 10'000);
  // What is left are the doublings of the dedupe memory and of a vector or two.
  EXPECT_LT(many.allocations - few.allocations, 100) << few.allocations << " for " << few.trades << " trades";
}

}  // namespace
}  // namespace klined
