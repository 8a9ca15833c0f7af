// A program with another version of ggml, as far as a plugin can tell: loads the plugin named by
// its argument. Our ggml_version stands before ggml's own.
#include <dlfcn.h>
#include <ggml-backend.h>

#include <cstdio>

extern "C" __attribute__((visibility("default"))) const char* ggml_version() { return "0.1.2"; }

int main(int, char** arguments) {
  if (ggml_backend_dev_count() == 0) return 3;  // ggml is there
  void* plugin = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
  if (!plugin) {
    std::fprintf(stderr, "%s\n", dlerror());
    return 4;
  }
  const auto init = reinterpret_cast<ggml_backend_reg_t (*)()>(dlsym(plugin, "ggml_backend_init"));
  return init() ? 5 : 6;
}
