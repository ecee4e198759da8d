#include "klined/stream/announcement.hpp"

#include <algorithm>
#include <charconv>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "kline.pb.h"
#include "klined/cache/redis_connection.hpp"
#include "klined/cache/redis_layout.hpp"
#include "klined/codec/kline_encoder.hpp"
#include "klined/publish/kafka_publisher.hpp"
#include "klined/stream/connections.hpp"

namespace klined {

namespace {

constexpr int kCandlesAMessage = 500;
constexpr Milliseconds kFlush{10'000};
constexpr Milliseconds kPause{5};
constexpr unsigned kCountCell = 9;  // behind the key's columns

std::int64_t count_of(const TableScan& scan) {
  const std::string_view text = scan.cell(kCountCell);
  std::int64_t count = 0;
  std::from_chars(text.data(), text.data() + text.size(), count);
  return count;
}

}  // namespace

// Candles of one pair in a message; what was not delivered is sent again.
class Announcement::Sender {
 public:
  static Result<std::unique_ptr<Sender>> open(const Config& config, const std::atomic<bool>& stopping) {
    std::unique_ptr<Sender> sender(new Sender(config, stopping));
    auto publisher = KafkaPublisher::open({producer_properties(config)},
                                          [raw = sender.get()](DeliveryReport&& report) { raw->reported(report); });
    if (!publisher) return std::unexpected(publisher.error());
    sender->publisher_ = std::move(*publisher);
    return sender;
  }
  Status add(const KlineView& view) {
    if (view.chain != chain_ || view.pair != pair_ || klines_.list_size() >= kCandlesAMessage) {
      if (Status sent = send(); !sent) return sent;
    }
    chain_ = view.chain;
    pair_ = view.pair;
    fill_kline(view, *klines_.add_list());
    return {};
  }
  // Until everything is acknowledged.
  Status finish() {
    if (Status sent = send(); !sent) return sent;
    while (publisher_->in_flight() > 0 || has_failed()) {
      if (Status again = send_again(); !again) return again;
      publisher_->flush(kFlush);
      if (stopping_) return stopped();
    }
    return {};
  }

 private:
  Sender(const Config& config, const std::atomic<bool>& stopping) : config_(config), stopping_(stopping) {}

  static Status stopped() { return retry("stopped before everything that changed was published"); }
  Status send() {
    if (klines_.list_size() == 0) return {};
    Publication publication{output_topic(config_, chain_), pair_, klines_.SerializeAsString()};
    klines_.Clear();
    return push(publication);
  }
  Status push(Publication& publication) {
    while (!publisher_->send(publication, 0)) {
      if (stopping_) return stopped();
      std::this_thread::sleep_for(kPause);
    }
    return send_again();
  }
  Status send_again() {
    while (true) {
      Publication publication;
      {
        const std::lock_guard lock(mutex_);
        if (fatal_) return std::unexpected(*fatal_);
        if (failed_.empty()) return {};
        publication = std::move(failed_.front());
        failed_.pop_front();
      }
      while (!publisher_->send(publication, 0)) {
        if (stopping_) return stopped();
        std::this_thread::sleep_for(kPause);
      }
    }
  }
  bool has_failed() {
    const std::lock_guard lock(mutex_);
    return !failed_.empty() || fatal_;
  }
  void reported(DeliveryReport& report) {
    if (!report.error) return;
    const std::lock_guard lock(mutex_);
    if (report.error->kind == ErrorKind::kFatal) fatal_ = report.error;
    failed_.push_back(std::move(report.publication));
  }

  const Config& config_;
  const std::atomic<bool>& stopping_;
  proto::Klines klines_;
  ChainId chain_ = 0;
  std::string pair_;
  std::mutex mutex_;
  std::deque<Publication> failed_;
  std::optional<Error> fatal_;
  std::unique_ptr<KafkaPublisher> publisher_;
};

// Candles with fewer trades than before: the cache takes what it holds for newer, so it is told. A cache that does not
// answer is left alone.
class Announcement::Cache {
 public:
  explicit Cache(const Config& config) {
    if (!config.redis) return;
    const RedisOptions options = redis_options(config);
    connection_.emplace(RedisAddress{options.host, options.port, options.username, options.password, options.database,
                                     options.connect_timeout, options.command_timeout});
    check(connection_->connect());
  }
  // Where it holds more trades than the candle has now, or a candle that is gone. May be of a moment after that row:
  // then the job's next update follows, and is larger again.
  void correct(const CandleKey& key, const KlineView* now) {
    if (!connection_) return;
    const SeriesName series{key.chain, key.pair, key.interval};
    const std::string name = redis_key_of(series);
    const std::string field = std::to_string(key.time);
    connection_->add({"HGET", name, field});
    auto answer = connection_->run();
    if (!answer) return check(std::unexpected(answer.error()));
    const redisReply& held = *answer->front();
    if (held.type != REDIS_REPLY_STRING) return;
    const auto version = version_of_value(series, key.time, text_of(held));
    if (now != nullptr && version && version->revision <= now->candle->revision()) return;
    if (now != nullptr) {
      const std::string value = encode_kline(*now);
      connection_->add({"HSET", name, field, value});
    } else {
      connection_->add({"HDEL", name, field});
    }
    if (auto done = connection_->run(); !done) check(std::unexpected(done.error()));
  }

 private:
  void check(const Status& status) {
    if (status) return;
    spdlog::warn(
        "rebuild: Redis does not answer: {}; candles with fewer trades than before stay there until they are "
        "deleted or expire",
        status.error().message);
    connection_.reset();
  }
  std::optional<RedisConnection> connection_;
};

struct Announcement::Scope {
  std::unique_ptr<Sender> sender;  // null: nothing is published
  Cache cache;
  TopicNumbers topics;
  UnixSeconds closed_until = -1;
  MySqlConnection old_rows;
  MySqlConnection new_rows;
};

Result<Announcement::Counts> Announcement::run() {
  const Result<std::vector<Interval>> old = tables_.old_intervals();
  if (!old) return std::unexpected(old.error());
  const MySqlOptions mysql = mysql_options(config_);
  Scope scope{.sender = nullptr,
              .cache = Cache(config_),
              .topics = {},
              .closed_until = -1,
              .old_rows = MySqlConnection(mysql),
              .new_rows = MySqlConnection(mysql)};
  Result<SqlRows> topics = scope.new_rows.ask("SELECT topic_id,topic FROM stream_topic", "read the known topics");
  if (!topics) return std::unexpected(topics.error());
  std::vector<std::pair<std::int32_t, std::string>> known;
  while (topics->next()) known.emplace_back(static_cast<std::int32_t>(topics->integer(0)), topics->text(1));
  scope.topics = TopicNumbers(std::move(known));
  Result<SqlRows> closed = scope.new_rows.ask(
      "SELECT COALESCE(MIN(closed_until),-1) FROM stream_offset WHERE max_block_time>=0", "read what is closed");
  if (!closed) return std::unexpected(closed.error());
  if (closed->next()) scope.closed_until = closed->integer(0);
  if (publishes(config_) && which_ != Which::kNone) {
    auto sender = Sender::open(config_, stopping_);
    if (!sender) return std::unexpected(sender.error());
    scope.sender = std::move(*sender);
  }
  for (const Interval interval : config_.intervals) {
    const bool has_old = std::ranges::find(*old, interval) != old->end();
    if (Status done = announce(scope, interval, has_old); !done) return std::unexpected(done.error());
  }
  if (scope.sender) {
    if (Status done = scope.sender->finish(); !done) return std::unexpected(done.error());
  }
  return counts_;
}

Status Announcement::announce(Scope& scope, Interval interval, bool has_old) {
  using Within = TableScan::Within;
  TableScan now(scope.new_rows, qualified(tables_.database(), table_of(interval)), interval, Within::kNothing);
  if (has_old && which_ != Which::kAll) {
    const std::string before = before_name(table_of(interval));
    TableScan then(scope.old_rows, qualified(tables_.schema(), before), interval, Within::kNothing);
    return for_each_difference(then, now, [&](TableScan* old, TableScan* row) { return visit(scope, old, row); });
  }
  while (true) {
    const Result<bool> more = now.next();
    if (!more) return std::unexpected(more.error());
    if (!*more) return {};
    if (Status done = visit(scope, nullptr, &now); !done) return done;
  }
}

Status Announcement::visit(Scope& scope, TableScan* before, TableScan* after) {
  if (stopping_) return retry("stopped before everything that changed was published");
  ++counts_.compared;
  const bool has_fewer = before != nullptr && (after == nullptr || count_of(*after) < count_of(*before));
  if (has_fewer) ++counts_.fewer;
  if (after == nullptr) {
    scope.cache.correct(before->key(), nullptr);
    return {};
  }
  const Result<CandleRow> row = after->row(scope.topics);
  if (!row) return std::unexpected(row.error());
  const CandleKey& key = row->key;
  // A week's first bucket begins before 1970, where bucket_of() does not go.
  const UnixSeconds end = bucket_of(key.interval, std::max<UnixSeconds>(key.time, 0)).end;
  const KlineView view{key.chain, key.pair,     key.interval,
                       key.time,  &row->candle, end + config_.engine.close_grace.count() <= scope.closed_until};
  if (has_fewer) scope.cache.correct(key, &view);
  if (!scope.sender) return {};
  ++counts_.published;
  return scope.sender->add(view);
}

}  // namespace klined
