#include "klined/publish/kafka_publisher.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include "unit/publish/mock_kafka.hpp"

namespace klined {
namespace {

using ::testing::HasSubstr;

constexpr Milliseconds kPatience{20'000};

class Reports {
 public:
  Publisher::ReportHandler handler() {
    return [this](DeliveryReport&& report) {
      const std::scoped_lock lock(mutex_);
      ++counts_[report.ticket];
      last_[report.ticket] = std::move(report);
      came_.notify_all();
    };
  }
  bool wait_for(std::size_t count) {
    std::unique_lock lock(mutex_);
    return came_.wait_for(lock, kPatience, [&] { return last_.size() >= count; });
  }
  std::map<std::uint64_t, DeliveryReport> last() {
    const std::scoped_lock lock(mutex_);
    return last_;
  }
  void expect_each_once() {
    const std::scoped_lock lock(mutex_);
    for (const auto& [ticket, count] : counts_) EXPECT_EQ(count, 1) << "ticket " << ticket;
  }

 private:
  std::mutex mutex_;
  std::condition_variable came_;
  std::map<std::uint64_t, int> counts_;
  std::map<std::uint64_t, DeliveryReport> last_;
};

TEST(KafkaPublisherTest, AWrongPropertyIsNamed) {
  const auto unknown = KafkaPublisher::open({{{"bootstrap.servers", "localhost:1"}, {"no.such.thing", "1"}}}, {});
  ASSERT_FALSE(unknown.has_value());
  EXPECT_EQ(unknown.error().kind, ErrorKind::kFatal);
  EXPECT_THAT(unknown.error().message, HasSubstr("no.such.thing=1"));
  const auto secret = KafkaPublisher::open({{{"bootstrap.servers", "localhost:1"}, {"ssl.key.passwordd", "hush"}}}, {});
  ASSERT_FALSE(secret.has_value());
  EXPECT_THAT(secret.error().message, Not(HasSubstr("hush")));
  const auto nowhere = KafkaPublisher::open({}, {});
  ASSERT_FALSE(nowhere.has_value());
  EXPECT_THAT(nowhere.error().message, HasSubstr("bootstrap.servers"));
}

TEST(KafkaPublisherTest, WithoutABrokerItEndsSoonAndGivesEverythingBack) {
  Reports reports;
  auto publisher = KafkaPublisher::open({{{"bootstrap.servers", "127.0.0.1:1"}}}, reports.handler());
  ASSERT_TRUE(publisher.has_value()) << publisher.error().message;
  for (std::uint64_t i = 0; i < 10; ++i) {
    Publication publication{
        .topic = "t", .key = std::to_string(i), .value = std::string(i * 100, 'x'), .headers = {{"name", "value"}}};
    ASSERT_TRUE((*publisher)->send(publication, i));
  }
  EXPECT_FALSE((*publisher)->flush(Milliseconds(50)));
  EXPECT_EQ((*publisher)->in_flight(), 10);
  const auto before = std::chrono::steady_clock::now();
  publisher->reset();
  EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(8));
  const auto last = reports.last();
  ASSERT_EQ(last.size(), 10U);
  reports.expect_each_once();
  for (const auto& [ticket, report] : last) {
    ASSERT_TRUE(report.error);
    EXPECT_EQ(report.error->kind, ErrorKind::kRetry);
    EXPECT_EQ(report.publication.key, std::to_string(ticket));
    EXPECT_EQ(report.publication.value, std::string(ticket * 100, 'x'));
    EXPECT_EQ(report.publication.headers.size(), 1U);
  }
}

TEST(KafkaPublisherTest, ABrokersOutageIsWaitedFor) {
  MockKafka kafka;
  kafka.make_topic("t", 1);
  Reports reports;
  const auto publisher = KafkaPublisher::open({kafka.properties()}, reports.handler());
  ASSERT_TRUE(publisher.has_value());
  Publication first{.topic = "t", .key = "1", .value = "before"};
  ASSERT_TRUE((*publisher)->send(first, 1));
  ASSERT_TRUE(reports.wait_for(1));
  kafka.stop();
  Publication second{.topic = "t", .key = "2", .value = "during"};
  ASSERT_TRUE((*publisher)->send(second, 2));
  EXPECT_FALSE((*publisher)->flush(Milliseconds(2'500)));
  EXPECT_GT((*publisher)->last_error_ms(), 0);
  kafka.start();
  ASSERT_TRUE((*publisher)->flush(kPatience));
  for (const auto& [ticket, report] : reports.last()) EXPECT_FALSE(report.error) << report.error->message;
  const std::vector<std::pair<std::string, std::string>> expected = {{"1", "before"}, {"2", "during"}};
  EXPECT_EQ(kafka.read("t"), expected);
}

// What an idempotent producer cannot get over makes librdkafka refuse everything; the publisher goes on with a new one.
TEST(KafkaPublisherTest, AfterAFatalErrorANewProducerGoesOn) {
  MockKafka kafka;
  kafka.make_topic("t", 1);
  Reports reports;
  const auto publisher = KafkaPublisher::open({kafka.properties()}, reports.handler());
  ASSERT_TRUE(publisher.has_value());
  Publication first{.topic = "t", .key = "k", .value = "first"};
  ASSERT_TRUE((*publisher)->send(first, 1));
  ASSERT_TRUE(reports.wait_for(1));
  ASSERT_FALSE(reports.last().at(1).error);

  kafka.fail_produce({RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER});
  Publication second{.topic = "t", .key = "k", .value = "second"};
  ASSERT_TRUE((*publisher)->send(second, 2));
  ASSERT_TRUE(reports.wait_for(2));
  DeliveryReport report = reports.last().at(2);
  ASSERT_TRUE(report.error) << "the mock's error was no fatal one";
  EXPECT_EQ(report.error->kind, ErrorKind::kRetry);
  EXPECT_EQ(report.publication.value, "second");

  const auto limit = std::chrono::steady_clock::now() + kPatience;
  while (!(*publisher)->send(report.publication, 3)) {
    ASSERT_LT(std::chrono::steady_clock::now(), limit) << "no new producer";
    std::this_thread::sleep_for(Milliseconds(5));
  }
  ASSERT_TRUE((*publisher)->flush(kPatience));
  EXPECT_FALSE(reports.last().at(3).error);
  reports.expect_each_once();
}

TEST(KafkaPublisherTest, ManyThreadsMaySend) {
  MockKafka kafka;
  kafka.make_topic("t", 4);
  Reports reports;
  const auto publisher = KafkaPublisher::open({kafka.properties()}, reports.handler());
  ASSERT_TRUE(publisher.has_value());
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (std::uint64_t i = 0; i < 500; ++i) {
        Publication publication{.topic = "t", .key = std::to_string(i), .value = "v"};
        while (!(*publisher)->send(publication, t * 500 + i)) std::this_thread::yield();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  ASSERT_TRUE((*publisher)->flush(kPatience));
  EXPECT_EQ(reports.last().size(), 2'000U);
  reports.expect_each_once();
}

}  // namespace
}  // namespace klined
