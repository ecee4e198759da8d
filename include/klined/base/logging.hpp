// One log for the whole program, on stderr: results of commands go to stdout, and the two never mix.
//
// Messages are written with spdlog's functions and read as a sentence with key=value pairs after it:
//   spdlog::warn("mysql is away, the input waits: host={} error=\"{}\"", host, text);
#pragma once

#include <string_view>

namespace klined {

enum class LogFormat {
  kText,  // 2026-01-31T23:59:59.123Z info    trades read: applied=12 late=0
  kJson,  // {"time":"2026-01-31T23:59:59.123Z","level":"info","message":"trades read: applied=12 late=0"}
};

// True for trace, debug, info, warning, error and off.
bool is_log_level(std::string_view level);

// Sends everything to stderr from now on, with UTC stamps. One line a message whatever it holds: control characters are
// escaped, and in JSON so is what is no UTF-8. Asserts that is_log_level(level). Call before other threads log.
void init_logging(std::string_view level, LogFormat format);

}  // namespace klined
