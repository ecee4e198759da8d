// Anti-entropy: makes Redis say what the tables say, in small steps, after anything that may have left it behind.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <string>
#include <unordered_set>
#include <vector>

#include "klined/base/backoff.hpp"
#include "klined/cache/redis_connection.hpp"
#include "klined/cache/redis_writer.hpp"
#include "klined/cache/repair_plan.hpp"
#include "klined/cache/row_source.hpp"

namespace klined {

struct RepairOptions {
  std::size_t keep = 300;
  Milliseconds ttl{86'400'000};
  Milliseconds close_grace{2'000};
  int series_per_second = 200;
  // What was lost is looked for this long afterwards, so that the tables hold what was only in memory then. Longer than
  // the longest flush interval.
  Milliseconds settle{6'000};
  Milliseconds recheck_after{30'000};  // between the two looks that remove a candle without a row
  Milliseconds interval{600'000};      // between two passes where nothing is known to be wrong
};

// A pass looks at every series once: those whose keys exist, then those of which a row was written within the TTL. Lost
// series are looked at one by one beside it.
//
// Runs on the thread that also writes live updates, so the two can't race. A failure of Redis is the caller's (it makes
// a new connection and calls restart()); the source's is waited out here.
class RedisRepair {
 public:
  struct Outcome {
    bool worked = false;  // false: nothing is due
    std::int64_t series = 0;
    std::int64_t candles_written = 0;
    std::int64_t candles_removed = 0;
    std::int64_t passes = 0;
    std::int64_t source_errors = 0;
  };

  RedisRepair(RepairOptions options, RowSource& source, const Clock& clock);

  // On every new connection: begins from the start, after the time to settle.
  void restart();
  // Something was dropped: a pass that begins no earlier than the time to settle from now.
  void request_pass();
  void add_lost(const SeriesName& series);

  // Looks at one series at most, or reads one page of names.
  Result<Outcome> step(RedisConnection& connection, RedisWriter& writer);
  // When step() has something to do.
  Instant next_due() const;
  // True while something is known to be possibly wrong.
  bool busy() const;

 private:
  enum class Phase { kIdle, kKeys, kRows };
  struct Recheck {
    Instant due;
    SeriesName series;
    Doubts doubts;
  };

  Instant work_due() const;
  void begin_pass();
  void finish_pass(Outcome& outcome);
  Result<Outcome> pass_step(RedisConnection& connection, RedisWriter& writer);
  Status read_keys(RedisConnection& connection);
  bool read_rows_page();
  Result<Outcome> look_at(RedisConnection& connection, RedisWriter& writer, const SeriesName& series,
                          const Doubts& doubts_before);
  // A hash as Redis holds it.
  struct Held {
    RedisReply reply;  // the fields' views point into it
    std::vector<StoredField> fields;
    bool expires = false;
  };
  static Result<Held> read_hash(RedisConnection& connection, const std::string& key);
  // Returns how many fields were new.
  Result<long long> apply(RedisConnection& connection, const std::string& key, const RepairPlan& plan, bool needs_ttl,
                          Instant seen);
  void source_failed(const Error& error);
  void source_answered();

  RepairOptions options_;
  RowSource& source_;
  const Clock& clock_;
  Backoff backoff_;

  Phase phase_ = Phase::kIdle;
  Instant pass_due_;
  Instant pass_began_;
  Instant last_request_;
  std::string cursor_;                      // of SCAN
  std::optional<SeriesName> after_;         // the last name of the page of active series
  std::deque<SeriesName> page_;             // names still to be looked at
  std::unordered_set<std::string> looked_;  // keys that this pass has been at
  Outcome pass_;                            // what this pass did
  bool last_page_ = false;

  std::deque<Recheck> lost_;  // FIFO: all have the same delay
  std::set<SeriesName> lost_names_;
  std::deque<Recheck> rechecks_;  // FIFO: all have the same delay
  Instant next_look_;             // holds the rate, and waits out the source's failures
  bool source_failing_ = false;
};

}  // namespace klined
