// JSON trades for tests: a good one, and what becomes of it when fields change.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "klined/codec/trade_decoder.hpp"

namespace klined {

inline constexpr std::int64_t kBlockTime = 1'748'779'200;
inline constexpr std::string_view kPair = "8sLbNZoA1cfnvMJLPfp98ZLAnFSYCFApfJKMbiXNLwxj";

// A trade as text: keys and raw JSON values, in the order in which they stand.
class TradeText {
 public:
  TradeText()
      : fields_{{"slot", "310870231"},
                {"transaction_index", "7"},
                {"log_index", "2"},
                {"block_time", "1748779200"},
                {"chain_id_int", "100000"},
                {"pair_addr", "\"" + std::string(kPair) + "\""},
                {"tx_hash", R"("5hash")"},
                {"type", R"("buy")"},
                {"token_amount", R"("1234.5")"},
                {"base_token_amount", R"("0.25")"},
                {"token_price_usd", "0.125"},
                {"total_usd", R"("154.3125")"},
                {"mcap", "125000"},
                {"pump_point", "0.5"},
                {"clamp", "false"},
                {"pair_info", R"({"token_addr":"mint","decimals":6})"},
                {"create_time", R"("2025-06-01T12:00:00.250Z")"}} {}

  TradeText with(std::string_view key, std::string_view raw) const {
    TradeText changed = *this;
    const auto found = std::ranges::find(changed.fields_, key, &std::pair<std::string, std::string>::first);
    if (found == changed.fields_.end()) {
      changed.fields_.emplace_back(key, raw);
    } else {
      found->second = raw;
    }
    return changed;
  }
  TradeText without(std::string_view key) const {
    TradeText changed = *this;
    std::erase_if(changed.fields_, [key](const auto& field) { return field.first == key; });
    return changed;
  }
  TradeText renamed(std::string_view from, std::string_view to) const {
    TradeText changed = *this;
    for (auto& field : changed.fields_) {
      if (field.first == from) field.first = to;
    }
    return changed;
  }
  // Adds a field even where the key is there already.
  TradeText then(std::string_view key, std::string_view raw) const {
    TradeText changed = *this;
    changed.fields_.emplace_back(key, raw);
    return changed;
  }
  std::string str() const {
    std::string text = "{";
    for (const auto& [key, raw] : fields_) {
      if (text.size() > 1) text += ',';
      text.append("\"").append(key).append("\":").append(raw);
    }
    return text + "}";
  }

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

// Decodes one message. The views of the result point into `value` of the same object.
struct Decoded : DecodedMessage {
  explicit Decoded(std::string text, UnixMilliseconds timestamp = -1) : value(std::move(text)) {
    TradeDecoder decoder;
    decoder.decode({.log = LogId(1, 2), .offset = 34, .timestamp = timestamp, .value = value}, *this);
  }
  Decoded(const Decoded&) = delete;
  Decoded& operator=(const Decoded&) = delete;

  // All that was read, in a word: "trade", "ignored", "no_price", "invalid: reason", "future: reason", "dead: reason".
  std::string summary() const {
    if (dead()) return "dead: " + dead_reason;
    std::string text;
    const auto add = [&text](std::string_view word) { text += (text.empty() ? "" : ", ") + std::string(word); };
    for (std::size_t i = 0; i < trades.size(); ++i) add("trade");
    for (std::int64_t i = 0; i < ignored; ++i) add("ignored");
    for (std::int64_t i = 0; i < no_price; ++i) add("no_price");
    for (const BadTrade& b : bad) add(std::string(name_of(b.outcome)) + ": " + b.reason);
    return text.empty() ? "nothing" : text;
  }

  std::string value;
};

// What becomes of a message of this one trade.
inline std::string fate(const TradeText& trade) { return Decoded("[" + trade.str() + "]").summary(); }

}  // namespace klined
