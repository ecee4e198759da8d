// Candles computed once more from the input, for `klined verify`: plain maps, nothing loaded, nothing written back.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "klined/aggregate/dedupe_window.hpp"
#include "klined/aggregate/partition_progress.hpp"
#include "klined/codec/trade_decoder.hpp"
#include "klined/core/series.hpp"
#include "klined/store/candle_reader.hpp"

namespace klined {

// Shares with the stream the decoder, the dedupe window, the clocks' fold and a candle's merge; not the lanes, the
// write-back cache, the database's rows, and how offsets move. Pure.
//
// Each lane of each partition stops at its own limit, as the stored candles do; limits only grow.
class Recomputation {
 public:
  struct Options {
    TradeRules rules;
    std::vector<Interval> intervals;
    UnixSeconds dedupe_window = 600;
    UnixSeconds max_lateness = 7 * 86400;
    TimeRange range;   // of candle_time
    std::string pair;  // "": all
    // The pairs of one of so many shares, to need less memory at a time.
    std::uint32_t shares = 1;
    std::uint32_t share = 0;
  };
  struct Entry {
    Candle candle;
    // For the callers:
    bool seen = false;           // in the tables
    std::uint8_t published = 0;  // see PublishedCheck
  };

  explicit Recomputation(Options options);

  // The partition is read from `offset`, where its clocks are empty. `limits`, by lane, see set_limits().
  void begin(LogId log, std::int64_t offset, std::vector<std::int64_t> limits);
  // From now on trades count where their offset is below the limit of their lane; also those of messages that were
  // taken before. kFatal where a limit goes back, or the number of lanes changes.
  Status set_limits(LogId log, std::vector<std::int64_t> limits);
  // The partition's next message; what it says was put back lives as long as this object. kFatal where a sum does not
  // fit its column, or the record contradicts its headers.
  Status take(const Message& message);

  // Of the last message that was taken: see DecodedMessage.
  bool has_foreign_note() const { return decoded_.has_foreign_note; }

  // The next message that take() is to have; the partition is done where it is at its target or beyond.
  std::int64_t next_offset(LogId log) const { return partitions_.at(log).next; }
  std::int64_t target(LogId log) const;

  // The candle of the key; null where no trade is in it.
  Entry* find(const CandleKey& key);
  // All candles, in no order.
  template <typename Visit>
  void for_each(Visit visit) {
    for (auto& [key, entry] : candles_) visit(key_of(key), entry);
  }
  // Whether this share and the options' filters hold the series.
  bool wants(std::uint64_t pair_hash, std::string_view pair) const;

  // That were judged: applied, late, or duplicates.
  std::int64_t trades() const { return trades_; }
  std::size_t candle_count() const { return candles_.size(); }
  std::size_t bytes() const;

 private:
  struct Key {
    std::uint32_t pair;
    Interval interval;
    UnixSeconds time;
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const;
  };
  struct Held {  // a message of which some lane wants its trades later
    std::int64_t offset;
    UnixMilliseconds timestamp;
    std::string value;
    std::optional<Origin> origin;
    const PutBack* put_back;
    std::int32_t source;
    ChainClocks clocks;
  };
  struct Partition {
    std::int64_t next = 0;
    ChainClocks clocks;                              // over all records
    std::map<std::int32_t, ChainClocks> of_origins;  // by source, over the records that have clocks of their origin
    std::vector<std::int64_t> before;                // the limits up to which held messages were taken
    std::vector<std::int64_t> limits;
    // By source, chain and lane: lanes stand apart, and each window's clock must not go back.
    std::map<std::tuple<std::int32_t, ChainId, std::size_t>, DedupeWindow> dedupe;
    std::deque<Held> held;
  };
  struct Pair {
    PairName name;
    SharedText token;  // of its last trade
  };

  CandleKey key_of(const Key& key) const;
  Status apply(Partition& partition, std::int64_t offset, std::int32_t source, const ChainClocks& clocks);
  Status add(const Trade& trade);
  std::uint32_t number_of(const Trade& trade);

  Options options_;
  TradeDecoder decoder_;
  DecodedMessage decoded_;
  std::map<LogId, Partition> partitions_;
  std::vector<Pair> pairs_;
  std::map<PairName, std::uint32_t> numbers_;
  std::unordered_map<Key, Entry, KeyHash> candles_;
  std::int64_t trades_ = 0;
};

// Up to when candles may hold trades that the log no longer holds, or be decided by them: a bucket that begins later is
// made of what is left alone. Nothing where no partition has lost anything.
//
// A lost trade is not ahead of its own record by more than max_future, and records before the first one that is left
// are taken not to be younger than it; nor is any stored trade newer than `max_block_time`. A lost trade makes others
// duplicates for the dedupe window after it.
struct TrimmedLog {
  UnixMilliseconds first_timestamp = -1;  // of the first record that is left; -1 where unknown
};
std::optional<UnixSeconds> uncertain_until(const std::vector<TrimmedLog>& trimmed, UnixSeconds max_block_time,
                                           UnixSeconds max_future, UnixSeconds dedupe_window);

}  // namespace klined
