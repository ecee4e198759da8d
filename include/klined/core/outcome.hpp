// How a trade that was read ends. Every trade ends in exactly one of these, and is counted there:
// read = applied + ignored + no_price + duplicate + invalid + future + late.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace klined {

enum class Outcome : std::uint8_t { kApplied, kIgnored, kNoPrice, kDuplicate, kInvalid, kFuture, kLate };

inline constexpr std::size_t kOutcomeCount = 7;
inline constexpr std::array<std::string_view, kOutcomeCount> kOutcomeNames = {
    "applied", "ignored", "no_price", "duplicate", "invalid", "future", "late"};

constexpr std::string_view name_of(Outcome outcome) { return kOutcomeNames[static_cast<std::size_t>(outcome)]; }

// Counts of trades by outcome.
struct Ledger {
  std::array<std::int64_t, kOutcomeCount> counts{};

  std::int64_t& operator[](Outcome outcome) { return counts[static_cast<std::size_t>(outcome)]; }
  std::int64_t operator[](Outcome outcome) const { return counts[static_cast<std::size_t>(outcome)]; }
  std::int64_t read() const {
    std::int64_t sum = 0;
    for (const std::int64_t count : counts) sum += count;
    return sum;
  }
  Ledger& operator+=(const Ledger& other) {
    for (std::size_t i = 0; i < kOutcomeCount; ++i) counts[i] += other.counts[i];
    return *this;
  }
};

}  // namespace klined
