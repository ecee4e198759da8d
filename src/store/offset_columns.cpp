#include "klined/store/offset_columns.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace klined {

std::string windows_text(const LaneOffset& offset) {
  if (offset.source_windows.empty()) return clocks_text(offset.window_clocks);
  std::string text;
  for (const SourceWindow& window : offset.source_windows) {
    text += text.empty() ? "" : ";";
    text += window.source == kOwnSource ? "own" : std::to_string(window.source);
    fmt::format_to(std::back_inserter(text), "@{}={}", window.window_offset, clocks_text(window.window_clocks));
  }
  return text;
}

namespace {

std::optional<SourceWindow> parse_window(std::string_view text) {
  const std::size_t at = text.find('@');
  const std::size_t equals = text.find('=');
  if (at == std::string_view::npos || equals == std::string_view::npos || equals < at) return std::nullopt;
  const auto number = [](std::string_view digits, auto& out) {
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out);
    return error == std::errc() && end == digits.data() + digits.size() && out >= 0;
  };
  SourceWindow window;
  const std::string_view source = text.substr(0, at);
  if (source != "own" && !number(source, window.source)) return std::nullopt;
  if (!number(text.substr(at + 1, equals - at - 1), window.window_offset)) return std::nullopt;
  std::optional<ChainClocks> clocks = parse_clocks(text.substr(equals + 1));
  if (!clocks) return std::nullopt;
  window.window_clocks = std::move(*clocks);
  return window;
}

}  // namespace

bool parse_windows(std::string_view text, LaneOffset& out) {
  out.window_clocks.clear();
  out.source_windows.clear();
  if (text.find('@') == std::string_view::npos) {
    std::optional<ChainClocks> clocks = parse_clocks(text);
    if (clocks) out.window_clocks = std::move(*clocks);
    return clocks.has_value();
  }
  while (!text.empty()) {
    const std::string_view part = text.substr(0, text.find(';'));
    text.remove_prefix(std::min(text.size(), part.size() + 1));
    std::optional<SourceWindow> window = parse_window(part);
    if (!window || (!out.source_windows.empty() && out.source_windows.back().source >= window->source)) return false;
    out.source_windows.push_back(std::move(*window));
  }
  return true;
}

LaneOffset read_offset(SqlRows& rows) {
  LaneOffset offset;
  offset.topic = rows.text(0);
  offset.partition = static_cast<std::int32_t>(rows.integer(1));
  offset.lane = static_cast<std::int32_t>(rows.integer(2));
  offset.next_offset = rows.integer(3);
  offset.window_offset = rows.integer(4);
  if (!parse_windows(rows.text(5), offset)) rows.spoil(5);
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
  sql.quoted(windows_text(offset)) << ',';
  sql.integer(offset.max_block_time) << ',';
  sql.integer(offset.closed_until) << ')';
}

std::string begin_name(std::int32_t topic_number, std::int32_t partition) {
  return fmt::format("begin:{}:{}", topic_number, partition);
}

Result<std::vector<LaneOffset>> read_offsets(MySqlConnection& connection, SqlText& sql, std::string_view group,
                                             bool locking) {
  sql.clear();
  sql << "SELECT " << kOffsetColumns << " FROM stream_offset FORCE INDEX (PRIMARY) WHERE consumer_group=";
  sql.quoted(group) << " ORDER BY topic,partition_id,lane" << (locking ? " FOR UPDATE" : "");
  Result<SqlRows> rows = connection.query(sql.view(), "read the stored offsets");
  if (!rows) return std::unexpected(rows.error());
  std::vector<LaneOffset> offsets;
  while (rows->next()) offsets.push_back(read_offset(*rows));
  if (rows->good()) return offsets;
  return fatal(
      fmt::format("mysql: column {} of stream_offset holds a value that klined has not written", rows->which_bad()));
}

}  // namespace klined
