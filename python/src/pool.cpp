#include "pool.hpp"

#include <unistd.h>

#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "bindings.hpp"
#include "napier/error.hpp"

namespace napier::python {
namespace {

constexpr int k_most_threads = 512;

// Of one process: a child of a fork has neither the threads nor a lock that can be trusted.
struct Threads {
  pid_t owner = getpid();
  std::mutex mutex;
  int count = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  std::unique_ptr<ThreadPool> pool;
};

// Never destroyed: a thread may compute while the interpreter ends. Called with the interpreter's
// lock held.
Threads& threads() {
  static Threads* shared = new Threads;
  if (shared->owner != getpid()) {
    const int count = shared->count;
    shared = new Threads;  // the parent's is left alone: its threads do not exist here
    shared->count = count;
  }
  return *shared;
}

}  // namespace

void with_pool(const std::function<void(ThreadPool&)>& work) {
  Threads& shared = threads();
  const nb::gil_scoped_release release;
  const std::lock_guard lock(shared.mutex);
  if (!shared.pool) shared.pool = std::make_unique<ThreadPool>(shared.count);
  work(*shared.pool);
}

void set_threads(int count) {
  if (count < 1 || count > k_most_threads) {
    throw Error(std::to_string(count) + " threads cannot work: give 1 to " +
                std::to_string(k_most_threads));
  }
  Threads& shared = threads();
  const nb::gil_scoped_release release;
  const std::lock_guard lock(shared.mutex);
  if (count != shared.count) shared.pool.reset();
  shared.count = count;
}

int get_threads() { return threads().count; }

}  // namespace napier::python
