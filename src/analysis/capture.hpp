// The numbers that a model multiplies.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "analysis/operands.hpp"
#include "model/context.hpp"
#include "model/model.hpp"

namespace napier {

struct CapturedMatmul {
  std::string name;  // as plans know it
  std::vector<OperandBlock> blocks;
};

struct CaptureOptions {
  ContextOptions context;
  int chunks = 1;   // of `context` tokens
  int blocks = 16;  // of each matrix multiplication, over all chunks
  int x_rows = 4;   // a block: tokens, of one head or expert
  int w_rows = 16;
  uint64_t seed = 1;
};

// Runs chunks of the text through the model with every product in f32 and takes a uniform sample of
// what each matrix multiplication is given: matrices (heads, experts), then different rows of them.
// The same for the same seed. In the order in which the graph has them. Throws Error where the text
// is too short.
std::vector<CapturedMatmul> capture_operands(const Model& model, std::span<const Token> text,
                                             const CaptureOptions& options);

}  // namespace napier
