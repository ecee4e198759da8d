// The simulated topics: what producers send, and what they meant by it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "plan.hpp"

namespace klined::simulation {

inline constexpr std::int64_t kStart = 1'700'000'000;  // unix s
inline constexpr std::int64_t kDedupeWindow = 60;
inline constexpr std::int64_t kMaxLateness = 300;
inline constexpr std::int64_t kMaxFuture = 30;

// One element of a message's array: as text, and what its text means.
struct Sent {
  enum class Kind { kTrade, kIgnored, kNoPrice, kInvalid };
  Kind kind = Kind::kTrade;
  std::string text;
  // Of a trade:
  int chain = 1;
  std::string pair;
  std::int64_t block_time = 0;
  std::int64_t slot = 0;
  int transaction_index = 0;
  int log_index = 0;
  bool buys = true;
  bool clamped = false;
  int price_eighths = 8;       // USD
  std::int64_t usd_milli = 0;  // total_usd
  std::int64_t volume_milli = 0;
  int mcap = 0;
  int pump_quarters = 0;
  std::string token;
  std::string hash;

  // All that the identity is made of.
  std::string identity() const;
};

struct SentMessage {
  std::int64_t timestamp_ms = 0;
  std::string value;
  bool dead = false;  // no JSON array: counts as one invalid
  std::vector<Sent> elements;
};

struct Log {
  std::string topic;
  int partition = 0;
  std::size_t joins_at = 0;  // it exists once so many messages were produced in all
  std::vector<SentMessage> messages;
};

struct Input {
  std::vector<Log> logs;
  std::vector<std::size_t> order;  // which log each message goes to, in the order of time
};

// The first `plan.messages` messages of the world; more messages leave the first ones as they are.
Input make_input(const Plan& plan);

}  // namespace klined::simulation
