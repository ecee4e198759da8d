#include "run.hpp"

#include <algorithm>
#include <memory>
#include <set>

#include "checks.hpp"
#include "mysql_client.hpp"
#include "process.hpp"

namespace klined::simulation {

namespace {

constexpr int kChaosSteps = 700;      // at most, of one process
constexpr int kQuietSteps = 200'000;  // by then all must be done
constexpr Milliseconds kFarFuture{std::chrono::hours(24 * 4)};

Config make_config(const Plan& plan) {
  Random random(mix(plan.world_seed) ^ 0x636F6E66ULL);
  Config config;
  config.group = "simulated";
  config.chains = {1, 56};
  config.intervals = {Interval::k1m, Interval::k15m, Interval::k1h};
  if (random.chance(25)) config.intervals = {Interval::k1m, Interval::k5m, Interval::k1d};
  config.mysql.database = "klined";
  config.mysql.flush_rows = random.between(3, 60);
  config.mysql.catch_up_flush_rows = config.mysql.flush_rows;
  config.input.topics = {"m-trades", "a-trades"};
  config.input.max_future = std::chrono::seconds(kMaxFuture);
  config.input.max_lateness = std::chrono::seconds(kMaxLateness);
  config.input.dedupe_window = std::chrono::seconds(kDedupeWindow);
  config.engine.lanes = plan.lanes;
  config.engine.memory_limit = static_cast<std::int64_t>(plan.memory_limit);
  return config;
}

class World {
 public:
  World(const Plan& plan, bool traces)
      : plan_(plan),
        trace_(traces),
        random_(mix(plan.world_seed) ^ 0x73636864ULL),
        faults_(plan, trace_),
        input_(make_input(plan)),
        config_(make_config(plan)),
        topics_(input_),
        database_(faults_, trace_, random_, config_.intervals),
        checks_(input_, config_.intervals) {
    set_server(&database_);
    clock_.advance(Milliseconds(1));
    if (!plan.troubles.mysql && !plan.troubles.kafka) faults_.end();
    while (plan.all_there && topics_.produce()) {
    }
    follow_producers();
  }

  Ending run() {
    for (int life = 0; life < plan_.crashes && !failed(); ++life) live_and_die();
    if (!failed()) end_well();
    processes_.clear();
    set_server(nullptr);
    return {problem_, trace_.text(), trace_.step(), faults_.fired(), faults_.calls(), lives_, database_.commits()};
  }

 private:
  bool failed() const { return !problem_.empty(); }
  void must(const std::string& problem) {
    if (failed() || problem.empty()) return;
    problem_ = problem;
    trace_.add("WRONG: {}", problem);
  }

  Process& newest() { return *processes_.back(); }
  // Nobody owns the rows, and nobody is about to.
  bool is_ownerless() {
    return processes_.empty() || (newest().is_active() && newest().claim_number() != world_.claims);
  }

  void start_process() {
    config_.engine.lanes = lanes_;
    processes_.push_back(std::make_unique<Process>(world_, config_, ++lives_));
  }

  // The process is gone at once, with all that it had in memory.
  void kill(std::size_t index, std::string_view how) {
    trace_.add("process {} {}", processes_[index]->number(), how);
    for (Publication& late : processes_[index]->abandon()) wire_.push_back(std::move(late));
    processes_.erase(processes_.begin() + static_cast<std::ptrdiff_t>(index));
    must(checks_.tables(database_));
  }

  void live_and_die();
  bool stop_newest(int steps);
  void step();
  void step_of(Process& process);
  void look_at_failures();
  void accept_failure(const Process& process);
  int stored_lanes() const;
  void trim();
  void restore_logs();
  void follow_producers();
  void end_well();
  void close_everything();

  const Plan& plan_;
  Trace trace_;
  Random random_;
  Faults faults_;
  Input input_;
  Config config_;
  Topics topics_;
  ManualClock clock_{kStart * 1000};
  Database database_;
  Readers readers_;
  Checks checks_;
  Surroundings world_{trace_, random_, faults_, clock_, topics_, database_, readers_};
  std::vector<std::unique_ptr<Process>> processes_;  // the last one has claimed last, or is about to
  std::vector<Publication> wire_;                    // of dead processes, not yet arrived
  bool trimmed_too_far_ = false;
  std::vector<std::int64_t> lows_;    // of the logs, before one was trimmed too far
  std::set<int> failed_by_trimming_;  // processes that nobody has looked at yet
  bool stopped_cleanly_ = false;      // the last owner of all has, and nobody has claimed since
  int lanes_ = plan_.lanes;
  int lives_ = 0;
  std::string problem_;
};

// The wall clock never stands before the last record's timestamp.
void World::follow_producers() {
  const std::int64_t behind = topics_.last_timestamp_ms() - clock_.wall_ms();
  if (behind > 0) clock_.advance(Milliseconds(behind + random_.below(2000)));
}

// ---- A step --------------------------------------------------------------------------------------------------------

void World::step() {
  trace_.set_step(trace_.step() + 1);
  const int what = random_.below(64);
  if (what == 0) {
    database_.settle_one();
  } else if (what == 1 && !wire_.empty()) {
    std::swap(random_.pick(wire_), wire_.back());
    readers_.arrive(wire_.back());
    wire_.pop_back();
  } else if (what == 2) {
    if (plan_.troubles.trim && random_.chance(10)) trim();
  } else if (what < 7) {
    if (topics_.produce()) follow_producers();
  } else if (!processes_.empty()) {
    step_of(*random_.pick(processes_));
  }
  look_at_failures();
}

void World::step_of(Process& process) {
  if (!process.is_active()) {
    process.start_step();
    if (process.is_active()) stopped_cleanly_ = false;
    return;
  }
  const int what = random_.below(20);
  if (what < 3) {
    process.read();
  } else if (what < 9) {
    process.turn();
  } else if (what < 13) {
    process.io();
  } else if (what < 16) {
    process.settle();
  } else {
    clock_.advance(Milliseconds(random_.chance(5) ? 1500 : random_.between(5, 150)));
    process.tick();
  }
}

// A fenced or broken process goes on for a while, as threads do, until somebody looks.
void World::look_at_failures() {
  for (std::size_t i = 0; i < processes_.size(); ++i) {
    if (!processes_[i]->error() || !random_.chance(20)) continue;
    accept_failure(*processes_[i]);
    kill(i, "ends by its failure");
    return;
  }
}

// Is this a reason to end, here?
void World::accept_failure(const Process& process) {
  const Error& error = *process.error();
  const bool is_newest = process.claim_number() == world_.claims;
  if (error.kind == ErrorKind::kFenced) {
    if (is_newest) must("a process was fenced, and nobody else has claimed: " + error.message);
    return;
  }
  const auto says = [&error](std::string_view text) { return error.message.find(text) != std::string::npos; };
  if (says("error 1062")) return;  // a fault that klined takes for lasting; the next process goes on
  if (says("engine.lanes is")) {
    if (stopped_cleanly_) must("another number of lanes was refused after a graceful stop: " + error.message);
    lanes_ = stored_lanes();
    return;
  }
  if (says("were deleted unread") || says("the dedupe window begins at") || says("was trimmed")) {
    if (trimmed_too_far_) return restore_logs();
    if (!is_newest || failed_by_trimming_.contains(process.number())) return;
  }
  must("a process failed: " + error.message);
}

int World::stored_lanes() const {
  int lanes = 1;
  for (const auto& [key, row] : database_.table("stream_offset").rows) lanes = std::max(lanes, std::stoi(row[3]) + 1);
  return lanes;
}

// ---- The log's beginning -------------------------------------------------------------------------------------------

// Deletes messages that are no longer needed; sometimes, some that are.
void World::trim() {
  const std::vector<std::size_t> existing = topics_.existing();
  const std::size_t log = existing[static_cast<std::size_t>(random_.below(static_cast<int>(existing.size())))];
  const OffsetRange range = topics_.range(log);
  std::optional<std::int64_t> needed;
  for (const auto& [key, row] : database_.table("stream_offset").rows) {
    if (row[1] != topics_.log(log).topic || row[2] != std::to_string(topics_.log(log).partition)) continue;
    needed = std::min(needed.value_or(std::stoll(row[6])), std::int64_t{std::stoll(row[6])});
  }
  if (!needed || trimmed_too_far_) return;
  trimmed_too_far_ = random_.chance(25) && *needed < range.high;
  if (trimmed_too_far_) {
    for (std::size_t i = 0; i < topics_.count(); ++i) lows_.push_back(topics_.range(i).low);
  }
  const std::int64_t low =
      trimmed_too_far_ ? *needed + 1 + random_.below(static_cast<int>(range.high - *needed)) : *needed;
  if (low <= range.low) return;
  topics_.trim(log, low);
  trace_.add("{} partition {} is trimmed to {}, needed is {}", topics_.log(log).topic, topics_.log(log).partition, low,
             *needed);
}

void World::restore_logs() {
  if (!trimmed_too_far_) return;
  for (const auto& process : processes_) {
    if (process->error()) failed_by_trimming_.insert(process->number());
  }
  for (std::size_t log = 0; log < lows_.size(); ++log) topics_.trim(log, lows_[log]);
  lows_.clear();
  trimmed_too_far_ = false;
  trace_.add("what was trimmed too far is restored");
}

// ---- Lives ---------------------------------------------------------------------------------------------------------

void World::live_and_die() {
  if (is_ownerless()) {
    // Somebody changes the number of lanes without stopping gracefully first.
    if (plan_.troubles.stop && random_.chance(10)) lanes_ = random_.between(1, 4);
    start_process();
  }
  for (int n = random_.between(20, kChaosSteps); n > 0 && !failed() && !processes_.empty(); --n) step();
  if (failed() || processes_.empty()) return;
  const int how = random_.below(10);
  if (plan_.troubles.stop && how < 3) {
    if (stop_newest(2000) && random_.chance(50)) lanes_ = random_.between(1, 4);
  } else if (plan_.troubles.zombie && how < 6) {
    if (processes_.size() == 3) kill(0, "is killed");
    trace_.add("process {} is taken for dead, and goes on", newest().number());
    start_process();
  } else if (plan_.troubles.crash) {
    kill(processes_.size() - 1, "is killed");
  }
}

// Asks the newest process to end. True where it has, with all that it had read.
bool World::stop_newest(int steps) {
  Process* const process = &newest();
  const int number = process->number();
  const auto lives = [this, number] { return !processes_.empty() && newest().number() == number; };
  trace_.add("process {} is asked to stop", number);
  process->begin_stop();
  while (steps-- > 0 && !failed() && lives() && !process->is_stopped()) step();
  if (failed() || !lives()) return false;
  const bool stopped = !process->error() && process->is_stopped();
  if (stopped) {
    must(checks_.ledger(*process));
  }
  // Where another process has claimed the rows since, it is theirs to bring the lanes to one offset.
  const bool levelled = stopped && process->has_read_what_is_stored() && process->owns_rows(database_);
  if (levelled) must(checks_.offsets(database_, false));
  kill(processes_.size() - 1, stopped ? "has stopped" : "did not stop in time, and is killed");
  stopped_cleanly_ = levelled;
  return stopped;
}

// The last process. Faults end, and everything must become right.
void World::end_well() {
  if (is_ownerless()) start_process();
  for (int n = random_.below(kChaosSteps); n > 0 && !failed(); --n) step();
  faults_.end();
  restore_logs();
  while (topics_.produce()) {
  }
  follow_producers();
  // Partitions that have joined are noticed, and all are claimed anew; also by who was taken for dead, and claimed
  // last.
  while (!failed() && !is_ownerless() && newest().partition_count() != topics_.count()) stop_newest(kQuietSteps);
  const auto is_done = [this] { return !is_ownerless() && newest().is_idle(); };
  for (int n = 0; n < kQuietSteps && !failed() && !is_done(); ++n) {
    if (is_ownerless()) start_process();
    step();
  }
  if (!failed() && !is_done()) must("the last process does not come to rest");
  // Those that were taken for dead wake up once more.
  for (int n = 0; n < 100 && processes_.size() > 1 && !failed(); ++n) step();
  while (processes_.size() > 1) kill(0, "is killed at last");
  if (!failed()) close_everything();
}

// The wall clock passes the end of everything: all is closed, published and forgotten.
void World::close_everything() {
  for (const Publication& late : wire_) readers_.arrive(late);
  wire_.clear();
  clock_.advance(kFarFuture);
  const auto is_empty = [this] {
    return newest().is_idle() && newest().candles_in_memory() == 0 && newest().pairs_in_memory() == 0;
  };
  int n = 0;
  for (; n < kQuietSteps / 10 && !failed() && !processes_.empty() && (n < 300 || !is_empty()); ++n) step();
  if (failed() || processes_.empty()) return must("the last process ends by itself");
  if (!is_empty()) {
    must(fmt::format("after everything was closed, {} candles of {} pairs are still in memory",
                     newest().candles_in_memory(), newest().pairs_in_memory()));
  }
  if (!failed() && !stop_newest(kQuietSteps)) must("the last process does not stop");
  must(checks_.offsets(database_, true));
  must(checks_.readers(readers_));
}

}  // namespace

Ending run(const Plan& plan, bool traces) { return World(plan, traces).run(); }

}  // namespace klined::simulation
