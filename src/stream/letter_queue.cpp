#include "klined/stream/letter_queue.hpp"

#include <fmt/format.h>

#include "klined/base/assertion.hpp"
#include "klined/source/record_headers.hpp"
#include "klined/stream/config.hpp"

namespace klined {

void LetterQueue::add_bad(std::shared_ptr<const DecodedBatch> batch, const DecodedBatch::Part& part) {
  if (!part.decoded.dead() && part.decoded.bad.empty()) return;
  sources_.push_back({std::move(batch), &part, {}, 0, nullptr});
}

void LetterQueue::add_late(const std::shared_ptr<const DecodedBatch>& batch, const DecodedBatch::Part& part,
                           std::uint32_t trade, UnixSeconds behind) {
  if (sources_.empty() || sources_.back().part != &part || sources_.back().late.empty()) {
    sources_.push_back({batch, &part, {}, 0, nullptr});
  }
  sources_.back().late.push_back({trade, behind});
}

Publication LetterQueue::next() {
  KLINED_ASSERT(!empty(), "the caller asks first");
  Source& source = sources_.front();
  const Message& message = source.part->message;
  if (source.part->decoded.dead()) {
    Publication whole =
        letter(message, message.value, Outcome::kInvalid, source.part->decoded.dead_reason, std::nullopt);
    sources_.pop_front();
    return whole;
  }
  if (source.late.empty()) return next_bad(source);
  const Late late = source.late[source.next];
  const Trade& trade = source.part->decoded.trades[late.trade];
  Publication made =
      letter(message, trade.bytes, Outcome::kLate,
             fmt::format("block_time is {} s behind the partition's clock", late.behind), trade.position.index);
  if (++source.next == source.late.size()) sources_.pop_front();
  return made;
}

Publication LetterQueue::next_bad(Source& source) {
  const DecodedMessage& listed = source.more ? *source.more : source.part->decoded;
  const BadTrade& bad = listed.bad[source.next];
  Publication made = letter(source.part->message, bad.bytes, bad.outcome, bad.reason, bad.index);
  if (++source.next < listed.bad.size()) return made;
  if (listed.next_bad == 0) {
    sources_.pop_front();
    return made;
  }
  // Messages like this one are rare enough for a decoder of their own each time.
  auto more = std::make_unique<DecodedMessage>();
  TradeDecoder(rules_).decode(source.part->message, *more, listed.next_bad);
  KLINED_ASSERT(!more->bad.empty(), "what was counted is listed");
  source.more = std::move(more);
  source.next = 0;
  return made;
}

Publication LetterQueue::letter(const Message& message, std::string_view bytes, Outcome outcome,
                                std::string_view reason, std::optional<std::uint32_t> index) const {
  // A record that stands for another message is as dead as that one: the same letter, whether divided by pair or not.
  const Origin* const origin = message.origin;
  const LogId log = origin != nullptr ? origin->log : message.log;
  const std::int64_t offset = origin != nullptr ? origin->offset : message.offset;
  const std::string& topic = topics_.at(log.topic_rank());
  Publication letter;
  letter.topic = origin_topic(topic).value_or(topic) + suffix_;
  letter.key = fmt::format("{}-{}", log.partition(), offset);
  letter.value = bytes;
  letter.headers = {{"error", fmt::format("{}: {}", name_of(outcome), reason)},
                    {"topic", topic},
                    {"partition", std::to_string(log.partition())},
                    {"offset", std::to_string(offset)}};
  if (index) letter.headers.emplace_back("index", std::to_string(*index));
  if (origin != nullptr) {
    letter.headers.emplace_back(kOriginHeader, fmt::format("{}/{}/{}", topic, log.partition(), offset));
  }
  if (message.attempt() > 0) letter.headers.emplace_back(kAttemptHeader, std::to_string(message.attempt()));
  if (!tables_.empty()) letter.headers.emplace_back(kTablesHeader, tables_);
  return letter;
}

}  // namespace klined
