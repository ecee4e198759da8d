// What the decoder makes of messages, for differential.py, which compares it with the recomputation.
//
// Reads from standard input, any number of times: the record's timestamp (8 bytes), the size (4 bytes), both
// little-endian, and the message. Writes one line of JSON for each. Amounts are texts with 12 places, doubles are texts
// in hexadecimal: nothing is rounded on the way.
#include <bit>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <memory>
#include <string_view>

#include <fmt/format.h>

#include "klined/codec/trade_decoder.hpp"

namespace klined {
namespace {

static_assert(std::endian::native == std::endian::little, "messages are framed in little-endian");

using Buffer = fmt::memory_buffer;

// A text in quotes. Each byte that is not plain ASCII stands as the code point of its number: whatever a broken decoder
// lets through, the line stays JSON.
void write_text(std::string_view text, Buffer& out) {
  out.push_back('"');
  for (const char c : text) {
    if (c < ' ' || c > '~' || c == '"' || c == '\\') {
      fmt::format_to(std::back_inserter(out), "\\u00{:02x}", static_cast<unsigned char>(c));
    } else {
      out.push_back(c);
    }
  }
  out.push_back('"');
}

void write_span(std::string_view part, std::string_view message, Buffer& out) {
  const auto begin = part.data() - message.data();
  fmt::format_to(std::back_inserter(out), R"("begin":{},"end":{})", begin,
                 begin + static_cast<std::ptrdiff_t>(part.size()));
}

void write_trade(const Trade& trade, std::string_view message, Buffer& out) {
  const auto at = std::back_inserter(out);
  const Position& position = trade.position;
  fmt::format_to(at, R"({{"outcome":"accepted","index":{},)", position.index);
  write_span(trade.bytes, message, out);
  fmt::format_to(at, R"(,"identity":"{:016x}{:016x}","chain":{},"pair":)", trade.identity.high, trade.identity.low,
                 trade.chain);
  write_text(trade.pair, out);
  fmt::format_to(at, R"(,"block_time":{},"height":{},"transaction_index":{},"log_index":{},"is_buy":{})",
                 position.block_time, position.slot, position.transaction_index, position.log_index,
                 trade.side == Side::kBuy);
  fmt::format_to(at, R"(,"price":"{:a}","token_amount":"{}","total_usd":"{}","market_cap":"{:a}","pump_point":"{:a}")",
                 trade.price, trade.volume_token.to_string(), trade.amount_usd.to_string(), trade.mcap,
                 trade.pump_point);
  fmt::format_to(at, R"(,"clamped":{},"token_addr":)", trade.clamped);
  write_text(trade.token, out);
  out.push_back('}');
}

void write_bad(const BadTrade& bad, std::string_view message, Buffer& out) {
  fmt::format_to(std::back_inserter(out), R"({{"outcome":"{}","index":{},)", name_of(bad.outcome), bad.index);
  write_span(bad.bytes, message, out);
  fmt::format_to(std::back_inserter(out), R"(,"reason":)");
  write_text(bad.reason, out);
  out.push_back('}');
}

// Decodes as often as it takes to list all bad trades, as the stream does.
void write_message(TradeDecoder& decoder, UnixMilliseconds timestamp, std::string_view value, Buffer& out) {
  DecodedMessage decoded;
  const Message message{.log = LogId(0, 0), .offset = 0, .timestamp = timestamp, .value = value};
  decoder.decode(message, decoded);
  if (decoded.dead()) {
    fmt::format_to(std::back_inserter(out), R"({{"dead":)");
    write_text(decoded.dead_reason, out);
    fmt::format_to(std::back_inserter(out), "}}\n");
    return;
  }
  fmt::format_to(std::back_inserter(out), R"({{"elements":{},"ignored":{},"no_price":{},"trades":[)", decoded.elements,
                 decoded.ignored, decoded.no_price);
  std::string_view separator;
  const auto separate = [&separator, &out] {
    out.append(separator);
    separator = ",";
  };
  for (const Trade& trade : decoded.trades) {
    separate();
    write_trade(trade, value, out);
  }
  for (;;) {
    for (const BadTrade& bad : decoded.bad) {
      separate();
      write_bad(bad, value, out);
    }
    if (decoded.next_bad == 0) break;
    decoder.decode(message, decoded, decoded.next_bad);
  }
  fmt::format_to(std::back_inserter(out), "]}}\n");
}

template <typename Number>
bool read_number(std::istream& in, Number& number) {
  return static_cast<bool>(in.read(reinterpret_cast<char*>(&number), sizeof(number)));
}

int run(std::istream& in) {
  TradeDecoder decoder;
  Buffer line;
  UnixMilliseconds timestamp = 0;
  while (read_number(in, timestamp)) {
    std::uint32_t size = 0;
    if (!read_number(in, size)) return 1;
    // Of exactly this size, so that the sanitizers see a read behind its end.
    const auto value = std::make_unique_for_overwrite<char[]>(size);
    if (!in.read(value.get(), size)) return 1;
    line.clear();
    write_message(decoder, timestamp, {value.get(), size}, line);
    // At once: if the next message ends this process, all lines before are there.
    if (std::fwrite(line.data(), 1, line.size(), stdout) != line.size() || std::fflush(stdout) != 0) return 1;
  }
  return 0;
}

}  // namespace
}  // namespace klined

int main() {
  std::ios::sync_with_stdio(false);
  return klined::run(std::cin);
}
