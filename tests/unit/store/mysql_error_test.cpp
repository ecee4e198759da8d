#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "klined/store/mysql_connection.hpp"

namespace klined {
namespace {

using testing::HasSubstr;

Error error_of(unsigned code) {
  MySqlOptions options;
  options.host = "db.example";
  options.user = "klined";
  options.password = "secret";
  options.database = "candles";
  return describe_error(options, code, "the server's words", "commit candles");
}

TEST(MySqlErrors, ThatPassAreTriedAgain) {
  for (const unsigned code :
       {1213U, 1205U, 1020U, 1040U, 1053U, 1243U, 1290U, 1615U, 1927U, 2002U, 2003U, 2006U, 2013U, 4031U}) {
    EXPECT_EQ(error_of(code).kind, ErrorKind::kRetry) << code;
  }
}

TEST(MySqlErrors, ThatStayAreFatalWithARemedy) {
  for (const unsigned code : {1045U, 1044U, 1049U, 1146U, 1054U, 1142U, 1264U}) {
    const Error error = error_of(code);
    EXPECT_EQ(error.kind, ErrorKind::kFatal) << code;
    EXPECT_TRUE(error.message.ends_with(")")) << error.message;
  }
  EXPECT_EQ(error_of(1064).kind, ErrorKind::kFatal) << "codes that nobody listed";
}

TEST(MySqlErrors, SayWhoWhereAndWhatButNoPassword) {
  const std::string message = error_of(1045).message;
  EXPECT_EQ(message,
            "mysql klined@db.example:3306/candles: could not commit candles: error 1045: the server's words (check "
            "mysql.user "
            "and mysql.password)");
  EXPECT_THAT(message, testing::Not(HasSubstr("secret")));
}

TEST(MySqlErrors, OfTheConnectionCloseIt) {
  for (const unsigned code : {2006U, 2013U, 1053U, 1243U, 1927U, 4031U, 2055U})
    EXPECT_TRUE(is_connection_error(code)) << code;
  for (const unsigned code : {1213U, 1205U, 1062U, 1146U, 1040U}) EXPECT_FALSE(is_connection_error(code)) << code;
}

}  // namespace
}  // namespace klined
