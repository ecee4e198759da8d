#include "trade_shape.hpp"

#include <algorithm>

#include "short_text.hpp"
#include "text_scan.hpp"

namespace klined {

namespace {

constexpr bool is_punctuation(char c) { return c == '{' || c == '}' || c == '[' || c == ']' || c == ',' || c == ':'; }

Field field_at(const FieldPlaces& places, std::uint32_t token) {
  const auto* const found = std::ranges::find(places, token);
  return found == places.end() ? Field::kUnknown : static_cast<Field>(found - places.begin());
}

}  // namespace

std::optional<TradeShape> TradeShape::of(const JsonTokens& tokens, std::uint32_t begin, std::uint32_t end,
                                         const FieldPlaces& places) {
  TradeShape shape;
  const char* copied = tokens.span(begin, end).data();
  const char* const last = copied + tokens.span(begin, end).size();
  // Ends a part at `until`, where a value begins, which goes up to `behind`.
  const auto add = [&](const char* until, const char* behind, ValueKind kind, Field field) {
    const auto size = static_cast<std::size_t>(until - copied);
    if (shape.parts_.size() == kMostParts || shape.text_.size() + size > kLongest) return false;
    shape.parts_.push_back({static_cast<std::uint16_t>(size), kind, field});
    shape.text_.append(copied, until);
    copied = behind;
    return true;
  };
  for (std::uint32_t token = begin; token < end; ++token) {
    const char first = tokens.first_byte(token);
    const bool is_key = first == '"' && tokens.first_byte(token + 1) == ':';
    if (is_punctuation(first) || is_key) continue;
    const std::string_view value = first == '"' ? tokens.string(token) : tokens.scalar(token);
    const ValueKind kind = first == '"' ? ValueKind::kText : ValueKind::kScalar;
    if (!add(value.data(), value.data() + value.size(), kind, field_at(places, token))) return std::nullopt;
  }
  if (!add(last, last, ValueKind::kMissing, Field::kUnknown)) return std::nullopt;
  shape.text_.append(ByteBlock::size(), '\0');  // as begins_with() wants it
  shape.values_ = TradeValues(tokens, places);
  return shape;
}

const char* TradeShape::match(const char* at, const char* end) {
  const char* text = text_.data();
  for (const Part& part : parts_) {
    if (!begins_with(at, end, text, part.size)) return nullptr;
    at += part.size;
    text += part.size;
    if (part.kind == ValueKind::kMissing) break;
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
