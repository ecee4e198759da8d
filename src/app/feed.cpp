// `klined feed`: the producer of trades, simulated or recorded.
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <limits>
#include <memory>
#include <utility>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "klined/app/commands.hpp"
#include "klined/base/clock.hpp"
#include "klined/base/logging.hpp"
#include "klined/codec/rfc3339.hpp"
#include "klined/codec/trade_file.hpp"
#include "klined/publish/feeder.hpp"
#include "klined/publish/kafka_admin.hpp"
#include "klined/publish/market.hpp"
#include "klined/publish/recorded_trades.hpp"
#include "klined/stream/config_values.hpp"

namespace klined::app {

namespace {

constexpr Milliseconds kTopicPatience{5'000};
constexpr Milliseconds kProgressPeriod{500};
constexpr double kTradesPerSecond = 2'500;  // 1,000 a slot
constexpr std::int64_t kTradesMax = 1'000'000'000'000;
constexpr std::size_t kAsyncWindow = 1'000;

struct FeedArguments {
  bool simulate = false;
  std::string file;
  std::string config;
  std::string brokers;
  std::string topic;
  std::vector<std::string> properties;
  std::string key = "slot";
  bool filter = false;
  bool async = false;
  std::string spool;
  std::string spool_limit = "1GiB";
  std::string patience = "30s";
  std::string log_level = "info";
  double rate = 1'000;
  bool rate_given = false;
  double speed = 1;
  bool speed_given = false;
  bool now = false;
  double event_rate = 0;
  std::int64_t trades = 0;
  std::uint32_t pairs = 200;
  std::uint64_t seed = 1;
  std::string start;
  double zipf = 1;
  ChainId chain = 100'000;
  double clamped = 1;
  double other_types = 2;
  double no_price = 0.5;
};

// ---- Stopping
// --------------------------------------------------------------------------------------------------------

std::atomic<bool> stop_asked = false;
static_assert(std::atomic<bool>::is_always_lock_free, "set by a signal handler");

// The first asks for an end, the second ends at once: what was not delivered and not spooled is lost then.
void on_signal(int signal) {
  if (stop_asked.exchange(true)) ::_exit(128 + signal);
}

void catch_signals() {
  struct sigaction action{};
  action.sa_handler = on_signal;  // and no SA_RESTART: waiting for the standard input ends too
  for (const int signal : {SIGTERM, SIGINT}) ::sigaction(signal, &action, nullptr);
}

// ---- What is asked for
// -----------------------------------------------------------------------------------------------

std::string print_stamp(UnixMilliseconds time) {
  const auto seconds = static_cast<std::time_t>(time / 1'000);
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(seconds), time % 1'000);
}

// A market whose pace fits the asked one: rate = trades a second of event time × event time a second.
Result<MarketOptions> market_of(const FeedArguments& arguments, UnixMilliseconds now) {
  const bool as_fast_as_possible = arguments.rate_given && arguments.rate == 0;
  if (as_fast_as_possible && arguments.speed_given) {
    return fatal("--rate 0 sends as fast as Kafka takes it, and --speed paces: leave one of them out");
  }
  if (arguments.event_rate > 0 && arguments.rate_given && !as_fast_as_possible) {
    return fatal(
        "--rate and --event-rate together leave --speed no choice: give --event-rate and --speed, or --rate and "
        "--speed");
  }
  MarketOptions market;
  market.seed = arguments.seed;
  market.pairs = arguments.pairs;
  market.zipf_exponent = arguments.zipf;
  market.chain = arguments.chain;
  market.key = arguments.key == "pair" ? FeedKey::kPair : FeedKey::kSlot;
  market.clamped_share = arguments.clamped / 100;
  market.other_types_share = arguments.other_types / 100;
  market.no_price_share = arguments.no_price / 100;
  market.filter = arguments.filter;
  if (arguments.event_rate > 0) {
    market.trades_per_second = arguments.event_rate;
  } else {
    market.trades_per_second = as_fast_as_possible ? kTradesPerSecond : arguments.rate / arguments.speed;
  }
  market.start = now;
  if (!arguments.start.empty()) {
    const auto start = parse_rfc3339(arguments.start);
    if (!start || *start < 0) {
      return fatal(
          fmt::format("--start {}: not an RFC 3339 time since 1970, such as 2026-01-31T12:00:00Z", arguments.start));
    }
    market.start = *start;
  } else if (as_fast_as_possible && arguments.trades > 0) {  // ends now: what has not happened yet is no good input
    const double seconds = static_cast<double>(arguments.trades) / market.trades_per_second;
    market.start = std::max<UnixMilliseconds>(0, now - static_cast<UnixMilliseconds>(seconds * 1e3));
  }
  return market;
}

struct Destination {
  KafkaProperties properties;
  std::string topic;
};

Result<Destination> destination_of(const FeedArguments& arguments) {
  Destination destination{.properties = {}, .topic = arguments.topic};
  if (arguments.brokers.empty() || arguments.topic.empty()) {
    if (!arguments.brokers.empty()) return fatal("--topic is missing: name the topic to send to");
    const auto path = config_path(arguments.config);
    if (!path) return fatal(fmt::format("--brokers and --topic are missing, and {}", path.error().message));
    const auto config = load_config(*path);
    if (!config) return std::unexpected(config.error());
    destination.properties = producer_properties(*config);
    if (destination.topic.empty()) {
      if (config->input.topics.size() != 1) return fatal("the config names several topics: say which by --topic");
      destination.topic = config->input.topics.front();
    }
  }
  if (!arguments.brokers.empty()) destination.properties["bootstrap.servers"] = arguments.brokers;
  for (const std::string& property : arguments.properties) {
    const std::size_t equals = property.find('=');
    if (equals == std::string::npos || equals == 0)
      return fatal(fmt::format("-X {}: not of the form NAME=VALUE", property));
    destination.properties[property.substr(0, equals)] = property.substr(equals + 1);
  }
  return destination;
}

// Kafka may be away, but where it answers the topic must exist.
Status check_topic(const Destination& destination) {
  auto admin = KafkaAdmin::open(destination.properties);
  if (!admin) return std::unexpected(admin.error());
  const auto partitions = (*admin)->partitions_of(destination.topic, kTopicPatience);
  if (!partitions && partitions.error().kind == ErrorKind::kFatal) return std::unexpected(partitions.error());
  if (!partitions) {
    spdlog::warn("trades go to the spool until kafka is there: {}", partitions.error().message);
    return {};
  }
  if (*partitions) return {};
  return fatal(fmt::format("topic {} does not exist on kafka at {}: create it with `klined init`, or correct --topic",
                           destination.topic, kafka_brokers(destination.properties)));
}

// ---- Sending
// ---------------------------------------------------------------------------------------------------------

class FeedRun {
 public:
  FeedRun(Feeder& feeder, std::string topic)
      : feeder_(feeder), topic_(std::move(topic)), began_(clock_.now()), terminal_(::isatty(STDERR_FILENO) == 1) {}

  Status simulate(const FeedArguments& arguments, const MarketOptions& options);
  Status replay(const FeedArguments& arguments);
  void end_progress() const;
  void summary() const;

 private:
  Status send(std::vector<FeedMessage>& messages, bool stamp_now);
  Status wait_until(Instant when) { return when > clock_.now() ? feeder_.idle_until(when) : Status(); }
  Instant after(double seconds) const {
    return began_ + std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(seconds));
  }
  void progress();

  Feeder& feeder_;
  std::string topic_;
  SystemClock clock_;
  Instant began_;
  Instant next_progress_{};
  UnixMilliseconds event_time_ = -1;
  std::int64_t dropped_ = 0;
  bool terminal_;
};

Status FeedRun::simulate(const FeedArguments& arguments, const MarketOptions& options) {
  const bool paced = !arguments.rate_given || arguments.rate > 0;
  const std::int64_t limit = arguments.trades > 0 ? arguments.trades : std::numeric_limits<std::int64_t>::max();
  MarketSimulator market(options);
  const UnixMilliseconds first = market.next_time();
  std::vector<FeedMessage> messages;
  while (!stop_asked && market.trades() + market.dropped() < limit) {
    const double event_seconds = static_cast<double>(market.next_time() - first) / 1e3;
    if (paced) {
      if (Status waited = wait_until(after(event_seconds / arguments.speed)); !waited) return waited;
      if (stop_asked) break;
    }
    messages.clear();
    market.next_slot(print_stamp(clock_.wall_ms()), limit - market.trades() - market.dropped(), messages);
    dropped_ = market.dropped();
    if (Status sent = send(messages, arguments.now); !sent) return sent;
  }
  return {};
}

Status FeedRun::replay(const FeedArguments& arguments) {
  auto file = TradeFile::open(arguments.file);
  if (!file) return std::unexpected(file.error());
  const RecordedOptions options{.key = arguments.key == "pair" ? FeedKey::kPair : FeedKey::kSlot,
                                .filter = arguments.filter};
  UnixMilliseconds first = -1;
  std::vector<FeedMessage> messages;
  while (!stop_asked) {
    auto batch = file->next();
    if (!batch && stop_asked) return {};  // the signal ended the reading
    if (!batch) return std::unexpected(batch.error());
    if (!*batch) return {};
    messages.clear();
    dropped_ += to_messages(**batch, options, print_stamp(clock_.wall_ms()), messages);
    if (messages.empty()) continue;
    if (arguments.speed_given && messages.front().time >= 0) {
      if (first < 0) first = messages.front().time;
      const double event_seconds = static_cast<double>(messages.front().time - first) / 1e3;
      if (Status waited = wait_until(after(event_seconds / arguments.speed)); !waited) return waited;
    } else if (arguments.rate_given && arguments.rate > 0) {
      const double seconds = static_cast<double>(feeder_.totals().trades) / arguments.rate;
      if (Status waited = wait_until(after(seconds)); !waited) return waited;
    }
    if (Status sent = send(messages, arguments.now); !sent) {
      return std::unexpected(
          Error{sent.error().kind, fmt::format("{} line {}: {}", file->name(), file->line(), sent.error().message)});
    }
  }
  return {};
}

Status FeedRun::send(std::vector<FeedMessage>& messages, bool stamp_now) {
  for (FeedMessage& message : messages) {
    if (message.time >= 0) event_time_ = message.time;
    Publication publication;
    publication.topic = topic_;
    publication.key = std::move(message.key);
    publication.value = std::move(message.value);
    publication.timestamp_ms = stamp_now || message.time < 0 ? 0 : message.time;
    if (Status sent = feeder_.feed(std::move(publication), message.trades); !sent) return sent;
    progress();
  }
  return {};
}

void FeedRun::progress() {
  if (!terminal_ || clock_.now() < next_progress_) return;
  next_progress_ = clock_.now() + kProgressPeriod;
  const FeederTotals totals = feeder_.totals();
  const double seconds = std::chrono::duration<double>(clock_.now() - began_).count();
  fmt::print(stderr, "\r\033[K{} trades, {} messages, {:.0f} trades/s, event time {}", totals.trades, totals.messages,
             static_cast<double>(totals.trades) / seconds, event_time_ < 0 ? "unknown" : print_stamp(event_time_));
  if (totals.left_in_spool > 0) fmt::print(stderr, ", {} in the spool", totals.left_in_spool);
  std::fflush(stderr);
}

void FeedRun::end_progress() const {
  if (terminal_) fmt::print(stderr, "\r\033[K");
}

void FeedRun::summary() const {
  const FeederTotals totals = feeder_.totals();
  const double seconds = std::max(1e-3, std::chrono::duration<double>(clock_.now() - began_).count());
  fmt::print("accepted   {} trades in {} messages, {} bytes, in {:.1f} s: {:.0f} trades/s\n", totals.trades,
             totals.messages, totals.bytes, seconds, static_cast<double>(totals.trades) / seconds);
  fmt::print("confirmed  {} messages by kafka, {} of them from the spool\n", totals.confirmed, totals.from_spool);
  for (const auto& [number, partition] : totals.partitions) {
    fmt::print("           partition {}: {} messages, offsets {} to {}\n", number, partition.messages,
               partition.first_offset, partition.last_offset);
  }
  fmt::print("spooled    {} messages, {} are left in the spool\n", totals.spooled, totals.left_in_spool);
  fmt::print("dropped    {} trades by --filter\n", dropped_);
}

int feed(const FeedArguments& arguments) {
  if (!is_log_level(arguments.log_level)) {
    return fail({ErrorKind::kFatal,
                 fmt::format("--log-level {}: write trace, debug, info, warning, error or off", arguments.log_level)});
  }
  init_logging(arguments.log_level, LogFormat::kText);
  const SystemClock clock;
  const auto market = market_of(arguments, clock.wall_ms());
  if (!market) return fail(market.error());
  const auto patience = parse_duration(arguments.patience);
  if (!patience) return fail({ErrorKind::kFatal, fmt::format("--patience {}: write 30s, 5m, …", arguments.patience)});
  const auto spool_limit = parse_size(arguments.spool_limit);
  if (!spool_limit)
    return fail({ErrorKind::kFatal, fmt::format("--spool-limit {}: write 512MiB, 2GiB, …", arguments.spool_limit)});
  const auto destination = destination_of(arguments);
  if (!destination) return fail(destination.error());
  catch_signals();
  if (const Status checked = check_topic(*destination); !checked) return fail(checked.error());
  const FeederOptions options{
      .properties = destination->properties,
      .topics = {destination->topic},
      .spool_path = arguments.spool.empty() ? fmt::format("klined-feed-{}.spool", destination->topic) : arguments.spool,
      .spool_bytes = *spool_limit,
      .window = arguments.async ? kAsyncWindow : 1};
  const auto feeder = Feeder::open(options, stop_asked);
  if (!feeder) return fail(feeder.error());

  FeedRun run(**feeder, destination->topic);
  const Status fed = arguments.simulate ? run.simulate(arguments, *market) : run.replay(arguments);
  run.end_progress();
  const Status finished = (*feeder)->finish(fed ? *patience : Milliseconds(0));
  run.summary();
  if (!finished) complain(finished.error().message);
  if (!fed && !(stop_asked && fed.error().kind == ErrorKind::kRetry)) return fail(fed.error());
  return finished || stop_asked ? kOk : kFailed;
}

// ---- The command line
// ------------------------------------------------------------------------------------------------

void add_pace_options(CLI::App& command, FeedArguments& arguments) {
  command
      .add_option("--rate", arguments.rate,
                  "Trades to send a second of wall time; 0: as fast as Kafka takes them (files: default)")
      ->type_name("N")
      ->check(CLI::Range(0.0, 1e7))
      ->capture_default_str()
      ->each([&arguments](const std::string&) { arguments.rate_given = true; });
  command.add_option("--speed", arguments.speed, "Event time that passes a second of wall time")
      ->type_name("N")
      ->check(CLI::Range(1e-3, 1e6))
      ->capture_default_str()
      ->each([&arguments](const std::string&) { arguments.speed_given = true; });
  command.add_flag("--now", arguments.now,
                   "Records are stamped with the time of sending, not with the trades' event time");
}

void add_market_options(CLI::App& command, FeedArguments& arguments) {
  const char* const group = "Options of --simulate";
  const auto option = [&](const char* name, auto& value, const char* text, const char* type) {
    return command.add_option(name, value, text)->group(group)->type_name(type)->capture_default_str();
  };
  option("--trades", arguments.trades, "How many trades; 0: until it is stopped", "N")
      ->check(CLI::Range(std::int64_t{0}, kTradesMax));
  option("--pairs", arguments.pairs, "How many pairs trade", "N")->check(CLI::Range(1U, 10'000'000U));
  option("--seed", arguments.seed, "The same seed and options give the same trades, but for create_time", "N");
  option("--start", arguments.start,
         "Event time of the first trade, RFC 3339; else now, or so that --trades at --rate 0 end now", "TIME");
  option("--event-rate", arguments.event_rate,
         "Trades a second of event time; 0: --rate / --speed, at --rate 0 it is 2500", "N")
      ->check(CLI::Range(0.0, 1e7));
  option("--zipf", arguments.zipf, "How uneven pairs trade: pair n has a share of 1/n^this; 0: all alike", "N")
      ->check(CLI::Range(0.0, 5.0));
  option("--chain", arguments.chain, "Chain: 100000 (Solana: numbers, slots), 1, 56, 8453 (texts, block numbers)", "N")
      ->check(CLI::Range(ChainId{1}, std::numeric_limits<ChainId>::max()));
  option("--clamped", arguments.clamped, "Percentage of trades that are part of a sandwich attack", "P")
      ->check(CLI::Range(0.0, 100.0));
  option("--other-types", arguments.other_types, "Percentage of other types than buy and sell", "P")
      ->check(CLI::Range(0.0, 100.0));
  option("--no-price", arguments.no_price, "Percentage of trades without a price", "P")->check(CLI::Range(0.0, 100.0));
}

void add_sending_options(CLI::App& command, FeedArguments& arguments) {
  command.add_option("-b,--brokers", arguments.brokers, "Kafka, as HOST:PORT[,HOST:PORT…]; else the config's")
      ->type_name("LIST");
  command.add_option("-t,--topic", arguments.topic, "The topic; else the config's, where it has only one")
      ->type_name("NAME");
  add_config_option(command, arguments.config);
  command
      .add_option("-X", arguments.properties,
                  "A librdkafka property, for instance compression.codec=zstd; may be repeated")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false);
  command
      .add_option("--key", arguments.key,
                  "slot: a message a slot, a pair is spread over all partitions; pair: a message a pair and slot")
      ->type_name("KEY")
      ->check(CLI::IsMember({"slot", "pair"}))
      ->capture_default_str();
  command.add_flag("--filter", arguments.filter,
                   "Leave out what is no buy or sell, and what has no price, as the upstream does");
  command.add_flag("--async", arguments.async,
                   "Do not wait for each confirmation: much faster, order is kept only without failures");
  command
      .add_option("--spool", arguments.spool,
                  "Where messages wait that Kafka does not take; else ./klined-feed-TOPIC.spool")
      ->type_name("FILE");
  command.add_option("--spool-limit", arguments.spool_limit, "A spool of that size makes the feed wait for Kafka")
      ->type_name("SIZE")
      ->capture_default_str();
  command.add_option("--patience", arguments.patience, "How long it waits for Kafka at the end of the trades")
      ->type_name("DURATION")
      ->capture_default_str();
  command.add_option("--log-level", arguments.log_level, "debug tells partition and offset of each message")
      ->type_name("LEVEL")
      ->capture_default_str();
}

}  // namespace

CLI::App* add_feed(CLI::App& parent, int& exit_code) {
  CLI::App* const command = parent.add_subcommand("feed", "Produces trades into Kafka, simulated or from a file.");
  auto arguments = std::make_shared<FeedArguments>();
  CLI::Option* const simulate =
      command->add_flag("--simulate", arguments->simulate, "A market with its own trades, from a seed");
  CLI::Option* const file =
      command
          ->add_option("--file", arguments->file,
                       "JSONL (a trade or a batch a line) or CSV with a header, gzip too; - is stdin")
          ->type_name("FILE");
  simulate->excludes(file);
  add_sending_options(*command, *arguments);
  add_pace_options(*command, *arguments);
  add_market_options(*command, *arguments);
  set_manual(
      *command,
      "  klined feed --simulate -b localhost:9092 -t sol-trades\n"
      "  klined feed --simulate -c klined.yaml --rate 0 --trades 1000000 --async\n"
      "  klined feed --simulate -c klined.yaml --rate 5000 --speed 60 --start 2026-01-01T00:00:00Z\n"
      "  klined feed --file trades.jsonl.gz -c klined.yaml --speed 1\n",
      "Pace: --rate trades are sent a second of wall time, in which --speed seconds of event time pass; so a slot\n"
      "of 400 ms holds 0.4 × rate / speed trades. At --rate 0 a slot follows the other as fast as Kafka takes\n"
      "them. Files are sent as fast as possible, at --rate, or at --speed by their block_time. A record's\n"
      "timestamp is the event time, so that replays look like the first run (mind retention.ms, which counts\n"
      "from it); --now changes that.\n"
      "\n"
      "Each message is confirmed: its partition and offset are known. What Kafka does not take within 5 s\n"
      "(-X message.timeout.ms) goes to the spool file, and is sent from there, in order and before anything newer,\n"
      "when Kafka is back, by this feed or the next with the same --spool. SIGTERM and Ctrl-C stop cleanly; what\n"
      "is not confirmed then waits in the spool. Delivery is at least once.\n");
  command->callback([arguments, &exit_code] {
    if (!arguments->simulate && arguments->file.empty()) {
      exit_code = fail({ErrorKind::kFatal, "say what to feed: --simulate, or --file FILE"});
      return;
    }
    exit_code = feed(*arguments);
  });
  return command;
}

}  // namespace klined::app
