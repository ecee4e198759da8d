#include "klined/stream/config_kafka.hpp"

#include <fmt/format.h>
#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>

#include "klined/stream/memory_plan.hpp"

namespace klined {

namespace {

// A dead letter may be a whole input message of 10 MiB, with headers and framing.
constexpr std::int64_t kLargestMessage = 12 * 1024 * 1024;

constexpr std::string_view kBrokers = "use kafka.brokers";
constexpr std::string_view kOffsets = "the offsets that count are stored in MySQL together with the candles; remove it";
constexpr std::string_view kUntilDelivered =
    "klined retries a delivery until it is acknowledged, so that nothing is lost while a broker is away; remove it";

struct Rule {
  std::string_view name;
  std::string_view why;
  // Nothing: every value is refused. Else: the one value that is allowed.
  std::string_view allowed;
};

constexpr std::array<Rule, 2> kCommonRules = {{
    {"bootstrap.servers", kBrokers, ""},
    {"metadata.broker.list", kBrokers, ""},
}};

constexpr std::array<Rule, 11> kConsumerRules = {{
    {"group.id", "use the top-level key group", ""},
    {"enable.auto.commit", kOffsets, "false"},
    {"auto.commit.enable", kOffsets, "false"},
    {"auto.commit.interval.ms", kOffsets, ""},
    {"enable.auto.offset.store", kOffsets, "false"},
    {"auto.offset.reset",
     "a log that was trimmed below the stored offset must be an error, never a silent jump; use input.start for "
     "partitions "
     "that have no stored offset yet",
     "error"},
    {"enable.partition.eof", "klined must learn where a partition ends to know that it has caught up; remove it",
     "true"},
    {"isolation.level", "trades of aborted transactions would count; remove it", "read_committed"},
    {"partition.assignment.strategy", "shares are handed over whole, which only an eager strategy does; remove it",
     "range"},
    {"max.poll.interval.ms", "it follows engine.shutdown_timeout; remove it", ""},
    {"consume.callback.max.messages", "klined polls in batches; remove it", ""},
}};

constexpr std::array<Rule, 12> kProducerRules = {{
    {"acks", "use output.acks", ""},
    {"request.required.acks", "use output.acks", ""},
    {"partitioner", "use output.partitioner", ""},
    {"enable.idempotence", "it follows output.acks; remove it", ""},
    {"transactional.id", "klined's guarantee is the transaction in MySQL; remove it", ""},
    {"max.in.flight.requests.per.connection",
     "with more than one request in flight the idempotent producer can lose the first batch of a new partition and "
     "report it "
     "delivered (KAFKA-15591); remove it, larger batches do the same for throughput",
     "1"},
    {"max.in.flight",
     "with more than one request in flight the idempotent producer can lose the first batch of a new partition and "
     "report it "
     "delivered (KAFKA-15591); remove it, larger batches do the same for throughput",
     "1"},
    {"message.timeout.ms", kUntilDelivered, "0"},
    {"delivery.timeout.ms", kUntilDelivered, "0"},
    {"retries", kUntilDelivered, "2147483647"},
    {"message.send.max.retries", kUntilDelivered, "2147483647"},
    {"delivery.report.only.error", "offsets move on only after every delivery is reported; remove it", "false"},
}};

using ConfPointer = std::unique_ptr<rd_kafka_conf_t, decltype(&rd_kafka_conf_destroy)>;

std::optional<std::string> refused_by_klined(std::span<const Rule> rules, std::string_view name,
                                             std::string_view value) {
  for (const Rule& rule : rules) {
    if (rule.name != name || (!rule.allowed.empty() && rule.allowed == value)) continue;
    if (rule.allowed.empty()) return fmt::format("may not be set: {}", rule.why);
    return fmt::format("{} is refused (only {} is allowed): {}", value, rule.allowed, rule.why);
  }
  return std::nullopt;
}

std::optional<std::string> refused_by_library(rd_kafka_conf_t* conf, const std::string& name,
                                              const std::string& value) {
  std::array<char, 512> reason{};
  const rd_kafka_conf_res_t result = rd_kafka_conf_set(conf, name.c_str(), value.c_str(), reason.data(), reason.size());
  if (result == RD_KAFKA_CONF_OK) return std::nullopt;
  if (result == RD_KAFKA_CONF_UNKNOWN) {
    return fmt::format("librdkafka {} has no such property; its CONFIGURATION.md lists all", rd_kafka_version_str());
  }
  if (is_secret_property(name)) return fmt::format("librdkafka {} refuses the value", rd_kafka_version_str());
  return fmt::format("librdkafka {} refuses \"{}\": {}", rd_kafka_version_str(), value, reason.data());
}

void check_map(const KafkaProperties& map, const std::string& section, std::span<const std::span<const Rule>> rule_sets,
               ConfigProblems& problems) {
  const ConfPointer conf(rd_kafka_conf_new(), &rd_kafka_conf_destroy);
  for (const auto& [name, value] : map) {
    std::optional<std::string> refusal;
    for (const std::span<const Rule> rules : rule_sets) {
      if (!refusal) refusal = refused_by_klined(rules, name, value);
    }
    if (!refusal) refusal = refused_by_library(conf.get(), name, value);
    std::int64_t bytes = 0;
    if (!refusal && name == "message.max.bytes" &&
        std::from_chars(value.data(), value.data() + value.size(), bytes).ec == std::errc() &&
        bytes < kLargestMessage) {
      refusal = fmt::format(
          "{} is too small: a dead letter may be a whole input message of 10 MiB; write at least {}, or "
          "remove it",
          value, kLargestMessage);
    }
    if (refusal) problems.add(fmt::format("{}.{}", section, name), *refusal);
  }
}

KafkaProperties with_brokers(const Config& config) {
  KafkaProperties properties = config.kafka.properties;
  properties["bootstrap.servers"] = config.kafka.brokers;
  return properties;
}

}  // namespace

bool is_secret_property(std::string_view name) {
  constexpr std::array<std::string_view, 4> kParts = {"password", "secret", "pem", "oauthbearer.config"};
  return std::any_of(kParts.begin(), kParts.end(),
                     [name](std::string_view part) { return name.find(part) != std::string_view::npos; });
}

void check_kafka(const Config& config, ConfigProblems& problems) {
  using RuleSet = std::span<const Rule>;
  const std::array<RuleSet, 3> all = {kCommonRules, kConsumerRules, kProducerRules};
  const std::array<RuleSet, 2> consumer = {kCommonRules, kConsumerRules};
  const std::array<RuleSet, 2> producer = {kCommonRules, kProducerRules};
  check_map(config.kafka.properties, "kafka.properties", all, problems);
  check_map(config.kafka.consumer, "kafka.consumer", consumer, problems);
  check_map(config.kafka.producer, "kafka.producer", producer, problems);
}

// The user's own figures win.
KafkaProperties consumer_properties(const Config& config) {
  KafkaProperties properties = with_brokers(config);
  for (const auto& [name, value] : config.kafka.consumer) properties[name] = value;
  const MemoryPlan plan = memory_plan(config.engine.memory_limit);
  properties.try_emplace("queued.max.messages.kbytes", std::to_string(plan.read_queue >> 10U));
  if (properties.try_emplace("fetch.max.bytes", std::to_string(plan.fetch)).second) {
    // It is for writing; but librdkafka refuses to read with a larger one. Records of any size come all the same.
    properties["message.max.bytes"] = properties["fetch.max.bytes"];
  }
  if (!properties.contains("max.partition.fetch.bytes")) {  // the same by another name
    properties.try_emplace("fetch.message.max.bytes", std::to_string(plan.fetch / 2));
  }
  return properties;
}

KafkaProperties producer_properties(const Config& config) {
  KafkaProperties properties = with_brokers(config);
  properties.try_emplace("queue.buffering.max.kbytes",
                         std::to_string(memory_plan(config.engine.memory_limit).producer_queue >> 10U));
  for (const auto& [name, value] : config.kafka.producer) properties[name] = value;
  properties["acks"] = config.output.acks;
  properties["partitioner"] = config.output.partitioner;
  return properties;
}

KafkaProperties admin_properties(const Config& config) { return with_brokers(config); }

}  // namespace klined
