#include "klined/stream/lane_runner.hpp"

namespace klined {

void LaneRunner::post(Event event) {
  const std::lock_guard lock(mutex_);
  if (stopped_) return;
  events_.push_back(std::move(event));
  schedule();
}

void LaneRunner::post_batch(std::shared_ptr<const DecodedBatch> batch) {
  const std::lock_guard lock(mutex_);
  if (stopped_) return;
  batches_.push_back(std::move(batch));
  schedule();
}

std::size_t LaneRunner::queued() const {
  const std::lock_guard lock(mutex_);
  return batches_.size();
}

void LaneRunner::schedule() {
  if (scheduled_) return;
  scheduled_ = true;
  execute_([this] { run(); });
}

// One turn: all events that are there, and one batch. Then the next lane's turn may come, on whatever thread is free.
void LaneRunner::run() {
  std::unique_lock lock(mutex_);
  while (!events_.empty()) {
    const Event event = std::move(events_.front());
    events_.pop_front();
    lock.unlock();
    event(*lane_);
    lock.lock();
  }
  if (!batches_.empty() && lane_->can_apply(*batches_.front())) {
    std::shared_ptr<const DecodedBatch> batch = std::move(batches_.front());
    batches_.pop_front();
    lock.unlock();
    lane_->apply(batch);
    batch.reset();
    lock.lock();
  }
  scheduled_ = false;
  // A lane that refuses is woken by the event that changes its mind: an answer or a tick.
  if (!stopped_ && (!events_.empty() || (!batches_.empty() && lane_->can_apply(*batches_.front())))) schedule();
  idle_.notify_all();
}

void LaneRunner::stop() {
  std::unique_lock lock(mutex_);
  stopped_ = true;
  events_.clear();
  batches_.clear();
  idle_.wait(lock, [this] { return !scheduled_; });
}

}  // namespace klined
