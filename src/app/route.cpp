// `klined route`: topics that are keyed by slot become topics that are keyed by pair.
#include <memory>

#include <spdlog/spdlog.h>

#include "klined/app/commands.hpp"
#include "klined/app/stop_signals.hpp"
#include "klined/stream/route_job.hpp"

namespace klined::app {

namespace {

int route(const std::string& path) {
  StopSignals signals;
  const std::optional<Config> config = load_config_or_complain(path);
  if (!config) return kUsage;
  spdlog::info("klined {} starts to route", version());
  Metrics metrics(version());
  if (!config->metrics.listen.empty()) {
    if (const Status status = metrics.expose(config->metrics.listen); !status) return fail(status.error());
    const std::string& address = config->metrics.listen;  // its port may be 0: any that is free
    spdlog::info("metrics at http://{}:{}/metrics", address.substr(0, address.rfind(':')), metrics.port());
  }
  const SystemClock clock;
  RouteJob job(*config, clock, metrics);
  signals.pass_to([&job] { job.stop(); }, config->engine.shutdown_timeout);
  const Status status = job.run();
  return status ? kOk : fail(status.error());
}

}  // namespace

CLI::App* add_route(CLI::App& parent, int& exit_code) {
  CLI::App* const command = parent.add_subcommand(
      "route",
      "Divides topics that are keyed by slot by pair, exactly once\n"
      "\n"
      "Where messages are keyed by slot, a pair is on all partitions, and one `klined run` must read all of them.\n"
      "This writes each topic of input.topics to <topic>-by-pair, a record a pair and message, keyed by the pair, so\n"
      "that any number of `klined run` can share that topic (input.partitioned_by: pair). The candles and the dead\n"
      "letters are the same, cell by cell and letter by letter, as those of one `klined run` on the topic itself.");
  auto path = std::make_shared<std::string>();
  add_config_option(*command, *path);
  set_manual(
      *command,
      "  klined init -c klined.yaml --by-pair\n"
      "  klined route -c klined.yaml\n",
      "Any number of processes share the work: they are consumer group <group>-route. Records and offsets are\n"
      "committed together in Kafka transactions, every 100 ms or 10,000 records, so that each trade is in\n"
      "<topic>-by-pair once, whatever is killed when; who reads the topic must read committed records only, as\n"
      "`klined run` does. What is ignored or has no price is left out and counted; all else goes on, byte for byte,\n"
      "and `klined run` decides about it by the headers klined-origin (the message's place), klined-indexes\n"
      "(the elements' places in it) and klined-clocks (its partition's clocks). Where process and transaction die\n"
      "together, their partitions wait up to 30 s, until the brokers have aborted it.\n"
      "\n"
      "Of the config it uses group, chains, kafka, input.topics (sol-trades, or sol-trades-by-pair, so that it may be\n"
      "the same file as for `klined run`), input.start, input.max_future, output.partitioner, metrics and log. Don't\n"
      "change the number of partitions of <topic>-by-pair, which decides where a pair is: delete it, delete the\n"
      "group's offsets, and route anew. Offsets that were lost are an error, since all would be written again.\n"
      "Needs Kafka 2.5 or newer and, where there are ACLs, WRITE on <topic>-by-pair and on transactional ids\n"
      "<group>-route-*, READ on the topics and on group <group>-route.\n"
      "\n"
      "SIGTERM or Ctrl-C: commits what was read and exits 0; a second one exits at once and loses nothing.\n"
      "Exit status: 0 stopped as asked; 1 failed while working (start it again); 2 wrong usage, config, topics or\n"
      "rights, which somebody must mend first.\n");
  command->callback([path, &exit_code] { exit_code = route(*path); });
  return command;
}

}  // namespace klined::app
