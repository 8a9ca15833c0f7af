// The threads that all calls from Python share.
#pragma once

#include <functional>

#include "napier/thread_pool.hpp"

namespace napier::python {

// Runs `work` without the interpreter's lock, one call at a time. After a fork the child gets
// threads of its own.
void with_pool(const std::function<void(ThreadPool& pool)>& work);

// Throws Error unless 1 <= threads <= 512.
void set_threads(int threads);
int get_threads();

}  // namespace napier::python
