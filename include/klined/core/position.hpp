// Where a trade stands: the total order that decides which trade is a candle's first and last.
#pragma once

#include <compare>
#include <cstdint>

#include "klined/base/assertion.hpp"
#include "klined/base/clock.hpp"

namespace klined {

// Which log a trade came from: the topic's rank among all topics known to the tables (sorted by name), and the
// partition. Compares as (topic name, partition).
class LogId {
 public:
  static constexpr std::uint32_t kTopicLimit = 256;
  static constexpr std::uint32_t kPartitionLimit = 1U << 24U;

  constexpr LogId() = default;
  LogId(std::uint32_t topic_rank, std::uint32_t partition) : value_((topic_rank << 24U) | partition) {
    KLINED_ASSERT(topic_rank < kTopicLimit && partition < kPartitionLimit, "topic rank or partition out of range");
  }
  constexpr std::uint32_t topic_rank() const { return value_ >> 24U; }
  constexpr std::uint32_t partition() const { return value_ & (kPartitionLimit - 1); }
  friend constexpr auto operator<=>(LogId, LogId) = default;

 private:
  std::uint32_t value_ = 0;
};

// Chain position first; where all of it ties, the place in the input. No two trades share a position.
struct Position {
  UnixSeconds block_time = 0;
  std::int64_t slot = 0;  // or block number
  std::uint32_t transaction_index = 0;
  std::uint32_t log_index = 0;
  LogId log;
  std::uint32_t index = 0;  // in the message
  std::int64_t offset = 0;

  friend constexpr std::strong_ordering operator<=>(const Position& a, const Position& b) {
    if (const auto c = a.block_time <=> b.block_time; c != 0) return c;
    if (const auto c = a.slot <=> b.slot; c != 0) return c;
    if (const auto c = a.transaction_index <=> b.transaction_index; c != 0) return c;
    if (const auto c = a.log_index <=> b.log_index; c != 0) return c;
    if (const auto c = a.log <=> b.log; c != 0) return c;
    if (const auto c = a.offset <=> b.offset; c != 0) return c;
    return a.index <=> b.index;
  }
  friend constexpr bool operator==(const Position&, const Position&) = default;
};
static_assert(sizeof(Position) == 40);

}  // namespace klined
