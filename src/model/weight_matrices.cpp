#include "model/weight_matrices.hpp"

#include <ggml.h>
#include <gguf.h>

#include <algorithm>
#include <memory>

#include "napier/error.hpp"

namespace napier {
namespace {

constexpr const char* k_embedding = "token_embd.weight";
constexpr const char* k_output = "output.weight";

struct GgufDeleter {
  void operator()(gguf_context* context) const { gguf_free(context); }
};
struct GgmlDeleter {
  void operator()(ggml_context* context) const { ggml_free(context); }
};

}  // namespace

std::vector<WeightMatrix> weight_matrices(const std::string& path) {
  ggml_context* tensors_raw = nullptr;
  const std::unique_ptr<gguf_context, GgufDeleter> gguf(
      gguf_init_from_file(path.c_str(), {.no_alloc = true, .ctx = &tensors_raw}));
  const std::unique_ptr<ggml_context, GgmlDeleter> tensors(tensors_raw);
  if (!gguf) throw Error(path + ": the file is no sound GGUF file");

  std::vector<WeightMatrix> matrices;
  for (ggml_tensor* tensor = ggml_get_first_tensor(tensors.get()); tensor != nullptr;
       tensor = ggml_get_next_tensor(tensors.get(), tensor)) {
    if (ggml_n_dims(tensor) == 2) matrices.push_back({tensor->name, tensor->ne[1], tensor->ne[0]});
  }
  const auto is = [](const char* name) {
    return [name](const WeightMatrix& matrix) { return matrix.name == name; };
  };
  if (std::any_of(matrices.begin(), matrices.end(), is(k_output))) {
    std::erase_if(matrices, is(k_embedding));
  }
  return matrices;
}

}  // namespace napier
