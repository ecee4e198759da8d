// The command line: exit statuses, manuals, and where the config is looked for.
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <unistd.h>

#include <algorithm>

#include <gmock/gmock.h>

#include "klined/app/commands.hpp"

namespace klined::app {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

struct Outcome {
  int exit_code;
  std::string out;
  std::string err;
};

// Runs `klined` with these arguments, without the subcommands that need servers.
Outcome run(std::vector<std::string> arguments) {
  int exit_code = kOk;
  CLI::App root("klined does this.", "klined");
  set_manual_format(root);
  root.set_version_flag("--version", "klined 1");
  root.require_subcommand(1);
  add_aggregate(root, exit_code);
  add_config(root, exit_code);
  arguments.insert(arguments.begin(), "klined");
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  const int status = run_command_line(root, exit_code, static_cast<int>(argv.size()), argv.data());
  return {status, testing::internal::GetCapturedStdout(), testing::internal::GetCapturedStderr()};
}

class CommandLine : public testing::Test {
 protected:
  void SetUp() override {
    std::string path = std::filesystem::temp_directory_path() / "klined_command_line_XXXXXX";
    ASSERT_NE(mkdtemp(path.data()), nullptr);
    folder_ = path;
    before_ = std::filesystem::current_path();
    std::filesystem::current_path(folder_);
    unsetenv("KLINED_CONFIG");
  }
  void TearDown() override {
    std::filesystem::current_path(before_);
    std::filesystem::remove_all(folder_);
    unsetenv("KLINED_CONFIG");
  }
  void write(const std::string& name, const std::string& text) { std::ofstream(folder_ / name) << text; }

  std::filesystem::path folder_;
  std::filesystem::path before_;
};

constexpr const char* kConfig =
    "kafka: {brokers: k}\ninput: {topics: [t]}\nmysql: {host: m, user: u, database: d, password: hunter2}\n";
constexpr const char* kTrade =
    R"({"slot":1,"block_time":1769817600,"chain_id_int":1,"pair_addr":"P","tx_hash":"a","type":"buy",)"
    R"("token_amount":"2","token_price_usd":4,"total_usd":3})";

TEST_F(CommandLine, WrongUsageIsTwo) {
  EXPECT_EQ(run({}).exit_code, kUsage);
  EXPECT_THAT(run({}).err, HasSubstr("Usage: klined"));
  EXPECT_EQ(run({"agregate"}).exit_code, kUsage);
  EXPECT_EQ(run({"agregate"}).err, "klined: there is no command agregate; did you mean aggregate?\n");
  EXPECT_EQ(run({"aggregate"}).exit_code, kUsage);
  EXPECT_THAT(run({"aggregate", "--nonsense", "x"}).err, HasSubstr("see klined aggregate --help"));
  EXPECT_EQ(run({"aggregate", "--json", "--csv", "x"}).exit_code, kUsage);
  EXPECT_EQ(run({"aggregate", "x", "-i", "7m"}).exit_code, kUsage);
  EXPECT_THAT(run({"aggregate", "x", "-i", "7m"}).err, HasSubstr("\"7m\" is no interval; known are 1s 1m"));
  EXPECT_EQ(run({"aggregate", "no-such-file"}).exit_code, kUsage);
}

TEST_F(CommandLine, HelpIsAManual) {
  EXPECT_EQ(run({"--help"}).exit_code, kOk);
  EXPECT_THAT(run({"--help"}).out,
              HasSubstr("  aggregate                     Candles from files of trades, on stdout"));
  EXPECT_EQ(run({"--version"}).out, "klined 1\n");
  const std::string manual = run({"aggregate", "--help"}).out;
  EXPECT_THAT(manual, StartsWith("Candles from files of trades"));
  EXPECT_THAT(manual, HasSubstr("\nExamples:\n"));
  EXPECT_THAT(manual, HasSubstr("(default 1m)"));
  EXPECT_THAT(manual, HasSubstr("Exit status: 0 "));
}

TEST_F(CommandLine, ConfigIsLookedFor) {
  EXPECT_EQ(run({"config", "check"}).exit_code, kUsage);
  EXPECT_THAT(run({"config", "check"}).err, HasSubstr("there is no config"));
  write("klined.yaml", kConfig);
  EXPECT_EQ(run({"config", "check"}).out, "klined.yaml: ok\n");
  write("other.yaml", kConfig);
  setenv("KLINED_CONFIG", "other.yaml", 1);
  EXPECT_EQ(run({"config", "check"}).out, "other.yaml: ok\n");
  EXPECT_EQ(run({"config", "check", "klined.yaml"}).out, "klined.yaml: ok\n");
}

TEST_F(CommandLine, ConfigCheckPrintsEveryErrorOnALine) {
  write("bad.yaml", std::string(kConfig) + "grup: x\nengine: {lanes: 0}\n");
  const Outcome outcome = run({"config", "check", "bad.yaml"});
  EXPECT_EQ(outcome.exit_code, kUsage);
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(outcome.err,
            "klined: bad.yaml:4: grup: unknown key; did you mean group?\n"
            "klined: bad.yaml:5: engine.lanes: 0 is out of range; it may be 1 to 256\n");
}

TEST_F(CommandLine, ConfigPrintMasksPasswords) {
  write("klined.yaml", kConfig);
  const Outcome outcome = run({"config", "print"});
  EXPECT_EQ(outcome.exit_code, kOk);
  EXPECT_THAT(outcome.out, HasSubstr("password: \"********\""));
  EXPECT_THAT(outcome.out, Not(HasSubstr("hunter2")));
}

TEST_F(CommandLine, AggregatePrintsCandlesAndCounts) {
  write("t.jsonl", std::string(kTrade) + "\n" + kTrade + "\n");
  const Outcome csv = run({"aggregate", "t.jsonl", "--interval", "1m,1h", "--csv"});
  EXPECT_EQ(csv.exit_code, kOk);
  EXPECT_EQ(std::ranges::count(csv.out, '\n'), 3);
  EXPECT_THAT(csv.out, HasSubstr("\n1,1m,P,4,4,4,4,"));
  EXPECT_THAT(csv.out, HasSubstr("\n1,1h,P,4,4,4,4,"));
  EXPECT_EQ(csv.err,
            "klined: trades read=2 applied=1 ignored=0 no_price=0 duplicate=1 invalid=0 future=0 late=0\n"
            "klined: 1 duplicate: t.jsonl:2: trade 0: seen before\n");
  EXPECT_THAT(run({"aggregate", "t.jsonl", "--json"}).out, StartsWith("{\"chain_id\":1,\"interval\":\"1m\""));
  EXPECT_THAT(run({"aggregate", "t.jsonl"}).out, StartsWith("P  1m  chain 1\n"));
}

TEST_F(CommandLine, ErrorsSayWhatTheyMeanToAScript) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(fail({ErrorKind::kFatal, "a\nb"}), kUsage);
  EXPECT_EQ(fail({ErrorKind::kRetry, "c"}), kFailed);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "klined: a\nklined: b\nklined: c\n");
}

}  // namespace
}  // namespace klined::app
