// The subcommands of `klined`, one file each. Each adds its options and help to the command line, and, where it is the
// one that was called, runs and sets the exit status.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <string_view>

#include "klined/base/error.hpp"
#include "klined/stream/config.hpp"

namespace klined::app {

// Exit status: what a script or a service manager may rely on.
inline constexpr int kOk = 0;
inline constexpr int kFailed = 1;  // while working; trying again may help
inline constexpr int kUsage = 2;   // wrong usage, config, schema or rights: somebody must mend something first

CLI::App* add_run(CLI::App& parent, int& exit_code);
CLI::App* add_route(CLI::App& parent, int& exit_code);
CLI::App* add_dlq(CLI::App& parent, int& exit_code);
CLI::App* add_init(CLI::App& parent, int& exit_code);
CLI::App* add_feed(CLI::App& parent, int& exit_code);
CLI::App* add_aggregate(CLI::App& parent, int& exit_code);
CLI::App* add_candles(CLI::App& parent, int& exit_code);
CLI::App* add_pairs(CLI::App& parent, int& exit_code);
CLI::App* add_top(CLI::App& parent, int& exit_code);
CLI::App* add_config(CLI::App& parent, int& exit_code);
CLI::App* add_offsets(CLI::App& parent, int& exit_code);
CLI::App* add_verify(CLI::App& parent, int& exit_code);
CLI::App* add_rebuild(CLI::App& parent, int& exit_code);
CLI::App* add_reset(CLI::App& parent, int& exit_code);

// ---- What the subcommands share -------------------------------------------------------------------------------------

std::string_view version();

// Adds -c/--config to a subcommand. `path` stays empty where it is not given; config_path() then finds the file.
CLI::Option* add_config_option(CLI::App& command, std::string& path);
// Makes --help read as a manual, here and in the subcommands that are added later. The first line of a subcommand's
// description is what the list of subcommands shows; what stands below it is shown in its own --help only.
void set_manual_format(CLI::App& root);
// Parses the command line and runs the subcommand. Wrong usage is complained of, with the nearest subcommand where the
// name is unknown, and gives kUsage.
int run_command_line(CLI::App& root, const int& exit_code, int argc, char** argv);
// Adds the examples and what else stands below the options in the subcommand's --help, and the exit status unless
// `more` speaks of it.
void set_manual(CLI::App& command, const std::string& examples, const std::string& more = {});

// `given`, or $KLINED_CONFIG, or ./klined.yaml, or /etc/klined/klined.yaml: the first that is set or exists.
Result<std::string> config_path(const std::string& given);
// Finds and loads the config and starts logging as it says. Each error is printed to stderr, a line each; the caller
// returns kUsage where there is no config.
std::optional<Config> load_config_or_complain(const std::string& given);

// Prints "klined: <message>" to stderr, each line of it.
void complain(std::string_view message);
// Complains, and says which exit status the error means: kUsage for what somebody must mend, kFailed for what may pass.
int fail(const Error& error);

}  // namespace klined::app
