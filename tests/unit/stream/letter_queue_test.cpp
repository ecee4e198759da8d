#include "klined/stream/letter_queue.hpp"

#include <gtest/gtest.h>

namespace klined {
namespace {

constexpr auto kLimit = static_cast<std::uint32_t>(TradeDecoder::kBadLimit);

std::shared_ptr<DecodedBatch> batch_of(std::string_view value) {
  auto batch = std::make_shared<DecodedBatch>();
  DecodedBatch::Part& part = batch->parts.emplace_back();
  part.message = {.log = LogId(0, 3), .offset = 7, .timestamp = 0, .value = value};
  TradeDecoder().decode(part.message, part.decoded);
  return batch;
}

LetterQueue make() { return {TradeRules{}, {"trades"}, "-dlq"}; }

std::string header(const Publication& letter, std::string_view name) {
  for (const auto& [key, value] : letter.headers) {
    if (key == name) return value;
  }
  return "none";
}

TEST(LetterQueueTest, AWholeMessageHasNoIndex) {
  LetterQueue letters = make();
  const auto batch = batch_of("{}");
  letters.add_bad(batch, batch->parts[0]);
  const Publication letter = letters.next();
  EXPECT_EQ(letter.topic, "trades-dlq");
  EXPECT_EQ(letter.value, "{}");
  EXPECT_EQ(header(letter, "partition"), "3");
  EXPECT_EQ(header(letter, "offset"), "7");
  EXPECT_EQ(header(letter, "index"), "none");
  EXPECT_TRUE(letters.empty());
}

TEST(LetterQueueTest, TellsOfTheTablesAndTheAttempt) {
  LetterQueue letters(TradeRules{}, {"trades"}, "-dlq", "5ca1ab1e");
  Origin origin;
  origin.log = LogId(0, 1);
  origin.attempt = 2;
  const auto batch = batch_of("[17]");
  letters.add_bad(batch, batch->parts[0]);
  batch->parts[0].message.origin = &origin;
  const Publication again = letters.next();
  EXPECT_EQ(header(again, "klined-attempt"), "2");
  EXPECT_EQ(header(again, "klined-tables"), "5ca1ab1e");
  batch->parts[0].message.origin = nullptr;
  letters.add_bad(batch, batch->parts[0]);
  EXPECT_EQ(header(letters.next(), "klined-attempt"), "none");
}

TEST(LetterQueueTest, AMessageWithoutBadTradesHasNone) {
  LetterQueue letters = make();
  const auto batch = batch_of("[]");
  letters.add_bad(batch, batch->parts[0]);
  EXPECT_TRUE(letters.empty());
}

// More bad trades than one decoding lists: each comes once, with its own index, and keeps the batch alive until then.
TEST(LetterQueueTest, EachOfManyComesOnce) {
  for (const std::uint32_t count : {kLimit - 1, kLimit, kLimit + 1, 2 * kLimit, 2 * kLimit + 5}) {
    std::string value = "[";
    for (std::uint32_t i = 0; i < count; ++i) value += (i > 0 ? "," : "") + std::to_string(i);
    value += "]";
    LetterQueue letters = make();
    auto batch = batch_of(value);
    EXPECT_EQ(batch->parts[0].decoded.elements, count);
    EXPECT_EQ(static_cast<std::int64_t>(batch->parts[0].decoded.bad.size()) + batch->parts[0].decoded.unlisted_invalid,
              count);
    const std::weak_ptr<DecodedBatch> alive = batch;
    letters.add_bad(batch, batch->parts[0]);
    batch.reset();
    for (std::uint32_t i = 0; i < count; ++i) {
      ASSERT_FALSE(letters.empty());
      ASSERT_FALSE(alive.expired());
      const Publication letter = letters.next();
      ASSERT_EQ(letter.value, std::to_string(i));
      ASSERT_EQ(header(letter, "index"), std::to_string(i));
      ASSERT_EQ(header(letter, "error"), "invalid: not an object");
    }
    EXPECT_TRUE(letters.empty());
    EXPECT_TRUE(alive.expired());
  }
}

}  // namespace
}  // namespace klined
