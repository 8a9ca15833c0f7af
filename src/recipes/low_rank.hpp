// The best product of two thin matrices in place of a matrix.
#pragma once

#include <cstdint>
#include <vector>

namespace napier {

// matrix (n x k) ~ left (n x rank) * right (rank x k), all by rows: of all such products the
// nearest in squared error, the singular values' roots in either factor as in ZeroQuant-FP's LoRC.
struct LowRank {
  std::vector<float> left;
  std::vector<float> right;
};

// Randomised subspace iteration (Halko, Martinsson and Tropp 2011, algorithm 4.4) from a fixed
// seed: the singular vectors to within what rounding to f32 leaves, where singular values differ.
// `rank` is cut to what the matrix can have.
LowRank low_rank(const std::vector<float>& matrix, int64_t n, int64_t k, int64_t rank);

}  // namespace napier
