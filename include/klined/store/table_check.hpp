// What `klined verify` needs of the database: the tables at one moment, cell by cell, and a repair that a running job
// cannot undo.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "klined/store/candle_reader.hpp"
#include "klined/store/candle_store.hpp"
#include "klined/store/mysql_connection.hpp"
#include "klined/store/sql_text.hpp"
#include "klined/store/topic_numbers.hpp"

namespace klined {

// A cell that is not what it should be, as texts.
struct CellDifference {
  std::string column;
  std::string stored;
  std::string expected;
};

// Rows and offsets as of one moment: the rows hold exactly the trades up to each lane's next_offset, whatever a job
// writes meanwhile. While it is open the server keeps the old versions of what changes, so keep it open briefly.
class TableSnapshot {
 public:
  explicit TableSnapshot(MySqlOptions options) : connection_(std::move(options)) {}

  // Takes a new one. kFatal where the tables are another group's, or a reset was broken off.
  Status open(std::string_view group);
  void close() { connection_.rollback(); }

  const std::vector<LaneOffset>& offsets() const { return offsets_; }  // by topic, partition, lane
  const TopicNumbers& topics() const { return topics_; }
  // The settings that the candles were computed with; "" where there are none.
  std::string settings() const;
  // Where the candles' trades of the partition begin; nothing where the tables do not say.
  std::optional<std::int64_t> begin_of(const std::string& topic, std::int32_t partition) const;

  // Calls `visit` for each row of the interval (of one pair where `pair` is not ""), ordered by key. `differences`
  // compares its cells with what they should be.
  using Compare = std::function<std::vector<CellDifference>(const Candle& expected)>;
  using Visit = std::function<void(const CandleKey& key, const Compare& compare)>;
  Status scan(Interval interval, const TimeRange& range, std::string_view pair, const Visit& visit);

 private:
  Status read_meta(std::string_view group);

  MySqlConnection connection_;
  std::map<std::string, std::string, std::less<>> meta_;
  TopicNumbers topics_;
  std::vector<LaneOffset> offsets_;
  SqlText sql_;
};

// Writes rows under a running job, in one transaction: hold(), then finish() with what the rows should be at exactly
// those offsets. Its commit takes the offsets' rows over, so that the job's next commit is refused (kFenced): the job
// forgets what it holds in memory, claims again, and goes on from the stored offsets, which have not moved.
class RepairTransaction {
 public:
  explicit RepairTransaction(MySqlOptions options) : connection_(std::move(options)) {}
  ~RepairTransaction() { connection_.rollback(); }
  RepairTransaction(const RepairTransaction&) = delete;
  RepairTransaction& operator=(const RepairTransaction&) = delete;

  // No commit of a job goes through from here on (it waits, and is tried again) until finish() or the end of this
  // object. The stored offsets. kRetry: nothing is held.
  Result<std::vector<LaneOffset>> hold(std::string_view group);
  // Writes the rows, deletes those of the keys, takes the offsets over, and names the tables anew (see Claim): they may
  // hold trades of which dead letters tell that they are without them. kUnknown: it may or may not be done.
  Status finish(std::string_view group, std::uint64_t owner, const std::vector<CandleRow>& rows,
                const std::vector<CandleKey>& surplus, const TopicNumbers& topics);

 private:
  MySqlConnection connection_;
  SqlText sql_;
};

}  // namespace klined
