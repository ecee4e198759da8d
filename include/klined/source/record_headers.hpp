// The headers of records that stand for another message, or for a part of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <librdkafka/rdkafka.h>

#include "klined/base/error.hpp"
#include "klined/codec/trade_decoder.hpp"

namespace klined {

// "<topic>/<partition>/<offset>" of the message: an origin.
inline constexpr std::string_view kOriginHeader = "klined-origin";
// The record's elements' indexes in the message's array: "0,5,7". Missing: the record is the whole message.
inline constexpr std::string_view kIndexesHeader = "klined-indexes";
// clocks_text() of the message's partition at the message. Missing: the record's own partition's clocks hold.
inline constexpr std::string_view kClocksHeader = "klined-clocks";
// How often the dead letter of what the record holds was put back: "1" the first time. Missing: never.
inline constexpr std::string_view kAttemptHeader = "klined-attempt";

// On a note of what was put back: checksum_text() of that. Missing: an earlier klined wrote the note.
inline constexpr std::string_view kChecksumHeader = "klined-checksum";

// On a dead letter: the id of the tables whose candles are without its trade (see Claim).
inline constexpr std::string_view kTablesHeader = "klined-tables";

struct OriginHeaders {
  std::optional<std::string_view> origin;
  std::optional<std::string_view> indexes;
  std::optional<std::string_view> clocks;
  std::optional<std::string_view> attempt{};
  std::optional<std::string_view> checksum{};
};

// What the headers say; `topic` is the one topic that origins may be of, `rank` its rank. Nothing where there is no
// kOriginHeader. kFatal names the header, its value and what is wrong with it.
Result<std::optional<Origin>> parse_origin(const OriginHeaders& headers, std::string_view topic, std::uint32_t rank);

// The same for a record of librdkafka. Most have no headers, which costs next to nothing.
Result<std::optional<Origin>> read_origin(const rd_kafka_message_t& record, std::string_view topic, std::uint32_t rank);

}  // namespace klined
