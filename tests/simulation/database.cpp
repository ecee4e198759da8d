#include "database.hpp"

#include <algorithm>
#include <charconv>

#include "klined/base/assertion.hpp"
#include "klined/core/decimal.hpp"

namespace klined::simulation {

namespace {

constexpr char kKeyEnd = '\x1f';
constexpr unsigned kDeadlock = 1213, kLockWait = 1205, kDuplicateKey = 1062, kReadOnly = 1290, kInterrupted = 1317,
                   kShutdown = 1053, kTooMany = 1040, kTooManyPrepared = 1461, kRefused = 2003, kGone = 2006,
                   kLost = 2013;

// Of sql/, without updated_at.
const std::vector<std::string> kCandleColumns = {"chain_id",
                                                 "pair_address",
                                                 "candle_time",
                                                 "open_at",
                                                 "close_at",
                                                 "o",
                                                 "h",
                                                 "l",
                                                 "c",
                                                 "v",
                                                 "t",
                                                 "a",
                                                 "count",
                                                 "buy_count",
                                                 "sell_count",
                                                 "mcap_o",
                                                 "mcap_h",
                                                 "mcap_l",
                                                 "mcap_c",
                                                 "mkt_cap",
                                                 "pump_point",
                                                 "token_addr",
                                                 "only_clamped",
                                                 "open_pos",
                                                 "close_pos",
                                                 "last_pos"};
const std::vector<std::string> kOffsetColumns = {"consumer_group", "topic",       "partition_id",  "lane",
                                                 "owner",          "next_offset", "window_offset", "window_clocks",
                                                 "max_block_time", "closed_until"};
const std::set<std::string, std::less<>> kTextColumns = {"pair_address", "token_addr",     "open_pos", "close_pos",
                                                         "last_pos",     "consumer_group", "topic",    "window_clocks",
                                                         "name",         "value"};

Table make_table(std::string_view name, const std::vector<std::string>& columns, std::size_t key_columns) {
  Table table{std::string(name), columns, {}, key_columns, {}};
  for (const std::string& column : columns) table.is_text.push_back(kTextColumns.contains(column));
  return table;
}

Int128 whole(const std::string& text) {
  const bool negative = text.starts_with('-');
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data() + (negative ? 1 : 0), text.data() + text.size(), number);
  KLINED_ASSERT(error == std::errc() && end == text.data() + text.size(), "only whole numbers and texts are compared");
  return negative ? -static_cast<Int128>(number) : static_cast<Int128>(number);
}

int compare(const std::string& a, const std::string& b, bool as_text) {
  if (as_text) return a < b ? -1 : a == b ? 0 : 1;
  const Int128 x = whole(a);
  const Int128 y = whole(b);
  return x < y ? -1 : x == y ? 0 : 1;
}

void resolve(Expr& e, const Table& table) {
  if (e.kind == Expr::Kind::kColumn || e.kind == Expr::Kind::kValues) {
    e.column = table.column(e.text);
    e.is_text = table.is_text[e.column];
  }
  for (Expr& kid : e.kids) resolve(kid, table);
}

bool holds(const Expr& e, const Table::Row& row);

const std::string& value_of(const Expr& e, const Table::Row& row) {
  if (e.kind == Expr::Kind::kLiteral) return e.text;
  if (e.kind == Expr::Kind::kColumn || e.kind == Expr::Kind::kValues) return row[e.column];
  KLINED_ASSERT(e.kind == Expr::Kind::kCase, "a value");
  for (std::size_t i = 0; i < e.kids.size(); i += 2) {
    if (holds(e.kids[i], row)) return value_of(e.kids[i + 1], row);
  }
  KLINED_ASSERT(false, "one case holds: the column may not be NULL");
  return e.text;
}

bool holds(const Expr& e, const Table::Row& row) {
  if (e.kind == Expr::Kind::kAnd) return holds(e.kids[0], row) && holds(e.kids[1], row);
  if (e.kind == Expr::Kind::kOr) return holds(e.kids[0], row) || holds(e.kids[1], row);
  const int order = compare(value_of(e.kids[0], row), value_of(e.kids[1], row), e.kids[0].is_text || e.kids[1].is_text);
  switch (e.kind) {
    case Expr::Kind::kEqual: return order == 0;
    case Expr::Kind::kLess: return order < 0;
    case Expr::Kind::kGreater: return order > 0;
    case Expr::Kind::kLessEqual: return order <= 0;
    default: return order >= 0;
  }
}

}  // namespace

std::size_t Table::column(std::string_view wanted) const {
  const auto at = std::ranges::find(columns, wanted);
  KLINED_ASSERT(at != columns.end(), "a column of sql/");
  return static_cast<std::size_t>(at - columns.begin());
}

std::string Table::key_of(const Row& row) const {
  std::string key;
  for (std::size_t i = 0; i < key_columns; ++i) key.append(row[i]) += kKeyEnd;
  return key;
}

Database::Database(Faults& faults, Trace& trace, Random& random, const std::vector<Interval>& intervals)
    : faults_(faults), trace_(trace), random_(random), has_bulk_(faults.seed() % 4 != 0) {
  for (const Interval interval : intervals) tables_.push_back(make_table(table_of(interval), kCandleColumns, 3));
  tables_.push_back(make_table("stream_offset", kOffsetColumns, 4));
  tables_.push_back(make_table("stream_topic", {"topic_id", "topic"}, 1));
  tables_.push_back(make_table("stream_meta", {"name", "value"}, 1));
}

Table& Database::find(std::string_view name) {
  const auto at = std::ranges::find(tables_, name, &Table::name);
  KLINED_ASSERT(at != tables_.end(), "a table of sql/");
  return *at;
}

const Table& Database::table(std::string_view name) const { return const_cast<Database*>(this)->find(name); }

// ---- Connections ---------------------------------------------------------------------------------------------------

unsigned Database::connect(std::unique_ptr<Session>& session) {
  if (outage_ > 0 && faults_.are_on()) {
    --outage_;
    return kRefused;
  }
  switch (faults_.next("connect to MySQL", 4)) {
    case 1: return kRefused;
    case 2: return kLost;
    case 3: return kTooMany;
    case 4:
      outage_ = random_.between(1, 20);
      restart();
      return kRefused;
    default: break;
  }
  session = std::make_unique<Session>();
  session->id = next_session_++;
  sessions_.insert(session.get());
  return 0;
}

void Database::close(Session& session) {
  if (!session.changes.empty() || !session.locks.empty()) {
    // The server may notice late: until then the rows stay locked.
    if (faults_.are_on() && random_.chance(20))
      leave_open(session, false);
    else
      roll_back(session);
  }
  sessions_.erase(&session);
}

void Database::restart() {
  trace_.add("MySQL restarts: {} connections are gone", sessions_.size());
  for (Session* session : sessions_) {
    roll_back(*session);
    session->broken = true;
  }
}

// ---- Statements ----------------------------------------------------------------------------------------------------

Database::Answer Database::query(Session& session, std::string_view sql) {
  ++statements_;
  if (session.broken) return {kGone, {}, 0, 0};
  const Statement statement = parse_statement(sql);
  using Kind = Statement::Kind;
  if (statement.kind == Kind::kCommit) return run_commit(session);
  if (statement.kind == Kind::kRollback) {
    roll_back(session);
    return {};
  }
  if (statement.kind == Kind::kSet || sql.starts_with("SELECT @@")) {
    return statement.kind == Kind::kSet ? Answer() : Answer{0, {{"16777216"}}, 1, 0};
  }
  // No rebuild swaps tables here: its lock is always free.
  const bool asks_for_lock = sql.starts_with("SELECT IS_FREE_LOCK(");
  if (const int kind = faults_.next("a statement", 8); kind > 0) {
    // After it was done, but the answer is lost: only COMMIT outlives that.
    if (kind == 4 && !asks_for_lock) run(session, statement);
    return {fail(session, statement, kind), {}, 0, 0};
  }
  return asks_for_lock ? Answer{0, {{"1"}}, 1, 0} : run(session, statement);
}

unsigned Database::prepare(Session& session) {
  ++statements_;
  if (session.broken) return kGone;
  switch (faults_.next("a statement to prepare", 4)) {
    case 0: return 0;
    case 1: roll_back(session); return kDeadlock;
    case 2: session.broken = true; return kLost;
    case 3: return kTooManyPrepared;
    default: restart(); return kShutdown;
  }
}

bool Database::tells_rows() { return faults_.next("the count of a statement's rows", 1) == 0; }

unsigned Database::fail(Session& session, const Statement& statement, int kind) {
  switch (kind) {
    case 1: roll_back(session); return kDeadlock;
    case 2: return kLockWait;
    case 3:
    case 4: session.broken = true; return kLost;
    case 5: return kReadOnly;
    case 6:
      if (statement.kind == Statement::Kind::kInsert) return kDuplicateKey;
      roll_back(session);
      return kDeadlock;
    case 7: return kInterrupted;
    default: restart(); return kShutdown;
  }
}

Database::Answer Database::run(Session& session, const Statement& statement) {
  switch (statement.kind) {
    case Statement::Kind::kBegin:
      KLINED_ASSERT(session.changes.empty(), "a transaction ends before the next begins");
      session.in_transaction = true;
      return {};
    case Statement::Kind::kSelect: {
      Answer all;
      for (const Select& select : statement.selects) {
        Answer answer = run_select(session, select);
        if (answer.code != 0) return answer;
        all.columns = answer.columns;
        std::ranges::move(answer.rows, std::back_inserter(all.rows));
      }
      return all;
    }
    case Statement::Kind::kInsert: return run_insert(session, statement);
    default: return run_change(session, statement);
  }
}

Database::Answer Database::run_select(Session& session, const Select& select) {
  Answer answer;
  answer.columns = select.list.size();
  if (select.table == "information_schema.tables") {
    for (const Table& table : tables_) answer.rows.push_back({table.name});
    return answer;
  }
  Table& table = find(select.table);
  std::vector<const Table::Row*> found;
  if (!select.wanted.empty()) {
    for (const std::vector<std::string>& key : select.wanted) {
      if (const auto row = table.rows.find(table.key_of(key)); row != table.rows.end()) found.push_back(&row->second);
    }
  } else if (select.locks) {
    const auto keys = lock_matching(session, table, select.where);
    if (!keys) return {kLockWait, {}, 0, 0};
    for (const std::string& key : *keys) found.push_back(&table.rows.at(key));
  } else {
    std::optional<Expr> where = select.where;
    if (where && !select.list.empty()) {
      if (!(where->kind == Expr::Kind::kEqual && where->kids[0].text == "table_schema")) resolve(*where, table);
    }
    for (const auto& [key, row] : table.rows) {
      if (!where || holds(*where, row)) found.push_back(&row);
    }
  }
  if (!select.order.empty())
    std::ranges::sort(found, [&table, &select](const Table::Row* a, const Table::Row* b) {
      for (const auto& [name, descending] : select.order) {
        const std::size_t column = table.column(name);
        const int order = compare((*a)[column], (*b)[column], table.is_text[column]);
        if (order != 0) return descending ? order > 0 : order < 0;
      }
      return false;
    });
  if (select.limit && found.size() > *select.limit) found.resize(*select.limit);
  if (select.list.front().kind == Expr::Kind::kCount) {
    answer.rows.push_back({std::to_string(found.size())});
    return answer;
  }
  std::vector<Expr> list = select.list;
  for (Expr& e : list) resolve(e, table);
  for (const Table::Row* row : found) {
    Table::Row& out = answer.rows.emplace_back();
    out.reserve(list.size());
    for (const Expr& e : list) out.push_back(value_of(e, *row));
  }
  return answer;
}

Database::Answer Database::run_insert(Session& session, const Statement& statement) {
  Table& table = find(statement.table);
  std::vector<std::size_t> places;
  for (const std::string& column : statement.columns) places.push_back(table.column(column));
  std::vector<std::pair<std::size_t, Expr>> assigns;
  for (const auto& [column, expression] : statement.assigns) {
    assigns.emplace_back(table.column(column), expression);
    resolve(assigns.back().second, table);
  }
  for (const std::vector<std::string>& values : statement.rows) {
    KLINED_ASSERT(values.size() == places.size() && places.size() == table.columns.size(), "a value for each column");
    Table::Row fresh(table.columns.size());
    for (std::size_t i = 0; i < values.size(); ++i) fresh[places[i]] = values[i];
    const std::string key = table.key_of(fresh);
    if (!lock(session, table, key)) return {kLockWait, {}, 0, 0};
    const auto old = table.rows.find(key);
    if (old == table.rows.end()) {
      put(session, table, key, std::move(fresh));
      continue;
    }
    if (!statement.updates_duplicates) return {kDuplicateKey, {}, 0, 0};
    Table::Row changed = old->second;
    for (const auto& [column, expression] : assigns) {
      changed[column] = value_of(expression, expression.kind == Expr::Kind::kValues ? fresh : changed);
    }
    put(session, table, key, std::move(changed));
  }
  return {};
}

// UPDATE and DELETE.
Database::Answer Database::run_change(Session& session, const Statement& statement) {
  Table& table = find(statement.table);
  const auto keys = lock_matching(session, table, statement.where);
  if (!keys) return {kLockWait, {}, 0, 0};
  for (const std::string& key : *keys) {
    if (statement.kind == Statement::Kind::kDelete) {
      put(session, table, key, std::nullopt);
      continue;
    }
    Table::Row changed = table.rows.at(key);
    for (const auto& [column, expression] : statement.assigns) {
      Expr e = expression;
      resolve(e, table);
      changed[table.column(column)] = std::string(value_of(e, changed));
    }
    put(session, table, key, std::move(changed));
  }
  return {0, {}, 0, keys->size()};
}

// ---- Transactions --------------------------------------------------------------------------------------------------

Database::Answer Database::run_commit(Session& session) {
  const auto done = [this, &session] {
    session.changes.clear();
    session.locks.clear();
    session.in_transaction = false;
    ++commits_;
  };
  const auto lost = [&session] {
    session.broken = true;
    return Answer{kLost, {}, 0, 0};
  };
  switch (faults_.next("COMMIT", 7)) {
    case 1: roll_back(session); return lost();
    case 2: done(); return lost();
    case 3: leave_open(session, true); return lost();
    case 4: leave_open(session, false); return lost();
    case 5: roll_back(session); return {kDeadlock, {}, 0, 0};
    case 6:
      roll_back(session);
      session.broken = true;
      return {kGone, {}, 0, 0};
    case 7:
      if (random_.chance(50)) done();
      restart();
      return {kShutdown, {}, 0, 0};
    default: done(); return {};
  }
}

void Database::put(Session& session, Table& table, const std::string& key, std::optional<Table::Row> after) {
  KLINED_ASSERT(session.in_transaction, "klined writes in transactions only");
  const auto old = table.rows.find(key);
  std::optional<Table::Row> before;
  if (old != table.rows.end()) before = old->second;
  if (after)
    table.rows[key] = *after;
  else
    table.rows.erase(key);
  session.changes.push_back({&table, key, std::move(before), std::move(after)});
}

void Database::roll_back(Session& session) {
  for (auto change = session.changes.rbegin(); change != session.changes.rend(); ++change) {
    if (change->before)
      change->table->rows[change->key] = *change->before;
    else
      change->table->rows.erase(change->key);
  }
  session.changes.clear();
  session.locks.clear();
  session.in_transaction = false;
}

void Database::leave_open(Session& session, bool commits) {
  trace_.add("a transaction of {} changes stays open, and will be {} late", session.changes.size(),
             commits ? "committed" : "rolled back");
  Open open{session.changes, session.locks, commits};
  roll_back(session);
  open_.push_back(std::move(open));
}

void Database::apply(const std::vector<Session::Change>& changes) {
  for (const Session::Change& change : changes) {
    if (change.after)
      change.table->rows[change.key] = *change.after;
    else
      change.table->rows.erase(change.key);
  }
}

bool Database::settle_one() {
  if (open_.empty()) return false;
  const Open open = std::move(open_.front());
  open_.pop_front();
  if (open.commits) {
    apply(open.changes);
    ++commits_;
  }
  trace_.add("a transaction that was left open is {}", open.commits ? "committed" : "rolled back");
  return true;
}

// Waits for a transaction that was left open, or gives up.
bool Database::lock(Session& session, const Table& table, const std::string& key) {
  const std::pair place(&table, key);
  const auto holder = [this, &place] {
    return std::ranges::any_of(open_, [&place](const Open& open) { return open.locks.contains(place); });
  };
  while (holder()) {
    if (faults_.are_on() && random_.chance(40)) return false;
    settle_one();
  }
  session.locks.insert(place);
  return true;
}

std::optional<std::vector<std::string>> Database::lock_matching(Session& session, Table& table,
                                                                std::optional<Expr> where) {
  if (where) resolve(*where, table);
  const auto matching = [&] {
    std::vector<std::string> keys;
    for (const auto& [key, row] : table.rows) {
      if (!where || holds(*where, row)) keys.push_back(key);
    }
    return keys;
  };
  std::vector<std::string> keys = matching();
  for (const std::string& key : keys) {
    if (!lock(session, table, key)) return std::nullopt;
  }
  // What was waited for may have changed the rows.
  return matching();
}

}  // namespace klined::simulation
