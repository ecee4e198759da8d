// The structure of messages: what is dead whole, what is one bad trade, and that no byte outside is read.
#include "klined/codec/trade_decoder.hpp"

#include <cstring>
#include <string>

#include <gtest/gtest.h>
#include <simdjson.h>
#include <sys/mman.h>
#include <unistd.h>

#include "unit/codec/trade_text.hpp"

namespace klined {
namespace {

const std::string kTrade = TradeText().str();

// A message of one good trade that has one more field, of this raw value.
std::string with_unused(const std::string& raw) { return "[" + TradeText().then("unused", raw).str() + "]"; }

bool is_dead(const std::string& message) {
  const Decoded decoded(message);
  if (decoded.dead()) {
    EXPECT_TRUE(decoded.trades.empty() && decoded.bad.empty() && decoded.texts.empty()) << message;
    EXPECT_EQ(decoded.ignored + decoded.no_price, 0) << message;
    EXPECT_TRUE(decoded.dead_reason.starts_with("not a JSON array: ")) << decoded.dead_reason;
  }
  return decoded.dead();
}

TEST(TradeDecoderTest, BatchesKeepTheirOrder) {
  const Decoded decoded("[" + kTrade + ",\n " + TradeText().with("type", R"("add")").str() + " ,1, " +
                        TradeText().with("token_price_usd", "0").str() + "," + TradeText().with("slot", "5").str() +
                        "]");
  ASSERT_EQ(decoded.trades.size(), 2U);
  EXPECT_EQ(decoded.trades[0].position.index, 0U);
  EXPECT_EQ(decoded.trades[1].position.index, 4U);
  EXPECT_EQ(decoded.trades[1].position.slot, 5);
  EXPECT_EQ(decoded.ignored, 1);
  EXPECT_EQ(decoded.no_price, 1);
  ASSERT_EQ(decoded.bad.size(), 1U);
  EXPECT_EQ(decoded.bad[0].index, 2U);
}

TEST(TradeDecoderTest, PartsOfAnotherMessageStandInItsPlace) {
  const std::string value = "[" + kTrade + ",7," + kTrade + "]";
  Origin origin;
  origin.log = LogId(2, 5);
  origin.offset = 77;
  origin.indexes = {3, 8, 1000};
  const Message record{.log = LogId(3, 1), .offset = 4, .timestamp = -1, .value = value, .origin = &origin};
  DecodedMessage decoded;
  TradeDecoder decoder;
  decoder.decode(record, decoded);
  ASSERT_EQ(decoded.trades.size(), 2U);
  ASSERT_EQ(decoded.bad.size(), 1U);
  EXPECT_EQ(decoded.trades[0].position.index, 3U);
  EXPECT_EQ(decoded.bad[0].index, 8U);
  EXPECT_EQ(decoded.trades[1].position.index, 1000U);
  EXPECT_EQ(decoded.trades[1].position.log, origin.log);
  EXPECT_EQ(decoded.trades[1].position.offset, 77);
  EXPECT_FALSE(decoded.contradicts_origin);

  origin.indexes = {3, 8};
  decoder.decode(record, decoded);
  EXPECT_TRUE(decoded.contradicts_origin);
  origin.indexes.reset();  // all of the message
  decoder.decode(record, decoded);
  EXPECT_FALSE(decoded.contradicts_origin);
  EXPECT_EQ(decoded.trades[1].position.index, 2U);
}

TEST(TradeDecoderTest, EmptyArraysHoldNothing) {
  for (const char* message : {"[]", " [ ] ", "\n[\t]\r\n"}) EXPECT_EQ(Decoded(message).summary(), "nothing") << message;
}

TEST(TradeDecoderTest, AnElementThatIsNoObjectIsInvalidAlone) {
  const std::vector<std::string> elements = {"1",         "\"text\"",         "null",       "NaN", "[]",
                                             "[[],[{}]]", "[" + kTrade + "]", "\"a\\\"b\"", "nul", "{}"};
  std::string message = "[ " + kTrade;
  for (const std::string& element : elements) message += " ,\t" + element + "\n";
  const Decoded decoded(message + "]");
  EXPECT_EQ(decoded.trades.size(), 1U);
  ASSERT_EQ(decoded.bad.size(), elements.size());
  for (std::size_t i = 0; i < elements.size(); ++i) {
    EXPECT_EQ(decoded.bad[i].bytes, elements[i]);
    EXPECT_EQ(decoded.bad[i].index, i + 1);
    EXPECT_EQ(decoded.bad[i].outcome, Outcome::kInvalid);
    EXPECT_EQ(decoded.bad[i].reason, elements[i] == "{}" ? "type: missing" : "not an object");
  }
}

TEST(TradeDecoderTest, BadTradesKeepTheirOwnBytes) {
  const std::string bad = "{ \"type\" : \"buy\" ,\n \"token_price_usd\":-1, \"x\":[1, {\"y\":\"}\"}] }";
  const Decoded decoded("[" + kTrade + " , " + bad + " \n,\t" + kTrade + "]");
  EXPECT_EQ(decoded.trades.size(), 2U);
  ASSERT_EQ(decoded.bad.size(), 1U);
  EXPECT_EQ(decoded.bad[0].bytes, bad);
  EXPECT_EQ(decoded.bad[0].reason, "token_price_usd: negative");
}

TEST(TradeDecoderTest, WhiteSpaceMayStandEverywhere) {
  std::string spaced;
  // No string of this one holds a sign.
  for (const char c : "[" + TradeText().without("create_time").then("unused", R"({"a":[1,2]})").str() + "]") {
    const bool is_sign = std::string_view("{}[],:").find(c) != std::string_view::npos;
    spaced += is_sign ? std::string(" \t\r\n") + c + " \n" : std::string(1, c);
  }
  const Decoded decoded(spaced);
  ASSERT_EQ(decoded.summary(), "trade");
  EXPECT_EQ(decoded.trades[0].identity, Decoded("[" + kTrade + "]").trades[0].identity);
}

TEST(TradeDecoderTest, WhatIsNoArrayIsDead) {
  for (const std::string& message :
       {std::string(), std::string(" "), std::string("\n"), kTrade, std::string("1"), std::string("null"),
        std::string("\"[]\""), std::string("hello"), std::string("{\"trades\":[" + kTrade + "]}"), std::string("]"),
        std::string("["), std::string("[["), std::string("]["), std::string("\"["), std::string(1, '\0')}) {
    EXPECT_TRUE(is_dead(message)) << message;
  }
  EXPECT_EQ(Decoded("").dead_reason, "not a JSON array: the message is empty");
  EXPECT_EQ(Decoded("{}").dead_reason, "not a JSON array: not an array");
}

TEST(TradeDecoderTest, BrokenStructureIsDeadWhole) {
  const std::string t = kTrade;
  const std::vector<std::string> messages = {"[" + t,
                                             "[" + t + ",",
                                             "[" + t + ",]",
                                             "[," + t + "]",
                                             "[" + t + ",," + t + "]",
                                             "[" + t + " " + t + "]",
                                             "[" + t + "]]",
                                             "[" + t + "}",
                                             "[[" + t + "]",
                                             "[" + t + "] x",
                                             "[" + t + "] 1",
                                             "[" + t + "][]",
                                             "[" + t + "],",
                                             "[" + t + "] \"",
                                             "[" + t + "]\"x\"",
                                             "x[" + t + "]",
                                             "[" + t + ":1]",
                                             "[:]",
                                             "[,]",
                                             "[}",
                                             "[{]",
                                             "[{}",
                                             "[{]}",
                                             "[[}]]",
                                             "[{\"a\"}]",
                                             "[{\"a\":}]",
                                             "[{\"a\",1}]",
                                             "[{\"a\":1,}]",
                                             "[{,\"a\":1}]",
                                             "[{\"a\":1 \"b\":2}]",
                                             "[{\"a\":1:2}]",
                                             "[{\"a\"::1}]",
                                             "[{1:2}]",
                                             "[{a:2}]",
                                             "[{null:2}]",
                                             "[{[]:2}]",
                                             "[{{}:2}]",
                                             "[{\"a\":1,,\"b\":2}]",
                                             "[{\"a\":1 2}]",
                                             "[{\"a\":\"b\" \"c\"}]",
                                             "[{\"a\":\"b\"\"c\"}]",
                                             "[{\"a\":[1 2]}]",
                                             "[{\"a\":[1,]}]",
                                             "[{\"a\":[,1]}]",
                                             "[{\"a\":[1}}]",
                                             "[{\"a\":{\"b\":1]}]",
                                             "[{\"a\":{\"b\"}}]",
                                             "[{\"a\":{1}}]",
                                             "[{\"a\":{\"b\":1,}}]",
                                             "[{\"a\":[[]}]",
                                             "[{\"a\":\"b]",
                                             "[\"]",
                                             "[\"\\\"]",
                                             "[1,2",
                                             "[{\"a\" \"b\":1}]",
                                             "[{\"a\":{}{}}]",
                                             "[{\"a\":1}{}]",
                                             "[[]{}]",
                                             "[[][]]",
                                             "[1[]]"};
  for (const std::string& message : messages) EXPECT_TRUE(is_dead(message)) << message;
  EXPECT_EQ(Decoded("[{\"a\":1,}]").dead_reason, "not a JSON array: expected a key at byte 8");
  EXPECT_EQ(Decoded("[{\"a\":1 \"b\":2}]").dead_reason, "not a JSON array: expected ',' or '}' at byte 8");
}

TEST(TradeDecoderTest, MalformedScalarsBreakNothingWhereTheyAreNotUsed) {
  for (const char* raw : {"NaN",  "1.2.3", "nul",  "01",           "-",        "+",    "tru",  "Infinity", "0x1F",
                          "1e",   ".",     "'a'",  "a'b",          "\xC3\xA9", "#",    "/**/", "1\x01",    "\x0C",
                          "\x1A", "1\x0C", "1\f2", "\x0C\x1A\x0C", "1\x1Ax",   "\x7F", "{}",   "[]",       "null"}) {
    EXPECT_EQ(Decoded(with_unused(raw)).summary(), "trade") << raw;
    // As an element it is one bad trade, and all of its bytes go to the dead letters.
    const Decoded element("[ " + std::string(raw) + " ," + kTrade + "]");
    ASSERT_EQ(element.bad.size(), 1U) << raw;
    EXPECT_EQ(element.bad[0].bytes, raw);
    EXPECT_EQ(element.trades.size(), 1U);
  }
  EXPECT_EQ(Decoded("[" +
                    TradeText()
                        .with("total_usd",
                              "1\x0C"
                              "2")
                        .str() +
                    "]")
                .summary(),
            "invalid: total_usd: not a number");
  for (const char* raw : {"1\x0C 2", "1 \x0C", "\x0C \x0C", "\"a\"\x0C", "\"a\" \x1A"})
    EXPECT_TRUE(is_dead(with_unused(raw))) << raw;
  EXPECT_TRUE(is_dead("[\x0C{}]"));
  EXPECT_TRUE(is_dead("[{}\x1A]"));
  EXPECT_TRUE(is_dead("\x0C[]"));
  EXPECT_TRUE(is_dead("[]\x0C"));
}

TEST(TradeDecoderTest, AStringGluedToAScalarIsDead) {
  for (const char* raw : {"1\"a\"", "1\"\"", "null\"a\"", "\"a\"1", "\"a\"null", "x\"", "\"a\"b\"c\"", "1\"a\"2",
                          "\x0C\"a\"", "1\",\"", "1\"},{\"", "1\"a\"\"b\""}) {
    EXPECT_TRUE(is_dead(with_unused(raw))) << raw;
    EXPECT_TRUE(is_dead("[" + std::string(raw) + "]")) << raw;
    EXPECT_TRUE(is_dead("[" + TradeText().then("unused", raw).then("u2", R"("\"")").str() + "]")) << raw;
  }
}

TEST(TradeDecoderTest, EscapesAreCheckedEverywhere) {
  for (const char* good :
       {R"("\"\\\/\b\f\n\r\t\u0041\uFfFf")", R"("\\\\")", R"("\\u")", R"("\\\"")", R"("\ud800")", R"("\u0000")"}) {
    EXPECT_EQ(Decoded(with_unused(good)).summary(), "trade") << good;
    EXPECT_EQ(Decoded("[" + TradeText().then(std::string(good + 1, std::strlen(good) - 2), "1").str() + "]").summary(),
              "trade")
        << good;
  }
  for (const char* bad : {R"("\q")", R"("\u12")", R"("\u12G4")", R"("\u")", R"("\U0041")", R"("\x41")", R"("\'")",
                          R"("\0")", R"("\u 041")", R"("\\\q")"}) {
    EXPECT_TRUE(is_dead(with_unused(bad))) << bad;
    EXPECT_TRUE(is_dead("[" + TradeText().then(std::string(bad + 1, std::strlen(bad) - 2), "1").str() + "]")) << bad;
    EXPECT_TRUE(is_dead("[" + std::string(bad) + "]")) << bad;
  }
}

TEST(TradeDecoderTest, ABackslashOutsideOfStringsIsDead) {
  for (const char* raw :
       {"\\", "1\\", "\\n", "1\\n", "\\\"a\"", "\"a\"\\", "\"a\" \\", "\\\\", "1\\\"a\"", "\\u0031", "\x0C\\"}) {
    EXPECT_TRUE(is_dead(with_unused(raw))) << raw;
    EXPECT_TRUE(is_dead("[" + std::string(raw) + "]")) << raw;
  }
  EXPECT_TRUE(is_dead("\\[]"));
  EXPECT_TRUE(is_dead("[]\\"));
  EXPECT_TRUE(is_dead("[{\\\"a\":1}]"));
}

TEST(TradeDecoderTest, ControlCharactersInStringsAreDead) {
  for (char c = 0; c < 0x20; ++c) {
    EXPECT_TRUE(is_dead(with_unused("\"a" + std::string(1, c) + "b\""))) << static_cast<int>(c);
    EXPECT_TRUE(is_dead("[" + TradeText().then("k" + std::string(1, c), "1").str() + "]")) << static_cast<int>(c);
  }
  EXPECT_EQ(Decoded(with_unused("\"a\x7F\"")).summary(), "trade");
}

TEST(TradeDecoderTest, OnlyUtf8) {
  for (const char* good : {"\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\xEF\xBB\xBF", "\xF4\x8F\xBF\xBF"}) {
    EXPECT_EQ(Decoded(with_unused("\"" + std::string(good) + "\"")).summary(), "trade") << good;
  }
  for (const char* bad : {"\x80", "\xC3", "\xC0\x80", "\xC1\xBF", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80",
                          "\xF8\x88\x80\x80\x80", "\xFF", "\xE2\x82"}) {
    EXPECT_TRUE(is_dead(with_unused("\"" + std::string(bad) + "\""))) << bad;
    EXPECT_TRUE(is_dead("[" + std::string(bad) + "]")) << bad;
    EXPECT_TRUE(is_dead("[" + kTrade + "]" + std::string(bad))) << bad;
  }
  EXPECT_TRUE(is_dead("\xEF\xBB\xBF[" + kTrade + "]"));  // a byte order mark
}

TEST(TradeDecoderTest, NestingIsAsDeepAsTheMessageAllows) {
  constexpr std::size_t kDepth = 300'000;
  std::string objects;
  for (std::size_t i = 0; i < kDepth; ++i) objects += "{\"a\":";
  const std::string deep = std::string(kDepth, '[') + std::string(kDepth, ']');
  EXPECT_EQ(Decoded(with_unused(deep)).summary(), "trade");
  EXPECT_EQ(Decoded(with_unused(objects + "1" + std::string(kDepth, '}'))).summary(), "trade");
  EXPECT_EQ(Decoded(with_unused(objects + deep + std::string(kDepth, '}'))).summary(), "trade");
  EXPECT_EQ(Decoded(deep).bad.size(), 1U);
  EXPECT_TRUE(is_dead(with_unused(objects + "1" + std::string(kDepth - 1, '}'))));
  EXPECT_TRUE(is_dead(std::string(kDepth, '[')));
  EXPECT_TRUE(is_dead(std::string(kDepth, '[') + std::string(kDepth - 1, ']')));
  EXPECT_TRUE(is_dead(with_unused(std::string(kDepth, '[') + std::string(kDepth - 1, ']') + "}")));
}

TEST(TradeDecoderTest, ATenMebibyteMessage) {
  std::string message = "[" + kTrade;
  std::size_t count = 1;
  for (; message.size() < (std::size_t{10} << 20U); ++count) message += "," + kTrade;
  const Decoded decoded(message + "]");
  EXPECT_EQ(decoded.trades.size(), count);
  EXPECT_EQ(decoded.trades.back().position.index, count - 1);
  EXPECT_TRUE(is_dead(message));
}

TEST(TradeDecoderTest, OneDecoderForManyMessages) {
  TradeDecoder decoder;
  DecodedMessage out;
  const auto decode = [&](std::string_view value) {
    decoder.decode({.log = {}, .offset = 0, .timestamp = -1, .value = value}, out);
  };
  const std::string escaped = "[" + TradeText().with("tx_hash", R"("\u0041")").str() + ",1]";
  const std::string plain = "[" + kTrade + "]";
  for (int i = 0; i < 3; ++i) {
    decode(escaped);
    EXPECT_EQ(out.trades.size(), 1U);
    EXPECT_EQ(out.bad.size(), 1U);
    EXPECT_EQ(out.texts.size(), 1U);
    decode("[broken");
    EXPECT_TRUE(out.dead());
    EXPECT_TRUE(out.trades.empty() && out.bad.empty() && out.texts.empty());
    decode(plain);
    EXPECT_FALSE(out.dead());
    EXPECT_EQ(out.trades.size(), 1U);
    EXPECT_TRUE(out.bad.empty() && out.texts.empty());
  }
}

// What a message holds must not depend on the processor: each of simdjson's implementations sees some of these
// otherwise.
TEST(TradeDecoderTest, EveryProcessorSeesTheSame) {
  const std::vector<std::pair<std::string, std::string>> fates = {
      {with_unused("1\x0C"
                   "2"),
       "trade"},
      {with_unused("\x1A"), "trade"},
      {with_unused("\"\xC3\xA9\""), "trade"},
      {with_unused(R"("\\\"")"), "trade"},
      {with_unused("nu\"ll"), "dead"},
      {with_unused("1\"a\""), "dead"},
      {with_unused("1\"a,b\""), "dead"},
      {with_unused("1\xC3"), "dead"},
      {with_unused("\"\xC3\""), "dead"},
      {with_unused("\"a\x01\""), "dead"},
      {"[\xFF]", "dead"},
      {"[1\\]", "dead"},
  };
  const auto* const usual = simdjson::get_active_implementation().operator->();
  for (const auto* const implementation : simdjson::get_available_implementations()) {
    if (!implementation->supported_by_runtime_system()) continue;
    SCOPED_TRACE(implementation->name());
    simdjson::get_active_implementation() = implementation;
    for (const auto& [message, fate] : fates) {
      EXPECT_EQ(Decoded(message).summary().substr(0, fate.size()), fate) << message;
    }
  }
  simdjson::get_active_implementation() = usual;
}

// Messages of every length end right before a page that must not be touched.
TEST(TradeDecoderTest, ReadsNoByteBehindTheMessage) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  void* const pages = mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(pages, MAP_FAILED);
  char* const end = static_cast<char*>(pages) + page;
  ASSERT_EQ(mprotect(end, page, PROT_NONE), 0);
  const std::string message = "[" + TradeText().with("tx_hash", R"("\u0041")").str() + "]";
  TradeDecoder decoder;
  DecodedMessage out;
  // At the second time around the decoder has seen such a trade.
  for (std::size_t i = 0; i < 2 * (message.size() + 1); ++i) {
    const std::size_t size = i % (message.size() + 1);
    char* const begin = end - size;
    std::memcpy(begin, message.data(), size);
    decoder.decode({.log = {}, .offset = 0, .timestamp = -1, .value = {begin, size}}, out);
    EXPECT_EQ(out.dead(), size != message.size()) << size;
    // And with the array closed there, which lets the walk begin.
    if (size < 2) continue;
    end[-1] = ']';
    decoder.decode({.log = {}, .offset = 0, .timestamp = -1, .value = {begin, size}}, out);
  }
  EXPECT_EQ(munmap(pages, 2 * page), 0);
}

}  // namespace
}  // namespace klined
