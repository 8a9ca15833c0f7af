// Arithmetics against operands: all that `napier error` shows.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "analysis/capture.hpp"
#include "analysis/closed_form.hpp"
#include "analysis/code_error.hpp"
#include "analysis/dot_error.hpp"
#include "analysis/offset.hpp"
#include "analysis/operands.hpp"
#include "analysis/product_error.hpp"
#include "napier/arithmetic.hpp"

namespace napier {

// Operands under the name that reports give them: a law, a matrix multiplication or a role.
struct OperandSource {
  std::string name;
  std::optional<OperandLaw> law;     // drawn anew for each measurement
  std::vector<OperandBlock> blocks;  // or these
};

// One source a matrix multiplication, or one a role with the blocks of all layers.
std::vector<OperandSource> sources_of(std::vector<CapturedMatmul> captured, bool by_role);

struct NamedArithmetic {
  std::string name;
  Arithmetic arithmetic;
};

struct ErrorStudyOptions {
  int64_t pairs = 1 << 20;  // drawn from a law; captured ones are taken as they are
  int source_bits = 12;     // of mantissas that are enumerated, and of closed forms
  std::vector<int64_t> lengths = {16, 64, 256, 1024, 4096};  // of dot products of drawn operands
  std::vector<int> kept_bits = {2, 3, 4, 5, 6, 7};           // for offsets
  std::vector<int> offsets = {0, 1, 2, 3, 4, 5, 6};
  LmulVariant variant;
  int threads = 1;
  uint64_t seed = 1614;
  std::function<void(std::string_view what, double done)> on_progress;

  // Throws Error for figures that cannot be measured.
  void check() const;
};

struct ProductRow {
  std::string operands;
  std::string arith;
  ProductErrors errors;
  bool is_enumerated = false;
  std::optional<ClosedForm> closed;  // of enumerated ones
};

struct DotRow {
  std::string operands;
  std::string arith;
  int64_t length = 0;
  DotErrors errors;
};

struct OffsetRow {
  std::string operands;
  std::vector<OffsetErrors> grid;  // every kept_bits with every offset
  std::vector<BestOffset> best;    // one for each of kept_bits
};

std::vector<ProductRow> study_products(const std::vector<NamedArithmetic>& arithmetics,
                                       const std::vector<OperandSource>& sources,
                                       const ErrorStudyOptions& options);
// The same of the multipliers alone, on the numbers that operands of at most 8 bits have become:
// all pairs of codes, weighted by the law's distribution, or, where scales depend on what else is
// drawn and of a model's operands, by how often they occur. Throws Error for wider operands.
std::vector<ProductRow> study_codes(const std::vector<NamedArithmetic>& arithmetics,
                                    const std::vector<OperandSource>& sources,
                                    const ErrorStudyOptions& options);
std::vector<DotRow> study_dots(const std::vector<NamedArithmetic>& arithmetics,
                               const std::vector<OperandSource>& sources,
                               const ErrorStudyOptions& options);
std::vector<OffsetRow> study_offsets(const std::vector<OperandSource>& sources,
                                     const ErrorStudyOptions& options);

}  // namespace napier
