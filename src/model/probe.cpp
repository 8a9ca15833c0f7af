#include "model/probe.hpp"

#include <ggml.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>

#include "model/engine.hpp"
#include "model/gguf_file.hpp"
#include "model/model.hpp"
#include "napier/error.hpp"

namespace napier {
namespace {

constexpr uint64_t k_gigabyte = uint64_t{1} << 30;
constexpr uint64_t k_base_memory = 4 * k_gigabyte;
constexpr unsigned k_base_seconds = 60;
constexpr uint64_t k_bytes_per_second = 20'000'000;  // of a slow disk

// Exit codes of the child; everything else is a crash.
enum Verdict : int { sound = 0, failed = 1, refused = 2, out_of_memory = 3 };

unsigned seconds_for(uint64_t size) {
  return k_base_seconds + static_cast<unsigned>(size / k_bytes_per_second);
}

void limit_child(uint64_t size) {
#if !defined(__SANITIZE_ADDRESS__)
  // A long context may take what the machine has; a broken file may not take more.
  const uint64_t machine = static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) *
                           static_cast<uint64_t>(sysconf(_SC_PAGE_SIZE));
  const uint64_t most = std::min(machine, std::max(k_base_memory + 3 * size, machine / 4 * 3));
  const rlimit memory = {most, most};
  setrlimit(RLIMIT_DATA, &memory);
#endif
  const rlimit no_core = {0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  for (const int signal_number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGALRM, SIGTERM}) {
    signal(signal_number, SIG_DFL);
  }
  ggml_set_abort_callback(nullptr);  // a program's own might exit with a code that means another
  setenv("GGML_NO_BACKTRACE", "1", 1);
  alarm(seconds_for(size));
}

// In the child. What it writes to stderr is read by the parent: the last line is the reason.
[[noreturn]] void try_model(const std::string& path, uint64_t size, const ContextOptions& options,
                            std::string_view text) {
  limit_child(size);
  int verdict = sound;
  try {
    const Model model(path);
    check_weights_are_finite(path);
    model.tokenise(text, true, false);
    ContextOptions few = options;
    few.threads = 1;
    Context context(model, Plan{}, few);
    context.warm_up();
  } catch (const std::bad_alloc&) {
    verdict = out_of_memory;
  } catch (const Error& error) {
    std::fprintf(stderr, "\n%s\n", error.what());
    verdict = error.blame() == Blame::input ? refused : failed;
  } catch (const std::exception& error) {  // of llama.cpp, about what it reads
    std::fprintf(stderr, "\n%s\n", error.what());
    verdict = refused;
  }
  std::fflush(nullptr);
  _exit(verdict);  // no destructors: the parent's atexit handlers are not ours to run
}

// "/where/file.c:12: GGML_ASSERT(x) failed" -> "GGML_ASSERT(x) failed".
std::string without_place(const std::string& line) {
  for (const char* suffix : {".cpp:", ".c:", ".h:"}) {
    const size_t at = line.find(suffix);
    if (at == std::string::npos) continue;
    const size_t end = line.find(": ", at + std::strlen(suffix));
    if (end != std::string::npos) return line.substr(end + 2);
  }
  return line;
}

std::string last_line(std::string text) {
  while (!text.empty() && std::strchr("\r\n ", text.back())) text.pop_back();
  const size_t begin = text.find_last_of('\n');
  return printable(without_place(begin == std::string::npos ? text : text.substr(begin + 1)));
}

std::string crash_reason(int status, const std::string& said, uint64_t size) {
  const int signal_number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  if (signal_number == SIGALRM) {
    return "loading it does not end within " + std::to_string(seconds_for(size)) + " seconds";
  }
  const std::string line = last_line(said);
  if (signal_number == SIGABRT && !line.empty()) return "llama.cpp gives up on it: " + line;
  const std::string how = signal_number ? std::string("signal ") + strsignal(signal_number)
                                        : "code " + std::to_string(WEXITSTATUS(status));
  return "llama.cpp crashes on it (" + how + ")" + (line.empty() ? "" : ": " + line);
}

}  // namespace

void probe_model(const std::string& path, const ContextOptions& options, std::string_view text) {
  const uint64_t size = check_gguf_header(path);
  std::array<int, 2> ends = {};
  if (pipe(ends.data()) != 0) {
    throw Error(std::string("no pipe can be made: ") + std::strerror(errno), Blame::environment);
  }
  std::fflush(nullptr);  // else the child would write our pending output too
  const pid_t child = fork();
  if (child < 0) {
    close(ends[0]);
    close(ends[1]);
    throw Error(std::string("no process can be made: ") + std::strerror(errno), Blame::environment);
  }
  if (child == 0) {
    dup2(ends[1], STDOUT_FILENO);
    dup2(ends[1], STDERR_FILENO);
    close(ends[0]);
    close(ends[1]);
    try_model(path, size, options, text);
  }
  close(ends[1]);

  std::string said;
  std::array<char, 4096> buffer;
  for (;;) {
    const ssize_t count = read(ends[0], buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    said.append(buffer.data(), static_cast<size_t>(count));
    if (said.size() > 1 << 20) said.erase(0, said.size() / 2);
  }
  close(ends[0]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status)) {
    if (WEXITSTATUS(status) == sound) return;
    if (WEXITSTATUS(status) == refused) throw Error(last_line(said));
    if (WEXITSTATUS(status) == failed) throw Error(last_line(said), Blame::environment);
    if (WEXITSTATUS(status) == out_of_memory) {
      throw Error(path + ": loading it takes more memory than a sound model of its size (" +
                  std::to_string(size) + " bytes) would: the file is broken or memory is short");
    }
  }
  throw Error(path + ": " + crash_reason(status, said, size));
}

}  // namespace napier
