#include "klined/base/logging.hpp"

#include <fmt/format.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <array>
#include <memory>
#include <string>
#include <utility>

#include "klined/base/assertion.hpp"

namespace klined {

namespace {

constexpr std::array<std::string_view, 6> kLevels = {"trace", "debug", "info", "warning", "error", "off"};

// The length of the well-formed UTF-8 sequence at `at`, 0 where there is none (RFC 3629).
std::size_t utf8_length(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const auto continues = [&](std::size_t i) { return (byte(i) & 0xC0U) == 0x80U; };
  const unsigned lead = byte(at);
  const unsigned second = byte(at + 1);
  if (lead < 0x80U) return 1;
  if (lead >= 0xC2U && lead <= 0xDFU) return continues(at + 1) ? 2 : 0;
  if (lead >= 0xE0U && lead <= 0xEFU) {
    const bool shortest = lead != 0xE0U || second >= 0xA0U;
    const bool surrogate = lead == 0xEDU && second >= 0xA0U;
    return shortest && !surrogate && continues(at + 1) && continues(at + 2) ? 3 : 0;
  }
  if (lead >= 0xF0U && lead <= 0xF4U) {
    const bool in_range = (lead != 0xF0U || second >= 0x90U) && (lead != 0xF4U || second < 0x90U);
    return in_range && continues(at + 1) && continues(at + 2) && continues(at + 3) ? 4 : 0;
  }
  return 0;
}

// The message, on one line. Knows text and JSON apart only by what else must be escaped.
class OneLineMessage final : public spdlog::custom_flag_formatter {
 public:
  explicit OneLineMessage(LogFormat format) : format_(format) {}

  void format(const spdlog::details::log_msg& message, const std::tm& /*time*/, spdlog::memory_buf_t& out) override {
    const std::string_view text(message.payload.data(), message.payload.size());
    const bool json = format_ == LogFormat::kJson;
    for (std::size_t at = 0; at < text.size();) {
      const char c = text[at];
      const std::size_t length = json ? utf8_length(text, at) : 1;
      if (length == 0) {
        append(out, "\\ufffd");
      } else if (c == '\n') {
        append(out, "\\n");
      } else if (json && (c == '"' || c == '\\')) {
        out.push_back('\\');
        out.push_back(c);
      } else if (static_cast<unsigned char>(c) < 0x20U || c == 0x7F) {
        append(out, fmt::format("\\u{:04x}", static_cast<unsigned>(c)));
      } else {
        append(out, text.substr(at, length));
      }
      at += length == 0 ? 1 : length;
    }
  }

  std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<OneLineMessage>(format_); }

 private:
  static void append(spdlog::memory_buf_t& out, std::string_view text) {
    out.append(text.data(), text.data() + text.size());
  }

  LogFormat format_;
};

}  // namespace

bool is_log_level(std::string_view level) {
  for (const std::string_view known : kLevels) {
    if (level == known) return true;
  }
  return false;
}

void init_logging(std::string_view level, LogFormat format) {
  KLINED_ASSERT(is_log_level(level), "unknown log level");
  const char* const pattern = format == LogFormat::kJson
                                  ? R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l","message":"%*"})"
                                  : "%Y-%m-%dT%H:%M:%S.%eZ %^%-7l%$ %*";
  auto formatter = std::make_unique<spdlog::pattern_formatter>(spdlog::pattern_time_type::utc);
  formatter->add_flag<OneLineMessage>('*', format).set_pattern(pattern);
  auto logger = std::make_shared<spdlog::logger>("klined", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  logger->set_formatter(std::move(formatter));
  logger->set_level(spdlog::level::from_str(std::string(level)));
  logger->flush_on(spdlog::level::trace);
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace klined
