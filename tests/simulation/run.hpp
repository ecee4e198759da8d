// One run: a world from its first message to the moment when all is quiet, and what must hold then.
#pragma once

#include <string>

#include "plan.hpp"

namespace klined::simulation {

struct Ending {
  std::string problem;  // "" where all was right
  std::string trace;    // where it was asked for
  std::int64_t steps = 0;
  int faults = 0;  // that happened
  int calls = 0;   // that might have failed
  int lives = 0;   // processes
  int commits = 0;
  bool failed() const { return !problem.empty(); }
};

Ending run(const Plan& plan, bool traces);

}  // namespace klined::simulation
