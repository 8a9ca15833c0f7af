#include "ggml/engine_nodes.hpp"

#include <ggml-cpu.h>
#include <ggml.h>

#include <memory>

#include "napier/error.hpp"

namespace napier {
namespace {

// A function that the CPU backend offers by name: the plugin links none of its library.
template <typename Function>
Function* offered(ggml_backend_t backend, const char* name) {
  ggml_backend_reg_t registration = ggml_backend_dev_backend_reg(ggml_backend_get_device(backend));
  return reinterpret_cast<Function*>(ggml_backend_reg_get_proc_address(registration, name));
}

}  // namespace

EngineNodes::EngineNodes(int threads)
    : backend_(ggml_backend_init_by_type(GGML_BACKEND_DEVICE_TYPE_CPU, nullptr)) {
  if (!backend_) throw Error("the program has no CPU backend", Blame::environment);
  if (auto* set = offered<void(ggml_backend_t, int)>(backend_, "ggml_backend_set_n_threads")) {
    set(backend_, threads);
  }
  // Else it would start threads anew for every few nodes, and let them spin while ours work.
  auto* make = offered<decltype(ggml_threadpool_new)>(backend_, "ggml_threadpool_new");
  auto* attach = offered<decltype(ggml_backend_cpu_set_threadpool)>(
      backend_, "ggml_backend_cpu_set_threadpool");
  if (!make || !attach) return;
  ggml_threadpool_params params = ggml_threadpool_params_default(threads);
  params.poll = 0;
  threads_ = make(&params);
  attach(backend_, threads_);
}

EngineNodes::~EngineNodes() {
  auto* free_threads = offered<decltype(ggml_threadpool_free)>(backend_, "ggml_threadpool_free");
  ggml_backend_free(backend_);
  if (threads_ && free_threads) free_threads(threads_);
}

void EngineNodes::run() {
  if (nodes_.empty()) return;
  const ggml_init_params params = {ggml_graph_overhead_custom(nodes_.size(), false), nullptr, true};
  const std::unique_ptr<ggml_context, decltype(&ggml_free)> context(ggml_init(params), ggml_free);
  ggml_cgraph* graph = ggml_new_graph_custom(context.get(), nodes_.size(), false);
  for (ggml_tensor* node : nodes_) ggml_graph_add_node(graph, node);
  nodes_.clear();
  if (ggml_backend_graph_compute(backend_, graph) == GGML_STATUS_SUCCESS) return;
  throw Error("the engine's CPU backend failed", Blame::environment);
}

}  // namespace napier
