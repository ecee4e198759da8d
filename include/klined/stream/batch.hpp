// What one poll of the input became, shared by all lanes and read-only once the sequencer has passed it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <boost/container/small_vector.hpp>

#include "klined/aggregate/partition_progress.hpp"
#include "klined/codec/trade_decoder.hpp"

namespace klined {

// Numbers of things, grouped by the lane that they concern, ascending in each.
struct ByLane {
  // Lane l has [begin[l], begin[l + 1]). Most messages hold few trades: no allocation then.
  boost::container::small_vector<std::uint32_t, 8> numbers;
  boost::container::small_vector<std::uint32_t, 9> begin;

  std::span<const std::uint32_t> of(std::int32_t lane) const {
    if (begin.empty()) return {};
    const auto l = static_cast<std::size_t>(lane);
    return std::span(numbers).subspan(begin[l], begin[l + 1] - begin[l]);
  }
};

struct DecodedBatch {
  struct Part {  // one message
    Message message;
    DecodedMessage decoded;
    ChainClocks largest;  // block times of its well-formed, not-future buys and sells
    ChainClocks clocks;   // that decide about its trades: its source's at this message; set by the sequencer
    std::int32_t source = kOwnSource;  // whose clocks; set by the sequencer
    bool before_window = false;        // none of its trades can be seen again; set by the sequencer
    // The trades' indexes.
    ByLane by_lane;

    std::span<const std::uint32_t> trades_of(std::int32_t lane) const { return by_lane.of(lane); }
  };

  std::vector<Part> parts;
  ByLane parts_by_lane;  // those with a trade of the lane's, and those whose messages it answers for
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

// Decodes one message, groups its trades by lane, and finds their largest block times. Parts may be decoded in
// parallel, with a decoder a thread.
void decode_part(TradeDecoder& decoder, std::int32_t lanes, DecodedBatch::Part& part);
// Groups the batch's parts, once all are decoded.
void group_parts(std::int32_t lanes, DecodedBatch& batch);

}  // namespace klined
