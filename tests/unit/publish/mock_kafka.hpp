// librdkafka's Kafka in the process: for what a real one cannot be told to do. It keeps 5 MiB a partition.
#pragma once

#include <gtest/gtest.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include <string>
#include <utility>
#include <vector>

#include "klined/base/kafka_client.hpp"

namespace klined {

class MockKafka {
 public:
  MockKafka() {
    rd_kafka_conf_t* const conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, [](const rd_kafka_t*, int, const char*, const char*) {});
    client_ = rd_kafka_new(RD_KAFKA_PRODUCER, conf, nullptr, 0);
    cluster_ = rd_kafka_mock_cluster_new(client_, 1);
  }
  ~MockKafka() {
    rd_kafka_mock_cluster_destroy(cluster_);
    rd_kafka_destroy(client_);
  }
  MockKafka(const MockKafka&) = delete;
  MockKafka& operator=(const MockKafka&) = delete;

  std::string brokers() const { return rd_kafka_mock_cluster_bootstraps(cluster_); }
  KafkaProperties properties() const { return {{"bootstrap.servers", brokers()}}; }
  void make_topic(const std::string& topic, int partitions) {
    rd_kafka_mock_topic_create(cluster_, topic.c_str(), partitions, 1);
  }
  void stop() { rd_kafka_mock_broker_set_down(cluster_, 1); }
  void start() { rd_kafka_mock_broker_set_up(cluster_, 1); }
  // The next produce requests fail like this.
  void fail_produce(const std::vector<rd_kafka_resp_err_t>& codes) {
    constexpr std::int16_t kProduce = 0;
    rd_kafka_mock_push_request_errors_array(cluster_, kProduce, codes.size(), codes.data());
  }

  // Keys and values of partition 0, as they stand in the log.
  std::vector<std::pair<std::string, std::string>> read(const std::string& topic) const {
    rd_kafka_conf_t* const conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, [](const rd_kafka_t*, int, const char*, const char*) {});
    for (const auto& [name, value] : std::vector<std::pair<const char*, std::string>>{
             {"bootstrap.servers", brokers()}, {"group.id", "test"}, {"enable.partition.eof", "true"}}) {
      rd_kafka_conf_set(conf, name, value.c_str(), nullptr, 0);
    }
    rd_kafka_t* const consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, nullptr, 0);
    rd_kafka_topic_partition_list_t* const list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic.c_str(), 0)->offset = 0;
    rd_kafka_assign(consumer, list);
    rd_kafka_topic_partition_list_destroy(list);
    std::vector<std::pair<std::string, std::string>> found;
    for (;;) {
      rd_kafka_message_t* const message = rd_kafka_consumer_poll(consumer, 20'000);
      if (message == nullptr) {
        ADD_FAILURE() << "the end of " << topic << " is not reached";
        break;
      }
      const rd_kafka_resp_err_t code = message->err;
      if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        found.emplace_back(std::string(static_cast<const char*>(message->key), message->key_len),
                           std::string(static_cast<const char*>(message->payload), message->len));
      }
      rd_kafka_message_destroy(message);
      if (code == RD_KAFKA_RESP_ERR__PARTITION_EOF) break;
    }
    rd_kafka_destroy(consumer);
    return found;
  }

 private:
  rd_kafka_t* client_;
  rd_kafka_mock_cluster_t* cluster_;
};

}  // namespace klined
