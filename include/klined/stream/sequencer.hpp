// Puts the clocks on decoded messages, in the order of each partition.
#pragma once

#include <map>

#include "klined/stream/batch.hpp"

namespace klined {

// Decoding is parallel and in any order; clocks are a fold over each partition in its order. This is the one place
// where messages pass one after another. Owned by the thread that reads the input.
class Sequencer {
 public:
  explicit Sequencer(UnixSeconds dedupe_window) : dedupe_window_(dedupe_window) {}

  // The partition is read from `offset`, where its clocks stood at `clocks`.
  void assign(LogId log, std::int64_t offset, ChainClocks clocks);

  // Sets each part's clocks, and the batch's places and chain clocks. The parts are in the order of each partition.
  void sequence(DecodedBatch& batch);

  // The partition's place now.
  PartitionPlace place_of(LogId log) const { return partitions_.at(log).place(); }
  // The largest of the partition's clocks; nothing before its first trade.
  std::optional<UnixSeconds> block_time_of(LogId log) const;
  const ChainClocks& chain_clocks() const { return chain_clocks_; }

 private:
  UnixSeconds dedupe_window_;
  std::map<LogId, PartitionProgress> partitions_;
  ChainClocks chain_clocks_;
};

}  // namespace klined
