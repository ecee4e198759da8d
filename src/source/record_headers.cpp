#include "klined/source/record_headers.hpp"

#include <fmt/format.h>

#include <charconv>
#include <limits>
#include <vector>

#include "klined/core/clocks_text.hpp"

namespace klined {

namespace {

template <typename Number>
std::optional<Number> parse_number(std::string_view text, Number largest) {
  Number number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < 0 || number > largest) return std::nullopt;
  return number;
}

std::optional<std::vector<std::uint32_t>> parse_indexes(std::string_view text) {
  std::vector<std::uint32_t> indexes;
  while (true) {
    const std::size_t comma = text.find(',');
    const auto index = parse_number<std::int64_t>(text.substr(0, comma), std::numeric_limits<std::uint32_t>::max());
    if (!index || (!indexes.empty() && *index <= indexes.back())) return std::nullopt;
    indexes.push_back(static_cast<std::uint32_t>(*index));
    if (comma == std::string_view::npos) return indexes;
    text.remove_prefix(comma + 1);
  }
}

std::unexpected<Error> wrong(std::string_view header, std::string_view value, std::string_view what) {
  return fatal(fmt::format("header {} is \"{}\": {}", header, value.substr(0, 200), what));
}

}  // namespace

Result<std::optional<Origin>> parse_origin(const OriginHeaders& headers, std::string_view topic, std::uint32_t rank) {
  if (!headers.origin) return std::nullopt;
  const std::string_view place = *headers.origin;
  const std::size_t last = place.rfind('/');
  const std::size_t middle = last == 0 || last == std::string_view::npos ? last : place.rfind('/', last - 1);
  if (last == std::string_view::npos || middle == std::string_view::npos)
    return wrong(kOriginHeader, place, "expected <topic>/<partition>/<offset>");
  const auto partition =
      parse_number<std::int64_t>(place.substr(middle + 1, last - middle - 1), LogId::kPartitionLimit - 1);
  const auto offset = parse_number<std::int64_t>(place.substr(last + 1), std::numeric_limits<std::int64_t>::max());
  if (!partition || !offset) return wrong(kOriginHeader, place, "expected <topic>/<partition>/<offset>");
  if (place.substr(0, middle) != topic) {
    return wrong(kOriginHeader, place,
                 fmt::format("only records of topic {} may be here; a topic holds what comes of one other topic, which "
                             "its name tells (<topic>-by-pair)",
                             topic));
  }
  Origin origin;
  origin.log = LogId(rank, static_cast<std::uint32_t>(*partition));
  origin.offset = *offset;
  if (headers.indexes) {
    origin.indexes = parse_indexes(*headers.indexes);
    if (!origin.indexes) return wrong(kIndexesHeader, *headers.indexes, "expected ascending numbers, as 0,5,7");
  }
  if (headers.clocks) {
    origin.clocks = parse_clocks(*headers.clocks);
    if (!origin.clocks) return wrong(kClocksHeader, *headers.clocks, "expected chain:time,chain:time, by chain");
  }
  if (headers.attempt) {
    const auto attempt = parse_number<std::int64_t>(*headers.attempt, std::numeric_limits<std::int32_t>::max());
    if (!attempt || *attempt == 0) return wrong(kAttemptHeader, *headers.attempt, "expected a number, 1 or more");
    origin.attempt = static_cast<std::int32_t>(*attempt);
  }
  if (headers.checksum) {
    origin.checksum = parse_checksum(*headers.checksum);
    if (!origin.checksum)
      return wrong(kChecksumHeader, *headers.checksum, "expected <bytes>:<CRC-32>, as 512:0a1b2c3d");
  }
  return origin;
}

Result<std::optional<Origin>> read_origin(const rd_kafka_message_t& record, std::string_view topic,
                                          std::uint32_t rank) {
  rd_kafka_headers_t* all = nullptr;
  if (rd_kafka_message_headers(&record, &all) != RD_KAFKA_RESP_ERR_NO_ERROR) return std::nullopt;
  const auto find = [all](std::string_view name) -> std::optional<std::string_view> {
    const void* value = nullptr;
    std::size_t size = 0;
    if (rd_kafka_header_get_last(all, name.data(), &value, &size) != RD_KAFKA_RESP_ERR_NO_ERROR) return std::nullopt;
    return std::string_view(static_cast<const char*>(value), size);
  };
  OriginHeaders headers{find(kOriginHeader), find(kIndexesHeader), find(kClocksHeader), find(kAttemptHeader)};
  if (headers.attempt) headers.checksum = find(kChecksumHeader);
  return parse_origin(headers, topic, rank);
}

}  // namespace klined
