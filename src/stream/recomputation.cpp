#include "klined/stream/recomputation.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "klined/base/assertion.hpp"
#include "klined/stream/batch.hpp"

namespace klined {

Recomputation::Recomputation(Options options) : options_(std::move(options)), decoder_(options_.rules) {}

void Recomputation::begin(LogId log, std::int64_t offset, std::vector<std::int64_t> limits) {
  KLINED_ASSERT(!limits.empty(), "a partition has lanes");
  Partition partition;
  partition.next = offset;
  partition.before.assign(limits.size(), 0);
  partition.limits = std::move(limits);
  partitions_.insert_or_assign(log, std::move(partition));
}

Status Recomputation::set_limits(LogId log, std::vector<std::int64_t> limits) {
  Partition& partition = partitions_.at(log);
  const bool grow = limits.size() == partition.limits.size() &&
                    std::ranges::equal(partition.limits, limits, std::ranges::less_equal());
  if (!grow) return fatal("the stored offsets went back, or engine.lanes changed, while verify ran: run it again");
  partition.before = std::exchange(partition.limits, std::move(limits));
  for (const Held& held : partition.held) {
    decoder_.decode({.log = log,
                     .offset = held.offset,
                     .timestamp = held.timestamp,
                     .value = held.value,
                     .origin = held.origin ? &*held.origin : nullptr,
                     .put_back = held.put_back},
                    decoded_);
    if (Status applied = apply(partition, held.offset, held.source, held.clocks); !applied) return applied;
  }
  const std::int64_t done = std::ranges::min(partition.limits);
  while (!partition.held.empty() && partition.held.front().offset < done) partition.held.pop_front();
  std::ranges::fill(partition.before, 0);
  return {};
}

Status Recomputation::take(const Message& message) {
  Partition& partition = partitions_.at(message.log);
  KLINED_ASSERT(message.offset >= partition.next, "a partition is read in order, each message once");
  partition.next = message.offset + 1;
  decoder_.decode(message, decoded_);
  if (decoded_.contradicts_origin) {
    return fatal(
        fmt::format("the record at offset {} has not the elements that its header klined-indexes tells of: was it "
                    "written by klined?",
                    message.offset));
  }
  // The clocks stand at the whole message before any of its trades is judged.
  for (const Trade& trade : decoded_.trades) raise_clock(partition.clocks, trade.chain, trade.position.block_time);
  std::int32_t source = kOwnSource;
  if (message.origin != nullptr && message.origin->clocks) {
    source = static_cast<std::int32_t>(message.origin->log.partition());
    ChainClocks& clocks = partition.of_origins[source];
    for (const ChainClock& clock : *message.origin->clocks) raise_clock(clocks, clock.chain, clock.time);
    for (const Trade& trade : decoded_.trades) raise_clock(clocks, trade.chain, trade.position.block_time);
  }
  const ChainClocks& clocks = source == kOwnSource ? partition.clocks : partition.of_origins[source];
  if (message.offset >= std::ranges::min(partition.limits)) {
    partition.held.push_back({message.offset, message.timestamp, std::string(message.value),
                              message.origin == nullptr ? std::nullopt : std::optional(*message.origin),
                              message.put_back, source, clocks});
  }
  return apply(partition, message.offset, source, clocks);
}

// The trades of decoded_ whose lanes want them now.
Status Recomputation::apply(Partition& partition, std::int64_t offset, std::int32_t source, const ChainClocks& clocks) {
  const auto lanes = static_cast<std::int32_t>(partition.limits.size());
  for (const Trade& trade : decoded_.trades) {
    const auto lane = static_cast<std::size_t>(lane_of_pair(trade.pair_hash, lanes));
    if (offset < partition.before[lane] || offset >= partition.limits[lane]) continue;
    if (!wants(trade.pair_hash, trade.pair)) continue;
    ++trades_;
    const UnixSeconds clock = clock_of(clocks, trade.chain).value();
    if (clock - trade.position.block_time > options_.max_lateness) continue;
    DedupeWindow& window =
        partition.dedupe.try_emplace(std::tuple(source, trade.chain, lane), options_.dedupe_window).first->second;
    if (window.seen(trade.identity, clock)) continue;
    if (Status added = add(trade); !added) return added;
  }
  return {};
}

Status Recomputation::add(const Trade& trade) {
  const std::uint32_t number = number_of(trade);
  SharedText& token = pairs_[number].token;
  if (token.view() != trade.token) token = SharedText(trade.token);
  for (const Interval interval : options_.intervals) {
    const UnixSeconds time = bucket_of(interval, trade.position.block_time).begin;
    if (time < options_.range.from || time >= options_.range.to) continue;
    const auto [at, is_new] = candles_.try_emplace(Key{number, interval, time});
    if (is_new) {
      at->second.candle = Candle::of(trade, token);
    } else if (!at->second.candle.add(trade, token)) {
      return fatal(fmt::format("the sums of the {} candle of {} at {} do not fit their columns", name_of(interval),
                               trade.pair, time));
    }
  }
  return {};
}

std::uint32_t Recomputation::number_of(const Trade& trade) {
  const auto next = static_cast<std::uint32_t>(pairs_.size());
  const auto [at, is_new] = numbers_.try_emplace(PairName{trade.chain, std::string(trade.pair)}, next);
  if (is_new) pairs_.push_back({at->first, SharedText()});
  return at->second;
}

std::int64_t Recomputation::target(LogId log) const { return std::ranges::max(partitions_.at(log).limits); }

bool Recomputation::wants(std::uint64_t pair_hash, std::string_view pair) const {
  if (!options_.pair.empty() && pair != options_.pair) return false;
  return pair_hash % options_.shares == options_.share;
}

Recomputation::Entry* Recomputation::find(const CandleKey& key) {
  const auto number = numbers_.find(PairName{key.chain, key.pair});
  if (number == numbers_.end()) return nullptr;
  const auto at = candles_.find(Key{number->second, key.interval, key.time});
  return at == candles_.end() ? nullptr : &at->second;
}

CandleKey Recomputation::key_of(const Key& key) const {
  const PairName& name = pairs_[key.pair].name;
  return {name.chain, name.pair, key.interval, key.time};
}

std::size_t Recomputation::KeyHash::operator()(const Key& key) const {
  const std::uint64_t series = (std::uint64_t{key.pair} << 8U) | static_cast<std::uint64_t>(key.interval);
  return (series * 0x9E3779B97F4A7C15U) ^ (static_cast<std::uint64_t>(key.time) * 0xC2B2AE3D27D4EB4FU);
}

std::size_t Recomputation::bytes() const {
  constexpr std::size_t kNode = 32;    // what a map's node adds
  constexpr std::size_t kAPair = 256;  // names twice, a token
  std::size_t bytes = candles_.size() * (sizeof(Key) + sizeof(Entry) + kNode) + candles_.bucket_count() * sizeof(void*);
  bytes += pairs_.size() * kAPair;
  for (const auto& [log, partition] : partitions_) {
    for (const auto& [whose, window] : partition.dedupe) bytes += window.bytes();
    for (const Held& held : partition.held) bytes += held.value.size() + sizeof(held);
  }
  return bytes;
}

std::optional<UnixSeconds> uncertain_until(const std::vector<TrimmedLog>& trimmed, UnixSeconds max_block_time,
                                           UnixSeconds max_future, UnixSeconds dedupe_window) {
  std::optional<UnixSeconds> until;
  for (const TrimmedLog& log : trimmed) {
    UnixSeconds newest = max_block_time;
    if (log.first_timestamp >= 0) newest = std::min(newest, log.first_timestamp / 1000 + max_future);
    until = std::max(until.value_or(newest + dedupe_window), newest + dedupe_window);
  }
  return until;
}

}  // namespace klined
