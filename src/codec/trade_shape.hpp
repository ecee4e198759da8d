// The shape of a trade's JSON: a short cut for the trades that are written like the one before them.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "json_tokens.hpp"
#include "short_text.hpp"
#include "trade_reader.hpp"

namespace klined {

// What a trade's object looked like: the kinds of its tokens, and its own keys. Whatever follows from these alone
// (where its fields stand, that its structure is right, how many strings it has) is the same in every object that has
// the same kinds and keys, and need not be found again. A producer writes its trades alike, so nearly all have.
class TradeShape {
 public:
  // Remembers the object of tokens [begin, end), whose structure is right and whose fields stand at `places`.
  void learn(JsonTokens& tokens, std::uint32_t begin, std::uint32_t end, const FieldPlaces& places,
             std::size_t strings) {
    kinds_.clear();
    keys_.clear();
    places_ = places;
    strings_ = strings;
    for (std::uint32_t& place : places_) place = place == 0 ? 0 : place - begin;
    if (end - begin > kLongest || !learn_tokens(tokens, begin, end)) kinds_.clear();
  }

  // Whether the object that begins at the token, if it is one, has this shape.
  bool fits(const JsonTokens& tokens, std::uint32_t begin) const {
    if (kinds_.empty() || begin + kinds_.size() > tokens.count()) return false;
    for (std::uint32_t i = 0; i < kinds_.size(); ++i) {
      if (kind_of(tokens.first_byte(begin + i)) != kinds_[i]) return false;
    }
    for (const Key& key : keys_) {
      const std::uint32_t at = tokens.begin_of(begin + key.token);
      const std::uint32_t room = tokens.begin_of(begin + key.token + 1) - at;
      if (room < key.size || !same_bytes(tokens.text() + at, key.quoted.data(), key.size)) return false;
    }
    return true;
  }

  // Of an object that fits: its tokens, its string tokens, and where its fields stand.
  std::uint32_t count() const { return static_cast<std::uint32_t>(kinds_.size()); }
  std::size_t strings() const { return strings_; }
  void place(std::uint32_t begin, FieldPlaces& places) const {
    for (std::size_t field = 0; field < kFieldCount; ++field) {
      places[field] = places_[field] == 0 ? 0 : places_[field] + begin;
    }
  }

 private:
  static constexpr std::uint32_t kLongest = 1024;  // tokens
  static constexpr std::size_t kLongestKey = 32;   // with its quotes
  struct Key {
    std::uint32_t token = 0;
    std::uint32_t size = 0;
    std::array<char, kLongestKey> quoted{};
  };

  // Punctuation and quotes stand for themselves; all that begins a bare scalar is alike.
  static char kind_of(char first) { return kKinds[static_cast<unsigned char>(first)]; }
  static constexpr std::array<char, 256> kKinds = [] {
    std::array<char, 256> kinds{};
    for (const char c : {'{', '}', '[', ']', ',', ':', '"'}) kinds[static_cast<unsigned char>(c)] = c;
    return kinds;
  }();

  // False where a key is too long, or is not what its bytes look like.
  bool learn_tokens(JsonTokens& tokens, std::uint32_t begin, std::uint32_t end) {
    int depth = 0;
    for (std::uint32_t token = begin; token < end; ++token) {
      const char kind = kind_of(tokens.first_byte(token));
      kinds_.push_back(kind);
      if (kind == '{' || kind == '[') ++depth;
      if (kind == '}' || kind == ']') --depth;
      if (depth != 1 || kind != '"' || tokens.first_byte(token + 1) != ':') continue;
      const std::string_view quoted = tokens.scalar(token);
      if (quoted.size() > kLongestKey || quoted.find('\\') != std::string_view::npos) return false;
      Key& key = keys_.emplace_back(token - begin, static_cast<std::uint32_t>(quoted.size()));
      quoted.copy(key.quoted.data(), quoted.size());
    }
    return true;
  }

  std::vector<char> kinds_;  // by token; none where there is nothing to compare with
  std::vector<Key> keys_;    // of the object itself, not of those inside of it
  FieldPlaces places_{};     // from the object's own token on; 0 where there is none
  std::size_t strings_ = 0;
};

}  // namespace klined
