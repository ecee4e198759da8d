#include "klined/source/letter_reader.hpp"

#include <fmt/format.h>
#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <set>
#include <utility>

#include "klined/base/kafka_client.hpp"
#include "reading_defaults.hpp"

namespace klined {

namespace {

constexpr const char* kRole = "the reader of dead letters";
constexpr int kPollMs = 100;
constexpr Milliseconds kTimeout{10'000};
constexpr Milliseconds kPatience{30'000};

using List = std::unique_ptr<rd_kafka_topic_partition_list_t, decltype(&rd_kafka_topic_partition_list_destroy)>;
using Record = std::unique_ptr<rd_kafka_message_t, decltype(&rd_kafka_message_destroy)>;

Letter letter_of(const rd_kafka_message_t& record) {
  Letter letter;
  letter.partition = record.partition;
  letter.offset = record.offset;
  letter.timestamp = rd_kafka_message_timestamp(&record, nullptr);
  letter.key = std::string_view(static_cast<const char*>(record.key), record.key_len);
  letter.value = std::string_view(static_cast<const char*>(record.payload), record.len);
  rd_kafka_headers_t* all = nullptr;
  if (rd_kafka_message_headers(&record, &all) != RD_KAFKA_RESP_ERR_NO_ERROR) return letter;
  const char* name = nullptr;
  const void* value = nullptr;
  std::size_t size = 0;
  for (std::size_t i = 0; rd_kafka_header_get_all(all, i, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR; ++i) {
    letter.headers.emplace_back(name, std::string_view(static_cast<const char*>(value), size));
  }
  return letter;
}

}  // namespace

std::string_view Letter::header(std::string_view name) const {
  const auto found = std::find_if(headers.rbegin(), headers.rend(), [name](const auto& h) { return h.first == name; });
  return found == headers.rend() ? std::string_view() : found->second;
}

bool Letter::has_header(std::string_view name) const {
  return std::ranges::any_of(headers, [name](const auto& header) { return header.first == name; });
}

struct LetterReader::State {
  explicit State(const KafkaProperties& properties) : watch(kRole, "reading waits", kafka_brokers(properties)) {}
  std::unique_ptr<KafkaSource> questions;
  BrokerWatch watch;
  SystemClock clock;
  std::shared_ptr<KafkaClient> client;
};

LetterReader::LetterReader(std::unique_ptr<State> state) : state_(std::move(state)) {}
LetterReader::~LetterReader() = default;
LetterReader::LetterReader(LetterReader&&) noexcept = default;
LetterReader& LetterReader::operator=(LetterReader&&) noexcept = default;

Result<LetterReader> LetterReader::open(const std::map<std::string, std::string>& properties) {
  auto questions = KafkaSource::open({properties, ""});
  if (!questions) return std::unexpected(questions.error());
  Result<KafkaConf> conf = make_kafka_conf(reading_defaults(), properties);
  if (!conf) return std::unexpected(conf.error());
  auto state = std::make_unique<State>(properties);
  state->questions = std::move(*questions);
  rd_kafka_conf_set_opaque(conf->get(), state.get());
  rd_kafka_conf_set_error_cb(conf->get(), [](rd_kafka_t*, int code, const char* text, void* opaque) {
    static_cast<State*>(opaque)->watch.on_error(static_cast<rd_kafka_resp_err_t>(code), text);
  });
  auto client = KafkaClient::open(RD_KAFKA_CONSUMER, std::move(*conf), kRole);
  if (!client) return std::unexpected(client.error());
  state->client = std::move(*client);
  rd_kafka_poll_set_consumer(state->client->get());
  return LetterReader(std::move(state));
}

Status LetterReader::read(const std::string& topic, const std::function<bool(const Letter&)>& take) {
  State& state = *state_;
  const auto partitions = state.questions->partitions_of({topic}, kTimeout);
  if (!partitions) return std::unexpected(partitions.error());
  const List list(rd_kafka_topic_partition_list_new(static_cast<int>(partitions->size())),
                  &rd_kafka_topic_partition_list_destroy);
  std::map<std::int32_t, std::int64_t> ends;  // of the partitions that are not read to their ends yet
  for (const TopicPartition& partition : *partitions) {
    const Result<OffsetRange> range = state.questions->range_of(partition, kTimeout);
    if (!range) return std::unexpected(range.error());
    if (range->low == range->high) continue;
    ends[partition.partition] = range->high;
    rd_kafka_topic_partition_list_add(list.get(), topic.c_str(), partition.partition)->offset = range->low;
  }
  rd_kafka_t* const client = state.client->get();
  rd_kafka_assign(client, list.get());
  Status status;
  Instant moved_at = state.clock.now();
  while (!ends.empty() && status) {
    const Record record(rd_kafka_consumer_poll(client, kPollMs), &rd_kafka_message_destroy);
    state.watch.check(client);
    if (const auto refusal = state.watch.refusal()) status = std::unexpected(*refusal);
    if (record == nullptr) {
      if (state.clock.now() - moved_at > kPatience)
        status = retry(fmt::format("topic {}: nothing came for {} s: {}", topic, kPatience.count() / 1000,
                                   state.watch.describe()));
      continue;
    }
    const auto end = ends.find(record->partition);
    if (record->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
      ends.erase(record->partition);
    } else if (record->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
      if (record->rkt != nullptr) {
        status = retry(
            fmt::format("topic {} partition {}: {}", topic, record->partition, rd_kafka_message_errstr(record.get())));
      }
    } else if (end != ends.end()) {
      moved_at = state.clock.now();
      const bool is_last = record->offset >= end->second - 1;
      if (record->offset < end->second && !take(letter_of(*record))) break;
      if (is_last) ends.erase(end);
    }
  }
  rd_kafka_assign(client, nullptr);
  return status;
}

}  // namespace klined
