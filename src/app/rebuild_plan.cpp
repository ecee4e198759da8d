#include "klined/app/rebuild_plan.hpp"

#include <charconv>
#include <map>
#include <utility>

#include <fmt/format.h>

namespace klined::app {

namespace {

constexpr std::pair<RebuildPlan::Older, std::string_view> kOlderNames[] = {
    {RebuildPlan::Older::kRefuse, "refuse"}, {RebuildPlan::Older::kKeep, "keep"}, {RebuildPlan::Older::kDrop, "drop"}};
constexpr std::string_view kNone = "-";

std::string text_of(const std::optional<UnixSeconds>& time) {
  return time ? std::to_string(*time) : std::string(kNone);
}

template <typename Number>
bool read_number(std::string_view text, Number& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

bool read_time(std::string_view text, std::optional<UnixSeconds>& out) {
  if (text == kNone) return true;
  UnixSeconds time = 0;
  if (!read_number(text, time)) return false;
  out = time;
  return true;
}

bool read_flag(std::string_view text, bool& out) {
  out = text == "1";
  return out || text == "0";
}

}  // namespace

std::string_view name_of(RebuildPlan::Older older) {
  for (const auto& [value, name] : kOlderNames) {
    if (value == older) return name;
  }
  return "";
}

std::string plan_text(const RebuildPlan& plan) {
  return fmt::format("from={} at={} older={} lost_until={} lanes={} dry={:d} kept={:d} put_backs={}", plan.from,
                     text_of(plan.at), name_of(plan.older), text_of(plan.lost_until), plan.lanes, plan.is_dry,
                     plan.has_kept, plan.put_backs);
}

std::optional<RebuildPlan> parse_plan(std::string_view text) {
  std::map<std::string_view, std::string_view> words;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(text.size(), word.size() + 1));
    const std::size_t equals = word.find('=');
    if (equals == std::string_view::npos) return std::nullopt;
    words[word.substr(0, equals)] = word.substr(equals + 1);
  }
  RebuildPlan plan;
  plan.from = words["from"];
  for (const auto& [value, name] : kOlderNames) {
    if (name == words["older"]) plan.older = value;
  }
  const bool good = !plan.from.empty() && words["older"] == name_of(plan.older) && read_time(words["at"], plan.at) &&
                    read_time(words["lost_until"], plan.lost_until) && read_number(words["lanes"], plan.lanes) &&
                    plan.lanes > 0 && read_flag(words["dry"], plan.is_dry) && read_flag(words["kept"], plan.has_kept) &&
                    read_number(words["put_backs"], plan.put_backs);
  if (!good) return std::nullopt;
  return plan;
}

}  // namespace klined::app
