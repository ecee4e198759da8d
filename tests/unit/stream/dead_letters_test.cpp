#include "klined/stream/dead_letters.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace klined {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

using Headers = std::vector<std::pair<std::string_view, std::string_view>>;

Letter letter_at(std::int64_t offset, std::string_view index = "4") {
  Letter letter{.partition = 1, .offset = offset, .timestamp = 5, .key = "2-34", .value = "{}", .headers = {}};
  letter.headers = {{"error", "invalid: no type"}, {"topic", "sol-trades"}, {"partition", "2"}, {"offset", "34"}};
  if (!index.empty()) letter.headers.emplace_back("index", index);
  return letter;
}

// The marker of a letter, as a reader of the topic gets it.
void add_marker(DeadLetters& letters, const Letter& of, std::int64_t offset) {
  const Publication marker = marker_of("sol-trades-dlq", of);
  Letter record{
      .partition = of.partition, .offset = offset, .timestamp = 6, .key = marker.key, .value = {}, .headers = {}};
  for (const auto& [name, value] : marker.headers) record.headers.emplace_back(name, value);
  letters.add(record);
}

std::vector<std::int64_t> open_of(const DeadLetters& letters) {
  std::vector<std::int64_t> offsets;
  for (const auto& [place, entry] : letters.entries()) {
    if (!entry.is_done) offsets.push_back(place.second);
  }
  return offsets;
}

TEST(DeadLetters, HeadersTellTheOrigin) {
  EXPECT_EQ(origin_of(letter_at(9)), (LetterOrigin{"sol-trades", 2, 34, 4}));
  EXPECT_EQ(origin_of(letter_at(9, "")), (LetterOrigin{"sol-trades", 2, 34, std::nullopt}));
  EXPECT_EQ(origin_of(letter_at(9, "x")), std::nullopt);
  EXPECT_EQ(origin_of(Letter{}), std::nullopt);
}

TEST(DeadLetters, AMarkerIsForAllCopiesBeforeIt) {
  DeadLetters letters;
  letters.add(letter_at(0));
  letters.add(letter_at(1, "5"));
  letters.add(letter_at(2));
  EXPECT_THAT(open_of(letters), ElementsAre(0, 1, 2));
  add_marker(letters, letter_at(0), 3);
  EXPECT_THAT(open_of(letters), ElementsAre(1));
  letters.add(letter_at(4));  // it has failed again
  EXPECT_THAT(open_of(letters), ElementsAre(1, 4));
  EXPECT_EQ(letters.entries().size(), 4U);
  EXPECT_EQ(letters.strangers(), 0);
}

TEST(DeadLetters, OthersRecordsAreCounted) {
  DeadLetters letters;
  letters.add(Letter{});
  EXPECT_EQ(letters.strangers(), 1);
  EXPECT_THAT(letters.entries(), IsEmpty());
}

TEST(DeadLetters, AnElementIsPutBackAsAnArrayOfItself) {
  const Letter letter = letter_at(9);
  const Publication record = put_back(letter, *origin_of(letter));
  EXPECT_EQ(record.topic, "sol-trades");
  EXPECT_EQ(record.value, "[{}]");
  EXPECT_EQ(record.timestamp_ms, 0);
  EXPECT_THAT(record.headers, ElementsAre(Pair("klined-origin", "sol-trades/2/34"), Pair("klined-indexes", "4")));
}

TEST(DeadLetters, AMessageIsPutBackWhole) {
  const Letter letter = letter_at(9, "");
  const Publication record = put_back(letter, *origin_of(letter));
  EXPECT_EQ(record.value, "{}");
  EXPECT_THAT(record.headers, ElementsAre(Pair("klined-origin", "sol-trades/2/34")));
}

TEST(DeadLetters, LikeReasonsAreOne) {
  EXPECT_EQ(reason_class("late: block_time is 604801 s behind"), "late: block_time is N s behind");
  EXPECT_EQ(reason_class("late: block_time is 9 s behind"), reason_class("late: block_time is 70 s behind"));
}

}  // namespace
}  // namespace klined
