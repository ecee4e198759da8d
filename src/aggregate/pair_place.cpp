#include "klined/aggregate/pair_place.hpp"

#include <fmt/format.h>

namespace klined {

Error misplaced_pair(const PairPlace& seen, std::string_view topic, std::int32_t partition) {
  return {
      ErrorKind::kFatal,
      fmt::format("input.partitioned_by is pair, but pair {} of chain {} is on two partitions: {}[{}] and now {}[{}]; "
                  "nothing of it was written. Where the topic is not keyed by pair, write partitioned_by: any, or read "
                  "what `klined route` makes of it; where the pair has moved for good (partitions were added, another "
                  "topic), see \"More than one process\" in the README",
                  seen.pair, seen.chain, topic, partition, seen.topic, seen.partition)};
}

}  // namespace klined
