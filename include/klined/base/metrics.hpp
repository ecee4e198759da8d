// What klined tells Prometheus about itself, and the page where it tells it.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "klined/base/error.hpp"

namespace prometheus {
class Exposer;
}

namespace klined {

// All metrics of the process, by name, with units as suffixes; README.md lists them.
//
// Counters only grow. A handle (Counter&, Gauge&, Histogram&) lives as long as this object; look one with labels up
// once and keep it. Thread-safe: everything may be called from any thread; a counter's increment takes no lock.
class Metrics {
 public:
  using Counter = prometheus::Counter;
  using Gauge = prometheus::Gauge;
  using Histogram = prometheus::Histogram;

  explicit Metrics(std::string_view version);
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // Serves /metrics, and /healthz (200 as long as the process answers), on `address` ("127.0.0.1:9464", "[::1]:9464";
  // port 0 takes a free one). kFatal where the address cannot be listened on; the message names it and the reason.
  Status expose(const std::string& address);
  // Where the pages are served; 0 before expose().
  int port() const;
  // The text of the /metrics page.
  std::string page() const;

  // klined_trades_total{outcome}: trades read, by how they ended.
  Counter& trades(std::string_view outcome);
  // klined_rows_written_total{interval}: rows in committed transactions.
  Counter& rows_written(std::string_view interval);
  // klined_retries_total{part}: steps done again after a passing fault; part is mysql, kafka_out or redis.
  Counter& retries(std::string_view part);
  // klined_cache_updates_total{result}: candles for Redis; result is written, older (Redis held a newer version) or
  // dropped (a repair brings them back).
  Counter& cache_updates(std::string_view result);
  // klined_partition_lag{topic,partition}: messages that the broker has and klined has not read yet.
  Gauge& partition_lag(std::string_view topic, std::int32_t partition);
  // klined_hidden_records{topic,partition}: records behind a transaction that is still open; part of the lag.
  Gauge& hidden_records(std::string_view topic, std::int32_t partition);
  // klined_lane_queue_batches{lane}: batches that wait for the lane.
  Gauge& lane_queue_batches(std::int32_t lane);
  // klined_memory_bytes{part}: memory accounted for; part is inflight, candles, dedupe, …
  Gauge& memory_bytes(std::string_view part);
  // klined_last_error_timestamp_seconds{part}: unix time of the last error; 0 where there was none.
  Gauge& last_error_timestamp_seconds(std::string_view part);

 private:
  std::shared_ptr<prometheus::Registry> registry_;

  prometheus::Family<Counter>& trades_;
  prometheus::Family<Counter>& rows_written_;
  prometheus::Family<Counter>& retries_;
  prometheus::Family<Counter>& cache_updates_;
  prometheus::Family<Gauge>& partition_lag_;
  prometheus::Family<Gauge>& hidden_records_;
  prometheus::Family<Gauge>& lane_queue_batches_;
  prometheus::Family<Gauge>& memory_bytes_;
  prometheus::Family<Gauge>& last_error_;
  std::shared_ptr<prometheus::Registry> health_;
  std::unique_ptr<prometheus::Exposer> exposer_;

 public:
  Counter& messages;            // klined_messages_total: input messages read
  Counter& input_bytes;         // klined_input_bytes_total: their values' bytes
  Counter& candles_published;   // klined_candles_published_total: candles handed to the producer
  Counter& dead_letters;        // klined_dead_letters_total: dead letters handed to the producer
  Counter& foreign_notes;       // klined_foreign_notes_total: messages read whose put-back note is of another one
  Counter& commits;             // klined_commits_total: committed transactions
  Gauge& inflight_bytes;        // klined_inflight_bytes: input read and not yet applied
  Gauge& series_cached;         // klined_series_cached: pair × interval in memory
  Gauge& pending_loads;         // klined_pending_loads: candles that wait for their stored row
  Gauge& active;                // klined_active: 1 active, 0 standby
  Histogram& flush_duration;    // klined_flush_duration_seconds: one lane's transaction, BEGIN to COMMIT's answer
  Histogram& publish_duration;  // klined_publish_duration_seconds: handed to the producer → acknowledged
  Histogram& load_duration;     // klined_load_duration_seconds: one lane's read of stored rows
  Histogram& end_to_end_delay;  // klined_end_to_end_delay_seconds: a trade's create_time → its candle acknowledged
  Histogram& store_delay;       // klined_store_delay_seconds: a trade's create_time → its candle committed
};

}  // namespace klined
