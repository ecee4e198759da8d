#include "klined/stream/memory_plan.hpp"

#include <algorithm>

namespace klined {

namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20U;
constexpr std::size_t kProgram = 48 * kMiB;  // code, threads and their stacks, the clients, decoders

}  // namespace

MemoryPlan memory_plan(std::int64_t limit) {
  const auto whole = static_cast<std::size_t>(limit);
  MemoryPlan plan;
  plan.inflight = std::clamp(whole / 8, 32 * kMiB, 256 * kMiB);
  const std::size_t queue = std::clamp(whole / 16, 16 * kMiB, 64 * kMiB);
  plan.producer_queue = plan.cache_queue = queue;
  // A series that is not known is read before each write, which costs Redis and its client twice as much.
  plan.cache_known = std::clamp(whole / 16, 16 * kMiB, 512 * kMiB);
  // A response comes on top of a queue that is almost full. It is unpacked whole: LZ4 begins with four times its size.
  plan.read_ahead = std::clamp(whole / 16, 16 * kMiB, 128 * kMiB);
  plan.read_queue = plan.read_ahead / 2;
  plan.fetch = plan.read_ahead / 16;
  const std::size_t others = kProgram + plan.inflight + plan.read_ahead + 2 * queue + plan.cache_known;
  plan.lanes = (std::max(whole, others) - others) / 6 * 5;
  // The rest of the lanes' share is enough to go on with: candles come and go.
  plan.dedupe_max = plan.lanes / 10 * 7;
  return plan;
}

}  // namespace klined
