// The seam to the database: candles and the input offsets that they contain, committed together.
//
// Production is MySqlCandleStore; tests have a double that fails, answers late and loses the answer of COMMIT.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "klined/aggregate/pair_place.hpp"
#include "klined/aggregate/partition_progress.hpp"
#include "klined/base/error.hpp"
#include "klined/core/series.hpp"

namespace klined {

// One row of stream_offset: how far a lane has stored a partition, and what it needs to go on from there.
struct LaneOffset {
  std::string topic;
  std::int32_t partition = 0;
  std::int32_t lane = 0;
  std::int64_t next_offset = 0;
  // Where the dedupe window began at next_offset, and the partition's clocks just before that message: reading from
  // there, without applying, rebuilds both the dedupe memory and the clocks.
  std::int64_t window_offset = 0;
  ChainClocks window_clocks;
  std::vector<SourceWindow> source_windows{};  // as in PartitionPlace
  // The largest block_time that the lane has applied, from any partition; -1 where there is none. No row of the lane's
  // pairs lies in a later bucket.
  UnixSeconds max_block_time = -1;
  // Every candle of the lane that ended, with its grace, at or before this was published as closed.
  UnixSeconds closed_until = -1;
  friend bool operator==(const LaneOffset&, const LaneOffset&) = default;
};

// What one transaction of a lane does: all of it or nothing.
struct LaneCommit {
  std::int32_t lane = 0;
  std::vector<CandleRow> rows;  // absolute values; sorted by CandleKey's interval, chain, pair, time by the store
  struct Advance {
    std::int64_t expected = 0;  // next_offset as last stored
    LaneOffset to;
  };
  std::vector<Advance> offsets;  // all partitions that the process owns, moved or not: that is what fences
  // Where topics are partitioned by pair: the pairs that the lane has not told of yet.
  std::vector<PairPlace> pairs{};
};

struct PartitionStart {
  std::string topic;
  std::int32_t partition = 0;
  std::int64_t offset = 0;  // for a partition that has no rows yet
};

struct ClaimRequest {
  std::string group;
  std::uint64_t owner = 0;  // drawn at random for each claim; the newest claimer owns the rows
  std::int32_t lanes = 0;
  // Settings that the stored candles depend on, as text ("intervals=1m,5m dedupe_window=600 …"): a change is refused.
  std::string settings;
  std::vector<PartitionStart> partitions;
  // Partitions that are other processes': their rows are made where there are none, so that all of a topic's partitions
  // begin as input.start says, whenever they are claimed. Nobody's rows are changed.
  std::vector<PartitionStart> others{};
  // Topics that positions may name besides those of the partitions.
  std::vector<std::string> topics{};
};

struct Claim {
  std::vector<LaneOffset> offsets;  // every claimed partition × lane
  std::vector<std::string> topics;  // all topics known to the tables, sorted by name: the index is LogId's topic rank
  // Of this set of tables, drawn at random by its first claim. A reset, a rebuild and a repair make another one: what
  // it decided about a trade says nothing of this one.
  std::string tables{};
};

// Calls block. Not thread-safe: one object a connection.
class CandleStore {
 public:
  virtual ~CandleStore() = default;

  // Takes the partitions' rows over (any earlier owner's next commit is refused) and makes the missing ones. Fatal:
  // another group's rows are in the tables, the settings differ from those of the stored candles, the number of lanes
  // differs while the lanes of a partition stand apart (where they stand at one offset the rows are rewritten).
  virtual Result<Claim> claim(const ClaimRequest& request) = 0;

  // The stored candles among `keys`; those without a row are left out. kRetry, kFenced (another owner) or kFatal.
  virtual Result<std::vector<CandleRow>> load(std::span<const CandleKey> keys) = 0;

  // One transaction: offsets by compare-and-set, rows by idempotent upserts. kRetry: nothing was done. kUnknown: the
  // answer of COMMIT was lost, ask was_committed(). kFenced: another owner. kFatal: mend something, or a pair that
  // belongs to another partition (misplaced_pair()).
  virtual Status commit(const LaneCommit& commit) = 0;

  // After kUnknown, on a new connection: true where the commit is stored, false where it is not, kFenced where neither.
  virtual Result<bool> was_committed(const LaneCommit& commit) = 0;
};

}  // namespace klined
