// `klined verify`: the stored candles against the input, beside the running job.
#include <algorithm>
#include <iostream>
#include <map>
#include <memory>
#include <random>
#include <thread>

#include <fmt/format.h>
#include <unistd.h>

#include "klined/app/candle_table.hpp"
#include "klined/app/commands.hpp"
#include "klined/app/verify_outputs.hpp"
#include "klined/source/kafka_source.hpp"
#include "klined/store/claim_transaction.hpp"
#include "klined/store/table_check.hpp"
#include "klined/stream/config_values.hpp"
#include "klined/stream/connections.hpp"
#include "klined/stream/recomputation.hpp"

namespace klined::app {

namespace {

constexpr int kDiffer = 1;
constexpr int kCouldNot = 2;
constexpr Milliseconds kTimeout{10'000};
constexpr Milliseconds kStalled{60'000};
constexpr Milliseconds kProgress{200};
constexpr std::size_t kPollMessages = 2000;
constexpr std::size_t kPollBytes = std::size_t{4} << 20U;
constexpr int kHoldAttempts = 5;
constexpr Milliseconds kClaimWait{8'000};

struct VerifyArguments {
  std::string config;
  std::string from, to, pair, intervals;
  std::uint32_t passes = 1;
  std::size_t limit = 100;
  bool repair = false;
  bool json = false;
  bool published = false;
  bool redis = false;
};

// What is asked for, as values.
struct Scope {
  TimeRange range;
  std::vector<Interval> intervals;
};

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

// One look at the pairs of one share.
class Pass {
 public:
  Pass(const Config& config, const VerifyArguments& arguments, const Scope& scope, KafkaSource& source,
       std::uint32_t share)
      : config_(config),
        arguments_(arguments),
        scope_(scope),
        source_(source),
        share_(share),
        snapshot_(mysql_options(config)),
        again_(
            Recomputation::Options{.rules = {config.chains, std::chrono::milliseconds(config.input.max_future).count()},
                                   .intervals = scope.intervals,
                                   .dedupe_window = config.input.dedupe_window.count(),
                                   .max_lateness = config.input.max_lateness.count(),
                                   .range = scope.range,
                                   .pair = arguments.pair,
                                   .shares = arguments.passes,
                                   .share = share}) {}

  Status run();
  // After run(): writes what is wrong right. The number of rows.
  Result<std::size_t> repair();

  const std::vector<Finding>& findings() const { return findings_; }
  std::int64_t rows() const { return rows_; }
  const std::string& outputs() const { return outputs_; }
  std::int64_t trades() const { return again_.trades(); }
  std::optional<UnixSeconds> uncertain() const { return uncertain_; }

 private:
  using Limits = std::map<TopicPartition, std::vector<std::int64_t>>;

  static Limits limits_of(const std::vector<LaneOffset>& offsets);
  std::uint32_t rank_of(const std::string& topic) const;
  LogId log_of(const TopicPartition& partition) const;
  Status check_settings() const;
  Status begin(const Limits& limits);
  Result<std::int64_t> begin_of(const TopicPartition& partition) const;
  Status go_on(const Limits& limits);
  Status read();
  Status take_in(const MessageBatch& batch);
  void progress(bool end);
  Status compare();
  Status compare_outputs();
  Result<OutputCheck::Progress> advance();
  Result<std::size_t> repair_rows(std::uint64_t& owner);
  Status mend_outputs(std::uint64_t owner);
  void await_claims(std::uint64_t owner) const;
  bool is_closed(const CandleKey& key) const;
  bool is_uncertain(UnixSeconds time) const { return uncertain_ && time <= *uncertain_; }
  bool wants(const CandleKey& key) const { return again_.wants(hash_of_pair(key.chain, key.pair), key.pair); }

  const Config& config_;
  const VerifyArguments& arguments_;
  const Scope& scope_;
  KafkaSource& source_;
  std::uint32_t share_;
  TableSnapshot snapshot_;
  Recomputation again_;
  std::vector<std::string> topics_;  // by rank
  std::map<TopicPartition, LogId> logs_;
  std::map<LogId, TrimmedLog> trimmed_;
  std::optional<UnixSeconds> uncertain_;
  std::vector<Finding> findings_;
  std::int64_t rows_ = 0;
  std::map<TopicPartition, std::int64_t> ends_;  // of the input, when the outputs were looked at first
  std::string outputs_;                          // what was compared
  UnixSeconds closed_until_ = -1;
  std::int64_t read_ = 0, to_read_ = 0;
  SystemClock clock_;
  Instant shown_{};
};

Pass::Limits Pass::limits_of(const std::vector<LaneOffset>& offsets) {
  Limits limits;
  for (const LaneOffset& row : offsets) limits[{row.topic, row.partition}].push_back(row.next_offset);
  return limits;
}

std::uint32_t Pass::rank_of(const std::string& topic) const {
  return static_cast<std::uint32_t>(std::ranges::find(topics_, topic) - topics_.begin());
}

LogId Pass::log_of(const TopicPartition& partition) const {
  return {rank_of(partition.topic), static_cast<std::uint32_t>(partition.partition)};
}

Status Pass::check_settings() const {
  const auto difference = find_difference(snapshot_.settings(), settings_text(config_));
  if (snapshot_.settings().empty() || !difference) return {};
  return fatal(
      fmt::format("the candles were computed with {} = {}, and {} is {} in this config: verify with the config "
                  "of the job",
                  difference->name, difference->stored, difference->name, difference->wanted));
}

Status Pass::run() {
  // First everything up to about now, without holding the server to old versions; then what came meanwhile.
  if (Status opened = snapshot_.open(config_.group); !opened) return opened;
  if (Status checked = check_settings(); !checked) return checked;
  topics_ = snapshot_.topics().names();
  Limits first = limits_of(snapshot_.offsets());
  if (first.empty()) return fatal(fmt::format("group {} has stored nothing yet", config_.group));
  for (auto& [partition, limits] : first) std::ranges::fill(limits, std::ranges::min(limits));
  if (Status begun = begin(first); !begun) return begun;
  snapshot_.close();
  if (Status done = read(); !done) return done;

  if (Status opened = snapshot_.open(config_.group); !opened) return opened;
  if (Status done = go_on(limits_of(snapshot_.offsets())); !done) return done;
  progress(true);
  if (Status done = compare(); !done) return done;
  if (!arguments_.published && !arguments_.redis) return {};
  return compare_outputs();
}

// Where the candles' trades of the partition begin.
Result<std::int64_t> Pass::begin_of(const TopicPartition& partition) const {
  if (const auto noted = snapshot_.begin_of(partition.topic, partition.partition)) return *noted;
  if (config_.input.start.kind == StartAt::Kind::kEarliest) return 0;
  return fatal(
      fmt::format("the tables, made by an older klined, do not say where {} partition {} begins, and "
                  "input.start is not earliest: they cannot be verified",
                  partition.topic, partition.partition));
}

Status Pass::begin(const Limits& limits) {
  for (const auto& [partition, of_lanes] : limits) {
    const LogId log = log_of(partition);
    const Result<OffsetRange> range = source_.range_of(partition, kTimeout);
    if (!range) return std::unexpected(range.error());
    const Result<std::int64_t> begin = begin_of(partition);
    if (!begin) return std::unexpected(begin.error());
    if (of_lanes.front() > range->high) {
      return fatal(
          fmt::format("{} partition {} ends at offset {}, but {} is stored: it is another cluster, or the "
                      "topic was made anew",
                      partition.topic, partition.partition, range->high, of_lanes.front()));
    }
    logs_.emplace(partition, log);
    if (range->low > *begin) trimmed_.emplace(log, TrimmedLog());
    const std::int64_t start = std::max(range->low, *begin);
    again_.begin(log, start, of_lanes);
    to_read_ += std::max<std::int64_t>(0, again_.target(log) - start);
  }
  return {};
}

// Reads on, up to new limits.
Status Pass::go_on(const Limits& limits) {
  if (snapshot_.topics().names() != topics_ || limits.size() != logs_.size()) {
    return retry("topics or partitions were added while verify ran: run it again");
  }
  for (const auto& [partition, of_lanes] : limits) {
    const auto log = logs_.find(partition);
    if (log == logs_.end()) return retry("partitions changed while verify ran: run it again");
    const std::int64_t before = again_.target(log->second);
    if (Status set = again_.set_limits(log->second, of_lanes); !set) return set;
    to_read_ += again_.target(log->second) - before;
  }
  return read();
}

Status Pass::read() {
  std::vector<Assignment> open;
  for (const auto& [partition, log] : logs_) {
    if (again_.next_offset(log) >= again_.target(log)) continue;
    const std::string origin = origin_topic(partition.topic).value_or(partition.topic);
    open.push_back({partition, log, again_.next_offset(log), origin, rank_of(origin)});
  }
  if (open.empty()) return {};
  if (Status assigned = source_.assign(open); !assigned) return assigned;
  Instant last = clock_.now();
  while (!open.empty()) {
    const Result<MessageBatch> batch = source_.poll(Milliseconds(50), kPollMessages, kPollBytes);
    if (!batch) return std::unexpected(batch.error());
    if (Status taken = take_in(*batch); !taken) return taken;
    const Instant now = clock_.now();
    if (!batch->messages.empty()) last = now;
    if (now - last > kStalled) return retry("Kafka has sent no message for 60 s: is a broker away?");
    std::erase_if(open, [this](const Assignment& a) {
      const bool done = again_.next_offset(a.log) >= again_.target(a.log) || source_.at_end(a.log);
      if (done) source_.pause(a.log);
      return done;
    });
    progress(false);
  }
  return {};
}

Status Pass::take_in(const MessageBatch& batch) {
  for (const Message& message : batch.messages) {
    // A record that stands for another one has that one's time, which says nothing of the records before it.
    if (const auto trimmed = trimmed_.find(message.log); trimmed != trimmed_.end() && message.origin == nullptr) {
      if (trimmed->second.first_timestamp < 0) trimmed->second.first_timestamp = message.timestamp;
    }
    // What lies beyond is read again when it is time.
    if (message.offset < again_.next_offset(message.log) || message.offset >= again_.target(message.log)) continue;
    if (Status taken = again_.take(message); !taken) return taken;
    ++read_;
  }
  if (again_.bytes() <= static_cast<std::size_t>(config_.engine.memory_limit)) return {};
  return fatal(
      fmt::format("the candles need more memory than engine.memory_limit ({}), after {} of {} messages: use "
                  "--passes (each reads the input once, and needs a share of the memory), or narrow it with "
                  "--from, --to, --pair, --interval",
                  print_size(config_.engine.memory_limit), read_, to_read_));
}

void Pass::progress(bool end) {
  if (isatty(STDERR_FILENO) == 0) return;
  const Instant now = clock_.now();
  if (!end && now - shown_ < kProgress) return;
  shown_ = now;
  const std::int64_t percent = to_read_ == 0 ? 100 : std::min<std::int64_t>(100, read_ * 100 / to_read_);
  const auto filled = static_cast<std::size_t>(percent / 4);
  std::cerr << fmt::format("\rpass {} of {} [{:<25}] {:>3} %  {} trades  {} candles  {} MiB ", share_ + 1,
                           arguments_.passes, std::string(filled, '#'), percent, print_count(again_.trades()),
                           print_count(static_cast<std::int64_t>(again_.candle_count())), again_.bytes() >> 20U)
            << (end ? "\n" : "") << std::flush;
}

Status Pass::compare() {
  std::vector<TrimmedLog> trimmed;
  for (const auto& [log, first] : trimmed_) trimmed.push_back(first);
  const auto newest = std::ranges::max(snapshot_.offsets(), {}, &LaneOffset::max_block_time).max_block_time;
  uncertain_ = uncertain_until(trimmed, newest, config_.input.max_future.count(), config_.input.dedupe_window.count());
  for (const Interval interval : scope_.intervals) {
    const Status scanned = snapshot_.scan(
        interval, scope_.range, arguments_.pair, [this](const CandleKey& key, const TableSnapshot::Compare& compare) {
          if (!wants(key)) return;
          ++rows_;
          Recomputation::Entry* const expected = again_.find(key);
          if (expected == nullptr) {
            findings_.push_back({key, {}, false, is_uncertain(key.time)});
            return;
          }
          expected->seen = true;
          std::vector<CellDifference> cells = compare(expected->candle);
          if (!cells.empty()) findings_.push_back({key, std::move(cells), false, is_uncertain(key.time)});
        });
    if (!scanned) return scanned;
  }
  again_.for_each([this](const CandleKey& key, const Recomputation::Entry& entry) {
    if (!entry.seen) findings_.push_back({key, {}, true, is_uncertain(key.time)});
  });
  std::ranges::sort(findings_, {}, &Finding::key);
  snapshot_.close();
  return {};
}

Status Pass::compare_outputs() {
  OutputCheck check(config_, again_, arguments_.published, arguments_.redis, [this](const CandleKey& key) {
    return wants(key) && key.time >= scope_.range.from && key.time < scope_.range.to &&
           std::ranges::find(scope_.intervals, key.interval) != scope_.intervals.end();
  });
  const auto mark_ends = [this]() -> Status {
    for (const auto& [partition, log] : logs_) {
      const Result<OffsetRange> range = source_.range_of(partition, kTimeout);
      if (!range) return std::unexpected(range.error());
      ends_[partition] = range->high;
    }
    return {};
  };
  if (Status done = check.run(mark_ends, [this] { return advance(); }); !done) return done;
  for (Finding& finding : check.findings([this](UnixSeconds time) { return is_uncertain(time); })) {
    findings_.push_back(std::move(finding));
  }
  outputs_ = check.summary();
  return {};
}

// On to the tables as of now.
Result<OutputCheck::Progress> Pass::advance() {
  if (Status opened = snapshot_.open(config_.group); !opened) return std::unexpected(opened.error());
  const Limits limits = limits_of(snapshot_.offsets());
  snapshot_.close();
  OutputCheck::Progress progress{.is_caught_up = true, .has_moved = false};
  for (const auto& [partition, of_lanes] : limits) {
    const auto log = logs_.find(partition);
    if (log != logs_.end() && again_.target(log->second) < std::ranges::max(of_lanes)) progress.has_moved = true;
    if (std::ranges::min(of_lanes) < ends_[partition]) progress.is_caught_up = false;
  }
  if (Status done = go_on(limits); !done) return std::unexpected(done.error());
  return progress;
}

Result<std::size_t> Pass::repair() {
  std::size_t elsewhere = 0;
  std::size_t unmended = 0;
  bool has_rows = false;
  for (const Finding& finding : findings_) {
    if (finding.is_uncertain) continue;
    if (finding.where == Where::kTable) has_rows = true;
    if (finding.where != Where::kTable) ++elsewhere;
    const Recomputation::Entry* const entry = again_.find(finding.key);
    // Readers keep the largest revision that they have seen.
    if (finding.where == Where::kPublished && (entry == nullptr || finding.revision > entry->candle.revision()))
      ++unmended;
  }
  if (unmended > 0) {
    complain(
        fmt::format("{} candles were published with a larger revision than they have: readers keep that one "
                    "until the candle has more trades, unless they are told to forget it",
                    unmended));
  }
  Result<std::size_t> repaired = std::size_t{0};
  std::uint64_t owner = 0;
  if (has_rows) repaired = repair_rows(owner);
  if (!repaired) return repaired;
  if (Status done = mend_outputs(owner); !done) return std::unexpected(done.error());
  return *repaired + elsewhere - unmended;
}

// A job forgets what it holds in memory with its next commit, which is refused, and publishes from it until then.
void Pass::await_claims(std::uint64_t owner) const {
  CandleReader reader(mysql_options(config_));
  for (const Instant until = clock_.now() + kClaimWait; clock_.now() < until;) {
    const auto offsets = reader.offsets(config_.group);
    const auto is_ours = [owner](const StoredLaneOffset& row) { return row.owner == owner; };
    if (offsets && std::ranges::none_of(*offsets, is_ours)) return;
    std::this_thread::sleep_for(Milliseconds(200));
  }
}

bool Pass::is_closed(const CandleKey& key) const {
  const UnixSeconds end = bucket_of(key.interval, std::max<UnixSeconds>(key.time, 0)).end;
  return end + config_.engine.close_grace.count() / 1000 < closed_until_;
}

// What readers of Kafka and Redis have of the candles that were found wrong, wherever that was.
Status Pass::mend_outputs(std::uint64_t owner) {
  if (owner != 0) await_claims(owner);
  std::map<CandleKey, std::int64_t> wrong;  // the largest revision that was seen
  for (const Finding& finding : findings_) {
    if (finding.is_uncertain) continue;
    std::int64_t& largest = wrong[finding.key];
    largest = std::max(largest, finding.revision);
  }
  std::vector<proto::Kline> klines;
  std::optional<CachedReader> redis;
  if (config_.redis) redis.emplace(config_);
  for (const auto& [key, largest] : wrong) {
    const Recomputation::Entry* const entry = again_.find(key);
    if (entry != nullptr) {
      klines.push_back(expected_kline(key, entry->candle));
      klines.back().set_closed(is_closed(key));
    }
    if (!redis) continue;
    if (Status done = redis->mend(key, entry == nullptr ? nullptr : &klines.back(), largest); !done) {
      // A cache may be away; it is filled from the tables when it is back.
      complain(fmt::format("the cache was not mended: {}", done.error().message));
      redis.reset();
    }
  }
  return publishes(config_) ? publish_again(config_, klines) : Status{};
}

Result<std::size_t> Pass::repair_rows(std::uint64_t& owner) {
  // What came while the tables were compared is read before the job has to wait.
  if (const auto advanced = advance(); !advanced) return std::unexpected(advanced.error());
  RepairTransaction transaction(mysql_options(config_));
  Result<std::vector<LaneOffset>> held = retry("");
  for (int attempt = 0; attempt < kHoldAttempts; ++attempt) {
    held = transaction.hold(config_.group);
    if (held || held.error().kind != ErrorKind::kRetry) break;
    std::this_thread::sleep_for(Milliseconds(200));
  }
  if (!held) return std::unexpected(held.error());
  closed_until_ = held->empty() ? -1 : std::ranges::min(*held, {}, &LaneOffset::closed_until).closed_until;
  // The offsets stand still from here on: the rows are made for exactly them.
  const Instant begin = clock_.now();
  if (Status done = go_on(limits_of(*held)); !done) return std::unexpected(done.error());
  std::vector<CandleRow> rows;
  std::vector<CandleKey> surplus;
  for (const Finding& finding : findings_) {
    if (finding.is_uncertain || finding.where != Where::kTable) continue;
    if (const Recomputation::Entry* const entry = again_.find(finding.key)) {
      rows.push_back({finding.key, entry->candle});
    } else {
      surplus.push_back(finding.key);
    }
  }
  std::random_device random;
  owner = ((static_cast<std::uint64_t>(random()) << 31U) ^ random()) | 1U;
  const Status done = transaction.finish(config_.group, owner, rows, surplus, snapshot_.topics());
  if (!done) return std::unexpected(done.error());
  complain(fmt::format("repaired {} rows; the job's commits waited for {} ms", rows.size() + surplus.size(),
                       std::chrono::duration_cast<Milliseconds>(clock_.now() - begin).count()));
  return rows.size() + surplus.size();
}

struct Totals {
  std::int64_t rows = 0, trades = 0;
  std::size_t wrong = 0, uncertain = 0, repaired = 0, shown = 0;
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
    const Result<std::size_t> repaired = pass.repair();
    if (!repaired) {
      complain(fmt::format("could not repair: {}", repaired.error().message));
      return kCouldNot;
    }
    totals.repaired += *repaired;
  }
  conclude(arguments, totals);
  return totals.wrong == totals.repaired ? kOk : kDiffer;
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
  command->add_option("--limit", arguments->limit, "Show so many rows")->type_name("N")->capture_default_str();
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
      "user needs WATCH, MULTI and EXEC: +@transaction). A candle that was published with a larger revision than it "
      "has\n"
      "stays wrong for readers until it has more trades: exit status 1.\n"
      "\n"
      "Exit status: 0 equal (or unverifiable, or all repaired), 1 differences, 2 could not.");
  command->callback([arguments, &exit_code] { exit_code = verify(*arguments); });
  return command;
}

}  // namespace klined::app
