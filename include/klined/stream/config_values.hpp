// The texts that people write in the config and on the command line, and the values that they mean. Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "klined/base/clock.hpp"

namespace klined {

// "500ms" "10m" "7d" "1h30m": whole numbers with units (ms s m h d w), largest first or not; nothing for any other
// text.
std::optional<Milliseconds> parse_duration(std::string_view text);
// The shortest such text: 5400000 is "1h30m", 0 is "0s".
std::string print_duration(Milliseconds duration);

// Bytes from "2GiB" "512MiB" "64KiB" "100B" (binary units, whole numbers); nothing for any other text.
std::optional<std::int64_t> parse_size(std::string_view text);
std::string print_size(std::int64_t bytes);

// A time on the command line: RFC 3339, a day ("2026-01-31"), unix seconds, or that long before `now` ("2h" "7d").
std::optional<UnixSeconds> parse_time(std::string_view text, UnixSeconds now);
// "2026-01-31T23:59:59Z"
std::string print_rfc3339(UnixMilliseconds time);

// `text` with each ${NAME} replaced by the environment's value, ${NAME:-default} by the default where NAME is not set
// or empty, and $${ by a literal ${. The error names what is not set.
std::expected<std::string, std::string> expand_environment(std::string_view text);

// The candidate nearest to `word` by edits, nothing where none is near enough to be meant.
std::optional<std::string_view> nearest_of(std::string_view word, std::span<const std::string_view> candidates);

// The comma-separated parts of `text`, without the blanks around them.
std::vector<std::string> split_list(std::string_view text);

}  // namespace klined
