// Sends batches of trades and knows of each where it came to lie; what Kafka does not take now waits in a file.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "klined/base/clock.hpp"
#include "klined/publish/kafka_publisher.hpp"
#include "klined/publish/spool.hpp"

namespace klined {

struct FeederOptions {
  KafkaProperties properties;         // librdkafka's, bootstrap.servers at least
  std::vector<std::string> topics{};  // that will be sent to, as far as they are known (see KafkaPublisherOptions)
  std::string spool_path;
  std::int64_t spool_bytes = 1LL << 30U;  // where it is full, feed() waits for Kafka
  std::size_t window = 1;                 // messages sent without waiting for each: more is faster
};

struct FeederTotals {
  struct Partition {
    std::int64_t first_offset = -1;
    std::int64_t last_offset = -1;
    std::int64_t messages = 0;
  };
  std::int64_t messages = 0;  // accepted
  std::int64_t trades = 0;
  std::int64_t bytes = 0;
  std::int64_t confirmed = 0;   // delivered, by this process; those from the spool included
  std::int64_t spooled = 0;     // had to go to the spool
  std::int64_t from_spool = 0;  // delivered from there
  std::int64_t left_in_spool = 0;
  std::map<std::int32_t, Partition> partitions;
};

// Laws: what feed() accepted is delivered at least once, by this process or, from the spool, by a later one; the spool
// is sent in order, and before anything newer. With a window of 1 nothing is ever sent out of order.
//
// While Kafka is away, feed() goes on accepting into the spool (after message.timeout.ms, 5 s, of waiting for the first
// message that fails). One thread; reports come on the publisher's.
class Feeder {
 public:
  // What an earlier process left in the spool is sent first. Once `stop` is true nothing waits for Kafka any more.
  static Result<std::unique_ptr<Feeder>> open(const FeederOptions& options, const std::atomic<bool>& stop);
  // Puts what is not delivered into the spool.
  ~Feeder();

  // kFatal where the message can never be delivered, or the spool's disk fails; a message that was refused by Kafka is
  // kept in the spool. kRetry where it was told to stop before there was room: nothing was accepted.
  Status feed(Publication&& publication, std::int64_t trades);
  // Sends from the spool for as long as given; returns early only where it was told to stop or on an error.
  Status idle_until(Instant when);
  // Waits until all is delivered; kRetry where `patience` or `stop` ended that, the rest being in the spool.
  Status finish(Milliseconds patience);

  FeederTotals totals() const;
  bool spooling() const { return !spool_->empty(); }

 private:
  // What is on its way: either new messages, or the spool's first ones, never both.
  struct Sent {
    std::string key;
    std::size_t bytes = 0;
    std::optional<DeliveryReport> report;
  };

  Feeder(const FeederOptions& options, const std::atomic<bool>& stop, std::unique_ptr<Spool> spool);
  void send(Publication& publication);
  // Takes over the reports that came, waiting for some until `limit`. True where nothing is on its way any more.
  bool collect(Instant limit);
  // Waits until at most `count` new messages are on their way; all of them where one has failed.
  Status wait_for_room(std::size_t count);
  Status settle_new();
  Status settle_spooled();
  Status pump(Instant limit);
  Status spool(std::vector<Publication> publications);
  void count_delivery(const Sent& sent);
  void give_up();

  const std::size_t window_;
  const std::atomic<bool>& stop_;
  SystemClock clock_;
  std::unique_ptr<Spool> spool_;
  std::unique_ptr<KafkaPublisher> publisher_;  // none once it was told to stop while Kafka was away
  std::uint64_t next_ticket_ = 1;
  std::map<std::uint64_t, Sent> sent_;  // in order
  std::size_t unreported_ = 0;          // of those
  bool failed_ = false;                 // one of those has failed
  bool from_spool_ = false;             // those are the spool's first ones
  Instant next_try_{};                  // of the spool
  FeederTotals totals_;

  mutable std::mutex mutex_;  // guards reports_
  std::condition_variable came_;
  std::vector<DeliveryReport> reports_;
};

}  // namespace klined
