// `klined offsets`: how far the stored candles are in the input.
#include <algorithm>
#include <map>
#include <memory>

#include <fmt/format.h>

#include "klined/app/candle_table.hpp"
#include "klined/app/commands.hpp"
#include "klined/source/kafka_source.hpp"
#include "klined/store/candle_reader.hpp"
#include "klined/store/group_lock.hpp"
#include "klined/store/offset_columns.hpp"
#include "klined/stream/connections.hpp"

namespace klined::app {

namespace {

constexpr Milliseconds kTimeout{10'000};

struct OffsetsArguments {
  std::string config;
  bool lanes = false;
  bool json = false;
};

// Rows that are shown as one: a lane of a partition, or all of its lanes.
struct Place {
  TopicPartition partition;
  std::string lanes;  // "8", or "3" where each has a line
  std::int64_t first = 0, last = 0;
  std::int64_t window_offset = 0;
  ChainClocks window_clocks;
  UnixSeconds max_block_time = -1, closed_until = -1;
  std::uint64_t owner = 0;
  bool one_owner = true;
  double updated_at = 0;
  std::optional<OffsetRange> log;

  std::int64_t lag() const { return std::max<std::int64_t>(0, log->high - first); }
};

Place place_of(const StoredLaneOffset& row) {
  const LaneOffset& offset = row.offset;
  return {.partition = {offset.topic, offset.partition},
          .lanes = std::to_string(offset.lane),
          .first = offset.next_offset,
          .last = offset.next_offset,
          .window_offset = offset.window_offset,
          .window_clocks = offset.window_clocks,
          .max_block_time = offset.max_block_time,
          .closed_until = offset.closed_until,
          .owner = row.owner,
          .updated_at = row.updated_at,
          .log = std::nullopt};
}

// `rows` are in the order of partitions.
std::vector<Place> places_of(const std::vector<StoredLaneOffset>& rows, bool each_lane) {
  std::vector<Place> places;
  std::size_t lanes = 0;
  for (const StoredLaneOffset& row : rows) {
    Place place = place_of(row);
    if (each_lane || places.empty() || places.back().partition != place.partition) {
      lanes = 1;
      if (!each_lane) place.lanes = "1";
      places.push_back(std::move(place));
      continue;
    }
    Place& all = places.back();
    all.lanes = std::to_string(++lanes);
    all.first = std::min(all.first, place.first);
    all.last = std::max(all.last, place.last);
    if (place.window_offset < all.window_offset) {
      all.window_offset = place.window_offset;
      all.window_clocks = std::move(place.window_clocks);
    }
    all.max_block_time = std::max(all.max_block_time, place.max_block_time);
    all.closed_until = std::min(all.closed_until, place.closed_until);
    all.one_owner = all.one_owner && all.owner == place.owner;
    all.updated_at = std::max(all.updated_at, place.updated_at);
  }
  return places;
}

Status read_logs(const Config& config, std::vector<Place>& places) {
  const auto source = KafkaSource::open({consumer_properties(config), config.group});
  if (!source) return std::unexpected(source.error());
  std::map<TopicPartition, OffsetRange> known;
  for (Place& place : places) {
    if (!known.contains(place.partition)) {
      const Result<OffsetRange> range = (*source)->range_of(place.partition, kTimeout);
      if (!range) return std::unexpected(range.error());
      known[place.partition] = *range;
    }
    place.log = known[place.partition];
  }
  return {};
}

std::string time_or_dash(UnixSeconds time) { return time < 0 ? "-" : print_utc(time); }

std::string table_of_places(const std::vector<Place>& places, bool each_lane) {
  std::size_t width = 5;
  for (const Place& place : places) width = std::max(width, place.partition.topic.size());
  std::string out =
      fmt::format("{:<{}}  {:>9}  {:>5}  {:>12}  {:>8}  {:>24}  {:>10}  {:>12}  {:<19}  {:<19}  {:<19}  owner\n",
                  "topic", width, "partition", each_lane ? "lane" : "lanes", "next", "spread", "log", "lag", "window",
                  "newest trade (UTC)", "closed until", "written");
  for (const Place& place : places) {
    const std::string log = place.log ? fmt::format("{}..{}", place.log->low, place.log->high) : "?";
    out += fmt::format("{:<{}}  {:>9}  {:>5}  {:>12}  {:>8}  {:>24}  {:>10}  {:>12}  {:<19}  {:<19}  {:<19}  {}\n",
                       place.partition.topic, width, place.partition.partition, place.lanes, place.first,
                       place.last - place.first, log, place.log ? std::to_string(place.lag()) : "?",
                       place.window_offset, time_or_dash(place.max_block_time), time_or_dash(place.closed_until),
                       print_utc(static_cast<UnixSeconds>(place.updated_at)),
                       place.one_owner ? fmt::format("{:x}", place.owner) : "several");
  }
  return out;
}

// Topic names and clocks need no escape: [a-zA-Z0-9._-], digits, ':' and ','.
std::string json_of_places(const std::vector<Place>& places, bool each_lane, bool active) {
  std::string out;
  for (const Place& place : places) {
    out += fmt::format(R"({{"topic":"{}","partition":{},"{}":{},"next_offset":{},"spread":{},)", place.partition.topic,
                       place.partition.partition, each_lane ? "lane" : "lanes", place.lanes, place.first,
                       place.last - place.first);
    if (place.log) {
      out += fmt::format(R"("log_begin":{},"log_end":{},"lag":{},)", place.log->low, place.log->high, place.lag());
    }
    out += fmt::format(
        R"("window_offset":{},"window_clocks":"{}","max_block_time":{},"closed_until":{},"updated_at":{:.3f},)",
        place.window_offset, clocks_text(place.window_clocks), place.max_block_time, place.closed_until,
        place.updated_at);
    out += fmt::format(R"("owner":{},"active":{}}})"
                       "\n",
                       place.one_owner ? fmt::format("\"{:x}\"", place.owner) : "null", active);
  }
  return out;
}

int offsets(const OffsetsArguments& arguments) {
  const std::optional<Config> config = load_config_or_complain(arguments.config);
  if (!config) return kUsage;
  CandleReader reader(mysql_options(*config));
  const Result<std::vector<StoredLaneOffset>> rows = reader.offsets(config->group);
  if (!rows) return fail(rows.error());
  const std::string holder = GroupLock(mysql_options(*config), config->group).holder();
  const bool active = holder != "nobody";
  std::vector<Place> places = places_of(*rows, arguments.lanes);
  const Status logs = read_logs(*config, places);

  std::string out;
  if (arguments.json) {
    out = json_of_places(places, arguments.lanes, active);
  } else {
    out = fmt::format("group {}: {}\n", config->group,
                      active ? fmt::format("a job runs ({})", holder) : std::string("no job runs"));
    out += places.empty() ? "nothing stored yet: the next run begins at input.start\n"
                          : table_of_places(places, arguments.lanes);
  }
  if (!print_out(out)) {
    complain("cannot write to stdout: is the disk full, or the pipe closed?");
    return kFailed;
  }
  return logs ? kOk : fail(logs.error());
}

}  // namespace

CLI::App* add_offsets(CLI::App& parent, int& exit_code) {
  auto arguments = std::make_shared<OffsetsArguments>();
  CLI::App* const command = parent.add_subcommand(
      "offsets",
      "Shows how far the stored candles are in the input\n"
      "\n"
      "A line for each partition of the group: the next offset of its slowest lane, and how far the fastest is ahead\n"
      "(spread); what the log holds, and how many messages are still to be stored (lag); where reading begins again\n"
      "after a restart (window); the newest stored trade; up to when candles are published as closed; when it was\n"
      "written, and by which claim. Reads only, and may run beside the job. Change offsets with `klined reset --to`.");
  add_config_option(*command, arguments->config);
  command->add_flag("--lanes", arguments->lanes, "A line for each lane");
  command->add_flag("--json", arguments->json, "One JSON object a line");
  set_manual(*command, "  klined offsets\n  klined offsets --lanes --json | jq .lag\n");
  command->callback([arguments, &exit_code] { exit_code = offsets(*arguments); });
  return command;
}

}  // namespace klined::app
