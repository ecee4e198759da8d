#include "klined/publish/kafka_admin.hpp"

#include <fmt/format.h>
#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <array>
#include <thread>
#include <utility>

namespace klined {

namespace {

constexpr const char* kRole = "the kafka admin client";
constexpr Milliseconds kLookPeriod{50};

KafkaProperties defaults() {
  return {{"client.id", "klined"},
          {"log.connection.close", "false"},
          {"reconnect.backoff.ms", "50"},
          {"reconnect.backoff.max.ms", "1000"},
          {"topic.metadata.refresh.fast.interval.ms", "100"}};
}

struct EventDeleter {
  void operator()(rd_kafka_event_t* event) const { rd_kafka_event_destroy(event); }
};
using Event = std::unique_ptr<rd_kafka_event_t, EventDeleter>;

struct OptionsDeleter {
  void operator()(rd_kafka_AdminOptions_t* options) const { rd_kafka_AdminOptions_destroy(options); }
};
using Options = std::unique_ptr<rd_kafka_AdminOptions_t, OptionsDeleter>;

struct QueueDeleter {
  void operator()(rd_kafka_queue_t* queue) const { rd_kafka_queue_destroy(queue); }
};
using Queue = std::unique_ptr<rd_kafka_queue_t, QueueDeleter>;

int to_ms(Milliseconds duration) { return static_cast<int>(std::max<std::int64_t>(1, duration.count())); }

// What the answer to a request about one topic means.
Error refusal(const std::string& doing, rd_kafka_resp_err_t code, const char* text) {
  const std::string said = text != nullptr && *text != '\0' ? text : rd_kafka_err2str(code);
  const auto mend = [&](const char* what) {
    return Error{ErrorKind::kFatal, fmt::format("{}: {}; {}", doing, said, what)};
  };
  switch (code) {
    case RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR:
      return mend("ask for a replication factor no larger than the number of brokers");
    case RD_KAFKA_RESP_ERR_INVALID_PARTITIONS: return mend("ask for at least one partition");
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
      return mend("letters, digits, '.', '_' and '-' are allowed in a topic's name, 249 at most");
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
      return mend("grant CREATE, DESCRIBE and DESCRIBE_CONFIGS on it, or let an administrator do this");
    case RD_KAFKA_RESP_ERR_INVALID_CONFIG: return mend("correct the topic's config");
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION: return mend("the cluster's policy forbids it: ask its administrator");
    case RD_KAFKA_RESP_ERR_TOPIC_DELETION_DISABLED: return mend("the brokers have delete.topic.enable=false");
    case RD_KAFKA_RESP_ERR__INVALID_ARG: return mend("correct the name or the numbers");
    default: return {ErrorKind::kRetry, fmt::format("{}: {}", doing, said)};
  }
}

// The result of one topic in an answer.
Status topic_result(const std::string& doing, const rd_kafka_topic_result_t** results, std::size_t count) {
  if (count != 1) return retry(fmt::format("{}: kafka's answer says nothing about it", doing));
  const rd_kafka_resp_err_t code = rd_kafka_topic_result_error(results[0]);
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return {};
  return std::unexpected(refusal(doing, code, rd_kafka_topic_result_error_string(results[0])));
}

}  // namespace

struct KafkaAdmin::State {
  explicit State(const KafkaProperties& properties)
      : brokers(kafka_brokers(properties)), watch(kRole, "its requests wait", brokers) {}

  Options options(rd_kafka_admin_op_t operation, Milliseconds timeout) const;
  // Waits for the answer; the error says that none came, or that the request as a whole was refused.
  Result<Event> answer(rd_kafka_queue_t* queue, const std::string& doing, Milliseconds timeout);
  Error no_answer(const std::string& doing, rd_kafka_resp_err_t code);

  std::string brokers;
  BrokerWatch watch;
  SystemClock clock;
  std::shared_ptr<KafkaClient> client;
};

KafkaAdmin::KafkaAdmin(std::unique_ptr<State> state) : state_(std::move(state)) {}
KafkaAdmin::~KafkaAdmin() = default;

Result<std::unique_ptr<KafkaAdmin>> KafkaAdmin::open(const KafkaProperties& properties) {
  Result<KafkaConf> conf = make_kafka_conf(defaults(), properties);
  if (!conf) return std::unexpected(conf.error());
  auto state = std::make_unique<State>(properties);
  rd_kafka_conf_set_opaque(conf->get(), state.get());
  rd_kafka_conf_set_error_cb(conf->get(), [](rd_kafka_t*, int code, const char* text, void* opaque) {
    static_cast<State*>(opaque)->watch.on_error(static_cast<rd_kafka_resp_err_t>(code), text);
  });
  auto client = KafkaClient::open(RD_KAFKA_PRODUCER, std::move(*conf), kRole);
  if (!client) return std::unexpected(client.error());
  state->client = std::move(*client);
  return std::unique_ptr<KafkaAdmin>(new KafkaAdmin(std::move(state)));
}

Options KafkaAdmin::State::options(rd_kafka_admin_op_t operation, Milliseconds timeout) const {
  Options made(rd_kafka_AdminOptions_new(client->get(), operation));
  std::array<char, 256> why{};
  rd_kafka_AdminOptions_set_request_timeout(made.get(), to_ms(timeout), why.data(), why.size());
  return made;
}

Error KafkaAdmin::State::no_answer(const std::string& doing, rd_kafka_resp_err_t code) {
  rd_kafka_poll(client->get(), 0);  // the reason comes as an event
  if (auto refused = watch.refusal()) return std::move(*refused);
  return {ErrorKind::kRetry, fmt::format("{}: {}: {}; check that it runs and that the brokers' addresses are right",
                                         doing, watch.describe(), rd_kafka_err2str(code))};
}

Result<Event> KafkaAdmin::State::answer(rd_kafka_queue_t* queue, const std::string& doing, Milliseconds timeout) {
  Event event(rd_kafka_queue_poll(queue, to_ms(timeout + Milliseconds(1'000))));
  if (!event) return std::unexpected(no_answer(doing, RD_KAFKA_RESP_ERR__TIMED_OUT));
  const rd_kafka_resp_err_t code = rd_kafka_event_error(event.get());
  if (code == RD_KAFKA_RESP_ERR__TIMED_OUT || code == RD_KAFKA_RESP_ERR__TRANSPORT) {
    return std::unexpected(no_answer(doing, code));
  }
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return std::unexpected(refusal(doing, code, rd_kafka_event_error_string(event.get())));
  }
  return event;
}

Result<bool> KafkaAdmin::create(const TopicSpec& spec, Milliseconds timeout) {
  const std::string doing = fmt::format("topic {} cannot be made with {} partitions on kafka at {}", spec.name,
                                        spec.partitions, state_->brokers);
  const auto known = partitions_of(spec.name, timeout);  // clusters may forbid making what exists
  if (!known) return std::unexpected(known.error());
  if (*known) return false;

  std::array<char, 512> why{};
  rd_kafka_NewTopic_t* topic =
      rd_kafka_NewTopic_new(spec.name.c_str(), spec.partitions, spec.replication_factor, why.data(), why.size());
  if (topic == nullptr) return std::unexpected(refusal(doing, RD_KAFKA_RESP_ERR__INVALID_ARG, why.data()));
  for (const auto& [name, value] : spec.config) rd_kafka_NewTopic_set_config(topic, name.c_str(), value.c_str());
  rd_kafka_t* const client = state_->client->get();
  const Queue queue(rd_kafka_queue_new(client));
  rd_kafka_CreateTopics(client, &topic, 1, state_->options(RD_KAFKA_ADMIN_OP_CREATETOPICS, timeout).get(), queue.get());
  rd_kafka_NewTopic_destroy(topic);
  const Result<Event> event = state_->answer(queue.get(), doing, timeout);
  if (!event) return std::unexpected(event.error());
  std::size_t count = 0;
  const auto* const result = rd_kafka_event_CreateTopics_result(event->get());
  const rd_kafka_topic_result_t** const results = rd_kafka_CreateTopics_result_topics(result, &count);
  const bool raced = count == 1 && rd_kafka_topic_result_error(results[0]) == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS;
  if (!raced) {
    if (const Status made = topic_result(doing, results, count); !made) return std::unexpected(made.error());
  }

  const Instant limit = state_->clock.now() + timeout;
  for (;;) {  // the brokers learn of it one after the other
    const auto partitions = partitions_of(spec.name, timeout);
    if (partitions && *partitions) return !raced;
    if (state_->clock.now() >= limit) {
      return retry(fmt::format("topic {} was made, but kafka at {} does not show it yet", spec.name, state_->brokers));
    }
    std::this_thread::sleep_for(kLookPeriod);
  }
}

Result<std::optional<int>> KafkaAdmin::partitions_of(const std::string& topic, Milliseconds timeout) {
  rd_kafka_t* const client = state_->client->get();
  const std::string doing = fmt::format("topic {} cannot be looked up", topic);
  rd_kafka_topic_t* const handle = rd_kafka_topic_new(client, topic.c_str(), nullptr);
  if (handle == nullptr) return std::unexpected(refusal(doing, RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, nullptr));
  const rd_kafka_metadata_t* metadata = nullptr;
  const auto code = rd_kafka_metadata(client, 0, handle, &metadata, to_ms(timeout));
  rd_kafka_topic_destroy(handle);
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR) return std::unexpected(state_->no_answer(doing, code));
  const bool is_told = metadata->topic_cnt == 1;
  const rd_kafka_resp_err_t found = is_told ? metadata->topics[0].err : RD_KAFKA_RESP_ERR_NO_ERROR;
  const int partitions = is_told ? metadata->topics[0].partition_cnt : 0;
  rd_kafka_metadata_destroy(metadata);
  if (!is_told) return retry(fmt::format("{}: kafka's answer says nothing about it", doing));
  if (found == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) return std::nullopt;
  // A partition without a leader is there all the same.
  if (found == RD_KAFKA_RESP_ERR_NO_ERROR || found == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE) {
    return partitions > 0 ? std::optional<int>(partitions) : std::nullopt;
  }
  return std::unexpected(refusal(doing, found, nullptr));
}

Result<std::optional<std::string>> KafkaAdmin::config_of(const std::string& topic, const std::string& name,
                                                         Milliseconds timeout) {
  const std::string doing = fmt::format("the config of topic {} cannot be read", topic);
  rd_kafka_t* const client = state_->client->get();
  rd_kafka_ConfigResource_t* resource = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic.c_str());
  if (resource == nullptr) return std::unexpected(refusal(doing, RD_KAFKA_RESP_ERR__INVALID_ARG, nullptr));
  const Queue queue(rd_kafka_queue_new(client));
  rd_kafka_DescribeConfigs(client, &resource, 1, state_->options(RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, timeout).get(),
                           queue.get());
  rd_kafka_ConfigResource_destroy(resource);
  const Result<Event> event = state_->answer(queue.get(), doing, timeout);
  if (!event) return std::unexpected(event.error());
  std::size_t count = 0;
  const auto* const result = rd_kafka_event_DescribeConfigs_result(event->get());
  const rd_kafka_ConfigResource_t** const resources = rd_kafka_DescribeConfigs_result_resources(result, &count);
  if (count != 1) return retry(fmt::format("{}: kafka's answer says nothing about it", doing));
  const rd_kafka_resp_err_t code = rd_kafka_ConfigResource_error(resources[0]);
  if (code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) return fatal(fmt::format("{}: there is no such topic", doing));
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return std::unexpected(refusal(doing, code, rd_kafka_ConfigResource_error_string(resources[0])));
  }
  const rd_kafka_ConfigEntry_t** const entries = rd_kafka_ConfigResource_configs(resources[0], &count);
  for (std::size_t i = 0; i < count; ++i) {
    const char* const value = rd_kafka_ConfigEntry_value(entries[i]);
    if (name == rd_kafka_ConfigEntry_name(entries[i]) && value != nullptr) return value;
  }
  return std::nullopt;
}

Result<bool> KafkaAdmin::remove(const std::string& topic, Milliseconds timeout) {
  const std::string doing = fmt::format("topic {} cannot be deleted", topic);
  rd_kafka_t* const client = state_->client->get();
  rd_kafka_DeleteTopic_t* request = rd_kafka_DeleteTopic_new(topic.c_str());
  if (request == nullptr) return std::unexpected(refusal(doing, RD_KAFKA_RESP_ERR__INVALID_ARG, nullptr));
  const Queue queue(rd_kafka_queue_new(client));
  rd_kafka_DeleteTopics(client, &request, 1, state_->options(RD_KAFKA_ADMIN_OP_DELETETOPICS, timeout).get(),
                        queue.get());
  rd_kafka_DeleteTopic_destroy(request);
  const Result<Event> event = state_->answer(queue.get(), doing, timeout);
  if (!event) return std::unexpected(event.error());
  std::size_t count = 0;
  const auto* const result = rd_kafka_event_DeleteTopics_result(event->get());
  const rd_kafka_topic_result_t** const results = rd_kafka_DeleteTopics_result_topics(result, &count);
  if (count == 1 && rd_kafka_topic_result_error(results[0]) == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) return false;
  if (const Status gone = topic_result(doing, results, count); !gone) return std::unexpected(gone.error());
  return true;
}

}  // namespace klined
