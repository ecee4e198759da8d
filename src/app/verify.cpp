// `klined verify`: the stored candles against the input, beside the running job.
#include <algorithm>
#include <memory>

#include <fmt/format.h>

#include "klined/app/candle_table.hpp"
#include "klined/app/commands.hpp"
#include "klined/app/verify_pass.hpp"
#include "klined/stream/config_values.hpp"

namespace klined::app {

namespace {

constexpr int kDiffer = 1;
constexpr int kCouldNot = 2;
constexpr std::int64_t kLimitMax = 1'000'000'000;

Result<Scope> scope_of(const Config& config, const VerifyArguments& arguments) {
  Scope scope{.range = {}, .intervals = config.intervals};
  const UnixSeconds now = SystemClock().wall_seconds();
  for (const auto& [option, text, value] :
       {std::tuple("--from", &arguments.from, &scope.range.from), std::tuple("--to", &arguments.to, &scope.range.to)}) {
    if (text->empty()) continue;
    const auto time = parse_time(*text, now);
    if (!time) return fatal(fmt::format("{}: \"{}\" is no time; write 2026-01-31T12:00:00Z, or 7d", option, *text));
    *value = *time;
  }
  if (scope.range.from >= scope.range.to) return fatal("--from is not before --to");
  if (arguments.intervals.empty()) return scope;
  scope.intervals.clear();
  for (const std::string& name : split_list(arguments.intervals)) {
    const auto interval = interval_of(name);
    if (!interval || std::ranges::find(config.intervals, *interval) == config.intervals.end()) {
      return fatal(fmt::format("--interval: {} is none of the config's intervals", name));
    }
    scope.intervals.push_back(*interval);
  }
  return scope;
}

struct Totals {
  std::int64_t rows = 0, trades = 0;
  std::size_t wrong = 0, uncertain = 0, repaired = 0, left = 0, shown = 0;
  std::optional<UnixSeconds> uncertain_until;
  std::string outputs;
};

bool show(const Pass& pass, const VerifyArguments& arguments, Totals& totals) {
  std::string out;
  for (const Finding& finding : pass.findings()) {
    ++(finding.is_uncertain ? totals.uncertain : totals.wrong);
    if (totals.shown++ < arguments.limit) out += arguments.json ? json_of(finding) : text_of(finding);
  }
  totals.rows += pass.rows();
  totals.trades += pass.trades();
  totals.uncertain_until = pass.uncertain();
  totals.outputs += pass.outputs();
  return print_out(out);
}

void conclude(const VerifyArguments& arguments, const Totals& totals) {
  if (totals.shown > arguments.limit) {
    complain(fmt::format("{} more rows are not shown: raise --limit", totals.shown - arguments.limit));
  }
  if (totals.uncertain > 0) {
    complain(
        fmt::format("{} rows are unverifiable: buckets that begin up to {} UTC may hold trades that the log no "
                    "longer has",
                    totals.uncertain, print_utc(std::max<UnixSeconds>(0, *totals.uncertain_until))));
  }
  complain(fmt::format("verified {} rows against {} trades{}: {} wrong, {} unverifiable{}", print_count(totals.rows),
                       print_count(totals.trades), totals.outputs, totals.wrong, totals.uncertain,
                       arguments.repair ? fmt::format(", {} repaired", totals.repaired) : std::string()));
}

int could_not(const Error& error) {
  complain(fmt::format("could not verify: {}", error.message));
  return kCouldNot;
}

int verify(const VerifyArguments& arguments) {
  const std::optional<Config> config = load_config_or_complain(arguments.config);
  if (!config) return kUsage;
  if (arguments.published && !publishes(*config)) {
    return could_not({ErrorKind::kFatal, "--published: env is local, nothing is published"});
  }
  if (arguments.redis && !config->redis) return could_not({ErrorKind::kFatal, "--redis: the config has no redis"});
  const Result<Scope> scope = scope_of(*config, arguments);
  if (!scope) return could_not(scope.error());
  const auto source = KafkaSource::open({consumer_properties(*config), config->group});
  if (!source) return could_not(source.error());
  Totals totals;
  for (std::uint32_t share = 0; share < arguments.passes; ++share) {
    Pass pass(*config, arguments, *scope, **source, share);
    if (const Status done = pass.run(); !done) return could_not(done.error());
    const std::size_t before = totals.wrong;
    if (!show(pass, arguments, totals)) return could_not({ErrorKind::kFatal, "cannot write to stdout"});
    if (!arguments.repair || totals.wrong == before) continue;
    const Result<Repaired> repaired = pass.repair();
    if (!repaired) {
      complain(fmt::format("could not repair: {}", repaired.error().message));
      return kCouldNot;
    }
    totals.repaired += repaired->mended;
    totals.left += repaired->left;
  }
  if (!arguments.pair.empty() && totals.rows == 0 && totals.shown == 0) {
    return could_not(
        {ErrorKind::kFatal,
         fmt::format("--pair {}: there is no candle of that pair in what was asked for, neither stored nor "
                     "in the input; `klined pairs` lists pairs",
                     arguments.pair)});
  }
  conclude(arguments, totals);
  return totals.wrong == totals.repaired && totals.left == 0 ? kOk : kDiffer;
}

}  // namespace

CLI::App* add_verify(CLI::App& parent, int& exit_code) {
  auto arguments = std::make_shared<VerifyArguments>();
  CLI::App* const command = parent.add_subcommand(
      "verify",
      "Computes the stored candles once more from the input, and compares\n"
      "\n"
      "Reads the topics up to the stored offsets, beside the running job or without one, and compares every cell of\n"
      "every row with MySQL as of one moment. Prints what differs, and says so in its exit status. Reads only, unless\n"
      "--repair is given. Uses the job's decoder, dedupe window and merge, but none of what loads, keeps, writes and\n"
      "moves offsets.\n"
      "\n"
      "All candles asked for are in memory at once (about 500 bytes each); where that is more than\n"
      "engine.memory_limit it says so: use --passes, or narrow the question. The input is always read whole.\n"
      "\n"
      "Where the log has been trimmed since the candles' beginning, a difference in a bucket that begins up to the\n"
      "log's first record's time + max_future + dedupe_window (at most the newest stored trade + dedupe_window) is\n"
      "unverifiable: it may come from trades that are gone. This takes record timestamps not to go back there.\n"
      "\n"
      "--published also reads klines-<chain>-<env> once, --redis the hashes. A running job publishes and caches "
      "before\n"
      "it commits: candles that are newer than their rows are looked at again until the rows have passed them, so "
      "under\n"
      "load this takes some seconds more. A hash that is not there is no difference. Of a Redis field that is newer "
      "than\n"
      "the tables at each look only the revision is checked. Without a job, what it left uncommitted is unverifiable.");
  add_config_option(*command, arguments->config);
  command->add_option("--from", arguments->from, "Only candles that begin at or after this time")->type_name("TIME");
  command->add_option("--to", arguments->to, "Only candles that begin before this time")->type_name("TIME");
  command->add_option("--pair", arguments->pair, "Only candles of this pair")->type_name("ADDRESS");
  command->add_option("--interval", arguments->intervals, "Only these intervals")->type_name("LIST");
  command->add_option("--passes", arguments->passes, "Read the input so often, each time for a share of the pairs")
      ->type_name("N")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  command->add_option("--limit", arguments->limit, "Show so many rows")
      ->type_name("N")
      ->check(CLI::Range(std::int64_t{0}, kLimitMax))
      ->capture_default_str();
  command->add_flag("--repair", arguments->repair, "Write what is wrong right");
  command->add_flag("--published", arguments->published, "Compare the newest revision of every published candle too");
  command->add_flag("--redis", arguments->redis, "Compare the cached candles too");
  command->add_flag("--json", arguments->json, "One JSON object a row");
  set_manual(
      *command,
      "  klined verify\n"
      "  klined verify --from 2d --interval 1m,1h --json\n"
      "  klined verify --repair\n",
      "--repair holds the job's commits up for a moment, writes the rows for exactly the offsets that are then\n"
      "stored, and takes the partitions over, all in one transaction. A running job notices at its next commit,\n"
      "forgets what it has in memory, and goes on from the stored offsets by itself: nothing is lost, some is\n"
      "published again. Unverifiable rows are left alone. What was wrong is published once more, and put into Redis "
      "(the\n"
      "user needs WATCH, MULTI and EXEC: +@transaction).\n"
      "\n"
      "Readers of klines-<chain>-<env> keep the largest revision (= count) that they have seen. So a candle that was\n"
      "published with a larger one than it has, as a job does that has loaded a row with too large a count, can't be\n"
      "mended for them. Where such rows were repaired, the topic is read once, and these candles are named: exit "
      "status\n"
      "1. Have the readers delete them, and read them anew: the right ones have been published again by then.\n"
      "Until the job has claimed the partitions again and has passed what it had read, this takes up to a minute.\n"
      "\n"
      "Exit status: 0 equal (or unverifiable, or all repaired), 1 differences remain, 2 could not (also: --pair names\n"
      "a pair without candles).");
  command->callback([arguments, &exit_code] { exit_code = verify(*arguments); });
  return command;
}

}  // namespace klined::app
