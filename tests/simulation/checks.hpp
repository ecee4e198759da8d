// What must hold: the tables, the readers, the counts. Each gives "" or what is wrong.
#pragma once

#include <string>
#include <vector>

#include "database.hpp"
#include "output.hpp"
#include "process.hpp"
#include "recomputation.hpp"

namespace klined::simulation {

class Checks {
 public:
  Checks(const Input& input, std::vector<Interval> intervals);

  const Judgement& judgement() const { return judgement_; }

  // At any moment: the tables are exactly the candles of the input up to the stored offsets.
  std::string tables(const Database& database) const;
  // The lanes of each partition stand at one offset; where `at_end`, at the end of the input.
  std::string offsets(const Database& database, bool at_end) const;
  // What a process counted from its claim on, once it has applied all that it read.
  std::string ledger(const Process& process) const;
  // At the end: each candle's newest revision, closed; each dead letter.
  std::string readers(const Readers& readers) const;

 private:
  std::string letters(const Readers& readers) const;

  const Input& input_;
  const std::vector<Interval> intervals_;
  Judgement judgement_;
  std::map<CandleName, PlainCandle> all_;
};

}  // namespace klined::simulation
