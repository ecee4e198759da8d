#include "klined/stream/config.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <limits>
#include <sstream>
#include <system_error>

#include "klined/codec/rfc3339.hpp"
#include "klined/stream/config_kafka.hpp"
#include "klined/stream/config_reader.hpp"
#include "yaml_guard.hpp"

namespace klined {

namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr std::int32_t kPortMax = 65'535;
constexpr std::size_t kTopicLengthMax = 249;  // Kafka's limit

constexpr std::array<std::string_view, 6> kPartitioners = {"murmur2_random", "murmur2",      "consistent_random",
                                                           "consistent",     "fnv1a_random", "fnv1a"};

// What Kafka allows in the name of a topic; groups and environments keep to it too.
bool is_plain_name(std::string_view text, std::size_t length_max) {
  return !text.empty() && text.size() <= length_max && text != "." && text != ".." &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
                  c == '-';
         });
}

void read_name(ConfigSection& section, const char* key, std::string& out, std::size_t length_max) {
  if (section.text(key, out) && !is_plain_name(out, length_max)) {
    section.wrong(key, fmt::format("\"{}\" must be 1 to {} of the characters a-z A-Z 0-9 . _ -", out, length_max));
  }
}

void require(ConfigSection& section, const char* key, const std::string& value, std::string_view example) {
  if (value.empty()) section.wrong(key, fmt::format("is needed; write for instance {}: {}", key, example));
}

void read_chains(ConfigSection& root, std::vector<ChainId>& out) {
  std::vector<std::string> names;
  root.list("chains", names);
  if (names.empty()) return;
  out.clear();
  for (const std::string& name : names) {
    ChainId chain = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), chain);
    if (error != std::errc() || end != name.data() + name.size() || chain < 1) {
      root.wrong(
          "chains",
          fmt::format("\"{}\" is no chain; write its number: 1 Ethereum, 56 BSC, 8453 Base, 100000 Solana", name));
    }
    out.push_back(chain);
  }
  std::sort(out.begin(), out.end());
  if (std::adjacent_find(out.begin(), out.end()) != out.end()) root.wrong("chains", "a chain stands twice; remove one");
}

void read_intervals(ConfigSection& root, std::vector<Interval>& out) {
  std::vector<std::string> names;
  root.list("intervals", names);
  if (names.empty()) return;
  out.clear();
  for (const std::string& name : names) {
    if (const auto interval = interval_of(name)) {
      out.push_back(*interval);
      continue;
    }
    std::vector<std::string_view> known;
    for (const Interval interval : kAllIntervals) known.push_back(name_of(interval));
    root.wrong("intervals", fmt::format("\"{}\" is no interval; known are {}", name, fmt::join(known, " ")));
  }
  std::sort(out.begin(), out.end());
  if (std::adjacent_find(out.begin(), out.end()) != out.end()) {
    root.wrong("intervals", "an interval stands twice (24h is 1d); remove one of the two");
  }
}

void read_kafka(ConfigSection section, Config::Kafka& out) {
  section.text("brokers", out.brokers);
  require(section, "brokers", out.brokers, "localhost:9092");
  for (const std::string& broker : split_list(out.brokers)) {
    if (!out.brokers.empty() && (broker.empty() || broker.find_first_of(" \t") != std::string::npos)) {
      section.wrong("brokers",
                    fmt::format("\"{}\" must be host:port, several of them with commas between", out.brokers));
    }
  }
  section.map("properties", out.properties);
  section.map("consumer", out.consumer);
  section.map("producer", out.producer);
  section.done();
}

void read_start(ConfigSection& section, StartAt& out) {
  std::string text;
  if (!section.text("start", text)) return;
  if (text == "earliest") {
    out = {StartAt::Kind::kEarliest, 0};
  } else if (text == "latest") {
    out = {StartAt::Kind::kLatest, 0};
  } else if (const auto time = parse_rfc3339(text)) {
    out = {StartAt::Kind::kTime, *time};
  } else {
    section.wrong("start",
                  fmt::format("\"{}\" must be earliest, latest, or a time such as 2026-01-31T00:00:00Z", text));
  }
}

void read_input(ConfigSection section, Config::Input& out) {
  section.list("topics", out.topics);
  if (out.topics.empty() && !section.has("topics")) require(section, "topics", "", "[sol-trades]");
  for (const std::string& topic : out.topics) {
    if (!is_plain_name(topic, kTopicLengthMax)) {
      section.wrong("topics",
                    fmt::format("\"{}\" is no topic's name: 1 to 249 of the characters a-z A-Z 0-9 . _ -", topic));
    }
  }
  std::string partitioned_by = "any";
  section.text("partitioned_by", partitioned_by);
  if (partitioned_by == "pair") {
    out.partitioned_by = Config::PartitionedBy::kPair;
  } else if (partitioned_by != "any") {
    section.wrong("partitioned_by",
                  fmt::format("\"{}\" must be any (one active process), or pair where the topics are keyed by pair "
                              "(several)",
                              partitioned_by));
  }
  read_start(section, out.start);
  read_name(section, "dead_letter_suffix", out.dead_letter_suffix, 64);
  section.duration("max_future", out.max_future, seconds(0), days(1));
  section.duration("max_lateness", out.max_lateness, minutes(1), days(3650));
  section.duration("dedupe_window", out.dedupe_window, seconds(1), days(1));
  section.flag("allow_dedupe_gap", out.allow_dedupe_gap);
  section.done();
}

void read_output(ConfigSection section, Config::Output& out) {
  section.duration("publish_interval", out.publish_interval, Milliseconds(10), seconds(10));
  if (section.text("acks", out.acks) && out.acks != "all" && out.acks != "1") {
    const std::string_view why =
        out.acks == "-1" ? "write all" : "write all, or 1 for the leader's acknowledgement alone";
    section.wrong("acks", fmt::format("\"{}\" is refused: {}", out.acks, why));
  }
  if (section.text("partitioner", out.partitioner) &&
      std::find(kPartitioners.begin(), kPartitioners.end(), out.partitioner) == kPartitioners.end()) {
    section.wrong("partitioner",
                  fmt::format("\"{}\" is refused: a pair's messages must all go to one partition; write one of {}",
                              out.partitioner, fmt::join(kPartitioners, ", ")));
  }
  section.number("partitions", out.partitions, 1, 10'000);
  section.number("replication_factor", out.replication_factor, 1, 100);
  section.number("min_insync_replicas", out.min_insync_replicas, 1, 100);
  section.done();
}

void read_mysql(ConfigSection section, Config::MySql& out) {
  section.text("host", out.host);
  section.number("port", out.port, 1, kPortMax);
  section.text("user", out.user);
  section.text("password", out.password);
  section.text("database", out.database);
  section.text("socket", out.socket);
  section.text("ssl_ca", out.ssl_ca);
  if (out.host.empty() && out.socket.empty())
    section.wrong("host", "is needed (or socket); write for instance host: 127.0.0.1");
  require(section, "user", out.user, "klined");
  require(section, "database", out.database, "klined");
  section.duration("flush_interval", out.flush_interval, Milliseconds(10), minutes(1));
  section.number<std::int64_t>("flush_rows", out.flush_rows, 1, 1'000'000);
  section.duration("catch_up_flush_interval", out.catch_up_flush_interval, Milliseconds(10), minutes(10));
  section.number<std::int64_t>("catch_up_flush_rows", out.catch_up_flush_rows, 1, 10'000'000);
  section.done();
}

void read_redis(ConfigSection section, RedisSettings& out) {
  section.text("host", out.host);
  if (out.host.empty())
    section.wrong("host", "is empty; write for instance host: 127.0.0.1, or remove the section redis");
  section.number("port", out.port, 1, kPortMax);
  section.text("username", out.username);
  section.text("password", out.password);
  if (!out.username.empty() && out.password.empty()) section.wrong("username", "needs a password beside it");
  section.number("database", out.database, 0, 65'535);
  section.number("keep", out.keep, 1, 10'000);
  section.duration("ttl", out.ttl, minutes(1), days(365));
  section.done();
}

void read_engine(ConfigSection section, Config::Engine& out) {
  section.number("lanes", out.lanes, 1, 256);
  section.number("workers", out.workers, 0, 1024);
  section.size("memory_limit", out.memory_limit, std::int64_t{256} << 20U, std::int64_t{16} << 40U);
  section.duration("close_grace", out.close_grace, seconds(0), hours(1));
  section.duration("shutdown_timeout", out.shutdown_timeout, seconds(1), minutes(10));
  section.done();
}

void read_metrics(ConfigSection section, Config::MetricsPage& out) {
  if (section.text("listen", out.listen) && !out.listen.empty()) {
    const std::size_t colon = out.listen.rfind(':');
    const std::string_view port = std::string_view(out.listen).substr(colon == std::string::npos ? 0 : colon + 1);
    std::int32_t number = -1;
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
    if (colon == std::string::npos || colon == 0 || error != std::errc() || end != port.data() + port.size() ||
        number < 0 || number > kPortMax) {
      section.wrong("listen",
                    fmt::format("\"{}\" must be address:port such as 127.0.0.1:9464, or \"\" for no page", out.listen));
    }
  }
  section.done();
}

void read_log(ConfigSection section, Config::Log& out) {
  if (section.text("level", out.level) && !is_log_level(out.level)) {
    section.wrong("level", fmt::format("\"{}\" must be trace, debug, info, warning, error or off", out.level));
  }
  std::string format = "text";
  section.text("format", format);
  if (format != "text" && format != "json") section.wrong("format", fmt::format("\"{}\" must be text or json", format));
  out.format = format == "json" ? LogFormat::kJson : LogFormat::kText;
  section.done();
}

void check_topics(const Config& config, ConfigProblems& problems) {
  for (const std::string& topic : config.input.topics) {
    const std::string dead = dead_letter_topic(config, topic);
    if (dead.size() > kTopicLengthMax) {
      problems.add("input.topics",
                   fmt::format("{} is too long for a topic with input.dead_letter_suffix; shorten either", topic));
    }
    if (put_back_topic(topic).size() > kTopicLengthMax) {
      problems.add("input.topics", fmt::format("{} is too long: {} is a topic too", topic, put_back_topic(topic)));
    }
    if (std::find(config.input.topics.begin(), config.input.topics.end(), dead) != config.input.topics.end()) {
      problems.add("input.topics",
                   fmt::format("{} is the dead-letter topic of {}, and cannot be input at the same time; "
                               "remove it, or change input.dead_letter_suffix",
                               dead, topic));
    }
    if (const std::optional<std::string> origin = origin_topic(topic);
        origin && std::ranges::find(config.input.topics, *origin) != config.input.topics.end()) {
      problems.add("input.topics",
                   fmt::format("{} holds the trades of {} once more, which would count twice; remove one of them",
                               topic, *origin));
    }
    const std::string notes = put_back_topic(topic);
    if (dead == notes || std::ranges::find(config.input.topics, notes) != config.input.topics.end()) {
      problems.add("input.topics",
                   fmt::format("{} tells which dead letters of {} were put back, and cannot be {} at the same time; {}",
                               notes, topic, dead == notes ? "their topic" : "input",
                               dead == notes ? "change input.dead_letter_suffix" : "remove it"));
    }
    for (const ChainId chain : config.chains) {
      if (topic == output_topic(config, chain)) {
        problems.add("input.topics",
                     fmt::format("{} is where the candles go (env is {}); it cannot be input", topic, config.env));
      }
    }
  }
}

// One setting must not be larger than another.
template <typename T, typename Print>
void check_order(ConfigProblems& problems, const std::string& small_key, T small, const std::string& large_key, T large,
                 std::string_view why, Print print) {
  if (small <= large) return;
  const std::string& key = problems.seen(small_key) ? small_key : large_key;
  problems.add(key, fmt::format("{} ({}) is larger than {} ({}): {}; change one of the two", small_key, print(small),
                                large_key, print(large), why));
}

void check_relations(const Config& config, ConfigProblems& problems) {
  const auto duration = [](Milliseconds value) { return print_duration(value); };
  const auto number = [](std::int64_t value) { return std::to_string(value); };
  check_order(problems, "output.publish_interval", config.output.publish_interval, "mysql.flush_interval",
              config.mysql.flush_interval, "a commit waits for the publications that it covers", duration);
  check_order(problems, "mysql.flush_interval", config.mysql.flush_interval, "mysql.catch_up_flush_interval",
              config.mysql.catch_up_flush_interval, "catching up writes less often, not more", duration);
  check_order(problems, "mysql.flush_rows", config.mysql.flush_rows, "mysql.catch_up_flush_rows",
              config.mysql.catch_up_flush_rows, "catching up writes more rows at once, not fewer", number);
  check_order<Milliseconds>(problems, "input.dedupe_window", config.input.dedupe_window, "input.max_lateness",
                            config.input.max_lateness, "a trade that old is late before it is a duplicate", duration);
  check_order<std::int64_t>(problems, "output.min_insync_replicas", config.output.min_insync_replicas,
                            "output.replication_factor", config.output.replication_factor,
                            "no write would ever be acknowledged", number);
  check_topics(config, problems);
  check_kafka(config, problems);
}

}  // namespace

Result<Config> parse_config(const std::string& text, const std::string& name) {
  ConfigProblems problems(name);
  Config config;
  try {
    check_yaml_ends(text);
    const std::vector<YAML::Node> documents = YAML::LoadAll(text);
    if (documents.size() > 1)
      return fatal(fmt::format("{}: holds {} YAML documents; one is read", name, documents.size()));
    ConfigSection root(documents.empty() ? YAML::Node() : documents.front(), "", problems);
    read_name(root, "group", config.group, 48);
    read_name(root, "env", config.env, 32);
    read_chains(root, config.chains);
    read_intervals(root, config.intervals);
    read_kafka(root.section("kafka"), config.kafka);
    read_input(root.section("input"), config.input);
    read_output(root.section("output"), config.output);
    read_mysql(root.section("mysql"), config.mysql);
    ConfigSection redis = root.section("redis");
    if (root.has("redis")) read_redis(std::move(redis), config.redis.emplace());
    read_engine(root.section("engine"), config.engine);
    read_metrics(root.section("metrics"), config.metrics);
    read_log(root.section("log"), config.log);
    root.done();
    check_relations(config, problems);
  } catch (const YAML::Exception& error) {
    return fatal(fmt::format("{}:{}: this is no YAML: {}", name, error.mark.line + 1, error.msg));
  }
  if (!problems.empty()) return fatal(problems.text());
  return config;
}

Result<Config> load_config(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (file && file.peek() == std::ifstream::traits_type::eof() && errno == 0)
    return fatal(fmt::format("the config {} is empty: start from config/minimal.yaml", path));
  // A directory opens, and fails only when it is read.
  if (!file || !(text << file.rdbuf())) {
    return fatal(fmt::format("cannot read the config {}: {}", path,
                             errno != 0 ? std::generic_category().message(errno) : "it is empty"));
  }
  return parse_config(text.str(), path);
}

std::string settings_text(const Config& config) {
  std::vector<std::string_view> intervals;
  for (const Interval interval : config.intervals) intervals.push_back(name_of(interval));
  return fmt::format("chains={} dedupe_window={} intervals={} max_future={} max_lateness={}",
                     fmt::join(config.chains, ","), config.input.dedupe_window.count(), fmt::join(intervals, ","),
                     config.input.max_future.count(), config.input.max_lateness.count());
}

std::string output_topic(const Config& config, ChainId chain) { return fmt::format("klines-{}-{}", chain, config.env); }

std::optional<std::string> origin_topic(std::string_view topic) {
  constexpr std::string_view kSuffix = "-by-pair";
  if (topic.size() <= kSuffix.size() || !topic.ends_with(kSuffix)) return std::nullopt;
  return std::string(topic.substr(0, topic.size() - kSuffix.size()));
}

std::string dead_letter_topic(const Config& config, std::string_view input_topic) {
  return origin_topic(input_topic).value_or(std::string(input_topic)) + config.input.dead_letter_suffix;
}

std::vector<std::string> output_topics(const Config& config) {
  std::vector<std::string> topics;
  if (publishes(config)) {
    for (const ChainId chain : config.chains) topics.push_back(output_topic(config, chain));
  }
  for (const std::string& input : config.input.topics) topics.push_back(dead_letter_topic(config, input));
  return topics;
}

std::string put_back_topic(std::string_view input_topic) {
  return origin_topic(input_topic).value_or(std::string(input_topic)) + "-put-back";
}

std::vector<std::string> put_back_topics(const Config& config) {
  std::vector<std::string> topics;
  for (const std::string& topic : config.input.topics) topics.push_back(put_back_topic(topic));
  std::ranges::sort(topics);
  const auto repeated = std::ranges::unique(topics);
  topics.erase(repeated.begin(), repeated.end());
  return topics;
}

}  // namespace klined
