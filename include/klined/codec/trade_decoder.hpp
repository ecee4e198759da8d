// JSON trade batches, as the producers send them, to trades: the fine print of the input contract lives here.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "klined/codec/put_backs.hpp"
#include "klined/core/outcome.hpp"
#include "klined/core/series.hpp"
#include "klined/core/trade.hpp"

namespace klined {

// The message of another topic that a record stands for, or for a part of it: `klined route` and `klined dlq` write
// such records. What it says of the trades' places is as if that message had been read.
struct Origin {
  LogId log;
  std::int64_t offset = 0;
  // Of the elements of the record's array, in order: their indexes in the message. None: the record is the message.
  std::optional<std::vector<std::uint32_t>> indexes;
  // Of the message's partition, at the message. None: the clocks of the partition that the record itself is in hold.
  std::optional<ChainClocks> clocks;
  // How often what the record holds was put back: 0 never, it is the message or a part of it as it first came.
  std::int32_t attempt = 0;
  // On a note: of what was put back (see PutBack).
  std::optional<Checksum> checksum{};

  // Of memory.
  std::size_t bytes() const {
    return sizeof(Origin) + (indexes ? indexes->capacity() * sizeof(std::uint32_t) : 0) +
           (clocks ? clocks->capacity() * sizeof(ChainClock) : 0);
  }
};

// One record of the input log. The view is valid as long as the batch that holds it.
struct Message {
  LogId log;
  std::int64_t offset = 0;
  UnixMilliseconds timestamp = -1;  // the record's own; -1 where it has none
  std::string_view value;
  const Origin* origin = nullptr;  // usually none; lives as long as the view
  // What was put back of the message that the record is, or stands for: later attempts replace this one's elements.
  const PutBack* put_back = nullptr;  // usually none; lives as long as the view

  std::int32_t attempt() const { return origin == nullptr ? 0 : origin->attempt; }
};

// Whether the record was put back since what message.put_back tells of was read: so what it stands for may have been
// judged as if it had not been.
bool was_put_back_since(const Message& message);

// A trade that goes to the dead-letter topic.
struct BadTrade {
  Outcome outcome = Outcome::kInvalid;  // kInvalid or kFuture
  std::uint32_t index = 0;              // in the message
  std::string reason;                   // "total_usd is negative"
  std::string_view bytes;               // as sent, without surrounding white space; into the message
};

// What a message holds. The views point into the message's value, or into `texts`.
struct DecodedMessage {
  std::vector<Trade> trades;  // buys and sells that are well-formed, with a price, and not future; in message order
  // The first kBadLimit of them: a message of 10 MiB can hold five million. Where there are more, they are counted, and
  // listed by decoding again from `next_bad`.
  std::vector<BadTrade> bad;
  std::int64_t unlisted_invalid = 0;
  std::int64_t unlisted_future = 0;
  std::uint32_t next_bad = 0;  // element of the message; 0: all are listed
  std::int64_t elements = 0;
  std::int64_t ignored = 0;
  std::int64_t no_price = 0;
  // Elements, or the whole dead message, that something stands for that was put back later: they are in none of the
  // lists and counts, and count as duplicates.
  std::int64_t superseded = 0;
  // Set where the message is no JSON array, or its structure is broken: it is dead whole, counts as one invalid, and
  // all of the above is empty.
  std::string dead_reason;
  // The record's origin tells of another number of elements than there are: a broken writer, and nothing of it is
  // right.
  bool contradicts_origin = false;
  // Something was noted of the message's place that is not known to be of this message: that was ignored.
  bool has_foreign_note = false;
  // Texts that had to be unescaped.
  std::vector<std::unique_ptr<std::string>> texts;

  bool dead() const { return !dead_reason.empty(); }
  void clear();
};

struct TradeRules {
  std::vector<ChainId> chains = {1, 56, 8453, 100000};  // a trade of another chain is invalid
  std::int64_t max_future_ms = 600'000;                 // against the record's own timestamp
};

// Decodes messages. Owns its buffers: one a thread. Never throws on input; memory is bounded by the message's size.
class TradeDecoder {
 public:
  explicit TradeDecoder(TradeRules rules = {});
  ~TradeDecoder();
  TradeDecoder(TradeDecoder&&) noexcept;
  TradeDecoder& operator=(TradeDecoder&&) noexcept;

  static constexpr std::size_t kBadLimit = 20'000;

  // Replaces what `out` held. Bad trades before the element `from_bad` are neither listed nor counted.
  void decode(const Message& message, DecodedMessage& out, std::uint32_t from_bad = 0);

 private:
  class Walker;
  std::unique_ptr<Walker> walker_;
};

// The hash that decides a pair's lane. Stable for ever: stored offsets are kept by lane.
std::uint64_t hash_of_pair(ChainId chain, std::string_view pair);
// What Trade::pair_check and Trade::token_hash are made of. They are kept nowhere.
std::uint64_t check_of_pair(ChainId chain, std::string_view pair);
std::uint64_t hash_of_token(std::string_view token);

}  // namespace klined
