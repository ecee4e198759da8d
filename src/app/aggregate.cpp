// `klined aggregate`: candles from files, for a first try, for backtests and for tests.
#include <algorithm>
#include <memory>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "klined/app/aggregation.hpp"
#include "klined/app/candle_table.hpp"
#include "klined/app/commands.hpp"
#include "klined/stream/config_values.hpp"

namespace klined::app {

namespace {

struct AggregateArguments {
  std::vector<std::string> files;
  std::vector<std::string> intervals = {"1m"};
  std::vector<ChainId> chains = {1, 56, 8453, 100000};
  std::string pair;
  std::string dedupe_window = "10m";
  std::string max_lateness = "7d";
  bool json = false;
  bool csv = false;
  bool table = false;
};

Result<UnixSeconds> seconds_of(std::string_view option, const std::string& text) {
  const auto duration = parse_duration(text);
  if (!duration || duration->count() < 1000 || duration->count() % 1000 != 0) {
    return fatal(fmt::format("{}: \"{}\" is no duration in whole seconds; write for instance 10m or 7d", option, text));
  }
  return duration->count() / 1000;
}

Result<Aggregation::Options> options_of(const AggregateArguments& arguments) {
  Aggregation::Options options;
  options.chains = arguments.chains;
  options.pair = arguments.pair;
  for (const std::string& name : arguments.intervals) {
    const auto interval = interval_of(name);
    if (!interval) {
      std::vector<std::string_view> known;
      for (const Interval each : kAllIntervals) known.push_back(name_of(each));
      return fatal(fmt::format("--interval: \"{}\" is no interval; known are {}", name, fmt::join(known, " ")));
    }
    options.intervals.push_back(*interval);
  }
  std::ranges::sort(options.intervals);
  const auto repeated = std::ranges::unique(options.intervals);
  options.intervals.erase(repeated.begin(), repeated.end());
  const Result<UnixSeconds> window = seconds_of("--dedupe-window", arguments.dedupe_window);
  if (!window) return std::unexpected(window.error());
  const Result<UnixSeconds> lateness = seconds_of("--max-lateness", arguments.max_lateness);
  if (!lateness) return std::unexpected(lateness.error());
  options.dedupe_window = *window;
  options.max_lateness = *lateness;
  return options;
}

// What became of the trades, on stderr: a line of counts, and for each kind of refusal the first few reasons.
void report(const Aggregation& aggregation) {
  const Ledger& ledger = aggregation.ledger();
  std::vector<std::string> counts;
  for (std::size_t i = 0; i < kOutcomeCount; ++i)
    counts.push_back(fmt::format("{}={}", kOutcomeNames[i], ledger.counts[i]));
  complain(fmt::format("trades read={} {}", ledger.read(), fmt::join(counts, " ")));
  for (const Outcome outcome : {Outcome::kDuplicate, Outcome::kInvalid, Outcome::kFuture, Outcome::kLate}) {
    const std::vector<std::string>& reasons = aggregation.reasons(outcome);
    if (reasons.empty()) continue;
    const auto more = ledger[outcome] - static_cast<std::int64_t>(reasons.size());
    complain(fmt::format("{} {}: {}{}", ledger[outcome], name_of(outcome), fmt::join(reasons, "; "),
                         more > 0 ? fmt::format("; and {} more", more) : ""));
  }
}

int aggregate(const AggregateArguments& arguments) {
  Result<Aggregation::Options> options = options_of(arguments);
  if (!options) return fail(options.error());
  Aggregation aggregation(std::move(*options));
  for (const std::string& path : arguments.files) {
    Result<TradeFile> file = TradeFile::open(path);
    if (!file) return fail(file.error());
    if (const Status read = aggregation.read(*file); !read) {
      complain(read.error().message);
      return kFailed;
    }
  }
  const std::vector<CandleRow> rows = aggregation.finish();
  std::vector<KlineView> views;
  views.reserve(rows.size());
  for (const CandleRow& row : rows) {
    views.push_back(
        {row.key.chain, row.key.pair, row.key.interval, row.key.time, &row.candle, aggregation.is_closed(row.key)});
  }
  const OutputFormat format = arguments.json  ? OutputFormat::kJson
                              : arguments.csv ? OutputFormat::kCsv
                                              : OutputFormat::kTable;
  std::string out;
  append_candles(views, format, stdout_has_colour(), out);
  if (!print_out(out)) {
    complain("cannot write to stdout: is the disk full, or the pipe closed?");
    return kFailed;
  }
  report(aggregation);
  if (!arguments.pair.empty() && rows.empty() && aggregation.ledger()[Outcome::kApplied] > 0) {
    complain(fmt::format("no candle is of pair {}: it is case-sensitive, and stands in pair_addr", arguments.pair));
  }
  return kOk;
}

}  // namespace

CLI::App* add_aggregate(CLI::App& parent, int& exit_code) {
  auto arguments = std::make_shared<AggregateArguments>();
  CLI::App* const command = parent.add_subcommand(
      "aggregate",
      "Candles from files of trades, on stdout; needs no server\n"
      "\n"
      "By the same rules as `klined run`. A file holds a trade or a JSON array of trades a line, or CSV with a header\n"
      "line; either may be compressed with gzip. What became of the trades is counted on stderr.");
  command->add_option("FILE", arguments->files, "Files, in the order in which they are read; - is the standard input")
      ->required()
      ->type_name("");
  command->add_option("-i,--interval", arguments->intervals, "Intervals, with commas between: 1s 1m 3m ... 1d 3d 1w 1M")
      ->type_name("LIST")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str();
  command->add_option("--pair", arguments->pair, "Candles of this pair alone")->type_name("ADDRESS");
  command->add_option("--chains", arguments->chains, "Chains whose trades count; of any other they are invalid")
      ->type_name("LIST")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str();
  command->add_option("--dedupe-window", arguments->dedupe_window, "A trade again within this is a duplicate")
      ->type_name("DURATION")
      ->capture_default_str();
  command->add_option("--max-lateness", arguments->max_lateness, "A trade further behind its file's clock is late")
      ->type_name("DURATION")
      ->capture_default_str();
  CLI::Option* const json = command->add_flag("--json", arguments->json, "One JSON object a line");
  CLI::Option* const csv = command->add_flag("--csv", arguments->csv, "CSV with a header line")->excludes(json);
  command->add_flag("--table", arguments->table, "A table for people (default)")->excludes(json)->excludes(csv);
  set_manual(*command,
             "  klined aggregate trades.jsonl\n"
             "  klined aggregate 2026-01-*.jsonl.gz --interval 1h,1d --csv > candles.csv\n"
             "  zstdcat trades.csv.zst | klined aggregate - --interval 1m --pair 7qbR...pump --json\n",
             "A candle is marked open where the trades do not reach beyond its end.\n");
  command->callback([arguments, &exit_code] { exit_code = aggregate(*arguments); });
  return command;
}

}  // namespace klined::app
