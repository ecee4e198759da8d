#include "klined/stream/outbox.hpp"

#include <spdlog/spdlog.h>

#include "klined/base/assertion.hpp"

namespace klined {

namespace {

constexpr Milliseconds kResendInterval{200};

}  // namespace

bool Outbox::send(Publication& publication, UnixMilliseconds create_time) {
  return held_.empty() && hand_over(publication, create_time);
}

void Outbox::hold(Publication publication) {
  if (held_.empty() && hand_over(publication, 0)) return;
  held_.push_back(std::move(publication));
}

bool Outbox::hand_over(Publication& publication, UnixMilliseconds create_time) {
  if (publisher_ == nullptr) {
    if (entries_.empty()) {
      ++first_;
    } else {
      entries_.push_back({create_time, true});
    }
    return true;
  }
  const std::uint64_t number = first_ + entries_.size();
  entries_.push_back({create_time, false});
  if (publisher_->send(publication, ticket_of(number))) return true;
  entries_.pop_back();
  return false;
}

void Outbox::push(Instant now) {
  if (!failed_.empty() && now - last_resend_ >= kResendInterval) {
    last_resend_ = now;
    std::vector<std::pair<std::uint64_t, Publication>> again;
    again.swap(failed_);
    for (auto& [number, publication] : again) {
      if (!publisher_->send(publication, ticket_of(number))) failed_.emplace_back(number, std::move(publication));
    }
  }
  while (!held_.empty() && hand_over(held_.front(), 0)) held_.pop_front();
}

std::optional<Outbox::Delivered> Outbox::report(DeliveryReport&& report) {
  const std::uint64_t number = report.ticket & ((std::uint64_t{1} << kNumberBits) - 1);
  KLINED_ASSERT(number >= first_ && number < first_ + entries_.size(), "a publication is reported once");
  if (report.error) {
    if (failures_++ % 1000 == 0) {
      spdlog::warn("a message to topic {} was not delivered and will be sent again: {}", report.publication.topic,
                   report.error->message);
    }
    failed_.emplace_back(number, std::move(report.publication));
    return std::nullopt;
  }
  Entry& entry = entries_[number - first_];
  KLINED_ASSERT(!entry.delivered, "a publication is delivered once");
  entry.delivered = true;
  const Delivered delivered{entry.create_time};
  while (!entries_.empty() && entries_.front().delivered) {
    entries_.pop_front();
    ++first_;
  }
  return delivered;
}

}  // namespace klined
