// The Kafka consumer: whole partitions, from offsets that klined itself stores.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "klined/base/clock.hpp"
#include "klined/base/error.hpp"
#include "klined/codec/trade_decoder.hpp"

namespace klined {

struct KafkaSourceOptions {
  std::map<std::string, std::string>
      properties;     // librdkafka's, bootstrap.servers at least; klined's defaults fill the rest
  std::string group;  // only for the offsets that lag tools look at
};

struct TopicPartition {
  std::string topic;
  std::int32_t partition = 0;
  friend auto operator<=>(const TopicPartition&, const TopicPartition&) = default;
};

struct Assignment {
  TopicPartition partition;
  LogId log;
  std::int64_t offset = 0;  // where to start reading
  // The one topic whose messages its records may stand for (see Origin), and that topic's rank.
  std::string origin_topic{};
  std::uint32_t origin_rank = 0;
  // What was put back into that topic (see read_put_backs()); null where that is of no interest.
  std::shared_ptr<const PutBacks> put_backs{};
};

struct OffsetRange {
  std::int64_t low = 0;   // the first offset that the log still has
  std::int64_t high = 0;  // the next one to be written
};

// Records in the order of each partition. The messages' views live as long as this object (it owns the client's
// buffers).
class MessageBatch {
 public:
  struct Buffers;  // frees the client's records
  std::vector<Message> messages;
  std::size_t bytes = 0;
  std::shared_ptr<Buffers> buffers;
};

// One thread calls poll(), pause(), resume() and assign(); the rest is thread-safe.
class KafkaSource {
 public:
  static Result<std::unique_ptr<KafkaSource>> open(const KafkaSourceOptions& options);
  ~KafkaSource();

  // The partitions of the topics, sorted. kFatal names a topic that does not exist; kRetry where no broker answers.
  Result<std::vector<TopicPartition>> partitions_of(const std::vector<std::string>& topics, Milliseconds timeout);
  // False where the topic does not exist. It is not made by that.
  Result<bool> exists(const std::string& topic, Milliseconds timeout);
  // The log's range now, asked from the broker.
  Result<OffsetRange> range_of(const TopicPartition& partition, Milliseconds timeout);
  // The first offset whose record's timestamp is at or after `time`; the high watermark where there is none.
  Result<std::int64_t> offset_at(const TopicPartition& partition, UnixMilliseconds time, Milliseconds timeout);

  // Starts reading exactly there, replacing any earlier assignment; what the earlier one still delivers is dropped.
  Status assign(const std::vector<Assignment>& assignments);
  // Up to `max_messages` and about `max_bytes`, waiting at most `timeout`; empty where nothing came. kFatal where an
  // offset is out of the log's range (it names topic, partition, offset and the log's range), authentication fails or a
  // topic is deleted, or a record's headers tell of an origin that cannot be; passing broker errors are logged once
  // when they begin and once when they end, and are not returned.
  Result<MessageBatch> poll(Milliseconds timeout, std::size_t max_messages, std::size_t max_bytes);
  // Stops and restarts the fetching of one partition; its place is kept.
  void pause(LogId log);
  void resume(LogId log);

  // Where the partition's end is, once it was reached and as long as nothing has come since. It may lie behind the last
  // record: a transaction's mark takes an offset too.
  std::optional<std::int64_t> end_of(LogId log) const;
  // True where the partition's end was reached and nothing has come since.
  bool at_end(LogId log) const;
  // The high watermark as of the last fetch; -1 where unknown. Does not ask the broker.
  std::int64_t high_watermark(LogId log) const;
  // Tells lag tools how far this group is. Best effort, asynchronous.
  void commit_for_tools(const std::map<TopicPartition, std::int64_t>& next_offsets);
  UnixMilliseconds last_error_ms() const;

 private:
  struct State;
  explicit KafkaSource(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace klined
