// No allocation per trade: from the bytes of a message to the candles in memory.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "klined/stream/lane.hpp"
#include "unit/stream/lane_input.hpp"

namespace {

std::atomic<std::int64_t> allocations{0};

void* counted(std::size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* const block = std::malloc(size == 0 ? 1 : size)) return block;
  throw std::bad_alloc();
}

}  // namespace

// Of the whole test program. The forms for arrays and without exceptions come down to this one.
void* operator new(std::size_t size) { return counted(size); }
void operator delete(void* block) noexcept { std::free(block); }
void operator delete(void* block, std::size_t) noexcept { std::free(block); }

namespace klined {
namespace {

constexpr ChainId kChain = 100'000;
constexpr std::size_t kMessages = 40;

class NoHost final : public LaneHost {
 public:
  void load(std::int32_t, std::vector<CandleKey>) override { FAIL() << "nothing is stored"; }
  void load_histories(std::int32_t, std::vector<PairName>, UnixSeconds) override { FAIL() << "nothing is stored"; }
  void commit(std::int32_t, std::shared_ptr<const LaneCommit>) override { FAIL() << "no flush is due"; }
  void cache(std::vector<CacheUpdate>) override {}
  void scan_bucket(std::int32_t, const BucketScan&) override { FAIL() << "nothing is stored"; }
  void failed(const Error& error) override { FAIL() << error.message; }
};

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
  LaneInput input;
  Counted counted;
  std::int64_t read = 0;
  for (std::size_t i = 0; i < kMessages; ++i) {
    const FeedMessage& message = messages[i];
    const std::int64_t before = allocations.load();
    const auto batch = input.next(message);
    EXPECT_TRUE(lane.can_apply(*batch));
    lane.apply(batch);
    read += message.trades;
    if (i < kMessages / 2) continue;
    counted.allocations += allocations.load() - before;
    counted.trades += message.trades;
  }
  EXPECT_GT(lane.counters().ledger[Outcome::kApplied], read * 9 / 10);
  return counted;
}

TEST(Allocations, DoNotGrowWithTrades) {
  const Counted few = second_half(messages_of(kMessages, 50));
  const Counted many = second_half(messages_of(kMessages, 800));
  ASSERT_GT(many.trades, few.trades + 10'000);
  // What is left are the doublings of the dedupe memory and of a vector or two.
  EXPECT_LT(many.allocations - few.allocations, 100) << few.allocations << " for " << few.trades << " trades";
}

}  // namespace
}  // namespace klined
