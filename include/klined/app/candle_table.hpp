// Candles on stdout: a table that people like to read, JSON and CSV for programs.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "klined/codec/kline_encoder.hpp"

namespace klined::app {

enum class OutputFormat { kTable, kJson, kCsv };

// A price with six significant digits and thousands: "67,123.5" "1.00000" "0.00000123457"; in scientific notation below
// 1e-12.
std::string print_price(double price);
// With two places and thousands, cut not rounded: "1,234,567.89".
std::string print_amount(Decimal amount);
// With thousands: "1,234".
std::string print_count(std::int64_t count);
// "2026-01-31 23:59:00"
std::string print_utc(UnixSeconds time);

// Appends candles of one series, oldest first: a heading, then one line a candle. Columns are aligned; rising candles
// are green and falling ones red where `colour` is set.
void append_table(std::span<const KlineView> candles, bool colour, std::string& out);
// Appends candles in the format: for tables, those of one series follow one another; JSON is one object a line; CSV has
// a header line.
void append_candles(std::span<const KlineView> candles, OutputFormat format, bool colour, std::string& out);

// The candles of one series, and a flat one (the price of the last close, no volume, no trades) in each empty bucket,
// in [from, to). `candles` are in order of time; one that begins before `from` is only the price of the first gap, and
// there is nothing before the first one. `flat` holds the added candles, and must outlive the views. Nothing where the
// result would be longer than `limit`.
std::optional<std::vector<KlineView>> fill_gaps(std::span<const KlineView> candles, UnixSeconds from, UnixSeconds to,
                                                std::size_t limit, std::deque<Candle>& flat);

// True where stdout is a terminal that may be coloured (NO_COLOR is not set).
bool stdout_has_colour();
// Writes to stdout; false where that fails (a full disk, a closed pipe).
bool print_out(std::string_view text);

}  // namespace klined::app
