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
  plan.read_ahead = plan.producer_queue = plan.cache_queue = plan.cache_known = queue;
  const std::size_t others = kProgram + plan.inflight + 4 * queue;
  plan.lanes = (std::max(whole, others) - others) / 6 * 5;
  // The rest of the lanes' share is enough to go on with: candles come and go.
  plan.dedupe_max = plan.lanes / 10 * 7;
  return plan;
}

}  // namespace klined
