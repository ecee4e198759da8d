// `klined candles`: stored candles of one series, for people and for scripts.
#include <algorithm>
#include <chrono>
#include <memory>
#include <thread>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include "klined/app/candle_table.hpp"
#include "klined/app/commands.hpp"
#include "klined/store/candle_reader.hpp"
#include "klined/stream/batch.hpp"
#include "klined/stream/config_values.hpp"
#include "klined/stream/connections.hpp"

namespace klined::app {

namespace {

constexpr std::size_t kLastByDefault = 20;
constexpr std::size_t kFilledMax = 1'000'000;
constexpr std::size_t kPairsSearched = 10'000;
constexpr std::chrono::seconds kRefresh{1};

struct CandlesArguments {
  std::string config;
  std::string pair;
  std::string interval;
  ChainId chain = 0;
  std::string from;
  std::string to;
  std::size_t last = 0;
  bool json = false;
  bool csv = false;
  bool fill = false;
  bool watch = false;
};

// What is asked for, as values.
struct Question {
  PairName pair;
  Interval interval = Interval::k1m;
  TimeRange range;
  bool has_from = false;
  bool has_to = false;
  std::optional<std::size_t> last;
};

Result<Interval> interval_in(CandleReader& reader, const std::string& name) {
  const Result<std::vector<Interval>> stored = reader.intervals();
  if (!stored) return std::unexpected(stored.error());
  const auto interval = interval_of(name);
  if (interval && std::ranges::find(*stored, *interval) != stored->end()) return *interval;
  if (stored->empty()) return fatal("the database has no candle tables; run `klined init` first");
  std::vector<std::string_view> names;
  for (const Interval each : *stored) names.push_back(name_of(each));
  return fatal(fmt::format("there are no candles of \"{}\"; the database has {}", name, fmt::join(names, " ")));
}

// The pair that is meant: by its whole address, or by the beginning of one of the active ones.
Result<PairName> find_pair(CandleReader& reader, const CandlesArguments& arguments, Interval interval) {
  const auto wanted = [&](ChainId chain) { return arguments.chain == 0 || chain == arguments.chain; };
  std::vector<PairName> found;
  const Result<std::vector<ChainId>> chains = reader.find_chains_of(arguments.pair, interval);
  if (!chains) return std::unexpected(chains.error());
  for (const ChainId chain : *chains) {
    if (wanted(chain)) found.push_back({chain, arguments.pair});
  }
  if (found.empty()) {
    const std::optional<ChainId> chain = arguments.chain == 0 ? std::nullopt : std::optional(arguments.chain);
    const Result<Activity> active = reader.active_pairs(interval, chain, kPairsSearched);
    if (!active) return std::unexpected(active.error());
    for (const PairActivity& each : active->pairs) {
      if (each.pair.starts_with(arguments.pair)) found.push_back({each.chain, each.pair});
    }
  }
  if (found.size() == 1) return found.front();
  if (found.empty()) {
    return fatal(fmt::format("there are no {} candles of a pair {}{}; `klined pairs` lists pairs", name_of(interval),
                             arguments.pair, arguments.chain == 0 ? "" : fmt::format(" on chain {}", arguments.chain)));
  }
  std::vector<std::string> names;
  for (std::size_t i = 0; i < std::min<std::size_t>(found.size(), 5); ++i) {
    names.push_back(fmt::format("{} on chain {}", found[i].pair, found[i].chain));
  }
  return fatal(fmt::format("{} is not one pair but {}: {}{}; write more of it, or --chain", arguments.pair,
                           found.size(), fmt::join(names, ", "), found.size() > names.size() ? ", …" : ""));
}

Result<UnixSeconds> time_of(std::string_view option, const std::string& text, UnixSeconds now) {
  const auto time = parse_time(text, now);
  if (time) return *time;
  return fatal(
      fmt::format("{}: \"{}\" is no time; write 2026-01-31, 2026-01-31T12:00:00Z, unix seconds, or how long ago, "
                  "such as 2h or 7d",
                  option, text));
}

Result<Question> question_of(CandleReader& reader, const CandlesArguments& arguments) {
  Question question;
  const UnixSeconds now = SystemClock().wall_seconds();
  if (!arguments.from.empty()) {
    const Result<UnixSeconds> from = time_of("--from", arguments.from, now);
    if (!from) return std::unexpected(from.error());
    question.range.from = *from;
    question.has_from = true;
  }
  if (!arguments.to.empty()) {
    const Result<UnixSeconds> to = time_of("--to", arguments.to, now);
    if (!to) return std::unexpected(to.error());
    question.range.to = *to;
    question.has_to = true;
  }
  if (question.range.from >= question.range.to) return fatal("--from is not before --to");
  if (arguments.last > 0) question.last = arguments.last;
  if (arguments.last == 0 && !question.has_from) question.last = kLastByDefault;
  const Result<Interval> interval = interval_in(reader, arguments.interval);
  if (!interval) return std::unexpected(interval.error());
  question.interval = *interval;
  const Result<PairName> pair = find_pair(reader, arguments, *interval);
  if (!pair) return std::unexpected(pair.error());
  question.pair = *pair;
  return question;
}

// Up to when the stream has closed the pair's candles; -1 where it has stored no offsets.
Result<UnixSeconds> closed_until(CandleReader& reader, const Config& config, const PairName& pair) {
  const Result<std::vector<StoredLaneOffset>> stored = reader.offsets(config.group);
  if (!stored) return std::unexpected(stored.error());
  std::int32_t lanes = 0;
  for (const StoredLaneOffset& each : *stored) lanes = std::max(lanes, each.offset.lane + 1);
  UnixSeconds until = -1;
  for (const StoredLaneOffset& each : *stored) {
    if (each.offset.lane != lane_of_pair(hash_of_pair(pair.chain, pair.pair), lanes)) continue;
    until = std::max(until, each.offset.closed_until);
  }
  return until;
}

// Where --fill begins and ends when the question does not say: with the first candle, and where the stream's clock is.
TimeRange fill_range(const Question& question, const std::vector<KlineView>& views, UnixSeconds until) {
  TimeRange range = question.range;
  if (views.empty()) return range;
  if (!question.has_from) range.from = views.front().time;
  const KlineView& last = views.back();
  const UnixSeconds last_end = bucket_of(last.interval, last.candle->open_at).end;
  range.to = std::min(range.to, std::max(last_end, until));
  return range;
}

// Answers the question once, as text for stdout.
Result<std::string> answer(CandleReader& reader, const Config& config, const Question& question,
                           const CandlesArguments& arguments, bool colour) {
  Result<std::vector<CandleRow>> rows =
      reader.candles(question.pair.chain, question.pair.pair, question.interval, question.range, question.last);
  if (!rows) return std::unexpected(rows.error());
  const Result<UnixSeconds> until = closed_until(reader, config, question.pair);
  if (!until) return std::unexpected(until.error());
  if (arguments.fill && question.has_from) {  // the price with which a gap at the beginning is filled
    Result<std::vector<CandleRow>> before = reader.candles(question.pair.chain, question.pair.pair, question.interval,
                                                           {.from = TimeRange().from, .to = question.range.from}, 1);
    if (!before) return std::unexpected(before.error());
    rows->insert(rows->begin(), before->begin(), before->end());
  }
  std::vector<KlineView> views;
  for (const CandleRow& row : *rows) {
    const bool closed = closing_time(row.key.interval, row.key.time, config.engine.close_grace.count()) <= *until;
    views.push_back({row.key.chain, row.key.pair, row.key.interval, row.key.time, &row.candle, closed});
  }
  std::deque<Candle> flat;
  if (arguments.fill) {
    const TimeRange range = fill_range(question, views, *until);
    std::optional<std::vector<KlineView>> filled = fill_gaps(views, range.from, range.to, kFilledMax, flat);
    if (!filled) return fatal(fmt::format("--fill: that is more than {} candles; narrow --from and --to", kFilledMax));
    views = std::move(*filled);
    if (question.last && views.size() > *question.last)
      views.erase(views.begin(), views.end() - static_cast<std::ptrdiff_t>(*question.last));
  }
  std::string text;
  const OutputFormat format = arguments.json  ? OutputFormat::kJson
                              : arguments.csv ? OutputFormat::kCsv
                                              : OutputFormat::kTable;
  append_candles(views, format, colour, text);
  if (views.empty() && format == OutputFormat::kTable) text = "no candles in that range\n";
  return text;
}

// Draws over what stood there before, line by line, so that nothing flickers.
std::string redrawn(std::string_view text) {
  std::string out = "\x1b[H";
  for (const char c : text) {
    if (c == '\n') out += "\x1b[K";
    out += c;
  }
  return out + "\x1b[J";
}

int watch(CandleReader& reader, const Config& config, const Question& question, const CandlesArguments& arguments) {
  for (;;) {
    const Result<std::string> text = answer(reader, config, question, arguments, stdout_has_colour());
    if (!text && text.error().kind != ErrorKind::kRetry) return fail(text.error());
    if (!print_out(redrawn(text ? *text : text.error().message + "\n"))) return kFailed;
    std::this_thread::sleep_for(kRefresh);
  }
}

int candles(const CandlesArguments& arguments) {
  if (arguments.watch && isatty(STDOUT_FILENO) == 0) {
    complain("--watch draws on a terminal, and stdout is none; ask again and again with --last instead");
    return kUsage;
  }
  const std::optional<Config> config = load_config_or_complain(arguments.config);
  if (!config) return kUsage;
  CandleReader reader(mysql_options(*config));
  const Result<Question> question = question_of(reader, arguments);
  if (!question) return fail(question.error());
  if (arguments.watch) {
    print_out("\x1b[2J");
    return watch(reader, *config, *question, arguments);
  }
  const Result<std::string> text = answer(reader, *config, *question, arguments, stdout_has_colour());
  if (!text) return fail(text.error());
  if (print_out(*text)) return kOk;
  complain("cannot write to stdout: is the disk full, or the pipe closed?");
  return kFailed;
}

}  // namespace

CLI::App* add_candles(CLI::App& parent, int& exit_code) {
  auto arguments = std::make_shared<CandlesArguments>();
  CLI::App* const command = parent.add_subcommand(
      "candles",
      "Shows stored candles of a pair\n"
      "\n"
      "From MySQL, oldest first. Times are UTC; a time is written 2026-01-31, 2026-01-31T12:00:00Z, as unix seconds, "
      "or\n"
      "as how long ago (2h, 7d). Empty buckets are not stored: --fill shows them as flat candles without trades.");
  command->add_option("PAIR", arguments->pair, "The pair's address, or the beginning of it where that is enough")
      ->required()
      ->type_name("");
  command->add_option("INTERVAL", arguments->interval, "1m, 5m, 1h ... 1M, as far as it is configured")
      ->required()
      ->type_name("");
  add_config_option(*command, arguments->config);
  command->add_option("--chain", arguments->chain, "The chain's number, where several have the pair")
      ->type_name("NUMBER");
  command->add_option("--from", arguments->from, "Candles that begin at or after this")->type_name("TIME");
  command->add_option("--to", arguments->to, "Candles that begin before this")->type_name("TIME");
  command->add_option("--last", arguments->last, "Only so many of the newest (20, where there is no --from)")
      ->type_name("N")
      ->check(CLI::Range(1, 1'000'000));
  CLI::Option* const json = command->add_flag("--json", arguments->json, "One JSON object a line");
  CLI::Option* const csv = command->add_flag("--csv", arguments->csv, "CSV with a header line")->excludes(json);
  command->add_flag("--fill", arguments->fill, "Fill gaps with flat candles, up to the stream's clock");
  command->add_flag("--watch", arguments->watch, "Draw again every second, until Ctrl-C")
      ->excludes(json)
      ->excludes(csv);
  set_manual(*command,
             "  klined candles 7qbRF6YsyGuLUVs6Y1q64bdVrfe4ZcUUz1JRdoVNUJnm 1m\n"
             "  klined candles 7qbR 5m --from 2h --fill --watch\n"
             "  klined candles 7qbR 1d --from 2026-01-01 --to 2026-02-01 --csv > january.csv\n");
  command->callback([arguments, &exit_code] { exit_code = candles(*arguments); });
  return command;
}

}  // namespace klined::app
