#include "klined/codec/trade_decoder.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "json_tokens.hpp"
#include "trade_reader.hpp"
#include "trade_shape.hpp"
#include "trade_values.hpp"

namespace klined {

namespace {

constexpr std::size_t kShortest = 400;  // bytes of a trade with all that it must have, about

constexpr bool is_opening(char c) { return c == '{' || c == '['; }
constexpr char closing_of(char opening) { return opening == '{' ? '}' : ']'; }

// Requires message.put_back.
NoteSays note_of_whole(const Message& message) {
  const bool is_part = message.origin != nullptr && message.origin->indexes;
  return is_part ? message.put_back->of_part(message.attempt())
                 : message.put_back->of_whole(message.attempt(), message.value);
}

// Requires message.put_back. Of the record's element; `whole` is note_of_whole().
NoteSays note_of_element(const Message& message, std::uint32_t element, std::string_view bytes, NoteSays whole) {
  std::uint32_t index = element;
  if (message.origin != nullptr && message.origin->indexes) {
    if (element >= message.origin->indexes->size()) return NoteSays::kNothing;  // contradicts_origin
    index = (*message.origin->indexes)[element];
  }
  return message.put_back->of_element(message.attempt(), index, bytes, whole);
}

constexpr bool is_ignored(NoteSays says) { return says == NoteSays::kForeign || says == NoteSays::kUnknown; }

}  // namespace

bool was_put_back_since(const Message& message) {
  if (message.attempt() == 0) return false;
  if (message.put_back == nullptr) return true;
  const auto is_known = [&message](std::int32_t attempt) { return attempt >= message.attempt(); };
  if (!message.origin->indexes) return !is_known(message.put_back->attempt_of_whole());
  return !std::ranges::all_of(*message.origin->indexes, is_known,
                              [&message](std::uint32_t index) { return message.put_back->attempt_of(index); });
}

void DecodedMessage::clear() {
  trades.clear();
  bad.clear();
  ignored = 0;
  no_price = 0;
  superseded = 0;
  has_foreign_note = false;
  unlisted_invalid = unlisted_future = 0;
  next_bad = 0;
  elements = 0;
  dead_reason.clear();
  contradicts_origin = false;
  texts.clear();
}

// Goes over a message once: over its text as long as its trades are written like others before, over the tokens of what
// then is left. It checks the structure of everything (so that a message is dead whole or not at all), takes the values
// of the fields that matter, and has each trade judged when its object ends.
//
// Of tokens the last one is known to be ']'. So there is always a next token, except behind a ']'.
class TradeDecoder::Walker {
 public:
  explicit Walker(TradeRules rules) : reader_(std::move(rules)) {}

  void decode(const Message& message, DecodedMessage& out, std::uint32_t from_bad) {
    begin(message, out, from_bad);
    const std::size_t taken = walk_text(message, out);
    if (taken > 0 && (taken == message.value.size() || walk_tokens(message, taken, out))) return;
    // By the tokens of the whole message, since what is said of a dead one must not depend on the messages before.
    if (out.elements > 0) begin(message, out, from_bad);
    if (walk_tokens(message, 0, out)) return;
    out.clear();
    if (whole_says_ == NoteSays::kReplaced) {
      out.superseded = 1;
      return;
    }
    out.has_foreign_note = is_ignored(whole_says_);
    out.dead_reason = fmt::format("not a JSON array: {}", problem_);
  }

 private:
  void begin(const Message& message, DecodedMessage& out, std::uint32_t from_bad) {
    out.clear();
    from_bad_ = from_bad;
    whole_says_ = message.put_back == nullptr ? NoteSays::kNothing : note_of_whole(message);
    // As many as there are if all are about as long as the last one of the message before, each with a comma or
    // bracket.
    const std::size_t count = message.value.size() / (std::max(last_size_, kShortest) + 1);
    out.trades.reserve(std::max<std::size_t>(1, count + count / 16));
  }

  std::size_t walk_text(const Message& message, DecodedMessage& out);
  bool walk_tokens(const Message& message, std::size_t from, DecodedMessage& out);
  bool walk_elements(const Message& message, std::uint32_t token, DecodedMessage& out);
  std::uint32_t walk_trade(std::uint32_t object);
  // Past the value of any kind that begins at the token, always before another token; 0 where it is broken.
  std::uint32_t walk_value(std::uint32_t token) {
    return is_opening(tokens_.first_byte(token)) ? walk_brackets(token) : walk_leaf(token);
  }
  std::uint32_t walk_leaf(std::uint32_t token);
  std::uint32_t walk_brackets(std::uint32_t token);
  std::uint32_t walk_key(std::uint32_t token);
  std::uint32_t find_token_addr(std::uint32_t object);

  void take(const Message& message, std::string_view bytes, const TradeValues* values, DecodedMessage& out);
  // Whether something stands for the element that was put back later.
  bool is_superseded(const Message& message, std::uint32_t index, std::string_view bytes, DecodedMessage& out) const {
    const NoteSays says = note_of_element(message, index, bytes, whole_says_);
    if (is_ignored(says)) out.has_foreign_note = true;
    return says == NoteSays::kReplaced;
  }
  void judge(const Message& message, std::uint32_t index, std::string_view bytes, const TradeValues& values,
             DecodedMessage& out);
  void refuse(Outcome outcome, std::uint32_t index, std::string_view reason, std::string_view bytes,
              DecodedMessage& out) const;

  // Notes what is wrong at a token. Returns 0, which is no place behind any value.
  std::uint32_t broken(std::uint32_t token, std::string_view problem) {
    problem_ = fmt::format("{} at byte {}", problem, tokens_.begin_of(token));
    return 0;
  }

  JsonTokens tokens_;
  TradeReader reader_;
  TradeShapes shapes_;
  FieldPlaces places_{};               // of the last trade whose tokens were walked
  std::size_t strings_ = 0;            // string tokens seen
  std::size_t last_size_ = kShortest;  // of a trade, in bytes
  std::string brackets_;               // those that close the open ones around the current token
  std::uint32_t from_bad_ = 0;
  NoteSays whole_says_ = NoteSays::kNothing;  // of the message
  std::string problem_;
};

// Takes the message's elements up to the first that is written like none before. Returns where that begins: the
// message's size where there is none, 0 where nothing was taken, or the text between elements is not right.
std::size_t TradeDecoder::Walker::walk_text(const Message& message, DecodedMessage& out) {
  const char* const text = message.value.data();
  const char* const end = text + message.value.size();
  const auto skip_blanks = [end](const char* at) {
    while (at != end && is_json_blank(*at)) ++at;
    return at;
  };
  const char* at = skip_blanks(text);
  if (at == end || *at != '[') return 0;
  do {
    const char* const element = skip_blanks(at + 1);
    at = shapes_.match(element, end);
    if (at == nullptr) return out.elements == 0 || element == end ? 0 : static_cast<std::size_t>(element - text);
    take(message, {element, static_cast<std::size_t>(at - element)}, &shapes_.values(), out);
    at = skip_blanks(at);
  } while (at != end && *at == ',');
  return at != end && *at == ']' && skip_blanks(at + 1) == end ? message.value.size() : 0;
}

// Takes the elements that begin at the byte `from` or behind it; 0: the whole array. False, with problem_ set, where
// the text is not right.
bool TradeDecoder::Walker::walk_tokens(const Message& message, std::size_t from, DecodedMessage& out) {
  const bool is_whole = from == 0;
  problem_ = tokens_.scan(message.value.substr(from), is_whole);
  return problem_.empty() && walk_elements(message, is_whole ? 1 : 0, out);
}

bool TradeDecoder::Walker::walk_elements(const Message& message, std::uint32_t token, DecodedMessage& out) {
  std::optional<TradeShape> first;  // of the first trade: it was written like none before
  strings_ = 0;
  // Behind a comma there is an element.
  const bool is_empty_array = token != 0 && tokens_.first_byte(token) == ']';
  if (is_empty_array) {
    ++token;
  } else {
    for (;;) {
      const std::uint32_t element = token;
      const bool is_object = tokens_.first_byte(element) == '{';
      token = is_object ? walk_trade(element) : walk_value(element);
      if (token == 0) return false;
      const TradeValues values = is_object ? TradeValues(tokens_, places_) : TradeValues();
      if (is_object && !first) first = TradeShape::of(tokens_, element, token, places_);
      take(message, tokens_.span(element, token), is_object ? &values : nullptr, out);
      const char next = tokens_.first_byte(token++);
      if (next == ']') break;
      if (next != ',') return broken(token - 1, "expected ',' or ']'") != 0;
    }
  }
  if (token != tokens_.count()) return broken(token, "text behind the array") != 0;
  if (2 * strings_ != tokens_.quote_count()) return broken(0, "a quote inside of a bare value, in the array") != 0;
  if (first) shapes_.learn(*std::move(first));
  return true;
}

// Past the trade whose object begins at the token, with places_ set; 0 where its structure is broken.
std::uint32_t TradeDecoder::Walker::walk_trade(std::uint32_t object) {
  places_.fill(0);
  std::uint32_t token = object + 1;
  if (tokens_.first_byte(token) == '}') return token + 1;
  for (;;) {
    const std::uint32_t value = walk_key(token);
    if (value == 0) return 0;
    places_[static_cast<std::size_t>(kFieldTable.find(tokens_.key(token)))] = value;
    token = walk_value(value);
    if (token == 0) return 0;
    const char next = tokens_.first_byte(token++);
    if (next == '}') break;
    if (next != ',') return broken(token - 1, "expected ',' or '}'");
  }
  const std::uint32_t info = places_[static_cast<std::size_t>(Field::kPairInfo)];
  const bool has_info = info != 0 && tokens_.first_byte(info) == '{';
  places_[static_cast<std::size_t>(Field::kTokenAddr)] = has_info ? find_token_addr(info) : 0;
  return token;
}

// Past a key and its colon; 0 where there is none.
std::uint32_t TradeDecoder::Walker::walk_key(std::uint32_t token) {
  if (tokens_.first_byte(token) != '"') return broken(token, "expected a key");
  if (tokens_.first_byte(token + 1) != ':') return broken(token + 1, "expected ':'");
  ++strings_;
  return token + 2;
}

// Past the string or bare scalar at the token, behind which there is always another token; 0 where there is neither.
std::uint32_t TradeDecoder::Walker::walk_leaf(std::uint32_t token) {
  const char first = tokens_.first_byte(token);
  if (first == '"') {
    ++strings_;
  } else if (first == ',' || first == ':' || first == '}' || first == ']') {
    return broken(token, "expected a value");
  }
  return token + 1;
}

// Past the object or array of any depth that begins at the token, always before another token; 0 where it is broken.
std::uint32_t TradeDecoder::Walker::walk_brackets(std::uint32_t token) {
  brackets_.clear();
  for (;;) {
    // A value begins here.
    const char first = tokens_.first_byte(token);
    const bool opens = is_opening(first);
    if (opens && tokens_.first_byte(token + 1) != closing_of(first)) {
      brackets_.push_back(closing_of(first));
      ++token;
      if (first == '{' && (token = walk_key(token)) == 0) return 0;
      continue;
    }
    token = opens ? token + 2 : walk_leaf(token);
    if (token == 0) return 0;
    // A value has ended: brackets may close behind it.
    for (;;) {
      if (token == tokens_.count()) return broken(token - 1, "no bracket is open for this one,");
      if (brackets_.empty()) return token;
      const char next = tokens_.first_byte(token++);
      if (next == ',') {
        if (brackets_.back() == '}' && (token = walk_key(token)) == 0) return 0;
        break;
      }
      if (next != brackets_.back()) return broken(token - 1, "expected ',' or the bracket that closes");
      brackets_.pop_back();
    }
  }
}

// The token of the last token_addr in an object whose structure is known to be right; 0 where there is none.
std::uint32_t TradeDecoder::Walker::find_token_addr(std::uint32_t object) {
  std::uint32_t found = 0;
  std::uint32_t token = object + 1;
  if (tokens_.first_byte(token) == '}') return found;
  for (;;) {
    const std::string_view key = tokens_.key(token);
    token += 2;  // the key and its colon
    if (key == kTokenAddr.tag || key == kTokenAddr.go_name) found = token;
    std::uint32_t depth = 0;
    do {
      const char first = tokens_.first_byte(token++);
      if (first == '{' || first == '[') ++depth;
      if (first == '}' || first == ']') --depth;
    } while (depth != 0);
    if (tokens_.first_byte(token++) == '}') return found;
  }
}

// The next element. `values`: none where it is no object.
void TradeDecoder::Walker::take(const Message& message, std::string_view bytes, const TradeValues* values,
                                DecodedMessage& out) {
  const auto index = static_cast<std::uint32_t>(out.elements++);
  if (values != nullptr) last_size_ = bytes.size();
  if (message.put_back != nullptr && is_superseded(message, index, bytes, out)) [[unlikely]] {
    ++out.superseded;
  } else if (values != nullptr) {
    judge(message, index, bytes, *values, out);
  } else {
    refuse(Outcome::kInvalid, index, "not an object", bytes, out);
  }
}

void TradeDecoder::Walker::judge(const Message& message, std::uint32_t index, std::string_view bytes,
                                 const TradeValues& values, DecodedMessage& out) {
  Trade& trade = out.trades.emplace_back();
  trade.position.log = message.log;
  trade.position.offset = message.offset;
  trade.position.index = index;
  trade.bytes = bytes;
  const Verdict verdict = reader_.read(values, message.timestamp, trade, out.texts);
  if (verdict == Verdict::kTrade) return;
  out.trades.pop_back();
  switch (verdict) {
    case Verdict::kIgnored: ++out.ignored; break;
    case Verdict::kNoPrice: ++out.no_price; break;
    case Verdict::kFuture: refuse(Outcome::kFuture, index, reader_.reason(), bytes, out); break;
    default: refuse(Outcome::kInvalid, index, reader_.reason(), bytes, out); break;
  }
}

void TradeDecoder::Walker::refuse(Outcome outcome, std::uint32_t index, std::string_view reason, std::string_view bytes,
                                  DecodedMessage& out) const {
  if (index < from_bad_) return;
  if (out.bad.size() < kBadLimit) {
    out.bad.push_back({outcome, index, std::string(reason), bytes});
    return;
  }
  if (out.next_bad == 0) out.next_bad = index;
  ++(outcome == Outcome::kFuture ? out.unlisted_future : out.unlisted_invalid);
}

namespace {

void place_in_origin(const Origin& origin, DecodedMessage& out) {
  if (origin.indexes && static_cast<std::int64_t>(origin.indexes->size()) != out.elements) {
    out.contradicts_origin = true;
    return;
  }
  const auto index_of = [&origin](std::uint32_t index) { return origin.indexes ? (*origin.indexes)[index] : index; };
  for (Trade& trade : out.trades) {
    trade.position.log = origin.log;
    trade.position.offset = origin.offset;
    trade.position.index = index_of(trade.position.index);
  }
  for (BadTrade& bad : out.bad) bad.index = index_of(bad.index);
}

}  // namespace

TradeDecoder::TradeDecoder(TradeRules rules) : walker_(std::make_unique<Walker>(std::move(rules))) {}
TradeDecoder::~TradeDecoder() = default;
TradeDecoder::TradeDecoder(TradeDecoder&&) noexcept = default;
TradeDecoder& TradeDecoder::operator=(TradeDecoder&&) noexcept = default;

void TradeDecoder::decode(const Message& message, DecodedMessage& out, std::uint32_t from_bad) {
  walker_->decode(message, out, from_bad);
  const bool is_array = !out.dead() && (out.superseded == 0 || out.elements > 0);
  if (message.origin != nullptr && is_array) place_in_origin(*message.origin, out);
}

}  // namespace klined
