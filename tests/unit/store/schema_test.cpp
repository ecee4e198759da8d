#include "klined/store/schema.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace klined {
namespace {

const TableDefinition::Column& column(const TableDefinition& table, std::string_view name) {
  const auto found = std::ranges::find(table.columns, name, &TableDefinition::Column::name);
  EXPECT_NE(found, table.columns.end()) << name;
  return *found;
}

TEST(Definitions, AreReadFromSql) {
  const auto tables = parse_definitions(
      "-- A comment; with a semicolon.\nCREATE TABLE IF NOT EXISTS x (\n  -- inside\n  `count` BIGINT UNSIGNED NOT "
      "NULL,  -- why\n"
      "  name VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,\n  d DECIMAL(38,12) NOT NULL,\n"
      "  PRIMARY KEY (`count`, name),\n  KEY by_name (name)\n) ENGINE=InnoDB;\n");
  ASSERT_EQ(tables.size(), 1U);
  const TableDefinition& table = tables.front();
  EXPECT_EQ(table.name, "x");
  ASSERT_EQ(table.columns.size(), 3U);
  EXPECT_EQ(column(table, "count").type, "bigint unsigned");
  EXPECT_EQ(column(table, "count").definition, "`count` BIGINT UNSIGNED NOT NULL");
  EXPECT_EQ(column(table, "name").type, "varchar(64)");
  EXPECT_TRUE(column(table, "name").is_binary);
  EXPECT_EQ(column(table, "d").type, "decimal(38,12)");
  EXPECT_FALSE(column(table, "d").is_binary);
  ASSERT_EQ(table.keys.size(), 2U);
  EXPECT_EQ(table.keys[0].name, "PRIMARY");
  EXPECT_EQ(table.keys[0].columns, (std::vector<std::string>{"count", "name"}));
  EXPECT_EQ(table.keys[1].name, "by_name");
  EXPECT_EQ(table.keys[1].definition, "KEY by_name (name)");
  EXPECT_TRUE(table.statement.ends_with("ENGINE=InnoDB"));
}

TEST(Definitions, HoldTheContractsColumns) {
  const std::vector<Interval> intervals = {Interval::k1m, Interval::k1M};
  const auto tables = needed_tables(intervals);
  std::vector<std::string> names;
  for (const TableDefinition& table : tables) names.push_back(table.name);
  EXPECT_EQ(names, (std::vector<std::string>{"stream_offset", "stream_topic", "stream_pair", "stream_meta",
                                             "trade_kline_1m", "trade_kline_1mo"}));
  const TableDefinition& candles = tables.back();
  EXPECT_EQ(candles.statement.find("{table}"), std::string::npos);
  EXPECT_EQ(candles.keys.front().columns, (std::vector<std::string>{"chain_id", "pair_address", "candle_time"}));
  const std::vector<std::pair<std::string, std::string>> contract = {{"chain_id", "int"},
                                                                     {"pair_address", "varchar(64)"},
                                                                     {"candle_time", "bigint"},
                                                                     {"open_at", "bigint"},
                                                                     {"close_at", "bigint"},
                                                                     {"o", "double"},
                                                                     {"h", "double"},
                                                                     {"l", "double"},
                                                                     {"c", "double"},
                                                                     {"v", "decimal(38,12)"},
                                                                     {"t", "decimal(38,12)"},
                                                                     {"a", "double"},
                                                                     {"count", "bigint"},
                                                                     {"buy_count", "bigint"},
                                                                     {"sell_count", "bigint"},
                                                                     {"mcap_o", "double"},
                                                                     {"mcap_h", "double"},
                                                                     {"mcap_l", "double"},
                                                                     {"mcap_c", "double"},
                                                                     {"mkt_cap", "double"},
                                                                     {"pump_point", "double"},
                                                                     {"token_addr", "varchar(64)"},
                                                                     {"updated_at", "timestamp(3)"}};
  for (const auto& [name, type] : contract) EXPECT_EQ(column(candles, name).type, type) << name;
  EXPECT_TRUE(column(candles, "pair_address").is_binary);
}

TEST(EmbeddedSql, HoldsEveryFile) {
  for (const char* name : {"001_candles.sql", "002_stream.sql", "user.sql", "reset.sql"}) {
    EXPECT_FALSE(embedded_sql(name).empty()) << name;
  }
  EXPECT_TRUE(embedded_sql("no.sql").empty());
}

}  // namespace
}  // namespace klined
