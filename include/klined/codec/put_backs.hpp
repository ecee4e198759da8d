// Which dead letters were put back into their topic, and how often: so that their trades count once in every replay.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace klined {

struct Origin;

// Tells one text from another: by chance two of one length agree once in 2^32 (4 billion) times. It is not meant to
// withstand somebody who looks for such a pair.
struct Checksum {
  std::uint64_t size = 0;   // bytes
  std::uint32_t crc32 = 0;  // as of zlib
  friend bool operator==(const Checksum&, const Checksum&) = default;
};
Checksum checksum_of(std::string_view bytes);
// "512:0a1b2c3d"
std::string checksum_text(Checksum checksum);
std::optional<Checksum> parse_checksum(std::string_view text);

// What a note is to something at its place.
enum class NoteSays : std::uint8_t {
  kNothing,   // nothing was put back after it
  kReplaced,  // a later attempt stands for it: it does not count
  kForeign,   // the note is of other bytes, so of another topic of the same name that is gone: as if there were none
  kUnknown,   // the note is of a whole message of which only a part is at hand
};

// Of one message. A record that was put back for the k-th time is attempt k of its place; the message itself is
// attempt 0. The last attempt stands for the place: what was tried before does not count any more, whatever the rules
// of a replay would make of it.
//
// A place may hold another message than the one that was noted, where the topic was made anew and the notes were not.
// So a note has a checksum of what was put back, which is what the message at the place must hold. A record that was
// put back is in the topic of now, and attempts are counted on: a note of a later one is of this topic, and needs none.
class PutBack {
 public:
  // Keeps the largest of what is noted of a place. `of`: of the element, or of the whole message; nothing where an
  // earlier klined wrote the note, which is then taken to be of whatever is at its place.
  void note(std::optional<std::uint32_t> index, std::int32_t attempt, std::optional<Checksum> of);

  // Of a record of that attempt that holds the whole message, `value`.
  NoteSays of_whole(std::int32_t attempt, std::string_view value) const;
  // Of a record of that attempt that holds a part of the message.
  NoteSays of_part(std::int32_t attempt) const;
  // Of one of its elements; `whole` is what one of the above said of the record.
  NoteSays of_element(std::int32_t attempt, std::uint32_t index, std::string_view bytes, NoteSays whole) const;

  // By their numbers alone: the one that stands for the element of that index; 0 where nothing of it was put back.
  std::int32_t attempt_of(std::uint32_t index) const;
  // That stands for the message where it is dead whole.
  std::int32_t attempt_of_whole() const { return whole_.attempt; }
  // The largest of the message and of all of its elements.
  std::int32_t last() const;

 private:
  struct Note {
    std::int32_t attempt = 0;
    std::optional<Checksum> of;
  };
  Note whole_;
  std::map<std::uint32_t, Note> elements_;
};

// Of one topic, by the messages' places. Pure. What find() gives stays where it is as long as this object lives.
class PutBacks {
 public:
  // What a note's headers tell, as those of a record that was put back do.
  void add(const Origin& origin);
  void note(std::uint32_t partition, std::int64_t offset, std::optional<std::uint32_t> index, std::int32_t attempt,
            std::optional<Checksum> of) {
    messages_[{partition, offset}].note(index, attempt, of);
  }
  // Null where nothing of the message was put back.
  const PutBack* find(std::uint32_t partition, std::int64_t offset) const;
  bool empty() const { return messages_.empty(); }
  std::size_t size() const { return messages_.size(); }

 private:
  std::map<std::pair<std::uint32_t, std::int64_t>, PutBack> messages_;
};

}  // namespace klined
