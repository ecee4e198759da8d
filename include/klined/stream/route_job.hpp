// `klined route` without its command line: the input topics, divided by pair, exactly once.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "klined/base/metrics.hpp"
#include "klined/codec/trade_decoder.hpp"
#include "klined/publish/kafka_transactions.hpp"
#include "klined/source/group_membership.hpp"
#include "klined/source/kafka_source.hpp"
#include "klined/stream/config.hpp"
#include "klined/stream/partition_watch.hpp"

namespace klined {

// Where a partition's reading goes on: its clocks are a fold over all messages before.
struct RoutePlace {
  std::int64_t next_offset = 0;
  ChainClocks clocks;
};

// A place's clocks as the text that is committed beside the offset, and back; nothing for a text of anybody else.
std::string note_of(const ChainClocks& clocks);
std::optional<ChainClocks> clocks_of_note(std::string_view note);

// One process of the consumer group "<group>-route". The state is nowhere but in the group's committed offsets: a
// transaction holds the records of some messages, the offsets behind them and, as the offsets' notes, the clocks there.
//
// Laws:
//  - the committed transactions of all processes hold each message's records once, and in each partition's order;
//  - where a transaction's end is in doubt, a new producer of the same id settles it, and reading goes on from what is
//    committed then: what is in memory is never trusted across a fault;
//  - a process that no longer is in the generation of its share can't commit: the brokers refuse its offsets.
//
// One thread runs it; stop() comes from another.
class RouteJob {
 public:
  RouteJob(const Config& config, const Clock& clock, Metrics& metrics);
  ~RouteJob();

  // Runs until stop() or an error that somebody must mend.
  Status run();
  void stop() { stopping_.store(true); }

 private:
  enum class SessionEnd {
    kStopped,     // as asked, everything read is committed
    kHandedOver,  // the group divides the partitions anew, everything read is committed
    kLost,        // the group has given the share to others
    kAgain,       // a transaction failed: on from what is committed
  };
  using Places = std::map<TopicPartition, RoutePlace>;
  struct Session;
  struct Counts {
    std::int64_t messages = 0, bytes = 0, records = 0, transactions = 0;
    std::int64_t routed = 0, ignored = 0, no_price = 0;  // trades
    Counts& operator+=(const Counts& other);
  };

  Status check_topics();
  Result<SessionEnd> run_session(const GroupMembership::Share& share);
  Status open_producer();
  Result<Places> find_places(Session& session);
  Result<RoutePlace> first_place(KafkaSource& source, const TopicPartition& partition);
  Result<bool> holds_records(KafkaSource& source, const std::string& topic);
  Status place_readers(Session& session, Places places);
  Result<SessionEnd> route(Session& session);
  Result<SessionEnd> end_session(Session& session, SessionEnd end);
  Status take_in(Session& session, const MessageBatch& batch);
  Status send(Session& session, const std::vector<Publication>& records);
  Status commit(Session& session);
  // What a failed transaction means: reading again, or an end.
  Result<SessionEnd> give_up(const Error& error);
  void watch(Session& session);
  void report();
  bool must_end() const;
  template <typename Call>
  auto persist(const char* what, Call call) -> decltype(call());

  const Config& config_;
  const Clock& clock_;
  Metrics& metrics_;
  PartitionWatch partition_watch_;
  const std::string group_;
  const std::string producer_id_;
  std::vector<std::string> topics_;  // sorted; a topic's rank is its place
  TradeDecoder decoder_;
  std::unique_ptr<GroupMembership> membership_;
  std::unique_ptr<KafkaTransactions> producer_;
  Counts counted_;  // committed since the last report
  Instant reported_at_{};
  bool is_failing_ = false;
  std::atomic<bool> stopping_{false};
};

}  // namespace klined
