// Puts the clocks on decoded messages, in the order of each partition.
#pragma once

#include <map>
#include <vector>

#include "klined/stream/batch.hpp"

namespace klined {

// Decoding is parallel and in any order; clocks are a fold over each partition in its order. This is the one place
// where messages pass one after another. Owned by the thread that reads the input.
class Sequencer {
 public:
  explicit Sequencer(UnixSeconds dedupe_window) : dedupe_window_(dedupe_window) {}

  // The partition is read from `offset`, where its clocks stood at `clocks`, or where its sources' windows are given,
  // as those say.
  void assign(LogId log, std::int64_t offset, ChainClocks clocks, const std::vector<SourceWindow>& windows = {});

  // Sets each part's clocks, and the batch's places and chain clocks. The parts are in the order of each partition.
  void sequence(DecodedBatch& batch);

  // The partition has no records before `offset` beyond those that came (what is there are a transaction's marks).
  // False where that is known.
  bool skip_to(LogId log, std::int64_t offset);

  // The partition's place now.
  PartitionPlace place_of(LogId log) const;
  // The largest of the partition's clocks; nothing before its first trade.
  std::optional<UnixSeconds> block_time_of(LogId log) const;
  const ChainClocks& chain_clocks() const { return chain_clocks_; }

 private:
  struct Partition {
    std::int64_t next_offset;
    PartitionProgress own;                              // over all records
    std::map<std::int32_t, PartitionProgress> origins;  // over those that have clocks of their origin
  };
  void sequence_part(DecodedBatch::Part& part);

  UnixSeconds dedupe_window_;
  std::map<LogId, Partition> partitions_;
  ChainClocks chain_clocks_;
};

}  // namespace klined
