#include "klined/store/shadow_tables.hpp"

#include <gtest/gtest.h>

namespace klined {
namespace {

using Names = std::set<std::string>;

TEST(ShadowStage, IsToldByTheTablesAlone) {
  const std::optional<std::string> none;
  EXPECT_EQ(stage_of({}, none, none), ShadowStage::kNone);
  // Killed between making the first table and marking it.
  EXPECT_EQ(stage_of({"stream_meta"}, none, none), ShadowStage::kNone);
  EXPECT_EQ(stage_of({"stream_meta"}, "from=earliest", none), ShadowStage::kBuilding);
  EXPECT_EQ(stage_of({"stream_meta", "trade_kline_1m"}, "from=earliest", none), ShadowStage::kBuilding);
  // The mark went along with the RENAME.
  EXPECT_EQ(stage_of({"before_stream_meta", "before_trade_kline_1m"}, none, "from=earliest"), ShadowStage::kSwapped);
  EXPECT_EQ(stage_of({"before_stream_meta"}, none, "told"), ShadowStage::kTold);
  // Killed between dropping the last old table and the mark's end.
  EXPECT_EQ(stage_of({}, none, "told"), ShadowStage::kTold);
  EXPECT_EQ(stage_of({"before_stream_meta"}, none, none), ShadowStage::kKept);
  EXPECT_EQ(stage_of({"users"}, none, none), ShadowStage::kForeign);
  EXPECT_EQ(stage_of({"before_stream_meta", "users"}, none, none), ShadowStage::kForeign);
}

TEST(ShadowTables, SwapsAllTablesInOneStatement) {
  EXPECT_EQ(rename_statement("kl`ined", "kl`ined_rebuild", {"stream_offset", "trade_kline_5m"},
                             {"stream_offset", "trade_kline_1m"}),
            "RENAME TABLE `kl``ined`.`stream_offset` TO `kl``ined_rebuild`.`before_stream_offset`,"
            "`kl``ined`.`trade_kline_5m` TO `kl``ined_rebuild`.`before_trade_kline_5m`,"
            "`kl``ined_rebuild`.`stream_offset` TO `kl``ined`.`stream_offset`,"
            "`kl``ined_rebuild`.`trade_kline_1m` TO `kl``ined`.`trade_kline_1m`");
}

}  // namespace
}  // namespace klined
