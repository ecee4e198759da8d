// The floor that klined's cost is measured against: reads a topic from beginning to end and parses every trade, and
// does nothing with it. librdkafka reads; simdjson's On-Demand parser walks each trade and takes the fields that a
// candle is made of. One thread beside librdkafka's own.
//
//   klined_floor BROKERS TOPIC
//
// Prints {"trades": …, "seconds": …, "cpu_s": …, "rss_peak_bytes": …, "checksum": …}. Exit status 1 where it can't
// read.

#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <librdkafka/rdkafka.h>
#include <simdjson.h>

#include "measure.hpp"

namespace klined::bench {
namespace {

namespace ondemand = simdjson::ondemand;

constexpr int kTimeout = 10'000;  // ms
constexpr std::size_t kBatch = 2000;

// What the candles are made of. `sum` keeps the compiler from leaving the parsing out.
struct Taken {
  std::int64_t trades = 0;
  double sum = 0;
  std::size_t bytes = 0;
};

enum class Kind : std::uint8_t { kText, kInteger, kNumber, kFlag };

struct Wanted {
  std::string_view key;
  Kind kind;
};

constexpr std::array<Wanted, 20> kWanted = {{
    {"slot", Kind::kInteger},
    {"block_num", Kind::kInteger},
    {"transaction_index", Kind::kInteger},
    {"log_index", Kind::kInteger},
    {"block_time", Kind::kInteger},
    {"chain_id_int", Kind::kInteger},
    {"chain_id", Kind::kText},
    {"pair_addr", Kind::kText},
    {"tx_hash", Kind::kText},
    {"hash_id", Kind::kText},
    {"type", Kind::kText},
    {"token_amount", Kind::kNumber},
    {"base_token_amount", Kind::kNumber},
    {"token_price_usd", Kind::kNumber},
    {"total_usd", Kind::kNumber},
    {"mcap", Kind::kNumber},
    {"fdv", Kind::kNumber},
    {"pump_point", Kind::kNumber},
    {"clamp", Kind::kFlag},
    {"create_time", Kind::kText},
}};

const Wanted* wanted(std::string_view key) {
  for (const Wanted& field : kWanted) {
    if (field.key.size() == key.size() && field.key == key) return &field;
  }
  return nullptr;
}

void take(ondemand::value value, Kind kind, Taken& taken) {
  switch (kind) {
    case Kind::kText:
      if (std::string_view text; value.get_string().get(text) == simdjson::SUCCESS) taken.bytes += text.size();
      return;
    case Kind::kInteger:
      if (std::int64_t number = 0; value.get_int64().get(number) == simdjson::SUCCESS) {
        taken.bytes += static_cast<std::size_t>(number);
      }
      return;
    case Kind::kNumber:
      if (double number = 0; value.get_double().get(number) == simdjson::SUCCESS) taken.sum += number;
      return;
    case Kind::kFlag:
      if (bool flag = false; value.get_bool().get(flag) == simdjson::SUCCESS) taken.bytes += flag ? 1 : 0;
      return;
  }
}

void take_token(ondemand::value pair_info, Taken& taken) {
  std::string_view text;
  if (pair_info["token_addr"].get_string().get(text) == simdjson::SUCCESS) taken.bytes += text.size();
}

void parse(ondemand::parser& parser, simdjson::padded_string_view text, Taken& taken) {
  ondemand::document document = parser.iterate(text);
  for (auto element : document.get_array()) {
    for (auto field : element.get_object()) {
      const std::string_view key = field.unescaped_key();
      if (const Wanted* known = wanted(key)) {
        take(field.value(), known->kind, taken);
      } else if (key == "pair_info") {
        take_token(field.value(), taken);
      }
    }
    ++taken.trades;
  }
}

// simdjson reads up to 64 bytes past the end, which is safe within the page.
bool may_read_past(const char* end) {
  static const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto at = reinterpret_cast<std::uintptr_t>(end) - 1;
  return at % page + simdjson::SIMDJSON_PADDING < page;
}

class Reader {
 public:
  Reader(const char* brokers, std::string topic) : topic_(std::move(topic)) {
    rd_kafka_conf_t* conf = rd_kafka_conf_new();
    const auto set = [conf](const char* name, const char* value) {
      std::array<char, 256> reason{};
      if (rd_kafka_conf_set(conf, name, value, reason.data(), reason.size()) != RD_KAFKA_CONF_OK) {
        throw std::runtime_error(reason.data());
      }
    };
    set("bootstrap.servers", brokers);
    set("group.id", "klined-floor");
    set("enable.auto.commit", "false");
    set("enable.partition.eof", "true");
    set("fetch.message.max.bytes", "4194304");
    set("fetch.max.bytes", "16777216");
    set("message.max.bytes", "16777216");
    set("receive.message.max.bytes", "67108864");
    set("queued.min.messages", "10000000");
    set("queued.max.messages.kbytes", "65536");
    set("topic.metadata.refresh.interval.ms", "1000");  // wakes a fetcher whose queue was full
    std::array<char, 256> reason{};
    client_ = rd_kafka_new(RD_KAFKA_CONSUMER, conf, reason.data(), reason.size());
    if (client_ == nullptr) throw std::runtime_error(reason.data());
    rd_kafka_poll_set_consumer(client_);
    assign();
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader() {
    rd_kafka_consumer_close(client_);
    rd_kafka_destroy(client_);
  }

  Taken read() {
    const std::unique_ptr<rd_kafka_queue_t, decltype(&rd_kafka_queue_destroy)> queue(
        rd_kafka_queue_get_consumer(client_), &rd_kafka_queue_destroy);
    std::vector<rd_kafka_message_t*> messages(kBatch);
    Taken taken;
    while (open_ > 0) {
      const ssize_t came = rd_kafka_consume_batch_queue(queue.get(), 100, messages.data(), messages.size());
      for (ssize_t i = 0; i < came; ++i) {
        rd_kafka_message_t* message = messages[static_cast<std::size_t>(i)];
        take_message(*message, taken);
        rd_kafka_message_destroy(message);
      }
    }
    return taken;
  }

 private:
  void assign() {
    const rd_kafka_metadata_t* metadata = nullptr;
    rd_kafka_topic_t* topic = rd_kafka_topic_new(client_, topic_.c_str(), nullptr);
    const rd_kafka_resp_err_t error = rd_kafka_metadata(client_, 0, topic, &metadata, kTimeout);
    rd_kafka_topic_destroy(topic);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) throw std::runtime_error(rd_kafka_err2str(error));
    rd_kafka_topic_partition_list_t* list = rd_kafka_topic_partition_list_new(16);
    for (int i = 0; i < metadata->topics[0].partition_cnt; ++i) {
      rd_kafka_topic_partition_list_add(list, topic_.c_str(), metadata->topics[0].partitions[i].id)->offset = 0;
    }
    open_ = list->cnt;
    rd_kafka_metadata_destroy(metadata);
    rd_kafka_assign(client_, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (open_ == 0) throw std::runtime_error(topic_ + ": no such topic");
  }

  void take_message(const rd_kafka_message_t& message, Taken& taken) {
    if (message.err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
      --open_;
      return;
    }
    if (message.err != RD_KAFKA_RESP_ERR_NO_ERROR) throw std::runtime_error(rd_kafka_message_errstr(&message));
    const auto* text = static_cast<const char*>(message.payload);
    if (may_read_past(text + message.len)) {
      parse(parser_, simdjson::padded_string_view(text, message.len, message.len + simdjson::SIMDJSON_PADDING), taken);
    } else {
      const simdjson::padded_string copy(text, message.len);
      parse(parser_, copy, taken);
    }
  }

  std::string topic_;
  rd_kafka_t* client_ = nullptr;
  int open_ = 0;  // partitions that are not at their ends
  ondemand::parser parser_;
};

}  // namespace
}  // namespace klined::bench

int main(int argc, char** argv) {
  if (argc != 3) {
    fmt::print(stderr, "usage: klined_floor BROKERS TOPIC\n");
    return 2;
  }
  try {
    const klined::bench::Stopwatch watch;
    const klined::bench::Taken taken = klined::bench::Reader(argv[1], argv[2]).read();
    fmt::print("{{\"trades\": {}, \"seconds\": {:.3f}, \"cpu_s\": {:.3f}, \"rss_peak_bytes\": {}, \"checksum\": {}}}\n",
               taken.trades, watch.seconds(), klined::bench::cpu_seconds(), klined::bench::peak_rss_bytes(),
               taken.sum + static_cast<double>(taken.bytes));
  } catch (const std::exception& error) {
    fmt::print(stderr, "klined_floor: {}\n", error.what());
    return 1;
  }
}
