// What all processes of a run share: time, topics, servers, and the chance that decides what happens next.
#pragma once

#include <optional>

#include "database.hpp"
#include "input.hpp"
#include "klined/source/kafka_source.hpp"
#include "klined/stream/config.hpp"
#include "output.hpp"

namespace klined::simulation {

// The input topics as far as they were produced and not yet deleted.
class Topics {
 public:
  explicit Topics(const Input& input) : input_(input), low_(input.logs.size(), 0), high_(input.logs.size(), 0) {}

  // The next message of the input comes; false where there is none left.
  bool produce() {
    if (produced_ == input_.order.size()) return false;
    ++high_[input_.order[produced_++]];
    return true;
  }
  std::int64_t last_timestamp_ms() const {
    if (produced_ == 0) return kStart * 1000;
    const std::size_t log = input_.order[produced_ - 1];
    return input_.logs[log].messages[static_cast<std::size_t>(high_[log] - 1)].timestamp_ms;
  }
  // The logs that exist by now.
  std::vector<std::size_t> existing() const {
    std::vector<std::size_t> logs;
    for (std::size_t i = 0; i < input_.logs.size(); ++i) {
      if (input_.logs[i].joins_at <= produced_) logs.push_back(i);
    }
    return logs;
  }
  OffsetRange range(std::size_t log) const { return {low_[log], high_[log]}; }
  void trim(std::size_t log, std::int64_t low) { low_[log] = low; }
  const Log& log(std::size_t index) const { return input_.logs[index]; }
  TopicPartition name(std::size_t index) const { return {input_.logs[index].topic, input_.logs[index].partition}; }
  std::size_t count() const { return input_.logs.size(); }

 private:
  const Input& input_;
  std::size_t produced_ = 0;
  std::vector<std::int64_t> low_;
  std::vector<std::int64_t> high_;
};

struct Surroundings {
  Trace& trace;
  Random& random;
  Faults& faults;
  ManualClock& clock;
  Topics& topics;
  Database& database;
  Readers& readers;
  int claims = 0;  // attempts to claim, of all processes
};

}  // namespace klined::simulation
