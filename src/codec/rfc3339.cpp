#include "klined/codec/rfc3339.hpp"

#include <chrono>

namespace klined {

namespace {

// The number that two or four digits at a place of the text spell; -1 where they are none. The text is long enough.
int number_at(std::string_view text, std::size_t at, std::size_t digits) {
  int number = 0;
  bool good = true;
  for (const char c : text.substr(at, digits)) {
    good = good && c >= '0' && c <= '9';
    number = number * 10 + (c - '0');
  }
  return good ? number : -1;
}

constexpr bool within(int number, int first, int last) { return number >= first && number <= last; }

// Takes ".123456" off the front of the text; nothing where a point has no digits.
std::optional<int> take_milliseconds(std::string_view& text) {
  if (!text.starts_with('.')) return 0;
  std::size_t end = 1;
  int milliseconds = 0;
  for (int weight = 100; end < text.size() && text[end] >= '0' && text[end] <= '9'; ++end, weight /= 10) {
    milliseconds += (text[end] - '0') * weight;
  }
  text.remove_prefix(end);
  return end > 1 ? std::optional(milliseconds) : std::nullopt;
}

// "Z", "+08:00" and the like, in minutes.
std::optional<int> offset_of(std::string_view text) {
  if (text == "Z" || text == "z") return 0;
  if (text.size() != 6 || (text[0] != '+' && text[0] != '-') || text[3] != ':') return std::nullopt;
  const int hours = number_at(text, 1, 2);
  const int minutes = number_at(text, 4, 2);
  if (!within(hours, 0, 23) || !within(minutes, 0, 59)) return std::nullopt;
  return (text[0] == '-' ? -1 : 1) * (hours * 60 + minutes);
}

}  // namespace

std::optional<UnixMilliseconds> parse_rfc3339(std::string_view text) {
  using namespace std::chrono;
  constexpr std::size_t kSecondsEnd = 19;  // of "2025-06-01T12:00:00"
  if (text.size() <= kSecondsEnd || text[4] != '-' || text[7] != '-' || text[13] != ':' || text[16] != ':') return {};
  if (text[10] != 'T' && text[10] != 't' && text[10] != ' ') return {};
  const int y = number_at(text, 0, 4);
  const int m = number_at(text, 5, 2);
  const int d = number_at(text, 8, 2);
  const int hour = number_at(text, 11, 2);
  const int minute = number_at(text, 14, 2);
  const int second = number_at(text, 17, 2);
  if (!within(y, 1970, 9999) || !within(m, 1, 12) || !within(d, 1, 31)) return {};
  if (!within(hour, 0, 23) || !within(minute, 0, 59) || !within(second, 0, 60)) return {};
  const year_month_day date{year(y), month(static_cast<unsigned>(m)), day(static_cast<unsigned>(d))};
  std::string_view rest = text.substr(kSecondsEnd);
  const std::optional<int> fraction = take_milliseconds(rest);
  const std::optional<int> offset = offset_of(rest);
  if (!date.ok() || !fraction || !offset) return {};
  const std::int64_t minutes = (sys_days(date).time_since_epoch().count() * 24LL + hour) * 60 + minute - *offset;
  const std::int64_t result = (minutes * 60 + second) * 1000 + *fraction;
  return result < 0 ? std::nullopt : std::optional(result);
}

}  // namespace klined
