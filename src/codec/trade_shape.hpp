// The shape of a trade's JSON: a short cut for trades that are written like others before them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "json_tokens.hpp"
#include "text_scan.hpp"
#include "trade_values.hpp"

namespace klined {

// What trades' objects have in common that a producer writes alike: all of their text but the values. Between two
// values stands what stood there in the trade that was learned, byte for byte: brackets, commas, keys, blanks. So of
// another trade only the ends of the values have to be found; which fields they are, and that the structure is right,
// follows.
//
// A shape takes less than the rules allow, and nothing that they don't: what matches is an object of right structure
// whose strings are UTF-8 and hold no raw control character and no unknown escape, and whose bare values are made of
// what numbers, true, false and null are made of. What does not match may be right all the same: JsonTokens tell.
class TradeShape {
 public:
  // Of the object of the tokens [begin, end) in a message that is right, whose fields stand at `places`. Nothing where
  // the object is too large to be worth it.
  static std::optional<TradeShape> of(const JsonTokens& tokens, std::uint32_t begin, std::uint32_t end,
                                      const FieldPlaces& places);

  // Behind the object that begins at `at`, whose values() are known then; nullptr where it has another shape.
  const char* match(const char* at, const char* end);
  // Of the object that matched last.
  const TradeValues& values() const { return values_; }

  // Whether the same objects match.
  friend bool operator==(const TradeShape& a, const TradeShape& b) { return a.parts_ == b.parts_; }

 private:
  static constexpr std::size_t kMostParts = 1024;

  // What all have, and a value behind it.
  struct Part {
    KnownText text;
    ValueKind kind = ValueKind::kMissing;  // kText or kScalar; kMissing: none, the text goes on or is the last
    Field field = Field::kUnknown;         // kUnknown: nothing looks at the value
    friend bool operator==(const Part&, const Part&) = default;
  };

  // Adds a text that all have. False where there are too many parts.
  bool add(std::string_view text, ValueKind kind, Field field);

  std::vector<Part> parts_;
  TradeValues values_;  // what kinds they are of, and which are missing, never changes
};

// The shapes that were met last: producers write trades of several types, each in its own way.
class TradeShapes {
 public:
  // As TradeShape::match().
  const char* match(const char* at, const char* end) {
    if (shapes_.empty()) return nullptr;
    if (const char* const behind = shapes_[last_].match(at, end)) return behind;
    for (std::size_t i = 0; i < shapes_.size(); ++i) {
      if (i == last_) continue;
      if (const char* const behind = shapes_[i].match(at, end)) {
        last_ = i;
        return behind;
      }
    }
    return nullptr;
  }
  const TradeValues& values() const { return shapes_[last_].values(); }

  // In place of the one that was learned first, where there are enough.
  void learn(TradeShape shape) {
    if (std::ranges::find(shapes_, shape) != shapes_.end()) return;
    if (shapes_.size() < kMost) {
      shapes_.push_back(std::move(shape));
    } else {
      shapes_[oldest_] = std::move(shape);
      oldest_ = (oldest_ + 1) % kMost;
    }
  }

 private:
  static constexpr std::size_t kMost = 8;

  std::vector<TradeShape> shapes_;
  std::size_t last_ = 0;    // that matched
  std::size_t oldest_ = 0;  // once there are kMost
};

}  // namespace klined
