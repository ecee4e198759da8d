#include "klined/stream/commit_protocol.hpp"

namespace klined {

CommitProtocol::Next CommitProtocol::step() {
  if (must_ask_) return ask();
  const Status status = store_.commit(commit_);
  if (status) return Next::kDone;
  error_ = status.error();
  switch (error_.kind) {
    case ErrorKind::kRetry: return Next::kAgain;
    case ErrorKind::kUnknown: must_ask_ = in_doubt_ = true; return Next::kAgain;
    case ErrorKind::kFenced:
      if (!in_doubt_) return Next::kFailed;
      must_ask_ = true;
      return Next::kNow;
    case ErrorKind::kFatal: return Next::kFailed;
  }
  return Next::kFailed;
}

CommitProtocol::Next CommitProtocol::ask() {
  const Result<bool> stored = store_.was_committed(commit_);
  if (!stored) {
    error_ = stored.error();
    const bool passing = error_.kind == ErrorKind::kRetry || error_.kind == ErrorKind::kUnknown;
    return passing ? Next::kAgain : Next::kFailed;
  }
  if (*stored) return Next::kDone;
  must_ask_ = false;
  return Next::kNow;
}

}  // namespace klined
