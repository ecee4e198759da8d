// Topics of a Kafka cluster: made, looked at, deleted.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "klined/base/clock.hpp"
#include "klined/base/error.hpp"
#include "klined/base/kafka_client.hpp"

namespace klined {

struct TopicSpec {
  std::string name;
  int partitions = 1;
  int replication_factor = 1;                      // -1: the cluster's default
  std::map<std::string, std::string> config = {};  // "max.message.bytes" and so on
};

// kRetry where no broker answers in time; else kFatal with what to do. Thread-safe; each call waits for the brokers.
class KafkaAdmin {
 public:
  static Result<std::unique_ptr<KafkaAdmin>> open(const KafkaProperties& properties);
  ~KafkaAdmin();

  // True where it was made, false where it existed already (and is left as it is). When it returns, the topic can be
  // used.
  Result<bool> create(const TopicSpec& spec, Milliseconds timeout);
  // How many partitions the topic has; nothing where it does not exist.
  Result<std::optional<int>> partitions_of(const std::string& topic, Milliseconds timeout);
  // A value of the topic's config, its own or the cluster's default ("min.insync.replicas", "max.message.bytes");
  // nothing where the brokers do not know that name. The topic must exist.
  Result<std::optional<std::string>> config_of(const std::string& topic, const std::string& name, Milliseconds timeout);
  // True where it was deleted, false where there was none.
  Result<bool> remove(const std::string& topic, Milliseconds timeout);

 private:
  struct State;
  explicit KafkaAdmin(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace klined
