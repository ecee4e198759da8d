// How a lane's place in a partition lies in its row: the columns of stream_offset.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "klined/store/candle_store.hpp"
#include "klined/store/mysql_connection.hpp"
#include "klined/store/sql_text.hpp"

namespace klined {

// "56:1700000000,100000:1700000003": chain:time, ascending by chain; "" for none.
std::string clocks_text(const ChainClocks& clocks);
std::optional<ChainClocks> parse_clocks(std::string_view text);

// What a SELECT lists, and read_offset() reads, from column 0 on.
inline constexpr std::string_view kOffsetColumns =
    "topic,partition_id,lane,next_offset,window_offset,window_clocks,max_block_time,closed_until";
inline constexpr unsigned kOffsetColumnCount = 8;
LaneOffset read_offset(SqlRows& rows);
// "(…)": the values of one row, in the order of "consumer_group,owner,<kOffsetColumns>".
void append_offset(SqlText& sql, std::string_view group, std::uint64_t owner, const LaneOffset& offset);

// The name in stream_meta under which the offset stands where the candles' trades of a partition begin.
std::string begin_name(std::int32_t topic_number, std::int32_t partition);

}  // namespace klined
