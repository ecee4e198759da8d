#include "input.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "random.hpp"

namespace klined::simulation {

namespace {

constexpr std::array<std::string_view, 6> kPairs = {"pairA", "paira", "Q", "0xdeadbeef", "pump/42", "z'\\\"z"};
constexpr std::array<std::string_view, 3> kTokens = {"", "mintA", "mintB"};

std::string milli(std::int64_t value) { return fmt::format("{}.{:03}", value / 1000, value % 1000); }

std::string json_text(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

// Producers spell the fields in one of two ways, and numbers as numbers or as texts.
std::string trade_text(const Sent& t, Random& random) {
  const char* const side = t.buys ? "buy" : "sell";
  if (random.chance(70)) {
    return fmt::format(
        R"({{"slot":{},"transaction_index":{},"log_index":{},"block_time":{},"chain_id_int":{},"pair_addr":{},"tx_hash":"{}","type":"{}","token_amount":"{}","token_price_usd":{},"total_usd":"{}","mcap":{},"pump_point":{},"clamp":{},"pair_info":{{"token_addr":"{}"}},"create_time":"2023-11-14T22:13:2{}Z"}})",
        t.slot, t.transaction_index, t.log_index, t.block_time, t.chain, json_text(t.pair), t.hash, side,
        milli(t.volume_milli), t.price_eighths * 0.125, milli(t.usd_milli), t.mcap, t.pump_quarters * 0.25, t.clamped,
        t.token, random.below(10));
  }
  return fmt::format(
      R"({{"Type":"{}", "BlockNum":{}, "unknown":[{{"a":null}}], "TransactionIndex":"{}", "LogIndex":{}, "BlockTime":{}, "ChainId":"{}", "PairAddr":{}, "HashId":"{}", "TokenAmount":"{}", "TokenPriceUSD":{}, "TotalUSD":{}, "Fdv":{}, "PumpPoint":{}, "Clamp":{}, "PairInfo":{{"TokenAddr":"{}"}}}})",
      side, t.slot, t.transaction_index, t.log_index, t.block_time, t.chain == 1 ? "eth" : "bsc", json_text(t.pair),
      t.hash, milli(t.volume_milli), t.price_eighths * 0.125, milli(t.usd_milli), t.mcap, t.pump_quarters * 0.25,
      t.clamped, t.token);
}

// Makes the input message by message; the same seed begins the same way however many there are.
class Producer {
 public:
  Producer(const Plan& plan, Input& input) : plan_(plan), input_(input), random_(mix(plan.world_seed) ^ 0x696E70ULL) {
    busy_pairs_ = random_.between(1, static_cast<int>(kPairs.size()));
    second_chain_percent_ = random_.chance(50) ? 25 : 0;
    jump_percent_ = random_.between(0, 12);
  }

  void produce() {
    time_ += random_.chance(jump_percent_) ? jump() : random_.between(0, 3);
    std::vector<std::size_t> open;
    for (std::size_t i = 0; i < input_.logs.size(); ++i) {
      if (input_.logs[i].joins_at <= input_.order.size()) open.push_back(i);
    }
    const std::size_t log = open[static_cast<std::size_t>(random_.below(static_cast<int>(open.size())))];
    input_.order.push_back(log);
    SentMessage& message = input_.logs[log].messages.emplace_back();
    message.timestamp_ms = time_ * 1000 + random_.below(900);
    if (plan_.dirty && !sent_.empty() && random_.chance(8)) {
      repeat_message(message);
      return;
    }
    message.value = "[";
    for (int n = random_.below(5); n > 0; --n) add(message, element());
    message.value += "]";
    if (plan_.dirty && random_.chance(4)) kill(message);
  }

 private:
  std::int64_t jump() {
    const int kind = random_.below(10);
    if (kind < 6) return random_.between(40, 100);
    return kind < 9 ? random_.between(250, 500) : 7200;
  }

  static void add(SentMessage& message, const Sent& sent) {
    if (!message.elements.empty()) message.value += ',';
    message.value += sent.text;
    message.elements.push_back(sent);
  }

  Sent element() {
    if (plan_.dirty && random_.chance(12)) return bad_element();
    Sent t;
    if (plan_.dirty && !sent_.empty() && random_.chance(15)) {
      // Sent again: mostly soon, often to the same partition (see repeat_message), maybe with another block time.
      t = sent_[sent_.size() - 1 -
                static_cast<std::size_t>(random_.below(std::min(30, static_cast<int>(sent_.size()))))];
      if (random_.chance(10)) t.block_time += random_.between(-70, 5);
      if (random_.chance(10)) t.log_index += 1;  // another trade of the same transaction
    } else {
      t = new_trade();
    }
    t.text = trade_text(t, random_);
    sent_.push_back(t);
    return t;
  }

  Sent new_trade() {
    Sent t;
    t.chain = random_.chance(second_chain_percent_) ? 56 : 1;
    t.pair = kPairs[static_cast<std::size_t>(random_.below(busy_pairs_))];
    t.block_time = time_ - random_.between(0, 4);
    if (plan_.dirty && random_.chance(10)) t.block_time = time_ - random_.below(400);
    if (plan_.dirty && random_.chance(3)) t.block_time = time_ + random_.below(static_cast<int>(2 * kMaxFuture));
    t.slot = 1 + t.block_time / 2;
    t.transaction_index = random_.below(2);
    t.log_index = random_.below(2);
    t.buys = random_.chance(50);
    t.clamped = plan_.dirty && random_.chance(25);
    t.price_eighths = random_.between(1, 100);
    t.usd_milli = random_.between(0, 1'000'000);
    t.volume_milli = random_.between(0, 1'000'000);
    t.mcap = random_.below(1000);
    t.pump_quarters = random_.between(0, 4);
    t.token = kTokens[static_cast<std::size_t>(random_.below(3))];
    t.hash = fmt::format("h{}", hashes_++);
    return t;
  }

  Sent bad_element() {
    static constexpr std::array<std::pair<std::string_view, std::string_view>, 7> kSpoiled = {{
        {"\"total_usd\":\"", "\"total_usd\":\"-1"},
        {"\"block_time\":", "\"block_time\":-"},
        {"\"pair_addr\":\"", "\"pair_addr\":\" "},
        {"\"token_amount\":\"", "\"token_amount\":\"x"},
        {"\"clamp\":", "\"clamp\":1,\"old\":"},
        {"\"chain_id_int\":", "\"chain_id_int\":9"},
        {"\"token_price_usd\":", "\"token_price_usd\":-"},
    }};
    Sent t = new_trade();
    const int kind = random_.below(10);
    if (kind < 3) {
      t.kind = Sent::Kind::kIgnored;
      t.text = R"({"type":"add_position","total_usd":-1})";
    } else if (kind < 5) {
      t.kind = Sent::Kind::kNoPrice;
      t.text = fmt::format(R"({{"type":"buy","block_time":{},"token_price_usd":"0.0"}})", time_ + 100);
    } else if (kind == 5) {
      t.kind = Sent::Kind::kInvalid;
      t.text = random_.chance(50) ? "42" : R"(["buy"])";
    } else {
      t.kind = Sent::Kind::kInvalid;
      // Only the first spelling can be spoiled in these ways.
      do t.text = trade_text(t, random_);
      while (!t.text.starts_with("{\"slot\""));
      const auto& [from, to] = random_.pick(kSpoiled);
      t.text.replace(t.text.find(from), from.size(), to);
    }
    return t;
  }

  // A block sent again as a whole, to the partition that has it, now or later.
  void repeat_message(SentMessage& message) {
    const std::vector<SentMessage>& earlier = input_.logs[input_.order.back()].messages;
    message.value = "[";
    if (earlier.size() > 1) {
      const auto back = static_cast<std::size_t>(random_.below(std::min(6, static_cast<int>(earlier.size()) - 1)));
      for (const Sent& sent : earlier[earlier.size() - 2 - back].elements) add(message, sent);
    }
    message.value += "]";
  }

  void kill(SentMessage& message) {
    switch (random_.below(3)) {
      case 0: message.value.pop_back(); break;
      case 1: message.value = "{}"; break;
      default: message.value += "]"; break;
    }
    message.dead = true;
    message.elements.clear();
  }

  const Plan& plan_;
  Input& input_;
  Random random_;
  std::int64_t time_ = kStart;
  std::vector<Sent> sent_;
  int hashes_ = 0;
  int busy_pairs_ = 1;
  int second_chain_percent_ = 0;
  int jump_percent_ = 0;
};

}  // namespace

std::string Sent::identity() const {
  return fmt::format("{} {} {} {} {} {} {} {}", chain, pair, hash, transaction_index, log_index, buys, volume_milli,
                     price_eighths);
}

Input make_input(const Plan& plan) {
  static constexpr std::array<std::pair<std::string_view, int>, 4> kLogs = {
      {{"m-trades", 0}, {"m-trades", 1}, {"a-trades", 0}, {"m-trades", 2}}};
  Input input;
  Random random(mix(plan.world_seed) ^ 0x6C6F6773ULL);
  for (int i = 0; i < plan.partitions; ++i) {
    const auto& [topic, partition] = kLogs[static_cast<std::size_t>(i)];
    const int joins = plan.troubles.partitions && i > 0 && random.chance(40) ? random.between(1, 30) : 0;
    input.logs.push_back({std::string(topic), partition, static_cast<std::size_t>(joins), {}});
  }
  Producer producer(plan, input);
  for (int i = 0; i < plan.messages; ++i) producer.produce();
  return input;
}

}  // namespace klined::simulation
