#include "klined/core/clocks_text.hpp"

#include <fmt/format.h>

#include <charconv>

namespace klined {

std::string clocks_text(const ChainClocks& clocks) {
  std::string text;
  for (const ChainClock& clock : clocks) {
    fmt::format_to(std::back_inserter(text), "{}{}:{}", text.empty() ? "" : ",", clock.chain, clock.time);
  }
  return text;
}

std::optional<ChainClocks> parse_clocks(std::string_view text) {
  ChainClocks clocks;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at != end) {
    ChainClock clock;
    const auto chain = std::from_chars(at, end, clock.chain);
    if (chain.ec != std::errc() || chain.ptr == end || *chain.ptr != ':') return std::nullopt;
    const auto time = std::from_chars(chain.ptr + 1, end, clock.time);
    if (time.ec != std::errc()) return std::nullopt;
    if (!clocks.empty() && clocks.back().chain >= clock.chain) return std::nullopt;
    clocks.push_back(clock);
    at = time.ptr;
    if (at == end) break;
    if (*at != ',' || at + 1 == end) return std::nullopt;
    ++at;
  }
  return clocks;
}

}  // namespace klined
