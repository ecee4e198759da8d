#include "klined/codec/put_backs.hpp"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>
#include <zlib.h>

#include "klined/codec/trade_decoder.hpp"

namespace klined {

namespace {

constexpr std::size_t kCrcDigits = 8;

template <typename Number>
bool read_all(std::string_view text, int base, Number& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out, base);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

Checksum checksum_of(std::string_view bytes) {
  const auto* const data = reinterpret_cast<const unsigned char*>(bytes.data());
  return {bytes.size(), static_cast<std::uint32_t>(crc32_z(0, data, bytes.size()))};
}

std::string checksum_text(Checksum checksum) { return fmt::format("{}:{:08x}", checksum.size, checksum.crc32); }

std::optional<Checksum> parse_checksum(std::string_view text) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos || text.size() - colon - 1 != kCrcDigits) return std::nullopt;
  Checksum checksum;
  if (!read_all(text.substr(0, colon), 10, checksum.size)) return std::nullopt;
  if (!read_all(text.substr(colon + 1), 16, checksum.crc32)) return std::nullopt;
  return checksum;
}

void PutBack::note(std::optional<std::uint32_t> index, std::int32_t attempt, std::optional<Checksum> of) {
  Note& known = index ? elements_[*index] : whole_;
  if (attempt >= known.attempt) known = {attempt, of};
}

NoteSays PutBack::of_whole(std::int32_t attempt, std::string_view value) const {
  if (whole_.attempt <= attempt) return NoteSays::kNothing;
  if (attempt > 0 || !whole_.of) return NoteSays::kReplaced;
  return *whole_.of == checksum_of(value) ? NoteSays::kReplaced : NoteSays::kForeign;
}

NoteSays PutBack::of_part(std::int32_t attempt) const {
  if (whole_.attempt <= attempt) return NoteSays::kNothing;
  return attempt > 0 || !whole_.of ? NoteSays::kReplaced : NoteSays::kUnknown;
}

NoteSays PutBack::of_element(std::int32_t attempt, std::uint32_t index, std::string_view bytes, NoteSays whole) const {
  if (whole == NoteSays::kReplaced) return whole;
  const auto found = elements_.find(index);
  if (found == elements_.end() || found->second.attempt <= attempt) return whole;
  const Note& note = found->second;
  if (attempt > 0 || !note.of || *note.of == checksum_of(bytes)) return NoteSays::kReplaced;
  return whole == NoteSays::kUnknown ? whole : NoteSays::kForeign;
}

std::int32_t PutBack::attempt_of(std::uint32_t index) const {
  const auto found = elements_.find(index);
  return found == elements_.end() ? whole_.attempt : std::max(whole_.attempt, found->second.attempt);
}

std::int32_t PutBack::last() const {
  std::int32_t last = whole_.attempt;
  for (const auto& [index, note] : elements_) last = std::max(last, note.attempt);
  return last;
}

void PutBacks::add(const Origin& origin) {
  PutBack& message = messages_[{origin.log.partition(), origin.offset}];
  if (!origin.indexes) message.note(std::nullopt, origin.attempt, origin.checksum);
  for (const std::uint32_t index : origin.indexes.value_or(std::vector<std::uint32_t>())) {
    message.note(index, origin.attempt, origin.checksum);
  }
}

const PutBack* PutBacks::find(std::uint32_t partition, std::int64_t offset) const {
  const auto found = messages_.find({partition, offset});
  return found == messages_.end() ? nullptr : &found->second;
}

}  // namespace klined
