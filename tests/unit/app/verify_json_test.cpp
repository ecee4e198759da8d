// What `klined verify --json` says of a candle, whatever somebody has put into its row.
#include <gtest/gtest.h>

#include "klined/app/verify_outputs.hpp"

namespace klined::app {
namespace {

TEST(VerifyJson, IsOneLineWhateverTheRowHolds) {
  Finding finding;
  finding.key = {100'000, "a\nb\x01\"\\c", Interval::k1m, 120};
  finding.cells = {{"open_pos", "x\ty\n", "1:2"}};
  EXPECT_EQ(json_of(finding),
            R"({"where":"mysql","interval":"1m","chain_id":100000,"pair_addr":"a\u000ab\u0001\"\\c","time":120,)"
            R"("verdict":"wrong","row":"differs","cells":[{"column":"open_pos","stored":"x\u0009y\u000a",)"
            R"("expected":"1:2"}]})"
            "\n");
}

}  // namespace
}  // namespace klined::app
