#include "klined/store/offset_columns.hpp"

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

LaneOffset read_offset(SqlRows& rows) {
  LaneOffset offset;
  offset.topic = rows.text(0);
  offset.partition = static_cast<std::int32_t>(rows.integer(1));
  offset.lane = static_cast<std::int32_t>(rows.integer(2));
  offset.next_offset = rows.integer(3);
  offset.window_offset = rows.integer(4);
  std::optional<ChainClocks> clocks = parse_clocks(rows.text(5));
  if (!clocks) rows.spoil(5);
  offset.window_clocks = std::move(clocks).value_or(ChainClocks());
  offset.max_block_time = rows.integer(6);
  offset.closed_until = rows.integer(7);
  return offset;
}

void append_offset(SqlText& sql, std::string_view group, std::uint64_t owner, const LaneOffset& offset) {
  sql << '(';
  sql.quoted(group) << ',';
  sql.unsigned_integer(owner) << ',';
  sql.quoted(offset.topic) << ',';
  sql.integer(offset.partition) << ',';
  sql.integer(offset.lane) << ',';
  sql.integer(offset.next_offset) << ',';
  sql.integer(offset.window_offset) << ',';
  sql.quoted(clocks_text(offset.window_clocks)) << ',';
  sql.integer(offset.max_block_time) << ',';
  sql.integer(offset.closed_until) << ')';
}

std::string begin_name(std::int32_t topic_number, std::int32_t partition) {
  return fmt::format("begin:{}:{}", topic_number, partition);
}

}  // namespace klined
