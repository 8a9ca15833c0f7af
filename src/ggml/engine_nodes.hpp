// Nodes of a graph that the program's own CPU backend runs, where no scheduler stands between.
#pragma once

#include <ggml-backend.h>

#include <vector>

struct ggml_threadpool;

namespace napier {

class EngineNodes {
 public:
  // Throws Error (environment) if the program has no CPU backend.
  explicit EngineNodes(int threads);
  ~EngineNodes();
  EngineNodes(const EngineNodes&) = delete;
  EngineNodes& operator=(const EngineNodes&) = delete;

  // To be run, in order, by the next run(). Operands lie in host memory.
  void add(ggml_tensor* node) { nodes_.push_back(node); }
  // Throws Error (environment) if the engine fails.
  void run();

 private:
  ggml_backend_t backend_ = nullptr;
  ggml_threadpool* threads_ = nullptr;
  std::vector<ggml_tensor*> nodes_;
};

}  // namespace napier
