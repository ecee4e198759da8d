// The tokens of a JSON message: simdjson's first stage, and the rules about strings that this stage does not check.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <simdjson.h>

namespace klined {

constexpr bool is_json_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

// Where the tokens of one message stand: each bracket, comma and colon, and the first byte of each string and bare
// scalar. Tokens are numbered from 0; brackets and commas are not checked here (that is what the walk over them does).
//
// After a successful scan(): the message is UTF-8; no string holds a raw control character or an unknown escape; there
// is no backslash outside of strings; the last token is ']'. One thread; the text must outlive the use of its tokens.
class JsonTokens {
 public:
  JsonTokens();

  // Finds the tokens of a message, or of what follows the first elements of its array: from one element on. Empty, or
  // what is wrong with the text.
  std::string_view scan(std::string_view text, bool has_bracket = true);

  std::uint32_t count() const { return count_; }
  std::uint32_t begin_of(std::uint32_t token) const { return at_[token]; }
  char first_byte(std::uint32_t token) const { return text_[at_[token]]; }
  // The text of the value (of any kind) that begins at `token`, where `next` is the first token behind it.
  std::string_view span(std::uint32_t token, std::uint32_t next) const {
    std::uint32_t end = at_[next];
    while (is_json_blank(text_[end - 1])) --end;
    return {text_ + at_[token], end - at_[token]};
  }
  std::string_view scalar(std::uint32_t token) const { return span(token, token + 1); }
  // A string between its quotes, escapes as they stand.
  std::string_view string(std::uint32_t token) const {
    const std::string_view quoted = span(token, token + 1);
    return {quoted.data() + 1, quoted.size() - 2};
  }
  // A string without its escapes, or as it stands where a surrogate is alone in it. Valid until the next call.
  std::string_view key(std::uint32_t token) {
    const std::string_view raw = string(token);
    return has_escapes_ && raw.find('\\') != std::string_view::npos ? unescaped_key(raw) : raw;
  }
  // Whether any string holds an escape.
  bool has_escapes() const { return has_escapes_; }
  // How many quotes begin or end strings: twice the string tokens, or more where quotes stand inside of bare scalars
  // (1"a"), which have no token of their own.
  std::size_t quote_count() const { return quotes_; }

 private:
  bool reserve(std::size_t bytes);
  void join_scalars();
  bool check_escapes(std::string_view text);
  std::string_view unescaped_key(std::string_view raw);

  std::unique_ptr<simdjson::internal::dom_parser_implementation> stage_;
  const char* text_ = nullptr;
  std::uint32_t* at_ = nullptr;
  std::uint32_t count_ = 0;
  std::size_t quotes_ = 0;  // not counting escaped ones
  bool has_escapes_ = false;
  std::string key_;
};

// How many bytes the escape has that a text begins with, whose first byte is a backslash; 0 where it is none of RFC
// 8259.
std::size_t escape_length(std::string_view text);
// Undoes the escapes of a string whose escapes are known to be well-formed. False where a surrogate stands alone.
bool unescape(std::string_view raw, std::string& out);

}  // namespace klined
