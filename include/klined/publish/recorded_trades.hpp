// Recorded batches of trades as text, made fit to be sent anew: stamped, filtered, keyed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "klined/publish/market.hpp"

namespace klined {

struct RecordedOptions {
  FeedKey key = FeedKey::kSlot;
  bool filter = false;  // leaves out what is no buy or sell, and what has no price, as the upstream does
};

// Turns a JSON array of trades into messages, appended to `out`: one, or one a pair. Each trade's create_time is
// replaced by the given one, or added; all else stays as it is, byte for byte. The key is the slot (or block number) of
// the first trade, or the pair; the time is the first trade's block_time in ms, -1 where it has none. What is no array
// of objects is handed on as it is, without key and time: it is for the decoder to refuse. Returns how many trades the
// filter dropped.
std::int64_t to_messages(std::string_view batch, const RecordedOptions& options, std::string_view create_time,
                         std::vector<FeedMessage>& out);

}  // namespace klined
