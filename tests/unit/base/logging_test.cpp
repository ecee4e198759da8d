// The log: one line a message, whatever it holds.
#include "klined/base/logging.hpp"

#include <algorithm>

#include <gmock/gmock.h>
#include <spdlog/spdlog.h>

namespace klined {
namespace {

using testing::MatchesRegex;

// The lines that `write` logs.
template <typename Write>
std::string logged(LogFormat format, std::string_view level, Write write) {
  testing::internal::CaptureStderr();
  init_logging(level, format);
  write();
  return testing::internal::GetCapturedStderr();
}

constexpr const char* kTime = "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z";

TEST(Logging, TextIsALineAMessage) {
  const std::string text = logged(LogFormat::kText, "info", [] { spdlog::warn("a \"b\"\nc\td"); });
  EXPECT_THAT(text, MatchesRegex(std::string(kTime) + " warning a \"b\"\\\\nc\\\\u0009d\n"));
}

TEST(Logging, JsonIsAnObjectALine) {
  const std::string text = logged(LogFormat::kJson, "info", [] { spdlog::info("a \"b\" \\ \n\x01 é"); });
  EXPECT_THAT(text,
              MatchesRegex(std::string("\\{\"time\":\"") + kTime +
                           "\",\"level\":\"info\",\"message\":\"a \\\\\"b\\\\\" \\\\\\\\ \\\\n\\\\u0001 é\"\\}\n"));
}

TEST(Logging, JsonIsUtf8WhateverTheMessageHolds) {
  // A lone continuation, a broken sequence, a surrogate and an overlong form; then a good one of four bytes.
  const std::string text =
      logged(LogFormat::kJson, "info", [] { spdlog::info("{}", "\x80|\xC3|\xED\xA0\x80|\xC0\xAF|\xF0\x9F\x98\x80"); });
  EXPECT_THAT(text, testing::HasSubstr(R"("message":"\ufffd|\ufffd|\ufffd\ufffd\ufffd|\ufffd\ufffd|)"
                                       "\xF0\x9F\x98\x80\"}"));
}

TEST(Logging, LevelsAreKept) {
  const auto write = [] {
    spdlog::debug("d");
    spdlog::error("e");
  };
  EXPECT_EQ(logged(LogFormat::kText, "off", write), "");
  EXPECT_THAT(logged(LogFormat::kText, "error", write), MatchesRegex(std::string(kTime) + " error   e\n"));
  EXPECT_EQ(std::ranges::count(logged(LogFormat::kText, "trace", write), '\n'), 2);
}

TEST(Logging, LevelsAreKnown) {
  EXPECT_TRUE(is_log_level("warning"));
  EXPECT_FALSE(is_log_level("warn"));
  EXPECT_FALSE(is_log_level(""));
}

}  // namespace
}  // namespace klined
