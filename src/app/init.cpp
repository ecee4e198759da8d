// `klined init` makes what a stream needs, `klined reset` empties it.
#include <iostream>
#include <memory>

#include <fmt/format.h>
#include <unistd.h>

#include "klined/app/candle_table.hpp"
#include "klined/app/commands.hpp"
#include "klined/publish/kafka_admin.hpp"
#include "klined/source/kafka_source.hpp"
#include "klined/store/schema.hpp"
#include "klined/stream/config_values.hpp"
#include "klined/stream/connections.hpp"
#include "klined/stream/routing.hpp"

namespace klined::app {

namespace {

constexpr Milliseconds kTimeout{30'000};
// A trade batch has up to 10 MiB, and a record adds to it. A dead letter may be a whole one, with headers that say what
// is wrong with it.
constexpr std::string_view kInputBytesMax = "11534336";
constexpr std::string_view kDeadLetterBytesMax = "12582912";

void say(std::string_view what, std::string_view became) { print_out(fmt::format("{:<40} {}\n", what, became)); }

Status make_tables(const Config& config) {
  const Result<std::vector<std::string>> made = create_schema(mysql_options(config), config.intervals);
  if (!made) return std::unexpected(made.error());
  for (const std::string& what : *made) say(what, "made");
  say("tables", fmt::format("all there in database {}", config.mysql.database));
  return {};
}

// Warns where the topic would lose what `acks: all` promises to keep.
Status check_replicas(KafkaAdmin& admin, const Config& config, const std::string& topic) {
  const auto replicas = admin.config_of(topic, "min.insync.replicas", kTimeout);
  if (!replicas) return std::unexpected(replicas.error());
  if (config.output.acks == "all" && config.output.replication_factor >= 3 && *replicas == "1") {
    complain(fmt::format(
        "warning: topic {} has min.insync.replicas=1: with acks=all a write may then rest on one broker alone; "
        "set it to 2 (kafka-configs.sh --alter --topic {} --add-config min.insync.replicas=2)",
        topic, topic));
  }
  return {};
}

Status make_topic(KafkaAdmin& admin, const Config& config, const std::string& topic, std::string_view bytes_max) {
  TopicSpec spec;
  spec.name = topic;
  spec.partitions = config.output.partitions;
  spec.replication_factor = config.output.replication_factor;
  spec.config["min.insync.replicas"] = std::to_string(config.output.min_insync_replicas);
  if (!bytes_max.empty()) spec.config["max.message.bytes"] = bytes_max;
  const Result<bool> made = admin.create(spec, kTimeout);
  if (!made) return std::unexpected(made.error());
  if (*made) {
    say("topic " + topic,
        fmt::format("made: {} partitions, replication factor {}", spec.partitions, spec.replication_factor));
  } else {
    const auto partitions = admin.partitions_of(topic, kTimeout);
    if (!partitions) return std::unexpected(partitions.error());
    say("topic " + topic, fmt::format("there already: {} partitions", partitions->value_or(0)));
  }
  return check_replicas(admin, config, topic);
}

// Notes of a few bytes: one partition keeps reading them short, and compaction keeps the newest of each place for ever.
Status make_notes(KafkaAdmin& admin, const Config& config, const std::string& topic) {
  TopicSpec spec;
  spec.name = topic;
  spec.replication_factor = config.output.replication_factor;
  spec.config = {{"cleanup.policy", "compact"},
                 {"min.insync.replicas", std::to_string(config.output.min_insync_replicas)}};
  const Result<bool> made = admin.create(spec, kTimeout);
  if (!made) return std::unexpected(made.error());
  say("topic " + topic,
      *made ? fmt::format("made: 1 partition, compacted, replication factor {}", spec.replication_factor)
            : std::string("there already"));
  const auto policy = admin.config_of(topic, "cleanup.policy", kTimeout);
  if (!policy) return std::unexpected(policy.error());
  if (policy->value_or("compact") != "compact") {
    complain(fmt::format(
        "warning: topic {} has cleanup.policy={}: what it forgets may count twice in a replay; set it to compact "
        "(kafka-configs.sh --alter --topic {} --add-config cleanup.policy=compact)",
        topic, **policy, topic));
  }
  return check_replicas(admin, config, topic);
}

Status check_dead_letter_size(KafkaAdmin& admin, const std::string& topic) {
  const auto bytes = admin.config_of(topic, "max.message.bytes", kTimeout);
  if (!bytes) return std::unexpected(bytes.error());
  if (bytes->has_value() && (*bytes)->size() <= kDeadLetterBytesMax.size() &&
      ((*bytes)->size() < kDeadLetterBytesMax.size() || **bytes < kDeadLetterBytesMax)) {
    complain(fmt::format(
        "warning: topic {} has max.message.bytes={}: a dead letter may be larger, and the stream would wait "
        "for it; raise it (kafka-configs.sh --alter --topic {} --add-config max.message.bytes={})",
        topic, **bytes, topic, kDeadLetterBytesMax));
  }
  return {};
}

struct TopicChoice {
  bool input = false;    // the input topics
  bool by_pair = false;  // those that `klined route` writes
};

Status make_topics(const Config& config, TopicChoice choice) {
  const Result<std::unique_ptr<KafkaAdmin>> opened = KafkaAdmin::open(admin_properties(config));
  if (!opened) return std::unexpected(opened.error());
  KafkaAdmin& admin = **opened;
  if (!publishes(config)) say("topics of candles", "none, since env is local");
  for (const ChainId chain : config.chains) {
    if (!publishes(config)) break;
    if (Status made = make_topic(admin, config, output_topic(config, chain), ""); !made) return made;
  }
  for (const std::string& topic : config.input.topics) {
    const std::string dead = dead_letter_topic(config, topic);
    if (Status made = make_topic(admin, config, dead, kDeadLetterBytesMax); !made) return made;
    if (Status checked = check_dead_letter_size(admin, dead); !checked) return checked;
    if (Status made = make_notes(admin, config, put_back_topic(topic)); !made) return made;
    if (choice.by_pair) {
      const std::string routed = routed_topic(origin_topic(topic).value_or(topic));
      if (Status made = make_topic(admin, config, routed, kInputBytesMax); !made) return made;
      if (routed == topic) continue;
    }
    if (choice.input) {
      if (Status made = make_topic(admin, config, topic, kInputBytesMax); !made) return made;
      continue;
    }
    const auto partitions = admin.partitions_of(topic, kTimeout);
    if (!partitions) return std::unexpected(partitions.error());
    if (partitions->has_value()) {
      say("topic " + topic, fmt::format("there already: {} partitions", **partitions));
    } else {
      complain(fmt::format(
          "warning: the input topic {} does not exist: `klined run` will refuse to start; let its producer make "
          "it, or use `klined init --input-topics`",
          topic));
    }
  }
  return {};
}

int init(const std::string& path, TopicChoice choice) {
  const std::optional<Config> config = load_config_or_complain(path);
  if (!config) return kUsage;
  if (const Status made = make_tables(*config); !made) return fail(made.error());
  if (const Status made = make_topics(*config, choice); !made) return fail(made.error());
  return kOk;
}

// Where each partition of the input begins: its log's first offset, or that of the first record at or after the time.
Result<ResetPlace> place_of(const Config& config, const std::string& to) {
  std::optional<UnixSeconds> time;
  if (to != "earliest") {
    time = parse_time(to, SystemClock().wall_seconds());
    if (!time) {
      return fatal(
          fmt::format("--to: \"{}\" is no time; write earliest, 2026-01-31T12:00:00Z, 2026-01-31, unix seconds, or how "
                      "long ago, such as 7d",
                      to));
    }
  }
  const auto source = KafkaSource::open({consumer_properties(config), config.group});
  if (!source) return std::unexpected(source.error());
  const auto partitions = (*source)->partitions_of(config.input.topics, kTimeout);
  if (!partitions) return std::unexpected(partitions.error());
  ResetPlace place{.lanes = config.engine.lanes, .partitions = {}};
  for (const TopicPartition& partition : *partitions) {
    const Result<OffsetRange> range = (*source)->range_of(partition, kTimeout);
    if (!range) return std::unexpected(range.error());
    std::int64_t offset = range->low;
    if (time) {
      const Result<std::int64_t> at = (*source)->offset_at(partition, *time * 1000, kTimeout);
      if (!at) return std::unexpected(at.error());
      offset = *at;
    }
    place.partitions.push_back({partition.topic, partition.partition, offset});
  }
  return place;
}

// Asks where somebody can answer.
bool is_sure(const Config& config, const std::string& to) {
  const std::string where =
      config.mysql.socket.empty() ? fmt::format("{}:{}", config.mysql.host, config.mysql.port) : config.mysql.socket;
  const std::string what = fmt::format("reset deletes all candles and offsets of group {} in database {} ({})",
                                       config.group, config.mysql.database, where);
  if (isatty(STDIN_FILENO) == 0 || isatty(STDERR_FILENO) == 0) {
    complain(what + "; add --yes to do it");
    return false;
  }
  complain(fmt::format("{}; the next run makes them anew from {}", what, to.empty() ? "input.start" : to));
  std::cerr << "Type the group's name to do it: " << std::flush;
  std::string answer;
  std::getline(std::cin, answer);
  if (answer == config.group) return true;
  complain("nothing was touched");
  return false;
}

int reset_group(const std::string& path, const std::string& to, bool sure) {
  const std::optional<Config> config = load_config_or_complain(path);
  if (!config) return kUsage;
  std::optional<ResetPlace> place;
  if (!to.empty()) {
    Result<ResetPlace> found = place_of(*config, to);
    if (!found) return fail(found.error());
    place = std::move(*found);
  }
  if (!sure && !is_sure(*config, to)) return kUsage;
  const Result<std::vector<std::string>> emptied = reset(mysql_options(*config), config->group, place);
  if (!emptied) return fail(emptied.error());
  for (const std::string& what : *emptied) say(what, "emptied");
  if (!place) say("group " + config->group, "starts over at input.start");
  if (!place) return kOk;
  for (const PartitionStart& start : place->partitions) {
    say(fmt::format("{} partition {}", start.topic, start.partition), fmt::format("begins at offset {}", start.offset));
  }
  return kOk;
}

}  // namespace

CLI::App* add_init(CLI::App& parent, int& exit_code) {
  struct Arguments {
    std::string config;
    TopicChoice choice;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* const command = parent.add_subcommand(
      "init",
      "Makes the tables and topics that `klined run` needs\n"
      "\n"
      "Makes what is missing, leaves alone what is there, and says what it did, a line each: one table an interval "
      "and\n"
      "those of the offsets, a topic klines-<chain>-<env> for each chain (none where env is local), and for each\n"
      "input topic one of dead letters and one of what was put back of them (<topic>-put-back). May be repeated, and "
      "should be after intervals, chains or topics were added.\n"
      "Needs MySQL and Kafka, and a user of each that may create; `klined run` itself needs less (sql/user.sql).");
  add_config_option(*command, arguments->config);
  command->add_flag("--input-topics", arguments->choice.input,
                    "Make missing input topics too, for messages of up to 10 MiB; else a missing one is warned of");
  command->add_flag("--by-pair", arguments->choice.by_pair,
                    "Make the topics <topic>-by-pair that `klined route` writes");
  set_manual(*command,
             "  klined init -c klined.yaml\n"
             "  klined init -c klined.yaml --input-topics\n"
             "  klined init -c klined.yaml --by-pair\n");
  command->callback([arguments, &exit_code] { exit_code = init(arguments->config, arguments->choice); });
  return command;
}

CLI::App* add_reset(CLI::App& parent, int& exit_code) {
  struct Arguments {
    std::string config;
    std::string to;
    bool yes = false;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* const command = parent.add_subcommand(
      "reset",
      "Empties candles and offsets, so that the next run replays the input\n"
      "\n"
      "The next `klined run` begins at input.start, or at --to, and makes all candles anew: for changed settings "
      "(intervals, "
      "chains,\n"
      "dedupe_window, max_lateness, max_future), another group, or a repaired input. Candles whose trades the input "
      "no\n"
      "longer holds are lost. Refused while a process of the group runs. Topics and Redis are left as they are; the\n"
      "replay publishes every candle again.\n"
      "\n"
      "Offsets never move without the candles: a replay onto filled tables would count every trade twice. With --to\n"
      "TIME trades before it are in no candle: a candle that spans it is of the trades after it alone.");
  add_config_option(*command, arguments->config);
  command
      ->add_option("--to", arguments->to,
                   "Begin at the log's earliest offset, or at the first record of each partition whose timestamp is at "
                   "or after this time, in place of input.start")
      ->type_name("earliest|TIME");
  command->add_flag("--yes", arguments->yes, "Do it; without this it asks on a terminal, and else touches nothing");
  set_manual(*command,
             "  klined reset -c klined.yaml --yes\n"
             "  klined reset --to earliest\n"
             "  klined reset --to 2026-01-31T00:00:00Z --yes\n");
  command->callback(
      [arguments, &exit_code] { exit_code = reset_group(arguments->config, arguments->to, arguments->yes); });
  return command;
}

}  // namespace klined::app
