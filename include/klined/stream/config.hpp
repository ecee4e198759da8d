// The settings of klined: one YAML file, read once at start-up. config/klined.yaml documents every key.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "klined/base/clock.hpp"
#include "klined/base/error.hpp"
#include "klined/base/kafka_client.hpp"
#include "klined/base/logging.hpp"
#include "klined/core/interval.hpp"
#include "klined/core/trade.hpp"

namespace klined {

// Where a partition without stored offsets begins.
struct StartAt {
  enum class Kind { kEarliest, kLatest, kTime };
  Kind kind = Kind::kEarliest;
  UnixMilliseconds time = 0;  // kTime only
  friend bool operator==(const StartAt&, const StartAt&) = default;
};

struct RedisSettings {
  std::string host = "127.0.0.1";
  std::int32_t port = 6379;
  std::string username;
  std::string password;
  std::int32_t database = 0;
  std::int32_t keep = 300;  // newest candles of a series
  std::chrono::seconds ttl = std::chrono::days(2);
};

// Values as load_config() leaves them: in range, and in the relations to one another that config/klined.yaml names.
struct Config {
  std::string group = "klined";
  std::string env = "prod";  // "local" publishes nothing
  std::vector<ChainId> chains = {1, 56, 8453, 100000};
  std::vector<Interval> intervals = {Interval::k1m, Interval::k5m,  Interval::k15m, Interval::k1h,
                                     Interval::k4h, Interval::k12h, Interval::k1d};  // sorted by length

  struct Kafka {
    std::string brokers;
    KafkaProperties properties;  // librdkafka's, for consumer, producer and admin
    KafkaProperties consumer;
    KafkaProperties producer;
  } kafka;

  // What decides a trade's partition. kAny: a pair may be on every partition, so one process reads all of them. kPair:
  // a pair is on one partition, so the processes of a group share the partitions.
  enum class PartitionedBy { kAny, kPair };

  struct Input {
    std::vector<std::string> topics;
    PartitionedBy partitioned_by = PartitionedBy::kAny;
    StartAt start;
    std::string dead_letter_suffix = "-dlq";
    std::chrono::seconds max_future = std::chrono::minutes(10);
    std::chrono::seconds max_lateness = std::chrono::days(7);
    std::chrono::seconds dedupe_window = std::chrono::minutes(10);
    bool allow_dedupe_gap = false;  // go on although the log no longer holds the dedupe window's beginning
  } input;

  struct Output {
    Milliseconds publish_interval{100};
    std::string acks = "all";  // or "1"
    std::string partitioner = "murmur2_random";
    // Of the topics that `klined init` makes.
    std::int32_t partitions = 6;
    std::int32_t replication_factor = 1;
    std::int32_t min_insync_replicas = 1;
  } output;

  struct MySql {
    std::string host;
    std::int32_t port = 3306;
    std::string user;
    std::string password;
    std::string database;
    std::string socket;  // used in place of host and port where it is set
    std::string ssl_ca;  // file; "" for no TLS
    Milliseconds flush_interval{500};
    std::int64_t flush_rows = 10'000;
    Milliseconds catch_up_flush_interval{5'000};
    std::int64_t catch_up_flush_rows = 100'000;
  } mysql;

  std::optional<RedisSettings> redis;  // nothing: no cache

  struct Engine {
    std::int32_t lanes = 8;
    std::int32_t workers = 0;                            // threads; 0 = one a core
    std::int64_t memory_limit = std::int64_t{2} << 30U;  // bytes
    std::chrono::seconds close_grace{2};
    Milliseconds shutdown_timeout{30'000};
  } engine;

  struct MetricsPage {
    std::string listen = "127.0.0.1:9464";  // "": none
  } metrics;

  struct Log {
    std::string level = "info";
    LogFormat format = LogFormat::kText;
  } log;
};

// Reads and checks the file. All that is wrong with it is in the one kFatal error: a line each, "FILE:LINE: key: what
// is wrong; what to do", with no line end after the last.
Result<Config> load_config(const std::string& path);
// The same for text; `name` stands for the file in messages.
Result<Config> parse_config(const std::string& text, const std::string& name);

// What is allowed but probably not meant, a line each.
std::vector<std::string> oddities_of(const Config& config);

// The whole configuration with all defaults, as YAML that load_config() reads, with passwords and keys masked.
std::string print_config(const Config& config);

// The settings that the stored candles depend on, and no others: "chains=1,56 dedupe_window=600 intervals=1m,5m
// max_future=600 max_lateness=604800", times in seconds.
std::string settings_text(const Config& config);

// librdkafka properties as the clients get them: brokers, kafka.properties, the map of the role, and what klined fixes.
KafkaProperties consumer_properties(const Config& config);
KafkaProperties producer_properties(const Config& config);
KafkaProperties admin_properties(const Config& config);

// "klines-100000-prod"
std::string output_topic(const Config& config, ChainId chain);
// The topic that `topic` holds the records of, divided by pair: "sol-trades" for "sol-trades-by-pair"; nothing where it
// is no such topic.
std::optional<std::string> origin_topic(std::string_view topic);
// "sol-trades-dlq", of the origin where the topic has one
std::string dead_letter_topic(const Config& config, std::string_view input_topic);
// Where `klined run` writes to: candles, where it publishes, and dead letters.
std::vector<std::string> output_topics(const Config& config);
// "sol-trades-put-back", of the origin where the topic has one: notes of the dead letters that were put back into it.
// It belongs to the input topic, not to a group or its dead letters: whoever reads the one must know the other.
std::string put_back_topic(std::string_view input_topic);
// Of all input topics, each once.
std::vector<std::string> put_back_topics(const Config& config);
// False where env is "local".
inline bool publishes(const Config& config) { return config.env != "local"; }
// True where several processes of the group are active at once.
inline bool is_shared(const Config& config) { return config.input.partitioned_by == Config::PartitionedBy::kPair; }

}  // namespace klined
