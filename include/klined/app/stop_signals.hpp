// How a long-running subcommand is asked to end.
#pragma once

#include <csignal>
#include <functional>
#include <thread>
#include <utility>

#include <pthread.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

namespace klined::app {

// Takes SIGTERM and SIGINT away from all threads that start after it, and gives them to one that waits for them. The
// first asks for an end, the second ends the process at once: nothing is lost by that, the next start reads again what
// was not committed.
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
  void pass_to(std::function<void()> stop) {
    thread_ = std::thread([this, stop = std::move(stop)] {
      for (bool asked = false;;) {
        int signal = 0;
        sigwait(&signals_, &signal);
        if (signal == SIGUSR2) return;
        if (asked) {
          spdlog::warn("second signal: ending at once; what was not committed is read again at the next start");
          ::_exit(128 + signal);
        }
        spdlog::info("{}: stopping (a second signal ends at once)", signal == SIGTERM ? "SIGTERM" : "SIGINT");
        asked = true;
        stop();
      }
    });
  }

 private:
  sigset_t signals_{};
  std::thread thread_;
};

}  // namespace klined::app
