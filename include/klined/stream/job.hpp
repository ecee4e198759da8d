// `klined run` without its command line: waits for its turn or its share, claims its partitions, streams, and hands
// over cleanly.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "klined/base/metrics.hpp"
#include "klined/base/outage.hpp"
#include "klined/source/group_membership.hpp"
#include "klined/store/group_lock.hpp"
#include "klined/stream/config.hpp"
#include "klined/stream/partition_watch.hpp"
#include "klined/stream/pipeline.hpp"
#include "klined/stream/placement.hpp"
#include "klined/stream/worker_thread.hpp"

namespace klined {

// One process: at most one session at a time. Where a pair may be on any partition, a session is all partitions, while
// this process holds the group's lock; where topics are partitioned by pair, it is this process's share of them, as
// long as the consumer group leaves it to us.
//
// Lock and group only spare two processes each other's trouble. What keeps the tables right is the claim: whoever
// claimed last owns the offsets' rows, and an earlier owner's next commit is refused by the database.
class Job {
 public:
  // kServe is `klined run`. kShadow fills the tables of `klined rebuild` from all partitions, beside the job that
  // serves: it sends no dead letters, joins no consumer group, and tells lag tools nothing. (That it publishes no
  // candles and caches none is its config's to say.)
  enum class Purpose { kServe, kShadow };

  Job(const Config& config, const Clock& clock, Metrics& metrics, Purpose purpose = Purpose::kServe);
  ~Job();

  // Runs until stop() or a fatal error. An error is the reason why it ended; kFatal: somebody must mend something.
  Status run();
  // From a signal's thread: stop reading, drain, flush, commit, and return from run().
  void stop() { stopping_.store(true); }

  // Of kShadow, before run(): each lane of a partition ends exactly there, and run() when all have. Partitions that are
  // not in it are not read.
  using Ends = std::map<TopicPartition, std::vector<std::int64_t>>;  // by lane
  void end_at(Ends ends) { ends_ = std::move(ends); }

  // Of kShadow, by partition: what is read, and where the log ended then; a moment old. From any thread.
  struct Reading {
    std::int64_t next_offset = 0;
    std::int64_t end = -1;  // -1: not known yet
  };
  std::map<TopicPartition, Reading> reading() const;

 private:
  enum class SessionEnd {
    kStopped,     // as asked, everything is committed
    kFenced,      // another process has claimed the partitions
    kPartitions,  // the topics have more partitions now
    kHandedOver,  // the group asked for the share, everything is committed
    kLost,        // the group has given the share to others
  };
  struct Session;

  Status check_surroundings();
  // False where the job was stopped meanwhile.
  Result<bool> wait_for_lock();
  Result<bool> wait_for_share();
  Status join_group();
  Status work();
  // Says what comes of a session's end; true where the job goes on.
  bool goes_on(SessionEnd end);
  // True where the session must end: the job is stopped, or its share is asked for.
  bool must_end() const;
  Result<SessionEnd> run_session();
  Result<Claim> claim(KafkaSource& source, CandleStore& store, const std::vector<TopicPartition>& partitions);
  Result<std::vector<Placement>> place_readers(KafkaSource& source, const Claim& claim,
                                               const std::vector<TopicPartition>& partitions);
  Status add_others(KafkaSource& source, const std::vector<LaneOffset>& stored, ClaimRequest& request);
  Result<std::vector<PartitionStart>> starts_of(KafkaSource& source, const std::vector<LaneOffset>& stored,
                                                const std::vector<TopicPartition>& partitions);
  void keep_lock(Session& session);
  Result<SessionEnd> stream(Session& session);
  Result<SessionEnd> hand_over(Session& session);
  void take_in(Session& session, MessageBatch batch);
  Status end_session(Session& session);
  void align_partitions(Session& session);
  void watch(Session& session);
  void commit_for_tools(Session& session);
  void count(Session& session);
  void report(Session& session, bool at_start);
  void note_reading(Session& session);
  void ingest(Session& session, MessageBatch batch);
  bool at_ends(const Session& session) const;
  template <typename Call>
  auto persist(const char* what, Call call) -> decltype(call());

  const Config& config_;
  const Clock& clock_;
  Metrics& metrics_;
  PartitionWatch partition_watch_;
  Purpose purpose_;
  Outage mysql_outage_;
  std::unique_ptr<GroupLock> lock_;
  // Where partitions are shared: the only one to use the lock. Each process has a seat as long as it runs, with a share
  // or without one, which keeps `klined reset` away; and whoever comes first holds the lock for all, which keeps a
  // process away that wants all partitions.
  std::unique_ptr<WorkerThread> seat_keeper_;
  std::unique_ptr<GroupMembership> membership_;  // where partitions are shared
  std::vector<TopicPartition> share_;            // what is taken of it
  std::atomic<bool> stopping_{false};
  std::optional<Ends> ends_;
  mutable std::mutex reading_mutex_;
  std::map<TopicPartition, Reading> reading_;
};

}  // namespace klined
