#include "klined/app/candle_table.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>

#include <fmt/format.h>
#include <unistd.h>

namespace klined::app {

namespace {

constexpr std::string_view kGreen = "\x1b[32m";
constexpr std::string_view kRed = "\x1b[31m";
constexpr std::string_view kBold = "\x1b[1m";
constexpr std::string_view kPlain = "\x1b[0m";

struct Column {
  std::string_view title;
  std::function<std::string(const KlineView&)> text;
};

std::string print_change(const Candle& candle) {
  if (candle.open == 0) return "-";
  return fmt::format("{:+.2f}%", (candle.close - candle.open) / candle.open * 100);
}

std::string print_state(const KlineView& view) {
  if (view.candle->total_count() == 0) return "flat";
  return view.closed ? "" : "open";
}

const std::vector<Column>& columns() {
  static const std::vector<Column> kAll = {
      {"time (UTC)", [](const KlineView& v) { return print_utc(v.time); }},
      {"open", [](const KlineView& v) { return print_price(v.candle->open); }},
      {"high", [](const KlineView& v) { return print_price(v.candle->high); }},
      {"low", [](const KlineView& v) { return print_price(v.candle->low); }},
      {"close", [](const KlineView& v) { return print_price(v.candle->close); }},
      {"change", [](const KlineView& v) { return print_change(*v.candle); }},
      {"volume USD", [](const KlineView& v) { return print_amount(v.candle->amount_usd); }},
      {"tokens", [](const KlineView& v) { return print_amount(v.candle->volume_token); }},
      {"trades", [](const KlineView& v) { return print_count(v.candle->total_count()); }},
      {"buys", [](const KlineView& v) { return print_count(v.candle->buy_count); }},
      {"sells", [](const KlineView& v) { return print_count(v.candle->sell_count); }},
      {"market cap", [](const KlineView& v) { return v.candle->mkt_cap == 0 ? "-" : print_price(v.candle->mkt_cap); }},
      {"", print_state},
  };
  return kAll;
}

// Puts commas into the digits before the point.
std::string with_thousands(std::string text) {
  const std::size_t first = text.starts_with('-') ? 1 : 0;
  for (std::size_t end = std::min(text.find_first_not_of("0123456789", first), text.size()); end > first + 3;
       end -= 3) {
    text.insert(end - 3, ",");
  }
  return text;
}

bool same_series(const KlineView& a, const KlineView& b) {
  return a.chain == b.chain && a.pair == b.pair && a.interval == b.interval;
}

}  // namespace

std::string print_price(double price) {
  if (price == 0) return "0";
  const int magnitude = static_cast<int>(std::floor(std::log10(std::fabs(price))));
  if (magnitude < -12 || magnitude > 17) return fmt::format("{:.5e}", price);
  return with_thousands(fmt::format("{:.{}f}", price, std::max(0, 5 - magnitude)));
}

std::string print_amount(Decimal amount) {
  const std::string text = amount.to_string();
  return with_thousands(text.substr(0, text.size() - (Decimal::kPlaces - 2)));
}

std::string print_count(std::int64_t count) { return with_thousands(std::to_string(count)); }

std::string print_utc(UnixSeconds time) {
  const std::chrono::sys_seconds point{std::chrono::seconds(time)};
  const auto day = std::chrono::floor<std::chrono::days>(point);
  const std::chrono::year_month_day ymd(day);
  const std::chrono::hh_mm_ss<std::chrono::seconds> clock(point - day);
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}", static_cast<int>(ymd.year()),
                     static_cast<unsigned>(ymd.month()), static_cast<unsigned>(ymd.day()), clock.hours().count(),
                     clock.minutes().count(), clock.seconds().count());
}

void append_table(std::span<const KlineView> candles, bool colour, std::string& out) {
  if (candles.empty()) return;
  const auto paint = [colour](std::string_view code) { return colour ? code : std::string_view(); };
  std::vector<std::vector<std::string>> cells;
  std::vector<std::size_t> widths;
  for (const Column& column : columns()) widths.push_back(column.title.size());
  for (const KlineView& view : candles) {
    std::vector<std::string>& line = cells.emplace_back();
    for (std::size_t i = 0; i < columns().size(); ++i) {
      line.push_back(columns()[i].text(view));
      widths[i] = std::max(widths[i], line.back().size());
    }
  }
  const KlineView& first = candles.front();
  out += fmt::format("{}{}  {}  chain {}{}\n", paint(kBold), first.pair, name_of(first.interval), first.chain,
                     paint(kPlain));
  std::string heading;
  for (std::size_t i = 0; i < widths.size(); ++i) heading += fmt::format("  {:>{}}", columns()[i].title, widths[i]);
  out += heading.substr(0, heading.find_last_not_of(' ') + 1) + '\n';
  for (std::size_t row = 0; row < cells.size(); ++row) {
    const Candle& candle = *candles[row].candle;
    const bool coloured = colour && candle.close != candle.open;
    std::string line;
    for (std::size_t i = 0; i < widths.size(); ++i) line += fmt::format("  {:>{}}", cells[row][i], widths[i]);
    line.resize(line.find_last_not_of(' ') + 1);
    if (coloured) out += candle.close > candle.open ? kGreen : kRed;
    out += line;
    if (coloured) out += kPlain;
    out += '\n';
  }
}

void append_candles(std::span<const KlineView> candles, OutputFormat format, bool colour, std::string& out) {
  if (format == OutputFormat::kCsv) out += csv_header();
  if (format == OutputFormat::kTable) {
    for (std::size_t begin = 0; begin < candles.size();) {
      std::size_t end = begin + 1;
      while (end < candles.size() && same_series(candles[begin], candles[end])) ++end;
      if (begin > 0) out += '\n';
      append_table(candles.subspan(begin, end - begin), colour, out);
      begin = end;
    }
    return;
  }
  for (const KlineView& view : candles) {
    if (format == OutputFormat::kCsv) {
      append_csv(view, out);
    } else {
      append_json(view, out);
      out += '\n';
    }
  }
}

std::optional<std::vector<KlineView>> fill_gaps(std::span<const KlineView> candles, UnixSeconds from, UnixSeconds to,
                                                std::size_t limit, std::deque<Candle>& flat) {
  std::vector<KlineView> filled;
  flat.clear();
  for (std::size_t i = 0; i < candles.size(); ++i) {
    const KlineView& last = candles[i];
    if (last.time >= from && last.time < to) filled.push_back(last);
    const UnixSeconds gap_end = i + 1 < candles.size() ? std::min(candles[i + 1].time, to) : to;
    UnixSeconds time = bucket_of(last.interval, last.candle->open_at).end;
    if (time < from) time = bucket_of(last.interval, from - 1).end;
    if (time >= gap_end) continue;
    Candle& candle = flat.emplace_back();  // one for the whole gap
    candle.open = candle.high = candle.low = candle.close = last.candle->close;
    candle.mcap_open = candle.mcap_high = candle.mcap_low = candle.mcap_close = last.candle->mcap_close;
    candle.mkt_cap = last.candle->mkt_cap;
    candle.pump_point = last.candle->pump_point;
    candle.token = last.candle->token;
    for (; time < gap_end && filled.size() <= limit; time = bucket_of(last.interval, time).end) {
      KlineView& view = filled.emplace_back(last);
      view.time = time;
      view.candle = &candle;
      view.closed = true;
    }
    if (filled.size() > limit) return std::nullopt;
  }
  return filled;
}

bool stdout_has_colour() {
  const char* const no_colour = std::getenv("NO_COLOR");  // NOLINT(concurrency-mt-unsafe): nobody sets it
  return isatty(STDOUT_FILENO) != 0 && (no_colour == nullptr || *no_colour == '\0');
}

bool print_out(std::string_view text) {
  return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
}

}  // namespace klined::app
