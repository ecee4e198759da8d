// The Kafka producer.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "klined/base/clock.hpp"
#include "klined/base/kafka_client.hpp"
#include "klined/publish/publisher.hpp"

namespace klined {

struct KafkaPublisherOptions {
  KafkaProperties properties;  // bootstrap.servers at least; klined's own defaults fill what is not named
  // To be asked about at once: else the first message to each waits for that, for up to a second.
  std::vector<std::string> topics{};
};

// An idempotent producer (acks=all unless the properties say acks=1) whose every delivery is reported.
//
// A passing fault is retried inside without a limit of time; a fatal producer error makes a new producer, and what the
// old one had not delivered is reported as failed, to be sent again. One log line when delivery breaks, one when it
// heals.
class KafkaPublisher final : public Publisher {
 public:
  // kFatal where a property is unknown or wrong.
  static Result<std::unique_ptr<KafkaPublisher>> open(const KafkaPublisherOptions& options, ReportHandler on_report);
  ~KafkaPublisher() override;  // reports what is left as failed

  bool send(Publication& publication, std::uint64_t ticket) override;

  // Waits until everything accepted is reported; false where the time was not enough.
  bool flush(Milliseconds timeout);
  // Accepted and not yet reported.
  std::int64_t in_flight() const;
  // Unix milliseconds of the last failed delivery or broker error; 0 where there was none.
  UnixMilliseconds last_error_ms() const;

 private:
  struct State;
  explicit KafkaPublisher(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace klined
