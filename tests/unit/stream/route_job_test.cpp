#include "klined/stream/route_job.hpp"

#include <gtest/gtest.h>

namespace klined {
namespace {

TEST(RouteJob, ANoteHoldsTheClocks) {
  EXPECT_EQ(note_of({{1, 5}, {56, 7}}), "klined-clocks=1:5,56:7");
  EXPECT_EQ(clocks_of_note("klined-clocks=1:5,56:7"), (ChainClocks{{1, 5}, {56, 7}}));
  EXPECT_EQ(clocks_of_note(note_of({})), ChainClocks{});
}

TEST(RouteJob, AnOffsetThatAnotherProgramCommittedHasNoClocks) {
  EXPECT_EQ(clocks_of_note(""), std::nullopt);
  EXPECT_EQ(clocks_of_note("1:5"), std::nullopt);
  EXPECT_EQ(clocks_of_note("klined-clocks=x"), std::nullopt);
}

}  // namespace
}  // namespace klined
