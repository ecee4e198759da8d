#include "klined/stream/worker_thread.hpp"

#include <pthread.h>

namespace klined {

WorkerThread::WorkerThread(const std::string& name) : thread_([this](const std::stop_token& stop) { run(stop); }) {
  pthread_setname_np(thread_.native_handle(), name.substr(0, 15).c_str());
}

WorkerThread::~WorkerThread() { stop(); }

void WorkerThread::post(Task task) {
  {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  work_.notify_one();
}

void WorkerThread::stop() {
  thread_.request_stop();
  const std::lock_guard lock(mutex_);
  tasks_.clear();
}

bool WorkerThread::sleep(const std::stop_token& stop, Milliseconds duration) {
  std::mutex mutex;
  std::condition_variable_any wake;
  std::unique_lock lock(mutex);
  wake.wait_for(lock, stop, duration, [] { return false; });
  return !stop.stop_requested();
}

void WorkerThread::run(const std::stop_token& stop) {
  while (true) {
    Task task;
    {
      std::unique_lock lock(mutex_);
      if (!work_.wait(lock, stop, [this] { return !tasks_.empty(); })) return;
      if (stop.stop_requested()) return;
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    task(stop);
  }
}

}  // namespace klined
