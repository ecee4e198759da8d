#include "klined/publish/feeder.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "klined/base/assertion.hpp"

namespace klined {

namespace {

constexpr Milliseconds kStep{20};          // how often it looks whether it shall stop
constexpr Milliseconds kSpoolSlice{200};   // sending from the spool, before the next message is accepted
constexpr Milliseconds kRetryPause{200};   // after the spool's first message has failed
constexpr Milliseconds kStopGrace{1'000};  // for the reports of what is on its way when it shall stop
constexpr std::size_t kSpoolBytesAtOnce = 32U << 20U;

bool names(const KafkaProperties& properties, const char* name, const char* alias) {
  return properties.contains(name) || properties.contains(alias);
}

KafkaProperties with_defaults(KafkaProperties properties, std::size_t window) {
  if (!names(properties, "message.timeout.ms", "delivery.timeout.ms")) properties["message.timeout.ms"] = "5000";
  if (window == 1 && !names(properties, "linger.ms", "queue.buffering.max.ms")) properties["linger.ms"] = "0";
  return properties;
}

}  // namespace

Feeder::Feeder(const FeederOptions& options, const std::atomic<bool>& stop, std::unique_ptr<Spool> spool)
    : window_(std::max<std::size_t>(1, options.window)), stop_(stop), spool_(std::move(spool)) {}

Result<std::unique_ptr<Feeder>> Feeder::open(const FeederOptions& options, const std::atomic<bool>& stop) {
  auto spool = Spool::open(options.spool_path, options.spool_bytes);
  if (!spool) return std::unexpected(spool.error());
  if (!(*spool)->empty()) {
    spdlog::info("an earlier feed left messages, they are sent first: spool={} messages={} bytes={}",
                 options.spool_path, (*spool)->size(), (*spool)->bytes());
  }
  std::unique_ptr<Feeder> feeder(new Feeder(options, stop, std::move(*spool)));
  auto publisher = KafkaPublisher::open({with_defaults(options.properties, feeder->window_), options.topics},
                                        [raw = feeder.get()](DeliveryReport&& report) {
                                          const std::scoped_lock lock(raw->mutex_);
                                          raw->reports_.push_back(std::move(report));
                                          raw->came_.notify_one();
                                        });
  if (!publisher) return std::unexpected(publisher.error());
  feeder->publisher_ = std::move(*publisher);
  return feeder;
}

Feeder::~Feeder() {
  if (publisher_) give_up();
}

Status Feeder::feed(Publication&& publication, std::int64_t trades) {
  if (Status pumped = pump(clock_.now() + kSpoolSlice); !pumped) return pumped;
  if (Status settled = wait_for_room(window_ - 1); !settled) return settled;
  while (!spool_->empty() && !spool_->has_room_for(publication)) {
    if (stop_) return retry(fmt::format("the spool {} is full, and Kafka takes nothing", spool_->path()));
    if (Status pumped = pump(clock_.now() + kSpoolSlice); !pumped) return pumped;
    if (!spool_->empty()) std::this_thread::sleep_for(kStep);
  }
  const auto bytes = static_cast<std::int64_t>(publication.value.size());
  if (!spool_->empty() || !publisher_) {
    if (Status kept = spool({std::move(publication)}); !kept) return kept;
  } else {
    send(publication);
  }
  ++totals_.messages;
  totals_.trades += trades;
  totals_.bytes += bytes;
  return window_ == 1 && !from_spool_ ? wait_for_room(0) : Status();
}

void Feeder::send(Publication& publication) {
  Sent& sent = sent_[next_ticket_];
  sent.key = publication.key;
  sent.bytes = publication.value.size();
  ++unreported_;
  while (!publisher_->send(publication, next_ticket_)) std::this_thread::sleep_for(Milliseconds(1));
  ++next_ticket_;
}

// ---- What became of what was sent
// ------------------------------------------------------------------------------------

bool Feeder::collect(Instant limit) {
  std::vector<DeliveryReport> reports;
  {
    std::unique_lock lock(mutex_);
    if (unreported_ > 0) {
      came_.wait_for(lock, std::max(limit - clock_.now(), Instant::duration::zero()),
                     [&] { return !reports_.empty(); });
    }
    reports.swap(reports_);
  }
  for (DeliveryReport& report : reports) {
    Sent& sent = sent_.at(report.ticket);
    if (report.error) failed_ = true;
    sent.report = std::move(report);
    --unreported_;
    if (!sent.report->error) count_delivery(sent);
  }
  return unreported_ == 0;
}

void Feeder::count_delivery(const Sent& sent) {
  const DeliveryReport& report = *sent.report;
  spdlog::debug("confirmed: key={} bytes={} partition={} offset={}", sent.key, sent.bytes, report.partition,
                report.offset);
  ++totals_.confirmed;
  FeederTotals::Partition& partition = totals_.partitions[report.partition];
  if (partition.messages++ == 0) partition.first_offset = report.offset;
  partition.last_offset = std::max(partition.last_offset, report.offset);
}

Status Feeder::wait_for_room(std::size_t count) {
  if (from_spool_) return {};
  Instant stop_limit{};
  while (unreported_ > count || (failed_ && unreported_ > 0)) {
    if (stop_ && stop_limit == Instant{}) stop_limit = clock_.now() + kStopGrace;
    if (stop_ && clock_.now() > stop_limit) {
      give_up();
      return {};
    }
    collect(clock_.now() + kStep);
  }
  collect(clock_.now());
  return failed_ && unreported_ > 0 ? wait_for_room(0) : settle_new();
}

// Forgets what was delivered, and puts what has failed into the spool, in order.
Status Feeder::settle_new() {
  if (!failed_) {
    std::erase_if(sent_, [](const auto& entry) { return entry.second.report.has_value(); });
    return {};
  }
  KLINED_ASSERT(unreported_ == 0, "failed messages are spooled together, to keep their order");
  std::vector<Publication> lost;
  std::optional<Error> error;
  for (auto& [ticket, sent] : sent_) {
    if (!sent.report->error) continue;
    if (!error || sent.report->error->kind == ErrorKind::kFatal) error = sent.report->error;
    lost.push_back(std::move(sent.report->publication));
  }
  sent_.clear();
  failed_ = false;
  next_try_ = clock_.now() + kRetryPause;
  spdlog::warn("kafka does not take the trades, they go to the spool until it does: spool={} error=\"{}\"",
               spool_->path(), error->message);
  if (Status kept = spool(std::move(lost)); !kept) return kept;
  if (error->kind != ErrorKind::kFatal) return {};
  return fatal(fmt::format("{}; it is kept in the spool {}", error->message, spool_->path()));
}

Status Feeder::spool(std::vector<Publication> publications) {
  if (Status kept = spool_->append(publications); !kept) return kept;
  totals_.spooled += static_cast<std::int64_t>(publications.size());
  return {};
}

// ---- The spool
// -------------------------------------------------------------------------------------------------------

// Sends from the spool until it is empty, the time is over, or it shall stop.
Status Feeder::pump(Instant limit) {
  while (!spool_->empty() && publisher_ && !stop_) {
    const Instant now = clock_.now();
    if (sent_.empty()) {
      if (now < next_try_) {
        if (next_try_ >= limit) return {};
        std::this_thread::sleep_for(std::min<Instant::duration>(next_try_ - now, kStep));
        continue;
      }
      auto first = spool_->front(window_, kSpoolBytesAtOnce);
      if (!first) return std::unexpected(first.error());
      from_spool_ = true;
      for (Publication& publication : *first) send(publication);
    }
    if (collect(std::min(limit, clock_.now() + kStep))) {
      if (Status settled = settle_spooled(); !settled) return settled;
    }
    if (clock_.now() >= limit) return {};
  }
  return {};
}

// Removes what was delivered from the spool, up to the first that was not; what was delivered behind that is sent
// again.
Status Feeder::settle_spooled() {
  std::size_t delivered = 0;
  std::optional<Error> error;
  for (const auto& [ticket, sent] : sent_) {
    error = sent.report->error;
    if (error) break;
    ++delivered;
  }
  sent_.clear();
  failed_ = from_spool_ = false;
  totals_.from_spool += static_cast<std::int64_t>(delivered);
  if (Status removed = spool_->pop(delivered); !removed) return removed;
  if (spool_->empty()) spdlog::info("the spool is empty again: spool={} sent={}", spool_->path(), totals_.from_spool);
  if (!error) return {};
  next_try_ = clock_.now() + kRetryPause;
  if (error->kind != ErrorKind::kFatal) return {};
  return fatal(fmt::format("{}; it is the first in the spool {}", error->message, spool_->path()));
}

// ---- The end
// ---------------------------------------------------------------------------------------------------------

Status Feeder::idle_until(Instant when) {
  if (Status pumped = pump(when); !pumped) return pumped;
  while (!stop_ && clock_.now() < when) {
    if (!from_spool_) collect(clock_.now());
    std::this_thread::sleep_for(std::min<Instant::duration>(when - clock_.now(), kStep));
  }
  return {};
}

Status Feeder::finish(Milliseconds patience) {
  if (Status settled = wait_for_room(0); !settled) return settled;
  if (Status pumped = pump(clock_.now() + patience); !pumped) return pumped;
  if (stop_ && publisher_) give_up();
  if (spool_->empty()) return {};
  return retry(
      fmt::format("{} messages could not be delivered, they are kept in the spool {}: the next `klined feed` with the "
                  "same --spool sends them first",
                  spool_->size(), spool_->path()));
}

// Closes the publisher, which reports what it still has, and keeps that.
void Feeder::give_up() {
  const Instant limit = clock_.now() + kStopGrace;
  while (!collect(std::min(limit, clock_.now() + kStep)) && clock_.now() < limit) {
  }
  publisher_.reset();
  collect(clock_.now());
  const Status settled = from_spool_ ? settle_spooled() : settle_new();
  if (!settled) spdlog::error("{}", settled.error().message);
}

FeederTotals Feeder::totals() const {
  FeederTotals totals = totals_;
  totals.left_in_spool = static_cast<std::int64_t>(spool_->size());
  return totals;
}

}  // namespace klined
