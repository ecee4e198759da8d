// Which errors pass by themselves, and what to do about the others.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "klined/store/mysql_connection.hpp"

namespace klined {

namespace {

struct Meaning {
  unsigned code;
  ErrorKind kind;
  std::string_view remedy;
};

constexpr std::string_view kRunInit = "run `klined init`, which makes what is missing and says what to alter";
constexpr std::string_view kRights = "give the user the rights of sql/user.sql, or correct mysql.database";
constexpr std::string_view kAddress = "is the server running, and are mysql.host and mysql.port right?";
constexpr std::string_view kReadOnly = "the server is read-only: point mysql.host at the primary";
constexpr std::string_view kDisk = "free some disk space on the server";
constexpr std::string_view kTls = "check mysql.ssl_ca, and that the server's certificate names mysql.host";
constexpr std::string_view kPacket = "raise the server's max_allowed_packet to 1M at least";
constexpr std::string_view kPlugin =
    "the client library lacks the user's authentication plugin: use mysql_native_password";

// Codes that are not listed are fatal: a statement that the server refuses once, it refuses always.
constexpr auto kMeanings = std::to_array<Meaning>({
    // The transaction was rolled back, or not begun.
    {1020, ErrorKind::kRetry, ""},  // record changed since it was read (MariaDB snapshot isolation)
    {1205, ErrorKind::kRetry, "another transaction held the rows"},
    {1213, ErrorKind::kRetry, ""},  // deadlock
    {1317, ErrorKind::kRetry, ""},  // interrupted
    {1412, ErrorKind::kRetry, ""},  // table definition has changed
    {1615, ErrorKind::kRetry, ""},  // a prepared statement's table has changed again and again
    {1637, ErrorKind::kRetry, ""},  // too many transactions
    {1969, ErrorKind::kRetry, ""},  // max_statement_time (MariaDB)
    {3024, ErrorKind::kRetry, ""},  // max_execution_time (MySQL)
    {3058, ErrorKind::kRetry, ""},  // deadlock of user locks
    {3101, ErrorKind::kRetry, ""},  // group replication rolled it back
    // The server is busy, not ready, or not the primary now.
    {1021, ErrorKind::kRetry, kDisk},
    {1040, ErrorKind::kRetry, "raise the server's max_connections or lower engine.lanes"},
    {1047, ErrorKind::kRetry, ""},  // node not ready (Galera)
    {1114, ErrorKind::kRetry, kDisk},
    {1203, ErrorKind::kRetry, "raise the user's max_user_connections or lower engine.lanes"},
    {1226, ErrorKind::kRetry, "raise the user's resource limits"},
    {1290, ErrorKind::kRetry, kReadOnly},
    {1792, ErrorKind::kRetry, kReadOnly},
    {1836, ErrorKind::kRetry, kReadOnly},
    // The connection is gone.
    {1053, ErrorKind::kRetry, "the server is shutting down"},
    {1077, ErrorKind::kRetry, ""},
    {1079, ErrorKind::kRetry, ""},
    {1152, ErrorKind::kRetry, ""},
    {1158, ErrorKind::kRetry, ""},
    {1159, ErrorKind::kRetry, ""},
    {1160, ErrorKind::kRetry, ""},
    {1161, ErrorKind::kRetry, ""},
    {1184, ErrorKind::kRetry, ""},
    {1243, ErrorKind::kRetry, ""},  // the session's prepared statements are gone
    {1927, ErrorKind::kRetry, ""},  // killed (MariaDB)
    {2000, ErrorKind::kRetry, ""},
    {2002, ErrorKind::kRetry, kAddress},
    {2003, ErrorKind::kRetry, kAddress},
    {2006, ErrorKind::kRetry, ""},
    {2012, ErrorKind::kRetry, ""},
    {2013, ErrorKind::kRetry, ""},
    {2014, ErrorKind::kRetry, ""},
    {2027, ErrorKind::kRetry, ""},
    {2055, ErrorKind::kRetry, ""},
    {3169, ErrorKind::kRetry, ""},  // killed (MySQL)
    {4031, ErrorKind::kRetry, ""},  // given up after wait_timeout (MySQL)
    // Somebody must mend something.
    {1044, ErrorKind::kFatal, kRights},
    {1045, ErrorKind::kFatal, "check mysql.user and mysql.password"},
    {1049, ErrorKind::kFatal, "run `klined init`, or make the database, or correct mysql.database"},
    {1054, ErrorKind::kFatal, kRunInit},
    {1129, ErrorKind::kFatal, "the server blocks this host: FLUSH HOSTS there"},
    {1130, ErrorKind::kFatal, "allow the user to connect from this host"},
    {1136, ErrorKind::kFatal, kRunInit},
    {1142, ErrorKind::kFatal, kRights},
    {1143, ErrorKind::kFatal, kRights},
    {1146, ErrorKind::kFatal, kRunInit},
    {1153, ErrorKind::kFatal, kPacket},
    {1251, ErrorKind::kFatal, kPlugin},
    {1264, ErrorKind::kFatal, kRunInit},
    {1265, ErrorKind::kFatal, kRunInit},
    {1364, ErrorKind::kFatal, "give that column a default, or drop it"},
    {1366, ErrorKind::kFatal, kRunInit},
    {1406, ErrorKind::kFatal, kRunInit},
    {1698, ErrorKind::kFatal, "check mysql.user and mysql.password"},
    {2005, ErrorKind::kFatal, "check mysql.host"},
    {2020, ErrorKind::kFatal, kPacket},
    {2026, ErrorKind::kFatal, kTls},
    {2058, ErrorKind::kFatal, kPlugin},
    {2059, ErrorKind::kFatal, kPlugin},
});

constexpr auto kConnectionErrors =
    std::to_array<unsigned>({1053, 1077, 1079, 1152, 1158, 1159, 1160, 1161, 1184, 1243, 1927, 3169, 4031});

}  // namespace

bool is_connection_error(unsigned code) {
  // 2000 to 2999 are the client library's own: whatever they are, the protocol is no longer in step.
  return (code >= 2000 && code < 3000) || std::ranges::find(kConnectionErrors, code) != kConnectionErrors.end();
}

Error describe_error(const MySqlOptions& options, unsigned code, std::string_view text, std::string_view what) {
  const auto meaning = std::ranges::find(kMeanings, code, &Meaning::code);
  const bool known = meaning != kMeanings.end();
  const std::string where =
      options.socket.empty() ? fmt::format("{}:{}", options.host, options.port) : fmt::format("{}", options.socket);
  std::string message = fmt::format("mysql {}@{}/{}: could not {}: error {}: {}", options.user, where, options.database,
                                    what, code, text);
  std::ranges::replace(message, '\n', ' ');
  if (known && !meaning->remedy.empty()) message += fmt::format(" ({})", meaning->remedy);
  return {known ? meaning->kind : ErrorKind::kFatal, std::move(message)};
}

}  // namespace klined
