// `klined run` without its command line: waits for its turn, claims its partitions, streams, and hands over cleanly.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "klined/base/metrics.hpp"
#include "klined/base/outage.hpp"
#include "klined/store/group_lock.hpp"
#include "klined/stream/config.hpp"
#include "klined/stream/pipeline.hpp"
#include "klined/stream/placement.hpp"

namespace klined {

// One process: at most one session at a time, and a session only while it holds the group's lock.
//
// The lock only spares two processes each other's trouble. What keeps the tables right is the claim: whoever claimed
// last owns the offsets' rows, and an earlier owner's next commit is refused by the database.
class Job {
 public:
  Job(const Config& config, const Clock& clock, Metrics& metrics);
  ~Job();

  // Runs until stop() or a fatal error. An error is the reason why it ended; kFatal: somebody must mend something.
  Status run();
  // From a signal's thread: stop reading, drain, flush, commit, and return from run().
  void stop() { stopping_.store(true); }

 private:
  enum class SessionEnd {
    kStopped,     // as asked, everything is committed
    kFenced,      // another process has claimed the partitions
    kPartitions,  // the topics have more partitions now
  };
  struct Session;

  Status check_surroundings();
  Result<bool> wait_for_lock();
  Result<SessionEnd> run_session();
  Result<Claim> claim(KafkaSource& source, CandleStore& store, const std::vector<TopicPartition>& partitions);
  Result<std::vector<Placement>> place_readers(KafkaSource& source, const Claim& claim,
                                               const std::vector<TopicPartition>& partitions);
  Result<std::vector<PartitionStart>> starts_of(KafkaSource& source, const std::vector<LaneOffset>& stored,
                                                const std::vector<TopicPartition>& partitions);
  Result<SessionEnd> stream(Session& session);
  void take_in(Session& session, MessageBatch batch);
  Status end_session(Session& session);
  void align_partitions(Session& session);
  void watch(Session& session);
  void count(Session& session);
  void report(Session& session, bool at_start);
  template <typename Call>
  auto persist(const char* what, Call call) -> decltype(call());

  const Config& config_;
  const Clock& clock_;
  Metrics& metrics_;
  Outage mysql_outage_;
  std::unique_ptr<GroupLock> lock_;
  std::atomic<bool> stopping_{false};
};

}  // namespace klined
