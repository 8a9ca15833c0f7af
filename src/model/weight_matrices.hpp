// The matrices of a model file that tokens are multiplied with.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace napier {

struct WeightMatrix {
  std::string name;  // as plans have it: "blk.0.attn_q.weight"
  int64_t rows = 0;  // output channels
  int64_t k = 0;     // elements of a row
};

// Of a sound, unsplit GGUF file (see probe_model()): its tensors of two dimensions, but for the
// embedding where there is an output matrix besides. Throws Error if it cannot be read.
std::vector<WeightMatrix> weight_matrices(const std::string& path);

// Rows of a model file's matrices as f32. Not thread safe. Throws Error if the file cannot be read,
// or has no such matrix in one of ggml's types that can be read.
class WeightReader {
 public:
  explicit WeightReader(const std::string& path);
  ~WeightReader();

  // All tensors that a product could read, by name: those of two dimensions and more.
  std::vector<std::string> names() const;
  // The rows named, one after the other.
  std::vector<float> rows(const std::string& name, std::span<const int64_t> rows) const;
  std::vector<float> all(const WeightMatrix& matrix) const;

 private:
  struct File;
  std::unique_ptr<File> file_;
};

}  // namespace napier
