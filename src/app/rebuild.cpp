// `klined rebuild`: the candles once more from the input, beside the job that serves them, and then in their place.
#include "klined/app/rebuild.hpp"

#include <algorithm>
#include <iostream>
#include <limits>
#include <thread>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "klined/app/candle_table.hpp"
#include "klined/app/commands.hpp"
#include "klined/store/claim_transaction.hpp"
#include "klined/stream/config_values.hpp"
#include "klined/stream/connections.hpp"

namespace klined::app {

namespace {

constexpr Milliseconds kShowOnTerminal{200};
constexpr Milliseconds kShowInLog{10'000};
// For how long the job is held up at most, should this process hang in the middle, or its host vanish.
constexpr std::chrono::seconds kHold{60};
constexpr Milliseconds kCatchUp{20'000};
constexpr Milliseconds kRenameFor{5'000};
constexpr Milliseconds kRenamePause{500};
constexpr Milliseconds kAfterRefusal{5'000};
// A job commits every 30 s, also without input.
constexpr Milliseconds kClaimWait{40'000};
constexpr Milliseconds kClaimPause{200};

}  // namespace

Rebuild::Rebuild(const Config& config, const RebuildArguments& arguments, const std::atomic<bool>& stopping)
    : config_(config),
      arguments_(arguments),
      stopping_(stopping),
      tables_(mysql_options(config), arguments.schema.empty() ? config.mysql.database + "_rebuild" : arguments.schema,
              config.group) {}

Status Rebuild::run() {
  const auto found = tables_.look();
  if (!found) return std::unexpected(found.error());
  switch (found->stage) {
    case ShadowStage::kForeign:
      return fatal(fmt::format("mysql: database {} holds tables that are no rebuild's: name another one with --schema",
                               tables_.schema()));
    case ShadowStage::kSwapped:
    case ShadowStage::kTold:
      spdlog::info("rebuild: an earlier one has swapped the tables and was not done after that: ending it");
      return finish(found->stage);
    case ShadowStage::kKept:
      if (!arguments_.restart) {
        return fatal(
            fmt::format("mysql: database {} still holds the tables of before an earlier rebuild: delete them, "
                        "or have them deleted by --restart",
                        tables_.schema()));
      }
      break;
    case ShadowStage::kBuilding:
    case ShadowStage::kNone: break;
  }
  if (Status begun = begin_or_go_on(*found); !begun) return begun;
  if (arguments_.dry_run) return compare();
  if (plan_.older == RebuildPlan::Older::kKeep && plan_.lost_until && !plan_.has_kept) {
    if (Status kept = keep_older(); !kept) return kept;
  }
  if (Status swapped = fill_and_swap(); !swapped) return swapped;
  return finish(ShadowStage::kSwapped);
}

// ---- Beginning -----------------------------------------------------------------------------------------------------

Status Rebuild::begin_or_go_on(const ShadowTables::Found& found) {
  if (found.stage == ShadowStage::kBuilding && !arguments_.restart) return go_on(found);
  if (found.stage != ShadowStage::kNone) {
    spdlog::info("rebuild: deleting what an earlier one left in database {}", tables_.schema());
    const Status dropped = found.stage == ShadowStage::kKept ? tables_.drop_old() : tables_.drop_rebuilt();
    if (!dropped) return dropped;
  }
  return begin();
}

Status Rebuild::begin() {
  Result<RebuildPlan> plan = make_plan();
  if (!plan) return std::unexpected(plan.error());
  plan_ = std::move(*plan);
  spdlog::info("rebuild: begins: from={} tables={} settings=\"{}\"", plan_.from, tables_.schema(),
               settings_text(config_));
  return tables_.begin(plan_text(plan_), config_.intervals);
}

Status Rebuild::go_on(const ShadowTables::Found& found) {
  constexpr std::string_view kRemedy = "go on with those, or begin anew with --restart";
  const std::optional<RebuildPlan> plan = parse_plan(found.plan);
  if (!plan)
    return fatal(
        fmt::format("the rebuild in database {} was begun by another klined: --restart begins anew", tables_.schema()));
  if (!found.settings.empty()) {
    if (const auto difference = find_difference(found.settings, settings_text(config_))) {
      return fatal(fmt::format("the rebuild in database {} was begun with {} = {}, and {} is {} in this config: {}",
                               tables_.schema(), difference->name, difference->stored, difference->name,
                               difference->wanted, kRemedy));
    }
  }
  if (!arguments_.from.empty() && arguments_.from != plan->from) {
    return fatal(
        fmt::format("the rebuild in database {} was begun with --from {}: {}", tables_.schema(), plan->from, kRemedy));
  }
  plan_ = *plan;
  if (arguments_.keep_older) plan_.older = RebuildPlan::Older::kKeep;
  if (arguments_.drop_older) plan_.older = RebuildPlan::Older::kDrop;
  if (plan->has_kept && plan_.older != RebuildPlan::Older::kKeep) {
    return fatal(fmt::format("the rebuild in database {} has kept the older candles: {}", tables_.schema(), kRemedy));
  }
  if (!arguments_.dry_run) {
    plan_.is_dry = false;
    if (Status checked = check_older(plan_); !checked) return checked;
  }
  if (Status checked = check_put_backs(); !checked) return checked;
  spdlog::info("rebuild: goes on with what is in database {}: from={} settings=\"{}\"", tables_.schema(), plan_.from,
               found.settings);
  return tables_.begin(plan_text(plan_), config_.intervals);
}

// Publishes and caches nothing: the job that serves does.
Config Rebuild::shadow_config() const {
  Config config = config_;
  config.mysql.database = tables_.schema();
  config.env = "local";
  config.redis.reset();
  config.engine.lanes = plan_.lanes;
  config.input.start = plan_.at ? StartAt{StartAt::Kind::kTime, *plan_.at * 1000} : StartAt{};
  return config;
}

std::unique_ptr<ShadowRun> Rebuild::start(std::optional<Job::Ends> ends) {
  shown_at_ = clock_.now();
  return std::make_unique<ShadowRun>(shadow_config(), std::move(ends), stopping_,
                                     [this](const ShadowRun::Progress& progress) { show(progress); });
}

void Rebuild::show(const ShadowRun::Progress& progress) {
  const bool on_terminal = isatty(STDERR_FILENO) != 0;
  if (clock_.now() - shown_at_ < (on_terminal ? kShowOnTerminal : kShowInLog)) return;
  shown_at_ = clock_.now();
  const std::int64_t percent =
      progress.to_read == 0 ? 100 : std::clamp<std::int64_t>(progress.read * 100 / progress.to_read, 0, 100);
  const std::int64_t left = progress.to_read - progress.read;
  const std::string rest = progress.per_second > 0 ? print_duration(std::chrono::seconds(static_cast<std::int64_t>(
                                                         static_cast<double>(left) / progress.per_second)))
                                                   : "?";
  if (!on_terminal) {
    spdlog::info("rebuild: {} % read={} left={} messages, {:.0f} a second, about {} to go", percent, progress.read,
                 left, progress.per_second, rest);
    return;
  }
  std::cerr << fmt::format("\rrebuild [{:<25}] {:>3} %  {} messages left  {:.0f} a second  {} to go    ",
                           std::string(static_cast<std::size_t>(percent / 4), '#'), percent, print_count(left),
                           progress.per_second, rest)
            << std::flush;
  line_is_open_ = true;
}

void Rebuild::end_line() {
  if (std::exchange(line_is_open_, false)) std::cerr << '\n';
}

// ---- At one place --------------------------------------------------------------------------------------------------

Result<Job::Ends> Rebuild::ends_of(const std::vector<LaneOffset>& offsets) const {
  Job::Ends ends;
  for (const LaneOffset& row : offsets) ends[{row.topic, row.partition}].push_back(row.next_offset);
  for (const auto& [partition, of_lanes] : ends) {
    if (of_lanes.size() == static_cast<std::size_t>(plan_.lanes)) continue;
    return fatal(fmt::format("engine.lanes was {} when the rebuild began, and is {} now: begin anew with --restart",
                             plan_.lanes, of_lanes.size()));
  }
  return ends;
}

Status Rebuild::meet(MySqlConnection& snapshot) {
  // First the long way to about now, then the rest: the server keeps a snapshot's old rows while it is open.
  for (int round = 0; round < 2; ++round) {
    const Result<std::vector<LaneOffset>> offsets = tables_.open_snapshot(snapshot);
    if (!offsets) return std::unexpected(offsets.error());
    Result<Job::Ends> ends = ends_of(*offsets);
    if (!ends) return std::unexpected(ends.error());
    if (round == 0) snapshot.close();
    const std::unique_ptr<ShadowRun> run = start(*ends);
    if (Status ended = run->wait_for_end(); !ended) return ended;
    if (Status met = check_met(*ends); !met) return met;
    if (Status checked = check_put_backs(); !checked) return checked;
  }
  end_line();
  return {};
}

// A rebuild that was broken off may have read further than the job has.
Status Rebuild::check_met(const Job::Ends& ends) const {
  CandleReader reader(mysql_options(shadow_config()));
  const Result<std::vector<StoredLaneOffset>> rows = reader.offsets(config_.group);
  if (!rows) return std::unexpected(rows.error());
  for (const auto& [row, owner, updated_at] : *rows) {
    const auto end = ends.find({row.topic, row.partition});
    if (end == ends.end() || row.next_offset <= end->second.at(static_cast<std::size_t>(row.lane))) continue;
    return retry(
        fmt::format("the rebuild has read {} partition {} up to offset {}, further than the job, which stands "
                    "at {}: let the job catch up first, or begin anew with --restart",
                    row.topic, row.partition, row.next_offset, end->second.at(static_cast<std::size_t>(row.lane))));
  }
  return {};
}

Status Rebuild::keep_older() {
  MySqlOptions options = mysql_options(config_);
  options.idle_timeout = std::chrono::hours(1);
  MySqlConnection snapshot(options);
  if (Status met = meet(snapshot); !met) return met;
  spdlog::info("rebuild: keeping the candles that begin up to {} UTC as they are",
               print_utc(std::max<UnixSeconds>(0, *plan_.lost_until)));
  if (Status kept = tables_.keep_older(snapshot, config_.intervals, *plan_.lost_until); !kept) return kept;
  plan_.has_kept = true;
  return tables_.write_plan(plan_text(plan_));
}

// ---- The swap ------------------------------------------------------------------------------------------------------

Status Rebuild::fill_and_swap() {
  const Instant began = clock_.now();
  while (true) {
    const std::unique_ptr<ShadowRun> run = start(std::nullopt);
    if (Status close = run->wait_until_close(); !close) return close;
    end_line();
    const Result<bool> swapped = try_to_swap(*run);
    if (!swapped) return std::unexpected(swapped.error());
    if (*swapped) return {};
    if (clock_.now() - began > arguments_.swap_timeout) {
      return retry(
          fmt::format("the tables could not be swapped: other transactions on database {} do not end (a dump, "
                      "a long SELECT, an open session?). Nothing was changed; run it again when they have",
                      tables_.database()));
    }
    for (const Instant until = clock_.now() + kAfterRefusal; clock_.now() < until && !stopping_;) {
      std::this_thread::sleep_for(kRenamePause);
    }
    if (stopping_) return retry("stopped");
  }
}

Result<bool> Rebuild::try_to_swap(ShadowRun& run) {
  const Instant began = clock_.now();
  const auto since = [this, began] { return std::chrono::duration_cast<Milliseconds>(clock_.now() - began).count(); };
  // Rows may not go back for readers: nobody writes the old ones while these catch up with them.
  const Result<std::vector<LaneOffset>> held = tables_.hold(kHold);
  if (!held) return std::unexpected(held.error());
  spdlog::info("rebuild: close to the input: the job is held up from here on, until the tables are swapped");
  UnixSeconds closed_until = std::numeric_limits<UnixSeconds>::max();
  for (const LaneOffset& row : *held) {
    if (row.max_block_time >= 0) closed_until = std::min(closed_until, row.closed_until);
  }
  Status filled = run.wait_until_read(*held, kCatchUp);
  if (filled) filled = run.stop();
  // From the hold on nobody puts letters back (PutBackPermit).
  if (filled) filled = check_put_backs();
  Result<bool> swapped = filled ? rename(closed_until) : std::unexpected(filled.error());
  if (swapped && *swapped) {
    spdlog::info("rebuild: the tables are swapped: the job was held up for {} ms", since());
    return true;
  }
  tables_.release();
  if (!swapped && (swapped.error().kind == ErrorKind::kFatal || stopping_)) return swapped;
  spdlog::warn("rebuild: not swapped this time, the job goes on after {} ms: {}", since(),
               swapped ? "other transactions use the tables" : swapped.error().message);
  return false;
}

Result<bool> Rebuild::rename(UnixSeconds closed_until) {
  const Instant until = clock_.now() + kRenameFor;
  while (true) {
    const Status done = tables_.swap(config_.intervals, closed_until);
    if (done) return true;
    if (done.error().kind == ErrorKind::kFatal) return std::unexpected(done.error());
    if (!tables_.holds()) {
      return retry(fmt::format("the server has ended the hold, the job may have gone on: {}", done.error().message));
    }
    spdlog::info("rebuild: not swapped yet: {}", done.error().message);
    if (clock_.now() > until || stopping_) return false;
    std::this_thread::sleep_for(kRenamePause);
  }
}

Status Rebuild::announce() {
  using Which = Announcement::Which;
  const Which which = arguments_.publish == "all"    ? Which::kAll
                      : arguments_.publish == "none" ? Which::kNone
                                                     : Which::kChanged;
  const Result<bool> was_behind = tables_.has_job_behind();
  if (!was_behind) return std::unexpected(was_behind.error());
  const Result<Announcement::Counts> told = Announcement(config_, tables_, which, stopping_).run();
  if (!told) return std::unexpected(told.error());
  spdlog::info("rebuild: candles that changed or are new: {}, published: {}", told->compared, told->published);
  if (told->fewer == 0) return {};
  spdlog::warn(
      "rebuild: {} candles have fewer trades than before: readers of the topics, who keep the largest "
      "revision, keep the old ones; have them start over, or give the config another env",
      told->fewer);
  if (!config_.redis || !*was_behind) return {};
  // What the job has cached meanwhile may be of the old ones, and more trades than they have now.
  if (Status claimed = await_claim(); !claimed) return claimed;
  const Result<Announcement::Counts> again = Announcement(config_, tables_, Which::kNone, stopping_).run();
  if (!again) return std::unexpected(again.error());
  return {};
}

Status Rebuild::await_claim() {
  const Instant until = clock_.now() + kClaimWait;
  for (bool is_said = false; clock_.now() < until; std::this_thread::sleep_for(kClaimPause)) {
    const Result<bool> is_behind = tables_.has_job_behind();
    if (!is_behind) return std::unexpected(is_behind.error());
    if (!*is_behind) return {};
    if (stopping_) return retry("stopped");
    if (!std::exchange(is_said, true)) spdlog::info("rebuild: waiting until the job goes on from the new tables");
  }
  spdlog::warn(
      "rebuild: a job holds the lock of group {}, and has not gone on from the new tables: if Redis then has candles "
      "with more trades than the tables, run `klined verify --redis --repair`",
      config_.group);
  return {};
}

Status Rebuild::finish(ShadowStage stage) {
  if (stage == ShadowStage::kSwapped) {
    if (Status told = announce(); !told) {
      return retry(fmt::format("the tables are swapped, but not all that changed is published: {}; run it again",
                               told.error().message));
    }
    if (Status noted = tables_.note_told(); !noted) return noted;
  }
  if (Status finished = tables_.finish(arguments_.keep_old); !finished) return finished;
  spdlog::info("rebuild: done{}",
               arguments_.keep_old ? fmt::format("; the old tables are {}.before_…", tables_.schema()) : std::string());
  return {};
}

}  // namespace klined::app
