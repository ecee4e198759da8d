// Divides a message by pair: what `klined route` writes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "klined/codec/trade_decoder.hpp"
#include "klined/core/series.hpp"
#include "klined/publish/publisher.hpp"

namespace klined {

// "sol-trades-by-pair": where the messages of "sol-trades" go, divided by pair.
std::string routed_topic(std::string_view origin_topic);

// A record's value and indexes may not become larger than this together: it is split before. What the topic takes
// beyond (see `klined init`) is for one element of any size, headers and framing.
inline constexpr std::size_t kRoutedBytesMax = 10U << 20U;

// The records that hold a message's elements, each element once and byte for byte, but for those that are ignored or
// have no price: those of one (chain, pair) keyed by the pair; the malformed and future ones keyed by the message's
// place; a message that is no JSON array whole, keyed so too. Each record has the message's timestamp, and tells in its
// headers where its elements were and how its partition's clocks stood (see source/record_headers.hpp). Records of one
// pair and elements of one record come in the message's order.
//
// `topic` is the message's. `clocks` are those of its partition, the message's own trades included. What the message
// itself has of an origin is kept.
std::vector<Publication> divide_by_pair(std::string_view topic, const Message& message, const DecodedMessage& decoded,
                                        const ChainClocks& clocks);
// The records of the malformed and future elements that `decoded` lists, alone: for what a further decoding of the same
// message lists (see DecodedMessage::next_bad).
std::vector<Publication> divide_bad(std::string_view topic, const Message& message, const DecodedMessage& decoded,
                                    const ChainClocks& clocks);

}  // namespace klined
