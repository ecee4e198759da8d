#include "klined/codec/kline_encoder.hpp"

#include <array>
#include <charconv>
#include <concepts>

#include <google/protobuf/io/coded_stream.h>
#include <kline.pb.h>

#include "klined/base/assertion.hpp"

namespace klined {

namespace {

using google::protobuf::io::CodedOutputStream;

// Hands each column to `visit(name, value)`, in protobuf order: the one list that JSON and CSV are written from.
template <typename Visitor>
void visit_columns(const KlineView& view, Visitor&& visit) {
  KLINED_ASSERT(view.candle != nullptr, "a view is of a candle");
  const Candle& c = *view.candle;
  visit("chain_id", std::int64_t{view.chain});
  visit("interval", name_of(view.interval));
  visit("pair_addr", view.pair);
  visit("open", c.open);
  visit("high", c.high);
  visit("low", c.low);
  visit("close", c.close);
  visit("mcap_open", c.mcap_open);
  visit("mcap_high", c.mcap_high);
  visit("mcap_low", c.mcap_low);
  visit("mcap_close", c.mcap_close);
  visit("amount_usd", c.amount_usd.to_double());
  visit("volume_token", c.volume_token.to_double());
  visit("candle_time", view.time);
  visit("buy_count", c.buy_count);
  visit("sell_count", c.sell_count);
  visit("total_count", c.total_count());
  visit("close_at", c.close_at());
  visit("open_at", c.open_at);
  visit("avg_price", c.avg_price());
  visit("mkt_cap", c.mkt_cap);
  visit("pump_point", c.pump_point);
  visit("token_addr", c.token.view());
  visit("closed", view.closed);
}

template <typename Number>
void append_number(Number value, std::string& out) {
  std::array<char, 40> text{};
  // Doubles come out in the shortest form that reads back the same, which is a JSON number as it stands ("3", "1e-07").
  const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), value);
  KLINED_ASSERT(error == std::errc(), "a number fits in 40 characters");
  out.append(text.data(), end);
}

// Addresses are printable ASCII: quotes and backslashes are all there is to escape.
void append_json_text(std::string_view text, std::string& out) {
  out.push_back('"');
  for (const char c : text) {
    if (c == '"' || c == '\\') out.push_back('\\');
    out.push_back(c);
  }
  out.push_back('"');
}

void append_csv_text(std::string_view text, std::string& out) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) {
    out.append(text);
    return;
  }
  out.push_back('"');
  for (const char c : text) {
    if (c == '"') out.push_back('"');
    out.push_back(c);
  }
  out.push_back('"');
}

}  // namespace

void fill_kline(const KlineView& view, proto::Kline& out) {
  KLINED_ASSERT(view.candle != nullptr, "a view is of a candle");
  const Candle& c = *view.candle;
  const auto text = [](std::string_view t, std::string* to) { to->assign(t.data(), t.size()); };
  out.set_chain_id(view.chain);
  text(name_of(view.interval), out.mutable_interval());
  text(view.pair, out.mutable_pair_addr());
  out.set_open(c.open);
  out.set_high(c.high);
  out.set_low(c.low);
  out.set_close(c.close);
  out.set_mcap_open(c.mcap_open);
  out.set_mcap_high(c.mcap_high);
  out.set_mcap_low(c.mcap_low);
  out.set_mcap_close(c.mcap_close);
  out.set_amount_usd(c.amount_usd.to_double());
  out.set_volume_token(c.volume_token.to_double());
  out.set_candle_time(view.time);
  out.set_buy_count(c.buy_count);
  out.set_sell_count(c.sell_count);
  out.set_total_count(c.total_count());
  out.set_close_at(c.close_at());
  out.set_open_at(c.open_at);
  out.set_avg_price(c.avg_price());
  out.set_mkt_cap(c.mkt_cap);
  out.set_pump_point(c.pump_point);
  text(c.token.view(), out.mutable_token_addr());
  out.set_closed(view.closed);
}

std::string encode_kline(const KlineView& view) {
  proto::Kline kline;
  fill_kline(view, kline);
  return kline.SerializeAsString();
}

KlinesEncoder::KlinesEncoder() : kline_(std::make_unique<proto::Kline>()) {}
KlinesEncoder::~KlinesEncoder() = default;

std::string_view KlinesEncoder::add(const KlineView& view) {
  fill_kline(view, *kline_);
  // An element of the list: its tag, its size, itself (protobuf.dev/programming-guides/encoding).
  constexpr std::uint32_t kLengthDelimited = 2;
  constexpr std::uint32_t kTag = std::uint32_t{proto::Klines::kListFieldNumber} << 3U | kLengthDelimited;
  const std::size_t size = kline_->ByteSizeLong();
  std::array<std::uint8_t, 20> head{};
  std::uint8_t* const end = CodedOutputStream::WriteVarint32ToArray(
      static_cast<std::uint32_t>(size), CodedOutputStream::WriteTagToArray(kTag, head.data()));
  message_.append(head.begin(), end);
  const std::size_t begin = message_.size();
  message_.resize(begin + size);
  kline_->SerializeWithCachedSizesToArray(reinterpret_cast<std::uint8_t*>(&message_[begin]));
  return std::string_view(message_).substr(begin);
}

void KlinesEncoder::add(const Fluctuation& fluctuation) {
  proto::Klines klines;
  proto::KlineFluctuation& out = *klines.mutable_fluctuation();
  out.set_kline_fluctuation_1m(fluctuation.over_1m);
  out.set_kline_fluctuation_5m(fluctuation.over_5m);
  out.set_kline_fluctuation_15m(fluctuation.over_15m);
  out.set_kline_fluctuation_1h(fluctuation.over_1h);
  out.set_kline_fluctuation_4h(fluctuation.over_4h);
  out.set_kline_fluctuation_12h(fluctuation.over_12h);
  out.set_kline_fluctuation_24h(fluctuation.over_24h);
  klines.AppendToString(&message_);  // a message's bytes are those of its parts, one after the other
}

std::string KlinesEncoder::take() {
  std::string message(message_);  // a copy is as long as it must be, and the next message finds its room
  message_.clear();
  return message;
}

void append_json(const KlineView& view, std::string& out) {
  char separator = '{';
  visit_columns(view, [&]<typename T>(std::string_view name, const T& value) {
    out.push_back(separator);
    separator = ',';
    append_json_text(name, out);
    out.push_back(':');
    if constexpr (std::same_as<T, bool>) {
      out.append(value ? "true" : "false");
    } else if constexpr (std::same_as<T, std::string_view>) {
      append_json_text(value, out);
    } else {
      append_number(value, out);
    }
  });
  out.push_back('}');
}

std::string_view csv_header() {
  static const std::string kHeader = [] {
    std::string line;
    const Candle candle;
    KlineView view;
    view.candle = &candle;
    visit_columns(view, [&line](std::string_view name, const auto&) {
      if (!line.empty()) line.push_back(',');
      line.append(name);
    });
    return line + "\n";
  }();
  return kHeader;
}

void append_csv(const KlineView& view, std::string& out) {
  bool first = true;
  visit_columns(view, [&]<typename T>(std::string_view, const T& value) {
    if (!first) out.push_back(',');
    first = false;
    if constexpr (std::same_as<T, bool>) {
      out.append(value ? "true" : "false");
    } else if constexpr (std::same_as<T, std::string_view>) {
      append_csv_text(value, out);
    } else {
      append_number(value, out);
    }
  });
  out.push_back('\n');
}

}  // namespace klined
