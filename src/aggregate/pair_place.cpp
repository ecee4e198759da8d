#include "klined/aggregate/pair_place.hpp"

#include <fmt/format.h>

namespace klined {

namespace {

// Of the topics that `klined route` writes.
constexpr std::string_view kRoutedSuffix = "-by-pair";

std::string remedy(const PairPlace& seen, std::string_view topic) {
  if (seen.topic != topic || !topic.ends_with(kRoutedSuffix)) {
    return "Where the topic is not keyed by pair, write partitioned_by: any, or read what `klined route` makes of it; "
           "where the pair has moved for good (partitions were added, another topic), see \"More than one process\" in "
           "the README";
  }
  return fmt::format(
      "If input.max_future or chains are others than when `klined route` wrote {}: what it could not use then lies by "
      "its place, not by its pair, and is good now. Keep the settings that it was routed under, or route it anew under "
      "these: stop all processes, delete {} and the offsets of group <group>-route (kafka-consumer-groups.sh "
      "--delete), then `klined init --by-pair`, `klined route`, and `klined reset`. The same where partitions were "
      "added to it",
      topic, topic);
}

}  // namespace

Error misplaced_pair(const PairPlace& seen, std::string_view topic, std::int32_t partition) {
  return {
      ErrorKind::kFatal,
      fmt::format("input.partitioned_by is pair, but pair {} of chain {} is on two partitions: {}[{}] and now {}[{}]; "
                  "nothing of it was written. {}",
                  seen.pair, seen.chain, topic, partition, seen.topic, seen.partition, remedy(seen, topic))};
}

}  // namespace klined
