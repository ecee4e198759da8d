#include "klined/base/kafka_client.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <array>
#include <future>
#include <thread>
#include <utility>

namespace klined {

namespace {

constexpr Milliseconds kCloseLimit{3'000};
constexpr Milliseconds kCheckPeriod{1'000};
constexpr int kCheckTimeoutMs = 200;
constexpr int kUnansweredLimit = 3;  // a busy broker may miss one
constexpr std::chrono::minutes kRepeatPeriod{1};
constexpr std::size_t kLoggedLimit = 64;

// librdkafka reports each failed connection and request, again and again; BrokerWatch says the same in two lines.
// Its warnings about settings are all about properties of the other role (producer, consumer).
void forward_log(const rd_kafka_t* /*client*/, int level, const char* facility, const char* text) {
  const std::string_view what(facility);
  const bool noise = what == "FAIL" || what == "ERROR" || what == "CONFWARN" || what == "REQTMOUT" || what == "GETPID";
  if (level <= 4 && !noise) {
    spdlog::warn("librdkafka: {}", text);
  } else {
    spdlog::debug("librdkafka: {} {}", facility, text);
  }
}

Status set(rd_kafka_conf_t* conf, const std::string& name, const std::string& value) {
  std::array<char, 512> why{};
  if (rd_kafka_conf_set(conf, name.c_str(), value.c_str(), why.data(), why.size()) == RD_KAFKA_CONF_OK) return {};
  const bool secret = name.find("password") != std::string::npos || name.find("key") != std::string::npos;
  return fatal(fmt::format("kafka property {}={}: {} (librdkafka {})", name, secret ? "***" : value, why.data(),
                           rd_kafka_version_str()));
}

}  // namespace

std::string kafka_brokers(const KafkaProperties& properties) {
  for (const char* const name : {"bootstrap.servers", "metadata.broker.list"}) {
    if (const auto it = properties.find(name); it != properties.end()) return it->second;
  }
  return {};
}

Result<KafkaConf> make_kafka_conf(const KafkaProperties& defaults, const KafkaProperties& properties) {
  if (kafka_brokers(properties).empty()) return fatal("kafka property bootstrap.servers is missing: name the brokers");
  KafkaConf conf(rd_kafka_conf_new());
  rd_kafka_conf_set_log_cb(conf.get(), forward_log);
  for (const KafkaProperties* const map : {&defaults, &properties}) {
    for (const auto& [name, value] : *map) {
      if (const Status done = set(conf.get(), name, value); !done) return std::unexpected(done.error());
    }
  }
  return conf;
}

Result<std::shared_ptr<KafkaClient>> KafkaClient::open(rd_kafka_type_t type, KafkaConf conf, std::string_view role) {
  std::array<char, 512> why{};
  rd_kafka_t* const handle = rd_kafka_new(type, conf.get(), why.data(), why.size());
  if (handle == nullptr) return fatal(fmt::format("{} cannot be set up: {}; correct its properties", role, why.data()));
  conf.release();  // NOLINT(bugprone-unused-return-value): librdkafka owns it now
  return std::shared_ptr<KafkaClient>(new KafkaClient(handle, role));
}

KafkaClient::~KafkaClient() {
  std::promise<void> done;
  std::future<void> closed = done.get_future();
  std::thread closing([handle = handle_, promise = std::move(done)]() mutable {
    // No leaving of a group: klined's consumers are no members, or have left before.
    rd_kafka_destroy_flags(handle, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    promise.set_value_at_thread_exit();
  });
  if (closed.wait_for(kCloseLimit) == std::future_status::ready) {
    closing.join();
    return;
  }
  spdlog::warn("{} does not close within {} ms, it is left behind: librdkafka waits for something outside", role_,
               kCloseLimit.count());
  closing.detach();
}

void BrokerWatch::on_error(rd_kafka_resp_err_t code, std::string_view text) {
  const std::scoped_lock lock(mutex_);
  last_error_ms_ = clock_.wall_ms();
  switch (code) {
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
      if (!away_since_) goes_away(last_text_.empty() ? text : std::string_view(last_text_));
      return;
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
      last_text_ = text;
      refusal_ =
          Error{ErrorKind::kFatal,
                fmt::format("kafka at {} refuses {}: {}; correct security.protocol, sasl.mechanism, sasl.username and "
                            "sasl.password",
                            brokers_, role_, text)};
      if (may_log("authentication")) spdlog::error("{}", refusal_->message);
      return;
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__RESOLVE:
      last_text_ = text;
      spdlog::debug("{}: {}", role_, text);
      if (away_since_ || suspected_since_) return;
      suspected_since_ = clock_.now();
      unanswered_ = 0;
      next_check_ = *suspected_since_ + kCheckPeriod;
      return;
    default:
      last_text_ = text;
      if (may_log(rd_kafka_err2name(code))) spdlog::warn("{}: {}", role_, text);
  }
}

void BrokerWatch::on_passing_error(std::string_view text) {
  const std::scoped_lock lock(mutex_);
  last_error_ms_ = clock_.wall_ms();
  if (may_log(std::string(text))) spdlog::warn("{}: {}", role_, text);
}

bool BrokerWatch::may_log(const std::string& what) {
  const Instant now = clock_.now();
  const auto it = logged_.find(what);
  if (it != logged_.end() && now - it->second < kRepeatPeriod) return false;
  if (logged_.size() >= kLoggedLimit) logged_.clear();
  logged_[what] = now;
  return true;
}

// With mutex_ held.
void BrokerWatch::goes_away(std::string_view text) {
  away_since_ = suspected_since_.value_or(clock_.now());
  next_check_ = clock_.now() + kCheckPeriod;
  spdlog::warn("kafka is away, {}: client={} brokers={} error=\"{}\"", waiting_, role_, brokers_, text);
}

void BrokerWatch::check(rd_kafka_t* client) {
  {
    const std::scoped_lock lock(mutex_);
    if ((!away_since_ && !suspected_since_) || clock_.now() < next_check_) return;
    next_check_ = clock_.now() + kCheckPeriod;
  }
  const rd_kafka_metadata_t* metadata = nullptr;
  const bool answers = rd_kafka_metadata(client, 0, nullptr, &metadata, kCheckTimeoutMs) == RD_KAFKA_RESP_ERR_NO_ERROR;
  if (answers) rd_kafka_metadata_destroy(metadata);
  const std::scoped_lock lock(mutex_);
  answers ? answered() : did_not_answer();
}

// With mutex_ held.
void BrokerWatch::did_not_answer() {
  if (away_since_ || !suspected_since_ || ++unanswered_ < kUnansweredLimit) return;
  goes_away(last_text_);
}

// With mutex_ held.
void BrokerWatch::answered() {
  suspected_since_.reset();
  if (!away_since_) return;
  const double seconds = std::chrono::duration<double>(clock_.now() - *away_since_).count();
  spdlog::info("kafka answers again: client={} brokers={} away_s={:.1f}", role_, brokers_, seconds);
  away_since_.reset();
  refusal_.reset();
  last_text_.clear();
}

bool BrokerWatch::away() const {
  const std::scoped_lock lock(mutex_);
  return away_since_.has_value();
}

std::optional<Error> BrokerWatch::refusal() const {
  const std::scoped_lock lock(mutex_);
  return refusal_;
}

UnixMilliseconds BrokerWatch::last_error_ms() const {
  const std::scoped_lock lock(mutex_);
  return last_error_ms_;
}

std::string BrokerWatch::describe() const {
  const std::scoped_lock lock(mutex_);
  if (last_text_.empty()) return fmt::format("kafka at {} does not answer", brokers_);
  return fmt::format("kafka at {} does not answer ({})", brokers_, last_text_);
}

}  // namespace klined
