#include "klined/stream/batch.hpp"

namespace klined {

void decode_part(TradeDecoder& decoder, std::int32_t lanes, DecodedBatch::Part& part) {
  decoder.decode(part.message, part.decoded);
  group_by_lane(lanes, part);
}

void group_by_lane(std::int32_t lanes, DecodedBatch::Part& part) {
  const std::vector<Trade>& trades = part.decoded.trades;
  part.largest.clear();
  part.lane_begin.assign(static_cast<std::size_t>(lanes) + 1, 0);
  // A counting sort: how many a lane, where each lane begins, and each trade to its place.
  for (const Trade& trade : trades) {
    raise_clock(part.largest, trade.chain, trade.position.block_time);
    ++part.lane_begin[static_cast<std::size_t>(lane_of_pair(trade.pair_hash, lanes)) + 1];
  }
  for (std::size_t l = 1; l < part.lane_begin.size(); ++l) part.lane_begin[l] += part.lane_begin[l - 1];
  std::vector<std::uint32_t> next(part.lane_begin.begin(), part.lane_begin.end() - 1);
  part.by_lane.resize(trades.size());
  for (std::uint32_t i = 0; i < trades.size(); ++i) {
    part.by_lane[next[static_cast<std::size_t>(lane_of_pair(trades[i].pair_hash, lanes))]++] = i;
  }
}

}  // namespace klined
