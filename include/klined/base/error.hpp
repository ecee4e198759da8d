// What went wrong at an edge of the program, as a value that says what the caller may do about it.
#pragma once

#include <expected>
#include <string>
#include <utility>

namespace klined {

enum class ErrorKind {
  kRetry,    // A passing fault (server away, deadlock, timeout): nothing was done, do the whole step again.
  kUnknown,  // The answer was lost: it may or may not have been done; look before doing it again.
  kFenced,   // Another process owns what was to be written: drop the state.
  kFatal,    // Will not pass by itself: somebody must mend something; the message says what.
};

struct Error {
  ErrorKind kind = ErrorKind::kFatal;
  std::string message;  // One line: what was attempted, what answered, what to do.
};

template <typename T>
using Result = std::expected<T, Error>;
using Status = std::expected<void, Error>;

inline std::unexpected<Error> fatal(std::string message) {
  return std::unexpected(Error{ErrorKind::kFatal, std::move(message)});
}
inline std::unexpected<Error> retry(std::string message) {
  return std::unexpected(Error{ErrorKind::kRetry, std::move(message)});
}

}  // namespace klined
