#include "klined/publish/feeder.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "unit/publish/mock_kafka.hpp"

namespace klined {
namespace {

using ::testing::HasSubstr;
using ::testing::UnorderedElementsAreArray;

class FeederTest : public ::testing::TestWithParam<std::size_t> {
 protected:
  void SetUp() override {
    path_ = std::filesystem::temp_directory_path() / ("klined-feeder-" + std::to_string(::getpid()));
    std::filesystem::remove(path_);
    kafka_.make_topic("t", 1);
  }
  void TearDown() override { std::filesystem::remove(path_); }

  std::unique_ptr<Feeder> open(std::int64_t spool_bytes = 1 << 20, const char* timeout_ms = "1000") {
    FeederOptions options{
        .properties = kafka_.properties(), .spool_path = path_, .spool_bytes = spool_bytes, .window = GetParam()};
    options.properties["message.timeout.ms"] = timeout_ms;
    auto feeder = Feeder::open(options, stop_);
    EXPECT_TRUE(feeder.has_value()) << feeder.error().message;
    return std::move(*feeder);
  }
  static void feed(Feeder& feeder, int begin, int end) {
    for (int i = begin; i < end; ++i) {
      const Status fed = feeder.feed({.topic = "t", .key = std::to_string(i), .value = "[]"}, 2);
      ASSERT_TRUE(fed) << fed.error().message;
    }
  }
  // Keys of the log; a key that was sent again counts where it came first.
  std::vector<int> delivered() const {
    std::vector<int> keys;
    for (const auto& [key, value] : kafka_.read("t")) {
      if (std::ranges::find(keys, std::stoi(key)) == keys.end()) keys.push_back(std::stoi(key));
    }
    return keys;
  }
  static std::vector<int> up_to(int end) {
    std::vector<int> numbers;
    for (int i = 0; i < end; ++i) numbers.push_back(i);
    return numbers;
  }
  // All of them; in order where each send waits for its confirmation. Without that, order is kept only without
  // failures.
  void expect_delivered(int end) const {
    if (GetParam() == 1) {
      EXPECT_EQ(delivered(), up_to(end));
    } else {
      EXPECT_THAT(delivered(), UnorderedElementsAreArray(up_to(end)));
    }
  }

  MockKafka kafka_;
  std::filesystem::path path_;
  std::atomic<bool> stop_ = false;
};

TEST_P(FeederTest, EachSendIsConfirmed) {
  const auto feeder = open(1 << 20, "30000");  // nothing is to be spooled, however slow the machine
  feed(*feeder, 0, 20);
  ASSERT_TRUE(feeder->finish(Milliseconds(10'000)));
  const FeederTotals totals = feeder->totals();
  EXPECT_EQ(totals.messages, 20);
  EXPECT_EQ(totals.trades, 40);
  EXPECT_EQ(totals.bytes, 40);
  EXPECT_EQ(totals.confirmed, 20);
  EXPECT_EQ(totals.spooled, 0);
  ASSERT_EQ(totals.partitions.size(), 1U);
  EXPECT_EQ(totals.partitions.at(0).first_offset, 0);
  EXPECT_EQ(totals.partitions.at(0).last_offset, 19);
  EXPECT_EQ(totals.partitions.at(0).messages, 20);
  expect_delivered(20);
}

TEST_P(FeederTest, AnOutageIsSpooledAndSentInOrder) {
  const auto feeder = open();
  feed(*feeder, 0, 5);
  ASSERT_TRUE(feeder->finish(Milliseconds(10'000)));
  kafka_.stop();
  feed(*feeder, 5, 15);
  kafka_.start();
  feed(*feeder, 15, 20);
  const Status finished = feeder->finish(Milliseconds(30'000));
  ASSERT_TRUE(finished) << finished.error().message;
  EXPECT_EQ(feeder->totals().left_in_spool, 0);
  if (GetParam() == 1) {
    EXPECT_GE(feeder->totals().spooled, 10);
    EXPECT_GE(feeder->totals().from_spool, 10);
  }
  expect_delivered(20);
}

TEST_P(FeederTest, ARestartSendsTheSpoolFirst) {
  kafka_.stop();
  {
    const auto feeder = open();
    feed(*feeder, 0, 5);
    stop_ = true;
    const auto before = std::chrono::steady_clock::now();
    const Status finished = feeder->finish(Milliseconds(60'000));
    EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(12)) << "told to stop, it does not wait";
    ASSERT_FALSE(finished);
    EXPECT_EQ(finished.error().kind, ErrorKind::kRetry);
    EXPECT_THAT(finished.error().message, HasSubstr(path_.string()));
    EXPECT_EQ(feeder->totals().left_in_spool, 5);
  }
  stop_ = false;
  kafka_.start();
  const auto feeder = open();
  EXPECT_TRUE(feeder->spooling());
  feed(*feeder, 5, 10);
  ASSERT_TRUE(feeder->finish(Milliseconds(30'000)));
  expect_delivered(10);
}

TEST_P(FeederTest, AFullSpoolWaitsForKafka) {
  kafka_.stop();
  const auto feeder = open(100);
  std::thread starts([this] {
    std::this_thread::sleep_for(Milliseconds(4'000));
    kafka_.start();
  });
  for (int i = 0; i < 20; ++i) {
    const Status fed = feeder->feed({.topic = "t", .key = std::to_string(i), .value = std::string(60, 'x')}, 1);
    EXPECT_TRUE(fed);
    EXPECT_LE(feeder->totals().left_in_spool, 20);
  }
  starts.join();
  ASSERT_TRUE(feeder->finish(Milliseconds(30'000)));
  expect_delivered(20);
}

TEST_P(FeederTest, WhatCanNeverBeDeliveredStaysAndEndsTheFeed) {
  {
    const auto feeder = open();
    feed(*feeder, 0, 3);
    ASSERT_TRUE(feeder->finish(Milliseconds(10'000)));
    kafka_.fail_produce({RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE});
    Status fed = feeder->feed({.topic = "t", .key = "3", .value = "[]"}, 2);
    if (fed) fed = feeder->finish(Milliseconds(10'000));
    ASSERT_FALSE(fed);
    EXPECT_EQ(fed.error().kind, ErrorKind::kFatal);
    EXPECT_THAT(fed.error().message, HasSubstr("max.message.bytes"));
    EXPECT_EQ(feeder->totals().left_in_spool, 1);
  }
  const auto feeder = open();  // mended by now
  ASSERT_TRUE(feeder->finish(Milliseconds(10'000)));
  expect_delivered(4);
}

INSTANTIATE_TEST_SUITE_P(Windows, FeederTest, ::testing::Values(1, 100));

}  // namespace
}  // namespace klined
