// The metrics page: names, labels, and an address that cannot be had.
#include "klined/base/metrics.hpp"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fmt/format.h>
#include <gmock/gmock.h>

namespace klined {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

// What a GET of `path` answers, head and body.
std::string get(int port, const std::string& path) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  EXPECT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  const std::string request = "GET " + path + " HTTP/1.0\r\n\r\n";
  EXPECT_EQ(send(fd, request.data(), request.size(), 0), static_cast<ssize_t>(request.size()));
  std::string answer;
  char buffer[4096];
  for (ssize_t n = 0; (n = recv(fd, buffer, sizeof buffer, 0)) > 0;) answer.append(buffer, static_cast<std::size_t>(n));
  close(fd);
  return answer;
}

TEST(Metrics, PageHoldsWhatWasCounted) {
  Metrics metrics("1.2.3");
  metrics.trades("applied").Increment(5);
  metrics.trades("applied").Increment();
  metrics.partition_lag("sol-trades", 3).Set(17);
  metrics.hidden_records("sol-trades", 3).Set(5);
  metrics.end_to_end_delay.Observe(0.2);
  const std::string page = metrics.page();
  EXPECT_THAT(page, HasSubstr("klined_build_info{version=\"1.2.3\"} 1"));
  EXPECT_THAT(page, HasSubstr("klined_trades_total{outcome=\"applied\"} 6"));
  EXPECT_THAT(page, HasSubstr("klined_partition_lag{partition=\"3\",topic=\"sol-trades\"} 17"));
  EXPECT_THAT(page, HasSubstr("klined_hidden_records{partition=\"3\",topic=\"sol-trades\"} 5"));
  EXPECT_THAT(page, HasSubstr("klined_end_to_end_delay_seconds_bucket{le=\"0.1\"} 0"));
  EXPECT_THAT(page, HasSubstr("klined_end_to_end_delay_seconds_bucket{le=\"0.25\"} 1"));
  EXPECT_THAT(page, HasSubstr("# HELP klined_messages_total "));
}

TEST(Metrics, HandlesAreTheSameEachTime) {
  Metrics metrics("1");
  EXPECT_EQ(&metrics.retries("mysql"), &metrics.retries("mysql"));
  EXPECT_NE(&metrics.retries("mysql"), &metrics.retries("redis"));
}

TEST(Metrics, PagesAreServed) {
  Metrics metrics("1");
  ASSERT_TRUE(metrics.expose("127.0.0.1:0").has_value());
  ASSERT_GT(metrics.port(), 0);
  metrics.messages.Increment(3);
  const std::string page = get(metrics.port(), "/metrics");
  EXPECT_THAT(page, StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(page, HasSubstr("klined_messages_total 3"));
  EXPECT_THAT(get(metrics.port(), "/healthz"), HasSubstr("klined_up 1"));
}

TEST(Metrics, TakenPortIsNamed) {
  Metrics first("1");
  ASSERT_TRUE(first.expose("127.0.0.1:0").has_value());
  const std::string address = fmt::format("127.0.0.1:{}", first.port());
  Metrics second("1");
  const Status status = second.expose(address);
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().kind, ErrorKind::kFatal);
  EXPECT_THAT(status.error().message, HasSubstr("cannot serve metrics on " + address + ": Address already in use"));
  EXPECT_THAT(status.error().message, HasSubstr("metrics.listen"));
  EXPECT_EQ(second.port(), 0);
}

}  // namespace
}  // namespace klined
