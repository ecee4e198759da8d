// `klined config check` and `klined config print`.
#include <memory>

#include <fmt/format.h>

#include "klined/app/candle_table.hpp"
#include "klined/app/commands.hpp"

namespace klined::app {

namespace {

Result<Config> load(const std::string& given, std::string& path) {
  const Result<std::string> found = config_path(given);
  if (!found) return std::unexpected(found.error());
  path = *found;
  return load_config(path);
}

int check(const std::string& given) {
  std::string path;
  const Result<Config> config = load(given, path);
  if (!config) return fail(config.error());
  for (const std::string& oddity : oddities_of(*config)) complain(fmt::format("{}: warning: {}", path, oddity));
  return print_out(fmt::format("{}: ok\n", path)) ? kOk : kFailed;
}

int print(const std::string& given) {
  std::string path;
  const Result<Config> config = load(given, path);
  if (!config) return fail(config.error());
  return print_out(print_config(*config)) ? kOk : kFailed;
}

CLI::App* add_verb(CLI::App& command, const char* name, const char* description, int (*verb)(const std::string&),
                   int& exit_code) {
  auto file = std::make_shared<std::string>();
  CLI::App* const added = command.add_subcommand(name, description);
  added->add_option("FILE", *file, "The config file; else ./klined.yaml, else /etc/klined/klined.yaml")
      ->type_name("")
      ->envname("KLINED_CONFIG");
  added->callback([file, verb, &exit_code] { exit_code = verb(*file); });
  return added;
}

}  // namespace

CLI::App* add_config(CLI::App& parent, int& exit_code) {
  CLI::App* const command = parent.add_subcommand("config",
                                                  "Checks or prints a config file\n"
                                                  "\nNeeds no server. config/klined.yaml documents every key.");
  command->require_subcommand(1);
  set_manual(
      *add_verb(*command, "check",
                "Says what is wrong with a config\n"
                "\nReads it as `klined run` would, and prints all that is wrong, a line each with file, line, key and\n"
                "remedy. Warns of what is allowed but probably not meant.",
                &check, exit_code),
      "  klined config check config/klined.yaml\n");
  set_manual(*add_verb(*command, "print",
                       "Prints the configuration in force\n"
                       "\nThe whole of it, with all defaults, as YAML. Passwords and keys are masked.",
                       &print, exit_code),
             "  klined config print config/klined.yaml\n");
  set_manual(*command, "  klined config check config/klined.yaml\n  klined config print config/klined.yaml\n");
  return command;
}

}  // namespace klined::app
