#include "klined/cache/repair_plan.hpp"

#include <algorithm>
#include <functional>
#include <optional>

#include <fmt/format.h>
#include <google/protobuf/util/message_differencer.h>

#include "kline.pb.h"
#include "klined/cache/redis_layout.hpp"
#include "klined/codec/kline_encoder.hpp"

namespace klined {
namespace {

// A field that a reader could ask for. Without a version it is corrupt.
struct Held {
  std::string_view value;
  std::optional<CandleVersion> version;
};

bool is_closed(const CandleKey& key, const RepairRules& rules) {
  const Milliseconds end{closing_time(key.interval, key.time, 0) * 1'000};
  return end + rules.close_grace <= Milliseconds{rules.close_clock * 1'000};
}

// The row, where it must replace what is held.
std::optional<RepairPlan::Write> replacement(const SeriesName& series, const CandleRow& row, const Held* held,
                                             const RepairRules& rules) {
  KlineView view{row.key.chain, row.key.pair, row.key.interval, row.key.time, &row.candle, is_closed(row.key, rules)};
  const auto write = [&] {
    return RepairPlan::Write{row.key.time, {row.candle.revision(), view.closed}, encode_kline(view)};
  };
  if (held == nullptr || !held->version) return write();
  if (held->version->revision > row.candle.revision()) return std::nullopt;
  if (*held->version < CandleVersion{row.candle.revision(), view.closed}) return write();
  // The same revision, and closed wins: anything else that differs is damage.
  view.closed = held->version->closed;
  proto::Kline wanted;
  proto::Kline stored;
  fill_kline(view, wanted);
  if (read_kline(series, row.key.time, held->value, stored) &&
      google::protobuf::util::MessageDifferencer::Equals(wanted, stored)) {
    return std::nullopt;
  }
  return write();
}

// The smallest of the `keep` largest times.
UnixSeconds oldest_kept(std::vector<UnixSeconds> times, std::size_t keep) {
  if (times.size() <= keep) return *std::min_element(times.begin(), times.end());
  const auto nth = times.begin() + static_cast<std::ptrdiff_t>(keep - 1);
  std::nth_element(times.begin(), nth, times.end(), std::greater<>());
  return *nth;
}

}  // namespace

RepairPlan plan_repair(const SeriesName& series, const std::vector<CandleRow>& rows,
                       const std::vector<StoredField>& fields, const RepairRules& rules, const Doubts& doubts_before) {
  RepairPlan plan;
  if (rows.empty()) return plan;
  std::map<UnixSeconds, const CandleRow*> row_at;
  std::vector<UnixSeconds> times;  // of all that may stay
  for (const CandleRow& row : rows) {
    row_at[row.key.time] = &row;
    times.push_back(row.key.time);
  }
  const UnixSeconds oldest_row = row_at.begin()->first;
  const UnixSeconds newest_row = row_at.rbegin()->first;

  std::map<UnixSeconds, Held> held;
  for (const StoredField& field : fields) {
    const auto time = time_of_field(series.interval, field.name);
    const auto version = time ? version_of_value(series, *time, field.value) : std::nullopt;
    const bool has_row = time && row_at.contains(*time);
    const bool before_rows = time && rows.size() >= rules.keep && *time < oldest_row;
    if (!time || before_rows || (!version && !has_row)) {
      plan.removals.emplace_back(field.name);
      continue;
    }
    if (!has_row && *time < newest_row) {
      const auto before = doubts_before.find(*time);
      if (before != doubts_before.end() && before->second == version->revision) {
        plan.removals.emplace_back(field.name);
        continue;
      }
      plan.doubts[*time] = version->revision;
    }
    held[*time] = Held{field.value, version};
    if (!has_row) times.push_back(*time);
  }

  const UnixSeconds oldest = oldest_kept(std::move(times), rules.keep);
  for (const auto& [time, unused] : held) {
    if (time < oldest) plan.removals.push_back(fmt::format_int(time).str());
  }
  plan.doubts.erase(plan.doubts.begin(), plan.doubts.lower_bound(oldest));
  for (auto row = row_at.lower_bound(oldest); row != row_at.end(); ++row) {
    const auto found = held.find(row->first);
    auto write = replacement(series, *row->second, found == held.end() ? nullptr : &found->second, rules);
    if (write) plan.writes.push_back(std::move(*write));
  }
  return plan;
}

}  // namespace klined
