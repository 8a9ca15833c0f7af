// Threads that share loops: indices are handed out one by one, so uneven work balances itself.
#include "napier/thread_pool.hpp"

#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace napier {
namespace {

// Looks before sleeping: a few microseconds, what waking a thread costs. More would take processors
// from others, and matrix multiplications of a model follow each other closely or not at all.
constexpr int k_spins = 200;

inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

struct ThreadPool::State {
  std::vector<std::thread> workers;

  std::mutex mutex;
  std::condition_variable wake;  // a new loop, or the end
  std::condition_variable left;  // the last worker has left the loop
  std::atomic<uint64_t> generation = 0;
  bool stopping = false;
  bool open = false;            // whether a worker may still join the loop
  std::atomic<int> inside = 0;  // workers in the loop

  const std::function<void(int64_t)>* task = nullptr;
  int64_t count = 0;
  std::atomic<int64_t> next = 0;
  std::exception_ptr failure;

  void work() {
    for (;;) {
      const int64_t index = next.fetch_add(1, std::memory_order_relaxed);
      if (index >= count) return;
      try {
        (*task)(index);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!failure) failure = std::current_exception();
        next.store(count, std::memory_order_relaxed);
      }
    }
  }

  void serve() {
    uint64_t seen = 0;
    for (;;) {
      for (int i = 0; i < k_spins && generation.load(std::memory_order_acquire) == seen; ++i) {
        pause();
      }
      {
        std::unique_lock lock(mutex);
        wake.wait(lock, [&] { return stopping || generation.load() != seen; });
        if (stopping) return;
        seen = generation.load();
        if (!open) continue;  // came too late: the loop is over
        ++inside;
      }
      work();
      if (inside.fetch_sub(1) == 1) {
        const std::lock_guard lock(mutex);
        left.notify_one();
      }
    }
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  if (threads <= 0) threads = static_cast<int>(std::thread::hardware_concurrency());
  for (int i = 1; i < threads; ++i) {
    state_->workers.emplace_back([state = state_.get()] { state->serve(); });
  }
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
    ++state_->generation;
  }
  state_->wake.notify_all();
  for (std::thread& worker : state_->workers) worker.join();
}

int ThreadPool::size() const { return static_cast<int>(state_->workers.size()) + 1; }

void ThreadPool::parallel_for(int64_t count, const std::function<void(int64_t)>& task) {
  State& state = *state_;
  if (state.workers.empty() || count <= 1) {
    for (int64_t index = 0; index < count; ++index) task(index);
    return;
  }
  {
    const std::lock_guard lock(state.mutex);
    state.task = &task;
    state.count = count;
    state.next = 0;
    state.failure = nullptr;
    state.open = true;
    ++state.generation;
  }
  state.wake.notify_all();
  state.work();
  {
    const std::lock_guard lock(state.mutex);
    state.open = false;
  }
  for (int i = 0; i < k_spins && state.inside.load() != 0; ++i) pause();
  std::unique_lock lock(state.mutex);
  state.left.wait(lock, [&] { return state.inside.load() == 0; });
  if (state.failure) std::rethrow_exception(std::exchange(state.failure, nullptr));
}

}  // namespace napier
