#include "klined/store/put_back_permit.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "klined/store/claim_transaction.hpp"

namespace klined {

Status PutBackPermit::begin() {
  if (auto begun = connection_.begin("look at the stored candles"); !begun) return begun;
  const Status looked = look();
  if (!looked) end();
  return looked;
}

Status PutBackPermit::look() {
  Result<SqlRows> meta = connection_.query("SELECT name,value FROM stream_meta LOCK IN SHARE MODE", "read stream_meta");
  if (!meta) return std::unexpected(meta.error());
  const std::string database = connection_.options().database;
  tables_.clear();
  while (meta->next()) {
    const std::string_view name = meta->text(0);
    if (name == "reset")
      return fatal("mysql: a reset is under way, or was broken off: wait for it, or run `klined reset` again");
    if (name == kTablesName) tables_ = meta->text(1);
    if (name != "consumer_group" || meta->text(1) == group_) continue;
    return fatal(
        fmt::format("mysql: the tables of database {} hold the candles of consumer group \"{}\", not of \"{}\"",
                    database, meta->text(1), group_));
  }
  // As claims do: whoever holds it has read the offsets, and swaps the tables soon.
  sql_.clear();
  sql_ << "SELECT IS_FREE_LOCK(";
  sql_.quoted(swap_lock_name(database, group_)) << ')';
  Result<SqlRows> free = connection_.query(sql_.view(), "look for a rebuild that swaps");
  if (!free) return std::unexpected(free.error());
  if (!free->next() || free->text(0) != "1") {
    return retry(
        fmt::format("mysql: a rebuild is swapping the tables of database {}: run it again when it is done", database));
  }
  sql_.clear();
  sql_ << "SELECT topic,partition_id,MIN(next_offset) FROM stream_offset WHERE consumer_group=";
  sql_.quoted(group_) << " GROUP BY topic,partition_id";
  Result<SqlRows> rows = connection_.query(sql_.view(), "read the stored offsets");
  if (!rows) return std::unexpected(rows.error());
  next_offsets_.clear();
  while (rows->next()) {
    next_offsets_[{std::string(rows->text(0)), static_cast<std::int32_t>(rows->integer(1))}] = rows->integer(2);
  }
  return {};
}

bool PutBackPermit::contains(const std::string& topic, std::int32_t partition, std::int64_t offset) const {
  const auto found = next_offsets_.find({topic, partition});
  if (found != next_offsets_.end()) return offset < found->second;
  return std::ranges::none_of(next_offsets_, [&topic](const auto& entry) { return entry.first.first == topic; });
}

}  // namespace klined
