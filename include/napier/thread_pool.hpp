// A fixed set of threads that share loops.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace napier {

// Not copyable. One loop runs at a time: parallel_for must be called from one thread at a time and
// not from inside a task.
class ThreadPool {
 public:
  // `threads` >= 1 counts the calling thread, which works too; 0 means one per processor.
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const;

  // Runs task(index) for every index in [0, count), in no given order, and returns when all are
  // done. The first exception that a task throws is thrown again here.
  void parallel_for(int64_t count, const std::function<void(int64_t index)>& task);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace napier
