// The command line of klined.
#include <exception>

#include <fmt/format.h>

#include "klined/app/commands.hpp"
#include "klined/base/logging.hpp"

namespace {

constexpr const char* kDescription =
    "klined turns DEX trades in Kafka into candles (K-lines) in MySQL, Kafka and Redis, exactly once.\n"
    "\n"
    "The way in: `klined aggregate` needs no server; `klined init` makes tables and topics, `klined feed` produces\n"
    "trades, `klined run` is the job itself, `klined candles` shows what it made.";

constexpr const char* kFooter =
    "Results go to stdout, logs and errors to stderr. `klined COMMAND --help` is that command's manual.\n"
    "\nExamples:\n"
    "  klined aggregate trades.jsonl --interval 1m,1h\n"
    "  klined init -c klined.yaml && klined run -c klined.yaml\n"
    "\nExit status: 0 done, 1 failed while working (trying again may help), 2 wrong usage, config, schema or rights.";

}  // namespace

int main(int argc, char** argv) {
  using namespace klined;
  init_logging("info", LogFormat::kText);
  int exit_code = app::kOk;
  CLI::App cli(kDescription, "klined");
  app::set_manual_format(cli);
  cli.set_version_flag("--version", fmt::format("klined {}", app::version()));
  cli.footer(kFooter);
  cli.require_subcommand(1);
  app::add_run(cli, exit_code);
  app::add_route(cli, exit_code);
  app::add_init(cli, exit_code);
  app::add_feed(cli, exit_code);
  app::add_aggregate(cli, exit_code);
  app::add_candles(cli, exit_code);
  app::add_pairs(cli, exit_code);
  app::add_top(cli, exit_code);
  app::add_dlq(cli, exit_code);
  app::add_config(cli, exit_code);
  app::add_offsets(cli, exit_code);
  app::add_verify(cli, exit_code);
  app::add_rebuild(cli, exit_code);
  app::add_reset(cli, exit_code);
  try {
    return app::run_command_line(cli, exit_code, argc, argv);
  } catch (const std::exception& error) {
    app::complain(fmt::format("failed: {}", error.what()));
    return app::kFailed;
  }
}
