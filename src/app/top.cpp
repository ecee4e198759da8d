// `klined top`: the most active pairs, live from the output topics.
#include <algorithm>
#include <csignal>
#include <memory>
#include <thread>
#include <unordered_map>

#include <fmt/format.h>
#include <unistd.h>
#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

#include "kline.pb.h"
#include "klined/app/candle_table.hpp"
#include "klined/app/commands.hpp"
#include "klined/base/clock.hpp"
#include "klined/source/kafka_source.hpp"

namespace klined::app {

namespace {

volatile std::sig_atomic_t interrupted = 0;

struct TopArguments {
  std::string config;
  std::size_t rows = 15;
  double seconds = 0;  // 0: until Ctrl-C
};

// What the messages so far tell of one pair.
struct PairState {
  double price = 0;
  UnixSeconds newest = 0;  // candle_time of the candle that gave the price
  double change_1m = 0, change_5m = 0, change_1h = 0;
  bool has_changes = false;
  std::string_view longest;  // the interval whose open candle tells volume and trades
  UnixSeconds longest_time = 0;
  double volume = 0;
  std::int64_t trades = 0;
  std::int64_t candles = 0;  // versions of candles seen
  std::int64_t fresh = 0;    // since the table was drawn last
};

class TopTable {
 public:
  TopTable(Interval shortest, Interval longest) : shortest_(name_of(shortest)), longest_(name_of(longest)) {}

  void take(std::string_view value) {
    proto::Klines klines;
    if (!klines.ParseFromArray(value.data(), static_cast<int>(value.size())) || klines.list().empty()) return;
    PairState& pair = pairs_[klines.list(0).pair_addr()];
    for (const proto::Kline& k : klines.list()) {
      ++pair.candles;
      ++pair.fresh;
      if (k.interval() == shortest_ && k.candle_time() >= pair.newest) {
        pair.newest = k.candle_time();
        pair.price = k.close();
      }
      if (k.interval() == longest_ && k.candle_time() >= pair.longest_time) {
        pair.longest_time = k.candle_time();
        pair.volume = k.amount_usd();
        pair.trades = k.total_count();
      }
    }
    if (!klines.has_fluctuation()) return;
    pair.has_changes = true;
    pair.change_1m = klines.fluctuation().kline_fluctuation_1m();
    pair.change_5m = klines.fluctuation().kline_fluctuation_5m();
    pair.change_1h = klines.fluctuation().kline_fluctuation_1h();
  }

  std::string draw(std::size_t rows, bool colour, const std::string& delay) {
    std::vector<std::pair<std::string_view, PairState*>> order;
    std::int64_t candles = 0;
    for (auto& [name, state] : pairs_) {
      order.emplace_back(name, &state);
      candles += state.fresh;
    }
    const auto by_trades = [](const auto& entry) { return entry.second->trades; };
    std::ranges::sort(order, std::greater<>(), by_trades);
    std::string out = fmt::format("{} pairs, {} candles changed since the last table; trade -> published candle: {}\n",
                                  print_count(static_cast<std::int64_t>(order.size())), print_count(candles), delay);
    out += fmt::format("{:<46} {:>14} {:>8} {:>8} {:>8} {:>16} {:>9} {:>9}\n", "PAIR", "PRICE USD", "1m", "5m", "1h",
                       fmt::format("VOLUME {} USD", longest_), "TRADES", "CANDLES");
    for (std::size_t i = 0; i < std::min(rows, order.size()); ++i) {
      const PairState& p = *order[i].second;
      out += fmt::format("{:<46} {:>14} {} {} {} {:>16.2f} {:>9} {:>9}\n", order[i].first, print_price(p.price),
                         change(p.change_1m, p.has_changes, colour), change(p.change_5m, p.has_changes, colour),
                         change(p.change_1h, p.has_changes, colour), p.volume, print_count(p.trades),
                         print_count(p.candles));
    }
    for (auto& [name, state] : pairs_) state.fresh = 0;
    return out;
  }

 private:
  static std::string change(double fraction, bool known, bool colour) {
    if (!known) return fmt::format("{:>8}", "-");
    std::string text = fmt::format("{:>+7.2f}%", fraction * 100);
    if (!colour || fraction == 0) return text;
    return fmt::format("\x1b[{}m{}\x1b[0m", fraction > 0 ? 32 : 31, text);
  }

  std::string_view shortest_;
  std::string_view longest_;
  std::unordered_map<std::string, PairState> pairs_;
};

// The job's own measure, from its metrics page: the median and the 99th percentile as bounds of the histogram's
// buckets.
std::string delay_from_metrics(const std::string& listen) {
  namespace beast = boost::beast;
  const std::size_t colon = listen.rfind(':');
  if (colon == std::string::npos) return "not measured (no metrics page)";
  try {
    boost::asio::io_context context;
    beast::tcp_stream stream(context);
    stream.expires_after(std::chrono::seconds(1));
    stream.connect(boost::asio::ip::tcp::resolver(context).resolve(listen.substr(0, colon), listen.substr(colon + 1)));
    beast::http::request<beast::http::empty_body> request(beast::http::verb::get, "/metrics", 11);
    request.set(beast::http::field::host, listen);
    beast::http::write(stream, request);
    beast::flat_buffer buffer;
    beast::http::response<beast::http::string_body> response;
    beast::http::read(stream, buffer, response);
    std::vector<std::pair<std::string, double>> buckets;
    constexpr std::string_view kBucket = "klined_end_to_end_delay_seconds_bucket{le=\"";
    const std::string& page = response.body();
    for (std::size_t at = page.find(kBucket); at != std::string::npos; at = page.find(kBucket, at + 1)) {
      const std::size_t bound = at + kBucket.size();
      const std::size_t quote = page.find('"', bound);
      buckets.emplace_back(page.substr(bound, quote - bound), std::stod(page.substr(page.find(' ', quote))));
    }
    if (buckets.empty() || buckets.back().second == 0) return "none yet";
    const auto quantile = [&buckets](double q) {
      for (const auto& [bound, count] : buckets) {
        if (count < q * buckets.back().second) continue;
        return bound == "+Inf" ? std::string("more") : fmt::format("{:.0f} ms", std::stod(bound) * 1000);
      }
      return std::string("more");
    };
    return fmt::format("median <= {}, 99 % <= {}", quantile(0.5), quantile(0.99));
  } catch (const std::exception&) {
    return "not known (the job's metrics page does not answer)";
  }
}

Result<std::unique_ptr<KafkaSource>> open_outputs(const Config& config) {
  Result<std::unique_ptr<KafkaSource>> source = KafkaSource::open({consumer_properties(config), config.group + "-top"});
  if (!source) return source;
  std::vector<std::string> topics;
  for (const ChainId chain : config.chains) topics.push_back(output_topic(config, chain));
  std::ranges::sort(topics);
  const Result<std::vector<TopicPartition>> partitions = (*source)->partitions_of(topics, Milliseconds(10'000));
  if (!partitions) return std::unexpected(partitions.error());
  std::vector<Assignment> assignments;
  for (const TopicPartition& partition : *partitions) {
    const Result<OffsetRange> range = (*source)->range_of(partition, Milliseconds(10'000));
    if (!range) return std::unexpected(range.error());
    const auto rank = static_cast<std::uint32_t>(std::ranges::find(topics, partition.topic) - topics.begin());
    assignments.push_back({partition, LogId(rank, static_cast<std::uint32_t>(partition.partition)), range->high});
  }
  if (const Status status = (*source)->assign(assignments); !status) return std::unexpected(status.error());
  return source;
}

int show_top(const TopArguments& arguments) {
  const std::optional<Config> config = load_config_or_complain(arguments.config);
  if (!config) return kUsage;
  if (!publishes(*config)) {
    complain("env is local: nothing is published that could be watched; set another env");
    return kUsage;
  }
  Result<std::unique_ptr<KafkaSource>> source = open_outputs(*config);
  if (!source) return fail(source.error());
  std::signal(SIGINT, [](int) { interrupted = 1; });
  std::signal(SIGTERM, [](int) { interrupted = 1; });
  const SystemClock clock;
  const Instant begin = clock.now();
  Instant drawn = begin;
  TopTable table(config->intervals.front(), config->intervals.back());
  const bool is_terminal = isatty(STDOUT_FILENO) != 0;
  const std::chrono::milliseconds refresh =
      is_terminal ? std::chrono::milliseconds(1000) : std::chrono::milliseconds(5000);
  while (interrupted == 0) {
    const Result<MessageBatch> batch = (*source)->poll(Milliseconds(100), 5000, std::size_t{8} << 20U);
    if (!batch) return fail(batch.error());
    for (const Message& message : batch->messages) table.take(message.value);
    const Instant now = clock.now();
    const bool over = arguments.seconds > 0 && now - begin >= std::chrono::duration<double>(arguments.seconds);
    if (!over && now - drawn < refresh) continue;
    drawn = now;
    const std::string text =
        table.draw(arguments.rows, stdout_has_colour(), delay_from_metrics(config->metrics.listen));
    if (!print_out((is_terminal ? "\x1b[H\x1b[J" : "") + text + "\n")) return kFailed;
    if (over) break;
  }
  return kOk;
}

}  // namespace

CLI::App* add_top(CLI::App& parent, int& exit_code) {
  CLI::App* const command = parent.add_subcommand(
      "top", "The most active pairs, live: reads the published candles and redraws a table every second.");
  auto arguments = std::make_shared<TopArguments>();
  add_config_option(*command, arguments->config);
  command->add_option("-n,--rows", arguments->rows, "Pairs to show")->capture_default_str();
  command->add_option("--for", arguments->seconds, "Seconds until it ends; 0: until Ctrl-C")
      ->type_name("SECONDS")
      ->capture_default_str();
  set_manual(
      *command, "  klined top -c klined.yaml\n  klined top --rows 5 --for 20\n",
      "Changes (1m, 5m, 1h) are those that klined publishes; '-' while a pair's history is read back. Volume and "
      "trades\n"
      "are of the open candle of the longest configured interval. CANDLES counts the versions that were published\n"
      "since the table began. The delay is the job's own, from its metrics page. Where stdout is no terminal, a table\n"
      "is printed every 5 s.\n");
  command->callback([arguments, &exit_code] { exit_code = show_top(*arguments); });
  return command;
}

}  // namespace klined::app
