#include "klined/source/group_membership.hpp"

#include <pthread.h>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <librdkafka/rdkafka.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "klined/base/kafka_client.hpp"

namespace klined {

namespace {

constexpr const char* kRole = "the member of the consumer group";
constexpr int kPollMs = 100;
constexpr Milliseconds kLostCheck{100};
constexpr Milliseconds kLeaveLimit{3'000};
constexpr std::int64_t kSmallestPollInterval = 300'000;

KafkaProperties defaults() {
  return {
      // A process that died is missed after this long, and its partitions go to the others.
      {"session.timeout.ms", "10000"},
      {"heartbeat.interval.ms", "2000"},
      {"client.id", "klined"},
      {"reconnect.backoff.ms", "50"},
      {"reconnect.backoff.max.ms", "1000"},
      {"socket.keepalive.enable", "true"},
      {"log.connection.close", "false"},
      {"topic.metadata.refresh.interval.ms", "10000"},
      // All partitions are paused at once: what little is fetched before is thrown away.
      {"queued.min.messages", "1"},
      {"queued.max.messages.kbytes", "64"},
  };
}

// What the protocol of this class needs, whatever the config says.
void fix(KafkaProperties& properties, const GroupMembershipOptions& options) {
  properties["group.id"] = options.group;
  properties["partition.assignment.strategy"] = "range";
  properties["enable.auto.commit"] = "false";
  properties["enable.auto.offset.store"] = "false";
  properties["enable.partition.eof"] = "false";
  properties["auto.offset.reset"] = "latest";
  // The rebalance's callback waits for the hand-over, and nothing is polled meanwhile.
  const std::int64_t needed = 2 * options.hand_over_timeout.count() + 60'000;
  properties["max.poll.interval.ms"] = std::to_string(std::max(kSmallestPollInterval, needed));
}

struct ListDeleter {
  void operator()(rd_kafka_topic_partition_list_t* list) const { rd_kafka_topic_partition_list_destroy(list); }
};
using PartitionList = std::unique_ptr<rd_kafka_topic_partition_list_t, ListDeleter>;

std::string describe(const std::vector<TopicPartition>& partitions) {
  std::string text;
  for (const TopicPartition& partition : partitions) {
    fmt::format_to(std::back_inserter(text), "{}{}[{}]", text.empty() ? "" : " ", partition.topic, partition.partition);
  }
  return text.empty() ? "none" : text;
}

bool is_refusal(rd_kafka_resp_err_t code) {
  return code == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED || code == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID ||
         code == RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL || code == RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT ||
         code == RD_KAFKA_RESP_ERR__FATAL;
}

}  // namespace

struct GroupMembership::State {
  explicit State(const GroupMembershipOptions& given)
      : options(given), watch(kRole, "shares stay as they are", kafka_brokers(given.properties)) {}

  void run(const std::stop_token& stop);
  void rebalance(rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t* list);
  void give(const rd_kafka_topic_partition_list_t& list);
  std::shared_ptr<const rd_kafka_consumer_group_metadata_t> current_member() const;
  void take_back();
  void take_error(rd_kafka_resp_err_t code, std::string_view text);
  void leave();

  const GroupMembershipOptions options;
  BrokerWatch watch;
  SystemClock clock;
  std::shared_ptr<KafkaClient> client;

  mutable std::mutex mutex;  // guards what follows
  std::condition_variable changed;
  std::optional<Share> share;
  std::uint64_t shares = 0;
  bool held = false;
  bool closing = false;
  Demand demand = Demand::kNone;
  std::optional<Error> failure;

  std::jthread thread;  // the last: it ends first
};

GroupMembership::GroupMembership(std::unique_ptr<State> state) : state_(std::move(state)) {}

Result<std::unique_ptr<GroupMembership>> GroupMembership::open(const GroupMembershipOptions& options) {
  auto state = std::make_unique<State>(options);
  KafkaProperties properties = options.properties;
  fix(properties, options);
  Result<KafkaConf> conf = make_kafka_conf(defaults(), properties);
  if (!conf) return std::unexpected(conf.error());
  rd_kafka_conf_set_opaque(conf->get(), state.get());
  rd_kafka_conf_set_error_cb(conf->get(), [](rd_kafka_t*, int code, const char* text, void* opaque) {
    static_cast<State*>(opaque)->take_error(static_cast<rd_kafka_resp_err_t>(code), text);
  });
  rd_kafka_conf_set_rebalance_cb(
      conf->get(), [](rd_kafka_t*, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t* list, void* opaque) {
        static_cast<State*>(opaque)->rebalance(code, list);
      });
  rd_kafka_conf_set_offset_commit_cb(
      conf->get(), [](rd_kafka_t*, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t*, void*) {
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR && code != RD_KAFKA_RESP_ERR__NO_OFFSET)
          spdlog::debug("the group's offsets, for lag tools only, were not committed: {}", rd_kafka_err2str(code));
      });
  auto client = KafkaClient::open(RD_KAFKA_CONSUMER, std::move(*conf), kRole);
  if (!client) return std::unexpected(client.error());
  state->client = std::move(*client);
  rd_kafka_poll_set_consumer(state->client->get());

  const PartitionList topics(rd_kafka_topic_partition_list_new(static_cast<int>(options.topics.size())));
  for (const std::string& topic : options.topics) {
    rd_kafka_topic_partition_list_add(topics.get(), topic.c_str(), RD_KAFKA_PARTITION_UA);
  }
  const auto code = rd_kafka_subscribe(state->client->get(), topics.get());
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
    return fatal(fmt::format("group {} cannot be joined: {}", options.group, rd_kafka_err2str(code)));
  State* const raw = state.get();
  state->thread = std::jthread([raw](const std::stop_token& stop) { raw->run(stop); });
  return std::unique_ptr<GroupMembership>(new GroupMembership(std::move(state)));
}

GroupMembership::~GroupMembership() {
  {
    const std::scoped_lock lock(state_->mutex);
    state_->closing = true;
  }
  state_->changed.notify_all();
  state_->thread.request_stop();
  state_->thread.join();
}

// ---- The member's thread -------------------------------------------------------------------------------------------

void GroupMembership::State::run(const std::stop_token& stop) {
  pthread_setname_np(pthread_self(), "member");
  while (!stop.stop_requested()) {
    watch.check(client->get());
    rd_kafka_message_t* const message = rd_kafka_consumer_poll(client->get(), kPollMs);
    if (message == nullptr) continue;
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) take_error(message->err, rd_kafka_message_errstr(message));
    rd_kafka_message_destroy(message);
  }
  leave();
}

void GroupMembership::State::take_error(rd_kafka_resp_err_t code, std::string_view text) {
  if (!is_refusal(code)) return watch.on_error(code, text);
  const std::scoped_lock lock(mutex);
  if (failure) return;
  failure = Error{ErrorKind::kFatal,
                  fmt::format("the brokers refuse this process as a member of consumer group {}: {}; grant READ on the "
                              "group, and give each process a group.instance.id of its own or none",
                              options.group, text)};
}

void GroupMembership::State::rebalance(rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t* list) {
  if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) return give(*list);
  take_back();
  rd_kafka_assign(client->get(), nullptr);
}

// The metadata is taken while the group waits for us: it is of the generation that gives the share, unless that is lost
// already.
std::shared_ptr<const rd_kafka_consumer_group_metadata_t> GroupMembership::State::current_member() const {
  std::shared_ptr<const rd_kafka_consumer_group_metadata_t> member(
      rd_kafka_consumer_group_metadata(client->get()), [](const rd_kafka_consumer_group_metadata_t* metadata) {
        rd_kafka_consumer_group_metadata_destroy(const_cast<rd_kafka_consumer_group_metadata_t*>(metadata));  // NOLINT
      });
  char* const id = rd_kafka_memberid(client->get());
  const bool is_member = id != nullptr && *id != '\0' && rd_kafka_assignment_lost(client->get()) == 0;
  if (id != nullptr) rd_kafka_mem_free(client->get(), id);
  return is_member ? member : nullptr;
}

void GroupMembership::State::give(const rd_kafka_topic_partition_list_t& list) {
  Share given;
  given.member = current_member();
  for (int i = 0; i < list.cnt; ++i) given.partitions.push_back({list.elems[i].topic, list.elems[i].partition});
  std::ranges::sort(given.partitions);
  const PartitionList paused(rd_kafka_topic_partition_list_copy(&list));
  for (int i = 0; i < paused->cnt; ++i) paused->elems[i].offset = RD_KAFKA_OFFSET_END;
  rd_kafka_assign(client->get(), paused.get());
  rd_kafka_pause_partitions(client->get(), paused.get());
  spdlog::info("group {}: this process's share is now {}", options.group, describe(given.partitions));
  {
    const std::scoped_lock lock(mutex);
    given.number = ++shares;
    share = std::move(given);
    // Who still holds a lost share learns that first.
    if (!held) demand = Demand::kNone;
  }
  changed.notify_all();
}

void GroupMembership::State::take_back() {
  const auto is_lost = [this] { return rd_kafka_assignment_lost(client->get()) != 0; };
  std::unique_lock lock(mutex);
  share.reset();
  if (held && !closing) {
    demand = is_lost() ? Demand::kLost : Demand::kHandOver;
    if (demand == Demand::kHandOver) {
      spdlog::info("group {}: the partitions are divided anew, handing over", options.group);
    } else {
      spdlog::warn("group {}: this process was silent for too long, and has lost its share", options.group);
    }
  }
  const Instant limit = clock.now() + options.hand_over_timeout;
  while (held && demand == Demand::kHandOver && !closing) {
    changed.wait_for(lock, kLostCheck);
    if (!held || closing) break;
    if (!is_lost() && clock.now() < limit) continue;
    demand = Demand::kLost;
    spdlog::warn("group {}: the share was not handed over in time", options.group);
  }
}

// In the background, with a limit: a group whose coordinator is away is left without a word, and notices by itself.
void GroupMembership::State::leave() {
  rd_kafka_queue_t* const queue = rd_kafka_queue_new(client->get());
  rd_kafka_error_t* const error = rd_kafka_consumer_close_queue(client->get(), queue);
  if (error != nullptr) {
    rd_kafka_error_destroy(error);
  } else {
    const Instant limit = clock.now() + kLeaveLimit;
    while (rd_kafka_consumer_closed(client->get()) == 0 && clock.now() < limit) rd_kafka_queue_poll_callback(queue, 20);
  }
  rd_kafka_queue_destroy(queue);
}

// ---- The job's side ------------------------------------------------------------------------------------------------

std::optional<GroupMembership::Share> GroupMembership::take(Milliseconds timeout) {
  std::unique_lock lock(state_->mutex);
  state_->changed.wait_for(lock, timeout, [this] { return state_->share.has_value(); });
  if (!state_->share) return std::nullopt;
  state_->held = true;
  state_->demand = Demand::kNone;
  return state_->share;
}

GroupMembership::Demand GroupMembership::demand() const {
  const std::scoped_lock lock(state_->mutex);
  return state_->demand;
}

void GroupMembership::release() {
  {
    const std::scoped_lock lock(state_->mutex);
    state_->held = false;
    state_->demand = Demand::kNone;
  }
  state_->changed.notify_all();
}

Result<std::map<TopicPartition, GroupMembership::Committed>> GroupMembership::committed(
    const std::vector<TopicPartition>& partitions, Milliseconds timeout) {
  const PartitionList list(rd_kafka_topic_partition_list_new(static_cast<int>(partitions.size())));
  for (const TopicPartition& partition : partitions) {
    rd_kafka_topic_partition_list_add(list.get(), partition.topic.c_str(), partition.partition);
  }
  auto code = rd_kafka_committed(state_->client->get(), list.get(), static_cast<int>(timeout.count()));
  std::map<TopicPartition, Committed> places;
  for (int i = 0; i < list->cnt && code == RD_KAFKA_RESP_ERR_NO_ERROR; ++i) {
    const rd_kafka_topic_partition_t& entry = list->elems[i];
    code = entry.err;
    if (entry.offset < 0) continue;
    places[{entry.topic, entry.partition}] = {
        entry.offset, std::string(static_cast<const char*>(entry.metadata), entry.metadata_size)};
  }
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return places;
  if (const auto refused = failure()) return std::unexpected(*refused);
  return retry(fmt::format("asking what group {} has committed: {}", state_->options.group, rd_kafka_err2str(code)));
}

void GroupMembership::commit_for_tools(const std::map<TopicPartition, std::int64_t>& next_offsets) {
  if (next_offsets.empty() || state_->watch.away()) return;
  const PartitionList list(rd_kafka_topic_partition_list_new(static_cast<int>(next_offsets.size())));
  for (const auto& [partition, offset] : next_offsets) {
    rd_kafka_topic_partition_list_add(list.get(), partition.topic.c_str(), partition.partition)->offset = offset;
  }
  rd_kafka_commit(state_->client->get(), list.get(), 1);
}

std::optional<Error> GroupMembership::failure() const {
  const std::scoped_lock lock(state_->mutex);
  return state_->failure ? state_->failure : state_->watch.refusal();
}

UnixMilliseconds GroupMembership::last_error_ms() const { return state_->watch.last_error_ms(); }

}  // namespace klined
