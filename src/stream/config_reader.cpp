#include "klined/stream/config_reader.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <set>

namespace klined {

void ConfigProblems::add(const std::string& key, std::string_view what) {
  // A key that is not in the file is reported at its section's line, or at none.
  int line = 0;
  for (std::string at = key; line == 0 && !at.empty();) {
    if (const auto found = lines_.find(at); found != lines_.end()) line = found->second;
    const std::size_t dot = at.rfind('.');
    at.resize(dot == std::string::npos ? 0 : dot);
  }
  add_at(line, fmt::format("{}: {}", key, what));
}

void ConfigProblems::add_at(int line, std::string_view text) {
  const std::string place = line > 0 ? fmt::format("{}:{}", file_, line) : file_;
  found_.emplace(line, fmt::format("{}: {}", place, text));
}

std::string ConfigProblems::text() const {
  std::string all;
  for (const auto& [line, problem] : found_) {
    if (!all.empty()) all += '\n';
    all += problem;
  }
  return all;
}

ConfigSection::ConfigSection(const YAML::Node& node, std::string path, ConfigProblems& problems)
    : node_(node), path_(std::move(path)), problems_(problems) {
  if (node_.IsDefined() && !node_.IsNull() && !node_.IsMap()) {
    const std::string here = path_.empty() ? "the file" : path_;
    problems_.add_at(node_.Mark().line + 1, fmt::format("{} must hold \"key: value\" lines", here));
    node_ = YAML::Node();
  }
  if (!node_.IsDefined() || node_.IsNull()) return;
  for (const auto& entry : node_) {
    if (entry.first.IsScalar()) problems_.saw(path_of(entry.first.Scalar()), entry.first.Mark().line + 1);
  }
}

YAML::Node ConfigSection::find(const std::string& key) {
  known_.push_back(key);
  if (!node_.IsDefined() || node_.IsNull()) return YAML::Node(YAML::NodeType::Undefined);
  for (const auto& entry : node_) {
    if (entry.first.IsScalar() && entry.first.Scalar() == key) return entry.second;
  }
  return YAML::Node(YAML::NodeType::Undefined);
}

bool ConfigSection::has(std::string_view key) const { return problems_.seen(path_of(std::string(key))); }

ConfigSection ConfigSection::section(const char* key) { return {find(key), path_of(key), problems_}; }

void ConfigSection::done() {
  if (!node_.IsDefined() || node_.IsNull()) return;
  const std::vector<std::string_view> known(known_.begin(), known_.end());
  std::set<std::string> seen;
  for (const auto& entry : node_) {
    const int line = entry.first.Mark().line + 1;
    if (!entry.first.IsScalar()) {
      problems_.add_at(line, fmt::format("{}: a key must be a plain word", path_.empty() ? "the file" : path_));
      continue;
    }
    const std::string& key = entry.first.Scalar();
    if (!seen.insert(key).second) {
      problems_.add_at(line, fmt::format("{}: stands twice; remove one of the two", path_of(key)));
    } else if (std::find(known.begin(), known.end(), key) == known.end()) {
      const auto nearest = nearest_of(key, known);
      problems_.add_at(
          line, nearest ? fmt::format("{}: unknown key; did you mean {}?", path_of(key), *nearest)
                        : fmt::format("{}: unknown key; known here are {}", path_of(key), fmt::join(known_, ", ")));
    }
  }
}

bool ConfigSection::scalar(const YAML::Node& node, const std::string& key, std::string& out) {
  if (!node.IsDefined()) return false;
  if (node.IsNull()) {
    wrong(key, "has no value; give one, or leave the key out, or write \"\" for an empty text");
    return false;
  }
  if (!node.IsScalar()) {
    wrong(key, "must be a single value, not a list or a section");
    return false;
  }
  std::expected<std::string, std::string> expanded = expand_environment(node.Scalar());
  if (!expanded) {
    wrong(key, expanded.error());
    return false;
  }
  out = std::move(*expanded);
  return true;
}

bool ConfigSection::text(const char* key, std::string& out) { return scalar(find(key), key, out); }

void ConfigSection::flag(const char* key, bool& out) {
  std::string value;
  if (!scalar(find(key), key, value)) return;
  if (value != "true" && value != "false") return wrong(key, fmt::format("\"{}\" must be true or false", value));
  out = value == "true";
}

void ConfigSection::list(const char* key, std::vector<std::string>& out) {
  const YAML::Node node = find(key);
  if (!node.IsDefined()) return;
  std::vector<std::string> values;
  if (node.IsSequence()) {
    for (const auto& item : node) {
      std::string value;
      if (!scalar(item, key, value)) return;
      values.push_back(std::move(value));
    }
  } else {
    std::string joined;
    if (!scalar(node, key, joined)) return;
    values = split_list(joined);
  }
  if (values.empty() || std::find(values.begin(), values.end(), "") != values.end()) {
    return wrong(key, "needs at least one entry, and none of them empty");
  }
  std::set<std::string> seen;
  for (const std::string& value : values) {
    if (!seen.insert(value).second) return wrong(key, fmt::format("\"{}\" stands twice; remove one of the two", value));
  }
  out = std::move(values);
}

void ConfigSection::map(const char* key, std::map<std::string, std::string>& out) {
  ConfigSection below = section(key);
  if (!below.node_.IsDefined() || below.node_.IsNull()) return;
  for (const auto& entry : below.node_) {
    if (!entry.first.IsScalar()) continue;  // done() reports it
    const std::string name = entry.first.Scalar();
    if (std::string value; below.scalar(below.find(name), name, value)) out[name] = value;
  }
  below.done();
}

void ConfigSection::size(const char* key, std::int64_t& out, std::int64_t min, std::int64_t max) {
  std::string value;
  if (!scalar(find(key), key, value)) return;
  const auto bytes = parse_size(value);
  if (!bytes) {
    return wrong(key, fmt::format("\"{}\" is no size; write a whole number with its unit: KiB, MiB or GiB", value));
  }
  if (*bytes < min || *bytes > max) {
    return wrong(key, fmt::format("{} is out of range; it may be {} to {}", value, print_size(min), print_size(max)));
  }
  out = *bytes;
}

bool ConfigSection::read_number(const char* key, std::int64_t& out, std::int64_t min, std::int64_t max) {
  std::string value;
  if (!scalar(find(key), key, value)) return false;
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error == std::errc::invalid_argument || end != value.data() + value.size()) {
    wrong(key, fmt::format("\"{}\" is no whole number", value));
    return false;
  }
  if (error != std::errc() || number < min || number > max) {
    wrong(key, fmt::format("{} is out of range; it may be {} to {}", value, min, max));
    return false;
  }
  out = number;
  return true;
}

bool ConfigSection::read_duration(const char* key, Milliseconds& out, Milliseconds min, Milliseconds max) {
  std::string value;
  if (!scalar(find(key), key, value)) return false;
  const auto duration = parse_duration(value);
  if (!duration) {
    wrong(key, fmt::format("\"{}\" is no duration; write whole numbers with their units, such as 500ms, 10s, 5m, 1h30m "
                           "or 7d",
                           value));
    return false;
  }
  if (*duration < min || *duration > max) {
    wrong(key, fmt::format("{} is out of range; it may be {} to {}", value, print_duration(min), print_duration(max)));
    return false;
  }
  out = *duration;
  return true;
}

}  // namespace klined
