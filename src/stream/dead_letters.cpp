#include "klined/stream/dead_letters.hpp"

#include <fmt/format.h>

#include <charconv>

#include "klined/source/record_headers.hpp"
#include "klined/stream/config.hpp"

namespace klined {

namespace {

template <typename Number>
std::optional<Number> parse(std::string_view text) {
  Number number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < 0) return std::nullopt;
  return number;
}

// 0 where there is none, nothing where it is none.
std::optional<std::int32_t> attempt_of(const Letter& letter) {
  if (!letter.has_header(kAttemptHeader)) return 0;
  return parse<std::int32_t>(letter.header(kAttemptHeader));
}

using Headers = std::vector<std::pair<std::string, std::string>>;

Headers headers_of(const LetterOrigin& origin, std::int32_t attempt) {
  Headers headers;
  headers.emplace_back(kOriginHeader, fmt::format("{}/{}/{}", origin.topic, origin.partition, origin.offset));
  if (origin.index) headers.emplace_back(kIndexesHeader, std::to_string(*origin.index));
  headers.emplace_back(kAttemptHeader, std::to_string(attempt));
  return headers;
}

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

std::optional<LetterOrigin> origin_of(const Letter& letter) {
  const auto partition = parse<std::int32_t>(letter.header("partition"));
  const auto offset = parse<std::int64_t>(letter.header("offset"));
  const std::string_view topic = letter.header("topic");
  if (topic.empty() || !partition || !offset) return std::nullopt;
  LetterOrigin origin{std::string(topic), *partition, *offset, std::nullopt};
  if (!letter.has_header("index")) return origin;
  const auto index = parse<std::int64_t>(letter.header("index"));
  if (!index || *index > std::int64_t{0xFFFFFFFF}) return std::nullopt;
  origin.index = static_cast<std::uint32_t>(*index);
  return origin;
}

void DeadLetters::add(const Letter& letter) {
  const std::optional<LetterOrigin> origin = origin_of(letter);
  if (!origin) {
    ++strangers_;
    return;
  }
  std::vector<Place>& open = open_[{letter.partition, *origin}];
  if (letter.has_header(kRetriedHeader)) {
    for (const Place& place : open) entries_.at(place).is_done = true;
    open.clear();
    return;
  }
  const std::optional<std::int32_t> attempt = attempt_of(letter);
  if (!letter.has_header("error") || !attempt) {
    ++strangers_;
    return;
  }
  const Place place(letter.partition, letter.offset);
  entries_[place] = {.partition = letter.partition,
                     .offset = letter.offset,
                     .timestamp = letter.timestamp,
                     .bytes = letter.value.size(),
                     .error = std::string(letter.header("error")),
                     .origin = *origin,
                     .attempt = *attempt,
                     .tables = std::string(letter.header(kTablesHeader)),
                     .is_done = false};
  open.push_back(place);
}

std::string reason_class(std::string_view error) {
  std::string text;
  for (const char c : error) {
    if (!is_digit(c)) {
      text += c;
    } else if (text.empty() || text.back() != 'N') {
      text += 'N';
    }
  }
  return text;
}

NoteSays note_says(const PutBacks& put_backs, const LetterOrigin& origin, std::int32_t attempt,
                   std::string_view value) {
  const PutBack* const found = put_backs.find(static_cast<std::uint32_t>(origin.partition), origin.offset);
  if (found == nullptr) return NoteSays::kNothing;
  if (!origin.index) return found->of_whole(attempt, value);
  return found->of_element(attempt, *origin.index, value, found->of_part(attempt));
}

std::int32_t next_attempt(const PutBacks& put_backs, const LetterOrigin& origin) {
  const PutBack* const found = put_backs.find(static_cast<std::uint32_t>(origin.partition), origin.offset);
  if (found == nullptr) return 1;
  return 1 + (origin.index ? found->attempt_of(*origin.index) : found->last());
}

Publication put_back(const Letter& letter, const LetterOrigin& origin, std::int32_t attempt) {
  Publication record;
  record.topic = origin.topic;
  record.key = letter.key;
  record.value = origin.index ? fmt::format("[{}]", letter.value) : std::string(letter.value);
  record.headers = headers_of(origin, attempt);
  return record;
}

Publication note_of(const LetterOrigin& origin, std::int32_t attempt, std::string_view letter_value) {
  Publication note;
  note.topic = put_back_topic(origin.topic);
  note.key = fmt::format("{}/{}/{}{}", origin.topic, origin.partition, origin.offset,
                         origin.index ? fmt::format("/{}", *origin.index) : "");
  note.value = std::to_string(attempt);
  note.headers = headers_of(origin, attempt);
  note.headers.emplace_back(kChecksumHeader, checksum_text(checksum_of(letter_value)));
  return note;
}

std::string foreign_note_text(std::string_view topic, std::uint32_t partition, std::int64_t offset) {
  const std::string notes = put_back_topic(topic);
  return fmt::format(
      "{} partition {} offset {}: topic {} holds notes of other messages than those that are at their places: was {} "
      "deleted and made anew? Such notes are ignored, the candles are right. Where nothing was put back since (`klined "
      "dlq retry`), delete {} and make it anew with `klined init`",
      topic, partition, offset, notes, topic, notes);
}

Publication marker_of(const std::string& dead_letter_topic, const Letter& letter) {
  Publication marker;
  marker.topic = dead_letter_topic;
  marker.key = letter.key;
  marker.headers.emplace_back(kRetriedHeader, fmt::format("{}/{}", letter.partition, letter.offset));
  for (const std::string_view name : {"topic", "partition", "offset", "index"}) {
    if (letter.has_header(name)) marker.headers.emplace_back(name, letter.header(name));
  }
  return marker;
}

}  // namespace klined
