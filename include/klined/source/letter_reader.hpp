// Reads a topic from its beginning to its end, records with all that belongs to them: for dead letters.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "klined/base/error.hpp"
#include "klined/source/kafka_source.hpp"

namespace klined {

// One record. The views are valid as long as the call that hands it out.
struct Letter {
  std::int32_t partition = 0;
  std::int64_t offset = 0;
  UnixMilliseconds timestamp = -1;
  std::string_view key;
  std::string_view value;
  std::vector<std::pair<std::string_view, std::string_view>> headers;

  // The last of that name; "" where there is none.
  std::string_view header(std::string_view name) const;
  bool has_header(std::string_view name) const;
};

// One thread.
class LetterReader {
 public:
  // The properties as for KafkaSource. kFatal where they are wrong.
  static Result<LetterReader> open(const std::map<std::string, std::string>& properties);
  ~LetterReader();
  LetterReader(LetterReader&&) noexcept;
  LetterReader& operator=(LetterReader&&) noexcept;

  // Hands out the committed records that the topic holds now, each partition's in order, until `take` says false.
  // kFatal where the topic does not exist; kRetry where the brokers do not answer for 30 s.
  Status read(const std::string& topic, const std::function<bool(const Letter&)>& take);

 private:
  struct State;
  explicit LetterReader(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace klined
