#include "klined/base/memory.hpp"

#include <cstring>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

namespace klined {
namespace {

constexpr std::size_t kBlock = 8192;
constexpr std::size_t kBlocks = 8192;  // 64 MiB

// A sanitizer's allocator keeps what is freed, and has its own ways to give it back.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kOwnAllocator = true;
#else
constexpr bool kOwnAllocator = false;
#endif

TEST(Memory, GivesBackWhatLiesBetweenLivingBlocks) {
  if (kOwnAllocator) GTEST_SKIP() << "not glibc's allocator";
  const std::size_t before = resident_bytes();
  ASSERT_GT(before, 0U);
  std::vector<std::unique_ptr<char[]>> blocks;
  for (std::size_t i = 0; i < kBlocks; ++i) {
    blocks.push_back(std::make_unique_for_overwrite<char[]>(kBlock));
    std::memset(blocks.back().get(), 1, kBlock);
  }
  const std::size_t full = resident_bytes();
  EXPECT_GE(full, before + kBlocks * kBlock * 9 / 10);
  for (std::size_t i = 0; i < kBlocks; ++i) {
    if (i % 64 != 0) blocks[i].reset();
  }
  const std::size_t freed = resident_bytes();
  give_back_memory();
  const std::size_t trimmed = resident_bytes();
  EXPECT_LT(trimmed, before + kBlocks * kBlock / 4);
  EXPECT_GT(freed, trimmed + kBlocks * kBlock / 2) << "the allocator gives it back by itself: then this is not needed";
}

}  // namespace
}  // namespace klined
