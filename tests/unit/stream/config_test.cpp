// The config: every key, every refusal, and what people read when something is wrong.
#include "klined/stream/config.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "klined/stream/config_values.hpp"

namespace klined {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::Pair;

constexpr const char* kNeeded =
    "kafka: {brokers: \"k:9092\"}\n"
    "input: {topics: [sol-trades]}\n"
    "mysql: {host: m, user: u, database: d}\n";

Config parsed(const std::string& text) {
  Result<Config> config = parse_config(text, "c.yaml");
  EXPECT_TRUE(config.has_value()) << config.error().message;
  return config.value_or(Config());
}

std::string refusal(const std::string& text) {
  const Result<Config> config = parse_config(text, "c.yaml");
  EXPECT_FALSE(config.has_value()) << "accepted:\n" << text;
  return config ? "" : config.error().message;
}

// The refusal of the needed keys and `extra`, which starts at line 4.
std::string refusal_with(const std::string& extra) { return refusal(std::string(kNeeded) + extra); }

TEST(Config, DefaultsAreThoseOfTheManual) {
  const Config config = parsed(kNeeded);
  EXPECT_EQ(config.group, "klined");
  EXPECT_EQ(config.env, "prod");
  EXPECT_THAT(config.chains, ElementsAre(1, 56, 8453, 100000));
  EXPECT_EQ(config.intervals.size(), 7U);
  EXPECT_EQ(config.kafka.brokers, "k:9092");
  EXPECT_EQ(config.input.start, (StartAt{StartAt::Kind::kEarliest, 0}));
  EXPECT_EQ(config.input.dead_letter_suffix, "-dlq");
  EXPECT_EQ(config.input.max_future.count(), 600);
  EXPECT_EQ(config.input.max_lateness.count(), 604'800);
  EXPECT_EQ(config.input.dedupe_window.count(), 600);
  EXPECT_EQ(config.output.publish_interval.count(), 100);
  EXPECT_EQ(config.output.acks, "all");
  EXPECT_EQ(config.mysql.port, 3306);
  EXPECT_EQ(config.mysql.flush_interval.count(), 500);
  EXPECT_EQ(config.mysql.flush_rows, 10'000);
  EXPECT_FALSE(config.redis.has_value());
  EXPECT_EQ(config.engine.lanes, 8);
  EXPECT_EQ(config.engine.memory_limit, 2'147'483'648);
  EXPECT_EQ(config.engine.close_grace.count(), 2);
  EXPECT_EQ(config.metrics.listen, "127.0.0.1:9464");
  EXPECT_EQ(config.log.level, "info");
}

TEST(Config, DocumentedFileHoldsTheDefaults) {
  const std::filesystem::path folder = std::filesystem::path(__FILE__).parent_path() / "../../../config";
  const Result<Config> documented = load_config(folder / "klined.yaml");
  ASSERT_TRUE(documented.has_value()) << documented.error().message;
  Config defaults = parsed(
      "kafka: {brokers: \"localhost:9092\"}\ninput: {topics: [sol-trades]}\n"
      "mysql: {host: 127.0.0.1, user: klined, database: klined}\nredis:\n");
  EXPECT_EQ(print_config(*documented), print_config(defaults));
}

TEST(Config, FilesOfTheProjectAreRight) {
  const std::filesystem::path folder = std::filesystem::path(__FILE__).parent_path() / "../../../config";
  setenv("KLINED_MYSQL_PASSWORD", "p", 1);
  const Result<Config> minimal = load_config(folder / "minimal.yaml");
  ASSERT_TRUE(minimal.has_value()) << minimal.error().message;
  EXPECT_EQ(minimal->mysql.password, "p");
  const Result<Config> docker = load_config(folder / "docker.yaml");
  ASSERT_TRUE(docker.has_value()) << docker.error().message;
  EXPECT_EQ(docker->redis->host, "redis");
  EXPECT_EQ(docker->metrics.listen, "0.0.0.0:9464");
  unsetenv("KLINED_MYSQL_PASSWORD");
}

TEST(Config, EveryKeyArrives) {
  const Config config = parsed(R"(
group: g
env: stage
chains: [100000, 56]
intervals: "1M, 24h,1m"
kafka:
  brokers: a:1,b:2
  properties: {client.id: me}
  consumer: {fetch.min.bytes: 7}
  producer: {compression.codec: lz4}
input:
  topics: a-trades,b-trades
  partitioned_by: any
  start: 2026-01-31T00:00:00+01:00
  dead_letter_suffix: .dead
  max_future: 1m
  max_lateness: 2d
  dedupe_window: 1h30m
  allow_dedupe_gap: true
output: {publish_interval: 50ms, acks: 1, partitioner: murmur2, partitions: 3, replication_factor: 3,
         min_insync_replicas: 2}
mysql: {host: h, port: 3307, user: u, password: p, database: d, socket: /s, ssl_ca: /ca, flush_interval: 1s, flush_rows: 5,
        catch_up_flush_interval: 2s, catch_up_flush_rows: 6}
redis: {host: r, port: 6380, username: ru, password: rp, database: 3, keep: 10, ttl: 1h}
engine: {lanes: 4, workers: 2, memory_limit: 512MiB, close_grace: 3s, shutdown_timeout: 5s}
metrics: {listen: ""}
log: {level: debug, format: json}
)");
  EXPECT_EQ(config.group, "g");
  EXPECT_THAT(config.chains, ElementsAre(56, 100000));
  EXPECT_THAT(config.intervals, ElementsAre(Interval::k1m, Interval::k1d, Interval::k1M));
  EXPECT_THAT(config.input.topics, ElementsAre("a-trades", "b-trades"));
  EXPECT_EQ(config.input.start, (StartAt{StartAt::Kind::kTime, 1'769'814'000'000}));
  EXPECT_EQ(config.input.max_future.count(), 60);
  EXPECT_EQ(config.input.max_lateness.count(), 172'800);
  EXPECT_EQ(config.input.dedupe_window.count(), 5'400);
  EXPECT_TRUE(config.input.allow_dedupe_gap);
  EXPECT_EQ(config.output.publish_interval.count(), 50);
  EXPECT_EQ(config.output.partitions, 3);
  EXPECT_EQ(config.output.replication_factor, 3);
  EXPECT_EQ(config.output.min_insync_replicas, 2);
  EXPECT_EQ(config.mysql.port, 3307);
  EXPECT_EQ(config.mysql.password, "p");
  EXPECT_EQ(config.mysql.socket, "/s");
  EXPECT_EQ(config.mysql.ssl_ca, "/ca");
  EXPECT_EQ(config.mysql.flush_interval.count(), 1000);
  EXPECT_EQ(config.mysql.flush_rows, 5);
  EXPECT_EQ(config.mysql.catch_up_flush_interval.count(), 2000);
  EXPECT_EQ(config.mysql.catch_up_flush_rows, 6);
  ASSERT_TRUE(config.redis.has_value());
  EXPECT_EQ(config.redis->host, "r");
  EXPECT_EQ(config.redis->port, 6380);
  EXPECT_EQ(config.redis->username, "ru");
  EXPECT_EQ(config.redis->password, "rp");
  EXPECT_EQ(config.redis->database, 3);
  EXPECT_EQ(config.redis->keep, 10);
  EXPECT_EQ(config.redis->ttl.count(), 3600);
  EXPECT_EQ(config.engine.lanes, 4);
  EXPECT_EQ(config.engine.workers, 2);
  EXPECT_EQ(config.engine.memory_limit, 536'870'912);
  EXPECT_EQ(config.engine.close_grace.count(), 3);
  EXPECT_EQ(config.engine.shutdown_timeout.count(), 5000);
  EXPECT_EQ(config.metrics.listen, "");
  EXPECT_EQ(config.log.level, "debug");
  EXPECT_EQ(config.log.format, LogFormat::kJson);
  EXPECT_EQ(output_topic(config, 56), "klines-56-stage");
  EXPECT_EQ(dead_letter_topic(config, "a-trades"), "a-trades.dead");
  EXPECT_THAT(
      consumer_properties(config),
      ElementsAre(Pair("bootstrap.servers", "a:1,b:2"), Pair("client.id", "me"), Pair("fetch.max.bytes", "2097152"),
                  Pair("fetch.message.max.bytes", "1048576"), Pair("fetch.min.bytes", "7"),
                  Pair("message.max.bytes", "2097152"), Pair("queued.max.messages.kbytes", "16384")));
  EXPECT_THAT(producer_properties(config),
              ElementsAre(Pair("acks", "1"), Pair("bootstrap.servers", "a:1,b:2"), Pair("client.id", "me"),
                          Pair("compression.codec", "lz4"), Pair("partitioner", "murmur2"),
                          Pair("queue.buffering.max.kbytes", "32768")));
  EXPECT_THAT(admin_properties(config), ElementsAre(Pair("bootstrap.servers", "a:1,b:2"), Pair("client.id", "me")));
}

TEST(Config, SettingsTextHoldsWhatStoredCandlesDependOn) {
  EXPECT_EQ(settings_text(parsed(std::string(kNeeded) + "chains: [56, 1]\nintervals: [5m, 1m]\n")),
            "chains=1,56 dedupe_window=600 intervals=1m,5m max_future=600 max_lateness=604800");
}

TEST(Config, UnknownKeysNameTheNearest) {
  EXPECT_EQ(refusal_with("grup: x\n"), "c.yaml:4: grup: unknown key; did you mean group?");
  EXPECT_THAT(refusal("kafka: {brokers: k}\ninput: {topics: [t]}\nmysql:\n  host: m\n  user: u\n  database: d\n  "
                      "flush_intervall: 1s\n"),
              "c.yaml:7: mysql.flush_intervall: unknown key; did you mean flush_interval?");
  EXPECT_EQ(refusal_with("log:\n  xyzzy: x\n"), "c.yaml:5: log.xyzzy: unknown key; known here are level, format");
}

TEST(Config, AllThatIsWrongIsToldInTheOrderOfTheFile) {
  EXPECT_EQ(refusal("env: a b\nkafka:\n  brokers: k\ninput:\n  topics: []\nmysql:\n  port: 70000\n  user: u\n"),
            "c.yaml:1: env: \"a b\" must be 1 to 32 of the characters a-z A-Z 0-9 . _ -\n"
            "c.yaml:5: input.topics: needs at least one entry, and none of them empty\n"
            "c.yaml:6: mysql.host: is needed (or socket); write for instance host: 127.0.0.1\n"
            "c.yaml:6: mysql.database: is needed; write for instance database: klined\n"
            "c.yaml:7: mysql.port: 70000 is out of range; it may be 1 to 65535");
}

TEST(Config, NeededKeysAreNamed) {
  const std::string all = refusal("");
  EXPECT_THAT(all, HasSubstr("c.yaml: kafka.brokers: is needed"));
  EXPECT_THAT(all, HasSubstr("c.yaml: input.topics: is needed"));
  EXPECT_THAT(all, HasSubstr("c.yaml: mysql.host: is needed"));
  EXPECT_THAT(all, HasSubstr("c.yaml: mysql.user: is needed"));
}

TEST(Config, WrongValuesSayWhatIsRight) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"engine: {close_grace: 2}\n", "engine.close_grace: \"2\" is no duration"},
      {"engine: {close_grace: 1500ms}\n", "engine.close_grace: 1s500ms is no whole number of seconds"},
      {"engine: {close_grace: 2h}\n", "engine.close_grace: 2h is out of range; it may be 0s to 1h"},
      {"engine: {memory_limit: 2GB}\n", "engine.memory_limit: \"2GB\" is no size"},
      {"engine: {memory_limit: 100MiB}\n", "engine.memory_limit: 100MiB is out of range; it may be 256MiB to 16TiB"},
      {"engine: {lanes: 257}\n", "engine.lanes: 257 is out of range; it may be 1 to 256"},
      {"engine: {lanes: 99999999999999999999}\n", "engine.lanes: 99999999999999999999 is out of range"},
      {"engine: {lanes: eight}\n", "engine.lanes: \"eight\" is no whole number"},
      {"engine: {lanes: 8.5}\n", "engine.lanes: \"8.5\" is no whole number"},
      {"engine: {lanes: [8]}\n", "engine.lanes: must be a single value"},
      {"engine: {lanes: }\n", "engine.lanes: has no value"},
      {"engine: 5\n", "engine must hold \"key: value\" lines"},
      {"chains: [sol]\n", "chains: \"sol\" is no chain"},
      {"chains: [1, 01]\n", "chains: a chain stands twice"},
      {"intervals: [1m, 7m]\n", "intervals: \"7m\" is no interval; known are 1s 1m 3m"},
      {"intervals: [1d, 24h]\n", "intervals: an interval stands twice"},
      {"output: {acks: 0}\n", "output.acks: \"0\" is refused"},
      {"output: {partitioner: random}\n", "output.partitioner: \"random\" is refused: a pair's messages"},
      {"output: {publish_interval: 1s}\n", "output.publish_interval (1s) is larger than mysql.flush_interval (500ms)"},
      {"output: {min_insync_replicas: 2}\n",
       "output.min_insync_replicas (2) is larger than output.replication_factor (1)"},
      {"metrics: {listen: 9464}\n", "metrics.listen: \"9464\" must be address:port"},
      {"metrics: {listen: \"127.0.0.1:99999\"}\n", "metrics.listen: \"127.0.0.1:99999\" must be address:port"},
      {"log: {level: loud}\n", "log.level: \"loud\" must be trace, debug, info, warning, error or off"},
      {"log: {format: xml}\n", "log.format: \"xml\" must be text or json"},
      {"redis: {username: u}\n", "redis.username: needs a password"},
      {"redis: {host: \"\"}\n", "redis.host: is empty"},
      {"group: a\ngroup: b\n", "c.yaml:5: group: stands twice"},
      {"group: ${KLINED_TEST_UNSET}\n", "group: the environment variable KLINED_TEST_UNSET is not set"},
      {"---\ngroup: b\n", "holds 2 YAML documents"},
      {"log: {level: info\n", "this is no YAML"},
      // yaml-cpp itself reads this for ever.
      {",a:\n  b: c:1, d:@[2m, {e:f.\n\nx (y\n", "this is no YAML"},
      {"[1]: x\n", "a key must be a plain word"},
  };
  for (const auto& [extra, expected] : cases) EXPECT_THAT(refusal_with(extra), HasSubstr(expected)) << extra;
}

TEST(Config, InputIsChecked) {
  const auto input = [](const std::string& lines) {
    return refusal("kafka: {brokers: k}\nmysql: {host: m, user: u, database: d}\ninput: {" + lines + "}\n");
  };
  EXPECT_THAT(input("topics: [t], partitioned_by: key"), HasSubstr("input.partitioned_by: \"key\" must be any (one"));
  EXPECT_THAT(input("topics: [t], start: yesterday"), HasSubstr("input.start: \"yesterday\" must be earliest, latest"));
  EXPECT_THAT(input("topics: [t, t]"), HasSubstr("input.topics: \"t\" stands twice"));
  EXPECT_THAT(input("topics: [t, t-dlq]"), HasSubstr("t-dlq is the dead-letter topic of t"));
  EXPECT_THAT(input("topics: [t, t-by-pair]"), HasSubstr("t-by-pair holds the trades of t once more"));
  EXPECT_THAT(input("topics: [t, t-put-back]"), HasSubstr("t-put-back tells which dead letters of t were put back"));
  EXPECT_THAT(input("topics: [t], dead_letter_suffix: -put-back"), HasSubstr("change input.dead_letter_suffix"));
  EXPECT_THAT(input("topics: [klines-1-prod]"), HasSubstr("klines-1-prod is where the candles go"));
  EXPECT_THAT(input("topics: [\"a b\"]"), HasSubstr("\"a b\" is no topic's name"));
  EXPECT_THAT(input("topics: [t], dedupe_window: 10m, max_lateness: 5m"),
              HasSubstr("input.dedupe_window (10m) is larger than input.max_lateness (5m)"));
  EXPECT_THAT(input("topics: [t], allow_dedupe_gap: yes"), HasSubstr("\"yes\" must be true or false"));
}

TEST(Config, KafkaPropertiesThatBreakGuaranteesAreRefused) {
  const auto kafka = [](const std::string& where, const std::string& property) {
    return refusal(
        fmt::format("input: {{topics: [t]}}\nmysql: {{host: m, user: u, database: d}}\n"
                    "kafka:\n  brokers: k\n  {}:\n    {}\n",
                    where, property));
  };
  const std::vector<std::tuple<std::string, std::string, std::string>> cases = {
      {"consumer", "enable.auto.commit: true", "the offsets that count are stored in MySQL"},
      {"consumer", "enable.auto.offset.store: true", "the offsets that count are stored in MySQL"},
      {"consumer", "auto.offset.reset: latest", "never a silent jump"},
      {"consumer", "group.id: x", "use the top-level key group"},
      {"consumer", "bootstrap.servers: x", "use kafka.brokers"},
      {"consumer", "isolation.level: read_uncommitted", "aborted transactions"},
      {"consumer", "enable.partition.eof: false", "caught up"},
      {"producer", "acks: 1", "use output.acks"},
      {"producer", "enable.idempotence: false", "it follows output.acks"},
      {"producer", "max.in.flight: 5", "KAFKA-15591"},
      {"producer", "max.in.flight.requests.per.connection: 5", "KAFKA-15591"},
      {"producer", "transactional.id: x", "transaction in MySQL"},
      {"producer", "retries: 0", "nothing is lost"},
      {"producer", "message.timeout.ms: 5000", "nothing is lost"},
      {"producer", "partitioner: random", "use output.partitioner"},
      {"producer", "message.max.bytes: 1000000", "dead letter may be a whole input message"},
      {"producer", "delivery.report.only.error: true", "every delivery is reported"},
      {"properties", "acks: 1", "use output.acks"},
      {"properties", "auto.offset.reset: latest", "never a silent jump"},
      {"properties", "no.such.property: 1", "has no such property"},
      {"consumer", "fetch.min.bytes: many", "refuses \"many\""},
  };
  for (const auto& [where, property, expected] : cases) {
    const std::string message = kafka(where, property);
    EXPECT_THAT(message, HasSubstr(expected));
    EXPECT_THAT(message,
                HasSubstr(fmt::format("c.yaml:6: kafka.{}.{}: ", where, property.substr(0, property.find(':')))));
  }
}

TEST(Config, KafkaPropertiesThatRestateTheGuaranteeAreAllowed) {
  parsed(
      "input: {topics: [t]}\nmysql: {host: m, user: u, database: d}\nkafka:\n  brokers: k\n"
      "  consumer: {enable.auto.commit: false, auto.offset.reset: error}\n"
      "  producer: {max.in.flight: 1, linger.ms: 5, message.timeout.ms: 0}\n");
}

TEST(Config, SecretsAreNeverPrinted) {
  setenv("KLINED_TEST_SECRET", "hunter2", 1);
  const Config config = parsed(
      "input: {topics: [t]}\nmysql: {host: m, user: u, database: d, password: \"${KLINED_TEST_SECRET}\"}\n"
      "redis: {password: hunter2}\n"
      "kafka: {brokers: k, properties: {sasl.password: hunter2, ssl.key.password: hunter2, sasl.username: me}}\n");
  unsetenv("KLINED_TEST_SECRET");
  EXPECT_EQ(config.mysql.password, "hunter2");
  const std::string text = print_config(config);
  EXPECT_THAT(text, Not(HasSubstr("hunter2")));
  EXPECT_THAT(text, HasSubstr("sasl.username: \"me\""));
  EXPECT_THAT(text, HasSubstr("sasl.password: \"********\""));
}

TEST(Config, PrintedTextReadsBackTheSame) {
  const std::string text = print_config(
      parsed("input: {topics: [t], start: \"2026-01-31T00:00:00.500Z\"}\nredis:\nenv: local\nintervals: [1s, 1M]\n"
             "mysql: {socket: /s, user: \"a\\\"b\\\\c $${x} $\", database: d}\nkafka: {brokers: k, consumer: "
             "{fetch.min.bytes: 7}}\n"));
  EXPECT_THAT(text, HasSubstr("start: \"2026-01-31T00:00:00.500Z\""));
  const Config again = parsed(text);
  EXPECT_EQ(again.mysql.user, "a\"b\\c ${x} $");
  EXPECT_EQ(print_config(again), text);
}

TEST(Config, PartitionsAreSharedWherePairsHaveOne) {
  EXPECT_FALSE(is_shared(parsed(std::string(kNeeded))));
  const Config shared = parsed(
      "kafka: {brokers: k}\ninput: {topics: [sol-trades-by-pair], partitioned_by: pair}\n"
      "mysql: {host: h, user: u, database: d}\n");
  EXPECT_TRUE(is_shared(shared));
  EXPECT_THAT(print_config(shared), HasSubstr("partitioned_by: pair"));
  EXPECT_TRUE(is_shared(parsed(print_config(shared))));
  EXPECT_EQ(dead_letter_topic(shared, "sol-trades-by-pair"), "sol-trades-dlq");
  EXPECT_EQ(put_back_topic("sol-trades-by-pair"), "sol-trades-put-back");
  EXPECT_THAT(put_back_topics(shared), ElementsAre("sol-trades-put-back"));
  EXPECT_EQ(origin_topic("sol-trades"), std::nullopt);
  EXPECT_EQ(origin_topic("-by-pair"), std::nullopt);
}

TEST(Config, OdditiesAreWarnedOf) {
  EXPECT_THAT(oddities_of(parsed(std::string(kNeeded))), ElementsAre("mysql.password is empty"));
  EXPECT_THAT(oddities_of(parsed(std::string(kNeeded) + "env: local\n")),
              Contains(HasSubstr("no candles are published")));
  EXPECT_THAT(oddities_of(parsed(std::string(kNeeded) + "intervals: [1h]\n")),
              Contains(HasSubstr("intervals lacks 15m")));
  EXPECT_THAT(oddities_of(parsed(std::string(kNeeded) + "output: {replication_factor: 3}\n")),
              Contains(HasSubstr("min_insync_replicas is 1")));
}

TEST(Config, UnreadableFileIsNamed) {
  const Result<Config> missing = load_config("/no/such/klined.yaml");
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error().message, "cannot read the config /no/such/klined.yaml: No such file or directory");
  EXPECT_FALSE(load_config("/tmp").has_value());
}

TEST(ConfigValues, Durations) {
  EXPECT_EQ(parse_duration("1h30m"), Milliseconds(5'400'000));
  EXPECT_EQ(parse_duration("500ms"), Milliseconds(500));
  EXPECT_EQ(parse_duration("2w"), Milliseconds(1'209'600'000));
  for (const char* const wrong : {"", "5", "m", "1.5s", "-1s", "1 s", "+1s", "1y", "99999999999999999w", "1s "}) {
    EXPECT_EQ(parse_duration(wrong), std::nullopt) << wrong;
  }
  EXPECT_EQ(print_duration(Milliseconds(5'400'000)), "1h30m");
  EXPECT_EQ(print_duration(Milliseconds(604'800'000)), "7d");
  EXPECT_EQ(print_duration(Milliseconds(0)), "0s");
}

TEST(ConfigValues, Sizes) {
  EXPECT_EQ(parse_size("2GiB"), 2'147'483'648);
  EXPECT_EQ(parse_size("1B"), 1);
  for (const char* const wrong : {"", "2", "2GB", "1GiB512MiB", "9999999999TiB"})
    EXPECT_EQ(parse_size(wrong), std::nullopt);
  EXPECT_EQ(print_size(1'536), "1536B");
  EXPECT_EQ(print_size(3'072), "3KiB");
}

TEST(ConfigValues, Times) {
  EXPECT_EQ(parse_time("2026-01-31", 0), 1'769'817'600);
  EXPECT_EQ(parse_time("2026-01-31T00:00:01Z", 0), 1'769'817'601);
  EXPECT_EQ(parse_time("1769817600", 0), 1'769'817'600);
  EXPECT_EQ(parse_time("2h", 10'000), 2'800);
  EXPECT_EQ(parse_time("soon", 0), std::nullopt);
  EXPECT_EQ(parse_time("-5", 0), std::nullopt);
  EXPECT_EQ(print_rfc3339(1'769'817'601'000), "2026-01-31T00:00:01Z");
}

TEST(ConfigValues, Environment) {
  setenv("KLINED_TEST_A", "x", 1);
  EXPECT_EQ(expand_environment("a${KLINED_TEST_A}b${KLINED_TEST_A}"), "axbx");
  EXPECT_EQ(expand_environment("${KLINED_TEST_NONE:-d}"), "d");
  EXPECT_EQ(expand_environment("${KLINED_TEST_NONE:-}"), "");
  EXPECT_EQ(expand_environment("$${KLINED_TEST_A} $5"), "${KLINED_TEST_A} $5");
  EXPECT_FALSE(expand_environment("${KLINED_TEST_NONE}").has_value());
  EXPECT_FALSE(expand_environment("${KLINED_TEST_A").has_value());
  unsetenv("KLINED_TEST_A");
}

TEST(ConfigValues, Nearest) {
  const std::vector<std::string_view> words = {"brokers", "consumer", "producer"};
  EXPECT_EQ(nearest_of("broker", words), "brokers");
  EXPECT_EQ(nearest_of("prodcuer", words), "producer");
  EXPECT_EQ(nearest_of("zzz", words), std::nullopt);
}

}  // namespace
}  // namespace klined
