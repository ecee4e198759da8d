// `klined run`: the job.
#include <csignal>
#include <cstdlib>
#include <thread>

#include <pthread.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "klined/app/commands.hpp"
#include "klined/stream/job.hpp"

namespace klined::app {

namespace {

// Process groups and supervisors send a signal twice within milliseconds: that is one wish to stop, not two.
constexpr Milliseconds kOneWish{300};
// What ending may take beyond engine.shutdown_timeout, before it is ended by force: a server that does not answer at
// all.
constexpr Milliseconds kForceAfter{3000};

// Takes SIGTERM and SIGINT away from all threads that start after it, and gives them to one that waits for them. The
// first asks the job to stop, the second ends the process at once, and so does the end of the time that stopping may
// take: nothing is lost by that, the next start reads again what was not committed.
class StopSignals {
 public:
  StopSignals() {
    sigemptyset(&signals_);
    for (const int signal : {SIGTERM, SIGINT, SIGUSR2}) sigaddset(&signals_, signal);
    pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
  }
  ~StopSignals() {
    if (!thread_.joinable()) return;
    pthread_kill(thread_.native_handle(), SIGUSR2);  // "no more"
    thread_.join();
  }
  void pass_to(Job& job, Milliseconds shutdown_timeout) {
    thread_ = std::thread([this, &job, shutdown_timeout] {
      const int first = wait(std::nullopt);
      if (first == SIGUSR2) return;
      spdlog::info("{}: stopping (a second signal ends at once)", first == SIGTERM ? "SIGTERM" : "SIGINT");
      const Instant asked = clock_.now();
      const Instant limit = asked + shutdown_timeout + kForceAfter;
      job.stop();
      while (true) {
        const int signal = wait(limit);
        if (signal == SIGUSR2) return;
        if (signal < 0) {
          spdlog::error(
              "something does not answer at all, and keeps it from stopping within engine.shutdown_timeout ({} ms): "
              "ending at once; what was not committed is read again at the next start",
              shutdown_timeout.count());
          ::_exit(kFailed);
        }
        if (clock_.now() - asked < kOneWish) continue;
        spdlog::warn("second signal: ending at once; what was not committed is read again at the next start");
        ::_exit(128 + signal);
      }
    });
  }

 private:
  // The next signal; -1 where none came in time.
  int wait(std::optional<Instant> until) {
    while (true) {
      if (!until) {
        int signal = 0;
        if (sigwait(&signals_, &signal) == 0) return signal;
        continue;
      }
      const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(*until - clock_.now()).count();
      if (left <= 0) return -1;
      const timespec time{static_cast<time_t>(left / 1'000'000'000), static_cast<long>(left % 1'000'000'000)};
      const int signal = sigtimedwait(&signals_, nullptr, &time);
      if (signal > 0) return signal;
    }
  }

  SystemClock clock_;
  sigset_t signals_{};
  std::thread thread_;
};

int run_job(const std::string& path) {
  StopSignals signals;
  const std::optional<Config> config = load_config_or_complain(path);
  if (!config) return kUsage;
  for (const std::string& oddity : oddities_of(*config)) spdlog::warn("{}", oddity);
  spdlog::info("klined {} starts", version());
  Metrics metrics(version());
  if (!config->metrics.listen.empty()) {
    if (const Status status = metrics.expose(config->metrics.listen); !status) return fail(status.error());
    const std::string& address = config->metrics.listen;  // its port may be 0: any that is free
    spdlog::info("metrics at http://{}:{}/metrics", address.substr(0, address.rfind(':')), metrics.port());
  }
  const SystemClock clock;
  Job job(*config, clock, metrics);
  signals.pass_to(job, config->engine.shutdown_timeout);
  const Status status = job.run();
  return status ? kOk : fail(status.error());
}

}  // namespace

CLI::App* add_run(CLI::App& parent, int& exit_code) {
  CLI::App* command = parent.add_subcommand("run", "The job: trades from Kafka to candles in MySQL, Kafka and Redis.");
  auto path = std::make_shared<std::string>();
  add_config_option(*command, *path);
  set_manual(
      *command,
      "  klined run --config klined.yaml\n"
      "  KLINED_CONFIG=/etc/klined/klined.yaml klined run\n",
      "Needs the tables and topics that `klined init` makes. Goes on where the stored offsets stand; partitions "
      "without\n"
      "any begin at `input.start`. A second process of the same group stands by and takes over, or\n"
      "shares the partitions (input.partitioned_by: pair).\n"
      "SIGTERM or Ctrl-C: stops reading, writes what was read, exits 0 within engine.shutdown_timeout; a second one "
      "exits\n"
      "at once and loses nothing.\n"
      "Exit status: 0 stopped as asked; 1 failed while working (start it again); 2 wrong usage, config, schema or\n"
      "rights, which somebody must mend first.\n");
  command->callback([path, &exit_code] { exit_code = run_job(*path); });
  return command;
}

}  // namespace klined::app
