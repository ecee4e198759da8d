// Reading YAML into typed fields, collecting everything that is wrong with it on the way.
#pragma once

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <concepts>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "klined/stream/config_values.hpp"

namespace klined {

// What is wrong with a config, in the order of its lines; and where each of its keys stands.
class ConfigProblems {
 public:
  explicit ConfigProblems(std::string file) : file_(std::move(file)) {}

  // `key` with its sections ("mysql.port"); `what` says what is wrong and what to do.
  void add(const std::string& key, std::string_view what);
  void add_at(int line, std::string_view text);
  void saw(const std::string& key, int line) { lines_.emplace(key, line); }
  bool seen(const std::string& key) const { return lines_.contains(key); }

  bool empty() const { return found_.empty(); }
  // A line each.
  std::string text() const;

 private:
  std::string file_;
  std::map<std::string, int> lines_;
  std::multimap<int, std::string> found_;
};

// One mapping of the file. Each function reads one key: it leaves `out` alone where the key is missing, and reports
// what is wrong with the value. Call done() last: keys that nobody asked for are errors.
class ConfigSection {
 public:
  ConfigSection(const YAML::Node& node, std::string path, ConfigProblems& problems);

  bool has(std::string_view key) const;
  ConfigSection section(const char* key);
  void done();

  // True where the key is there and holds a value that can be used.
  bool text(const char* key, std::string& out);
  void flag(const char* key, bool& out);
  void list(const char* key, std::vector<std::string>& out);
  // All keys of the mapping below `key`, whatever they are.
  void map(const char* key, std::map<std::string, std::string>& out);
  void size(const char* key, std::int64_t& out, std::int64_t min, std::int64_t max);

  template <std::integral T>
  void number(const char* key, T& out, T min, T max) {
    std::int64_t value = out;
    if (read_number(key, value, min, max)) out = static_cast<T>(value);
  }

  // In the field's own resolution: a field in seconds takes no milliseconds.
  template <typename Rep, typename Period>
  void duration(const char* key, std::chrono::duration<Rep, Period>& out, Milliseconds min, Milliseconds max) {
    using Field = std::chrono::duration<Rep, Period>;
    Milliseconds value = std::chrono::duration_cast<Milliseconds>(out);
    if (!read_duration(key, value, min, max)) return;
    out = std::chrono::duration_cast<Field>(value);
    if (out != value) wrong(key, fmt::format("{} is no whole number of seconds; round it", print_duration(value)));
  }

  // Where what is wrong with a value is found only by the caller.
  void wrong(const std::string& key, std::string_view what) { problems_.add(path_of(key), what); }

 private:
  std::string path_of(const std::string& key) const { return path_.empty() ? key : path_ + "." + key; }
  // The node of a key, marked as known; undefined where the key is missing.
  YAML::Node find(const std::string& key);
  bool scalar(const YAML::Node& node, const std::string& key, std::string& out);
  bool read_number(const char* key, std::int64_t& out, std::int64_t min, std::int64_t max);
  bool read_duration(const char* key, Milliseconds& out, Milliseconds min, Milliseconds max);

  YAML::Node node_;
  std::string path_;
  ConfigProblems& problems_;
  std::vector<std::string> known_;
};

}  // namespace klined
