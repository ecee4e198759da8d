#include "broker_questions.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <thread>

namespace klined {

namespace {

constexpr Milliseconds kAskAgain{100};         // between two questions to a leader that is not there yet
constexpr Milliseconds kExistenceWait{1'000};  // for the metadata, at least

// UNKNOWN_TOPIC_ID of the protocol; librdkafka has no name for it before 2.4.
constexpr auto kUnknownTopicId = static_cast<rd_kafka_resp_err_t>(100);

struct ListDeleter {
  void operator()(rd_kafka_topic_partition_list_t* list) const { rd_kafka_topic_partition_list_destroy(list); }
};

int to_ms(Milliseconds duration) { return static_cast<int>(std::max<std::int64_t>(0, duration.count())); }

std::string name_of(const TopicPartition& partition) {
  return fmt::format("topic {} partition {}", partition.topic, partition.partition);
}

// True where another broker leads the partition now, or will soon.
bool has_no_leader(rd_kafka_resp_err_t code) {
  return code == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE || code == RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION ||
         code == RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH || code == RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH ||
         code == RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE;
}

// One topic's partitions, added to `out`.
Status add_partitions(const std::string& topic, const rd_kafka_metadata_t& metadata, const std::string& brokers,
                      std::vector<TopicPartition>& out) {
  if (metadata.topic_cnt != 1) return retry(fmt::format("kafka at {} tells nothing about topic {}", brokers, topic));
  const rd_kafka_metadata_topic_t& found = metadata.topics[0];
  if (is_missing(found.err)) {
    return fatal(fmt::format("topic {} does not exist on kafka at {}: create it, or correct its name", topic, brokers));
  }
  if (found.err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED) {
    return fatal(fmt::format("topic {} on kafka at {} may not be read: grant READ and DESCRIBE on it", topic, brokers));
  }
  if (found.err == RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION) {
    return fatal(fmt::format("\"{}\" is no name of a topic: letters, digits, '.', '_' and '-' are allowed", topic));
  }
  if (found.err != RD_KAFKA_RESP_ERR_NO_ERROR || found.partition_cnt == 0) {
    return retry(fmt::format("topic {} on kafka at {} is not ready: {}", topic, brokers, rd_kafka_err2str(found.err)));
  }
  for (int i = 0; i < found.partition_cnt; ++i) out.push_back({topic, found.partitions[i].id});
  return {};
}

}  // namespace

bool is_missing(rd_kafka_resp_err_t code) {
  return code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART || code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
         code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION || code == kUnknownTopicId;
}

Error BrokerQuestions::no_answer(rd_kafka_resp_err_t code, std::string_view what) const {
  rd_kafka_poll(client_, 0);  // the reason comes as an event
  if (const auto refusal = watch_.refusal()) return *refusal;
  return {ErrorKind::kRetry, fmt::format("{}: {}: {}; check that it runs and that the brokers' addresses are right",
                                         what, watch_.describe(), rd_kafka_err2str(code))};
}

template <typename Take>
Status BrokerQuestions::ask_metadata(const std::string& topic, Milliseconds timeout, Take take) const {
  rd_kafka_topic_t* const handle = rd_kafka_topic_new(client_, topic.c_str(), nullptr);
  if (handle == nullptr) return fatal(fmt::format("\"{}\" is no name of a topic", topic));
  const rd_kafka_metadata_t* metadata = nullptr;
  const auto code = rd_kafka_metadata(client_, 0, handle, &metadata, to_ms(timeout));
  rd_kafka_topic_destroy(handle);
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
    return std::unexpected(no_answer(code, fmt::format("asking for the partitions of topic {}", topic)));
  }
  const Status taken = take(*metadata);
  rd_kafka_metadata_destroy(metadata);
  return taken;
}

Result<std::vector<TopicPartition>> BrokerQuestions::partitions_of(const std::vector<std::string>& topics,
                                                                   Milliseconds timeout) const {
  std::vector<TopicPartition> partitions;
  for (const std::string& topic : topics) {
    const Status added = ask_metadata(topic, timeout, [&](const rd_kafka_metadata_t& metadata) {
      return add_partitions(topic, metadata, brokers_, partitions);
    });
    if (!added) return std::unexpected(added.error());
  }
  std::ranges::sort(partitions);
  return partitions;
}

Result<bool> BrokerQuestions::exists(const std::string& topic, Milliseconds timeout) const {
  bool is_there = true;
  const Status asked = ask_metadata(topic, timeout, [&](const rd_kafka_metadata_t& metadata) -> Status {
    std::vector<TopicPartition> partitions;
    is_there = metadata.topic_cnt != 1 || !is_missing(metadata.topics[0].err);
    return is_there ? add_partitions(topic, metadata, brokers_, partitions) : Status{};
  });
  if (!asked) return std::unexpected(asked.error());
  return is_there;
}

Status BrokerQuestions::check_existence(const TopicPartition& partition, Milliseconds timeout) const {
  const auto found = partitions_of({partition.topic}, timeout);
  if (!found) return std::unexpected(found.error());
  if (std::ranges::find(*found, partition) != found->end()) return {};
  return fatal(fmt::format("{} does not exist on kafka at {}", name_of(partition), brokers_));
}

template <typename Ask>
Status BrokerQuestions::ask_leader(const TopicPartition& partition, std::string_view what, Milliseconds timeout,
                                   Ask ask) const {
  const SystemClock clock;
  const Instant limit = clock.now() + timeout;
  const auto left = [&] { return std::chrono::duration_cast<Milliseconds>(limit - clock.now()); };
  for (;;) {
    const rd_kafka_resp_err_t code = ask(to_ms(left()));
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return {};
    if (!is_missing(code) && !has_no_leader(code)) {
      return std::unexpected(no_answer(code, fmt::format("asking for {} {}", what, name_of(partition))));
    }
    // Its answer also replaces what librdkafka remembers of the leader.
    const Status there = check_existence(partition, std::max(left(), kExistenceWait));
    if (!there) return there;
    if (left() <= kAskAgain) {
      return retry(
          fmt::format("asking for {} {}: kafka at {} knows it, but no broker leads it now; check that all "
                      "brokers run",
                      what, name_of(partition), brokers_));
    }
    std::this_thread::sleep_for(kAskAgain);
  }
}

Result<OffsetRange> BrokerQuestions::range_of(const TopicPartition& partition, Milliseconds timeout) const {
  OffsetRange range;
  const Status asked = ask_leader(partition, "the offsets of", timeout, [&](int wait_ms) {
    return rd_kafka_query_watermark_offsets(client_, partition.topic.c_str(), partition.partition, &range.low,
                                            &range.high, wait_ms);
  });
  if (!asked) return std::unexpected(asked.error());
  return range;
}

Result<std::int64_t> BrokerQuestions::offset_at(const TopicPartition& partition, UnixMilliseconds time,
                                                Milliseconds timeout) const {
  std::int64_t offset = RD_KAFKA_OFFSET_INVALID;
  const Status asked = ask_leader(partition, "the offset of a time in", timeout, [&](int wait_ms) {
    const std::unique_ptr<rd_kafka_topic_partition_list_t, ListDeleter> list(rd_kafka_topic_partition_list_new(1));
    rd_kafka_topic_partition_t& entry =
        *rd_kafka_topic_partition_list_add(list.get(), partition.topic.c_str(), partition.partition);
    entry.offset = time;
    const auto code = rd_kafka_offsets_for_times(client_, list.get(), wait_ms);
    offset = entry.offset;
    return code == RD_KAFKA_RESP_ERR_NO_ERROR ? entry.err : code;
  });
  if (!asked) return std::unexpected(asked.error());
  if (offset >= 0) return offset;
  const Result<OffsetRange> range = range_of(partition, timeout);  // no record is that new
  if (!range) return std::unexpected(range.error());
  return range->high;
}

}  // namespace klined
