#include "output.hpp"

#include <algorithm>

#include "klined/core/interval.hpp"

namespace klined::simulation {

namespace {

constexpr std::size_t kQueueLimit = 40;

}  // namespace

void Readers::arrive(const Publication& publication) {
  if (!publication.headers.empty()) {
    std::map<std::string, std::string> headers(publication.headers.begin(), publication.headers.end());
    const std::string result = headers["error"].substr(0, headers["error"].find(':'));
    const int index = headers.contains("index") ? std::stoi(headers["index"]) : -1;
    if (publication.topic != headers["topic"] + "-dlq") problem = "a dead letter in topic " + publication.topic;
    ++letters[{headers["topic"], std::stoi(headers["partition"]), std::stoll(headers["offset"]), index, result,
               publication.value}];
    return;
  }
  proto::Klines klines;
  if (!klines.ParseFromString(publication.value)) problem = "a message that is no Klines";
  for (proto::Kline& kline : *klines.mutable_list()) {
    const std::optional<Interval> interval = interval_of(kline.interval());
    if (!interval || publication.key != kline.pair_addr() ||
        publication.topic != fmt::format("klines-{}-prod", kline.chain_id())) {
      problem = "a candle in the wrong place: " + kline.ShortDebugString();
      continue;
    }
    Seen& seen = candles[{*interval, static_cast<int>(kline.chain_id()), kline.pair_addr(), kline.candle_time()}];
    const bool closed = kline.closed();
    kline.clear_closed();
    if (kline.total_count() > seen.newest.total_count()) {
      seen = {kline, closed, {}};
    } else if (kline.total_count() == seen.newest.total_count()) {
      seen.closed = seen.closed || closed;
      if (seen.conflict.empty() && kline.SerializeAsString() != seen.newest.SerializeAsString()) {
        seen.conflict = kline.ShortDebugString();
      }
    }
  }
}

bool SimPublisher::send(Publication& publication, std::uint64_t ticket) {
  if (on_the_way_.size() >= kQueueLimit || faults_.next("send to Kafka: queue full", 1) != 0) return false;
  on_the_way_.push_back({ticket, std::move(publication)});
  return true;
}

DeliveryReport SimPublisher::report(Sent sent, bool arrives, bool fails) {
  DeliveryReport report;
  report.ticket = sent.ticket;
  if (arrives) readers_.arrive(sent.publication);
  if (!fails) return report;
  report.error = Error{ErrorKind::kRetry, "a simulated fault"};
  report.publication = std::move(sent.publication);
  return report;
}

std::vector<DeliveryReport> SimPublisher::settle() {
  std::vector<DeliveryReport> reports;
  if (on_the_way_.empty()) return reports;
  const int kind = faults_.next("deliver to Kafka", 3);
  if (kind == 3) {
    // A fatal error: the producer is replaced, and all that it had is reported as failed; who knows what arrived.
    trace_.add("the producer is replaced: {} messages are given back", on_the_way_.size());
    for (Sent& sent : on_the_way_) reports.push_back(report(std::move(sent), random_.chance(50), true));
    on_the_way_.clear();
    return reports;
  }
  // Kafka keeps each partition's order; reports of several partitions mix.
  for (int n = random_.between(1, 6); n > 0 && !on_the_way_.empty(); --n) {
    std::swap(random_.pick(on_the_way_), on_the_way_.back());
    Sent sent = std::move(on_the_way_.back());
    on_the_way_.pop_back();
    const bool fails = kind > 0 && reports.empty();
    reports.push_back(report(std::move(sent), !fails || kind == 2, fails));  // 2: it arrived, the report says not
  }
  return reports;
}

std::vector<Publication> SimPublisher::abandon() {
  std::vector<Publication> late;
  for (Sent& sent : on_the_way_) {
    const bool arrives_late = random_.chance(50);
    if (arrives_late) late.push_back(std::move(sent.publication));
  }
  on_the_way_.clear();
  return late;
}

}  // namespace klined::simulation
