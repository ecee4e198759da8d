// `klined run`: the job.
#include <memory>

#include <spdlog/spdlog.h>

#include "klined/app/commands.hpp"
#include "klined/app/stop_signals.hpp"
#include "klined/stream/job.hpp"

namespace klined::app {

namespace {

int run_job(const std::string& path) {
  StopSignals signals;
  const std::optional<Config> config = load_config_or_complain(path);
  if (!config) return kUsage;
  for (const std::string& oddity : oddities_of(*config)) spdlog::warn("{}", oddity);
  spdlog::info("klined {} starts", version());
  Metrics metrics(version());
  if (!config->metrics.listen.empty()) {
    if (const Status status = metrics.expose(config->metrics.listen); !status) return fail(status.error());
    const std::string& address = config->metrics.listen;  // its port may be 0: any that is free
    spdlog::info("metrics at http://{}:{}/metrics", address.substr(0, address.rfind(':')), metrics.port());
  }
  const SystemClock clock;
  Job job(*config, clock, metrics);
  signals.pass_to([&job] { job.stop(); }, config->engine.shutdown_timeout);
  const Status status = job.run();
  return status ? kOk : fail(status.error());
}

}  // namespace

CLI::App* add_run(CLI::App& parent, int& exit_code) {
  CLI::App* command = parent.add_subcommand("run", "The job: trades from Kafka to candles in MySQL, Kafka and Redis.");
  auto path = std::make_shared<std::string>();
  add_config_option(*command, *path);
  set_manual(
      *command,
      "  klined run --config klined.yaml\n"
      "  KLINED_CONFIG=/etc/klined/klined.yaml klined run\n",
      "Needs the tables and topics that `klined init` makes. Goes on where the stored offsets stand; partitions "
      "without\n"
      "any begin at `input.start`. A second process of the same group stands by and takes over, or\n"
      "shares the partitions (input.partitioned_by: pair).\n"
      "SIGTERM or Ctrl-C: stops reading, writes what was read, exits 0 within engine.shutdown_timeout; a second one "
      "exits\n"
      "at once and loses nothing.\n"
      "Exit status: 0 stopped as asked; 1 failed while working (start it again); 2 wrong usage, config, schema or\n"
      "rights, which somebody must mend first.\n");
  command->callback([path, &exit_code] { exit_code = run_job(*path); });
  return command;
}

}  // namespace klined::app
