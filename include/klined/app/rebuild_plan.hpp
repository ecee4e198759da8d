// What a rebuild was asked for, as it is kept beside its tables: whoever goes on after a crash does the same.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "klined/base/clock.hpp"

namespace klined::app {

struct RebuildPlan {
  // What becomes of candles that the log no longer tells of in full.
  enum class Older { kRefuse, kKeep, kDrop };

  std::string from = "earliest";  // as on the command line
  std::optional<UnixSeconds> at;  // the time that it meant; nothing for earliest
  Older older = Older::kRefuse;
  // Buckets that begin up to here are not made of the log alone; nothing where all are.
  std::optional<UnixSeconds> lost_until;
  std::int32_t lanes = 1;
  bool is_dry = false;
  bool has_kept = false;       // kKeep: the older candles have been copied
  std::int64_t put_backs = 0;  // count_put_backs() when it began: all of it must know the same

  friend bool operator==(const RebuildPlan&, const RebuildPlan&) = default;
};

// "from=earliest at=- older=refuse lost_until=- lanes=8 dry=0 kept=0 put_backs=0"
std::string plan_text(const RebuildPlan& plan);
// Nothing where the text is no plan of this program's.
std::optional<RebuildPlan> parse_plan(std::string_view text);
std::string_view name_of(RebuildPlan::Older older);

}  // namespace klined::app
