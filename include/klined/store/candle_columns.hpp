// How a candle lies in its row: the columns of sql/001_candles.sql, written and read back bit for bit.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "klined/core/series.hpp"
#include "klined/store/bulk_rows.hpp"
#include "klined/store/mysql_connection.hpp"
#include "klined/store/sql_text.hpp"
#include "klined/store/topic_numbers.hpp"

namespace klined {

// A position as the columns open_pos, close_pos and last_pos hold it:
// block_time:slot:transaction_index:log_index:topic_id:partition:offset:index, all decimal.
void append_position(SqlText& sql, const Position& position, const TopicNumbers& topics);
// Nothing where the text is no position, or names a topic that is not in `topics`.
std::optional<Position> parse_position(std::string_view text, const TopicNumbers& topics);

// "INSERT INTO <table> (<columns>) VALUES"
void append_upsert_head(SqlText& sql, Interval interval);
// "(…)": the values of one row, at most kRowSizeMax bytes.
void append_row(SqlText& sql, const CandleRow& row, const TopicNumbers& topics);
inline constexpr std::size_t kRowSizeMax = 2048;
// "ON DUPLICATE KEY UPDATE …"
void append_upsert_tail(SqlText& sql);

// The same as a statement with a '?' for each value, and the values of one row for it, at most kRowSizeMax bytes.
std::string upsert_statement(Interval interval);
void append_row(BulkRows& rows, const CandleRow& row, const TopicNumbers& topics);

// Which columns a SELECT lists, and read_candle() reads: with the positions, a candle merges with others; without, it
// can only be shown (its positions hold the block times of `last`, and nothing else).
enum class CandleColumns { kAll, kWithoutPositions };
// "k.chain_id,k.pair_address,…": of a table that the statement calls k.
std::string_view selected_columns(CandleColumns columns);
// " AND (key > after)" of the table k, in a form for which both servers use the index.
void append_after(SqlText& sql, const CandleKey& after);
// The row that `rows` stands at. Columns that cannot be read spoil `rows`.
CandleRow read_candle(SqlRows& rows, Interval interval, CandleColumns columns, const TopicNumbers& topics);

}  // namespace klined
