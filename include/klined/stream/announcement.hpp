// After a rebuild: what it changed goes to the readers of Kafka and Redis.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "klined/store/shadow_tables.hpp"
#include "klined/store/table_scan.hpp"
#include "klined/stream/config.hpp"

namespace klined {

// Compares the tables in use with those of before the rebuild and publishes each candle that differs, as it is now; a
// job that goes on publishes newer revisions of them, which win. May be done again, which does no harm.
//
// A reader of the topics keeps the largest revision, and a revision is a count of trades: candles that have fewer now
// can't be told to it. In Redis they are overwritten.
class Announcement {
 public:
  enum class Which { kChanged, kAll, kNone };
  struct Counts {
    std::int64_t compared = 0;
    std::int64_t published = 0;
    std::int64_t fewer = 0;  // candles with fewer trades than before, or none any more
  };

  Announcement(const Config& config, ShadowTables& tables, Which which, const std::atomic<bool>& stopping)
      : config_(config), tables_(tables), which_(which), stopping_(stopping) {}

  // kRetry: stopped, or a server is away.
  Result<Counts> run();

 private:
  class Sender;
  class Cache;
  struct Scope;
  Status announce(Scope& scope, Interval interval, bool has_old);
  Status visit(Scope& scope, TableScan* before, TableScan* after);

  const Config& config_;
  ShadowTables& tables_;
  Which which_;
  const std::atomic<bool>& stopping_;
  Counts counts_;
};

}  // namespace klined
