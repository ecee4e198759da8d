// `klined pairs`: which pairs there are, and how active.
#include <algorithm>
#include <memory>

#include <fmt/format.h>

#include "klined/app/candle_table.hpp"
#include "klined/app/commands.hpp"
#include "klined/store/candle_reader.hpp"
#include "klined/stream/connections.hpp"

namespace klined::app {

namespace {

struct PairsArguments {
  std::string config;
  ChainId chain = 0;
  std::size_t limit = 20;
  bool json = false;
  bool csv = false;
};

// The longest interval of up to 1h: few rows, and still counted finely. Else the shortest there is.
Interval counting_interval(const std::vector<Interval>& stored) {
  Interval best = std::ranges::min(stored);
  for (const Interval interval : stored) {
    if (interval <= Interval::k1h) best = std::max(best, interval);
  }
  return best;
}

void append_table(const Activity& activity, std::string& out) {
  std::size_t width = 4;
  for (const PairActivity& pair : activity.pairs) width = std::max(width, pair.pair.size());
  out += fmt::format("since {} UTC\n", print_utc(std::max<UnixSeconds>(activity.since, 0)));
  out += fmt::format("{:<{}}  {:>8}  {:>12}  {:>20}  {:>16}  last trade (UTC)\n", "pair", width, "chain", "trades",
                     "volume USD", "price USD");
  for (const PairActivity& pair : activity.pairs) {
    out += fmt::format("{:<{}}  {:>8}  {:>12}  {:>20}  {:>16}  {}\n", pair.pair, width, pair.chain,
                       print_count(pair.trades), print_amount(pair.amount_usd), print_price(pair.last_price),
                       print_utc(pair.last_trade));
  }
}

// Addresses are printable ASCII without space; what JSON or CSV would take for their own is escaped.
std::string escaped(std::string_view text, std::string_view special, char escape) {
  std::string out;
  for (const char c : text) {
    if (special.find(c) != std::string_view::npos) out += escape;
    out += c;
  }
  return out;
}

void append_json(const Activity& activity, std::string& out) {
  for (const PairActivity& pair : activity.pairs) {
    out += fmt::format(
        R"({{"chain_id":{},"pair_addr":"{}","since":{},"trades":{},"amount_usd":{},"last_price":{},"last_trade":{}}})"
        "\n",
        pair.chain, escaped(pair.pair, "\"\\", '\\'), activity.since, pair.trades, pair.amount_usd.to_string(),
        pair.last_price, pair.last_trade);
  }
}

void append_csv(const Activity& activity, std::string& out) {
  out += "chain_id,pair_addr,since,trades,amount_usd,last_price,last_trade\n";
  for (const PairActivity& pair : activity.pairs) {
    const bool quote = pair.pair.find_first_of(",\"") != std::string::npos;
    out += fmt::format("{},{},{},{},{},{},{}\n", pair.chain,
                       quote ? "\"" + escaped(pair.pair, "\"", '"') + "\"" : pair.pair, activity.since, pair.trades,
                       pair.amount_usd.to_string(), pair.last_price, pair.last_trade);
  }
}

int pairs(const PairsArguments& arguments) {
  const std::optional<Config> config = load_config_or_complain(arguments.config);
  if (!config) return kUsage;
  CandleReader reader(mysql_options(*config));
  const Result<std::vector<Interval>> stored = reader.intervals();
  if (!stored) return fail(stored.error());
  if (stored->empty()) return fail({ErrorKind::kFatal, "the database has no candle tables; run `klined init` first"});
  const std::optional<ChainId> chain = arguments.chain == 0 ? std::nullopt : std::optional(arguments.chain);
  const Result<Activity> activity = reader.active_pairs(counting_interval(*stored), chain, arguments.limit);
  if (!activity) return fail(activity.error());
  std::string out;
  if (arguments.json) {
    append_json(*activity, out);
  } else if (arguments.csv) {
    append_csv(*activity, out);
  } else if (activity->pairs.empty()) {
    out = "no candles yet\n";
  } else {
    append_table(*activity, out);
  }
  if (print_out(out)) return kOk;
  complain("cannot write to stdout: is the disk full, or the pipe closed?");
  return kFailed;
}

}  // namespace

CLI::App* add_pairs(CLI::App& parent, int& exit_code) {
  auto arguments = std::make_shared<PairsArguments>();
  CLI::App* const command =
      parent.add_subcommand("pairs",
                            "Lists the most active pairs\n"
                            "\n"
                            "By trades within the 24 hours before the newest stored candle, from MySQL.");
  add_config_option(*command, arguments->config);
  command->add_option("--chain", arguments->chain, "Pairs of this chain alone")->type_name("NUMBER");
  command->add_option("--limit", arguments->limit, "How many")
      ->type_name("N")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  CLI::Option* const json = command->add_flag("--json", arguments->json, "One JSON object a line");
  command->add_flag("--csv", arguments->csv, "CSV with a header line")->excludes(json);
  set_manual(*command, "  klined pairs\n  klined pairs --chain 100000 --limit 100 --csv\n");
  command->callback([arguments, &exit_code] { exit_code = pairs(*arguments); });
  return command;
}

}  // namespace klined::app
