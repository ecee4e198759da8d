#include "klined/store/mysql_candle_store.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <tuple>
#include <type_traits>

#include "klined/base/assertion.hpp"
#include "klined/store/candle_columns.hpp"
#include "klined/store/claim_transaction.hpp"
#include "klined/store/offset_columns.hpp"

namespace klined {

namespace {

// Measured on MariaDB 10.11: joined with a list of keys, 30 µs of server time a key from 50 to 1,000 keys a statement;
// with OR or IN the whole list is looked through again for each row: 55 µs at 50 keys, 80 at 200, 250 at 1,000.
constexpr std::size_t kKeysPerStatement = 200;
constexpr std::size_t kRowsPerStatement = 1000;
// Larger statements gain nothing, and cost memory on both sides.
constexpr std::size_t kStatementSizeMax = std::size_t{4} << 20U;
constexpr std::size_t kTailSizeMax = 2048;

// "(topic='t' AND partition_id=0 …)" for each partition of the commit, joined by OR.
template <typename More>
void append_partitions(SqlText& sql, const LaneCommit& commit, More more) {
  for (const LaneCommit::Advance& advance : commit.offsets) {
    if (&advance != &commit.offsets.front()) sql << " OR ";
    sql << "(topic=";
    sql.quoted(advance.to.topic) << " AND partition_id=";
    sql.integer(advance.to.partition);
    more(advance);
    sql << ')';
  }
}

// "column=CASE WHEN partition_id=0 AND topic='t' THEN … END", or the value alone where all partitions share it.
// `get` gives a LaneOffset's value: a number or a text.
template <typename Get>
void append_case(SqlText& sql, const LaneCommit& commit, std::string_view column, Get get) {
  const auto value = [&sql, get](const LaneCommit::Advance& advance) {
    if constexpr (std::is_same_v<std::invoke_result_t<Get, const LaneOffset&>, std::string>) {
      sql.quoted(std::invoke(get, advance.to));
    } else {
      sql.integer(std::invoke(get, advance.to));
    }
  };
  const LaneCommit::Advance& first = commit.offsets.front();
  sql << column << '=';
  if (std::ranges::all_of(commit.offsets, [&](const auto& advance) {
        return std::invoke(get, advance.to) == std::invoke(get, first.to);
      })) {
    value(first);
    return;
  }
  sql << "CASE";
  for (const LaneCommit::Advance& advance : commit.offsets) {
    sql << " WHEN partition_id=";
    sql.integer(advance.to.partition) << " AND topic=";
    sql.quoted(advance.to.topic) << " THEN ";
    value(advance);
  }
  sql << " END";
}

void append_lane(SqlText& sql, const LaneCommit& commit, const StoreClaim::Terms& terms) {
  sql << " WHERE consumer_group=";
  sql.quoted(terms.group) << " AND lane=";
  sql.integer(commit.lane) << " AND (";
}

Error unreadable(const MySqlOptions& options, Interval interval, const SqlRows& rows) {
  return {
      ErrorKind::kFatal,
      fmt::format("mysql: column {} of {}.{} holds a value that klined has not written: restore the row, or start over "
                  "with `klined reset`",
                  rows.which_bad(), options.database, table_of(interval))};
}

}  // namespace

Result<Claim> MySqlCandleStore::claim(const ClaimRequest& request) {
  ClaimTransaction transaction(connection_, request);
  Result<Claim> claimed = transaction.run();
  if (!claimed) return claimed;
  claim_->set(std::make_shared<const StoreClaim::Terms>(
      StoreClaim::Terms{request.group, request.owner, transaction.topics(), claimed->offsets.size()}));
  return claimed;
}

// ---- Loading -------------------------------------------------------------------------------------------------------

Result<std::vector<CandleRow>> MySqlCandleStore::load(std::span<const CandleKey> keys) {
  const std::shared_ptr<const StoreClaim::Terms> terms = claim_->terms();
  KLINED_ASSERT(terms != nullptr, "claim() comes before load()");
  std::vector<CandleKey> sorted(keys.begin(), keys.end());
  std::ranges::sort(sorted, {}, [](const CandleKey& key) {
    return std::tuple(key.interval, key.chain, std::string_view(key.pair), key.time);
  });
  std::vector<CandleRow> rows;
  rows.reserve(keys.size());
  for (std::size_t begin = 0, end = 0; begin < sorted.size(); begin = end) {
    while (end < sorted.size() && end - begin < kKeysPerStatement && sorted[end].interval == sorted[begin].interval)
      ++end;
    if (auto done = load_batch(std::span(sorted).subspan(begin, end - begin), terms->topics, rows); !done) {
      // A later owner's rows may name a topic that this claim has never heard of.
      if (done.error().kind != ErrorKind::kFatal) return std::unexpected(done.error());
      const Status owned = check_owner(*terms);
      return std::unexpected(owned ? done.error() : owned.error());
    }
  }
  if (auto owned = check_owner(*terms); !owned) return std::unexpected(owned.error());
  return rows;
}

// A claim changes the owner before its process commits anything: an owner that is still the same after the candles were
// read says that none of them is another process's.
Status MySqlCandleStore::check_owner(const StoreClaim::Terms& terms) {
  sql_.clear();
  sql_ << "SELECT COUNT(*) FROM stream_offset WHERE consumer_group=";
  sql_.quoted(terms.group) << " AND owner=";
  sql_.unsigned_integer(terms.owner);
  Result<SqlRows> rows = connection_.ask(sql_.view(), "look whether the claim still holds");
  if (!rows) return std::unexpected(rows.error());
  const std::uint64_t owned = rows->next() ? rows->unsigned_integer(0) : 0;
  if (owned == terms.rows) return {};
  return std::unexpected(
      Error{ErrorKind::kFenced,
            fmt::format("of the {} rows of stream_offset that were claimed for group \"{}\", {} are left: another "
                        "process has claimed the others, and its candles may not be merged with those in memory",
                        terms.rows, terms.group, owned)});
}

// Keys of one interval, by one join in the order of the keys: on both servers each is one look into the primary key.
Status MySqlCandleStore::load_batch(std::span<const CandleKey> keys, const TopicNumbers& topics,
                                    std::vector<CandleRow>& out) {
  const Interval interval = keys.front().interval;
  sql_.clear();
  sql_ << "SELECT " << selected_columns(CandleColumns::kAll) << " FROM (";
  for (const CandleKey& key : keys) {
    // Character set and collation are those of the column: else the servers would compare converted values, without the
    // index.
    sql_ << (&key == &keys.front() ? "SELECT " : " UNION ALL SELECT ");
    sql_.integer(key.chain) << " AS chain_id,_ascii";
    sql_.quoted(key.pair) << " COLLATE ascii_bin AS pair_address,";
    sql_.integer(key.time) << " AS candle_time";
  }
  sql_ << ") AS wanted STRAIGHT_JOIN " << table_of(interval)
       << " AS k ON k.chain_id=wanted.chain_id AND k.pair_address=wanted.pair_address AND "
          "k.candle_time=wanted.candle_time";
  Result<SqlRows> rows = connection_.ask(sql_.view(), "load candles");
  if (!rows) return std::unexpected(rows.error());
  while (rows->next()) out.push_back(read_candle(*rows, interval, CandleColumns::kAll, topics));
  if (!rows->good()) return std::unexpected(unreadable(connection_.options(), interval, *rows));
  return {};
}

// ---- Committing ----------------------------------------------------------------------------------------------------

Status MySqlCandleStore::commit(const LaneCommit& commit) {
  const std::shared_ptr<const StoreClaim::Terms> terms = claim_->terms();
  KLINED_ASSERT(terms != nullptr, "claim() comes before commit()");
  KLINED_ASSERT(!commit.offsets.empty(), "a commit without offsets would not be fenced");
  if (auto begun = connection_.begin("begin a commit"); !begun) return begun;
  Status done = advance_offsets(commit, *terms);
  if (done) done = register_pairs(commit.pairs, terms->topics);
  if (done) done = upsert_rows(commit.rows, terms->topics);
  if (!done) {
    connection_.rollback();
    return done;
  }
  return connection_.commit("commit candles");
}

Status MySqlCandleStore::advance_offsets(const LaneCommit& commit, const StoreClaim::Terms& terms) {
  sql_.clear();
  // The index by name: a scan of the whole table would wait for the rows of other lanes.
  sql_ << "UPDATE stream_offset FORCE INDEX (PRIMARY) SET ";
  append_case(sql_, commit, "window_offset", &LaneOffset::window_offset);
  sql_ << ',';
  append_case(sql_, commit, "window_clocks", windows_text);
  sql_ << ',';
  append_case(sql_, commit, "max_block_time", &LaneOffset::max_block_time);
  sql_ << ',';
  append_case(sql_, commit, "closed_until", &LaneOffset::closed_until);
  sql_ << ',';
  append_case(sql_, commit, "next_offset", &LaneOffset::next_offset);
  append_lane(sql_, commit, terms);
  append_partitions(sql_, commit, [this](const LaneCommit::Advance& advance) {
    sql_ << " AND next_offset=";
    sql_.integer(advance.expected);
  });
  sql_ << ") AND owner=";
  sql_.unsigned_integer(terms.owner);
  const Result<std::uint64_t> matched = connection_.execute(sql_.view(), "move the stored offsets");
  if (!matched) return std::unexpected(matched.error());
  if (*matched != commit.offsets.size()) return std::unexpected(fenced(commit, terms));
  return {};
}

// Whoever writes a pair first decides its partition; another's insert waits for that transaction, and does nothing.
Status MySqlCandleStore::register_pairs(const std::vector<PairPlace>& pairs, const TopicNumbers& topics) {
  std::vector<PairPlace> sorted = pairs;
  std::ranges::sort(sorted);
  for (std::size_t begin = 0; begin < sorted.size(); begin += kKeysPerStatement) {
    const std::span some(sorted.data() + begin, std::min(kKeysPerStatement, sorted.size() - begin));
    sql_.clear();
    sql_ << "INSERT IGNORE INTO stream_pair (chain_id,pair_address,topic_id,partition_id) VALUES ";
    for (const PairPlace& place : some) {
      sql_ << (&place == &some.front() ? "(" : ",(");
      sql_.integer(place.chain) << ',';
      sql_.quoted(place.pair) << ',';
      sql_.integer(topics.number_of(place.topic)) << ',';
      sql_.integer(place.partition) << ')';
    }
    const Result<std::uint64_t> made = connection_.execute(sql_.view(), "write the pairs' partitions");
    if (!made) return std::unexpected(made.error());
    if (*made == some.size()) continue;
    if (auto done = check_pairs(some, topics); !done) return done;
  }
  return {};
}

// Reads with a lock: a snapshot may be older than the row that was in the insert's way.
Status MySqlCandleStore::check_pairs(std::span<const PairPlace> pairs, const TopicNumbers& topics) {
  sql_.clear();
  sql_ << "SELECT k.chain_id,k.pair_address,k.topic_id,k.partition_id FROM (";
  for (const PairPlace& place : pairs) {
    sql_ << (&place == &pairs.front() ? "SELECT " : " UNION ALL SELECT ");
    sql_.integer(place.chain) << " AS chain_id,_ascii";
    sql_.quoted(place.pair) << " COLLATE ascii_bin AS pair_address";
  }
  sql_ << ") AS wanted STRAIGHT_JOIN stream_pair AS k ON k.chain_id=wanted.chain_id AND "
          "k.pair_address=wanted.pair_address LOCK IN SHARE MODE";
  Result<SqlRows> rows = connection_.query(sql_.view(), "read the pairs' partitions");
  if (!rows) return std::unexpected(rows.error());
  while (rows->next()) {
    const auto topic = static_cast<std::int32_t>(rows->integer(2));
    const auto partition = static_cast<std::int32_t>(rows->integer(3));
    const auto seen = std::ranges::find_if(pairs, [&rows](const PairPlace& place) {
      return place.chain == rows->integer(0) && place.pair == rows->text(1);
    });
    if (seen == pairs.end() || (topics.number_of(seen->topic) == topic && seen->partition == partition)) continue;
    const auto rank = topics.rank_of(topic);
    return std::unexpected(
        misplaced_pair(*seen, rank ? topics.names()[*rank] : fmt::format("topic number {}", topic), partition));
  }
  return {};
}

Status MySqlCandleStore::upsert_rows(const std::vector<CandleRow>& rows, const TopicNumbers& topics) {
  std::vector<const CandleRow*> sorted;
  sorted.reserve(rows.size());
  for (const CandleRow& row : rows) sorted.push_back(&row);
  // The order of the primary keys: writers that meet wait for one another instead of locking each other up.
  std::ranges::sort(sorted, {}, [](const CandleRow* row) {
    return std::tuple(row->key.interval, row->key.chain, std::string_view(row->key.pair), row->key.time);
  });
  for (std::span<const CandleRow* const> rest = sorted; !rest.empty();) {
    const auto other =
        std::ranges::find_if(rest.first(std::min(rest.size(), kRowsPerStatement)),
                             [&](const CandleRow* row) { return row->key.interval != rest.front()->key.interval; });
    const std::span some = rest.first(static_cast<std::size_t>(other - rest.begin()));
    const Result<std::size_t> done = connection_.takes_bulk() ? upsert_bulk(some, topics) : upsert_text(some, topics);
    if (!done) return std::unexpected(done.error());
    rest = rest.subspan(*done);
  }
  return {};
}

std::size_t MySqlCandleStore::statement_size_limit() const {
  const std::size_t packet = connection_.max_packet();
  return std::min(kStatementSizeMax, packet - std::min(packet, kRowSizeMax + kTailSizeMax));
}

Result<std::size_t> MySqlCandleStore::upsert_text(std::span<const CandleRow* const> rows, const TopicNumbers& topics) {
  std::size_t count = 0;
  sql_.clear();
  append_upsert_head(sql_, rows.front()->key.interval);
  while (count < rows.size() && (count == 0 || sql_.size() < statement_size_limit())) {
    if (count > 0) sql_ << ',';
    append_row(sql_, *rows[count++], topics);
  }
  append_upsert_tail(sql_);
  const Result<std::uint64_t> done = connection_.execute(sql_.view(), "write candles");
  if (!done) return std::unexpected(done.error());
  return count;
}

Result<std::size_t> MySqlCandleStore::upsert_bulk(std::span<const CandleRow* const> rows, const TopicNumbers& topics) {
  bulk_rows_.clear();
  while (bulk_rows_.size() < rows.size() && (bulk_rows_.size() == 0 || bulk_rows_.bytes() < statement_size_limit())) {
    append_row(bulk_rows_, *rows[bulk_rows_.size()], topics);
  }
  const Status done =
      connection_.execute_bulk(upsert_statement(rows.front()->key.interval), bulk_rows_, "write candles");
  if (!done) return std::unexpected(done.error());
  return bulk_rows_.size();
}

// ---- After doubt ---------------------------------------------------------------------------------------------------

Result<std::vector<MySqlCandleStore::StoredOffset>> MySqlCandleStore::read_offsets(const LaneCommit& commit,
                                                                                   const StoreClaim::Terms& terms,
                                                                                   bool locking) {
  sql_.clear();
  sql_ << "SELECT topic,partition_id,next_offset,owner FROM stream_offset FORCE INDEX (PRIMARY)";
  append_lane(sql_, commit, terms);
  append_partitions(sql_, commit, [](const LaneCommit::Advance&) {});
  sql_ << (locking ? ") FOR UPDATE" : ")");
  Result<SqlRows> rows = connection_.query(sql_.view(), "read the stored offsets");
  if (!rows) return std::unexpected(rows.error());
  std::vector<StoredOffset> offsets;
  while (rows->next()) {
    offsets.push_back({std::string(rows->text(0)), static_cast<std::int32_t>(rows->integer(1)), rows->integer(2),
                       rows->unsigned_integer(3)});
  }
  return offsets;
}

// Ends the transaction, which would see its own changes, and says who is in the way.
Error MySqlCandleStore::fenced(const LaneCommit& commit, const StoreClaim::Terms& terms) {
  connection_.rollback();
  const Result<std::vector<StoredOffset>> stored = read_offsets(commit, terms, false);
  if (!stored) return stored.error();
  for (const LaneCommit::Advance& advance : commit.offsets) {
    const auto row = std::ranges::find_if(*stored, [&advance](const StoredOffset& offset) {
      return offset.topic == advance.to.topic && offset.partition == advance.to.partition;
    });
    const std::string place = fmt::format("lane {} of {}[{}]", commit.lane, advance.to.topic, advance.to.partition);
    if (row == stored->end()) return {ErrorKind::kFenced, place + ": its row of stream_offset is gone (a reset?)"};
    if (row->owner != terms.owner) {
      return {ErrorKind::kFenced,
              fmt::format("{}: another process of group \"{}\" has claimed it, and stands at offset {}", place,
                          terms.group, row->next_offset)};
    }
    if (row->next_offset != advance.expected) {
      return {ErrorKind::kFenced,
              fmt::format("{}: its stored offset is {}, expected was {}", place, row->next_offset, advance.expected)};
    }
  }
  return {ErrorKind::kRetry, fmt::format("lane {}: the stored offsets did not match for a moment", commit.lane)};
}

Result<bool> MySqlCandleStore::was_committed(const LaneCommit& commit) {
  const std::shared_ptr<const StoreClaim::Terms> terms = claim_->terms();
  KLINED_ASSERT(terms != nullptr, "claim() comes before was_committed()");
  connection_.close();
  if (auto begun = connection_.begin("look whether a commit is stored"); !begun) return std::unexpected(begun.error());
  const Result<std::vector<StoredOffset>> stored = read_offsets(commit, *terms, true);
  if (!stored) {
    connection_.rollback();
    return std::unexpected(stored.error());
  }
  std::size_t done = 0;
  std::size_t open = 0;
  for (const StoredOffset& row : *stored) {
    const auto advance = std::ranges::find_if(commit.offsets, [&row](const LaneCommit::Advance& a) {
      return a.to.topic == row.topic && a.to.partition == row.partition;
    });
    KLINED_ASSERT(advance != commit.offsets.end(), "only the commit's partitions were asked for");
    if (row.owner != terms->owner) continue;
    if (row.next_offset == advance->to.next_offset) ++done;
    if (row.next_offset == advance->expected) ++open;
  }
  const std::size_t all = commit.offsets.size();
  // Where no offset moves, both are true: then it is done once more, which changes nothing if it was done.
  Result<bool> answer = false;
  if (open != all) answer = done == all ? Result<bool>(true) : std::unexpected(fenced(commit, *terms));
  connection_.rollback();
  return answer;
}

}  // namespace klined
