#include "klined/stream/batch.hpp"

namespace klined {

namespace {

// A counting sort: how many a lane, where each lane begins, and each number to its place. `each(visit)` calls
// visit(lane, number) for all of them, in order, the same both times.
template <typename Each>
void group(std::int32_t lanes, ByLane& out, const Each& each) {
  out.begin.assign(static_cast<std::size_t>(lanes) + 1, 0);
  each([&out](std::int32_t lane, std::uint32_t) { ++out.begin[static_cast<std::size_t>(lane) + 1]; });
  for (std::size_t l = 1; l < out.begin.size(); ++l) out.begin[l] += out.begin[l - 1];
  out.numbers.resize(out.begin.back());
  boost::container::small_vector<std::uint32_t, 9> next(out.begin.begin(), out.begin.end() - 1);
  each([&](std::int32_t lane, std::uint32_t number) { out.numbers[next[static_cast<std::size_t>(lane)]++] = number; });
}

}  // namespace

void decode_part(TradeDecoder& decoder, std::int32_t lanes, DecodedBatch::Part& part) {
  decoder.decode(part.message, part.decoded);
  const std::vector<Trade>& trades = part.decoded.trades;
  part.largest.clear();
  for (const Trade& trade : trades) raise_clock(part.largest, trade.chain, trade.position.block_time);
  group(lanes, part.by_lane, [&](const auto& visit) {
    for (std::uint32_t i = 0; i < trades.size(); ++i) visit(lane_of_pair(trades[i].pair_hash, lanes), i);
  });
}

void group_parts(std::int32_t lanes, DecodedBatch& batch) {
  group(lanes, batch.parts_by_lane, [&](const auto& visit) {
    for (std::uint32_t i = 0; i < batch.parts.size(); ++i) {
      const DecodedBatch::Part& part = batch.parts[i];
      const std::int32_t answering = lane_of_offset(part.message.offset, lanes);
      for (std::int32_t lane = 0; lane < lanes; ++lane) {
        if (lane == answering || !part.trades_of(lane).empty()) visit(lane, i);
      }
    }
  });
}

}  // namespace klined
