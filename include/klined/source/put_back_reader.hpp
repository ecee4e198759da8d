// Reads which dead letters of a topic were put back: a small topic of notes beside it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "klined/codec/put_backs.hpp"
#include "klined/source/kafka_source.hpp"

namespace klined {

// What the topic `notes` says of what was put back into `topic`, up to now, transactions that are open left out. A
// topic that does not exist says nothing, which costs one question to the brokers, as an empty one costs two. kFatal
// where a note can't be read; kRetry where the brokers do not answer for 30 s. Replaces the source's assignment by
// none.
Result<std::shared_ptr<const PutBacks>> read_put_backs(KafkaSource& source, const std::string& notes,
                                                       const std::string& topic);

// How many offsets the topics of notes have given out so far: a number that grows with each note.
Result<std::int64_t> count_put_backs(KafkaSource& source, const std::vector<std::string>& notes);

}  // namespace klined
