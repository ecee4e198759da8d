// Input for a lane in tests: simulated trades as the sequencer hands them on.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "klined/publish/market.hpp"
#include "klined/stream/batch.hpp"
#include "klined/stream/sequencer.hpp"

namespace klined {

// `count` messages with about `trades` trades each, of fifty pairs, all within one minute. No bucket ends within it.
inline std::vector<FeedMessage> messages_of(std::size_t count, std::int32_t trades) {
  constexpr UnixMilliseconds kMidnight = 1'767'225'600'000;  // 2026-01-01
  MarketSimulator market(MarketOptions{.pairs = 50,
                                       .zipf_exponent = 0,
                                       .trades_per_second = trades * 1000.0 / MarketSimulator::kSlotMs,
                                       .start = kMidnight});
  std::vector<FeedMessage> messages;
  while (messages.size() < count) market.next_slot("2026-01-01T00:00:00.000Z", 1'000'000, messages);
  messages.resize(count);
  return messages;
}

// Batches of one message each, from offset 0 of one partition on, for the only lane.
class LaneInput {
 public:
  LaneInput() { sequencer_.assign(LogId(0, 0), 0, {}, {}); }

  std::shared_ptr<const DecodedBatch> next(const FeedMessage& message) {
    auto batch = std::make_shared<DecodedBatch>();
    batch->parts.resize(1);
    batch->parts.front().message = {LogId(0, 0), offset_++, message.time, message.value};
    decode_part(decoder_, 1, batch->parts.front());
    group_parts(1, *batch);
    sequencer_.sequence(*batch);
    return batch;
  }

 private:
  Sequencer sequencer_{600};
  TradeDecoder decoder_;
  std::int64_t offset_ = 0;
};

}  // namespace klined
