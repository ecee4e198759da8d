#include "klined/publish/market.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <numeric>

#include "klined/base/assertion.hpp"
#include "klined/core/decimal.hpp"

namespace klined {

namespace {

constexpr std::string_view kBase58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
constexpr std::string_view kHex = "0123456789abcdef";
constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
constexpr std::array<std::string_view, 4> kVenues = {"pump_amm", "raydium_cpmm", "meteora_dlmm", "orca_whirlpool"};
constexpr std::array<std::string_view, 6> kOtherTypes = {"add_position", "remove_position", "create", "token_mint",
                                                         "add",          "remove"};
constexpr ChainId kSolana = 100'000;
constexpr std::size_t kWallets = 4'096;
constexpr std::size_t kRoomOfTrade = 4'096;                  // a trade's text is a third of that
constexpr std::uint64_t kPriceUnit = 1'000'000'000'000'000;  // prices count 1e-15 USD
constexpr std::uint64_t kSmallestPrice = 1'000'000;
constexpr std::uint64_t kLargestPrice = 1'000 * kPriceUnit;

std::uint32_t to_ppm(double share) { return static_cast<std::uint32_t>(std::lround(share * 1e6)); }

// ---- Powers without floating point, whose last bits differ between machines
// -------------------------------------------

// log2(n) in 1/2^32.
std::uint64_t fixed_log2(std::uint32_t n) {
  std::uint64_t whole = 31;
  while ((n >> whole) == 0) --whole;
  std::uint64_t mantissa = static_cast<std::uint64_t>(n) << (31 - whole);  // in [2^31, 2^32)
  std::uint64_t result = whole << 32U;
  for (std::uint64_t bit = 1ULL << 31U; bit > 0; bit >>= 1U) {
    mantissa = (mantissa * mantissa) >> 31U;
    if (mantissa < (1ULL << 32U)) continue;
    mantissa >>= 1U;
    result |= bit;
  }
  return result;
}

// 2^40 / 2^exponent, the exponent in 1/2^32.
std::uint64_t fixed_exp2_negative(std::uint64_t exponent) {
  // 2^(-1/2), 2^(-1/4), … in 1/2^62, each the root of the one before.
  static const auto kRoots = [] {
    std::array<std::uint64_t, 32> made{};
    std::uint64_t square = 1ULL << 61U;
    for (std::uint64_t& root : made) {
      std::uint64_t low = square;
      std::uint64_t high = 1ULL << 62U;
      while (high - low > 1) {
        const std::uint64_t middle = low + (high - low) / 2;
        const bool below = (static_cast<UnsignedInt128>(middle) * middle >> 62U) < square;
        (below ? low : high) = middle;
      }
      square = root = high;
    }
    return made;
  }();
  const std::uint64_t whole = exponent >> 32U;
  if (whole >= 40) return 1;
  UnsignedInt128 value = static_cast<UnsignedInt128>(1) << 62U;
  for (std::size_t i = 0; i < kRoots.size(); ++i) {
    if ((exponent >> (31 - i)) & 1U) value = value * kRoots[i] >> 62U;
  }
  return std::max<std::uint64_t>(1, static_cast<std::uint64_t>(value >> (22 + whole)));
}

// ---- Text
// ------------------------------------------------------------------------------------------------------------

char* put(char* out, std::string_view text) {
  std::memcpy(out, text.data(), text.size());
  return out + text.size();
}

template <typename Integer>
char* put_integer(char* out, Integer value) {
  return std::to_chars(out, out + 24, value).ptr;
}

// value / 10^places, without zeros at the end.
char* put_decimal(char* out, std::uint64_t value, int places) {
  std::uint64_t unit = 1;
  for (int i = 0; i < places; ++i) unit *= 10;
  out = put_integer(out, value / unit);
  std::uint64_t rest = value % unit;
  if (rest == 0) return out;
  *out++ = '.';
  for (char* const begin = out; out < begin + places;) {
    unit /= 10;
    *out++ = static_cast<char>('0' + rest / unit);
    rest %= unit;
    if (rest == 0) break;
  }
  return out;
}

// A price as Go's encoder writes it: with an exponent where it is below 1e-6.
char* put_price(char* out, std::uint64_t price) {
  constexpr std::uint64_t kPlain = kPriceUnit / 1'000'000;
  if (price == 0 || price >= kPlain) return put_decimal(out, price, 15);
  int exponent = -15;
  std::uint64_t unit = 1;
  while (price / unit >= 10) {
    unit *= 10;
    ++exponent;
  }
  out = put_decimal(out, price, exponent + 15);
  out = put(out, "e-");
  return put_integer(out, -exponent);
}

std::uint64_t times(std::uint64_t a, std::uint64_t b, std::uint64_t divisor) {
  return static_cast<std::uint64_t>(static_cast<UnsignedInt128>(a) * b / divisor);
}

}  // namespace

// ---- The market
// ------------------------------------------------------------------------------------------------------

std::uint64_t MarketSimulator::Random::log_uniform(std::uint32_t low, std::uint32_t high) {
  const std::uint64_t power = low + below(high - low);
  return (1ULL << power) + (next() & ((1ULL << power) - 1));
}

MarketSimulator::MarketSimulator(const MarketOptions& options)
    : options_(options),
      clamped_ppm_(to_ppm(options.clamped_share)),
      other_types_ppm_(to_ppm(options.other_types_share)),
      no_price_ppm_(to_ppm(options.no_price_share)),
      trades_per_slot_micro_(static_cast<std::uint64_t>(std::llround(options.trades_per_second * 1e6 * kSlotMs / 1e3))),
      texts_(options.chain != kSolana),
      random_(options.seed),
      base_price_(150 * kPriceUnit),
      next_time_(options.start - options.start % kSlotMs) {
  KLINED_ASSERT(options.pairs >= 1 && options.trades_per_second > 0 && options.start >= 0,
                "a market needs pairs and trades");
  for (std::size_t i = 0; i < kWallets; ++i) wallets_.push_back(random_address());
  pairs_.resize(options.pairs);
  for (std::uint32_t i = 0; i < options.pairs; ++i) make_pair(i);
  make_alias_table(options.zipf_exponent);
}

std::string MarketSimulator::random_text(std::size_t length, std::string_view alphabet) {
  std::string text(length, ' ');
  for (char& c : text) c = alphabet[random_.below(static_cast<std::uint32_t>(alphabet.size()))];
  return text;
}

std::string MarketSimulator::random_address() {
  if (texts_) return "0x" + random_text(40, kHex);
  return random_text(43 + random_.below(2), kBase58);
}

void MarketSimulator::make_pair(std::uint32_t number) {
  Pair& pair = pairs_[number];
  pair.address = random_address();
  pair.first_price = pair.price = random_.log_uniform(24, 59);
  pair.supply = std::max<std::uint64_t>(1, times(random_.log_uniform(12, 28), kPriceUnit, pair.price));
  pair.liquidity = random_.log_uniform(10, 22);
  pair.volatility_ppm = 1'000 + random_.below(9'000);
  pair.pump_point = random_.below(3) == 0 ? 1 + random_.below(9'999) : 0;
  pair.has_mcap = random_.below(20) != 0;
  const std::string chain = std::to_string(options_.chain);
  const std::string token = random_address();
  const std::string base =
      texts_ ? "0x4200000000000000000000000000000000000006" : "So11111111111111111111111111111111111111112";
  const std::string venue(texts_ ? "uniswap_v3" : kVenues[random_.below(kVenues.size())]);
  const std::string decimals = texts_ ? "18" : "9";
  pair.fields = R"("chain_id":")" + chain + R"(","chain_id_int":)" + chain + R"(,"pair_addr":")" + pair.address +
                R"(","pool_id":")" + random_address() + R"(","program_id":")" + random_address() +
                R"(","swap_name":")" + venue + R"(","token_addr":")" + token + R"(","token_symbol":")" +
                random_text(3 + random_.below(4), kLetters) + R"(","token_decimals":6,"base_token_addr":")" + base +
                R"(","base_token_symbol":")" + (texts_ ? "WETH" : "SOL") + R"(","base_token_decimals":)" + decimals +
                R"(,"pair_info":{"token_addr":")" + token + R"(","fee_bps":25,"index":)" + std::to_string(number) +
                R"(},)";
}

// Walker's alias method (Vose's way of making it): a pair of weight 1/rank^exponent in one draw.
void MarketSimulator::make_alias_table(double zipf_exponent) {
  const std::size_t count = pairs_.size();
  const auto thousandths = static_cast<std::uint64_t>(std::lround(zipf_exponent * 1e3));
  std::vector<UnsignedInt128> scaled(count);
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t weight =
        fixed_exp2_negative(fixed_log2(static_cast<std::uint32_t>(i + 1)) * thousandths / 1'000);
    scaled[i] = weight;
    total += weight;
  }
  keep_.assign(count, ~0ULL);
  alias_.resize(count);
  std::iota(alias_.begin(), alias_.end(), 0U);
  std::vector<std::uint32_t> small;
  std::vector<std::uint32_t> large;
  for (std::size_t i = 0; i < count; ++i) {
    scaled[i] *= count;
    (scaled[i] < total ? small : large).push_back(static_cast<std::uint32_t>(i));
  }
  while (!small.empty() && !large.empty()) {
    const std::uint32_t less = small.back();
    const std::uint32_t more = large.back();
    small.pop_back();
    keep_[less] = static_cast<std::uint64_t>((scaled[less] << 63U) / total) << 1U;
    alias_[less] = more;
    scaled[more] -= total - scaled[less];
    if (scaled[more] >= total) continue;
    large.pop_back();
    small.push_back(more);
  }
}

std::uint32_t MarketSimulator::pick_pair() {
  const std::uint32_t column = random_.below(static_cast<std::uint32_t>(pairs_.size()));
  return random_.next() < keep_[column] ? column : alias_[column];
}

// Right on average to the last trade, and up to half more or less in a slot.
std::int64_t MarketSimulator::trades_of_next_slot() {
  ++slots_;
  const std::uint64_t due = trades_per_slot_micro_ * static_cast<std::uint64_t>(slots_);
  const std::uint64_t early = times(trades_per_slot_micro_, random_.next() >> 33U, 1ULL << 32U);
  const auto planned = static_cast<std::int64_t>((due + early) / 1'000'000);
  const std::int64_t count = std::max<std::int64_t>(0, planned - planned_);
  planned_ += count;
  return count;
}

void MarketSimulator::walk(Pair& pair, bool buy) {
  const std::uint64_t step =
      times(times(pair.price, pair.volatility_ppm, 1'000'000), random_.next() >> 40U, 1ULL << 24U);
  // A price that has left the range of its first one by a factor of 100 is led back.
  const bool up = pair.price < pair.first_price / 100 || (buy && pair.price / 100 < pair.first_price);
  pair.price = std::clamp(up ? pair.price + step : pair.price - step, kSmallestPrice, kLargestPrice);
}

void MarketSimulator::next_slot(std::string_view create_time, std::int64_t limit, std::vector<FeedMessage>& out) {
  slot_ = next_time_ / kSlotMs;
  const std::int64_t count = std::min(trades_of_next_slot(), limit);
  base_price_ += times(base_price_, random_.next() >> 40U, 1ULL << 38U);
  base_price_ -= times(base_price_, random_.next() >> 40U, 1ULL << 38U);
  const std::size_t first_message = out.size();
  std::array<char, kRoomOfTrade> text;
  Place place;
  for (std::int64_t i = 0; i < count; ++i) {
    // Most transactions hold one trade; the others some more, in the order of their logs.
    if (i > 0 && random_.below(4) == 0) {
      place.log_index += 1 + random_.below(8);
    } else {
      place.transaction_index += 1 + random_.below(3);
      place.log_index = random_.below(4);
    }
    Pair& pair = pairs_[pick_pair()];
    const char* const end = write_trade(text.data(), pair, place, create_time);
    if (end == nullptr) {
      ++dropped_;
      continue;
    }
    FeedMessage& message = message_for(pair, first_message, out);
    message.value += message.trades == 0 ? '[' : ',';
    message.value.append(text.data(), static_cast<std::size_t>(end - text.data()));
    ++message.trades;
    ++trades_;
  }
  for (std::size_t i = first_message; i < out.size(); ++i) out[i].value += ']';
  next_time_ += kSlotMs;
}

FeedMessage& MarketSimulator::message_for(Pair& pair, std::size_t first_message, std::vector<FeedMessage>& out) {
  if (options_.key == FeedKey::kPair) {
    if (pair.message_slot == slot_ && out[pair.message].trades < static_cast<std::int64_t>(kTradesPerMessage)) {
      return out[pair.message];
    }
    pair.message_slot = slot_;
    pair.message = static_cast<std::uint32_t>(out.size());
    return out.emplace_back(FeedMessage{.key = pair.address, .value = {}, .time = next_time_});
  }
  if (out.size() > first_message && out.back().trades < static_cast<std::int64_t>(kTradesPerMessage)) return out.back();
  FeedMessage& message = out.emplace_back(FeedMessage{.key = std::to_string(slot_), .value = {}, .time = next_time_});
  message.value.reserve(std::min<std::size_t>(kTradesPerMessage, trades_per_slot_micro_ / 500'000 + 1) * 1'400);
  return message;
}

// ---- A trade
// ---------------------------------------------------------------------------------------------------------

// Returns the end, or null where the filter leaves the trade out.
char* MarketSimulator::write_trade(char* out, Pair& pair, const Place& place, std::string_view create_time) {
  const bool buy = random_.below(100) < 51;
  const bool other = random_.one_of(other_types_ppm_);
  const bool no_price = random_.one_of(no_price_ppm_);
  const bool clamped = random_.one_of(clamped_ppm_);
  const std::string_view type = other ? kOtherTypes[random_.below(kOtherTypes.size())] : buy ? "buy" : "sell";
  walk(pair, buy);
  std::uint64_t price = no_price ? 0 : pair.price;
  if (clamped) {  // the attack moves the price, and it moves back
    const std::uint64_t distortion = times(price, 20'000 + random_.below(80'000), 1'000'000);
    price = buy ? price + distortion : price - distortion;
  }
  if (pair.pump_point > 0)
    pair.pump_point = std::clamp(pair.pump_point + (buy ? 1U : 0U) - (buy ? 0U : 1U), 1U, 10'000U);

  out = put(out, "{");
  out = write_chain_fields(out, place);
  out = put(out, pair.fields);
  out = put(put(put(out, R"("type":")"), type), R"(",)");
  out = write_amounts(out, pair, price, no_price);
  out = put_decimal(put(out, R"(,"pump_point":)"), pair.pump_point, 4);
  out = put(out, clamped ? R"(,"clamp":true)" : R"(,"clamp":false)");
  out = put(out, random_.below(200) == 0 ? R"(,"is_first":true)" : R"(,"is_first":false)");
  out = put(out, random_.below(3) == 0 ? R"(,"is_bot":true)" : R"(,"is_bot":false)");
  out = put_integer(put(out, R"(,"priority_fee":)"), 5'000 + random_.below(2'000'000));
  out = put_integer(put(out, R"(,"compute_units":)"), 40'000 + random_.below(300'000));
  out = put_integer(put(out, R"(,"tip":)"), random_.below(100'000));
  out = put(put(put(out, R"(,"create_time":")"), create_time), R"("})");
  return options_.filter && (other || no_price) ? nullptr : out;
}

char* MarketSimulator::write_chain_fields(char* out, const Place& place) {
  if (!texts_) out = put(put_integer(put(out, R"("slot":)"), slot_), ",");
  out = put_integer(put(out, R"("block_num":)"), slot_);
  out = put_integer(put(out, R"(,"block_time":)"), next_time_ / 1'000);
  out = put_integer(put(out, R"(,"transaction_index":)"), place.transaction_index);
  out = put_integer(put(out, R"(,"log_index":)"), place.log_index);
  out = put_integer(put(out, R"(,"inner_index":)"), place.log_index / 2);
  // The hash belongs to the transaction, not to the trade.
  Random hash(static_cast<std::uint64_t>(slot_) * 1'000'003 + place.transaction_index +
              options_.seed * 0x632BE59BD9B4E019ULL);
  out = put(out, texts_ ? R"(,"tx_hash":"0x)" : R"(,"tx_hash":")");
  const std::string_view alphabet = texts_ ? kHex : kBase58;
  const std::size_t length = texts_ ? 64 : 88;
  for (std::size_t i = 0; i < length; i += 8) {
    UnsignedInt128 bits = hash.next();
    for (std::size_t j = 0; j < 8; ++j) {
      bits *= alphabet.size();
      *out++ = alphabet[static_cast<std::size_t>(bits >> 64U)];
      bits = static_cast<std::uint64_t>(bits);
    }
  }
  out = put_integer(put(out, R"(","hash_id":")"), slot_);
  out = put_integer(put(out, "#"), place.transaction_index);
  const std::string& maker = wallets_[hash.below(kWallets)];
  out = put(put(put(out, R"(","maker":")"), maker), R"(","signer":")");
  return put(put(out, hash.below(8) == 0 ? wallets_[hash.below(kWallets)] : maker), R"(",)");
}

char* MarketSimulator::write_amounts(char* out, const Pair& pair, std::uint64_t price, bool no_price) {
  const std::string_view quote = texts_ ? "\"" : "";
  const auto field = [&](std::string_view name) { out = put(put(out, name), quote); };
  const auto end = [&] { out = put(out, quote); };
  // Sizes from some cents to some thousands of dollars, in 1e-6 USD; amounts in 1e-6 tokens.
  const std::uint64_t wanted = random_.log_uniform(17, 33);
  const std::uint64_t amount = std::max<std::uint64_t>(1, times(wanted, kPriceUnit, pair.price));
  const std::uint64_t total = times(price, amount, 1'000'000'000);  // 1e-12 USD
  const std::uint64_t half_liquidity = pair.liquidity / 2;
  field(R"("token_amount":)");
  out = put_decimal(out, amount, 6);
  end();
  field(R"(,"base_token_amount":)");
  out = put_decimal(out, times(no_price ? wanted : total / 1'000'000, kPriceUnit * 1'000, base_price_), 9);
  end();
  field(R"(,"token_price_usd":)");
  out = put_price(out, price);
  end();
  field(R"(,"base_token_price_usd":)");
  out = put_decimal(out, base_price_ / 1'000'000'000, 6);
  end();
  field(R"(,"price_in_base":)");
  out = put_price(out, times(price, kPriceUnit, base_price_));
  end();
  field(R"(,"total_usd":)");
  out = put_decimal(out, total, 12);
  end();
  field(R"(,"fee_usd":)");
  out = put_decimal(out, total / 400, 12);
  end();
  const std::uint64_t mcap = times(pair.price, pair.supply, kPriceUnit / 100);
  field(R"(,"mcap":)");
  out = put_decimal(out, pair.has_mcap ? mcap : 0, 2);
  end();
  field(R"(,"fdv":)");
  out = put_decimal(out, mcap, 2);
  end();
  field(R"(,"token_reserve":)");
  out = put_integer(out, times(half_liquidity, kPriceUnit, pair.price));
  end();
  field(R"(,"base_token_reserve":)");
  out = put_decimal(out, times(half_liquidity * 1'000'000, kPriceUnit * 1'000, base_price_), 9);
  end();
  out = put_integer(put(out, R"(,"liquidity_usd":)"), pair.liquidity);
  return out;
}

}  // namespace klined
