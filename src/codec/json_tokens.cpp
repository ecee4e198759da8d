#include "json_tokens.hpp"

#include <algorithm>
#include <cstring>

#include "klined/base/assertion.hpp"

namespace klined {

namespace {

constexpr std::size_t kFirstCapacity = std::size_t{1} << 20U;
constexpr std::size_t kDepth = 1024;  // of simdjson's own second stage, which is not used

constexpr bool is_punctuation(char c) { return c == '[' || c == ']' || c == '{' || c == '}' || c == ',' || c == ':'; }

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// The value of four hexadecimal digits, or -1.
int code_unit(std::string_view digits) {
  if (digits.size() < 4) return -1;
  int value = 0;
  for (const char c : digits.substr(0, 4)) {
    const int digit = hex_value(c);
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

void append_utf8(std::uint32_t code, std::string& out) {
  const auto put = [&out](std::uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | code >> 6U);
    put(0x80 | (code & 0x3FU));
  } else if (code < 0x10000) {
    put(0xE0 | code >> 12U);
    put(0x80 | (code >> 6U & 0x3FU));
    put(0x80 | (code & 0x3FU));
  } else {
    put(0xF0 | code >> 18U);
    put(0x80 | (code >> 12U & 0x3FU));
    put(0x80 | (code >> 6U & 0x3FU));
    put(0x80 | (code & 0x3FU));
  }
}

// What a block of bytes holds.
struct ByteSurvey {
  std::uint8_t quotes = 0;
  std::uint8_t backslashes = 0;   // not 0 where there are any
  std::uint8_t odd_controls = 0;  // the same
  std::uint8_t non_ascii = 0;     // the same
};
struct TextSurvey {
  std::size_t quotes = 0;
  bool has_escapes = false;
  bool has_odd_controls = false;
  bool has_non_ascii = false;
};
constexpr std::size_t kSurveyBlock = 224;  // so that one byte can count, in whole vectors

// One byte an accumulator and no condition: so compilers turn the loop into vector instructions, ten times as fast.
ByteSurvey survey_block(const char* block, std::size_t size) {
  std::uint8_t quotes = 0;
  std::uint8_t backslashes = 0;
  std::uint8_t odd_controls = 0;
  std::uint8_t all = 0;
  for (std::size_t i = 0; i < size; ++i) {
    const char c = block[i];
    quotes = static_cast<std::uint8_t>(quotes + static_cast<std::uint8_t>(c == '"'));
    backslashes = static_cast<std::uint8_t>(backslashes | static_cast<std::uint8_t>(c == '\\'));
    odd_controls = static_cast<std::uint8_t>(odd_controls | static_cast<std::uint8_t>(c == '\x0C') |
                                             static_cast<std::uint8_t>(c == '\x1A'));
    all = static_cast<std::uint8_t>(all | static_cast<std::uint8_t>(c));
  }
  return {quotes, backslashes, odd_controls, static_cast<std::uint8_t>(all & 0x80U)};
}

TextSurvey survey(std::string_view text) {
  TextSurvey whole;
  for (std::size_t at = 0; at < text.size(); at += kSurveyBlock) {
    const ByteSurvey block = survey_block(text.data() + at, std::min(kSurveyBlock, text.size() - at));
    whole.quotes += block.quotes;
    whole.has_escapes = whole.has_escapes || block.backslashes != 0;
    whole.has_odd_controls = whole.has_odd_controls || block.odd_controls != 0;
    whole.has_non_ascii = whole.has_non_ascii || block.non_ascii != 0;
  }
  return whole;
}

std::string_view message_of(simdjson::error_code error) {
  switch (error) {
    case simdjson::EMPTY: return "the message is empty";
    case simdjson::UTF8_ERROR: return "not valid UTF-8";
    case simdjson::UNCLOSED_STRING: return "a string is not closed";
    case simdjson::UNESCAPED_CHARS: return "a string holds a control character";
    default: return simdjson::error_message(error);
  }
}

}  // namespace

JsonTokens::JsonTokens() {
  const simdjson::error_code error =
      simdjson::get_active_implementation()->create_dom_parser_implementation(kFirstCapacity, kDepth, stage_);
  KLINED_ASSERT(error == simdjson::SUCCESS, "simdjson has an implementation for this processor");
}

bool JsonTokens::reserve(std::size_t bytes) {
  const std::size_t capacity = stage_->capacity();
  return bytes <= capacity || stage_->set_capacity(std::max(bytes, 2 * capacity)) == simdjson::SUCCESS;
}

std::string_view JsonTokens::scan(std::string_view text, bool has_bracket) {
  text_ = text.data();
  if (text.empty()) return message_of(simdjson::EMPTY);
  if (!reserve(text.size())) return "too large to decode";
  // The first stage copies the last block, so that it never reads past the end: the text needs no padding.
  const simdjson::error_code error =
      stage_->stage1(reinterpret_cast<const std::uint8_t*>(text.data()), text.size(), simdjson::stage1_mode::regular);
  if (error != simdjson::SUCCESS) return message_of(error);
  at_ = stage_->structural_indexes.get();
  count_ = stage_->n_structural_indexes;
  const TextSurvey found = survey(text);
  quotes_ = found.quotes;
  has_escapes_ = found.has_escapes;
  // Not every implementation of the first stage looks at what stands outside of strings.
  if (found.has_non_ascii && !simdjson::validate_utf8(text.data(), text.size()))
    return message_of(simdjson::UTF8_ERROR);
  if (found.has_odd_controls) join_scalars();
  if (has_escapes_ && !check_escapes(text)) return "an unknown escape, or a backslash outside of a string";
  if (has_bracket && first_byte(0) != '[') return "not an array";
  if (first_byte(count_ - 1) != ']') return "the array is not closed, or text follows it";
  return {};
}

// The first stage takes 0x0C and 0x1A for punctuation. Outside of strings they are parts of malformed scalars like any
// other stray byte: drops the tokens that are but the continuation of a scalar.
void JsonTokens::join_scalars() {
  std::uint32_t kept = 0;
  for (std::uint32_t token = 0; token < count_; ++token) {
    const std::uint32_t at = at_[token];
    const char before = at == 0 ? ' ' : text_[at - 1];
    const bool continues = !is_json_blank(before) && !is_punctuation(before) && before != '"';
    if (is_punctuation(text_[at]) || !continues) at_[kept++] = at;
  }
  at_[kept] = at_[count_];
  count_ = kept;
}

// Each backslash must stand in a string and begin an escape of RFC 8259. Takes the escaped quotes off quotes_.
bool JsonTokens::check_escapes(std::string_view text) {
  std::uint32_t token = 0;
  std::size_t at = text.find('\\');
  while (at != std::string_view::npos) {
    while (token + 1 < count_ && at_[token + 1] <= at) ++token;
    if (at_[token] > at || first_byte(token) != '"') return false;
    const std::size_t length = escape_length(text.substr(at));
    if (length == 0) return false;
    if (text[at + 1] == '"') --quotes_;
    at = text.find('\\', at + length);
  }
  return true;
}

std::string_view JsonTokens::unescaped_key(std::string_view raw) { return unescape(raw, key_) ? key_ : raw; }

std::size_t escape_length(std::string_view text) {
  if (text.size() < 2) return 0;
  if (text[1] == 'u') return code_unit(text.substr(2)) < 0 ? 0 : 6;
  return std::string_view("\"\\/bfnrt").find(text[1]) == std::string_view::npos ? 0 : 2;
}

bool unescape(std::string_view raw, std::string& out) {
  out.clear();
  while (!raw.empty()) {
    const std::size_t plain = std::min(raw.find('\\'), raw.size());
    out.append(raw.substr(0, plain));
    raw.remove_prefix(plain);
    if (raw.empty()) break;
    constexpr std::string_view kKinds = "\"\\/bfnrt";
    constexpr std::string_view kValues = "\"\\/\b\f\n\r\t";
    if (raw[1] != 'u') {
      out.push_back(kValues[kKinds.find(raw[1])]);
      raw.remove_prefix(2);
      continue;
    }
    auto code = static_cast<std::uint32_t>(code_unit(raw.substr(2)));
    raw.remove_prefix(6);
    if (code >= 0xD800 && code < 0xE000) {
      const int low = raw.starts_with("\\u") ? code_unit(raw.substr(2)) : -1;
      if (code >= 0xDC00 || low < 0xDC00 || low >= 0xE000) return false;
      code = 0x10000 + ((code - 0xD800) << 10U) + (static_cast<std::uint32_t>(low) - 0xDC00);
      raw.remove_prefix(6);
    }
    append_utf8(code, out);
  }
  return true;
}

}  // namespace klined
