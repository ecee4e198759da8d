// Points in time as producers and people write them: RFC 3339.
#pragma once

#include <optional>
#include <string_view>

#include "klined/base/clock.hpp"

namespace klined {

// Reads "2025-06-01T12:00:00.123456789+08:00": any offset, any number of fractional digits (those below a millisecond
// are cut off), years 1970 to 9999. A leap second (:60) reads as the second after. Nothing for any other text.
std::optional<UnixMilliseconds> parse_rfc3339(std::string_view text);

}  // namespace klined
