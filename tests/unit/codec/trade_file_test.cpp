// Files of trades: JSONL, CSV, gzip, and what cannot be read right.
#include "klined/codec/trade_file.hpp"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>

#include "unit/codec/trade_text.hpp"

namespace klined {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

class TradeFileTest : public testing::Test {
 protected:
  using Lines = std::vector<std::pair<std::int64_t, std::string>>;

  TradeFileTest() { std::filesystem::create_directories(folder_); }
  ~TradeFileTest() override { std::filesystem::remove_all(folder_); }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  std::string write(const std::string& name, const std::string& content) const {
    std::ofstream(path(name), std::ios::binary) << content;
    return path(name);
  }
  std::string write_gz(const std::string& name, const std::string& content) const {
    gzFile file = gzopen(path(name).c_str(), "wb");
    EXPECT_EQ(gzwrite(file, content.data(), static_cast<unsigned>(content.size())), static_cast<int>(content.size()));
    EXPECT_EQ(gzclose(file), Z_OK);
    return path(name);
  }

  // All lines with their numbers; an error ends them as line -1.
  static Lines read(const std::string& path) {
    auto file = TradeFile::open(path);
    if (!file) return {{-1, file.error().message}};
    Lines lines;
    for (;;) {
      auto line = file->next();
      if (!line) {
        lines.emplace_back(-1, line.error().message);
        return lines;
      }
      if (!*line) return lines;
      lines.emplace_back(file->line(), std::move(**line));
    }
  }
  Lines read_text(const std::string& name, const std::string& content) const { return read(write(name, content)); }

 private:
  std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("klined-trade-file-" + std::to_string(getpid()));
};

TEST_F(TradeFileTest, JsonLines) {
  EXPECT_THAT(read_text("a.jsonl", "{\"a\":1}\n[{\"b\":2},{\"c\":3}]\n"),
              ElementsAre(Pair(0, "[{\"a\":1}]"), Pair(1, "[{\"b\":2},{\"c\":3}]")));
  EXPECT_THAT(read_text("a.jsonl", ""), ElementsAre());
  EXPECT_THAT(read_text("a.jsonl", "{}"), ElementsAre(Pair(0, "[{}]")));
}

TEST_F(TradeFileTest, BlankLinesAreSkippedAndNumbered) {
  EXPECT_THAT(read_text("a.jsonl", "\n  \r\n{\"a\":1}\r\n\n\t\n [1]\n\n"),
              ElementsAre(Pair(2, "[{\"a\":1}]"), Pair(5, " [1]")));
  EXPECT_THAT(read_text("a.jsonl", "\n\n"), ElementsAre());
}

TEST_F(TradeFileTest, WhatIsNoJsonComesOutForTheDecoderToRefuse) {
  EXPECT_THAT(read_text("a.jsonl", "broken\n{\"a\"\n"), ElementsAre(Pair(0, "[broken]"), Pair(1, "[{\"a\"]")));
  EXPECT_TRUE(Decoded(read_text("b.jsonl", "{\"a\"\n")[0].second).dead());
}

TEST_F(TradeFileTest, SeveralTradesInALineAreNoBatch) {
  for (const std::string line : {R"({"a":1}, {"b":2})", R"({"a":"\\"} {})", R"({} x)", R"({}{})"}) {
    EXPECT_THAT(read_text("a.jsonl", line), ElementsAre(Pair(0, line)));
    EXPECT_TRUE(Decoded(line).dead());
  }
  const std::string one = R"({"a":"}\\\"}{","b":[{"c":{}}]})";
  EXPECT_THAT(read_text("a.jsonl", one), ElementsAre(Pair(0, "[" + one + "]")));
}

TEST_F(TradeFileTest, Gzip) {
  const std::string content = "{\"a\":1}\n\n[{\"b\":2}]\n";
  EXPECT_EQ(read(write_gz("a.jsonl.gz", content)), read(write("a.jsonl", content)));
  EXPECT_EQ(read(write_gz("without-the-ending", content)), read(write("a.jsonl", content)));
  EXPECT_THAT(read(write_gz("a.csv.gz", "type,slot\nbuy,5\n")), ElementsAre(Pair(1, R"([{"type":"buy","slot":5}])")));
}

TEST_F(TradeFileTest, ADamagedArchiveIsAnError) {
  std::string content;
  for (int i = 0; i < 20'000; ++i) content += "{\"a\":" + std::to_string(i * 7919 % 10007) + "}\n";
  const std::string whole = write_gz("a.gz", content);
  ASSERT_EQ(read(whole).size(), 20'000U);
  std::filesystem::resize_file(whole, std::filesystem::file_size(whole) / 2);
  const Lines lines = read(whole);
  EXPECT_EQ(lines.back().first, -1);
  EXPECT_THAT(lines.back().second, HasSubstr("a.gz"));
}

TEST_F(TradeFileTest, LongLines) {
  const std::string trade = "{\"x\":\"" + std::string(std::size_t{10} << 20U, 'y') + "\"}";
  const Lines lines = read_text("long.jsonl", "[1]\n" + trade + "\n[2]\n");
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_EQ(lines[1].second, "[" + trade + "]");
  EXPECT_EQ(lines[2], (std::pair<std::int64_t, std::string>(2, "[2]")));
}

TEST_F(TradeFileTest, ALineWithoutEndIsAnError) {
  const Lines lines = read_text("endless", "[1]\n" + std::string((std::size_t{64} << 20U) + 1, 'x'));
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_THAT(lines[1].second, HasSubstr("line 2 is longer than 64 MiB"));
}

TEST_F(TradeFileTest, AMissingFileIsAnError) {
  EXPECT_THAT(read(path("none.jsonl")), ElementsAre(Pair(-1, HasSubstr("none.jsonl: No such file or directory"))));
  const Lines lines = read(std::filesystem::temp_directory_path().string());
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0].first, -1);
}

TEST_F(TradeFileTest, CsvRecordsBecomeTrades) {
  const std::string csv =
      "slot,block_time,chain_id,pair_addr,tx_hash,type,token_amount,TokenPriceUSD,total_usd,clamp,pair_info.token_addr,"
      "venue\r\n"
      "310870231,1748779200,sol,\"a,\"\"b\",h1,buy,1.5e-07,0.5,12,True,mint,7\r\n"
      "\r\n"
      "5,1748779201,56,p,h2,sell,NaN,,12,,,\n";
  const Lines lines = read_text("trades.csv", csv);
  EXPECT_THAT(
      lines,
      ElementsAre(Pair(1, R"([{"slot":310870231,"block_time":1748779200,"chain_id":"sol","pair_addr":"a,\"b",)"
                          R"("tx_hash":"h1","type":"buy","token_amount":1.5e-07,"TokenPriceUSD":0.5,"total_usd":12,)"
                          R"("clamp":true,"venue":"7","pair_info":{"token_addr":"mint"}}])"),
                  Pair(3, R"([{"slot":5,"block_time":1748779201,"chain_id":"56","pair_addr":"p","tx_hash":"h2",)"
                          R"("type":"sell","token_amount":"NaN","total_usd":12}])")));
  const Decoded first(lines[0].second);
  ASSERT_EQ(first.summary(), "trade");
  EXPECT_EQ(first.trades[0].pair, "a,\"b");
  EXPECT_EQ(first.trades[0].token, "mint");
  EXPECT_TRUE(first.trades[0].clamped);
  EXPECT_EQ(first.trades[0].volume_token.to_string(), "0.000000150000");
  EXPECT_EQ(Decoded(lines[1].second).summary(), "no_price");
}

// The same trade by CSV and by JSON is the same trade.
TEST_F(TradeFileTest, CsvKeepsTheIdentity) {
  const std::string csv =
      "Slot,TransactionIndex,LogIndex,BlockTime,ChainIdInt,PairAddr,TxHash,Type,TokenAmount,BaseTokenAmount,"
      "TokenPriceUSD,TotalUSD,PairInfo.TokenAddr\n"
      "310870231,7,2,1748779200,100000," +
      std::string(kPair) + ",5hash,buy,1234.5,0.25,0.125,154.3125,mint\n";
  const Decoded from_csv(read_text("a.csv", csv).at(0).second);
  const Decoded from_json("[" + TradeText().str() + "]");
  ASSERT_EQ(from_csv.summary(), "trade");
  EXPECT_EQ(from_csv.trades[0].identity, from_json.trades[0].identity);
  EXPECT_EQ(from_csv.trades[0].token, "mint");
}

TEST_F(TradeFileTest, CsvIsToldByItsNameOrItsHeader) {
  EXPECT_THAT(read_text("any", "type,x\nbuy,1\n"), ElementsAre(Pair(1, R"([{"type":"buy","x":"1"}])")));
  EXPECT_THAT(read_text("any", "\xEF\xBB\xBFtype,x\nbuy,1\n"), ElementsAre(Pair(1, R"([{"type":"buy","x":"1"}])")));
  EXPECT_THAT(read_text("any", "foo,bar\n"), ElementsAre(Pair(0, "[foo,bar]")));
  EXPECT_THAT(read_text("any.csv", "foo,bar\n1,2\n"),
              ElementsAre(Pair(-1, HasSubstr("no CSV header with a trade's fields"))));
  EXPECT_THAT(read_text("any.csv", "{\"type\":\"buy\"}\n"), ElementsAre(Pair(-1, HasSubstr("no CSV header"))));
}

TEST_F(TradeFileTest, CsvTextIsEscapedForJson) {
  const Lines lines =
      read_text("a.csv", "type,maker,x\n\"two\nlines\",\"back\\slash \"\"q\"\" \t\",\xC3\xA9\nbuy,m,n\n");
  EXPECT_THAT(
      lines,
      ElementsAre(
          Pair(1, "[{\"type\":\"two\\u000alines\",\"maker\":\"back\\\\slash \\\"q\\\" \\u0009\",\"x\":\"\xC3\xA9\"}]"),
          Pair(3, R"([{"type":"buy","maker":"m","x":"n"}])")));
  // A cell can't break out of its field.
  EXPECT_THAT(read_text("b.csv", "type,slot\nbuy,\"1,\"\"type\"\":\"\"sell\"\"\"\n"),
              ElementsAre(Pair(1, R"([{"type":"buy","slot":"1,\"type\":\"sell\""}])")));
}

TEST_F(TradeFileTest, BrokenCsvIsAnErrorThatNamesTheLine) {
  const auto last = [this](const std::string& rows) { return read_text("a.csv", "type,slot\nbuy,1\n" + rows).back(); };
  EXPECT_THAT(last("buy\n"), Pair(-1, HasSubstr("line 3 has 1 cells, but the header has 2")));
  EXPECT_THAT(last("buy,1,2\n"), Pair(-1, HasSubstr("line 3 has 3 cells, but the header has 2")));
  EXPECT_THAT(last("\"buy,1\n"), Pair(-1, HasSubstr("line 3: a quote is not closed")));
  EXPECT_THAT(last("\"buy\"x,1\n"), Pair(-1, HasSubstr("line 3: text follows the closing quote of cell 1")));
  EXPECT_THAT(last("b\"u\"y,1\n"), Pair(-1, HasSubstr("line 3: cell 1 has a quote inside, but is not quoted")));
}

TEST_F(TradeFileTest, StandardInput) {
  const std::string file = write("in", "[1]\n{}\n");
  const int saved = dup(STDIN_FILENO);
  ASSERT_NE(std::freopen(file.c_str(), "rb", stdin), nullptr);
  const Lines lines = read("-");
  dup2(saved, STDIN_FILENO);
  close(saved);
  EXPECT_THAT(lines, ElementsAre(Pair(0, "[1]"), Pair(1, "[{}]")));
}

}  // namespace
}  // namespace klined
