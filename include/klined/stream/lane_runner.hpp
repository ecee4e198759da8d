// Gives a lane its turns on the thread pool, one at a time.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>

#include "klined/stream/batch.hpp"
#include "klined/stream/lane.hpp"

namespace klined {

// A serializer: whatever is posted runs on the pool, never two at once, events before batches, batches in order. While
// the lane refuses trades (Lane::can_apply()), batches wait and events go on.
//
// post() and post_batch() are thread-safe. The lane is touched by nobody else.
class LaneRunner {
 public:
  using Event = std::function<void(Lane&)>;
  // Runs a turn soon, and not before it returns: the thread pool, or a simulation's schedule.
  using Execute = std::function<void(std::function<void()> turn)>;

  LaneRunner(Execute execute, std::unique_ptr<Lane> lane) : execute_(std::move(execute)), lane_(std::move(lane)) {}

  void post(Event event);
  void post_batch(std::shared_ptr<const DecodedBatch> batch);
  // Batches that wait.
  std::size_t queued() const;
  // Refuses everything from now on and waits for the running turn to end.
  void stop();

 private:
  void schedule();  // with mutex_ held
  void run();

  const Execute execute_;
  std::unique_ptr<Lane> lane_;
  mutable std::mutex mutex_;
  std::condition_variable_any idle_;
  std::deque<Event> events_;
  std::deque<std::shared_ptr<const DecodedBatch>> batches_;
  bool scheduled_ = false;
  bool stopped_ = false;
};

}  // namespace klined
