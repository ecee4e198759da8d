#include "klined/app/verify_outputs.hpp"

#include <algorithm>
#include <atomic>
#include <thread>

#include <fmt/format.h>

#include "klined/app/candle_table.hpp"
#include "klined/cache/redis_layout.hpp"
#include "klined/publish/kafka_publisher.hpp"
#include "klined/stream/connections.hpp"

namespace klined::app {

namespace {

constexpr Milliseconds kTimeout{10'000};
constexpr Milliseconds kStalled{60'000};
constexpr Milliseconds kDelivery{30'000};
constexpr std::size_t kPollMessages = 5000;
constexpr std::size_t kPollBytes = std::size_t{8} << 20U;
constexpr std::size_t kPipeline = 200;  // hashes asked for at once
constexpr int kMendAttempts = 50;
constexpr Milliseconds kRound{500};
constexpr Milliseconds kStill{30'000};      // stored offsets that stand still for so long: no job is there
constexpr Milliseconds kCacheLags{10'000};  // behind the tables: its writes wait for nobody, and nobody for them

RedisAddress address_of(const Config& config) {
  const RedisOptions options = redis_options(config);
  RedisAddress address;
  address.host = options.host;
  address.port = options.port;
  address.username = options.username;
  address.password = options.password;
  address.database = options.database;
  return address;
}

Error in_redis(const RedisConnection& connection, const Error& error) {
  return {ErrorKind::kRetry, fmt::format("redis {}: {}", connection.address().to_string(), error.message)};
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) < 0x20) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

std::string json_of(const Finding& finding) {
  std::string cells;
  for (const CellDifference& cell : finding.cells) {
    cells += fmt::format(R"({}{{"column":"{}","stored":"{}","expected":"{}"}})", cells.empty() ? "" : ",", cell.column,
                         escaped(cell.stored), escaped(cell.expected));
  }
  const char* const row = !finding.cells.empty() ? "differs" : finding.is_missing ? "missing" : "surplus";
  return fmt::format(
      R"({{"where":"{}","interval":"{}","chain_id":{},"pair_addr":"{}","time":{},"verdict":"{}","row":"{}","cells":[{}]}})"
      "\n",
      name_of(finding.where), name_of(finding.key.interval), finding.key.chain, escaped(finding.key.pair),
      finding.key.time, finding.is_uncertain ? "unverifiable" : "wrong", row, cells);
}

std::string text_of(const Finding& finding) {
  const std::string begin = fmt::format(
      "{} {} {} {} {}: ", finding.is_uncertain ? "unverifiable" : "wrong",
      finding.where == Where::kTable ? table_of(finding.key.interval)
                                     : fmt::format("{} {}", name_of(finding.where), name_of(finding.key.interval)),
      finding.key.chain, finding.key.pair,
      finding.key.time < 0 ? std::to_string(finding.key.time) : print_utc(finding.key.time));
  const std::string_view what = finding.where == Where::kTable ? "row" : "candle";
  if (finding.is_missing) return begin + fmt::format("the {} is missing\n", what);
  if (finding.cells.empty()) return begin + fmt::format("there should be no such {}\n", what);
  std::string out;
  for (const CellDifference& cell : finding.cells) {
    out += begin + fmt::format("{} is {}, should be {}\n", cell.column, cell.stored, cell.expected);
  }
  return out;
}

// ---- Published -----------------------------------------------------------------------------------------------------

Result<PublishedReader> PublishedReader::open(const Config& config) {
  PublishedReader reader;
  Result<std::unique_ptr<KafkaSource>> source =
      KafkaSource::open({consumer_properties(config), config.group + "-verify"});
  if (!source) return std::unexpected(source.error());
  reader.source_ = std::move(*source);
  std::vector<std::string> topics;
  for (const ChainId chain : config.chains) topics.push_back(output_topic(config, chain));
  std::ranges::sort(topics);
  const Result<std::vector<TopicPartition>> partitions = reader.source_->partitions_of(topics, kTimeout);
  if (!partitions) return std::unexpected(partitions.error());
  for (const TopicPartition& partition : *partitions) {
    const Result<OffsetRange> range = reader.source_->range_of(partition, kTimeout);
    if (!range) return std::unexpected(range.error());
    if (range->low > 0) reader.trimmed_ = true;
    const auto rank = static_cast<std::uint32_t>(std::ranges::find(topics, partition.topic) - topics.begin());
    reader.places_.push_back({partition, LogId(rank, static_cast<std::uint32_t>(partition.partition)), range->low});
  }
  return reader;
}

Status PublishedReader::read_to_end(const Take& take) {
  std::map<LogId, std::int64_t> ends;
  std::vector<Assignment> open;
  for (const Assignment& place : places_) {
    const Result<OffsetRange> range = source_->range_of(place.partition, kTimeout);
    if (!range) return std::unexpected(range.error());
    if (place.offset >= range->high) continue;
    ends[place.log] = range->high;
    open.push_back(place);
  }
  if (open.empty()) return {};
  if (Status assigned = source_->assign(open); !assigned) return assigned;
  const SystemClock clock;
  Instant last = clock.now();
  while (!ends.empty()) {
    const Result<MessageBatch> batch = source_->poll(Milliseconds(50), kPollMessages, kPollBytes);
    if (!batch) return std::unexpected(batch.error());
    for (const Message& message : batch->messages) {
      const auto place = std::ranges::find(places_, message.log, &Assignment::log);
      if (message.offset < place->offset) continue;
      place->offset = message.offset + 1;
      take_message(message.value, take);
    }
    if (!batch->messages.empty()) last = clock.now();
    if (clock.now() - last > kStalled) return retry("Kafka has sent no published candle for 60 s: is a broker away?");
    std::erase_if(ends, [this](const auto& end) {
      const auto place = std::ranges::find(places_, end.first, &Assignment::log);
      return place->offset >= end.second || source_->at_end(end.first);
    });
  }
  return {};
}

void PublishedReader::take_message(std::string_view value, const Take& take) {
  proto::Klines klines;
  if (!klines.ParseFromArray(value.data(), static_cast<int>(value.size()))) {
    ++unreadable_;
    return;
  }
  for (const proto::Kline& kline : klines.list()) {
    const auto interval = interval_of(kline.interval());
    if (!interval) {
      ++unreadable_;
      continue;
    }
    take({static_cast<ChainId>(kline.chain_id()), kline.pair_addr(), *interval, kline.candle_time()}, kline);
  }
}

// ---- Cached --------------------------------------------------------------------------------------------------------

CachedReader::CachedReader(const Config& config) : connection_(address_of(config)) {}

Status CachedReader::connected() {
  if (connection_.connected()) return {};
  const Status done = connection_.connect();
  if (!done) return std::unexpected(in_redis(connection_, done.error()));
  return {};
}

Status CachedReader::look(const Series& series, const Look& look) {
  if (Status done = connected(); !done) return done;
  for (auto begin = series.begin(); begin != series.end();) {
    auto end = begin;
    for (std::size_t i = 0; i < kPipeline && end != series.end(); ++i, ++end) {
      const std::string key = redis_key_of(end->first);
      connection_.add({"HGETALL", key});
    }
    auto replies = connection_.run();
    if (!replies) return std::unexpected(in_redis(connection_, replies.error()));
    for (const RedisReply& reply : *replies) {
      const auto& [name, times] = *begin++;
      if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 0) {
        ++missing_;
        continue;
      }
      std::map<UnixSeconds, std::string_view> held;
      for (std::size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i + 1 < reply->elements; i += 2) {
        const auto time = time_of_field(name.interval, klined::text_of(*reply->element[i]));
        // What is older than the newest ones is on its way out.
        if (time && *time >= times.front()) held[*time] = klined::text_of(*reply->element[i + 1]);
      }
      for (const UnixSeconds time : times) held.try_emplace(time);
      for (const auto& [time, value] : held) {
        ++fields_;
        proto::Kline kline;
        const bool is_candle = read_kline(name, time, value, kline);
        look({name.chain, name.pair, name.interval, time}, is_candle ? &kline : nullptr);
      }
    }
  }
  return {};
}

Status CachedReader::look_again(const Suspects& suspects, const Look& look) {
  if (Status done = connected(); !done) return done;
  std::vector<CandleKey> keys;
  for (const auto& [key, suspect] : suspects) keys.push_back(key);
  for (std::size_t begin = 0; begin < keys.size(); begin += kPipeline) {
    const std::size_t end = std::min(begin + kPipeline, keys.size());
    for (std::size_t i = begin; i < end; ++i) {
      const std::string key = redis_key_of({keys[i].chain, keys[i].pair, keys[i].interval});
      const std::string field = std::to_string(keys[i].time);
      connection_.add({"HGET", key, field});
    }
    auto replies = connection_.run();
    if (!replies) return std::unexpected(in_redis(connection_, replies.error()));
    for (std::size_t i = begin; i < end; ++i) {
      const redisReply& reply = *(*replies)[i - begin];
      proto::Kline kline;
      const bool is_candle =
          reply.type == REDIS_REPLY_STRING &&
          read_kline({keys[i].chain, keys[i].pair, keys[i].interval}, keys[i].time, klined::text_of(reply), kline);
      look(keys[i], is_candle ? &kline : nullptr);
    }
  }
  return {};
}

Status CachedReader::mend(const CandleKey& candle, const proto::Kline* kline, std::int64_t largest) {
  if (Status done = connected(); !done) return done;
  const SeriesName series{candle.chain, candle.pair, candle.interval};
  const std::string key = redis_key_of(series);
  const std::string field = std::to_string(candle.time);
  for (int attempt = 0; attempt < kMendAttempts; ++attempt) {
    const Result<bool> done = try_mend(series, key, field, kline, largest);
    if (!done) return std::unexpected(in_redis(connection_, done.error()));
    if (*done) return {};
  }
  return retry(fmt::format("redis {}: {} changes all the time", connection_.address().to_string(), key));
}

// False where the hash, perhaps another field of it, was changed between the look and the write: then nothing is
// written.
Result<bool> CachedReader::try_mend(const SeriesName& series, const std::string& key, const std::string& field,
                                    const proto::Kline* kline, std::int64_t largest) {
  connection_.add({"WATCH", key});
  connection_.add({"EXISTS", key});
  connection_.add({"HGET", key, field});
  auto replies = connection_.run();
  if (!replies) return std::unexpected(replies.error());
  const redisReply& held = *replies->at(2);
  const auto time = time_of_field(series.interval, field);
  const auto version =
      time && held.type == REDIS_REPLY_STRING ? version_of_value(series, *time, klined::text_of(held)) : std::nullopt;
  const bool is_newer = version && version->revision > std::max(largest, kline == nullptr ? 0 : kline->total_count());
  if (replies->at(1)->integer == 0 || is_newer) {
    connection_.add({"UNWATCH"});
  } else {
    connection_.add({"MULTI"});
    if (kline == nullptr) {
      connection_.add({"HDEL", key, field});
    } else {
      const std::string value = kline->SerializeAsString();
      connection_.add({"HSET", key, field, value});
    }
    connection_.add({"EXEC"});
  }
  replies = connection_.run();
  if (!replies) return std::unexpected(replies.error());
  const redisReply& last = *replies->back();
  if (last.type == REDIS_REPLY_ERROR) return retry(std::string(klined::text_of(last)));
  return last.type != REDIS_REPLY_NIL;
}

// ---- The check -----------------------------------------------------------------------------------------------------

OutputCheck::OutputCheck(const Config& config, Recomputation& again, bool published, bool redis, Wants wants)
    : config_(config), again_(again), wants_(std::move(wants)), published_(again), cached_(again) {
  if (redis) cached_reader_.emplace(config);
  if (published) reader_.emplace();
}

CachedReader::Series OutputCheck::series() const {
  CachedReader::Series series;
  again_.for_each([&series](const CandleKey& key, const Recomputation::Entry&) {
    series[{key.chain, key.pair, key.interval}].push_back(key.time);
  });
  const auto keep = static_cast<std::size_t>(config_.redis ? config_.redis->keep : 0);
  for (auto& [name, times] : series) {
    std::ranges::sort(times);
    if (times.size() > keep) times.erase(times.begin(), times.end() - static_cast<std::ptrdiff_t>(keep));
  }
  return series;
}

Status OutputCheck::look_again(bool with_published) {
  if (with_published && reader_) {
    const Status read = reader_->read_to_end(
        [this](const CandleKey& key, const proto::Kline& kline) { published_.take_later(key, kline); });
    if (!read) return read;
    published_.settle();
  }
  if (!cached_reader_ || cached_.suspects().empty()) return {};
  return cached_reader_->look_again(
      cached_.suspects(), [this](const CandleKey& key, const proto::Kline* kline) { cached_.look(key, kline); });
}

Status OutputCheck::run(const std::function<Status()>& mark_ends, const Advance& advance) {
  if (reader_) {
    Result<PublishedReader> opened = PublishedReader::open(config_);
    if (!opened) return std::unexpected(opened.error());
    reader_.emplace(std::move(*opened));
    const auto limit = static_cast<std::size_t>(config_.engine.memory_limit);
    bool is_full = false;
    const Status read = reader_->read_to_end([&](const CandleKey& key, const proto::Kline& kline) {
      if (!is_full && wants_(key)) published_.take_first(key, kline);
      is_full = is_full || published_.bytes() > limit;
    });
    if (!read) return read;
    if (is_full) {
      return fatal(
          "the published candles that differ from the tables, or are newer, need more memory than "
          "engine.memory_limit: use --passes, or narrow it with --from, --to, --pair, --interval");
    }
    published_.end_first();
  }
  if (cached_reader_) {
    const Status looked = cached_reader_->look(series(), [this](const CandleKey& key, const proto::Kline* kline) {
      if (wants_(key)) cached_.look(key, kline);
    });
    if (!looked) return looked;
  }
  if (Status marked = mark_ends(); !marked) return marked;
  Instant moved_at = clock_.now();
  std::optional<Instant> caught_up_at;
  while (!published_.suspects().empty() || !cached_.suspects().empty()) {
    const Result<Progress> progress = advance();
    if (!progress) return std::unexpected(progress.error());
    const Instant now = clock_.now();
    if (progress->has_moved) moved_at = now;
    if (Status looked = look_again(!caught_up_at); !looked) return looked;
    if (progress->is_caught_up && !caught_up_at) caught_up_at = now;
    if (caught_up_at && (cached_.suspects().empty() || now - *caught_up_at > kCacheLags)) break;
    if (!caught_up_at && now - moved_at > kStill) break;
    std::this_thread::sleep_for(kRound);
  }
  is_caught_up_ = caught_up_at.has_value();
  return {};
}

void OutputCheck::add(const CandleKey& key, const Suspect& suspect, Where where, std::vector<Finding>& out) const {
  const Recomputation::Entry* const entry = again_.find(key);
  const std::int64_t revision = entry == nullptr ? 0 : entry->candle.revision();
  Finding finding;
  finding.key = key;
  finding.where = where;
  finding.revision = suspect.largest;
  proto::Kline newest;
  if (suspect.newest.empty() || !newest.ParseFromString(suspect.newest)) {
    finding.is_missing = true;
    finding.is_uncertain = where == Where::kPublished && reader_->is_trimmed();
  } else {
    // Newer than the tables, and nobody has committed it since: whether it is right only the next commit tells.
    finding.is_uncertain = !is_caught_up_ && newest.total_count() > revision;
    if (entry != nullptr) finding.cells = differences_of(newest, expected_kline(key, entry->candle));
  }
  out.push_back(std::move(finding));
}

std::vector<Finding> OutputCheck::findings(const std::function<bool(UnixSeconds)>& is_uncertain) {
  std::vector<Finding> findings;
  for (const auto& [key, suspect] : published_.suspects()) add(key, suspect, Where::kPublished, findings);
  for (const auto& [key, suspect] : cached_.suspects()) add(key, suspect, Where::kRedis, findings);
  for (Finding& finding : findings) finding.is_uncertain |= is_uncertain(finding.key.time);
  return findings;
}

std::string OutputCheck::summary() const {
  std::string text;
  if (reader_) {
    text += fmt::format("; {} published candles read{}", published_.messages(),
                        reader_->unreadable() > 0 ? fmt::format(" ({} unreadable)", reader_->unreadable()) : "");
  }
  if (cached_reader_) {
    text +=
        fmt::format("; {} Redis fields compared, {} of them newer than the tables at each look, {} hashes not there",
                    cached_reader_->fields(), cached_.in_flight(), cached_reader_->missing_hashes());
  }
  return text;
}

// ---- Publishing ----------------------------------------------------------------------------------------------------

Status publish_again(const Config& config, const std::vector<proto::Kline>& klines) {
  if (klines.empty()) return {};
  std::atomic<std::size_t> delivered = 0;
  std::atomic<bool> failed = false;
  const auto publisher = KafkaPublisher::open({producer_properties(config)}, [&](DeliveryReport&& report) {
    if (report.error) failed = true;
    if (!report.error) ++delivered;
  });
  if (!publisher) return std::unexpected(publisher.error());
  for (const proto::Kline& kline : klines) {
    proto::Klines message;
    *message.add_list() = kline;
    Publication publication{output_topic(config, static_cast<ChainId>(kline.chain_id())), kline.pair_addr(),
                            message.SerializeAsString()};
    while (!(*publisher)->send(publication, 0)) (*publisher)->flush(Milliseconds(50));
  }
  if ((*publisher)->flush(kDelivery) && !failed && delivered == klines.size()) return {};
  return retry(
      fmt::format("{} of {} repaired candles were published again: run it once more", delivered.load(), klines.size()));
}

}  // namespace klined::app
