// How a long-running subcommand is asked to end.
#pragma once

#include <csignal>
#include <ctime>
#include <functional>
#include <optional>
#include <thread>
#include <utility>

#include <pthread.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "klined/app/commands.hpp"
#include "klined/base/clock.hpp"

namespace klined::app {

// Takes SIGTERM and SIGINT away from all threads that start after it, and gives them to one that waits for them. The
// first asks for an end, the second ends the process at once, and so does the end of the time that stopping may take:
// nothing is lost by that, the next start reads again what was not committed.
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
  // `stop` is called on a thread of this object's.
  void pass_to(std::function<void()> stop, Milliseconds shutdown_timeout) {
    thread_ = std::thread([this, stop = std::move(stop), shutdown_timeout] { serve(stop, shutdown_timeout); });
  }

 private:
  // Process groups and supervisors send a signal twice within milliseconds: that is one wish to stop, not two.
  static constexpr Milliseconds kOneWish{300};
  // What ending may take beyond engine.shutdown_timeout: then a server does not answer at all.
  static constexpr Milliseconds kForceAfter{3000};

  void serve(const std::function<void()>& stop, Milliseconds shutdown_timeout) {
    const int first = wait(std::nullopt);
    if (first == SIGUSR2) return;
    spdlog::info("{}: stopping (a second signal ends at once)", first == SIGTERM ? "SIGTERM" : "SIGINT");
    const Instant asked = clock_.now();
    stop();
    while (true) {
      const int signal = wait(asked + shutdown_timeout + kForceAfter);
      if (signal == SIGUSR2) return;
      if (signal < 0) {
        spdlog::error(
            "something does not answer at all, and keeps it from stopping within engine.shutdown_timeout ({} ms): "
            "ending "
            "at once; what was not committed is read again at the next start",
            shutdown_timeout.count());
        ::_exit(kFailed);
      }
      if (clock_.now() - asked < kOneWish) continue;
      spdlog::warn("second signal: ending at once; what was not committed is read again at the next start");
      ::_exit(128 + signal);
    }
  }

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

}  // namespace klined::app
