// What was computed for a recipe.
#pragma once

#include <string>

#include "recipes/quantize.hpp"

namespace napier {

// For people: a line a matrix with its statistics and the product that was chosen for it.
std::string quantized_table(const Quantized& quantized);

// {path, chunks, chunks_before, matrices: [{name, rows, columns, product, numbers, tokens, absmax,
// p99, p999, mean_square, outlier_columns}]}; what no text was read for is null.
std::string quantized_json(const Quantized& quantized);

}  // namespace napier
