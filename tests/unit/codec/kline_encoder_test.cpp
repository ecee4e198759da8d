#include "klined/codec/kline_encoder.hpp"

#include <charconv>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <kline.pb.h>
#include <simdjson.h>

namespace klined {
namespace {

// Every column differs from every other, so that two that are mixed up show.
Candle sample() {
  Candle c;
  c.open = 0.1;
  c.high = 1e21;
  c.low = 1.5e-07;
  c.close = 3;
  c.mcap_open = 5.25;
  c.mcap_high = 123456789.125;
  c.mcap_low = 0;
  c.mcap_close = 7;
  c.amount_usd = Decimal::parse_amount("10").value();
  c.volume_token = Decimal::parse_amount("3").value();
  c.open_at = 1748779201;
  c.last.block_time = 1748779255;
  c.buy_count = 4;
  c.sell_count = 2;
  c.mkt_cap = 8.5;
  c.pump_point = -0.75;
  c.token = SharedText("mint");
  return c;
}

KlineView view_of(const Candle& candle, std::string_view pair = "pair", bool closed = true) {
  return {.chain = 100000,
          .pair = pair,
          .interval = Interval::k1M,
          .time = 1748736000,
          .candle = &candle,
          .closed = closed};
}

std::vector<std::string> split(const std::string& line) {
  std::vector<std::string> cells(1);
  for (const char c : line) {
    if (c == ',') {
      cells.emplace_back();
    } else {
      cells.back().push_back(c);
    }
  }
  return cells;
}

TEST(KlineEncoderTest, Protobuf) {
  const Candle candle = sample();
  proto::Kline kline;
  ASSERT_TRUE(kline.ParseFromString(encode_kline(view_of(candle))));
  EXPECT_EQ(kline.chain_id(), 100000);
  EXPECT_EQ(kline.interval(), "1M");
  EXPECT_EQ(kline.pair_addr(), "pair");
  EXPECT_EQ(kline.open(), 0.1);
  EXPECT_EQ(kline.high(), 1e21);
  EXPECT_EQ(kline.low(), 1.5e-07);
  EXPECT_EQ(kline.close(), 3);
  EXPECT_EQ(kline.mcap_open(), 5.25);
  EXPECT_EQ(kline.mcap_high(), 123456789.125);
  EXPECT_EQ(kline.mcap_low(), 0);
  EXPECT_EQ(kline.mcap_close(), 7);
  EXPECT_EQ(kline.amount_usd(), 10);
  EXPECT_EQ(kline.volume_token(), 3);
  EXPECT_EQ(kline.candle_time(), 1748736000);
  EXPECT_EQ(kline.buy_count(), 4);
  EXPECT_EQ(kline.sell_count(), 2);
  EXPECT_EQ(kline.total_count(), 6);
  EXPECT_EQ(kline.close_at(), 1748779255);
  EXPECT_EQ(kline.open_at(), 1748779201);
  EXPECT_EQ(kline.avg_price(), 10.0 / 3);
  EXPECT_EQ(kline.mkt_cap(), 8.5);
  EXPECT_EQ(kline.pump_point(), -0.75);
  EXPECT_EQ(kline.token_addr(), "mint");
  EXPECT_TRUE(kline.closed());

  // A message that is used again keeps nothing of the candle before.
  Candle plain = sample();
  plain.token = {};
  fill_kline(view_of(plain, "other", false), kline);
  EXPECT_EQ(kline.pair_addr(), "other");
  EXPECT_EQ(kline.token_addr(), "");
  EXPECT_FALSE(kline.closed());
}

// Other programs read these bytes: field numbers and types, by hand from the contract.
TEST(KlineEncoderTest, TheWireLayoutIsTheContracts) {
  Candle candle;
  candle.open = 1;
  candle.buy_count = 1;
  KlineView view = view_of(candle, "p", true);
  view.chain = 1;
  view.interval = Interval::k1m;
  view.time = 60;
  std::string expected;
  expected += std::string("\x08\x01", 2);                              // 1: chain_id
  expected += std::string("\x12\x02", 2) + "1m";                       // 2: interval
  expected += std::string("\x1A\x01", 2) + "p";                        // 3: pair_addr
  expected += std::string("\x21\x00\x00\x00\x00\x00\x00\xF0\x3F", 9);  // 4: open, a double
  expected += std::string("\x70\x3C", 2);                              // 14: candle_time
  expected += std::string("\x78\x01", 2);                              // 15: buy_count
  expected += std::string("\x88\x01\x01", 3);                          // 17: total_count
  expected += std::string("\xC0\x01\x01", 3);                          // 24: closed
  EXPECT_EQ(encode_kline(view), expected);
}

// The same bytes as protobuf's own of the whole message, and of each candle.
TEST(KlinesEncoderTest, WritesWhatProtobufWrites) {
  const Candle candle = sample();
  Candle plain;
  plain.sell_count = 1;
  const std::string long_name(300, 'x');  // its size takes two bytes
  const std::vector<KlineView> views = {view_of(candle), view_of(plain, "", false), view_of(candle, long_name)};
  const Fluctuation fluctuation{
      .over_1m = 1, .over_5m = -2, .over_15m = 3, .over_1h = 4, .over_4h = 5, .over_12h = 6, .over_24h = 7};
  KlinesEncoder encoder;
  for (std::size_t count = 0; count <= views.size(); ++count) {  // one encoder: nothing is left of the message before
    proto::Klines klines;
    for (std::size_t i = 0; i < count; ++i) {
      fill_kline(views[i], *klines.add_list());
      EXPECT_EQ(encoder.add(views[i]), encode_kline(views[i]));
    }
    EXPECT_EQ(encoder.take(), klines.SerializeAsString());
    if (count == 0) continue;
    encoder.add(views[0]);
    encoder.add(fluctuation);
    proto::Klines read;
    ASSERT_TRUE(read.ParseFromString(encoder.take()));
    ASSERT_EQ(read.list_size(), 1);
    EXPECT_EQ(read.list(0).SerializeAsString(), encode_kline(views[0]));
    const proto::KlineFluctuation& f = read.fluctuation();
    EXPECT_EQ((std::vector{f.kline_fluctuation_1m(), f.kline_fluctuation_5m(), f.kline_fluctuation_15m(),
                           f.kline_fluctuation_1h(), f.kline_fluctuation_4h(), f.kline_fluctuation_12h(),
                           f.kline_fluctuation_24h()}),
              (std::vector<double>{1, -2, 3, 4, 5, 6, 7}));
  }
}

TEST(KlineEncoderTest, Json) {
  const Candle candle = sample();
  std::string json = "[";
  append_json(view_of(candle), json);
  EXPECT_EQ(
      json,
      R"([{"chain_id":100000,"interval":"1M","pair_addr":"pair","open":0.1,"high":1e+21,"low":1.5e-07,"close":3,)"
      R"("mcap_open":5.25,"mcap_high":123456789.125,"mcap_low":0,"mcap_close":7,"amount_usd":10,"volume_token":3,)"
      R"("candle_time":1748736000,"buy_count":4,"sell_count":2,"total_count":6,)"
      R"("close_at":1748779255,"open_at":1748779201,)"
      R"("avg_price":3.3333333333333335,"mkt_cap":8.5,"pump_point":-0.75,"token_addr":"mint","closed":true})");
}

TEST(KlineEncoderTest, AnyAddressIsAGoodStringInJsonAndCsv) {
  std::string address;
  for (char c = '!'; c <= '~'; ++c) address.push_back(c);
  Candle candle = sample();
  candle.token = SharedText(R"("\)");
  std::string json;
  append_json(view_of(candle, address, false), json);
  simdjson::dom::parser parser;
  simdjson::dom::element element;
  ASSERT_EQ(parser.parse(json).get(element), simdjson::SUCCESS);
  EXPECT_EQ(std::string_view(element["pair_addr"]), address);
  EXPECT_EQ(std::string_view(element["token_addr"]), R"("\)");
  EXPECT_FALSE(bool(element["closed"]));

  std::string csv;
  append_csv(view_of(candle, R"(a,"b)", false), csv);
  EXPECT_TRUE(csv.starts_with(R"(100000,1M,"a,""b",0.1,1e+21,)")) << csv;
  EXPECT_TRUE(csv.ends_with(",\"\"\"\\\",false\n")) << csv;
}

TEST(KlineEncoderTest, CsvHasTheColumnsOfTheJson) {
  const Candle candle = sample();
  std::string json;
  append_json(view_of(candle), json);
  std::string csv;
  append_csv(view_of(candle), csv);
  const std::string header(csv_header());
  ASSERT_TRUE(header.ends_with('\n') && csv.ends_with('\n'));
  const auto names = split(header.substr(0, header.size() - 1));
  const auto cells = split(csv.substr(0, csv.size() - 1));
  ASSERT_EQ(names.size(), 24U);
  ASSERT_EQ(cells.size(), names.size());
  std::string rebuilt;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const bool is_text = names[i] == "interval" || names[i] == "pair_addr" || names[i] == "token_addr";
    rebuilt += (i == 0 ? "{\"" : ",\"") + names[i] + "\":" + (is_text ? "\"" + cells[i] + "\"" : cells[i]);
  }
  EXPECT_EQ(rebuilt + "}", json);
}

TEST(KlineEncoderTest, DoublesReadBackTheSame) {
  for (const double value :
       {0.1, 1.0 / 3, 4.9e-324, 1.7976931348623157e308, 9007199254740993.0, 1e15, 123456789012345680.0, 2.5e-7}) {
    Candle candle = sample();
    candle.open = value;
    std::string csv;
    append_csv(view_of(candle), csv);
    const std::string text = split(csv)[3];
    double back = 0;
    std::from_chars(text.data(), text.data() + text.size(), back);
    EXPECT_EQ(back, value) << text;
    EXPECT_TRUE(is_json_number(text)) << text;
  }
}

}  // namespace
}  // namespace klined
