// Every index once, from any pool; exceptions come back.
#include "napier/thread_pool.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

namespace napier {
namespace {

TEST(ThreadPool, RunsEveryIndexOnce) {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.size(), threads);
    for (const int64_t count : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> times(count);
      pool.parallel_for(count, [&](int64_t index) { ++times[index]; });
      for (const std::atomic<int>& time : times) EXPECT_EQ(time.load(), 1);
    }
  }
}

TEST(ThreadPool, ManyShortLoops) {
  ThreadPool pool(3);
  std::atomic<int64_t> sum = 0;
  for (int loop = 0; loop < 20000; ++loop) {
    pool.parallel_for(4, [&](int64_t index) { sum += index; });
  }
  EXPECT_EQ(sum.load(), 20000 * 6);
}

TEST(ThreadPool, ZeroThreadsMeansOnePerProcessor) { EXPECT_GE(ThreadPool(0).size(), 1); }

TEST(ThreadPool, ThrowsWhatATaskThrowsAndGoesOn) {
  for (const int threads : {1, 3}) {
    ThreadPool pool(threads);
    EXPECT_THROW(pool.parallel_for(100,
                                   [](int64_t index) {
                                     if (index == 41) throw std::runtime_error("at 41");
                                   }),
                 std::runtime_error);
    std::atomic<int> runs = 0;
    pool.parallel_for(10, [&](int64_t) { ++runs; });
    EXPECT_EQ(runs.load(), 10);
  }
}

TEST(ThreadPool, PoolsAreIndependent) {
  std::atomic<int64_t> runs = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      ThreadPool pool(2);
      for (int loop = 0; loop < 500; ++loop) pool.parallel_for(5, [&](int64_t) { ++runs; });
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(runs.load(), 3 * 500 * 5);
}

}  // namespace
}  // namespace napier
