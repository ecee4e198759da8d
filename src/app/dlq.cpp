// `klined dlq`: what could not be used, why, and back into the input once that is mended.
#include <algorithm>
#include <charconv>
#include <limits>
#include <memory>
#include <set>
#include <thread>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "klined/app/candle_table.hpp"
#include "klined/app/commands.hpp"
#include "klined/app/rebuild_plan.hpp"
#include "klined/publish/kafka_transactions.hpp"
#include "klined/source/kafka_source.hpp"
#include "klined/source/letter_reader.hpp"
#include "klined/source/put_back_reader.hpp"
#include "klined/store/put_back_permit.hpp"
#include "klined/store/shadow_tables.hpp"
#include "klined/stream/connections.hpp"
#include "klined/stream/dead_letters.hpp"

namespace klined::app {

namespace {

constexpr Milliseconds kTimeout{10'000};
constexpr Milliseconds kNotesWait{5'000};  // MySQL ends a permit that is silent for longer than 10 s
constexpr std::int64_t kLimitMax = 1'000'000'000;
constexpr std::size_t kLettersPerTransaction = 500;
constexpr std::size_t kBytesPerTransaction = 8U << 20U;

struct DlqArguments {
  std::string config;
  std::string topic;   // of the input, or of the dead letters
  std::string reason;  // a part of the header error
  std::int32_t partition = -1;
  std::int64_t offset = -1;
  std::size_t limit = 10;
  bool all = false;
  bool done = false;
  bool dry_run = false;
};

// ---- Choosing ------------------------------------------------------------------------------------------------------

Result<std::vector<std::string>> topics_of(const Config& config, const DlqArguments& arguments) {
  std::vector<std::string> topics;
  for (const std::string& topic : config.input.topics) {
    std::string dead = dead_letter_topic(config, topic);
    const bool is_meant = arguments.topic.empty() || arguments.topic == topic || arguments.topic == dead ||
                          arguments.topic == origin_topic(topic);
    if (is_meant && std::ranges::find(topics, dead) == topics.end()) topics.push_back(std::move(dead));
  }
  if (!topics.empty()) return topics;
  return fatal(fmt::format("--topic {}: the config's input.topics are {}; name one of them, or its dead-letter topic",
                           arguments.topic, fmt::join(config.input.topics, ", ")));
}

bool is_chosen(const DlqArguments& arguments, const DeadLetters::Entry& entry) {
  return (arguments.partition < 0 || entry.partition == arguments.partition) &&
         (arguments.offset < 0 || entry.offset == arguments.offset) &&
         (arguments.reason.empty() || entry.error.find(arguments.reason) != std::string::npos) &&
         (arguments.done || !entry.is_done);
}

Result<DeadLetters> letters_of(LetterReader& reader, const std::string& topic) {
  DeadLetters letters;
  const Status read = reader.read(topic, [&letters](const Letter& letter) {
    letters.add(letter);
    return true;
  });
  if (!read) return std::unexpected(read.error());
  return letters;
}

// --partition is of at least one of the topics.
Status check_partition(const Config& config, const std::vector<std::string>& topics, std::int32_t partition) {
  const auto source = KafkaSource::open({consumer_properties(config), ""});
  if (!source) return std::unexpected(source.error());
  const auto known = (*source)->partitions_of(topics, kTimeout);
  if (!known) return std::unexpected(known.error());
  if (std::ranges::find(*known, partition, &TopicPartition::partition) != known->end()) return {};
  const std::int32_t last = std::ranges::max(*known, {}, &TopicPartition::partition).partition;
  return fatal(fmt::format("--partition {}: there is no such partition of {}; the last one is {}", partition,
                           fmt::join(topics, ", "), last));
}

std::string print_time(UnixMilliseconds time) { return time < 0 ? "unknown" : print_utc(time / 1000); }

// ---- list ----------------------------------------------------------------------------------------------------------

Status list_topic(LetterReader& reader, const std::string& topic, const DlqArguments& arguments) {
  const Result<DeadLetters> letters = letters_of(reader, topic);
  if (!letters) return std::unexpected(letters.error());
  struct Group {
    std::int64_t open = 0, done = 0;
    UnixMilliseconds oldest = 0, newest = 0;
  };
  std::map<std::string, Group> groups;
  for (const auto& [place, entry] : letters->entries()) {
    if (!arguments.reason.empty() && entry.error.find(arguments.reason) == std::string::npos) continue;
    Group& group = groups.try_emplace(reason_class(entry.error), 0, 0, entry.timestamp, entry.timestamp).first->second;
    ++(entry.is_done ? group.done : group.open);
    group.oldest = std::min(group.oldest, entry.timestamp);
    group.newest = std::max(group.newest, entry.timestamp);
  }
  std::string out =
      fmt::format("{}: {} letters\n", topic, print_count(static_cast<std::int64_t>(letters->entries().size())));
  if (!groups.empty()) {
    out += fmt::format("{:>10} {:>10}  {:<19}  {:<19}  {}\n", "open", "put back", "oldest (UTC)", "newest (UTC)",
                       "reason");
  }
  std::vector<std::pair<std::string, Group>> sorted(groups.begin(), groups.end());
  std::ranges::sort(sorted, std::less(), [](const auto& group) {
    return std::pair(-(group.second.open + group.second.done), std::string_view(group.first));
  });
  for (const auto& [reason, group] : sorted) {
    out += fmt::format("{:>10} {:>10}  {:<19}  {:<19}  {}\n", print_count(group.open), print_count(group.done),
                       print_time(group.oldest), print_time(group.newest), reason);
  }
  if (letters->strangers() > 0) {
    out += fmt::format("{:>10} records of another program\n", print_count(letters->strangers()));
  }
  return print_out(out) ? Status{} : retry("cannot write to stdout: is the disk full, or the pipe closed?");
}

// ---- show ----------------------------------------------------------------------------------------------------------

// The bytes as they are, but for what a terminal would take for a command.
std::string printable(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      fmt::format_to(std::back_inserter(text), "\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      text += c;
    }
  }
  return text;
}

Status show_topic(LetterReader& reader, const std::string& topic, const DlqArguments& arguments, std::size_t& left) {
  const Result<DeadLetters> letters = letters_of(reader, topic);
  if (!letters) return std::unexpected(letters.error());
  bool printed = true;
  const Status read = reader.read(topic, [&](const Letter& letter) {
    const auto found = letters->entries().find({letter.partition, letter.offset});
    if (found == letters->entries().end() || !is_chosen(arguments, found->second)) return true;
    if (left == 0) return false;
    --left;
    std::string out =
        fmt::format("{}/{}/{}  {}  {} bytes{}\n", topic, letter.partition, letter.offset, print_time(letter.timestamp),
                    letter.value.size(), found->second.is_done ? "  put back" : "");
    for (const auto& [name, value] : letter.headers) out += fmt::format("  {}: {}\n", name, printable(value));
    printed = print_out(out + "  " + printable(letter.value) + "\n\n");
    return printed;
  });
  if (!printed) return retry("cannot write to stdout: is the disk full, or the pipe closed?");
  return read;
}

// ---- retry ---------------------------------------------------------------------------------------------------------

// A process that hangs at its commit must not come to it when its permit is gone: the brokers have aborted the
// transaction by then (they look for such ones every 10 s).
constexpr Milliseconds kTransactionTime{20'000};
constexpr std::chrono::seconds kPermitTime{60};

KafkaProperties transaction_properties(const Config& config) {
  KafkaProperties properties = producer_properties(config);
  properties["transaction.timeout.ms"] = std::to_string(kTransactionTime.count());
  return properties;
}

MySqlOptions permit_options(const Config& config) {
  MySqlOptions options = mysql_options(config);
  options.idle_timeout = kPermitTime;
  return options;
}

// Puts the open letters that are chosen back, some in each transaction.
//
// Each trade is to count once. A record that is put back comes too late for the dedupe window; so it is put back only
// where the stored candles are known to be without the trade, and a note of it, in the same transaction, tells every
// later replay that it stands for its first place (PutBack).
class Retry {
 public:
  Retry(const Config& config, std::string topic, const DlqArguments& arguments)
      : config_(config),
        topic_(std::move(topic)),
        arguments_(arguments),
        permit_(permit_options(config), config.group) {}

  Status run(LetterReader& reader);
  std::int64_t put_back_count() const { return count_; }

 private:
  Status begin();
  Status check_no_rebuild() const;
  Status read_notes(const std::string& origin);
  void await_notes();
  bool may_go_back(const Letter& letter, const DeadLetters::Entry& entry);
  void say_what_is_left() const;
  Status put_back_one(const Letter& letter, const DeadLetters::Entry& entry);
  Status commit();

  const Config& config_;
  const std::string topic_;
  const DlqArguments& arguments_;
  PutBackPermit permit_;
  std::string tables_;  // that the letters are judged by
  std::unique_ptr<KafkaTransactions> transactions_;
  std::unique_ptr<KafkaSource> source_;
  std::string notes_;
  std::int64_t notes_end_ = 0;  // count_put_backs() behind what is committed
  PutBacks put_backs_;
  // Of letters that stay where they are, for the want of a copy that may go.
  std::set<LetterOrigin> of_other_tables_;
  std::set<LetterOrigin> not_stored_yet_;
  std::set<LetterOrigin> of_noted_messages_;
  std::size_t open_letters_ = 0;
  std::size_t open_bytes_ = 0;
  std::int64_t count_ = 0;  // committed
};

Status Retry::begin() {
  std::string origin;
  for (const std::string& topic : config_.input.topics) {
    if (dead_letter_topic(config_, topic) == topic_) origin = origin_topic(topic).value_or(topic);
  }
  if (Status checked = check_no_rebuild(); !checked) return checked;
  if (!arguments_.dry_run) {
    // From here on another retry of this topic, also of another group, can commit nothing any more, and what it
    // committed is seen below.
    auto opened =
        KafkaTransactions::open({.properties = transaction_properties(config_), .id = put_back_topic(origin)});
    if (!opened) return std::unexpected(opened.error());
    transactions_ = std::move(*opened);
  }
  if (Status permitted = permit_.begin(); !permitted) return permitted;
  tables_ = permit_.tables();
  permit_.end();
  return read_notes(origin);
}

// The rebuild would find out, and would have to begin anew.
Status Retry::check_no_rebuild() const {
  const std::string schema = config_.mysql.database + "_rebuild";
  const auto found = ShadowTables(mysql_options(config_), schema, config_.group).look();
  if (!found || found->stage != ShadowStage::kBuilding) return {};
  const std::optional<RebuildPlan> plan = parse_plan(found->plan);
  if (!plan || plan->is_dry) return {};
  return retry(
      fmt::format("a rebuild of the candles is under way (database {}): it takes in what its rules accept, and would "
                  "have to begin anew if letters were put back meanwhile; put them back when it is done, or after "
                  "DROP DATABASE {} if nobody goes on with it",
                  schema, schema));
}

Status Retry::read_notes(const std::string& origin) {
  auto source = KafkaSource::open({consumer_properties(config_), ""});
  if (!source) return std::unexpected(source.error());
  source_ = std::move(*source);
  notes_ = put_back_topic(origin);
  const Result<bool> is_there = source_->exists(notes_, kTimeout);
  if (!is_there) return std::unexpected(is_there.error());
  if (!*is_there) {
    return fatal(
        fmt::format("Kafka at {} has no topic {}, which tells replays what was put back: make it with `klined "
                    "init`",
                    config_.kafka.brokers, notes_));
  }
  const auto read = read_put_backs(*source_, notes_, origin);
  if (!read) return std::unexpected(read.error());
  put_backs_ = **read;
  const Result<std::int64_t> end = count_put_backs(*source_, {notes_});
  if (!end) return std::unexpected(end.error());
  notes_end_ = *end;
  return {};
}

// The brokers say that a transaction is committed before each partition tells its readers. Whoever replays once the
// permit has ended must read the notes: they, and the transaction's mark, are behind the end that was.
void Retry::await_notes() {
  const SystemClock clock;
  const std::int64_t end = notes_end_ + static_cast<std::int64_t>(open_letters_) + 1;
  for (const Instant until = clock.now() + kNotesWait; clock.now() < until;) {
    const Result<std::int64_t> now = count_put_backs(*source_, {notes_});
    if (now && *now >= end) {
      notes_end_ = *now;
      return;
    }
    std::this_thread::sleep_for(Milliseconds(10));
  }
  complain(
      fmt::format("{}: the notes of the last {} letters are committed, but the brokers do not show them yet: begin no "
                  "rebuild and no reset for a minute",
                  notes_, open_letters_));
}

// Whether the stored candles are without the letter's trade, and nothing stands for it.
bool Retry::may_go_back(const Letter& letter, const DeadLetters::Entry& entry) {
  const LetterOrigin& origin = entry.origin;
  const NoteSays says = note_says(put_backs_, origin, entry.attempt, letter.value);
  if (says == NoteSays::kReplaced) return false;  // a copy, or a letter of what was replaced since
  if (entry.tables.empty() || entry.tables != tables_) {
    if (!not_stored_yet_.contains(origin)) of_other_tables_.insert(origin);
    return false;
  }
  of_other_tables_.erase(origin);
  if (says == NoteSays::kUnknown) {
    of_noted_messages_.insert(origin);
    return false;
  }
  if (permit_.contains(origin.topic, origin.partition, origin.offset)) return true;
  not_stored_yet_.insert(origin);
  return false;
}

void Retry::say_what_is_left() const {
  if (!of_other_tables_.empty()) {
    complain(fmt::format(
        "{}: {} letters stay where they are: other candles than the present ones were without them (a reset, a "
        "rebuild or a repair came since, they are of another group, or of a klined that did not note it), so that "
        "their trades may "
        "count already. A replay after a reset writes letters anew of what it refuses; put back those. A rebuild takes "
        "in what its rules accept",
        topic_, of_other_tables_.size()));
  }
  if (!not_stored_yet_.empty()) {
    complain(fmt::format(
        "{}: {} letters stay where they are: the job has not stored the input up to their first places yet, and "
        "decides about them when it comes there; try again when it has (`klined offsets`)",
        topic_, not_stored_yet_.size()));
  }
  if (!of_noted_messages_.empty()) {
    complain(fmt::format(
        "{}: {} letters stay where they are: whole messages were put back at their places, of this topic "
        "or of an earlier one of that name, so that their trades may count already. A replay (`klined reset`) "
        "takes in what its rules accept",
        topic_, of_noted_messages_.size()));
  }
}

Status Retry::run(LetterReader& reader) {
  if (Status begun = begin(); !begun) return begun;
  const Result<DeadLetters> letters = letters_of(reader, topic_);
  if (!letters) return std::unexpected(letters.error());
  Status done;
  const Status read = reader.read(topic_, [&](const Letter& letter) {
    const auto found = letters->entries().find({letter.partition, letter.offset});
    if (found == letters->entries().end() || !is_chosen(arguments_, found->second)) return true;
    if (!may_go_back(letter, found->second)) return true;
    done = put_back_one(letter, found->second);
    return done.has_value();
  });
  if (done && read) done = commit();
  say_what_is_left();
  if (!done) return done;
  return read;
}

Status Retry::put_back_one(const Letter& letter, const DeadLetters::Entry& entry) {
  const LetterOrigin& origin = entry.origin;
  if (dead_letter_topic(config_, origin.topic) != topic_ || origin_topic(origin.topic)) {
    return fatal(
        fmt::format("{}/{}/{} says that it came from topic {}, whose dead letters are not here; leave it out by "
                    "--reason, --partition and --offset",
                    topic_, entry.partition, entry.offset, origin.topic));
  }
  const std::string what = fmt::format("{}/{}/{} -> {}/{} (offset {}{}): {}\n", topic_, entry.partition, entry.offset,
                                       origin.topic, origin.partition, origin.offset,
                                       origin.index ? fmt::format(" element {}", *origin.index) : "", entry.error);
  print_out(what);
  const std::int32_t attempt = next_attempt(put_backs_, origin);
  put_backs_.note(static_cast<std::uint32_t>(origin.partition), origin.offset, origin.index, attempt,
                  checksum_of(letter.value));
  if (arguments_.dry_run) {
    ++count_;
    return {};
  }
  if (!transactions_->is_open()) {
    if (Status begun = transactions_->begin(); !begun) return begun;
  }
  if (Status sent = transactions_->send(put_back(letter, origin, attempt), origin.partition); !sent) return sent;
  if (Status sent = transactions_->send(note_of(origin, attempt, letter.value)); !sent) return sent;
  if (Status sent = transactions_->send(marker_of(topic_, letter), letter.partition); !sent) return sent;
  open_bytes_ += letter.value.size();
  if (++open_letters_ < kLettersPerTransaction && open_bytes_ < kBytesPerTransaction) return {};
  return commit();
}

Status Retry::commit() {
  if (!transactions_ || !transactions_->is_open()) return {};
  Status permitted = permit_.begin();
  if (permitted && permit_.tables() != tables_) {
    permitted = retry("a reset or a rebuild came meanwhile, which decides about the letters anew");
  }
  if (!permitted) {
    return retry(
        fmt::format("{}: the last {} letters were not put back: {}", topic_, open_letters_, permitted.error().message));
  }
  const Status committed = transactions_->commit();
  if (committed) await_notes();
  permit_.end();
  if (!committed) {
    const bool is_fenced = committed.error().kind == ErrorKind::kFenced;
    return retry(fmt::format("{}: the last {} letters were not put back{}: {}; `klined dlq list` tells what is open",
                             topic_, open_letters_,
                             is_fenced                                       ? ", another retry has taken over"
                             : committed.error().kind == ErrorKind::kUnknown ? ", or perhaps they were"
                                                                             : "",
                             committed.error().message));
  }
  count_ += static_cast<std::int64_t>(open_letters_);
  open_letters_ = open_bytes_ = 0;
  return {};
}

// ---- The command line ----------------------------------------------------------------------------------------------

enum class Verb { kList, kShow, kRetry };

int dlq(Verb verb, const DlqArguments& arguments) {
  const std::optional<Config> config = load_config_or_complain(arguments.config);
  if (!config) return kUsage;
  const bool is_choice = arguments.all || !arguments.reason.empty() || arguments.partition >= 0;
  if (verb == Verb::kRetry && !is_choice) {
    return fail({ErrorKind::kFatal, "say which letters: --reason TEXT, --partition N --offset N, or --all"});
  }
  const auto topics = topics_of(*config, arguments);
  if (!topics) return fail(topics.error());
  if (arguments.partition >= 0) {
    if (Status known = check_partition(*config, *topics, arguments.partition); !known) return fail(known.error());
  }
  Result<LetterReader> reader = LetterReader::open(consumer_properties(*config));
  if (!reader) return fail(reader.error());
  std::size_t left = arguments.limit;
  std::int64_t put_back_count = 0;
  for (const std::string& topic : *topics) {
    Status status;
    switch (verb) {
      case Verb::kList: status = list_topic(*reader, topic, arguments); break;
      case Verb::kShow: status = show_topic(*reader, topic, arguments, left); break;
      case Verb::kRetry: {
        Retry retrying(*config, topic, arguments);
        status = retrying.run(*reader);
        put_back_count += retrying.put_back_count();
      }
    }
    if (!status) {
      if (verb == Verb::kRetry && !arguments.dry_run) complain(fmt::format("{} letters were put back", put_back_count));
      return fail(status.error());
    }
  }
  if (verb == Verb::kRetry) {
    print_out(fmt::format("{} letters {} put back\n", put_back_count, arguments.dry_run ? "would be" : "were"));
  }
  return kOk;
}

void add_filters(CLI::App& command, DlqArguments& arguments) {
  command.add_option("--reason", arguments.reason, "Those whose error (\"late: block_time is ...\") holds this text")
      ->type_name("TEXT");
  CLI::Option* const partition =
      command.add_option("--partition", arguments.partition, "Those of this partition of the dead-letter topic")
          ->type_name("N")
          ->check(CLI::Range(std::int32_t{0}, std::numeric_limits<std::int32_t>::max()));
  command.add_option("--offset", arguments.offset, "The one at this offset of it")
      ->type_name("N")
      ->check(CLI::Range(std::int64_t{0}, std::numeric_limits<std::int64_t>::max()))
      ->needs(partition);
}

CLI::App* add_verb(CLI::App& parent, const std::string& name, const std::string& text, DlqArguments& arguments) {
  CLI::App* const command = parent.add_subcommand(name, text);
  add_config_option(*command, arguments.config);
  command->add_option("--topic", arguments.topic, "Of this input or dead-letter topic alone; else of all in the config")
      ->type_name("TOPIC");
  return command;
}

}  // namespace

CLI::App* add_dlq(CLI::App& parent, int& exit_code) {
  auto arguments = std::make_shared<DlqArguments>();
  CLI::App* const command = parent.add_subcommand(
      "dlq",
      "Dead letters: what there is and why, and back into the input\n"
      "\n"
      "Trades that cannot be used lie in <topic>-dlq, byte for byte. `list` counts them by reason, `show` prints "
      "them,\n"
      "and `retry` puts them back once the reason is gone (what was in the future has come to pass, say, or a klined\n"
      "that refused good trades was replaced).");
  command->require_subcommand(1);
  CLI::App* const list = add_verb(*command, "list", "Counts by reason, with the oldest and the newest", *arguments);
  list->add_option("--reason", arguments->reason, "Those whose error holds this text")->type_name("TEXT");
  set_manual(*list, "  klined dlq list -c klined.yaml\n",
             "Numbers in reasons are shown as N, so that like ones count together.\n");
  list->callback([arguments, &exit_code] { exit_code = dlq(Verb::kList, *arguments); });

  CLI::App* const show = add_verb(*command, "show", "Prints letters: place, headers, bytes", *arguments);
  add_filters(*show, *arguments);
  show->add_option("--limit", arguments->limit, "At most so many")
      ->type_name("N")
      ->check(CLI::Range(std::int64_t{0}, kLimitMax))
      ->capture_default_str();
  show->add_flag("--done", arguments->done, "Those that were put back too");
  set_manual(*show,
             "  klined dlq show -c klined.yaml --reason 'invalid: total_usd' --limit 3\n"
             "  klined dlq show -c klined.yaml --topic sol-trades --partition 2 --offset 17\n",
             "Control characters are printed as \\xNN, all else as it is.\n");
  show->callback([arguments, &exit_code] { exit_code = dlq(Verb::kShow, *arguments); });

  CLI::App* const retry_command =
      add_verb(*command, "retry", "Puts letters back into their input topic, once", *arguments);
  add_filters(*retry_command, *arguments);
  retry_command->add_flag("--all", arguments->all, "All that are open");
  retry_command->add_flag("--dry-run", arguments->dry_run, "Only say which");
  set_manual(
      *retry_command,
      "  klined dlq retry -c klined.yaml --reason future --dry-run\n"
      "  klined dlq retry -c klined.yaml --reason future\n",
      "A letter goes to the partition that it came from, with a header klined-origin that tells its first place: a "
      "trade\n"
      "stands in its candle as if it had been good at once, and what fails again is a dead letter again. In the same\n"
      "transaction a marker (header klined-retried) goes to the dead-letter topic, so that a letter is put back once, "
      "also\n"
      "where two retry at the same time: the later one stops the earlier. Its own time is that of putting back, which\n"
      "decides about \"future\"; about \"late\" and \"duplicate\" decides the partition's clock of now.\n"
      "A note of it in <topic>-put-back (made by `klined init`) tells every replay (`reset`, `rebuild`, `verify`) that "
      "it\n"
      "stands for its first place, so that the trade counts once, whatever the rules are by then. Mend first.\n"
      "\n"
      "A letter stays where it is, with a word that says why, where its trade may count already: the present tables "
      "have\n"
      "not written it (a reset, a rebuild or a repair came since), or the job has not stored the input up to its first "
      "place.\n"
      "Nothing is put back while a rebuild is under way.\n"
      "All groups that read the input topic read what one puts back: one that has accepted the trade counts it twice.\n"
      "With ACLs: READ and WRITE on <topic>-put-back, WRITE on the input topics, the dead-letter topics and the\n"
      "transactional id <topic>-put-back.\n");
  retry_command->callback([arguments, &exit_code] { exit_code = dlq(Verb::kRetry, *arguments); });
  set_manual(*command,
             "  klined dlq list -c klined.yaml\n"
             "  klined dlq show -c klined.yaml --reason late\n"
             "  klined dlq retry -c klined.yaml --reason future\n");
  return command;
}

}  // namespace klined::app
