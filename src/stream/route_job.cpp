#include "klined/stream/route_job.hpp"

#include <algorithm>
#include <random>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include "klined/aggregate/partition_progress.hpp"
#include "klined/base/backoff.hpp"
#include "klined/core/clocks_text.hpp"
#include "klined/publish/kafka_admin.hpp"
#include "klined/stream/routing.hpp"

namespace klined {

namespace {

constexpr Milliseconds kKafkaTimeout{10'000};
constexpr Milliseconds kHandOverTimeout{25'000};  // longer than a transaction may take
constexpr Milliseconds kShareWait{200};
constexpr Milliseconds kPollWait{50};
constexpr Milliseconds kTransactionTime{100};
constexpr std::int64_t kTransactionRecords = 10'000;
constexpr std::int64_t kTransactionBytes = 32 << 20;
constexpr std::size_t kBatchMessages = 500;
constexpr std::size_t kBatchBytes = 4U << 20U;
constexpr Milliseconds kWatchInterval{1'000};
constexpr Milliseconds kReportInterval{60'000};
constexpr std::string_view kNoteMark = "klined-clocks=";

std::vector<std::string> origin_topics(const Config& config) {
  std::vector<std::string> topics;
  for (const std::string& topic : config.input.topics) topics.push_back(origin_topic(topic).value_or(topic));
  std::ranges::sort(topics);
  const auto repeated = std::ranges::unique(topics);
  topics.erase(repeated.begin(), repeated.end());
  return topics;
}

// Of this process's life: after a crash another one's transaction is not its own to settle, the brokers abort it.
std::string new_producer_id(const std::string& group) {
  std::random_device random;
  return fmt::format("{}-{:08x}{:08x}", group, random(), random());
}

}  // namespace

std::string note_of(const ChainClocks& clocks) { return fmt::format("{}{}", kNoteMark, clocks_text(clocks)); }

std::optional<ChainClocks> clocks_of_note(std::string_view note) {
  if (!note.starts_with(kNoteMark)) return std::nullopt;
  return parse_clocks(note.substr(kNoteMark.size()));
}

RouteJob::Counts& RouteJob::Counts::operator+=(const Counts& other) {
  messages += other.messages;
  bytes += other.bytes;
  records += other.records;
  transactions += other.transactions;
  routed += other.routed;
  ignored += other.ignored;
  no_price += other.no_price;
  return *this;
}

struct RouteJob::Session {
  const GroupMembership::Share& share;
  std::unique_ptr<KafkaSource> source;
  std::map<LogId, TopicPartition> partitions;
  std::map<LogId, RoutePlace> places;  // behind what was read
  std::map<LogId, RoutePlace> moved;   // of the open transaction: the places behind it
  Counts open;                         // in the open transaction
  Instant commit_at{};
  Instant watched_at{};
};

RouteJob::RouteJob(const Config& config, const Clock& clock, Metrics& metrics)
    : config_(config),
      clock_(clock),
      metrics_(metrics),
      partition_watch_(metrics),
      group_(config.group + "-route"),
      producer_id_(new_producer_id(group_)),
      topics_(origin_topics(config)),
      decoder_(TradeRules{config.chains, Milliseconds(config.input.max_future).count()}) {}

RouteJob::~RouteJob() = default;

// Calls until it works or fails for good. An error to retry comes only where the session must end.
template <typename Call>
auto RouteJob::persist(const char* what, Call call) -> decltype(call()) {
  Backoff backoff(Milliseconds(200), Milliseconds(5000));
  bool logged = false;
  while (true) {
    auto result = call();
    if (result || result.error().kind == ErrorKind::kFatal) {
      if (logged && result) spdlog::info("{} works again", what);
      return result;
    }
    if (!logged) spdlog::warn("{} does not work yet: {}; trying again until it does", what, result.error().message);
    logged = true;
    const Instant until = clock_.now() + backoff.next();
    while (clock_.now() < until) {
      if (must_end()) return retry(fmt::format("{}: the share is asked for, or the process stops", what));
      std::this_thread::sleep_for(Milliseconds(20));
    }
  }
}

bool RouteJob::must_end() const {
  return stopping_ || (membership_ && membership_->demand() != GroupMembership::Demand::kNone);
}

// ---- Sessions ------------------------------------------------------------------------------------------------------

Status RouteJob::run() {
  if (Status status = persist("the check of the topics", [this] { return check_topics(); }); !status) {
    return stopping_ ? Status{} : status;
  }
  auto joined = GroupMembership::open({.properties = consumer_properties(config_),
                                       .group = group_,
                                       .topics = topics_,
                                       .hand_over_timeout = kHandOverTimeout});
  if (!joined) return std::unexpected(joined.error());
  membership_ = std::move(*joined);
  spdlog::info("routing: group={} topics={}", group_, fmt::join(topics_, ","));
  reported_at_ = clock_.now();
  Status status;
  Backoff backoff(Milliseconds(200), Milliseconds(5000));
  while (!stopping_ && status) {
    if (const std::optional<Error> failure = membership_->failure()) {
      status = std::unexpected(*failure);
      break;
    }
    const std::optional<GroupMembership::Share> share = membership_->take(kShareWait);
    if (!share) continue;
    if (share->partitions.empty() || !share->member) {  // more processes than partitions; or lost before it came
      membership_->release();
      std::this_thread::sleep_for(kShareWait);
      continue;
    }
    metrics_.active.Set(1);
    Result<SessionEnd> end = SessionEnd::kAgain;
    while (end && *end == SessionEnd::kAgain && !must_end()) {
      const std::int64_t transactions = counted_.transactions;
      end = run_session(*share);
      if (!end || *end != SessionEnd::kAgain) break;
      if (counted_.transactions != transactions) backoff.reset();
      for (const Instant until = clock_.now() + backoff.next(); clock_.now() < until && !must_end();) {
        std::this_thread::sleep_for(Milliseconds(20));
      }
    }
    partition_watch_.forget(share->partitions);
    metrics_.active.Set(0);
    membership_->release();
    if (!end) status = std::unexpected(end.error());
  }
  producer_.reset();
  membership_.reset();  // leaves the group: the others need not wait for the session's timeout
  report();
  if (status) spdlog::info("stopped cleanly");
  return status;
}

Status RouteJob::check_topics() {
  const Result<std::unique_ptr<KafkaAdmin>> admin = KafkaAdmin::open(admin_properties(config_));
  if (!admin) return std::unexpected(admin.error());
  std::string missing;
  for (const std::string& origin : topics_) {
    for (const std::string& topic : {origin, routed_topic(origin)}) {
      const Result<std::optional<int>> partitions = (*admin)->partitions_of(topic, kKafkaTimeout);
      if (!partitions) return std::unexpected(partitions.error());
      if (!*partitions) missing += (missing.empty() ? "" : ", ") + topic;
    }
  }
  if (missing.empty()) return {};
  return fatal(
      fmt::format("Kafka at {} has no topic {}: make the routed topics with `klined init --by-pair` (input "
                  "topics: --input-topics)",
                  config_.kafka.brokers, missing));
}

// An earlier producer's transaction is settled first, so that what is committed is known.
Status RouteJob::open_producer() {
  if (producer_) return {};
  auto opened = persist("the start of the transactional producer", [this] {
    return KafkaTransactions::open({.properties = producer_properties(config_), .id = producer_id_});
  });
  if (!opened) return std::unexpected(opened.error());
  producer_ = std::move(*opened);
  return {};
}

Result<RouteJob::SessionEnd> RouteJob::run_session(const GroupMembership::Share& share) {
  const auto ended = [](const Error& error) -> Result<SessionEnd> {
    if (error.kind == ErrorKind::kRetry) return SessionEnd::kAgain;
    return std::unexpected(error);
  };
  if (const Status status = open_producer(); !status) return ended(status.error());
  Session session{.share = share, .source = {}, .partitions = {}, .places = {}, .moved = {}, .open = {}};
  Result<std::unique_ptr<KafkaSource>> source = KafkaSource::open({consumer_properties(config_), group_});
  if (!source) return std::unexpected(source.error());
  session.source = std::move(*source);
  auto places = persist("reading what the group has committed", [&] { return find_places(session); });
  if (!places) return ended(places.error());
  if (Status status = place_readers(session, std::move(*places)); !status) return std::unexpected(status.error());
  return route(session);
}

// ---- Where reading goes on -----------------------------------------------------------------------------------------

Result<bool> RouteJob::holds_records(KafkaSource& source, const std::string& topic) {
  const auto partitions = source.partitions_of({topic}, kKafkaTimeout);
  if (!partitions) return std::unexpected(partitions.error());
  for (const TopicPartition& partition : *partitions) {
    const Result<OffsetRange> range = source.range_of(partition, kKafkaTimeout);
    if (!range) return std::unexpected(range.error());
    if (range->high > 0) return true;
  }
  return false;
}

// Where the group begins. A partition that joins a topic of which something is committed begins at its beginning: all
// that it holds came after the topic was taken on.
Result<RoutePlace> RouteJob::first_place(KafkaSource& source, const TopicPartition& partition) {
  RoutePlace place;
  if (config_.input.start.kind == StartAt::Kind::kTime) {
    const Result<std::int64_t> at = source.offset_at(partition, config_.input.start.time, kKafkaTimeout);
    if (!at) return std::unexpected(at.error());
    place.next_offset = *at;
    return place;
  }
  const Result<OffsetRange> range = source.range_of(partition, kKafkaTimeout);
  if (!range) return std::unexpected(range.error());
  place.next_offset = config_.input.start.kind == StartAt::Kind::kLatest ? range->high : range->low;
  return place;
}

// The routed topics are looked at before the offsets: who writes commits the places first, so records without any
// committed offset mean that the offsets were lost, and never that another process has begun meanwhile.
Result<RouteJob::Places> RouteJob::find_places(Session& session) {
  std::map<std::string, bool> begun;
  for (const std::string& topic : topics_) {
    const Result<bool> holds = holds_records(*session.source, routed_topic(topic));
    if (!holds) return std::unexpected(holds.error());
    begun[topic] = *holds;
  }
  const auto all = session.source->partitions_of(topics_, kKafkaTimeout);
  if (!all) return std::unexpected(all.error());
  const auto committed = membership_->committed(*all, kKafkaTimeout);
  if (!committed) return std::unexpected(committed.error());
  Places places;
  for (const TopicPartition& partition : session.share.partitions) {
    const auto found = committed->find(partition);
    if (found != committed->end()) {
      const std::optional<ChainClocks> clocks = clocks_of_note(found->second.note);
      if (!clocks) {
        return fatal(fmt::format(
            "group {} has committed offset {} of {} partition {} without the clocks of that place: it was moved by "
            "another program; routing from there would decide late trades wrong. Start over: delete the group's "
            "offsets (kafka-consumer-groups.sh --delete) and make topic {} anew",
            group_, found->second.next_offset, partition.topic, partition.partition, routed_topic(partition.topic)));
      }
      places[partition] = {found->second.next_offset, *clocks};
      continue;
    }
    const bool joins = std::ranges::any_of(
        *committed, [&partition](const auto& entry) { return entry.first.topic == partition.topic; });
    if (!joins && begun.at(partition.topic)) {
      return fatal(fmt::format(
          "group {} has no committed offsets of topic {}, but topic {} holds records already: routing from the start "
          "would write them again. Delete and make {} anew (and `klined reset` its reader), or bring back the offsets",
          group_, partition.topic, routed_topic(partition.topic), routed_topic(partition.topic)));
    }
    Result<RoutePlace> first = first_place(*session.source, partition);
    if (!first) return std::unexpected(first.error());
    places[partition] = std::move(*first);
  }
  return places;
}

Status RouteJob::place_readers(Session& session, Places places) {
  std::vector<Assignment> assignments;
  for (auto& [partition, place] : places) {
    const auto rank = static_cast<std::uint32_t>(std::ranges::find(topics_, partition.topic) - topics_.begin());
    const LogId log(rank, static_cast<std::uint32_t>(partition.partition));
    // Put-back dead letters stand for messages of the same topic.
    assignments.push_back({partition, log, place.next_offset, partition.topic, rank});
    spdlog::info("{} partition {}: routing from offset {}, clocks {}", partition.topic, partition.partition,
                 place.next_offset, place.clocks.empty() ? "none" : clocks_text(place.clocks));
    session.partitions[log] = partition;
    session.places[log] = std::move(place);
  }
  return session.source->assign(assignments);
}

// ---- Routing -------------------------------------------------------------------------------------------------------

Result<RouteJob::SessionEnd> RouteJob::route(Session& session) {
  // The places themselves come first (see find_places).
  if (const Status begun = producer_->begin(); !begun) return give_up(begun.error());
  session.moved = session.places;
  if (const Status committed = commit(session); !committed) return give_up(committed.error());
  while (true) {
    const GroupMembership::Demand demand = membership_->demand();
    if (demand == GroupMembership::Demand::kLost) return end_session(session, SessionEnd::kLost);
    if (demand == GroupMembership::Demand::kHandOver) return end_session(session, SessionEnd::kHandedOver);
    if (stopping_) return end_session(session, SessionEnd::kStopped);
    const Instant now = clock_.now();
    Milliseconds wait = kPollWait;
    if (producer_->is_open()) {
      wait = std::clamp(std::chrono::ceil<Milliseconds>(session.commit_at - now), Milliseconds(0), kPollWait);
    }
    const Result<MessageBatch> batch = session.source->poll(wait, kBatchMessages, kBatchBytes);
    if (!batch) return std::unexpected(batch.error());
    if (const Status taken = take_in(session, *batch); !taken) return give_up(taken.error());
    const bool is_due = clock_.now() >= session.commit_at || session.open.records >= kTransactionRecords ||
                        session.open.bytes >= kTransactionBytes;
    if (producer_->is_open() && is_due) {
      if (const Status committed = commit(session); !committed) return give_up(committed.error());
    }
    if (clock_.now() - session.watched_at >= kWatchInterval) watch(session);
  }
}

Status RouteJob::take_in(Session& session, const MessageBatch& batch) {
  DecodedMessage decoded;
  for (const Message& message : batch.messages) {
    if (!producer_->is_open()) {
      if (Status begun = producer_->begin(); !begun) return begun;
      session.commit_at = clock_.now() + kTransactionTime;
    }
    decoder_.decode(message, decoded);
    const TopicPartition& partition = session.partitions.at(message.log);
    if (decoded.contradicts_origin) {
      return fatal(
          fmt::format("{} partition {} offset {}: its header klined-indexes names another number of elements than it "
                      "has: who wrote it is broken",
                      partition.topic, partition.partition, message.offset));
    }
    RoutePlace& place = session.places.at(message.log);
    for (const Trade& trade : decoded.trades) raise_clock(place.clocks, trade.chain, trade.position.block_time);
    place.next_offset = message.offset + 1;
    session.moved[message.log] = {};
    if (Status sent = send(session, divide_by_pair(partition.topic, message, decoded, place.clocks)); !sent)
      return sent;
    ++session.open.messages;
    session.open.routed += static_cast<std::int64_t>(decoded.trades.size() + decoded.bad.size()) +
                           decoded.unlisted_invalid + decoded.unlisted_future + (decoded.dead() ? 1 : 0);
    session.open.ignored += decoded.ignored;
    session.open.no_price += decoded.no_price;
    while (decoded.next_bad != 0) {
      decoder_.decode(message, decoded, decoded.next_bad);
      if (Status sent = send(session, divide_bad(partition.topic, message, decoded, place.clocks)); !sent) return sent;
    }
    metrics_.input_bytes.Increment(static_cast<double>(message.value.size()));
  }
  return {};
}

Status RouteJob::send(Session& session, const std::vector<Publication>& records) {
  for (const Publication& record : records) {
    if (Status sent = producer_->send(record); !sent) return sent;
    ++session.open.records;
    session.open.bytes += static_cast<std::int64_t>(record.value.size());
  }
  return {};
}

Status RouteJob::commit(Session& session) {
  std::vector<ReadPlace> places;
  for (const auto& [log, ignored] : session.moved) {
    const TopicPartition& partition = session.partitions.at(log);
    const RoutePlace& place = session.places.at(log);
    places.push_back({partition.topic, partition.partition, place.next_offset, note_of(place.clocks)});
  }
  const Instant began = clock_.now();
  if (Status committed = producer_->commit(places, session.share.member.get()); !committed) return committed;
  if (std::exchange(is_failing_, false)) spdlog::info("transactions are committed again");
  metrics_.flush_duration.Observe(std::chrono::duration<double>(clock_.now() - began).count());
  metrics_.commits.Increment();
  session.open.transactions = 1;
  counted_ += session.open;
  metrics_.messages.Increment(static_cast<double>(session.open.messages));
  metrics_.trades("routed").Increment(static_cast<double>(session.open.routed));
  metrics_.trades("ignored").Increment(static_cast<double>(session.open.ignored));
  metrics_.trades("no_price").Increment(static_cast<double>(session.open.no_price));
  session.open = {};
  session.moved.clear();
  return {};
}

Result<RouteJob::SessionEnd> RouteJob::end_session(Session& session, SessionEnd end) {
  if (end == SessionEnd::kLost) {
    spdlog::warn("group {}: what was not committed is given up, its next reader reads it again", group_);
    if (producer_->is_open() && !producer_->abort()) producer_.reset();
    return end;
  }
  if (producer_->is_open()) {
    if (const Status committed = commit(session); !committed) {
      // Nothing is lost: the next reader begins at what is committed.
      const Result<SessionEnd> again = give_up(committed.error());
      if (!again) return again;
    }
  }
  return end;
}

Result<RouteJob::SessionEnd> RouteJob::give_up(const Error& error) {
  if (error.kind == ErrorKind::kFatal) return std::unexpected(error);
  if (!std::exchange(is_failing_, true)) {
    spdlog::warn("a transaction came to nothing: {}; routing goes on from what is committed", error.message);
  }
  metrics_.retries("kafka_out").Increment();
  metrics_.last_error_timestamp_seconds("kafka_out").Set(static_cast<double>(clock_.wall_seconds()));
  if (error.kind != ErrorKind::kRetry || !producer_->abort()) producer_.reset();
  return SessionEnd::kAgain;
}

// ---- What it tells -------------------------------------------------------------------------------------------------

void RouteJob::watch(Session& session) {
  session.watched_at = clock_.now();
  for (const auto& [log, partition] : session.partitions) {
    partition_watch_.look(*session.source, log, partition, session.places.at(log).next_offset, true,
                          session.watched_at);
  }
  if (clock_.now() - reported_at_ >= kReportInterval) report();
}

void RouteJob::report() {
  spdlog::info("routed: messages={} trades={} into records={}; ignored={} no_price={} transactions={}",
               counted_.messages, counted_.routed, counted_.records, counted_.ignored, counted_.no_price,
               counted_.transactions);
  counted_ = {};
  reported_at_ = clock_.now();
}

}  // namespace klined
