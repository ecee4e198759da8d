// What happened in a run, line by line: written only when somebody will read it.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include <fmt/format.h>

namespace klined::simulation {

class Trace {
 public:
  explicit Trace(bool keeps) : keeps_(keeps) {}
  bool keeps() const { return keeps_; }
  // `step` stands before each line.
  void set_step(std::int64_t step) { step_ = step; }
  std::int64_t step() const { return step_; }

  template <typename... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    if (!keeps_) return;
    fmt::format_to(std::back_inserter(text_), "{:6} ", step_);
    fmt::format_to(std::back_inserter(text_), format, std::forward<Args>(args)...);
    text_ += '\n';
  }
  const std::string& text() const { return text_; }

 private:
  bool keeps_;
  std::int64_t step_ = 0;
  std::string text_;
};

}  // namespace klined::simulation
