// Which of the calls to the outside go wrong.
#pragma once

#include <cstdint>
#include <string>

#include "plan.hpp"
#include "random.hpp"
#include "trace.hpp"

namespace klined::simulation {

// Every call that may fail asks here, and is numbered by that. Whether and how call n fails is a function of the seed
// and n, apart from the schedule's chance.
class Faults {
 public:
  Faults(const Plan& plan, Trace& trace) : plan_(plan), trace_(trace), seed_(mix(plan.seed) ^ 0x6661756C74ULL) {}

  // 0 where the call `what` works; else which of the `kinds` ways it fails in, counted from 1.
  int next(const char* what, int kinds) {
    const int call = calls_++;
    if (!on_ || fired_ >= plan_.faults_max) return 0;
    const std::uint64_t chance = mix(seed_ + static_cast<std::uint64_t>(call));
    const bool fires = plan_.fault_at ? *plan_.fault_at == call : static_cast<int>(chance % 100) < plan_.fault_percent;
    if (!fires) return 0;
    ++fired_;
    const int kind = 1 + static_cast<int>((chance >> 32U) % static_cast<std::uint64_t>(kinds));
    trace_.add("fault {} at call {}: {} (kind {})", fired_, call, what, kind);
    return kind;
  }
  // From here on everything works.
  void end() { on_ = false; }
  bool are_on() const { return on_; }
  int fired() const { return fired_; }
  std::uint64_t seed() const { return seed_; }
  int calls() const { return calls_; }

 private:
  const Plan& plan_;
  Trace& trace_;
  std::uint64_t seed_;
  int calls_ = 0;
  int fired_ = 0;
  bool on_ = true;
};

}  // namespace klined::simulation
