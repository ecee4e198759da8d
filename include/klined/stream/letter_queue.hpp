// What a lane has yet to write to the dead-letter topics.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "klined/publish/publisher.hpp"
#include "klined/stream/batch.hpp"

namespace klined {

// Letters in the order in which they were added, each made when it is asked for: one message of 10 MiB can be millions
// of them, and its batch holds their bytes.
//
// Owned by one lane. Memory: the batches that are kept, 16 bytes a late trade, and what one decoding lists.
class LetterQueue {
 public:
  // `topics` by LogId's rank; `rules` as the batches were decoded by; `tables`: see Claim.
  LetterQueue(TradeRules rules, std::vector<std::string> topics, std::string suffix, std::string tables = {})
      : rules_(std::move(rules)), topics_(std::move(topics)), suffix_(std::move(suffix)), tables_(std::move(tables)) {}

  // A letter for each of the part's bad trades, or one for its whole message where that is dead. The part is the
  // batch's.
  void add_bad(std::shared_ptr<const DecodedBatch> batch, const DecodedBatch::Part& part);
  // A letter for a trade of the part that is `behind` seconds behind its partition's clock.
  void add_late(const std::shared_ptr<const DecodedBatch>& batch, const DecodedBatch::Part& part, std::uint32_t trade,
                UnixSeconds behind);

  bool empty() const { return sources_.empty(); }
  // Requires !empty().
  Publication next();

 private:
  struct Late {
    std::uint32_t trade;
    UnixSeconds behind;
  };
  struct Source {  // letters of one part: bad ones, or late ones
    std::shared_ptr<const DecodedBatch> batch;
    const DecodedBatch::Part* part;
    std::vector<Late> late;
    std::size_t next = 0;                  // in `late`, or in the bad ones that are listed
    std::unique_ptr<DecodedMessage> more;  // lists the bad ones that the part does not
  };

  Publication letter(const Message& message, std::string_view bytes, Outcome outcome, std::string_view reason,
                     std::optional<std::uint32_t> index) const;
  Publication next_bad(Source& source);

  TradeRules rules_;
  std::vector<std::string> topics_;
  std::string suffix_;
  std::string tables_;
  std::deque<Source> sources_;
};

}  // namespace klined
