// Which dead letters were put back into their topic, and how often: so that their trades count once in every replay.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

namespace klined {

struct Origin;

// Of one message. A record that was put back for the k-th time is attempt k of its place; the message itself is
// attempt 0. The last attempt stands for the place: what was tried before does not count any more, whatever the rules
// of a replay would make of it.
class PutBack {
 public:
  // Keeps the largest of what is noted of a place.
  void note(std::optional<std::uint32_t> index, std::int32_t attempt);

  // That stands for the element of that index; 0 where nothing of it was put back.
  std::int32_t attempt_of(std::uint32_t index) const;
  // That stands for the message where it is dead whole.
  std::int32_t attempt_of_whole() const { return whole_; }
  // The largest of the message and of all of its elements.
  std::int32_t last() const;

 private:
  std::int32_t whole_ = 0;
  std::map<std::uint32_t, std::int32_t> elements_;
};

// Of one topic, by the messages' places. Pure. What find() gives stays where it is as long as this object lives.
class PutBacks {
 public:
  // What a note's headers tell, as those of a record that was put back do.
  void add(const Origin& origin);
  void note(std::uint32_t partition, std::int64_t offset, std::optional<std::uint32_t> index, std::int32_t attempt) {
    messages_[{partition, offset}].note(index, attempt);
  }
  // Null where nothing of the message was put back.
  const PutBack* find(std::uint32_t partition, std::int64_t offset) const;
  bool empty() const { return messages_.empty(); }
  std::size_t size() const { return messages_.size(); }

 private:
  std::map<std::pair<std::uint32_t, std::int64_t>, PutBack> messages_;
};

}  // namespace klined
