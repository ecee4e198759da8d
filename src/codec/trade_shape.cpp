#include "trade_shape.hpp"

#include <algorithm>

namespace klined {

namespace {

constexpr bool is_punctuation(char c) { return c == '{' || c == '}' || c == '[' || c == ']' || c == ',' || c == ':'; }

Field field_at(const FieldPlaces& places, std::uint32_t token) {
  const auto* const found = std::ranges::find(places, token);
  return found == places.end() ? Field::kUnknown : static_cast<Field>(found - places.begin());
}

}  // namespace

bool TradeShape::add(std::string_view text, ValueKind kind, Field field) {
  for (; text.size() > KnownText::kLongest; text.remove_prefix(KnownText::kLongest)) {
    if (parts_.size() == kMostParts) return false;
    parts_.push_back({.text = KnownText(text.substr(0, KnownText::kLongest))});
  }
  parts_.push_back({KnownText(text), kind, field});
  return parts_.size() <= kMostParts;
}

std::optional<TradeShape> TradeShape::of(const JsonTokens& tokens, std::uint32_t begin, std::uint32_t end,
                                         const FieldPlaces& places) {
  TradeShape shape;
  std::string_view left = tokens.span(begin, end);
  for (std::uint32_t token = begin; token < end; ++token) {
    const char first = tokens.first_byte(token);
    const bool is_key = first == '"' && tokens.first_byte(token + 1) == ':';
    if (is_punctuation(first) || is_key) continue;
    const std::string_view value = first == '"' ? tokens.string(token) : tokens.scalar(token);
    const ValueKind kind = first == '"' ? ValueKind::kText : ValueKind::kScalar;
    const auto size = static_cast<std::size_t>(value.data() - left.data());
    if (!shape.add(left.substr(0, size), kind, field_at(places, token))) return std::nullopt;
    left.remove_prefix(size + value.size());
  }
  if (!shape.add(left, ValueKind::kMissing, Field::kUnknown)) return std::nullopt;
  shape.values_ = TradeValues(tokens, places);
  return shape;
}

const char* TradeShape::match(const char* at, const char* end) {
  for (const Part& part : parts_) {
    if (!part.text.begins(at, end)) return nullptr;
    at += part.text.size();
    if (part.kind == ValueKind::kMissing) continue;
    const char* const value = at;
    bool has_escapes = false;
    at = part.kind == ValueKind::kText ? end_of_text(at, end, has_escapes) : end_of_scalar(at, end);
    // A bare value that has no byte is none, and what follows would be.
    if (at == nullptr || (at == value && part.kind == ValueKind::kScalar)) return nullptr;
    values_[part.field] = {part.kind, has_escapes, {value, static_cast<std::size_t>(at - value)}};
  }
  return at;
}

}  // namespace klined
