// What a trade's object holds of the fields that klined looks at, before any of it is judged.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "field_names.hpp"
#include "json_tokens.hpp"

namespace klined {

// kBadText: a text that half of a surrogate pair stands in, which only undoing the escapes tells.
enum class ValueKind : std::uint8_t { kMissing, kText, kScalar, kObject, kArray, kBadText };

struct FieldValue {
  ValueKind kind = ValueKind::kMissing;
  bool has_escapes = false;  // of a text
  // A text between its quotes, escapes as they stand; a bare scalar as it stands. None of the other kinds.
  std::string_view text{};
};

// Of each field: the token at which its value begins, 0 where there is none. No object's value is a message's first
// token.
using FieldPlaces = std::array<std::uint32_t, kFieldCount>;

// By Field; kUnknown's has no meaning. The views point into the message.
class TradeValues {
 public:
  TradeValues() = default;
  TradeValues(const JsonTokens& tokens, const FieldPlaces& places) {
    for (std::size_t field = 1; field < kFieldCount; ++field) {
      if (places[field] != 0) values_[field] = value_at(tokens, places[field]);
    }
  }

  FieldValue& operator[](Field field) { return values_[static_cast<std::size_t>(field)]; }
  const FieldValue& operator[](Field field) const { return values_[static_cast<std::size_t>(field)]; }

 private:
  static FieldValue value_at(const JsonTokens& tokens, std::uint32_t token) {
    switch (tokens.first_byte(token)) {
      case '{': return {.kind = ValueKind::kObject};
      case '[': return {.kind = ValueKind::kArray};
      case '"': break;
      default: return {.kind = ValueKind::kScalar, .text = tokens.scalar(token)};
    }
    const std::string_view text = tokens.string(token);
    const bool has_escapes = tokens.has_escapes() && text.find('\\') != std::string_view::npos;
    return {.kind = ValueKind::kText, .has_escapes = has_escapes, .text = text};
  }

  std::array<FieldValue, kFieldCount> values_{};
};

}  // namespace klined
