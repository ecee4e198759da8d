#include "plan.hpp"

#include "random.hpp"

namespace klined::simulation {

std::optional<Troubles> Troubles::parse(std::string_view text) {
  const bool all = text == "all";
  Troubles troubles{all, all, all, all, all, all, all};
  if (all || text == "none") return troubles;
  while (!text.empty()) {
    const std::string_view name = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), name.size() + 1));
    if (name == "mysql")
      troubles.mysql = true;
    else if (name == "kafka")
      troubles.kafka = true;
    else if (name == "crash")
      troubles.crash = true;
    else if (name == "zombie")
      troubles.zombie = true;
    else if (name == "stop")
      troubles.stop = true;
    else if (name == "trim")
      troubles.trim = true;
    else if (name == "partitions")
      troubles.partitions = true;
    else
      return std::nullopt;
  }
  return troubles;
}

Plan plan_of(std::uint64_t seed) {
  constexpr std::uint64_t kBlock = 256;
  const std::uint64_t block = seed / kBlock;
  const bool sweeps = block % 4 == 3;
  Plan plan;
  plan.seed = seed;
  plan.world_seed = sweeps ? mix(block) : seed;
  Random random(mix(plan.world_seed) ^ 0x706C616EULL);
  plan.messages = random.chance(10) ? random.between(60, 120) : random.between(3, 40);
  plan.partitions = random.between(1, 4);
  plan.lanes = random.between(1, 3);
  plan.crashes = random.chance(15) ? 0 : random.between(1, 5);
  plan.fault_percent = random.chance(20) ? 0 : random.between(1, 20);
  plan.memory_limit = random.chance(30) ? 20'000 : std::uint64_t{256} << 20U;
  plan.dirty = !random.chance(10);
  plan.all_there = random.chance(30);
  if (sweeps) {
    plan.fault_at = static_cast<int>(seed % kBlock);
    plan.messages = random.between(3, 25);
    plan.crashes = random.between(0, 2);
  }
  return plan;
}

}  // namespace klined::simulation
