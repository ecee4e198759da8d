// Trades from files: recorded trades for `klined feed --file`, `klined aggregate` and tests.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "klined/base/error.hpp"

namespace klined {

// Reads a file of trades, or the standard input, as JSON batches: one a line, so that a file has the shape of a topic.
//
// JSONL: each line is a trade or an array of trades. The lines are not judged here: what is no JSON comes out as it is,
// for the decoder to refuse and count.
// CSV (RFC 4180, with a header line): each record becomes one trade. Columns are named as the fields are, in either
// spelling, `pair_info.token_addr` being a member of the nested object; other columns are handed on, an empty cell is a
// missing field. A file is CSV where its name says so (.csv, .csv.gz) or its first line names a field of a trade.
// Either may be compressed with gzip; that is told by its first bytes.
//
// Fails, for good, on what cannot be read right: a damaged archive, a record with too many or too few cells, a quote
// that is not closed, a line of more than 64 MiB. One thread.
class TradeFile {
 public:
  // `path` may be "-" for the standard input.
  static Result<TradeFile> open(const std::string& path);
  ~TradeFile();
  TradeFile(TradeFile&&) noexcept;
  TradeFile& operator=(TradeFile&&) noexcept;

  // The next line's trades as a JSON array; nothing at the end. Blank lines are skipped, and numbered.
  Result<std::optional<std::string>> next();
  // The number of the line that next() gave last (where it began), from 0; a CSV file's header has one as well.
  std::int64_t line() const;
  // What messages call the file: its path, or "standard input".
  const std::string& name() const;

 private:
  class Reader;
  explicit TradeFile(std::unique_ptr<Reader> reader);
  std::unique_ptr<Reader> reader_;
};

}  // namespace klined
