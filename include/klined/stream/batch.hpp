// What one poll of the input became, shared by all lanes and read-only once the sequencer has passed it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "klined/aggregate/partition_progress.hpp"
#include "klined/codec/trade_decoder.hpp"

namespace klined {

struct DecodedBatch {
  struct Part {  // one message
    Message message;
    DecodedMessage decoded;
    ChainClocks largest;  // block times of its well-formed, not-future buys and sells
    ChainClocks clocks;   // that decide about its trades: its source's at this message; set by the sequencer
    std::int32_t source = kOwnSource;  // whose clocks; set by the sequencer
    bool before_window = false;        // none of its trades can be seen again; set by the sequencer
    // The trades' indexes, grouped by lane: lane l has [lane_begin[l], lane_begin[l + 1]).
    std::vector<std::uint32_t> by_lane;
    std::vector<std::uint32_t> lane_begin;

    std::span<const std::uint32_t> trades_of(std::int32_t lane) const {
      const auto l = static_cast<std::size_t>(lane);
      return std::span(by_lane).subspan(lane_begin[l], lane_begin[l + 1] - lane_begin[l]);
    }
  };

  std::vector<Part> parts;
  // Where the batch leaves each partition that it holds messages of; set by the sequencer.
  std::vector<std::pair<LogId, PartitionPlace>> places;
  // The chains' clocks over all partitions after this batch; set by the sequencer.
  ChainClocks chain_clocks;
  std::size_t trade_count = 0;             // of all parts; set by the sequencer
  std::size_t bytes = 0;                   // of memory that it holds
  std::shared_ptr<const void> buffers;     // the client's records, into which the messages' views point
  std::shared_ptr<const void> accounting;  // gives `bytes` back when the last lane is done
};

// The lane that owns a pair.
inline std::int32_t lane_of_pair(std::uint64_t pair_hash, std::int32_t lanes) {
  return static_cast<std::int32_t>((pair_hash >> 32U) % static_cast<std::uint64_t>(lanes));
}
// The lane that answers for what belongs to no pair: a message's dead letters and counts.
inline std::int32_t lane_of_offset(std::int64_t offset, std::int32_t lanes) {
  return static_cast<std::int32_t>(offset % lanes);
}

// Groups the part's trades by lane and finds their largest block times.
void group_by_lane(std::int32_t lanes, DecodedBatch::Part& part);
// Decodes one message and groups its trades by lane. Parts may be decoded in parallel, with a decoder a thread.
void decode_part(TradeDecoder& decoder, std::int32_t lanes, DecodedBatch::Part& part);

}  // namespace klined
