// Numbers to multiply: drawn from a law, or captured from a model.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace napier {

// What random operands are drawn from; activations and weights alike, independent.
struct OperandLaw {
  enum class Kind : uint8_t {
    mantissa,    // uniform in [1, 2): the paper's, exponents play no part
    uniform,     // uniform in (-1, 1)
    loguniform,  // +-2^u, u uniform in [-4, 4): Benford's law for the leading digits
    gaussian,    // mean 0, standard deviation 1
    student,     // Student's t with `freedom` degrees: heavy tails
    codes,       // each code of the operand's own format alike: enumerated alone, never drawn
  };
  Kind kind = Kind::gaussian;
  double freedom = 0;

  bool operator==(const OperandLaw&) const = default;

  float draw(std::mt19937_64& random) const;
  // How likely a number of at most so much is drawn.
  double cumulative(double number) const;
};

// "mantissa", "uniform", "loguniform", "gaussian", "student(4)", "codes". Throws Error.
OperandLaw parse_operand_law(std::string_view text);
std::string to_string(const OperandLaw& law);

// Rows that are multiplied with each other: every row of x with every row of w.
struct OperandBlock {
  int64_t k = 0;         // elements a row
  std::vector<float> x;  // rows of activations, dense
  std::vector<float> w;  // rows of weights, dense

  int64_t x_rows() const { return static_cast<int64_t>(x.size()) / k; }
  int64_t w_rows() const { return static_cast<int64_t>(w.size()) / k; }
  std::span<const float> x_row(int64_t i) const { return std::span(x).subspan(i * k, k); }
  std::span<const float> w_row(int64_t j) const { return std::span(w).subspan(j * k, k); }
};

// `blocks` independent blocks of `x_rows` and `w_rows` rows. The same for the same seed.
std::vector<OperandBlock> draw_blocks(const OperandLaw& law, int64_t blocks, int64_t x_rows,
                                      int64_t w_rows, int64_t k, uint64_t seed);

// `count` blocks of one row each, of at most `k` elements: parts of random rows, of the blocks in a
// shuffled order, so that few windows are of many blocks. The same for the same seed.
std::vector<OperandBlock> draw_windows(std::span<const OperandBlock> blocks, int64_t count,
                                       int64_t k, uint64_t seed);

}  // namespace napier
