#include "yaml_guard.hpp"

#include <sstream>

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

namespace klined {

namespace {

// Takes what the parser finds, up to a limit, and keeps nothing.
class EventCounter final : public YAML::EventHandler {
 public:
  explicit EventCounter(std::size_t limit) : left_(limit) {}

  void OnDocumentStart(const YAML::Mark& mark) override { count(mark); }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override { count(mark); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { count(mark); }
  void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t, const std::string&) override {
    count(mark);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {
    count(mark);
  }
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {
    count(mark);
  }
  void OnMapEnd() override {}

 private:
  void count(const YAML::Mark& mark) {
    if (left_-- == 0) throw YAML::ParserException(mark, "a bracket is not closed, or closed twice");
  }

  std::size_t left_;
};

}  // namespace

void check_yaml_ends(const std::string& text) {
  // A value takes a byte at least, but for those that are left out beside a colon, a comma or a dash.
  EventCounter counter(4 * text.size() + 16);
  std::istringstream in(text);
  YAML::Parser parser(in);
  while (parser.HandleNextDocument(counter)) {
  }
}

}  // namespace klined
