#include "klined/publish/recorded_trades.hpp"

#include <charconv>
#include <map>
#include <optional>

namespace klined {

namespace {

constexpr bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

// What of a trade is looked at; texts as they stand, strings with their quotes. Where a key stands twice the last one
// counts.
struct TradeText {
  std::string_view whole;  // from brace to brace
  bool has_fields = false;
  std::string_view create_time;
  std::string_view type;
  std::string_view price;
  std::string_view slot;
  std::string_view block_num;
  std::string_view block_time;
  std::string_view pair;
};

std::string_view unquoted(std::string_view text) {
  return text.size() >= 2 && text.front() == '"' ? text.substr(1, text.size() - 2) : text;
}

// Walks over JSON that is taken at its word: brackets and strings decide where values end, the rest is not judged.
class Walk {
 public:
  explicit Walk(std::string_view text) : text_(text) {}

  // The trades of the array that is the whole text; nothing where it is not one.
  std::optional<std::vector<TradeText>> trades() {
    std::vector<TradeText> found;
    if (!accept('[')) return std::nullopt;
    if (!accept(']')) {
      do {
        TradeText trade;
        if (!read_trade(trade)) return std::nullopt;
        found.push_back(trade);
      } while (accept(','));
      if (!accept(']')) return std::nullopt;
    }
    skip_blanks();
    if (at_ != text_.size()) return std::nullopt;
    return found;
  }

 private:
  void skip_blanks() {
    while (at_ < text_.size() && is_blank(text_[at_])) ++at_;
  }
  bool accept(char c) {
    skip_blanks();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  bool skip_string() {
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == '\\') {
        ++at_;
      } else if (text_[at_] == '"') {
        ++at_;
        return true;
      }
    }
    return false;
  }

  // Any value; nothing where it does not end.
  std::optional<std::string_view> value() {
    skip_blanks();
    const std::size_t begin = at_;
    int depth = 0;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '"') {
        if (!skip_string()) return std::nullopt;
      } else if (c == '{' || c == '[') {
        ++depth;
        ++at_;
      } else if (c == '}' || c == ']' || c == ',') {
        if (depth == 0) break;
        if (c != ',') --depth;
        ++at_;
      } else {
        ++at_;
      }
    }
    std::size_t end = at_;
    while (end > begin && is_blank(text_[end - 1])) --end;
    if (depth != 0 || end == begin) return std::nullopt;
    return text_.substr(begin, end - begin);
  }

  bool read_trade(TradeText& trade) {
    skip_blanks();
    const std::size_t begin = at_;
    if (!accept('{')) return false;
    if (!accept('}')) {
      trade.has_fields = true;
      do {
        skip_blanks();
        const std::size_t key = at_;
        if (at_ >= text_.size() || text_[at_] != '"' || !skip_string()) return false;
        const std::string_view name = text_.substr(key + 1, at_ - key - 2);
        if (!accept(':')) return false;
        const auto text = value();
        if (!text) return false;
        note(trade, name, *text);
      } while (accept(','));
      if (!accept('}')) return false;
    }
    trade.whole = text_.substr(begin, at_ - begin);
    return true;
  }

  static void note(TradeText& trade, std::string_view name, std::string_view text) {
    if (name == "create_time" || name == "CreateTime") trade.create_time = text;
    if (name == "type" || name == "Type") trade.type = text;
    if (name == "token_price_usd" || name == "TokenPriceUSD") trade.price = text;
    if (name == "slot" || name == "Slot") trade.slot = text;
    if (name == "block_num" || name == "BlockNum") trade.block_num = text;
    if (name == "block_time" || name == "BlockTime") trade.block_time = text;
    if (name == "pair_addr" || name == "PairAddr") trade.pair = text;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

// 0, 0.0, "0", -0e5, null and nothing: every digit in front of an exponent is 0.
bool has_price(const TradeText& trade) {
  const std::string_view digits = unquoted(trade.price);
  const std::string_view mantissa = digits.substr(0, digits.find_first_of("eE"));
  return !digits.empty() && digits != "null" && mantissa.find_first_not_of("-0.") != std::string_view::npos;
}

bool passes_filter(const TradeText& trade) {
  const std::string_view type = unquoted(trade.type);
  return (type == "buy" || type == "sell") && has_price(trade);
}

std::string_view chain_position(const TradeText& trade) {
  const std::string_view slot = unquoted(trade.slot);
  return slot.empty() || slot == "0" || slot == "null" ? unquoted(trade.block_num) : slot;
}

UnixMilliseconds time_of(const TradeText& trade) {
  const std::string_view text = unquoted(trade.block_time);
  std::int64_t seconds = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  constexpr std::int64_t kLimit = 253'402'300'800;  // the year 10000
  const bool sound = error == std::errc() && end == text.data() + text.size() && seconds >= 0 && seconds < kLimit;
  return sound ? seconds * 1'000 : -1;
}

void append_stamped(std::string& out, const TradeText& trade, std::string_view create_time) {
  if (!trade.create_time.empty()) {
    const auto begin = static_cast<std::size_t>(trade.create_time.data() - trade.whole.data());
    out += trade.whole.substr(0, begin);
    ((out += '"') += create_time) += '"';
    out += trade.whole.substr(begin + trade.create_time.size());
    return;
  }
  out += trade.whole.substr(0, trade.whole.size() - 1);
  out += trade.has_fields ? R"(,"create_time":")" : R"("create_time":")";
  (out += create_time) += R"("})";
}

}  // namespace

std::int64_t to_messages(std::string_view batch, const RecordedOptions& options, std::string_view create_time,
                         std::vector<FeedMessage>& out) {
  const auto trades = Walk(batch).trades();
  if (!trades) {
    out.push_back({.key = {}, .value = std::string(batch), .time = -1, .trades = 0});
    return 0;
  }
  const std::size_t first = out.size();
  std::map<std::string_view, std::size_t> message_of_pair;
  std::int64_t dropped = 0;
  for (const TradeText& trade : *trades) {
    if (options.filter && !passes_filter(trade)) {
      ++dropped;
      continue;
    }
    const std::string_view key = options.key == FeedKey::kPair ? unquoted(trade.pair) : chain_position(trade);
    std::size_t place = first;
    if (options.key == FeedKey::kPair) place = message_of_pair.try_emplace(key, out.size()).first->second;
    if (place == out.size()) {
      out.push_back({.key = std::string(key), .value = "[", .time = time_of(trade), .trades = 0});
    } else {
      out[place].value += ',';
    }
    append_stamped(out[place].value, trade, create_time);
    ++out[place].trades;
  }
  for (std::size_t i = first; i < out.size(); ++i) out[i].value += ']';
  if (trades->empty()) out.push_back({.key = {}, .value = std::string(batch), .time = -1, .trades = 0});
  return dropped;
}

}  // namespace klined
