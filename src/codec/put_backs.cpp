#include "klined/codec/put_backs.hpp"

#include <algorithm>

#include "klined/codec/trade_decoder.hpp"

namespace klined {

void PutBack::note(std::optional<std::uint32_t> index, std::int32_t attempt) {
  std::int32_t& known = index ? elements_[*index] : whole_;
  known = std::max(known, attempt);
}

std::int32_t PutBack::attempt_of(std::uint32_t index) const {
  const auto found = elements_.find(index);
  return found == elements_.end() ? whole_ : std::max(whole_, found->second);
}

std::int32_t PutBack::last() const {
  std::int32_t last = whole_;
  for (const auto& [index, attempt] : elements_) last = std::max(last, attempt);
  return last;
}

void PutBacks::add(const Origin& origin) {
  PutBack& message = messages_[{origin.log.partition(), origin.offset}];
  if (!origin.indexes) message.note(std::nullopt, origin.attempt);
  for (const std::uint32_t index : origin.indexes.value_or(std::vector<std::uint32_t>())) {
    message.note(index, origin.attempt);
  }
}

const PutBack* PutBacks::find(std::uint32_t partition, std::int64_t offset) const {
  const auto found = messages_.find({partition, offset});
  return found == messages_.end() ? nullptr : &found->second;
}

}  // namespace klined
