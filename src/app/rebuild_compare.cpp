// `klined rebuild --dry-run`: what a rebuild would change.
#include <algorithm>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "klined/app/candle_table.hpp"
#include "klined/app/commands.hpp"
#include "klined/app/rebuild.hpp"
#include "klined/stream/connections.hpp"

namespace klined::app {

namespace {

std::string place_of(const CandleKey& key) {
  return fmt::format("{} {} {} {}", table_of(key.interval), key.chain, key.pair,
                     key.time < 0 ? std::to_string(key.time) : print_utc(key.time));
}

std::string text_of(const TableScan* before, const TableScan* after) {
  if (before == nullptr) return fmt::format("new {}\n", place_of(after->key()));
  if (after == nullptr) return fmt::format("gone {}\n", place_of(before->key()));
  std::string out;
  for (unsigned i = 0; i < TableScan::cell_count(); ++i) {
    if (before->cell(i) == after->cell(i)) continue;
    out += fmt::format("changed {}: {} is {}, would be {}\n", place_of(before->key()), TableScan::name_of_cell(i),
                       before->cell(i), after->cell(i));
  }
  return out;
}

}  // namespace

Status Rebuild::compare() {
  MySqlOptions options = mysql_options(config_);
  options.idle_timeout = std::chrono::hours(1);
  MySqlConnection snapshot(options);
  if (Status met = meet(snapshot); !met) return met;
  const Result<std::vector<Interval>> in_use = tables_.intervals_in_use();
  if (!in_use) return std::unexpected(in_use.error());
  options.database = tables_.schema();
  MySqlConnection shadow(options);
  for (const Interval interval : config_.intervals) {
    if (std::ranges::find(*in_use, interval) == in_use->end()) {
      ++differences_;
      complain(fmt::format("table {} would be new", table_of(interval)));
      continue;
    }
    if (Status done = compare_interval(snapshot, shadow, interval); !done) return done;
  }
  for (const Interval interval : *in_use) {
    if (std::ranges::find(config_.intervals, interval) != config_.intervals.end()) continue;
    ++differences_;
    complain(fmt::format("table {} would be taken away: {} is not among the config's intervals", table_of(interval),
                         name_of(interval)));
  }
  snapshot.rollback();
  if (plan_.lost_until) {
    complain(fmt::format("candles that begin up to {} UTC were not compared: their trades are not all in the log",
                         print_utc(std::max<UnixSeconds>(0, *plan_.lost_until))));
  }
  if (shown_rows_ > arguments_.limit) {
    complain(fmt::format("{} more rows are not shown: raise --limit", shown_rows_ - arguments_.limit));
  }
  complain(fmt::format("a rebuild would change {} rows or tables", differences_));
  if (!plan_.is_dry) return {};  // a rebuild had begun: it goes on with them
  return tables_.drop_rebuilt();
}

Status Rebuild::compare_interval(MySqlConnection& snapshot, MySqlConnection& shadow, Interval interval) {
  using Within = TableScan::Within;
  TimeRange range;
  if (plan_.lost_until) range.from = *plan_.lost_until + 1;
  TableScan before(snapshot, qualified(tables_.database(), table_of(interval)), interval, Within::kTransaction, range);
  TableScan after(shadow, qualified(tables_.schema(), table_of(interval)), interval, Within::kNothing, range);
  return for_each_difference(before, after, [this](TableScan* old, TableScan* now) -> Status {
    ++differences_;
    if (shown_rows_++ >= arguments_.limit) return {};
    if (print_out(text_of(old, now))) return {};
    return fatal("cannot write to stdout: is the disk full, or the pipe closed?");
  });
}

}  // namespace klined::app
