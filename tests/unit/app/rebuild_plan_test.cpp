#include "klined/app/rebuild_plan.hpp"

#include <gtest/gtest.h>

namespace klined::app {
namespace {

TEST(RebuildPlan, ReadsBackWhatItWrites) {
  EXPECT_EQ(plan_text({}), "from=earliest at=- older=refuse lost_until=- lanes=1 dry=0 kept=0 put_backs=0");
  for (const RebuildPlan& plan :
       {RebuildPlan{}, RebuildPlan{"7d", 1'700'000'000, RebuildPlan::Older::kKeep, 1'700'000'600, 8, false, true},
        RebuildPlan{"earliest", std::nullopt, RebuildPlan::Older::kDrop, -5, 64, true, false, 17}}) {
    EXPECT_EQ(parse_plan(plan_text(plan)), plan);
  }
}

TEST(RebuildPlan, RefusesWhatItHasNotWritten) {
  for (const char* const text : {"", "told", "from=earliest", "from= at=- older=keep lost_until=- lanes=8 dry=0 kept=0",
                                 "from=earliest at=x older=keep lost_until=- lanes=8 dry=0 kept=0",
                                 "from=earliest at=- older=some lost_until=- lanes=8 dry=0 kept=0",
                                 "from=earliest at=- older=keep lost_until=- lanes=0 dry=0 kept=0",
                                 "from=earliest at=- older=keep lost_until=- lanes=8 dry=2 kept=0",
                                 "from=earliest at=- older=keep lost_until=- lanes=8 dry=0 kept=0 put_backs="}) {
    EXPECT_FALSE(parse_plan(text)) << text;
  }
}

}  // namespace
}  // namespace klined::app
