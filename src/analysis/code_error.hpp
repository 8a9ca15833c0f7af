// How wrong a multiplier is on the codes it is given: every pair of them, weighted by how often
// operands have it.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "analysis/operands.hpp"
#include "analysis/product_error.hpp"
#include "napier/arithmetic.hpp"

namespace napier {

// The numbers that an operand becomes, in units of its scale, ascending, and how likely each is.
struct CodeShares {
  std::vector<double> values;  // -infinity and infinity: what leaves the format
  std::vector<double> shares;
};

// Whether both formats have at most 8 bits, so that 65536 pairs are all, and rounding is no chance.
bool has_few_codes(const Arithmetic& arithmetic);

// By the law's distribution, from where the numbers lie at which the operand's value changes, or,
// of the law `codes`, each code that is a number as often as any other, however it is scaled.
// Nothing where a scale depends on what else is drawn, and where there are zero points.
std::optional<CodeShares> code_shares(const Operand& operand, const OperandLaw& law);

// How often which pair of numbers is multiplied.
using CodePairs = std::map<std::pair<double, double>, double>;
CodePairs independent_pairs(const CodeShares& x, const CodeShares& w);

// Products are compared with the exact products of the numbers that the operands have become: the
// error is the multiplier's (and its product's rounding) alone. Requires has_few_codes().
ProductErrors enumerate_codes(const Arithmetic& arithmetic, const CodePairs& pairs);
// Weighted by how often the pairs that measure_products() takes occur in the blocks, with the
// standard errors of a sample.
ProductErrors measure_codes(const Arithmetic& arithmetic, std::span<const OperandBlock> blocks);

}  // namespace napier
