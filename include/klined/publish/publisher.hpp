// The seam to the output log: messages go out at once and are reported on later.
//
// Production is KafkaPublisher; tests have a double that fails, delays and loses.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "klined/base/error.hpp"

namespace klined {

struct Publication {
  std::string topic;
  std::string key;
  std::string value;
  std::vector<std::pair<std::string, std::string>> headers = {};  // dead letters only
  std::int64_t timestamp_ms = 0;                                  // the record's own; 0 is the time of sending
};

// What became of a publication that send() accepted.
struct DeliveryReport {
  std::uint64_t ticket = 0;
  // Set where it was not delivered (or may not have been): send it again. kFatal says that it cannot pass by itself.
  std::optional<Error> error;
  Publication publication;      // given back where there is an error; else empty
  std::int32_t partition = -1;  // where it was delivered
  std::int64_t offset = -1;
  std::chrono::microseconds latency{0};  // from send() to the acknowledgement; 0 where it was not delivered
};

// send() is thread-safe; reports come on the publisher's own thread, each accepted publication's exactly once.
class Publisher {
 public:
  using ReportHandler = std::function<void(DeliveryReport&&)>;

  virtual ~Publisher() = default;

  // False where the local queue is full: nothing was taken (publication unchanged), try again later.
  virtual bool send(Publication& publication, std::uint64_t ticket) = 0;
};

}  // namespace klined
