// Any text as a config file: refused with lines that say why, or read and printed in a form that reads back the same.
#include <cstdint>
#include <string>

#include "fuzz/fuzz.hpp"
#include "klined/stream/config.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto config = klined::parse_config(text, "fuzz.yaml");
  if (!config) {
    FUZZ_CHECK(config.error().kind == klined::ErrorKind::kFatal && !config.error().message.empty());
    return 0;
  }
  static_cast<void>(klined::oddities_of(*config));
  const std::string printed = klined::print_config(*config);
  const auto again = klined::parse_config(printed, "printed.yaml");
  FUZZ_CHECK(again.has_value());
  FUZZ_CHECK(klined::print_config(*again) == printed);
  FUZZ_CHECK(klined::settings_text(*again) == klined::settings_text(*config));
  return 0;
}
