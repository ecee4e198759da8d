// Topics have a number in the tables that never changes, and in memory a rank by name, so that LogIds compare as names
// do.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace klined {

// The topics of stream_topic at some moment. A topic that is added later may shift the ranks: ranks of two moments do
// not mix.
class TopicNumbers {
 public:
  TopicNumbers() = default;
  // Pairs of number and name, in any order, distinct in both.
  explicit TopicNumbers(std::vector<std::pair<std::int32_t, std::string>> topics);

  // Sorted by name: the index is the rank.
  const std::vector<std::string>& names() const { return names_; }
  std::int32_t number_of(std::uint32_t rank) const { return numbers_.at(rank); }
  // The topic must be one of names().
  std::int32_t number_of(std::string_view topic) const;
  std::optional<std::uint32_t> rank_of(std::int32_t number) const;

 private:
  std::vector<std::string> names_;
  std::vector<std::int32_t> numbers_;  // by rank
};

}  // namespace klined
