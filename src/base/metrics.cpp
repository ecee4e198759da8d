#include "klined/base/metrics.hpp"

#include <fmt/format.h>
#include <netdb.h>
#include <prometheus/exposer.h>
#include <prometheus/text_serializer.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <exception>
#include <system_error>

namespace klined {

namespace {

// 1 ms to 60 s: below lies a local commit, above lies an outage.
const prometheus::Histogram::BucketBoundaries kSeconds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                                          0.5,   1,      2.5,   5,    10,    30,   60};

using Registry = prometheus::Registry;

auto& counter(Registry& registry, const char* name, const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}
auto& gauge(Registry& registry, const char* name, const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry);
}
auto& histogram(Registry& registry, const char* name, const char* help) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry);
}

prometheus::Labels label(const char* name, std::string_view value) { return {{name, std::string(value)}}; }

// Why an address cannot be listened on, asked from the system: the web server keeps its errno to itself.
std::string listen_error(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  std::string host = colon == std::string::npos ? "" : address.substr(0, colon);
  const std::string port = address.substr(colon == std::string::npos ? 0 : colon + 1);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(host.empty() ? nullptr : host.c_str(), port.c_str(), &hints, &found); error != 0) {
    return gai_strerror(error);
  }
  std::string text = "the web server did not start";
  const int fd = socket(found->ai_family, found->ai_socktype, found->ai_protocol);
  const int on = 1;
  if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, 1) != 0) {
    text = std::generic_category().message(errno);
  }
  if (fd >= 0) close(fd);
  freeaddrinfo(found);
  return text;
}

}  // namespace

Metrics::Metrics(std::string_view version)
    : registry_(std::make_shared<Registry>()),
      trades_(counter(*registry_, "klined_trades_total", "Trades read, by how they ended.")),
      rows_written_(counter(*registry_, "klined_rows_written_total", "Candle rows in committed transactions.")),
      retries_(counter(*registry_, "klined_retries_total", "Steps done again after a passing fault.")),
      cache_updates_(counter(*registry_, "klined_cache_updates_total", "Candles for the Redis cache, by result.")),
      partition_lag_(
          gauge(*registry_, "klined_partition_lag", "Messages that the broker has and klined has not read.")),
      hidden_records_(gauge(*registry_, "klined_hidden_records", "Messages behind a transaction that is still open.")),
      lane_queue_batches_(gauge(*registry_, "klined_lane_queue_batches", "Batches that wait for the lane.")),
      memory_bytes_(gauge(*registry_, "klined_memory_bytes", "Memory accounted for, by what holds it.")),
      last_error_(gauge(*registry_, "klined_last_error_timestamp_seconds", "Unix time of the last error, 0 for none.")),
      health_(std::make_shared<Registry>()),
      messages(counter(*registry_, "klined_messages_total", "Input messages read.").Add({})),
      input_bytes(counter(*registry_, "klined_input_bytes_total", "Bytes of the input messages' values.").Add({})),
      candles_published(
          counter(*registry_, "klined_candles_published_total", "Candles handed to the producer.").Add({})),
      dead_letters(counter(*registry_, "klined_dead_letters_total", "Dead letters handed to the producer.").Add({})),
      foreign_notes(counter(*registry_, "klined_foreign_notes_total",
                            "Messages read at whose place a note of another message, that was put back, is ignored.")
                        .Add({})),
      commits(counter(*registry_, "klined_commits_total", "Committed transactions.").Add({})),
      inflight_bytes(gauge(*registry_, "klined_inflight_bytes", "Input bytes read and not yet applied.").Add({})),
      series_cached(gauge(*registry_, "klined_series_cached", "Series (pair x interval) in memory.").Add({})),
      pending_loads(gauge(*registry_, "klined_pending_loads", "Candles that wait for their stored row.").Add({})),
      active(gauge(*registry_, "klined_active", "1 where this process is the active one, 0 on standby.").Add({})),
      flush_duration(
          histogram(*registry_, "klined_flush_duration_seconds", "One transaction of a lane.").Add({}, kSeconds)),
      publish_duration(histogram(*registry_, "klined_publish_duration_seconds", "From the producer to its report.")
                           .Add({}, kSeconds)),
      load_duration(
          histogram(*registry_, "klined_load_duration_seconds", "One read of stored rows.").Add({}, kSeconds)),
      end_to_end_delay(histogram(*registry_, "klined_end_to_end_delay_seconds",
                                 "From a trade's create_time to its candle's acknowledged publication.")
                           .Add({}, kSeconds)),
      store_delay(
          histogram(*registry_, "klined_store_delay_seconds", "From a trade's create_time to its candle's commit.")
              .Add({}, kSeconds)) {
  gauge(*registry_, "klined_build_info", "Always 1; the version is the label.").Add(label("version", version)).Set(1);
  gauge(*health_, "klined_up", "1 as long as the process answers.").Add({}).Set(1);
}

Metrics::~Metrics() = default;

Status Metrics::expose(const std::string& address) {
  try {
    exposer_ = std::make_unique<prometheus::Exposer>(address);
    exposer_->RegisterCollectable(registry_, "/metrics");
    exposer_->RegisterCollectable(health_, "/healthz");
  } catch (const std::exception&) {
    exposer_.reset();
    return fatal(
        fmt::format("cannot serve metrics on {}: {}; set metrics.listen to a free address, or to \"\" to do "
                    "without the page",
                    address, listen_error(address)));
  }
  return {};
}

int Metrics::port() const {
  if (!exposer_) return 0;
  const std::vector<int> ports = exposer_->GetListeningPorts();
  return ports.empty() ? 0 : ports.front();
}

std::string Metrics::page() const { return prometheus::TextSerializer().Serialize(registry_->Collect()); }

Metrics::Counter& Metrics::trades(std::string_view outcome) { return trades_.Add(label("outcome", outcome)); }

Metrics::Counter& Metrics::rows_written(std::string_view interval) {
  return rows_written_.Add(label("interval", interval));
}

Metrics::Counter& Metrics::retries(std::string_view part) { return retries_.Add(label("part", part)); }

Metrics::Counter& Metrics::cache_updates(std::string_view result) {
  return cache_updates_.Add(label("result", result));
}

Metrics::Gauge& Metrics::partition_lag(std::string_view topic, std::int32_t partition) {
  return partition_lag_.Add({{"topic", std::string(topic)}, {"partition", std::to_string(partition)}});
}

Metrics::Gauge& Metrics::hidden_records(std::string_view topic, std::int32_t partition) {
  return hidden_records_.Add({{"topic", std::string(topic)}, {"partition", std::to_string(partition)}});
}

Metrics::Gauge& Metrics::lane_queue_batches(std::int32_t lane) {
  return lane_queue_batches_.Add(label("lane", std::to_string(lane)));
}

Metrics::Gauge& Metrics::memory_bytes(std::string_view part) { return memory_bytes_.Add(label("part", part)); }

Metrics::Gauge& Metrics::last_error_timestamp_seconds(std::string_view part) {
  return last_error_.Add(label("part", part));
}

}  // namespace klined
