#include "checks.hpp"

#include <charconv>

#include "klined/stream/batch.hpp"

namespace klined::simulation {

namespace {

std::string describe(const CandleName& name) {
  const auto& [interval, chain, pair, time] = name;
  return fmt::format("candle {} of pair {} on chain {} at {}", name_of(interval), pair, chain, time);
}

std::string decimal(Int128 units) { return Decimal::from_units(units).to_string(); }

// The double nearest to units / 1e12: exact here, as long as both fit in a double.
double real(Int128 units) { return static_cast<double>(static_cast<long double>(units) / 1e12L); }

double average(const PlainCandle& c) {
  return c.volume == 0 ? 0 : static_cast<double>(static_cast<long double>(c.usd) / static_cast<long double>(c.volume));
}

std::string place_text(const Place& place, const Database& database) {
  const auto& [time, slot, transaction, log_index, topic, partition, offset, index] = place;
  std::string number = "?";
  for (const auto& [key, row] : database.table("stream_topic").rows) {
    if (row[1] == topic) number = row[0];
  }
  return fmt::format("{}:{}:{}:{}:{}:{}:{}:{}", time, slot, transaction, log_index, number, partition, offset, index);
}

// The columns that differ, as text; "" for none.
class Comparison {
 public:
  void text(std::string_view column, std::string_view is, std::string_view must) {
    if (is != must) differences_ += fmt::format(" {} is {} and must be {};", column, is, must);
  }
  void number(std::string_view column, double is, double must) {
    if (is != must) differences_ += fmt::format(" {} is {} and must be {};", column, is, must);
  }
  void whole(std::string_view column, std::int64_t is, std::int64_t must) {
    if (is != must) differences_ += fmt::format(" {} is {} and must be {};", column, is, must);
  }
  const std::string& differences() const { return differences_; }

 private:
  std::string differences_;
};

double number_of(const std::string& text) {
  double value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// Within one step of the last place: long double divides with more bits than a double, then rounds once more.
bool is_nearly(double a, double b) { return a == b || std::abs(a - b) <= std::abs(b) * 2.3e-16; }

std::string compare_row(const Table& table, const Table::Row& row, const PlainCandle& c, const Database& database) {
  Comparison differ;
  const auto cell = [&](std::string_view column) -> const std::string& { return row[table.column(column)]; };
  const auto number = [&](std::string_view column, double must) {
    differ.number(column, number_of(cell(column)), must);
  };
  const auto whole = [&](std::string_view column, std::int64_t must) {
    differ.text(column, cell(column), std::to_string(must));
  };
  whole("open_at", c.open_at);
  whole("close_at", c.close_at);
  number("o", c.open);
  number("h", c.high);
  number("l", c.low);
  number("c", c.close);
  differ.text("v", cell("v"), decimal(c.usd));
  differ.text("t", cell("t"), decimal(c.volume));
  if (!is_nearly(number_of(cell("a")), average(c))) number("a", average(c));
  whole("count", c.count());
  whole("buy_count", c.buys);
  whole("sell_count", c.sells);
  number("mcap_o", c.mcap_open);
  number("mcap_h", c.mcap_high);
  number("mcap_l", c.mcap_low);
  number("mcap_c", c.mcap_close);
  number("mkt_cap", c.mkt_cap);
  number("pump_point", c.pump_point);
  differ.text("token_addr", cell("token_addr"), c.token);
  whole("only_clamped", c.only_clamped ? 1 : 0);
  differ.text("open_pos", cell("open_pos"), place_text(c.price_first, database));
  differ.text("close_pos", cell("close_pos"), place_text(c.price_last, database));
  differ.text("last_pos", cell("last_pos"), c.last == c.price_last ? "" : place_text(c.last, database));
  return differ.differences();
}

std::string compare_kline(const proto::Kline& k, const PlainCandle& c) {
  Comparison differ;
  differ.whole("total_count", k.total_count(), c.count());
  differ.whole("buy_count", k.buy_count(), c.buys);
  differ.whole("sell_count", k.sell_count(), c.sells);
  differ.number("open", k.open(), c.open);
  differ.number("high", k.high(), c.high);
  differ.number("low", k.low(), c.low);
  differ.number("close", k.close(), c.close);
  differ.number("mcap_open", k.mcap_open(), c.mcap_open);
  differ.number("mcap_high", k.mcap_high(), c.mcap_high);
  differ.number("mcap_low", k.mcap_low(), c.mcap_low);
  differ.number("mcap_close", k.mcap_close(), c.mcap_close);
  if (!is_nearly(k.amount_usd(), real(c.usd))) differ.number("amount_usd", k.amount_usd(), real(c.usd));
  if (!is_nearly(k.volume_token(), real(c.volume))) differ.number("volume_token", k.volume_token(), real(c.volume));
  if (!is_nearly(k.avg_price(), average(c))) differ.number("avg_price", k.avg_price(), average(c));
  differ.whole("open_at", k.open_at(), c.open_at);
  differ.whole("close_at", k.close_at(), c.close_at);
  differ.number("mkt_cap", k.mkt_cap(), c.mkt_cap);
  differ.number("pump_point", k.pump_point(), c.pump_point);
  differ.text("token_addr", k.token_addr(), c.token);
  return differ.differences();
}

}  // namespace

Checks::Checks(const Input& input, std::vector<Interval> intervals)
    : input_(input), intervals_(std::move(intervals)), judgement_(judge(input)) {
  all_ = candles_of(input_, judgement_, intervals_, [](std::size_t, std::int64_t, const Sent&) { return true; });
}

std::string Checks::tables(const Database& database) const {
  // By log, the offset up to which each lane has stored it.
  std::vector<std::vector<std::int64_t>> stored(input_.logs.size());
  const Table& offsets = database.table("stream_offset");
  for (const auto& [key, row] : offsets.rows) {
    for (std::size_t log = 0; log < input_.logs.size(); ++log) {
      if (row[1] != input_.logs[log].topic || row[2] != std::to_string(input_.logs[log].partition)) continue;
      const auto lane = static_cast<std::size_t>(std::stoi(row[3]));
      if (stored[log].size() <= lane) stored[log].resize(lane + 1);
      stored[log][lane] = std::stoll(row[5]);
    }
  }
  const auto candles =
      candles_of(input_, judgement_, intervals_, [&stored](std::size_t log, std::int64_t offset, const Sent& t) {
        if (stored[log].empty()) return false;
        const auto lane = lane_of_pair(hash_of_pair(t.chain, t.pair), static_cast<std::int32_t>(stored[log].size()));
        return offset < stored[log][static_cast<std::size_t>(lane)];
      });
  std::size_t rows = 0;
  for (const Interval interval : intervals_) rows += database.table(table_of(interval)).rows.size();
  for (const auto& [name, candle] : candles) {
    const auto& [interval, chain, pair, time] = name;
    const Table& table = database.table(table_of(interval));
    const auto row = table.rows.find(table.key_of({std::to_string(chain), pair, std::to_string(time)}));
    if (row == table.rows.end()) return describe(name) + " has no row";
    const std::string differences = compare_row(table, row->second, candle, database);
    if (!differences.empty()) return describe(name) + " is wrong in the table:" + differences;
  }
  if (rows != candles.size()) return fmt::format("{} rows are in the tables, and must be {}", rows, candles.size());
  return {};
}

std::string Checks::offsets(const Database& database, bool at_end) const {
  std::map<std::pair<std::string, std::string>, std::string> places;
  for (const auto& [key, row] : database.table("stream_offset").rows) {
    const auto [at, is_new] = places.try_emplace({row[1], row[2]}, row[5]);
    if (!is_new && at->second != row[5]) {
      return fmt::format("after a graceful stop the lanes of {} partition {} stand apart", row[1], row[2]);
    }
  }
  if (!at_end) return {};
  for (const Log& log : input_.logs) {
    const std::string& at = places[{log.topic, std::to_string(log.partition)}];
    if (at == std::to_string(log.messages.size()) || (at.empty() && log.messages.empty())) continue;
    return fmt::format("{} partition {} is stored up to offset \"{}\", and has {} messages", log.topic, log.partition,
                       at, log.messages.size());
  }
  return {};
}

std::string Checks::ledger(const Process& process) const {
  const std::int32_t lanes = process.config().engine.lanes;
  Ledger must;
  for (std::size_t log = 0; log < input_.logs.size(); ++log) {
    for (std::int64_t offset = 0; offset < process.position(log); ++offset) {
      const SentMessage& message = input_.logs[log].messages[static_cast<std::size_t>(offset)];
      const auto& outcomes = judgement_.outcomes[log][static_cast<std::size_t>(offset)];
      for (std::size_t i = 0; i < outcomes.size(); ++i) {
        const Outcome outcome = outcomes[i];
        const bool has_pair =
            outcome == Outcome::kApplied || outcome == Outcome::kDuplicate || outcome == Outcome::kLate;
        std::int32_t lane = lane_of_offset(offset, lanes);
        if (has_pair) lane = lane_of_pair(hash_of_pair(message.elements[i].chain, message.elements[i].pair), lanes);
        if (offset >= process.stored_offset(log, lane)) ++must[outcome];
      }
    }
  }
  const Ledger is = process.ledger();
  for (std::size_t i = 0; i < kOutcomeCount; ++i) {
    if (is.counts[i] != must.counts[i]) {
      return fmt::format("process {} counted {} trades as {}, and must have counted {}", process.number(), is.counts[i],
                         kOutcomeNames[i], must.counts[i]);
    }
  }
  return {};
}

std::string Checks::readers(const Readers& readers) const {
  if (!readers.problem.empty()) return readers.problem;
  for (const auto& [name, candle] : all_) {
    const auto seen = readers.candles.find(name);
    if (seen == readers.candles.end()) return describe(name) + " was never published";
    const std::string differences = compare_kline(seen->second.newest, candle);
    if (!differences.empty()) return describe(name) + " was published wrong last:" + differences;
    if (!seen->second.conflict.empty()) {
      return describe(name) + " was published twice with its last revision, and not the same: " + seen->second.conflict;
    }
    if (!seen->second.closed) return describe(name) + " was never published as closed";
  }
  for (const auto& [name, seen] : readers.candles) {
    if (!all_.contains(name)) return describe(name) + " was published, and has no trade";
  }
  return letters(readers);
}

std::string Checks::letters(const Readers& readers) const {
  std::size_t count = 0;
  for (std::size_t l = 0; l < input_.logs.size(); ++l) {
    const Log& log = input_.logs[l];
    for (std::size_t m = 0; m < log.messages.size(); ++m) {
      const auto& outcomes = judgement_.outcomes[l][m];
      for (std::size_t i = 0; i < outcomes.size(); ++i) {
        const Outcome outcome = outcomes[i];
        if (outcome != Outcome::kInvalid && outcome != Outcome::kFuture && outcome != Outcome::kLate) continue;
        const SentMessage& message = log.messages[m];
        const LetterName name{log.topic,
                              log.partition,
                              static_cast<std::int64_t>(m),
                              message.dead ? -1 : static_cast<int>(i),
                              std::string(name_of(outcome)),
                              message.dead ? message.value : message.elements[i].text};
        ++count;
        if (readers.letters.contains(name)) continue;
        return fmt::format("no dead letter tells of the {} trade {} of {} partition {} offset {}", name_of(outcome), i,
                           log.topic, log.partition, m);
      }
    }
  }
  if (count != readers.letters.size()) {
    return fmt::format("{} different dead letters were written, and must be {}", readers.letters.size(), count);
  }
  return {};
}

}  // namespace klined::simulation
