#include "klined/stream/output_check.hpp"

#include <algorithm>
#include <functional>

#include <fmt/format.h>

#include "kline.pb.h"
#include "klined/codec/kline_encoder.hpp"

namespace klined {

namespace {

constexpr int kClosedField = 24;

// Recomputation::Entry::published.
enum : std::uint8_t { kNone, kRight, kWrong };

std::string text_of(const proto::Kline& kline, const google::protobuf::FieldDescriptor& field) {
  const google::protobuf::Reflection& of = *kline.GetReflection();
  switch (field.cpp_type()) {
    case google::protobuf::FieldDescriptor::CPPTYPE_DOUBLE: return fmt::format("{}", of.GetDouble(kline, &field));
    case google::protobuf::FieldDescriptor::CPPTYPE_INT64: return std::to_string(of.GetInt64(kline, &field));
    default: return of.GetString(kline, &field);
  }
}

// The same for equal fields, whatever `closed` is.
std::uint64_t digest_of(const proto::Kline& kline) {
  std::string text;
  const google::protobuf::Descriptor& all = *proto::Kline::descriptor();
  for (int i = 0; i < all.field_count(); ++i) {
    if (all.field(i)->number() == kClosedField) continue;
    text += text_of(kline, *all.field(i));
    text += '\0';
  }
  return std::hash<std::string>{}(text);
}

}  // namespace

std::vector<CellDifference> differences_of(const proto::Kline& stored, const proto::Kline& expected) {
  std::vector<CellDifference> cells;
  const google::protobuf::Descriptor& all = *proto::Kline::descriptor();
  for (int i = 0; i < all.field_count(); ++i) {
    const google::protobuf::FieldDescriptor& field = *all.field(i);
    if (field.number() == kClosedField) continue;
    std::string is = text_of(stored, field);
    std::string should_be = text_of(expected, field);
    if (is != should_be) cells.push_back({field.name(), std::move(is), std::move(should_be)});
  }
  return cells;
}

proto::Kline expected_kline(const CandleKey& key, const Candle& candle) {
  proto::Kline kline;
  fill_kline({key.chain, key.pair, key.interval, key.time, &candle, false}, kline);
  return kline;
}

// ---- Published -----------------------------------------------------------------------------------------------------

void PublishedCheck::add(Suspect& suspect, const proto::Kline& kline) const {
  const auto newest = suspect.published.empty() ? 0 : suspect.published.rbegin()->first;
  if (kline.total_count() >= newest) suspect.newest = kline.SerializeAsString();
  suspect.published[kline.total_count()] = digest_of(kline);
}

void PublishedCheck::take_first(const CandleKey& key, const proto::Kline& kline) {
  ++klines_;
  Recomputation::Entry* const entry = again_.find(key);
  const std::int64_t revision = entry == nullptr ? 0 : entry->candle.revision();
  if (kline.total_count() < revision) return;
  if (kline.total_count() == revision && entry != nullptr) {
    const bool is_right = differences_of(kline, expected_kline(key, entry->candle)).empty();
    entry->published = is_right ? kRight : kWrong;
    const auto known = suspects_.find(key);
    if (is_right && known == suspects_.end()) return;
  }
  const auto [at, is_new] = suspects_.try_emplace(key);
  const std::size_t before = at->second.published.size();
  add(at->second, kline);
  versions_ += at->second.published.size() - before;
  at->second.largest = std::max(at->second.largest, kline.total_count());
}

void PublishedCheck::end_first() {
  again_.for_each([this](const CandleKey& key, const Recomputation::Entry& entry) {
    if (entry.published == kRight) return;
    Suspect& suspect = suspects_[key];
    suspect.largest = std::max(suspect.largest, entry.candle.revision());
  });
  settle();
}

void PublishedCheck::take_later(const CandleKey& key, const proto::Kline& kline) {
  const auto at = suspects_.find(key);
  if (at == suspects_.end()) return;
  const std::size_t before = at->second.published.size();
  add(at->second, kline);
  versions_ += at->second.published.size() - before;
}

void PublishedCheck::settle() {
  for (auto at = suspects_.begin(); at != suspects_.end();) {
    at = is_settled(at->first, at->second) ? suspects_.erase(at) : std::next(at);
  }
}

bool PublishedCheck::is_settled(const CandleKey& key, Suspect& suspect) {
  const Recomputation::Entry* const entry = again_.find(key);
  if (entry == nullptr) return false;
  const std::int64_t revision = entry->candle.revision();
  // Whatever is older than the row will not be asked for again.
  const std::size_t before = suspect.published.size();
  suspect.published.erase(suspect.published.begin(), suspect.published.lower_bound(revision));
  versions_ -= before - suspect.published.size();
  if (revision < suspect.largest) return false;
  const auto same = suspect.published.find(revision);
  if (same == suspect.published.end() || same->second != digest_of(expected_kline(key, entry->candle))) return false;
  versions_ -= suspect.published.size();
  return true;
}

std::size_t PublishedCheck::bytes() const {
  constexpr std::size_t kASuspect = 600;  // key, newest value, node
  constexpr std::size_t kAVersion = 64;
  return suspects_.size() * kASuspect + versions_ * kAVersion;
}

// ---- Cached --------------------------------------------------------------------------------------------------------

void CachedCheck::look(const CandleKey& key, const proto::Kline* kline) {
  const Recomputation::Entry* const entry = again_.find(key);
  const std::int64_t revision = entry == nullptr ? 0 : entry->candle.revision();
  const auto known = suspects_.find(key);
  bool is_right = false;
  if (kline != nullptr && kline->total_count() == revision && entry != nullptr) {
    is_right = differences_of(*kline, expected_kline(key, entry->candle)).empty();
  } else if (kline != nullptr && kline->total_count() > revision && known != suspects_.end()) {
    is_right = revision > 0 && known->second.largest <= revision;
    if (is_right) ++in_flight_;
  }
  if (is_right) {
    if (known != suspects_.end()) suspects_.erase(known);
    return;
  }
  Suspect& suspect = known == suspects_.end() ? suspects_[key] : known->second;
  if (known == suspects_.end()) suspect.largest = kline == nullptr ? 0 : kline->total_count();
  suspect.newest = kline == nullptr ? std::string() : kline->SerializeAsString();
}

}  // namespace klined
