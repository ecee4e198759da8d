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
#include <cstring>
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

enum class Kind : std::uint8_t { kUnknown, kText, kInteger, kNumber, kFlag, kPairInfo };

// The kind of the field whose key begins behind `key`'s quote. The first byte leaves few to compare with, and the
// quote that ends each of them makes the comparison of a prefix one of the whole key.
Kind kind_of(const char* key) {
  const auto is = [key](std::string_view quoted) { return std::memcmp(key, quoted.data(), quoted.size()) == 0; };
  switch (key[0]) {
    case 's': return is("slot\"") ? Kind::kInteger : Kind::kUnknown;
    case 'l': return is("log_index\"") ? Kind::kInteger : Kind::kUnknown;
    case 'h': return is("hash_id\"") ? Kind::kText : Kind::kUnknown;
    case 'm': return is("mcap\"") ? Kind::kNumber : Kind::kUnknown;
    case 'f': return is("fdv\"") ? Kind::kNumber : Kind::kUnknown;
    case 'b':
      if (is("base_token_amount\"")) return Kind::kNumber;
      return is("block_num\"") || is("block_time\"") ? Kind::kInteger : Kind::kUnknown;
    case 'c':
      if (is("chain_id\"") || is("create_time\"")) return Kind::kText;
      if (is("chain_id_int\"")) return Kind::kInteger;
      return is("clamp\"") ? Kind::kFlag : Kind::kUnknown;
    case 'p':
      if (is("pair_addr\"")) return Kind::kText;
      if (is("pump_point\"")) return Kind::kNumber;
      return is("pair_info\"") ? Kind::kPairInfo : Kind::kUnknown;
    case 't':
      if (is("tx_hash\"") || is("type\"")) return Kind::kText;
      if (is("transaction_index\"")) return Kind::kInteger;
      return is("token_amount\"") || is("token_price_usd\"") || is("total_usd\"") ? Kind::kNumber : Kind::kUnknown;
    default: return Kind::kUnknown;
  }
}

void take_token(ondemand::value pair_info, Taken& taken) {
  std::string_view text;
  if (pair_info["token_addr"].get_string().get(text) == simdjson::SUCCESS) taken.bytes += text.size();
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
    case Kind::kPairInfo: return take_token(value, taken);
    case Kind::kUnknown: return;
  }
}

void parse(ondemand::parser& parser, simdjson::padded_string_view text, Taken& taken) {
  ondemand::document document = parser.iterate(text);
  for (auto element : document.get_array()) {
    for (auto field : element.get_object()) {
      if (const Kind kind = kind_of(field.key().raw()); kind != Kind::kUnknown) take(field.value(), kind, taken);
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
    set("queued.max.messages.kbytes", "1048576");
    set("fetch.wait.max.ms", "20");                     // as klined: else a partition's end is told half a second late
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
