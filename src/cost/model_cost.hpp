// Operations and bytes of a model under a plan, and their energy.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "cost/model_shape.hpp"
#include "cost/price_table.hpp"
#include "model/coverage.hpp"
#include "napier/plan.hpp"

namespace napier {

struct CostOptions {
  int64_t batch = 1;         // sequences decoded together: they share the weights that are read
  int64_t tile = 128;        // rows and columns that a matrix unit works on at a time
  std::set<Operation> free;  // left out by wish

  // Throws Error for what cannot be.
  void check() const;
};

// What a token's energy goes into, in pJ. Conversions include scaling and unscaling.
struct EnergySplit {
  double multiply = 0;
  double accumulate = 0;
  double convert = 0;
  double elementwise = 0;
  double registers = 0;
  double sram = 0;
  double dram = 0;

  double arithmetic() const { return multiply + accumulate + convert + elementwise; }
  double movement() const { return registers + sram + dram; }
  double total() const { return arithmetic() + movement(); }
  void add(const EnergySplit& other);
};

// Of one token.
struct Counts {
  double multiplications = 0;
  double additions = 0;
  double conversions = 0;
  double elementwise = 0;
  double register_bytes = 0;
  double sram_bytes = 0;
  double dram_bytes = 0;

  void add(const Counts& other);
};

struct RoleCost {
  std::string role;
  std::string arithmetic;  // with its treatments
  Counts counts;
  EnergySplit energy;
  double stored_bytes = 0;  // of its weights
};

struct ModelCost {
  std::string plan;
  std::vector<RoleCost> roles;
  Counts counts;
  EnergySplit energy;
  double stored_bytes = 0;          // of all weights
  std::vector<Price> prices;        // used, each once
  std::vector<std::string> tables;  // of each of them
};

// For each matrix multiplication: its products and sums (a sum where a table prices steps: what the
// step takes beyond the product); activations (and what is new in the cache)
// converted from f32 once, weights beforehand; scaled operands multiplied by their scale's
// reciprocal, sums by their scales, in f32. Bytes: DRAM, each weight once a step (so a batch-th of
// it a token; of experts those that any of the batch's tokens uses, each drawing its own), the
// sequence's cache once, its new entry written. SRAM, the same and activations
// once per tile of outputs, weights once per tile of rows, sums written. Registers, both operands
// and the sum in and out at each step. Elements take their format's bits, packed, plus scales.
// What the plan does not name is f32. Element-wise multiplications are f32 always.
// Treatments: `result` rounds every output and scales it twice, and stores it so; `dyadic`
// requantises every sum in place of its scaling, and scales it once, out of the integers;
// `equalise` multiplies activations by its factors' reciprocals, which are read as weights are;
// `lowrank` is its two products and an addition an output; `outliers` moves its columns' part of
// everything to its own arithmetic, and adds an output to an output; `delta` takes three f32
// additions and two multiplications an activation (rounding to an integer is adding and subtracting
// 1.5 * 2^23), one addition an output, keeps the last row and result in SRAM, and spares what is
// skipped of products and sums, not the weights' reading. Comparisons are not counted.
// `measured`: what ran of this plan on some text, which outliers and delta need.
// Throws Error for a price that no table has, and for what depends on a text where none was run.
ModelCost cost_of(const ModelShape& shape, const Plan& plan, const Prices& prices,
                  const CostOptions& options, const ModelCoverage* measured = nullptr);

}  // namespace napier
