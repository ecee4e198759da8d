#include "klined/source/record_headers.hpp"

#include <gmock/gmock.h>

namespace klined {
namespace {

using ::testing::HasSubstr;

Result<std::optional<Origin>> parsed(const OriginHeaders& headers) { return parse_origin(headers, "sol-trades", 3); }

std::string refusal(const OriginHeaders& headers) {
  const auto origin = parsed(headers);
  EXPECT_FALSE(origin);
  return origin ? "" : origin.error().message;
}

TEST(RecordHeaders, NoOrigin) {
  const auto origin = parsed({});
  ASSERT_TRUE(origin);
  EXPECT_FALSE(origin->has_value());
}

TEST(RecordHeaders, PartOfAMessage) {
  const auto origin = parsed({"sol-trades/17/9000000000", "0,5,7", "56:1700000000,100000:1700000003"});
  ASSERT_TRUE(origin && *origin);
  EXPECT_EQ((*origin)->log, LogId(3, 17));
  EXPECT_EQ((*origin)->offset, 9'000'000'000);
  EXPECT_EQ((*origin)->indexes, (std::vector<std::uint32_t>{0, 5, 7}));
  EXPECT_EQ((*origin)->clocks, (ChainClocks{{56, 1'700'000'000}, {100'000, 1'700'000'003}}));
}

TEST(RecordHeaders, WholeMessageWithoutClocks) {
  const auto origin = parsed({"sol-trades/0/0", std::nullopt, std::nullopt});
  ASSERT_TRUE(origin && *origin);
  EXPECT_FALSE((*origin)->indexes);
  EXPECT_FALSE((*origin)->clocks);
  const auto without_trades = parsed({"sol-trades/0/0", "4", ""});
  ASSERT_TRUE(without_trades && *without_trades);
  EXPECT_EQ((*without_trades)->clocks, ChainClocks()) << "no trade so far is not the same as no header";
}

TEST(RecordHeaders, HowOftenItWasPutBack) {
  EXPECT_EQ((*parsed({"sol-trades/0/0", "4", {}}))->attempt, 0);
  EXPECT_EQ((*parsed({"sol-trades/0/0", "4", {}, "1"}))->attempt, 1);
  EXPECT_EQ((*parsed({"sol-trades/0/0", {}, {}, "2147483647"}))->attempt, 2147483647);
}

TEST(RecordHeaders, WhatWasPutBack) {
  EXPECT_EQ((*parsed({"sol-trades/0/0", "4", {}, "1"}))->checksum, std::nullopt);
  EXPECT_EQ((*parsed({"sol-trades/0/0", "4", {}, "1", "9:cbf43926"}))->checksum, checksum_of("123456789"));
  for (const char* checksum : {"", ":", "9", "9:", ":cbf43926", "9:cbf4392", "9:cbf439260", "9:cbf4392x", "-9:cbf43926",
                               " 9:cbf43926", "x:cbf43926"}) {
    EXPECT_THAT(refusal({"sol-trades/1/1", "0", {}, "1", checksum}), HasSubstr("klined-checksum")) << checksum;
  }
}

TEST(RecordHeaders, WhatIsRefused) {
  for (const char* place : {"", "/", "sol-trades", "sol-trades/1", "sol-trades/1/", "sol-trades/x/1", "sol-trades/-1/1",
                            "sol-trades/1/1x", "sol-trades/16777216/1"}) {
    EXPECT_THAT(refusal({place, {}, {}}), HasSubstr("expected <topic>/<partition>/<offset>")) << place;
  }
  EXPECT_THAT(refusal({"other/1/1", {}, {}}), HasSubstr("only records of topic sol-trades may be here"));
  for (const char* indexes : {"", ",", "1,", "1,1", "2,1", "a", "-1", "4294967296", "1 "}) {
    EXPECT_THAT(refusal({"sol-trades/1/1", indexes, {}}), HasSubstr("klined-indexes")) << indexes;
  }
  for (const char* clocks : {"56", "56:", "56:1,", "56:1,1:1", "56:1;"}) {
    EXPECT_THAT(refusal({"sol-trades/1/1", "0", clocks}), HasSubstr("klined-clocks")) << clocks;
  }
  for (const char* attempt : {"", "0", "-1", "1x", " 1", "one", "2147483648"}) {
    EXPECT_THAT(refusal({"sol-trades/1/1", "0", {}, attempt}), HasSubstr("klined-attempt")) << attempt;
  }
}

}  // namespace
}  // namespace klined
