// The second set of tables that `klined rebuild` fills beside those in use, and the one statement that swaps the two.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "klined/base/error.hpp"
#include "klined/core/interval.hpp"
#include "klined/store/candle_store.hpp"
#include "klined/store/mysql_connection.hpp"
#include "klined/store/sql_text.hpp"

namespace klined {

// How far a rebuild is, by what is in the two schemas alone: whoever is killed at any moment finds its place again.
enum class ShadowStage {
  kNone,      // nothing is begun
  kBuilding,  // the shadow set is being filled, or is full and not swapped
  kSwapped,   // the new tables are in use; what changed is not all published
  kTold,      // it is published; the old tables may go
  kKept,      // done; the old tables of an earlier rebuild are still there
  kForeign,   // the schema holds tables that no rebuild has made
};
// `tables`: those of the shadow schema. The marks are the rows `rebuild` of both sets' stream_meta.
ShadowStage stage_of(const std::set<std::string>& tables, const std::optional<std::string>& shadow_mark,
                     const std::optional<std::string>& live_mark);

// In a set's stream_meta: which rebuild it is of. It travels with its set, so both sides of a swap tell of each other.
struct RebuildMark {
  std::string state;  // the plan; from the swap on how far it is told of
  std::string of;     // the database with the tables in use
  std::string in;     // the schema of the other set
};

// One RENAME TABLE: every table of `in_use` goes from `live` to `shadow`, under the name before_<table>, and every one
// of `rebuilt` from `shadow` to `live`. The server does all of it or nothing, and nobody sees anything between.
std::string rename_statement(std::string_view live, std::string_view shadow, const std::vector<std::string>& in_use,
                             const std::vector<std::string>& rebuilt);
// "`schema`.`table`"
std::string qualified(std::string_view schema, std::string_view table);
// Where the statement puts a table that was in use.
std::string before_name(std::string_view table);

// A schema of its own holds the shadow set, under the tables' own names, so all that reads and writes tables works on
// either set, by the connection's database alone.
//
// The swap needs no pact with the job: the offsets move with the candles, and their rows' owner is another one, so a
// transaction of the job is either done before it, in the old tables, or refused after it. The hold only keeps rows
// from going back for readers: nobody commits to the old set while the shadow set catches up with it. The hold is a
// lock of the server on one session, and only that session renames: whatever ends the hold ends the swap, too.
//
// What it deletes: tables of a set whose mark names this very rebuild, and of what was swapped out only before_<table>.
class ShadowTables {
 public:
  ShadowTables(const MySqlOptions& live, std::string schema, std::string group);

  struct Found {
    ShadowStage stage = ShadowStage::kNone;
    std::string plan;      // kBuilding: as given to begin()
    std::string settings;  // kBuilding: what its candles are computed with; "" where none is yet
  };
  // kFatal where the tables in use are missing, another group's, or a reset was broken off; and where the schema is in
  // use itself, holds another database's rebuild, or is not the one that the last swap was made with.
  Result<Found> look();
  // Makes the shadow set, empty, with the topics' numbers of the set in use.
  Status begin(std::string_view plan, std::span<const Interval> intervals);

  // Begins a transaction that sees the tables in use as of one moment, whatever the job does meanwhile. The offsets at
  // which they stand.
  Result<std::vector<LaneOffset>> open_snapshot(MySqlConnection& connection);
  // With a snapshot, and the shadow set at exactly its offsets: puts the candles that begin up to `until` in place of
  // the shadow set's own. May be repeated.
  Status keep_older(MySqlConnection& snapshot, std::span<const Interval> intervals, UnixSeconds until);
  Status write_plan(std::string_view plan) { return write_mark(qualified(schema(), "stream_meta"), plan); }

  // From here on nobody commits to the tables in use, nor claims them, until they are swapped, release() is called,
  // this process dies, or nothing is heard of it for `time`. The offsets at which they stand.
  Result<std::vector<LaneOffset>> hold(std::chrono::seconds time);
  void release() { holding_.close(); }
  // False where the server has been found to have ended the hold.
  bool holds() const { return holding_.is_open(); }
  // After the shadow set was filled up to those offsets: swaps, or says why it could not. kRetry: nothing was done,
  // other transactions use the tables, the shadow set is behind, or the hold is over. Nobody waits for it longer than
  // some 1 s a call.
  Status swap(std::span<const Interval> intervals, UnixSeconds closed_until);

  // After the swap: whether a job runs that has not claimed the new tables. Until its next commit, which is refused, it
  // publishes and caches from what it holds in memory of the old ones.
  Result<bool> has_job_behind();
  // Notes that all that changed is published.
  Status note_told();
  // After note_told(): deletes the old tables (unless they are to be kept) and ends the rebuild.
  Status finish(bool keep);
  // kBuilding: deletes the shadow set.
  Status drop_rebuilt();
  // kKept: deletes the old tables.
  Status drop_old();

  const std::string& schema() const { return shadow_.options().database; }
  const std::string& database() const { return live_.options().database; }
  // The intervals whose old tables are there, after the swap.
  Result<std::vector<Interval>> old_intervals();
  // Those that are in use.
  Result<std::vector<Interval>> intervals_in_use();

 private:
  Result<std::set<std::string>> tables_of(std::string_view schema);
  Result<std::optional<RebuildMark>> mark_in(std::string_view meta);
  Status write_mark(std::string_view meta, std::string_view state);
  Status check_live();
  Status check_swapped_with(const RebuildMark& live_mark) const;
  Status check_ours(const std::optional<RebuildMark>& mark) const;
  Status take_turn(MySqlConnection& connection, int seconds);
  void end_turn();
  Result<std::vector<LaneOffset>> begin_hold(std::chrono::seconds time);
  Result<std::vector<LaneOffset>> hold_rows();
  Status check_not_behind();
  Result<bool> was_swapped();
  Status run(MySqlConnection& connection, std::string_view what);
  Status keep_interval(MySqlConnection& snapshot, Interval interval, bool is_in_use, UnixSeconds until);
  Status drop_tables(const std::vector<std::string>& names);
  Status drop_empty_schema();

  std::string group_;
  MySqlConnection live_;
  MySqlConnection shadow_;
  // Open for as long as the hold stands. Never opened again in the middle of it: that would be a session without it.
  MySqlConnection holding_;
  SqlText sql_;
};

}  // namespace klined
