// The output topics as their readers see them, and the producers that write to them, with all that can go wrong.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "faults.hpp"
#include "kline.pb.h"
#include "klined/publish/publisher.hpp"
#include "recomputation.hpp"

namespace klined::simulation {

// A dead letter, by what it is about: topic, partition, offset, index (-1 for a whole message), result, bytes.
using LetterName = std::tuple<std::string, int, std::int64_t, int, std::string, std::string>;

// All that arrived in the output topics.
class Readers {
 public:
  // What a reader of one candle has, who keeps the largest revision and at the same one the closed.
  struct Seen {
    proto::Kline newest;
    bool closed = false;
    std::string conflict;  // another text of the same revision
  };
  std::map<CandleName, Seen> candles;
  std::map<LetterName, int> letters;
  std::string problem;  // the first message that nobody can read

  void arrive(const Publication& publication);
};

// The producer of one process. Reports come in any order; each accepted message is reported once.
class SimPublisher final : public Publisher {
 public:
  SimPublisher(Faults& faults, Trace& trace, Random& random, Readers& readers)
      : faults_(faults), trace_(trace), random_(random), readers_(readers) {}

  bool send(Publication& publication, std::uint64_t ticket) override;
  // Some message meets its end; nothing where none is on its way.
  std::vector<DeliveryReport> settle();
  bool is_idle() const { return on_the_way_.empty(); }
  // The process is gone: what was on its way arrives later, or never.
  std::vector<Publication> abandon();

 private:
  struct Sent {
    std::uint64_t ticket;
    Publication publication;
  };
  DeliveryReport report(Sent sent, bool arrives, bool fails);

  Faults& faults_;
  Trace& trace_;
  Random& random_;
  Readers& readers_;
  std::vector<Sent> on_the_way_;
};

}  // namespace klined::simulation
