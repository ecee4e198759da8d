// The SQL that klined sends, as data. Knows exactly the forms that the program uses; any other asserts.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace klined::simulation {

struct Expr {
  enum class Kind {
    kLiteral,
    kColumn,
    kValues,
    kCount,
    kAnd,
    kOr,
    kEqual,
    kLess,
    kGreater,
    kLessEqual,
    kGreaterEqual,
    kCase
  };
  Kind kind = Kind::kLiteral;
  std::string text;        // the literal's value, or the column's name
  bool is_text = false;    // a literal in quotes
  std::size_t column = 0;  // set by the database
  std::vector<Expr> kids;  // kCase: when, then, when, then, …
};

struct Select {
  std::vector<Expr> list;
  std::string table;                             // "" for a SELECT of literals
  std::vector<std::vector<std::string>> wanted;  // keys that are joined with the table, where there are any
  std::optional<Expr> where;
  std::vector<std::pair<std::string, bool>> order;  // column, descending
  std::optional<std::size_t> limit;
  bool locks = false;
};

struct Statement {
  enum class Kind { kSet, kBegin, kCommit, kRollback, kSelect, kInsert, kUpdate, kDelete };
  Kind kind = Kind::kSet;
  std::string table;
  std::vector<Select> selects;  // UNION ALL
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;         // kInsert
  std::vector<std::pair<std::string, Expr>> assigns;  // kUpdate, and kInsert's ON DUPLICATE KEY UPDATE
  bool updates_duplicates = false;
  std::optional<Expr> where;
};

Statement parse_statement(std::string_view sql);

}  // namespace klined::simulation
