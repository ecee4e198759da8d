// How a lane's place in a partition lies in its row: the columns of stream_offset.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "klined/core/clocks_text.hpp"
#include "klined/store/candle_store.hpp"
#include "klined/store/mysql_connection.hpp"
#include "klined/store/sql_text.hpp"

namespace klined {

// The column window_clocks: clocks_text() for a partition that has clocks of its own only; else for each source
// <partition of the origin, or "own">@<window_offset>=<clocks>, with ; between, "own" first.
std::string windows_text(const LaneOffset& offset);
// False where the text is no such thing.
bool parse_windows(std::string_view text, LaneOffset& out);

// What a SELECT lists, and read_offset() reads, from column 0 on.
inline constexpr std::string_view kOffsetColumns =
    "topic,partition_id,lane,next_offset,window_offset,window_clocks,max_block_time,closed_until";
inline constexpr unsigned kOffsetColumnCount = 8;
LaneOffset read_offset(SqlRows& rows);
// All rows of the group, by topic, partition and lane; `locking`: for update. Runs in the connection's transaction.
Result<std::vector<LaneOffset>> read_offsets(MySqlConnection& connection, SqlText& sql, std::string_view group,
                                             bool locking);
// "(…)": the values of one row, in the order of "consumer_group,owner,<kOffsetColumns>".
void append_offset(SqlText& sql, std::string_view group, std::uint64_t owner, const LaneOffset& offset);

// The name in stream_meta under which the offset stands where the candles' trades of a partition begin.
std::string begin_name(std::int32_t topic_number, std::int32_t partition);

}  // namespace klined
