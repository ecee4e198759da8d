// Which dead letters there are, which were put back, and what a letter that is put back looks like.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "klined/codec/put_backs.hpp"
#include "klined/publish/publisher.hpp"
#include "klined/source/letter_reader.hpp"

namespace klined {

// On a marker: "<partition>/<offset>" of the letter that was put back.
inline constexpr std::string_view kRetriedHeader = "klined-retried";

// What a letter's headers tell of the message, or the element of a message, that it holds.
struct LetterOrigin {
  std::string topic;
  std::int32_t partition = 0;
  std::int64_t offset = 0;
  std::optional<std::uint32_t> index;  // none: it is the whole message
  friend auto operator<=>(const LetterOrigin&, const LetterOrigin&) = default;
};
// Nothing where the headers are no dead letter's.
std::optional<LetterOrigin> origin_of(const Letter& letter);

// The letters of one dead-letter topic, without their values.
//
// Dead letters are written at least once, so one may lie there several times: those of one origin that come before a
// marker of it are all done by it. One that comes behind the marker has failed again, and is open.
class DeadLetters {
 public:
  struct Entry {
    std::int32_t partition = 0;
    std::int64_t offset = 0;
    UnixMilliseconds timestamp = -1;
    std::size_t bytes = 0;
    std::string error;  // "result: reason"
    LetterOrigin origin;
    std::int32_t attempt = 0;  // of the record that died: how often it had been put back before
    std::string tables;        // whose candles are without it (see Claim); "" where an earlier klined wrote the letter
    bool is_done = false;      // put back, or a copy of it was
  };
  using Place = std::pair<std::int32_t, std::int64_t>;  // partition, offset

  // Each partition's records in order.
  void add(const Letter& letter);
  const std::map<Place, Entry>& entries() const { return entries_; }
  // Records that are neither letters nor markers.
  std::int64_t strangers() const { return strangers_; }

 private:
  std::map<Place, Entry> entries_;
  std::map<std::pair<std::int32_t, LetterOrigin>, std::vector<Place>> open_;  // by partition
  std::int64_t strangers_ = 0;
};

// The reason without its numbers, so that like reasons count together: "late: block_time is N s behind …".
std::string reason_class(std::string_view error);

// Of a letter of that attempt, which holds `value`: what stands for it by now is not to be put back.
NoteSays note_says(const PutBacks& put_backs, const LetterOrigin& origin, std::int32_t attempt, std::string_view value);
// Of a record that is put back now: above all that it replaces.
std::int32_t next_attempt(const PutBacks& put_backs, const LetterOrigin& origin);

// The record that stands for the letter's content in the input topic: its partition is the origin's.
Publication put_back(const Letter& letter, const LetterOrigin& origin, std::int32_t attempt);
// What tells in put_back_topic() of that record, which holds what the letter does, in the same transaction: whoever
// reads the input from further back knows it before.
Publication note_of(const LetterOrigin& origin, std::int32_t attempt, std::string_view letter_value);
// A warning of DecodedMessage::has_foreign_note, at a place of a topic that is no routed one.
std::string foreign_note_text(std::string_view topic, std::uint32_t partition, std::int64_t offset);
// What says in the dead-letter topic that this was done: its partition is the letter's.
Publication marker_of(const std::string& dead_letter_topic, const Letter& letter);

}  // namespace klined
