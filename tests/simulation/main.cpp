// klined_simulation: runs worlds by seed, and replays one exactly.
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <csignal>
#include <fstream>
#include <functional>
#include <new>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "run.hpp"

namespace klined::simulation {

namespace {

struct Options {
  std::optional<std::uint64_t> seed;
  std::uint64_t start_seed = 1;
  std::int64_t runs = 1;
  int jobs = 1;
  std::string faults = "all";
  std::string seeds_file;
  std::optional<int> messages, crashes, lanes, partitions, fault_percent, faults_max;
  bool trace = false;
  bool no_shrink = false;
};

// For the signal's handler: what to replay.
std::uint64_t running_seed = 0;

Plan plan_of(const Options& options, std::uint64_t seed) {
  Plan plan = simulation::plan_of(seed);
  plan.troubles = *Troubles::parse(options.faults);
  if (options.messages) plan.messages = *options.messages;
  if (options.crashes) plan.crashes = *options.crashes;
  if (options.lanes) plan.lanes = *options.lanes;
  if (options.partitions) plan.partitions = *options.partitions;
  if (options.fault_percent) plan.fault_percent = *options.fault_percent;
  if (options.faults_max) plan.faults_max = *options.faults_max;
  return plan;
}

std::string command_of(const Options& options, const Plan& plan) {
  const Plan whole = plan_of(options, plan.seed);
  std::string command = fmt::format("klined_simulation --seed {}", plan.seed);
  if (options.faults != "all") command += " --faults " + options.faults;
  const auto add = [&command](bool differs, const char* name, int value) {
    if (differs) command += fmt::format(" --{} {}", name, value);
  };
  add(options.messages || plan.messages != whole.messages, "messages", plan.messages);
  add(options.crashes || plan.crashes != whole.crashes, "crashes", plan.crashes);
  add(options.lanes || plan.lanes != whole.lanes, "lanes", plan.lanes);
  add(options.partitions || plan.partitions != whole.partitions, "partitions", plan.partitions);
  add(options.fault_percent || plan.fault_percent != whole.fault_percent, "fault-percent", plan.fault_percent);
  add(options.faults_max || plan.faults_max != whole.faults_max, "faults-max", plan.faults_max);
  return command;
}

// Fewer messages, processes, faults, lanes, partitions, as long as something is still wrong.
Plan shrink(const Plan& failing) {
  Plan smallest = failing;
  int budget = 200;
  const auto lower = [&](int Plan::* member, int lowest) {
    for (int step = (smallest.*member - lowest + 1) / 2; step > 0 && budget > 0;) {
      Plan plan = smallest;
      plan.*member = std::max(lowest, plan.*member - step);
      --budget;
      if (plan.*member < smallest.*member && run(plan, false).failed()) {
        smallest = plan;
        step = std::min(step, smallest.*member - lowest);
      } else {
        step /= 2;
      }
    }
  };
  for (int round = 0; round < 2; ++round) {
    lower(&Plan::messages, 1);
    lower(&Plan::crashes, 0);
    smallest.faults_max = std::min(smallest.faults_max, run(smallest, false).faults);
    lower(&Plan::faults_max, 0);
    lower(&Plan::lanes, 1);
    lower(&Plan::partitions, 1);
  }
  return smallest;
}

// Says all about a failure that helps to find its cause.
void report(const Options& options, const Plan& failing) {
  const Ending result = run(failing, true);
  fmt::print("\nseed {} fails: {}\nreplay:  {}\n", failing.seed, result.problem, command_of(options, failing));
  Plan smallest = failing;
  if (!options.no_shrink) {
    smallest = shrink(failing);
    fmt::print("smaller: {}\n", command_of(options, smallest));
  }
  const Ending shown = run(smallest, true);
  fmt::print("what happened in the {} run:\n{}\n", options.no_shrink ? "failing" : "smaller", shown.trace);
  std::fflush(stdout);
}

void on_abort(int) {
  // Only what a signal's handler may do.
  char text[128];
  const auto end = fmt::format_to_n(text, sizeof(text), "\nseed {} aborts: klined_simulation --seed {} --trace\n",
                                    running_seed, running_seed);
  [[maybe_unused]] const auto written = write(STDERR_FILENO, text, std::min(end.size, sizeof(text)));
}

struct Totals {
  std::int64_t runs = 0, steps = 0, faults = 0, lives = 0, commits = 0;
  void add(const Ending& result) {
    ++runs;
    steps += result.steps;
    faults += result.faults;
    lives += result.lives;
    commits += result.commits;
  }
};

bool run_one(const Options& options, std::uint64_t seed, Totals& totals) {
  running_seed = seed;
  const Plan plan = plan_of(options, seed);
  const Ending result = run(plan, options.trace);
  totals.add(result);
  if (options.trace) fmt::print("{}", result.trace);
  if (result.failed()) report(options, plan);
  return !result.failed();
}

std::vector<std::uint64_t> read_seeds(const std::string& file) {
  std::vector<std::uint64_t> seeds;
  std::ifstream in(file);
  if (!in) throw std::runtime_error("cannot read " + file);
  for (std::string line; std::getline(in, line);) {
    if (!line.empty() && line[0] != '#') seeds.push_back(std::stoull(line));
  }
  return seeds;
}

// What the processes of --jobs tell one another.
struct Shared {
  std::atomic<std::int64_t> runs, steps, faults, lives, commits;
  std::atomic<bool> failed;
};
static_assert(std::atomic<std::int64_t>::is_always_lock_free);

// The runs of one process: every `jobs`-th seed.
int work(const Options& options, int job, Shared& shared) {
  const std::uint64_t end = options.start_seed + static_cast<std::uint64_t>(options.runs);
  for (std::uint64_t seed = options.start_seed + static_cast<std::uint64_t>(job); seed < end;
       seed += static_cast<std::uint64_t>(options.jobs)) {
    if (shared.failed) return 0;
    Totals totals;
    const bool good = run_one(options, seed, totals);
    shared.runs += totals.runs;
    shared.steps += totals.steps;
    shared.faults += totals.faults;
    shared.lives += totals.lives;
    shared.commits += totals.commits;
    if (good) continue;
    shared.failed = true;
    return 1;
  }
  return 0;
}

// Waits for the processes, and shows how far they are.
bool wait_for(int jobs, const Options& options, const Shared& shared, const std::function<double()>& seconds) {
  const bool terminal = isatty(STDOUT_FILENO) != 0;
  bool good = true;
  while (jobs > 0) {
    int status = 0;
    if (waitpid(-1, &status, WNOHANG) > 0) {
      --jobs;
      good = good && WIFEXITED(status) && WEXITSTATUS(status) == 0;
      continue;
    }
    usleep(50'000);
    if (!terminal || shared.failed) continue;
    fmt::print("\r\033[K{} of {} runs, {:.0f} a second", shared.runs.load(), options.runs,
               static_cast<double>(shared.runs.load()) / seconds());
    std::fflush(stdout);
  }
  if (terminal) fmt::print("\r\033[K");
  return good;
}

int main_of(const Options& options) {
  const auto begin = std::chrono::steady_clock::now();
  const auto seconds = [begin] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  Totals totals;
  if (!options.seeds_file.empty()) {
    for (const std::uint64_t seed : read_seeds(options.seeds_file)) {
      if (!run_one(options, seed, totals)) return 1;
    }
  }
  if (options.seed) {
    if (!run_one(options, *options.seed, totals)) return 1;
    fmt::print("seed {}: all right ({} steps, {} processes, {} faults, {} commits)\n", *options.seed, totals.steps,
               totals.lives, totals.faults, totals.commits);
    return 0;
  }
  void* const memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::runtime_error("no memory to share");
  Shared& shared = *new (memory) Shared();
  for (int job = 0; job < options.jobs; ++job) {
    std::fflush(stdout);
    const pid_t child = fork();
    if (child < 0) throw std::runtime_error("cannot start another process");
    if (child > 0) continue;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    const int status = work(options, job, shared);
    std::fflush(stdout);
    _exit(status);
  }
  const bool good = wait_for(options.jobs, options, shared, seconds);
  fmt::print("{} runs from seed {}: {} ({} steps, {} processes, {} faults, {} commits; {:.0f} s, {:.0f} runs/s)\n",
             shared.runs.load(), options.start_seed, good ? "all right" : "FAILED", shared.steps.load(),
             shared.lives.load(), shared.faults.load(), shared.commits.load(), seconds(),
             static_cast<double>(shared.runs.load()) / seconds());
  return good ? 0 : 1;
}

}  // namespace

}  // namespace klined::simulation

int main(int argc, char** argv) {
  using namespace klined::simulation;
  Options options;
  CLI::App app("Simulates klined: its own code under a manual clock, in one thread, with every fault there is");
  app.add_option("--seed", options.seed, "one run, and all that happened in it where it fails");
  app.add_option("--runs", options.runs, "how many runs, of one seed after the other");
  app.add_option("--start-seed", options.start_seed, "the first run's seed");
  app.add_option("--jobs", options.jobs, "so many processes share the runs")->check(CLI::Range(1, 256));
  app.add_option("--seeds", options.seeds_file, "a file of seeds to run before, one a line");
  app.add_option("--faults", options.faults,
                 "which there may be: all, none, or of mysql,kafka,crash,zombie,stop,trim,partitions");
  app.add_option("--messages", options.messages, "so many messages of the input");
  app.add_option("--crashes", options.crashes, "so many processes before the last one");
  app.add_option("--lanes", options.lanes);
  app.add_option("--partitions", options.partitions);
  app.add_option("--fault-percent", options.fault_percent, "so many of a hundred calls fail");
  app.add_option("--faults-max", options.faults_max, "the first so many faults only");
  app.add_flag("--trace", options.trace, "print what happens");
  app.add_flag("--no-shrink", options.no_shrink, "show the failing run as it is");
  CLI11_PARSE(app, argc, argv);
  if (!Troubles::parse(options.faults)) {
    fmt::print(stderr, "--faults: there is no such fault; see --help\n");
    return 2;
  }
  spdlog::set_level(spdlog::level::off);
  std::signal(SIGABRT, on_abort);
  std::signal(SIGSEGV, [](int) { std::abort(); });
  return main_of(options);
}
