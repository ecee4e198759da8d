// What must change in one hash so that it says what the tables say.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "klined/base/clock.hpp"
#include "klined/cache/redis_layout.hpp"
#include "klined/cache/row_source.hpp"

namespace klined {

// A field of the hash as it is in Redis. The views point into Redis' reply.
struct StoredField {
  std::string_view name;
  std::string_view value;
};

// Candles by time, with the revision that Redis holds.
using Doubts = std::map<UnixSeconds, std::int64_t>;

struct RepairPlan {
  struct Write {
    UnixSeconds time = 0;
    CandleVersion version;
    std::string value;
  };
  std::vector<Write> writes;
  std::vector<std::string> removals;  // names of fields
  // Candles that no row stands for, among the times that the rows cover: a late trade's that is not committed yet, or
  // nobody's. They stay for now; whoever is still here, unchanged, at a later look is nobody's.
  Doubts doubts;

  bool nothing_to_do() const { return writes.empty() && removals.empty(); }
};

struct RepairRules {
  std::size_t keep = 300;
  UnixSeconds close_clock = 0;  // of the series' chain
  Milliseconds close_grace{2'000};
};

// Pure. The laws:
// - Afterwards the hash holds the newest `keep` candles of rows and accepted fields together, and no others.
// - A field is rewritten where it is missing, corrupt, of a lower version than its row, or of the same revision and
//   different. A field of a higher revision than its row is a live update that is not committed yet: it stays.
// - A field newer than the newest row stays (not committed yet), as does everything where there are no rows at all.
// - A field that is no bucket's start goes, as does a corrupt one without a row.
// - Other fields without a row are doubts; those that `doubts_before` names at the same revision go.
RepairPlan plan_repair(const SeriesName& series, const std::vector<CandleRow>& rows,
                       const std::vector<StoredField>& fields, const RepairRules& rules, const Doubts& doubts_before);

}  // namespace klined
