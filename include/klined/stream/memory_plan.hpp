// How engine.memory_limit is divided.
#pragma once

#include <cstddef>
#include <cstdint>

namespace klined {

// In bytes. The parts and the program itself make up the limit; what is counted in them is what the allocator is asked
// for, so the lanes' share leaves a sixth to it.
struct MemoryPlan {
  std::size_t inflight = 0;        // input that was read and that not all lanes have applied
  std::size_t read_ahead = 0;      // what the consumer holds: its queue, a response, and what that is unpacked to
  std::size_t read_queue = 0;      // of `read_ahead`: a longer queue stops the fetching
  std::size_t fetch = 0;           // of `read_ahead`: a response, compressed; a single larger record comes all the same
  std::size_t producer_queue = 0;  // messages that are not acknowledged
  std::size_t cache_queue = 0;     // what waits for Redis
  std::size_t cache_known = 0;     // what Redis is known to hold
  std::size_t lanes = 0;           // candles and dedupe memory of all lanes
  std::size_t dedupe_max = 0;      // of `lanes`: more dedupe memory is an error
};

// `limit`: 256 MiB or more.
MemoryPlan memory_plan(std::int64_t limit);

}  // namespace klined
