// The Kafka producer whose records count all together or not at all, and together with what was read for them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "klined/base/clock.hpp"
#include "klined/base/kafka_client.hpp"
#include "klined/publish/publisher.hpp"

namespace klined {

struct KafkaTransactionsOptions {
  KafkaProperties properties;    // bootstrap.servers at least
  std::string id;                // transactional.id: a newer producer of the same one fences this one
  Milliseconds timeout{20'000};  // the brokers abort what was not ended within it, of a process that died, say
};

// How far a partition was read, with a text that is kept beside it.
struct ReadPlace {
  std::string topic;
  std::int32_t partition = 0;
  std::int64_t next_offset = 0;
  std::string note;
};

// One transaction at a time: begin(), send() …, commit() or abort(). One thread.
//
// An error says what comes next:
//   kRetry    nothing of the transaction counts once abort() has worked; begin again from what is committed
//   kUnknown  this producer can't go on, and the transaction may count or not: open a new one of the same id, which
//             settles that, and look at what is committed
//   kFenced   the same as kUnknown, because another producer of this id, or another member of the group, has taken over
//   kFatal    somebody must mend something
class KafkaTransactions {
 public:
  // Fences earlier producers of the id, and waits until their transactions are settled. kRetry where no broker answers.
  static Result<std::unique_ptr<KafkaTransactions>> open(const KafkaTransactionsOptions& options);
  ~KafkaTransactions();  // what is open then is aborted, by the brokers if need be

  Status begin();
  // To the partition, or where the key belongs (-1). Waits while the queue is full. What becomes of it, commit() tells.
  Status send(const Publication& publication, std::int32_t partition = -1);
  // Together with how far was read as that member of the consumer group: refused where the group has gone on to another
  // generation since `member` was taken.
  Status commit(const std::vector<ReadPlace>& places, const rd_kafka_consumer_group_metadata_t* member);
  Status commit() { return commit({}, nullptr); }
  Status abort();
  bool is_open() const;  // a transaction is

  UnixMilliseconds last_error_ms() const;

 private:
  struct State;
  explicit KafkaTransactions(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace klined
