#include "klined/aggregate/dedupe_window.hpp"

#include <gtest/gtest.h>

namespace klined {
namespace {

constexpr Fingerprint kA{1, 10};
constexpr Fingerprint kB{2, 10};  // the same lower half

TEST(DedupeWindow, TheSameIdentityInTheWindowIsADuplicate) {
  DedupeWindow window(600);
  EXPECT_FALSE(window.seen(kA, 1000));
  EXPECT_TRUE(window.seen(kA, 1000));
  EXPECT_TRUE(window.seen(kA, 1600)) << "at most the window behind";
}

TEST(DedupeWindow, OutOfTheWindowItCountsAgain) {
  DedupeWindow window(600);
  EXPECT_FALSE(window.seen(kA, 1000));
  EXPECT_FALSE(window.seen(kA, 1601));
  EXPECT_TRUE(window.seen(kA, 1602));
}

TEST(DedupeWindow, EverySightingIsRememberedAnew) {
  DedupeWindow window(600);
  EXPECT_FALSE(window.seen(kA, 1000));
  EXPECT_TRUE(window.seen(kA, 1500));
  EXPECT_TRUE(window.seen(kA, 2100)) << "600 s after the second sighting, 1100 s after the first";
}

TEST(DedupeWindow, TellsIdentitiesApart) {
  DedupeWindow window(600);
  EXPECT_FALSE(window.seen(kA, 1000));
  EXPECT_FALSE(window.seen(kB, 1000));
}

TEST(DedupeWindow, ForgetsWhatIsOut) {
  DedupeWindow window(600);
  for (std::uint64_t i = 0; i < 1000; ++i) window.seen({i, i}, 1000 + static_cast<UnixSeconds>(i));
  EXPECT_EQ(window.size(), 601U);
  window.seen({7, 7}, 10'000);
  EXPECT_EQ(window.size(), 1U);
}

}  // namespace
}  // namespace klined
