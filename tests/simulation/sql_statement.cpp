#include "sql_statement.hpp"

#include <cctype>

#include "klined/base/assertion.hpp"

namespace klined::simulation {

namespace {

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '@'; }

class Parser {
 public:
  explicit Parser(std::string_view sql) : sql_(sql) { advance(); }

  Statement statement() {
    Statement s;
    if (take("SET")) return s;
    if (take("START")) return of(s, Statement::Kind::kBegin);
    if (take("COMMIT")) return of(s, Statement::Kind::kCommit);
    if (take("ROLLBACK")) return of(s, Statement::Kind::kRollback);
    if (take("INSERT")) return insert(s);
    if (take("UPDATE")) return update(s);
    if (take("DELETE")) {
      expect("FROM");
      s.table = word();
      if (take("WHERE")) s.where = expression();
      return of(s, Statement::Kind::kDelete);
    }
    do s.selects.push_back(select());
    while (take("UNION") && take("ALL"));
    KLINED_ASSERT(type_ == Type::kEnd, "the simulated database knows the whole statement");
    return of(s, Statement::Kind::kSelect);
  }

 private:
  enum class Type { kWord, kText, kSign, kEnd };

  static Statement& of(Statement& s, Statement::Kind kind) {
    s.kind = kind;
    return s;
  }

  void advance() {
    while (at_ < sql_.size() && sql_[at_] == ' ') ++at_;
    token_.clear();
    if (at_ == sql_.size()) {
      type_ = Type::kEnd;
      return;
    }
    const char c = sql_[at_];
    if (c == '\'') return read_text();
    if (c == '`') {
      const std::size_t end = sql_.find('`', at_ + 1);
      token_.assign(sql_.substr(at_ + 1, end - at_ - 1));
      type_ = Type::kWord;
      at_ = end + 1;
      return;
    }
    const std::size_t begin = at_;
    const bool is_number = std::isdigit(static_cast<unsigned char>(c)) != 0;
    const auto goes_on = [this, is_number](char d) {
      const char before = sql_[at_ - 1];
      return is_word(d) || (is_number && (d == '.' || ((d == '+' || d == '-') && before == 'e')));
    };
    type_ = is_word(c) ? Type::kWord : Type::kSign;
    ++at_;
    if (type_ == Type::kWord) {
      while (at_ < sql_.size() && goes_on(sql_[at_])) ++at_;
    } else if ((c == '<' || c == '>') && at_ < sql_.size() && sql_[at_] == '=') {
      ++at_;
    }
    token_.assign(sql_.substr(begin, at_ - begin));
  }

  void read_text() {
    type_ = Type::kText;
    for (++at_; sql_[at_] != '\''; ++at_) {
      if (sql_[at_] == '\\') {
        ++at_;
        token_ += sql_[at_] == '0' ? '\0' : sql_[at_];
      } else {
        token_ += sql_[at_];
      }
    }
    ++at_;
  }

  bool is(std::string_view token) const { return type_ != Type::kText && token_ == token; }
  bool take(std::string_view token) {
    if (!is(token)) return false;
    advance();
    return true;
  }
  void expect(std::string_view token) { KLINED_ASSERT(take(token), "the simulated database knows this statement"); }
  std::string word() {
    KLINED_ASSERT(type_ == Type::kWord, "a name");
    std::string text = std::move(token_);
    advance();
    return text;
  }
  // A number or text as it is stored.
  std::string value() {
    const std::string sign = take("-") ? "-" : "";
    std::string text = sign + token_;
    advance();
    return text;
  }

  Statement& insert(Statement& s) {
    expect("INTO");
    s.table = word();
    expect("(");
    do s.columns.push_back(word());
    while (take(","));
    expect(")");
    expect("VALUES");
    do {
      expect("(");
      std::vector<std::string>& row = s.rows.emplace_back();
      row.reserve(s.columns.size());
      do row.push_back(value());
      while (take(","));
      expect(")");
    } while (take(","));
    if (take("ON")) {
      expect("DUPLICATE");
      expect("KEY");
      expect("UPDATE");
      s.updates_duplicates = true;
      assignments(s);
    }
    return of(s, Statement::Kind::kInsert);
  }

  Statement& update(Statement& s) {
    s.table = word();
    skip_index();
    expect("SET");
    assignments(s);
    if (take("WHERE")) s.where = expression();
    return of(s, Statement::Kind::kUpdate);
  }

  void assignments(Statement& s) {
    do {
      std::string column = word();
      expect("=");
      s.assigns.emplace_back(std::move(column), primary());
    } while (take(","));
  }

  void skip_index() {
    if (!take("FORCE")) return;
    expect("INDEX");
    expect("(");
    word();
    expect(")");
  }

  Select select() {
    if (take("(")) {
      Select inner = select();
      expect(")");
      return inner;
    }
    expect("SELECT");
    Select s;
    do s.list.push_back(expression());
    while (take(","));
    if (!take("FROM")) return s;
    if (take("(")) {
      wanted(s);
    } else {
      s.table = word();
      while (take(".")) s.table += "." + word();
      if (take("AS")) word();
      skip_index();
    }
    if (take("WHERE")) s.where = expression();
    if (take("ORDER")) {
      expect("BY");
      do {
        Expr column = primary();
        s.order.emplace_back(column.text, take("DESC"));
      } while (take(","));
    }
    if (take("LIMIT")) s.limit = std::stoull(word());
    if (take("FOR")) {
      expect("UPDATE");
      s.locks = true;
    }
    return s;
  }

  // (SELECT a AS x,b AS y UNION ALL SELECT …) AS wanted STRAIGHT_JOIN table AS k ON …: rows by their keys.
  void wanted(Select& s) {
    do {
      expect("SELECT");
      std::vector<std::string>& key = s.wanted.emplace_back();
      do {
        if (is("_ascii")) advance();
        key.push_back(value());
        if (take("COLLATE")) word();
        expect("AS");
        word();
      } while (take(","));
    } while (take("UNION") && take("ALL"));
    expect(")");
    expect("AS");
    word();
    expect("STRAIGHT_JOIN");
    s.table = word();
    expect("AS");
    word();
    expect("ON");
    expression();
  }

  Expr expression() {
    Expr left = conjunction();
    while (take("OR")) left = join(Expr::Kind::kOr, std::move(left), conjunction());
    return left;
  }
  Expr conjunction() {
    Expr left = comparison();
    while (take("AND")) left = join(Expr::Kind::kAnd, std::move(left), comparison());
    return left;
  }
  Expr comparison() {
    Expr left = primary();
    if (take("=")) return join(Expr::Kind::kEqual, std::move(left), primary());
    if (take("<")) return join(Expr::Kind::kLess, std::move(left), primary());
    if (take(">")) return join(Expr::Kind::kGreater, std::move(left), primary());
    if (take("<=")) return join(Expr::Kind::kLessEqual, std::move(left), primary());
    if (take(">=")) return join(Expr::Kind::kGreaterEqual, std::move(left), primary());
    return left;
  }
  static Expr join(Expr::Kind kind, Expr left, Expr right) {
    Expr joined;
    joined.kind = kind;
    joined.kids.push_back(std::move(left));
    joined.kids.push_back(std::move(right));
    return joined;
  }

  Expr primary() {
    if (take("(")) {
      Expr inner = expression();
      expect(")");
      return inner;
    }
    if (take("CASE")) return choice();
    Expr e;
    e.is_text = type_ == Type::kText;
    if (e.is_text || is("-") || std::isdigit(static_cast<unsigned char>(token_[0])) != 0) {
      e.text = value();
      return e;
    }
    e.kind = Expr::Kind::kColumn;
    e.text = word();
    if (take(".")) e.text = word();
    if (!take("(")) return e;
    const bool is_values = e.text == "VALUES";
    e.kind = is_values ? Expr::Kind::kValues : e.text == "COUNT" ? Expr::Kind::kCount : Expr::Kind::kLiteral;
    if (is("*") || type_ == Type::kWord) e.text = token_;
    if (!is_values) e.text = "0";  // UNIX_TIMESTAMP() of what the simulation does not keep
    while (!take(")")) advance();
    return e;
  }

  Expr choice() {
    Expr e;
    e.kind = Expr::Kind::kCase;
    while (take("WHEN")) {
      e.kids.push_back(expression());
      expect("THEN");
      e.kids.push_back(primary());
    }
    expect("END");
    return e;
  }

  std::string_view sql_;
  std::size_t at_ = 0;
  std::string token_;
  Type type_ = Type::kEnd;
};

}  // namespace

Statement parse_statement(std::string_view sql) { return Parser(sql).statement(); }

}  // namespace klined::simulation
