#include "klined/stream/routing.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "klined/core/clocks_text.hpp"
#include "klined/source/record_headers.hpp"

namespace klined {

namespace {

constexpr std::size_t kIndexBytesMax = 11;  // of a 32-bit number and a comma

// An element of the message's array.
struct Element {
  std::uint32_t index = 0;  // in the message, or in its origin
  std::string_view bytes;
};

// Writes the records of one message.
class Division {
 public:
  Division(std::string_view topic, const Message& message, const ChainClocks& clocks)
      : routed_(routed_topic(topic)), clocks_(clocks_text(clocks)) {
    const LogId log = message.origin != nullptr ? message.origin->log : message.log;
    const std::int64_t offset = message.origin != nullptr ? message.origin->offset : message.offset;
    origin_ = fmt::format("{}/{}/{}", topic, log.partition(), offset);
    place_ = fmt::format("{}-{}", log.partition(), offset);
    attempt_ = message.attempt();
    // 0 would be the time of sending. Block times and max_future are whole seconds: this millisecond decides nothing.
    timestamp_ = message.timestamp == 0 ? 1 : message.timestamp;
  }

  void add_whole(std::string_view value) {
    Publication& record = add(place_);
    record.value = value;
    record.headers.emplace_back(kClocksHeader, clocks_);
  }

  void add_elements(std::string_view key, const std::vector<Element>& elements) {
    std::string value;
    std::string indexes;
    const auto close = [&] {
      Publication& record = add(key);
      record.value = std::exchange(value, {}) + ']';
      record.headers.emplace_back(kIndexesHeader, std::exchange(indexes, {}));
      record.headers.emplace_back(kClocksHeader, clocks_);
    };
    for (const Element& element : elements) {
      const std::size_t bytes = value.size() + indexes.size() + element.bytes.size() + kIndexBytesMax;
      if (!value.empty() && bytes > kRoutedBytesMax) close();
      value += value.empty() ? '[' : ',';
      value += element.bytes;
      if (!indexes.empty()) indexes += ',';
      fmt::format_to(std::back_inserter(indexes), "{}", element.index);
    }
    if (!value.empty()) close();
  }

  // By place: an unlucky pair and an unlucky message may share a key, and a partition; it does no harm.
  const std::string& place() const { return place_; }
  std::vector<Publication> take() { return std::move(records_); }

 private:
  Publication& add(std::string_view key) {
    Publication& record = records_.emplace_back();
    record.topic = routed_;
    record.key = key;
    record.timestamp_ms = timestamp_;
    record.headers.emplace_back(kOriginHeader, origin_);
    if (attempt_ > 0) record.headers.emplace_back(kAttemptHeader, std::to_string(attempt_));
    return record;
  }

  std::string routed_;
  std::string clocks_;
  std::string origin_;
  std::string place_;
  std::int32_t attempt_ = 0;
  UnixMilliseconds timestamp_ = 0;
  std::vector<Publication> records_;
};

void add_bad(const DecodedMessage& decoded, Division& division) {
  std::vector<Element> bad;
  for (const BadTrade& trade : decoded.bad) bad.push_back({trade.index, trade.bytes});
  division.add_elements(division.place(), bad);
}

}  // namespace

std::string routed_topic(std::string_view origin_topic) { return fmt::format("{}-by-pair", origin_topic); }

std::vector<Publication> divide_by_pair(std::string_view topic, const Message& message, const DecodedMessage& decoded,
                                        const ChainClocks& clocks) {
  Division division(topic, message, clocks);
  if (decoded.dead()) {
    division.add_whole(message.value);
    return division.take();
  }
  std::map<std::pair<ChainId, std::string_view>, std::vector<Element>> pairs;
  for (const Trade& trade : decoded.trades) {
    pairs[{trade.chain, trade.pair}].push_back({trade.position.index, trade.bytes});
  }
  for (const auto& [pair, elements] : pairs) division.add_elements(pair.second, elements);
  add_bad(decoded, division);
  return division.take();
}

std::vector<Publication> divide_bad(std::string_view topic, const Message& message, const DecodedMessage& decoded,
                                    const ChainClocks& clocks) {
  Division division(topic, message, clocks);
  add_bad(decoded, division);
  return division.take();
}

}  // namespace klined
