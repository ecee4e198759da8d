// A config back to YAML, and what is odd about it.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <librdkafka/rdkafka.h>

#include "klined/stream/config.hpp"
#include "klined/stream/config_kafka.hpp"
#include "klined/stream/config_values.hpp"

namespace klined {

namespace {

constexpr std::string_view kMask = "********";

// A double-quoted YAML scalar that reads back as `text`, also after ${…} has been looked for.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '$' && i + 1 < text.size() && text[i + 1] == '{') {
      out += "$$";
    } else if (static_cast<unsigned char>(c) < 0x20U) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string secret(std::string_view text) { return quoted(text.empty() ? "" : kMask); }

std::string print_start(const StartAt& start) {
  switch (start.kind) {
    case StartAt::Kind::kEarliest: return "earliest";
    case StartAt::Kind::kLatest: return "latest";
    case StartAt::Kind::kTime: break;
  }
  return quoted(print_rfc3339(start.time));
}

void print_map(std::string& out, std::string_view name, const KafkaProperties& map) {
  out += fmt::format("  {}:{}\n", name, map.empty() ? " {}" : "");
  for (const auto& [key, value] : map) {
    out += fmt::format("    {}: {}\n", key, is_secret_property(key) ? secret(value) : quoted(value));
  }
}

void print_streams(std::string& out, const Config& config) {
  out += fmt::format("kafka:\n  brokers: {}\n", quoted(config.kafka.brokers));
  print_map(out, "properties", config.kafka.properties);
  print_map(out, "consumer", config.kafka.consumer);
  print_map(out, "producer", config.kafka.producer);
  const Config::Input& input = config.input;
  out += fmt::format(
      "input:\n  topics: [{}]\n  partitioned_by: {}\n  start: {}\n  dead_letter_suffix: {}\n  max_future: {}\n"
      "  max_lateness: {}\n  dedupe_window: {}\n  allow_dedupe_gap: {}\n",
      fmt::join(input.topics, ", "), is_shared(config) ? "pair" : "any", print_start(input.start),
      quoted(input.dead_letter_suffix), print_duration(input.max_future), print_duration(input.max_lateness),
      print_duration(input.dedupe_window), input.allow_dedupe_gap);
  const Config::Output& output = config.output;
  out += fmt::format(
      "output:\n  publish_interval: {}\n  acks: {}\n  partitioner: {}\n  partitions: {}\n  replication_factor: {}\n"
      "  min_insync_replicas: {}\n",
      print_duration(output.publish_interval), output.acks, output.partitioner, output.partitions,
      output.replication_factor, output.min_insync_replicas);
}

void print_stores(std::string& out, const Config& config) {
  const Config::MySql& mysql = config.mysql;
  out += fmt::format(
      "mysql:\n  host: {}\n  port: {}\n  user: {}\n  password: {}\n  database: {}\n  socket: {}\n  ssl_ca: {}\n"
      "  flush_interval: {}\n  flush_rows: {}\n  catch_up_flush_interval: {}\n  catch_up_flush_rows: {}\n",
      quoted(mysql.host), mysql.port, quoted(mysql.user), secret(mysql.password), quoted(mysql.database),
      quoted(mysql.socket), quoted(mysql.ssl_ca), print_duration(mysql.flush_interval), mysql.flush_rows,
      print_duration(mysql.catch_up_flush_interval), mysql.catch_up_flush_rows);
  if (!config.redis) return;
  const RedisSettings& redis = *config.redis;
  out += fmt::format(
      "redis:\n  host: {}\n  port: {}\n  username: {}\n  password: {}\n  database: {}\n  keep: {}\n  ttl: {}\n",
      quoted(redis.host), redis.port, quoted(redis.username), secret(redis.password), redis.database, redis.keep,
      print_duration(redis.ttl));
}

bool has_scram(const KafkaProperties& properties) {
  for (const char* const name : {"sasl.mechanisms", "sasl.mechanism"}) {
    const auto found = properties.find(name);
    if (found != properties.end() && found->second.starts_with("SCRAM")) return true;
  }
  return false;
}

bool has_interval(const Config& config, Interval interval) {
  for (const Interval configured : config.intervals) {
    if (configured == interval) return true;
  }
  return false;
}

}  // namespace

std::string print_config(const Config& config) {
  std::vector<std::string_view> intervals;
  for (const Interval interval : config.intervals) intervals.push_back(name_of(interval));
  std::string out = fmt::format("group: {}\nenv: {}\nchains: [{}]\nintervals: [{}]\n", quoted(config.group),
                                quoted(config.env), fmt::join(config.chains, ", "), fmt::join(intervals, ", "));
  print_streams(out, config);
  print_stores(out, config);
  const Config::Engine& engine = config.engine;
  out += fmt::format(
      "engine:\n  lanes: {}\n  workers: {}\n  memory_limit: {}\n  close_grace: {}\n  shutdown_timeout: {}\n",
      engine.lanes, engine.workers, print_size(engine.memory_limit), print_duration(engine.close_grace),
      print_duration(engine.shutdown_timeout));
  out += fmt::format("metrics:\n  listen: {}\n", quoted(config.metrics.listen));
  out += fmt::format("log:\n  level: {}\n  format: {}\n", config.log.level,
                     config.log.format == LogFormat::kJson ? "json" : "text");
  return out;
}

std::vector<std::string> oddities_of(const Config& config) {
  std::vector<std::string> found;
  if (!publishes(config)) found.emplace_back("env is local: no candles are published to Kafka");
  if (config.output.acks == "1") {
    found.emplace_back("output.acks is 1: candles that only the leader of a partition had are lost with that broker");
  }
  if (config.output.acks == "all" && config.output.replication_factor >= 3 && config.output.min_insync_replicas == 1) {
    found.emplace_back(
        "output.min_insync_replicas is 1 with several replicas: acks=all may then mean one broker; write 2");
  }
  if (publishes(config) && !has_interval(config, Interval::k1m)) {
    found.emplace_back("intervals lacks 1m: the fluctuations over 1m, 5m, 15m and 1h will be 0");
  }
  if (publishes(config) && !has_interval(config, Interval::k15m)) {
    found.emplace_back("intervals lacks 15m: the fluctuations over 4h, 12h and 24h will be 0");
  }
  if (config.input.allow_dedupe_gap) {
    found.emplace_back("input.allow_dedupe_gap is true: trades sent twice around a gap in the log may count twice");
  }
  if (config.mysql.password.empty() && config.mysql.socket.empty()) {
    found.emplace_back("mysql.password is empty");
  }
  if (!config.mysql.host.empty() && !config.mysql.socket.empty()) {
    found.emplace_back("mysql.socket is set: mysql.host and mysql.port are not used");
  }
  constexpr int kScramMended = 0x02060100;  // 2.6.1
  if (rd_kafka_version() < kScramMended &&
      (has_scram(config.kafka.properties) || has_scram(config.kafka.consumer) || has_scram(config.kafka.producer))) {
    found.push_back(
        fmt::format("SASL/SCRAM with librdkafka {}: brokers of Kafka 3.8.1 and newer refuse its login; use 2.6.1 "
                    "or newer, or SASL/PLAIN over TLS",
                    rd_kafka_version_str()));
  }
  return found;
}

}  // namespace klined
