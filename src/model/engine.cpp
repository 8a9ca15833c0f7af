#include "model/engine.hpp"

#include <llama.h>

#include <atomic>
#include <cstdio>
#include <mutex>

#include "ggml/backend.hpp"

namespace napier {
namespace {

struct Log {
  std::mutex mutex;
  std::string line;   // an error's text until its newline comes
  std::string error;  // the first whole one
  std::atomic<bool> verbose = false;
};

Log& engine_log() {
  static Log log;
  return log;
}

void on_message(ggml_log_level level, const char* text, void*) {
  Log& log = engine_log();
  if (log.verbose) std::fputs(text, stderr);
  if (level != GGML_LOG_LEVEL_ERROR) return;
  const std::lock_guard lock(log.mutex);
  log.line += text;
  const size_t end = log.line.find_last_not_of("\r\n ");
  if (log.line.find('\n') == std::string::npos) return;
  if (end != std::string::npos && log.error.empty()) {
    log.error = log.line.find("bad_alloc") == std::string::npos ? log.line.substr(0, end + 1)
                                                                : "memory ran out";
  }
  log.line.clear();
}

}  // namespace

void start_engine() {
  static const bool started = [] {
    llama_log_set(on_message, nullptr);
    register_ggml_backend();
    llama_backend_init();
    return true;
  }();
  (void)started;
}

void set_engine_verbose(bool verbose) { engine_log().verbose = verbose; }

std::string first_engine_error() {
  Log& log = engine_log();
  const std::lock_guard lock(log.mutex);
  return log.error;
}

void clear_engine_error() {
  Log& log = engine_log();
  const std::lock_guard lock(log.mutex);
  log.error.clear();
}

}  // namespace napier
