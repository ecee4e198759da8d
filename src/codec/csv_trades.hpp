// CSV records to JSON trades.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace klined {

// The cells of one RFC 4180 record without its line end, or what is wrong with it. Quoted cells may hold line ends.
std::expected<std::vector<std::string>, std::string> split_csv(std::string_view record);

// Whether a quoted cell is still open at the end of the text, so that the record goes on in the next line.
bool csv_record_goes_on(std::string_view text);

// What the header line of a CSV file says: which column is which field.
class CsvTrades {
 public:
  // Whether any column is a field of a trade that klined looks at.
  static bool names_a_field(const std::vector<std::string>& columns);

  CsvTrades() = default;
  explicit CsvTrades(std::vector<std::string> columns);

  std::size_t column_count() const { return columns_.size(); }
  // A record's cells, one a column, as an array of one JSON object: numbers and booleans of fields that are such stay
  // bare where they are well-formed; all else becomes a string. Empty cells are left out.
  std::string to_json(const std::vector<std::string>& cells) const;

 private:
  enum class Kind { kText, kNumber, kBool };
  struct Column {
    std::string key;  // in its object
    Kind kind = Kind::kText;
    bool nested = false;  // a member of pair_info
  };
  std::vector<Column> columns_;
};

}  // namespace klined
