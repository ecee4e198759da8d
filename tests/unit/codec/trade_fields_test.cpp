// The fine print about the fields of a trade, line by line.
#include <cmath>
#include <string>

#include <gtest/gtest.h>

#include "klined/core/interval.hpp"
#include "unit/codec/trade_text.hpp"

namespace klined {
namespace {

Trade only_trade(const Decoded& decoded) {
  EXPECT_EQ(decoded.summary(), "trade");
  return decoded.trades.empty() ? Trade() : decoded.trades.front();
}

Trade trade_of(const TradeText& text) {
  const Decoded decoded("[" + text.str() + "]");
  Trade trade = only_trade(decoded);
  trade.pair = trade.token = {};  // they point into what goes away here
  return trade;
}

const TradeText kGood;

TEST(TradeFieldsTest, AllFieldsArriveWhereTheyBelong) {
  const Decoded decoded("[" + kGood.str() + "]");
  const Trade t = only_trade(decoded);
  EXPECT_EQ(t.position.block_time, kBlockTime);
  EXPECT_EQ(t.position.slot, 310870231);
  EXPECT_EQ(t.position.transaction_index, 7U);
  EXPECT_EQ(t.position.log_index, 2U);
  EXPECT_EQ(t.position.log, LogId(1, 2));
  EXPECT_EQ(t.position.offset, 34);
  EXPECT_EQ(t.position.index, 0U);
  EXPECT_EQ(t.chain, 100000);
  EXPECT_EQ(t.pair, kPair);
  EXPECT_EQ(t.token, "mint");
  EXPECT_EQ(t.side, Side::kBuy);
  EXPECT_EQ(t.price, 0.125);
  EXPECT_EQ(t.mcap, 125000);
  EXPECT_EQ(t.pump_point, 0.5);
  EXPECT_EQ(t.amount_usd.to_string(), "154.312500000000");
  EXPECT_EQ(t.volume_token.to_string(), "1234.500000000000");
  EXPECT_FALSE(t.clamped);
  EXPECT_EQ(t.create_time, 1'748'779'200'250);
  EXPECT_EQ(t.pair_hash, hash_of_pair(100000, kPair));
}

// Stored offsets are kept by lane: these values must never change.
TEST(TradeFieldsTest, ThePairHashIsStableForEver) {
  EXPECT_EQ(hash_of_pair(100000, kPair), 10725715535945754466ULL);
  EXPECT_EQ(hash_of_pair(1, kPair), 3021339606717829722ULL);
}

TEST(TradeFieldsTest, GoNamesAreTheSameFields) {
  TradeText go = kGood;
  const std::pair<const char*, const char*> names[] = {{"slot", "Slot"},
                                                       {"transaction_index", "TransactionIndex"},
                                                       {"log_index", "LogIndex"},
                                                       {"block_time", "BlockTime"},
                                                       {"chain_id_int", "ChainIdInt"},
                                                       {"pair_addr", "PairAddr"},
                                                       {"tx_hash", "TxHash"},
                                                       {"type", "Type"},
                                                       {"token_amount", "TokenAmount"},
                                                       {"base_token_amount", "BaseTokenAmount"},
                                                       {"token_price_usd", "TokenPriceUSD"},
                                                       {"total_usd", "TotalUSD"},
                                                       {"mcap", "Mcap"},
                                                       {"pump_point", "PumpPoint"},
                                                       {"clamp", "Clamp"},
                                                       {"pair_info", "PairInfo"},
                                                       {"create_time", "CreateTime"}};
  for (const auto& [tag, go_name] : names) {
    EXPECT_EQ(trade_of(kGood.renamed(tag, go_name)).identity, trade_of(kGood).identity) << go_name;
    go = go.renamed(tag, go_name);
  }
  const Decoded decoded("[" + go.with("PairInfo", R"({"TokenAddr":"gomint"})").str() + "]");
  const Trade t = only_trade(decoded);
  EXPECT_EQ(t.token, "gomint");
  EXPECT_EQ(t.create_time, 1'748'779'200'250);
  EXPECT_EQ(t.mcap, 125000);
  EXPECT_EQ(t.pump_point, 0.5);
  EXPECT_EQ(t.amount_usd.to_string(), "154.312500000000");
  EXPECT_EQ(trade_of(kGood.without("mcap").then("Fdv", "9")).mcap, 9);
  EXPECT_EQ(trade_of(kGood.without("slot").then("BlockNum", "88")).position.slot, 88);
  EXPECT_EQ(trade_of(kGood.without("chain_id_int").then("ChainId", R"("bsc")")).chain, 56);
  EXPECT_EQ(fate(kGood.without("tx_hash").then("HashId", R"("1#2")")), "trade");
  // Other spellings are other fields.
  EXPECT_EQ(fate(kGood.renamed("pair_addr", "pairAddr")), "invalid: pair_addr: missing");
  EXPECT_EQ(fate(kGood.renamed("type", "TYPE")), "invalid: type: missing");
  EXPECT_EQ(fate(kGood.renamed("total_usd", "TotalUsd")), "invalid: total_usd: missing");
}

TEST(TradeFieldsTest, WhereAKeyStandsTwiceTheLastOneCounts) {
  EXPECT_EQ(trade_of(kGood.then("token_price_usd", "3")).price, 3);
  EXPECT_EQ(trade_of(kGood.then("TokenPriceUSD", "3")).price, 3);
  EXPECT_EQ(trade_of(kGood.renamed("token_price_usd", "TokenPriceUSD").then("token_price_usd", "4")).price, 4);
  EXPECT_EQ(fate(kGood.with("token_price_usd", "x").then("token_price_usd", "3")), "trade");
  EXPECT_EQ(fate(kGood.then("total_usd", "null")), "invalid: total_usd: missing");
  EXPECT_EQ(trade_of(kGood.then("mcap", "null").then("fdv", "5")).mcap, 5);
  const Decoded twice("[" + kGood.with("pair_info", R"({"token_addr":"a","TokenAddr":"b"})").str() + "]");
  EXPECT_EQ(only_trade(twice).token, "b");
  const Decoded replaced("[" + kGood.then("PairInfo", R"({"decimals":6})").str() + "]");
  EXPECT_EQ(only_trade(replaced).token, "");
}

TEST(TradeFieldsTest, NeededFields) {
  for (const char* key : {"type", "block_time", "pair_addr", "token_amount", "total_usd"}) {
    EXPECT_EQ(fate(kGood.without(key)), "invalid: " + std::string(key) + ": missing");
    EXPECT_EQ(fate(kGood.with(key, "null")), "invalid: " + std::string(key) + ": missing");
  }
  EXPECT_EQ(fate(kGood.without("slot")), "invalid: slot: missing, as is block_num");
  EXPECT_EQ(fate(kGood.without("chain_id_int")), "invalid: chain_id: missing");
  EXPECT_EQ(fate(kGood.without("tx_hash")), "invalid: hash_id: missing");
  for (const char* key : {"transaction_index", "log_index", "base_token_amount", "mcap", "pump_point", "clamp",
                          "pair_info", "create_time"}) {
    EXPECT_EQ(fate(kGood.without(key)), "trade") << key;
    EXPECT_EQ(fate(kGood.with(key, "null")), "trade") << key;
  }
}

TEST(TradeFieldsTest, TypesOtherThanBuyAndSellAreIgnored) {
  for (const char* type :
       {"add_position", "remove_position", "add", "remove", "create", "token_mint", "Buy", "BUY", "", "buy ", "buyx"}) {
    EXPECT_EQ(fate(kGood.with("type", "\"" + std::string(type) + "\"")), "ignored") << type;
  }
  EXPECT_EQ(trade_of(kGood.with("type", R"("sell")")).side, Side::kSell);
  for (const char* type : {"1", "true", "{}", "[]", "buy", "[\"buy\"]"}) {
    EXPECT_EQ(fate(kGood.with("type", type)), "invalid: type: not a string") << type;
  }
  // Type goes before all else, then price.
  EXPECT_EQ(fate(kGood.with("type", R"("create")").with("token_price_usd", "x").without("pair_addr")), "ignored");
  EXPECT_EQ(fate(kGood.with("token_price_usd", "0").without("pair_addr").with("total_usd", "-1")), "no_price");
  EXPECT_EQ(fate(kGood.with("token_price_usd", "0").without("type")), "invalid: type: missing");
}

TEST(TradeFieldsTest, Prices) {
  for (const char* zero : {"0", "-0", "0.0", "-0.0e7", "1e-400", "-1e-400", R"("0")", R"("-0")", R"("0e5")", "null"}) {
    EXPECT_EQ(fate(kGood.with("token_price_usd", zero)), "no_price") << zero;
  }
  EXPECT_EQ(fate(kGood.without("token_price_usd")), "no_price");
  EXPECT_EQ(trade_of(kGood.with("token_price_usd", "1.5e-07")).price, 1.5e-07);
  EXPECT_EQ(trade_of(kGood.with("token_price_usd", R"("1.5e-07")")).price, 1.5e-07);
  EXPECT_EQ(trade_of(kGood.with("token_price_usd", "4.9e-324")).price, 4.9e-324);
  EXPECT_EQ(fate(kGood.with("token_price_usd", "-0.5")), "invalid: token_price_usd: negative");
  for (const char* bad : {"NaN", "1.2.3", "01", "nul", "true", ".5", "+1", R"("")", R"(" 1")", R"("1 ")", R"("NaN")",
                          R"("null")", "{}", "[1]"}) {
    EXPECT_EQ(fate(kGood.with("token_price_usd", bad)), "invalid: token_price_usd: not a number") << bad;
  }
  for (const char* huge : {"1e400", R"("1e400")", "-1e400"}) {
    EXPECT_EQ(fate(kGood.with("token_price_usd", huge)), "invalid: token_price_usd: out of range") << huge;
  }
}

TEST(TradeFieldsTest, NumbersMayComeAsStrings) {
  TradeText text = kGood;
  for (const auto& [key, raw] : std::vector<std::pair<const char*, const char*>>{{"slot", R"("310870231")"},
                                                                                 {"transaction_index", R"("7")"},
                                                                                 {"log_index", R"("2")"},
                                                                                 {"block_time", R"("1748779200")"},
                                                                                 {"chain_id_int", R"("100000")"},
                                                                                 {"token_amount", "1234.5"},
                                                                                 {"base_token_amount", "0.25"},
                                                                                 {"token_price_usd", R"("0.125")"},
                                                                                 {"total_usd", "154.3125"},
                                                                                 {"mcap", R"("125000")"},
                                                                                 {"pump_point", R"("0.5")"}}) {
    text = text.with(key, raw);
  }
  const Trade t = trade_of(text);
  EXPECT_EQ(t.identity, trade_of(kGood).identity);  // the texts are those without quotes
  EXPECT_EQ(t.position, trade_of(kGood).position);
  EXPECT_EQ(t.amount_usd.to_string(), "154.312500000000");
  EXPECT_EQ(t.mcap, 125000);
}

TEST(TradeFieldsTest, Integers) {
  for (const char* key : {"block_time", "slot", "transaction_index", "log_index", "chain_id_int"}) {
    const std::string name = key;
    for (const char* bad : {"1.0", "1e3", "01", "true", R"("1.0")", R"("")", R"(" 1")"}) {
      EXPECT_EQ(fate(kGood.with(key, bad)), "invalid: " + name + ": not a whole number") << bad;
    }
    EXPECT_EQ(fate(kGood.with(key, "[]")), "invalid: " + name + ": not a number");
    EXPECT_EQ(fate(kGood.with(key, "-1")), "invalid: " + name + ": negative");
    EXPECT_EQ(fate(kGood.with(key, "9223372036854775808")), "invalid: " + name + ": out of range");
  }
  EXPECT_EQ(trade_of(kGood.with("slot", "9223372036854775807")).position.slot, INT64_MAX);
  EXPECT_EQ(trade_of(kGood.with("transaction_index", "2147483647")).position.transaction_index, 2147483647U);
  EXPECT_EQ(fate(kGood.with("transaction_index", "2147483648")), "invalid: transaction_index: out of range");
  EXPECT_EQ(fate(kGood.with("log_index", "2147483648")), "invalid: log_index: out of range");
  EXPECT_EQ(trade_of(kGood.with("transaction_index", "-0")).position.transaction_index, 0U);
  EXPECT_EQ(trade_of(kGood.without("transaction_index")).position.transaction_index, 0U);
  EXPECT_EQ(trade_of(kGood.with("block_time", "0")).position.block_time, 0);
}

TEST(TradeFieldsTest, SlotZeroIsNoSlot) {
  for (const TradeText& text : {kGood.with("slot", "0"), kGood.with("slot", "-0"), kGood.with("slot", R"("0")"),
                                kGood.without("slot"), kGood.with("slot", "null")}) {
    EXPECT_EQ(trade_of(text.then("block_num", "22000000")).position.slot, 22000000);
    EXPECT_EQ(trade_of(text.then("block_num", "0")).position.slot, 0);
    EXPECT_EQ(fate(text), "invalid: slot: missing, as is block_num");
    EXPECT_EQ(fate(text.then("block_num", "x")), "invalid: block_num: not a whole number");
  }
  // A block number beside a slot is not looked at.
  EXPECT_EQ(trade_of(kGood.then("block_num", "x")).position.slot, 310870231);
}

TEST(TradeFieldsTest, Chains) {
  const TradeText none = kGood.without("chain_id_int");
  for (const auto& [raw, chain] : std::vector<std::pair<const char*, ChainId>>{{R"("sol")", 100000},
                                                                               {R"("eth")", 1},
                                                                               {R"("bsc")", 56},
                                                                               {R"("base")", 8453},
                                                                               {R"("8453")", 8453},
                                                                               {R"("1")", 1}}) {
    EXPECT_EQ(trade_of(none.then("chain_id", raw)).chain, chain) << raw;
    EXPECT_EQ(trade_of(none.then("chain_id_int", "0").then("chain_id", raw)).chain, chain) << raw;
    EXPECT_EQ(trade_of(none.then("chain_id_int", "null").then("chain_id", raw)).chain, chain) << raw;
  }
  EXPECT_EQ(trade_of(kGood.with("chain_id_int", "56").then("chain_id", R"("sol")")).chain, 56);
  EXPECT_EQ(trade_of(kGood.with("chain_id_int", "56").then("chain_id", "{}")).chain, 56);
  EXPECT_EQ(fate(kGood.with("chain_id_int", "137")), "invalid: chain_id_int: 137 is not one of the configured chains");
  EXPECT_EQ(fate(none.then("chain_id", R"("137")")), "invalid: chain_id: 137 is not one of the configured chains");
  EXPECT_EQ(fate(none.then("chain_id", "1")), "invalid: chain_id: not a string");
  EXPECT_EQ(fate(none.then("chain_id", "null")), "invalid: chain_id: missing");
  for (const char* bad :
       {R"("SOL")", R"("01")", R"("1.0")", R"("")", R"("-1")", R"("-0")", R"("99999999999")", R"("polygon")"}) {
    EXPECT_EQ(fate(none.then("chain_id", bad)),
              "invalid: chain_id: neither a chain's number nor one of sol, eth, bsc, base")
        << bad;
  }
  EXPECT_EQ(fate(none.then("chain_id", R"("0")")), "invalid: chain_id: 0 is not one of the configured chains");

  TradeDecoder decoder({.chains = {137}});
  DecodedMessage out;
  const std::string value = "[" + kGood.with("chain_id_int", "137").str() + "," + kGood.str() + "]";
  decoder.decode({.log = {}, .offset = 0, .timestamp = -1, .value = value}, out);
  ASSERT_EQ(out.trades.size(), 1U);
  EXPECT_EQ(out.trades[0].chain, 137);
  EXPECT_EQ(out.bad.size(), 1U);
}

TEST(TradeFieldsTest, Addresses) {
  const auto quoted = [](const std::string& text) { return "\"" + text + "\""; };
  const std::string problem = "not 1 to 64 printable ASCII characters without space";
  EXPECT_EQ(fate(kGood.with("pair_addr", quoted("x"))), "trade");
  EXPECT_EQ(fate(kGood.with("pair_addr", quoted(std::string(64, 'x')))), "trade");
  EXPECT_EQ(fate(kGood.with("pair_addr", quoted("!~0xAbC,'"))), "trade");
  for (const std::string& bad :
       {std::string(), std::string(65, 'x'), std::string("a b"), std::string(" a"), std::string("\xC3\xA9"),
        std::string("a\x7F"), std::string("a\\u0000"), std::string("a\\n")}) {
    EXPECT_EQ(fate(kGood.with("pair_addr", quoted(bad))), "invalid: pair_addr: " + problem) << bad;
  }
  EXPECT_EQ(fate(kGood.with("pair_addr", "12")), "invalid: pair_addr: not a string");

  const auto info = [&](const std::string& raw) { return kGood.with("pair_info", "{\"token_addr\":" + raw + "}"); };
  for (const std::string& good : {std::string("\"\""), std::string("null"), quoted(std::string(64, 'x'))}) {
    EXPECT_EQ(fate(info(good)), "trade") << good;
  }
  EXPECT_EQ(fate(info("1")), "invalid: pair_info: token_addr is not a string");
  EXPECT_EQ(fate(info("{}")), "invalid: pair_info: token_addr is not a string");
  for (const std::string& bad : {std::string(65, 'x'), std::string("a b"), std::string("\xC3\xA9")}) {
    EXPECT_EQ(fate(info(quoted(bad))),
              "invalid: pair_info: token_addr is not 0 to 64 printable ASCII characters without space")
        << bad;
  }
  for (const char* bad : {"1", "[]", R"("x")", "true"}) {
    EXPECT_EQ(fate(kGood.with("pair_info", bad)), "invalid: pair_info: not an object") << bad;
  }
  EXPECT_EQ(fate(kGood.with("pair_info", "{}")), "trade");
  // Only the member right inside of pair_info counts.
  const Decoded nested("[" +
                       kGood.with("pair_info", R"({"a":[{"token_addr":1}],"b":{"token_addr":2},"c":"token_addr"})")
                           .then("token_addr", "7")
                           .str() +
                       "]");
  EXPECT_EQ(only_trade(nested).token, "");
}

TEST(TradeFieldsTest, HashIdStandsInForAnEmptyTxHash) {
  const Trade by_hash_id = trade_of(kGood.without("tx_hash").then("hash_id", R"("9#1")"));
  for (const char* empty : {R"("")", "null"}) {
    EXPECT_EQ(trade_of(kGood.with("tx_hash", empty).then("hash_id", R"("9#1")")).identity, by_hash_id.identity);
    EXPECT_EQ(fate(kGood.with("tx_hash", empty).then("hash_id", R"("")")), "invalid: hash_id: empty, as is tx_hash");
    EXPECT_EQ(fate(kGood.with("tx_hash", empty)), "invalid: hash_id: missing");
  }
  EXPECT_EQ(trade_of(kGood.with("tx_hash", R"("9#1")")).identity, by_hash_id.identity);
  EXPECT_EQ(trade_of(kGood.then("hash_id", "7")).identity, trade_of(kGood).identity);  // not looked at
  EXPECT_EQ(fate(kGood.with("tx_hash", "7").then("hash_id", R"("9#1")")), "invalid: tx_hash: not a string");
  EXPECT_EQ(fate(kGood.without("tx_hash").then("hash_id", "7")), "invalid: hash_id: not a string");
}

TEST(TradeFieldsTest, Amounts) {
  for (const char* key : {"token_amount", "base_token_amount", "total_usd"}) {
    const std::string name = key;
    for (const char* good :
         {"0", "-0", "-0.0e5", "1.5e-07", R"("1.5e-07")", "99999999999999999999.9999999999999", "1e-400"}) {
      EXPECT_EQ(fate(kGood.with(key, good)), "trade") << key << good;
    }
    EXPECT_EQ(fate(kGood.with(key, "-1e-400")), "invalid: " + name + ": negative");
    EXPECT_EQ(fate(kGood.with(key, "-0.1")), "invalid: " + name + ": negative");
    EXPECT_EQ(fate(kGood.with(key, "1e20")), "invalid: " + name + ": 1e20 or more");
    EXPECT_EQ(fate(kGood.with(key, std::string(400, '9'))), "invalid: " + name + ": 1e20 or more");
    EXPECT_EQ(fate(kGood.with(key, "0." + std::string(400, '3'))), "trade");
    for (const char* bad : {"NaN", "1.2.3", "nul", "true", R"("")", R"("1,5")", "{}"}) {
      EXPECT_EQ(fate(kGood.with(key, bad)), "invalid: " + name + ": not a number") << bad;
    }
  }
  EXPECT_EQ(trade_of(kGood.with("total_usd", "0.0000000000025")).amount_usd.to_string(), "0.000000000002");
}

TEST(TradeFieldsTest, MarketCapAndPumpPoint) {
  EXPECT_EQ(trade_of(kGood.then("fdv", "9")).mcap, 125000);
  EXPECT_EQ(fate(kGood.then("fdv", "x")), "trade");
  for (const char* zero : {"0", "-0", "1e-400", "-1e-400", "null", R"("0")"}) {
    const Trade t = trade_of(kGood.with("mcap", zero).then("fdv", "9"));
    EXPECT_EQ(t.mcap, 9) << zero;
    EXPECT_EQ(fate(kGood.with("mcap", zero).then("fdv", "x")), "invalid: fdv: not a number");
    EXPECT_EQ(fate(kGood.with("mcap", zero).then("fdv", "-1")), "invalid: fdv: negative");
    EXPECT_FALSE(std::signbit(trade_of(kGood.with("mcap", zero).then("fdv", "-0")).mcap));
  }
  EXPECT_EQ(fate(kGood.with("mcap", "-1")), "invalid: mcap: negative");
  EXPECT_EQ(fate(kGood.with("mcap", "1e400")), "invalid: mcap: out of range");
  EXPECT_EQ(trade_of(kGood.with("pump_point", "-7.5")).pump_point, -7.5);
  EXPECT_EQ(trade_of(kGood.with("pump_point", "1e300")).pump_point, 1e300);
  EXPECT_EQ(fate(kGood.with("pump_point", "1e400")), "invalid: pump_point: out of range");
  EXPECT_EQ(fate(kGood.with("pump_point", "Infinity")), "invalid: pump_point: not a number");
}

TEST(TradeFieldsTest, Clamp) {
  EXPECT_TRUE(trade_of(kGood.with("clamp", "true")).clamped);
  EXPECT_FALSE(trade_of(kGood.with("clamp", "null")).clamped);
  for (const char* bad : {"1", "0", R"("true")", R"("false")", "True", "tru", "{}"}) {
    EXPECT_EQ(fate(kGood.with("clamp", bad)), "invalid: clamp: neither true nor false") << bad;
  }
}

TEST(TradeFieldsTest, FieldsThatNeverDecide) {
  for (const char* key :
       {"base_token_price_usd", "maker", "swap_name", "create_time", "BaseTokenPriceUSD", "unknown"}) {
    for (const char* raw : {"NaN", "-1", "1.2.3", "nul", "{}", "[1,{}]", R"("x")", R"("\ud800")"}) {
      EXPECT_EQ(fate(kGood.with(key, raw)), "trade") << key << ' ' << raw;
    }
  }
  EXPECT_EQ(trade_of(kGood.with("create_time", R"("yesterday")")).create_time, 0);
  EXPECT_EQ(trade_of(kGood.with("create_time", "1748779200")).create_time, 0);
  EXPECT_EQ(trade_of(kGood.with("create_time", R"("2025-06-01T20:00:00.5+08:00")")).create_time, 1'748'779'200'500);
}

TEST(TradeFieldsTest, Future) {
  const auto at = [](std::int64_t block_time, UnixMilliseconds timestamp) {
    return Decoded("[" + kGood.with("block_time", std::to_string(block_time)).str() + "]", timestamp).summary();
  };
  EXPECT_EQ(at(kBlockTime + 600, kBlockTime * 1000), "trade");
  EXPECT_EQ(at(kBlockTime + 601, kBlockTime * 1000),
            "future: block_time: 601000 ms ahead of the record's own timestamp");
  EXPECT_EQ(at(kBlockTime + 600, kBlockTime * 1000 - 1),
            "future: block_time: 600001 ms ahead of the record's own timestamp");
  EXPECT_EQ(at(kBlockTime, kBlockTime * 2000), "trade");
  EXPECT_EQ(at(kMaxBlockTime, -1), "trade");
  EXPECT_EQ(at(kMaxBlockTime + 1, -1), "future: block_time: later than the year 9999");
  EXPECT_EQ(at(INT64_MAX, -1), "future: block_time: later than the year 9999");
  EXPECT_EQ(at(601, 0), "future: block_time: 601000 ms ahead of the record's own timestamp");
  // Invalid goes before future.
  EXPECT_EQ(Decoded("[" + kGood.with("clamp", "1").str() + "]", 0).summary(), "invalid: clamp: neither true nor false");
}

TEST(TradeFieldsTest, EachPartOfTheIdentityMakesAnotherTrade) {
  const TradeText both = kGood.then("hash_id", R"("9#1")");
  const std::vector<TradeText> different = {
      both,
      both.with("chain_id_int", "56"),
      both.with("pair_addr", R"("other")"),
      both.with("tx_hash", R"("other")"),
      both.with("transaction_index", "8"),
      both.with("log_index", "3"),
      both.with("type", R"("sell")"),
      both.with("token_amount", R"("1234.50")"),  // the text as sent, not the value
      both.with("base_token_amount", R"("0.250")"),
      both.with("base_token_amount", "null"),
      both.with("token_price_usd", "0.1250"),
      // Bytes moved from one part to the next.
      both.with("token_amount", R"("1")").with("base_token_amount", R"("11")"),
      both.with("token_amount", R"("11")").with("base_token_amount", R"("1")"),
      both.with("transaction_index", "2").with("log_index", "7"),
      both.with("tx_hash", "\"" + std::string(3000, 'x') + "\""),
      both.with("tx_hash", "\"" + std::string(3001, 'x') + "\""),
  };
  for (std::size_t a = 0; a < different.size(); ++a) {
    for (std::size_t b = 0; b < different.size(); ++b) {
      EXPECT_EQ(trade_of(different[a]).identity == trade_of(different[b]).identity, a == b) << a << ' ' << b;
    }
  }
  // What is no part of it.
  const std::vector<TradeText> same = {both.with("create_time", R"("2026-01-01T00:00:00Z")"),
                                       both.with("slot", "1"),
                                       both.with("block_time", "1"),
                                       both.with("total_usd", "1"),
                                       both.with("mcap", "1"),
                                       both.with("clamp", "true"),
                                       both.with("maker", R"("m")"),
                                       both.with("hash_id", R"("other")"),
                                       both.with("token_amount", "1234.5"),
                                       both.with("pair_info", "null")};
  for (const TradeText& text : same) EXPECT_EQ(trade_of(text).identity, trade_of(both).identity) << text.str();
  EXPECT_EQ(trade_of(both.without("log_index")).identity, trade_of(both.with("log_index", "0")).identity);
  EXPECT_EQ(trade_of(both.without("base_token_amount")).identity,
            trade_of(both.with("base_token_amount", "null")).identity);
}

TEST(TradeFieldsTest, EscapesInUsedStringsAreUndone) {
  const Decoded decoded(
      R"([{"sl\u006ft":310870231,"block_time":"17487\u00379200","\u0063hain_id":"s\u006fl","pair_addr":"a\"b\\c\/d",)"
      R"("tx_hash":"\u00e9\ud83d\ude00","t\u0079pe":"\u0062uy","token_amount":"\u0031","token_price_usd":"0\u002e5",)"
      R"("total_usd":1,"pair_info":{"token\u005faddr":"m\u0069nt"}}])");
  const Trade t = only_trade(decoded);
  EXPECT_EQ(t.pair, "a\"b\\c/d");
  EXPECT_EQ(t.token, "mint");
  EXPECT_EQ(t.chain, 100000);
  EXPECT_EQ(t.position.block_time, 1748779200);
  const Decoded plain(
      "[{\"slot\":310870231,\"block_time\":1748779200,\"chain_id\":\"sol\",\"pair_addr\":\"a\\\"b\\\\c/d\","
      "\"tx_hash\":\"\xC3\xA9\xF0\x9F\x98\x80\",\"type\":\"buy\",\"token_amount\":1,\"token_price_usd\":0.5,\"total_"
      "usd\":1}]");
  EXPECT_EQ(only_trade(plain).identity, t.identity);
}

TEST(TradeFieldsTest, HalfASurrogatePairIsMalformedWhereItIsUsed) {
  for (const char* half :
       {R"("\ud800")", R"("\udc00")", R"("\ud800x")", R"("\ud800\ud800")", R"("\ud800\n")", R"("\udc00\ud800")"}) {
    EXPECT_EQ(fate(kGood.with("tx_hash", half)), "invalid: tx_hash: half of a surrogate pair") << half;
    EXPECT_EQ(fate(kGood.with("type", half)), "invalid: type: half of a surrogate pair") << half;
    EXPECT_EQ(fate(kGood.with("total_usd", half)), "invalid: total_usd: not a number") << half;
    EXPECT_EQ(fate(kGood.then("maker", half)), "trade") << half;
  }
  EXPECT_EQ(fate(kGood.then(R"(\ud800)", "1")), "trade");  // as a key it is none of ours
}

}  // namespace
}  // namespace klined
