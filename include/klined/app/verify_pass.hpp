// One computation of the candles and what differs from it, as `klined verify` makes and mends it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "klined/app/verify_outputs.hpp"
#include "klined/source/kafka_source.hpp"
#include "klined/store/table_check.hpp"
#include "klined/stream/connections.hpp"
#include "klined/stream/recomputation.hpp"

namespace klined::app {

struct VerifyArguments {
  std::string config;
  std::string from, to, pair, intervals;
  std::uint32_t passes = 1;
  std::size_t limit = 100;
  bool repair = false;
  bool json = false;
  bool published = false;
  bool redis = false;
};

// What is asked for, as values.
struct Scope {
  TimeRange range;
  std::vector<Interval> intervals;
};

// What became of a repair.
struct Repaired {
  std::size_t mended = 0;  // findings
  // Nothing more can be done, or was: candles whose readers have a larger revision than there is, and a cache or a
  // topic that did not answer. All of them have been complained of.
  std::size_t left = 0;
};

// One look at the pairs of one share.
class Pass {
 public:
  Pass(const Config& config, const VerifyArguments& arguments, const Scope& scope, KafkaSource& source,
       std::uint32_t share)
      : config_(config),
        arguments_(arguments),
        scope_(scope),
        source_(source),
        share_(share),
        snapshot_(mysql_options(config)),
        again_(
            Recomputation::Options{.rules = {config.chains, std::chrono::milliseconds(config.input.max_future).count()},
                                   .intervals = scope.intervals,
                                   .dedupe_window = config.input.dedupe_window.count(),
                                   .max_lateness = config.input.max_lateness.count(),
                                   .range = scope.range,
                                   .pair = arguments.pair,
                                   .shares = arguments.passes,
                                   .share = share}) {}

  Status run();
  // After run(): writes what is wrong right, in the tables and for readers.
  Result<Repaired> repair();

  const std::vector<Finding>& findings() const { return findings_; }
  std::int64_t rows() const { return rows_; }
  const std::string& outputs() const { return outputs_; }
  std::int64_t trades() const { return again_.trades(); }
  std::optional<UnixSeconds> uncertain() const { return uncertain_; }

 private:
  using Limits = std::map<TopicPartition, std::vector<std::int64_t>>;

  static Limits limits_of(const std::vector<LaneOffset>& offsets);
  std::uint32_t rank_of(const std::string& topic) const;
  LogId log_of(const TopicPartition& partition) const;
  Status check_settings() const;
  Status begin(const Limits& limits);
  Result<std::int64_t> count_notes() const;
  Result<std::int64_t> begin_of(const TopicPartition& partition) const;
  Status go_on(const Limits& limits);
  Status read();
  Status take_in(const MessageBatch& batch);
  void warn_of_note(const Message& message);
  void progress(bool end);
  Status compare();
  Status compare_outputs();
  Status mark_ends();
  Result<OutputCheck::Progress> advance();

  // Candles, with the largest revision that was seen of them.
  using Revisions = std::map<CandleKey, std::int64_t>;
  struct Seen {
    Revisions published, cached;
    std::size_t failures = 0;
  };
  Result<std::size_t> repair_rows(std::uint64_t& owner);
  void await_claims(std::uint64_t owner, Milliseconds patience) const;
  std::int64_t revision_of(const CandleKey& key);
  bool counts_too_many(const Finding& finding) const;
  void look_outside(const std::vector<CandleKey>& rows, const Revisions& too_many, Seen& seen) const;
  Status await_tables(const std::vector<CandleKey>& rows, const Seen& seen);
  Status mend_outputs(Seen& seen);
  Revisions beyond_repair(const Seen& seen);
  bool is_closed(const CandleKey& key) const;
  bool is_uncertain(UnixSeconds time) const { return uncertain_ && time <= *uncertain_; }
  bool wants(const CandleKey& key) const { return again_.wants(hash_of_pair(key.chain, key.pair), key.pair); }

  const Config& config_;
  const VerifyArguments& arguments_;
  const Scope& scope_;
  KafkaSource& source_;
  std::uint32_t share_;
  TableSnapshot snapshot_;
  std::map<std::string, std::shared_ptr<const PutBacks>> put_backs_;  // by topic that is no routed one
  std::int64_t notes_ = 0;                                            // count_notes() just before they were read
  std::set<std::uint32_t> warned_of_notes_;                           // ranks of topics
  Recomputation again_;
  std::vector<std::string> topics_;  // by rank
  std::map<TopicPartition, LogId> logs_;
  std::map<LogId, TrimmedLog> trimmed_;
  std::optional<UnixSeconds> uncertain_;
  std::vector<Finding> findings_;
  std::int64_t rows_ = 0;
  std::map<TopicPartition, std::int64_t> ends_;  // of the input, when the outputs were looked at
  std::string outputs_;                          // what was compared
  UnixSeconds closed_until_ = -1;
  std::int64_t read_ = 0, to_read_ = 0;
  SystemClock clock_;
  Instant shown_{};
};

}  // namespace klined::app
