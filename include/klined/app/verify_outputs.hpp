// The published and the cached candles, as `klined verify` reads and mends them.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kline.pb.h"
#include "klined/base/clock.hpp"
#include "klined/cache/redis_connection.hpp"
#include "klined/cache/row_source.hpp"
#include "klined/source/kafka_source.hpp"
#include "klined/store/schema.hpp"
#include "klined/stream/config.hpp"
#include "klined/stream/output_check.hpp"

namespace klined::app {

enum class Where { kTable, kPublished, kRedis };

// A candle that is not what it should be, in one of the places where it is.
struct Finding {
  CandleKey key;
  std::vector<CellDifference> cells;  // empty where the row is missing, or should not be there
  bool is_missing = false;
  bool is_uncertain = false;  // trades of the bucket may have been trimmed from the log
  Where where = Where::kTable;
  std::int64_t revision = 0;  // the largest that was seen outside the tables
};

constexpr std::string_view name_of(Where where) {
  return where == Where::kTable ? "mysql" : where == Where::kPublished ? "kafka" : "redis";
}

std::string json_of(const Finding& finding);
std::string text_of(const Finding& finding);

// Reads klines-<chain>-<env> once, and then what comes.
class PublishedReader {
 public:
  PublishedReader() = default;  // reads nothing
  static Result<PublishedReader> open(const Config& config);

  // Hands out every candle between where it stopped last and the topics' ends as of now. What is no `Klines` is left
  // out and counted.
  using Take = std::function<void(const CandleKey&, const proto::Kline&)>;
  Status read_to_end(const Take& take);

  bool is_trimmed() const { return trimmed_; }  // the topics do not hold their beginnings any more
  std::int64_t unreadable() const { return unreadable_; }

 private:
  void take_message(std::string_view value, const Take& take);

  std::unique_ptr<KafkaSource> source_;
  std::vector<Assignment> places_;
  bool trimmed_ = false;
  std::int64_t unreadable_ = 0;
};

// Reads the hashes.
class CachedReader {
 public:
  explicit CachedReader(const Config& config);

  // The newest candles of each series, which should be fields of its hash, and all the fields that there are between
  // them. A hash that is not there is left out: a cache may be empty.
  using Series = std::map<SeriesName, std::vector<UnixSeconds>>;            // ascending
  using Look = std::function<void(const CandleKey&, const proto::Kline*)>;  // null: no such field, or no candle
  Status look(const Series& series, const Look& look);
  // Only these fields.
  Status look_again(const Suspects& suspects, const Look& look);

  // Writes the candle over what the field holds (null: takes the field away), unless a newer revision has come since
  // `largest`, or the hash is gone.
  Status mend(const CandleKey& key, const proto::Kline* kline, std::int64_t largest);

  std::int64_t missing_hashes() const { return missing_; }
  std::int64_t fields() const { return fields_; }

 private:
  Status connected();
  Result<bool> try_mend(const SeriesName& series, const std::string& key, const std::string& field,
                        const proto::Kline* kline, std::int64_t largest);

  RedisConnection connection_;
  std::int64_t missing_ = 0;
  std::int64_t fields_ = 0;
};

// Holds what is published and cached against the recomputation, beside a running job.
class OutputCheck {
 public:
  // Takes the recomputation on to the tables as of now. Whether anything is left that was in the input at the first
  // look, and whether it went on at all.
  struct Progress {
    bool is_caught_up = false;
    bool has_moved = false;
  };
  using Advance = std::function<Result<Progress>()>;
  using Wants = std::function<bool(const CandleKey&)>;

  OutputCheck(const Config& config, Recomputation& again, bool published, bool redis, Wants wants);

  // The recomputation stands at a moment's tables. Afterwards mark_ends() is called, which notes where the input ends,
  // and then `advance` as often as it takes.
  Status run(const std::function<Status()>& mark_ends, const Advance& advance);
  std::vector<Finding> findings(const std::function<bool(UnixSeconds)>& is_uncertain);
  std::string summary() const;

 private:
  CachedReader::Series series() const;
  Status look_again(bool with_published);
  void add(const CandleKey& key, const Suspect& suspect, Where where, std::vector<Finding>& out) const;

  const Config& config_;
  Recomputation& again_;
  Wants wants_;
  std::optional<PublishedReader> reader_;
  std::optional<CachedReader> cached_reader_;
  PublishedCheck published_;
  CachedCheck cached_;
  bool is_caught_up_ = false;
  SystemClock clock_;
};

// Publishes the candles once more, and waits until they are acknowledged.
Status publish_again(const Config& config, const std::vector<proto::Kline>& klines);

}  // namespace klined::app
