#include "eval/stored_bits.hpp"

#include <limits>

namespace napier {
namespace {

struct Bits {
  double weight = 0;
  double activation = 0;
};

// The part of a matrix's products whose columns are outliers.
double apart(const Rule& rule, const WeightMatrix& matrix, const ModelCoverage* measured) {
  if (measured) {
    for (const RoleCoverage& role : measured->roles) {
      if (role.role != role_of(matrix.name) || role.arithmetic != display_name(rule)) continue;
      if (role.multiplications == 0) continue;
      return static_cast<double>(role.treated.apart) / static_cast<double>(role.multiplications);
    }
  }
  return std::numeric_limits<double>::quiet_NaN();
}

Bits bits_of(const Rule& rule, const WeightMatrix& matrix, int context,
             const ModelCoverage* measured) {
  const auto rows = static_cast<double>(matrix.rows);
  const auto k = static_cast<double>(matrix.k);
  Bits bits = {rule.arithmetic.w.bits_per_element(matrix.rows, matrix.k),
               rule.arithmetic.x.bits_per_element(context, matrix.k)};
  for (const Treatment& treatment : rule.treatments) {
    const Operand& x = treatment.arithmetic.x;
    const Operand& w = treatment.arithmetic.w;
    switch (treatment.kind) {
      case TreatmentKind::equalise: bits.weight += 32 / rows; break;
      case TreatmentKind::lowrank: {
        const int64_t rank = rank_of(treatment, matrix.rows);
        const double left = rows * static_cast<double>(rank);
        const double right = static_cast<double>(rank) * k;
        bits.weight += (left * w.bits_per_element(matrix.rows, rank) +
                        right * w.bits_per_element(rank, matrix.k)) /
                       (rows * k);
        break;
      }
      case TreatmentKind::outliers: {
        const double part = apart(rule, matrix, measured);
        bits.weight += part * w.bits_per_element(matrix.rows, matrix.k);
        bits.activation += part * (x.bits_per_element(context, matrix.k) - bits.activation);
        break;
      }
      case TreatmentKind::result:
      case TreatmentKind::delta:
      case TreatmentKind::dyadic: break;
    }
  }
  return bits;
}

}  // namespace

bool leaves_in_f32(const Plan& plan, std::string_view name) {
  const auto rule = plan.match(name);
  return !rule ||
         (plan.rules[*rule].arithmetic == Arithmetic{} && plan.rules[*rule].treatments.empty());
}

StoredBits stored_bits(std::span<const WeightMatrix> matrices, const Plan& plan, int context,
                       const ModelCoverage* measured) {
  double all = 0, covered = 0, activations = 0;
  Bits sum;
  for (const WeightMatrix& matrix : matrices) {
    const double elements = static_cast<double>(matrix.rows) * static_cast<double>(matrix.k);
    all += elements;
    if (leaves_in_f32(plan, matrix.name)) continue;
    const Bits bits = bits_of(plan.rules[*plan.match(matrix.name)], matrix, context, measured);
    covered += elements;
    sum.weight += elements * bits.weight;
    sum.activation += static_cast<double>(matrix.k) * bits.activation;
    activations += static_cast<double>(matrix.k);
  }
  if (covered == 0) return {};
  return {sum.weight / covered, sum.activation / activations, covered / all};
}

}  // namespace napier
