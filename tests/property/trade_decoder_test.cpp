// What a message holds does not depend on the messages before it. A decoder that has seen trades of a shape reads
// others of it from their text alone; one that has seen none reads all by their tokens: both must say the same of
// anything.
#include "klined/codec/trade_decoder.hpp"

#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "property/random_trades.hpp"
#include "unit/codec/trade_text.hpp"

namespace klined {
namespace {

std::string describe(const DecodedMessage& decoded, std::string_view value) {
  std::string out = fmt::format("dead '{}', elements {}, ignored {}, no price {}, texts {}\n", decoded.dead_reason,
                                decoded.elements, decoded.ignored, decoded.no_price, decoded.texts.size());
  for (const Trade& t : decoded.trades) {
    out += fmt::format(
        "trade {} at {}+{}: {} '{}' '{}' {}/{}/{}/{} identity {:x}{:x} usd {} token {} price {:a} mcap {:a} pump {:a} "
        "hashes {:x} {:x} {:x} created {} side {} clamped {}\n",
        t.position.index, t.bytes.data() - value.data(), t.bytes.size(), t.chain, t.pair, t.token,
        t.position.block_time, t.position.slot, t.position.transaction_index, t.position.log_index, t.identity.high,
        t.identity.low, t.amount_usd.to_string(), t.volume_token.to_string(), t.price, t.mcap, t.pump_point,
        t.pair_hash, t.pair_check, t.token_hash, t.create_time, static_cast<int>(t.side), t.clamped);
  }
  for (const BadTrade& b : decoded.bad) {
    out += fmt::format("{} {} at {}+{}: {}\n", name_of(b.outcome), b.index, b.bytes.data() - value.data(),
                       b.bytes.size(), b.reason);
  }
  return out;
}

std::string decode(TradeDecoder& decoder, std::string_view value) {
  DecodedMessage decoded;
  decoder.decode({.log = LogId(1, 2), .offset = 34, .timestamp = kBlockTime * 1000, .value = value}, decoded);
  return describe(decoded, value);
}

// Trades of several shapes, more than a decoder keeps.
std::vector<std::string> shapes() {
  const TradeText plain;
  std::vector<std::string> out = {
      plain.str(),
      plain.then("name", R"("K\u00e4se \"1\" \\")")
          .then("nested", R"({"a":[1,{"b":"x"},null],"token_addr":"no"})")
          .str(),
      plain.with("pair_info", "null").with("clamp", "true").without("log_index").str(),
      plain.with("create_time", R"("2025-06-01T12:00:00.251Z")").str(),
      plain.with("create_time", R"("2025-06-01T12:00:00.)" + std::string(100, '7') + R"(Z")").str(),
      plain.renamed("tx_hash", "TxHash").with("mcap", R"("12e3")").then("symbol", "\"\xE6\x9F\xB4\xE7\x8A\xAC\"").str(),
      plain.with("pair_info", R"({"TokenAddr":"first","token_addr":"last"})").then("type", R"("add_position")").str(),
      plain.then("slot", R"("310870232")").then("empty", "{}").then("list", "[]").then("", R"("")").str(),
      "{ \"type\" : \"sell\" , \"a\":\t[ 1 , 2 ]\n}",
      "{}",
      plain.with("token_price_usd", "0.0").with("total_usd", "1e-7").str(),
      plain.with("pair_info", R"([{"token_addr":"none"}])").str(),
      R"({"type":"buy","odd":1"2"})",  // dead, wherever it stands
  };
  return out;
}

// Bytes that mean something in JSON, and some that may not stand there.
std::string_view random_piece(Random& random) {
  static constexpr std::string_view kPieces[] = {"\"",       "\\",
                                                 "{",        "}",
                                                 "[",        "]",
                                                 ",",        ":",
                                                 " ",        "\n",
                                                 "\t",       "\x01",
                                                 "\x0C",     "\x1A",
                                                 "0",        "1",
                                                 "-",        "+",
                                                 ".",        "e",
                                                 "E",        "/",
                                                 "x",        "null",
                                                 "true",     "\"\"",
                                                 "\\u0041",  "\\ud83d",
                                                 "\\",       "\\n",
                                                 "\\q",      "\\\"",
                                                 "\xC3\xA9", "\xC3",
                                                 "\xFF",     "\xE6\x9F\xB4",
                                                 "\x7F",     "99999999999999999999",
                                                 "\"a\":1,", ",\"a\":\"b\"",
                                                 "}{"};
  return kPieces[random.between(0, static_cast<std::int64_t>(std::size(kPieces)) - 1)];
}

void mutate(std::string& text, Random& random) {
  const auto at = static_cast<std::size_t>(random.between(0, static_cast<std::int64_t>(text.size())));
  const auto count = static_cast<std::size_t>(random.between(0, 3));
  switch (random.between(0, 3)) {
    case 0: text.insert(at, random_piece(random)); break;
    case 1: text.erase(at, count); break;
    case 2: text.insert(at, text.substr(at, static_cast<std::size_t>(random.between(1, 40)))); break;
    default: text.replace(at, count, random_piece(random)); break;
  }
}

TEST(TradeDecoderProperty, MessagesBeforeChangeNothing) {
  const std::vector<std::string> all = shapes();
  TradeDecoder experienced;
  for (std::uint64_t seed = 0; seed < 100'000; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const auto some = [&] {
      return all[static_cast<std::size_t>(random.between(0, static_cast<std::int64_t>(all.size()) - 1))];
    };
    if (seed % 100 == 0) decode(experienced, "[" + some() + "]");
    const std::string usual = some();
    std::string message = random.chance(5) ? " [ " : "[";
    for (std::int64_t left = random.between(1, 4); left > 0; --left) {
      message += random.chance(80) ? usual : some();
      if (left > 1) message += random.chance(10) ? " ,\n" : ",";
    }
    message += random.chance(5) ? " ] " : "]";
    for (std::int64_t left = random.between(0, 2); left > 0; --left) mutate(message, random);
    TradeDecoder fresh;
    ASSERT_EQ(decode(experienced, message), decode(fresh, message)) << message;
  }
}

}  // namespace
}  // namespace klined
