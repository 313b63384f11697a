#include "core/thread_pool.h"

#include <gtest/gtest.h>

#include <chrono>
#include <numeric>
#include <stdexcept>

namespace awq {
namespace {

TEST(ThreadPool, RunsEveryTaskOnceRoundAfterRound) {
  ThreadPool pool(4);
  std::vector<int> done(257);
  for (int round = 1; round <= 2000; ++round) {
    const int64_t tasks = 1 + round % 257;
    pool.parallel_for(tasks, [&](int64_t i) { ++done[i]; });
  }
  std::vector<int> expected(257);
  for (int round = 1; round <= 2000; ++round)
    for (int64_t i = 0; i < 1 + round % 257; ++i) ++expected[i];
  EXPECT_EQ(done, expected);
}

TEST(ThreadPool, WakesSleepersAndWaitsForSlowTasks) {
  ThreadPool pool(3);
  for (int round = 0; round < 20; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));  // past the spin
    std::atomic<int> done{0};
    pool.parallel_for(6, [&](int64_t i) {
      if (i % 2) std::this_thread::sleep_for(std::chrono::microseconds(300));
      ++done;
    });
    ASSERT_EQ(done, 6);
  }
}

TEST(ThreadPool, ThrowsTheFirstErrorAndGoesOn) {
  ThreadPool pool(2);
  for (int round = 0; round < 50; ++round) {
    EXPECT_THROW(pool.parallel_for(100,
                                   [](int64_t i) {
                                     if (i == 13) throw std::runtime_error("13");
                                   }),
                 std::runtime_error);
    std::atomic<int> done{0};
    pool.parallel_for(100, [&](int64_t) { ++done; });
    ASSERT_EQ(done, 100);
  }
}

TEST(ThreadPool, EmptyAndSingleTasks) {
  ThreadPool pool(2);
  pool.parallel_for(0, [](int64_t) { FAIL(); });
  const auto caller = std::this_thread::get_id();
  pool.parallel_for(1, [&](int64_t) { EXPECT_EQ(std::this_thread::get_id(), caller); });
}

TEST(ThreadPool, PiecesCoverTheTotalOnce) {
  for (const int64_t total : {0, 1, 7, 8, 9, 100}) {
    int64_t next = 0;
    for (int64_t i = 0; i < pieces(total, 8); ++i) {
      const Range r = piece(i, 8, total);
      EXPECT_EQ(r.begin, next);
      EXPECT_GT(r.end, r.begin);
      next = r.end;
    }
    EXPECT_EQ(next, total);
  }
}

}  // namespace
}  // namespace awq
