#include "model/weight_matrices.hpp"

#include <ggml.h>
#include <gguf.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <memory>
#include <numeric>

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

using Gguf = std::unique_ptr<gguf_context, GgufDeleter>;
using Tensors = std::unique_ptr<ggml_context, GgmlDeleter>;

}  // namespace

struct WeightReader::File {
  std::string path;
  Gguf gguf;
  Tensors tensors;
  mutable std::ifstream bytes;
};

WeightReader::WeightReader(const std::string& path) : file_(std::make_unique<File>()) {
  file_->path = path;
  ggml_context* tensors = nullptr;
  file_->gguf.reset(gguf_init_from_file(path.c_str(), {.no_alloc = true, .ctx = &tensors}));
  file_->tensors.reset(tensors);
  file_->bytes.open(path, std::ios::binary);
  if (!file_->gguf || !file_->bytes) throw Error(path + ": the file is no sound GGUF file");
}

WeightReader::~WeightReader() = default;

std::vector<std::string> WeightReader::names() const {
  std::vector<std::string> names;
  for (ggml_tensor* t = ggml_get_first_tensor(file_->tensors.get()); t != nullptr;
       t = ggml_get_next_tensor(file_->tensors.get(), t)) {
    if (ggml_n_dims(t) >= 2) names.emplace_back(t->name);
  }
  return names;
}

std::vector<float> WeightReader::rows(const std::string& name,
                                      std::span<const int64_t> rows) const {
  const int64_t index = gguf_find_tensor(file_->gguf.get(), name.c_str());
  const ggml_tensor* tensor = ggml_get_tensor(file_->tensors.get(), name.c_str());
  if (index < 0 || tensor == nullptr) throw Error(file_->path + ": has no tensor '" + name + "'");
  const ggml_type_traits* traits = ggml_get_type_traits(tensor->type);
  if (tensor->type != GGML_TYPE_F32 && !traits->to_float) {
    throw Error(file_->path + ": tensor '" + name + "' of type " + ggml_type_name(tensor->type) +
                " cannot be read as f32");
  }
  const int64_t k = tensor->ne[0];
  const size_t begin =
      gguf_get_data_offset(file_->gguf.get()) + gguf_get_tensor_offset(file_->gguf.get(), index);
  std::vector<float> result(rows.size() * static_cast<size_t>(k));
  std::vector<char> raw(ggml_row_size(tensor->type, k));
  for (size_t i = 0; i < rows.size(); ++i) {
    file_->bytes.seekg(static_cast<std::streamoff>(begin + raw.size() * rows[i]));
    float* to = result.data() + i * static_cast<size_t>(k);
    if (!file_->bytes.read(raw.data(), static_cast<std::streamsize>(raw.size()))) {
      throw Error(file_->path + ": ends within tensor '" + name + "'");
    }
    if (tensor->type == GGML_TYPE_F32) {
      std::memcpy(to, raw.data(), raw.size());
    } else {
      traits->to_float(raw.data(), to, k);
    }
  }
  return result;
}

std::vector<float> WeightReader::all(const WeightMatrix& matrix) const {
  std::vector<int64_t> every(static_cast<size_t>(matrix.rows));
  std::iota(every.begin(), every.end(), 0);
  return rows(matrix.name, every);
}

std::vector<WeightMatrix> weight_matrices(const std::string& path) {
  ggml_context* tensors_raw = nullptr;
  const Gguf gguf(gguf_init_from_file(path.c_str(), {.no_alloc = true, .ctx = &tensors_raw}));
  const Tensors tensors(tensors_raw);
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
