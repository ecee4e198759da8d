// What one run is made of. All of it follows from the seed; options of the command line change parts of it.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace klined::simulation {

// Which kinds of trouble there may be.
struct Troubles {
  bool mysql = true;       // faults of the client's calls
  bool kafka = true;       // failed deliveries, a full queue, fatal errors of the producer
  bool crash = true;       // the process dies at any point
  bool zombie = true;      // a second process claims while the first goes on
  bool stop = true;        // graceful stops, with other numbers of lanes after some of them
  bool trim = true;        // the log's beginning is deleted
  bool partitions = true;  // partitions join

  // "mysql,kafka", "all", "none"; nothing where a name is wrong.
  static std::optional<Troubles> parse(std::string_view text);
};

struct Plan {
  std::uint64_t seed = 0;        // of everything
  std::uint64_t world_seed = 0;  // of the input and the schedule: runs of a sweep share it
  Troubles troubles;
  int messages = 0;
  int partitions = 1;  // at the end; some of them join later
  int lanes = 1;
  int crashes = 0;                                   // processes that end before the last one, one way or the other
  int fault_percent = 0;                             // of the calls to MySQL and to the producer
  std::optional<int> fault_at;                       // a sweep: exactly this call fails, and no other
  std::uint64_t memory_limit = 0;                    // of a process, bytes
  bool dirty = true;                                 // late, duplicate, clamped, future, invalid, broken
  bool all_there = false;                            // the whole input is there from the beginning
  int faults_max = std::numeric_limits<int>::max();  // faults beyond are left out, for shrinking
};

// Seeds come in blocks of 256; each fourth block is a sweep: one world, in which run k fails at call k.
Plan plan_of(std::uint64_t seed);

}  // namespace klined::simulation
