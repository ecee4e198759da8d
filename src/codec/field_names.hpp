// Which keys of a trade klined looks at, in both spellings, and how to find one fast.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <ranges>
#include <string_view>

#include "short_text.hpp"

namespace klined {

enum class Field : std::uint8_t {
  kUnknown,
  kSlot,
  kBlockNum,
  kTransactionIndex,
  kLogIndex,
  kBlockTime,
  kChainIdInt,
  kChainId,
  kPairAddr,
  kTxHash,
  kHashId,
  kType,
  kTokenAmount,
  kBaseTokenAmount,
  kTokenPriceUsd,
  kTotalUsd,
  kMcap,
  kFdv,
  kPumpPoint,
  kClamp,
  kPairInfo,
  kCreateTime,
  kTokenAddr,  // pair_info's, all others are the trade's own
};
inline constexpr std::size_t kFieldCount = 23;
inline constexpr std::size_t kOwnFieldCount = 22;

struct FieldSpelling {
  std::string_view tag;
  std::string_view go_name;
};
// By Field. The tag is what messages about the field call it.
inline constexpr std::array<FieldSpelling, kOwnFieldCount> kFieldSpellings = {{
    {"", ""},
    {"slot", "Slot"},
    {"block_num", "BlockNum"},
    {"transaction_index", "TransactionIndex"},
    {"log_index", "LogIndex"},
    {"block_time", "BlockTime"},
    {"chain_id_int", "ChainIdInt"},
    {"chain_id", "ChainId"},
    {"pair_addr", "PairAddr"},
    {"tx_hash", "TxHash"},
    {"hash_id", "HashId"},
    {"type", "Type"},
    {"token_amount", "TokenAmount"},
    {"base_token_amount", "BaseTokenAmount"},
    {"token_price_usd", "TokenPriceUSD"},
    {"total_usd", "TotalUSD"},
    {"mcap", "Mcap"},
    {"fdv", "Fdv"},
    {"pump_point", "PumpPoint"},
    {"clamp", "Clamp"},
    {"pair_info", "PairInfo"},
    {"create_time", "CreateTime"},
}};

// The only member of pair_info that klined looks at.
inline constexpr FieldSpelling kTokenAddr = {"token_addr", "TokenAddr"};

constexpr std::string_view tag_of(Field field) { return kFieldSpellings[static_cast<std::size_t>(field)].tag; }

// A perfect hash of the spellings, found at compile time: a key costs one multiplication, one table look-up and, where
// the look-up hits, two or three comparisons of eight bytes. Most of a trade's keys are of no interest and miss.
class FieldTable {
 public:
  static constexpr std::size_t kShortest = 3;
  static constexpr std::size_t kLongest = 17;

  consteval FieldTable() {
    while (!fill()) multiplier_ += 2;
  }

  Field find(std::string_view key) const {
    if (key.size() < kShortest || key.size() > kLongest) return Field::kUnknown;
    const Entry& entry = entries_[slot_of(key)];
    return entry.size == key.size() && same_bytes(entry.text.data(), key.data(), key.size()) ? entry.field
                                                                                             : Field::kUnknown;
  }

 private:
  struct Entry {
    std::array<char, 24> text{};
    std::uint8_t size = 0;
    Field field = Field::kUnknown;
  };

  constexpr std::size_t slot_of(std::string_view key) const {
    const auto byte = [key](std::size_t at) { return static_cast<std::uint32_t>(static_cast<unsigned char>(key[at])); };
    const std::uint32_t signs = byte(0) | byte(key.size() / 2) << 8U | byte(key.size() - 1) << 16U |
                                static_cast<std::uint32_t>(key.size()) << 24U;
    return (signs * multiplier_) >> 24U;
  }

  consteval bool fill() {
    entries_ = {};
    for (std::size_t field = 1; field < kOwnFieldCount; ++field) {
      for (const std::string_view name : {kFieldSpellings[field].tag, kFieldSpellings[field].go_name}) {
        Entry& entry = entries_[slot_of(name)];
        if (entry.size != 0) return false;
        std::ranges::copy(name, entry.text.begin());
        entry.size = static_cast<std::uint8_t>(name.size());
        entry.field = static_cast<Field>(field);
      }
    }
    return true;
  }

  std::array<Entry, 256> entries_{};
  std::uint32_t multiplier_ = 0x9E3779B1U;
};
static_assert([] {
  return std::ranges::all_of(kFieldSpellings | std::views::drop(1), [](const FieldSpelling& s) {
    return std::min(s.tag.size(), s.go_name.size()) >= FieldTable::kShortest &&
           std::max(s.tag.size(), s.go_name.size()) <= FieldTable::kLongest;
  });
}());

inline constexpr FieldTable kFieldTable;

}  // namespace klined
