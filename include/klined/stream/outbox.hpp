// What one lane has sent and not yet seen delivered.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "klined/base/clock.hpp"
#include "klined/publish/publisher.hpp"

namespace klined {

// Numbers publications 1, 2, 3, … and knows up to which of them all are delivered. A failed one keeps its number and is
// sent again, so delivered_through() never passes something that is not out.
//
// Owned by one lane. Memory is bounded by what the publisher's queue takes, and by hold().
class Outbox {
 public:
  // A null publisher delivers everything at once (where nothing is published).
  Outbox(Publisher* publisher, std::int32_t lane) : publisher_(publisher), lane_(lane) {}

  // Sends now; false, and nothing taken, where the publisher's queue is full or something is held.
  bool send(Publication& publication, UnixMilliseconds create_time);
  // Takes it in any case, and sends it as soon as there is room: for what cannot be made again later (dead letters).
  void hold(Publication publication);
  bool has_held() const { return !held_.empty(); }
  // Sends what is held or failed, as far as there is room; failed ones at most once a `resend_interval`.
  void push(Instant now);

  struct Delivered {
    UnixMilliseconds oldest_create_time = 0;  // 0 where unknown
  };
  // Takes a report in. Where it is a delivery, tells whose.
  std::optional<Delivered> report(DeliveryReport&& report);

  std::uint64_t last_sent() const { return first_ + entries_.size() - 1; }
  std::uint64_t delivered_through() const { return first_ - 1; }
  std::size_t in_flight() const { return entries_.size(); }
  std::int64_t failures() const { return failures_; }

  static std::int32_t lane_of_ticket(std::uint64_t ticket) { return static_cast<std::int32_t>(ticket >> kNumberBits); }

 private:
  static constexpr unsigned kNumberBits = 48;
  struct Entry {
    UnixMilliseconds create_time = 0;
    bool delivered = false;
  };
  std::uint64_t ticket_of(std::uint64_t number) const {
    return (static_cast<std::uint64_t>(lane_) << kNumberBits) | number;
  }
  bool hand_over(Publication& publication, UnixMilliseconds create_time);

  Publisher* publisher_;
  std::int32_t lane_;
  std::uint64_t first_ = 1;  // the number of entries_.front()
  std::deque<Entry> entries_;
  std::deque<Publication> held_;
  std::vector<std::pair<std::uint64_t, Publication>> failed_;
  Instant last_resend_{};
  std::int64_t failures_ = 0;
};

}  // namespace klined
