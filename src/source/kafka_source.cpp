#include "klined/source/kafka_source.hpp"

#include <fmt/format.h>
#include <librdkafka/rdkafka.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

#include "broker_questions.hpp"
#include "klined/base/assertion.hpp"
#include "klined/base/kafka_client.hpp"
#include "klined/source/record_headers.hpp"
#include "reading_defaults.hpp"

namespace klined {

namespace {

constexpr const char* kRole = "the kafka consumer";
constexpr std::size_t kChunk = 1024;            // records asked of librdkafka at once
constexpr std::size_t kStashBytes = 8U << 20U;  // a paused partition's read-ahead
constexpr Milliseconds kAskTimeout{5'000};      // for the questions that follow an error
constexpr Milliseconds kAskPeriod{1'000};       // between two tries of such a question
constexpr Milliseconds kCommitWait{1'000};      // at the end, for the last offsets that lag tools see

struct TopicPartitionListDeleter {
  void operator()(rd_kafka_topic_partition_list_t* list) const { rd_kafka_topic_partition_list_destroy(list); }
};
using TopicPartitionList = std::unique_ptr<rd_kafka_topic_partition_list_t, TopicPartitionListDeleter>;

TopicPartitionList list_of(const TopicPartition& partition, std::int64_t offset = RD_KAFKA_OFFSET_INVALID) {
  TopicPartitionList list(rd_kafka_topic_partition_list_new(1));
  rd_kafka_topic_partition_list_add(list.get(), partition.topic.c_str(), partition.partition)->offset = offset;
  return list;
}

int to_ms(Milliseconds duration) { return static_cast<int>(std::max<std::int64_t>(0, duration.count())); }

// An assigned partition and how far it was read.
struct Reading {
  explicit Reading(const Assignment& assignment)
      : partition(assignment.partition),
        log(assignment.log),
        origin_topic(assignment.origin_topic),
        origin_rank(assignment.origin_rank),
        put_backs(assignment.put_backs && !assignment.put_backs->empty() ? assignment.put_backs : nullptr),
        position(assignment.offset) {}
  ~Reading() { drop_stash(); }
  Reading(Reading&&) = default;
  Reading& operator=(Reading&&) = delete;

  void drop_stash() {
    for (rd_kafka_message_t* const record : stash) rd_kafka_message_destroy(record);
    stash.clear();
    stash_bytes = 0;
  }

  TopicPartition partition;
  LogId log;
  std::string origin_topic;
  std::uint32_t origin_rank = 0;
  std::shared_ptr<const PutBacks> put_backs;  // null where there are none
  std::int64_t end = -1;                      // as of the last time that it was reached
  std::int64_t position = 0;                  // of the next record that librdkafka gives; earlier ones are dropped
  bool at_end = false;
  bool paused = false;
  // What came while it was paused. librdkafka throws its read-ahead away when it pauses, and is slow to fetch again; so
  // a short pause only fills this, and librdkafka pauses where it is full.
  std::deque<rd_kafka_message_t*> stash;
  std::size_t stash_bytes = 0;
  bool fetch_paused = false;
  // An error that may mean that the partition, or its offset, is gone: set until a broker has told.
  std::optional<rd_kafka_resp_err_t> doubt;
};

}  // namespace

struct MessageBatch::Buffers {
  explicit Buffers(std::shared_ptr<KafkaClient> owner) : client(std::move(owner)) {}
  ~Buffers() {
    for (rd_kafka_message_t* const record : records) rd_kafka_message_destroy(record);
  }
  Buffers(const Buffers&) = delete;
  Buffers& operator=(const Buffers&) = delete;

  std::shared_ptr<KafkaClient> client;  // must outlive its records
  std::vector<rd_kafka_message_t*> records;
  std::deque<Origin> origins;                              // of those records that have one
  std::vector<std::shared_ptr<const PutBacks>> put_backs;  // into which messages point
};

struct KafkaSource::State {
  explicit State(const KafkaSourceOptions& options)
      : brokers(kafka_brokers(options.properties)), watch(kRole, "reading waits", brokers) {}
  ~State();
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  // What a message of the client's queue means; takes it over.
  void take(rd_kafka_message_t* record, MessageBatch& batch);
  // What came while a partition was paused, once it is no more.
  void take_stashes(MessageBatch& batch, std::size_t max_messages, std::size_t max_bytes);
  void append(MessageBatch& batch, const Reading& reading, rd_kafka_message_t* record);
  void take_error(const rd_kafka_message_t& record);
  // Errors that librdkafka does not tell with a partition; on any thread.
  void take_client_error(rd_kafka_resp_err_t code, const char* text);
  Reading* reading_of(const rd_kafka_message_t& record);
  Reading* reading_of(LogId log);
  void doubt_all();
  // Asks the brokers about partitions in doubt: sets `failure` where one cannot be read on.
  void resolve_doubts(KafkaSource& source);
  Status judge_offset(KafkaSource& source, Reading& reading);
  Status judge_existence(KafkaSource& source, Reading& reading);
  Status start_reading();
  void commit_what_waits();
  void fail(std::string message);
  BrokerQuestions questions() const { return {client->get(), watch, brokers}; }

  std::string brokers;
  BrokerWatch watch;
  SystemClock clock;
  std::shared_ptr<KafkaClient> client;
  rd_kafka_queue_t* queue = nullptr;
  std::atomic<bool> commit_out = false;
  std::atomic<bool> topic_missing = false;  // librdkafka says so of one of them, and not of which

  mutable std::mutex mutex;  // guards what follows
  std::vector<Reading> readings;
  const rd_kafka_topic_t* last_topic = nullptr;  // the last record's, to find its reading without comparing names
  std::size_t last_reading = 0;
  std::optional<Error> failure;  // stays until the next assign()
  bool doubts = false;
  Instant next_ask{};
  std::map<TopicPartition, std::int64_t> to_commit;  // for lag tools
};

KafkaSource::State::~State() {
  if (!client) return;
  const Instant limit = clock.now() + kCommitWait;
  while ((commit_out || !to_commit.empty()) && !watch.away() && clock.now() < limit) {
    rd_kafka_poll(client->get(), 20);
    commit_what_waits();
  }
  readings.clear();
  rd_kafka_assign(client->get(), nullptr);
  if (queue != nullptr) rd_kafka_queue_destroy(queue);
}

KafkaSource::KafkaSource(std::unique_ptr<State> state) : state_(std::move(state)) {}
KafkaSource::~KafkaSource() = default;

Result<std::unique_ptr<KafkaSource>> KafkaSource::open(const KafkaSourceOptions& options) {
  KafkaProperties preset = reading_defaults();
  if (!options.group.empty()) preset["group.id"] = options.group;
  Result<KafkaConf> conf = make_kafka_conf(preset, options.properties);
  if (!conf) return std::unexpected(conf.error());

  auto state = std::make_unique<State>(options);
  rd_kafka_conf_set_opaque(conf->get(), state.get());
  rd_kafka_conf_set_error_cb(conf->get(), [](rd_kafka_t*, int code, const char* text, void* opaque) {
    static_cast<State*>(opaque)->take_client_error(static_cast<rd_kafka_resp_err_t>(code), text);
  });
  rd_kafka_conf_set_offset_commit_cb(
      conf->get(), [](rd_kafka_t*, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t*, void* opaque) {
        static_cast<State*>(opaque)->commit_out = false;
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR && code != RD_KAFKA_RESP_ERR__NO_OFFSET) {
          spdlog::debug("the group's offsets, for lag tools only, were not committed: {}", rd_kafka_err2str(code));
        }
      });
  auto client = KafkaClient::open(RD_KAFKA_CONSUMER, std::move(*conf), kRole);
  if (!client) return std::unexpected(client.error());
  state->client = std::move(*client);
  state->queue = rd_kafka_queue_get_consumer(state->client->get());
  return std::unique_ptr<KafkaSource>(new KafkaSource(std::move(state)));
}

// ---- Questions to the brokers ---------------------------------------------------------------------------------------

Result<std::vector<TopicPartition>> KafkaSource::partitions_of(const std::vector<std::string>& topics,
                                                               Milliseconds timeout) {
  return state_->questions().partitions_of(topics, timeout);
}

Result<bool> KafkaSource::exists(const std::string& topic, Milliseconds timeout) {
  return state_->questions().exists(topic, timeout);
}

Result<OffsetRange> KafkaSource::range_of(const TopicPartition& partition, Milliseconds timeout) {
  return state_->questions().range_of(partition, timeout);
}

Result<std::int64_t> KafkaSource::offset_at(const TopicPartition& partition, UnixMilliseconds time,
                                            Milliseconds timeout) {
  return state_->questions().offset_at(partition, time, timeout);
}

// ---- Reading --------------------------------------------------------------------------------------------------------

Status KafkaSource::assign(const std::vector<Assignment>& assignments) {
  const std::scoped_lock lock(state_->mutex);
  for (const Reading& reading : state_->readings) {  // else librdkafka keeps a partition paused that is assigned again
    if (reading.fetch_paused) rd_kafka_resume_partitions(state_->client->get(), list_of(reading.partition).get());
  }
  state_->readings.clear();
  for (const Assignment& assignment : assignments) {
    KLINED_ASSERT(assignment.offset >= 0, "reading starts at a number");
    state_->readings.emplace_back(assignment);
  }
  state_->failure.reset();
  state_->doubts = false;
  return state_->start_reading();
}

// Gives the client the readings' positions. librdkafka drops what earlier assignments fetched; reading_of() and the
// positions drop what it might let through.
Status KafkaSource::State::start_reading() {
  last_topic = nullptr;
  const TopicPartitionList list(rd_kafka_topic_partition_list_new(static_cast<int>(readings.size())));
  for (const Reading& reading : readings) {
    rd_kafka_topic_partition_list_add(list.get(), reading.partition.topic.c_str(), reading.partition.partition)
        ->offset = reading.position;
  }
  const auto code = rd_kafka_assign(client->get(), readings.empty() ? nullptr : list.get());
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR) return fatal(fmt::format("reading cannot start: {}", rd_kafka_err2str(code)));
  for (const Reading& reading : readings) {
    if (reading.fetch_paused) rd_kafka_pause_partitions(client->get(), list_of(reading.partition).get());
  }
  return {};
}

Result<MessageBatch> KafkaSource::poll(Milliseconds timeout, std::size_t max_messages, std::size_t max_bytes) {
  State& state = *state_;
  rd_kafka_poll(state.client->get(), 0);
  state.watch.check(state.client->get());
  if (auto refusal = state.watch.refusal()) return std::unexpected(std::move(*refusal));
  {
    const std::scoped_lock lock(state.mutex);
    state.commit_what_waits();
    if (state.topic_missing.exchange(false)) state.doubt_all();
    if (state.doubts && !state.failure) state.resolve_doubts(*this);
    if (state.failure) return std::unexpected(*state.failure);
  }

  MessageBatch batch;
  batch.buffers = std::make_shared<MessageBatch::Buffers>(state.client);
  {
    const std::scoped_lock lock(state.mutex);
    state.take_stashes(batch, max_messages, max_bytes);
    if (state.failure) return std::unexpected(*state.failure);
  }
  std::array<rd_kafka_message_t*, kChunk> chunk;
  // librdkafka waits its whole timeout to fill a chunk: wait for one record, then take what is there.
  int wait_ms = batch.messages.empty() ? to_ms(timeout) : 0;
  std::size_t wanted = 1;
  while (batch.messages.size() < max_messages && batch.bytes < max_bytes) {
    const ssize_t came = rd_kafka_consume_batch_queue(state.queue, wait_ms, chunk.data(), wanted);
    const std::scoped_lock lock(state.mutex);
    for (ssize_t i = 0; i < came; ++i) state.take(chunk[static_cast<std::size_t>(i)], batch);
    if (state.failure) return std::unexpected(*state.failure);
    if (came < static_cast<ssize_t>(wanted) || batch.bytes >= max_bytes) break;
    wait_ms = 0;
    const std::size_t count = batch.messages.size();
    const std::size_t room = count == 0 ? 1 : (max_bytes - batch.bytes) / (batch.bytes / count + 1) + 1;
    wanted = std::min({kChunk, max_messages - count, room});
  }
  return batch;
}

void KafkaSource::State::append(MessageBatch& batch, const Reading& reading, rd_kafka_message_t* record) {
  Result<std::optional<Origin>> origin = read_origin(*record, reading.origin_topic, reading.origin_rank);
  if (!origin) {
    fail(fmt::format("topic {} partition {} offset {}: {}", reading.partition.topic, reading.partition.partition,
                     record->offset, origin.error().message));
    rd_kafka_message_destroy(record);
    return;
  }
  const Origin* const kept = *origin ? &batch.buffers->origins.emplace_back(std::move(**origin)) : nullptr;
  const PutBack* put_back = nullptr;
  if (reading.put_backs) {
    put_back = reading.put_backs->find(kept != nullptr ? kept->log.partition() : reading.log.partition(),
                                       kept != nullptr ? kept->offset : record->offset);
    auto& owners = batch.buffers->put_backs;
    if (put_back != nullptr && std::ranges::find(owners, reading.put_backs) == owners.end()) {
      owners.push_back(reading.put_backs);
    }
  }
  rd_kafka_timestamp_type_t type = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
  const std::int64_t timestamp = rd_kafka_message_timestamp(record, &type);
  batch.messages.push_back({.log = reading.log,
                            .offset = record->offset,
                            .timestamp = type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE ? -1 : timestamp,
                            .value = std::string_view(static_cast<const char*>(record->payload), record->len),
                            .origin = kept,
                            .put_back = put_back});
  batch.bytes += record->len;
  batch.buffers->records.push_back(record);
}

void KafkaSource::State::take_stashes(MessageBatch& batch, std::size_t max_messages, std::size_t max_bytes) {
  for (Reading& reading : readings) {
    while (!reading.paused && !reading.stash.empty() && batch.messages.size() < max_messages &&
           batch.bytes < max_bytes) {
      rd_kafka_message_t* const record = reading.stash.front();
      reading.stash.pop_front();
      reading.stash_bytes -= record->len;
      append(batch, reading, record);
    }
  }
}

void KafkaSource::State::take(rd_kafka_message_t* record, MessageBatch& batch) {
  Reading* const reading = record->err == RD_KAFKA_RESP_ERR_NO_ERROR ? reading_of(*record) : nullptr;
  if (reading == nullptr || record->offset < reading->position) {  // an error, or of an earlier assignment
    if (record->err != RD_KAFKA_RESP_ERR_NO_ERROR) take_error(*record);
    rd_kafka_message_destroy(record);
    return;
  }
  reading->position = record->offset + 1;
  reading->at_end = false;
  if (!reading->paused && reading->stash.empty()) {
    append(batch, *reading, record);
    return;
  }
  reading->stash.push_back(record);
  reading->stash_bytes += record->len;
  if (!reading->paused || reading->fetch_paused || reading->stash_bytes < kStashBytes) return;
  reading->fetch_paused = true;
  rd_kafka_pause_partitions(client->get(), list_of(reading->partition).get());
}

Reading* KafkaSource::State::reading_of(const rd_kafka_message_t& record) {
  if (record.rkt == nullptr) return nullptr;
  if (record.rkt == last_topic && readings[last_reading].partition.partition == record.partition) {
    return &readings[last_reading];
  }
  const char* const topic = rd_kafka_topic_name(record.rkt);
  for (std::size_t i = 0; i < readings.size(); ++i) {
    if (readings[i].partition.partition != record.partition || readings[i].partition.topic != topic) continue;
    last_topic = record.rkt;
    last_reading = i;
    return &readings[i];
  }
  return nullptr;
}

Reading* KafkaSource::State::reading_of(LogId log) {
  const auto it = std::ranges::find(readings, log, &Reading::log);
  return it == readings.end() ? nullptr : &*it;
}

void KafkaSource::State::fail(std::string message) { failure = Error{ErrorKind::kFatal, std::move(message)}; }

void KafkaSource::State::take_error(const rd_kafka_message_t& record) {
  Reading* const reading = reading_of(record);
  if (reading == nullptr) {
    if (record.rkt == nullptr) take_client_error(record.err, rd_kafka_message_errstr(&record));
    return;
  }
  const TopicPartition& partition = reading->partition;
  if (is_missing(record.err)) {
    reading->doubt = record.err;
    doubts = true;
    return;
  }
  switch (record.err) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
      reading->at_end = true;
      reading->end = record.offset;
      return;
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
      reading->doubt = record.err;
      doubts = true;
      return;
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
      return fail(fmt::format("topic {} on kafka at {} may not be read: grant READ and DESCRIBE on it", partition.topic,
                              brokers));
    // librdkafka goes on behind such a record, which would lose it.
    case RD_KAFKA_RESP_ERR__BAD_MSG:
    case RD_KAFKA_RESP_ERR__BAD_COMPRESSION:
    case RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED:
    case RD_KAFKA_RESP_ERR_INVALID_MSG:
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
      return fail(
          fmt::format("topic {} partition {} cannot be read at or behind offset {}: {}; nothing is skipped: mend the "
                      "log, or move the stored offset behind it on purpose",
                      partition.topic, partition.partition, reading->position, rd_kafka_message_errstr(&record)));
    default:
      watch.on_passing_error(fmt::format("topic {} partition {} waits: {}", partition.topic, partition.partition,
                                         rd_kafka_message_errstr(&record)));
  }
}

void KafkaSource::State::take_client_error(rd_kafka_resp_err_t code, const char* text) {
  if (is_missing(code) || code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED) {
    topic_missing = true;
    spdlog::debug("{}: {}", kRole, text);
  } else {
    watch.on_error(code, text);
  }
}

// ---- Doubts
// ----------------------------------------------------------------------------------------------------------

// Errors that look final also come while leaders move. So a broker is asked, again and again until one answers;
// librdkafka has stopped reading such a partition, and is told to start again where it may be read after all.
void KafkaSource::State::resolve_doubts(KafkaSource& source) {
  if (clock.now() < next_ask) return;
  next_ask = clock.now() + kAskPeriod;
  for (Reading& reading : readings) {
    if (!reading.doubt) continue;
    const bool about_offset = !is_missing(*reading.doubt);
    const Status judged = about_offset ? judge_offset(source, reading) : judge_existence(source, reading);
    if (judged) continue;
    if (judged.error().kind == ErrorKind::kFatal) {
      failure = judged.error();
      return;
    }
    watch.on_passing_error(judged.error().message);
    return;  // asked again in a second
  }
  for (Reading& reading : readings) reading.doubt.reset();
  doubts = false;
  if (const Status started = start_reading(); !started) failure = started.error();
}

void KafkaSource::State::doubt_all() {
  for (Reading& reading : readings) {
    if (!reading.doubt) reading.doubt = RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
  }
  doubts = !readings.empty();
}

Status KafkaSource::State::judge_offset(KafkaSource& source, Reading& reading) {
  const TopicPartition& partition = reading.partition;
  const Result<OffsetRange> range = source.range_of(partition, kAskTimeout);
  if (!range) return std::unexpected(range.error());
  if (reading.position >= range->low && reading.position <= range->high) {
    spdlog::warn("topic {} partition {} is read again from offset {}: the broker said that it was out of range",
                 partition.topic, partition.partition, reading.position);
    return {};
  }
  const bool trimmed = reading.position < range->low;
  return fatal(fmt::format(
      "topic {} partition {}: offset {} is out of the log's range, which is {} to {}: {}; nothing is skipped: bring "
      "the log "
      "back, or reset the stored offsets on purpose",
      partition.topic, partition.partition, reading.position, range->low, range->high,
      trimmed ? fmt::format("the {} records up to {} are lost to retention", range->low - reading.position, range->low)
              : std::string("the topic was made anew, or lost its end")));
}

Status KafkaSource::State::judge_existence(KafkaSource& source, Reading& reading) {
  const auto found = source.partitions_of({reading.partition.topic}, kAskTimeout);
  if (!found) return std::unexpected(found.error());
  if (std::ranges::find(*found, reading.partition) != found->end()) return {};
  return fatal(fmt::format("topic {} has lost its partition {}: it was deleted and made anew; reset the stored offsets",
                           reading.partition.topic, reading.partition.partition));
}

// ---- The rest -------------------------------------------------------------------------------------------------------

void KafkaSource::pause(LogId log) {
  const std::scoped_lock lock(state_->mutex);
  if (Reading* const reading = state_->reading_of(log)) reading->paused = true;
}

void KafkaSource::resume(LogId log) {
  const std::scoped_lock lock(state_->mutex);
  Reading* const reading = state_->reading_of(log);
  if (reading == nullptr) return;
  reading->paused = false;
  if (!reading->fetch_paused) return;
  reading->fetch_paused = false;
  rd_kafka_resume_partitions(state_->client->get(), list_of(reading->partition).get());
}

bool KafkaSource::at_end(LogId log) const { return end_of(log).has_value(); }

std::optional<std::int64_t> KafkaSource::end_of(LogId log) const {
  const std::scoped_lock lock(state_->mutex);
  const Reading* const reading = state_->reading_of(log);
  if (reading == nullptr || !reading->at_end || !reading->stash.empty()) return std::nullopt;
  return reading->end;
}

std::int64_t KafkaSource::high_watermark(LogId log) const {
  const std::scoped_lock lock(state_->mutex);
  const Reading* const reading = state_->reading_of(log);
  std::int64_t low = RD_KAFKA_OFFSET_INVALID;
  std::int64_t high = RD_KAFKA_OFFSET_INVALID;
  if (reading == nullptr ||
      rd_kafka_get_watermark_offsets(state_->client->get(), reading->partition.topic.c_str(),
                                     reading->partition.partition, &low, &high) != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return -1;
  }
  return high < 0 ? -1 : high;
}

void KafkaSource::commit_for_tools(const std::map<TopicPartition, std::int64_t>& next_offsets) {
  const std::scoped_lock lock(state_->mutex);
  for (const auto& [partition, offset] : next_offsets) state_->to_commit[partition] = offset;
  state_->commit_what_waits();
}

// One commit at a time, and none while kafka is away: librdkafka would keep it, and not close before it was answered.
void KafkaSource::State::commit_what_waits() {
  if (to_commit.empty() || commit_out || watch.away()) return;
  const TopicPartitionList list(rd_kafka_topic_partition_list_new(static_cast<int>(to_commit.size())));
  for (const auto& [partition, offset] : to_commit) {
    rd_kafka_topic_partition_list_add(list.get(), partition.topic.c_str(), partition.partition)->offset = offset;
  }
  to_commit.clear();
  commit_out = true;
  if (rd_kafka_commit(client->get(), list.get(), 1) != RD_KAFKA_RESP_ERR_NO_ERROR) commit_out = false;
}

UnixMilliseconds KafkaSource::last_error_ms() const { return state_->watch.last_error_ms(); }

}  // namespace klined
