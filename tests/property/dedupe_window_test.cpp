// DedupeWindow against its definition, over windows that fill, run empty and fill again.
#include "klined/aggregate/dedupe_window.hpp"

#include <map>
#include <random>

#include <gtest/gtest.h>

namespace klined {
namespace {

// The clock at each identity's last sighting, for ever.
class ByDefinition {
 public:
  explicit ByDefinition(UnixSeconds window) : window_(window) {}

  bool seen(std::uint64_t identity, UnixSeconds clock) {
    const auto [entry, is_new] = last_.try_emplace(identity, clock);
    const bool duplicate = !is_new && clock - entry->second <= window_;
    entry->second = clock;
    return duplicate;
  }
  std::size_t live(UnixSeconds clock) const {
    std::size_t count = 0;
    for (const auto& [identity, last] : last_) count += clock - last <= window_ ? 1 : 0;
    return count;
  }

 private:
  UnixSeconds window_;
  std::map<std::uint64_t, UnixSeconds> last_;
};

Fingerprint spread(std::uint64_t identity) {
  const std::uint64_t mixed = identity * 0xD6E8FEB86659FD93U;
  return {mixed ^ (mixed >> 29U), identity};
}

void run(std::uint64_t seed, Fingerprint (*fingerprint)(std::uint64_t)) {
  std::mt19937_64 random(seed);
  const auto below = [&random](std::uint64_t limit) { return random() % limit; };
  const auto length = static_cast<UnixSeconds>(below(40));
  DedupeWindow window(length);
  ByDefinition truth(length);
  UnixSeconds clock = static_cast<UnixSeconds>(below(2'000'000'000)) - 1000;
  const std::uint64_t identities = 1 + below(600);
  for (int phase = 0; phase < 6; ++phase) {
    const std::uint64_t sightings_a_second = 1 + below(80);
    for (int i = 0; i < 1500; ++i) {
      if (below(sightings_a_second) == 0) clock += static_cast<UnixSeconds>(1 + below(3));
      const std::uint64_t identity = below(identities);
      ASSERT_EQ(window.seen(fingerprint(identity), clock), truth.seen(identity, clock)) << "seed " << seed;
    }
    ASSERT_EQ(window.size(), truth.live(clock)) << "seed " << seed;
    if (below(2) == 0) clock += static_cast<UnixSeconds>(below(100));
    if (below(20) == 0) clock += UnixSeconds{5'000'000'000};
  }
}

TEST(DedupeWindowProperty, SaysWhatTheDefinitionSays) {
  for (std::uint64_t seed = 1; seed <= 150; ++seed) run(seed, spread);
}

TEST(DedupeWindowProperty, SoItDoesWhereHashesCollide) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    run(seed, [](std::uint64_t identity) { return Fingerprint{identity % 3, identity}; });
  }
}

TEST(DedupeWindowProperty, MemoryFollowsTheWindow) {
  DedupeWindow window(600);
  UnixSeconds clock = 1'770'000'000;
  std::uint64_t identity = 0;
  const auto feed = [&](int seconds, int a_second) {
    for (int s = 0; s < seconds; ++s) {
      ++clock;
      for (int i = 0; i < a_second; ++i) window.seen(spread(++identity), clock);
    }
  };
  feed(3000, 100);
  EXPECT_EQ(window.size(), 601U * 100U);
  EXPECT_LE(window.bytes(), 601U * 100U * 32U);
  const std::size_t steady = window.bytes();
  feed(6000, 100);
  EXPECT_LE(window.bytes(), steady + steady / 8) << "it does not creep up";
  feed(100, 10'000);
  EXPECT_GT(window.bytes(), 16'000'000U);
  feed(1400, 1);
  EXPECT_LE(window.bytes(), 200'000U) << "a flood leaves nothing behind";
}

}  // namespace
}  // namespace klined
