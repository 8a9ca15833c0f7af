// The drop-in plugin: the backend for programs that know nothing of Napier, told what to do by
// environment variables.
//   LD_PRELOAD=/path/to/libggml-napier.so          has any program with a shared ggml load it
//   GGML_BACKEND_PATH=/path/to/libggml-napier.so   the same, in programs that load ggml's backends
//                                                  as plugins (GGML_BACKEND_DL) and in llama-bench
//   NAPIER_PLAN=lmul-m4          the plan, required
//   NAPIER_THREADS=2             threads; else the program's -t
//   NAPIER_CACHE_MB=4096         memory for packed weights; else half of the machine's
//   NAPIER_REPORT=1              what ran, on stderr when the program ends; or a file to write it
//   to
// In llama.cpp's ggml-rpc-server it computes for others: all of their graphs, the plan's
// multiplications in their arithmetics, until SIGTERM or SIGINT.
#include <dlfcn.h>
#include <ggml-backend-impl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <thread>

#include "ggml/backend.hpp"
#include "ggml/session.hpp"
#include "napier/error.hpp"

// Weak: null in a program without ggml, where preloading brings us too, or with an old one.
#pragma weak ggml_version
#pragma weak ggml_backend_reg_count

// What ggml looks for in a plugin.
extern "C" __attribute__((visibility("default"))) ggml_backend_reg_t ggml_backend_init();

namespace {

const char* variable(const char* name) {
  const char* value = std::getenv(name);
  return value && *value ? value : nullptr;
}

void say(const std::string& sentence) {
  std::fprintf(stderr, "napier: %s\n", sentence.c_str());
  std::fflush(stderr);
}

// Ends the program. To return without a device would be quieter and worse: the host would go on
// natively, and its numbers would be taken for those of the plan. No destructors: this is not our
// program, and it is still starting.
[[noreturn]] void refuse(const std::string& sentence) {
  say(sentence);
  std::fflush(nullptr);
  _exit(2);
}

size_t number(const char* name, size_t max) {
  const char* text = variable(name);
  if (!text) return 0;
  size_t value = 0;
  const char* end = text + std::strlen(text);
  const auto result = std::from_chars(text, end, value);
  if (result.ec != std::errc() || result.ptr != end || value == 0 || value > max) {
    refuse(std::string(name) + "='" + text + "': expected a whole number from 1 to " +
           std::to_string(max));
  }
  return value;
}

std::FILE* report_file = nullptr;
std::atomic<bool> failed = false;

void write_report(const napier::PlanRun& run) {
  if (!report_file) return;
  const std::string text =
      napier::coverage_text(run, false) +
      "The program's warm-up run, if it makes one, is counted. Multiplications element by element\n"
      "(norms, rotary embedding, gating, soft-max) stay native and are not counted.\n";
  std::fputs(text.c_str(), report_file);
  if (std::fflush(report_file) != 0) say("NAPIER_REPORT cannot be written");
}

// At the end of the program. Some programs end with 0 after a failed computation, and none knows
// of a rule that matched nothing: both end with 2 here, so that no script takes the results.
void conclude() {
  const std::shared_ptr<napier::PlanRun> run = napier::active_plan();
  if (!run) return;
  try {
    write_report(*run);
    if (run->met_matmuls()) {
      // llama.cpp's last lines, such as the perplexity, are written by a thread that it does not
      // wait for; on a busy machine they are lost now and then.
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      for (const size_t rule : run->unused_rules()) {
        say("the rule '" + run->plan().rules[rule].pattern +
            "' of NAPIER_PLAN matched no matrix multiplication");
        failed = true;
      }
    }
  } catch (const std::exception& error) {
    say(error.what());
  }
  if (!failed) return;
  std::fflush(nullptr);
  _exit(2);
}

// The server never ends by itself: without this, its report would not be written.
void end_by_signal() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::thread([signals] {
    int signal = 0;
    sigwait(&signals, &signal);
    std::exit(0);
  }).detach();
}

void set_up() {
  const char* plan = variable("NAPIER_PLAN");
  if (!plan) refuse("NAPIER_PLAN is not set; give it a plan, for example NAPIER_PLAN=lmul-m4");
  try {
    napier::set_active_plan(std::make_shared<napier::PlanRun>(napier::parse_plan(plan)));
  } catch (const std::exception& error) {
    refuse(std::string("NAPIER_PLAN: ") + error.what());
  }
  napier::BackendSettings settings;
  settings.threads = static_cast<int>(number("NAPIER_THREADS", 4096));
  settings.cache_bytes = number("NAPIER_CACHE_MB", size_t{1} << 32) << 20;
  settings.on_error = [](const std::string& sentence) {
    failed = true;
    say(sentence);
  };
  napier::configure_backend(settings);

  if (const char* path = variable("NAPIER_REPORT")) {
    report_file = std::strcmp(path, "1") == 0 ? stderr : std::fopen(path, "w");
    if (!report_file) {
      refuse(std::string("NAPIER_REPORT='") + path + "': " + std::strerror(errno) +
             "; give a file that can be written, or 1 for stderr");
    }
  }
  std::atexit(conclude);
  if (std::strstr(program_invocation_short_name, "rpc-server")) {
    napier::offer_server_device();
    end_by_signal();
  }
}

void require_matching_ggml() {
  // The structs handed to the host change between versions of ggml while its API number stands.
  const char* host = ggml_version ? ggml_version() : "older than 0.9.1";
  if (std::strcmp(host, NAPIER_GGML_VERSION) == 0) return;
  refuse(std::string("this plugin is built for ggml " NAPIER_GGML_VERSION
                     " and cannot run in a program with ggml ") +
         host + "; build it from the sources of that program (NAPIER_LLAMA_DIR)");
}

// llama.cpp loads plugins only where no backend is linked in, so most programs with a CPU backend
// of their own never look at GGML_BACKEND_PATH; preloaded, we put ourselves on their list.
__attribute__((constructor)) void join_if_preloaded() {
  Dl_info self;
  const char* preloaded = variable("LD_PRELOAD");
  if (!preloaded || !dladdr(reinterpret_cast<void*>(&join_if_preloaded), &self)) return;
  const char* name = std::strrchr(self.dli_fname, '/');
  if (!std::strstr(preloaded, name ? name + 1 : self.dli_fname)) return;
  if (!ggml_backend_reg_count) return;
  require_matching_ggml();
  if (ggml_backend_reg_count() == 0) {
    setenv("GGML_BACKEND_PATH", self.dli_fname, 1);  // the program will load plugins, us with them
  } else {
    ggml_backend_register(ggml_backend_init());
  }
}

}  // namespace

ggml_backend_reg_t ggml_backend_init() {
  static const ggml_backend_reg_t registration = [] {
    require_matching_ggml();
    if (ggml_backend_reg_by_name("NAPIER")) {
      refuse("this program has Napier linked in; unset GGML_BACKEND_PATH and LD_PRELOAD");
    }
    set_up();
    return napier::ggml_backend_registration();
  }();
  return registration;
}
