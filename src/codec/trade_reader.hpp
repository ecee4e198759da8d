// One JSON object to one trade: the rules about fields, in the order in which the contract has them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "klined/codec/trade_decoder.hpp"
#include "trade_values.hpp"

namespace klined {

enum class Verdict : std::uint8_t { kTrade, kIgnored, kNoPrice, kInvalid, kFuture };

// Judges a trade by its fields: type, then price, then all others, then its time. One thread.
class TradeReader {
 public:
  explicit TradeReader(TradeRules rules) : rules_(std::move(rules)) {}

  // Fills `trade`, except for its place in the input; complete only where the verdict is kTrade. Texts that had to be
  // unescaped are kept in `texts`. `timestamp` is the record's own, negative where it has none.
  Verdict read(const TradeValues& values, UnixMilliseconds timestamp, Trade& trade,
               std::vector<std::unique_ptr<std::string>>& texts);
  // Why the last trade was invalid or future.
  const std::string& reason() const { return reason_; }

 private:
  enum class Found : std::uint8_t { kMissing, kGood, kBad };

  // Without escapes; null is missing.
  FieldValue value_of(Field field) {
    const FieldValue& value = (*values_)[field];
    if (value.has_escapes) [[unlikely]]
      return unescaped(value);
    return value.kind == ValueKind::kScalar && value.text == "null" ? FieldValue{} : value;
  }
  FieldValue unescaped(const FieldValue& value);

  Found read_text(Field field, std::string_view& out);
  Found read_number_text(Field field, std::string_view& out);
  Found read_integer(Field field, std::int64_t max, std::int64_t& out);
  Found read_double(Field field, double& out);
  Found read_amount(Field field, Decimal& out, std::string_view& text);
  bool is_there(Field field, Found found);
  bool fail(Field field, std::string_view problem);

  bool read_chain(Trade& trade);
  bool read_pair(Trade& trade);
  bool read_hash();
  bool read_position(Trade& trade);
  bool read_index(Field field, std::uint32_t& out);
  bool read_amounts(Trade& trade);
  bool read_market(Trade& trade);
  bool read_clamp(Trade& trade);
  bool read_token(Trade& trade);
  UnixMilliseconds read_create_time();
  Fingerprint fingerprint(const Trade& trade);
  bool is_future(const Trade& trade, UnixMilliseconds timestamp);

  TradeRules rules_;
  const TradeValues* values_ = nullptr;
  std::vector<std::unique_ptr<std::string>>* texts_ = nullptr;
  std::string reason_;
  // Texts of the identity, as sent, without quotes.
  std::string_view hash_;
  std::string_view token_amount_;
  std::string_view base_token_amount_;
  std::string_view price_;
  std::string create_text_;  // the last one, and what it says: a message's trades were sent at once
  UnixMilliseconds create_time_ = 0;
  std::vector<char> identity_;  // room for the bytes that are hashed
};

}  // namespace klined
