// The candle store on MySQL or MariaDB.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "klined/store/candle_store.hpp"
#include "klined/store/mysql_connection.hpp"
#include "klined/store/sql_text.hpp"
#include "klined/store/topic_numbers.hpp"

namespace klined {

// What a claim gives to all the connections of a process: in whose name they commit, and which topic has which number.
// Thread-safe. A claim() replaces it; commits of an earlier claim must have ended by then.
class StoreClaim {
 public:
  struct Terms {
    std::string group;
    std::uint64_t owner = 0;
    TopicNumbers topics;
    std::size_t rows = 0;  // of stream_offset: claimed partitions × lanes
  };
  // Null before the first claim().
  std::shared_ptr<const Terms> terms() const {
    const std::lock_guard lock(mutex_);
    return terms_;
  }
  void set(std::shared_ptr<const Terms> terms) {
    const std::lock_guard lock(mutex_);
    terms_ = std::move(terms);
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const Terms> terms_;
};

// One connection that claims, loads and commits. Connects lazily, and again after errors.
//
// A process has one store a lane, all over one StoreClaim: one of them claims, then all load and commit. Calling
// load(), commit() or was_committed() before a claim is a bug and asserts.
//
// Laws:
//  - the offsets of a commit are moved first, by compare-and-set on (next_offset, owner): the rows' locks are held
//  until
//    the transaction ends, so of two owners one is refused, and rows are written only by the one that was not.
//  - load() answers only while every claimed row still has this owner, seen after the candles were read: a later
//  owner's
//    candles may hold trades that this process holds too, and would count them twice.
//  - was_committed() reads with a lock, so it waits for a transaction whose COMMIT is still on its way.
class MySqlCandleStore final : public CandleStore {
 public:
  explicit MySqlCandleStore(MySqlOptions options, std::shared_ptr<StoreClaim> claim = std::make_shared<StoreClaim>())
      : connection_(std::move(options)), claim_(std::move(claim)) {}

  Result<Claim> claim(const ClaimRequest& request) override;
  Result<std::vector<CandleRow>> load(std::span<const CandleKey> keys) override;
  Status commit(const LaneCommit& commit) override;
  Result<bool> was_committed(const LaneCommit& commit) override;

  // For tests, which cut it.
  const MySqlConnection& connection() const { return connection_; }

 private:
  // One row of stream_offset as the database has it.
  struct StoredOffset {
    std::string topic;
    std::int32_t partition = 0;
    std::int64_t next_offset = 0;
    std::uint64_t owner = 0;
  };

  Status load_batch(std::span<const CandleKey> keys, const TopicNumbers& topics, std::vector<CandleRow>& out);
  Status check_owner(const StoreClaim::Terms& terms);
  Status advance_offsets(const LaneCommit& commit, const StoreClaim::Terms& terms);
  Status register_pairs(const std::vector<PairPlace>& pairs, const TopicNumbers& topics);
  Status check_pairs(std::span<const PairPlace> pairs, const TopicNumbers& topics);
  Status upsert_rows(const std::vector<CandleRow>& rows, const TopicNumbers& topics);
  // Write the first rows of `rows`, of one interval, by one statement, and return how many.
  Result<std::size_t> upsert_text(std::span<const CandleRow* const> rows, const TopicNumbers& topics);
  Result<std::size_t> upsert_bulk(std::span<const CandleRow* const> rows, const TopicNumbers& topics);
  std::size_t statement_size_limit() const;
  Result<std::vector<StoredOffset>> read_offsets(const LaneCommit& commit, const StoreClaim::Terms& terms,
                                                 bool locking);
  Error fenced(const LaneCommit& commit, const StoreClaim::Terms& terms);

  MySqlConnection connection_;
  std::shared_ptr<StoreClaim> claim_;
  SqlText sql_;         // built again for each statement
  BulkRows bulk_rows_;  // the same
};

}  // namespace klined
