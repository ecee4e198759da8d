#include "klined/publish/spool.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

namespace klined {
namespace {

using ::testing::HasSubstr;

class SpoolTest : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = std::filesystem::temp_directory_path() / ("klined-spool-" + std::to_string(::getpid()) + "-" +
                                                      ::testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove(path_);
  }
  void TearDown() override { std::filesystem::remove(path_); }

  std::unique_ptr<Spool> open(std::int64_t max_bytes = 1 << 20) const {
    auto spool = Spool::open(path_, max_bytes);
    EXPECT_TRUE(spool.has_value()) << spool.error().message;
    return spool ? std::move(*spool) : nullptr;
  }
  static Publication publication(int i, std::size_t size = 100) {
    Publication made{
        .topic = "topic", .key = std::to_string(i), .value = std::string(size, static_cast<char>('a' + i % 26))};
    made.timestamp_ms = 1'000 + i;
    made.headers = {{"number", std::to_string(i)}};
    return made;
  }
  static void append(Spool& spool, int begin, int end) {
    for (int i = begin; i < end; ++i) ASSERT_TRUE(spool.append(std::vector{publication(i)}));
  }
  static void expect_numbers(Spool& spool, int begin, int end) {
    ASSERT_EQ(spool.size(), static_cast<std::size_t>(end - begin));
    const auto all = spool.front(1'000, 1U << 30U);
    ASSERT_TRUE(all.has_value()) << all.error().message;
    ASSERT_EQ(all->size(), spool.size());
    for (int i = begin; i < end; ++i) {
      const Publication& found = (*all)[static_cast<std::size_t>(i - begin)];
      const Publication expected = publication(i);
      EXPECT_EQ(found.topic, expected.topic);
      EXPECT_EQ(found.key, expected.key);
      EXPECT_EQ(found.value, expected.value);
      EXPECT_EQ(found.timestamp_ms, expected.timestamp_ms);
      EXPECT_EQ(found.headers, expected.headers);
    }
  }
  void change_byte(std::int64_t offset) const {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(offset);
    const char c = static_cast<char>(file.get());
    file.seekp(offset);
    file.put(static_cast<char>(c ^ 1));
  }

  std::filesystem::path path_;
};

TEST_F(SpoolTest, KeepsOrderAcrossRestarts) {
  {
    const auto spool = open();
    EXPECT_TRUE(spool->empty());
    append(*spool, 0, 5);
    ASSERT_TRUE(spool->pop(2));
  }
  const auto spool = open();
  expect_numbers(*spool, 2, 5);
  ASSERT_TRUE(spool->append(std::vector{publication(5), publication(6)}));
  expect_numbers(*spool, 2, 7);
}

TEST_F(SpoolTest, EmptyItIsSmallAgain) {
  const auto spool = open();
  append(*spool, 0, 10);
  ASSERT_TRUE(spool->pop(10));
  EXPECT_TRUE(spool->empty());
  EXPECT_EQ(std::filesystem::file_size(path_), 24U);
  append(*spool, 10, 12);
  expect_numbers(*spool, 10, 12);
}

TEST_F(SpoolTest, TheFrontIsBoundedByBytes) {
  const auto spool = open();
  append(*spool, 0, 10);
  EXPECT_EQ(spool->front(1'000, 400)->size(), 2U);
  EXPECT_EQ(spool->front(1'000, 1)->size(), 1U) << "the first one always comes";
  EXPECT_EQ(spool->front(3, 1U << 20U)->size(), 3U);
}

TEST_F(SpoolTest, HasALimit) {
  const auto spool = open(1'000);
  EXPECT_TRUE(spool->has_room_for(publication(0, 5'000))) << "an empty one takes any";
  append(*spool, 0, 5);
  EXPECT_TRUE(spool->has_room_for(publication(5, 10)));
  EXPECT_FALSE(spool->has_room_for(publication(5, 500)));
}

// A file that may not grow: writing fails as on a full disk, first in the middle of a record.
TEST_F(SpoolTest, AFullDiskIsAnErrorAndLosesNothing) {
  const auto spool = open();
  append(*spool, 0, 5);
  const auto size = std::filesystem::file_size(path_);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit full{.rlim_cur = size + 50, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &full), 0);
  const Status refused = spool->append(std::vector{publication(5)});
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr(path_.string()));
  EXPECT_EQ(std::filesystem::file_size(path_), size) << "the half record is cut off";
  expect_numbers(*spool, 0, 5);
  append(*spool, 5, 7);
  expect_numbers(*spool, 0, 7);
}

TEST_F(SpoolTest, WhatACrashCutOffWasNeverAccepted) {
  {
    const auto spool = open();
    append(*spool, 0, 3);
  }
  const auto size = std::filesystem::file_size(path_);
  for (const std::uintmax_t cut : {1U, 50U, 120U}) {
    std::filesystem::resize_file(path_, size - cut);
    const auto spool = open();
    expect_numbers(*spool, 0, 2);
    append(*spool, 2, 3);
    ASSERT_EQ(std::filesystem::file_size(path_), size);
  }
  std::filesystem::resize_file(path_, size + 5'000);  // zeros, as a file system may leave them
  {
    const auto spool = open();
    expect_numbers(*spool, 0, 3);
  }
  EXPECT_EQ(std::filesystem::file_size(path_), size);
  change_byte(static_cast<std::int64_t>(size) - 1);
  expect_numbers(*open(), 0, 2);
}

TEST_F(SpoolTest, ACrashWhileItWasEmptied) {
  {
    const auto spool = open();
    append(*spool, 0, 3);
    ASSERT_TRUE(spool->pop(2));
  }
  std::filesystem::resize_file(path_, 24);  // the head still points behind
  const auto spool = open();
  EXPECT_TRUE(spool->empty());
  append(*spool, 7, 9);
  expect_numbers(*spool, 7, 9);
}

TEST_F(SpoolTest, DamageInTheMiddleIsAnErrorThatSaysWhere) {
  {
    const auto spool = open();
    append(*spool, 0, 5);
  }
  change_byte(24 + 12 + 50);
  const auto spool = Spool::open(path_, 1'000);
  ASSERT_FALSE(spool.has_value());
  EXPECT_EQ(spool.error().kind, ErrorKind::kFatal);
  EXPECT_THAT(spool.error().message, HasSubstr("byte 24"));
}

TEST_F(SpoolTest, AnotherFileIsNotTakenForASpool) {
  std::ofstream(path_) << "a diary that must not be overwritten";
  const auto spool = Spool::open(path_, 1'000);
  ASSERT_FALSE(spool.has_value());
  EXPECT_THAT(spool.error().message, HasSubstr("no spool file"));
}

TEST_F(SpoolTest, OneProcessAtATime) {
  const auto first = open();
  const auto second = Spool::open(path_, 1'000);
  ASSERT_FALSE(second.has_value());
  EXPECT_THAT(second.error().message, HasSubstr("in use"));
}

TEST_F(SpoolTest, AFolderThatIsNotThere) {
  const auto spool = Spool::open("/no/such/folder/spool", 1'000);
  ASSERT_FALSE(spool.has_value());
  EXPECT_THAT(spool.error().message, HasSubstr("/no/such/folder/spool"));
}

}  // namespace
}  // namespace klined
