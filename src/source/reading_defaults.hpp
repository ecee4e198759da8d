// librdkafka's properties for reading partitions, where the config does not say otherwise.
#pragma once

#include "klined/base/kafka_client.hpp"

namespace klined {

KafkaProperties reading_defaults();

}  // namespace klined
