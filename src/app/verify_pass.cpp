// The computation of `klined verify`, and the comparison with what is stored.
#include "klined/app/verify_pass.hpp"

#include <algorithm>
#include <iostream>

#include <fmt/format.h>
#include <unistd.h>

#include "klined/app/candle_table.hpp"
#include "klined/app/commands.hpp"
#include "klined/source/put_back_reader.hpp"
#include "klined/store/claim_transaction.hpp"
#include "klined/stream/config_values.hpp"
#include "klined/stream/dead_letters.hpp"

namespace klined::app {

namespace {

constexpr Milliseconds kTimeout{10'000};
constexpr Milliseconds kStalled{60'000};
constexpr Milliseconds kProgress{200};
constexpr std::size_t kPollMessages = 2000;
constexpr std::size_t kPollBytes = std::size_t{4} << 20U;

}  // namespace

Pass::Limits Pass::limits_of(const std::vector<LaneOffset>& offsets) {
  Limits limits;
  for (const LaneOffset& row : offsets) limits[{row.topic, row.partition}].push_back(row.next_offset);
  return limits;
}

std::uint32_t Pass::rank_of(const std::string& topic) const {
  return static_cast<std::uint32_t>(std::ranges::find(topics_, topic) - topics_.begin());
}

LogId Pass::log_of(const TopicPartition& partition) const {
  return {rank_of(partition.topic), static_cast<std::uint32_t>(partition.partition)};
}

Status Pass::check_settings() const {
  const auto difference = find_difference(snapshot_.settings(), settings_text(config_));
  if (snapshot_.settings().empty() || !difference) return {};
  return fatal(
      fmt::format("the candles were computed with {} = {}, and {} is {} in this config: verify with the config "
                  "of the job",
                  difference->name, difference->stored, difference->name, difference->wanted));
}

Status Pass::run() {
  // First everything up to about now, without holding the server to old versions; then what came meanwhile.
  if (Status opened = snapshot_.open(config_.group); !opened) return opened;
  if (Status checked = check_settings(); !checked) return checked;
  topics_ = snapshot_.topics().names();
  Limits first = limits_of(snapshot_.offsets());
  if (first.empty()) return fatal(fmt::format("group {} has stored nothing yet", config_.group));
  for (auto& [partition, limits] : first) std::ranges::fill(limits, std::ranges::min(limits));
  const Result<std::int64_t> count = count_notes();
  if (!count) return std::unexpected(count.error());
  notes_ = *count;
  for (const std::string& topic : topics_) {
    if (origin_topic(topic)) continue;
    auto read = read_put_backs(source_, put_back_topic(topic), topic);
    if (!read) return std::unexpected(read.error());
    put_backs_[topic] = std::move(*read);
  }
  if (Status begun = begin(first); !begun) return begun;
  snapshot_.close();
  if (Status done = read(); !done) return done;

  if (Status opened = snapshot_.open(config_.group); !opened) return opened;
  if (Status done = go_on(limits_of(snapshot_.offsets())); !done) return done;
  progress(true);
  if (Status done = compare(); !done) return done;
  if (!arguments_.published && !arguments_.redis) return {};
  return compare_outputs();
}

// How many notes there are of what was put back.
Result<std::int64_t> Pass::count_notes() const {
  std::vector<std::string> notes;
  for (const std::string& topic : topics_) {
    if (!origin_topic(topic)) notes.push_back(put_back_topic(topic));
  }
  return count_put_backs(source_, notes);
}

// Where the candles' trades of the partition begin.
Result<std::int64_t> Pass::begin_of(const TopicPartition& partition) const {
  if (const auto noted = snapshot_.begin_of(partition.topic, partition.partition)) return *noted;
  if (config_.input.start.kind == StartAt::Kind::kEarliest) return 0;
  return fatal(
      fmt::format("the tables, made by an older klined, do not say where {} partition {} begins, and "
                  "input.start is not earliest: they cannot be verified",
                  partition.topic, partition.partition));
}

Status Pass::begin(const Limits& limits) {
  for (const auto& [partition, of_lanes] : limits) {
    const LogId log = log_of(partition);
    const Result<OffsetRange> range = source_.range_of(partition, kTimeout);
    if (!range) return std::unexpected(range.error());
    const Result<std::int64_t> begin = begin_of(partition);
    if (!begin) return std::unexpected(begin.error());
    if (of_lanes.front() > range->high) {
      return fatal(
          fmt::format("{} partition {} ends at offset {}, but {} is stored: it is another cluster, or the "
                      "topic was made anew",
                      partition.topic, partition.partition, range->high, of_lanes.front()));
    }
    logs_.emplace(partition, log);
    if (range->low > *begin) trimmed_.emplace(log, TrimmedLog());
    const std::int64_t start = std::max(range->low, *begin);
    again_.begin(log, start, of_lanes);
    to_read_ += std::max<std::int64_t>(0, again_.target(log) - start);
  }
  return {};
}

// Reads on, up to new limits.
Status Pass::go_on(const Limits& limits) {
  if (snapshot_.topics().names() != topics_ || limits.size() != logs_.size()) {
    return retry("topics or partitions were added while verify ran: run it again");
  }
  for (const auto& [partition, of_lanes] : limits) {
    const auto log = logs_.find(partition);
    if (log == logs_.end()) return retry("partitions changed while verify ran: run it again");
    const std::int64_t before = again_.target(log->second);
    if (Status set = again_.set_limits(log->second, of_lanes); !set) return set;
    to_read_ += again_.target(log->second) - before;
  }
  return read();
}

Status Pass::read() {
  std::vector<Assignment> open;
  for (const auto& [partition, log] : logs_) {
    if (again_.next_offset(log) >= again_.target(log)) continue;
    const std::string origin = origin_topic(partition.topic).value_or(partition.topic);
    open.push_back({partition, log, again_.next_offset(log), origin, rank_of(origin), put_backs_.at(origin)});
  }
  if (open.empty()) return {};
  if (Status assigned = source_.assign(open); !assigned) return assigned;
  Instant last = clock_.now();
  while (!open.empty()) {
    const Result<MessageBatch> batch = source_.poll(Milliseconds(50), kPollMessages, kPollBytes);
    if (!batch) return std::unexpected(batch.error());
    if (Status taken = take_in(*batch); !taken) return taken;
    const Instant now = clock_.now();
    if (!batch->messages.empty()) last = now;
    if (now - last > kStalled) return retry("Kafka has sent no message for 60 s: is a broker away?");
    std::erase_if(open, [this](const Assignment& a) {
      const bool done = again_.next_offset(a.log) >= again_.target(a.log) || source_.at_end(a.log);
      if (done) source_.pause(a.log);
      return done;
    });
    progress(false);
  }
  return {};
}

Status Pass::take_in(const MessageBatch& batch) {
  for (const Message& message : batch.messages) {
    // A record that stands for another one has that one's time, which says nothing of the records before it.
    if (const auto trimmed = trimmed_.find(message.log); trimmed != trimmed_.end() && message.origin == nullptr) {
      if (trimmed->second.first_timestamp < 0) trimmed->second.first_timestamp = message.timestamp;
    }
    // What lies beyond is read again when it is time.
    if (message.offset < again_.next_offset(message.log) || message.offset >= again_.target(message.log)) continue;
    if (was_put_back_since(message)) return retry("dead letters were put back while verify ran: run it again");
    if (Status taken = again_.take(message); !taken) return taken;
    if (again_.has_foreign_note()) warn_of_note(message);
    ++read_;
  }
  if (again_.bytes() <= static_cast<std::size_t>(config_.engine.memory_limit)) return {};
  return fatal(
      fmt::format("the candles need more memory than engine.memory_limit ({}), after {} of {} messages: use "
                  "--passes (each reads the input once, and needs a share of the memory), or narrow it with "
                  "--from, --to, --pair, --interval",
                  print_size(config_.engine.memory_limit), read_, to_read_));
}

// Once a topic, in the first of several passes.
void Pass::warn_of_note(const Message& message) {
  const LogId log = message.origin != nullptr ? message.origin->log : message.log;
  const std::int64_t offset = message.origin != nullptr ? message.origin->offset : message.offset;
  if (share_ > 0 || !warned_of_notes_.insert(log.topic_rank()).second) return;
  complain(foreign_note_text(topics_.at(log.topic_rank()), log.partition(), offset));
}

void Pass::progress(bool end) {
  if (isatty(STDERR_FILENO) == 0) return;
  const Instant now = clock_.now();
  if (!end && now - shown_ < kProgress) return;
  shown_ = now;
  const std::int64_t percent = to_read_ == 0 ? 100 : std::min<std::int64_t>(100, read_ * 100 / to_read_);
  const auto filled = static_cast<std::size_t>(percent / 4);
  std::cerr << fmt::format("\rpass {} of {} [{:<25}] {:>3} %  {} trades  {} candles  {} MiB ", share_ + 1,
                           arguments_.passes, std::string(filled, '#'), percent, print_count(again_.trades()),
                           print_count(static_cast<std::int64_t>(again_.candle_count())), again_.bytes() >> 20U)
            << (end ? "\n" : "") << std::flush;
}

Status Pass::compare() {
  std::vector<TrimmedLog> trimmed;
  for (const auto& [log, first] : trimmed_) trimmed.push_back(first);
  const auto newest = std::ranges::max(snapshot_.offsets(), {}, &LaneOffset::max_block_time).max_block_time;
  uncertain_ = uncertain_until(trimmed, newest, config_.input.max_future.count(), config_.input.dedupe_window.count());
  for (const Interval interval : scope_.intervals) {
    const Status scanned = snapshot_.scan(
        interval, scope_.range, arguments_.pair, [this](const CandleKey& key, const TableSnapshot::Compare& compare) {
          if (!wants(key)) return;
          ++rows_;
          Recomputation::Entry* const expected = again_.find(key);
          if (expected == nullptr) {
            findings_.push_back({key, {}, false, is_uncertain(key.time)});
            return;
          }
          expected->seen = true;
          std::vector<CellDifference> cells = compare(expected->candle);
          if (!cells.empty()) findings_.push_back({key, std::move(cells), false, is_uncertain(key.time)});
        });
    if (!scanned) return scanned;
  }
  again_.for_each([this](const CandleKey& key, const Recomputation::Entry& entry) {
    if (!entry.seen) findings_.push_back({key, {}, true, is_uncertain(key.time)});
  });
  std::ranges::sort(findings_, {}, &Finding::key);
  snapshot_.close();
  return {};
}

Status Pass::compare_outputs() {
  OutputCheck check(config_, again_, arguments_.published, arguments_.redis, [this](const CandleKey& key) {
    return wants(key) && key.time >= scope_.range.from && key.time < scope_.range.to &&
           std::ranges::find(scope_.intervals, key.interval) != scope_.intervals.end();
  });
  if (Status done = check.run([this] { return mark_ends(); }, [this] { return advance(); }); !done) return done;
  for (Finding& finding : check.findings([this](UnixSeconds time) { return is_uncertain(time); })) {
    findings_.push_back(std::move(finding));
  }
  outputs_ = check.summary();
  return {};
}

Status Pass::mark_ends() {
  for (const auto& [partition, log] : logs_) {
    const Result<OffsetRange> range = source_.range_of(partition, kTimeout);
    if (!range) return std::unexpected(range.error());
    ends_[partition] = range->high;
  }
  return {};
}

// On to the tables as of now.
Result<OutputCheck::Progress> Pass::advance() {
  if (Status opened = snapshot_.open(config_.group); !opened) return std::unexpected(opened.error());
  const Limits limits = limits_of(snapshot_.offsets());
  snapshot_.close();
  OutputCheck::Progress progress{.is_caught_up = true, .has_moved = false};
  for (const auto& [partition, of_lanes] : limits) {
    const auto log = logs_.find(partition);
    if (log != logs_.end() && again_.target(log->second) < std::ranges::max(of_lanes)) progress.has_moved = true;
    if (std::ranges::min(of_lanes) < ends_[partition]) progress.is_caught_up = false;
  }
  if (Status done = go_on(limits); !done) return std::unexpected(done.error());
  return progress;
}

}  // namespace klined::app
