#include "klined/source/kafka_source.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

namespace klined {
namespace {

using ::testing::HasSubstr;

TEST(KafkaSourceTest, AWrongPropertyIsNamed) {
  const auto unknown = KafkaSource::open({{{"bootstrap.servers", "localhost:1"}, {"fetch.queue", "1"}}, "group"});
  ASSERT_FALSE(unknown.has_value());
  EXPECT_EQ(unknown.error().kind, ErrorKind::kFatal);
  EXPECT_THAT(unknown.error().message, HasSubstr("fetch.queue=1"));
  const auto value = KafkaSource::open({{{"bootstrap.servers", "localhost:1"}, {"fetch.max.bytes", "many"}}, "group"});
  ASSERT_FALSE(value.has_value());
  EXPECT_THAT(value.error().message, HasSubstr("fetch.max.bytes=many"));
}

TEST(KafkaSourceTest, WithoutABrokerItSaysSoAndEndsSoon) {
  const auto begin = std::chrono::steady_clock::now();
  {
    const auto source = KafkaSource::open({{{"bootstrap.servers", "127.0.0.1:1"}}, "group"});
    ASSERT_TRUE(source.has_value()) << source.error().message;
    const auto partitions = (*source)->partitions_of({"trades"}, Milliseconds(500));
    ASSERT_FALSE(partitions.has_value());
    EXPECT_EQ(partitions.error().kind, ErrorKind::kRetry);
    EXPECT_THAT(partitions.error().message, testing::AllOf(HasSubstr("trades"), HasSubstr("127.0.0.1:1")));
    ASSERT_TRUE((*source)->assign({{.partition = {"trades", 0}, .log = LogId(0, 0), .offset = 3}}));
    const auto batch = (*source)->poll(Milliseconds(1'500), 10, 1'000);
    ASSERT_TRUE(batch.has_value()) << "an outage passes";
    EXPECT_TRUE(batch->messages.empty());
    EXPECT_FALSE((*source)->at_end(LogId(0, 0)));
    EXPECT_EQ((*source)->high_watermark(LogId(0, 0)), -1);
    EXPECT_GT((*source)->last_error_ms(), 0);
    (*source)->commit_for_tools({{{"trades", 0}, 3}});
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(8));
}

}  // namespace
}  // namespace klined
