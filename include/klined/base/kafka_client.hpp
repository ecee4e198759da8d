// What every Kafka client of klined needs of librdkafka: its settings, its log, its end, and what an outage sounds
// like.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include <librdkafka/rdkafka.h>

#include "klined/base/clock.hpp"
#include "klined/base/error.hpp"

namespace klined {

// librdkafka properties by name, as in its CONFIGURATION.md.
using KafkaProperties = std::map<std::string, std::string>;

struct KafkaConfDeleter {
  void operator()(rd_kafka_conf_t* conf) const { rd_kafka_conf_destroy(conf); }
};
using KafkaConf = std::unique_ptr<rd_kafka_conf_t, KafkaConfDeleter>;

// The defaults, overridden by the properties (aliases included), with librdkafka's log going to klined's. kFatal names
// the property, the value and librdkafka's reason, or says that bootstrap.servers is missing.
Result<KafkaConf> make_kafka_conf(const KafkaProperties& defaults, const KafkaProperties& properties);

// The brokers that the properties name, for messages.
std::string kafka_brokers(const KafkaProperties& properties);

// A librdkafka instance. Its end is watched: where librdkafka does not stop within 3 s (a resolver that hangs, a topic
// that was deleted while 2.0.2 read it), the instance is left behind with a log line, so that the program's end never
// hangs.
class KafkaClient {
 public:
  // kFatal where the settings contradict one another.
  static Result<std::shared_ptr<KafkaClient>> open(rd_kafka_type_t type, KafkaConf conf, std::string_view role);
  ~KafkaClient();
  KafkaClient(const KafkaClient&) = delete;
  KafkaClient& operator=(const KafkaClient&) = delete;

  rd_kafka_t* get() const { return handle_; }

 private:
  KafkaClient(rd_kafka_t* handle, std::string_view role) : handle_(handle), role_(role) {}
  rd_kafka_t* handle_;
  std::string role_;
};

// Turns librdkafka's stream of connection errors into one log line when no broker answers any more, and one when one
// does again. librdkafka says that all brokers are down only where it sees them down at one moment, so a lost
// connection is a suspicion that check() follows up. Thread-safe.
class BrokerWatch {
 public:
  // `role` and `waiting` are put into the log lines: "kafka is away, <waiting>: client=<role> …".
  BrokerWatch(std::string role, std::string waiting, std::string brokers)
      : role_(std::move(role)), waiting_(std::move(waiting)), brokers_(std::move(brokers)) {}

  // From the client's error callback.
  void on_error(rd_kafka_resp_err_t code, std::string_view text);
  // A failed delivery or fetch that will be tried again; the same kind of error is logged at most once a minute.
  void on_passing_error(std::string_view text);
  // While kafka is away or may be: asks once a second (200 ms at most) whether a broker answers. From the polling
  // thread.
  void check(rd_kafka_t* client);

  bool away() const;
  // Set where the brokers refused who we are: it does not pass by itself.
  std::optional<Error> refusal() const;
  // Unix milliseconds of the last error; 0 where there was none.
  UnixMilliseconds last_error_ms() const;
  // "kafka at 127.0.0.1:9092 does not answer (connect refused)": for an error message of a call that got no answer.
  std::string describe() const;

 private:
  bool may_log(const std::string& what);
  void goes_away(std::string_view text);
  void answered();
  void did_not_answer();

  const std::string role_;
  const std::string waiting_;
  const std::string brokers_;
  SystemClock clock_;
  mutable std::mutex mutex_;
  std::optional<Instant> away_since_;
  std::optional<Instant> suspected_since_;  // a connection broke, and no broker has answered since
  int unanswered_ = 0;                      // questions in a row while suspected
  Instant next_check_{};
  UnixMilliseconds last_error_ms_ = 0;
  std::string last_text_;
  std::optional<Error> refusal_;
  std::map<std::string, Instant> logged_;
};

}  // namespace klined
