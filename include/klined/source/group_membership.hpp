// A process's membership in the Kafka consumer group: which partitions are its share, and when it must give them up.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <librdkafka/rdkafka.h>

#include "klined/source/kafka_source.hpp"

namespace klined {

struct GroupMembershipOptions {
  std::map<std::string, std::string> properties;  // librdkafka's, bootstrap.servers at least
  std::string group;
  std::vector<std::string> topics;
  Milliseconds hand_over_timeout{30'000};  // how long a revoked share may take to be given back
};

// A consumer that subscribes, is assigned a share of the partitions, and never fetches: the reading is KafkaSource's,
// from the offsets in MySQL.
//
// Laws:
//  - a share that is taken is given away by Kafka only after release(), unless it is lost: the group waits, as long as
//    hand_over_timeout;
//  - it spares processes each other's trouble, no more. A process that was stopped does not know that its share is
//  lost:
//    what keeps the tables right is the claim (see CandleStore).
//
// It has a thread of its own, which polls: heartbeats go on whatever the job does. The assignor is eager ("range"): a
// rebalance takes all shares back before it gives new ones. Thread-safe.
class GroupMembership {
 public:
  // Joins. kFatal where the settings are refused.
  static Result<std::unique_ptr<GroupMembership>> open(const GroupMembershipOptions& options);
  // Leaves; a share that is still held counts as released. Takes some seconds at most.
  ~GroupMembership();
  GroupMembership(const GroupMembership&) = delete;
  GroupMembership& operator=(const GroupMembership&) = delete;

  struct Share {
    std::uint64_t number = 0;  // of this assignment: grows
    std::vector<TopicPartition> partitions;
    // Who we are in the group's generation that gave it: for offsets that are committed with a transaction. Null where
    // the share was lost before it came.
    std::shared_ptr<const rd_kafka_consumer_group_metadata_t> member{};
  };
  // The share, from now on held until release(); nothing where there is none after `timeout`. It may be empty: there
  // are more members than partitions.
  std::optional<Share> take(Milliseconds timeout);

  enum class Demand {
    kNone,
    kHandOver,  // finish what was read, then release()
    kLost,      // stop at once: others may read it already. Then release()
  };
  // What is asked of the one who holds the share.
  Demand demand() const;
  void release();

  // How far the group has committed, by partition; one that it has committed nothing of is not there. Offsets of open
  // transactions are waited for. kRetry where no broker answers in time.
  struct Committed {
    std::int64_t next_offset = 0;
    std::string note;  // that was committed with it
  };
  Result<std::map<TopicPartition, Committed>> committed(const std::vector<TopicPartition>& partitions,
                                                        Milliseconds timeout);
  // Tells lag tools how far the held partitions are stored. Best effort, asynchronous.
  void commit_for_tools(const std::map<TopicPartition, std::int64_t>& next_offsets);
  // Set where it cannot go on: the brokers refuse the group, say.
  std::optional<Error> failure() const;
  UnixMilliseconds last_error_ms() const;

 private:
  struct State;
  explicit GroupMembership(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace klined
