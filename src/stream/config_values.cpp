#include "klined/stream/config_values.hpp"

#include <fmt/format.h>

#include "klined/codec/rfc3339.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <numeric>

namespace klined {

namespace {

struct Unit {
  std::string_view name;
  std::int64_t size;
};

// Largest first.
constexpr std::array<Unit, 6> kDurations = {
    {{"w", 604'800'000}, {"d", 86'400'000}, {"h", 3'600'000}, {"m", 60'000}, {"s", 1'000}, {"ms", 1}}};
constexpr std::array<Unit, 5> kSizes = {{{"TiB", std::int64_t{1} << 40U},
                                         {"GiB", std::int64_t{1} << 30U},
                                         {"MiB", std::int64_t{1} << 20U},
                                         {"KiB", std::int64_t{1} << 10U},
                                         {"B", 1}}};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// One or more "<number><unit>"; the sum, where it fits.
std::optional<std::int64_t> parse_units(std::string_view text, std::span<const Unit> units, bool several) {
  std::int64_t sum = 0;
  if (text.empty()) return std::nullopt;
  while (!text.empty()) {
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || !is_digit(text.front())) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    const auto name_size = static_cast<std::size_t>(std::find_if(text.begin(), text.end(), is_digit) - text.begin());
    const std::string_view name = text.substr(0, name_size);
    const auto unit = std::find_if(units.begin(), units.end(), [name](const Unit& u) { return u.name == name; });
    std::int64_t product = 0;
    if (unit == units.end() || __builtin_mul_overflow(number, unit->size, &product) ||
        __builtin_add_overflow(sum, product, &sum)) {
      return std::nullopt;
    }
    text.remove_prefix(name_size);
    if (!several && !text.empty()) return std::nullopt;
  }
  return sum;
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t substituted = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({substituted, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

std::optional<Milliseconds> parse_duration(std::string_view text) {
  const auto sum = parse_units(text, kDurations, true);
  if (!sum) return std::nullopt;
  return Milliseconds(*sum);
}

std::string print_duration(Milliseconds duration) {
  std::string text;
  std::int64_t rest = duration.count();
  for (const Unit& unit : kDurations) {
    // 7d reads better than 1w, and 14d than 2w.
    if (unit.name == "w" || rest < unit.size) continue;
    text += fmt::format("{}{}", rest / unit.size, unit.name);
    rest %= unit.size;
  }
  return text.empty() ? "0s" : text;
}

std::optional<std::int64_t> parse_size(std::string_view text) { return parse_units(text, kSizes, false); }

std::string print_size(std::int64_t bytes) {
  for (const Unit& unit : kSizes) {
    if (bytes >= unit.size && bytes % unit.size == 0) return fmt::format("{}{}", bytes / unit.size, unit.name);
  }
  return fmt::format("{}B", bytes);
}

std::optional<UnixSeconds> parse_time(std::string_view text, UnixSeconds now) {
  if (const auto time = parse_rfc3339(text)) return *time / 1000;
  if (const auto midnight = parse_rfc3339(std::string(text) + "T00:00:00Z")) return *midnight / 1000;
  if (const auto before = parse_duration(text)) return now - before->count() / 1000;
  UnixSeconds seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error != std::errc() || end != text.data() + text.size() || seconds < 0) return std::nullopt;
  return seconds;
}

std::string print_rfc3339(UnixMilliseconds time) {
  const std::chrono::sys_time<Milliseconds> point{Milliseconds(time)};
  const auto day = std::chrono::floor<std::chrono::days>(point);
  const std::chrono::year_month_day ymd(day);
  const std::chrono::hh_mm_ss<Milliseconds> clock(point - day);
  std::string text = fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", static_cast<int>(ymd.year()),
                                 static_cast<unsigned>(ymd.month()), static_cast<unsigned>(ymd.day()),
                                 clock.hours().count(), clock.minutes().count(), clock.seconds().count());
  if (clock.subseconds().count() != 0) text += fmt::format(".{:03}", clock.subseconds().count());
  return text + "Z";
}

std::expected<std::string, std::string> expand_environment(std::string_view text) {
  std::string out;
  for (;;) {
    const std::size_t dollar = text.find("${");
    if (dollar == std::string_view::npos) return out.append(text);
    if (dollar > 0 && text[dollar - 1] == '$') {
      out.append(text.substr(0, dollar - 1)).append("${");
      text.remove_prefix(dollar + 2);
      continue;
    }
    const std::size_t end = text.find('}', dollar);
    if (end == std::string_view::npos) return std::unexpected("\"${\" without \"}\"; write $${ for a literal ${");
    const std::string_view inside = text.substr(dollar + 2, end - dollar - 2);
    const std::size_t bar = inside.find(":-");
    const std::string name(inside.substr(0, bar));
    const char* const value = std::getenv(name.c_str());  // NOLINT(concurrency-mt-unsafe): read once, before any thread
    out.append(text.substr(0, dollar));
    if (value != nullptr && (*value != '\0' || bar == std::string_view::npos)) {
      out.append(value);
    } else if (bar != std::string_view::npos) {
      out.append(inside.substr(bar + 2));
    } else {
      return std::unexpected(
          fmt::format("the environment variable {} is not set; set it, or write ${{{}:-default}}", name, name));
    }
    text.remove_prefix(end + 1);
  }
}

std::optional<std::string_view> nearest_of(std::string_view word, std::span<const std::string_view> candidates) {
  std::optional<std::string_view> nearest;
  std::size_t best = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const std::string_view candidate : candidates) {
    if (const std::size_t distance = edit_distance(word, candidate); distance < best) {
      best = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

std::vector<std::string> split_list(std::string_view text) {
  std::vector<std::string> parts;
  for (;;) {
    const std::size_t comma = text.find(',');
    std::string_view part = text.substr(0, comma);
    const std::size_t begin = std::min(part.find_first_not_of(" \t"), part.size());
    part.remove_prefix(begin);
    part = part.substr(0, part.find_last_not_of(" \t") + 1);
    parts.emplace_back(part);
    if (comma == std::string_view::npos) return parts;
    text.remove_prefix(comma + 1);
  }
}

}  // namespace klined
