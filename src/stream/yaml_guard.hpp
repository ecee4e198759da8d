// A look at a YAML text before it is loaded: yaml-cpp reads some broken texts for ever.
#pragma once

#include <string>

namespace klined {

// Throws YAML::ParserException where the text is no YAML, also where yaml-cpp would never come to its end: it finds
// more in it than a text of that size can hold.
void check_yaml_ends(const std::string& text);

}  // namespace klined
