// KafkaSource, KafkaPublisher and KafkaAdmin against a real broker: the one of `./dev up`.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <random>
#include <set>
#include <thread>

#include "klined/publish/kafka_admin.hpp"
#include "klined/publish/kafka_publisher.hpp"
#include "klined/source/kafka_source.hpp"

namespace klined {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr Milliseconds kPatience{20'000};

// Collects the reports of a publisher.
class Reports {
 public:
  Publisher::ReportHandler handler() {
    return [this](DeliveryReport&& report) {
      const std::scoped_lock lock(mutex_);
      reports_[report.ticket] = std::move(report);
      came_.notify_all();
    };
  }
  DeliveryReport of(std::uint64_t ticket) {
    std::unique_lock lock(mutex_);
    if (!came_.wait_for(lock, kPatience, [&] { return reports_.contains(ticket); })) {
      ADD_FAILURE() << "no report of ticket " << ticket;
      return {};
    }
    return reports_.at(ticket);
  }

 private:
  std::mutex mutex_;
  std::condition_variable came_;
  std::map<std::uint64_t, DeliveryReport> reports_;
};

class KafkaTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* const brokers = std::getenv("KLINED_STACK_KAFKA");
    ASSERT_NE(brokers, nullptr) << "KLINED_STACK_KAFKA is not set: start the local servers by `./dev up`, then "
                                   "`source .stack/env`";
    properties_ = {{"bootstrap.servers", brokers}};
    auto admin = KafkaAdmin::open(properties_);
    ASSERT_TRUE(admin.has_value()) << admin.error().message;
    admin_ = std::move(*admin);
  }

  void TearDown() override {
    for (const std::string& topic : topics_) {
      const auto removed = admin_->remove(topic, kPatience);
      EXPECT_TRUE(removed.has_value()) << removed.error().message;
    }
  }

  static std::string random_name() {
    std::random_device random;
    return "klined-test-" + std::to_string(random()) + "-" + std::to_string(random());
  }

  std::string make_topic(int partitions, std::map<std::string, std::string> config = {}) {
    const TopicSpec spec{.name = random_name(), .partitions = partitions, .config = std::move(config)};
    const auto created = admin_->create(spec, kPatience);
    EXPECT_TRUE(created.has_value()) << created.error().message;
    if (created) topics_.insert(spec.name);
    return spec.name;
  }

  std::unique_ptr<KafkaPublisher> open_publisher(Reports& reports, KafkaProperties more = {}) {
    more.insert(properties_.begin(), properties_.end());
    auto publisher = KafkaPublisher::open({more}, reports.handler());
    EXPECT_TRUE(publisher.has_value()) << publisher.error().message;
    return std::move(*publisher);
  }

  std::unique_ptr<KafkaSource> open_source(const std::string& group = {}) {
    auto source = KafkaSource::open({properties_, group});
    EXPECT_TRUE(source.has_value()) << source.error().message;
    return std::move(*source);
  }

  // Publishes "0", "1", … with `padding` behind, all to partition 0 of a topic of one partition.
  void fill(const std::string& topic, int count, std::size_t padding = 0) {
    Reports reports;
    const auto publisher = open_publisher(reports);
    for (int i = 0; i < count; ++i) {
      Publication publication{.topic = topic, .key = "k", .value = std::to_string(i) + std::string(padding, ' ')};
      while (!publisher->send(publication, static_cast<std::uint64_t>(i))) std::this_thread::sleep_for(Milliseconds(1));
    }
    ASSERT_TRUE(publisher->flush(kPatience));
    for (int i = 0; i < count; ++i) {
      const DeliveryReport report = reports.of(static_cast<std::uint64_t>(i));
      ASSERT_FALSE(report.error) << report.error->message;
      ASSERT_EQ(report.offset, i);
    }
  }

  // Polls until a batch or an error comes.
  static Result<MessageBatch> next_batch(KafkaSource& source, std::size_t max_messages = 1'000,
                                         std::size_t max_bytes = 16U << 20U) {
    const auto limit = std::chrono::steady_clock::now() + kPatience;
    for (;;) {
      auto batch = source.poll(Milliseconds(50), max_messages, max_bytes);
      if (!batch || !batch->messages.empty() || std::chrono::steady_clock::now() > limit) return batch;
    }
  }

  // Reads up to `end` at least, and expects every offset from `begin` on exactly once.
  static void expect_offsets(KafkaSource& source, std::int64_t begin, std::int64_t end,
                             std::size_t max_messages = 1'000) {
    std::int64_t next = begin;
    while (next < end) {
      const auto batch = next_batch(source, max_messages);
      ASSERT_TRUE(batch.has_value()) << batch.error().message;
      ASSERT_FALSE(batch->messages.empty()) << "nothing comes at offset " << next;
      ASSERT_LE(batch->messages.size(), max_messages);
      for (const Message& message : batch->messages) {
        ASSERT_EQ(message.offset, next);
        ASSERT_EQ(message.value.substr(0, message.value.find(' ')), std::to_string(next));
        ++next;
      }
    }
  }

  static Assignment at(const std::string& topic, std::int64_t offset, std::int32_t partition = 0) {
    return {.partition = {topic, partition}, .log = LogId(0, static_cast<std::uint32_t>(partition)), .offset = offset};
  }

  KafkaProperties properties_;
  std::unique_ptr<KafkaAdmin> admin_;
  std::set<std::string> topics_;
};

// ---- KafkaSource and KafkaPublisher together
// --------------------------------------------------------------------------

TEST_F(KafkaTest, WhatIsPublishedIsReadWithItsOffsetTimestampAndLog) {
  const std::string topic = make_topic(1);
  Reports reports;
  const auto publisher = open_publisher(reports);
  for (std::uint64_t i = 0; i < 5; ++i) {
    Publication publication{.topic = topic,
                            .key = "pair",
                            .value = "value " + std::to_string(i),
                            .timestamp_ms = 1'700'000'000'000 + static_cast<std::int64_t>(i)};
    ASSERT_TRUE(publisher->send(publication, 100 + i));
  }
  for (std::uint64_t i = 0; i < 5; ++i) {
    const DeliveryReport report = reports.of(100 + i);
    ASSERT_FALSE(report.error) << report.error->message;
    EXPECT_EQ(report.partition, 0);
    EXPECT_EQ(report.offset, static_cast<std::int64_t>(i));
  }
  ASSERT_TRUE(publisher->flush(kPatience));
  EXPECT_EQ(publisher->in_flight(), 0);

  const auto source = open_source();
  ASSERT_TRUE(source->assign({at(topic, 2)}));
  std::vector<MessageBatch> batches;
  std::vector<Message> messages;
  while (messages.size() < 3) {
    auto batch = next_batch(*source);
    ASSERT_TRUE(batch.has_value()) << batch.error().message;
    ASSERT_FALSE(batch->messages.empty());
    messages.insert(messages.end(), batch->messages.begin(), batch->messages.end());
    batches.push_back(std::move(*batch));
  }
  ASSERT_EQ(messages.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(messages[i].offset, static_cast<std::int64_t>(i + 2));
    EXPECT_EQ(messages[i].value, "value " + std::to_string(i + 2));
    EXPECT_EQ(messages[i].timestamp, 1'700'000'000'000 + static_cast<std::int64_t>(i + 2));
    EXPECT_EQ(messages[i].log, LogId(0, 0));
  }
}

TEST_F(KafkaTest, ABatchOutlivesItsSource) {
  const std::string topic = make_topic(1);
  fill(topic, 3);
  Result<MessageBatch> batch;
  {
    const auto source = open_source();
    ASSERT_TRUE(source->assign({at(topic, 0)}));
    batch = next_batch(*source);
  }
  ASSERT_TRUE(batch.has_value());
  ASSERT_FALSE(batch->messages.empty());
  EXPECT_EQ(batch->messages[0].value, "0");
}

TEST_F(KafkaTest, AMessageOfTenMebibytesPasses) {
  const std::string topic = make_topic(1, {{"max.message.bytes", "12582912"}});
  std::mt19937_64 random(7);
  std::string value(10U << 20U, '\0');
  for (char& c : value) c = static_cast<char>(random());
  Reports reports;
  const auto publisher = open_publisher(reports);
  for (std::uint64_t i = 0; i < 3; ++i) {
    Publication publication{.topic = topic, .key = "k", .value = value};
    ASSERT_TRUE(publisher->send(publication, i));
    const DeliveryReport report = reports.of(i);
    ASSERT_FALSE(report.error) << report.error->message;
  }
  const auto source = open_source();
  ASSERT_TRUE(source->assign({at(topic, 0)}));
  for (std::int64_t offset = 0; offset < 3; ++offset) {
    const auto batch = next_batch(*source, 1);
    ASSERT_TRUE(batch.has_value()) << batch.error().message;
    ASSERT_EQ(batch->messages.size(), 1U);
    EXPECT_EQ(batch->messages[0].offset, offset);
    EXPECT_EQ(batch->bytes, value.size());
    EXPECT_TRUE(batch->messages[0].value == value);
  }
}

TEST_F(KafkaTest, ABatchEndsWhereItsBytesAreEnough) {
  const std::string topic = make_topic(1);
  fill(topic, 100, 100'000);
  const auto source = open_source();
  ASSERT_TRUE(source->assign({at(topic, 0)}));
  std::int64_t next = 0;
  while (next < 100) {
    const auto batch = next_batch(*source, 1'000, 1'000'000);
    ASSERT_TRUE(batch.has_value()) << batch.error().message;
    ASSERT_FALSE(batch->messages.empty());
    EXPECT_LE(batch->bytes, 1'200'000U);
    next += static_cast<std::int64_t>(batch->messages.size());
  }
  EXPECT_EQ(next, 100);
}

TEST_F(KafkaTest, TheEndAndTheHighWatermarkAreKnown) {
  const std::string topic = make_topic(1);
  fill(topic, 10);
  const auto source = open_source();
  ASSERT_TRUE(source->assign({at(topic, 0)}));
  EXPECT_FALSE(source->at_end(LogId(0, 0)));
  EXPECT_FALSE(source->at_end(LogId(0, 7)));
  EXPECT_EQ(source->high_watermark(LogId(0, 7)), -1);
  expect_offsets(*source, 0, 10);
  for (int i = 0; i < 100 && !source->at_end(LogId(0, 0)); ++i) ASSERT_TRUE(source->poll(Milliseconds(50), 10, 1'000));
  EXPECT_TRUE(source->at_end(LogId(0, 0)));
  EXPECT_EQ(source->high_watermark(LogId(0, 0)), 10);

  Reports reports;
  const auto publisher = open_publisher(reports);
  Publication publication{.topic = topic, .key = "k", .value = "10"};
  ASSERT_TRUE(publisher->send(publication, 1));
  ASSERT_FALSE(reports.of(1).error);
  const auto batch = next_batch(*source);
  ASSERT_TRUE(batch.has_value());
  ASSERT_EQ(batch->messages.size(), 1U);
}

TEST_F(KafkaTest, PausingKeepsThePlace) {
  const std::string topic = make_topic(1);
  fill(topic, 2'000, 500);
  const auto source = open_source();
  ASSERT_TRUE(source->assign({at(topic, 0)}));
  source->pause(LogId(0, 0));  // before anything came
  source->pause(LogId(0, 0));
  const auto nothing = source->poll(Milliseconds(300), 10, 1'000'000);
  ASSERT_TRUE(nothing.has_value());
  EXPECT_TRUE(nothing->messages.empty());
  source->resume(LogId(0, 0));
  for (std::int64_t begin = 0; begin < 2'000; begin += 50) {
    expect_offsets(*source, begin, begin + 50, 1);
    if (HasFatalFailure()) return;
    source->pause(LogId(0, 0));
    if (begin % 200 == 0) {
      const auto paused = source->poll(Milliseconds(50), 10, 1'000'000);
      ASSERT_TRUE(paused.has_value());
      ASSERT_TRUE(paused->messages.empty());
    }
    source->resume(LogId(0, 0));
  }
}

TEST_F(KafkaTest, ALongPauseKeepsThePlaceAndDoesNotReadOn) {
  const std::string topic = make_topic(2);
  fill(topic, 400, 100'000);  // all of key "k": 40 MB in one of the two partitions
  const auto source = open_source();
  const std::int32_t full = source->range_of({topic, 0}, kPatience).value().high == 400 ? 0 : 1;
  const LogId log(0, static_cast<std::uint32_t>(full));
  for (int round = 0; round < 2; ++round) {
    ASSERT_TRUE(source->assign({at(topic, 0, full)}));
    expect_offsets(*source, 0, 1, 1);
    source->pause(log);
    for (int i = 0; i < 40; ++i) {
      const auto paused = source->poll(Milliseconds(50), 1'000, 100U << 20U);
      ASSERT_TRUE(paused.has_value());
      ASSERT_TRUE(paused->messages.empty());
    }
    EXPECT_FALSE(source->at_end(log));
    if (round == 1) source->resume(log);  // else an assignment starts unpaused
  }
  expect_offsets(*source, 1, 400, 7);
}

TEST_F(KafkaTest, AnAssignmentStartsExactlyWhereItSaysWhateverCameBefore) {
  const std::string topic = make_topic(1);
  fill(topic, 3'000, 500);
  const auto source = open_source();
  std::mt19937 random(3);
  for (int round = 0; round < 40; ++round) {
    const std::int64_t begin = random() % 2'900;
    ASSERT_TRUE(source->assign({at(topic, begin)}));
    expect_offsets(*source, begin, begin + 100, 1 + random() % 50);
    if (HasFatalFailure()) return;
    if (round % 3 == 0) source->pause(LogId(0, 0));  // an assignment starts unpaused
  }
  ASSERT_TRUE(source->assign({}));
  const auto nothing = source->poll(Milliseconds(200), 10, 1'000'000);
  ASSERT_TRUE(nothing.has_value());
  EXPECT_TRUE(nothing->messages.empty());
}

TEST_F(KafkaTest, SeveralPartitionsAreEachReadInOrder) {
  const std::string topic = make_topic(3);
  Reports reports;
  const auto publisher = open_publisher(reports);
  std::map<std::int32_t, std::int64_t> counts;
  for (std::uint64_t i = 0; i < 300; ++i) {
    Publication publication{.topic = topic, .key = std::to_string(i), .value = std::to_string(i)};
    ASSERT_TRUE(publisher->send(publication, i));
  }
  for (std::uint64_t i = 0; i < 300; ++i) ++counts[reports.of(i).partition];
  ASSERT_EQ(counts.size(), 3U);

  const auto source = open_source();
  const auto partitions = source->partitions_of({topic}, kPatience);
  ASSERT_TRUE(partitions.has_value()) << partitions.error().message;
  ASSERT_EQ(partitions->size(), 3U);
  std::vector<Assignment> assignments;
  for (const TopicPartition& partition : *partitions) assignments.push_back(at(topic, 0, partition.partition));
  ASSERT_TRUE(source->assign(assignments));
  std::map<std::int32_t, std::int64_t> next;
  for (std::size_t read = 0; read < 300;) {
    const auto batch = next_batch(*source);
    ASSERT_TRUE(batch.has_value()) << batch.error().message;
    ASSERT_FALSE(batch->messages.empty());
    for (const Message& message : batch->messages) {
      EXPECT_EQ(message.offset, next[static_cast<std::int32_t>(message.log.partition())]++);
    }
    read += batch->messages.size();
  }
  EXPECT_EQ(next, counts);
}

TEST_F(KafkaTest, OffsetsOfTimesAndRanges) {
  const std::string topic = make_topic(1);
  Reports reports;
  const auto publisher = open_publisher(reports);
  for (std::uint64_t i = 0; i < 4; ++i) {
    Publication publication{
        .topic = topic, .key = "k", .value = "v", .timestamp_ms = 1'000'000 + 10 * static_cast<int>(i)};
    ASSERT_TRUE(publisher->send(publication, i));
    ASSERT_FALSE(reports.of(i).error);
  }
  const auto source = open_source();
  const TopicPartition partition{topic, 0};
  EXPECT_EQ(source->offset_at(partition, 1'000'000, kPatience).value(), 0);
  EXPECT_EQ(source->offset_at(partition, 1'000'011, kPatience).value(), 2);
  EXPECT_EQ(source->offset_at(partition, 1'000'031, kPatience).value(), 4);
  EXPECT_EQ(source->range_of(partition, kPatience).value().low, 0);
  EXPECT_EQ(source->range_of(partition, kPatience).value().high, 4);
  const auto missing = source->range_of({topic, 9}, kPatience);
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error().kind, ErrorKind::kFatal);
  EXPECT_THAT(missing.error().message, AllOf(HasSubstr(topic), HasSubstr("partition 9")));
}

// librdkafka says that such a partition does not exist.
TEST(KafkaWithoutALeader, APartitionIsNotTakenForMissing) {
  std::array<char, 256> why{};
  const std::unique_ptr<rd_kafka_t, decltype(&rd_kafka_destroy)> host(
      rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), why.data(), why.size()), &rd_kafka_destroy);
  ASSERT_NE(host, nullptr) << why.data();
  const std::unique_ptr<rd_kafka_mock_cluster_t, decltype(&rd_kafka_mock_cluster_destroy)> cluster(
      rd_kafka_mock_cluster_new(host.get(), 1), &rd_kafka_mock_cluster_destroy);
  ASSERT_EQ(rd_kafka_mock_topic_create(cluster.get(), "topic", 2, 1), RD_KAFKA_RESP_ERR_NO_ERROR);
  const auto set_leader = [&](std::int32_t broker) {
    ASSERT_EQ(rd_kafka_mock_partition_set_leader(cluster.get(), "topic", 1, broker), RD_KAFKA_RESP_ERR_NO_ERROR);
  };
  const auto opened =
      KafkaSource::open({{{"bootstrap.servers", rd_kafka_mock_cluster_bootstraps(cluster.get())}}, /*group=*/{}});
  ASSERT_TRUE(opened.has_value()) << opened.error().message;
  KafkaSource& source = **opened;

  set_leader(-1);
  const auto range = source.range_of({"topic", 1}, Milliseconds(500));
  ASSERT_FALSE(range.has_value());
  EXPECT_EQ(range.error().kind, ErrorKind::kRetry);
  EXPECT_THAT(range.error().message, AllOf(HasSubstr("topic topic partition 1"), HasSubstr("no broker leads it")));
  const auto offset = source.offset_at({"topic", 1}, 1'000, Milliseconds(500));
  ASSERT_FALSE(offset.has_value());
  EXPECT_EQ(offset.error().kind, ErrorKind::kRetry);
  const auto missing = source.range_of({"topic", 2}, kPatience);
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error().kind, ErrorKind::kFatal);

  // The question waits for the leader.
  std::jthread later([&] {
    std::this_thread::sleep_for(Milliseconds(300));
    set_leader(1);
  });
  const auto again = source.range_of({"topic", 1}, kPatience);
  ASSERT_TRUE(again.has_value()) << again.error().message;
  EXPECT_EQ(again->high, 0);
}

// ---- What cannot be read
// ---------------------------------------------------------------------------------------------

TEST_F(KafkaTest, AnOffsetOutOfTheLogIsFatalAndNamesTheRange) {
  const std::string topic = make_topic(1);
  fill(topic, 3);
  const auto source = open_source();
  ASSERT_TRUE(source->assign({at(topic, 100)}));
  const auto batch = next_batch(*source);
  ASSERT_FALSE(batch.has_value());
  EXPECT_EQ(batch.error().kind, ErrorKind::kFatal);
  EXPECT_THAT(batch.error().message,
              AllOf(HasSubstr(topic), HasSubstr("partition 0"), HasSubstr("offset 100"), HasSubstr("0 to 3")));
  EXPECT_FALSE(source->poll(Milliseconds(10), 1, 1).has_value()) << "the error stays";
  ASSERT_TRUE(source->assign({at(topic, 1)}));
  expect_offsets(*source, 1, 3);
}

TEST_F(KafkaTest, ALogTrimmedBelowTheOffsetIsFatalAndNamesTheGap) {
  const std::string topic = make_topic(1);
  fill(topic, 20);
  const auto source = open_source();
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  ASSERT_EQ(rd_kafka_conf_set(conf, "bootstrap.servers", properties_["bootstrap.servers"].c_str(), nullptr, 0),
            RD_KAFKA_CONF_OK);
  rd_kafka_t* const client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, nullptr, 0);
  ASSERT_NE(client, nullptr);
  rd_kafka_topic_partition_list_t* const list = rd_kafka_topic_partition_list_new(1);
  rd_kafka_topic_partition_list_add(list, topic.c_str(), 0)->offset = 15;
  rd_kafka_DeleteRecords_t* request = rd_kafka_DeleteRecords_new(list);
  rd_kafka_queue_t* const queue = rd_kafka_queue_new(client);
  rd_kafka_DeleteRecords(client, &request, 1, nullptr, queue);
  rd_kafka_event_t* const event = rd_kafka_queue_poll(queue, static_cast<int>(kPatience.count()));
  ASSERT_NE(event, nullptr);
  ASSERT_EQ(rd_kafka_event_error(event), RD_KAFKA_RESP_ERR_NO_ERROR) << rd_kafka_event_error_string(event);
  rd_kafka_event_destroy(event);
  rd_kafka_queue_destroy(queue);
  rd_kafka_DeleteRecords_destroy(request);
  rd_kafka_topic_partition_list_destroy(list);
  rd_kafka_destroy(client);

  ASSERT_TRUE(source->assign({at(topic, 4)}));
  const auto batch = next_batch(*source);
  ASSERT_FALSE(batch.has_value());
  EXPECT_EQ(batch.error().kind, ErrorKind::kFatal);
  EXPECT_THAT(batch.error().message, AllOf(HasSubstr("offset 4"), HasSubstr("15 to 20"), HasSubstr("11 records")));
}

TEST_F(KafkaTest, AMissingTopicIsNamed) {
  const std::string topic = random_name();
  const auto source = open_source();
  const auto partitions = source->partitions_of({topic}, kPatience);
  ASSERT_FALSE(partitions.has_value());
  EXPECT_EQ(partitions.error().kind, ErrorKind::kFatal);
  EXPECT_THAT(partitions.error().message, AllOf(HasSubstr(topic), HasSubstr("does not exist")));
}

TEST_F(KafkaTest, ATopicDeletedWhileItIsReadIsFatal) {
  const std::string topic = make_topic(1);
  fill(topic, 3);
  const auto source = open_source();
  ASSERT_TRUE(source->assign({at(topic, 0)}));
  expect_offsets(*source, 0, 3);
  ASSERT_TRUE(admin_->remove(topic, kPatience).value());
  topics_.erase(topic);
  const auto batch = next_batch(*source);
  ASSERT_FALSE(batch.has_value());
  EXPECT_EQ(batch.error().kind, ErrorKind::kFatal);
  EXPECT_THAT(batch.error().message, AllOf(HasSubstr(topic), HasSubstr("does not exist")));
}

TEST_F(KafkaTest, LagToolsSeeTheGroupsOffsets) {
  const std::string topic = make_topic(1);
  fill(topic, 5);
  const std::string group = random_name();
  {
    const auto source = open_source(group);
    ASSERT_TRUE(source->assign({at(topic, 0)}));
    expect_offsets(*source, 0, 5);
    source->commit_for_tools({{{topic, 0}, 5}});
  }
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  rd_kafka_conf_set(conf, "bootstrap.servers", properties_["bootstrap.servers"].c_str(), nullptr, 0);
  rd_kafka_conf_set(conf, "group.id", group.c_str(), nullptr, 0);
  rd_kafka_t* const client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, nullptr, 0);
  ASSERT_NE(client, nullptr);
  rd_kafka_topic_partition_list_t* const list = rd_kafka_topic_partition_list_new(1);
  rd_kafka_topic_partition_list_add(list, topic.c_str(), 0);
  EXPECT_EQ(rd_kafka_committed(client, list, static_cast<int>(kPatience.count())), RD_KAFKA_RESP_ERR_NO_ERROR);
  EXPECT_EQ(list->elems[0].offset, 5);
  rd_kafka_topic_partition_list_destroy(list);
  rd_kafka_destroy(client);
}

// ---- KafkaPublisher
// --------------------------------------------------------------------------------------------------

TEST_F(KafkaTest, HeadersAndKeysArriveAsTheyAre) {
  const std::string topic = make_topic(1);
  Reports reports;
  const auto publisher = open_publisher(reports);
  const std::string bytes("a\0b\xff", 4);
  Publication publication{.topic = topic,
                          .key = "310870231",
                          .value = bytes,
                          .headers = {{"error", "invalid: no type"}, {"offset", "17"}, {"empty", ""}}};
  ASSERT_TRUE(publisher->send(publication, 1));
  ASSERT_FALSE(reports.of(1).error);

  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  rd_kafka_conf_set(conf, "bootstrap.servers", properties_["bootstrap.servers"].c_str(), nullptr, 0);
  rd_kafka_conf_set(conf, "group.id", "klined-test", nullptr, 0);
  rd_kafka_t* const client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, nullptr, 0);
  rd_kafka_topic_partition_list_t* const list = rd_kafka_topic_partition_list_new(1);
  rd_kafka_topic_partition_list_add(list, topic.c_str(), 0)->offset = 0;
  rd_kafka_assign(client, list);
  rd_kafka_topic_partition_list_destroy(list);
  rd_kafka_message_t* const message = rd_kafka_consumer_poll(client, static_cast<int>(kPatience.count()));
  ASSERT_NE(message, nullptr);
  ASSERT_EQ(message->err, RD_KAFKA_RESP_ERR_NO_ERROR) << rd_kafka_message_errstr(message);
  EXPECT_EQ(std::string(static_cast<const char*>(message->key), message->key_len), "310870231");
  EXPECT_EQ(std::string(static_cast<const char*>(message->payload), message->len), bytes);
  rd_kafka_headers_t* headers = nullptr;
  ASSERT_EQ(rd_kafka_message_headers(message, &headers), RD_KAFKA_RESP_ERR_NO_ERROR);
  std::vector<std::pair<std::string, std::string>> found;
  const char* name = nullptr;
  const void* value = nullptr;
  std::size_t size = 0;
  for (std::size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR;
       ++i) {
    found.emplace_back(name, std::string(static_cast<const char*>(value), size));
  }
  const std::vector<std::pair<std::string, std::string>> sent = {
      {"error", "invalid: no type"}, {"offset", "17"}, {"empty", ""}};
  EXPECT_EQ(found, sent);
  rd_kafka_message_destroy(message);
  rd_kafka_destroy(client);
}

// The Java client's hash of "foobar" is -790332482, of "21" -973932308 (UtilsTest of Apache Kafka).
TEST_F(KafkaTest, KeysGoToTheJavaClientsPartitions) {
  const std::string topic = make_topic(64);
  Reports reports;
  const auto publisher = open_publisher(reports);
  Publication foobar{.topic = topic, .key = "foobar", .value = "v"};
  Publication number{.topic = topic, .key = "21", .value = "v"};
  ASSERT_TRUE(publisher->send(foobar, 1));
  ASSERT_TRUE(publisher->send(number, 2));
  EXPECT_EQ(reports.of(1).partition, (-790332482 & 0x7fffffff) % 64);
  EXPECT_EQ(reports.of(2).partition, (-973932308 & 0x7fffffff) % 64);
}

TEST_F(KafkaTest, OneAcknowledgementIsEnoughWhereItIsSaid) {
  const std::string topic = make_topic(1);
  Reports reports;
  const auto publisher = open_publisher(reports, {{"acks", "1"}});
  Publication publication{.topic = topic, .key = "k", .value = "v"};
  ASSERT_TRUE(publisher->send(publication, 1));
  EXPECT_EQ(reports.of(1).offset, 0);
}

TEST_F(KafkaTest, APublicationToAMissingTopicComesBackAndNamesIt) {
  const std::string topic = random_name();
  Reports reports;
  const auto publisher = open_publisher(reports, {{"topic.metadata.propagation.max.ms", "500"}});
  Publication publication{.topic = topic, .key = "k", .value = "v", .headers = {{"error", "e"}}};
  ASSERT_TRUE(publisher->send(publication, 1));
  const DeliveryReport report = reports.of(1);
  ASSERT_TRUE(report.error);
  EXPECT_EQ(report.error->kind, ErrorKind::kRetry);
  EXPECT_THAT(report.error->message, AllOf(HasSubstr(topic), HasSubstr("klined init")));
  EXPECT_EQ(report.publication.topic, topic);
  EXPECT_EQ(report.publication.key, "k");
  EXPECT_EQ(report.publication.value, "v");
  EXPECT_EQ(report.publication.headers.size(), 1U);
  EXPECT_GT(publisher->last_error_ms(), 0);

  // Made by now, it takes the same publication.
  ASSERT_TRUE(admin_->create({.name = topic}, kPatience).value());
  topics_.insert(topic);
  for (std::uint64_t ticket = 2; ticket < 40; ++ticket) {
    Publication again{.topic = topic, .key = "k", .value = "v"};
    ASSERT_TRUE(publisher->send(again, ticket));
    if (!reports.of(ticket).error) return;
    std::this_thread::sleep_for(Milliseconds(250));
  }
  FAIL() << "the topic exists, but nothing is delivered to it";
}

TEST_F(KafkaTest, AMessageTooLargeForItsTopicIsFatal) {
  const std::string topic = make_topic(1, {{"max.message.bytes", "1000"}});
  Reports reports;
  const auto publisher = open_publisher(reports, {{"compression.codec", "none"}, {"message.max.bytes", "100000"}});
  Publication by_broker{.topic = topic, .key = "k", .value = std::string(5'000, 'x')};
  ASSERT_TRUE(publisher->send(by_broker, 1));
  Publication by_client{.topic = topic, .key = "k", .value = std::string(200'000, 'x')};
  ASSERT_TRUE(publisher->send(by_client, 2));
  for (const std::uint64_t ticket : {1U, 2U}) {
    const DeliveryReport report = reports.of(ticket);
    ASSERT_TRUE(report.error);
    EXPECT_EQ(report.error->kind, ErrorKind::kFatal);
    EXPECT_THAT(report.error->message, AllOf(HasSubstr(topic), HasSubstr("max.message.bytes")));
    EXPECT_EQ(report.publication.value.size(), ticket == 1 ? 5'000U : 200'000U);
  }
}

TEST_F(KafkaTest, AFullQueueTakesNothing) {
  const std::string topic = make_topic(1);
  Reports reports;
  const auto publisher = open_publisher(reports, {{"queue.buffering.max.messages", "2"}, {"linger.ms", "1000"}});
  std::uint64_t taken = 0;
  Publication publication{.topic = topic, .key = "k", .value = "v"};
  while (taken < 10 && publisher->send(publication, taken)) {
    ++taken;
    publication = {.topic = topic, .key = "k", .value = "v"};
  }
  EXPECT_EQ(taken, 2U);
  EXPECT_EQ(publication.value, "v");
  EXPECT_EQ(publication.topic, topic);
  EXPECT_EQ(publisher->in_flight(), 2);
  EXPECT_TRUE(publisher->flush(kPatience));
}

// ---- KafkaAdmin
// ------------------------------------------------------------------------------------------------------

TEST_F(KafkaTest, TopicsAreMadeOnceAndLookedAt) {
  const TopicSpec spec{.name = random_name(), .partitions = 5, .config = {{"max.message.bytes", "2000000"}}};
  EXPECT_EQ(admin_->partitions_of(spec.name, kPatience).value(), std::nullopt);
  EXPECT_TRUE(admin_->create(spec, kPatience).value());
  EXPECT_FALSE(admin_->create(spec, kPatience).value());
  EXPECT_EQ(admin_->partitions_of(spec.name, kPatience).value(), 5);
  EXPECT_EQ(admin_->config_of(spec.name, "max.message.bytes", kPatience).value(), "2000000");
  EXPECT_EQ(admin_->config_of(spec.name, "min.insync.replicas", kPatience).value(), "1");
  EXPECT_EQ(admin_->config_of(spec.name, "no.such.thing", kPatience).value(), std::nullopt);
  EXPECT_TRUE(admin_->remove(spec.name, kPatience).value());
  EXPECT_FALSE(admin_->remove(random_name(), kPatience).value());
  const auto config = admin_->config_of(random_name(), "min.insync.replicas", kPatience);
  ASSERT_FALSE(config.has_value());
  EXPECT_EQ(config.error().kind, ErrorKind::kFatal);
}

TEST_F(KafkaTest, ATopicThatCannotBeMadeSaysWhy) {
  const auto replicas = admin_->create({.name = random_name(), .replication_factor = 7}, kPatience);
  ASSERT_FALSE(replicas.has_value());
  EXPECT_EQ(replicas.error().kind, ErrorKind::kFatal);
  EXPECT_THAT(replicas.error().message, HasSubstr("replication factor"));
  const auto config = admin_->create({.name = random_name(), .config = {{"max.message.bytes", "many"}}}, kPatience);
  ASSERT_FALSE(config.has_value());
  EXPECT_THAT(config.error().message, HasSubstr("config"));
  const auto name = admin_->create({.name = "no topic/"}, kPatience);
  ASSERT_FALSE(name.has_value());
  EXPECT_EQ(name.error().kind, ErrorKind::kFatal);
}

}  // namespace
}  // namespace klined
