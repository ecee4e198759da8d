// How one commit reaches its end, whatever the database answers on the way.
#pragma once

#include "klined/store/candle_store.hpp"

namespace klined {

// One call to the store a step, so that a simulation can put a fault between any two.
//
// Law: kDone only where the commit is stored, exactly once. A transaction whose COMMIT was not answered may still be on
// its way: until it is known, a refusal may be our own earlier attempt, and is looked at before it is believed.
class CommitProtocol {
 public:
  enum class Next {
    kDone,
    kAgain,   // after a wait: a passing fault
    kNow,     // at once: an answer was cleared up
    kFailed,  // see error(): fenced or fatal
  };

  CommitProtocol(CandleStore& store, const LaneCommit& commit) : store_(store), commit_(commit) {}

  Next step();
  const Error& error() const { return error_; }

 private:
  Next ask();

  CandleStore& store_;
  const LaneCommit& commit_;
  bool must_ask_ = false;  // the last attempt's answer was lost
  bool in_doubt_ = false;  // some attempt's answer was lost
  Error error_;
};

}  // namespace klined
