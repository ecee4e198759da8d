// What the brokers are asked about topics and their logs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <librdkafka/rdkafka.h>

#include "klined/base/kafka_client.hpp"
#include "klined/source/kafka_source.hpp"

namespace klined {

// True where the code says that a topic or a partition does not exist. In a broker's metadata that is so; elsewhere it
// is a suspicion: librdkafka says the same of a partition without a leader.
bool is_missing(rd_kafka_resp_err_t code);

// Each call waits for the brokers: see KafkaSource for what it returns. Only what a broker's metadata say is final:
// where librdkafka or a single request says that a partition does not exist, they are asked, and while they know the
// partition the question is asked again until the timeout, and then is kRetry. (A broker that was silent for too long,
// or was started again, leads nothing for a moment.)
//
// A view of a client, its watch and its brokers: as long-lived as the shortest of them. Thread-safe as they are.
class BrokerQuestions {
 public:
  BrokerQuestions(rd_kafka_t* client, const BrokerWatch& watch, const std::string& brokers)
      : client_(client), watch_(watch), brokers_(brokers) {}

  Result<std::vector<TopicPartition>> partitions_of(const std::vector<std::string>& topics, Milliseconds timeout) const;
  Result<bool> exists(const std::string& topic, Milliseconds timeout) const;
  Result<OffsetRange> range_of(const TopicPartition& partition, Milliseconds timeout) const;
  Result<std::int64_t> offset_at(const TopicPartition& partition, UnixMilliseconds time, Milliseconds timeout) const;

 private:
  // The metadata of one topic; `take` is called with them.
  template <typename Take>
  Status ask_metadata(const std::string& topic, Milliseconds timeout, Take take) const;
  // Asks `what` of a partition's leader until there is one: `ask(milliseconds)` gives librdkafka's code.
  template <typename Ask>
  Status ask_leader(const TopicPartition& partition, std::string_view what, Milliseconds timeout, Ask ask) const;
  Status check_existence(const TopicPartition& partition, Milliseconds timeout) const;
  // The error of a call that got no answer; a refusal by the brokers is fatal.
  Error no_answer(rd_kafka_resp_err_t code, std::string_view what) const;

  rd_kafka_t* client_;
  const BrokerWatch& watch_;
  const std::string& brokers_;
};

}  // namespace klined
