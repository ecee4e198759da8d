#include "klined/publish/kafka_transactions.hpp"

#include <fmt/format.h>
#include <librdkafka/rdkafka.h>
#include <spdlog/spdlog.h>

#include <utility>

namespace klined {

namespace {

constexpr const char* kRole = "the transactional kafka producer";
constexpr int kCallMs = 5'000;  // of one call; a call that may be repeated is, within the limits below
constexpr Milliseconds kOpenLimit{15'000};
constexpr int kFullQueueMs = 20;

KafkaProperties defaults() {
  return {
      {"compression.codec", "lz4"},
      {"linger.ms", "5"},
      {"batch.size", "1000000"},  // below what a topic takes by default (max.message.bytes 1048588)
      {"batch.num.messages", "100000"},
      {"message.max.bytes", "16777216"},
      {"queue.buffering.max.kbytes", "65536"},
      {"queue.buffering.max.messages", "1000000"},
      {"topic.metadata.propagation.max.ms", "5000"},
      {"topic.metadata.refresh.fast.interval.ms", "100"},
      {"retry.backoff.ms", "50"},
      {"reconnect.backoff.ms", "50"},
      {"reconnect.backoff.max.ms", "1000"},
      {"socket.keepalive.enable", "true"},
      {"log.connection.close", "false"},
      {"client.id", "klined"},
  };
}

// What transactions need, whatever the config says.
void fix(KafkaProperties& properties, const KafkaTransactionsOptions& options) {
  for (const char* const name : {"request.required.acks", "message.timeout.ms", "delivery.timeout.ms", "max.in.flight",
                                 "retries", "message.send.max.retries"}) {
    properties.erase(name);  // a message's time is the transaction's
  }
  properties["transactional.id"] = options.id;
  properties.try_emplace("transaction.timeout.ms", std::to_string(options.timeout.count()));
  properties["enable.idempotence"] = "true";
  properties["acks"] = "all";
  // With more, the first batch of a new partition can be lost and be reported as delivered (KAFKA-15591).
  properties["max.in.flight.requests.per.connection"] = "1";
  properties.try_emplace("partitioner", "murmur2_random");
}

// What somebody must mend, if it is such an error.
std::optional<std::string> remedy_of(rd_kafka_resp_err_t code) {
  switch (code) {
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
      return "grant WRITE and DESCRIBE on the transactional ids that begin with the group's name";
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED: return "grant READ on the consumer group";
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED: return "grant WRITE and DESCRIBE on the topic";
    case RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT:
      return "raise the brokers' transaction.max.timeout.ms to 20000 at least";
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
      return "raise the topic's max.message.bytes (klined init sets 11534336)";
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
    case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE: return "correct the topic's config";
    case RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE: return "raise the brokers' offset.metadata.max.bytes";
    case RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE: return "use Kafka 2.5 or newer";
    default: return std::nullopt;
  }
}

bool is_taken_over(rd_kafka_resp_err_t code) {
  return code == RD_KAFKA_RESP_ERR__FENCED || code == RD_KAFKA_RESP_ERR_PRODUCER_FENCED ||
         code == RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH || code == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID;
}

bool is_other_generation(rd_kafka_resp_err_t code) {
  return code == RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION || code == RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID ||
         code == RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS;
}

rd_kafka_vu_t variable(rd_kafka_vtype_t type, std::string_view bytes) {
  rd_kafka_vu_t vu{};
  vu.vtype = type;
  vu.u.mem.ptr = const_cast<char*>(bytes.data());  // NOLINT(cppcoreguidelines-pro-type-const-cast): it is copied
  vu.u.mem.size = bytes.size();
  return vu;
}

using TopicPartitionList =
    std::unique_ptr<rd_kafka_topic_partition_list_t, decltype(&rd_kafka_topic_partition_list_destroy)>;

TopicPartitionList list_of(const std::vector<ReadPlace>& places) {
  TopicPartitionList list(rd_kafka_topic_partition_list_new(static_cast<int>(places.size())),
                          &rd_kafka_topic_partition_list_destroy);
  for (const ReadPlace& place : places) {
    auto* const entry = rd_kafka_topic_partition_list_add(list.get(), place.topic.c_str(), place.partition);
    entry->offset = place.next_offset;
    if (place.note.empty()) continue;
    entry->metadata = ::strdup(place.note.c_str());  // the list frees it
    entry->metadata_size = place.note.size();
  }
  return list;
}

}  // namespace

struct KafkaTransactions::State {
  explicit State(const KafkaTransactionsOptions& given)
      : options(given), watch(kRole, "the open transaction waits", kafka_brokers(given.properties)) {}

  // Calls until it works, it fails for good or the transaction's time is over.
  template <typename Call>
  Status persist(std::string_view what, Milliseconds limit, Call call);
  Error judge(rd_kafka_error_t* error, std::string_view what) const;
  void reported(const rd_kafka_message_t& message);

  const KafkaTransactionsOptions options;
  BrokerWatch watch;
  SystemClock clock;
  std::shared_ptr<KafkaClient> client;
  bool open = false;
  std::optional<Error> undelivered;  // the first of the transaction
};

KafkaTransactions::KafkaTransactions(std::unique_ptr<State> state) : state_(std::move(state)) {}

KafkaTransactions::~KafkaTransactions() {
  if (!state_->open) return;
  if (const Status aborted = abort(); !aborted) {
    spdlog::debug("an open transaction is left to the brokers: {}", aborted.error().message);
  }
}

Result<std::unique_ptr<KafkaTransactions>> KafkaTransactions::open(const KafkaTransactionsOptions& options) {
  KafkaProperties properties = options.properties;
  fix(properties, options);
  Result<KafkaConf> conf = make_kafka_conf(defaults(), properties);
  if (!conf) return std::unexpected(conf.error());
  auto state = std::make_unique<State>(options);
  rd_kafka_conf_set_opaque(conf->get(), state.get());
  rd_kafka_conf_set_dr_msg_cb(conf->get(), [](rd_kafka_t*, const rd_kafka_message_t* message, void* opaque) {
    static_cast<State*>(opaque)->reported(*message);
  });
  rd_kafka_conf_set_error_cb(conf->get(), [](rd_kafka_t*, int code, const char* text, void* opaque) {
    // A fatal error comes back from the next call too.
    if (code != RD_KAFKA_RESP_ERR__FATAL)
      static_cast<State*>(opaque)->watch.on_error(static_cast<rd_kafka_resp_err_t>(code), text);
  });
  auto client = KafkaClient::open(RD_KAFKA_PRODUCER, std::move(*conf), kRole);
  if (!client) return std::unexpected(client.error());
  state->client = std::move(*client);
  Status ready = state->persist("the start of transactions", kOpenLimit,
                                [&state] { return rd_kafka_init_transactions(state->client->get(), kCallMs); });
  if (!ready) {
    if (ready.error().kind == ErrorKind::kUnknown) ready.error().kind = ErrorKind::kRetry;
    return std::unexpected(ready.error());
  }
  return std::unique_ptr<KafkaTransactions>(new KafkaTransactions(std::move(state)));
}

// ---- Errors --------------------------------------------------------------------------------------------------------

// Takes the error over.
Error KafkaTransactions::State::judge(rd_kafka_error_t* error, std::string_view what) const {
  const rd_kafka_resp_err_t code = rd_kafka_error_code(error);
  const std::string text = fmt::format("{} (transactional.id {}): {}", what, options.id, rd_kafka_error_string(error));
  const bool aborts = rd_kafka_error_txn_requires_abort(error) != 0;
  rd_kafka_error_destroy(error);
  if (const auto remedy = remedy_of(code)) return {ErrorKind::kFatal, fmt::format("{}; {}", text, *remedy)};
  if (is_taken_over(code)) return {ErrorKind::kFenced, text};
  if (aborts || is_other_generation(code)) return {ErrorKind::kRetry, text};
  return {ErrorKind::kUnknown, text};
}

template <typename Call>
Status KafkaTransactions::State::persist(std::string_view what, Milliseconds limit, Call call) {
  const Instant end = clock.now() + limit;
  while (true) {
    rd_kafka_error_t* const error = call();
    if (error == nullptr) return {};
    rd_kafka_poll(client->get(), 0);
    watch.check(client->get());
    if (const auto refusal = watch.refusal()) {
      rd_kafka_error_destroy(error);
      return std::unexpected(*refusal);
    }
    if (rd_kafka_error_is_retriable(error) == 0 || clock.now() >= end) {
      Error judged = judge(error, what);
      if (undelivered && (judged.kind == ErrorKind::kRetry || undelivered->kind == ErrorKind::kFatal))
        judged = *undelivered;
      return std::unexpected(std::move(judged));
    }
    rd_kafka_error_destroy(error);
  }
}

void KafkaTransactions::State::reported(const rd_kafka_message_t& message) {
  if (message.err == RD_KAFKA_RESP_ERR_NO_ERROR || undelivered) return;
  if (message.err == RD_KAFKA_RESP_ERR__PURGE_QUEUE || message.err == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT) return;
  const std::string text = fmt::format("a record of {} bytes for topic {} was not delivered: {}", message.len,
                                       rd_kafka_topic_name(message.rkt), rd_kafka_err2str(message.err));
  const auto remedy = remedy_of(message.err);
  undelivered =
      remedy ? Error{ErrorKind::kFatal, fmt::format("{}; {}", text, *remedy)} : Error{ErrorKind::kRetry, text};
}

// ---- The transaction -----------------------------------------------------------------------------------------------

Status KafkaTransactions::begin() {
  State& state = *state_;
  rd_kafka_error_t* const error = rd_kafka_begin_transaction(state.client->get());
  if (error != nullptr) return std::unexpected(state.judge(error, "beginning a transaction"));
  state.open = true;
  state.undelivered.reset();
  return {};
}

Status KafkaTransactions::send(const Publication& publication, std::int32_t partition) {
  State& state = *state_;
  constexpr std::size_t kFixed = 6;
  std::vector<rd_kafka_vu_t> arguments;
  arguments.reserve(kFixed + publication.headers.size());
  rd_kafka_vu_t argument{};
  argument.vtype = RD_KAFKA_VTYPE_TOPIC;
  argument.u.cstr = publication.topic.c_str();
  arguments.push_back(argument);
  if (!publication.key.empty()) arguments.push_back(variable(RD_KAFKA_VTYPE_KEY, publication.key));
  arguments.push_back(variable(RD_KAFKA_VTYPE_VALUE, publication.value));
  argument = {};
  argument.vtype = RD_KAFKA_VTYPE_MSGFLAGS;
  argument.u.i = RD_KAFKA_MSG_F_COPY;
  arguments.push_back(argument);
  argument = {};
  argument.vtype = RD_KAFKA_VTYPE_PARTITION;
  argument.u.i32 = partition;
  arguments.push_back(argument);
  argument = {};
  argument.vtype = RD_KAFKA_VTYPE_TIMESTAMP;
  argument.u.i64 = publication.timestamp_ms;
  arguments.push_back(argument);
  for (const auto& [name, value] : publication.headers) {
    argument = {};
    argument.vtype = RD_KAFKA_VTYPE_HEADER;
    argument.u.header = {name.c_str(), value.data(), static_cast<ssize_t>(value.size())};
    arguments.push_back(argument);
  }
  const Instant end = state.clock.now() + state.options.timeout;
  while (true) {
    rd_kafka_poll(state.client->get(), 0);
    if (state.undelivered) return std::unexpected(*state.undelivered);
    rd_kafka_error_t* const error = rd_kafka_produceva(state.client->get(), arguments.data(), arguments.size());
    if (error == nullptr) return {};
    if (rd_kafka_error_code(error) != RD_KAFKA_RESP_ERR__QUEUE_FULL || state.clock.now() >= end) {
      return std::unexpected(state.judge(error, "sending a record"));
    }
    rd_kafka_error_destroy(error);
    rd_kafka_poll(state.client->get(), kFullQueueMs);
  }
}

Status KafkaTransactions::commit(const std::vector<ReadPlace>& places,
                                 const rd_kafka_consumer_group_metadata_t* member) {
  State& state = *state_;
  rd_kafka_t* const client = state.client->get();
  if (!places.empty()) {
    const TopicPartitionList list = list_of(places);
    const Status sent = state.persist("committing how far was read", state.options.timeout, [&] {
      return rd_kafka_send_offsets_to_transaction(client, list.get(), member, kCallMs);
    });
    if (!sent) return sent;
  }
  const Status committed = state.persist("committing a transaction", state.options.timeout,
                                         [&] { return rd_kafka_commit_transaction(client, kCallMs); });
  if (committed) state.open = false;
  return committed;
}

Status KafkaTransactions::abort() {
  State& state = *state_;
  const Status aborted = state.persist("aborting a transaction", Milliseconds(kCallMs),
                                       [&state] { return rd_kafka_abort_transaction(state.client->get(), kCallMs); });
  state.open = false;
  return aborted;
}

bool KafkaTransactions::is_open() const { return state_->open; }
UnixMilliseconds KafkaTransactions::last_error_ms() const { return state_->watch.last_error_ms(); }

}  // namespace klined
