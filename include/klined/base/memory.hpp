// What the process holds of the machine's memory.
#pragma once

#include <cstddef>

namespace klined {

// The resident size of this process in bytes; 0 where the system does not tell.
std::size_t resident_bytes();

// Has the allocator return to the system what it keeps of freed memory, also between blocks that are in use, which it
// does not do by itself. Takes about a millisecond for 10 MB; other threads may wait that long for memory.
void give_back_memory();

}  // namespace klined
