// A thread that does blocking work, one piece after another.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>

#include "klined/base/clock.hpp"

namespace klined {

// Blocking calls (MySQL) never run on the pool's threads: threads like this make them beside the pool.
// Destruction asks the running task to stop, forgets the waiting ones and joins.
class WorkerThread {
 public:
  // The token says when to give up; wait on it with sleep().
  using Task = std::function<void(const std::stop_token& stop)>;

  explicit WorkerThread(const std::string& name);
  ~WorkerThread();
  WorkerThread(const WorkerThread&) = delete;
  WorkerThread& operator=(const WorkerThread&) = delete;

  void post(Task task);
  // Asks the running task to give up, and forgets those that wait.
  void stop();

  // Waits, at most until `stop` is requested; false where it was.
  static bool sleep(const std::stop_token& stop, Milliseconds duration);

 private:
  void run(const std::stop_token& stop);

  std::mutex mutex_;
  std::condition_variable_any work_;
  std::deque<Task> tasks_;
  std::jthread thread_;
};

}  // namespace klined
