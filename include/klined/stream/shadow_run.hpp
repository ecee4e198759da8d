// The job that fills the shadow set of `klined rebuild`, in a thread of its own.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <thread>
#include <vector>

#include "klined/base/metrics.hpp"
#include "klined/store/candle_store.hpp"
#include "klined/stream/config.hpp"
#include "klined/stream/job.hpp"

namespace klined {

// One run of it: from what the shadow set has stored to some place. Whoever is killed begins another one.
//
// The waits end early, with kRetry, where `stopping` is set; with the job's own error where it fails.
class ShadowRun {
 public:
  struct Progress {
    std::int64_t read = 0;     // messages, since this run began
    std::int64_t to_read = 0;  // as far as is known now
    double per_second = 0;
  };
  using Show = std::function<void(const Progress&)>;

  // The config of the shadow set: it publishes nothing and caches nothing. With `ends` it ends by itself, exactly
  // there.
  ShadowRun(Config config, std::optional<Job::Ends> ends, const std::atomic<bool>& stopping, Show show);
  ~ShadowRun();

  // Until it has ended by itself, with everything stored.
  Status wait_for_end();
  // Until it is less than some seconds behind the input.
  Status wait_until_close();
  // Until it has read what the offsets contain; kRetry where that takes longer.
  Status wait_until_read(const std::vector<LaneOffset>& offsets, Milliseconds timeout);
  // Stores everything that was read, and ends it. kRetry: not everything was stored in time.
  Status stop();

 private:
  // Looks until `done` says so.
  Status watch(const std::function<bool()>& done, std::optional<Milliseconds> timeout);
  void measure();

  Config config_;
  const std::atomic<bool>& stopping_;
  Show show_;
  SystemClock clock_;
  Metrics metrics_;
  Job job_;
  std::optional<std::int64_t> target_;  // of a run that ends by itself: messages
  std::optional<Status> ended_;         // once has_ended_
  std::atomic<bool> has_ended_{false};
  std::thread thread_;

  std::optional<std::int64_t> first_read_;
  std::int64_t last_read_ = 0;
  std::int64_t lag_ = -1;  // -1: not known yet
  Instant measured_at_{};
  Progress progress_;
};

}  // namespace klined
