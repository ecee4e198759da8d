// What the subcommands share: version, help, the config option, errors.
#include <algorithm>
#include <array>
#include <filesystem>
#include <iostream>
#include <memory>
#include <system_error>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "klined/app/commands.hpp"
#include "klined/base/logging.hpp"
#include "klined/stream/config_values.hpp"

namespace klined::app {

namespace {

constexpr std::array<const char*, 2> kConfigPaths = {"klined.yaml", "/etc/klined/klined.yaml"};
constexpr std::size_t kColumnWidth = 32;

// Short lines in lists; ranges, defaults and environment variables behind the descriptions.
class ManualFormatter final : public CLI::Formatter {
 public:
  std::string make_usage(const CLI::App* app, std::string name) const override {
    return "\n" + CLI::Formatter::make_usage(app, std::move(name));
  }

  std::string make_subcommand(const CLI::App* command) const override {
    const std::string description = command->get_description();
    return fmt::format("  {:<{}}{}\n", command->get_name(), kColumnWidth - 2,
                       description.substr(0, description.find('\n')));
  }

  std::string make_option_opts(const CLI::Option* option) const override {
    // "N:INT in [1 - 5]" is the type's name, and what its value is checked for.
    const std::string type = option->get_type_size() == 0 ? "" : option->get_type_name();
    const std::string name = type.substr(0, type.find(':'));
    return name.empty() ? "" : " " + name;
  }

  std::string make_option_desc(const CLI::Option* option) const override {
    std::vector<std::string> notes;
    const std::string type = option->get_type_size() == 0 ? "" : option->get_type_name();
    if (const std::size_t range = type.find("in ["); range != std::string::npos) {
      notes.push_back(type.substr(range + 4, type.size() - range - 5));
    }
    if (!option->get_default_str().empty()) {
      std::string value = option->get_default_str();
      if (value.front() == '[' && value.back() == ']') value = value.substr(1, value.size() - 2);
      notes.push_back("default " + value);
    }
    if (!option->get_envname().empty()) notes.push_back("or $" + option->get_envname());
    return option->get_description() + (notes.empty() ? "" : fmt::format(" ({})", fmt::join(notes, "; ")));
  }
};

}  // namespace

std::string_view version() { return KLINED_VERSION; }

CLI::Option* add_config_option(CLI::App& command, std::string& path) {
  return command.add_option("-c,--config", path, "The config file; else ./klined.yaml, else /etc/klined/klined.yaml")
      ->type_name("FILE")
      ->envname("KLINED_CONFIG");
}

void set_manual_format(CLI::App& root) {
  auto formatter = std::make_shared<ManualFormatter>();
  formatter->column_width(kColumnWidth);
  root.formatter(formatter);
}

int run_command_line(CLI::App& root, const int& exit_code, int argc, char** argv) {
  const std::string_view first = argc > 1 ? argv[1] : "";
  if (first.empty()) {
    std::cerr << root.help();
    return kUsage;
  }
  std::vector<std::string> commands;
  for (const CLI::App* command : root.get_subcommands({})) commands.push_back(command->get_name());
  const std::vector<std::string_view> names(commands.begin(), commands.end());
  if (!first.starts_with('-') && std::ranges::find(names, first) == names.end()) {
    const auto nearest = nearest_of(first, names);
    complain(nearest ? fmt::format("there is no command {}; did you mean {}?", first, *nearest)
                     : fmt::format("there is no command {}; see klined --help", first));
    return kUsage;
  }
  try {
    root.parse(argc, argv);
    return exit_code;
  } catch (const CLI::Success& asked_for) {
    return root.exit(asked_for);
  } catch (const CLI::ParseError& error) {
    complain(
        fmt::format("{}; see klined {}--help", error.what(), first.starts_with('-') ? "" : fmt::format("{} ", first)));
    return kUsage;
  }
}

void set_manual(CLI::App& command, const std::string& examples, const std::string& more) {
  std::string text = "Examples:\n" + examples;
  if (!more.empty()) text += "\n" + more;
  if (more.find("Exit status") == std::string::npos) {
    text +=
        "\nExit status: 0 done, 1 failed while working (trying again may help), 2 wrong usage, config, schema or "
        "rights.";
  }
  while (text.ends_with('\n')) text.pop_back();
  command.footer(text);
}

Result<std::string> config_path(const std::string& given) {
  if (!given.empty()) return given;
  for (const char* const path : kConfigPaths) {
    std::error_code ignored;
    if (std::filesystem::exists(path, ignored)) return path;
  }
  return fatal(
      fmt::format("there is no config: neither {} nor {} exists; name one with --config FILE or in $KLINED_CONFIG "
                  "(config/minimal.yaml is one to start from)",
                  kConfigPaths[0], kConfigPaths[1]));
}

std::optional<Config> load_config_or_complain(const std::string& given) {
  const Result<std::string> path = config_path(given);
  if (!path) {
    complain(path.error().message);
    return std::nullopt;
  }
  Result<Config> config = load_config(*path);
  if (!config) {
    complain(config.error().message);
    return std::nullopt;
  }
  init_logging(config->log.level, config->log.format);
  return std::move(*config);
}

void complain(std::string_view message) {
  while (!message.empty()) {
    const std::size_t end = std::min(message.find('\n'), message.size());
    std::cerr << "klined: " << message.substr(0, end) << '\n';
    message.remove_prefix(std::min(end + 1, message.size()));
  }
  std::cerr.flush();
}

int fail(const Error& error) {
  complain(error.message);
  return error.kind == ErrorKind::kFatal ? kUsage : kFailed;
}

}  // namespace klined::app
