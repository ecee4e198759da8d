#include "trade_reader.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

#include <fmt/format.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "klined/codec/rfc3339.hpp"
#include "klined/core/interval.hpp"

namespace klined {

namespace {

constexpr std::int64_t kInt32Max = std::numeric_limits<std::int32_t>::max();
constexpr std::int64_t kInt64Max = std::numeric_limits<std::int64_t>::max();
constexpr std::size_t kAddressLimit = 64;
constexpr std::size_t kLongestKept = 64;  // text of a time

struct ChainName {
  std::string_view name;
  ChainId chain;
};
constexpr std::array<ChainName, 4> kChainNames = {{{"sol", 100000}, {"eth", 1}, {"bsc", 56}, {"base", 8453}}};

// At most 64 printable ASCII characters without space.
bool is_address(std::string_view text) {
  unsigned bad = text.size() > kAddressLimit ? 1 : 0;
  for (const char c : text.substr(0, kAddressLimit)) bad |= (c < '!') | (c > '~');
  return bad == 0;
}

std::string_view problem_of(NumberError error) {
  switch (error) {
    case NumberError::kNegative: return "negative";
    case NumberError::kOutOfRange: return "out of range";
    case NumberError::kMalformed: break;
  }
  return "not a number";
}

}  // namespace

// ---- Values ---------------------------------------------------------------------------------------------------------

FieldValue TradeReader::unescaped(const FieldValue& value) {
  auto text = std::make_unique<std::string>();
  if (!unescape(value.text, *text)) return {.kind = ValueKind::kBadText};
  texts_->push_back(std::move(text));
  return {.kind = ValueKind::kText, .text = *texts_->back()};
}

TradeReader::Found TradeReader::read_text(Field field, std::string_view& out) {
  const FieldValue value = value_of(field);
  if (value.kind == ValueKind::kMissing) return Found::kMissing;
  if (value.kind != ValueKind::kText) {
    fail(field, value.kind == ValueKind::kBadText ? "half of a surrogate pair" : "not a string");
    return Found::kBad;
  }
  out = value.text;
  return Found::kGood;
}

TradeReader::Found TradeReader::read_number_text(Field field, std::string_view& out) {
  const FieldValue value = value_of(field);
  if (value.kind == ValueKind::kMissing) return Found::kMissing;
  if (value.kind != ValueKind::kText && value.kind != ValueKind::kScalar) {
    fail(field, "not a number");
    return Found::kBad;
  }
  out = value.text;
  return Found::kGood;
}

TradeReader::Found TradeReader::read_integer(Field field, std::int64_t max, std::int64_t& out) {
  std::string_view text;
  const Found found = read_number_text(field, text);
  if (found != Found::kGood) return found;
  const auto number = parse_integer(text, max);
  if (!number) {
    fail(field, number.error() == NumberError::kMalformed ? "not a whole number" : problem_of(number.error()));
    return Found::kBad;
  }
  out = *number;
  return Found::kGood;
}

TradeReader::Found TradeReader::read_double(Field field, double& out) {
  std::string_view text;
  const Found found = read_number_text(field, text);
  if (found != Found::kGood) return found;
  const auto number = parse_double(text);
  if (!number) {
    fail(field, problem_of(number.error()));
    return Found::kBad;
  }
  out = *number;
  return Found::kGood;
}

TradeReader::Found TradeReader::read_amount(Field field, Decimal& out, std::string_view& text) {
  const Found found = read_number_text(field, text);
  if (found != Found::kGood) return found;
  const auto amount = Decimal::parse_amount(text);
  if (!amount) {
    fail(field, amount.error() == NumberError::kOutOfRange ? "1e20 or more" : problem_of(amount.error()));
    return Found::kBad;
  }
  out = *amount;
  return Found::kGood;
}

bool TradeReader::is_there(Field field, Found found) {
  if (found == Found::kMissing) fail(field, "missing");
  return found == Found::kGood;
}

bool TradeReader::fail(Field field, std::string_view problem) {
  reason_ = fmt::format("{}: {}", tag_of(field), problem);
  return false;
}

// ---- Fields ---------------------------------------------------------------------------------------------------------

Verdict TradeReader::read(const TradeValues& values, UnixMilliseconds timestamp, Trade& trade,
                          std::vector<std::unique_ptr<std::string>>& texts) {
  values_ = &values;
  texts_ = &texts;
  std::string_view type;
  if (!is_there(Field::kType, read_text(Field::kType, type))) return Verdict::kInvalid;
  if (type != "buy" && type != "sell") return Verdict::kIgnored;
  trade.side = type == "buy" ? Side::kBuy : Side::kSell;

  if (read_number_text(Field::kTokenPriceUsd, price_) == Found::kMissing) return Verdict::kNoPrice;
  if (read_double(Field::kTokenPriceUsd, trade.price) != Found::kGood) return Verdict::kInvalid;
  if (trade.price == 0) return Verdict::kNoPrice;
  if (trade.price < 0) {
    fail(Field::kTokenPriceUsd, "negative");
    return Verdict::kInvalid;
  }

  const bool good = read_chain(trade) && read_pair(trade) && read_hash() && read_position(trade) &&
                    read_amounts(trade) && read_market(trade) && read_clamp(trade) && read_token(trade);
  if (!good) return Verdict::kInvalid;
  if (is_future(trade, timestamp)) return Verdict::kFuture;
  trade.pair_hash = hash_of_pair(trade.chain, trade.pair);
  trade.pair_check = check_of_pair(trade.chain, trade.pair);
  trade.token_hash = hash_of_token(trade.token);
  trade.identity = fingerprint(trade);
  trade.create_time = read_create_time();
  return Verdict::kTrade;
}

// chain_id_int, or chain_id where that is missing or 0.
bool TradeReader::read_chain(Trade& trade) {
  Field field = Field::kChainIdInt;
  std::int64_t chain = 0;
  if (read_integer(field, kInt32Max, chain) == Found::kBad) return false;
  if (chain == 0) {
    field = Field::kChainId;
    std::string_view text;
    if (!is_there(field, read_text(field, text))) return false;
    const auto* const named = std::ranges::find(kChainNames, text, &ChainName::name);
    if (named != kChainNames.end()) {
      chain = named->chain;
    } else if (const auto number = parse_integer(text, kInt32Max); number && text[0] != '-') {
      chain = *number;
    } else {
      return fail(field, "neither a chain's number nor one of sol, eth, bsc, base");
    }
  }
  trade.chain = static_cast<ChainId>(chain);
  if (std::ranges::find(rules_.chains, trade.chain) != rules_.chains.end()) return true;
  return fail(field, fmt::format("{} is not one of the configured chains", chain));
}

bool TradeReader::read_pair(Trade& trade) {
  if (!is_there(Field::kPairAddr, read_text(Field::kPairAddr, trade.pair))) return false;
  if (!trade.pair.empty() && is_address(trade.pair)) return true;
  return fail(Field::kPairAddr, "not 1 to 64 printable ASCII characters without space");
}

// tx_hash, or hash_id where that is missing or empty.
bool TradeReader::read_hash() {
  hash_ = {};
  if (read_text(Field::kTxHash, hash_) == Found::kBad) return false;
  if (!hash_.empty()) return true;
  if (!is_there(Field::kHashId, read_text(Field::kHashId, hash_))) return false;
  return !hash_.empty() || fail(Field::kHashId, "empty, as is tx_hash");
}

bool TradeReader::read_position(Trade& trade) {
  Position& position = trade.position;
  if (!is_there(Field::kBlockTime, read_integer(Field::kBlockTime, kInt64Max, position.block_time))) return false;
  position.slot = 0;
  if (read_integer(Field::kSlot, kInt64Max, position.slot) == Found::kBad) return false;
  if (position.slot == 0) {
    const Found found = read_integer(Field::kBlockNum, kInt64Max, position.slot);
    if (found == Found::kMissing) return fail(Field::kSlot, "missing, as is block_num");
    if (found == Found::kBad) return false;
  }
  return read_index(Field::kTransactionIndex, position.transaction_index) &&
         read_index(Field::kLogIndex, position.log_index);
}

bool TradeReader::read_index(Field field, std::uint32_t& out) {
  std::int64_t index = 0;
  if (read_integer(field, kInt32Max, index) == Found::kBad) return false;
  out = static_cast<std::uint32_t>(index);
  return true;
}

bool TradeReader::read_amounts(Trade& trade) {
  std::string_view text;
  if (!is_there(Field::kTotalUsd, read_amount(Field::kTotalUsd, trade.amount_usd, text))) return false;
  if (!is_there(Field::kTokenAmount, read_amount(Field::kTokenAmount, trade.volume_token, token_amount_))) return false;
  Decimal base_amount;  // Only its text counts, in the identity.
  base_token_amount_ = {};
  return read_amount(Field::kBaseTokenAmount, base_amount, base_token_amount_) != Found::kBad;
}

// mcap, or fdv where that is missing or 0; and pump_point.
bool TradeReader::read_market(Trade& trade) {
  trade.mcap = 0;
  for (const Field field : {Field::kMcap, Field::kFdv}) {
    if (read_double(field, trade.mcap) == Found::kBad) return false;
    if (trade.mcap < 0) return fail(field, "negative");
    if (trade.mcap > 0) break;
  }
  trade.pump_point = 0;
  return read_double(Field::kPumpPoint, trade.pump_point) != Found::kBad;
}

bool TradeReader::read_clamp(Trade& trade) {
  const FieldValue value = value_of(Field::kClamp);
  trade.clamped = value.kind == ValueKind::kScalar && value.text == "true";
  if (trade.clamped || value.kind == ValueKind::kMissing) return true;
  return (value.kind == ValueKind::kScalar && value.text == "false") || fail(Field::kClamp, "neither true nor false");
}

bool TradeReader::read_token(Trade& trade) {
  trade.token = {};
  const ValueKind info = value_of(Field::kPairInfo).kind;
  if (info == ValueKind::kMissing) return true;
  if (info != ValueKind::kObject) return fail(Field::kPairInfo, "not an object");
  const FieldValue token = value_of(Field::kTokenAddr);
  if (token.kind == ValueKind::kMissing) return true;
  if (token.kind != ValueKind::kText) return fail(Field::kPairInfo, "token_addr is not a string");
  if (!is_address(token.text)) {
    return fail(Field::kPairInfo, "token_addr is not 0 to 64 printable ASCII characters without space");
  }
  trade.token = token.text;
  return true;
}

// Only for measuring delay: it never decides about a trade.
UnixMilliseconds TradeReader::read_create_time() {
  const FieldValue value = value_of(Field::kCreateTime);
  if (value.kind != ValueKind::kText) return 0;
  // What is too long to be a time of any use is not kept.
  if (value.text.size() > kLongestKept) return parse_rfc3339(value.text).value_or(0);
  if (value.text != create_text_) {
    create_text_ = value.text;
    create_time_ = parse_rfc3339(value.text).value_or(0);
  }
  return create_time_;
}

// Each part of varying length is preceded by its length, so that no two identities give the same bytes.
Fingerprint TradeReader::fingerprint(const Trade& trade) {
  const std::array<std::uint32_t, 4> numbers = {static_cast<std::uint32_t>(trade.chain),
                                                trade.position.transaction_index, trade.position.log_index,
                                                static_cast<std::uint32_t>(trade.side)};
  const std::array<std::string_view, 5> texts = {trade.pair, hash_, token_amount_, base_token_amount_, price_};
  std::size_t size = sizeof(numbers);
  for (const std::string_view text : texts) size += sizeof(std::uint32_t) + text.size();
  if (identity_.size() < size) identity_.resize(2 * size);
  char* at = identity_.data();
  const auto put = [&at](const void* bytes, std::size_t count) {
    if (count != 0) std::memcpy(at, bytes, count);  // an empty text may have no place
    at += count;
  };
  put(numbers.data(), sizeof(numbers));
  for (const std::string_view text : texts) {
    const auto length = static_cast<std::uint32_t>(text.size());
    put(&length, sizeof(length));
    put(text.data(), text.size());
  }
  const XXH128_hash_t hash = XXH3_128bits(identity_.data(), size);
  return {hash.high64, hash.low64};
}

bool TradeReader::is_future(const Trade& trade, UnixMilliseconds timestamp) {
  const UnixSeconds time = trade.position.block_time;
  if (time > kMaxBlockTime) {
    fail(Field::kBlockTime, "later than the year 9999");
    return true;
  }
  if (timestamp < 0 || time * 1000 - timestamp <= rules_.max_future_ms) return false;
  fail(Field::kBlockTime, fmt::format("{} ms ahead of the record's own timestamp", time * 1000 - timestamp));
  return true;
}

std::uint64_t hash_of_pair(ChainId chain, std::string_view pair) {
  return XXH3_64bits_withSeed(pair.data(), pair.size(), static_cast<std::uint64_t>(chain));
}

std::uint64_t check_of_pair(ChainId chain, std::string_view pair) {
  return XXH3_64bits_withSeed(pair.data(), pair.size(), ~static_cast<std::uint64_t>(chain));
}

std::uint64_t hash_of_token(std::string_view token) { return XXH3_64bits(token.data(), token.size()); }

}  // namespace klined
