// `klined init` makes what a stream needs, `klined reset` empties it.
#include <memory>

#include <fmt/format.h>

#include "klined/app/candle_table.hpp"
#include "klined/app/commands.hpp"
#include "klined/publish/kafka_admin.hpp"
#include "klined/store/schema.hpp"
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

int reset_group(const std::string& path, bool sure) {
  const std::optional<Config> config = load_config_or_complain(path);
  if (!config) return kUsage;
  if (!sure) {
    complain(fmt::format("reset deletes all candles and offsets of group {} in database {} ({}); add --yes to do it",
                         config->group, config->mysql.database,
                         config->mysql.socket.empty() ? fmt::format("{}:{}", config->mysql.host, config->mysql.port)
                                                      : config->mysql.socket));
    return kUsage;
  }
  const Result<std::vector<std::string>> emptied = reset(mysql_options(*config), config->group);
  if (!emptied) return fail(emptied.error());
  for (const std::string& what : *emptied) say(what, "emptied");
  say("group " + config->group, "starts over at input.start");
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
      "those of the offsets, a topic klines-<chain>-<env> for each chain (none where env is local), and a dead-letter\n"
      "topic for each input topic. May be repeated, and should be after intervals, chains or topics were added.\n"
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
    bool yes = false;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* const command = parent.add_subcommand(
      "reset",
      "Empties candles and offsets, so that the next run replays the input\n"
      "\n"
      "The next `klined run` begins at input.start and makes all candles anew: for changed settings (intervals, "
      "chains,\n"
      "dedupe_window, max_lateness, max_future), another group, or a repaired input. Candles whose trades the input "
      "no\n"
      "longer holds are lost. Refused while a process of the group runs. Topics and Redis are left as they are; the\n"
      "replay publishes every candle again.");
  add_config_option(*command, arguments->config);
  command->add_flag("--yes", arguments->yes, "Do it; without this nothing is touched");
  set_manual(*command, "  klined reset -c klined.yaml --yes\n");
  command->callback([arguments, &exit_code] { exit_code = reset_group(arguments->config, arguments->yes); });
  return command;
}

}  // namespace klined::app
