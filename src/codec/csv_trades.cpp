#include "csv_trades.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "field_names.hpp"
#include "klined/core/decimal.hpp"

namespace klined {

namespace {

constexpr std::array<std::string_view, 2> kNestedPrefixes = {"pair_info.", "PairInfo."};

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  }
  return lower;
}

void append_json_string(std::string_view text, std::string& out) {
  out.push_back('"');
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (static_cast<unsigned char>(c) < 0x20) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out.push_back(c);
    }
  }
  out.push_back('"');
}

bool is_number_field(Field field) {
  switch (field) {
    case Field::kSlot:
    case Field::kBlockNum:
    case Field::kTransactionIndex:
    case Field::kLogIndex:
    case Field::kBlockTime:
    case Field::kChainIdInt:
    case Field::kTokenAmount:
    case Field::kBaseTokenAmount:
    case Field::kTokenPriceUsd:
    case Field::kTotalUsd:
    case Field::kMcap:
    case Field::kFdv:
    case Field::kPumpPoint: return true;
    default: return false;
  }
}

}  // namespace

std::expected<std::vector<std::string>, std::string> split_csv(std::string_view record) {
  std::vector<std::string> cells;
  std::size_t at = 0;
  for (;;) {
    std::string cell;
    if (at < record.size() && record[at] == '"') {
      for (++at;; ++at) {
        const std::size_t quote = record.find('"', at);
        if (quote == std::string_view::npos) return std::unexpected("a quote is not closed");
        cell.append(record.substr(at, quote - at));
        at = quote + 1;
        if (at == record.size() || record[at] != '"') break;
        cell.push_back('"');
      }
      if (at < record.size() && record[at] != ',') {
        return std::unexpected(fmt::format("text follows the closing quote of cell {}", cells.size() + 1));
      }
    } else {
      const std::size_t end = std::min(record.find(',', at), record.size());
      cell = record.substr(at, end - at);
      if (cell.find('"') != std::string::npos) {
        return std::unexpected(fmt::format("cell {} has a quote inside, but is not quoted", cells.size() + 1));
      }
      at = end;
    }
    cells.push_back(std::move(cell));
    if (at == record.size()) return cells;
    ++at;
  }
}

bool csv_record_goes_on(std::string_view text) { return std::ranges::count(text, '"') % 2 != 0; }

bool CsvTrades::names_a_field(const std::vector<std::string>& columns) {
  return std::ranges::any_of(columns,
                             [](const std::string& name) { return kFieldTable.find(name) != Field::kUnknown; });
}

CsvTrades::CsvTrades(std::vector<std::string> columns) {
  for (std::string& name : columns) {
    Column column;
    for (const std::string_view prefix : kNestedPrefixes) column.nested = column.nested || name.starts_with(prefix);
    if (column.nested) {
      column.key = name.substr(kNestedPrefixes[0].find('.') + 1);
      if (name.starts_with(kNestedPrefixes[1])) column.key = name.substr(kNestedPrefixes[1].size());
    } else {
      const Field field = kFieldTable.find(name);
      if (is_number_field(field)) column.kind = Kind::kNumber;
      if (field == Field::kClamp) column.kind = Kind::kBool;
      column.key = std::move(name);
    }
    columns_.push_back(std::move(column));
  }
}

std::string CsvTrades::to_json(const std::vector<std::string>& cells) const {
  std::string object;
  std::string nested;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    const std::string& cell = cells[i];
    if (cell.empty()) continue;
    const Column& column = columns_[i];
    std::string& out = column.nested ? nested : object;
    if (!out.empty()) out.push_back(',');
    append_json_string(column.key, out);
    out.push_back(':');
    // Tables are often written by tools that say True and FALSE.
    const std::string lower = column.kind == Kind::kBool ? lower_case(cell) : std::string();
    if (lower == "true" || lower == "false") {
      out.append(lower);
    } else if (column.kind == Kind::kNumber && is_json_number(cell)) {
      out.append(cell);
    } else {
      append_json_string(cell, out);
    }
  }
  if (!nested.empty()) {
    if (!object.empty()) object.push_back(',');
    object.append("\"pair_info\":{").append(nested).push_back('}');
  }
  return fmt::format("[{{{}}}]", object);
}

}  // namespace klined
