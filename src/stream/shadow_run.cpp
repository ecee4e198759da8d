#include "klined/stream/shadow_run.hpp"

#include <algorithm>

namespace klined {

namespace {

constexpr Milliseconds kLook{100};
constexpr Milliseconds kMeasure{1000};
// So close, that the job is held up for no longer when the sets are swapped.
constexpr double kClose = 3;  // s of reading

}  // namespace

ShadowRun::ShadowRun(Config config, std::optional<Job::Ends> ends, const std::atomic<bool>& stopping, Show show)
    : config_(std::move(config)),
      stopping_(stopping),
      show_(std::move(show)),
      metrics_("rebuild"),
      job_(config_, clock_, metrics_, Job::Purpose::kShadow) {
  if (ends) {
    target_ = 0;
    for (const auto& [partition, of_lanes] : *ends) *target_ += std::ranges::max(of_lanes);
    job_.end_at(std::move(*ends));
  }
  thread_ = std::thread([this] {
    ended_ = job_.run();
    has_ended_.store(true);
  });
}

ShadowRun::~ShadowRun() {
  job_.stop();
  if (thread_.joinable()) thread_.join();
}

void ShadowRun::measure() {
  const std::map<TopicPartition, Job::Reading> reading = job_.reading();
  if (reading.empty()) return;
  std::int64_t read = 0;
  std::int64_t lag = 0;
  for (const auto& [partition, place] : reading) {
    read += place.next_offset;
    lag = lag < 0 || place.end < 0 ? -1 : lag + place.end - place.next_offset;
  }
  if (!first_read_) {
    first_read_ = last_read_ = read;
    measured_at_ = clock_.now();
  }
  progress_.read = read - *first_read_;
  progress_.to_read = target_ ? *target_ - *first_read_ : progress_.read + std::max<std::int64_t>(0, lag);
  const std::chrono::duration<double> since = clock_.now() - measured_at_;
  if (since < kMeasure) return;
  progress_.per_second = static_cast<double>(read - last_read_) / since.count();
  last_read_ = read;
  lag_ = lag;
  measured_at_ = clock_.now();
}

Status ShadowRun::watch(const std::function<bool()>& done, std::optional<Milliseconds> timeout) {
  const Instant began = clock_.now();
  while (true) {
    if (has_ended_) {
      if (!*ended_) return *ended_;
      if (stopping_) return retry("stopped");
      return done() ? Status{} : retry("the rebuild's reading ended by itself");
    }
    measure();
    show_(progress_);
    if (done()) return {};
    if (stopping_) {
      if (Status stopped = stop(); !stopped) return stopped;
      return retry("stopped");
    }
    if (timeout && clock_.now() - began > *timeout) return retry("the rebuild reads too slowly to catch up");
    std::this_thread::sleep_for(kLook);
  }
}

Status ShadowRun::wait_for_end() {
  return watch([this] { return has_ended_.load(); }, std::nullopt);
}

Status ShadowRun::wait_until_close() {
  return watch([this] { return lag_ == 0 || (lag_ > 0 && static_cast<double>(lag_) <= kClose * progress_.per_second); },
               std::nullopt);
}

Status ShadowRun::wait_until_read(const std::vector<LaneOffset>& offsets, Milliseconds timeout) {
  return watch(
      [&] {
        const std::map<TopicPartition, Job::Reading> reading = job_.reading();
        return std::ranges::all_of(offsets, [&](const LaneOffset& row) {
          const auto place = reading.find({row.topic, row.partition});
          return place == reading.end() || place->second.next_offset >= row.next_offset;
        });
      },
      timeout);
}

Status ShadowRun::stop() {
  job_.stop();
  if (thread_.joinable()) thread_.join();
  return *ended_;
}

}  // namespace klined
