#include "klined/store/topic_numbers.hpp"

#include <algorithm>

namespace klined {

TopicNumbers::TopicNumbers(std::vector<std::pair<std::int32_t, std::string>> topics) {
  std::ranges::sort(topics, {}, &std::pair<std::int32_t, std::string>::second);
  for (auto& [number, name] : topics) {
    numbers_.push_back(number);
    names_.push_back(std::move(name));
  }
}

std::int32_t TopicNumbers::number_of(std::string_view topic) const {
  return numbers_.at(static_cast<std::size_t>(std::ranges::lower_bound(names_, topic) - names_.begin()));
}

std::optional<std::uint32_t> TopicNumbers::rank_of(std::int32_t number) const {
  const auto found = std::ranges::find(numbers_, number);
  if (found == numbers_.end()) return std::nullopt;
  return static_cast<std::uint32_t>(found - numbers_.begin());
}

}  // namespace klined
