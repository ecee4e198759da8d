// Where a pair's trades come from, in topics that are partitioned by pair.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "klined/base/error.hpp"
#include "klined/core/trade.hpp"

namespace klined {

struct PairPlace {
  ChainId chain = 0;
  std::string pair;
  std::string topic;
  std::int32_t partition = 0;
  friend auto operator<=>(const PairPlace&, const PairPlace&) = default;
};

// The fatal error of a pair that was seen on one partition and belongs to another.
Error misplaced_pair(const PairPlace& seen, std::string_view topic, std::int32_t partition);

}  // namespace klined
