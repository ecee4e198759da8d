// Clocks as text: in the columns of stream_offset, and in the headers of routed records.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "klined/core/series.hpp"

namespace klined {

// "56:1700000000,100000:1700000003": chain:time, ascending by chain; "" for none.
std::string clocks_text(const ChainClocks& clocks);
std::optional<ChainClocks> parse_clocks(std::string_view text);

}  // namespace klined
