// The latency of a live stream, measured from outside: sends trades at a steady rate, reads the candles that klined
// publishes and the rows that it writes, and tells how long after a trade's create_time the first candle that holds it
// came, and the first row.
//
//   klined_live BROKERS IN_TOPIC OUT_TOPIC RATE SECONDS PAIRS        rows are read where MYSQL_HOST … are set
//
// A slot's messages are spread over its 400 ms. Where the machine can't send that fast, `seconds` is longer than asked.
//
// Each pair's trades are counted: the candle of its day with revision n holds its first n trades. So klined must run
// with 1d among its intervals, on empty tables.
// Prints {"trades": …, "seconds": …, "published": {"p50_ms": …, "p99_ms": …, "p999_ms": …, "max_ms": …}, "stored":
// {…}}.

#include <librdkafka/rdkafka.h>
#include <mysql.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "kline.pb.h"
#include "klined/publish/market.hpp"

namespace klined::bench {
namespace {

using Clock = std::chrono::system_clock;
constexpr std::string_view kDay = "1d";
constexpr std::chrono::milliseconds kRowsEvery{20};
constexpr std::chrono::seconds kPatience{30};  // for the last candles

// When each pair's trades were sent, and how long they took to arrive somewhere.
class Ledger {
 public:
  enum Place : std::size_t { kPublished, kStored, kPlaces };

  void sent(std::string_view pair, Clock::time_point at) {
    const std::lock_guard lock(mutex_);
    pairs_[std::string(pair)].sent.push_back(at);
    ++sent_;
  }
  // The pair's first `count` trades are there.
  void arrived(Place place, const std::string& pair, std::size_t count, Clock::time_point at) {
    const std::lock_guard lock(mutex_);
    const auto known = pairs_.find(pair);
    if (known == pairs_.end()) return;
    std::size_t& seen = known->second.seen[place];
    for (; seen < std::min(count, known->second.sent.size()); ++seen) {
      delays_[place].push_back(std::chrono::duration<double, std::milli>(at - known->second.sent[seen]).count());
    }
  }
  std::size_t sent_count() const {
    const std::lock_guard lock(mutex_);
    return sent_;
  }
  std::size_t arrived_count(Place place) const {
    const std::lock_guard lock(mutex_);
    return delays_[place].size();
  }
  std::string summary(Place place) {
    const std::lock_guard lock(mutex_);
    std::vector<double>& delays = delays_[place];
    if (delays.empty()) return "null";
    std::ranges::sort(delays);
    const auto at = [&delays](double share) {
      return delays[std::min(delays.size() - 1, static_cast<std::size_t>(share * static_cast<double>(delays.size())))];
    };
    return fmt::format(R"({{"p50_ms": {:.1f}, "p99_ms": {:.1f}, "p999_ms": {:.1f}, "max_ms": {:.1f}, "trades": {}}})",
                       at(0.5), at(0.99), at(0.999), delays.back(), delays.size());
  }

 private:
  struct Pair {
    std::vector<Clock::time_point> sent;
    std::array<std::size_t, kPlaces> seen{};
  };
  mutable std::mutex mutex_;
  std::unordered_map<std::string, Pair> pairs_;
  std::size_t sent_ = 0;
  std::array<std::vector<double>, kPlaces> delays_;
};

rd_kafka_t* new_client(rd_kafka_type_t type, const char* brokers,
                       std::initializer_list<std::pair<const char*, const char*>> properties) {
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  std::array<char, 256> reason{};
  const auto set = [&](const char* name, const char* value) {
    if (rd_kafka_conf_set(conf, name, value, reason.data(), reason.size()) != RD_KAFKA_CONF_OK) {
      throw std::runtime_error(reason.data());
    }
  };
  set("bootstrap.servers", brokers);
  for (const auto& [name, value] : properties) set(name, value);
  rd_kafka_t* client = rd_kafka_new(type, conf, reason.data(), reason.size());
  if (client == nullptr) throw std::runtime_error(reason.data());
  return client;
}

// librdkafka asks about a topic that it meets only up to a second later: so it is asked here.
int partitions_of(rd_kafka_t* client, const char* topic) {
  rd_kafka_topic_t* handle = rd_kafka_topic_new(client, topic, nullptr);
  const rd_kafka_metadata_t* metadata = nullptr;
  const rd_kafka_resp_err_t error = rd_kafka_metadata(client, 0, handle, &metadata, 10'000);
  rd_kafka_topic_destroy(handle);
  if (error != RD_KAFKA_RESP_ERR_NO_ERROR) throw std::runtime_error(rd_kafka_err2str(error));
  const int count = metadata->topics[0].partition_cnt;
  rd_kafka_metadata_destroy(metadata);
  return count;
}

// ---- Sending -------------------------------------------------------------------------------------------------------

std::vector<std::string_view> pairs_of(std::string_view message) {
  constexpr std::string_view kKey = "\"pair_addr\":\"";
  std::vector<std::string_view> pairs;
  for (std::size_t at = message.find(kKey); at != std::string_view::npos; at = message.find(kKey, at)) {
    at += kKey.size();
    pairs.push_back(message.substr(at, message.find('"', at) - at));
  }
  return pairs;
}

struct Load {
  const char* brokers;
  const char* topic;
  double rate;
  int seconds;
  std::uint32_t pairs;
};

// A create_time, in milliseconds.
std::string stamp(Clock::time_point time) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}Z", std::chrono::time_point_cast<std::chrono::milliseconds>(time));
}

void replace_all(std::string& text, std::string_view what, std::string_view by) {
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += by.size()) {
    text.replace(at, what.size(), by);
  }
}

// Returns how long it took, in seconds.
double send(const Load& load, Ledger& ledger) {
  rd_kafka_t* client = new_client(RD_KAFKA_PRODUCER, load.brokers,
                                  {{"linger.ms", "1"},
                                   {"queue.buffering.max.kbytes", "65536"},  // what waits there is late already
                                   {"compression.codec", "lz4"},
                                   {"partitioner", "murmur2_random"},
                                   {"message.max.bytes", "10000000"}});
  partitions_of(client, load.topic);
  const auto begin = Clock::now();
  const auto begin_ms = std::chrono::duration_cast<std::chrono::milliseconds>(begin.time_since_epoch()).count();
  MarketSimulator market(
      MarketOptions{.pairs = load.pairs, .trades_per_second = load.rate, .start = begin_ms, .filter = true});
  std::vector<FeedMessage> messages;
  while (market.next_time() < begin_ms + load.seconds * 1000LL) {
    const Clock::time_point slot(std::chrono::milliseconds(market.next_time()));
    std::this_thread::sleep_until(slot);
    messages.clear();
    const std::string slot_stamp = stamp(Clock::now());
    market.next_slot(slot_stamp, std::numeric_limits<std::int64_t>::max(), messages);
    const auto gap = std::chrono::milliseconds(MarketSimulator::kSlotMs) / std::max<std::size_t>(1, messages.size());
    for (std::size_t i = 0; i < messages.size(); ++i) {
      FeedMessage& message = messages[i];
      std::this_thread::sleep_until(slot + i * gap);
      const auto sent_at = Clock::now();
      replace_all(message.value, slot_stamp, stamp(sent_at));  // its trades' create_time
      for (const std::string_view pair : pairs_of(message.value)) ledger.sent(pair, sent_at);
      rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;
      while ((error = rd_kafka_producev(
                  client, RD_KAFKA_V_TOPIC(load.topic), RD_KAFKA_V_KEY(message.key.data(), message.key.size()),
                  RD_KAFKA_V_VALUE(const_cast<char*>(message.value.data()), message.value.size()),
                  RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END)) == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
        rd_kafka_poll(client, 10);
      }
      if (error != RD_KAFKA_RESP_ERR_NO_ERROR) throw std::runtime_error(rd_kafka_err2str(error));
    }
    rd_kafka_poll(client, 0);
  }
  const std::chrono::duration<double> took = Clock::now() - begin;
  rd_kafka_flush(client, 30'000);
  rd_kafka_destroy(client);
  return took.count();
}

// ---- Watching ------------------------------------------------------------------------------------------------------

// From the topic's end on; `ready` is set once nothing can be missed any more.
void read_candles(const char* brokers, const std::string& topic, Ledger& ledger, std::atomic<bool>& ready,
                  const std::stop_token& stop) {
  rd_kafka_t* client =
      new_client(RD_KAFKA_CONSUMER, brokers,
                 {{"group.id", "klined-live"}, {"fetch.wait.max.ms", "5"}, {"enable.auto.commit", "false"}});
  rd_kafka_poll_set_consumer(client);
  rd_kafka_topic_partition_list_t* list = rd_kafka_topic_partition_list_new(16);
  for (int i = 0, count = partitions_of(client, topic.c_str()); i < count; ++i) {
    std::int64_t low = 0;
    std::int64_t high = 0;
    rd_kafka_query_watermark_offsets(client, topic.c_str(), i, &low, &high, 10'000);
    rd_kafka_topic_partition_list_add(list, topic.c_str(), i)->offset = high;
  }
  rd_kafka_assign(client, list);
  rd_kafka_topic_partition_list_destroy(list);
  ready = true;
  proto::Klines klines;
  while (!stop.stop_requested()) {
    rd_kafka_message_t* message = rd_kafka_consumer_poll(client, 50);
    if (message == nullptr) continue;
    const auto now = Clock::now();
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR &&
        klines.ParseFromArray(message->payload, static_cast<int>(message->len))) {
      for (const proto::Kline& kline : klines.list()) {
        if (kline.interval() != kDay) continue;
        ledger.arrived(Ledger::kPublished, kline.pair_addr(), static_cast<std::size_t>(kline.total_count()), now);
      }
    }
    rd_kafka_message_destroy(message);
  }
  rd_kafka_consumer_close(client);
  rd_kafka_destroy(client);
}

std::string environment(const char* name, const char* otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : otherwise;
}

void read_rows(Ledger& ledger, const std::stop_token& stop) {
  const std::unique_ptr<MYSQL, decltype(&mysql_close)> connection(mysql_init(nullptr), &mysql_close);
  if (mysql_real_connect(
          connection.get(), environment("MYSQL_HOST", "127.0.0.1").c_str(), environment("MYSQL_USER", "root").c_str(),
          environment("MYSQL_PWD", "").c_str(), environment("MYSQL_DATABASE", "klined").c_str(),
          static_cast<unsigned>(std::atoi(environment("MYSQL_TCP_PORT", "3306").c_str())), nullptr, 0) == nullptr) {
    throw std::runtime_error(mysql_error(connection.get()));
  }
  while (!stop.stop_requested()) {
    if (mysql_query(connection.get(), "SELECT pair_address,SUM(count) FROM trade_kline_1d GROUP BY 1") != 0) {
      throw std::runtime_error(mysql_error(connection.get()));
    }
    const std::unique_ptr<MYSQL_RES, decltype(&mysql_free_result)> rows(mysql_store_result(connection.get()),
                                                                        &mysql_free_result);
    const auto now = Clock::now();
    while (MYSQL_ROW row = mysql_fetch_row(rows.get())) {
      ledger.arrived(Ledger::kStored, row[0], static_cast<std::size_t>(std::atoll(row[1])), now);
    }
    std::this_thread::sleep_for(kRowsEvery);
  }
}

void run(const Load& load, const char* out_topic) {
  Ledger ledger;
  std::atomic<bool> ready{false};
  std::jthread reader([&](const std::stop_token& stop) { read_candles(load.brokers, out_topic, ledger, ready, stop); });
  const bool has_rows = std::getenv("MYSQL_HOST") != nullptr;
  std::jthread rows;
  if (has_rows) rows = std::jthread([&](const std::stop_token& stop) { read_rows(ledger, stop); });
  while (!ready) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  const double seconds = send(load, ledger);
  const auto missing = [&](Ledger::Place place) { return ledger.arrived_count(place) < ledger.sent_count(); };
  const auto deadline = Clock::now() + kPatience;
  while (Clock::now() < deadline && (missing(Ledger::kPublished) || (has_rows && missing(Ledger::kStored)))) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  fmt::print("{{\"trades\": {}, \"seconds\": {:.2f}, \"published\": {}, \"stored\": {}}}\n", ledger.sent_count(),
             seconds, ledger.summary(Ledger::kPublished), ledger.summary(Ledger::kStored));
}

}  // namespace
}  // namespace klined::bench

int main(int argc, char** argv) {
  if (argc != 7) {
    fmt::print(stderr, "usage: klined_live BROKERS IN_TOPIC OUT_TOPIC RATE SECONDS PAIRS\n");
    return 2;
  }
  try {
    klined::bench::run(
        {argv[1], argv[2], std::atof(argv[4]), std::atoi(argv[5]), static_cast<std::uint32_t>(std::atoi(argv[6]))},
        argv[3]);
  } catch (const std::exception& error) {
    fmt::print(stderr, "klined_live: {}\n", error.what());
    return 1;
  }
}
