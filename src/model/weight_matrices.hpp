// The matrices of a model file that tokens are multiplied with.
#pragma once

#include <cstdint>
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

}  // namespace napier
