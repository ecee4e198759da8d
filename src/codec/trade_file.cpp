#include "klined/codec/trade_file.hpp"

#include <array>
#include <cerrno>
#include <string_view>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>
#include <zlib.h>

#include "csv_trades.hpp"

namespace klined {

namespace {

constexpr std::size_t kLineLimit = std::size_t{64} << 20U;
constexpr std::size_t kChunk = std::size_t{256} << 10U;
constexpr std::string_view kBlanks = " \t\r\n";
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";  // some tools begin their CSV files with it

struct CloseFile {
  void operator()(gzFile file) const { gzclose_r(file); }
};
using File = std::unique_ptr<gzFile_s, CloseFile>;

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

// True where text follows the object that the text begins with, as in `{…}, {…}`.
bool goes_on_after_object(std::string_view text) {
  std::size_t depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      ++depth;
    } else if ((c == '}' || c == ']') && --depth == 0) {
      return i + 1 < text.size();
    }
  }
  return false;
}

}  // namespace

class TradeFile::Reader {
 public:
  Reader(std::string name, File file) : name_(std::move(name)), file_(std::move(file)), chunk_(kChunk, '\0') {}

  Result<std::optional<std::string>> next();
  std::int64_t line() const { return line_; }
  const std::string& name() const { return name_; }
  // Reads the first line, which tells the format.
  Status begin();

 private:
  Result<bool> read_line(std::string& line);
  Result<bool> read_record(std::string& record);
  Result<std::string> record_to_json(std::string_view record);
  std::unexpected<Error> fail(std::string_view problem) const {
    return fatal(fmt::format("cannot read trades from {}: {}", name_, problem));
  }

  std::string name_;
  File file_;
  std::string chunk_;
  std::size_t begin_ = 0;  // what is not used up of the chunk
  std::size_t end_ = 0;
  std::int64_t next_line_ = 0;
  std::int64_t line_ = 0;  // where the line that was given last began
  std::string held_;       // a first line of JSON, read ahead
  bool is_held_ = false;
  bool is_csv_ = false;
  CsvTrades csv_;
};

// False at the end of the file. The line end, and a carriage return before it, are cut off.
Result<bool> TradeFile::Reader::read_line(std::string& line) {
  line.clear();
  for (bool any = false;;) {
    if (begin_ == end_) {
      const int got = gzread(file_.get(), chunk_.data(), static_cast<unsigned>(chunk_.size()));
      int error = Z_OK;
      const char* const message = gzerror(file_.get(), &error);
      if (got < 0 || (got == 0 && error != Z_OK && error != Z_STREAM_END)) {
        return fail(error == Z_ERRNO ? std::generic_category().message(errno) : message);
      }
      if (got == 0) {
        if (any) ++next_line_;
        return any;
      }
      begin_ = 0;
      end_ = static_cast<std::size_t>(got);
    }
    any = true;
    const std::string_view rest(chunk_.data() + begin_, end_ - begin_);
    const std::size_t size = rest.find('\n');
    line.append(rest.substr(0, size));
    if (line.size() > kLineLimit) {
      return fail(fmt::format("line {} is longer than {} MiB; one trade or one batch a line is expected",
                              next_line_ + 1, kLineLimit >> 20U));
    }
    begin_ = size == std::string_view::npos ? end_ : begin_ + size + 1;
    if (size != std::string_view::npos) break;
  }
  ++next_line_;
  if (line.ends_with('\r')) line.pop_back();
  return true;
}

// A line, and those that a quoted cell goes on in.
Result<bool> TradeFile::Reader::read_record(std::string& record) {
  Result<bool> more = read_line(record);
  line_ = next_line_ - 1;
  std::string line;
  while (more && *more && csv_record_goes_on(record)) {
    more = read_line(line);
    if (!more) return more;
    if (!*more) return fail(fmt::format("line {}: a quote is not closed", line_ + 1));
    record.append("\n").append(line);
    if (record.size() > kLineLimit) return fail(fmt::format("line {}: a quote is not closed", line_ + 1));
  }
  return more;
}

Status TradeFile::Reader::begin() {
  std::string first;
  const Result<bool> more = read_line(first);
  if (!more) return std::unexpected(more.error());
  if (!*more) return {};
  const bool named_csv = name_.ends_with(".csv") || name_.ends_with(".csv.gz");
  if (first.starts_with(kByteOrderMark)) first.erase(0, kByteOrderMark.size());
  const std::string_view content = trimmed(first);
  if (named_csv || (!content.starts_with('{') && !content.starts_with('['))) {
    auto columns = split_csv(first);
    is_csv_ = columns && CsvTrades::names_a_field(*columns);
    if (is_csv_) csv_ = CsvTrades(std::move(*columns));
  }
  if (named_csv && !is_csv_) {
    return fail("its first line is no CSV header with a trade's fields (type, pair_addr, block_time, …)");
  }
  if (!is_csv_) held_ = std::move(first);
  is_held_ = !is_csv_;
  return {};
}

Result<std::string> TradeFile::Reader::record_to_json(std::string_view record) {
  const auto cells = split_csv(record);
  if (!cells) return fail(fmt::format("line {}: {}", line_ + 1, cells.error()));
  if (cells->size() != csv_.column_count()) {
    return fail(
        fmt::format("line {} has {} cells, but the header has {}", line_ + 1, cells->size(), csv_.column_count()));
  }
  return csv_.to_json(*cells);
}

Result<std::optional<std::string>> TradeFile::Reader::next() {
  std::string line;
  for (;;) {
    if (is_held_) {
      line = std::exchange(held_, {});
      is_held_ = false;
      line_ = 0;
    } else {
      const Result<bool> more = is_csv_ ? read_record(line) : read_line(line);
      if (!more) return std::unexpected(more.error());
      if (!*more) return std::nullopt;
      if (!is_csv_) line_ = next_line_ - 1;
    }
    const std::string_view content = trimmed(line);
    if (content.empty()) continue;
    if (is_csv_) return record_to_json(line);
    if (content.starts_with('[')) return line;
    if (content.starts_with('{') && goes_on_after_object(content)) return line;  // no trade, no batch: refused whole
    line.insert(line.begin(), '[');
    line.push_back(']');
    return line;
  }
}

Result<TradeFile> TradeFile::open(const std::string& path) {
  const bool is_stdin = path == "-";
  errno = 0;
  gzFile file = is_stdin ? gzdopen(dup(STDIN_FILENO), "rb") : gzopen(path.c_str(), "rb");
  if (file == nullptr) {
    return fatal(fmt::format("cannot read trades from {}: {}", is_stdin ? "standard input" : path,
                             std::generic_category().message(errno != 0 ? errno : ENOMEM)));
  }
  gzbuffer(file, static_cast<unsigned>(kChunk));
  TradeFile result(std::make_unique<Reader>(is_stdin ? "standard input" : path, File(file)));
  if (const Status status = result.reader_->begin(); !status) return std::unexpected(status.error());
  return result;
}

TradeFile::TradeFile(std::unique_ptr<Reader> reader) : reader_(std::move(reader)) {}
TradeFile::~TradeFile() = default;
TradeFile::TradeFile(TradeFile&&) noexcept = default;
TradeFile& TradeFile::operator=(TradeFile&&) noexcept = default;

Result<std::optional<std::string>> TradeFile::next() { return reader_->next(); }
std::int64_t TradeFile::line() const { return reader_->line(); }
const std::string& TradeFile::name() const { return reader_->name(); }

}  // namespace klined
