// Commits on a real server that fails: two owners, lost answers, locks, deadlocks, cut connections.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "integration/store_support.hpp"

namespace klined {
namespace {

using namespace store_testing;

// Between a store and the server: it can lose the answer of COMMIT, or COMMIT itself.
class LossyProxy {
 public:
  enum class Commit { kPass, kLoseAnswer, kLoseRequest, kDelay };

  explicit LossyProxy(const MySqlOptions& server) : server_(server) {
    listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(::listen(listener_, 8), 0);
    socklen_t size = sizeof(address);
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::jthread([this](const std::stop_token& stop) { accept_all(stop); });
  }
  ~LossyProxy() {
    thread_.request_stop();
    thread_.join();
    connections_.clear();
    ::close(listener_);
  }
  std::int32_t port() const { return port_; }
  // What happens to the next COMMIT; those after it pass.
  void next_commit(Commit fate) { fate_ = fate; }

 private:
  void accept_all(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      pollfd ready{listener_, POLLIN, 0};
      if (::poll(&ready, 1, 20) <= 0) continue;
      const int client = ::accept(listener_, nullptr, nullptr);
      connections_.emplace_back([this, client](const std::stop_token& end) { serve(client, end); });
    }
  }
  void serve(int client, const std::stop_token& stop) {
    const int server = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(server_.port));
    ::inet_pton(AF_INET, server_.host.c_str(), &address.sin_addr);
    EXPECT_EQ(::connect(server, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    std::string buffer(1 << 16, '\0');
    bool open = true;
    while (open && !stop.stop_requested()) {
      pollfd ends[2] = {{client, POLLIN, 0}, {server, POLLIN, 0}};
      if (::poll(ends, 2, 20) <= 0) continue;
      for (int i = 0; i < 2 && open; ++i) {
        if (ends[i].revents == 0) continue;
        const ssize_t got = ::recv(ends[i].fd, buffer.data(), buffer.size(), 0);
        const std::string_view bytes(buffer.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
        open = got > 0 && pass(bytes, i == 0, client, server);
      }
    }
    ::close(client);
    ::close(server);
  }
  // False where the connection ends here.
  bool pass(std::string_view bytes, bool from_client, int client, int server) {
    const bool is_commit = from_client && bytes.size() == 11 &&
                           bytes.ends_with(
                               "\x03"
                               "COMMIT");
    const Commit fate = is_commit ? fate_.exchange(Commit::kPass) : Commit::kPass;
    if (fate == Commit::kLoseRequest) return false;
    if (fate == Commit::kDelay) {
      ::shutdown(client, SHUT_RDWR);
      std::this_thread::sleep_for(milliseconds(1500));
    }
    ::send(from_client ? server : client, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (fate == Commit::kPass) return true;
    char answer[512];
    EXPECT_GT(::recv(server, answer, sizeof(answer), 0), 0);  // done, but nobody hears of it
    return false;
  }

  MySqlOptions server_;
  int listener_ = -1;
  std::int32_t port_ = 0;
  std::atomic<Commit> fate_{Commit::kPass};
  std::vector<std::jthread> connections_;
  std::jthread thread_;
};

// ---- Fencing and faults --------------------------------------------------------------------------------------------

TEST_F(StoreTest, TheEarlierOwnerIsFenced) {
  MySqlCandleStore first = claimed_store(1);
  ASSERT_TRUE(first.commit(commit_from(100)));
  MySqlCandleStore second = claimed_store(2);
  const Status refused = first.commit(commit_from(110, {row(0)}));
  EXPECT_EQ(kind(refused), ErrorKind::kFenced);
  EXPECT_THAT(message(refused), AllOf(HasSubstr("another process of group \"group-a\""), HasSubstr("sol-trades[0]")));
  EXPECT_EQ(ask("SELECT COUNT(*) FROM trade_kline_1m"), "0");
  ASSERT_TRUE(second.commit(commit_from(110, {row(0)})));
  EXPECT_EQ(kind(first.was_committed(commit_from(110))), ErrorKind::kFenced);
}

TEST_F(StoreTest, AnOffsetThatIsNotAsExpectedFences) {
  MySqlCandleStore store = claimed_store();
  LaneCommit commit = commit_from(100, {row(0)});
  commit.offsets[2].expected = 99;
  EXPECT_EQ(kind(store.commit(commit)), ErrorKind::kFenced);
  EXPECT_THAT(message(store.commit(commit)), HasSubstr("its stored offset is 102, expected was 99"));
  EXPECT_EQ(ask("SELECT COUNT(*) FROM stream_offset WHERE next_offset>102"), "0")
      << "partitions 0 and 1 were rolled back";
  EXPECT_TRUE(store.commit(commit_from(100, {row(0)})));
}

TEST_F(StoreTest, AnIdleConnectionThatIsGoneIsReplacedAtOnce) {
  MySqlCandleStore store = claimed_store();
  ASSERT_TRUE(store.commit(commit_from(100)));
  run("KILL CONNECTION " + std::to_string(store.connection().id()));
  const Status done = store.commit(commit_from(110));
  EXPECT_TRUE(done) << message(done);
  run("KILL CONNECTION " + std::to_string(store.connection().id()));
  EXPECT_TRUE(store.load(keys_of({row(0)})));
}

TEST_F(StoreTest, AConnectionCutInsideOfATransactionMeansRetry) {
  MySqlCandleStore store = claimed_store();
  MySqlConnection holder(options_);
  ASSERT_TRUE(holder.begin("hold a lock"));
  ASSERT_TRUE(holder.execute("UPDATE stream_offset SET lane=lane WHERE lane=0", "hold a lock"));
  std::jthread killer([this, id = store.connection().id()] {
    std::this_thread::sleep_for(milliseconds(500));
    run("KILL CONNECTION " + std::to_string(id));
  });
  const Status done = store.commit(commit_from(100, {row(0)}));
  EXPECT_EQ(kind(done), ErrorKind::kRetry) << message(done);
  killer.join();
  holder.rollback();
  EXPECT_TRUE(store.commit(commit_from(100, {row(0)})));
}

TEST_F(StoreTest, ALostAnswerOfCommitIsClearedUp) {
  LossyProxy proxy(options_);
  MySqlOptions through = options_;
  through.port = proxy.port();
  MySqlCandleStore store(through);
  ASSERT_TRUE(store.claim(request(1)));

  proxy.next_commit(LossyProxy::Commit::kLoseAnswer);
  const LaneCommit first = commit_from(100, {row(0)});
  EXPECT_EQ(kind(store.commit(first)), ErrorKind::kUnknown);
  auto stored = store.was_committed(first);
  ASSERT_TRUE(stored) << message(stored);
  EXPECT_TRUE(*stored);

  proxy.next_commit(LossyProxy::Commit::kLoseRequest);
  const LaneCommit second = commit_from(110, {row(60)});
  EXPECT_EQ(kind(store.commit(second)), ErrorKind::kUnknown);
  stored = store.was_committed(second);
  ASSERT_TRUE(stored) << message(stored);
  EXPECT_FALSE(*stored);
  ASSERT_TRUE(store.commit(second));

  // COMMIT still on its way: whoever asks has to wait for it.
  proxy.next_commit(LossyProxy::Commit::kDelay);
  const LaneCommit third = commit_from(120, {row(120)});
  EXPECT_EQ(kind(store.commit(third)), ErrorKind::kUnknown);
  const auto begin = std::chrono::steady_clock::now();
  stored = store.was_committed(third);
  ASSERT_TRUE(stored) << message(stored);
  EXPECT_TRUE(*stored);
  EXPECT_GT(std::chrono::steady_clock::now() - begin, milliseconds(500));
  EXPECT_EQ(ask("SELECT COUNT(*) FROM trade_kline_1m"), "3");
}

TEST_F(StoreTest, ACommitThatMovesNothingIsDoneAgain) {
  MySqlCandleStore store = claimed_store();
  LaneCommit commit = commit_from(100, {row(0)});
  for (LaneCommit::Advance& advance : commit.offsets) advance.to.next_offset = advance.expected;
  ASSERT_TRUE(store.commit(commit)) << "rows that match but do not change count as matched";
  ASSERT_TRUE(store.commit(commit));
  const auto stored = store.was_committed(commit);
  ASSERT_TRUE(stored) << message(stored);
  EXPECT_FALSE(*stored);
}

TEST_F(StoreTest, ALockThatOthersHoldMeansRetry) {
  MySqlOptions impatient = options_;
  impatient.lock_wait_timeout = seconds(1);
  MySqlCandleStore store(impatient);
  ASSERT_TRUE(store.claim(request(1)));
  ASSERT_TRUE(store.commit(commit_from(100, {row(0), row(60)})));
  MySqlConnection holder(options_);
  ASSERT_TRUE(holder.begin("hold a lock"));
  ASSERT_TRUE(holder.execute("UPDATE trade_kline_1m SET c=0 WHERE candle_time=60", "hold a lock"));
  const Status refused = store.commit(commit_from(110, {row(0), row(60)}));
  EXPECT_EQ(kind(refused), ErrorKind::kRetry);
  EXPECT_THAT(message(refused), HasSubstr("1205"));
  holder.rollback();
  EXPECT_EQ(ask("SELECT MIN(next_offset) FROM stream_offset WHERE lane=0"), "110") << "nothing was done";
  EXPECT_TRUE(store.commit(commit_from(110, {row(0), row(60)}))) << "and the whole of it again";
}

TEST_F(StoreTest, ADeadlockMeansRetry) {
  MySqlCandleStore store = claimed_store();
  const std::string first = "a" + std::string(kPair, 20);
  const std::string second = "b" + std::string(kPair, 20);
  ASSERT_TRUE(store.commit(commit_from(100, {row(0, first), row(0, second)})));
  MySqlConnection other(options_);
  ASSERT_TRUE(other.begin("lock the wrong way round"));
  // The heavier transaction survives.
  std::string heavy = "INSERT INTO stream_meta VALUES ('x0','')";
  for (int i = 1; i < 200; ++i) heavy += ",('x" + std::to_string(i) + "','')";
  ASSERT_TRUE(other.execute(heavy, "weigh more"));
  ASSERT_TRUE(
      other.execute("UPDATE trade_kline_1m SET c=0 WHERE pair_address='" + second + "' AND chain_id=100000", "lock b"));
  std::jthread crossing([&other, &first] {
    std::this_thread::sleep_for(milliseconds(700));
    EXPECT_TRUE(other.execute("UPDATE trade_kline_1m SET c=0 WHERE pair_address='" + first + "' AND chain_id=100000",
                              "lock a"));
    other.rollback();
  });
  const Status refused = store.commit(commit_from(110, {row(0, second), row(0, first)}));
  crossing.join();
  EXPECT_EQ(kind(refused), ErrorKind::kRetry);
  EXPECT_THAT(message(refused), HasSubstr("1213"));
  EXPECT_TRUE(store.commit(commit_from(110, {row(0, second), row(0, first)})));
}

}  // namespace
}  // namespace klined
