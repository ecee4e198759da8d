// Which librdkafka properties a config may pass through, and which it may not because a guarantee hangs on them.
#pragma once

#include "klined/stream/config.hpp"
#include "klined/stream/config_reader.hpp"

namespace klined {

// Adds what is wrong with kafka.properties, kafka.consumer and kafka.producer: names and values that librdkafka
// refuses, and those that klined does.
void check_kafka(const Config& config, ConfigProblems& problems);

// True for properties whose values must not be shown.
bool is_secret_property(std::string_view name);

}  // namespace klined
