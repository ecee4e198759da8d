// Records that a reader of committed records does not get to see, since a transaction before them does not end.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "klined/base/clock.hpp"
#include "klined/source/kafka_source.hpp"

namespace klined {

// Kafka shows records up to its last stable offset: the first record of the oldest transaction that is open. Reading
// looks complete there, however much lies behind. A transaction whose writer died is ended by the brokers after its
// transaction.timeout.ms; one that they have lost (KAFKA-20734: 4.3.0 and 4.3.1 do when a broker is killed) by nobody.
// One thread.
class HiddenRecords {
 public:
  // klined's own transactions are over within 20 s, and 10 s later the brokers have ended those of the dead.
  static constexpr Milliseconds kPatience{60'000};

  // What a reader sees of the partition now: `end` where it has read all that it may (see KafkaSource::end_of) and the
  // high watermark, -1 where unknown. Gives the records between them. Logs once that they stay hidden, after kPatience
  // at the same end, and once that they are not any more.
  std::int64_t note(const TopicPartition& partition, std::optional<std::int64_t> end, std::int64_t high, Instant now);
  // It was logged that records of the partition stay hidden.
  bool is_stuck(const TopicPartition& partition) const;
  // None of them is read here any more.
  void forget() { ends_.clear(); }

 private:
  struct End {
    std::int64_t offset = 0;
    Instant since{};
    bool told = false;
  };
  std::map<TopicPartition, End> ends_;  // where something is hidden
};

}  // namespace klined
