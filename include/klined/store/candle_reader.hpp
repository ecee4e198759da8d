// Reading what is stored: for commands, for the repair of the cache, and for closing candles that memory does not hold.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "klined/aggregate/candle_book.hpp"
#include "klined/aggregate/pair_place.hpp"
#include "klined/aggregate/price_history.hpp"
#include "klined/base/error.hpp"
#include "klined/core/series.hpp"
#include "klined/store/candle_columns.hpp"
#include "klined/store/candle_store.hpp"
#include "klined/store/mysql_connection.hpp"
#include "klined/store/sql_text.hpp"

namespace klined {

// Closes by pair, in the order of the question; ascending by time.
using LastCloses = std::vector<std::vector<TimedClose>>;

// How active a pair was lately, by the newest candles of one interval.
struct PairActivity {
  ChainId chain = 0;
  std::string pair;
  std::int64_t trades = 0;
  Decimal amount_usd;
  double last_price = 0;       // close of the newest candle
  UnixSeconds last_trade = 0;  // close_at of the newest candle
};

struct Activity {
  UnixSeconds since = 0;            // the oldest bucket that was counted begins here
  std::vector<PairActivity> pairs;  // the most trades first
};

// A stored offset, and when it moved last.
struct StoredLaneOffset {
  LaneOffset offset;
  std::uint64_t owner = 0;
  double updated_at = 0;  // unix s by the server's clock
};

// A span of time, [from, to).
struct TimeRange {
  UnixSeconds from = -259'200;  // the first week begins before 1970
  UnixSeconds to = kMaxBlockTime + 1;
};

// One connection that only reads; connects lazily, and again after errors. Not thread-safe. Every call is kRetry where
// the server does not answer, and kFatal where somebody must mend something (an interval without a table, say).
class CandleReader {
 public:
  explicit CandleReader(MySqlOptions options) : connection_(std::move(options)) {}

  // Candles of one series with candle_time in the range, ascending; where `last` is set, only so many of the newest.
  // With positions, their topics' ranks are those of this reader, and compare only with others that it has read.
  Result<std::vector<CandleRow>> candles(ChainId chain, std::string_view pair, Interval interval,
                                         const TimeRange& range, std::optional<std::size_t> last = std::nullopt,
                                         CandleColumns columns = CandleColumns::kWithoutPositions);
  // The newest `keep` candles of a series, ascending.
  Result<std::vector<CandleRow>> newest(ChainId chain, std::string_view pair, Interval interval, std::size_t keep) {
    return candles(chain, pair, interval, TimeRange(), keep);
  }

  // From now on bucket_rows() leaves out the pairs that belong to other partitions (topic, partition) than these.
  void keep_to(std::vector<std::pair<std::string, std::int32_t>> partitions) { partitions_ = std::move(partitions); }
  // Where the pair's trades come from; nothing where no process that shares the partitions has written it.
  Result<std::optional<PairPlace>> place_of(ChainId chain, std::string_view pair);

  // The candles of all series of the interval in the bucket that begins at `time`, ordered by (chain, pair), beginning
  // after `after`; at most `limit`. Fewer than `limit`: these were the last.
  Result<std::vector<CandleRow>> bucket_rows(Interval interval, UnixSeconds time, const std::optional<PairName>& after,
                                             std::size_t limit);

  // For each pair the closes of its candles with candle_time >= `from`, and the last one before.
  Result<LastCloses> last_closes(Interval interval, std::span<const PairName> pairs, UnixSeconds from);

  // The most active pairs within the 24 h before the newest candle, of one chain or of all. `interval` decides how
  // finely that is counted: the longest one of up to 1h that is configured is a good choice, a day's table is the
  // fastest.
  Result<Activity> active_pairs(Interval interval, std::optional<ChainId> chain, std::size_t limit);

  // The pairs whose newest candle of the interval was written (by the server's clock) at or after `since`, ordered by
  // (chain, pair), beginning after `after`; at most `limit`. Empty: there are no more.
  Result<std::vector<PairName>> pairs_written_since(Interval interval, UnixSeconds since, std::optional<PairName> after,
                                                    std::size_t limit);

  // The chains that have the pair, ascending.
  Result<std::vector<ChainId>> find_chains_of(std::string_view pair, Interval interval);

  // The group's stored offsets, ordered by topic, partition and lane.
  Result<std::vector<StoredLaneOffset>> offsets(std::string_view group);

  // The intervals whose tables exist.
  Result<std::vector<Interval>> intervals();

 private:
  Result<std::vector<CandleRow>> read_rows(Interval interval, CandleColumns columns);
  Status read_closes(Interval interval, std::span<const PairName> pairs, UnixSeconds from,
                     std::span<std::vector<TimedClose>> out);
  Result<std::optional<std::int64_t>> ask_integer(std::string_view what);
  Status load_topics();
  Error unreadable(std::string_view table, const SqlRows& rows) const;

  MySqlConnection connection_;
  TopicNumbers topics_;
  std::vector<std::pair<std::string, std::int32_t>> partitions_;  // of keep_to(); none: all
  SqlText sql_;
};

}  // namespace klined
