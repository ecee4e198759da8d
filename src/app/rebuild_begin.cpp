// What a rebuild begins with: where the input begins, and which candles it can no longer make.
#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "klined/app/candle_table.hpp"
#include "klined/app/rebuild.hpp"
#include "klined/source/put_back_reader.hpp"
#include "klined/store/table_check.hpp"
#include "klined/stream/config_values.hpp"
#include "klined/stream/connections.hpp"
#include "klined/stream/recomputation.hpp"

namespace klined::app {

namespace {

constexpr Milliseconds kTimeout{10'000};

// The timestamps of the records that the logs begin with there; -1 where none comes.
Result<std::vector<TrimmedLog>> first_records(KafkaSource& source, const std::vector<Assignment>& places) {
  std::map<LogId, UnixMilliseconds> found;
  if (!places.empty()) {
    if (Status assigned = source.assign(places); !assigned) return std::unexpected(assigned.error());
  }
  const SystemClock clock;
  for (const Instant until = clock.now() + kTimeout; found.size() < places.size() && clock.now() < until;) {
    const Result<MessageBatch> batch = source.poll(Milliseconds(50), 100, std::size_t{1} << 20U);
    if (!batch) return std::unexpected(batch.error());
    for (const Message& message : batch->messages) {
      if (found.try_emplace(message.log, message.timestamp).second) source.pause(message.log);
    }
    const bool rest_is_empty =
        std::ranges::all_of(places, [&](const Assignment& a) { return found.contains(a.log) || source.at_end(a.log); });
    if (rest_is_empty) break;
  }
  std::vector<TrimmedLog> logs;
  for (const Assignment& place : places) {
    const auto at = found.find(place.log);
    logs.push_back({at == found.end() ? -1 : at->second});
  }
  return logs;
}

}  // namespace

std::optional<UnixSeconds> Rebuild::time_of(const std::string& from, Status& status) const {
  if (from == "earliest") return std::nullopt;
  const std::optional<UnixSeconds> time = parse_time(from, clock_.wall_seconds());
  if (!time || from.find(' ') != std::string::npos) {
    status =
        fatal(fmt::format("--from: \"{}\" is no time; write earliest, 2026-01-31T12:00:00Z, 2026-01-31, unix "
                          "seconds, or how long ago (7d)",
                          from));
  }
  return time;
}

Result<RebuildPlan> Rebuild::make_plan() {
  RebuildPlan plan;
  plan.from = arguments_.from.empty() ? "earliest" : arguments_.from;
  Status status;
  plan.at = time_of(plan.from, status);
  if (!status) return std::unexpected(status.error());
  if (arguments_.keep_older) plan.older = RebuildPlan::Older::kKeep;
  if (arguments_.drop_older) plan.older = RebuildPlan::Older::kDrop;
  plan.is_dry = arguments_.dry_run;
  MySqlConnection connection(mysql_options(config_));
  const Result<std::vector<LaneOffset>> offsets = tables_.open_snapshot(connection);
  if (!offsets) return std::unexpected(offsets.error());
  connection.close();
  if (offsets->empty()) {
    return fatal(fmt::format("group {} has stored nothing yet: there is nothing to rebuild", config_.group));
  }
  for (const LaneOffset& row : *offsets) plan.lanes = std::max(plan.lanes, row.lane + 1);
  const Result<std::int64_t> put_backs = count_notes();
  if (!put_backs) return std::unexpected(put_backs.error());
  plan.put_backs = *put_backs;
  if (Status found = find_what_is_lost(plan, *offsets); !found) return std::unexpected(found.error());
  if (!plan.is_dry) {
    if (Status checked = check_older(plan); !checked) return std::unexpected(checked.error());
  }
  return plan;
}

Status Rebuild::find_what_is_lost(RebuildPlan& plan, const std::vector<LaneOffset>& offsets) {
  TableSnapshot snapshot(mysql_options(config_));
  if (Status opened = snapshot.open(config_.group); !opened) return opened;
  const auto source = KafkaSource::open({consumer_properties(config_), config_.group});
  if (!source) return std::unexpected(source.error());
  std::set<TopicPartition> partitions;
  for (const LaneOffset& row : offsets) partitions.insert({row.topic, row.partition});
  std::vector<Assignment> lost;
  for (const TopicPartition& partition : partitions) {
    if (std::ranges::find(config_.input.topics, partition.topic) == config_.input.topics.end()) {
      return fatal(
          fmt::format("the candles hold trades of topic {}, which is not among input.topics: a rebuild would "
                      "lose them; add it",
                      partition.topic));
    }
    const Result<OffsetRange> range = (*source)->range_of(partition, kTimeout);
    if (!range) return std::unexpected(range.error());
    std::int64_t begin = range->low;
    if (plan.at) {
      const Result<std::int64_t> at = (*source)->offset_at(partition, *plan.at * 1000, kTimeout);
      if (!at) return std::unexpected(at.error());
      begin = *at;
    }
    const std::int64_t noted = snapshot.begin_of(partition.topic, partition.partition).value_or(0);
    if (begin <= noted) continue;
    spdlog::info("rebuild: {} partition {}: the candles' trades begin at offset {}, reading would begin at {}",
                 partition.topic, partition.partition, noted, begin);
    lost.push_back({partition, LogId(0, static_cast<std::uint32_t>(lost.size())), begin});
  }
  snapshot.close();
  const Result<std::vector<TrimmedLog>> first = first_records(**source, lost);
  if (!first) return std::unexpected(first.error());
  const auto newest = std::ranges::max(offsets, {}, &LaneOffset::max_block_time).max_block_time;
  plan.lost_until =
      uncertain_until(*first, newest, config_.input.max_future.count(), config_.input.dedupe_window.count());
  return {};
}

Result<std::int64_t> Rebuild::count_notes() const {
  const auto source = KafkaSource::open({consumer_properties(config_), ""});
  if (!source) return std::unexpected(source.error());
  return count_put_backs(**source, put_back_topics(config_));
}

// What a rebuild has judged before a letter was put back, it has judged as if the letter stayed where it was.
Status Rebuild::check_put_backs() const {
  const Result<std::int64_t> count = count_notes();
  if (!count) return std::unexpected(count.error());
  if (*count == plan_.put_backs) return {};
  return fatal(
      "dead letters were put back since the rebuild began (`klined dlq retry`), and their trades would count twice: "
      "begin anew with --restart, and put none back meanwhile");
}

Status Rebuild::check_older(const RebuildPlan& plan) const {
  if (!plan.lost_until || plan.older != RebuildPlan::Older::kRefuse) return {};
  return fatal(
      fmt::format("candles that begin up to {} UTC are of trades that the log no longer holds, or that come before "
                  "--from: they can't be made again. --keep-older takes them over as they are; --drop-older gives them "
                  "up, and makes those that reach beyond it of what is left",
                  print_utc(std::max<UnixSeconds>(0, *plan.lost_until))));
}

}  // namespace klined::app
