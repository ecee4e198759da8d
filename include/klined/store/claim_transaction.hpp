// How a process takes partitions over: one transaction that either gives it all of them or changes nothing.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "klined/store/candle_store.hpp"
#include "klined/store/mysql_connection.hpp"
#include "klined/store/sql_text.hpp"
#include "klined/store/topic_numbers.hpp"

namespace klined {

// The lock of the server (GET_LOCK) whose holder is about to swap a group's tables: nobody claims while it is held.
std::string swap_lock_name(std::string_view database, std::string_view group);

// In stream_meta: the id of the set of tables (see Claim).
inline constexpr std::string_view kTablesName = "tables";

// See CandleStore::claim(). Claims at the same moment come one after the other, by a lock on stream_meta.
//
// Refuses whatever would end in candles that count a trade twice or not at all: another group's tables, other settings,
// candles without offsets, a reset that was broken off.
class ClaimTransaction {
 public:
  ClaimTransaction(MySqlConnection& connection, const ClaimRequest& request)
      : connection_(connection), request_(request) {}

  // kRetry or kFatal. Once.
  Result<Claim> run();
  // After run(): all topics known to the tables.
  const TopicNumbers& topics() const { return topics_; }

 private:
  using Partition = std::pair<std::string, std::int32_t>;

  Status take();
  Status check_meta();
  Status check_hold();
  Status name_tables(const std::string& stored);
  Status check_settings(const std::string& stored, const std::string& rebuilt);
  Status check_no_orphans(const std::string& group);
  Status register_topics();
  Status register_topic(const std::string& topic, std::vector<std::pair<std::int32_t, std::string>>& known);
  Result<std::map<Partition, std::vector<LaneOffset>>> read_stored();
  Status place_partition(const PartitionStart& start, const std::vector<LaneOffset>& stored);
  Result<std::vector<LaneOffset>> divide_anew(const PartitionStart& start, const std::vector<LaneOffset>& stored);
  Status note_begin(const PartitionStart& start);
  std::vector<LaneOffset> begin_at(const PartitionStart& start) const;
  Status look_at_group();
  Status write_offsets(std::span<const LaneOffset> offsets, bool are_ours);
  std::string database() const { return connection_.options().database; }

  MySqlConnection& connection_;
  const ClaimRequest& request_;
  SqlText sql_;
  TopicNumbers topics_;
  std::string tables_;
  // Of all the group's rows, also those of others' partitions: what holds for a partition that has no rows yet, since
  // its pairs may have come from another one.
  UnixSeconds max_block_time_ = -1;  // the largest
  UnixSeconds closed_until_ = -1;    // the smallest, of those that have a block time
  std::set<Partition> known_;        // partitions that have rows
  std::vector<LaneOffset> offsets_;
};

// Which setting differs between two texts like "intervals=1m,5m dedupe_window=600": its name and both values ("none"
// where it is missing); nothing where the texts say the same.
struct SettingDifference {
  std::string name;
  std::string stored;
  std::string wanted;
};
std::optional<SettingDifference> find_difference(std::string_view stored, std::string_view wanted);

}  // namespace klined
