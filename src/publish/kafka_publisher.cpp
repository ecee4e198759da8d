#include "klined/publish/kafka_publisher.hpp"

#include <fmt/format.h>
#include <librdkafka/rdkafka.h>
#include <spdlog/spdlog.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <list>
#include <mutex>
#include <shared_mutex>
#include <thread>
#include <utility>
#include <vector>

namespace klined {

namespace {

constexpr const char* kRole = "the kafka producer";
constexpr int kPollMs = 20;
constexpr int kLearnMs = 1'000;
constexpr Milliseconds kEndLimit{3'000};  // for the reports of a producer that is given up

KafkaProperties defaults(const KafkaProperties& properties) {
  bool every_replica = true;
  for (const char* const name : {"acks", "request.required.acks"}) {
    if (const auto it = properties.find(name); it != properties.end()) {
      every_replica = it->second == "all" || it->second == "-1";
    }
  }
  return {
      {"enable.idempotence", every_replica ? "true" : "false"},
      // With more, the first batch of a new partition can be lost and be reported as delivered (KAFKA-15591).
      {"max.in.flight.requests.per.connection", "1"},
      {"message.timeout.ms", "0"},  // retried for ever
      {"partitioner", "murmur2_random"},
      {"compression.codec", "lz4"},
      {"linger.ms", "5"},
      {"batch.size", "1000000"},  // below what a topic takes by default (max.message.bytes 1048588)
      {"batch.num.messages", "100000"},
      {"message.max.bytes", "16777216"},
      {"queue.buffering.max.kbytes", "65536"},
      {"queue.buffering.max.messages", "1000000"},
      {"topic.metadata.propagation.max.ms", "5000"},  // an unknown topic is reported after that
      {"topic.metadata.refresh.fast.interval.ms", "100"},
      {"retry.backoff.ms", "50"},
      {"reconnect.backoff.ms", "50"},
      {"reconnect.backoff.max.ms", "1000"},
      {"socket.keepalive.enable", "true"},
      {"log.connection.close", "false"},
      {"client.id", "klined"},
  };
}

// Why a publication was not delivered, and what to do.
Error delivery_error(rd_kafka_resp_err_t code, const Publication& publication) {
  const std::string& topic = publication.topic;
  switch (code) {
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
      return {ErrorKind::kRetry, fmt::format("topic {} does not exist: create it with `klined init`", topic)};
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
      return {ErrorKind::kRetry, fmt::format("topic {} has lost a partition: create it with `klined init`", topic)};
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
      return {ErrorKind::kFatal,
              fmt::format(
                  "a message of {} bytes (or its batch) is too large for topic {}: raise the topic's max.message.bytes "
                  "and the producer's message.max.bytes",
                  publication.value.size(), topic)};
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
      return {ErrorKind::kFatal,
              fmt::format("topic {} may not be written: grant WRITE and DESCRIBE on it (and on clusters "
                          "older than 3.0 IDEMPOTENT_WRITE on the cluster)",
                          topic)};
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR__INVALID_ARG:
      return {ErrorKind::kFatal, fmt::format("\"{}\" is no name of a topic that can be written: {}; correct it", topic,
                                             rd_kafka_err2str(code))};
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
    case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
    case RD_KAFKA_RESP_ERR_INVALID_REQUIRED_ACKS:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE:
      return {ErrorKind::kFatal, fmt::format("topic {} refuses a message of {} bytes: {}; correct the topic's config",
                                             topic, publication.value.size(), rd_kafka_err2str(code))};
    case RD_KAFKA_RESP_ERR__PURGE_QUEUE:
    case RD_KAFKA_RESP_ERR__PURGE_INFLIGHT:
      return {ErrorKind::kRetry, fmt::format("a message to topic {} was given back: the producer was closed", topic)};
    default:
      return {ErrorKind::kRetry,
              fmt::format("a message to topic {} was not delivered: {}", topic, rd_kafka_err2str(code))};
  }
}

rd_kafka_vu_t bytes_of(rd_kafka_vtype_t type, std::string& bytes) {
  rd_kafka_vu_t vu{};
  vu.vtype = type;
  vu.u.mem.ptr = bytes.data();
  vu.u.mem.size = bytes.size();
  return vu;
}

}  // namespace

struct KafkaPublisher::State {
  // A publication on its way. librdkafka reads the value where it lies here.
  struct Pending {
    Publication publication;
    std::uint64_t ticket = 0;
    rd_kafka_t* client = nullptr;
    rd_kafka_resp_err_t refused = RD_KAFKA_RESP_ERR_NO_ERROR;  // librdkafka did not take it: to be reported
    std::list<Pending>::iterator self;
  };
  using Place = std::list<Pending>::iterator;

  State(const KafkaPublisherOptions& options, ReportHandler handler)
      : properties(options.properties),
        topics(options.topics),
        on_report(std::move(handler)),
        watch(kRole, "what is to be published waits", kafka_brokers(options.properties)) {}

  Result<std::shared_ptr<KafkaClient>> make_client();
  rd_kafka_resp_err_t produce(Pending& pending);
  // What follows runs on the publisher's thread alone.
  void run();
  void learn_topics();
  void report(Place place, const rd_kafka_message_t& message);
  void report_refused();
  void replace_client();
  void end(std::shared_ptr<KafkaClient> old);

  const KafkaProperties properties;
  const std::vector<std::string> topics;
  const ReportHandler on_report;
  BrokerWatch watch;
  SystemClock clock;
  std::atomic<bool> stopping = false;
  std::atomic<bool> broken = false;  // the client has met a fatal error: a new one is needed

  std::shared_mutex client_mutex;  // shared while producing; exclusive while the client is replaced
  std::shared_ptr<KafkaClient> client;

  std::mutex mutex;  // guards what follows
  std::condition_variable all_reported;
  std::list<Pending> pending;
  std::vector<Place> refused;
  std::atomic<std::int64_t> in_flight = 0;

  std::thread thread;
};

// ---- Callers' side
// ---------------------------------------------------------------------------------------------------

KafkaPublisher::KafkaPublisher(std::unique_ptr<State> state) : state_(std::move(state)) {}

Result<std::unique_ptr<KafkaPublisher>> KafkaPublisher::open(const KafkaPublisherOptions& options,
                                                             ReportHandler on_report) {
  auto state = std::make_unique<State>(options, std::move(on_report));
  auto client = state->make_client();
  if (!client) return std::unexpected(client.error());
  state->client = std::move(*client);
  state->thread = std::thread([raw = state.get()] { raw->run(); });
  return std::unique_ptr<KafkaPublisher>(new KafkaPublisher(std::move(state)));
}

KafkaPublisher::~KafkaPublisher() {
  state_->stopping = true;
  state_->thread.join();
}

bool KafkaPublisher::send(Publication& publication, std::uint64_t ticket) {
  State& state = *state_;
  if (state.broken) return false;
  const std::shared_lock producing(state.client_mutex);
  State::Place place;
  {
    const std::scoped_lock lock(state.mutex);
    place = state.pending.emplace(state.pending.end());
    ++state.in_flight;
  }
  place->publication = std::move(publication);
  place->ticket = ticket;
  place->client = state.client->get();
  place->self = place;
  const rd_kafka_resp_err_t code = state.produce(*place);
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return true;

  const std::scoped_lock lock(state.mutex);
  if (code == RD_KAFKA_RESP_ERR__FATAL) state.broken = true;
  if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL || code == RD_KAFKA_RESP_ERR__FATAL) {
    publication = std::move(place->publication);
    state.pending.erase(place);
    if (--state.in_flight == 0) state.all_reported.notify_all();
    return false;
  }
  place->refused = code;
  state.refused.push_back(place);
  return true;
}

rd_kafka_resp_err_t KafkaPublisher::State::produce(Pending& item) {
  Publication& publication = item.publication;
  constexpr std::size_t kFixed = 5;
  std::vector<rd_kafka_vu_t> arguments;
  arguments.reserve(kFixed + publication.headers.size());
  rd_kafka_vu_t argument{};
  argument.vtype = RD_KAFKA_VTYPE_TOPIC;
  argument.u.cstr = publication.topic.c_str();
  arguments.push_back(argument);
  if (!publication.key.empty()) arguments.push_back(bytes_of(RD_KAFKA_VTYPE_KEY, publication.key));
  arguments.push_back(bytes_of(RD_KAFKA_VTYPE_VALUE, publication.value));
  argument = {};
  argument.vtype = RD_KAFKA_VTYPE_OPAQUE;
  argument.u.ptr = &item;
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
  rd_kafka_error_t* const error = rd_kafka_produceva(item.client, arguments.data(), arguments.size());
  if (error == nullptr) return RD_KAFKA_RESP_ERR_NO_ERROR;
  const rd_kafka_resp_err_t code = rd_kafka_error_code(error);
  rd_kafka_error_destroy(error);
  return code;
}

bool KafkaPublisher::flush(Milliseconds timeout) {
  std::unique_lock lock(state_->mutex);
  return state_->all_reported.wait_for(lock, timeout, [&] { return state_->in_flight == 0; });
}

std::int64_t KafkaPublisher::in_flight() const { return state_->in_flight; }

UnixMilliseconds KafkaPublisher::last_error_ms() const { return state_->watch.last_error_ms(); }

// ---- The publisher's thread
// ------------------------------------------------------------------------------------------

Result<std::shared_ptr<KafkaClient>> KafkaPublisher::State::make_client() {
  Result<KafkaConf> conf = make_kafka_conf(defaults(properties), properties);
  if (!conf) return std::unexpected(conf.error());
  rd_kafka_conf_set_opaque(conf->get(), this);
  rd_kafka_conf_set_dr_msg_cb(conf->get(), [](rd_kafka_t*, const rd_kafka_message_t* message, void* opaque) {
    auto* const item = static_cast<Pending*>(message->_private);
    static_cast<State*>(opaque)->report(item->self, *message);
  });
  rd_kafka_conf_set_error_cb(conf->get(), [](rd_kafka_t* handle, int code, const char* text, void* opaque) {
    auto& state = *static_cast<State*>(opaque);
    if (code == RD_KAFKA_RESP_ERR__FATAL) {
      std::array<char, 512> why{};
      const auto reason = rd_kafka_fatal_error(handle, why.data(), why.size());
      spdlog::warn("the kafka producer is replaced, what it had not delivered is sent again: {}: {}",
                   rd_kafka_err2name(reason), why.data());
      state.broken = true;
      return;
    }
    state.watch.on_error(static_cast<rd_kafka_resp_err_t>(code), text);
  });
  return KafkaClient::open(RD_KAFKA_PRODUCER, std::move(*conf), kRole);
}

void KafkaPublisher::State::run() {
  learn_topics();
  while (!stopping) {
    rd_kafka_poll(client->get(), kPollMs);
    report_refused();
    watch.check(client->get());
    if (broken) replace_client();
  }
  end(std::move(client));
  report_refused();
}

// About a topic that it meets with a message librdkafka asks only when its timer comes round, up to a second later.
void KafkaPublisher::State::learn_topics() {
  for (const std::string& name : topics) {
    rd_kafka_topic_t* const topic = rd_kafka_topic_new(client->get(), name.c_str(), nullptr);
    if (topic == nullptr) continue;  // who sends to it is told why
    const rd_kafka_metadata_t* metadata = nullptr;
    const rd_kafka_resp_err_t code = rd_kafka_metadata(client->get(), 0, topic, &metadata, kLearnMs);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(topic);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) return;  // the brokers are away
  }
}

void KafkaPublisher::State::report(Place place, const rd_kafka_message_t& message) {
  const rd_kafka_resp_err_t code = message.err;
  DeliveryReport report;
  report.ticket = place->ticket;
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
    report.partition = message.partition;
    report.offset = message.offset;
    report.latency = std::chrono::microseconds(std::max<std::int64_t>(0, rd_kafka_message_latency(&message)));
  } else {
    report.error = delivery_error(code, place->publication);
    const bool given_back = code == RD_KAFKA_RESP_ERR__PURGE_QUEUE || code == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT;
    if (!given_back) watch.on_passing_error(report.error->message);
    report.publication = std::move(place->publication);
  }
  on_report(std::move(report));
  const std::scoped_lock lock(mutex);
  pending.erase(place);
  if (--in_flight == 0) all_reported.notify_all();
}

void KafkaPublisher::State::report_refused() {
  std::vector<Place> places;
  {
    const std::scoped_lock lock(mutex);
    places.swap(refused);
  }
  for (const Place place : places) {
    rd_kafka_message_t message{};
    message.err = place->refused;
    report(place, message);
  }
}

void KafkaPublisher::State::replace_client() {
  auto fresh = make_client();
  if (!fresh) {  // out of threads or memory: tried again
    watch.on_passing_error(fresh.error().message);
    return;
  }
  {
    const std::unique_lock lock(client_mutex);
    std::swap(client, *fresh);
  }
  end(std::move(*fresh));
  learn_topics();
  broken = false;
}

// Gives up a client: everything it still has is reported as failed.
// NOLINTNEXTLINE(performance-unnecessary-value-param): the client ends with this call
void KafkaPublisher::State::end(std::shared_ptr<KafkaClient> old) {
  rd_kafka_t* const handle = old->get();
  rd_kafka_purge(handle, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
  const Instant limit = clock.now() + kEndLimit;
  while (rd_kafka_outq_len(handle) > 0 && clock.now() < limit) rd_kafka_poll(handle, kPollMs);

  // A client whose threads hang (in a resolver, say) does not answer, and may still read the values: they stay where
  // they are for ever, and copies are reported.
  static auto* const kAbandoned = new std::list<Pending>;  // NOLINT(cppcoreguidelines-owning-memory)
  std::unique_lock lock(mutex);
  for (Place place = pending.begin(); place != pending.end();) {
    const Place item = place++;
    if (item->client != handle || item->refused != RD_KAFKA_RESP_ERR_NO_ERROR) continue;
    kAbandoned->splice(kAbandoned->end(), pending, item);
    DeliveryReport report;
    report.ticket = item->ticket;
    report.error = delivery_error(RD_KAFKA_RESP_ERR__PURGE_INFLIGHT, item->publication);
    report.publication = item->publication;
    lock.unlock();
    on_report(std::move(report));
    lock.lock();
    place = pending.begin();
    if (--in_flight == 0) all_reported.notify_all();
  }
}

}  // namespace klined
