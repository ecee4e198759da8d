// One `klined rebuild`, from whatever an earlier one left to tables that are swapped and told of.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "klined/app/rebuild_plan.hpp"
#include "klined/base/clock.hpp"
#include "klined/source/kafka_source.hpp"
#include "klined/store/shadow_tables.hpp"
#include "klined/stream/announcement.hpp"
#include "klined/stream/config.hpp"
#include "klined/stream/shadow_run.hpp"

namespace klined::app {

struct RebuildArguments {
  std::string config;
  std::string from;  // "": earliest, or as the rebuild that is gone on with
  std::string schema;
  bool dry_run = false;
  bool keep_older = false, drop_older = false;
  bool keep_old = false;
  bool restart = false;
  std::string publish = "changed";
  std::chrono::seconds swap_timeout{600};
  std::size_t limit = 100;
};

// Steps, each of which may be the last one before a kill: what is done is told by the tables alone (ShadowStage).
class Rebuild {
 public:
  Rebuild(const Config& config, const RebuildArguments& arguments, const std::atomic<bool>& stopping);

  // kRetry: run it again, it goes on where it was.
  Status run();
  // After run() of a --dry-run: how many rows differ.
  std::int64_t differences() const { return differences_; }

 private:
  Status begin_or_go_on(const ShadowTables::Found& found);
  Status go_on(const ShadowTables::Found& found);
  Status begin();
  Result<RebuildPlan> make_plan();
  Status find_what_is_lost(RebuildPlan& plan, const std::vector<LaneOffset>& offsets);
  Status check_older(const RebuildPlan& plan) const;
  Result<std::int64_t> count_notes() const;
  Status check_put_backs() const;
  Config shadow_config() const;

  // Fills the shadow set to exactly the offsets of a snapshot of the tables in use.
  Status meet(MySqlConnection& snapshot);
  Result<Job::Ends> ends_of(const std::vector<LaneOffset>& offsets) const;
  Status check_met(const Job::Ends& ends) const;
  Status keep_older();
  Status compare();
  Status compare_interval(MySqlConnection& snapshot, MySqlConnection& shadow, Interval interval);

  Status fill_and_swap();
  // True where it is swapped; false where the tables were in use for too long this time.
  Result<bool> try_to_swap(ShadowRun& run);
  Result<bool> rename(UnixSeconds closed_until);
  Status announce();
  Status await_claim();
  Status finish(ShadowStage stage);

  std::unique_ptr<ShadowRun> start(std::optional<Job::Ends> ends);
  void show(const ShadowRun::Progress& progress);
  void end_line();
  std::optional<UnixSeconds> time_of(const std::string& from, Status& status) const;

  const Config& config_;
  const RebuildArguments& arguments_;
  const std::atomic<bool>& stopping_;
  SystemClock clock_;
  ShadowTables tables_;
  RebuildPlan plan_;
  std::int64_t differences_ = 0;
  std::size_t shown_rows_ = 0;
  Instant shown_at_{};
  bool line_is_open_ = false;
};

}  // namespace klined::app
