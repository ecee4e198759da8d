#include "klined/stream/dead_letters.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace klined {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::StartsWith;

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
  const Publication record = put_back(letter, *origin_of(letter), 1);
  EXPECT_EQ(record.topic, "sol-trades");
  EXPECT_EQ(record.value, "[{}]");
  EXPECT_EQ(record.timestamp_ms, 0);
  EXPECT_THAT(record.headers, ElementsAre(Pair("klined-origin", "sol-trades/2/34"), Pair("klined-indexes", "4"),
                                          Pair("klined-attempt", "1")));
}

TEST(DeadLetters, AMessageIsPutBackWhole) {
  const Letter letter = letter_at(9, "");
  const Publication record = put_back(letter, *origin_of(letter), 2);
  EXPECT_EQ(record.value, "{}");
  EXPECT_THAT(record.headers, ElementsAre(Pair("klined-origin", "sol-trades/2/34"), Pair("klined-attempt", "2")));
}

TEST(DeadLetters, ALetterTellsOfItsAttemptAndTables) {
  DeadLetters letters;
  letters.add(letter_at(0));
  Letter again = letter_at(1);
  again.headers.emplace_back("klined-attempt", "3");
  again.headers.emplace_back("klined-tables", "5ca1ab1e");
  letters.add(again);
  again.headers.back() = {"klined-attempt", "x"};
  letters.add(again);
  EXPECT_EQ(letters.entries().at({1, 0}).attempt, 0);
  EXPECT_EQ(letters.entries().at({1, 0}).tables, "");
  EXPECT_EQ(letters.entries().at({1, 1}).attempt, 3);
  EXPECT_EQ(letters.entries().at({1, 1}).tables, "5ca1ab1e");
  EXPECT_EQ(letters.strangers(), 1);
}

// A number above all that stands for the same trades, be it of the element or of the whole message.
TEST(DeadLetters, AttemptsOfElementsAndOfWholeMessages) {
  const LetterOrigin element{"sol-trades", 2, 34, 4};
  const LetterOrigin other{"sol-trades", 2, 34, 5};
  const LetterOrigin whole{"sol-trades", 2, 34, std::nullopt};
  PutBacks put_backs;
  const auto put = [&put_backs](const LetterOrigin& origin) {
    const std::int32_t attempt = next_attempt(put_backs, origin);
    put_backs.note(2, 34, origin.index, attempt, std::nullopt);
    return attempt;
  };
  // Of the letters of all attempts, those that are replaced.
  const auto replaced = [&put_backs](const LetterOrigin& origin) {
    std::int32_t count = 0;
    while (note_says(put_backs, origin, count, "17") == NoteSays::kReplaced) ++count;
    EXPECT_EQ(note_says(put_backs, origin, count, "17"), NoteSays::kNothing);
    return count;
  };
  EXPECT_EQ(replaced(element), 0);
  EXPECT_EQ(put(element), 1);
  EXPECT_EQ(put(element), 2);
  EXPECT_EQ(replaced(other), 0);
  EXPECT_EQ(replaced(whole), 0) << "the letter of the whole message is not done by an element's";
  EXPECT_EQ(put(whole), 3);
  EXPECT_EQ(replaced(element), 3);
  EXPECT_EQ(put(other), 4);
  EXPECT_EQ(replaced(whole), 3);
  EXPECT_EQ(put(whole), 5);
}

// A topic that was made anew: its letters go back, at attempts above those of the old one.
TEST(DeadLetters, NotesOfAnotherMessage) {
  const LetterOrigin element{"sol-trades", 2, 34, 4};
  const LetterOrigin whole{"sol-trades", 2, 34, std::nullopt};
  PutBacks put_backs;
  put_backs.note(2, 34, 4, 1, checksum_of("old"));
  EXPECT_EQ(note_says(put_backs, element, 0, "old"), NoteSays::kReplaced);
  EXPECT_EQ(note_says(put_backs, element, 0, "new"), NoteSays::kForeign);
  EXPECT_EQ(note_says(put_backs, whole, 0, "[new]"), NoteSays::kNothing);
  EXPECT_EQ(next_attempt(put_backs, element), 2);
  put_backs.note(2, 34, 4, 2, checksum_of("new"));
  EXPECT_EQ(note_says(put_backs, element, 0, "new"), NoteSays::kReplaced);
  EXPECT_EQ(note_says(put_backs, element, 1, "whatever"), NoteSays::kReplaced) << "attempt 1 is of the topic of now";
  EXPECT_EQ(note_says(put_backs, element, 2, "new"), NoteSays::kNothing);
  put_backs.note(2, 34, std::nullopt, 3, checksum_of("[old]"));
  EXPECT_EQ(note_says(put_backs, whole, 0, "[new]"), NoteSays::kForeign);
  EXPECT_EQ(note_says(put_backs, {"sol-trades", 2, 34, 5}, 0, "new"), NoteSays::kUnknown);
}

TEST(DeadLetters, AWarningOfNotesSaysWhatToDo) {
  const std::string text = foreign_note_text("sol-trades", 2, 34);
  EXPECT_THAT(text, StartsWith("sol-trades partition 2 offset 34: topic sol-trades-put-back holds notes of other"));
  EXPECT_THAT(text, HasSubstr("klined init"));
}

TEST(DeadLetters, ANoteIsKeyedByThePlace) {
  const Publication note = note_of({"sol-trades", 2, 34, 4}, 2, "123456789");
  EXPECT_EQ(note.topic, "sol-trades-put-back");
  EXPECT_EQ(note.key, "sol-trades/2/34/4");
  EXPECT_EQ(note.value, "2");
  EXPECT_THAT(note.headers, ElementsAre(Pair("klined-origin", "sol-trades/2/34"), Pair("klined-indexes", "4"),
                                        Pair("klined-attempt", "2"), Pair("klined-checksum", "9:cbf43926")));
  EXPECT_EQ(note_of({"sol-trades", 2, 34, std::nullopt}, 1, "[]").key, "sol-trades/2/34");
}

TEST(DeadLetters, LikeReasonsAreOne) {
  EXPECT_EQ(reason_class("late: block_time is 604801 s behind"), "late: block_time is N s behind");
  EXPECT_EQ(reason_class("late: block_time is 9 s behind"), reason_class("late: block_time is 70 s behind"));
}

}  // namespace
}  // namespace klined
