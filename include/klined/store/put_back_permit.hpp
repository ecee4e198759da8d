// Whether a dead letter may be put back: what the stored candles have decided about its trade.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "klined/base/error.hpp"
#include "klined/store/mysql_connection.hpp"
#include "klined/store/sql_text.hpp"

namespace klined {

// A look at the tables that holds: between begin() and end() neither a reset nor the swap of a rebuild can come, since
// both lock stream_meta first. So what is put back in between belongs to the tables that were looked at.
//
// One thread. It holds for as long as the server hears of the session (MySqlOptions::idle_timeout).
class PutBackPermit {
 public:
  PutBackPermit(MySqlOptions options, std::string group) : connection_(std::move(options)), group_(std::move(group)) {}
  ~PutBackPermit() { end(); }
  PutBackPermit(const PutBackPermit&) = delete;
  PutBackPermit& operator=(const PutBackPermit&) = delete;

  // kFatal where the tables are another group's; kRetry where a rebuild is swapping, or MySQL does not answer.
  Status begin();
  void end() { connection_.rollback(); }

  // The id of the tables that the last begin() has seen (see Claim); "" where nothing is stored yet.
  const std::string& tables() const { return tables_; }
  // Whether they contain the message: all lanes have stored it. True also of topics that the group does not read
  // itself, but divided by pair: their offsets say nothing of the original's.
  bool contains(const std::string& topic, std::int32_t partition, std::int64_t offset) const;

 private:
  Status look();

  MySqlConnection connection_;
  std::string group_;
  std::string tables_;
  std::map<std::pair<std::string, std::int32_t>, std::int64_t> next_offsets_;  // of the lane that has stored the least
  SqlText sql_;
};

}  // namespace klined
