// Where a session begins to read: what the log holds, held against what is stored.
#pragma once

#include <vector>

#include "klined/source/kafka_source.hpp"
#include "klined/store/candle_store.hpp"
#include "klined/stream/config.hpp"

namespace klined {

// What decides about the first offset of a partition.
enum class BeginAt {
  kStored,  // it has rows: they know
  kLow,     // the log's beginning
  kHigh,    // the log's end
  kTime,    // the first record at or after StartAt::time
};

// A partition that joins a topic whose other partitions have rows begins at its beginning, whatever `start` says: all
// that it holds came after the topic was taken on.
BeginAt begin_of(const TopicPartition& partition, const std::vector<LaneOffset>& stored, const StartAt& start);

// Where one partition is read from.
struct Placement {
  Assignment assignment;
  ChainClocks clocks;                        // the partition's, just before the assignment's offset
  std::vector<SourceWindow> source_windows;  // of topics whose records stand for parts of others: see LaneOffset
  std::int64_t stored_offset = 0;            // all lanes have stored what lies before
};

// Each partition is read from where the dedupe window of the lane began that has stored the least: what lies before is
// of no use to any lane. kFatal where the log no longer (or not yet) holds what is needed: it names the gap. Pure.
Result<Placement> place_reader(const Claim& claim, const TopicPartition& partition, const OffsetRange& range,
                               bool allow_dedupe_gap);

}  // namespace klined
